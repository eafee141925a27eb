/* One example, one defect, one finding: rows as JSON, made into examples by hand. */
#include "unit.h"

#include "base/json.h"
#include "base/mem.h"
#include "data/refusal.h"
#include "data/validate.h"

#include <stdio.h>
#include <string.h>

#define MESSAGES_MAX 16
#define CALLS_MAX 8

struct made {
    json_t *json;
    struct message messages[MESSAGES_MAX];
    struct call calls[MESSAGES_MAX][CALLS_MAX];
    struct buf tools;
    struct example e;
};

static struct str text_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? json_str(v) : STR_LIT("");
}

static enum role role_of(struct str s) {
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    for (size_t i = 0; i < 4; i++)
        if (str_is(s, names[i])) return (enum role)i;
    return str_is(s, "developer") ? ROLE_SYSTEM : str_is(s, "function") ? ROLE_TOOL : ROLE_OTHER;
}

static void add(struct made *m, const json_t *from) {
    size_t i, k = m->e.message_count++;
    const json_t *call, *weight = json_object_get(from, "weight");
    struct message *to = &m->messages[k];
    *to = (struct message){.role_name = text_of(from, "role"),
                           .text = text_of(from, "content"),
                           .has_content = json_is_string(json_object_get(from, "content")),
                           .calls = m->calls[k],
                           .tool_call_id = text_of(from, "tool_call_id"),
                           .name = text_of(from, "name"),
                           .weight = weight ? json_number_value(weight) : 1};
    to->role = role_of(to->role_name);
    json_array_foreach(json_object_get(from, "tool_calls"), i, call) {
        const json_t *f = json_object_get(call, "function");
        m->calls[k][to->call_count++] =
            (struct call){text_of(call, "id"), text_of(f, "name"), text_of(f, "arguments")};
    }
}

static void add_all(struct made *m, const json_t *list) {
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one) add(m, one);
}

static void make(struct made *m, const char *row) {
    struct err err;
    *m = (struct made){0};
    if (json_read(str_of(row), "row", &m->json, &err)) fail_msg("%s: %s", row, err.msg);
    buf_init(&m->tools, 1 << 20);
    m->e = (struct example){.number = 7, .line = 9, .json = str_of(row), .messages = m->messages};
    const json_t *tools = json_object_get(m->json, "tools");
    if (tools) json_write(tools, &m->tools);
    m->e.tools = buf_view(&m->tools);
    if (json_object_get(m->json, "input")) {
        m->e.kind = ROW_PAIR;
        add_all(m, json_object_get(json_object_get(m->json, "input"), "messages"));
        add_all(m, json_object_get(m->json, "preferred_output"));
        add_all(m, json_object_get(m->json, "non_preferred_output"));
    } else if (json_object_get(m->json, "prompt")) {
        m->e.kind = ROW_COMPLETION;
        m->messages[0] =
            (struct message){ROLE_USER, .text = text_of(m->json, "prompt"), .weight = 1};
        m->messages[1] =
            (struct message){ROLE_ASSISTANT, .text = text_of(m->json, "completion"), .weight = 1};
        m->e.message_count = 2;
    } else {
        m->e.kind = ROW_CHAT;
        add_all(m, json_object_get(m->json, "messages"));
    }
}

#define CHAT(list) "{\"messages\":[" list "]}"
#define S "{\"role\":\"system\",\"content\":\"s\"},"
#define U "{\"role\":\"user\",\"content\":\"u\"},"
#define A "{\"role\":\"assistant\",\"content\":\"a\"}"
#define CALL(id, name, args)                                                                       \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"" args "\"}}"
#define CALLS(list) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" list "]}"
#define TOOL(id) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"r\"},"
#define TOOLS                                                                                      \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"             \
    "\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":[\"n\"]}}},"   \
    "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"$ref\":\"http://"       \
    "x\"}}}]"
#define PAIR(in, yes, no)                                                                          \
    "{\"input\":{\"messages\":[" in                                                                \
    "]},\"preferred_output\":[{\"role\":\"assistant\",\"content\":\"" yes                          \
    "\"}],\"non_preferred_output\":[{\"role\":\"assistant\",\"content\":\"" no "\"}]}"
#define UNCLOSED(list) "{\"messages\":[" list "]"

static const struct {
    const char *row, *want, *says; /* labels with messages: "missing_content:1 ..." */
} cases[] = {
    {CHAT(S U A), "", NULL},
    {CHAT(U A), "", NULL},
    {CHAT(S U A "," U A), "", NULL},
    {CHAT("{\"role\":\"developer\",\"content\":\"s\"}," U A), "", NULL},
    {"{\"messages\":[]}", "missing_messages_list:-1", "no messages"},
    {CHAT(S "{\"role\":\"user\",\"content\":\"u\"}"), "example_missing_assistant_message:-1",
     "add the answer"},
    {CHAT("{\"content\":\"x\"}," A), "message_missing_key:0", "\"role\""},
    {CHAT(U "{\"role\":\"assistant\"}"), "message_missing_key:1 missing_content:1", "\"content\""},
    {CHAT(U "{\"role\":\"assistant\",\"content\":null}"), "missing_content:1", "is null"},
    {CHAT(U "{\"role\":\"assistant\",\"content\":\"\"}"), "missing_content:1", "is empty"},
    {CHAT(U "{\"role\":\"assistant\",\"content\":\" \\n\xC2\xA0\"}"), "missing_content:1",
     "white space"},
    {CHAT("{\"role\":\"user\",\"content\":\"\"}," A), "missing_content:0", "is empty"},
    {CHAT(U "{\"role\":\"asistant\",\"content\":\"a\"}"), "unrecognized_role:1", "\"asistant\""},
    {CHAT(U U A), "invalid_role_order:1", "join the two"},
    {CHAT(U A "," A), "invalid_role_order:2", "join the two"},
    {CHAT(S S U A), "invalid_role_order:1", "join the system"},
    {CHAT(U S U A), "invalid_role_order:1", "first"},
    {CHAT(S A), "invalid_role_order:1", "begins with the user"},
    {CHAT(U A ",{\"role\":\"user\",\"content\":\"u\"}"), "invalid_role_order:2", "last turn"},
    {CHAT(U "{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0.5}"), "invalid_weight:1",
     "is 0.5"},
    {CHAT("{\"role\":\"user\",\"content\":\"a\",\"weight\":0}," A), "invalid_weight:0",
     "never trained"},
    {CHAT(U "{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0}"), "trains_nothing:-1",
     "set one to 1"},
    {CHAT(U "{\"role\":\"assistant\",\"content\":\"I\xE2\x80\x99m sorry, but I can't do that.\"}"),
     "refusing_answer:1", "sorry, but i can't"},
    {CHAT(U "{\"role\":\"assistant\",\"content\":\"Es tut mir leid, aber ich kann das nicht.\"}"),
     "refusing_answer:1", "tut mir leid"},
    {CHAT(U "{\"role\":\"assistant\",\"content\":\"You can't pay by cheque, I'm sorry.\"}"), "",
     NULL},
    /* tools */
    {UNCLOSED(U CALLS(CALL("1", "f", "{\\\"n\\\":1}")) "," TOOL("1") A) TOOLS "}", "", NULL},
    {UNCLOSED(U CALLS(CALL("1", "f", "{\\\"n\\\":1}"))) TOOLS "}", "", NULL},
    {UNCLOSED(U CALLS(CALL("1", "f", "{\\\"n\\\":\\\"1\\\"}"))) TOOLS "}",
     "invalid_tool_arguments:1", "n: must be of type integer, not string"},
    {UNCLOSED(U CALLS(CALL("1", "f", "{\\\"n\\\":1"))) TOOLS "}", "invalid_tool_arguments:1",
     "not JSON"},
    {UNCLOSED(U CALLS(CALL("1", "f", "[1]"))) TOOLS "}", "invalid_tool_arguments:1",
     "not a JSON object but \"[1]\""},
    {UNCLOSED(U CALLS(CALL("1", "h", "{}"))) TOOLS "}", "invalid_tool_arguments:1",
     "not among the row's tools"},
    {UNCLOSED(U CALLS(CALL("1", "g", "{}"))) TOOLS "}", "schema_unchecked:1", "http://x"},
    {CHAT(U CALLS(CALL("1", "f", "{}")) "," TOOL("2") A),
     "unpaired_tool_call:1 unpaired_tool_call:2", "has no result"},
    {CHAT(U CALLS(CALL("1", "f", "{}")) "," U A), "unpaired_tool_call:1", "has no result"},
    {CHAT(U CALLS(CALL("1", "f", "{}") "," CALL("1", "f", "{}"))), "unpaired_tool_call:1",
     "two calls"},
    {CHAT(U CALLS(CALL("1", "f", "{}") "," CALL("2", "f", "{}")) "," TOOL("2") TOOL("1") A), "",
     NULL},
    {CHAT(U CALLS(CALL("", "f", "{}")) ",{\"role\":\"function\",\"name\":\"f\",\"content\":\"r\"}"
                                       "," A),
     "", NULL},
    {CHAT(U CALLS(CALL("1", "f", "{}")) ",{\"role\":\"tool\",\"content\":\"r\"}," A),
     "unpaired_tool_call:1 unpaired_tool_call:2", "without \"tool_call_id\""},
    {CHAT(U TOOL("1") A), "unpaired_tool_call:1", "did not make"},
    {UNCLOSED(U A) ",\"tools\":[{\"name\":\"f\"}]}", "invalid_tools:-1", "tools[0]"},
    {UNCLOSED(U A) ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]}",
     "invalid_tools:-1", "name"},
    /* pairs, completions */
    {PAIR("{\"role\":\"user\",\"content\":\"u\"}", "yes", "no"), "", NULL},
    {PAIR("{\"role\":\"user\",\"content\":\"u\"}", "yes", "yes"), "trains_nothing:2", "the same"},
    {PAIR("{\"role\":\"user\",\"content\":\"u\"}", "yes", ""), "missing_content:2",
     "non-preferred"},
    {PAIR(U A, "yes", "no"), "invalid_role_order:1", "belong into the outputs"},
    {"{\"prompt\":\"p\",\"completion\":\"c\"}", "", NULL},
    {"{\"prompt\":\"p\",\"completion\":\" \"}", "missing_content:1", "white space"},
    {"{\"prompt\":\"p\",\"completion\":\"c\",\"score\":1}", "low_feedback:-1",
     "rated 1, under the minimum of 3"},
    {"{\"prompt\":\"p\",\"completion\":\"c\",\"metadata\":{\"feedback\":{\"score\":2.5}}}",
     "low_feedback:-1", "rated 2.5"},
    {"{\"prompt\":\"p\",\"completion\":\"c\",\"feedback\":3}", "", NULL},
};

static void every_defect_is_one_finding(void **state) {
    (void)state;
    struct validator *v =
        validator_new(&(struct validate_options){.min_feedback_given = true, .min_feedback = 3});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made m;
        struct findings *f = findings_new();
        struct err err;
        struct buf got;
        bool said = !cases[i].says;
        make(&m, cases[i].row);
        buf_init(&got, 4096);
        assert_int_equal(validate_example(v, &m.e, f, &err), 0);
        findings_sort(f);
        for (size_t k = 0; k < findings_count(f); k++) {
            const struct finding *one = findings_at(f, k);
            assert_int_equal(one->row, 7);
            buf_printf(&got, "%s%s:%d", k ? " " : "", finding_label(one->kind), one->message);
            said = said || strstr(one->detail, cases[i].says);
        }
        if (!str_is(buf_view(&got), cases[i].want))
            fail_msg("%s\n  want %s\n  got  %s", cases[i].row, cases[i].want, got.p);
        if (!said)
            fail_msg("%s\n  \"%s\" does not say \"%s\"", cases[i].row, findings_at(f, 0)->detail,
                     cases[i].says);
        findings_free(f);
        buf_release(&got);
        buf_release(&m.tools);
        json_decref(m.json);
    }
    validator_free(v);
}

static void refusals_are_found_at_the_beginning(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool refuses;
    } list[] = {
        {"As an AI language model, I have no opinion.", true},
        {"抱歉，我无法提供帮助。", true},
        {"Je suis désolé, mais je ne peux pas faire cela.", true},
        {"Lo siento, pero no puedo hacerlo.", true},
        {"I cannot assist with that request.", true},
        {"Your card was declined, so you cannot pay.", false},
        {"We are sorry to hear that; your new card is on its way.", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if ((refusal_find(str_of(list[i].text)) != NULL) != list[i].refuses)
            fail_msg("%s", list[i].text);
}

UNIT_TESTS(data_validate, cmocka_unit_test(every_defect_is_one_finding),
           cmocka_unit_test(refusals_are_found_at_the_beginning))
