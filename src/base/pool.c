#include "base/pool.h"

#include "base/cgroup.h"
#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#define THREADS_MAX 256
/* about 20-50 µs: longer than the gap between two loops of one layer, shorter than anyone notices
 */
#define SPINS 4000

/* The gate: bit 0 says that a loop may be joined, the next 16 how many workers are inside, the rest
 * which loop it is. A worker joins by raising the count while the gate is open. The caller shuts it
 * when no item is left and waits for those inside, never for one that sleeps or has no core. */
#define OPEN UINT64_C(1)
#define INSIDE UINT64_C(2)
#define INSIDE_MASK (UINT64_C(0xffff) << 1)
#define LOOP (UINT64_C(1) << 17)

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    int threads;
    struct worker *workers; /* threads - 1 of them */
    pthread_mutex_t run;    /* held by the caller of a loop */

    /* the present loop; written by the caller while the gate is shut and nobody inside */
    void (*fn)(void *ctx, int64_t i);
    void *ctx;
    int64_t count;
    _Atomic int64_t next;
    _Atomic uint64_t gate;
    _Atomic bool stop;

    pthread_mutex_t lock; /* guards sleeping on `wake`: sleepers, and the gate's opening for them */
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

static uint64_t loop_of(uint64_t gate) { return gate / LOOP; }

/* another loop than the last one this worker was in can be joined */
static bool is_news(struct pool *p, uint64_t last) {
    uint64_t gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    return p->stop || ((gate & OPEN) && loop_of(gate) != last);
}

static void wait_news(struct pool *p, uint64_t last) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (is_news(p, last)) return;
        cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    p->sleepers++;
    while (!is_news(p, last)) pthread_cond_wait(&p->wake, &p->lock);
    p->sleepers--;
    pthread_mutex_unlock(&p->lock);
}

/* false: the gate was shut meanwhile */
static bool join(struct pool *p, uint64_t *ret_loop) {
    uint64_t gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    while (gate & OPEN) {
        if (!atomic_compare_exchange_weak_explicit(&p->gate, &gate, gate + INSIDE,
                                                   memory_order_acquire, memory_order_acquire))
            continue;
        *ret_loop = loop_of(gate);
        return true;
    }
    return false;
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct pool *p = w->pool;
    thread_index = w->index;
    for (uint64_t last = 0;;) {
        wait_news(p, last);
        if (p->stop) return NULL;
        if (!join(p, &last)) continue;
        loop_run(p);
        atomic_fetch_sub_explicit(&p->gate, INSIDE, memory_order_release);
    }
}

static void gate_open(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add_explicit(&p->gate, LOOP | OPEN, memory_order_release);
    if (p->sleepers) pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void gate_shut(struct pool *p) {
    atomic_fetch_and_explicit(&p->gate, ~OPEN, memory_order_acq_rel);
    for (int spin = 0; atomic_load_explicit(&p->gate, memory_order_acquire) & INSIDE_MASK; spin++) {
        cpu_relax();
        if (spin > SPINS) sched_yield(); /* one inside may have lost its core to another process */
    }
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
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
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
    gate_open(p);
    loop_run(p);
    gate_shut(p);
    pthread_mutex_unlock(&p->run);
}
