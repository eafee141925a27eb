/* Has what comes in or goes out changed? Tests of two samples, a baseline and a window, whose
 * p-values are exact or calibrated at any number of rows, and the parts around them: effect sizes,
 * topics of texts without a model, the texts that the baseline knows least.
 *
 * The tests take rows to be independent of each other: a client that sends one text a hundred times
 * is a hundred rows. Pure functions but for struct novelty, which belongs to one thread.
 * docs/monitoring.md says what is tested and how often it is wrong. */
#ifndef EVAL_DRIFT_H
#define EVAL_DRIFT_H

#include "base/str.h"

#include <stdint.h>

struct drift_result {
    double p;         /* two-sided, of no difference; 1 where there is nothing to compare */
    double statistic; /* chi-square; Kolmogorov-Smirnov's D; difference of the rates */
    double psi;       /* population stability index, an effect size and never a test; 0: none */
};

/* Counts of the same `n` categories. Chi-square; where an expected count is under 5, random
 * permutations with this seed, as many as the p-value needs (Besag and Clifford 1991), at most
 * 10,000. Categories that neither has are left out. */
#define DRIFT_CATEGORIES_MAX 64
struct drift_result drift_shares(const int64_t *a, const int64_t *b, int n, uint64_t seed);

/* Numbers, sorted in place. Kolmogorov-Smirnov; a p under 0.2 is exact with ties (the permutation
 * distribution, counted) where a_count * b_count is at most DRIFT_EXACT_MAX, else the limit's. */
#define DRIFT_EXACT_MAX ((int64_t)16 << 20)
struct drift_result drift_numbers(double *a, int64_t a_count, double *b, int64_t b_count);

/* How many of how many: Fisher's exact test. */
struct drift_rate {
    int64_t hits, count;
};
struct drift_result drift_rates(struct drift_rate a, struct drift_rate b);

/* --- texts --- */

/* A cell of 16 by four random projections of the longer words: texts with many words in common tend
 * to the same one. The same on every machine. */
#define DRIFT_TOPICS 16
int drift_topic(struct str text);

/* How unexpected the words of a text are to those learned before: the mean of -log2 of their
 * smoothed frequency. Words of a hash table with a bound; the rest are unknown. */
struct novelty;
struct novelty *novelty_new(void);
void novelty_free(struct novelty *n);
void novelty_learn(struct novelty *n, struct str text);
/* bits a word; 0 for a text of fewer than 3 words */
double novelty_of(struct novelty *n, struct str text);

#endif
