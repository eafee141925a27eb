/* Runs of evals, made while the server runs: each row is sampled where the run says so, graded, and
 * kept as an item. A run that the server's end interrupts goes on at the next start with the rows
 * that have no item. */
#ifndef API_EVAL_RUNNER_H
#define API_EVAL_RUNNER_H

#include "api/background.h"

/* background_work.next */
int eval_runs_go(struct api *api, const _Atomic int *stop, bool *ret_found, struct err *err);
extern const struct background_work eval_work;

#endif
