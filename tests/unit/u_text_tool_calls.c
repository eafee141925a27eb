/* Tool calls: read out of text in every cutting of it, and written through a grammar. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "text/json_scan.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* what comes out, as one text: content as it is, calls as «name|arguments» */
struct record {
    struct buf text;
    int cuts, calls;
    bool in_call;
};

static void on_event(void *ctx, const struct tool_event *e) {
    struct record *r = ctx;
    switch (e->kind) {
    case TOOL_CONTENT:
        if (r->in_call) fail_msg("content inside a call");
        buf_str(&r->text, e->text);
        break;
    case TOOL_BEGIN:
        r->in_call = true;
        buf_printf(&r->text, "<<%d:%.*s|", e->index, STR_ARG(e->text));
        break;
    case TOOL_ARGUMENTS: buf_str(&r->text, e->text); break;
    case TOOL_END:
        r->in_call = false;
        r->cuts += e->cut;
        buf_z(&r->text, ">>");
        break;
    }
}

static const struct str names[] = {{"f", 1}, {"get_weather", 11}};

/* pieces of `step` bytes; 0: of random length */
static void parse(enum tool_form form, const char *text, size_t step, bool eager,
                  struct record *ret) {
    struct rng r;
    rng_init(&r, unit_seed());
    *ret = (struct record){0};
    buf_init(&ret->text, 1 << 24);
    struct tool_parser *p = tool_parser_new(&(struct tool_parser_options){.form = form,
                                                                          .names = names,
                                                                          .name_count = 2,
                                                                          .eager = eager,
                                                                          .on_event = on_event,
                                                                          .ctx = ret});
    for (struct str rest = str_of(text); rest.n;) {
        size_t n = step ? step : 1 + rng_below(&r, 9);
        if (n > rest.n) n = rest.n;
        tool_parser_add(p, (struct str){rest.p, n});
        rest = str_from(rest, n);
    }
    tool_parser_end(p);
    ret->calls = tool_parser_calls(p);
    tool_parser_free(p);
}

static const struct {
    enum tool_form form;
    const char *text, *out;
} cases[] = {
    {TOOL_HERMES, "Hello < world", "Hello < world"},
    {TOOL_HERMES, "Hello <tool_call", "Hello <tool_call"},
    {TOOL_HERMES, "tail \n", "tail \n"},
    {TOOL_HERMES, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1.0}}\n</tool_call>",
     "<<0:f|{\"a\": 1.0}>>"},
    {TOOL_HERMES,
     "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{"
     "\"arguments\": {\"city\":\"\\u00fc<tool_call>\"}, \"name\": \"get_weather\"}\n</tool_call>\n",
     "I look.<<0:f|{}>><<1:get_weather|{\"city\":\"\\u00fc<tool_call>\"}>>"},
    {TOOL_HERMES, "<tool_call>{\"name\": \"f\"}</tool_call>", "<<0:f|{}>>"},
    {TOOL_HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call> x",
     "<<0:f|{}>> x"},
    {TOOL_HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\":1}\"}</tool_call>",
     "<<0:f|{\"a\":1}>>"},
    {TOOL_HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "<<0:f|{\"a\": 1}>>"},
    {TOOL_HERMES, "a <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}",
     "a <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}"},
    {TOOL_HERMES, "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
     "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>"},
    {TOOL_HERMES, "<tool_call>{name: f}</tool_call><tool_call>{\"name\":\"f\"}</tool_call>",
     "<tool_call>{name: f}</tool_call><<0:f|{}>>"},
    {TOOL_HERMES, "<tool_call> <tool_call>{\"name\":\"f\"}</tool_call>", "<tool_call><<0:f|{}>>"},
    {TOOL_HERMES, "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>",
     "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>"},
    {TOOL_HERMES, "<tool_call>{\"name\":\"f\",\"name\":\"f\"}</tool_call>",
     "<tool_call>{\"name\":\"f\",\"name\":\"f\"}</tool_call>"},
    {TOOL_LLAMA3, "{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}", "<<0:f|{\"a\": \"b\"}>>"},
    {TOOL_LLAMA3, "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "<<0:f|{}>>"},
    {TOOL_LLAMA3, "<|python_tag|>print(1)", "<|python_tag|>print(1)"},
    {TOOL_LLAMA3, "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"f\", \"parameters\": {}}",
     "<<0:f|{}>><<1:f|{}>>"},
    {TOOL_LLAMA3, "{\"name\": \"Bob\", \"parameters\": {}}",
     "{\"name\": \"Bob\", \"parameters\": {}}"},
    {TOOL_LLAMA3, "{\"name\": \"f\"}", "{\"name\": \"f\"}"},
    {TOOL_LLAMA3, "Say {\"name\": \"f\", \"parameters\": {}}",
     "Say {\"name\": \"f\", \"parameters\": {}}"},
    {TOOL_JSON, "[{\"name\": \"f\", \"arguments\": {}}, {\"name\":\"f\",\"arguments\":{\"x\":[]}}]",
     "<<0:f|{}>><<1:f|{\"x\":[]}>>"},
    {TOOL_JSON, "\n{\"name\": \"f\", \"parameters\": {\"q\": \"}\"}}\n", "<<0:f|{\"q\": \"}\"}>>"},
    {TOOL_JSON, "[1, 2]", "[1, 2]"},
    {TOOL_JSON, "{\"a\": 1} and more", "{\"a\": 1} and more"},
    {TOOL_MISTRAL, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}, \"id\": \"abcdefghi\"}]",
     "<<0:f|{}>>"},
    {TOOL_MISTRAL,
     "[TOOL_CALLS] [{\"name\":\"f\",\"arguments\":{}},{\"name\":\"f\",\"arguments\":{}}]",
     "<<0:f|{}>><<1:f|{}>>"},
    {TOOL_MISTRAL, "ok [TOOL_CALLS] none", "ok [TOOL_CALLS] none"},
    {TOOL_MISTRAL,
     "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}},{\"name\":", "<<0:f|{}>>,{\"name\":"},
    {TOOL_MISTRAL_ARGS, "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]get_weather[ARGS]{}",
     "<<0:f|{\"a\": 1}>><<1:get_weather|{}>>"},
    {TOOL_MISTRAL_ARGS, "x[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{\"a\": 1}", "x<<0:f|{\"a\": 1}>>"},
    {TOOL_MISTRAL_ARGS, "[TOOL_CALLS]nobody[ARGS]{}", "[TOOL_CALLS]nobody[ARGS]{}"},
};

static void calls_are_read_in_every_cutting(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 0; step < 40; step++) {
            struct record r;
            parse(cases[i].form, cases[i].text, step, false, &r);
            if (strcmp(buf_view(&r.text).p, cases[i].out))
                fail_msg("%s in pieces of %zu: %s", cases[i].text, step, buf_view(&r.text).p);
            buf_release(&r.text);
        }
}

/* Eager, whole calls give the same; cut at any byte, the arguments are still valid JSON. */
static void eager_arguments_are_valid_however_they_are_cut(void **state) {
    (void)state;
    static const char text[] =
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [-1.5e3, true, null, {\"b\": "
        "\"x\\n\\u00e9\\ud83d\\ude00\xC3\xA9\"}], \"c\": \"\", \"d\": 0}}\n</tool_call>";
    int cuts = 0;
    for (size_t n = 1; n < sizeof text; n++) {
        char *part = mem_strndup(text, n);
        struct record r;
        parse(TOOL_HERMES, part, n % 7, true, &r);
        char *from = strchr(buf_view(&r.text).p, '|'), *to = strstr(buf_view(&r.text).p, ">>");
        if (from && to) {
            struct err err;
            json_t *v;
            if (json_read((struct str){from + 1, (size_t)(to - from) - 1}, "arguments", &v, &err))
                fail_msg("cut at %zu: %s: %s", n, err.msg, buf_view(&r.text).p);
            json_decref(v);
        } else if (strcmp(part, buf_view(&r.text).p)) {
            fail_msg("cut at %zu: %s", n, buf_view(&r.text).p);
        }
        cuts += r.cuts;
        if (n + 1 == sizeof text && r.cuts) fail_msg("the whole text was cut");
        buf_release(&r.text);
        mem_free(part);
    }
    assert_true(cuts > 50);
}

static void a_cut_call_does_not_name_the_next(void **state) {
    (void)state;
    struct record r;
    parse(TOOL_MISTRAL_ARGS, "[TOOL_CALLS]f[ARGS]{\"a\":x [TOOL_CALLS]get_weather[ARGS]{}", 3, true,
          &r);
    assert_string_equal(buf_view(&r.text).p, "<<0:f|{\"a\":null}>>x<<1:get_weather|{}>>");
    assert_int_equal(r.cuts, 1);
    assert_int_equal(r.calls, 2);
    buf_release(&r.text);
}

/* The scanner against jansson: every beginning can be closed to valid JSON. */
static void scanned_json_can_be_closed_anywhere(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"a\" : [ 1, -0.5, 2e+7, \"x\\\"\\\\\\u12aF\\udbff\\udfff\", {}, [ ] ], \"b\":false}",
        "[[[null]], true ,\"\xE2\x82\xAC\xF0\x9F\x98\x80\"]",
        "\"\"",
    };
    for (size_t i = 0; i < 3; i++) {
        struct json_scan s;
        struct buf b;
        buf_init(&b, 1 << 16);
        json_scan_init(&s);
        for (const char *c = texts[i]; *c; c++) {
            struct err err;
            json_t *v = NULL;
            if (!json_scan_byte(&s, (unsigned char)*c)) fail_msg("refused: %s", c);
            buf_clear(&b);
            buf_add(&b, texts[i], (size_t)(c - texts[i]) + 1);
            json_scan_close(&s, &b);
            /* two empty keys in one object are JSON */
            if (json_read(buf_view(&b), "closed", &v, &err)) fail_msg("%s: %s", b.p, err.msg);
            json_decref(v);
        }
        assert_true(json_scan_done(&s));
        assert_false(json_scan_byte(&s, ' '));
        buf_release(&b);
    }
    static const char *const bad[] = {"{]",         "[,",     "01",   "-a",
                                      "{\"a\" 1",   "nulx",   "[1 2", "\"\\x",
                                      "{\"a\":1,}", "\"\xFF", "1.}",  "\"\\ud800x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json_scan s;
        bool ok = true;
        json_scan_init(&s);
        for (const char *c = bad[i]; *c; c++) ok = ok && json_scan_byte(&s, (unsigned char)*c);
        if (ok) fail_msg("accepted: %s", bad[i]);
    }
}

/* --- forms ---------------------------------------------------------------------------------------
 */

static const struct {
    const char *file;
    enum tool_form form;
} templates[] = {
    {"Qwen-Qwen2.5-7B-Instruct.jinja", TOOL_HERMES},
    {"Qwen-Qwen3-0.6B.jinja", TOOL_HERMES},
    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", TOOL_HERMES},
    {"meta-llama-Llama-3.1-8B-Instruct.jinja", TOOL_LLAMA3},
    {"meta-llama-Llama-3.2-3B-Instruct.jinja", TOOL_LLAMA3},
    {"mistralai-Mistral-Nemo-Instruct-2407.jinja", TOOL_MISTRAL},
    {"Mistral-Small-3.2-24B-Instruct-2506.jinja", TOOL_MISTRAL_ARGS},
    {"unsloth-mistral-Devstral-Small-2507.jinja", TOOL_MISTRAL_ARGS},
    {"google-gemma-2-2b-it.jinja", TOOL_JSON},
    {"Qwen3-Coder.jinja", TOOL_JSON},
};

static void forms_are_seen_in_templates(void **state) {
    (void)state;
    if (!dir_exists("../shared/data/chat-templates")) {
        print_message("skipped: no ../shared/data/chat-templates\n");
        return;
    }
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        struct err err;
        struct buf b;
        char *path = path_join("../shared/data/chat-templates", templates[i].file);
        buf_init(&b, 1 << 20);
        if (file_read(path, &b, &err)) fail_msg("%s", err.msg);
        if (tool_form_of_template(buf_view(&b)) != templates[i].form)
            fail_msg("%s is seen as %s", path, tool_form_name(tool_form_of_template(buf_view(&b))));
        buf_release(&b);
        mem_free(path);
    }
}

/* --- grammars ------------------------------------------------------------------------------------
 */

static struct grammar *tools_or(enum tool_form form, bool required, bool parallel,
                                const char *content) {
    static const char *const schema = "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":"
                                      "\"string\"}},\"required\":[\"city\"],"
                                      "\"additionalProperties\":false}";
    struct err err;
    struct grammar *g;
    json_t *parameters, *value = NULL;
    if (json_read(str_of(schema), "schema", &parameters, &err)) fail_msg("%s", err.msg);
    if (content && json_read(str_of(content), "schema", &value, &err)) fail_msg("%s", err.msg);
    struct tool_function f[2] = {{.name = names[1], .parameters = parameters}, {.name = names[0]}};
    struct tool_grammar_options o = {.form = form,
                                     .functions = f,
                                     .count = 2,
                                     .required = required,
                                     .parallel = parallel,
                                     .content = value};
    if (tool_grammar_compile(&o, &g, NULL, &err)) fail_msg("%s", err.msg);
    json_decref(parameters);
    json_decref(value);
    return g;
}

static struct grammar *tools(enum tool_form form, bool required, bool parallel) {
    return tools_or(form, required, parallel, NULL);
}

static const struct {
    enum tool_form form;
    bool required, parallel, ok;
    const char *text;
} written[] = {
    {TOOL_HERMES, true, false, true,
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"x\"}}\n</tool_call>"},
    {TOOL_HERMES, true, false, true,
     "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"any\":[1]}}\n</tool_call>"},
    {TOOL_HERMES, true, false, false,
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"any\": \"x\"}}\n</tool_call>"},
    {TOOL_HERMES, true, false, false, "text"},
    {TOOL_HERMES, true, false, false,
     "<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>\n<tool_call>\n{\"name\":\"f\","
     "\"arguments\":{}}\n</tool_call>"},
    {TOOL_HERMES, true, true, true,
     "<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>\n<tool_call>\n{\"name\":\"f\","
     "\"arguments\":{}}\n</tool_call>"},
    {TOOL_HERMES, false, false, true, "text <tool_ and < more"},
    {TOOL_HERMES, false, false, true,
     "I see. <<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"},
    {TOOL_HERMES, false, false, false, "I see. <tool_call> not"},
    {TOOL_HERMES, false, false, false,
     "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>"},
    {TOOL_LLAMA3, true, true, true, "{\"name\": \"f\", \"parameters\": {}}"},
    {TOOL_LLAMA3, true, true, false, "{\"name\": \"f\", \"arguments\": {}}"},
    {TOOL_LLAMA3, false, true, true, "{\"name\":\"f\",\"parameters\":{}}"},
    {TOOL_LLAMA3, false, true, true, "{\"nam\": 1} is JSON"},
    {TOOL_LLAMA3, false, true, true, ""},
    {TOOL_LLAMA3, false, true, false, "{\"name\": \"Bob\"}"},
    {TOOL_MISTRAL, true, true, true,
     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\", \"arguments\": {}}]"},
    {TOOL_MISTRAL, true, false, false,
     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\", \"arguments\": {}}]"},
    {TOOL_MISTRAL_ARGS, true, true, true, "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]f[ARGS]{\"a\":1}"},
    {TOOL_MISTRAL_ARGS, false, false, true, "hm[TOOL_CALLS]get_weather[ARGS]{\"city\":\"\"}"},
    {TOOL_JSON, true, false, true, "{\"name\": \"f\", \"arguments\": {}}"},
};

static void grammars_hold_calls_in_their_form(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        struct grammar *g = tools(written[i].form, written[i].required, written[i].parallel);
        if (grammar_accepts_text(g, str_of(written[i].text), true) != written[i].ok)
            fail_msg("%s: %s", written[i].text, written[i].ok ? "refused" : "accepted");
        grammar_free(g);
    }
}

/* with a schema for what is no call, an answer is one or the other */
static void grammars_hold_calls_or_a_value(void **state) {
    (void)state;
    static const char *const schema = "{\"type\":\"object\",\"properties\":{\"name\":{\"enum\":"
                                      "[\"a\",\"f\"]}},\"required\":[\"name\"],"
                                      "\"additionalProperties\":false}";
    static const struct {
        enum tool_form form;
        bool required, ok;
        const char *text;
    } either[] = {
        {TOOL_HERMES, false, true, "{\"name\": \"a\"}"},
        {TOOL_HERMES, false, true, "<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>"},
        {TOOL_HERMES, false, false, "text"},
        {TOOL_HERMES, false, false, ""},
        {TOOL_HERMES, false, false, "{\"name\": \"b\"}"},
        {TOOL_HERMES, false, false,
         "{\"name\":\"a\"}<tool_call>\n{\"name\":\"f\",\"arguments\":{}}"
         "\n</tool_call>"},
        {TOOL_HERMES, true, false, "{\"name\": \"a\"}"},
        {TOOL_JSON, false, true, "{\"name\": \"f\"}"},
        {TOOL_JSON, false, true, "{\"name\": \"f\", \"arguments\": {\"x\":1}}"},
        {TOOL_JSON, false, false, "{\"name\": \"a\", \"arguments\": {}}"},
        {TOOL_JSON, false, false, "{\"day\": 1}"},
        {TOOL_LLAMA3, false, true, "{\"name\":\"a\"}"},
        {TOOL_LLAMA3, false, true, "{\"name\":\"f\",\"parameters\":{}}"},
        {TOOL_MISTRAL, false, true, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}]"},
        {TOOL_MISTRAL, false, true, "{\"name\":\"a\"}"},
    };
    for (size_t i = 0; i < sizeof either / sizeof *either; i++) {
        struct grammar *g = tools_or(either[i].form, either[i].required, false, schema);
        if (grammar_accepts_text(g, str_of(either[i].text), true) != either[i].ok)
            fail_msg("%s: %s", either[i].text, either[i].ok ? "refused" : "accepted");
        grammar_free(g);
    }
}

static bool bit(const uint64_t *bits, int32_t id) { return bits[id >> 6] >> (id & 63) & 1; }

/* Random calls through the grammar are read as calls, and markers go out as their one token. */
static void what_a_grammar_writes_the_parser_reads(void **state) {
    (void)state;
    const char *dir = "../shared/data/tokenizers/qwen2.5";
    struct tokenizer *t;
    struct grammar_vocab *v;
    struct err err;
    struct rng r;
    if (!dir_exists(dir)) {
        print_message("skipped: no %s\n", dir);
        return;
    }
    if (tokenizer_open(dir, &t, &err)) fail_msg("%s", err.msg);
    int32_t stop = tokenizer_eos(t), marker = tokenizer_find(t, STR_LIT("<tool_call>"));
    int32_t quote = tokenizer_find(t, STR_LIT("\"")), brace = tokenizer_find(t, STR_LIT("}"));
    int64_t size = tokenizer_size(t);
    if (grammar_vocab_new(t, &stop, 1, &v, &err)) fail_msg("%s", err.msg);
    uint64_t *bits = mem_zalloc((size_t)size / 64 + 1, 8);
    rng_init(&r, unit_seed());
    for (int walk = 0; walk < 20; walk++) {
        struct grammar *g = tools(TOOL_HERMES, walk % 2, true);
        struct grammar_state *s;
        struct buf text;
        bool whole = false;
        buf_init(&text, 1 << 20);
        if (grammar_state_new(g, v, &s, &err)) fail_msg("%s", err.msg);
        grammar_mask(s, bits, size);
        assert_true(bit(bits, marker));
        assert_int_equal(bit(bits, stop), !(walk % 2));
        for (int step = 0; step < 300 && !whole; step++) {
            int32_t id = step ? -1 : marker;
            grammar_mask(s, bits, size);
            for (int k = 0; id < 0 && k < 100000; k++) {
                int32_t any = (int32_t)rng_below(&r, (uint64_t)size);
                int32_t end = (step + k) % 2 ? brace : quote;
                int32_t wish = k == 0 && step > 9 ? stop : k == 1 || k == 2 ? end : any;
                if (bit(bits, wish)) id = wish;
            }
            for (int32_t k = 0; id < 0; k++)
                if (bit(bits, k)) id = k;
            whole = id == stop;
            assert_true(grammar_accept(s, id));
            if (!whole) buf_str(&text, tokenizer_bytes(t, id));
        }
        struct record out;
        parse(TOOL_HERMES, buf_view(&text).p, 5, false, &out);
        if (!whole || strncmp(buf_view(&out.text).p, "<<0:", 4))
            fail_msg("%s gives %s", buf_view(&text).p, buf_view(&out.text).p);
        buf_release(&out.text);
        buf_release(&text);
        grammar_state_free(s);
        grammar_free(g);
    }
    mem_free(bits);
    grammar_vocab_free(v);
    tokenizer_free(t);
}

UNIT_TESTS(text_tool_calls, cmocka_unit_test(calls_are_read_in_every_cutting),
           cmocka_unit_test(eager_arguments_are_valid_however_they_are_cut),
           cmocka_unit_test(a_cut_call_does_not_name_the_next),
           cmocka_unit_test(scanned_json_can_be_closed_anywhere),
           cmocka_unit_test(forms_are_seen_in_templates),
           cmocka_unit_test(grammars_hold_calls_in_their_form),
           cmocka_unit_test(grammars_hold_calls_or_a_value),
           cmocka_unit_test(what_a_grammar_writes_the_parser_reads))
