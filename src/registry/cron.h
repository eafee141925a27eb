/* Cron expressions: minute, hour, day of month, month, day of week, as in crontab(5).
 *
 *   30 3 * * 1-5      at 03:30 from Monday to Friday
 *   0,30 8-18/2 * * * at :00 and :30 of every second hour from 8 to 18
 *   @hourly @daily @weekly @monthly @yearly
 *
 * Names (mon, jan), ranges, steps and lists; 7 is Sunday too. Where both days are restricted,
 * either will do. Times are of the process's time zone (TZ). A time that a clock change skips comes
 * at the end of the gap; one that it repeats comes once, unless the hour is "*". */
#ifndef REGISTRY_CRON_H
#define REGISTRY_CRON_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct cron {
    uint64_t minute;                     /* bit i: minute i */
    uint32_t hour, day;                  /* day: bits 1..31 */
    uint16_t month;                      /* bits 1..12 */
    uint8_t weekday;                     /* bits 0..6, 0 is Sunday */
    bool any_hour, any_day, any_weekday; /* written as "*" */
};

/* ERR_INVALID names the field and what may stand there. */
int cron_parse(struct str text, struct cron *ret, struct err *err);
/* The first moment after `after` (Unix seconds, whole minutes) that it names; -1: none in 8 years
 * ("0 0 30 2 *"). */
int64_t cron_next(const struct cron *c, int64_t after);

#endif
