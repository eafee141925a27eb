/* Streams: what a request asked for, and the tokens on their way to whoever asked. The worker adds,
 * the reader takes all there are at once: two buffers change places, nothing is copied. */
#include "infer/engine_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>
#include <time.h>

/* --- as submitted --- */

static int check_prompt(const struct engine_request *r, const struct held_model *m,
                        struct err *err) {
    int64_t vocab = model_config(m->m)->vocab, n = r->prompt_count;
    int64_t answer = r->max_tokens == 0 ? 0 : 1;
    if (n < 1)
        return err_set(err, ERR_INVALID,
                       "the prompt is empty, and this model has no token to begin with");
    if (n + answer > m->context)
        return err_set(err, ERR_LIMIT, "the prompt has %lld tokens; %lld fit beside the answer",
                       (long long)n, (long long)(m->context - answer));
    for (int64_t i = 0; i < n; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= vocab)
            return err_set(err, ERR_INVALID,
                           "token %lld has id %d, but the model knows ids below %lld only",
                           (long long)i, r->prompt[i], (long long)vocab);
    return 0;
}

static int check_top(const struct engine_request *r, struct err *err) {
    if (r->top >= 0 && r->top <= ENGINE_TOP_MAX) return 0;
    return err_set(err, ERR_INVALID, "%d alternatives of a token; 0 to %d can be told", r->top,
                   ENGINE_TOP_MAX);
}

static void init_shared(struct engine_stream *s) {
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, &a);
    pthread_condattr_destroy(&a);
}

static int fill(struct engine_stream *s, const struct engine_request *r, struct err *err) {
    const struct model *m = s->model->m;
    size_t vocab = (size_t)model_config(m)->vocab;
    int64_t room = s->model->context - r->prompt_count;
    bool fits = r->max_tokens >= 0 && r->max_tokens < room;
    bool changes = r->sampling.bias_count || r->sampling.presence_penalty != 0 ||
                   r->sampling.frequency_penalty != 0 || r->filter.mask;
    s->prompt_count = s->count = r->prompt_count;
    s->limit = r->prompt_count + (fits ? r->max_tokens : room);
    s->ignore_stops = r->ignore_stops;
    s->logprobs = r->logprobs;
    s->prompt_logprobs = r->prompt_logprobs;
    s->top = r->logprobs || r->prompt_logprobs ? r->top : 0;
    int rc = mem_try((size_t)s->limit, sizeof *s->ids, "request", (void **)&s->ids, err);
    if (!rc) memcpy(s->ids, r->prompt, (size_t)s->count * sizeof *s->ids);
    if (!rc && r->filter.mask)
        rc = mem_try((vocab + 63) / 64, 8, "token mask", (void **)&s->allowed, err);
    if (!rc && s->logprobs && changes)
        rc = mem_try(vocab, sizeof *s->raw, "log-probabilities", (void **)&s->raw, err);
    if (!rc) rc = sampler_init(&s->sampler, s->engine->num, &r->sampling, (int64_t)vocab, err);
    return rc;
}

int stream_new(struct engine *e, const struct engine_request *r, struct held_model *m,
               struct held_adapter *a, struct engine_stream **ret, struct err *err) {
    int rc = check_prompt(r, m, err);
    if (!rc) rc = check_top(r, err);
    if (rc) return rc;
    struct engine_stream *s = mem_zalloc(1, sizeof *s);
    s->engine = e;
    s->model = m;
    s->adapter = a;
    s->owner = r->owner;
    s->arrived = clock_ns();
    atomic_init(&s->refs, 1);
    atomic_init(&s->cancelled, false);
    init_shared(s);
    rc = fill(s, r, err);
    if (rc) {
        stream_unref(s);
        return rc;
    }
    s->filter = r->filter; /* from here on its ctx is ours */
    *ret = s;
    return 0;
}

static void tokens_release(struct tokens *t) {
    mem_free(t->list);
    mem_free(t->tops);
}

void stream_unref(struct engine_stream *s) {
    if (atomic_fetch_sub(&s->refs, 1) != 1) return;
    if (s->filter.release) s->filter.release(s->filter.ctx);
    sampler_release(&s->sampler);
    tokens_release(&s->fresh);
    tokens_release(&s->handed);
    tokens_release(&s->prompt);
    mem_free(s->ids);
    mem_free(s->allowed);
    mem_free(s->raw);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* --- the worker's side --- */

void stream_add(struct engine_stream *s, const struct engine_token *t, bool prompt) {
    pthread_mutex_lock(&s->lock);
    struct tokens *f = prompt ? &s->prompt : &s->fresh;
    size_t cap = f->cap, top = (size_t)s->top;
    mem_grow((void **)&f->list, &f->cap, f->count + 1, sizeof *f->list);
    if (top && f->cap != cap) f->tops = mem_realloc(f->tops, f->cap * top, sizeof *f->tops);
    struct engine_token *to = &f->list[f->count];
    *to = *t;
    to->top = NULL; /* set when it is handed out: the buffer may still move */
    if (to->top_count > 0)
        memcpy(f->tops + f->count * top, t->top, (size_t)to->top_count * sizeof *f->tops);
    f->count++;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
}

static double seconds_since(const struct engine_stream *s, int64_t then) {
    return then ? (double)(then - s->arrived) * 1e-9 : 0;
}

void stream_finish(struct engine *e, struct engine_stream *s, enum finish_reason finish,
                   const struct err *error) {
    struct held_model *m = s->model;
    struct held_adapter *a = s->adapter;
    pthread_mutex_lock(&s->lock);
    s->done = true;
    if (error) s->error = *error;
    s->end = (struct engine_event){.kind = ENGINE_END,
                                   .finish = finish,
                                   .prompt_tokens = s->prompt_count,
                                   .cached_tokens = s->cached,
                                   .completion_tokens = s->count - s->prompt_count,
                                   .first_seconds = seconds_since(s, s->first_token),
                                   .seconds = seconds_since(s, clock_ns())};
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    models_release(e, m, a);
    stream_unref(s);
}

/* --- the reader's side --- */

static struct timespec time_in(int64_t ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* A prompt's tokens are one event, when all of them are there. */
static bool prompt_is_ready(const struct engine_stream *s) {
    return !s->prompt_handed && s->prompt.count > 0 && (int64_t)s->prompt.count == s->prompt_count;
}

static void hand_out(struct tokens *t, size_t top, enum engine_event_kind kind,
                     struct engine_event *ret) {
    for (size_t i = 0; i < t->count; i++) t->list[i].top = top ? t->tops + i * top : NULL;
    *ret = (struct engine_event){.kind = kind, .tokens = t->list, .count = (int64_t)t->count};
}

static void take_fresh(struct engine_stream *s) {
    struct tokens t = s->handed;
    s->handed = s->fresh;
    s->fresh = t;
    s->fresh.count = 0;
}

int engine_next(struct engine_stream *s, int64_t timeout_ms, struct engine_event *ret,
                struct err *err) {
    struct timespec until = time_in(timeout_ms < 0 ? 0 : timeout_ms);
    int rc = 0, waited = 0;
    *ret = (struct engine_event){.kind = ENGINE_TIMEOUT};
    pthread_mutex_lock(&s->lock);
    while (!waited && !s->done && s->fresh.count == 0 && !prompt_is_ready(s))
        waited = timeout_ms < 0 ? pthread_cond_wait(&s->more, &s->lock)
                                : pthread_cond_timedwait(&s->more, &s->lock, &until);
    if (prompt_is_ready(s)) {
        s->prompt_handed = true;
        hand_out(&s->prompt, (size_t)s->top, ENGINE_PROMPT, ret);
    } else if (s->fresh.count > 0) {
        take_fresh(s);
        hand_out(&s->handed, (size_t)s->top, ENGINE_TOKENS, ret);
    } else if (s->done && s->error.code) {
        *err = s->error;
        rc = err->code;
    } else if (s->done) {
        *ret = s->end;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void engine_cancel(struct engine_stream *s) {
    struct engine *e = s->engine;
    atomic_store(&s->cancelled, true);
    pthread_mutex_lock(&e->lock);
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

void engine_stream_close(struct engine_stream *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    bool done = s->done;
    pthread_mutex_unlock(&s->lock);
    if (!done) engine_cancel(s);
    stream_unref(s);
}
