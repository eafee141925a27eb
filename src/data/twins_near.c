/* Are two rows nearly the same? The rules are docs/duplicates.md's. */
#include "data/twins_int.h"

#include "base/mem.h"
#include "data/word_edit.h"

#define SHORT_ROW 11     /* words below which one word may be all that tells two questions apart */
#define SHORT_ANSWER 9   /* and two answers */
#define SHINGLED_ROWS 64 /* whose shingles are compared with those of one row, at most */
#define REVIEW 0.70
#define PROMPTS_MIN                                                                                \
    0.60 /* words that the prompts alone must share where a whole row mostly agrees */
#define ANSWERS_MIN 0.70

/* A set of shingles with the round in which each was last met. */
struct shingle_set {
    uint64_t *keys;
    uint32_t *round;
    size_t mask, cap;
    uint32_t now;
};

struct nearness {
    const struct twins *t;
    size_t row;
    struct row_words a, b;
    struct row_scratch sa, sb;
    struct shingle_set set, seen;
    size_t shingled; /* rows whose shingles were compared with this one's */
    bool cut;        /* no more of them */
};

struct nearness *nearness_new(const struct twins *t) {
    struct nearness *x = mem_zalloc(1, sizeof *x);
    x->t = t;
    return x;
}

static void set_release(struct shingle_set *s) {
    mem_free(s->keys);
    mem_free(s->round);
}

void nearness_free(struct nearness *x) {
    if (!x) return;
    mem_free(x->sa.p);
    mem_free(x->sb.p);
    set_release(&x->set);
    set_release(&x->seen);
    mem_free(x);
}

int nearness_set(struct nearness *x, size_t row, struct err *err) {
    x->row = row;
    x->shingled = 0;
    x->cut = false;
    return twins_words(x->t, row, &x->sa, &x->a, err);
}

bool nearness_cut(const struct nearness *x) { return x->cut; }

/* --- shingles --- */

static void set_clear(struct shingle_set *s, size_t n) {
    size_t cap = 64;
    while (cap < 2 * n) cap *= 2;
    if (cap > s->cap || s->now == UINT32_MAX) {
        if (cap < s->cap) cap = s->cap;
        set_release(s);
        s->keys = mem_zalloc(cap, sizeof *s->keys);
        s->round = mem_zalloc(cap, sizeof *s->round);
        s->cap = cap;
        s->now = 0;
    }
    s->mask = cap - 1;
    s->now++;
}

/* true: it was not there */
static bool set_put(struct shingle_set *s, uint64_t key) {
    size_t i = (size_t)(key ^ key >> 31) & s->mask;
    for (; s->round[i] == s->now; i = (i + 1) & s->mask)
        if (s->keys[i] == key) return false;
    s->round[i] = s->now;
    s->keys[i] = key;
    return true;
}

static bool set_has(const struct shingle_set *s, uint64_t key) {
    for (size_t i = (size_t)(key ^ key >> 31) & s->mask; s->round[i] == s->now;
         i = (i + 1) & s->mask)
        if (s->keys[i] == key) return true;
    return false;
}

static uint64_t shingle(const uint32_t *list, size_t k) {
    uint64_t h = 1;
    for (size_t i = 0; i < k; i++) h = hash_step(h, list[i]);
    return h;
}

/* |A and B| / |A or B| of the sets of k words in a row */
static double jaccard(struct nearness *x, const uint32_t *a, size_t na, const uint32_t *b,
                      size_t nb, size_t k) {
    size_t in_a = 0, in_b = 0, both = 0;
    set_clear(&x->set, na);
    set_clear(&x->seen, nb);
    for (size_t i = 0; i + k <= na; i++) in_a += set_put(&x->set, shingle(a + i, k));
    for (size_t i = 0; i + k <= nb; i++) {
        uint64_t h = shingle(b + i, k);
        if (!set_put(&x->seen, h)) continue;
        in_b++;
        both += set_has(&x->set, h);
    }
    return in_a + in_b ? (double)both / (double)(in_a + in_b - both) : 1;
}

/* --- one word --- */

/* The i-th word of a text of words with single spaces; empty when there is no text. */
static struct str word_of(struct str text, size_t i) {
    size_t from = 0, to;
    for (; i && from < text.n; from++) i -= text.p[from] == ' ';
    for (to = from; to < text.n && text.p[to] != ' ';) to++;
    return text.n ? (struct str){text.p + from, to - from} : (struct str){0};
}

static enum nearness_kind verdict(bool sure) { return sure ? NEAR_SAME : NEAR_ALIKE; }

/* The rows differ in one word of the prompt, their answers agree. Where the answer tells one row
 * from others, that weighs more than a word of a short question. */
static enum nearness_kind by_prompt_word(const struct nearness *x, const struct trow *ra,
                                         const struct trow *rb, struct word_edit e,
                                         size_t *ret_words) {
    const struct row_words *longer = x->a.n >= x->b.n ? &x->a : &x->b;
    bool answered = ra->answer_n && !ra->common_answer;
    size_t prompt = ra->prompt_n < rb->prompt_n ? ra->prompt_n : rb->prompt_n;
    size_t words = prompt + (answered ? ra->answer_n : 0) - ra->wide / 2;
    *ret_words = words;
    if (e.one_longer)
        return words >= SHORT_ROW - 2 && word_is_plain(longer->list[e.place])
                   ? verdict(words >= SHORT_ROW)
                   : NEAR_NOT;
    uint32_t wa = x->a.list[e.place], wb = x->b.list[e.place];
    struct str ta = word_of(x->a.text, e.place), tb = word_of(x->b.text, e.place);
    if (words_contrast(wa, wb) || words_contrast_by_prefix(ta, tb)) return NEAR_NOT;
    if (word_is_negation(wa) || word_is_negation(wb))
        return answered || words >= SHORT_ROW ? NEAR_ALIKE : NEAR_NOT;
    if (words >= SHORT_ROW || words_slip(ta, tb)) return NEAR_SAME;
    return answered && prompt >= 2 ? NEAR_ALIKE : NEAR_NOT;
}

/* And here in one of the answer to the same question. */
static enum nearness_kind by_answer_word(const struct nearness *x, const struct trow *ra,
                                         const struct trow *rb, struct word_edit e,
                                         size_t *ret_words) {
    const struct row_words *longer = x->a.n >= x->b.n ? &x->a : &x->b;
    size_t words = ra->answer_n < rb->answer_n ? ra->answer_n : rb->answer_n;
    *ret_words = words;
    if (words < SHORT_ANSWER - 3) return NEAR_NOT;
    uint32_t wa = x->a.list[e.place], wb = x->b.list[e.place];
    if (e.one_longer)
        return word_is_plain(longer->list[e.place]) ? verdict(words >= SHORT_ANSWER) : NEAR_NOT;
    if (words_contrast(wa, wb)) return NEAR_NOT;
    return verdict(words >= SHORT_ANSWER && !word_is_negation(wa) && !word_is_negation(wb));
}

/* --- longer rows --- */

/* Rows that share four fifths of their shingles agree in less than two bands once in 250 times;
 * rows of one template, half of whose words are equal, mostly do. */
static bool may_share(const struct nearness *x, size_t row) {
    const uint32_t *a = x->t->keys[x->row] + PIECE_KEYS, *b = x->t->keys[row] + PIECE_KEYS;
    int equal = 0;
    for (size_t i = 0; i < BANDS; i++) equal += a[i] == b[i] && a[i];
    return equal >= 2;
}

static double by_shingles(struct nearness *x, const struct trow *ra, const struct trow *rb) {
    size_t n = x->a.n < x->b.n ? x->a.n : x->b.n, m = x->a.n + x->b.n - n;
    if (n < SHINGLED_MIN || n * 10 < m * 7) return 0;
    x->shingled++;
    double j = jaccard(x, x->a.list, x->a.n, x->b.list, x->b.n, shingle_words(n));
    if (j < REVIEW) return 0;
    if (ra->answer != rb->answer) {
        if (ra->answer_n < SHORT_ANSWER || rb->answer_n < SHORT_ANSWER) return 0;
        if (jaccard(x, x->a.list + ra->prompt_n, ra->answer_n, x->b.list + rb->prompt_n,
                    rb->answer_n, 1) < ANSWERS_MIN)
            return 0;
    }
    if (ra->answer_n &&
        jaccard(x, x->a.list, ra->prompt_n, x->b.list, rb->prompt_n, 1) < PROMPTS_MIN)
        return 0;
    return j;
}

/* one word among so many: of short rows the part of the words of both, of longer ones of the row */
static double one_word(size_t n, size_t words) {
    double all = (double)n;
    return words < SHORT_ROW ? (all - 1) / (all + 1) : 1 - 1 / (all + 1);
}

int nearness_of(struct nearness *x, size_t row, enum nearness_kind *ret, double *ret_similarity,
                struct err *err) {
    const struct trow *ra = &x->t->rows[x->row], *rb = &x->t->rows[row];
    size_t na = (size_t)ra->prompt_n + ra->answer_n, nb = (size_t)rb->prompt_n + rb->answer_n;
    size_t n = na > nb ? na : nb, words = 0;
    *ret = NEAR_NOT;
    if (ra->frame != rb->frame) return 0;
    if (n > PIECE_WORDS_MAX && !may_share(x, row)) return 0;
    int rc = twins_words(x->t, row, &x->sb, &x->b, err);
    if (rc) return rc;
    struct word_edit e = word_edit_of(x->a.list, x->a.n, x->b.list, x->b.n);
    if (e.words == 0) {
        if (n && ra->prompt_n == rb->prompt_n) *ret = NEAR_SAME;
        *ret_similarity = 1;
        return 0;
    }
    if (e.words == 1) {
        if (ra->answer == rb->answer && ra->answer_n == rb->answer_n)
            *ret = by_prompt_word(x, ra, rb, e, &words);
        else if (ra->question == rb->question && ra->prompt_n == rb->prompt_n)
            *ret = by_answer_word(x, ra, rb, e, &words);
        *ret_similarity = one_word(n, words);
        if (*ret == NEAR_SAME && *ret_similarity < x->t->threshold) *ret = NEAR_ALIKE;
        if (*ret || n < PIECE_WORDS_MAX) return 0; /* else that word is what tells them apart */
    }
    if (n >= SHINGLED_MIN && x->shingled >= SHINGLED_ROWS) x->cut = true;
    if (x->cut || !may_share(x, row)) return 0;
    *ret_similarity = by_shingles(x, ra, rb);
    if (*ret_similarity > 0) *ret = *ret_similarity >= x->t->threshold ? NEAR_SAME : NEAR_REVIEW;
    return 0;
}
