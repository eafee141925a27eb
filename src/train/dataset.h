/* The rows of a job as tokens, and what follows from the seed alone: which rows are held out, the
 * order of an epoch, the cut of a step's rows into micro-batches. */
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "data/rows.h"
#include "train/net.h"
#include "train/train.h"

struct dataset {
    struct sample *list; /* rows that train something, in file order: (count, per_row) */
    int64_t count;
    int per_row;     /* samples: 1, of preference pairs 2, the preferred one first */
    int64_t rows;    /* in the file */
    int64_t longest; /* inputs of the longest row */
    struct row_numbers found[FOUND_COUNT];
    char sha256[65];
    void *ids, *train; /* owned */
    size_t bytes;      /* of the tokens */
};

int dataset_load(const char *path, const struct render_options *o, struct dataset *ret,
                 struct err *err);
void dataset_release(struct dataset *d);

/* Row indices (into list) of both parts, in file order. Rows with the same tokens stay together. */
struct split {
    int64_t *train, *valid;
    int64_t train_count, valid_count;
};
void split_make(const struct dataset *d, uint64_t seed, int64_t hold_out, struct split *ret);
void split_release(struct split *s);

/* The order of epoch 0, 1, ...: indices of s->train, shuffled by (seed, epoch) */
void epoch_order(const struct split *s, uint64_t seed, int64_t epoch, bool shuffle,
                 int64_t *ret_order);

/* the samples of a row */
static inline struct sample *dataset_row(const struct dataset *d, int64_t i) {
    return d->list + i * d->per_row;
}
static inline int64_t sample_inputs(const struct sample *s) { return s->n - 1; }

/* The next micro-batch of a step's rows. Where rows begin with the same untrained tokens (a system
 * prompt), the beginning is computed once for all of them: exact, since what a token becomes
 * depends on the tokens before it alone. */
struct micro {
    int64_t count;  /* rows */
    int64_t shared; /* first inputs that all of them have in common, or 0 */
    int64_t tokens; /* inputs to compute: shared ones once */
    int64_t keys; /* rows of keys when each row has the shared ones before its own; 0: no sharing */
    int64_t trained; /* targets */
};
/* At least one row, then as long as tokens stay within micro_tokens and the rest of the step is
 * divided evenly. share false: no beginnings are shared (each row has a dropout mask of its own).
 */
struct micro micro_next(const struct sample *const *rows, int64_t count, int64_t micro_tokens,
                        bool share);
/* The same of pairs (rows counts both sides): they stay whole, and what is shared is each pair's
 * own beginning; ret.shared is 0. */
struct micro micro_next_pairs(const struct sample *const *rows, int64_t count, int64_t micro_tokens,
                              bool share);

#endif
