#include "registry/schedule.h"

#include "base/json.h"
#include "registry/cron.h"

#include <string.h>

#define MEM_MAX ((size_t)64 << 20)
#define CATCH_UP_MAX 100000 /* missed moments that are counted */

static int64_t day_max(const struct schedule *s) {
    struct err none;
    json_t *spec = NULL;
    int64_t max = SCHEDULE_DAY_MAX;
    if (json_read(str_of(s->spec), "spec", &spec, &none) == 0)
        json_get_i64(spec, "runs_per_day", "spec", 1, 1440, &max, &none);
    json_decref(spec);
    return max;
}

int schedule_add(struct catalog *c, const char *name, const char *cron, const char *spec,
                 int64_t now, struct arena *mem, struct schedule *ret, struct err *err) {
    struct cron times;
    json_t *o = NULL;
    int64_t next = 0;
    int rc = json_read(str_of(spec), "the schedule's spec", &o, err);
    json_decref(o);
    if (!rc && cron) rc = cron_parse(str_of(cron), &times, err);
    if (!rc && cron && (next = cron_next(&times, now)) < 0)
        rc = err_set(err, ERR_INVALID, "\"%.80s\" names no moment in the next eight years", cron);
    if (rc) return rc;
    struct schedule new = {.name = name, .cron = cron, .spec = spec, .next_at = next};
    return schedules_add(c, &new, mem, ret, err);
}

/* The last moment of `times` from `first` up to now; counts those before it. */
static int64_t last_due(const struct cron *times, int64_t first, int64_t now, int64_t *ret_missed) {
    int64_t at = first, next;
    *ret_missed = 0;
    while ((next = cron_next(times, at)) > 0 && next <= now && *ret_missed < CATCH_UP_MAX) {
        at = next;
        ++*ret_missed;
    }
    return at;
}

static int tick_one(struct catalog *c, const struct schedule *s, int64_t now, int *queued,
                    struct err *err) {
    struct cron times;
    int rc = cron_parse(str_of(s->cron), &times, err);
    if (rc) return err_wrap(err, "schedule \"%s\"", s->name);
    int64_t next = cron_next(&times, now), missed;
    bool is_new = false;
    if (next < 0) next = 0;
    if (s->next_at && s->next_at <= now) {
        struct slot slot = {
            .schedule = s->id, .cause = "cron", .next_at = next, .now = now, .day_max = day_max(s)};
        slot.at = last_due(&times, s->next_at, now, &missed);
        slot.missed = missed;
        rc = schedules_claim(c, &slot, &is_new, err);
        *queued += is_new;
        return rc;
    }
    /* the clock was set back: the next moment is nearer than what was noted */
    return next && next < s->next_at ? schedules_enable(c, s->id, true, next, err) : 0;
}

int schedule_tick(struct catalog *c, int64_t now, int *ret_queued, struct err *err) {
    struct arena mem;
    struct schedule_list all = {0};
    *ret_queued = 0;
    arena_init(&mem, MEM_MAX);
    int rc = schedules_list(c, &mem, &all, err);
    for (size_t i = 0; !rc && i < all.count; i++)
        if (all.list[i].enabled && all.list[i].cron)
            rc = tick_one(c, &all.list[i], now, ret_queued, err);
    arena_release(&mem);
    return rc;
}

int schedule_run_now(struct catalog *c, const char *id, const char *cause, int64_t now,
                     struct err *err) {
    struct arena mem;
    struct schedule s;
    bool is_new = false;
    arena_init(&mem, MEM_MAX);
    int rc = schedules_get(c, id, &mem, &s, err);
    if (!rc) {
        struct slot slot = {
            .schedule = s.id, .cause = cause, .at = now, .next_at = s.next_at, .now = now};
        rc = schedules_claim(c, &slot, &is_new, err);
    }
    if (!rc && !is_new)
        rc = err_set(err, ERR_CONFLICT, "\"%.100s\" has a run of this moment already", s.name);
    arena_release(&mem);
    return rc;
}
