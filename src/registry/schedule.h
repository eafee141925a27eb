/* When schedules run: the moments of their cron expressions, each once, across restarts and changes
 * of the clock. What a run does is the caller's. */
#ifndef REGISTRY_SCHEDULE_H
#define REGISTRY_SCHEDULE_H

#include "store/schedules.h"

#define SCHEDULE_DAY_MAX 24 /* runs of one schedule on one day, unless its spec says otherwise */

/* A new one, from `now` on. ERR_INVALID: an expression or spec that cannot be. */
int schedule_add(struct catalog *c, const char *name, const char *cron, const char *spec,
                 int64_t now, struct arena *mem, struct schedule *ret, struct err *err);
/* Queues what is due. Of several moments that passed while nobody looked (sleep, power loss, a
 * clock set forward) the last one is run and the others are counted as missed. A clock set back
 * runs nothing twice and leaves no schedule waiting for a time that is far off. */
int schedule_tick(struct catalog *c, int64_t now, int *ret_queued, struct err *err);
/* Queues a run outside the expression: by hand or by a trigger. */
int schedule_run_now(struct catalog *c, const char *id, const char *cause, int64_t now,
                     struct err *err);

#endif
