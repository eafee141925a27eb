/* The rows of a job as tokens, and what follows from the seed alone: which rows are held out, the
 * order of an epoch, the cut of a step's rows into micro-batches. */
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "data/rows.h"
#include "train/net.h"

struct row_numbers {
    int64_t *list;
    int64_t count;
    size_t cap;
};

struct dataset {
    struct sample *list; /* rows that train something, in file order */
    int64_t count;
    int64_t rows;            /* in the file */
    int64_t tokens, trained; /* of all rows, after cutting */
    int64_t longest;         /* inputs of the longest row */
    struct row_numbers cut, nothing, otherwise;
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

/* How many of rows[0..count) go into the next micro-batch: at least one, then as long as their
 * inputs stay within micro_tokens and the rest of the step is shared evenly. */
int64_t micro_batch(const struct sample *const *rows, int64_t count, int64_t micro_tokens);
static inline int64_t sample_inputs(const struct sample *s) { return s->n - 1; }

#endif
