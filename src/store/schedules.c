#include "store/schedules.h"

#include "base/clock.h"
#include "store/store_int.h"

#include <string.h>

#define DAY 86400

static void read_schedule(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct schedule *)row = (struct schedule){.id = col_z(st, 0, mem),
                                                .created_at = col_i64(st, 1),
                                                .name = col_z(st, 2, mem),
                                                .cron = col_z(st, 3, mem),
                                                .spec = col_z(st, 4, mem),
                                                .next_at = col_i64(st, 5),
                                                .enabled = col_i64(st, 6) != 0,
                                                .day = col_i64(st, 7),
                                                .runs_today = col_i64(st, 8)};
}
static const struct table schedules = {
    .name = "schedule",
    .columns = "id, created_at, name, cron, spec, next_at, enabled, day, runs_today",
    .what = "schedule",
    .row_size = sizeof(struct schedule),
    .read = read_schedule};

static void read_run(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct schedule_run *)row = (struct schedule_run){.id = col_z(st, 0, mem),
                                                        .created_at = col_i64(st, 1),
                                                        .schedule = col_z(st, 2, mem),
                                                        .slot = col_i64(st, 3),
                                                        .status = col_z(st, 4, mem),
                                                        .cause = col_z(st, 5, mem),
                                                        .missed = col_i64(st, 6),
                                                        .started_at = col_i64(st, 7),
                                                        .finished_at = col_i64(st, 8),
                                                        .result = col_z(st, 9, mem)};
}
static const struct table runs = {.name = "schedule_run",
                                  .columns = "id, created_at, schedule, slot, status, cause, "
                                             "missed, started_at, finished_at, result",
                                  .what = "run of a schedule",
                                  .row_size = sizeof(struct schedule_run),
                                  .read = read_run};

/* --- schedules --- */

int schedules_add(struct catalog *c, const struct schedule *new, struct arena *mem,
                  struct schedule *ret, struct err *err) {
    char id[ID_SIZE];
    id_new("sched_", id);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "INSERT INTO schedule(id, created_at, name, cron, spec, next_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                VALS(v_z(id), v_i(clock_unix()), v_z(new->name), v_z(new->cron), v_z(new->spec),
                     v_time(new->next_at)),
                err);
    if (rc == ERR_CONFLICT)
        err_set(err, rc, "there is a schedule named \"%.100s\" already", new->name);
    if (!rc) rc = table_get(&c->writer, &schedules, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int schedules_get(struct catalog *c, const char *id_or_name, struct arena *mem,
                  struct schedule *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "? IN (id, name)", v_z(id_or_name));
    int rc = store_list(c, &schedules, &w, &page_all, mem, &out, err);
    if (!rc && !out.count) rc = no_such(&schedules, id_or_name, err);
    if (!rc) *ret = *(struct schedule *)out.rows;
    return rc;
}

int schedules_list(struct catalog *c, struct arena *mem, struct schedule_list *ret,
                   struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &schedules, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct schedule_list){out.rows, out.count};
    return rc;
}

int schedules_delete(struct catalog *c, const char *id, struct err *err) {
    return store_change(c, &schedules, id, "DELETE FROM schedule WHERE id = ?", VALS(v_z(id)), err);
}

int schedules_enable(struct catalog *c, const char *id, bool enabled, int64_t next_at,
                     struct err *err) {
    return store_change(c, &schedules, id,
                        "UPDATE schedule SET enabled = ?, next_at = ? WHERE id = ?",
                        VALS(v_i(enabled), v_time(next_at), v_z(id)), err);
}

/* --- runs --- */

static int add_run(struct catalog *c, const struct slot *s, bool over, bool *ret_new,
                   struct err *err) {
    char id[ID_SIZE];
    id_new("schedrun_", id);
    int rc = db_run(&c->writer,
                    "INSERT OR IGNORE INTO schedule_run(id, created_at, schedule, slot, status, "
                    "cause, missed) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    VALS(v_z(id), v_i(s->now), v_z(s->schedule), v_i(s->at),
                         v_z(over ? "skipped" : "queued"), v_z(s->cause), v_i(s->missed)),
                    err);
    *ret_new = !rc && db_changes(&c->writer) == 1;
    return rc;
}

int schedules_claim(struct catalog *c, const struct slot *s, bool *ret_new, struct err *err) {
    int64_t today = s->now / DAY, used = 0;
    bool found;
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_i64(&c->writer,
                "SELECT CASE day WHEN ? THEN runs_today ELSE 0 END FROM schedule WHERE id = ?",
                VALS(v_i(today), v_z(s->schedule)), &used, &found, err);
    if (!rc && !found) rc = no_such(&schedules, s->schedule, err);
    bool over = s->day_max > 0 && used >= s->day_max;
    if (!rc) rc = add_run(c, s, over, ret_new, err);
    if (!rc)
        rc = db_run(
            &c->writer, "UPDATE schedule SET next_at = ?, day = ?, runs_today = ? WHERE id = ?",
            VALS(v_time(s->next_at), v_i(today), v_i(used + (*ret_new && !over)), v_z(s->schedule)),
            err);
    return store_write_end(c, rc, err);
}

int schedule_runs_take(struct catalog *c, struct arena *mem, struct schedule_run *ret,
                       struct err *err) {
    struct where w;
    struct list_out out = {0};
    struct page first = {.limit = 1, .ascending = true};
    where_init(&w);
    where_add(&w, "status = ?", v_z("queued"));
    int rc = store_write_begin(c, err);
    if (!rc) {
        rc = table_list(&c->writer, &runs, &w, &first, mem, &out, err);
        if (!rc && !out.count) rc = err_set(err, ERR_NOT_FOUND, "no run is queued");
        if (!rc) *ret = *(struct schedule_run *)out.rows;
        if (!rc)
            rc = db_run(&c->writer,
                        "UPDATE schedule_run SET status = 'running', started_at = ? WHERE id = ?",
                        VALS(v_i(clock_unix()), v_z(ret->id)), err);
        rc = store_write_end(c, rc, err);
    }
    where_release(&w);
    return rc;
}

int schedule_runs_recover(struct catalog *c, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer, "UPDATE schedule_run SET status = 'queued' WHERE status = 'running'",
                NULL, 0, err);
    return store_write_end(c, rc, err);
}

int schedule_runs_finish(struct catalog *c, const char *id, const char *status, const char *result,
                         struct err *err) {
    return store_change(
        c, &runs, id,
        "UPDATE schedule_run SET status = ?, result = ?, finished_at = ? WHERE id = ?",
        VALS(v_z(status), v_z(result), v_i(clock_unix()), v_z(id)), err);
}

int schedule_runs_list(struct catalog *c, const char *schedule, int64_t limit, struct arena *mem,
                       struct schedule_run_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    struct page page = {.limit = limit};
    where_init(&w);
    if (schedule) where_add(&w, "schedule = ?", v_z(schedule));
    int rc = store_list(c, &runs, &w, &page, mem, &out, err);
    if (!rc) *ret = (struct schedule_run_list){out.rows, out.count};
    return rc;
}
