/* The inside of the engine: who owns what.
 *
 *   connection threads   engine_submit, engine_next: a stream's shared part, under its lock
 *   the worker           running and waiting streams, sessions, the prefix cache, workspaces
 *   both, under e->lock  arrivals, the table of models and adapters, flags, the last statistics
 *
 * Locks: e->lock, and the lock of each stream. Neither is taken while the other is held.
 */
#ifndef INFER_ENGINE_INT_H
#define INFER_ENGINE_INT_H

#include "infer/engine.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- models and adapters: engine_models.c --- */

struct held_adapter {
    struct held_adapter *next;
    struct held_model *model;
    char *dir;
    struct adapter *a;   /* NULL while it is loaded */
    int refs;            /* streams */
    bool loading, stale; /* stale: for those who have it, and nobody else */
    uint64_t used;       /* e->clock at the last use */
};

struct held_model {
    struct held_model *next;
    struct held_adapter *adapters;
    char *path;
    struct model *m; /* NULL while it is loaded */
    int refs;        /* streams and those who acquired it */
    bool loading, stale;
    uint64_t used;
    int64_t context; /* tokens a session may have */

    /* the worker's */
    struct workspace *work; /* NULL: not used yet */
    float *logits;          /* (outputs, vocab) */
    size_t scratch_bytes;   /* of both */
    double row_seconds;     /* of a prompt's row, as measured; 0: not yet */
};

/* --- streams --- */

struct tokens {
    struct engine_token *list;
    struct token_logprob *tops; /* stream's `top` for each */
    size_t count, cap;
};

struct engine_stream {
    struct engine *engine;
    atomic_int refs; /* the thread that reads it, and the worker */
    atomic_bool cancelled;

    /* as submitted */
    struct held_model *model;
    struct held_adapter *adapter; /* NULL: base */
    uint64_t owner, order;        /* order: of arrival */
    int64_t prompt_count, limit;  /* limit: of prompt and answer */
    bool ignore_stops, logprobs, prompt_logprobs;
    int top;
    struct engine_filter filter;
    int64_t arrived; /* ns */

    /* the worker's. What is to be evaluated is always ids[length of the session .. count): a
     * prompt, the token picked last, or both and more after the session was taken away. */
    int32_t *ids; /* (limit) */
    int64_t count;
    int64_t scored;          /* rows whose log-probabilities have been handed out */
    struct session *session; /* NULL: waits */
    struct sampler sampler;
    uint64_t *allowed;                        /* bits for the filter */
    bool admitted;                            /* has run before */
    int64_t cached;                           /* of the prompt */
    int64_t started, first_token, last_token; /* ns */
    float *raw; /* (vocab) logits before the sampler changed them, where both are wanted */

    pthread_mutex_t lock;
    pthread_cond_t more;
    /* shared, under lock */
    struct tokens fresh;  /* not handed out yet */
    struct tokens prompt; /* the prompt's, with their log-probabilities */
    bool prompt_handed;
    bool done;
    struct engine_event end; /* counts and times; kind ENGINE_END when done */
    struct err error;        /* code 0: none */
    /* the reader's */
    struct tokens handed;
};

/* --- the engine --- */

struct owner_waits {
    uint64_t owner;
    int64_t count; /* > 0 */
};

struct cached {
    struct session *session;
    struct held_model *model;
    struct held_adapter *adapter;
    uint64_t used;
};

#define CACHE_MAX 512
#define CACHE_MIN 16 /* tokens worth keeping, and worth taking */

struct engine {
    struct engine_options o; /* with the defaults filled in */
    struct num *num;         /* the worker's */
    pthread_t worker;
    bool has_worker;

    pthread_mutex_t lock;
    pthread_cond_t wake;   /* the worker: news */
    pthread_cond_t loaded; /* a model or adapter is there, or failed */
    /* under lock */
    bool stop, sweep; /* sweep: something is stale */
    struct engine_stream **arrivals;
    size_t arrival_count, arrival_cap;
    int64_t queued;             /* arrivals and waiting */
    struct owner_waits *owners; /* those of the queued, without owner 0 */
    size_t owner_count, owner_cap;
    uint64_t arrived_count;
    struct held_model *models;
    uint64_t clock;
    size_t held_bytes; /* weights and adapters */
    uint64_t submitted, refused;
    double mean_seconds; /* of a request, for engine_retry_after */
    struct engine_stats shown;

    /* the worker's */
    struct engine_stream **waiting, **running; /* running: batch_max */
    size_t waiting_count, waiting_cap;
    int running_count;
    struct cached *cache; /* (CACHE_MAX) */
    int cache_count;
    uint64_t cache_clock;
    size_t session_bytes, cached_bytes, scratch_bytes; /* session: running and cached */
    struct engine_stats stats;
    struct plan *plan;       /* (batch_max) engine_step.c */
    struct eval_item *items; /* (batch_max) */
    struct task *tasks;      /* (batch_max + SCORE_ROWS) */
    struct held_model **now; /* (batch_max) models of this step */
    uint64_t turn;
};

/* engine.c; e->lock held: one of this owner's more, or fewer, in the queue */
void queue_add(struct engine *e, uint64_t owner);
void queue_take(struct engine *e, uint64_t owner);

/* engine_models.c; under no lock. acquire loads in the calling thread and counts a use. */
int models_acquire(struct engine *e, const char *path, struct held_model **ret, struct err *err);
int adapters_acquire(struct engine *e, struct held_model *m, const char *dir,
                     struct held_adapter **ret, struct err *err);
void models_release(struct engine *e, struct held_model *m, struct held_adapter *a);
/* The worker: closes what is stale and unused; with `evict` also the model or adapter that has gone
 * unused the longest. Whether anything was closed. */
bool models_sweep(struct engine *e, bool evict);
void models_close_all(struct engine *e);

/* engine_cache.c; the worker */
/* Room for so many bytes more, by dropping what nobody uses, but not `keep`. */
bool cache_make_room(struct engine *e, size_t bytes, const struct session *keep);
/* A session for the stream with room for its tokens and some more. false: there is no memory now.
 * Else rc says whether it worked. */
bool cache_start(struct engine *e, struct engine_stream *s, int *rc, struct err *err);
/* Room for `positions`; false: no memory without taking another's. */
bool cache_grow(struct engine *e, struct engine_stream *s, int64_t positions, int *rc,
                struct err *err);
/* Takes the session of a stream that ended: into the cache when keep, and worth it. */
void cache_put(struct engine *e, struct engine_stream *s, bool keep);
/* Whether a running stream is about to have more of the stream's prompt than there is now. */
bool cache_worth_waiting(const struct engine *e, const struct engine_stream *s);
/* Drops what is cached over this model, or with a only what is cached for this adapter. */
void cache_drop(struct engine *e, const struct held_model *m, const struct held_adapter *a);

/* engine_step.c; the worker */
#define SCORE_ROWS 32 /* rows of prompts whose log-probabilities are wanted, in one pass */
void step_admit(struct engine *e);
void step_run(struct engine *e);
void step_forget_waiting(struct engine *e, size_t i); /* takes it out of the queue */
/* A stream has ended, with its session where it has one; it is not waiting any more. */
void step_end(struct engine *e, struct engine_stream *s, enum finish_reason finish,
              const struct err *error);
int step_open(struct engine *e, struct err *err);
void step_close(struct engine *e);

/* engine_stream.c */
int stream_new(struct engine *e, const struct engine_request *r, struct held_model *m,
               struct held_adapter *a, struct engine_stream **ret, struct err *err);
void stream_unref(struct engine_stream *s);
/* The worker: a token of the answer, or with `prompt` one of the prompt; top: stream's `top` or 0
 */
void stream_add(struct engine_stream *s, const struct engine_token *t, bool prompt);
/* The last the worker does with a stream: counts, times, and the error if there is one. */
void stream_finish(struct engine *e, struct engine_stream *s, enum finish_reason finish,
                   const struct err *error);

/* engine_stats.c */
void histogram_add(struct engine_histogram *h, const double *bounds, double value);
void stats_show(struct engine *e); /* the worker: what engine_stats gives from now on */

#endif
