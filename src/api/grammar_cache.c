#include "api/grammar_cache.h"

#include "base/mem.h"

#include <pthread.h>
#include <string.h>

/* A vocabulary borrows its model's tokenizer, so an entry holds the model. */
#define ENTRIES 2
#define GRAMMARS 32

struct entry {
    char *path;
    const struct model *model;
    struct grammar_vocab *vocab;
    uint64_t used;
};

struct kept {
    char *key;
    size_t length;
    struct grammar *grammar;
    uint64_t used;
};

struct grammar_cache {
    struct engine *engine;
    pthread_mutex_t lock;
    struct entry list[ENTRIES];
    struct kept kept[GRAMMARS];
    uint64_t clock;
};

struct grammar_cache *grammar_cache_new(struct engine *e) {
    struct grammar_cache *c = mem_zalloc(1, sizeof *c);
    c->engine = e;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void entry_clear(struct grammar_cache *c, struct entry *e) {
    grammar_vocab_free(e->vocab);
    if (e->model) engine_model_release(c->engine, e->model);
    mem_free(e->path);
    *e = (struct entry){0};
}

void grammar_cache_free(struct grammar_cache *c) {
    if (!c) return;
    for (int i = 0; i < ENTRIES; i++) entry_clear(c, &c->list[i]);
    for (int i = 0; i < GRAMMARS; i++) {
        grammar_free(c->kept[i].grammar);
        mem_free(c->kept[i].key);
    }
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static int entry_fill(struct grammar_cache *c, struct entry *e, const char *path, struct err *err) {
    entry_clear(c, e);
    int rc = engine_model_acquire(c->engine, path, &e->model, err);
    if (rc) return rc;
    const struct model_config *config = model_config(e->model);
    rc = grammar_vocab_new(model_tokenizer(e->model), config->stops, config->stop_count, &e->vocab,
                           err);
    if (rc) {
        entry_clear(c, e);
        return rc;
    }
    e->path = mem_strdup(path);
    return 0;
}

int grammar_cache_vocab(struct grammar_cache *c, const char *path, struct grammar_vocab **ret,
                        struct err *err) {
    pthread_mutex_lock(&c->lock);
    struct entry *e = &c->list[0];
    for (int i = 0; i < ENTRIES; i++) {
        struct entry *at = &c->list[i];
        if (at->path && strcmp(at->path, path) == 0) {
            e = at;
            break;
        }
        if (at->used < e->used) e = at;
    }
    bool there = e->path && strcmp(e->path, path) == 0;
    int rc = there ? 0 : entry_fill(c, e, path, err);
    if (!rc) {
        e->used = ++c->clock;
        *ret = grammar_vocab_ref(e->vocab);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* --- grammars --- */

static struct kept *find(struct grammar_cache *c, struct str key) {
    for (int i = 0; i < GRAMMARS; i++) {
        struct kept *k = &c->kept[i];
        if (k->grammar && str_eq((struct str){k->key, k->length}, key)) return k;
    }
    return NULL;
}

struct grammar *grammar_cache_find(struct grammar_cache *c, struct str key) {
    pthread_mutex_lock(&c->lock);
    struct kept *k = find(c, key);
    if (k) k->used = ++c->clock;
    struct grammar *g = k ? grammar_ref(k->grammar) : NULL;
    pthread_mutex_unlock(&c->lock);
    return g;
}

void grammar_cache_put(struct grammar_cache *c, struct str key, struct grammar *g) {
    pthread_mutex_lock(&c->lock);
    struct kept *oldest = &c->kept[0];
    for (int i = 1; i < GRAMMARS; i++)
        if (c->kept[i].used < oldest->used) oldest = &c->kept[i];
    if (!find(c, key)) {
        grammar_free(oldest->grammar);
        mem_free(oldest->key);
        char *copy = mem_zalloc(key.n + 1, 1);
        memcpy(copy, key.p, key.n);
        *oldest = (struct kept){copy, key.n, grammar_ref(g), ++c->clock};
    }
    pthread_mutex_unlock(&c->lock);
}
