#include "store/batches.h"

#include "base/clock.h"
#include "store/store_int.h"

#include <stdio.h>

static void read_batch(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct batch *)row = (struct batch){.id = col_z(st, 0, mem),
                                          .status = col_z(st, 1, mem),
                                          .endpoint = col_z(st, 2, mem),
                                          .completion_window = col_z(st, 3, mem),
                                          .input_file = col_z(st, 4, mem),
                                          .model = col_z(st, 5, mem),
                                          .output_file = col_z(st, 6, mem),
                                          .error_file = col_z(st, 7, mem),
                                          .errors = col_z(st, 8, mem),
                                          .usage = col_z(st, 9, mem),
                                          .metadata = col_z(st, 10, mem),
                                          .total = col_i64(st, 11),
                                          .completed = col_i64(st, 12),
                                          .failed = col_i64(st, 13),
                                          .output_expires_after = col_i64(st, 14),
                                          .created_at = col_i64(st, 15),
                                          .in_progress_at = col_i64(st, 16),
                                          .expires_at = col_i64(st, 17),
                                          .finalizing_at = col_i64(st, 18),
                                          .completed_at = col_i64(st, 19),
                                          .failed_at = col_i64(st, 20),
                                          .expired_at = col_i64(st, 21),
                                          .cancelling_at = col_i64(st, 22),
                                          .cancelled_at = col_i64(st, 23)};
}
static const struct table batches = {
    .name = "batch",
    .columns = "id, status, endpoint, completion_window, input_file, model, output_file, "
               "error_file, errors, usage, metadata, total, completed, failed, "
               "output_expires_after, created_at, in_progress_at, expires_at, finalizing_at, "
               "completed_at, failed_at, expired_at, cancelling_at, cancelled_at",
    .what = "batch",
    .row_size = sizeof(struct batch),
    .read = read_batch};

int batches_add(struct catalog *c, const struct batch *new, struct arena *mem, struct batch *ret,
                struct err *err) {
    char id[ID_SIZE];
    struct stored_file file;
    id_new("batch_", id);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = files_get_in(&c->writer, new->input_file, mem, &file, err);
    if (!rc)
        rc = db_run(&c->writer,
                    "INSERT INTO batch(id, created_at, endpoint, completion_window, input_file, "
                    "status, metadata, output_expires_after, expires_at) "
                    "VALUES (?, ?, ?, ?, ?, 'validating', ?, ?, ?)",
                    VALS(v_z(id), v_i(clock_unix()), v_z(new->endpoint),
                         v_z(new->completion_window), v_z(new->input_file), v_z(new->metadata),
                         v_time(new->output_expires_after), v_time(new->expires_at)),
                    err);
    if (!rc) rc = table_get(&c->writer, &batches, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int batches_get(struct catalog *c, const char *id, struct arena *mem, struct batch *ret,
                struct err *err) {
    return store_get(c, &batches, id, mem, ret, err);
}

int batches_list(struct catalog *c, const struct page *page, struct arena *mem,
                 struct batch_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &batches, &w, page, mem, &out, err);
    if (!rc) *ret = (struct batch_list){out.rows, out.count, out.has_more};
    return rc;
}

int batches_oldest(struct catalog *c, const char *status, struct arena *mem, struct batch *ret,
                   bool *ret_found, struct err *err) {
    struct where w;
    struct list_out out = {0};
    where_init(&w);
    where_add(&w, "status = ?", v_z(status));
    int rc =
        store_list(c, &batches, &w, &(struct page){.limit = 1, .ascending = true}, mem, &out, err);
    *ret_found = !rc && out.count == 1;
    if (*ret_found) *ret = *(const struct batch *)out.rows;
    return rc;
}

/* --- states --- */

static const struct {
    const char *status, *event; /* event NULL: no webhook */
} states[] = {{"validating", NULL},
              {"in_progress", NULL},
              {"finalizing", NULL},
              {"cancelling", NULL},
              {"completed", "batch.completed"},
              {"failed", "batch.failed"},
              {"expired", "batch.expired"},
              {"cancelled", "batch.cancelled"}};
#define STATE_COUNT (sizeof states / sizeof *states)

static int put_status(struct catalog *c, const char *id, const char *status, struct err *err) {
    char sql[96];
    size_t s = 0;
    while (s < STATE_COUNT && strcmp(states[s].status, status) != 0) s++;
    if (s == 0 || s == STATE_COUNT)
        return err_set(err, ERR_INTERNAL, "a batch does not become \"%s\"", status);
    snprintf(sql, sizeof sql, "UPDATE batch SET status = ?, %s_at = ? WHERE id = ?",
             states[s].status);
    int rc = db_run(&c->writer, sql, VALS(v_z(status), v_i(clock_unix()), v_z(id)), err);
    return rc || !states[s].event ? rc : outbox_emit(c, states[s].event, id, err);
}

static int cancel_in(struct catalog *c, const char *id, struct arena *mem, struct batch *ret,
                     struct err *err) {
    int rc = table_get(&c->writer, &batches, id, mem, ret, err);
    if (rc) return rc;
    if (strcmp(ret->status, "validating") != 0 && strcmp(ret->status, "in_progress") != 0)
        return err_set(err, ERR_CONFLICT, "batch \"%s\" is %s, so it cannot be cancelled", id,
                       ret->status);
    rc = put_status(c, id, "cancelling", err);
    return rc ? rc : table_get(&c->writer, &batches, id, mem, ret, err);
}

int batches_cancel(struct catalog *c, const char *id, struct arena *mem, struct batch *ret,
                   struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    return store_write_end(c, cancel_in(c, id, mem, ret, err), err);
}

static int put_made(struct catalog *c, const char *id, const struct batch_made *made,
                    const char *sql, struct err *err) {
    char file[ID_SIZE];
    if (!made->w) return 0;
    int rc = files_insert(c, &made->file, made->w, file, err);
    return rc ? rc : db_run(&c->writer, sql, VALS(v_z(file), v_z(id)), err);
}

static int update_in(struct catalog *c, const char *id, const struct batch_update *u,
                     struct err *err) {
    int rc = db_run(&c->writer,
                    "UPDATE batch SET total = ?, completed = ?, failed = ?, "
                    "model = coalesce(?, model), errors = coalesce(?, errors), "
                    "usage = coalesce(?, usage) WHERE id = ? AND status = ?",
                    VALS(v_i(u->total), v_i(u->completed), v_i(u->failed), v_z(u->model),
                         v_z(u->errors), v_z(u->usage), v_z(id), v_z(u->from)),
                    err);
    if (!rc &&
        db_changes(&c->writer) == 0) /* before the files are placed, which may be done once */
        rc = err_set(err, ERR_CANCELLED, "batch \"%s\" is not %s any more", id, u->from);
    if (!rc) rc = put_made(c, id, &u->output, "UPDATE batch SET output_file = ? WHERE id = ?", err);
    if (!rc) rc = put_made(c, id, &u->error, "UPDATE batch SET error_file = ? WHERE id = ?", err);
    return rc;
}

int batches_update(struct catalog *c, const char *id, const struct batch_update *u,
                   struct err *err) {
    int rc = u->output.w ? blob_writer_finish(u->output.w, err) : 0;
    if (!rc && u->error.w) rc = blob_writer_finish(u->error.w, err);
    if (!rc) rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = update_in(c, id, u, err);
    if (!rc && strcmp(u->from, u->to) != 0) rc = put_status(c, id, u->to, err);
    return store_write_end(c, rc, err);
}
