/* Rows that say the same: exact and near duplicates, and questions with several answers.
 *
 * Words are normalised (case, width, marks, spaces) and hashed; shingles of 1 to 5 words by the
 * length of the row; MinHash signatures in bands propose pairs (Broder 1997), each is verified by
 * the exact Jaccard similarity of its sets, short rows by words of an alignment. Clusters are stars
 * around the row that is kept, never chains. The result does not depend on threads or batches. */
#ifndef DATA_TWINS_H
#define DATA_TWINS_H

#include "base/pool.h"
#include "data/example.h"
#include "data/findings.h"

struct twins;

struct twin_options {
    double threshold;  /* 0: 0.80 */
    size_t memory_max; /* 0: 1 GiB; ERR_LIMIT beyond */
};

struct twins *twins_new(const struct twin_options *o);
void twins_free(struct twins *t);
/* Rows in order of their index from 0, `rank` of the better source first in star clusters (lower is
 * kept; NULL: all equal, the earlier row is kept). Texts are not kept. */
int twins_add(struct twins *t, const struct example *list, size_t n, const int32_t *rank,
              struct pool *pool, struct err *err);

enum twin_kind { TWIN_EXACT, TWIN_NEAR, TWIN_REVIEW, TWIN_CONFLICT };
struct twin {
    enum twin_kind kind; /* REVIEW: 0.70 up to the threshold, shown, never dropped */
    int64_t row, of;     /* indexes in order of adding; `of` is the one kept. Of a conflict: the
                            first row with that question */
    double similarity;   /* 1 for exact twins and conflicts of equal questions */
};
/* Sorted by row. One list for all rows added; borrowed until free. Call once. */
int twins_find(struct twins *t, struct pool *pool, const struct twin **ret, size_t *ret_count,
               struct err *err);

#endif
