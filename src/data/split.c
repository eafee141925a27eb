/* Union-find over rows; then a group is one entry with what names it. A new stratum's cuts are
 * where its groups, in the order of their hashes, have come to the share of rows wanted. Time
 * n log n, memory 60 bytes a row. */
#include "data/split.h"

#include "base/mem.h"
#include "base/rng.h"

#include <assert.h>
#include <stdlib.h>

const char *split_name(enum split s) {
    static const char *const names[SPLITS] = {"train", "valid", "test"};
    return names[s];
}

/* --- groups --- */

static uint32_t find(uint32_t *up, uint32_t i) {
    while (up[i] != i) {
        up[i] = up[up[i]];
        i = up[i];
    }
    return i;
}

/* the lower index is the root: the same forest whatever the order of the unions */
static void join(uint32_t *up, uint32_t a, uint32_t b) {
    a = find(up, a);
    b = find(up, b);
    if (a < b)
        up[b] = a;
    else
        up[a] = b;
}

struct tie {
    uint64_t key;
    uint32_t row;
};

static int by_key(const void *a, const void *b) {
    const struct tie *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int join_keys(const struct split_row *rows, size_t n, enum split_key k, uint32_t *up,
                     struct err *err) {
    struct tie *ties = NULL;
    size_t count = 0;
    int rc = mem_try(n, sizeof *ties, "groups of rows", (void **)&ties, err);
    if (rc) return rc;
    for (size_t i = 0; i < n; i++)
        if (rows[i].keys[k]) ties[count++] = (struct tie){rows[i].keys[k], (uint32_t)i};
    if (count) qsort(ties, count, sizeof *ties, by_key);
    for (size_t i = 1; i < count; i++)
        if (ties[i].key == ties[i - 1].key) join(up, ties[i].row, ties[i - 1].row);
    mem_free(ties);
    return 0;
}

/* --- what a group is --- */

struct group {
    uint64_t hash; /* its place, under the salt */
    uint64_t name, first, stratum;
    uint32_t rows;    /* those that are new */
    uint8_t strength; /* of the name: a key's number, SPLIT_KEYS for content */
    uint8_t seen;     /* bit for each split that earlier rows are in */
};

static void name_with(struct group *g, uint8_t strength, uint64_t name) {
    if (strength > g->strength || (strength == g->strength && name >= g->name)) return;
    g->strength = strength;
    g->name = name;
}

static void group_add(struct group *g, const struct split_row *r) {
    if (g->strength == UINT8_MAX || r->content < g->first) {
        g->first = r->content;
        g->stratum = r->stratum;
    }
    name_with(g, SPLIT_KEYS, r->content);
    for (uint8_t k = 0; k < SPLIT_KEYS; k++)
        if (r->keys[k]) name_with(g, k, r->keys[k]);
    if (r->before == SPLIT_NEW)
        g->rows++;
    else
        g->seen |= (uint8_t)(1 << r->before);
}

/* --- cuts --- */

static struct split_cut *cut_find(const struct split_cuts *cuts, uint64_t stratum) {
    size_t low = 0, high = cuts->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (cuts->list[mid].stratum < stratum)
            low = mid + 1;
        else
            high = mid;
    }
    return low < cuts->count && cuts->list[low].stratum == stratum ? &cuts->list[low] : NULL;
}

static int by_stratum(const void *a, const void *b) {
    const struct split_cut *x = a, *y = b;
    return x->stratum < y->stratum ? -1 : x->stratum > y->stratum;
}

static int by_place(const void *a, const void *b) {
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    if (x->stratum != y->stratum) return x->stratum < y->stratum ? -1 : 1;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->name < y->name ? -1 : x->name > y->name;
}

/* Of all cuts behind the groups, from *at on, that come nearest to `want` rows, the one nearest to
 * the share itself: a stratum of three rows says little of the thousand to come. */
static uint64_t cut_at(struct group *const *list, size_t n, size_t *at, double want, double share) {
    double have = 0;
    uint64_t low = *at ? list[*at - 1]->hash + 1 : 0, cut = (uint64_t)(share * 0x1p64);
    while (*at < n && have + list[*at]->rows / 2.0 < want) {
        low = list[*at]->hash + 1;
        have += list[(*at)++]->rows;
    }
    if (cut < low) cut = low;
    return *at < n && cut > list[*at]->hash ? list[*at]->hash : cut;
}

static void cut_new(struct group *const *list, size_t n, const struct split_options *o,
                    struct split_cuts *cuts) {
    double rows = 0;
    size_t at = 0;
    struct split_cut cut = {.stratum = list[0]->stratum};
    for (size_t i = 0; i < n; i++) rows += list[i]->rows;
    cut.test = o->test > 0 ? cut_at(list, n, &at, o->test * rows, o->test) : 0;
    cut.valid = o->valid > 0 ? cut_at(list, n, &at, o->valid * rows, o->test + o->valid) : cut.test;
    mem_grow((void **)&cuts->list, &cuts->cap, cuts->count + 1, sizeof *cuts->list);
    cuts->list[cuts->count++] = cut;
}

static int cuts_complete(struct group *groups, size_t n, const struct split_options *o,
                         struct split_cuts *cuts, struct err *err) {
    struct group **list = NULL;
    struct split_cuts known = *cuts; /* a view: new ones go behind it */
    size_t count = 0;
    int rc = mem_try(n, sizeof *list, "groups of rows", (void **)&list, err);
    if (rc) return rc;
    for (size_t i = 0; i < n; i++)
        if (groups[i].rows && !groups[i].seen && !cut_find(&known, groups[i].stratum))
            list[count++] = &groups[i];
    if (count) qsort(list, count, sizeof *list, by_place);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i; end < count && list[end]->stratum == list[i]->stratum;) end++;
        cut_new(list + i, end - i, o, cuts);
    }
    if (cuts->count) qsort(cuts->list, cuts->count, sizeof *cuts->list, by_stratum);
    mem_free(list);
    return 0;
}

static int8_t place(const struct group *g, const struct split_cuts *cuts) {
    for (int8_t s = 0; s < SPLITS; s++)
        if (g->seen == 1 << s) return s;
    if (g->seen) return SPLIT_STRADDLES;
    const struct split_cut *cut = cut_find(cuts, g->stratum);
    assert(cut);
    if (g->hash < cut->test) return SPLIT_TEST;
    return g->hash < cut->valid ? SPLIT_VALID : SPLIT_TRAIN;
}

int split_assign(const struct split_row *rows, size_t n, const struct split_edge *edges,
                 size_t edge_count, const struct split_options *o, struct split_cuts *cuts,
                 int8_t *ret, struct err *err) {
    uint32_t *up = NULL;
    struct group *groups = NULL;
    assert(n < UINT32_MAX && o->valid >= 0 && o->test >= 0 && o->valid + o->test < 1);
    int rc = mem_try(n, sizeof *up, "groups of rows", (void **)&up, err);
    if (!rc) rc = mem_try(n, sizeof *groups, "groups of rows", (void **)&groups, err);
    for (size_t i = 0; !rc && i < n; i++) up[i] = (uint32_t)i;
    for (int k = 0; !rc && k < SPLIT_KEYS; k++)
        rc = join_keys(rows, n, (enum split_key)k, up, err);
    for (size_t i = 0; !rc && i < edge_count; i++) join(up, edges[i].a, edges[i].b);
    for (size_t i = 0; !rc && i < n; i++) groups[i].strength = UINT8_MAX;
    for (size_t i = 0; !rc && i < n; i++) group_add(&groups[find(up, (uint32_t)i)], &rows[i]);
    for (size_t i = 0; !rc && i < n; i++) groups[i].hash = rng_hash(o->salt, groups[i].name);
    if (!rc) rc = cuts_complete(groups, n, o, cuts, err);
    for (size_t i = 0; !rc && i < n; i++)
        ret[i] = rows[i].before != SPLIT_NEW ? rows[i].before
                                             : place(&groups[find(up, (uint32_t)i)], cuts);
    mem_free(groups);
    mem_free(up);
    return rc;
}
