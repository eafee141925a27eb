/* What a schedule does: build the data set anew, tune, compare with what is live, and leave a
 * candidate. It never promotes. Each step is a command of this program, run as a child process with
 * its words in the run's log, so that a person can do the same by hand.
 *
 * A schedule's spec:
 *
 *   {"dataset":"support",                       the data set's name
 *    "from":["human=/data/a.jsonl","production=stored"],
 *    "base":"smollm2",
 *    "cases":"/data/cases.jsonl",               held-out cases; absent: the data set's test split
 *    "against":"production", "grader":"exact",
 *    "build":[...], "tune":[...], "eval":[...], more options of each command
 *    "notify":["/path/to/command", ...],        run with the result's JSON as its last argument
 *    "runs_per_day":1}
 */
#ifndef JOBS_RETRAIN_H
#define JOBS_RETRAIN_H

#include "base/json.h"
#include "store/schedules.h"

#include <stdatomic.h>

/* ERR_INVALID names the member that is missing or not of its kind. */
int retrain_check(const json_t *spec, struct err *err);

struct retrain_options {
    const char *program; /* NULL: this one */
    int nice;
    const atomic_int *stop; /* may be NULL */
};
/* Queues what is due at `now` and works on everything that is queued; another process that does so
 * already is left to it. The number of runs that ended. */
int retrain_work(struct catalog *c, const struct retrain_options *o, int64_t now, int *ret_done,
                 struct err *err);

#endif
