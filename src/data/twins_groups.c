/* Which rows are worth comparing: those that share a key. A group of very many rows of the same
 * quarters, as templates make them, is cut finer by the words of the quarter left out, one by one:
 * whatever differs in one word still meets. */
#include "data/twins_int.h"

#include "base/mem.h"

#include <stdlib.h>

#define HOT 64                  /* members from which on a group of pieces is cut finer */
#define SPACES (PIECES + BANDS) /* of keys: rows of n and of n + 1 words meet in a piece's */

struct group {
    uint32_t *members; /* places put so far: of rows kept, room, of rows dropped */
    uint32_t kept, dropped, size;
};

/* Who shares a key in one space: key, place and, in the lowest bit, whether it is the key as the
 * shorter row of two. Sorted; those whose key nobody shares are left out. */
struct space {
    uint64_t *pairs;
    size_t count, groups;
};

struct membership {
    uint32_t place, group;
};

struct groups {
    struct twins *t;
    const uint32_t *order;
    size_t n;
    struct space spaces[SPACES];
    struct group *list; /* the number of a group is its index + 1 */
    size_t count, cap;
    uint32_t **members; /* blocks of memory */
    size_t members_count, members_cap;
    struct membership *extra; /* in groups that were cut finer; sorted by place */
    size_t extra_count, extra_cap, extra_next;
    uint32_t *answer;
    size_t answer_cap;
};

static uint32_t pair_key(uint64_t pair) { return (uint32_t)(pair >> 32); }
static uint32_t pair_place(uint64_t pair) { return (uint32_t)pair >> 1; }

/* where the key of a pair stands */
static uint32_t *pair_slot(const struct groups *g, size_t space, uint64_t pair) {
    size_t slot = space < PIECES ? space + (pair & 1) * PIECES : space + PIECES;
    return &g->t->keys[g->order[pair_place(pair)]][slot];
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void space_collect(void *ctx, int64_t space) {
    struct groups *g = ctx;
    struct space *s = &g->spaces[space];
    size_t n = 0, kept = 0, each = space < PIECES ? 2 : 1;
    uint64_t *p = mem_alloc(g->n * each * sizeof *p);
    for (uint64_t i = 0; i < g->n; i++)
        for (uint64_t second = 0; second < each; second++) {
            uint32_t key = *pair_slot(g, (size_t)space, i << 1 | second);
            if (key) p[n++] = (uint64_t)key << 32 | i << 1 | second;
        }
    qsort(p, n, sizeof *p, by_number);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && pair_key(p[j]) == pair_key(p[i]);) j++;
        if (j - i < 2) {
            *pair_slot(g, (size_t)space, p[i]) = 0;
            continue;
        }
        memmove(p + kept, p + i, (j - i) * sizeof *p);
        kept += j - i;
        s->groups++;
    }
    s->count = kept;
    s->pairs = mem_realloc(p, kept ? kept : 1, sizeof *p);
}

static uint32_t *members_block(struct groups *g, size_t n) {
    mem_grow((void **)&g->members, &g->members_cap, g->members_count + 1, sizeof *g->members);
    return g->members[g->members_count++] = mem_alloc(n * sizeof(uint32_t));
}

/* Keys become numbers of groups. */
static void space_number(struct groups *g, size_t space) {
    struct space *s = &g->spaces[space];
    uint32_t *members = members_block(g, s->count);
    mem_grow((void **)&g->list, &g->cap, g->count + s->groups, sizeof *g->list);
    for (size_t i = 0, j; i < s->count; i = j) {
        uint32_t key = pair_key(s->pairs[i]);
        g->count++;
        for (j = i; j < s->count && pair_key(s->pairs[j]) == key; j++)
            *pair_slot(g, space, s->pairs[j]) = (uint32_t)g->count;
        g->list[g->count - 1] = (struct group){members + i, 0, 0, (uint32_t)(j - i)};
    }
}

struct finer_key {
    uint64_t key;
    uint32_t place;
};

static int by_key(const void *a, const void *b) {
    const struct finer_key *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

struct finer {
    struct finer_key *list;
    size_t count, cap;
    struct row_scratch scratch;
};

/* The words of a row's piece: whole of the shorter row, else without each of them. */
static int finer_keys(struct groups *g, struct finer *f, size_t piece, uint64_t pair,
                      uint32_t group, struct err *err) {
    struct row_words w;
    size_t lo, hi;
    bool shorter = pair & 1;
    int rc = twins_words(g->t, g->order[pair_place(pair)], &f->scratch, &w, err);
    if (rc) return rc;
    piece_bounds(w.n, w.n + shorter, piece, &lo, &hi);
    size_t keys = shorter ? 1 : hi - lo;
    mem_grow((void **)&f->list, &f->cap, f->count + keys, sizeof *f->list);
    for (size_t i = 0; i < keys; i++) {
        uint64_t h = group;
        for (size_t j = lo; j < hi; j++)
            if (shorter || j != lo + i) h = hash_step(h, w.list[j]);
        f->list[f->count++] = (struct finer_key){h, pair_place(pair)};
    }
    return 0;
}

/* Groups of what finer keys share, with memory of their own. */
static void finer_groups(struct groups *g, struct finer *f) {
    if (!f->count) return;
    qsort(f->list, f->count, sizeof *f->list, by_key);
    uint32_t *members = members_block(g, f->count);
    size_t kept = 0;
    for (size_t i = 0, j; i < f->count; i = j) {
        size_t n = 0;
        for (j = i; j < f->count && f->list[j].key == f->list[i].key; j++) {
            if (j > i && f->list[j].place == f->list[j - 1].place) continue;
            f->list[i + n++].place = f->list[j].place;
        }
        if (n < 2) continue;
        mem_grow((void **)&g->list, &g->cap, g->count + 1, sizeof *g->list);
        g->list[g->count++] = (struct group){members + kept, 0, 0, (uint32_t)n};
        kept += n;
        mem_grow((void **)&g->extra, &g->extra_cap, g->extra_count + n, sizeof *g->extra);
        for (size_t m = 0; m < n; m++)
            g->extra[g->extra_count++] =
                (struct membership){f->list[i + m].place, (uint32_t)g->count};
    }
}

static int cut_hot(struct groups *g, size_t piece, struct err *err) {
    const struct space *s = &g->spaces[piece];
    struct finer f = {0};
    int rc = 0;
    for (size_t i = 0; i < s->count && !rc; i++) {
        uint32_t *group = pair_slot(g, piece, s->pairs[i]);
        if (g->list[*group - 1].size < HOT) continue;
        rc = finer_keys(g, &f, piece, s->pairs[i], *group, err);
        *group = 0;
    }
    if (!rc) finer_groups(g, &f);
    mem_free(f.list);
    mem_free(f.scratch.p);
    return rc;
}

static int by_place(const void *a, const void *b) {
    const struct membership *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return x->group < y->group ? -1 : x->group > y->group;
}

int groups_new(struct twins *t, const uint32_t *order, size_t n, struct pool *pool,
               struct groups **ret, struct err *err) {
    struct groups *g = mem_zalloc(1, sizeof *g);
    int rc = 0;
    *g = (struct groups){.t = t, .order = order, .n = n};
    pool_run(pool, SPACES, space_collect, g);
    for (size_t s = 0; s < SPACES; s++) space_number(g, s);
    for (size_t s = 0; s < PIECES && !rc; s++) rc = cut_hot(g, s, err);
    for (size_t s = 0; s < SPACES; s++) {
        mem_free(g->spaces[s].pairs);
        g->spaces[s].pairs = NULL;
    }
    if (g->extra_count) qsort(g->extra, g->extra_count, sizeof *g->extra, by_place);
    if (rc)
        groups_free(g);
    else
        *ret = g;
    return rc;
}

static void answer(struct groups *g, size_t *n, uint32_t group) {
    mem_grow((void **)&g->answer, &g->answer_cap, *n + 1, sizeof *g->answer);
    g->answer[(*n)++] = group;
}

size_t groups_of(struct groups *g, size_t place, const uint32_t **ret) {
    const uint32_t *keys = g->t->keys[g->order[place]];
    size_t n = 0;
    if (place == 0) g->extra_next = 0;
    for (size_t s = 0; s < KEYS; s++)
        if (keys[s]) answer(g, &n, keys[s]);
    while (g->extra_next < g->extra_count && g->extra[g->extra_next].place < place) g->extra_next++;
    for (; g->extra_next < g->extra_count && g->extra[g->extra_next].place == place;
         g->extra_next++)
        answer(g, &n, g->extra[g->extra_next].group);
    *ret = g->answer;
    return n;
}

size_t group_members(const struct groups *g, uint32_t group, bool kept, const uint32_t **ret) {
    const struct group *at = &g->list[group - 1];
    *ret = kept ? at->members : at->members + at->size - at->dropped;
    return kept ? at->kept : at->dropped;
}

void group_put(struct groups *g, uint32_t group, bool kept, uint32_t place) {
    struct group *at = &g->list[group - 1];
    if (at->kept + at->dropped == at->size) return; /* a row that is here by two keys */
    at->members[kept ? at->kept++ : at->size - ++at->dropped] = place;
}

void groups_free(struct groups *g) {
    if (!g) return;
    for (size_t s = 0; s < SPACES; s++) mem_free(g->spaces[s].pairs);
    for (size_t i = 0; i < g->members_count; i++) mem_free(g->members[i]);
    mem_free(g->members);
    mem_free(g->extra);
    mem_free(g->list);
    mem_free(g->answer);
    mem_free(g);
}
