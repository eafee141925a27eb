/* One fine-tuning job in this process: what `attune work JOB` does. From the catalog's row to the
 * tuned model, beginning wherever an earlier worker ended. All of it lies in $ATTUNE_HOME/jobs/JOB:
 *
 *   lock    held by the worker (flock): two never run one job, and a killed one holds nothing
 *   out/    training's directory (train/train.h): checkpoint, metrics, at the end the adapter
 *   log     what the worker said
 *
 * What is wrong with the job becomes its `error` in the catalog and counts as done here. An error
 * is this machine's (disk, catalog), and the job may be tried again. */
#ifndef JOBS_WORKER_H
#define JOBS_WORKER_H

#include "store/catalog.h"

#include <signal.h>

struct worker_options {
    int threads;        /* 0: all cores; does not change the result */
    bool only_validate; /* ends once the files are checked */
    /* Set by a signal: training saves and ends. Set here when the job was paused or cancelled. */
    volatile sig_atomic_t *stop;
};
enum worker_end {
    WORKER_DONE,    /* succeeded, failed or, with only_validate, checked */
    WORKER_STOPPED, /* paused, cancelled or told to stop; what was trained is saved */
    WORKER_BUSY     /* another process has it, or there is nothing to do */
};
#define WORKER_BUSY_EXIT 75 /* of `attune work`, for the supervisor */

int worker_run(struct catalog *c, const char *job, const struct worker_options *o,
               enum worker_end *ret, struct err *err);

#endif
