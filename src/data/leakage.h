/* Held-out cases that training rows give away: the longest run of words that a case shares with any
 * turn, equality of short ones, its answer inside an assistant's turn, and near duplicates where
 * runs are blind (an edit in the middle of a short prompt, clauses in another order). The index is
 * of the held-out rows, which are few; training rows stream past it. docs/leakage.md has the rules.
 *
 *     l = leakage_new(); leakage_add(l, 0, rows, n, err); leakage_ready(l);
 *     leakage_find(l, batch, count, pool, &leaks, err); ...
 */
#ifndef DATA_LEAKAGE_H
#define DATA_LEAKAGE_H

#include "base/pool.h"
#include "data/example.h"

struct leakage;

struct leakage *leakage_new(void);
void leakage_free(struct leakage *l);
/* Held-out rows; `file` numbers the held-out files from 0. ERR_LIMIT past 2^31 words. */
int leakage_add(struct leakage *l, int32_t file, const struct example *list, size_t n,
                struct err *err);
/* After the last leakage_add and before any leakage_find. */
void leakage_ready(struct leakage *l);

enum leak_how { LEAK_EQUAL, LEAK_RUN, LEAK_ANSWER, LEAK_NEAR };
struct leak {
    int64_t row;      /* example.number of the training row */
    int32_t message;  /* of the training row */
    int32_t file;     /* of the held-out row */
    int64_t held_out; /* its example.number */
    enum leak_how how;
    int32_t words;     /* of the run */
    double similarity; /* 1 for equal; the part of the case's words that is shared, else */
};
struct leaks {
    struct leak *list;
    size_t count, cap;
};
/* Every training row of the batch that gives a case away: one leak per row, the worst (equal, then
 * the larger part, then the earlier case). Appends in the order of rows; the list is the caller's
 * (mem_free). Any thread, after leakage_ready. */
int leakage_find(const struct leakage *l, const struct example *list, size_t n, struct pool *pool,
                 struct leaks *ret, struct err *err);

#endif
