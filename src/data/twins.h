/* Rows that say the same: exact and near duplicates, and questions with several answers.
 *
 * Exact: normalised texts, roles, calls and tools agree (128 bits). Near: prompt AND answer nearly
 * agree: one word differs, or the shingles of a longer row mostly agree (docs/duplicates.md has the
 * rules). Candidates come from hashes of the row without one of its quarters, which miss no change
 * of one word, and from MinHash in bands (Broder 1997); each is verified on the words.
 *
 * Clusters are stars around the row that is kept, never chains. Which rows are kept does not depend
 * on the order of rows, threads or batches: the better rank, then the longer answer, then the
 * content's hash decides, and the place in the file only between rows of the very same bytes. */
#ifndef DATA_TWINS_H
#define DATA_TWINS_H

#include "base/pool.h"
#include "data/example.h"
#include "data/findings.h"

struct twins;

struct twin_options {
    double threshold;  /* 0: 0.80 */
    size_t memory_max; /* 0: 1 GiB; ERR_LIMIT beyond. Half of it for words, then they go to an
                          unlinked file in $TMPDIR */
};

struct twins *twins_new(const struct twin_options *o);
void twins_free(struct twins *t);
/* Rows in order of their index from 0, `rank` of the better source first in star clusters (lower is
 * kept; NULL: all equal). Texts are not kept. */
int twins_add(struct twins *t, const struct example *list, size_t n, const int32_t *rank,
              struct pool *pool, struct err *err);

/* EXACT and NEAR are dropped by a build. ALIKE is a near duplicate to report but to keep: one word
 * apart in a short question of the same class, or nearly a row that is dropped itself, of which the
 * one kept is not near. REVIEW, 0.70 up to the threshold, is shown at most. */
enum twin_kind { TWIN_EXACT, TWIN_NEAR, TWIN_ALIKE, TWIN_REVIEW, TWIN_CONFLICT };
struct twin {
    enum twin_kind kind;
    int64_t row, of;   /* indexes in order of adding; `of` is kept where `row` is dropped. Of a
                          conflict: the first row with that question */
    double similarity; /* 1 for exact twins and conflicts */
    /* The same for reports, where of a pair the later row is named, with one before it: */
    enum twin_kind told;
    int64_t named, other;   /* of a cluster every row but the first in the file is named */
    double told_similarity; /* of two rows near a later third: what it is at least */
};
/* Sorted by row, then kind. One list for all rows added; borrowed until free. Call once. */
int twins_find(struct twins *t, struct pool *pool, const struct twin **ret, size_t *ret_count,
               struct err *err);
/* After twins_find: rows that were compared with part of their candidates only, because thousands
 * are alike but for a word or two, and for which no twin was found. 0 for ordinary data. */
int64_t twins_cut(const struct twins *t);

#endif
