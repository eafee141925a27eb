/* The metrics. In a word_pair 0 is the input (the hypothesis) and 1 the reference. */
#include "eval/similarity.h"

#include "base/mem.h"
#include "eval/porter.h"
#include "eval/word_pair.h"

#include <math.h>
#include <stdlib.h>

struct similarity {
    const char *name;
    enum words_rule rule;
    int (*score)(const struct word_pair *w, int order, double *ret, struct err *err);
    int order;
};

static double f1(double both, double a, double b) { return both > 0 ? 2 * both / (a + b) : 0; }
static int64_t grams_of(int64_t n, int64_t order) { return n >= order ? n - order + 1 : 0; }

static int ratio(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)order;
    int64_t common = 0;
    int rc = word_pair_lcs(w, &common, err);
    if (!rc) *ret = w->n[0] + w->n[1] ? f1((double)common, (double)w->n[0], (double)w->n[1]) : 1;
    return rc;
}

static int rouge_n(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)err;
    *ret = f1((double)word_pair_overlap(w, order), (double)grams_of(w->n[0], order),
              (double)grams_of(w->n[1], order));
    return 0;
}

static int rouge_l(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)order;
    int64_t common = 0;
    int rc = word_pair_lcs(w, &common, err);
    if (!rc) *ret = f1((double)common, (double)w->n[0], (double)w->n[1]);
    return rc;
}

static int gleu(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)err;
    int64_t both = 0, a = 0, b = 0;
    for (int64_t k = 1; k <= order; k++) {
        both += word_pair_overlap(w, k);
        a += grams_of(w->n[0], k);
        b += grams_of(w->n[1], k);
    }
    int64_t most = a > b ? a : b;
    *ret = most ? (double)both / (double)most : 0;
    return 0;
}

static int bleu(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)err;
    double sum = 0, smooth = 1;
    int used = 0;
    bool any = false;
    for (int k = 1; k <= order; k++) {
        double total = (double)grams_of(w->n[0], k), both = (double)word_pair_overlap(w, k);
        if (total == 0) break;
        any = any || both > 0;
        if (both == 0) smooth *= 2;
        sum += log(both > 0 ? both / total : 1 / (smooth * total));
        used = k;
    }
    double brevity = w->n[0] < w->n[1] ? exp(1 - (double)w->n[1] / (double)w->n[0]) : 1;
    *ret = any ? brevity * exp(sum / used) : 0;
    return 0;
}

static int token_f1(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)err;
    if (w->n[0] == 0 || w->n[1] == 0)
        *ret = w->n[0] == w->n[1];
    else
        *ret = f1((double)word_pair_overlap(w, order), (double)w->n[0], (double)w->n[1]);
    return 0;
}

static int word_cosine(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)order, (void)err;
    double aa, bb, ab;
    word_pair_products(w, &aa, &bb, &ab);
    *ret = ab > 0 ? fmin(1, ab / sqrt(aa * bb)) : 0;
    return 0;
}

/* --- METEOR: words aligned from the end, each with the last free one that is the same --- */

struct aligned {
    struct str word; /* or stem */
    int64_t index;   /* in its text */
};

static int by_word_then_last(const void *pa, const void *pb) {
    const struct aligned *a = pa, *b = pb;
    int c = str_cmp(a->word, b->word);
    return c ? c : a->index > b->index ? -1 : a->index < b->index;
}

/* `to`: for each word of the input its partner in the reference or -1; both -1 are free. Both
 * lists in the order of word, later ones first: the k-th of one goes with the k-th of the other. */
static void align(struct aligned *a, size_t na, struct aligned *b, size_t nb, int64_t *to,
                  bool *taken) {
    if (na) qsort(a, na, sizeof *a, by_word_then_last);
    if (nb) qsort(b, nb, sizeof *b, by_word_then_last);
    for (size_t i = 0, j = 0; i < na && j < nb;) {
        int c = str_cmp(a[i].word, b[j].word);
        if (c == 0) {
            to[a[i].index] = b[j].index;
            taken[b[j].index] = true;
        }
        i += c <= 0;
        j += c >= 0;
    }
}

static double meteor_of(const struct word_pair *w, const int64_t *to) {
    double matches = 0, chunks = 0;
    for (int64_t i = 0; i < w->n[0]; i++) {
        if (to[i] < 0) continue;
        matches++;
        chunks += !(i > 0 && to[i - 1] >= 0 && to[i] == to[i - 1] + 1);
    }
    if (matches == 0) return 0;
    double precision = matches / (double)w->n[0], recall = matches / (double)w->n[1];
    double mean = precision * recall / (0.9 * precision + 0.1 * recall);
    return (1 - 0.5 * pow(chunks / matches, 3)) * mean;
}

/* the free words of one text, or their stems, which go into memory */
static size_t free_words(const struct word_pair *w, int k, const int64_t *to, const bool *taken,
                         char *memory, struct aligned *out) {
    size_t n = 0;
    for (int64_t i = 0; i < w->n[k]; i++) {
        if (k == 0 ? to[i] >= 0 : taken[i]) continue;
        struct str word = w->words[k][i];
        if (memory) {
            size_t length = porter_stem(word, memory);
            memory += word.n + PORTER_ROOM;
            word = (struct str){memory - word.n - PORTER_ROOM, length};
        }
        out[n++] = (struct aligned){word, i};
    }
    return n;
}

static int meteor(const struct word_pair *w, int order, double *ret, struct err *err) {
    (void)order, (void)err;
    size_t size[2];
    int64_t *to = mem_zalloc((size_t)w->n[0] + 1, sizeof *to);
    bool *taken = mem_zalloc((size_t)w->n[1] + 1, sizeof *taken);
    struct aligned *list[2];
    char *memory[2];
    for (int64_t i = 0; i < w->n[0]; i++) to[i] = -1;
    for (int k = 0; k < 2; k++) {
        size[k] = 1;
        for (int64_t i = 0; i < w->n[k]; i++) size[k] += w->words[k][i].n + PORTER_ROOM;
        memory[k] = mem_zalloc(size[k], 1);
        list[k] = mem_zalloc((size_t)w->n[k] + 1, sizeof **list);
    }
    for (int stage = 0; stage < 2; stage++) { /* exact, then stems */
        size_t na = free_words(w, 0, to, taken, stage ? memory[0] : NULL, list[0]);
        size_t nb = free_words(w, 1, to, taken, stage ? memory[1] : NULL, list[1]);
        align(list[0], na, list[1], nb, to, taken);
    }
    *ret = meteor_of(w, to);
    for (int k = 0; k < 2; k++) {
        mem_free(memory[k]);
        mem_free(list[k]);
    }
    mem_free(to);
    mem_free(taken);
    return 0;
}

/* --- by name --- */

static const struct similarity metrics[] = {{"fuzzy_match", WORDS_CHARACTERS, ratio, 0},
                                            {"bleu", WORDS_13A, bleu, 4},
                                            {"gleu", WORDS_SPACE, gleu, 4},
                                            {"meteor", WORDS_LOWER, meteor, 0},
                                            {"rouge_1", WORDS_ALNUM, rouge_n, 1},
                                            {"rouge_2", WORDS_ALNUM, rouge_n, 2},
                                            {"rouge_3", WORDS_ALNUM, rouge_n, 3},
                                            {"rouge_4", WORDS_ALNUM, rouge_n, 4},
                                            {"rouge_5", WORDS_ALNUM, rouge_n, 5},
                                            {"rouge_l", WORDS_ALNUM, rouge_l, 0},
                                            {"token_f1", WORDS_PLAIN, token_f1, 1},
                                            {"word_cosine", WORDS_VECTOR, word_cosine, 0}};

int similarity_find(struct str name, const struct similarity **ret, struct err *err) {
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        if (!str_is(name, metrics[i].name)) continue;
        *ret = &metrics[i];
        return 0;
    }
    if (str_is(name, "cosine"))
        return err_set(err, ERR_UNSUPPORTED,
                       "the metric \"cosine\" compares embeddings, and there is no embedding model "
                       "here yet; \"word_cosine\" compares counts of words");
    return err_set(err, ERR_UNSUPPORTED,
                   "unknown metric \"%.*s\"; use fuzzy_match, bleu, gleu, meteor, rouge_1 to "
                   "rouge_5, rouge_l, token_f1 or word_cosine",
                   name.n > 60 ? 60 : (int)name.n, name.p);
}

int similarity_score(const struct similarity *s, struct str input, struct str reference,
                     double *ret, struct err *err) {
    struct word_pair w;
    int rc = word_pair_make(input, reference, s->rule, &w, err);
    if (rc) return rc;
    rc = s->score(&w, s->order, ret, err);
    word_pair_release(&w);
    return rc;
}
