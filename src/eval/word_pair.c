/* Texts to numbers, and the counting that metrics share. */
#include "eval/word_pair.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <utf8proc.h>

#define TEXT_MAX ((size_t)64 << 20) /* a tokenizer's rewriting of a text */
#define EDIT_STEPS_MAX 1000000000ll

/* --- characters --- */

static bool is_space(unsigned c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alnum(unsigned c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/* \w of Python's re: letters, numbers and the underscore */
static bool is_word(unsigned c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

/* bytes that are not UTF-8 stand for themselves */
static size_t next(struct str s, unsigned *c) {
    size_t n = utf8_get(s, c);
    if (n) return n;
    *c = (unsigned char)s.p[0];
    return 1;
}

static void lower(struct str s, struct buf *out) {
    unsigned c;
    for (size_t i = 0; i < s.n;) {
        size_t n = next(str_from(s, i), &c);
        if (c == 0x130) /* the one whose lower case is two */
            buf_z(out, "i\xcc\x87");
        else
            buf_utf8(out, (unsigned)utf8proc_tolower((utf8proc_int32_t)c));
        i += n;
    }
}

/* --- sacrebleu's 13a: four substitutions, one after the other --- */

static void replace_all(struct buf *b, const char *from, const char *to) {
    struct buf out;
    struct str s = buf_view(b), f = str_of(from);
    buf_init(&out, TEXT_MAX);
    for (size_t i = 0; i < s.n;) {
        if (str_starts(str_from(s, i), f)) {
            buf_z(&out, to);
            i += f.n;
        } else {
            buf_byte(&out, s.p[i++]);
        }
    }
    buf_release(b);
    *b = out;
}

static bool splits(char c) {
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') ||
           (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}
static bool is_stop(char c) { return c == '.' || c == ','; }

static void spaced(struct buf *out, char c) {
    buf_byte(out, ' ');
    buf_byte(out, c);
    buf_byte(out, ' ');
}

/* rule 0: symbols; 1: stop not after a digit; 2: stop not before a digit; 3: dash after a digit */
static void rewrite_13a(struct buf *b, int rule) {
    struct buf out;
    struct str s = buf_view(b);
    buf_init(&out, TEXT_MAX);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], d = i + 1 < s.n ? s.p[i + 1] : '0';
        bool pair = i + 1 < s.n;
        if (rule == 0 && splits(c)) {
            spaced(&out, c);
        } else if (pair && ((rule == 1 && !is_digit(c) && is_stop(d)) ||
                            (rule == 3 && is_digit(c) && d == '-'))) {
            buf_byte(&out, c);
            spaced(&out, d);
            i++;
        } else if (pair && rule == 2 && is_stop(c) && !is_digit(d)) {
            spaced(&out, c);
            buf_byte(&out, d);
            i++;
        } else {
            buf_byte(&out, c);
        }
    }
    buf_release(b);
    *b = out;
}

static void rewrite_mteval(struct str s, struct buf *out) {
    static const char *const changes[][2] = {{"<skipped>", ""}, {"-\n", ""},    {"\n", " "},
                                             {"&quot;", "\""},  {"&amp;", "&"}, {"&lt;", "<"},
                                             {"&gt;", ">"}};
    size_t end = 0;
    unsigned c;
    for (size_t i = 0; i < s.n;) { /* rstrip() */
        size_t n = next(str_from(s, i), &c);
        i += n;
        if (!is_space(c)) end = i;
    }
    buf_str(out, (struct str){s.p, end});
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        replace_all(out, changes[i][0], changes[i][1]);
    struct buf padded;
    buf_init(&padded, TEXT_MAX);
    buf_byte(&padded, ' ');
    buf_str(&padded, buf_view(out));
    buf_byte(&padded, ' ');
    buf_release(out);
    *out = padded;
    for (int rule = 0; rule < 4; rule++) rewrite_13a(out, rule);
}

/* --- words of one text --- */

struct cutter {
    enum words_rule rule;
    struct str *list;
    size_t count, cap;
};

static void cut_add(struct cutter *c, struct str word) {
    mem_grow((void **)&c->list, &c->cap, c->count + 1, sizeof *c->list);
    c->list[c->count++] = word;
}

static bool belongs(enum words_rule rule, unsigned c) {
    if (rule == WORDS_ALNUM) return is_alnum(c);
    if (rule == WORDS_VECTOR) return is_word(c);
    return !is_space(c);
}

static bool is_kept(enum words_rule rule, struct str word) {
    unsigned c;
    if (rule == WORDS_VECTOR) return word.n > next(word, &c);
    if (rule == WORDS_PLAIN)
        return !str_is(word, "a") && !str_is(word, "an") && !str_is(word, "the");
    return true;
}

static void cut(struct cutter *cutter, struct str s) {
    unsigned c;
    size_t start = 0;
    bool inside = false;
    for (size_t i = 0; i < s.n && cutter->count <= TEXT_UNITS_MAX;) {
        size_t n = next(str_from(s, i), &c);
        if (cutter->rule == WORDS_CHARACTERS) {
            cut_add(cutter, (struct str){s.p + i, n});
        } else if (belongs(cutter->rule, c)) {
            if (!inside) start = i;
            inside = true;
        } else if (inside) {
            struct str word = {s.p + start, i - start};
            if (is_kept(cutter->rule, word)) cut_add(cutter, word);
            inside = false;
        }
        i += n;
    }
    struct str word = str_from(s, start);
    if (inside && is_kept(cutter->rule, word)) cut_add(cutter, word);
}

static void drop_punctuation(struct buf *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        char c = b->p[i];
        bool punctuation = (c >= '!' && c <= '/') || (c >= ':' && c <= '@') ||
                           (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
        if (!punctuation) b->p[n++] = c;
    }
    b->n = n;
}

static int words_of(struct str text, enum words_rule rule, struct word_pair *w, int k,
                    struct err *err) {
    struct cutter cutter = {.rule = rule};
    struct buf b;
    buf_init(&b, TEXT_MAX);
    if (rule == WORDS_13A)
        rewrite_mteval(text, &b);
    else if (rule == WORDS_SPACE || rule == WORDS_CHARACTERS)
        buf_str(&b, text);
    else
        lower(text, &b);
    if (rule == WORDS_PLAIN) drop_punctuation(&b);
    bool fits = buf_ok(&b);
    cut(&cutter, buf_view(&b));
    w->memory[k] = buf_take(&b);
    w->words[k] = cutter.list;
    w->n[k] = (int64_t)cutter.count;
    if (!fits || cutter.count > TEXT_UNITS_MAX)
        return err_set(err, ERR_LIMIT, "a text to be scored has more than %d words or characters",
                       TEXT_UNITS_MAX);
    return 0;
}

/* --- numbers --- */

struct place {
    struct str word;
    uint32_t *to;
};
static int by_word(const void *a, const void *b) {
    return str_cmp(((const struct place *)a)->word, ((const struct place *)b)->word);
}

int word_pair_make(struct str a, struct str b, enum words_rule rule, struct word_pair *ret,
                   struct err *err) {
    struct word_pair w = {0};
    struct place *places = NULL;
    int rc = words_of(a, rule, &w, 0, err);
    if (!rc) rc = words_of(b, rule, &w, 1, err);
    size_t n = (size_t)(w.n[0] + w.n[1]), at = 0;
    if (!rc) rc = mem_try(n + 1, sizeof *places, "words", (void **)&places, err);
    for (int k = 0; !rc && k < 2; k++) {
        rc = mem_try((size_t)w.n[k] + 1, sizeof *w.ids[k], "words", (void **)&w.ids[k], err);
        for (int64_t i = 0; !rc && i < w.n[k]; i++)
            places[at++] = (struct place){w.words[k][i], &w.ids[k][i]};
    }
    if (!rc && n) qsort(places, n, sizeof *places, by_word);
    for (size_t i = 0; !rc && i < n; i++) {
        if (i == 0 || !str_eq(places[i].word, places[i - 1].word)) w.kinds++;
        *places[i].to = (uint32_t)(w.kinds - 1);
    }
    mem_free(places);
    if (rc)
        word_pair_release(&w);
    else
        *ret = w;
    return rc;
}

void word_pair_release(struct word_pair *w) {
    for (int k = 0; k < 2; k++) {
        mem_free(w->ids[k]);
        mem_free(w->words[k]);
        mem_free(w->memory[k]);
    }
    *w = (struct word_pair){0};
}

/* --- counting --- */

struct gram {
    const uint32_t *at;
    int64_t order;
};
static int gram_cmp(const void *pa, const void *pb) {
    const struct gram *a = pa, *b = pb;
    for (int64_t i = 0; i < a->order; i++)
        if (a->at[i] != b->at[i]) return a->at[i] < b->at[i] ? -1 : 1;
    return 0;
}

static struct gram *grams(const struct word_pair *w, int k, int64_t order, int64_t *ret_n) {
    int64_t n = w->n[k] - order + 1;
    if (n < 0) n = 0;
    struct gram *g = mem_zalloc((size_t)n + 1, sizeof *g);
    for (int64_t i = 0; i < n; i++) g[i] = (struct gram){w->ids[k] + i, order};
    if (n) qsort(g, (size_t)n, sizeof *g, gram_cmp);
    *ret_n = n;
    return g;
}

int64_t word_pair_overlap(const struct word_pair *w, int64_t order) {
    int64_t na, nb, both = 0;
    struct gram *a = grams(w, 0, order, &na), *b = grams(w, 1, order, &nb);
    for (int64_t i = 0, j = 0; i < na && j < nb;) {
        int c = gram_cmp(&a[i], &b[j]);
        both += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    mem_free(a);
    mem_free(b);
    return both;
}

void word_pair_products(const struct word_pair *w, double *aa, double *bb, double *ab) {
    double *counts[2];
    *aa = *bb = *ab = 0;
    for (int k = 0; k < 2; k++) {
        counts[k] = mem_zalloc((size_t)w->kinds + 1, sizeof **counts);
        for (int64_t i = 0; i < w->n[k]; i++) counts[k][w->ids[k][i]]++;
    }
    for (int64_t i = 0; i < w->kinds; i++) {
        *aa += counts[0][i] * counts[0][i];
        *bb += counts[1][i] * counts[1][i];
        *ab += counts[0][i] * counts[1][i];
    }
    mem_free(counts[0]);
    mem_free(counts[1]);
}

/* 64 positions of the first text at a time (Hyyrö 2004): a bit of `state` falls to 0 where the
 * subsequence grows */
int word_pair_lcs(const struct word_pair *w, int64_t *ret, struct err *err) {
    size_t words = ((size_t)w->n[0] + 63) / 64, size = 0;
    uint64_t *where = NULL, *state = NULL;
    int64_t length = 0;
    int rc = mul_size(words, (size_t)w->kinds, &size)
                 ? mem_try(size + 1, sizeof *where, "subsequence", (void **)&where, err)
                 : err_set(err, ERR_LIMIT, "texts to be scored are too long");
    if (!rc) rc = mem_try(words + 1, sizeof *state, "subsequence", (void **)&state, err);
    if (rc) goto out;
    for (int64_t i = 0; i < w->n[0]; i++)
        where[w->ids[0][i] * words + (size_t)i / 64] |= (uint64_t)1 << (i % 64);
    for (size_t i = 0; i < words; i++) state[i] = ~(uint64_t)0;
    for (int64_t j = 0; j < w->n[1]; j++) {
        const uint64_t *at = where + w->ids[1][j] * words;
        uint64_t carry = 0;
        for (size_t i = 0; i < words; i++) {
            uint64_t s = state[i], u = s & at[i], sum = s + u, full = sum + carry;
            carry = (sum < s) | (full < sum);
            state[i] = full | (s & ~u);
        }
    }
    for (int64_t i = 0; i < w->n[0]; i++) length += !(state[i / 64] >> (i % 64) & 1);
    *ret = length;
out:
    mem_free(where);
    mem_free(state);
    return rc;
}

int word_pair_edits(const struct word_pair *w, int64_t *ret, struct err *err) {
    int64_t n = w->n[0], m = w->n[1], *row = NULL;
    if (n * m > EDIT_STEPS_MAX)
        return err_set(err, ERR_LIMIT,
                       "texts of %lld and %lld characters are too long for an edit "
                       "distance",
                       (long long)n, (long long)m);
    int rc = mem_try((size_t)m + 1, sizeof *row, "edit distance", (void **)&row, err);
    if (rc) return rc;
    for (int64_t j = 0; j <= m; j++) row[j] = j;
    for (int64_t i = 1; i <= n; i++) {
        int64_t corner = row[0];
        row[0] = i;
        for (int64_t j = 1; j <= m; j++) {
            int64_t best = corner + (w->ids[0][i - 1] != w->ids[1][j - 1]);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    *ret = row[m];
    mem_free(row);
    return 0;
}
