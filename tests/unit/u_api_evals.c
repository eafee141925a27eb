/* Evals over HTTP. Runs are made by the test itself, where the server has a thread. */
#include "unit.h"

#include "api/eval_runner.h"
#include "api/grammar_cache.h"
#include "api_fixture.h"
#include "infer/engine.h"
#include "store/evals.h"

#include <stdlib.h>

static void start(struct api_fixture *f) {
    static const struct http_route *const tables[] = {eval_routes, eval_run_routes, grader_routes,
                                                      chat_routes, file_routes,     NULL};
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

static json_t *post(struct api_fixture *f, const char *path, const char *body, int status) {
    struct answer a;
    client_once(f->port, "POST", path, "", body, &a);
    if (a.status != status) fail_msg("%s: %d %s", path, a.status, a.body.p);
    json_t *v = answer_json(&a);
    answer_release(&a);
    return v;
}

#define CHECK                                                                                      \
    "{\"type\":\"string_check\",\"name\":\"same\",\"input\":\"{{sample.output_text}}\","           \
    "\"reference\":\"{{item.want}}\",\"operation\":\"eq\"}"
#define LABEL                                                                                      \
    "{\"type\":\"label_model\",\"name\":\"label\",\"model\":\"starter\",\"input\":[{\"role\":"     \
    "\"user\",\"content\":\"{{sample.output_text}}\"}],\"labels\":[\"good\",\"bad\"],"             \
    "\"passing_labels\":[\"good\",\"bad\"]}"
#define CUSTOM                                                                                     \
    "\"data_source_config\":{\"type\":\"custom\",\"include_sample_schema\":true,\"item_schema\":{" \
    "\"type\":\"object\",\"properties\":{\"want\":{\"type\":\"string\"}},\"required\":[\"want\"]}" \
    "}"
#define EVAL(criteria) "{\"name\":\"e\"," CUSTOM ",\"testing_criteria\":[" criteria "]}"

/* the path of a new run of a new eval, to be freed */
static char *order(struct api_fixture *f, const char *eval, const char *run) {
    char path[200];
    json_t *e = post(f, "/v1/evals", eval, 201);
    snprintf(path, sizeof path, "/v1/evals/%s/runs", member_text(e, "id"));
    json_t *r = post(f, path, run, 201);
    expect_member(r, "status", "\"queued\"");
    snprintf(path, sizeof path, "/v1/evals/%s/runs/%s", member_text(e, "id"), member_text(r, "id"));
    json_decref(e);
    json_decref(r);
    return strdup(path);
}

static json_t *run(struct api_fixture *f, const char *path) {
    struct err err;
    bool found = false;
    if (eval_runs_go(&f->api, NULL, &found, &err)) fail_msg("%s", err.msg);
    assert_true(found);
    json_t *r = fixture_ok(f, "GET", path, "", NULL);
    if (eval_runs_go(&f->api, NULL, &found, &err)) fail_msg("%s", err.msg);
    assert_false(found);
    return r;
}

#define CONTENT(rows)                                                                              \
    "{\"data_source\":{\"type\":\"jsonl\",\"source\":{\"type\":\"file_content\",\"content\":"      \
    "[" rows "]}}}"

static void given_answers_are_graded(void **state) {
    (void)state;
    struct api_fixture f;
    char path[300];
    start(&f);
    char *at = order(&f, EVAL(CHECK),
                     CONTENT("{\"item\":{\"want\":\"a\"},\"sample\":{\"output_text\":\"a\"}},"
                             "{\"item\":{\"want\":\"a\"},\"sample\":{\"output_text\":\"b\"}},"
                             "{\"item\":{\"want\":\"a\"}},{\"item\":{\"want\":3}}"));
    json_t *r = run(&f, at);
    expect_member(r, "status", "\"completed\"");
    expect_member(r, "result_counts", "{\"total\":4,\"errored\":2,\"failed\":1,\"passed\":1}");
    expect_member(r, "model", "null");
    expect_member(r, "error", "null");
    json_decref(r);
    snprintf(path, sizeof path, "%s/output_items", at);
    json_t *list = fixture_ok(&f, "GET", path, "", NULL);
    static const char *const states[] = {"\"pass\"", "\"fail\"", "\"error\"", "\"error\""};
    for (size_t i = 0; i < 4; i++) {
        const json_t *item = json_array_get(json_object_get(list, "data"), i);
        expect_member(item, "status", states[i]);
        assert_int_equal(json_integer_value(json_object_get(item, "datasource_item_id")), i);
    }
    json_decref(list);
    snprintf(path, sizeof path, "%s/output_items?status=fail", at);
    list = fixture_ok(&f, "GET", path, "", NULL);
    assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
    json_decref(list);
    fixture_wrong(&f, "POST", at, NULL, 400, NULL, NULL, "completed");
    free(at);
    stop(&f);
}

static void models_answer_and_grade(void **state) {
    (void)state;
    struct api_fixture f;
    char path[300], body[1000];
    start(&f);
    char *file = fixture_file(&f, "rows.jsonl", "evals",
                              "{\"item\":{\"want\":\"x\",\"q\":\"A cat.\"}}\nnot JSON\n");
    snprintf(body, sizeof body,
             "{\"data_source\":{\"type\":\"completions\",\"model\":\"starter\",\"input_messages\":{"
             "\"type\":\"template\",\"template\":[{\"role\":\"user\",\"content\":{\"type\":"
             "\"input_text\",\"text\":\"Tell: {{item.q}}\"}}]},\"sampling_params\":{"
             "\"temperature\":0,\"max_completion_tokens\":6},\"source\":{\"type\":\"file_id\","
             "\"id\":\"%s\"}}}",
             file);
    char *at = order(&f, EVAL(LABEL), body);
    json_t *r = run(&f, at);
    expect_member(r, "result_counts", "{\"total\":2,\"errored\":1,\"failed\":0,\"passed\":1}");
    const json_t *usage = json_array_get(json_object_get(r, "per_model_usage"), 0);
    expect_member(usage, "model_name", "\"starter\"");
    expect_member(usage, "invocation_count", "2"); /* an answer, a grade */
    json_decref(r);
    snprintf(path, sizeof path, "%s/output_items?limit=1", at);
    json_t *list = fixture_ok(&f, "GET", path, "", NULL);
    const json_t *item = json_array_get(json_object_get(list, "data"), 0);
    const json_t *sample = json_object_get(item, "sample");
    expect_member(sample, "input", "[{\"role\":\"user\",\"content\":\"Tell: A cat.\"}]");
    assert_true(json_is_string(json_object_get(sample, "finish_reason")));
    const json_t *result = json_array_get(json_object_get(item, "results"), 0);
    assert_true(json_is_object(json_object_get(result, "sample")));
    json_decref(list);
    free(at);
    free(file);
    stop(&f);
}

static void a_run_that_was_broken_off_goes_on(void **state) {
    (void)state;
    struct api_fixture f;
    struct err err;
    start(&f);
    char *at = order(&f, EVAL(CHECK),
                     CONTENT("{\"item\":{\"want\":\"a\"},\"sample\":{\"output_text\":\"b\"}},"
                             "{\"item\":{\"want\":\"a\"},\"sample\":{\"output_text\":\"a\"}}"));
    const char *id = strrchr(at, '/') + 1;
    /* a server that ended kept the first row, as it was then */
    if (eval_runs_update(f.api.catalog, id, "queued", "in_progress", 2, NULL, &err))
        fail_msg("%s", err.msg);
    struct eval_output item = {
        .run = id, .status = "pass", .item = "{\"kept\":1}", .results = "[]", .sample = "{}"};
    if (eval_items_add(f.api.catalog, &item, &(struct eval_counts){0}, &err))
        fail_msg("%s", err.msg);
    json_t *r = run(&f, at);
    expect_member(r, "result_counts", "{\"total\":2,\"errored\":0,\"failed\":0,\"passed\":2}");
    json_decref(r);
    free(at);
    stop(&f);
}

static void a_run_without_rows_fails(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    char *at = order(&f, EVAL(CHECK),
                     "{\"data_source\":{\"type\":\"responses\",\"source\":{\"type\":\"responses\","
                     "\"limit\":3}}}");
    json_t *r = run(&f, at);
    expect_member(r, "status", "\"failed\"");
    assert_non_null(strstr(member_text(json_object_get(r, "error"), "message"), "store"));
    json_decref(r);
    free(at);
    stop(&f);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param;
    } evals[] = {
        {"{" CUSTOM "}", "missing_required_parameter", "testing_criteria"},
        {EVAL(CHECK ",{\"type\":\"python\",\"name\":\"p\",\"source\":\"\"}"), "unsupported_value",
         "testing_criteria[1]"},
        {EVAL("{\"type\":\"text_similarity\",\"name\":\"t\",\"input\":\"a\",\"reference\":\"b\","
              "\"evaluation_metric\":\"cosine\",\"pass_threshold\":1}"),
         "unsupported_value", "testing_criteria[0]"},
        {EVAL("{\"type\":\"text_similarity\",\"name\":\"t\",\"input\":\"a\",\"reference\":\"b\","
              "\"evaluation_metric\":\"bleu\"}"),
         "missing_required_parameter", "testing_criteria[0].pass_threshold"},
        {EVAL("{\"type\":\"score_model\",\"name\":\"s\",\"model\":\"none\",\"input\":[{\"role\":"
              "\"user\",\"content\":\"x\"}]}"),
         "model_not_found", "testing_criteria[0].model"},
        {EVAL("{\"type\":\"score_model\",\"name\":\"s\",\"model\":\"starter\",\"range\":[1,0],"
              "\"input\":[{\"role\":\"user\",\"content\":\"x\"}]}"),
         "invalid_value", "testing_criteria[0]"},
    };
    struct api_fixture f;
    start(&f);
    for (size_t i = 0; i < sizeof evals / sizeof *evals; i++)
        fixture_wrong(&f, "POST", "/v1/evals", evals[i].body, 400, evals[i].code, evals[i].param,
                      "");
    fixture_wrong(&f, "POST", "/v1/evals/eval_none/runs", CONTENT("{\"item\":{}}"), 404, NULL, "id",
                  "eval_none");
    stop(&f);
}

static void graders_are_tried(void **state) {
    (void)state;
    struct api_fixture f;
    start(&f);
    json_t *v = post(&f, "/v1/fine_tuning/alpha/graders/run",
                     "{\"grader\":{\"type\":\"multi\",\"name\":\"m\",\"graders\":{\"a\":" CHECK
                     "},\"calculate_output\":\"a * 2\"},\"item\":{\"want\":\"x\"},"
                     "\"model_sample\":\"x\"}",
                     200);
    expect_member(v, "reward", "2.0");
    expect_member(v, "sub_rewards", "{\"a\":1.0}");
    json_decref(v);
    v = post(&f, "/v1/fine_tuning/alpha/graders/run",
             "{\"grader\":" CHECK ",\"model_sample\":\"x\"}", 200);
    expect_member(v, "reward", "0.0");
    expect_member(json_object_get(json_object_get(v, "metadata"), "errors"),
                  "invalid_variable_error", "true");
    json_decref(v);
    v = post(&f, "/v1/fine_tuning/alpha/graders/run",
             "{\"grader\":" LABEL ",\"model_sample\":\"x\"}", 200);
    expect_member(v, "reward", "1.0");
    expect_member(json_object_get(v, "metadata"), "sampled_model_name", "\"starter\"");
    json_decref(v);
    json_decref(post(&f, "/v1/fine_tuning/alpha/graders/validate", "{\"grader\":" CHECK "}", 200));
    stop(&f);
}

UNIT_TESTS(api_evals, cmocka_unit_test(given_answers_are_graded),
           cmocka_unit_test(models_answer_and_grade),
           cmocka_unit_test(a_run_that_was_broken_off_goes_on),
           cmocka_unit_test(a_run_without_rows_fails), cmocka_unit_test(what_cannot_be_is_refused),
           cmocka_unit_test(graders_are_tried))
