#include "api/generation.h"

#include "api/grammar_cache.h"
#include "base/hash.h"
#include "base/mem.h"
#include "infer/grammar_filter.h"
#include "registry/names.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROMPT_MAX ((size_t)64 << 20)
#define HEADERS_AFTER 100 /* seconds: clients give up without headers after 300 */
#define PUMP_MS 100       /* between two looks whether the client is there */

/* --- the model --- */

static void fingerprint(struct generation *g) {
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_printf(&b, "%s\n%s\n%s", g->path, g->adapter ? g->adapter : "", g->api->path_name);
    snprintf(g->fingerprint, sizeof g->fingerprint, "fp_%010llx",
             (unsigned long long)(hash_bytes(b.p, b.n) & 0xFFFFFFFFFF));
    buf_release(&b);
}

int generation_model(struct generation *g, struct http_request *req, struct str name,
                     struct http_response *res, struct err *err) {
    struct named_model found;
    *g = (struct generation){.api = api_of(req)};
    const char *z = arena_strndup(req->arena, name.p, name.n);
    int rc = z && strlen(z) == name.n ? names_resolve(g->api->catalog, z, req->arena, &found, err)
                                      : ERR_NOT_FOUND;
    if (rc == ERR_NOT_FOUND && g->api->default_model)
        rc = names_resolve(g->api->catalog, g->api->default_model, req->arena, &found, err);
    if (rc == ERR_NOT_FOUND)
        return http_error(res, 404, "model_not_found", "model",
                          "The model `%.*s` does not exist or you do not have access to it.",
                          (int)(name.n < 100 ? name.n : 100), name.p);
    if (!rc) rc = engine_model_acquire(g->api->engine, found.path, &g->model, err);
    if (rc) return rc;
    g->name = found.id;
    g->path = found.path;
    g->adapter = found.adapter;
    g->context = model_config(g->model)->max_position;
    g->owner = req->key[0] ? hash_bytes(req->key, strlen(req->key)) : 0;
    fingerprint(g);
    return 0;
}

void generation_release(struct generation *g) {
    if (g->model) engine_model_release(g->api->engine, g->model);
    token_list_release(&g->prompt);
    *g = (struct generation){0};
}

/* --- the prompt --- */

int generation_prompt_chat(struct generation *g, const json_t *vars, struct err *err) {
    const struct tokenizer *t = model_tokenizer(g->model);
    struct buf text;
    buf_init(&text, PROMPT_MAX);
    g->prompt.n = 0;
    int rc = template_render_chat(model_template(g->model), vars, tokenizer_special_map(t), true,
                                  &text, err);
    if (!rc) rc = tokenizer_encode(t, buf_view(&text), false, &g->prompt, err);
    buf_release(&text);
    return rc;
}

int generation_fits(const struct generation *g, const char *param, int64_t prompt_tokens,
                    int64_t max_tokens, struct http_response *res) {
    if (prompt_tokens == 0)
        return http_error(res, 400, "invalid_value", param, "The prompt has no tokens.");
    if (prompt_tokens + (max_tokens != 0) <= g->context) return 0;
    return http_error(res, 400, "context_length_exceeded", param,
                      "This model's maximum context length is %lld tokens. However, your %s "
                      "resulted in %lld tokens. Please reduce the length of the %s.",
                      (long long)g->context, param, (long long)prompt_tokens, param);
}

int generation_knows_bias(const struct generation *g, const struct sampling_request *s,
                          struct http_response *res) {
    int64_t vocab = model_config(g->model)->vocab;
    for (int64_t i = 0; i < s->bias_count; i++)
        if (s->bias_id[i] < 0 || s->bias_id[i] >= vocab)
            return http_error(res, 400, "invalid_value", "logit_bias",
                              "Invalid 'logit_bias': token %d is not one of the model's %lld.",
                              s->bias_id[i], (long long)vocab);
    return 0;
}

struct engine_request generation_request(const struct generation *g) {
    return (struct engine_request){.model = g->path,
                                   .adapter = g->adapter,
                                   .prompt = g->prompt.ids,
                                   .prompt_count = g->prompt.n,
                                   .owner = g->owner};
}

int generation_wait(struct http_request *req,
                    int (*pump)(void *ctx, int wait_ms, bool *ret_done, struct err *err), void *ctx,
                    bool *ret_done, struct err *err) {
    time_t begun = time(NULL);
    *ret_done = false;
    while (!*ret_done && time(NULL) - begun < HEADERS_AFTER) {
        int rc = pump(ctx, PUMP_MS, ret_done, err);
        if (rc) return rc;
        if (!*ret_done && http_client_gone(req))
            return err_set(err, ERR_CANCELLED, "the client has gone");
    }
    return 0;
}

int generation_later(struct http_response *res,
                     enum http_next (*next)(void *ctx, int wait_ms, struct buf *out),
                     void (*close)(void *ctx, bool complete), void *ctx) {
    return http_stream(
        res,
        &(struct http_stream){
            .next = next, .close = close, .ctx = ctx, .type = "application/json", .idle = " "});
}

int generation_busy(struct http_request *req, struct http_response *res) {
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", engine_retry_after(api_of(req)->engine));
    http_header_add(req, res, "Retry-After", str_of(seconds));
    return http_error(res, 429, "rate_limit_exceeded", NULL,
                      "The queue of requests is full. Please try again in %s s.", seconds);
}

/* --- grammars --- */

int generation_filter(struct generation *g, struct grammar *grammar, struct engine_filter *ret,
                      struct err *err) {
    struct grammar_vocab *vocab = NULL;
    int rc = grammar_cache_vocab(g->api->grammars, g->path, &vocab, err);
    if (!rc) rc = grammar_filter(grammar, vocab, ret, err);
    grammar_vocab_free(vocab);
    return rc;
}
