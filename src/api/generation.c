#include "api/generation.h"

#include "api/grammar_cache.h"
#include "api/request_log.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "infer/grammar_filter.h"
#include "jobs/canary_watch.h"
#include "registry/breaker.h"
#include "store/fallbacks.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
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

static struct router_who who_asks(const struct http_request *req) {
    struct str user = json_str(json_object_get(req->json, "safety_identifier"));
    if (!user.n) user = json_str(json_object_get(req->json, "user"));
    bool batch = strcmp(req->key, "batch") == 0; /* no key: lines of all users' batches */
    return (struct router_who){.user = user, .key = batch ? "" : req->key, .request = req->id};
}

static const char *side_of(const struct generation *g) {
    if (g->attempt) return " fallback";
    return !g->routed.run ? "" : g->routed.canary ? " canary" : " baseline";
}

static int resolve(struct generation *g, struct http_request *req, struct str name,
                   struct err *err) {
    struct router_who who = who_asks(req);
    g->asked = arena_strndup(req->arena, name.p, name.n);
    int rc = g->asked && strlen(g->asked) == name.n
                 ? router_resolve(g->api->catalog, g->asked, &who, req->arena, &g->routed, err)
                 : ERR_NOT_FOUND;
    if (rc != ERR_NOT_FOUND || !g->api->default_model) return rc;
    g->asked = g->api->default_model;
    return router_resolve(g->api->catalog, g->asked, &who, req->arena, &g->routed, err);
}

static void tell_route(const struct generation *g, struct http_request *req,
                       struct http_response *res) {
    char text[NAME_SIZE + 20];
    if (!g->routed.alias) return;
    snprintf(text, sizeof text, "%s%s", g->routed.alias, side_of(g));
    http_header_add(req, res, "x-attune-route", str_of(text));
}

/* A fallback's end says nothing of the canary, whose failure was told before. */
static void tell_canary(const struct generation *g, const struct generation_outcome *o) {
    const struct routed *r = &g->routed;
    if (!r->run || g->attempt) return;
    struct canary_event e = {.canary = r->canary,
                             .sticks = r->sticks,
                             .unit = r->unit,
                             .share = r->share,
                             .bad = {[CANARY_ERRORS] = o->failed,
                                     [CANARY_FORMAT] = o->failed ? -1 : o->wrong_format,
                                     [CANARY_EMPTY] = o->failed ? -1 : o->empty,
                                     [CANARY_FEEDBACK] = -1},
                             .seconds = (double)(clock_ns() - g->begun_ns) * 1e-9};
    canary_watch_note(g->api->canaries, r->run, &e);
}

/* The server's or the model's fault. A limit that is hit once the model is there is the request's.
 */
static bool is_ours(const struct generation *g, int rc) {
    return rc < 0 && rc != ERR_CANCELLED && rc != ERR_BUSY && rc != ERR_INVALID &&
           !(rc == ERR_LIMIT && g->model);
}

static bool has_fallback(const struct generation *g, struct http_request *req, int n) {
    struct routed r = {0};
    struct err none;
    return g->routed.alias && n < FALLBACKS_MAX &&
           router_fallback(g->api->catalog, g->asked, (size_t)n, req->arena, &r, &none) == 0;
}

/* The model of this attempt, loaded. One that keeps failing is passed over where there is another.
 */
static int acquire(struct generation *g, struct http_request *req, struct err *err) {
    int rc = g->attempt ? router_fallback(g->api->catalog, g->asked, (size_t)g->attempt - 1,
                                          req->arena, &g->routed, err)
                        : 0;
    if (rc) return rc;
    g->name = g->routed.model.id;
    g->settled = false;
    if (!breaker_allows(g->api->breakers, g->name, clock_ns() / 1000000) &&
        has_fallback(g, req, g->attempt)) {
        tell_canary(g, &(struct generation_outcome){.failed = true});
        g->settled = true; /* it was not asked */
        return err_set(err, ERR_INTERNAL, "\"%.100s\" failed several times", g->name);
    }
    return engine_model_acquire(g->api->engine, g->routed.model.path, &g->model, err);
}

int generation_model(struct generation *g, struct http_request *req, struct str name,
                     struct http_response *res, struct err *err) {
    int attempt = g->attempt;
    *g = (struct generation){.api = api_of(req), .begun_ns = clock_ns(), .attempt = attempt};
    int rc = resolve(g, req, name, err);
    if (rc && g->routed.run) generation_failed(g, ERR_INTERNAL); /* the candidate is gone */
    if (rc == ERR_NOT_FOUND)
        return http_error(res, 404, "model_not_found", "model",
                          "The model `%.*s` does not exist or you do not have access to it.",
                          (int)(name.n < 100 ? name.n : 100), name.p);
    if (rc) return rc;
    while ((rc = acquire(g, req, err)) != 0 && g->name) {
        generation_failed(g, rc);
        if (!is_ours(g, rc) || !has_fallback(g, req, g->attempt)) break;
        g->attempt++;
    }
    if (g->name) generation_log(g, req, 0, 0);
    tell_route(g, req, res);
    if (rc) return rc;
    g->path = g->routed.model.path;
    g->adapter = g->routed.model.adapter;
    g->context = model_config(g->model)->max_position;
    g->owner = req->key[0] ? hash_bytes(req->key, strlen(req->key)) : 0;
    fingerprint(g);
    return 0;
}

int generation_next(const struct generation *g, struct http_request *req, int rc) {
    return is_ours(g, rc) && g->model && has_fallback(g, req, g->attempt) ? g->attempt + 1 : -1;
}

/* --- how it ended --- */

void generation_note(struct generation *g, const struct generation_outcome *o) {
    if (g->settled) return;
    g->settled = true;
    if (g->name) breaker_ended(g->api->breakers, g->name, o->failed, clock_ns() / 1000000);
    tell_canary(g, o);
}

void generation_failed(struct generation *g, int rc) {
    if (is_ours(g, rc)) generation_note(g, &(struct generation_outcome){.failed = true});
}

int generation_stored(const struct generation *g, const char *completion, struct err *err) {
    const struct routed *r = &g->routed;
    if (!r->run || g->attempt) return 0;
    struct canary_answer a = {completion, r->run, r->canary, r->sticks, r->unit, r->share};
    return canaries_answer_add(g->api->catalog, &a, err);
}

bool generation_refused(struct str text) {
    static const char *const words[] = {"i'm sorry",    "i am sorry", "sorry, ",     "i cannot ",
                                        "i can't ",     "as an ai",   "i'm unable ", "i am unable ",
                                        "i'm not able", "i apologize"};
    while (text.n && (unsigned char)text.p[0] <= ' ') text = str_from(text, 1);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (text.n >= strlen(words[i]) && strncasecmp(text.p, words[i], strlen(words[i])) == 0)
            return true;
    return text.n == 0;
}

void generation_log(const struct generation *g, struct http_request *req, int64_t in, int64_t out) {
    char route[NAME_SIZE + 20] = "";
    if (g->routed.alias)
        snprintf(route, sizeof route, " route=%.50s%s%.10s", g->routed.alias,
                 side_of(g)[0] ? "/" : "", side_of(g)[0] ? side_of(g) + 1 : "");
    snprintf(req->note, sizeof req->note, "model=%.80s%.70s in=%lld out=%lld", g->name, route,
             (long long)in, (long long)out);
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

/* --- the request log --- */

void generation_entry(const struct generation *g, const struct http_request *req,
                      struct choice_set *set, struct request_entry *ret, bool *ret_ended) {
    int64_t now = clock_ns();
    *ret = (struct request_entry){.model = g->name,
                                  .key = req->key,
                                  .alias = json_str(json_object_get(req->json, "model")),
                                  .total_ms = (double)(now - g->begun_ns) / 1e6,
                                  .prompt_tokens = g->prompt.n,
                                  .format = -1};
    *ret_ended = set->opened == set->count && set->count > 0;
    for (int64_t i = 0; i < set->opened; i++) {
        const struct choice *c = set->at(set->ctx, i);
        int64_t first_ns = c->first_ns < now ? c->first_ns : now;
        double first = first_ns ? (double)(first_ns - g->begun_ns) / 1e6 : 0;
        ret->completion_tokens += c->completion_tokens;
        ret->cached_tokens += i == 0 ? c->cached_tokens : 0;
        if (first > 0 && (ret->first_ms == 0 || first < ret->first_ms)) ret->first_ms = first;
        *ret_ended = *ret_ended && c->ended;
    }
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
