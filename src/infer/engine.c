/* The engine's life, what comes in, and the worker's loop. One round of it: take what arrived, let
 * go of what was cancelled, close what nobody may use any more, give free places to those who wait,
 * and one pass for each model that has requests. Without work it sleeps. */
#include "infer/engine_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define BATCH_DEFAULT 16
#define QUEUE_DEFAULT 64
#define BATCH_LIMIT 1024

static int check_options(const struct engine_options *o, struct err *err) {
    if (o->batch_max < 0 || o->batch_max > BATCH_LIMIT)
        return err_set(err, ERR_INVALID, "%d requests at one time; between 1 and %d can run",
                       o->batch_max, BATCH_LIMIT);
    if (o->queue_max < 0) return err_set(err, ERR_INVALID, "a queue of %d requests", o->queue_max);
    if (o->context_max < 0)
        return err_set(err, ERR_INVALID, "a context of %lld tokens", (long long)o->context_max);
    return 0;
}

static void fill_defaults(struct engine_options *o) {
    if (!o->memory_bytes) o->memory_bytes = mem_available() / 4 * 3;
    if (!o->batch_max) o->batch_max = BATCH_DEFAULT;
    if (!o->queue_max) o->queue_max = QUEUE_DEFAULT;
}

static int failed(const struct engine *e, struct err *err) {
    (void)e;
    return err_set(err, ERR_CANCELLED, "the engine was stopped");
}

/* --- the worker --- */

/* Waits for work; false: stop. */
static bool take_arrivals(struct engine *e) {
    pthread_mutex_lock(&e->lock);
    while (!e->stop && !e->sweep && e->arrival_count == 0 && e->running_count == 0 &&
           e->waiting_count == 0)
        pthread_cond_wait(&e->wake, &e->lock);
    size_t n = e->arrival_count;
    mem_grow((void **)&e->waiting, &e->waiting_cap, e->waiting_count + n,
             sizeof(struct engine_stream *));
    if (n) memcpy(e->waiting + e->waiting_count, e->arrivals, n * sizeof(struct engine_stream *));
    e->waiting_count += n;
    e->arrival_count = 0;
    bool go_on = !e->stop;
    pthread_mutex_unlock(&e->lock);
    return go_on;
}

static bool is_cancelled(const struct engine_stream *s) { return atomic_load(&s->cancelled); }

/* Ends those that were cancelled, or with an error all. */
static void let_go(struct engine *e, const struct err *error) {
    for (int i = e->running_count - 1; i >= 0; i--)
        if (error || is_cancelled(e->running[i]))
            step_end(e, e->running[i], FINISH_CANCELLED, error);
    for (size_t i = e->waiting_count; i-- > 0;) {
        struct engine_stream *s = e->waiting[i];
        if (!error && !is_cancelled(s)) continue;
        step_forget_waiting(e, i);
        step_end(e, s, FINISH_CANCELLED, error);
    }
}

static void *work(void *arg) {
    struct engine *e = arg;
    struct err err;
    while (take_arrivals(e)) {
        let_go(e, NULL);
        models_sweep(e, false);
        cache_make_room(e, 0, NULL); /* what was loaded meanwhile */
        step_admit(e);
        if (e->running_count > 0) step_run(e);
        stats_show(e);
    }
    failed(e, &err);
    let_go(e, &err);
    stats_show(e);
    return NULL;
}

/* --- life --- */

static void release(struct engine *e) {
    while (e->cache_count > 0) session_close(e->cache[--e->cache_count].session);
    models_close_all(e);
    step_close(e);
    num_free(e->num);
    mem_free(e->cache);
    mem_free(e->running);
    mem_free(e->waiting);
    mem_free(e->arrivals);
    mem_free(e->owners);
    pthread_cond_destroy(&e->wake);
    pthread_cond_destroy(&e->loaded);
    pthread_mutex_destroy(&e->lock);
    mem_free(e);
}

int engine_open(const struct engine_options *o, struct engine **ret, struct err *err) {
    int rc = check_options(o, err);
    if (rc) return rc;
    struct engine *e = mem_zalloc(1, sizeof *e);
    e->o = *o;
    fill_defaults(&e->o);
    e->mean_seconds = 1;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake, NULL);
    pthread_cond_init(&e->loaded, NULL);
    e->running = mem_zalloc((size_t)e->o.batch_max, sizeof(struct engine_stream *));
    e->cache = mem_zalloc(CACHE_MAX, sizeof *e->cache);
    e->num =
        num_new(&(struct num_options){.threads = o->threads, .compute = o->compute, .isa = o->isa});
    rc = step_open(e, err);
    if (!rc) {
        int failure = pthread_create(&e->worker, NULL, work, e);
        e->has_worker = failure == 0;
        if (failure) rc = err_sys(err, failure, "could not start the engine's thread");
    }
    if (rc)
        release(e);
    else
        *ret = e;
    return rc;
}

void engine_stop(struct engine *e) {
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

void engine_close(struct engine *e) {
    if (!e) return;
    engine_stop(e);
    if (e->has_worker) pthread_join(e->worker, NULL);
    for (const struct held_model *m = e->models; m; m = m->next) assert(m->refs == 0);
    release(e);
}

/* --- requests --- */

static int retry_after(const struct engine *e) {
    double rounds = ceil((double)(e->queued + 1) / e->o.batch_max);
    double seconds = ceil(rounds * e->mean_seconds);
    return seconds < 1 ? 1 : seconds > 120 ? 120 : (int)seconds;
}

int engine_retry_after(struct engine *e) {
    pthread_mutex_lock(&e->lock);
    int seconds = retry_after(e);
    pthread_mutex_unlock(&e->lock);
    return seconds;
}

static struct owner_waits *waits_of(struct engine *e, uint64_t owner) {
    for (size_t i = 0; i < e->owner_count; i++)
        if (e->owners[i].owner == owner) return &e->owners[i];
    return NULL;
}

void queue_add(struct engine *e, uint64_t owner) {
    e->queued++;
    if (!owner) return;
    struct owner_waits *w = waits_of(e, owner);
    if (!w) {
        mem_grow((void **)&e->owners, &e->owner_cap, e->owner_count + 1, sizeof *w);
        w = &e->owners[e->owner_count++];
        *w = (struct owner_waits){.owner = owner};
    }
    w->count++;
}

void queue_take(struct engine *e, uint64_t owner) {
    e->queued--;
    struct owner_waits *w = owner ? waits_of(e, owner) : NULL;
    if (w && --w->count == 0) *w = e->owners[--e->owner_count];
}

/* e->lock held: an owner may have three times what it leaves free, and the last place only where
 * none of its requests waits. So the queue of one that floods it is never full for the next: alone
 * it gets three quarters, two get three sevenths each, and so on. */
static bool too_many(struct engine *e, uint64_t owner) {
    const struct owner_waits *w = owner ? waits_of(e, owner) : NULL;
    int64_t left = e->o.queue_max - e->queued;
    return w && (left <= 1 || w->count >= 3 * left);
}

/* e->lock held */
static int check_queue(struct engine *e, uint64_t owner, struct err *err) {
    if (e->stop) return failed(e, err);
    bool full = e->queued >= e->o.queue_max;
    if (!full && !too_many(e, owner)) return 0;
    e->refused++;
    return err_set(err, ERR_BUSY, "%lld %s waiting already; try again in %d s",
                   (long long)(full ? e->queued : waits_of(e, owner)->count),
                   full ? "requests are" : "of your requests are", retry_after(e));
}

/* a place in the queue, taken before anything is loaded, so that a flood loads nothing */
static int take_place(struct engine *e, uint64_t owner, struct err *err) {
    pthread_mutex_lock(&e->lock);
    int rc = check_queue(e, owner, err);
    if (!rc) queue_add(e, owner);
    pthread_mutex_unlock(&e->lock);
    return rc;
}

static void leave_place(struct engine *e, uint64_t owner) {
    pthread_mutex_lock(&e->lock);
    queue_take(e, owner);
    pthread_mutex_unlock(&e->lock);
}

/* hands the stream to the worker */
static int arrive(struct engine *e, struct engine_stream *s, struct err *err) {
    pthread_mutex_lock(&e->lock);
    int rc = e->stop ? failed(e, err) : 0;
    if (!rc) {
        atomic_fetch_add(&s->refs, 1);
        s->order = e->arrived_count++;
        mem_grow((void **)&e->arrivals, &e->arrival_cap, e->arrival_count + 1,
                 sizeof(struct engine_stream *));
        e->arrivals[e->arrival_count++] = s;
        e->submitted++;
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    return rc;
}

int engine_submit(struct engine *e, const struct engine_request *r, struct engine_stream **ret,
                  struct err *err) {
    struct held_model *m = NULL;
    struct held_adapter *a = NULL;
    struct engine_stream *s = NULL;
    int rc = take_place(e, r->owner, err);
    if (rc) return rc;
    rc = models_acquire(e, r->model, &m, err);
    if (!rc && r->adapter) rc = adapters_acquire(e, m, r->adapter, &a, err);
    if (!rc) rc = stream_new(e, r, m, a, &s, err);
    if (!rc) rc = arrive(e, s, err);
    if (!rc) {
        *ret = s;
        return 0;
    }
    leave_place(e, r->owner);
    if (s) s->filter = (struct engine_filter){0}; /* stays the caller's */
    if (s) stream_unref(s);
    if (m) models_release(e, m, a);
    return rc;
}
