/* A week of schedules with a clock of the test's own. */
#include "unit.h"

#include "base/rng.h"
#include "registry/schedule.h"
#include "store_fixture.h"

#include <stdlib.h>
#include <time.h>

#define MONDAY 1795392000 /* 2026-11-23 00:00 UTC */
#define HOUR 3600
#define DAY (24 * HOUR)

static int open_utc(void **state) {
    setenv("TZ", "UTC0", 1);
    tzset();
    return fixture_open(state);
}
#define WITH_CLOCK(test) cmocka_unit_test_setup_teardown(test, open_utc, fixture_close)

static struct schedule add(struct fixture *f, const char *name, const char *cron,
                           const char *spec) {
    struct schedule s;
    if (schedule_add(f->c, name, cron, spec, MONDAY - 60, &f->mem, &s, &f->err))
        fail_msg("%s", f->err.msg);
    return s;
}

static int tick(struct fixture *f, int64_t now) {
    int queued;
    if (schedule_tick(f->c, now, &queued, &f->err)) fail_msg("%s", f->err.msg);
    return queued;
}

static void reopen(struct fixture *f) {
    catalog_close(f->c);
    f->c = NULL;
    if (catalog_open(f->home, &f->c, &f->err)) fail_msg("%s", f->err.msg);
}

/* Every moment of `cron` from Monday to Monday has exactly one run. */
static void check_week(struct fixture *f, const char *schedule, int64_t every, int64_t first) {
    struct schedule_run_list l;
    if (schedule_runs_list(f->c, schedule, 10000, &f->mem, &l, &f->err)) fail_msg("%s", f->err.msg);
    assert_int_equal(l.count, (7 * DAY - first + every - 1) / every);
    for (size_t i = 0; i < l.count; i++) /* newest first */
        assert_int_equal(l.list[l.count - 1 - i].slot, MONDAY + first + (int64_t)i * every);
}

static void a_week_runs_once_each(void **state) {
    struct fixture *f = *state;
    struct rng rng;
    struct schedule hourly = add(f, "hourly", "0 * * * *", "{}");
    struct schedule nightly = add(f, "nightly", "30 3 * * *", "{}");
    rng_init(&rng, unit_seed());
    for (int64_t now = MONDAY; now < MONDAY + 7 * DAY; now += 1 + (int64_t)rng_below(&rng, 600)) {
        tick(f, now);
        if (rng_below(&rng, 200) == 0) reopen(f);          /* a restart */
        if (rng_below(&rng, 20) == 0) tick(f, now - 1800); /* the clock went back half an hour */
    }
    tick(f, MONDAY + 7 * DAY - 1);
    check_week(f, hourly.id, HOUR, 0);
    check_week(f, nightly.id, DAY, 3 * HOUR + 1800);
}

static void what_was_slept_through_is_run_once(void **state) {
    struct fixture *f = *state;
    struct schedule_run_list l;
    struct schedule s = add(f, "hourly", "0 * * * *", "{}");
    assert_int_equal(tick(f, MONDAY + 10), 1);
    assert_int_equal(tick(f, MONDAY + 2 * DAY + 10), 1);
    assert_int_equal(tick(f, MONDAY + 2 * DAY + 70), 0);
    assert_int_equal(schedule_runs_list(f->c, s.id, 10, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.list[0].slot, MONDAY + 2 * DAY);
    assert_int_equal(l.list[0].missed, 47);
}

static void a_clock_set_back_does_not_stop_a_schedule(void **state) {
    struct fixture *f = *state;
    add(f, "hourly", "0 * * * *", "{}");
    assert_int_equal(tick(f, MONDAY + 365 * DAY), 1); /* a wrong clock */
    assert_int_equal(tick(f, MONDAY + HOUR + 10), 0);
    assert_int_equal(tick(f, MONDAY + 2 * HOUR + 10), 1);
}

static void a_day_has_only_so_many(void **state) {
    struct fixture *f = *state;
    struct schedule_run_list l;
    struct schedule s = add(f, "often", "* * * * *", "{\"runs_per_day\":3}");
    for (int i = 0; i < 10; i++) tick(f, MONDAY + 60 * i);
    tick(f, MONDAY + DAY);
    assert_int_equal(schedule_runs_list(f->c, s.id, 100, &f->mem, &l, &f->err), 0);
    int queued = 0;
    for (size_t i = 0; i < l.count; i++) queued += strcmp(l.list[i].status, "queued") == 0;
    assert_int_equal(queued, 4);
}

static void runs_survive_their_process(void **state) {
    struct fixture *f = *state;
    struct schedule_run run, again;
    struct schedule s = add(f, "hourly", "0 * * * *", "{}");
    assert_int_equal(schedule_runs_take(f->c, &f->mem, &run, &f->err), ERR_NOT_FOUND);
    assert_int_equal(schedule_run_now(f->c, "hourly", "by hand", MONDAY, &f->err), 0);
    assert_int_equal(schedule_run_now(f->c, s.id, "by hand", MONDAY, &f->err), ERR_CONFLICT);
    assert_int_equal(schedule_runs_take(f->c, &f->mem, &run, &f->err), 0);
    assert_int_equal(schedule_runs_take(f->c, &f->mem, &again, &f->err), ERR_NOT_FOUND);
    reopen(f);
    assert_int_equal(schedule_runs_recover(f->c, &f->err), 0);
    assert_int_equal(schedule_runs_take(f->c, &f->mem, &again, &f->err), 0);
    assert_string_equal(again.id, run.id);
    assert_int_equal(schedule_runs_finish(f->c, run.id, "succeeded", "{\"model\":\"x\"}", &f->err),
                     0);
    assert_int_equal(schedule_runs_recover(f->c, &f->err), 0);
    assert_int_equal(schedule_runs_take(f->c, &f->mem, &again, &f->err), ERR_NOT_FOUND);
}

static void bad_schedules_are_refused(void **state) {
    struct fixture *f = *state;
    struct schedule s;
    struct err *err = &f->err;
    add(f, "one", "0 * * * *", "{}");
    assert_int_equal(schedule_add(f->c, "one", NULL, "{}", MONDAY, &f->mem, &s, err), ERR_CONFLICT);
    assert_int_equal(schedule_add(f->c, "x", "0 0 30 2 *", "{}", MONDAY, &f->mem, &s, err),
                     ERR_INVALID);
    assert_int_equal(schedule_add(f->c, "x", "daily", "{}", MONDAY, &f->mem, &s, err), ERR_INVALID);
    assert_int_equal(schedule_add(f->c, "x", "@daily", "{", MONDAY, &f->mem, &s, err), ERR_INVALID);
}

UNIT_TESTS(registry_schedule, WITH_CLOCK(a_week_runs_once_each),
           WITH_CLOCK(what_was_slept_through_is_run_once),
           WITH_CLOCK(a_clock_set_back_does_not_stop_a_schedule),
           WITH_CLOCK(a_day_has_only_so_many), WITH_CLOCK(runs_survive_their_process),
           WITH_CLOCK(bad_schedules_are_refused))
