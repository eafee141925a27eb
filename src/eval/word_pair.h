/* Two texts as sequences of numbers: equal words (or characters) have equal numbers, counted from
 * 0. What metrics of n-grams, longest common subsequences and edits work on. */
#ifndef EVAL_WORD_PAIR_H
#define EVAL_WORD_PAIR_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

#define TEXT_UNITS_MAX 200000 /* words or characters of a text */

enum words_rule {
    WORDS_SPACE,      /* as Python's str.split() */
    WORDS_LOWER,      /* the same, in lower case */
    WORDS_ALNUM,      /* rouge-score: lower case, runs of a-z and 0-9 */
    WORDS_13A,        /* sacrebleu's tokenizer of that name */
    WORDS_VECTOR,     /* scikit-learn's CountVectorizer: lower case, two or more of \w */
    WORDS_PLAIN,      /* SQuAD: lower case, no ASCII punctuation, no a, an, the */
    WORDS_CHARACTERS, /* code points */
};

struct word_pair {
    int64_t n[2];
    uint32_t *ids[2];     /* (n[k]) */
    struct str *words[2]; /* (n[k]), in `memory` */
    int64_t kinds;        /* different words in both */
    char *memory[2];
};

/* ERR_LIMIT when a text has more than TEXT_UNITS_MAX of them. Text must be UTF-8. */
int word_pair_make(struct str a, struct str b, enum words_rule rule, struct word_pair *ret,
                   struct err *err);
void word_pair_release(struct word_pair *w);

/* n-grams that both have (the smaller count of each) */
int64_t word_pair_overlap(const struct word_pair *w, int64_t order);
/* length of the longest common subsequence */
int word_pair_lcs(const struct word_pair *w, int64_t *ret, struct err *err);
/* insertions, deletions and replacements (Levenshtein); ERR_LIMIT over 10^9 steps */
int word_pair_edits(const struct word_pair *w, int64_t *ret, struct err *err);
/* inner products of the counts: of the first with itself, the second with itself, and both */
void word_pair_products(const struct word_pair *w, double *aa, double *bb, double *ab);

#endif
