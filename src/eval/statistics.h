/* Is B better than A? Paired comparison of scores over the same cases, with missing ones and with
 * cases that belong together, and intervals for one model's scores. docs/statistics.md says which
 * method is taken when, and why.
 *
 *     struct paired p = {.a = a, .b = b, .n = n};
 *     rc = compare_paired(&p, &(struct compare_options){.margin = 0.02}, &c, err);
 *     ... c.difference, c.low, c.high, verdict_name(c.verdict), c.needed
 *
 * Pure functions of their arguments: the same bits on any thread, at any time. */
#ifndef EVAL_STATISTICS_H
#define EVAL_STATISTICS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Scores by case; NAN is missing, never zero. Borrowed. */
struct paired {
    const double *a, *b;
    const int64_t *cluster; /* cases with the same number belong together; NULL: each by itself */
    int64_t n;
};

enum verdict { VERDICT_INCONCLUSIVE, VERDICT_BETTER, VERDICT_NOT_WORSE, VERDICT_WORSE };
const char *verdict_name(enum verdict v); /* "inconclusive", "better", "not worse", "worse" */

enum method { METHOD_NONE, METHOD_EXACT, METHOD_SCORE, METHOD_CLUSTER };
const char *comparison_method_name(enum method m);

/* 0 is the default of each. */
struct compare_options {
    double alpha;      /* one-sided error of each verdict; 0.05 */
    double margin;     /* what may be lost in "not worse"; 0.02. Use -1 for none at all */
    double power;      /* of `needed`; 0.8 */
    double difference; /* declared difference for `needed`; else the observed one */
    int64_t draws;     /* of the bootstrap; 10,000 */
};

/* What is undefined (no pairs, one cluster) is NAN, with METHOD_NONE and no verdict. */
struct comparison {
    int64_t n, clusters;  /* cases that both have; clusters among them */
    int64_t gained, lost; /* cases where B scores higher, and lower */
    double difference;    /* mean of B - A over the n cases */
    double low, high;     /* two-sided 95 % interval */
    double p;             /* two-sided, of no difference */
    double p_better;      /* one-sided, of each claim; a verdict needs p <= alpha */
    double p_worse;
    double p_not_worse;
    enum method method;
    enum verdict verdict;
    int64_t needed; /* more cases for the power asked, when inconclusive; -1: cannot be said */
};

/* ERR_INVALID for an option out of its range or a score that is infinite. */
int compare_paired(const struct paired *p, const struct compare_options *o, struct comparison *ret,
                   struct err *err);
/* The verdict that three one-sided p allow; after a correction, for example. */
enum verdict verdict_of(double p_better, double p_worse, double p_not_worse, double alpha);
/* Holm's correction: adjusted[i] >= p[i], all to be compared with the same alpha. */
void holm_adjust(const double *p, int64_t n, double *adjusted);

struct estimate {
    int64_t n, missing, clusters;
    double value, low, high; /* mean and two-sided 95 % interval: Wilson's for right and wrong,
                                else by t over clusters; NAN when undefined */
};
int estimate_mean(const double *x, const int64_t *cluster, int64_t n, struct estimate *ret,
                  struct err *err);

struct plan {
    double difference; /* to be found, e.g. 0.05; not 0 */
    double discordant; /* share of cases where the two differ, >= |difference| */
    int sides;         /* 1 or 2 */
    double alpha, power;
};
/* Cases that a paired comparison of right and wrong needs (Connor 1987). */
int plan_cases(const struct plan *p, int64_t *ret, struct err *err);

#endif
