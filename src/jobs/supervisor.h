/* The server's thread that has fine-tuning jobs worked on: one process that checks files and one
 * that trains, at lower priority, each `attune work JOB`. A job that is paused or cancelled has its
 * process stopped; one whose process died goes on from its checkpoint, and fails with a clear error
 * after RETRIES deaths without a new step. Jobs of a server that was killed are found in the
 * catalog at the start; where that server's worker still saves, its lock is waited for.
 *
 *     rc = supervisor_start(c, &(struct supervisor_options){.threads = 2}, &s, err);
 *     supervisor_wake(s);         // a job was added or changed: look now, not within a second
 *     supervisor_stop(s);         // workers save and end; none is left
 *
 * Any thread may wake. */
#ifndef JOBS_SUPERVISOR_H
#define JOBS_SUPERVISOR_H

#include "store/catalog.h"

#define SUPERVISOR_RETRIES 3

struct supervisor_options {
    const char *program;  /* NULL: this one */
    int threads;          /* of a worker; 0: all cores */
    int nice;             /* 0: 10 */
    double stop_seconds;  /* how long a worker may save before it is killed; 0: 120 */
    double retry_seconds; /* after a worker's death, times their number; 0: 2 */
    /* what a person running the server should see; from the supervisor's thread; may be NULL */
    void (*log)(void *ctx, const char *text);
    void *ctx;
};

struct supervisor;
int supervisor_start(struct catalog *c, const struct supervisor_options *o, struct supervisor **ret,
                     struct err *err);
void supervisor_wake(struct supervisor *s);
/* Waits until all workers have ended. */
void supervisor_stop(struct supervisor *s);

#endif
