#include "train/dataset.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#define DATA_BYTES_MAX ((size_t)1 << 30)
#define SHARED_LEAST 8   /* a shorter common beginning is not worth its copies of keys */
#define KEYS_PER_TOKEN 4 /* limits those copies */

const char *train_finding_text(enum train_finding f) {
    static const char *const texts[FOUND_COUNT] = {
        [FOUND_CUT] = "longer than the limit, cut",
        [FOUND_NOTHING] = "that train no token, left out",
        [FOUND_TOOLS] = "with tools that the chat template does not show",
        [FOUND_CALLS] = "with tool calls that the chat template does not show, left out",
        [FOUND_ALIKE] = "with two equal outputs, left out",
        [FOUND_OTHERWISE] = "that would be rendered differently when served",
    };
    return texts[f];
}

static void note_row(struct dataset *d, enum train_finding f, int64_t number) {
    struct row_numbers *r = &d->found[f];
    mem_grow((void **)&r->list, &r->cap, (size_t)r->count + 1, sizeof *r->list);
    r->list[r->count++] = number;
}

/* Tokens of all rows one after the other; samples hold offsets until the arrays stop growing. */
struct gather {
    int32_t *ids;
    float *train;
    size_t n, samples, ids_cap, train_cap, list_cap;
};

static struct sample sample_of(int64_t number, const struct row_tokens *t) {
    struct sample s = {.number = number};
    for (int64_t i = 1; i < t->n; i++) {
        if (!(t->train[i] > 0.0f)) continue;
        s.n = i + 1; /* what follows the last target is never needed */
        s.weight += (double)t->train[i];
        s.trained++;
    }
    return s;
}

static void note_issues(struct dataset *d, int64_t number, int issues) {
    if (issues & ROW_CUT) note_row(d, FOUND_CUT, number);
    if (issues & ROW_SERVES_OTHERWISE) note_row(d, FOUND_OTHERWISE, number);
    if (issues & ROW_TOOLS_UNSEEN) note_row(d, FOUND_TOOLS, number);
    if (issues & ROW_CALLS_UNSEEN)
        note_row(d, FOUND_CALLS, number);
    else if (issues & ROW_TRAINS_NOTHING)
        note_row(d, FOUND_NOTHING, number);
}

static void add_sample(struct dataset *d, struct gather *g, const struct sample *s,
                       const struct row_tokens *t) {
    size_t n = (size_t)s->n;
    mem_grow((void **)&g->ids, &g->ids_cap, g->n + n, sizeof *g->ids);
    mem_grow((void **)&g->train, &g->train_cap, g->n + n, sizeof *g->train);
    memcpy(g->ids + g->n, t->ids, n * sizeof *g->ids);
    memcpy(g->train + g->n, t->train, n * sizeof *g->train);
    g->n += n;
    mem_grow((void **)&d->list, &g->list_cap, g->samples + 1, sizeof *d->list);
    d->list[g->samples++] = *s;
    if (sample_inputs(s) > d->longest) d->longest = sample_inputs(s);
}

static bool are_alike(const struct sample *s, const struct row_tokens *t) {
    return s[0].n == s[1].n && memcmp(t[0].ids, t[1].ids, (size_t)s[0].n * sizeof *t[0].ids) == 0;
}

/* t: (per_row) */
static void keep_row(struct dataset *d, struct gather *g, int64_t number,
                     const struct row_tokens *t) {
    struct sample s[PAIR_SIDES];
    int issues = 0;
    for (int i = 0; i < d->per_row; i++) {
        s[i] = sample_of(number, &t[i]);
        issues |= t[i].issues;
    }
    note_issues(d, number, issues);
    if (issues & ROW_TRAINS_NOTHING) return;
    if (d->per_row == PAIR_SIDES && are_alike(s, t)) {
        note_row(d, FOUND_ALIKE, number);
        return;
    }
    for (int i = 0; i < d->per_row; i++) add_sample(d, g, &s[i], &t[i]);
    d->count++;
}

static void point_samples(struct dataset *d, const struct gather *g) {
    size_t at = 0;
    for (size_t i = 0; i < g->samples; i++) {
        d->list[i].ids = g->ids + at;
        d->list[i].train = g->train + at;
        at += (size_t)d->list[i].n;
    }
    d->ids = g->ids;
    d->train = g->train;
    d->bytes = at * (sizeof *g->ids + sizeof *g->train);
}

/* how many of the first `most` inputs of two rows are the same and train nothing, the target of the
 * last one included; each row keeps an input of its own */
static int64_t common_beginning(const struct sample *a, const struct sample *b, int64_t most) {
    int64_t n = 0;
    if (most > sample_inputs(a) - 1) most = sample_inputs(a) - 1;
    if (most > sample_inputs(b) - 1) most = sample_inputs(b) - 1;
    while (n < most && a->ids[n] == b->ids[n] && a->train[n + 1] == 0.0f && b->train[n + 1] == 0.0f)
        n++;
    return n;
}

/* what both sides of a pair begin with */
static void share_in_pairs(struct dataset *d) {
    for (int64_t i = 0; i < d->count && d->per_row == PAIR_SIDES; i++) {
        struct sample *s = dataset_row(d, i);
        int64_t shared = common_beginning(&s[0], &s[1], INT64_MAX);
        s[0].shared = s[1].shared = shared < SHARED_LEAST ? 0 : shared;
    }
}

static int render(const struct row *row, enum row_kind kind, const struct render_options *o,
                  struct row_tokens *ret, struct err *err) {
    return kind == ROW_PAIR ? row_render_pair(row, o, ret, err)
                            : row_render(row, kind, o, ret, err);
}

int dataset_load(const char *path, const struct render_options *o, struct dataset *ret,
                 struct err *err) {
    struct rows rows;
    int rc = rows_read(path, DATA_BYTES_MAX, &rows, err);
    if (rc) return rc;
    struct dataset d = {.rows = rows.count, .per_row = rows.kind == ROW_PAIR ? PAIR_SIDES : 1};
    struct gather g = {0};
    memcpy(d.sha256, rows.sha256, sizeof d.sha256);
    for (int64_t i = 0; !rc && i < rows.count; i++) {
        struct row_tokens t[PAIR_SIDES];
        rc = render(&rows.list[i], rows.kind, o, t, err);
        if (rc) {
            err_wrap(err, "\"%s\"", path);
            break;
        }
        keep_row(&d, &g, rows.list[i].number, t);
        for (int k = 0; k < d.per_row; k++) row_tokens_release(&t[k]);
    }
    rows_release(&rows);
#ifdef __GLIBC__
    malloc_trim(0); /* the parsed JSON is several times the tokens */
#endif
    point_samples(&d, &g);
    share_in_pairs(&d);
    if (rc)
        dataset_release(&d);
    else
        *ret = d;
    return rc;
}

void dataset_release(struct dataset *d) {
    mem_free(d->list);
    mem_free(d->ids);
    mem_free(d->train);
    for (enum train_finding f = 0; f < FOUND_COUNT; f++) mem_free(d->found[f].list);
    *d = (struct dataset){0};
}

/* --- split and order --- */

struct ranked {
    uint64_t key;
    int64_t index;
};

static int by_key(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int by_index(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

void split_make(const struct dataset *d, uint64_t seed, int64_t hold_out, struct split *ret) {
    struct ranked *ranked = mem_zalloc((size_t)d->count, sizeof *ranked);
    for (int64_t i = 0; i < d->count; i++) {
        const struct sample *s = dataset_row(d, i);
        uint64_t content = hash_bytes(s->ids, (size_t)s->n * sizeof *s->ids);
        if (d->per_row == PAIR_SIDES)
            content = rng_hash(content, hash_bytes(s[1].ids, (size_t)s[1].n * sizeof *s[1].ids));
        ranked[i] = (struct ranked){rng_hash(seed, content), i};
    }
    qsort(ranked, (size_t)d->count, sizeof *ranked, by_key);
    int64_t held = hold_out;
    while (held > 0 && held < d->count && ranked[held].key == ranked[held - 1].key) held++;
    *ret = (struct split){.valid_count = held, .train_count = d->count - held};
    ret->train = mem_zalloc((size_t)ret->train_count, sizeof *ret->train);
    ret->valid = mem_zalloc((size_t)held, sizeof *ret->valid);
    for (int64_t i = 0; i < d->count; i++)
        *(i < held ? &ret->valid[i] : &ret->train[i - held]) = ranked[i].index;
    qsort(ret->train, (size_t)ret->train_count, sizeof *ret->train, by_index);
    qsort(ret->valid, (size_t)held, sizeof *ret->valid, by_index);
    mem_free(ranked);
}

void split_release(struct split *s) {
    mem_free(s->train);
    mem_free(s->valid);
    *s = (struct split){0};
}

void epoch_order(const struct split *s, uint64_t seed, int64_t epoch, bool shuffle,
                 int64_t *ret_order) {
    memcpy(ret_order, s->train, (size_t)s->train_count * sizeof *ret_order);
    if (!shuffle) return;
    struct rng rng;
    rng_init_stream(&rng, seed, (uint64_t)epoch);
    rng_shuffle(&rng, ret_order, s->train_count);
}

/* --- micro-batches --- */

/* the micro-batch with one more row */
static struct micro micro_add(const struct micro *m, const struct sample *const *rows,
                              int64_t inputs, bool share) {
    const struct sample *row = rows[m->count];
    struct micro with = {.count = m->count + 1, .trained = m->trained + row->trained};
    if (share && m->count == 1) with.shared = common_beginning(rows[0], row, INT64_MAX);
    if (share && m->count > 1) with.shared = common_beginning(rows[0], row, m->shared);
    if (with.shared < SHARED_LEAST) with.shared = 0;
    with.tokens = inputs - with.shared * m->count;
    with.keys = with.shared ? with.shared + inputs : 0;
    return with;
}

struct micro micro_next(const struct sample *const *rows, int64_t count, int64_t micro_tokens,
                        bool share) {
    int64_t total = 0, inputs = 0, beginning = share ? INT64_MAX : 0;
    for (int64_t r = 0; r < count; r++) {
        total += sample_inputs(rows[r]);
        if (r) beginning = common_beginning(rows[0], rows[r], beginning);
    }
    if (count > 1 && beginning >= SHARED_LEAST) total -= beginning * (count - 1);
    int64_t parts = (total + micro_tokens - 1) / micro_tokens, part = (total + parts - 1) / parts;
    struct micro m = {0};
    while (m.count < count) {
        inputs += sample_inputs(rows[m.count]);
        struct micro with = micro_add(&m, rows, inputs, share);
        if (m.count && (with.tokens > micro_tokens || with.keys > KEYS_PER_TOKEN * micro_tokens))
            break;
        m = with;
        if (m.tokens >= part) break;
    }
    return m;
}

static int64_t pair_tokens(const struct sample *const *pair, bool share) {
    return sample_inputs(pair[0]) + sample_inputs(pair[1]) - (share ? pair[0]->shared : 0);
}

struct micro micro_next_pairs(const struct sample *const *rows, int64_t count, int64_t micro_tokens,
                              bool share) {
    int64_t total = 0;
    for (int64_t r = 0; r < count; r += 2) total += pair_tokens(rows + r, share);
    int64_t parts = (total + micro_tokens - 1) / micro_tokens, part = (total + parts - 1) / parts;
    struct micro m = {0};
    bool shared = false;
    while (m.count < count && m.tokens < part) {
        const struct sample *const *pair = rows + m.count;
        int64_t tokens = pair_tokens(pair, share);
        if (m.count && m.tokens + tokens > micro_tokens) break;
        m.count += 2;
        m.tokens += tokens;
        m.trained += pair[0]->trained + pair[1]->trained;
        shared = shared || (share && pair[0]->shared > 0);
        m.keys += sample_inputs(pair[0]) + sample_inputs(pair[1]) + (share ? pair[0]->shared : 0);
    }
    if (!shared) m.keys = 0;
    return m;
}
