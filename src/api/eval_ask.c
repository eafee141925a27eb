#include "api/eval_ask.h"

#include "api/fields.h"
#include "api/http_call.h"
#include "registry/names.h"

#include <time.h>

#define BUSY_MS 200        /* before a question that found the queue full is asked again */
#define GRADER_TOKENS 1024 /* of an answer, where the grader does not say */

void eval_calls_release(struct eval_calls *c) { json_decref(c->sample); }

/* --- what was used --- */

static void count(struct eval_calls *c, const json_t *answer) {
    struct str model = json_str(json_object_get(answer, "model"));
    const json_t *usage = json_object_get(answer, "usage");
    const json_t *details = json_object_get(usage, "prompt_tokens_details");
    size_t i = 0;
    while (i < c->usage_count && !str_eq(str_of(c->usage[i].model), model)) i++;
    if (i == EVAL_MODELS_MAX) return; /* a grader has fewer models */
    if (i == c->usage_count) {
        const char *name = arena_strndup(c->mem, model.p ? model.p : "", model.n);
        c->usage[c->usage_count++] = (struct eval_usage){.model = name ? name : ""};
    }
    struct eval_usage *u = &c->usage[i];
    u->calls++;
    u->prompt_tokens += json_integer_value(json_object_get(usage, "prompt_tokens"));
    u->completion_tokens += json_integer_value(json_object_get(usage, "completion_tokens"));
    u->cached_tokens += json_integer_value(json_object_get(details, "cached_tokens"));
}

/* --- asking --- */

static bool stopped(const struct eval_calls *c) { return c->stop && atomic_load(c->stop); }

int eval_chat(struct eval_calls *c, const json_t *body, json_t **ret, struct err *err) {
    struct http_called got;
    for (;;) {
        if (stopped(c)) return err_set(err, ERR_CANCELLED, "the server stops");
        http_call(chat_routes[0].handle, body, c->api, &got);
        if (got.status != 429) break;
        json_decref(got.body);
        nanosleep(&(struct timespec){.tv_nsec = BUSY_MS * 1000000L}, NULL);
    }
    const json_t *error = json_object_get(got.body, "error");
    if (got.status == 200 && !error) {
        count(c, got.body);
        *ret = got.body;
        return 0;
    }
    struct str message = json_str(json_object_get(error, "message"));
    err_set(err, got.status / 100 == 4 ? ERR_INVALID : ERR_INTERNAL, "%.*s",
            message.n > 400 ? 400 : (int)message.n, message.p ? message.p : "no answer");
    json_decref(got.body);
    return stopped(c) ? err_set(err, ERR_CANCELLED, "the server stops") : err->code;
}

static json_t *grader_body(const struct grader_question *q) {
    static const char *const taken[][2] = {{"temperature", "temperature"},
                                           {"top_p", "top_p"},
                                           {"seed", "seed"},
                                           {"max_completions_tokens", "max_completion_tokens"},
                                           {"max_completion_tokens", "max_completion_tokens"}};
    json_t *body =
        json_pack("{s:s%, s:O, s:{s:s, s:{s:s, s:O, s:b}}, s:i, s:i, s:i}", "model", q->model.p,
                  q->model.n, "messages", q->messages, "response_format", "type", "json_schema",
                  "json_schema", "name", "grade", "schema", q->schema, "strict", 1, "temperature",
                  0, "seed", 42, "max_completion_tokens", GRADER_TOKENS);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        json_t *v = json_object_get(q->sampling, taken[i][0]);
        if (v && !json_is_null(v)) json_object_set(body, taken[i][1], v);
    }
    return body;
}

static const json_t *message_of(const json_t *answer) {
    return json_object_get(json_array_get(json_object_get(answer, "choices"), 0), "message");
}

int eval_grader_ask(void *ctx, const struct grader_question *q, struct buf *answer,
                    struct err *err) {
    struct eval_calls *c = ctx;
    json_t *body = grader_body(q), *got = NULL;
    int rc = eval_chat(c, body, &got, err);
    if (rc && rc != ERR_CANCELLED) {
        c->failed = true;
        err_wrap(err, "the grader's model \"%.*s\"", q->model.n > 80 ? 80 : (int)q->model.n,
                 q->model.p);
    }
    json_decref(c->sample);
    c->sample = eval_sample_json(body, got, rc ? err : NULL);
    struct str text = json_str(json_object_get(message_of(got), "content"));
    if (!rc && text.p) buf_str(answer, text);
    json_decref(got);
    json_decref(body);
    return rc;
}

/* --- samples --- */

/* "content" as text, of any message */
static json_t *plain_message(const json_t *m) {
    const json_t *content = json_object_get(m, "content");
    struct str role = json_str(json_object_get(m, "role"));
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    if (json_is_string(content))
        buf_str(&b, json_str(content));
    else if (json_is_array(content))
        for (size_t i = 0; i < json_array_size(content); i++) {
            struct str t = json_str(json_object_get(json_array_get(content, i), "text"));
            if (t.p) buf_str(&b, t);
        }
    else if (json_object_get(m, "tool_calls"))
        json_write(json_object_get(m, "tool_calls"), &b);
    json_t *text = json_stringn(buf_view(&b).p, b.n);
    json_t *plain = json_pack("{s:s%, s:o}", "role", role.p ? role.p : "user",
                              role.p ? role.n : (size_t)4, "content", text);
    buf_release(&b);
    return plain;
}

static json_t *error_json(const struct err *e) {
    if (!e) return json_null();
    return json_pack("{s:s, s:s}", "code",
                     e->code == ERR_INTERNAL ? "server_error" : "invalid_request_error", "message",
                     e->msg);
}

static json_t *copied(const json_t *o, const char *key) {
    json_t *v = json_object_get(o, key);
    return v ? json_incref(v) : json_null();
}

static json_t *usage_json(const json_t *answer) {
    const json_t *u = json_object_get(answer, "usage");
    const json_t *details = json_object_get(u, "prompt_tokens_details");
    json_int_t prompt = json_integer_value(json_object_get(u, "prompt_tokens"));
    json_int_t completion = json_integer_value(json_object_get(u, "completion_tokens"));
    return json_pack("{s:I, s:I, s:I, s:I}", "total_tokens", prompt + completion,
                     "completion_tokens", completion, "prompt_tokens", prompt, "cached_tokens",
                     json_integer_value(json_object_get(details, "cached_tokens")));
}

json_t *eval_sample_json(const json_t *request, const json_t *answer, const struct err *error) {
    static const char *const echoed[] = {"temperature", "max_completion_tokens", "top_p", "seed"};
    const json_t *choice = json_array_get(json_object_get(answer, "choices"), 0), *m;
    json_t *o = json_object(), *input = json_array(), *output = json_array();
    size_t i;
    json_array_foreach(json_object_get(request, "messages"), i, m)
        json_array_append_new(input, plain_message(m));
    if (choice) json_array_append_new(output, plain_message(json_object_get(choice, "message")));
    json_object_set_new(o, "input", input);
    json_object_set_new(o, "output", output);
    json_object_set_new(o, "finish_reason", copied(choice, "finish_reason"));
    json_object_set_new(o, "model", answer ? copied(answer, "model") : copied(request, "model"));
    json_object_set_new(o, "usage", usage_json(answer));
    json_object_set_new(o, "error", error_json(error));
    for (size_t k = 0; k < sizeof echoed / sizeof *echoed; k++)
        json_object_set_new(o, echoed[k], copied(request, echoed[k]));
    return o;
}

json_t *eval_sample_scope(const json_t *answer) {
    const json_t *m = message_of(answer);
    json_t *tools = json_object_get(m, "tool_calls");
    struct str text = json_str(json_object_get(m, "content"));
    json_t *scope = grader_sample(text.p ? text : STR_LIT(""));
    if (tools && !json_is_null(tools)) json_object_set(scope, "output_tools", tools);
    return scope;
}

/* --- models by name --- */

int eval_model_check(struct http_request *req, const struct fields *f, const char *key,
                     struct str name, struct err *err) {
    struct named_model found;
    const struct api *api = api_of(req);
    const char *z = arena_strndup(req->arena, name.p, name.n);
    int rc = z && strlen(z) == name.n ? names_resolve(api->catalog, z, req->arena, &found, err)
                                      : ERR_NOT_FOUND;
    if (rc != ERR_NOT_FOUND || api->default_model) return rc == ERR_NOT_FOUND ? 0 : rc;
    return fields_wrong(f, key, "model_not_found",
                        "The model `%.*s` does not exist or you do not have access to it.",
                        (int)(name.n < 100 ? name.n : 100), name.p);
}
