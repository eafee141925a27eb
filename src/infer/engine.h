/* Answers for many at once. Requests come from any thread; one worker thread owns all sessions and
 * the compute pool and puts a token of every running request, and pieces of new prompts, into each
 * pass over the weights. Requests with different adapters over one base share a pass. A request's
 * tokens are the same alone or in any company, with or without a cached beginning, bit for bit
 * (docs/scheduler.md).
 *
 *     rc = engine_open(&(struct engine_options){.isa = isa, .compute = NUM_F32}, &e, err);
 *     rc = engine_model_acquire(e, path, &m, err);         // tokenizer and template, to render ids
 *     rc = engine_submit(e, &(struct engine_request){.model = path, .prompt = ids,
 *                            .prompt_count = n, .max_tokens = 64}, &s, err);
 *     do rc = engine_next(s, 1000, &event, err);           // tokens as they come
 *     while (!rc && event.kind != ENGINE_END);
 *     engine_stream_close(s); engine_model_release(e, m); engine_close(e);
 *
 * Threads: everything may be called from any thread, but one stream belongs to one thread at a time
 * (engine_cancel excepted). Loading a model or an adapter happens in the thread that asks for it;
 * the worker goes on with the others meanwhile.
 */
#ifndef INFER_ENGINE_H
#define INFER_ENGINE_H

#include "infer/generate.h"
#include "infer/logprobs.h"

struct engine;
struct engine_stream;

struct engine_options {
    int threads;           /* of the compute pool; 0: all cores */
    enum num_type compute; /* as in struct num_options */
    enum num_isa isa;
    size_t memory_bytes; /* weights, adapters, keys and values; 0: 3/4 of what is available now */
    int batch_max;       /* requests that run at one time; 0: 16 */
    int queue_max;       /* requests that wait; 0: 64 */
    int64_t context_max; /* tokens of prompt and answer together; 0: the model's own limit */
    bool weights_only;   /* models without tokenizer and template */
    /* What was loaded and is not as it should be: an adapter of another base. From the thread that
     * loads, without a lock; NULL: nobody wants to know. */
    void (*warn)(void *ctx, const char *text);
    void *warn_ctx;
};
int engine_open(const struct engine_options *o, struct engine **ret, struct err *err);
/* No more requests; those there are end with ERR_CANCELLED at once. */
void engine_stop(struct engine *e);
/* Stops too. All streams are closed and all models released before. NULL is fine. */
void engine_close(struct engine *e);

/* The model at `path`, loaded when it is not; usable by any thread until it is released. ERR_LIMIT
 * when it does not fit beside the models in use. */
int engine_model_acquire(struct engine *e, const char *path, const struct model **ret,
                         struct err *err);
void engine_model_release(struct engine *e, const struct model *m);
/* Files at `path` (a model, or an adapter's directory) were changed or removed: what is loaded of
 * them and cached for them is dropped when the requests that use it have ended; later requests load
 * anew. */
void engine_forget(struct engine *e, const char *path);

/* Restricts what may come next, for grammars. Both are called between two tokens, never two at one
 * time for one request, from the worker or a thread of its pool; they must not block for long. */
struct engine_filter {
    void *ctx;
    /* Set bit id % 64 of allowed[id / 64] for each id that may come; the words are 0. The model's
     * stop ids are ids like others. ERR_ ends the request with it. */
    int (*mask)(void *ctx, uint64_t *allowed, int64_t vocab, struct err *err);
    /* `id` came. 0: go on; 1: the answer is complete; ERR_ as above. */
    int (*accept)(void *ctx, int32_t id, struct err *err);
    /* The ctx is not used any more; NULL: none. A ctx is the engine's from a successful submit on.
     */
    void (*release)(void *ctx);
};

#define ENGINE_TOP_MAX 20

/* All is copied; nothing needs to outlive the call but filter.ctx. */
struct engine_request {
    const char *model;   /* path as in engine_model_acquire */
    const char *adapter; /* directory, or NULL: the base */
    const int32_t *prompt;
    int64_t prompt_count;
    int64_t max_tokens;       /* of the answer; < 0: as many as fit; 0: only the prompt is read */
    struct sampling sampling; /* with penalties and logit_bias */
    bool ignore_stops;        /* the model's stop ids are tokens like others */
    bool logprobs;            /* of the tokens of the answer, with `top` alternatives */
    bool prompt_logprobs;     /* of the prompt's tokens after the first, with `top` alternatives */
    int top;                  /* 0..ENGINE_TOP_MAX */
    struct engine_filter filter;
    uint64_t owner; /* who asks, e.g. a hash of the key: places are shared fairly between owners,
                       and none fills the queue alone, but 0 may */
};
/* ERR_BUSY: the queue, or the owner's share of it, is full (429); engine_retry_after says when to
 * come again. ERR_LIMIT: prompt or memory too large, with figures. ERR_INVALID: an id or an option
 * out of range. Loads model and adapter first where they are not loaded. */
int engine_submit(struct engine *e, const struct engine_request *r, struct engine_stream **ret,
                  struct err *err);
int engine_retry_after(struct engine *e); /* seconds, an estimate; 1..120 */

struct engine_token {
    int32_t id;
    float logprob; /* NAN: not asked for, or the first of a prompt */
    int top_count;
    const struct token_logprob *top; /* by falling log-probability */
};
enum engine_event_kind {
    ENGINE_TIMEOUT, /* nothing came in time */
    ENGINE_PROMPT,  /* prompt tokens with log-probabilities, where asked for; the first event */
    ENGINE_TOKENS,  /* one or more tokens of the answer */
    ENGINE_END      /* the last event; again when asked again */
};
struct engine_event {
    enum engine_event_kind kind;
    const struct engine_token *tokens; /* until the next call for this stream */
    int64_t count;
    enum finish_reason finish; /* ENGINE_END; the stop id itself is no token of the answer */
    int64_t prompt_tokens, cached_tokens, completion_tokens; /* cached: of the prompt, not read
                                                                again */
    double first_seconds, seconds; /* since submit: to the first token, to the end */
};
/* The next event; waits timeout_ms for it, < 0: as long as it takes. Otherwise the error that ended
 * the request; what came before it has been handed out. */
int engine_next(struct engine_stream *s, int64_t timeout_ms, struct engine_event *ret,
                struct err *err);
/* Ends the request with FINISH_CANCELLED; its place is free within one step. From any thread. */
void engine_cancel(struct engine_stream *s);
void engine_stream_close(struct engine_stream *s); /* cancels where it still runs; NULL is fine */

/* --- metrics --- */

#define ENGINE_BUCKETS 15
struct engine_histogram {
    uint64_t count[ENGINE_BUCKETS + 1]; /* value <= bound[i] and above the one before; last: more */
    double sum;
};
extern const double engine_second_bounds[ENGINE_BUCKETS]; /* 1 ms ... 60 s */
extern const double engine_batch_bounds[ENGINE_BUCKETS];  /* 1 ... 1024 */

struct engine_stats {
    int64_t queued, running, models, adapters, cached_sessions; /* now */
    size_t model_bytes, running_bytes, cached_bytes, memory_bytes;
    uint64_t submitted, refused, finished, cancelled, failed;
    uint64_t steps, prompt_tokens, cached_tokens, completion_tokens;
    uint64_t cache_hits, cache_misses, cache_evictions, preemptions, model_evictions;
    struct engine_histogram batch;          /* rows of a pass */
    struct engine_histogram queue_seconds;  /* submit to a place in the batch */
    struct engine_histogram first_seconds;  /* submit to the first token */
    struct engine_histogram token_seconds;  /* between two tokens of an answer */
    struct engine_histogram finish_seconds; /* submit to the end */
};
void engine_stats(struct engine *e, struct engine_stats *ret);

#endif
