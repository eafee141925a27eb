/* Schedules of retraining, and their runs: each moment that a schedule names is run once, whatever
 * becomes of processes and clocks. A run is claimed in the transaction that notes its moment. */
#ifndef STORE_SCHEDULES_H
#define STORE_SCHEDULES_H

#include "store/catalog.h"

struct schedule {
    const char *id, *name; /* "sched_...", what a person calls it */
    const char *cron;      /* as written; NULL: only by its trigger */
    const char *spec;      /* JSON: what a run does */
    int64_t created_at;
    int64_t next_at;         /* the next moment; 0: none */
    int64_t day, runs_today; /* of the last run: day since 1970, runs on it */
    bool enabled;
};
struct schedule_list {
    struct schedule *list;
    size_t count;
};

struct schedule_run {
    const char *id, *schedule, *status; /* queued, running, succeeded, failed, skipped */
    const char *cause;                  /* "cron", "trigger: 200 new rows", "by hand" */
    const char *result;                 /* JSON of what came of it, or NULL */
    int64_t slot;                       /* the moment it is for */
    int64_t created_at, started_at, finished_at, missed; /* missed: moments passed over before it */
};
struct schedule_run_list {
    struct schedule_run *list;
    size_t count;
};

/* name, cron, spec, next_at. ERR_CONFLICT: the name is taken. */
int schedules_add(struct catalog *c, const struct schedule *new, struct arena *mem,
                  struct schedule *ret, struct err *err);
int schedules_get(struct catalog *c, const char *id_or_name, struct arena *mem,
                  struct schedule *ret, struct err *err);
int schedules_list(struct catalog *c, struct arena *mem, struct schedule_list *ret,
                   struct err *err);
int schedules_delete(struct catalog *c, const char *id, struct err *err); /* with its runs */
int schedules_enable(struct catalog *c, const char *id, bool enabled, int64_t next_at,
                     struct err *err);

/* A run for `slot`, and the schedule's next moment, in one transaction. *ret_new false: that moment
 * has a run already, and nothing but next_at changes. A day has at most `day_max` runs; beyond,
 * the run is there with status "skipped". */
struct slot {
    const char *schedule, *cause;
    int64_t at, next_at, now, missed, day_max;
};
int schedules_claim(struct catalog *c, const struct slot *s, bool *ret_new, struct err *err);

/* The oldest queued run, now "running". ERR_NOT_FOUND: there is none. Runs that were running when
 * their process died are queued again by schedule_runs_recover, at the start of the only process
 * that runs them. */
int schedule_runs_take(struct catalog *c, struct arena *mem, struct schedule_run *ret,
                       struct err *err);
int schedule_runs_recover(struct catalog *c, struct err *err);
int schedule_runs_finish(struct catalog *c, const char *id, const char *status, const char *result,
                         struct err *err);
/* newest first; schedule NULL: of all */
int schedule_runs_list(struct catalog *c, const char *schedule, int64_t limit, struct arena *mem,
                       struct schedule_run_list *ret, struct err *err);

#endif
