#include "registry/breaker.h"

#include "base/mem.h"
#include "base/rng.h"

#include <pthread.h>
#include <string.h>

#define FAILURES 3
#define PAUSE_FIRST 1000 /* ms */
#define PAUSE_MAX 60000

struct breaker {
    struct breaker *next;
    char *model;
    int failures, opened; /* in a row; times since it was closed last */
    int64_t until;        /* of an open one; moved on by the request that asks */
};

struct breakers {
    pthread_mutex_t lock; /* guards all */
    struct breaker *list; /* only models that failed */
    struct rng rng;
};

struct breakers *breakers_new(uint64_t seed) {
    struct breakers *b = mem_zalloc(1, sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    rng_init(&b->rng, seed);
    return b;
}

void breakers_free(struct breakers *b) {
    if (!b) return;
    while (b->list) {
        struct breaker *k = b->list;
        b->list = k->next;
        mem_free(k->model);
        mem_free(k);
    }
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

static struct breaker *find(const struct breakers *b, const char *model) {
    struct breaker *k = b->list;
    while (k && strcmp(k->model, model) != 0) k = k->next;
    return k;
}

static struct breaker *add(struct breakers *b, const char *model) {
    struct breaker *k = mem_zalloc(1, sizeof *k);
    k->model = mem_strdup(model);
    k->next = b->list;
    b->list = k;
    return k;
}

static int64_t pause_of(struct breakers *b, int opened) {
    int64_t pause = PAUSE_FIRST;
    for (int i = 1; i < opened && pause < PAUSE_MAX; i++) pause *= 2;
    if (pause > PAUSE_MAX) pause = PAUSE_MAX;
    return (int64_t)((double)pause * (0.75 + 0.5 * rng_double(&b->rng)));
}

bool breaker_allows(struct breakers *b, const char *model, int64_t now) {
    if (!b) return true;
    pthread_mutex_lock(&b->lock);
    struct breaker *k = find(b, model);
    bool open = k && k->opened > 0, asks = !open || now >= k->until;
    if (open && asks) k->until = now + pause_of(b, k->opened); /* this one, and no other soon */
    pthread_mutex_unlock(&b->lock);
    return asks;
}

void breaker_ended(struct breakers *b, const char *model, bool failed, int64_t now) {
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    struct breaker *k = find(b, model);
    if (!k && failed) k = add(b, model);
    if (k && !failed) k->failures = k->opened = 0;
    if (k && failed && (++k->failures >= FAILURES || k->opened)) {
        if (k->opened < 32) k->opened++;
        k->until = now + pause_of(b, k->opened);
    }
    pthread_mutex_unlock(&b->lock);
}
