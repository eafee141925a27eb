#include "store/evals.h"

#include "base/clock.h"
#include "store/store_int.h"

#include <stdio.h>
#include <string.h>

/* --- evals --- */

static void read_eval(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct eval *)row = (struct eval){.id = col_z(st, 0, mem),
                                        .name = col_z(st, 1, mem),
                                        .data_source = col_z(st, 2, mem),
                                        .criteria = col_z(st, 3, mem),
                                        .metadata = col_z(st, 4, mem),
                                        .created_at = col_i64(st, 5),
                                        .updated_at = col_i64(st, 6)};
}
static const struct table evals = {
    .name = "eval",
    .columns = "id, name, data_source, criteria, metadata, created_at, updated_at",
    .what = "eval",
    .row_size = sizeof(struct eval),
    .read = read_eval};
/* `seq` counts changes here, so that a page begins behind a row as everywhere */
static const struct table evals_changed = {
    .name = "eval_changed",
    .columns = "id, name, data_source, criteria, metadata, created_at, updated_at",
    .what = "eval",
    .row_size = sizeof(struct eval),
    .read = read_eval};

static int free_id(struct catalog *c, const struct table *t, const char *id, struct err *err) {
    char sql[96];
    int64_t seq;
    bool taken = false;
    snprintf(sql, sizeof sql, "SELECT seq FROM %s WHERE id = ?", t->name);
    int rc = db_i64(&c->writer, sql, VALS(v_z(id)), &seq, &taken, err);
    if (rc || !taken) return rc;
    return err_set(err, ERR_CONFLICT, "the %s \"%s\" is there already", t->what, id);
}

#define NEXT_CHANGE "(SELECT coalesce(max(changed), 0) + 1 FROM eval)"

int evals_add(struct catalog *c, const struct eval *new, struct arena *mem, struct eval *ret,
              struct err *err) {
    char made[ID_SIZE];
    id_new("eval_", made);
    const char *id = new->id ? new->id : made;
    int64_t now = new->created_at ? new->created_at : clock_unix();
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = free_id(c, &evals, id, err);
    if (!rc)
        rc = db_run(&c->writer,
                    "INSERT INTO eval(id, created_at, updated_at, changed, name, data_source, "
                    "criteria, metadata) VALUES (?, ?, ?, " NEXT_CHANGE ", ?, ?, ?, ?)",
                    VALS(v_z(id), v_i(now), v_i(now), v_z(new->name ? new->name : id),
                         v_z(new->data_source), v_z(new->criteria), v_z(new->metadata)),
                    err);
    if (!rc) rc = table_get(&c->writer, &evals, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int evals_get(struct catalog *c, const char *id, struct arena *mem, struct eval *ret,
              struct err *err) {
    return store_get(c, &evals, id, mem, ret, err);
}

int evals_list(struct catalog *c, const struct page *page, bool by_update, struct arena *mem,
               struct eval_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, by_update ? &evals_changed : &evals, &w, page, mem, &out, err);
    if (!rc) *ret = (struct eval_list){out.rows, out.count, out.has_more};
    return rc;
}

int evals_update(struct catalog *c, const char *id, const char *name, const char *metadata,
                 struct err *err) {
    return store_change(c, &evals, id,
                        "UPDATE eval SET name = ?, metadata = ?, updated_at = ?, "
                        "changed = " NEXT_CHANGE " WHERE id = ?",
                        VALS(v_z(name), v_z(metadata), v_i(clock_unix()), v_z(id)), err);
}

int evals_delete(struct catalog *c, const char *id, struct err *err) {
    return store_change(c, &evals, id, "DELETE FROM eval WHERE id = ?", VALS(v_z(id)), err);
}

/* --- runs --- */

static void read_run(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct eval_run *)row = (struct eval_run){.id = col_z(st, 0, mem),
                                                .eval = col_z(st, 1, mem),
                                                .status = col_z(st, 2, mem),
                                                .name = col_z(st, 3, mem),
                                                .model = col_z(st, 4, mem),
                                                .data_source = col_z(st, 5, mem),
                                                .metadata = col_z(st, 6, mem),
                                                .error = col_z(st, 7, mem),
                                                .picked = col_z(st, 8, mem),
                                                .total = col_i64(st, 9),
                                                .passed = col_i64(st, 10),
                                                .failed = col_i64(st, 11),
                                                .errored = col_i64(st, 12),
                                                .created_at = col_i64(st, 13),
                                                .results = col_z(st, 14, mem),
                                                .usage = col_z(st, 15, mem)};
}
/* both tables are kept in the order of their keys */
#define RESULTS                                                                                    \
    "(SELECT json_group_array(json_object('testing_criteria', criterion, 'passed', t.passed, "     \
    "'failed', t.failed)) FROM eval_tally t WHERE t.run = eval_run.id)"
#define USAGE                                                                                      \
    "(SELECT json_group_array(json_object('model_name', u.model, 'invocation_count', u.calls, "    \
    "'prompt_tokens', u.prompt, 'completion_tokens', u.completion, "                               \
    "'total_tokens', u.prompt + u.completion, 'cached_tokens', u.cached)) "                        \
    "FROM eval_usage u WHERE u.run = eval_run.id)"
static const struct table runs = {
    .name = "eval_run",
    .columns = "id, eval, status, name, model, data_source, metadata, error, picked, total, "
               "passed, failed, errored, created_at, " RESULTS ", " USAGE,
    .what = "eval run",
    .row_size = sizeof(struct eval_run),
    .read = read_run};

static int run_in(struct catalog *c, const struct eval_run *new, struct arena *mem,
                  struct eval_run *ret, struct err *err) {
    char made[ID_SIZE];
    struct eval eval;
    id_new("evalrun_", made);
    const char *id = new->id ? new->id : made;
    int rc = table_get(&c->writer, &evals, new->eval, mem, &eval, err);
    if (!rc) rc = free_id(c, &runs, id, err);
    if (!rc)
        rc = db_run(&c->writer,
                    "INSERT INTO eval_run(id, created_at, eval, status, name, model, data_source, "
                    "metadata, error, picked, total) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    VALS(v_z(id), v_i(new->created_at ? new->created_at : clock_unix()),
                         v_z(new->eval), v_z(new->status ? new->status : "queued"),
                         v_z(new->name ? new->name : id), v_z(new->model), v_z(new->data_source),
                         v_z(new->metadata), v_z(new->error), v_z(new->picked), v_i(new->total)),
                    err);
    return rc ? rc : table_get(&c->writer, &runs, id, mem, ret, err);
}

int eval_runs_add(struct catalog *c, const struct eval_run *new, struct arena *mem,
                  struct eval_run *ret, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    return store_write_end(c, run_in(c, new, mem, ret, err), err);
}

static int run_get_in(struct db *db, const char *eval, const char *id, struct arena *mem,
                      struct eval_run *ret, struct err *err) {
    int rc = table_get(db, &runs, id, mem, ret, err);
    if (!rc && strcmp(ret->eval, eval) != 0) rc = no_such(&runs, id, err);
    return rc;
}

int eval_runs_get(struct catalog *c, const char *eval, const char *id, struct arena *mem,
                  struct eval_run *ret, struct err *err) {
    int rc = store_read_begin(c, err);
    if (rc) return rc;
    return store_read_end(c, run_get_in(&c->reader, eval, id, mem, ret, err), err);
}

int eval_runs_list(struct catalog *c, const char *eval, const char *status, const struct page *page,
                   struct arena *mem, struct eval_run_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "eval = ?", v_z(eval));
    if (status) where_add(&w, "status = ?", v_z(status));
    int rc = store_list(c, &runs, &w, page, mem, &out, err);
    if (!rc) *ret = (struct eval_run_list){out.rows, out.count, out.has_more};
    return rc;
}

int eval_runs_oldest(struct catalog *c, const char *status, struct arena *mem, struct eval_run *ret,
                     bool *ret_found, struct err *err) {
    struct where w;
    struct list_out out = {0};
    where_init(&w);
    where_add(&w, "status = ?", v_z(status));
    int rc =
        store_list(c, &runs, &w, &(struct page){.limit = 1, .ascending = true}, mem, &out, err);
    *ret_found = !rc && out.count == 1;
    if (*ret_found) *ret = *(const struct eval_run *)out.rows;
    return rc;
}

static int put_status(struct catalog *c, const char *id, const char *status, struct err *err) {
    static const char *const events[][2] = {{"completed", "eval.run.succeeded"},
                                            {"failed", "eval.run.failed"},
                                            {"canceled", "eval.run.canceled"}};
    int rc = db_run(&c->writer, "UPDATE eval_run SET status = ? WHERE id = ?",
                    VALS(v_z(status), v_z(id)), err);
    for (size_t i = 0; !rc && i < sizeof events / sizeof *events; i++)
        if (strcmp(events[i][0], status) == 0) rc = outbox_emit(c, events[i][1], id, err);
    return rc;
}

int eval_runs_update(struct catalog *c, const char *id, const char *from, const char *to,
                     int64_t total, const char *error, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer, "UPDATE eval_run SET total = ?, error = ? WHERE id = ? AND status = ?",
                VALS(v_i(total), v_z(error), v_z(id), v_z(from)), err);
    if (!rc && db_changes(&c->writer) == 0)
        rc = err_set(err, ERR_CANCELLED, "eval run \"%s\" is not %s any more", id, from);
    if (!rc && strcmp(from, to) != 0) rc = put_status(c, id, to, err);
    return store_write_end(c, rc, err);
}

static int cancel_in(struct catalog *c, const char *eval, const char *id, struct arena *mem,
                     struct eval_run *ret, struct err *err) {
    int rc = run_get_in(&c->writer, eval, id, mem, ret, err);
    if (rc) return rc;
    if (strcmp(ret->status, "queued") != 0 && strcmp(ret->status, "in_progress") != 0)
        return err_set(err, ERR_CONFLICT, "eval run \"%s\" is %s, so it cannot be canceled", id,
                       ret->status);
    rc = put_status(c, id, "canceled", err);
    return rc ? rc : table_get(&c->writer, &runs, id, mem, ret, err);
}

int eval_runs_cancel(struct catalog *c, const char *eval, const char *id, struct arena *mem,
                     struct eval_run *ret, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    return store_write_end(c, cancel_in(c, eval, id, mem, ret, err), err);
}

int eval_runs_delete(struct catalog *c, const char *eval, const char *id, struct err *err) {
    return store_change(c, &runs, id, "DELETE FROM eval_run WHERE id = ? AND eval = ?",
                        VALS(v_z(id), v_z(eval)), err);
}

/* --- items --- */

static void read_item(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct eval_output *)row = (struct eval_output){.id = col_z(st, 0, mem),
                                                      .run = col_z(st, 1, mem),
                                                      .status = col_z(st, 2, mem),
                                                      .item = col_z(st, 3, mem),
                                                      .results = col_z(st, 4, mem),
                                                      .sample = col_z(st, 5, mem),
                                                      .number = col_i64(st, 6) - 1,
                                                      .created_at = col_i64(st, 7)};
}
static const struct table items = {.name = "eval_item_placed",
                                   .columns =
                                       "id, run, status, item, results, sample, seq, created_at",
                                   .what = "output item",
                                   .row_size = sizeof(struct eval_output),
                                   .read = read_item};

int eval_items_get(struct catalog *c, const char *run, const char *id, struct arena *mem,
                   struct eval_output *ret, struct err *err) {
    int rc = store_get(c, &items, id, mem, ret, err);
    if (!rc && strcmp(ret->run, run) != 0) rc = no_such(&items, id, err);
    return rc;
}

int eval_items_list(struct catalog *c, const char *run, const char *status, const struct page *page,
                    struct arena *mem, struct eval_output_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "run = ?", v_z(run));
    if (status) where_add(&w, "status = ?", v_z(status));
    int rc = store_list(c, &items, &w, page, mem, &out, err);
    if (!rc) *ret = (struct eval_output_list){out.rows, out.count, out.has_more};
    return rc;
}

static int count_in(struct catalog *c, const char *run, const struct eval_counts *counts,
                    struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < counts->tally_count; i++) {
        const struct eval_tally *t = &counts->tallies[i];
        rc = db_run(
            &c->writer,
            "INSERT INTO eval_tally(run, number, criterion, passed, failed) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "passed = passed + excluded.passed, failed = failed + excluded.failed",
            VALS(v_z(run), v_i(t->number), v_z(t->criterion), v_i(t->passed), v_i(t->failed)), err);
    }
    for (size_t i = 0; !rc && i < counts->usage_count; i++) {
        const struct eval_usage *u = &counts->usages[i];
        rc = db_run(&c->writer,
                    "INSERT INTO eval_usage(run, model, calls, prompt, completion, cached) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "calls = calls + excluded.calls, prompt = prompt + excluded.prompt, "
                    "completion = completion + excluded.completion, "
                    "cached = cached + excluded.cached",
                    VALS(v_z(run), v_z(u->model), v_i(u->calls), v_i(u->prompt_tokens),
                         v_i(u->completion_tokens), v_i(u->cached_tokens)),
                    err);
    }
    return rc;
}

static int item_in(struct catalog *c, const struct eval_output *new, struct err *err) {
    char id[ID_SIZE];
    int64_t seq;
    bool there = false;
    int rc = db_i64(&c->writer, "SELECT seq FROM eval_item WHERE run = ? AND place = ?",
                    VALS(v_z(new->run), v_i(new->number + 1)), &seq, &there, err);
    if (!rc && there)
        return err_set(err, ERR_CONFLICT, "row %lld of eval run \"%s\" has an item",
                       (long long)new->number, new->run);
    if (rc) return rc;
    id_new("outputitem_", id);
    return db_run(&c->writer,
                  "INSERT INTO eval_item(id, created_at, run, place, status, item, results, "
                  "sample) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                  VALS(v_z(new->id ? new->id : id),
                       v_i(new->created_at ? new->created_at : clock_unix()), v_z(new->run),
                       v_i(new->number + 1), v_z(new->status), v_z(new->item), v_z(new->results),
                       v_z(new->sample)),
                  err);
}

static int add_in(struct catalog *c, const struct eval_output *new,
                  const struct eval_counts *counts, struct err *err) {
    bool pass = strcmp(new->status, "pass") == 0, fail = strcmp(new->status, "fail") == 0;
    int rc = db_run(&c->writer,
                    "UPDATE eval_run SET passed = passed + ?, failed = failed + ?, "
                    "errored = errored + ? WHERE id = ? AND status = 'in_progress'",
                    VALS(v_i(pass), v_i(fail), v_i(!pass && !fail), v_z(new->run)), err);
    if (!rc && db_changes(&c->writer) == 0)
        return err_set(err, ERR_CANCELLED, "eval run \"%s\" does not go on", new->run);
    if (!rc) rc = item_in(c, new, err);
    return rc ? rc : count_in(c, new->run, counts, err);
}

int eval_items_add(struct catalog *c, const struct eval_output *new,
                   const struct eval_counts *counts, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    return store_write_end(c, add_in(c, new, counts, err), err);
}

static int import_in(struct catalog *c, const struct eval_run *run, const struct eval_output *list,
                     size_t count, const struct eval_counts *counts, struct err *err) {
    struct arena mem;
    struct eval_run made;
    arena_init(&mem, (size_t)1 << 30);
    int rc = run_in(c, run, &mem, &made, err);
    for (size_t i = 0; !rc && i < count; i++) {
        struct eval_output item = list[i];
        item.run = made.id;
        rc = item_in(c, &item, err);
    }
    if (!rc)
        rc = db_run(&c->writer,
                    "UPDATE eval_run SET passed = ?, failed = ?, errored = ? WHERE id = ?",
                    VALS(v_i(run->passed), v_i(run->failed), v_i(run->errored), v_z(made.id)), err);
    if (!rc) rc = count_in(c, made.id, counts, err);
    arena_release(&mem);
    return rc;
}

int eval_runs_import(struct catalog *c, const struct eval_run *run, const struct eval_output *list,
                     size_t count, const struct eval_counts *counts, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    return store_write_end(c, import_in(c, run, list, count, counts, err), err);
}

int eval_items_done(struct catalog *c, const char *run, bool *done, int64_t total,
                    struct err *err) {
    sqlite3_stmt *st = NULL;
    int rc = store_read_begin(c, err), more = 0;
    if (rc) return rc;
    rc = db_prepare(&c->reader, "SELECT place - 1 FROM eval_item WHERE run = ?", VALS(v_z(run)),
                    &st, err);
    while (!rc && (more = db_step(&c->reader, st, err)) > 0) {
        int64_t i = col_i64(st, 0);
        if (i >= 0 && i < total) done[i] = true;
    }
    if (!rc && more < 0) rc = more;
    sqlite3_finalize(st);
    return store_read_end(c, rc, err);
}
