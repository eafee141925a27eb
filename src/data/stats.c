#include "data/stats.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CLASS_BYTES_MAX 200 /* longer answers are no classes */
#define CLASS_ROWS_MIN 20   /* so many rows before one speaks of classes */
#define CLASS_ROWS_EACH 5   /* on average, or the answers are no classes */
#define IMBALANCE 10        /* times fewer than the most frequent */
#define SYSTEMS_MAX 4096    /* prompts told apart */
#define EXTREMES 8          /* longest and shortest rows that are kept */
#define FINE_BINS 512       /* of lengths: 16 for each power of two */
#define OUTLIER_ROWS_MIN 30

struct system_prompt {
    uint64_t exact, loose;
    int64_t count, first;
    char text[80];
};

struct extreme {
    int64_t row, bytes;
};

struct stats {
    struct stats_summary sum;
    struct language_words *words;
    bool no_classes; /* answers are too many or too long */
    struct system_prompt *systems;
    size_t system_count, system_cap;
    uint16_t system_at[SYSTEMS_MAX * 4]; /* by hash: 1 + index, 0: free */
    int64_t fine[FINE_BINS];
    struct extreme longest[EXTREMES], shortest[EXTREMES];
};

struct stats *stats_new(void) {
    struct stats *s = mem_zalloc(1, sizeof *s);
    s->words = language_words_new();
    return s;
}

void stats_free(struct stats *s) {
    if (!s) return;
    language_words_free(s->words);
    mem_free(s->systems);
    mem_free(s);
}

/* --- one row --- */

/* letters and digits alone, in lower case: what accidents do not change */
static uint64_t loose_hash(struct str s) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 'A' && c <= 'Z') c = (unsigned char)(c + 32);
        bool kept = c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (kept) h = (h ^ c) * 0x100000001b3u;
    }
    return h ? h : 1;
}

static const struct message *answer_of(const struct example *e) {
    size_t last = e->message_count - (e->kind == ROW_PAIR && e->message_count > 1 ? 2 : 1);
    const struct message *m = &e->messages[last];
    return e->message_count && m->role == ROLE_ASSISTANT && !m->call_count ? m : NULL;
}

/* the longest text of user and assistant speaks for the row */
static struct str spoken(const struct example *e) {
    struct str best = {"", 0};
    for (size_t i = 0; i < e->message_count; i++) {
        const struct message *m = &e->messages[i];
        if ((m->role == ROLE_USER || m->role == ROLE_ASSISTANT) && m->text.n > best.n)
            best = m->text;
    }
    return best;
}

void stats_facts(const struct stats *s, const struct example *e, struct row_facts *ret) {
    *ret = (struct row_facts){.messages = (int32_t)e->message_count, .answer_bytes = -1};
    for (size_t i = 0; i < e->message_count; i++) ret->bytes += (int64_t)e->messages[i].text.n;
    if (!e->message_count) return;
    const struct message *m = answer_of(e), *first = &e->messages[0];
    if (m && m->text.n && m->text.n <= CLASS_BYTES_MAX) {
        ret->answer = hash_bytes(m->text.p, m->text.n);
        ret->answer_bytes = (int32_t)m->text.n;
    }
    if (first->role == ROLE_SYSTEM && first->text.n) {
        ret->system = hash_bytes(first->text.p, first->text.n) | 1;
        ret->system_loose = loose_hash(first->text);
    }
    ret->language = language_of(s->words, spoken(e));
}

/* the beginning of a text, on one line */
static void excerpt(struct str s, char *ret, size_t size) {
    size_t n = s.n < size - 4 ? s.n : size - 4;
    n = utf8_valid_prefix((struct str){s.p, n});
    for (size_t i = 0; i < n; i++) ret[i] = (unsigned char)s.p[i] < ' ' ? ' ' : s.p[i];
    memcpy(ret + n, s.n > n ? "..." : "", s.n > n ? 4 : 1);
}

static void add_class(struct stats *s, int64_t row, const struct example *e,
                      const struct row_facts *f) {
    struct stats_summary *sum = &s->sum;
    if (f->answer_bytes < 0) s->no_classes = true;
    for (size_t i = 0; i < sum->class_count && !s->no_classes; i++)
        if (sum->classes[i].hash == f->answer) {
            sum->classes[i].count++;
            return;
        }
    if (sum->class_count == STATS_CLASSES) s->no_classes = true;
    if (s->no_classes) return;
    struct stats_class *c = &sum->classes[sum->class_count++];
    *c = (struct stats_class){.hash = f->answer, .count = 1, .first = row};
    excerpt(answer_of(e)->text, c->text, sizeof c->text);
}

static void add_system(struct stats *s, int64_t row, const struct example *e,
                       const struct row_facts *f) {
    size_t at = f->system >> 20 & (SYSTEMS_MAX * 4 - 1);
    while (s->system_at[at] && s->systems[s->system_at[at] - 1].exact != f->system)
        at = (at + 1) & (SYSTEMS_MAX * 4 - 1);
    if (s->system_at[at]) {
        s->systems[s->system_at[at] - 1].count++;
        return;
    }
    if (s->system_count == SYSTEMS_MAX) return;
    mem_grow((void **)&s->systems, &s->system_cap, s->system_count + 1, sizeof *s->systems);
    struct system_prompt *p = &s->systems[s->system_count++];
    s->system_at[at] = (uint16_t)s->system_count;
    *p = (struct system_prompt){
        .exact = f->system, .loose = f->system_loose, .count = 1, .first = row};
    excerpt(e->messages[0].text, p->text, sizeof p->text);
}

/* keeps the most extreme first; of equal ones the earlier row */
static void keep(struct extreme *list, struct extreme one, int sign) {
    for (int i = 0; i < EXTREMES; i++) {
        bool before = !list[i].row || sign * (one.bytes - list[i].bytes) > 0;
        if (!before) continue;
        struct extreme moved = list[i];
        list[i] = one;
        one = moved;
        if (!one.row) return;
    }
}

void stats_add(struct stats *s, int64_t row, const struct example *e, const struct row_facts *f) {
    struct stats_summary *sum = &s->sum;
    int bin = 0;
    while (bin < STATS_BINS - 1 && f->bytes >> (bin + 1)) bin++;
    int fine = (int)(16 * log2((double)f->bytes + 1));
    if (!sum->rows || f->bytes < sum->shortest) sum->shortest = f->bytes;
    if (f->bytes > sum->longest) sum->longest = f->bytes;
    sum->rows++;
    sum->bytes += f->bytes;
    sum->messages += f->messages;
    sum->lengths[bin]++;
    sum->kinds[e->kind]++;
    if (!sum->languages[f->language]++) sum->language_first[f->language] = row;
    s->fine[fine < FINE_BINS ? fine : FINE_BINS - 1]++;
    keep(s->longest, (struct extreme){row, f->bytes}, 1);
    keep(s->shortest, (struct extreme){row, f->bytes}, -1);
    if (!s->no_classes) add_class(s, row, e, f);
    if (f->system) add_system(s, row, e, f);
}

/* --- notes --- */

static int note(struct findings *notes, enum finding_kind kind, int64_t row, struct err *err,
                const char *fmt, ...) PRINTF_LIKE(5, 6);
static int note(struct findings *notes, enum finding_kind kind, int64_t row, struct err *err,
                const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text[utf8_valid_prefix(str_of(text))] = 0;
    return findings_add(
        notes, &(struct finding){.kind = kind, .row = row, .message = -1, .detail = text}, err);
}

static int by_count(const void *va, const void *vb) {
    const struct stats_class *a = (const struct stats_class *)va,
                             *b = (const struct stats_class *)vb;
    if (a->count != b->count) return a->count < b->count ? 1 : -1;
    return (a->first > b->first) - (a->first < b->first);
}

static int note_classes(struct stats *s, struct findings *notes, struct err *err) {
    struct stats_summary *sum = &s->sum;
    int rc = 0;
    int64_t n = (int64_t)sum->class_count;
    if (s->no_classes || sum->rows < CLASS_ROWS_MIN || n < 2 || n * CLASS_ROWS_EACH > sum->rows)
        sum->class_count = 0;
    qsort(sum->classes, sum->class_count, sizeof *sum->classes, by_count);
    for (size_t i = 1; !rc && i < sum->class_count; i++) {
        const struct stats_class *c = &sum->classes[i], *most = &sum->classes[0];
        if (c->count * IMBALANCE > most->count) continue;
        rc = note(notes, FINDING_CLASS_IMBALANCE, c->first, err,
                  "%lld row(s) answer \"%s\" and %lld \"%s\"; add examples of the rare one",
                  (long long)c->count, c->text, (long long)most->count, most->text);
    }
    return rc;
}

static double quantile(const struct stats *s, double q) {
    int64_t want = (int64_t)(q * (double)s->sum.rows), seen = 0;
    for (int b = 0; b < FINE_BINS; b++) {
        seen += s->fine[b];
        if (seen > want) return b;
    }
    return FINE_BINS;
}

static int note_side(const struct stats *s, const struct extreme *list, double bound, bool high,
                     struct findings *notes, struct err *err) {
    int rc = 0;
    double middle = exp2(quantile(s, 0.5) / 16);
    for (int i = 0; !rc && i < EXTREMES && list[i].row; i++) {
        double at = floor(16 * log2((double)list[i].bytes + 1));
        if (high ? at <= bound : at >= bound) continue;
        rc = note(notes, FINDING_LENGTH_OUTLIER, list[i].row, err,
                  "%lld bytes of text, where half of the rows have about %.0f or %s; look whether "
                  "it is one example",
                  (long long)list[i].bytes, middle, high ? "less" : "more");
    }
    return rc;
}

/* far outside the middle half, on the scale of powers of two (Tukey's outer fences) */
static int note_lengths(struct stats *s, struct findings *notes, struct err *err) {
    if (s->sum.rows < OUTLIER_ROWS_MIN) return 0;
    double low = quantile(s, 0.25), high = quantile(s, 0.75), width = high - low;
    if (width < 8) width = 8; /* half a power of two: rows of one template */
    int rc = note_side(s, s->longest, high + 3 * width, true, notes, err);
    return rc ? rc : note_side(s, s->shortest, low - 3 * width, false, notes, err);
}

static const struct system_prompt *most_like(const struct stats *s, uint64_t loose) {
    const struct system_prompt *best = NULL;
    for (size_t i = 0; i < s->system_count; i++) {
        const struct system_prompt *p = &s->systems[i];
        if (p->loose == loose && (!best || p->count > best->count)) best = p;
    }
    return best;
}

static int note_systems(struct stats *s, struct findings *notes, struct err *err) {
    int rc = 0;
    s->sum.system_prompts = (int64_t)s->system_count;
    for (size_t i = 0; !rc && i < s->system_count; i++) {
        const struct system_prompt *p = &s->systems[i], *most = most_like(s, p->loose);
        if (most == p) continue;
        rc = note(notes, FINDING_SYSTEM_PROMPT_VARIANT, p->first, err,
                  "%lld row(s) have this system prompt, %lld the one of row %lld, which differs in "
                  "case, spaces or punctuation only: \"%s\"; make them one",
                  (long long)p->count, (long long)most->count, (long long)most->first, p->text);
    }
    return rc;
}

static int note_languages(struct stats *s, struct findings *notes, struct err *err) {
    const struct stats_summary *sum = &s->sum;
    int64_t known = sum->rows - sum->languages[LANGUAGE_UNKNOWN];
    int most = LANGUAGE_UNKNOWN + 1, rc = 0;
    for (int l = most; l < LANGUAGES; l++)
        if (sum->languages[l] > sum->languages[most]) most = l;
    for (int l = LANGUAGE_UNKNOWN + 1; !rc && l < LANGUAGES; l++) {
        if (l == most || !sum->languages[l] || sum->languages[most] * 5 < known * 3) continue;
        rc = note(notes, FINDING_OTHER_LANGUAGE, sum->language_first[l], err,
                  "%lld row(s) seem to be in %s, %lld in %s; fine if you mean to serve both",
                  (long long)sum->languages[l], language_name((enum language)l),
                  (long long)sum->languages[most], language_name((enum language)most));
    }
    return rc;
}

int stats_finish(struct stats *s, struct stats_summary *ret, struct findings *notes,
                 struct err *err) {
    int rc = note_classes(s, notes, err);
    if (!rc) rc = note_lengths(s, notes, err);
    if (!rc) rc = note_systems(s, notes, err);
    if (!rc) rc = note_languages(s, notes, err);
    *ret = s->sum;
    return rc;
}
