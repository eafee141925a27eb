/* One pass over the messages with the state of the conversation. What happens after a role that
 * nobody knows is not judged: one defect, one finding. The row's JSON is parsed only where the
 * views of the example do not say enough. */
#include "data/validate.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "data/refusal.h"
#include "data/toolset.h"

#include <math.h>
#include <stdio.h>

#define CALLS_OPEN_MAX 128
#define VALUE_MAX 60 /* bytes of a value that are shown */
#define DETAIL_MAX 360

struct validator {
    struct validate_options o;
    struct toolset_cache *tools;
};

/* a call that waits for its result */
struct open_call {
    struct str id, name;
    size_t message;
    bool answered;
};

struct check {
    struct validator *v;
    const struct example *e;
    struct findings *f;
    struct err *err;
    int rc;
    struct open_call open[CALLS_OPEN_MAX];
    size_t open_count;
    json_t *json; /* of the row, parsed when asked for */
    bool parsed;
};

static void found(struct check *c, enum finding_kind kind, int64_t message, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void found(struct check *c, enum finding_kind kind, int64_t message, const char *fmt, ...) {
    char text[DETAIL_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text[utf8_valid_prefix(str_of(text))] = 0;
    struct finding one = {
        .kind = kind, .row = c->e->number, .message = (int32_t)message, .detail = text};
    if (!c->rc) c->rc = findings_add(c->f, &one, c->err);
}

/* a value to show: short, one line, whole characters */
struct shown {
    char text[VALUE_MAX + 4];
};
static struct shown show(struct str s) {
    struct shown ret;
    size_t n = s.n < VALUE_MAX ? s.n : VALUE_MAX;
    n = utf8_valid_prefix((struct str){s.p ? s.p : "", n});
    for (size_t i = 0; i < n; i++) ret.text[i] = (unsigned char)s.p[i] < ' ' ? ' ' : s.p[i];
    memcpy(ret.text + n, s.n > n ? "..." : "", s.n > n ? 4 : 1);
    return ret;
}

static const json_t *row_json(struct check *c) {
    struct err ignored;
    if (!c->parsed && json_read(c->e->json, "row", &c->json, &ignored)) c->json = NULL;
    c->parsed = true;
    return c->json;
}

static bool is_blank(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] > ' ') {
            /* no-break and zero-width space, byte order mark */
            struct str here = str_from(s, i);
            if (str_starts(here, STR_LIT("\xC2\xA0")))
                i += 1;
            else if (str_starts(here, STR_LIT("\xE2\x80\x8B")) ||
                     str_starts(here, STR_LIT("\xEF\xBB\xBF")) ||
                     str_starts(here, STR_LIT("\xE3\x80\x80")))
                i += 2;
            else
                return false;
        }
    }
    return true;
}

/* --- one message --- */

static const json_t *message_json(struct check *c, size_t i) {
    const json_t *row = row_json(c);
    const json_t *from = c->e->kind == ROW_PAIR ? json_object_get(row, "input") : row;
    return json_array_get(json_object_get(from, "messages"), i);
}

static void check_content(struct check *c, size_t i) {
    const struct message *m = &c->e->messages[i];
    bool spoken = !is_blank(m->text);
    if (spoken || (m->role == ROLE_ASSISTANT && m->call_count)) return;
    if (m->has_content) {
        found(c, FINDING_MISSING_CONTENT, (int64_t)i, "\"content\" of messages[%zu] is %s; %s", i,
              m->text.n ? "white space" : "empty",
              m->role == ROLE_ASSISTANT ? "write the answer or remove the row"
                                        : "fill it or remove the message");
        return;
    }
    const json_t *json = message_json(c, i);
    bool absent = json_is_object(json) && !json_object_get(json, "content");
    if (absent)
        found(c, FINDING_MESSAGE_MISSING_KEY, (int64_t)i,
              "messages[%zu] has no \"content\"; add it", i);
    found(c, FINDING_MISSING_CONTENT, (int64_t)i,
          "\"content\" of messages[%zu] is %s; only an assistant's message with \"tool_calls\" may "
          "do without",
          i, absent ? "absent" : "null");
}

static void check_weight(struct check *c, size_t i) {
    const struct message *m = &c->e->messages[i];
    if (m->weight == 1 || (m->role == ROLE_ASSISTANT && m->weight == 0)) return;
    if (m->role != ROLE_ASSISTANT)
        found(c, FINDING_INVALID_WEIGHT, (int64_t)i,
              "messages[%zu] is not the assistant's and is never trained; remove its \"weight\"",
              i);
    else
        found(c, FINDING_INVALID_WEIGHT, (int64_t)i,
              "\"weight\" of messages[%zu] is %g; write 1 (trained) or 0 (context)", i, m->weight);
}

static void check_role(struct check *c, size_t i) {
    const struct message *m = &c->e->messages[i];
    if (m->role_name.n == 0)
        found(c, FINDING_MESSAGE_MISSING_KEY, (int64_t)i,
              "messages[%zu] has no \"role\"; add system, user, assistant or tool", i);
    else if (m->role == ROLE_OTHER)
        found(c, FINDING_UNRECOGNIZED_ROLE, (int64_t)i,
              "the role of messages[%zu] is \"%s\"; use system, developer, user, assistant or tool",
              i, show(m->role_name).text);
}

static void check_refusal(struct check *c, size_t i) {
    const struct message *m = &c->e->messages[i];
    if (m->role != ROLE_ASSISTANT || m->weight == 0) return;
    const char *phrase = refusal_find(m->text);
    if (phrase)
        found(c, FINDING_REFUSING_ANSWER, (int64_t)i,
              "messages[%zu] says \"%s\"; the model would learn to refuse: write a real answer, or "
              "keep it on purpose",
              i, phrase);
}

/* --- the order of the turns --- */

static const char *role_word(enum role r) {
    static const char *const words[] = {"system", "user", "assistant", "tool", "other"};
    return words[r];
}

/* the role before may be -1: the beginning */
static const char *order_problem(int before, const struct message *last, enum role now) {
    bool called = last && last->call_count;
    switch (now) {
    case ROLE_SYSTEM:
        return before < 0              ? NULL
               : before == ROLE_SYSTEM ? "join the system messages into one"
                                       : "put the system message first";
    case ROLE_USER:
        if (before < 0 || before == ROLE_SYSTEM || before == ROLE_ASSISTANT) return NULL;
        return before == ROLE_USER ? "join the two, or add the answer between them"
                                   : "add the assistant's answer to the tool's result";
    case ROLE_ASSISTANT:
        if (before == ROLE_USER || before == ROLE_TOOL) return NULL;
        return before == ROLE_ASSISTANT ? "join the two, or add the user's turn between them"
                                        : "a conversation begins with the user; add the question";
    case ROLE_TOOL: /* pairing says the rest */ return before == ROLE_TOOL || called ? NULL : "";
    case ROLE_OTHER: return NULL;
    }
    return NULL;
}

static void check_order(struct check *c, size_t count) {
    const struct message *list = c->e->messages;
    int before = -1;
    for (size_t i = 0; i < count; i++) {
        const struct message *last = i ? &list[i - 1] : NULL;
        const char *what = before == ROLE_OTHER ? NULL : order_problem(before, last, list[i].role);
        if (what && *what)
            found(c, FINDING_INVALID_ROLE_ORDER, (int64_t)i, "messages[%zu] (%s) follows %s; %s", i,
                  role_word(list[i].role), before < 0 ? "nothing" : role_word((enum role)before),
                  what);
        before = (int)list[i].role;
    }
}

static void check_end(struct check *c, size_t count) {
    const struct message *list = c->e->messages;
    bool answers = false, unknown = false, trained = false;
    for (size_t i = 0; i < count; i++) {
        answers = answers || list[i].role == ROLE_ASSISTANT;
        trained = trained || (list[i].role == ROLE_ASSISTANT && list[i].weight != 0);
        unknown = unknown || list[i].role == ROLE_OTHER;
    }
    if (!answers && !unknown)
        found(c, FINDING_EXAMPLE_MISSING_ASSISTANT_MESSAGE, -1,
              "none of the %zu messages is the assistant's; add the answer", count);
    if (!answers) return;
    enum role last = list[count - 1].role;
    if (last != ROLE_ASSISTANT && last != ROLE_OTHER)
        found(c, FINDING_INVALID_ROLE_ORDER, (int64_t)count - 1,
              "the last turn is %s's; what comes after the last answer is never learned: add the "
              "answer or cut the row there",
              role_word(last));
    if (!trained && !c->v->o.tokens_checked)
        found(c, FINDING_TRAINS_NOTHING, -1,
              "every answer has \"weight\": 0; set one to 1 or remove the row");
}

/* --- tools --- */

static void check_arguments(struct check *c, size_t i, const struct call *call,
                            const struct toolset *tools) {
    const struct tool *tool = tools ? toolset_find(tools, call->name) : NULL;
    struct shown name = show(call->name);
    json_t *value = NULL;
    struct err err;
    char why[SCHEMA_WHY_MAX];
    if (tools && !tools->problem[0] && !tool)
        found(c, FINDING_INVALID_TOOL_ARGUMENTS, (int64_t)i,
              "messages[%zu] calls \"%s\", which is not among the row's tools; add it or mend the "
              "name",
              i, name.text);
    if (json_read(call->arguments, "arguments", &value, &err)) {
        found(c, FINDING_INVALID_TOOL_ARGUMENTS, (int64_t)i,
              "the arguments of \"%s\" in messages[%zu] are not JSON: %.200s", name.text, i,
              err.msg);
        return;
    }
    enum schema_answer a = SCHEMA_VALID;
    if (!json_is_object(value))
        found(c, FINDING_INVALID_TOOL_ARGUMENTS, (int64_t)i,
              "the arguments of \"%s\" in messages[%zu] are not a JSON object but \"%s\"",
              name.text, i, show(call->arguments).text);
    else if (tool && tool->schema)
        a = schema_check(tool->schema, value, why);
    if (a == SCHEMA_INVALID)
        found(c, FINDING_INVALID_TOOL_ARGUMENTS, (int64_t)i,
              "the arguments of \"%s\" in messages[%zu]: %s", name.text, i, why);
    if (a == SCHEMA_UNKNOWN)
        found(c, FINDING_SCHEMA_UNCHECKED, (int64_t)i,
              "the parameters of \"%s\" could not be held against the call in messages[%zu]: %s",
              name.text, i, why);
    json_decref(value);
}

static void unanswered(struct check *c) {
    for (size_t k = 0; k < c->open_count; k++) {
        const struct open_call *o = &c->open[k];
        if (o->answered) continue;
        found(c, FINDING_UNPAIRED_TOOL_CALL, (int64_t)o->message,
              "the call of \"%s\" (id \"%s\") in messages[%zu] has no result; add a tool message "
              "with its \"tool_call_id\"",
              show(o->name).text, show(o->id).text, o->message);
    }
    c->open_count = 0;
}

static void open_calls(struct check *c, size_t i) {
    const struct message *m = &c->e->messages[i];
    for (size_t k = 0; k < m->call_count && c->open_count < CALLS_OPEN_MAX; k++) {
        const struct call *call = &m->calls[k];
        for (size_t j = 0; j < c->open_count; j++)
            if (call->id.n && str_eq(c->open[j].id, call->id))
                found(c, FINDING_UNPAIRED_TOOL_CALL, (int64_t)i,
                      "two calls in messages[%zu] have the id \"%s\"; give each its own", i,
                      show(call->id).text);
        c->open[c->open_count++] =
            (struct open_call){.id = call->id, .name = call->name, .message = i};
    }
}

/* The call that this result answers: by id; by name or place where neither side has ids. */
static struct open_call *answered_by(struct check *c, const struct message *m) {
    for (int by_name = 1; by_name >= 0; by_name--)
        for (size_t k = 0; k < c->open_count; k++) {
            struct open_call *o = &c->open[k];
            if (o->answered || !str_eq(o->id, m->tool_call_id)) continue;
            if (o->id.n || !by_name || str_eq(o->name, m->name)) return o;
        }
    return NULL;
}

static void take_result(struct check *c, size_t i) {
    const struct message *m = &c->e->messages[i];
    struct open_call *o = answered_by(c, m);
    if (o)
        o->answered = true;
    else if (m->tool_call_id.n)
        found(c, FINDING_UNPAIRED_TOOL_CALL, (int64_t)i,
              "messages[%zu] is the result of call \"%s\", which the assistant's turn before it "
              "did not make (or which has a result already)",
              i, show(m->tool_call_id).text);
    else
        found(c, FINDING_UNPAIRED_TOOL_CALL, (int64_t)i,
              "messages[%zu] is a tool's result without \"tool_call_id\"; name the call it answers",
              i);
}

/* Calls may stay open at the end of the row: that is an answer to be learned. */
static void check_calls(struct check *c, const struct toolset *tools) {
    for (size_t i = 0; i < c->e->message_count; i++) {
        const struct message *m = &c->e->messages[i];
        for (size_t k = 0; k < m->call_count; k++) check_arguments(c, i, &m->calls[k], tools);
        if (m->role == ROLE_TOOL) {
            take_result(c, i);
            continue;
        }
        unanswered(c);
        open_calls(c, i);
    }
    bool results = c->e->messages[c->e->message_count - 1].role == ROLE_TOOL;
    if (results) unanswered(c);
}

static void check_tools(struct check *c) {
    const struct toolset *tools = NULL;
    bool any = false;
    for (size_t i = 0; i < c->e->message_count && !any; i++)
        any = c->e->messages[i].call_count || c->e->messages[i].role == ROLE_TOOL;
    if (c->e->tools.n) tools = toolset_get(c->v->tools, c->e->tools);
    if (tools && tools->problem[0]) found(c, FINDING_INVALID_TOOLS, -1, "%s", tools->problem);
    if (any) check_calls(c, tools);
    if (tools) toolset_put(c->v->tools, tools);
}

/* --- kinds of rows --- */

static void check_chat(struct check *c, size_t count) {
    for (size_t i = 0; i < count; i++) {
        check_role(c, i);
        check_content(c, i);
        check_weight(c, i);
    }
    check_order(c, count);
    check_tools(c);
}

static void check_pair(struct check *c) {
    const struct message *list = c->e->messages;
    size_t count = c->e->message_count, input = count - 2;
    if (count < 3) {
        found(c, FINDING_MISSING_MESSAGES_LIST, -1,
              "a preference row needs \"input\" with messages and one answer on each side");
        return;
    }
    check_chat(c, input);
    if (list[input - 1].role == ROLE_ASSISTANT)
        found(c, FINDING_INVALID_ROLE_ORDER, (int64_t)input - 1,
              "input ends with the assistant's turn; answers belong into the outputs");
    for (size_t i = input; i < count; i++) {
        const char *side = i == input ? "preferred" : "non-preferred";
        if (list[i].role != ROLE_ASSISTANT)
            found(c, FINDING_EXAMPLE_MISSING_ASSISTANT_MESSAGE, (int64_t)i,
                  "the %s output is of the role \"%s\"; it must be the assistant's", side,
                  show(list[i].role_name).text);
        if (is_blank(list[i].text))
            found(c, FINDING_MISSING_CONTENT, (int64_t)i,
                  "the %s output has no text; both answers are needed to compare them", side);
    }
    if (!is_blank(list[input].text) && str_eq(list[input].text, list[input + 1].text))
        found(c, FINDING_TRAINS_NOTHING, (int64_t)input + 1,
              "both outputs are the same, so there is nothing to prefer; change one or remove the "
              "row");
    check_refusal(c, input);
}

static void check_completion(struct check *c) {
    static const char *const names[] = {"prompt", "completion"};
    for (size_t i = 0; i < c->e->message_count && i < 2; i++)
        if (is_blank(c->e->messages[i].text))
            found(c, FINDING_MISSING_CONTENT, (int64_t)i, "\"%s\" is %s; %s", names[i],
                  c->e->messages[i].text.n ? "white space" : "empty",
                  i ? "fill it or remove the row"
                    : "fill it, or write {\"text\": ...} for plain text");
}

/* --- feedback --- */

static bool number_at(const json_t *o, const char *key, double *ret) {
    const json_t *v = json_object_get(o, key);
    if (json_is_object(v)) return number_at(v, "score", ret);
    if (!json_is_number(v)) return false;
    *ret = json_number_value(v);
    return true;
}

static bool has_text(struct str s, const char *what) {
    return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void check_feedback(struct check *c) {
    const struct validate_options *o = &c->v->o;
    double x = 0;
    if (!o->min_feedback_given || !c->e->json.n) return;
    if (!has_text(c->e->json, "\"feedback\"") && !has_text(c->e->json, "\"score\"")) return;
    const json_t *row = row_json(c), *more = json_object_get(row, "metadata");
    if (!number_at(row, "feedback", &x) && !number_at(row, "score", &x) &&
        !number_at(more, "feedback", &x) && !number_at(more, "score", &x))
        return;
    if (x < o->min_feedback)
        found(c, FINDING_LOW_FEEDBACK, -1, "rated %g, under the minimum of %g", x, o->min_feedback);
}

/* --- the example --- */

struct validator *validator_new(const struct validate_options *o) {
    struct validator *v = mem_zalloc(1, sizeof *v);
    v->o = *o;
    v->tools = toolset_cache_new();
    return v;
}

void validator_free(struct validator *v) {
    if (!v) return;
    toolset_cache_free(v->tools);
    mem_free(v);
}

int validate_example(struct validator *v, const struct example *e, struct findings *f,
                     struct err *err) {
    struct check c;
    c.v = v, c.e = e, c.f = f, c.err = err; /* `open` is large and needs no zeros */
    c.rc = 0, c.open_count = 0, c.json = NULL, c.parsed = false;
    if (e->message_count == 0) {
        found(&c, FINDING_MISSING_MESSAGES_LIST, -1,
              "there are no messages; give at least a user and an assistant message");
    } else if (e->kind == ROW_CHAT) {
        check_chat(&c, e->message_count);
        check_end(&c, e->message_count);
        for (size_t i = 0; i < e->message_count; i++) check_refusal(&c, i);
    } else if (e->kind == ROW_PAIR) {
        check_pair(&c);
    } else if (e->kind == ROW_COMPLETION) {
        check_completion(&c);
        check_refusal(&c, e->message_count - 1);
    } else if (is_blank(e->messages[0].text)) {
        found(&c, FINDING_MISSING_CONTENT, 0, "\"text\" is empty; fill it or remove the row");
    }
    check_feedback(&c);
    json_decref(c.json);
    return c.rc;
}
