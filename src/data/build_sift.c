/* Records, sorted by hash and written as lines once more in that order, pass duplicates, places
 * and leakage: whatever the order of the inputs, these see the same rows in the same order. */
#include "data/build_int.h"

#include "base/mem.h"
#include "data/leakage.h"
#include "data/twins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- one record for each content --- */

static int by_hash(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    int order = memcmp(x->hash, y->hash, ROW_HASH);
    if (order) return order;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->input != y->input) return x->input < y->input ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int map_scratch(struct build *b, struct err *err) {
    file_map_close(&b->scratch_map);
    b->scratch_map = (struct file_map){0};
    return file_map_open(blob_writer_path(b->scratch), &b->scratch_map, err);
}

/* Equal rows are one row, of the best source; it belongs to the groups of all of them only as far
 * as its own keys say. */
static int drop_equal(struct build *b, struct err *err) {
    size_t kept = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < b->count; i++) {
        struct record *r = &b->records[i];
        struct record *first = kept ? &b->records[kept - 1] : NULL;
        if (!first || memcmp(first->hash, r->hash, ROW_HASH) != 0) {
            b->records[kept++] = *r;
            continue;
        }
        char reason[200];
        snprintf(reason, sizeof reason, "the same as row %lld of \"%.100s\"",
                 (long long)first->number, b->inputs[first->input].name);
        rc = build_reject_record(b, r,
                                 (struct rejection){.kind = finding_label(FINDING_EXACT_DUPLICATE),
                                                    .reason = str_of(reason),
                                                    .twin = first->hash,
                                                    .similarity = 1},
                                 err);
    }
    b->count = kept;
    return rc;
}

static int write_sorted(struct build *b, struct err *err) {
    int rc = blob_writer_open(b->c, &b->sorted, err);
    for (size_t i = 0; !rc && i < b->count; i++) {
        struct record *r = &b->records[i];
        struct str content = record_content(b, r);
        rc = blob_writer_add(b->sorted, content.p, content.n + 1, err); /* with its line end */
    }
    mem_pages_drop(b->scratch_map.p, b->scratch_map.n); /* duplicates need the memory */
    return rc;
}

static void find_places(struct build *b) {
    struct str places = {(const char *)b->places.p, b->places.n};
    for (size_t i = 0; i < b->count; i++) {
        struct record *r = &b->records[i];
        r->before = place_find(places, r->hash);
        if (r->before == SPLIT_TEST) r->rank = -1; /* frozen: its twins go, not it */
    }
}

/* --- the sorted rows as examples, once more --- */

struct reading {
    struct source_options how;
    struct source *s;
    struct findings *findings;
    const struct example *list;
    size_t n;
};

static int reading_open(struct reading *r, const char *path, const struct source_options *how,
                        struct err *err) {
    *r = (struct reading){.how = *how, .findings = findings_new()};
    return source_open(path, &r->how, &r->s, err);
}

static int reading_next(struct reading *r, struct pool *pool, struct err *err) {
    return source_next(r->s, pool, &r->list, &r->n, r->findings, err);
}

static void reading_close(struct reading *r) {
    source_close(r->s);
    findings_free(r->findings);
}

static const struct source_options plain = {.format = SOURCE_OPENAI};

/* Those of the batch that are wanted, in an array of the caller's that holds n. */
static size_t chosen(const struct build *b, const struct reading *r, unsigned splits,
                     struct example *to) {
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct record *rec = &b->records[r->list[i].number - 1];
        if (!rec->dropped && (splits & 1u << rec->split)) to[n++] = r->list[i];
    }
    return n;
}

/* --- duplicates --- */

static int add_twins(struct build *b, struct twins *t, uint32_t *order, struct err *err) {
    struct reading r;
    size_t added = 0;
    int rc = reading_open(&r, blob_writer_path(b->sorted), &plain, err);
    while (!rc && !(rc = reading_next(&r, b->pool, err)) && r.n) {
        int32_t *ranks = mem_zalloc(r.n, sizeof *ranks);
        for (size_t i = 0; i < r.n; i++) {
            order[added++] = (uint32_t)(r.list[i].number - 1);
            ranks[i] = b->records[r.list[i].number - 1].rank;
        }
        rc = twins_add(t, r.list, r.n, ranks, b->pool, err);
        mem_free(ranks);
    }
    reading_close(&r);
    return rc;
}

/* What each kind of twin is called, and said. */
static const struct {
    enum finding_kind kind;
    const char *words;
    bool drop;
} twin_words[] = {
    [TWIN_EXACT] = {FINDING_EXACT_DUPLICATE, "the same words as", true},
    [TWIN_NEAR] = {FINDING_NEAR_DUPLICATE, "nearly the same as", true},
    [TWIN_ALIKE] = {FINDING_NEAR_DUPLICATE, "close to", false},
    [TWIN_REVIEW] = {FINDING_NEAR_DUPLICATE, "close to", false},
    [TWIN_CONFLICT] = {FINDING_CONFLICTING_ANSWERS, "another answer to the question of", false}};

static int take_twin(struct build *b, const struct twin *t, struct record *row, struct record *of,
                     int64_t *cluster, struct err *err) {
    bool drop = twin_words[t->kind].drop && !row->restored;
    char reason[240];
    snprintf(reason, sizeof reason, "%s row %lld of \"%.100s\"", twin_words[t->kind].words,
             (long long)of->number, b->inputs[of->input].name);
    if (drop && ++*cluster > b->biggest_cluster) b->biggest_cluster = *cluster;
    return build_reject_record(b, row,
                               (struct rejection){.kind = finding_label(twin_words[t->kind].kind),
                                                  .action = drop ? REJECT_DROPPED : REJECT_REPORTED,
                                                  .reason = str_of(reason),
                                                  .twin = of->hash,
                                                  .similarity = t->similarity},
                               err);
}

struct edges {
    struct split_edge *list;
    size_t count, cap;
};

static int drop_twins(struct build *b, struct edges *edges, struct err *err) {
    struct twins *t = twins_new(&(struct twin_options){.threshold = b->set.near});
    const struct twin *found = NULL;
    size_t n = 0;
    uint32_t *order = NULL;
    int64_t *cluster = NULL;
    int rc = mem_try(b->count, sizeof *order, "order of rows", (void **)&order, err);
    if (!rc) rc = mem_try(b->count, sizeof *cluster, "clusters", (void **)&cluster, err);
    if (!rc) rc = add_twins(b, t, order, err);
    if (!rc) rc = twins_find(t, b->pool, &found, &n, err);
    for (size_t i = 0; !rc && i < n; i++) {
        uint32_t row = order[found[i].row], of = order[found[i].of];
        if (b->records[row].dropped) continue;
        rc = take_twin(b, &found[i], &b->records[row], &b->records[of], &cluster[of], err);
        mem_grow((void **)&edges->list, &edges->cap, edges->count + 1, sizeof *edges->list);
        edges->list[edges->count++] = (struct split_edge){row, of};
    }
    mem_free(cluster);
    mem_free(order);
    twins_free(t);
    return rc;
}

/* --- places --- */

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

#define LABELS_MAX 1000

/* By label where four of five rows have one and a label has five rows on average. */
static int stratify_resolve(struct build *b, struct err *err) {
    size_t kept = 0, labelled = 0, labels = 0;
    uint64_t *list = NULL;
    if (b->set.stratify != BUILD_BY_AUTO) return 0;
    int rc = mem_try(b->count, sizeof *list, "labels of rows", (void **)&list, err);
    if (rc) return rc;
    for (size_t i = 0; i < b->count; i++) {
        const struct record *r = &b->records[i];
        kept += !r->dropped;
        if (!r->dropped && r->label) list[labelled++] = r->label;
    }
    if (labelled) qsort(list, labelled, sizeof *list, by_value);
    for (size_t i = 0; i < labelled; i++) labels += i == 0 || list[i] != list[i - 1];
    mem_free(list);
    bool good = labels > 1 && labels <= LABELS_MAX && labels * 5 <= labelled;
    b->set.stratify = good && labelled * 5 >= kept * 4 ? BUILD_BY_LABEL : BUILD_BY_SOURCE;
    return 0;
}

static uint64_t stratum_of(const struct build *b, const struct record *r) {
    if (b->set.stratify == BUILD_BY_NOTHING) return 0;
    if (b->set.stratify == BUILD_BY_LABEL && r->label) return r->label;
    return 1 + (uint64_t)b->inputs[r->input].source;
}

struct placing {
    struct split_row *rows;
    uint32_t *of;     /* (kept) record of each row */
    uint32_t *row_of; /* (count) the other way round; UINT32_MAX: dropped */
    int8_t *split;
    size_t n;
};

static int placing_fill(struct build *b, struct placing *p, struct err *err) {
    int rc = mem_try(b->count, sizeof *p->rows, "places of rows", (void **)&p->rows, err);
    if (!rc) rc = mem_try(b->count, sizeof *p->of, "places of rows", (void **)&p->of, err);
    if (!rc) rc = mem_try(b->count, sizeof *p->row_of, "places of rows", (void **)&p->row_of, err);
    if (!rc) rc = mem_try(b->count, 1, "places of rows", (void **)&p->split, err);
    for (size_t i = 0; !rc && i < b->count; i++) {
        const struct record *r = &b->records[i];
        p->row_of[i] = r->dropped ? UINT32_MAX : (uint32_t)p->n;
        if (r->dropped) continue;
        struct split_row *row = &p->rows[p->n];
        for (int k = 0; k < 8; k++) row->content = row->content << 8 | r->hash[k];
        memcpy(row->keys, r->keys, sizeof row->keys);
        row->stratum = stratum_of(b, r);
        row->before = r->before;
        p->of[p->n++] = (uint32_t)i;
    }
    return rc;
}

/* A new row whose relatives are on several sides is left out: on either it would leak. One that
 * was put back trains. */
static int take_place(struct build *b, struct record *r, int8_t split, struct err *err) {
    if (split == SPLIT_STRADDLES && r->restored) split = SPLIT_TRAIN;
    r->split = split >= 0 ? split : SPLIT_TRAIN;
    if (split >= 0) return 0;
    return build_reject_record(
        b, r,
        (struct rejection){.kind = "straddles_splits",
                           .reason = STR_LIT("its relatives (user, conversation, document, seed "
                                             "row, near duplicates) are in several splits")},
        err);
}

static int place_rows(struct build *b, struct edges *edges, struct err *err) {
    struct placing p = {.n = 0};
    struct split_options o = {.valid = b->set.valid, .test = b->set.test, .salt = b->set.salt};
    size_t n = 0;
    int rc = stratify_resolve(b, err);
    if (!rc) rc = placing_fill(b, &p, err);
    for (size_t i = 0; !rc && i < edges->count; i++) { /* those between rows that are kept */
        struct split_edge e = {p.row_of[edges->list[i].a], p.row_of[edges->list[i].b]};
        if (e.a != UINT32_MAX && e.b != UINT32_MAX) edges->list[n++] = e;
    }
    if (!rc) rc = split_assign(p.rows, p.n, edges->list, n, &o, &b->cuts, p.split, err);
    for (size_t i = 0; !rc && i < p.n; i++)
        rc = take_place(b, &b->records[p.of[i]], p.split[i], err);
    mem_free(p.rows);
    mem_free(p.of);
    mem_free(p.row_of);
    mem_free(p.split);
    return rc;
}

/* --- leakage --- */

#define OWN_RUN_DROPPED 0.75 /* of the held-out row's own words */

static int add_held_out(struct build *b, struct leakage *l, struct err *err) {
    struct reading r;
    int rc = reading_open(&r, blob_writer_path(b->sorted), &plain, err);
    while (!rc && !(rc = reading_next(&r, b->pool, err)) && r.n) {
        struct example *list = mem_zalloc(r.n, sizeof *list);
        size_t n = chosen(b, &r, 1u << SPLIT_VALID | 1u << SPLIT_TEST, list);
        rc = leakage_add(l, 0, list, n, err);
        mem_free(list);
    }
    reading_close(&r);
    return rc;
}

static int add_against(struct build *b, struct leakage *l, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < b->input_count; i++) {
        struct build_input *in = &b->inputs[i];
        struct reading r;
        if (!in->against) continue;
        rc = reading_open(&r, in->path, &in->read, err);
        while (!rc && !(rc = reading_next(&r, b->pool, err)) && r.n)
            rc = leakage_add(l, (int32_t)i + 1, r.list, r.n, err);
        if (!rc) in->rows = in->kept = source_records(r.s);
        reading_close(&r);
        if (rc) err_wrap(err, "\"%s\"", in->name);
    }
    return rc;
}

/* Rows of one source often share what they are about (a table, a document): a part of a held-out
 * row of our own is told, and no reason to lose the row. */
static bool only_shares(const struct leak *l) {
    return l->file == 0 && l->how == LEAK_RUN && l->similarity < OWN_RUN_DROPPED;
}

static int take_leak(struct build *b, const struct leak *l, struct err *err) {
    static const char *const how[] = {"asks the same as", "shares a run of words with",
                                      "gives the answer of", "nearly the same as"};
    struct record *row = &b->records[l->row - 1];
    struct rejection r = {.kind = finding_label(FINDING_POTENTIAL_LEAKAGE),
                          .action =
                              row->restored || only_shares(l) ? REJECT_REPORTED : REJECT_DROPPED,
                          .similarity = l->similarity};
    char reason[300];
    int n = snprintf(reason, sizeof reason, "%s ", how[l->how]);
    if (l->file > 0) {
        r.against = b->inputs[l->file - 1].name;
        r.against_number = l->held_out;
        n += snprintf(reason + n, sizeof reason - (size_t)n, "row %lld of \"%.100s\"",
                      (long long)l->held_out, r.against);
    } else {
        const struct record *twin = &b->records[l->held_out - 1];
        r.twin = twin->hash;
        n += snprintf(reason + n, sizeof reason - (size_t)n, "a %s row, row %lld of \"%.100s\"",
                      split_name((enum split)twin->split), (long long)twin->number,
                      b->inputs[twin->input].name);
    }
    if (l->how == LEAK_RUN)
        snprintf(reason + n, sizeof reason - (size_t)n, " (%d words)", (int)l->words);
    r.reason = str_of(reason);
    return build_reject_record(b, row, r, err);
}

static int find_leaks(struct build *b, const struct leakage *l, struct err *err) {
    struct reading r;
    int rc = reading_open(&r, blob_writer_path(b->sorted), &plain, err);
    while (!rc && !(rc = reading_next(&r, b->pool, err)) && r.n) {
        struct leaks leaks = {.count = 0};
        struct example *list = mem_zalloc(r.n, sizeof *list);
        size_t n = chosen(b, &r, 1u << SPLIT_TRAIN, list);
        rc = leakage_find(l, list, n, b->pool, &leaks, err);
        for (size_t i = 0; !rc && i < leaks.count; i++) rc = take_leak(b, &leaks.list[i], err);
        mem_free(leaks.list);
        mem_free(list);
    }
    reading_close(&r);
    return rc;
}

static int drop_leaks(struct build *b, struct err *err) {
    struct leakage *l = leakage_new();
    int rc = add_held_out(b, l, err);
    if (!rc) rc = add_against(b, l, err);
    leakage_ready(l);
    if (!rc) rc = find_leaks(b, l, err);
    leakage_free(l);
    return rc;
}

int build_sift(struct build *b, struct err *err) {
    struct edges edges = {.count = 0};
    int rc = map_scratch(b, err);
    if (!rc && b->count) qsort(b->records, b->count, sizeof *b->records, by_hash);
    if (!rc) rc = drop_equal(b, err);
    if (!rc) rc = write_sorted(b, err);
    if (!rc) find_places(b);
    if (!rc && b->count) rc = drop_twins(b, &edges, err);
    if (!rc) rc = place_rows(b, &edges, err);
    if (!rc && b->count) rc = drop_leaks(b, err);
    mem_free(edges.list);
    return rc;
}
