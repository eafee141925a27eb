/* /v1/fine_tuning/alpha/graders: one grader, tried before it is used. */
#include "api/api.h"
#include "api/eval_ask.h"
#include "api/fields.h"

#include "base/clock.h"

static int read_grader(struct http_request *req, const struct fields *f, struct fields *config,
                       struct grader **ret, struct err *err) {
    struct str model;
    int rc = fields_required(f, "grader");
    if (!rc) rc = fields_object(f, "grader", config);
    if (!rc) rc = fields_required(config, "type");
    if (!rc) rc = fields_required(config, "name");
    if (rc) return rc;
    rc = grader_new_asking(config->o, "grader", ret, err);
    if (rc)
        return fields_wrong(config, NULL,
                            rc == ERR_UNSUPPORTED ? "unsupported_value" : "invalid_value",
                            "Invalid grader: %s.", err->msg);
    for (size_t i = 0; !rc && (model = grader_model(*ret, i)).n; i++)
        rc = eval_model_check(req, config, "model", model, err);
    if (rc) grader_free(*ret);
    return rc;
}

static int validate(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res), config;
    struct grader *g = NULL;
    int rc = fields_known(&f, "grader");
    if (!rc) rc = read_grader(req, &f, &config, &g, err);
    if (rc) return rc;
    grader_free(g);
    return http_json(res, 200, json_pack("{s:O}", "grader", config.o));
}

/* --- run --- */

struct trial {
    struct eval_calls calls;
    json_t *parts; /* scores of a multi's graders */
};

static int ask(void *ctx, const struct grader_question *q, struct buf *answer, struct err *err) {
    struct trial *t = ctx;
    return eval_grader_ask(&t->calls, q, answer, err);
}

static void part(void *ctx, struct str key, double score) {
    struct trial *t = ctx;
    json_object_setn_new(t->parts, key.p, key.n, json_real(score));
}

/* rc: of the grading */
static json_t *errors_json(const struct trial *t, int rc, const struct err *err) {
    static const char *const flags[] = {
        "formula_parse_error",        "sample_parse_error",          "truncated_observation_error",
        "unresponsive_reward_error",  "invalid_variable_error",      "other_error",
        "python_grader_server_error", "python_grader_runtime_error", "model_grader_server_error",
        "model_grader_refusal_error", "model_grader_parse_error"};
    static const char *const details[] = {"python_grader_server_error_type",
                                          "python_grader_runtime_error_details",
                                          "model_grader_server_error_details"};
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        json_object_set_new(o, flags[i], json_false());
    for (size_t i = 0; i < sizeof details / sizeof *details; i++)
        json_object_set_new(o, details[i], json_null());
    if (!rc) return o;
    const char *flag = t->calls.failed       ? "model_grader_server_error"
                       : rc == ERR_NOT_FOUND ? "invalid_variable_error"
                                             : "other_error";
    json_object_set_new(o, flag, json_true());
    if (t->calls.failed)
        json_object_set_new(o, "model_grader_server_error_details", json_string(err->msg));
    return o;
}

static json_t *answer_json(struct trial *t, const struct fields *config, double reward, int64_t ns,
                           json_t *errors) {
    json_t *usage = json_object();
    json_int_t tokens = 0;
    for (size_t i = 0; i < t->calls.usage_count; i++) {
        const struct eval_usage *u = &t->calls.usage[i];
        json_int_t all = u->prompt_tokens + u->completion_tokens;
        json_object_set_new(usage, u->model,
                            json_pack("{s:I, s:I, s:I, s:I}", "prompt_tokens",
                                      (json_int_t)u->prompt_tokens, "completion_tokens",
                                      (json_int_t)u->completion_tokens, "cached_tokens",
                                      (json_int_t)u->cached_tokens, "total_tokens", all));
        tokens += all;
    }
    bool asked = t->calls.usage_count > 0;
    json_t *metadata = json_pack(
        "{s:O, s:O, s:o, s:f, s:O, s:o, s:o}", "name", json_object_get(config->o, "name"), "type",
        json_object_get(config->o, "type"), "errors", errors, "execution_time", (double)ns / 1e9,
        "scores", t->parts, "token_usage", asked ? json_integer(tokens) : json_null(),
        "sampled_model_name", asked ? json_string(t->calls.usage[0].model) : json_null());
    return json_pack("{s:f, s:o, s:O, s:o}", "reward", reward, "metadata", metadata, "sub_rewards",
                     t->parts, "model_grader_token_usage_per_model", usage);
}

static int run(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res), config, item;
    struct trial t = {.calls = {.api = api_of(req), .mem = req->arena}};
    struct grader *g = NULL;
    struct str text = {0};
    struct grade grade = {0};
    int rc = fields_known(&f, "grader item model_sample");
    if (!rc) rc = fields_required(&f, "model_sample");
    if (!rc) rc = fields_str(&f, "model_sample", 0, (size_t)1 << 24, &text);
    if (!rc) rc = fields_object(&f, "item", &item);
    if (!rc) rc = read_grader(req, &f, &config, &g, err);
    if (rc) return rc;
    t.parts = json_object();
    json_t *sample = grader_sample(text), *none = json_object();
    struct grader_asking asking = {.ask = ask, .part = part, .ctx = &t};
    struct placeholder_scope scope = {item.o ? item.o : none, sample};
    int64_t began = clock_ns();
    int failed = grader_grade_asking(g, &scope, &asking, &grade, err);
    json_t *errors = errors_json(&t, failed, err);
    json_t *answer = answer_json(&t, &config, failed ? 0 : grade.score, clock_ns() - began, errors);
    json_decref(sample);
    json_decref(none);
    json_decref(t.parts);
    eval_calls_release(&t.calls);
    grader_free(g);
    return http_json(res, 200, answer);
}

const struct http_route grader_routes[] = {
    {"POST", "/v1/fine_tuning/alpha/graders/run", run, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"POST", "/v1/fine_tuning/alpha/graders/validate", validate, .scope = HTTP_TUNING,
     .body = HTTP_JSON},
    {0}};
