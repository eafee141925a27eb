#include "store/files.h"

#include "base/clock.h"
#include "store/store_int.h"

static void read_file(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct stored_file *)row = (struct stored_file){.id = col_z(st, 0, mem),
                                                      .created_at = col_i64(st, 1),
                                                      .bytes = col_i64(st, 2),
                                                      .filename = col_z(st, 3, mem),
                                                      .purpose = col_z(st, 4, mem),
                                                      .status = col_z(st, 5, mem),
                                                      .status_details = col_z(st, 6, mem),
                                                      .expires_at = col_i64(st, 7),
                                                      .blob = col_z(st, 8, mem)};
}
static const struct table files = {
    .name = "file",
    .columns = "id, created_at, bytes, filename, purpose, status, status_details, expires_at, blob",
    .what = "file",
    .row_size = sizeof(struct stored_file),
    .read = read_file};

int files_insert(struct catalog *c, const struct stored_file *new, struct blob_writer *w,
                 char id[ID_SIZE], struct err *err) {
    id_new("file-", id);
    int rc = blob_place(c, w, err);
    if (rc) return rc;
    return db_run(&c->writer,
                  "INSERT INTO file(id, created_at, bytes, filename, purpose, status, "
                  "status_details, expires_at, blob) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                  VALS(v_z(id), v_i(new->created_at ? new->created_at : clock_unix()),
                       v_i(blob_writer_bytes(w)), v_z(new->filename), v_z(new->purpose),
                       v_z(new->status ? new->status : "processed"), v_z(new->status_details),
                       v_time(new->expires_at), v_z(blob_writer_sha256(w))),
                  err);
}

int files_get_in(struct db *db, const char *id, struct arena *mem, struct stored_file *ret,
                 struct err *err) {
    return table_get(db, &files, id, mem, ret, err);
}

int files_add(struct catalog *c, const struct stored_file *new, struct blob_writer *w,
              struct arena *mem, struct stored_file *ret, struct err *err) {
    char id[ID_SIZE];
    int rc = blob_writer_finish(w, err);
    if (!rc) rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = files_insert(c, new, w, id, err);
    if (!rc) rc = files_get_in(&c->writer, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int files_get(struct catalog *c, const char *id, struct arena *mem, struct stored_file *ret,
              struct err *err) {
    struct stored_file f;
    int rc = store_get(c, &files, id, mem, &f, err);
    if (!rc && f.expires_at && f.expires_at <= clock_unix()) rc = no_such(&files, id, err);
    if (!rc) *ret = f;
    return rc;
}

int files_list(struct catalog *c, const char *purpose, const struct page *page, struct arena *mem,
               struct file_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    if (purpose) where_add(&w, "purpose = ?", v_z(purpose));
    where_add(&w, "(expires_at IS NULL OR expires_at > ?)", v_i(clock_unix()));
    int rc = store_list(c, &files, &w, page, mem, &out, err);
    if (!rc) *ret = (struct file_list){out.rows, out.count, out.has_more};
    return rc;
}

int files_delete(struct catalog *c, const char *id, struct err *err) {
    struct stored_file f;
    struct arena mem;
    arena_init(&mem, 1 << 16);
    int rc = store_write_begin(c, err);
    if (!rc) {
        rc = table_get(&c->writer, &files, id, &mem, &f, err);
        if (!rc) rc = db_run(&c->writer, "DELETE FROM file WHERE id = ?", VALS(v_z(id)), err);
        rc = store_write_end(c, rc, err);
    }
    if (!rc) blob_drop(c, f.blob);
    arena_release(&mem);
    return rc;
}

int files_expire(struct catalog *c, int64_t now, struct err *err) {
    struct arena mem;
    struct list_out out = {0};
    int rc = 0;
    do {
        struct where w;
        arena_init(&mem, 1 << 20);
        where_init(&w);
        where_add(&w, "expires_at <= ?", v_i(now));
        rc = store_list(c, &files, &w, &(struct page){.limit = 256}, &mem, &out, err);
        const struct stored_file *list = out.rows;
        for (size_t i = 0; !rc && i < out.count; i++) {
            rc = files_delete(c, list[i].id, err);
            if (rc == ERR_NOT_FOUND) rc = 0; /* by someone else */
        }
        arena_release(&mem);
    } while (!rc && out.has_more);
    return rc;
}
