/* The server's thread that looks at the clock for schedules and has their runs worked on
 * (retrain.h). */
#ifndef JOBS_TIMER_H
#define JOBS_TIMER_H

#include "store/catalog.h"

struct timer_options {
    const char *program;                      /* NULL: this one */
    int nice;                                 /* 0: 10 */
    void (*log)(void *ctx, const char *text); /* what went wrong; from the timer's thread */
    void *ctx;
};

struct timer;
int timer_start(struct catalog *c, const struct timer_options *o, struct timer **ret,
                struct err *err);
/* A run under way is stopped; it goes on when a server looks again. NULL is fine. */
void timer_stop(struct timer *t);

#endif
