/* The server's canaries: takes note of requests in memory, and once a second, and at once when an
 * alarm rises, saves what was seen and does what follows: the next step, the promotion, or the end
 * (docs/canary.md). What the last second saw is lost with a killed process, nothing else. */
#ifndef JOBS_CANARY_WATCH_H
#define JOBS_CANARY_WATCH_H

#include "jobs/canary.h"

struct canary_watch_options {
    void (*log)(void *ctx, const char *text); /* from the watch's thread */
    void *ctx;
};

struct canary_watch;
int canary_watch_start(struct catalog *c, const struct canary_watch_options *o,
                       struct canary_watch **ret, struct err *err);
/* One request that has ended. No disk, but for the first one of a canary. Any thread; NULL w: not
 * watched. */
void canary_watch_note(struct canary_watch *w, const char *run, const struct canary_event *e);
/* Saves what was seen. NULL is fine. */
void canary_watch_stop(struct canary_watch *w);

#endif
