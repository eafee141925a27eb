#include "store/splits.h"

#include "base/clock.h"
#include "store/routes.h"
#include "store/store_int.h"

#include <stdio.h>
#include <string.h>

#define MEM_MAX ((size_t)8 << 20)

static void read_split(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct split *)row = (struct split){.alias = col_z(st, 0, mem),
                                          .candidate = col_z(st, 1, mem),
                                          .run = col_z(st, 2, mem),
                                          .salt = col_z(st, 3, mem),
                                          .sticky = col_z(st, 4, mem),
                                          .share = sqlite3_column_double(st, 5)};
}
static const struct table splits = {.name = "split",
                                    .columns = "id, candidate, run, salt, sticky, share",
                                    .what = "split",
                                    .row_size = sizeof(struct split),
                                    .read = read_split};

static void read_canary(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct canary_row *)row = (struct canary_row){.id = col_z(st, 0, mem),
                                                    .alias = col_z(st, 1, mem),
                                                    .baseline = col_z(st, 2, mem),
                                                    .candidate = col_z(st, 3, mem),
                                                    .state = col_z(st, 4, mem),
                                                    .plan = col_z(st, 5, mem),
                                                    .reached = col_z(st, 6, mem),
                                                    .why = col_z(st, 7, mem),
                                                    .created_at = col_i64(st, 8),
                                                    .updated_at = col_i64(st, 9)};
}
static const struct table canaries = {
    .name = "canary",
    .columns = "id, alias, baseline, candidate, state, plan, reached, why, created_at, updated_at",
    .what = "canary",
    .row_size = sizeof(struct canary_row),
    .read = read_canary};

int splits_get(struct catalog *c, const char *alias, struct arena *mem, struct split *ret,
               struct err *err) {
    return store_get(c, &splits, alias, mem, ret, err);
}

int splits_refuse_candidate(struct catalog *c, const char *model, struct err *err) {
    struct canary_list l;
    struct arena mem;
    arena_init(&mem, MEM_MAX);
    int rc = canaries_running(c, &mem, &l, err);
    for (size_t i = 0; !rc && i < l.count; i++)
        if (strcmp(l.list[i].candidate, model) == 0)
            rc = err_set(err, ERR_CONFLICT,
                         "\"%.100s\" is the canary of the alias \"%.100s\"; stop it first", model,
                         l.list[i].alias);
    arena_release(&mem);
    return rc;
}

/* --- looking --- */

int canaries_get(struct catalog *c, const char *id, struct arena *mem, struct canary_row *ret,
                 struct err *err) {
    return store_get(c, &canaries, id, mem, ret, err);
}

int canaries_running(struct catalog *c, struct arena *mem, struct canary_list *ret,
                     struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_plain(&w, "state = 'running'");
    int rc = store_list(c, &canaries, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct canary_list){out.rows, out.count};
    return rc;
}

int canaries_last(struct catalog *c, const char *alias, struct arena *mem, struct canary_row *ret,
                  struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "alias = ?", v_z(alias));
    int rc = store_list(c, &canaries, &w, &(struct page){.limit = 1}, mem, &out, err);
    if (rc) return rc;
    if (!out.count)
        return err_set(err, ERR_NOT_FOUND, "the alias \"%.100s\" never had a canary", alias);
    *ret = *(struct canary_row *)out.rows;
    return 0;
}

int canaries_units(struct catalog *c, const char *id, struct arena *mem, struct canary_unit **ret,
                   size_t *ret_count, struct err *err) {
    sqlite3_stmt *st = NULL;
    int64_t count = 0;
    size_t n = 0;
    bool found;
    int got = 0, rc = store_read_begin(c, err);
    if (rc) return rc;
    rc = db_i64(&c->reader, "SELECT count(*) FROM canary_unit WHERE run = ?", VALS(v_z(id)), &count,
                &found, err);
    struct canary_unit *list = arena_array(mem, (size_t)count + 1, sizeof *list);
    if (!rc) rc = arena_checked(mem, err);
    if (!rc)
        rc = db_prepare(&c->reader, "SELECT unit, seen FROM canary_unit WHERE run = ?",
                        VALS(v_z(id)), &st, err);
    while (!rc && n < (size_t)count && (got = db_step(&c->reader, st, err)) > 0)
        list[n++] = (struct canary_unit){(uint64_t)col_i64(st, 0), (uint32_t)col_i64(st, 1)};
    sqlite3_finalize(st);
    rc = store_read_end(c, got < 0 ? got : rc, err);
    if (!rc) *ret = list, *ret_count = n;
    return rc;
}

/* --- starting --- */

static int check_start(struct catalog *c, const struct canary_row *new, struct arena *mem,
                       struct err *err) {
    struct route r;
    int64_t one;
    bool runs = false;
    int rc = routes_get_in(&c->writer, new->alias, mem, &r, err);
    if (!rc && strcmp(r.target, new->baseline) != 0)
        rc = err_set(err, ERR_CONFLICT, "\"%.100s\" leads to \"%.100s\" now, not to \"%.100s\"",
                     new->alias, r.target, new->baseline);
    if (!rc)
        rc = db_i64(&c->writer, "SELECT 1 FROM canary WHERE alias = ? AND state = 'running'",
                    VALS(v_z(new->alias)), &one, &runs, err);
    if (!rc && runs)
        rc = err_set(err, ERR_CONFLICT, "\"%.100s\" has a canary already; stop it first",
                     new->alias);
    return rc;
}

static int insert_start(struct catalog *c, const struct canary_row *new, const struct split *s,
                        const char *id, struct err *err) {
    int64_t now = clock_unix();
    int rc = db_run(&c->writer,
                    "INSERT INTO canary(id, created_at, updated_at, alias, baseline, candidate, "
                    "state, plan, reached) VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?)",
                    VALS(v_z(id), v_i(now), v_i(now), v_z(new->alias), v_z(new->baseline),
                         v_z(new->candidate), v_z(new->plan), v_z(new->reached)),
                    err);
    if (!rc)
        rc = db_run(&c->writer,
                    "INSERT INTO split(id, created_at, run, candidate, salt, sticky, share) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    VALS(v_z(new->alias), v_i(now), v_z(id), v_z(new->candidate), v_z(s->salt),
                         v_z(s->sticky), v_d(s->share)),
                    err);
    return rc;
}

int canaries_start(struct catalog *c, const struct canary_row *new, const struct split *s,
                   const struct audit_cause *cause, char ret_id[ID_SIZE], struct err *err) {
    struct arena mem;
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    arena_init(&mem, MEM_MAX);
    id_new("canary_", ret_id);
    rc = check_start(c, new, &mem, err);
    if (!rc) rc = insert_start(c, new, s, ret_id, err);
    if (!rc) {
        json_t *plan = NULL;
        rc = json_read(str_of(new->plan), "the canary's plan", &plan, err);
        json_t *data =
            json_pack("{s:s, s:s, s:s, s:f, s:o?}", "canary", ret_id, "baseline", new->baseline,
                      "candidate", new->candidate, "share", s->share, "plan", plan);
        if (!rc) rc = audit_append(c, "canary.started", new->alias, data, cause, err);
        json_decref(data);
    }
    arena_release(&mem);
    return store_write_end(c, rc, err);
}

/* --- going on --- */

static int save_units(struct catalog *c, const struct canary_save *s, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < s->unit_count; i++)
        rc = db_run(&c->writer,
                    "INSERT INTO canary_unit(run, unit, seen) VALUES (?, ?, ?) "
                    "ON CONFLICT(run, unit) DO UPDATE SET seen = excluded.seen",
                    VALS(v_z(s->id), v_i((int64_t)s->units[i].unit), v_i(s->units[i].seen)), err);
    return rc;
}

/* reads the row; ERR_CONFLICT where it does not run */
static int running_row(struct catalog *c, const char *id, struct arena *mem, struct canary_row *ret,
                       struct err *err) {
    int rc = table_get(&c->writer, &canaries, id, mem, ret, err);
    if (!rc && strcmp(ret->state, "running") != 0)
        rc = err_set(err, ERR_CONFLICT, "the canary of \"%.100s\" was %s", ret->alias, ret->state);
    return rc;
}

static json_t *told(const struct canary_row *row, const struct canary_save *s) {
    struct err none;
    json_t *reached = NULL;
    if (s->reached && json_read(str_of(s->reached), "canary", &reached, &none)) reached = NULL;
    if (reached) json_object_del(reached, "latency"); /* long, and no part of the decision */
    return json_pack("{s:s, s:s, s:s, s:o?}", "canary", row->id, "baseline", row->baseline,
                     "candidate", row->candidate, "reached", reached);
}

static int save_in(struct catalog *c, const struct canary_save *s, const struct audit_cause *cause,
                   struct arena *mem, struct err *err) {
    struct canary_row row;
    int rc = running_row(c, s->id, mem, &row, err);
    if (!rc)
        rc = db_run(&c->writer, "UPDATE canary SET reached = ?, updated_at = ? WHERE id = ?",
                    VALS(v_z(s->reached), v_i(clock_unix()), v_z(s->id)), err);
    if (!rc) rc = save_units(c, s, err);
    if (rc || s->share <= 0) return rc;
    rc = db_run(&c->writer, "UPDATE split SET share = ? WHERE run = ?",
                VALS(v_d(s->share), v_z(s->id)), err);
    json_t *data = told(&row, s);
    json_object_set_new(data, "share", json_real(s->share));
    if (!rc) rc = audit_append(c, "canary.step", row.alias, data, cause, err);
    json_decref(data);
    return rc;
}

int canaries_save(struct catalog *c, const struct canary_save *s, const struct audit_cause *cause,
                  struct err *err) {
    struct arena mem;
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    arena_init(&mem, MEM_MAX);
    rc = store_write_end(c, save_in(c, s, cause, &mem, err), err);
    arena_release(&mem);
    return rc;
}

/* --- the end --- */

static int close_run(struct catalog *c, const char *id, const char *state, const char *why,
                     struct err *err) {
    int rc = db_run(&c->writer, "DELETE FROM split WHERE run = ?", VALS(v_z(id)), err);
    if (!rc) rc = db_run(&c->writer, "DELETE FROM canary_unit WHERE run = ?", VALS(v_z(id)), err);
    if (!rc) rc = db_run(&c->writer, "DELETE FROM canary_answer WHERE run = ?", VALS(v_z(id)), err);
    if (!rc)
        rc = db_run(&c->writer, "UPDATE canary SET state = ?, why = ?, updated_at = ? WHERE id = ?",
                    VALS(v_z(state), v_z(why), v_i(clock_unix()), v_z(id)), err);
    return rc;
}

int splits_alias_moves(struct catalog *c, const char *alias, const struct audit_cause *cause,
                       struct err *err) {
    struct arena mem;
    struct split s;
    arena_init(&mem, MEM_MAX);
    int rc = table_get(&c->writer, &splits, alias, &mem, &s, err);
    if (!rc) rc = close_run(c, s.run, "stopped", "the alias was moved", err);
    if (!rc) {
        json_t *data = json_pack("{s:s, s:s}", "canary", s.run, "candidate", s.candidate);
        rc = audit_append(c, "canary.stopped", alias, data, cause, err);
        json_decref(data);
    }
    arena_release(&mem);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int end_in(struct catalog *c, const struct canary_save *last, const char *state,
                  const struct audit_cause *cause, struct arena *mem, struct err *err) {
    char kind[40], event[60];
    struct canary_row row;
    int rc = running_row(c, last->id, mem, &row, err);
    snprintf(kind, sizeof kind, "canary.%.20s", state);
    snprintf(event, sizeof event, "attune.%.40s", kind);
    if (!rc && last->reached)
        rc = db_run(&c->writer, "UPDATE canary SET reached = ? WHERE id = ?",
                    VALS(v_z(last->reached), v_z(last->id)), err);
    if (!rc) rc = close_run(c, last->id, state, cause->reason, err);
    json_t *data = rc ? NULL : told(&row, last);
    if (!rc) rc = audit_append(c, kind, row.alias, data, cause, err);
    json_decref(data);
    if (!rc && strcmp(state, "promoted") == 0)
        rc = versions_promote_in(c, row.alias, row.candidate, false, cause, mem, err);
    return rc ? rc : outbox_emit(c, event, last->id, err);
}

int canaries_end(struct catalog *c, const struct canary_save *last, const char *state,
                 const struct audit_cause *cause, struct err *err) {
    struct arena mem;
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    arena_init(&mem, MEM_MAX);
    rc = store_write_end(c, end_in(c, last, state, cause, &mem, err), err);
    arena_release(&mem);
    return rc;
}

/* --- answers that wait for feedback --- */

int canaries_answer_add(struct catalog *c, const struct canary_answer *a, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "INSERT INTO canary_answer(completion, run, canary, sticks, unit, share) "
                "SELECT ?, id, ?, ?, ?, ? FROM canary WHERE id = ? AND state = 'running'",
                VALS(v_z(a->completion), v_i(a->canary), v_i(a->sticks), v_i((int64_t)a->unit),
                     v_d(a->share), v_z(a->run)),
                err);
    return store_write_end(c, rc, err);
}

static int take_answer(struct catalog *c, const char *completion, struct arena *mem,
                       struct canary_answer *ret, struct err *err) {
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(&c->writer,
                        "DELETE FROM canary_answer WHERE completion = ? "
                        "RETURNING completion, run, canary, sticks, unit, share",
                        VALS(v_z(completion)), &st, err);
    if (rc) return rc;
    int got = db_step(&c->writer, st, err);
    if (got > 0)
        *ret = (struct canary_answer){.completion = col_z(st, 0, mem),
                                      .run = col_z(st, 1, mem),
                                      .canary = col_i64(st, 2) != 0,
                                      .sticks = col_i64(st, 3) != 0,
                                      .unit = (uint64_t)col_i64(st, 4),
                                      .share = sqlite3_column_double(st, 5)};
    if (got > 0) rc = db_step(&c->writer, st, err) < 0 ? err->code : arena_checked(mem, err);
    sqlite3_finalize(st);
    if (got < 0) return got;
    return got ? rc : err_set(err, ERR_NOT_FOUND, "no canary waits for \"%.80s\"", completion);
}

int canaries_answer_take(struct catalog *c, const char *completion, struct arena *mem,
                         struct canary_answer *ret, struct err *err) {
    int rc = store_write_begin(c, err);
    return rc ? rc : store_write_end(c, take_answer(c, completion, mem, ret, err), err);
}
