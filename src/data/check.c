/* The driver. A batch goes through these steps: portions of it on the pool (validation, personal
 * data, tokens, facts for the statistics; each portion has findings of its own), then in order of
 * rows: findings joined, statistics, duplicates and leaks, which use the pool themselves. */
#include "data/check.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "data/leakage.h"
#include "data/twins.h"

#include <stdio.h>

#define PORTION 128 /* examples */
#define FINDINGS_LISTED ((size_t)1000000)
#define TEXT_MAX ((size_t)64 << 20)
#define EXCERPT_BYTES 160
#define SAMPLE_BYTES 4000
#define HITS 64 /* of one message without asking for memory */

struct portion {
    struct findings *findings;
    struct check_tokens tokens;
    int64_t entities[PII_ENTITIES];
    struct err err;
    int rc;
};

struct run {
    const struct check_options *o;
    struct check_report *r;
    struct validator *validator;
    struct stats *stats;
    struct twins *twins;
    struct leakage *leakage;
    int64_t *numbers; /* of the rows that twins know, by their index */
    size_t number_count, number_cap;
    uint64_t *dirty; /* a bit for each row */
    size_t dirty_cap;
    int64_t before; /* rows of the files before this one */
    int64_t bytes_before;
    /* the batch */
    const struct example *list;
    size_t count;
    struct portion *portions;
    size_t portion_count, portion_cap;
    struct row_facts *facts;
    size_t facts_cap;
    struct err *err;
};

static bool wants(const struct run *c, unsigned group) { return (c->o->checks & group) != 0; }

/* --- one example, any thread --- */

static int add_hits(struct portion *p, const struct example *e, int32_t message,
                    const struct pii_hit *hits, size_t n) {
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        struct finding f = {.kind = FINDING_CONTAINS_PII,
                            .row = e->number,
                            .message = message,
                            .entity = pii_label(hits[i].entity),
                            .start = (int64_t)hits[i].start,
                            .end = (int64_t)hits[i].end};
        p->entities[hits[i].entity]++;
        rc = findings_add(p->findings, &f, &p->err);
    }
    return rc;
}

static int check_pii(const struct run *c, struct portion *p, const struct example *e) {
    int rc = 0;
    for (size_t i = 0; !rc && i < e->message_count; i++) {
        struct pii_hit some[HITS], *hits = some;
        struct str text = e->messages[i].text;
        size_t n = text.n ? pii_scan(text, &c->o->pii, hits, HITS) : 0;
        if (n > HITS) {
            hits = mem_alloc(n * sizeof *hits);
            pii_scan(text, &c->o->pii, hits, n);
        }
        rc = add_hits(p, e, (int32_t)i, hits, n);
        if (hits != some) mem_free(hits);
    }
    return rc;
}

static int found(struct portion *p, const struct example *e, enum finding_kind kind,
                 const char *detail) {
    return findings_add(
        p->findings,
        &(struct finding){.kind = kind, .row = e->number, .message = -1, .detail = detail},
        &p->err);
}

static const char *mismatch_of(int issues) {
    if (issues & ROW_CALLS_UNSEEN)
        return "the chat template leaves the tool calls out, so the answer would be learned "
               "without "
               "them; choose a model with a template for tools";
    if (issues & ROW_TOOLS_UNSEEN)
        return "the chat template leaves the tools out; the model would not see what it may call";
    if (issues & ROW_SERVES_OTHERWISE)
        return "what stands before an answer is not what serving would send; that answer is not "
               "trained where the two differ";
    return NULL;
}

static int count_tokens(const struct run *c, struct portion *p, const struct example *e,
                        const struct row_tokens *t) {
    struct check_tokens *sum = &p->tokens;
    int64_t limit = c->o->render.max_length;
    int bin = 0;
    while (bin < STATS_BINS - 1 && t->uncut >> (bin + 1)) bin++;
    sum->rows++;
    sum->lengths[bin]++;
    sum->total += t->uncut;
    sum->trained += t->trained;
    sum->cut += (t->issues & ROW_CUT) != 0;
    if (t->uncut > sum->longest) {
        sum->longest = t->uncut;
        sum->longest_row = e->number;
    }
    if (!(t->issues & ROW_CUT)) return 0;
    char text[160];
    snprintf(text, sizeof text,
             "%lld tokens; the limit is %lld, the last %lld would be cut: shorten or split the row",
             (long long)t->uncut, (long long)limit, (long long)(t->uncut - limit));
    return found(p, e, FINDING_INVALID_LENGTH, text);
}

/* one row or both sides of a pair */
static int render(const struct run *c, const struct example *e, struct row_tokens *t, int *ret_n,
                  struct err *err) {
    struct row row = {.number = e->number, .line = e->line};
    int rc = json_read(e->json, "row", &row.json, err);
    if (rc) return rc;
    *ret_n = e->kind == ROW_PAIR ? PAIR_SIDES : 1;
    rc = e->kind == ROW_PAIR ? row_render_pair(&row, &c->o->render, t, err)
                             : row_render(&row, e->kind, &c->o->render, t, err);
    json_decref(row.json);
    return rc;
}

/* A row with another fault gets no second finding for what follows from it. */
static int check_tokens(const struct run *c, struct portion *p, const struct example *e,
                        bool faulty) {
    struct row_tokens t[PAIR_SIDES];
    struct err bad;
    int n = 0, issues = 0, rc = 0;
    if (e->kind == ROW_PAIR && e->message_count < 3) return 0;
    if (render(c, e, t, &n, &bad)) {
        if (faulty) return 0;
        char text[300];
        snprintf(text, sizeof text, "the chat template refuses the row: %.240s", bad.msg);
        text[utf8_valid_prefix(str_of(text))] = 0;
        return found(p, e, FINDING_TEMPLATE_MISMATCH, text);
    }
    int64_t longest = 0;
    for (int i = 0; i < n; i++) {
        issues |= t[i].issues;
        longest = t[i].uncut > longest ? t[i].uncut : longest;
    }
    for (int i = 0; !rc && i < n; i++) rc = count_tokens(c, p, e, &t[i]);
    for (int i = 0; i < n; i++) row_tokens_release(&t[i]);
    if (rc || faulty) return rc;
    const char *why = mismatch_of(issues);
    if (why) return found(p, e, FINDING_TEMPLATE_MISMATCH, why);
    if (issues & ROW_TRAINS_NOTHING)
        return found(p, e, FINDING_TRAINS_NOTHING,
                     issues & ROW_CUT ? "the answer stands behind the limit of tokens"
                                      : "no answer with a weight of 1");
    return 0;
}

static int check_example(const struct run *c, struct portion *p, size_t i) {
    const struct example *e = &c->list[i];
    size_t before = findings_count(p->findings);
    int rc = 0;
    stats_facts(c->stats, e, &c->facts[i]);
    if (wants(c, CHECK_FORMAT)) rc = validate_example(c->validator, e, p->findings, &p->err);
    bool faulty = findings_count(p->findings) > before;
    if (!rc && wants(c, CHECK_TOKENS) && c->o->render.tokenizer) rc = check_tokens(c, p, e, faulty);
    if (!rc && wants(c, CHECK_PII)) rc = check_pii(c, p, e);
    return rc;
}

static void check_portion(void *ctx, int64_t i) {
    struct run *c = ctx;
    struct portion *p = &c->portions[i];
    size_t from = (size_t)i * PORTION, to = from + PORTION;
    for (size_t k = from; k < to && k < c->count && !p->rc; k++) p->rc = check_example(c, p, k);
}

/* --- putting together --- */

static void mark(struct run *c, int64_t row) {
    size_t word = (size_t)row / 64, old = c->dirty_cap;
    mem_grow((void **)&c->dirty, &c->dirty_cap, word + 1, sizeof *c->dirty);
    if (c->dirty_cap > old) memset(c->dirty + old, 0, (c->dirty_cap - old) * sizeof *c->dirty);
    uint64_t bit = (uint64_t)1 << (row % 64);
    c->r->clean -= (c->dirty[word] & bit) == 0;
    c->dirty[word] |= bit;
}

static void keep_excerpt(struct run *c, const struct finding *f) {
    char **to = &c->r->excerpts[f->kind];
    if (*to || !c->count) return;
    size_t low = 0, high = c->count; /* the numbers ascend, with gaps where rows were refused */
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (c->list[mid].number <= f->row)
            low = mid;
        else
            high = mid;
    }
    const struct example *e = &c->list[low];
    if (e->number != f->row) return;
    struct str s = e->json;
    if (f->message >= 0 && (size_t)f->message < e->message_count) s = e->messages[f->message].text;
    if (f->start) s = str_from(s, (size_t)f->start > 60 ? (size_t)f->start - 60 : 0);
    while (s.n && ((unsigned char)*s.p & 0xC0) == 0x80) s = str_from(s, 1);
    size_t n = s.n < EXCERPT_BYTES ? s.n : EXCERPT_BYTES;
    n = utf8_valid_prefix((struct str){s.p, n});
    if (n == 0) return;
    char *text = arena_strndup(&c->r->text, s.p, n);
    for (size_t i = 0; text && i < n; i++)
        if ((unsigned char)text[i] < ' ') text[i] = ' ';
    *to = text;
}

/* f.row and f.twin are of the whole set already */
static int take(struct run *c, const struct finding *f, bool note) {
    struct check_report *r = c->r;
    size_t most = c->o->findings_max ? c->o->findings_max : FINDINGS_LISTED;
    if (note)
        r->noted[f->kind]++;
    else
        r->counts[f->kind]++;
    if (!note) mark(c, f->row);
    struct findings *to = note ? r->notes : r->findings;
    if (findings_count(to) < most) return findings_add(to, f, c->err);
    r->listed_not++;
    return 0;
}

/* Of rows that could be read: not told unless asked for. What was refused is always told. */
static bool is_opinion(enum finding_kind kind) {
    return kind == FINDING_MESSAGE_UNRECOGNIZED_KEY || kind == FINDING_LOW_FEEDBACK;
}

/* what a reader or a portion found: rows of this file */
static int take_all(struct run *c, const struct findings *from) {
    int rc = 0;
    for (size_t i = 0; !rc && i < findings_count(from); i++) {
        struct finding f = *findings_at(from, i);
        if (!wants(c, CHECK_FORMAT) && is_opinion(f.kind)) continue;
        keep_excerpt(c, &f);
        f.row += c->before;
        rc = take(c, &f, finding_group(f.kind) == CHECK_NOTES);
    }
    return rc;
}

static void add_tokens(struct run *c, const struct check_tokens *t) {
    struct check_tokens *sum = &c->r->tokens;
    sum->rows += t->rows;
    sum->total += t->total;
    sum->trained += t->trained;
    sum->cut += t->cut;
    for (int b = 0; b < STATS_BINS; b++) sum->lengths[b] += t->lengths[b];
    if (t->longest <= sum->longest) return;
    sum->longest = t->longest;
    sum->longest_row = t->longest_row + c->before;
}

static int add_twins(struct run *c) {
    if (!c->twins) return 0;
    mem_grow((void **)&c->numbers, &c->number_cap, c->number_count + c->count, sizeof *c->numbers);
    for (size_t i = 0; i < c->count; i++)
        c->numbers[c->number_count++] = c->before + c->list[i].number;
    return twins_add(c->twins, c->list, c->count, NULL, c->o->pool, c->err);
}

static int add_leaks(struct run *c) {
    struct leaks leaks = {0};
    static const char *const how[] = {"the same text", "a run of the same words",
                                      "its answer in an assistant's turn", "nearly the same words"};
    if (!c->leakage) return 0;
    int rc = leakage_find(c->leakage, c->list, c->count, c->o->pool, &leaks, c->err);
    for (size_t i = 0; !rc && i < leaks.count; i++) {
        const struct leak *l = &leaks.list[i];
        char text[200];
        if (l->words > 0)
            snprintf(text, sizeof text, "%s (%d words); remove the row or the case", how[l->how],
                     l->words);
        else
            snprintf(text, sizeof text, "%s; remove the row or the case", how[l->how]);
        struct finding f = {.kind = FINDING_POTENTIAL_LEAKAGE,
                            .row = l->row,
                            .message = l->message,
                            .twin = l->held_out,
                            .against = c->o->against[l->file],
                            .similarity = l->similarity,
                            .detail = text};
        keep_excerpt(c, &f);
        f.row += c->before;
        rc = take(c, &f, false);
    }
    mem_free(leaks.list);
    return rc;
}

/* --- the first example as training sees it --- */

static int add_piece(struct run *c, const struct row_tokens *t, int64_t from, int64_t to,
                     size_t *left) {
    struct buf b;
    buf_init(&b, TEXT_MAX);
    int rc = tokenizer_decode(c->o->render.tokenizer, t->ids + from, to - from, false, &b, c->err);
    size_t n = b.n < *left ? b.n : utf8_valid_prefix((struct str){b.p, *left});
    if (!rc && n) {
        struct check_report *r = c->r;
        r->sample[r->sample_count++] =
            (struct check_piece){t->train[from] > 0, arena_str(&r->text, (struct str){b.p, n})};
        *left -= n;
    }
    buf_release(&b);
    return rc;
}

static int keep_sample(struct run *c) {
    struct row_tokens t[PAIR_SIDES];
    struct err ignored;
    size_t left = SAMPLE_BYTES;
    int n = 0, rc = 0;
    if (!c->o->render.tokenizer || c->r->sample || !c->count) return 0;
    if (render(c, &c->list[0], t, &n, &ignored)) return 0;
    c->r->sample = mem_zalloc((size_t)t[0].n + 1, sizeof *c->r->sample);
    for (int64_t i = 0, k; !rc && left && i < t[0].n; i = k) {
        for (k = i + 1; k < t[0].n && (t[0].train[k] > 0) == (t[0].train[i] > 0);) k++;
        rc = add_piece(c, &t[0], i, k, &left);
    }
    for (int i = 0; i < n; i++) row_tokens_release(&t[i]);
    return rc;
}

/* --- files --- */

static void portions_start(struct run *c) {
    c->portion_count = (c->count + PORTION - 1) / PORTION;
    mem_grow((void **)&c->portions, &c->portion_cap, c->portion_count, sizeof *c->portions);
    mem_grow((void **)&c->facts, &c->facts_cap, c->count, sizeof *c->facts);
    for (size_t i = 0; i < c->portion_count; i++)
        c->portions[i] = (struct portion){.findings = findings_new()};
}

static int portions_take(struct run *c) {
    int rc = 0;
    for (size_t i = 0; i < c->portion_count; i++) {
        struct portion *p = &c->portions[i];
        if (!rc && p->rc) *c->err = p->err;
        if (!rc) rc = p->rc;
        if (!rc) rc = take_all(c, p->findings);
        add_tokens(c, &p->tokens);
        for (int e = 0; e < PII_ENTITIES; e++) c->r->entities[e] += p->entities[e];
        findings_free(p->findings);
    }
    return rc;
}

static int check_batch(struct run *c) {
    portions_start(c);
    pool_run(c->o->pool, (int64_t)c->portion_count, check_portion, c);
    int rc = portions_take(c);
    for (size_t i = 0; !rc && i < c->count; i++)
        stats_add(c->stats, c->before + c->list[i].number, &c->list[i], &c->facts[i]);
    if (!rc) rc = keep_sample(c);
    if (!rc) rc = add_twins(c);
    if (!rc) rc = add_leaks(c);
    return rc;
}

static int go_on(struct run *c, const struct source *s) {
    const struct check_options *o = c->o;
    if (!o->on_progress ||
        o->on_progress(o->ctx, c->bytes_before + source_bytes(s), c->before + source_records(s)))
        return 0;
    return err_set(c->err, ERR_CANCELLED, "stopped after %lld rows",
                   (long long)(c->before + source_records(s)));
}

static int check_file(struct run *c, struct check_file *file) {
    struct source *s = NULL;
    struct findings *refused = NULL;
    int rc = source_open(file->path, &c->o->source, &s, c->err);
    if (rc) return rc;
    const char *reason = source_reason(s);
    file->before = c->before;
    file->format = source_format_of(s);
    file->reason = arena_strndup(&c->r->text, reason ? reason : "", reason ? strlen(reason) : 0);
    while (!rc) {
        int64_t was = source_records(s);
        refused = findings_new();
        rc = source_next(s, c->o->pool, &c->list, &c->count, refused, c->err);
        if (!rc) c->r->clean += source_records(s) - was; /* marking takes away again */
        if (!rc) rc = take_all(c, refused);
        findings_free(refused);
        if (!rc && c->count) rc = check_batch(c);
        if (!rc) rc = go_on(c, s);
        if (!c->count && source_records(s) == was) break;
    }
    file->rows = source_records(s);
    c->before += file->rows;
    c->bytes_before += source_bytes(s);
    c->count = 0;
    source_close(s);
    return rc;
}

/* --- the held-out files --- */

static int note_unread(struct run *c, const char *path, int64_t n) {
    char text[300];
    if (n == 0) return 0;
    snprintf(text, sizeof text,
             "%lld record(s) of the held-out file \"%.150s\" cannot be read and were not compared; "
             "check that file too",
             (long long)n, path);
    text[utf8_valid_prefix(str_of(text))] = 0;
    return take(
        c, &(struct finding){.kind = FINDING_HELD_OUT_UNREAD, .message = -1, .detail = text}, true);
}

static int add_held_out(struct run *c, size_t i) {
    struct source *s = NULL;
    struct source_options o = {.format = SOURCE_AUTO, .record_max = c->o->source.record_max};
    const struct example *list;
    size_t count = 1;
    int64_t taken = 0;
    int rc = source_open(c->o->against[i], &o, &s, c->err);
    while (!rc && count) {
        struct findings *ignored = findings_new();
        rc = source_next(s, c->o->pool, &list, &count, ignored, c->err);
        if (!rc) rc = leakage_add(c->leakage, (int32_t)i, list, count, c->err);
        taken += rc ? 0 : (int64_t)count;
        findings_free(ignored);
    }
    if (!rc) rc = note_unread(c, c->o->against[i], source_records(s) - taken);
    source_close(s);
    return rc;
}

static int prepare(struct run *c) {
    const struct check_options *o = c->o;
    bool tokens = wants(c, CHECK_TOKENS) && o->render.tokenizer;
    int rc = 0;
    c->validator =
        validator_new(&(struct validate_options){.min_feedback_given = o->min_feedback_given,
                                                 .min_feedback = o->min_feedback,
                                                 .tokens_checked = tokens});
    c->stats = stats_new();
    if (wants(c, CHECK_DUPLICATES | CHECK_CONFLICTS))
        c->twins = twins_new(&(struct twin_options){.threshold = o->threshold});
    if (wants(c, CHECK_LEAKAGE) && o->against_count) c->leakage = leakage_new();
    for (size_t i = 0; c->leakage && !rc && i < o->against_count; i++) rc = add_held_out(c, i);
    if (c->leakage) leakage_ready(c->leakage);
    return rc;
}

/* --- the end --- */

static int take_twin(struct run *c, const struct twin *t) {
    static const enum finding_kind kinds[] = {
        [TWIN_EXACT] = FINDING_EXACT_DUPLICATE,        [TWIN_NEAR] = FINDING_NEAR_DUPLICATE,
        [TWIN_ALIKE] = FINDING_NEAR_DUPLICATE,         [TWIN_REVIEW] = FINDING_NEAR_DUPLICATE,
        [TWIN_CONFLICT] = FINDING_CONFLICTING_ANSWERS,
    };
    bool conflict = t->told == TWIN_CONFLICT;
    if (!wants(c, conflict ? CHECK_CONFLICTS : CHECK_DUPLICATES)) return 0;
    struct finding f = {.kind = kinds[t->told],
                        .row = c->numbers[t->named],
                        .message = -1,
                        .twin = c->numbers[t->other],
                        .similarity = t->told_similarity};
    if (t->told == TWIN_REVIEW) f.detail = "alike, but not enough to be dropped; look at both";
    return take(c, &f, t->told == TWIN_REVIEW);
}

static int finish(struct run *c) {
    const struct twin *list = NULL;
    size_t count = 0;
    struct check_report *r = c->r;
    int rc = 0;
    if (c->twins) rc = twins_find(c->twins, c->o->pool, &list, &count, c->err);
    for (size_t i = 0; !rc && i < count; i++) rc = take_twin(c, &list[i]);
    if (!rc && c->twins) r->duplicates_uncertain = twins_cut(c->twins);
    twins_free(c->twins);
    c->twins = NULL;
    size_t before = findings_count(r->notes);
    if (!rc) rc = stats_finish(c->stats, &r->stats, r->notes, c->err);
    for (size_t i = before; !rc && i < findings_count(r->notes); i++)
        r->noted[findings_at(r->notes, i)->kind]++;
    if (rc) return rc;
    findings_sort(r->findings);
    findings_sort(r->notes);
    r->rows = c->before;
    r->has_tokens = c->o->render.tokenizer && wants(c, CHECK_TOKENS);
    r->tokens.limit = c->o->render.max_length;
    return r->text.over ? err_set(c->err, ERR_LIMIT, "the report is too large") : 0;
}

int check_run(const struct check_options *o, struct check_report **ret, struct err *err) {
    struct run c = {.o = o, .err = err};
    struct check_report *r = c.r = mem_zalloc(1, sizeof *r);
    arena_init(&r->text, TEXT_MAX);
    r->findings = findings_new();
    r->notes = findings_new();
    r->checks = o->checks;
    r->files = mem_zalloc(o->file_count + 1, sizeof *r->files);
    int rc = prepare(&c);
    for (size_t i = 0; !rc && i < o->file_count; i++) {
        r->files[i].path = o->files[i];
        r->file_count++;
        rc = check_file(&c, &r->files[i]);
    }
    if (!rc) rc = finish(&c);
    validator_free(c.validator);
    stats_free(c.stats);
    twins_free(c.twins);
    leakage_free(c.leakage);
    mem_free(c.numbers);
    mem_free(c.dirty);
    mem_free(c.portions);
    mem_free(c.facts);
    if (rc)
        check_report_free(r);
    else
        *ret = r;
    return rc;
}

void check_report_free(struct check_report *r) {
    if (!r) return;
    findings_free(r->findings);
    findings_free(r->notes);
    mem_free(r->sample);
    mem_free(r->files);
    arena_release(&r->text);
    mem_free(r);
}

const struct check_file *check_place(const struct check_report *r, int64_t row, int64_t *ret_row) {
    size_t i = r->file_count - 1;
    while (i > 0 && r->files[i].before >= row) i--;
    *ret_row = row - r->files[i].before;
    return &r->files[i];
}

int check_groups_parse(const char *list, unsigned *ret, struct err *err) {
    static const struct {
        const char *name;
        unsigned bit;
    } groups[] = {{"format", CHECK_FORMAT},
                  {"pii", CHECK_PII},
                  {"duplicates", CHECK_DUPLICATES},
                  {"conflicts", CHECK_CONFLICTS},
                  {"leakage", CHECK_LEAKAGE},
                  {"tokens", CHECK_TOKENS},
                  {"notes", CHECK_NOTES}};
    unsigned bits = 0;
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ","), i = 0, count = sizeof groups / sizeof *groups;
        while (i < count && (strlen(groups[i].name) != n || strncmp(groups[i].name, at, n))) i++;
        if (i == count)
            return err_set(err, ERR_USAGE,
                           "--checks is a list of format, pii, duplicates, conflicts, leakage and "
                           "tokens, not \"%.80s\"",
                           list);
        bits |= groups[i].bit;
        at += n + (at[n] == ',');
    }
    if (!bits) return err_set(err, ERR_USAGE, "--checks names none");
    *ret = bits | CHECK_NOTES;
    return 0;
}
