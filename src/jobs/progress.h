/* The steps of a job from training's own metrics file: what the events and the result file say. The
 * file is the truth about steps; it survives what a worker's death loses, and after a kill it holds
 * each step once (train/metrics.h). */
#ifndef JOBS_PROGRESS_H
#define JOBS_PROGRESS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct step_side { /* NaN: not there */
    double loss, accuracy;
    double margin, chosen, rejected; /* rewards, of preference pairs only */
};
struct step_numbers {
    int64_t step;
    struct step_side train, valid;
};
struct step_numbers step_nothing(int64_t step); /* all NaN */

/* A metrics file that grows. A step is complete when the line of the next one is there, or when
 * the caller knows that nothing more will be said of it (flush). */
struct follow {
    const char *path; /* borrowed */
    int64_t at;
    bool has_pending;
    struct step_numbers pending;
};
typedef int follow_fn(void *ctx, const struct step_numbers *s, struct err *err);
/* Complete steps since the last call, in order. An absent file has none. */
int follow_read(struct follow *f, bool flush, follow_fn *on, void *ctx, struct err *err);

/* "Step 3/30: training loss=0.25, validation loss=0.37" */
void step_message(const struct step_numbers *s, int64_t steps, struct buf *out);
/* The event's data; whole: validation rows were all of their file, at the end of an epoch. */
void step_json(const struct step_numbers *s, int64_t steps, bool whole, struct buf *out);
/* "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy" and a line per step */
void step_csv_header(struct buf *out);
void step_csv(const struct step_numbers *s, struct buf *out);

#endif
