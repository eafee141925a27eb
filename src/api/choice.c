#include "api/choice.h"

#include "base/clock.h"
#include "base/mem.h"
#include "text/decode.h"

#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#define TEXT_MAX ((size_t)64 << 20)
#define BIAS_UNLISTED (-9999.0)

/* --- sampling --- */

static uint64_t random_seed(void) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) abort();
    return seed;
}

struct sampling choice_sampling(const struct sampling_request *r, int64_t index,
                                struct logit_bias *bias) {
    uint64_t seed = r->has_seed ? (uint64_t)r->seed : random_seed();
    for (int64_t i = 0; i < r->bias_count; i++)
        bias[i] = (struct logit_bias){r->bias_id[i], r->bias[i]};
    return (struct sampling){.temperature = r->temperature,
                             .top_p = r->top_p,
                             .seed = index ? rng_hash(seed, (uint64_t)index) : seed,
                             .presence_penalty = r->presence_penalty,
                             .frequency_penalty = r->frequency_penalty,
                             .bias = bias,
                             .bias_count = r->bias_count};
}

/* --- opening --- */

int choice_open(struct choice *c, const struct choice_options *o, struct err *err) {
    const struct sampling_request *s = o->sampling;
    struct engine_request request = o->request;
    struct logit_bias *bias =
        s->bias_count ? mem_zalloc((size_t)s->bias_count, sizeof *bias) : NULL;
    *c = (struct choice){.tokenizer = model_tokenizer(o->model)};
    buf_init(&c->text, TEXT_MAX);
    stop_text_init(&c->stop, s->stop, s->stop_count);
    if (request.logprobs) c->logprobs = json_array();
    request.sampling = choice_sampling(s, o->index, bias);
    int64_t room = model_config(o->model)->max_position - request.prompt_count;
    request.max_tokens = s->max_tokens < room ? s->max_tokens : room;
    int rc = text_stream_init(&c->text_stream, c->tokenizer, !o->keep_special, request.prompt,
                              request.prompt_count, err);
    if (!rc) rc = engine_submit(o->engine, &request, &c->stream, err);
    c->opened_ns = clock_ns();
    mem_free(bias);
    if (rc) choice_close(c);
    return rc;
}

void choice_close(struct choice *c) {
    engine_stream_close(c->stream);
    if (c->tokenizer) text_stream_release(&c->text_stream);
    stop_text_release(&c->stop);
    buf_release(&c->text);
    for (size_t i = 0; i < c->pending_count; i++) json_decref(c->pending[i].entry);
    mem_free(c->pending);
    json_decref(c->logprobs);
    json_decref(c->prompt);
    *c = (struct choice){.ended = true};
}

/* --- log-probabilities --- */

static json_t *token_form(const struct tokenizer *t, int32_t id, float logprob) {
    struct str raw = tokenizer_bytes(t, id);
    struct buf text;
    json_t *bytes = json_array(), *v = json_object();
    for (size_t i = 0; i < raw.n; i++)
        json_array_append_new(bytes, json_integer((unsigned char)raw.p[i]));
    buf_init(&text, 4 * raw.n + 16);
    decode_lossy(raw, &text);
    json_object_set_new(v, "token", json_stringn(buf_view(&text).p, text.n));
    double p = isfinite(logprob) ? (double)logprob : BIAS_UNLISTED;
    json_object_set_new(v, "logprob", isnan(logprob) ? json_null() : json_real(p));
    json_object_set_new(v, "bytes", bytes);
    buf_release(&text);
    return v;
}

json_t *choice_token_entry(const struct tokenizer *t, const struct engine_token *token) {
    json_t *v = token_form(t, token->id, token->logprob), *top = json_array();
    for (int i = 0; i < token->top_count; i++)
        json_array_append_new(top, token_form(t, token->top[i].id, token->top[i].logprob));
    json_object_set_new(v, "top_logprobs", top);
    return v;
}

/* Entries go out with their text: one that belongs to a stop sequence never does. */
static void release_entries(struct choice *c, bool all) {
    size_t n = 0;
    bool certain = all || c->stop.held.n == 0;
    while (n < c->pending_count && (certain || c->pending[n].end <= c->text_bytes))
        json_array_append_new(c->logprobs, c->pending[n++].entry);
    for (size_t i = n; i < c->pending_count; i++) c->pending[i - n] = c->pending[i];
    c->pending_count -= n;
}

static void add_entry(struct choice *c, const struct engine_token *token) {
    if (!c->logprobs) return;
    mem_grow((void **)&c->pending, &c->pending_cap, c->pending_count + 1, sizeof *c->pending);
    c->raw_bytes += tokenizer_bytes(c->tokenizer, token->id).n;
    c->pending[c->pending_count++] =
        (struct choice_pending){choice_token_entry(c->tokenizer, token), c->raw_bytes};
}

/* --- what comes --- */

static void end(struct choice *c, const char *finish) {
    c->ended = true;
    c->finish = finish;
    if (c->logprobs) release_entries(c, !c->stop.hit);
}

static void take_text(struct choice *c, struct str piece) {
    size_t before = c->text.n;
    stop_text_add(&c->stop, piece, &c->text);
    c->text_bytes += c->text.n - before;
}

static int take_tokens(struct choice *c, const struct engine_event *e, struct err *err) {
    for (int64_t i = 0; i < e->count && !c->stop.hit; i++) {
        struct str piece;
        add_entry(c, &e->tokens[i]);
        c->completion_tokens++;
        int rc = text_stream_add(&c->text_stream, e->tokens[i].id, &piece, err);
        if (rc) return rc;
        take_text(c, piece);
        if (c->logprobs && !c->stop.hit) release_entries(c, false);
    }
    if (!c->stop.hit) return 0;
    engine_cancel(c->stream);
    end(c, "stop");
    return 0;
}

static int take_end(struct choice *c, const struct engine_event *e, struct err *err) {
    struct str rest;
    size_t before = c->text.n;
    int rc = text_stream_end(&c->text_stream, &rest, err);
    if (rc) return rc;
    stop_text_add(&c->stop, rest, &c->text);
    stop_text_end(&c->stop, &c->text);
    c->text_bytes += c->text.n - before;
    c->completion_tokens = e->completion_tokens;
    if (e->finish == FINISH_CANCELLED)
        return err_set(err, ERR_CANCELLED, "the answer was cancelled");
    end(c, e->finish == FINISH_LENGTH && !c->stop.hit ? "length" : "stop");
    return 0;
}

static void take_prompt(struct choice *c, const struct engine_event *e) {
    if (!c->prompt) c->prompt = json_array();
    for (int64_t i = 0; i < e->count; i++)
        json_array_append_new(c->prompt, choice_token_entry(c->tokenizer, &e->tokens[i]));
}

/* The engine knows best, but says it at the end, and its clock began a little before ours. */
static void take_times(struct choice *c, const struct engine_event *e) {
    if (e->kind == ENGINE_TOKENS && !c->first_ns) c->first_ns = clock_ns();
    int64_t first = c->opened_ns + (int64_t)(e->first_seconds * 1e9);
    if (e->first_seconds > 0 && (!c->first_ns || first < c->first_ns)) c->first_ns = first;
}

int choice_wait(struct choice *c, int timeout_ms, struct err *err) {
    struct engine_event e;
    if (c->ended) return 0;
    int rc = engine_next(c->stream, timeout_ms, &e, err);
    if (rc) return rc;
    c->prompt_tokens = e.prompt_tokens;
    c->cached_tokens = e.cached_tokens;
    take_times(c, &e);
    switch (e.kind) {
    case ENGINE_TIMEOUT: return 0;
    case ENGINE_PROMPT: take_prompt(c, &e); return 0;
    case ENGINE_TOKENS: return take_tokens(c, &e, err);
    case ENGINE_END: return take_end(c, &e, err);
    }
    return 0;
}

/* --- several --- */

#define AT_ONCE 16
#define SLICE_MS 20 /* between two looks at several answers */

static int open_some(struct choice_set *s, int64_t running, struct err *err) {
    int rc = 0;
    while (!rc && s->opened < s->count && running < AT_ONCE) {
        rc = s->open(s->ctx, s->opened, err);
        if (!rc) s->opened++, running++;
    }
    return rc == ERR_BUSY && running > 0 ? 0 : rc;
}

int choices_wait(struct choice_set *s, int wait_ms, bool *ret_done, struct err *err) {
    int64_t running = 0;
    for (int64_t i = 0; i < s->opened; i++) running += !s->at(s->ctx, i)->ended;
    int rc = open_some(s, running, err);
    struct choice *waiting = NULL;
    bool news = false;
    running = 0;
    for (int64_t i = 0; !rc && i < s->opened; i++) {
        struct choice *c = s->at(s->ctx, i);
        if (c->ended) continue;
        rc = choice_wait(c, 0, err);
        news = news || c->ended || c->text.n > 0;
        if (c->ended) continue;
        waiting = c;
        running++;
    }
    *ret_done = running == 0 && s->opened == s->count;
    if (rc || news || !waiting) return rc;
    return choice_wait(waiting, running > 1 && wait_ms > SLICE_MS ? SLICE_MS : wait_ms, err);
}
