/* Rows in, twins out. */
#include "data/twins_int.h"

#include "base/mem.h"

#include <stdlib.h>

#define SLICE 1024        /* rows analysed at a time */
#define CANDIDATES 64     /* of one group that are compared with a row */
#define COMMON_ROWS 5     /* an answer of that many rows, ... */
#define COMMON_SHARE 0.20 /* ... and of that part of all, says nothing of one of them */
#define ROWS_MAX (UINT32_MAX >> 1)

struct twins *twins_new(const struct twin_options *o) {
    struct twins *t = mem_zalloc(1, sizeof *t);
    t->threshold = o && o->threshold > 0 ? o->threshold : 0.80;
    t->memory_max = o && o->memory_max ? o->memory_max : (size_t)1 << 30;
    t->store.fd = -1;
    t->store.memory_max = t->memory_max / 2 / (SEGMENT_WORDS * sizeof(uint32_t));
    return t;
}

void twins_free(struct twins *t) {
    if (!t) return;
    word_store_release(&t->store);
    mem_free(t->rows);
    mem_free(t->keys);
    mem_free(t->found);
    mem_free(t);
}

/* --- rows in --- */

/* What a row comes to before it is stored. */
struct draft {
    struct trow row;
    uint32_t *units; /* words, then their text where it is kept */
    uint32_t keys[KEYS];
};

struct scratch {
    struct buf normal;
    struct words words;
};

struct intake {
    const struct example *list;
    const int32_t *rank;
    struct draft *drafts;
    struct scratch *scratch; /* of each thread */
};

static uint64_t hash_str(uint64_t seed, struct str s) { return content_hash(seed, s.p, s.n); }

static uint64_t raw_hash(const struct example *e) {
    uint64_t h = hash_str(1, e->json);
    for (size_t i = 0; i < e->message_count && !e->json.n; i++) {
        const struct message *m = &e->messages[i];
        h = hash_str(hash_str(h, m->role_name), m->text);
        for (size_t c = 0; c < m->call_count; c++)
            h = hash_str(hash_str(h, m->calls[c].name), m->calls[c].arguments);
    }
    return h;
}

/* The first message of the answer: the last one of an assistant, both outputs of a pair. */
static size_t answer_from(const struct example *e) {
    size_t n = e->message_count;
    if (e->kind == ROW_TEXT || n < 2) return n;
    if (e->kind == ROW_PAIR) return n - 2;
    return e->messages[n - 1].role == ROLE_ASSISTANT ? n - 1 : n;
}

static struct str add_normal(struct scratch *s, struct str text) {
    size_t from = s->normal.n;
    text_normalise(text, &s->normal);
    return str_from(buf_view(&s->normal), from);
}

/* The content of one message goes into `exact`; its words too, if it is said in the talk itself. */
static void add_message(struct draft *d, struct scratch *s, const struct message *m) {
    uint64_t *exact = d->row.exact;
    struct str text = add_normal(s, m->text);
    bool frame = m->role == ROLE_SYSTEM;
    uint64_t role = m->role == ROLE_OTHER ? hash_str(9, m->role_name) : (uint64_t)m->role;
    for (int i = 0; i < 2; i++) exact[i] = hash_str(hash_step(exact[i], role), text);
    d->row.frame = (uint32_t)(hash_step(d->row.frame, role) >> 16);
    if (frame)
        d->row.frame = (uint32_t)(hash_str(d->row.frame, text) >> 16);
    else
        words_add(&s->words, (struct str){text.p, text.n});
    for (size_t c = 0; c < m->call_count; c++) {
        struct str parts[2] = {m->calls[c].name, m->calls[c].arguments};
        for (int p = 0; p < 2; p++) {
            struct str part = add_normal(s, parts[p]);
            for (int i = 0; i < 2; i++) exact[i] = hash_str(hash_step(exact[i], 77), part);
            words_add(&s->words, part);
        }
    }
}

static uint64_t words_hash(uint64_t seed, const uint32_t *list, size_t n) {
    return n ? content_hash(seed, list, n * sizeof *list) : 0;
}

/* The words of short rows are kept as they are written, too: their text begins anew in `normal`. */
static void keep_text(struct draft *d, const struct example *e, struct scratch *s) {
    struct words again = {0};
    struct buf text;
    buf_init(&text, (size_t)1 << 20);
    for (size_t i = 0; i < e->message_count; i++) {
        const struct message *m = &e->messages[i];
        if (m->role == ROLE_SYSTEM) continue;
        for (size_t p = 0; p < 1 + 2 * m->call_count; p++) {
            const struct call *c = p ? &m->calls[(p - 1) / 2] : NULL;
            struct str normal = add_normal(s, !c ? m->text : p % 2 ? c->name : c->arguments);
            words_clear(&again);
            words_add(&again, normal);
            for (size_t w = 0; w < again.n; w++) {
                if (text.n) buf_byte(&text, ' ');
                buf_add(&text, normal.p + again.at[w].start, again.at[w].bytes);
            }
        }
    }
    if (buf_ok(&text) && text.n) {
        size_t n = s->words.n, units = text.n / sizeof(uint32_t) + 1;
        d->units = mem_realloc(d->units, n + units, sizeof *d->units);
        memset(d->units + n, 0, units * sizeof *d->units);
        memcpy(d->units + n, text.p, text.n);
        d->row.text_units = (uint32_t)units;
    }
    words_release(&again);
    buf_release(&text);
}

static void draft_row(void *ctx, int64_t index) {
    struct intake *in = ctx;
    const struct example *e = &in->list[index];
    struct draft *d = &in->drafts[index];
    struct scratch *s = &in->scratch[pool_thread_index()];
    struct trow *r = &d->row;
    size_t answer = answer_from(e), prompt_n = 0, answer_at = 0;
    *d = (struct draft){.row.rank = in->rank ? in->rank[index] : 0, .row.raw = raw_hash(e)};
    buf_clear(&s->normal);
    words_clear(&s->words);
    r->exact[0] = hash_str(11, add_normal(s, e->tools));
    r->exact[1] = hash_str(13, buf_view(&s->normal));
    r->frame = (uint32_t)(r->exact[0] >> 16) ^ (uint32_t)e->kind;
    for (size_t i = 0; i < e->message_count; i++) {
        if (i == answer) prompt_n = s->words.n, answer_at = s->normal.n;
        add_message(d, s, &e->messages[i]);
    }
    if (answer == e->message_count) prompt_n = s->words.n, answer_at = s->normal.n;
    for (int i = 0; i < 2; i++) r->exact[i] = hash_step(r->exact[i], (uint64_t)e->kind);
    size_t n = s->words.n;
    r->answer_bytes = (uint32_t)(s->normal.n - answer_at);
    r->answer = words_hash(2, s->words.list + prompt_n, n - prompt_n);
    if (answer < e->message_count && e->kind != ROW_PAIR && prompt_n)
        r->question = words_hash(r->frame + UINT64_C(3), s->words.list, prompt_n);
    if (n > ROW_WORDS_MAX) n = ROW_WORDS_MAX;
    if (prompt_n > n) prompt_n = n;
    r->prompt_n = (uint32_t)prompt_n;
    r->answer_n = (uint32_t)(n - prompt_n);
    r->wide = (uint32_t)(s->words.wide < prompt_n ? s->words.wide : prompt_n);
    twins_keys(r, s->words.list, n, d->keys);
    d->units = mem_alloc((n + 1) * sizeof *d->units);
    if (n) memcpy(d->units, s->words.list, n * sizeof *d->units);
    if (n && n < TEXT_WORDS_MAX) keep_text(d, e, s);
}

static int store_draft(struct twins *t, struct draft *d, struct err *err) {
    size_t n = (size_t)d->row.prompt_n + d->row.answer_n + d->row.text_units;
    size_t bytes = t->store.in_memory * SEGMENT_WORDS * sizeof(uint32_t) +
                   (t->count + 1) * (sizeof *t->rows + sizeof *t->keys);
    if (bytes > t->memory_max || t->count >= ROWS_MAX)
        return err_set(err, ERR_LIMIT,
                       "comparing more than %zu rows takes more than %zu MiB; check the files in "
                       "parts or leave the check of duplicates out",
                       t->count, t->memory_max >> 20);
    int rc = word_store_add(&t->store, d->units, n, &d->row.at, err);
    if (rc) return rc;
    mem_grow((void **)&t->rows, &t->cap, t->count + 1, sizeof *t->rows);
    mem_grow((void **)&t->keys, &t->keys_cap, t->count + 1, sizeof *t->keys);
    t->rows[t->count] = d->row;
    memcpy(t->keys[t->count++], d->keys, sizeof d->keys);
    return 0;
}

int twins_add(struct twins *t, const struct example *list, size_t n, const int32_t *rank,
              struct pool *pool, struct err *err) {
    int threads = pool_threads(pool), rc = 0;
    struct intake in = {.drafts = mem_zalloc(SLICE, sizeof *in.drafts),
                        .scratch = mem_zalloc((size_t)threads, sizeof *in.scratch)};
    for (int i = 0; i < threads; i++) buf_init(&in.scratch[i].normal, (size_t)1 << 30);
    for (size_t from = 0; from < n && !rc; from += SLICE) {
        size_t count = n - from < SLICE ? n - from : SLICE;
        in.list = list + from;
        in.rank = rank ? rank + from : NULL;
        pool_run(pool, (int64_t)count, draft_row, &in);
        for (size_t i = 0; i < count; i++) {
            if (!rc) rc = store_draft(t, &in.drafts[i], err);
            mem_free(in.drafts[i].units);
        }
    }
    for (int i = 0; i < threads; i++) {
        buf_release(&in.scratch[i].normal);
        words_release(&in.scratch[i].words);
    }
    mem_free(in.scratch);
    mem_free(in.drafts);
    return rc;
}

/* --- twins out --- */

static int compare(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

/* Rows of one content stand together, the one that is kept first. */
static int by_content(const void *pa, const void *pb, void *ctx) {
    const struct trow *rows = ctx;
    uint32_t ia = *(const uint32_t *)pa, ib = *(const uint32_t *)pb;
    const struct trow *a = &rows[ia], *b = &rows[ib];
    int c = compare(a->exact[0], b->exact[0]);
    if (!c) c = compare(a->exact[1], b->exact[1]);
    if (!c) c = a->rank < b->rank ? -1 : a->rank > b->rank;
    if (!c) c = compare(a->raw, b->raw);
    return c ? c : compare(ia, ib);
}

/* The keep rule between rows of different content. */
static int by_worth(const void *pa, const void *pb, void *ctx) {
    const struct trow *rows = ctx;
    const struct trow *a = &rows[*(const uint32_t *)pa], *b = &rows[*(const uint32_t *)pb];
    int c = a->rank < b->rank ? -1 : a->rank > b->rank;
    if (!c) c = compare(b->answer_bytes, a->answer_bytes);
    if (!c) c = compare(a->exact[0], b->exact[0]);
    return c ? c : compare(a->exact[1], b->exact[1]);
}

static int by_answer(const void *pa, const void *pb, void *ctx) {
    const struct trow *rows = ctx;
    return compare(rows[*(const uint32_t *)pa].answer, rows[*(const uint32_t *)pb].answer);
}

static int by_question(const void *pa, const void *pb, void *ctx) {
    const struct trow *rows = ctx;
    uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
    int c = compare(rows[a].question, rows[b].question);
    return c ? c : compare(a, b);
}

struct finding_run {
    struct twins *t;
    uint32_t *order; /* rows, sorted one way or another */
    uint32_t *kept;  /* of each row: the row that is kept in its place */
    float *similarity;
    uint32_t *nearest; /* of a distinct row: the one it is most like, and how */
    unsigned char *kind;
    uint32_t *distinct; /* one row of each content, the better first */
    size_t distinct_count;
};

static void sort_rows(struct finding_run *f, int (*by)(const void *, const void *, void *)) {
    for (size_t i = 0; i < f->t->count; i++) f->order[i] = (uint32_t)i;
    qsort_r(f->order, f->t->count, sizeof *f->order, by, f->t->rows);
}

static void mark_common_answers(struct finding_run *f) {
    struct trow *rows = f->t->rows;
    size_t n = f->t->count;
    sort_rows(f, by_answer);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i; j < n && rows[f->order[j]].answer == rows[f->order[i]].answer;) j++;
        bool common = j - i >= COMMON_ROWS && (double)(j - i) > COMMON_SHARE * (double)n;
        for (size_t m = i; m < j; m++) rows[f->order[m]].common_answer = common;
    }
}

static void join_equal(struct finding_run *f) {
    const struct trow *rows = f->t->rows;
    sort_rows(f, by_content);
    for (size_t i = 0; i < f->t->count; i++) {
        uint32_t row = f->order[i], first = i ? f->distinct[f->distinct_count - 1] : 0;
        f->similarity[row] = 1;
        if (i && rows[row].exact[0] == rows[first].exact[0] &&
            rows[row].exact[1] == rows[first].exact[1]) {
            f->kept[row] = first;
            continue;
        }
        f->kept[row] = row;
        f->distinct[f->distinct_count++] = row;
    }
    qsort_r(f->distinct, f->distinct_count, sizeof *f->distinct, by_worth, f->t->rows);
}

static struct twin *add_twin(struct twins *t, enum twin_kind kind, uint32_t row, uint32_t of,
                             double similarity) {
    mem_grow((void **)&t->found, &t->found_cap, t->found_count + 1, sizeof *t->found);
    uint32_t later = row > of ? row : of, earlier = row + of - later;
    struct twin *one = &t->found[t->found_count++];
    *one = (struct twin){kind, row, of, similarity, kind, later, earlier, similarity};
    return one;
}

struct match {
    enum nearness_kind kind;
    uint32_t place;
    double similarity;
};

static bool is_better(const struct match *a, const struct match *b) {
    if (a->kind != b->kind) return a->kind > b->kind;
    if (a->similarity != b->similarity) return a->similarity > b->similarity;
    return a->place < b->place;
}

struct search {
    struct groups *groups;
    struct nearness *nearness;
    uint32_t *stamp; /* of each place: the last place that was compared with it, + 1 */
    bool cut;        /* not all candidates were looked at */
};

/* The row most like this one among those that share a key with it and are kept (or not). */
static int nearest(struct finding_run *f, struct search *s, uint32_t place, bool kept,
                   const uint32_t *list, size_t count, struct match *ret, struct err *err) {
    int rc = nearness_set(s->nearness, f->distinct[place], err);
    *ret = (struct match){0};
    s->cut = false;
    for (size_t i = 0; i < count && !rc; i++) {
        const uint32_t *members;
        size_t n = group_members(s->groups, list[i], kept, &members);
        s->cut |= n > CANDIDATES;
        for (size_t m = 0; m < n && m < CANDIDATES && !rc; m++) {
            struct match one = {.place = members[m]};
            if (s->stamp[one.place] == place + 1 || one.place == place) continue;
            s->stamp[one.place] = place + 1;
            rc = nearness_of(s->nearness, f->distinct[one.place], &one.kind, &one.similarity, err);
            if (!rc && one.kind != NEAR_NOT && is_better(&one, ret)) *ret = one;
        }
    }
    s->cut |= nearness_cut(s->nearness);
    return rc;
}

/* Star by star: a row joins the kept row that it is most like, or is kept itself. */
static int join_near(struct finding_run *f, struct search *s, struct err *err) {
    int rc = 0;
    for (uint32_t place = 0; place < f->distinct_count && !rc; place++) {
        uint32_t row = f->distinct[place];
        const uint32_t *list;
        struct match m;
        size_t count = groups_of(s->groups, place, &list);
        if (!count) continue;
        rc = nearest(f, s, place, true, list, count, &m, err);
        bool joins = m.kind == NEAR_SAME;
        f->nearest[row] = m.kind == NEAR_NOT ? row : f->distinct[m.place];
        f->similarity[row] = (float)m.similarity;
        f->kind[row] = (unsigned char)m.kind;
        if (joins) f->kept[row] = f->distinct[m.place];
        f->t->cut += s->cut && m.kind == NEAR_NOT;
        for (size_t i = 0; i < count; i++) group_put(s->groups, list[i], !joins, place);
    }
    return rc;
}

/* Rows that stay and were near nothing better, but are near one that is dropped, or one that comes
 * after them and is more like a third. */
static int look_again(struct finding_run *f, struct search *s, struct err *err) {
    int rc = 0;
    memset(s->stamp, 0, f->t->count * sizeof *s->stamp);
    for (uint32_t place = 0; place < f->distinct_count && !rc; place++) {
        uint32_t row = f->distinct[place];
        const uint32_t *list;
        struct match m, n = {0};
        size_t count = groups_of(s->groups, place, &list);
        if (!count || f->kind[row] >= NEAR_ALIKE) continue;
        rc = nearest(f, s, place, true, list, count, &m, err);
        if (!rc) rc = nearest(f, s, place, false, list, count, &n, err);
        if (is_better(&n, &m)) m = n;
        uint32_t other = f->distinct[m.place];
        if (m.kind < NEAR_ALIKE || f->nearest[other] == row) continue;
        f->nearest[row] = other;
        f->similarity[row] = (float)m.similarity;
        f->kind[row] = NEAR_ALIKE;
    }
    return rc;
}

static int find_near(struct finding_run *f, struct pool *pool, struct err *err) {
    struct search s = {.nearness = nearness_new(f->t)};
    int rc = groups_new(f->t, f->distinct, f->distinct_count, pool, &s.groups, err);
    s.stamp = mem_zalloc(f->t->count, sizeof *s.stamp);
    if (!rc) rc = join_near(f, &s, err);
    if (!rc) rc = look_again(f, &s, err);
    groups_free(s.groups);
    nearness_free(s.nearness);
    mem_free(s.stamp);
    return rc;
}

/* The row kept in the end: equal rows follow the one that stands for their content. */
static uint32_t kept_of(const struct finding_run *f, uint32_t row) { return f->kept[f->kept[row]]; }

static bool same_content(const struct trow *a, const struct trow *b) {
    return a->exact[0] == b->exact[0] && a->exact[1] == b->exact[1];
}

/* The row that stands for this one's content. */
static uint32_t content_of(const struct finding_run *f, uint32_t row) {
    const struct trow *rows = f->t->rows;
    return same_content(&rows[row], &rows[f->kept[row]]) ? f->kept[row] : row;
}

/* What reports say of a row that is not the first of its cluster: an equal row before it, or the
 * kept row, or, where that comes later, the first. */
static void tell(const struct finding_run *f, struct twin *one, uint32_t named, uint32_t first,
                 uint32_t equal) {
    uint32_t kept = kept_of(f, named), as = content_of(f, named);
    double similarity = as == kept ? f->similarity[content_of(f, first)] : f->similarity[as];
    one->named = named;
    one->told = TWIN_NEAR;
    one->other = kept < named ? kept : first;
    if (equal != named) {
        one->other = equal;
        one->told = TWIN_EXACT;
        similarity = 1;
    } else if (one->other != kept && as != kept && content_of(f, first) != kept) {
        similarity += f->similarity[content_of(f, first)] - 1; /* distances add up */
    }
    one->told_similarity = similarity;
}

/* Every row dropped, with the row kept. */
static void report_clusters(struct finding_run *f) {
    struct twins *t = f->t;
    uint32_t *first = f->order, *equal = f->distinct; /* of each kept row, of each content */
    for (size_t i = 0; i < t->count; i++) first[i] = equal[i] = UINT32_MAX;
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t k = kept_of(f, i), as = content_of(f, i);
        if (first[k] == UINT32_MAX) first[k] = i;
        if (equal[as] == UINT32_MAX) equal[as] = i;
    }
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t k = kept_of(f, i), as = content_of(f, i);
        if (i == k) {
            enum nearness_kind kind = f->kind[i];
            if (kind == NEAR_ALIKE || kind == NEAR_REVIEW)
                add_twin(t, kind == NEAR_ALIKE ? TWIN_ALIKE : TWIN_REVIEW, i, f->nearest[i],
                         f->similarity[i]);
            continue;
        }
        struct twin *one =
            add_twin(t, as == k ? TWIN_EXACT : TWIN_NEAR, i, k, as == k ? 1 : f->similarity[as]);
        uint32_t named = first[k] == i ? k : i;
        tell(f, one, named, first[k], equal[content_of(f, named)]);
    }
}

static void report_conflicts(struct finding_run *f) {
    struct twins *t = f->t;
    const struct trow *rows = t->rows;
    sort_rows(f, by_question);
    for (size_t i = 0, j; i < t->count; i = j) {
        uint32_t first = f->order[i];
        for (j = i + 1; j < t->count && rows[f->order[j]].question == rows[first].question; j++) {
            uint32_t row = f->order[j];
            if (!rows[row].question || rows[row].answer == rows[first].answer) continue;
            if (kept_of(f, row) == kept_of(f, first)) continue;
            add_twin(t, TWIN_CONFLICT, row, first, 1);
        }
    }
}

static int by_row(const void *pa, const void *pb) {
    const struct twin *a = pa, *b = pb;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    return a->of < b->of ? -1 : a->of > b->of;
}

int twins_find(struct twins *t, struct pool *pool, const struct twin **ret, size_t *ret_count,
               struct err *err) {
    struct finding_run f = {.t = t};
    size_t n = t->count;
    f.order = mem_zalloc(n, sizeof *f.order);
    f.kept = mem_zalloc(n, sizeof *f.kept);
    f.similarity = mem_zalloc(n, sizeof *f.similarity);
    f.nearest = mem_zalloc(n, sizeof *f.nearest);
    f.kind = mem_zalloc(n, sizeof *f.kind);
    f.distinct = mem_zalloc(n, sizeof *f.distinct);
    mark_common_answers(&f);
    join_equal(&f);
    int rc = find_near(&f, pool, err);
    if (!rc) {
        report_clusters(&f);
        report_conflicts(&f);
        if (t->found_count) qsort(t->found, t->found_count, sizeof *t->found, by_row);
        *ret = t->found;
        *ret_count = t->found_count;
    }
    mem_free(f.order);
    mem_free(f.kept);
    mem_free(f.similarity);
    mem_free(f.nearest);
    mem_free(f.kind);
    mem_free(f.distinct);
    return rc;
}

int64_t twins_cut(const struct twins *t) { return t->cut; }
