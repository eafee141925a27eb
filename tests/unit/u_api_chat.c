#include "unit.h"

#include "api/batch_runner.h"
#include "api/grammar_cache.h"
#include "api_fixture.h"
#include "store/batches.h"
#include "store/blobs.h"
#include "store/completions.h"
#include "store/files.h"

/* Answers of the starter model, which needs no network and no other files. */

#define ASK "\"model\":\"starter\",\"messages\":[{\"role\":\"user\",\"content\":\"A cat.\"}]"
#define GREEDY ASK ",\"temperature\":0,\"max_tokens\":12"

static void start(struct api_fixture *f) {
    static const struct http_route *const tables[] = {
        batch_routes, chat_routes, completion_routes, completion_store_routes, file_routes, NULL};
    struct engine_options o = {.threads = 2, .queue_max = 8};
    struct err err;
    if (num_isa_choose(&o.isa, &err)) fail_msg("%s", err.msg);
    fixture_start(f, tables);
    if (engine_open(&o, &f->api.engine, &err)) fail_msg("%s", err.msg);
    f->api.grammars = grammar_cache_new(f->api.engine);
    f->api.path_name = "test";
}

static void stop(struct api_fixture *f) {
    struct engine *e = f->api.engine;
    struct grammar_cache *g = f->api.grammars;
    fixture_stop(f);
    grammar_cache_free(g);
    engine_close(e);
}

static json_t *chat(struct api_fixture *f, const char *body) {
    return fixture_ok(f, "POST", "/v1/chat/completions", "", body);
}

static json_t *choice_of(const json_t *answer, size_t i) {
    return json_array_get(json_object_get(answer, "choices"), i);
}

static const char *content_of(const json_t *answer) {
    return member_text(json_object_get(choice_of(answer, 0), "message"), "content");
}

/* The objects of a stream, in order; its end must be [DONE]. */
static json_t *events(struct api_fixture *f, const char *body) {
    struct answer a;
    json_t *list = json_array();
    client_once(f->port, "POST", "/v1/chat/completions", "", body, &a);
    if (a.status != 200) fail_msg("%s", a.body.p);
    const char *at = a.body.p;
    for (const char *end; (end = strstr(at, "\n\n")); at = end + 2) {
        struct str line = {at + 6, (size_t)(end - at) - 6};
        struct err err;
        json_t *v = NULL;
        assert_memory_equal(at, "data: ", 6);
        if (str_is(line, "[DONE]")) break;
        if (json_read(line, "event", &v, &err)) fail_msg("%s", err.msg);
        json_array_append_new(list, v);
    }
    assert_string_equal(at, "data: [DONE]\n\n");
    answer_release(&a);
    return list;
}

/* What the deltas' texts add up to for one choice. */
static void add_up(const json_t *list, int64_t index, struct buf *text, struct buf *arguments) {
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) {
        const json_t *c = choice_of(v, 0), *delta = json_object_get(c, "delta");
        const json_t *call = json_array_get(json_object_get(delta, "tool_calls"), 0);
        const json_t *fn = json_object_get(call, "function");
        if (!c || json_integer_value(json_object_get(c, "index")) != index) continue;
        buf_str(text, json_str(json_object_get(delta, "content")));
        buf_str(arguments, json_str(json_object_get(fn, "arguments")));
    }
}

static void a_stream_adds_up_to_the_answer(void **state) {
    (void)state;
    struct api_fixture f;
    struct buf text, none;
    start(&f);
    json_t *whole = chat(&f, "{" GREEDY "}");
    json_t *list = events(
        &f, "{" GREEDY ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"n\":2}");
    buf_init(&none, 100);
    for (int64_t i = 0; i < 2; i++) {
        buf_init(&text, 10000);
        add_up(list, i, &text, &none);
        assert_string_equal(text.p, content_of(whole));
        buf_release(&text);
        expect_member(choice_of(json_array_get(list, (size_t)i), 0), "delta",
                      "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
    }
    assert_int_equal(none.n, 0);
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    expect_member(last, "choices", "[]");
    const json_t *usage = json_object_get(last, "usage"), *alone = json_object_get(whole, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")),
                     2 * json_integer_value(json_object_get(alone, "completion_tokens")));
    buf_release(&none);
    json_decref(list);
    json_decref(whole);
    stop(&f);
}

static void many_choices_do_not_fill_the_queue(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    json_t *a = chat(&f, "{" ASK ",\"n\":24,\"seed\":3,\"max_tokens\":3}");
    assert_int_equal(json_array_size(json_object_get(a, "choices")), 24);
    json_t *b = chat(&f, "{" ASK ",\"n\":24,\"seed\":3,\"max_tokens\":3}");
    assert_true(json_equal(json_object_get(a, "choices"), json_object_get(b, "choices")));
    json_decref(b);
    json_decref(a);
    stop(&f);
}

#define BOOKING                                                                                    \
    "{\"type\":\"object\",\"properties\":{\"day\":{\"enum\":[\"Monday\",\"Friday\"]},\"people\":"  \
    "{\"type\":\"integer\"}},\"required\":[\"day\",\"people\"],\"additionalProperties\":false}"
#define TOOLS                                                                                      \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"book\",\"parameters\":" BOOKING   \
    ",\"strict\":true}}],\"max_tokens\":200"

static void check_booking(const char *text) {
    struct err err;
    json_t *v = NULL;
    if (json_read(str_of(text), "booking", &v, &err)) fail_msg("%s: %s", text, err.msg);
    const char *day = member_text(v, "day");
    assert_true(strcmp(day, "Monday") == 0 || strcmp(day, "Friday") == 0);
    assert_true(json_is_number(json_object_get(v, "people"))); /* 1.0, or more than 64 bits */
    assert_int_equal(json_object_size(v), 2);
    json_decref(v);
}

static void a_schema_holds(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    for (int seed = 0; seed < 4; seed++) {
        char body[1000];
        snprintf(body, sizeof body,
                 "{" ASK ",\"seed\":%d,\"temperature\":1.5,\"max_tokens\":200,\"response_format\":"
                 "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"b\",\"strict\":true,"
                 "\"schema\":" BOOKING "}}}",
                 seed);
        json_t *v = chat(&f, body);
        check_booking(content_of(v));
        json_decref(v);
    }
    fixture_wrong(&f, "POST", "/v1/chat/completions",
                  "{" ASK
                  ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                  "\"b\",\"schema\":{\"not\":{}}}}}",
                  400, "invalid_value", "response_format.json_schema.schema.not", "not");
    stop(&f);
}

/* beside tools too: an answer is a call, or what response_format says */
static void a_schema_holds_beside_tools(void **state) {
    (void)state;
#define SCHEMA(type)                                                                               \
    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"b\",\"schema\":{"  \
    "\"type\":\"object\",\"properties\":{\"day\":{\"type\":\"" type "\"}},\"required\":[\"day\"]," \
    "\"additionalProperties\":false}}}"
    struct api_fixture f;
    start(&f);
    for (int seed = 0; seed < 8; seed++) {
        char body[1500];
        snprintf(body, sizeof body,
                 "{" ASK TOOLS ",\"seed\":%d,\"temperature\":1.5" SCHEMA("boolean") "}", seed);
        json_t *v = chat(&f, body);
        const json_t *m = json_object_get(choice_of(v, 0), "message");
        const json_t *calls = json_object_get(m, "tool_calls");
        if (calls)
            check_booking(
                member_text(json_object_get(json_array_get(calls, 0), "function"), "arguments"));
        else if (strncmp(content_of(v), "{\"day\":", 7) != 0)
            fail_msg("%s", content_of(v));
        json_decref(v);
    }
    fixture_wrong(&f, "POST", "/v1/chat/completions", "{" ASK TOOLS SCHEMA("other") "}", 400,
                  "invalid_value", "response_format.json_schema.schema.properties.day.type",
                  "type");
    stop(&f);
}

static void a_call_that_is_demanded_comes(void **state) {
    (void)state;
    struct api_fixture f;
    struct buf text, arguments;
    start(&f);
    json_t *v = chat(&f, "{" ASK TOOLS ",\"tool_choice\":\"required\",\"temperature\":0}");
    const json_t *c = choice_of(v, 0), *m = json_object_get(c, "message");
    const json_t *call = json_array_get(json_object_get(m, "tool_calls"), 0);
    const json_t *fn = json_object_get(call, "function");
    expect_member(c, "finish_reason", "\"tool_calls\"");
    expect_member(m, "content", "null");
    expect_member(fn, "name", "\"book\"");
    check_booking(member_text(fn, "arguments"));
    json_t *list =
        events(&f, "{" ASK TOOLS ",\"tool_choice\":\"required\",\"temperature\":0,\"stream\":true,"
                   "\"parallel_tool_calls\":false}");
    buf_init(&text, 1000);
    buf_init(&arguments, 1000);
    add_up(list, 0, &text, &arguments);
    assert_int_equal(text.n, 0);
    check_booking(arguments.p);
    buf_release(&arguments);
    buf_release(&text);
    json_decref(list);
    json_decref(v);
    stop(&f);
}

static void a_function_without_parameters_takes_none(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    for (int strict = 0; strict < 2; strict++) {
        json_t *v =
            chat(&f, strict ? "{" ASK ",\"tools\":[{\"type\":\"function\",\"function\":{"
                              "\"name\":\"now\",\"strict\":true}}],"
                              "\"tool_choice\":\"required\",\"max_tokens\":200}"
                            : "{" ASK ",\"functions\":[{\"name\":\"now\",\"parameters\":null}],"
                              "\"function_call\":{\"name\":\"now\"},\"max_tokens\":200}");
        const json_t *m = json_object_get(choice_of(v, 0), "message");
        const json_t *call = json_array_get(json_object_get(m, "tool_calls"), 0);
        const json_t *fn =
            json_object_get(strict ? call : m, strict ? "function" : "function_call");
        assert_string_equal(member_text(fn, "arguments"), "{}");
        json_decref(v);
    }
    stop(&f);
}

static void what_cannot_be_is_said(void **state) {
    (void)state;
    struct api_fixture f;
    struct buf longer;
    start(&f);
    fixture_wrong(&f, "POST", "/v1/chat/completions",
                  "{\"model\":\"nobody\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                  404, "model_not_found", "model", "nobody");
    fixture_wrong(&f, "POST", "/v1/chat/completions", "{" ASK ",\"temperature\":7}", 400,
                  "decimal_above_max_value", "temperature", "7");
    fixture_wrong(&f, "POST", "/v1/chat/completions", "{" ASK ",\"logit_bias\":{\"9999999\":1}}",
                  400, "invalid_value", "logit_bias", "9999999");
    fixture_wrong(&f, "POST", "/v1/completions",
                  "{\"model\":\"starter\",\"prompt\":\"a\",\"logit_bias\":{\"9999999\":1}}", 400,
                  "invalid_value", "logit_bias", "9999999");
    buf_init(&longer, 100000);
    buf_z(&longer, "{\"model\":\"starter\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 2000; i++) buf_z(&longer, "a cat ");
    buf_z(&longer, "\"}]}");
    fixture_wrong(&f, "POST", "/v1/chat/completions", longer.p, 400, "context_length_exceeded",
                  "messages", "1024 tokens");
    buf_release(&longer);
    stop(&f);
}

static void what_is_to_be_stored_is_stored(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    json_t *v = chat(&f, "{" GREEDY ",\"store\":true,\"metadata\":{\"a\":\"b\"}}");
    json_t *list = fixture_ok(&f, "GET", "/v1/chat/completions?metadata%5Ba%5D=b", "", NULL);
    const json_t *first = json_array_get(json_object_get(list, "data"), 0);
    assert_string_equal(member_text(first, "id"), member_text(v, "id"));
    assert_string_equal(content_of(first), content_of(v));
    json_decref(list);
    json_decref(v);
    stop(&f);
}

static void texts_are_scored(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    json_t *v = fixture_ok(&f, "POST", "/v1/completions", "",
                           "{\"model\":\"starter\",\"prompt\":[\"The cat\",\"A dog sat.\"],"
                           "\"max_tokens\":0,\"echo\":true,\"logprobs\":1}");
    assert_string_equal(member_text(choice_of(v, 0), "text"), "The cat");
    const json_t *c = choice_of(v, 1), *l = json_object_get(c, "logprobs");
    assert_string_equal(member_text(c, "text"), "A dog sat.");
    const json_t *values = json_object_get(l, "token_logprobs");
    assert_int_equal(json_array_size(values), json_array_size(json_object_get(l, "tokens")));
    assert_true(json_is_null(json_array_get(values, 0)));
    assert_true(json_is_null(json_array_get(json_object_get(l, "top_logprobs"), 0)));
    for (size_t i = 1; i < json_array_size(values); i++)
        assert_true(json_real_value(json_array_get(values, i)) < 0);
    json_decref(v);
    stop(&f);
}

/* --- batches --- */

static json_t *batch_run(struct api_fixture *f, const char *lines) {
    char body[300], path[200];
    char *file = fixture_file(f, "b.jsonl", "batch", lines);
    struct err err;
    bool found = false;
    snprintf(body, sizeof body,
             "{\"input_file_id\":\"%s\",\"endpoint\":\"/v1/chat/completions\","
             "\"completion_window\":\"24h\"}",
             file);
    json_t *made = fixture_ok(f, "POST", "/v1/batches", "", body);
    expect_member(made, "status", "\"validating\"");
    if (batches_run(&f->api, NULL, &found, &err)) fail_msg("%s", err.msg);
    assert_true(found);
    snprintf(path, sizeof path, "/v1/batches/%s", member_text(made, "id"));
    json_t *done = fixture_ok(f, "GET", path, "", NULL);
    if (batches_run(&f->api, NULL, &found, &err)) fail_msg("%s", err.msg);
    assert_false(found);
    json_decref(made);
    free(file);
    return done;
}

#define LINE(id, url, more)                                                                        \
    "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"" url "\",\"body\":{" GREEDY more     \
    "}}\n"
#define CHAT_URL "/v1/chat/completions"

static void batches_answer_every_line(void **state) {
    (void)state;
    struct api_fixture f;
    struct answer a;
    char path[200];
    start(&f);
    json_t *b = batch_run(&f, LINE("a", CHAT_URL, "") LINE("b", "/v1/other", "")
                                  LINE("c", CHAT_URL, ",\"n\":0") LINE("d", CHAT_URL, ""));
    expect_member(b, "status", "\"completed\"");
    expect_member(b, "request_counts", "{\"total\":4,\"completed\":2,\"failed\":2}");
    json_t *usage = json_object_get(b, "usage");
    assert_non_null(
        json_object_get(json_object_get(usage, "input_tokens_details"), "cached_tokens"));
    expect_member(usage, "output_tokens_details", "{\"reasoning_tokens\":0}");
    json_t *alone = chat(&f, "{" GREEDY "}");
    snprintf(path, sizeof path, "/v1/files/%s/content", member_text(b, "output_file_id"));
    client_once(f.port, "GET", path, "", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body.p, "\"custom_id\":\"a\""));
    assert_non_null(strstr(a.body.p, "\"custom_id\":\"d\""));
    assert_non_null(strstr(a.body.p, content_of(alone)));
    answer_release(&a);
    snprintf(path, sizeof path, "/v1/files/%s/content", member_text(b, "error_file_id"));
    client_once(f.port, "GET", path, "", NULL, &a);
    assert_non_null(strstr(a.body.p, "\"param\":\"url\""));
    assert_non_null(strstr(a.body.p, "\"param\":\"n\""));
    answer_release(&a);
    json_decref(alone);
    json_decref(b);
    stop(&f);
}

/* more lines than there are between two notes of how far it is */
static void a_long_batch_is_counted(void **state) {
    (void)state;
    struct api_fixture f;
    struct buf lines;
    start(&f);
    buf_init(&lines, 1 << 20);
    for (int i = 0; i < 130; i++)
        buf_printf(&lines,
                   "{\"custom_id\":\"%d\",\"method\":\"POST\",\"url\":\"" CHAT_URL
                   "\",\"body\":{" ASK ",\"n\":0}}\n",
                   i);
    json_t *b = batch_run(&f, lines.p);
    expect_member(b, "status", "\"completed\"");
    expect_member(b, "request_counts", "{\"total\":130,\"completed\":0,\"failed\":130}");
    json_decref(b);
    buf_release(&lines);
    stop(&f);
}

/* a server that was killed between the last two steps */
static void a_batch_that_is_all_but_completed_is_completed(void **state) {
    (void)state;
    static const char *const states[] = {"validating", "in_progress", "finalizing"};
    struct api_fixture f;
    struct err err;
    char body[300], path[200];
    bool found = true;
    start(&f);
    char *file = fixture_file(&f, "b.jsonl", "batch", LINE("a", CHAT_URL, ""));
    snprintf(body, sizeof body,
             "{\"input_file_id\":\"%s\",\"endpoint\":\"/v1/chat/completions\","
             "\"completion_window\":\"24h\"}",
             file);
    json_t *made = fixture_ok(&f, "POST", "/v1/batches", "", body);
    for (int i = 0; i < 2; i++) {
        struct batch_update u = {
            .from = states[i], .to = states[i + 1], .total = 1, .completed = 1};
        int rc = batches_update(f.api.catalog, member_text(made, "id"), &u, &err);
        if (rc) fail_msg("%s", err.msg);
    }
    if (batches_run(&f.api, NULL, &found, &err)) fail_msg("%s", err.msg);
    assert_false(found); /* nothing is answered again */
    snprintf(path, sizeof path, "/v1/batches/%s", member_text(made, "id"));
    json_t *b = fixture_ok(&f, "GET", path, "", NULL);
    expect_member(b, "status", "\"completed\"");
    expect_member(b, "request_counts", "{\"total\":1,\"completed\":1,\"failed\":0}");
    json_decref(made);
    json_decref(b);
    free(file);
    stop(&f);
}

static void a_repeated_id_fails_the_batch(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    json_t *b =
        batch_run(&f, LINE("a", CHAT_URL, "") LINE("b", CHAT_URL, "") LINE("a", CHAT_URL, ""));
    expect_member(b, "status", "\"failed\"");
    expect_member(b, "output_file_id", "null");
    const json_t *list = json_object_get(json_object_get(b, "errors"), "data");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "line")), 3);
    json_decref(b);
    stop(&f);
}

UNIT_TESTS(api_chat, cmocka_unit_test(a_stream_adds_up_to_the_answer),
           cmocka_unit_test(many_choices_do_not_fill_the_queue), cmocka_unit_test(a_schema_holds),
           cmocka_unit_test(a_schema_holds_beside_tools),
           cmocka_unit_test(a_call_that_is_demanded_comes),
           cmocka_unit_test(a_function_without_parameters_takes_none),
           cmocka_unit_test(what_cannot_be_is_said),
           cmocka_unit_test(what_is_to_be_stored_is_stored), cmocka_unit_test(texts_are_scored),
           cmocka_unit_test(batches_answer_every_line), cmocka_unit_test(a_long_batch_is_counted),
           cmocka_unit_test(a_batch_that_is_all_but_completed_is_completed),
           cmocka_unit_test(a_repeated_id_fails_the_batch))
