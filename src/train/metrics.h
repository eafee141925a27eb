/* The metrics file: a JSON line per step and per validation, in OUT/metrics.jsonl and, where the
 * user named another place, there as well. A checkpoint records its length; going on from one cuts
 * the file back to it, so a repeated step repeats its line. */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include "base/err.h"
#include "train/train.h"

#include <stdint.h>

struct metrics {
    char *path, *copy_path;
    int fd, copy_fd; /* -1: none */
    int64_t bytes;
};

/* copy: the user's file or NULL. keep: bytes that stay. */
int metrics_open(const char *path, const char *copy, int64_t keep, struct metrics *ret,
                 struct err *err);
void metrics_close(struct metrics *m);

/* all numbers finite, but for the rewards */
struct metrics_step {
    int64_t step, tokens, rows;
    double loss, lr, grad_norm, accuracy;
    struct train_rewards rewards; /* NaN: not of pairs */
};
int metrics_add_step(struct metrics *m, const struct metrics_step *s, struct err *err);
int metrics_add_valid(struct metrics *m, const struct train_valid *v, struct err *err);
int metrics_sync(struct metrics *m, struct err *err);

#endif
