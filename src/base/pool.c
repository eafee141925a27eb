#include "base/pool.h"

#include "base/cgroup.h"
#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#define THREADS_MAX 256
/* about 20 µs: longer than the gap between two loops of one layer, shorter than anyone notices */
#define SPINS 4000

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    int threads;
    struct worker *workers; /* threads - 1 of them */
    pthread_mutex_t run;    /* held by the caller of a loop */

    /* the present loop; written by the caller before `epoch` moves on */
    void (*fn)(void *ctx, int64_t i);
    void *ctx;
    int64_t count;
    _Atomic int64_t next;
    _Atomic int busy; /* workers that have not finished the present epoch */
    _Atomic unsigned epoch;
    _Atomic bool stop;

    pthread_mutex_t lock; /* guards sleeping on `wake`: sleepers, and epoch's change seen by them */
    pthread_cond_t wake;
    int sleepers;
};

static _Thread_local int thread_index;

int pool_thread_index(void) { return thread_index; }

int cpu_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    struct cgroup c;
    cgroup_read(CGROUP_ROOT, &c);
    int n = CPU_COUNT(&set);
    if (c.cpus && c.cpus < n) n = c.cpus;
    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
}

static void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void loop_run(struct pool *p) {
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->count) return;
        p->fn(p->ctx, i);
    }
}

static void epoch_wait(struct pool *p, unsigned seen) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&p->epoch, memory_order_acquire) != seen) return;
        cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    p->sleepers++;
    while (atomic_load_explicit(&p->epoch, memory_order_acquire) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    p->sleepers--;
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct pool *p = w->pool;
    thread_index = w->index;
    for (unsigned seen = 0;; seen++) {
        epoch_wait(p, seen);
        if (p->stop) return NULL;
        loop_run(p);
        atomic_fetch_sub_explicit(&p->busy, 1, memory_order_release);
    }
}

static void epoch_advance(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add_explicit(&p->epoch, 1, memory_order_release);
    if (p->sleepers) pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

struct pool *pool_new(int threads) {
    if (threads <= 0) threads = cpu_count();
    if (threads > THREADS_MAX) threads = THREADS_MAX;
    struct pool *p = mem_zalloc(1, sizeof *p);
    pthread_mutex_init(&p->run, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = mem_zalloc((size_t)threads, sizeof *p->workers);
    p->threads = 1;
    for (int i = 1; i < threads; i++) {
        struct worker *w = &p->workers[i - 1];
        *w = (struct worker){.pool = p, .index = i};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break; /* fewer will do */
        p->threads++;
    }
    return p;
}

void pool_free(struct pool *p) {
    if (!p) return;
    p->stop = true;
    epoch_advance(p);
    for (int i = 0; i < p->threads - 1; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->run);
    mem_free(p->workers);
    mem_free(p);
}

int pool_threads(const struct pool *p) { return p->threads; }

void pool_run(struct pool *p, int64_t count, void (*fn)(void *, int64_t), void *ctx) {
    if (p->threads == 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++) fn(ctx, i);
        return;
    }
    pthread_mutex_lock(&p->run);
    p->fn = fn;
    p->ctx = ctx;
    p->count = count;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->busy, p->threads - 1, memory_order_relaxed);
    epoch_advance(p);
    loop_run(p);
    for (int spin = 0; atomic_load_explicit(&p->busy, memory_order_acquire) > 0; spin++) {
        cpu_relax();
        if (spin > SPINS) sched_yield(); /* a worker may have lost its core to another process */
    }
    pthread_mutex_unlock(&p->run);
}
