#include "store/completions.h"

#include "base/clock.h"
#include "store/store_int.h"

static void read_completion(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct stored_completion *)row = (struct stored_completion){.id = col_z(st, 0, mem),
                                                                  .created_at = col_i64(st, 1),
                                                                  .model = col_z(st, 2, mem),
                                                                  .request = col_z(st, 3, mem),
                                                                  .response = col_z(st, 4, mem),
                                                                  .metadata = col_z(st, 5, mem)};
}
static const struct table completions = {.name = "completion",
                                         .columns =
                                             "id, created_at, model, request, response, metadata",
                                         .what = "stored completion",
                                         .row_size = sizeof(struct stored_completion),
                                         .read = read_completion};

int completions_add(struct catalog *c, const struct stored_completion *new, struct err *err) {
    return store_change(c, &completions, new->id,
                        "INSERT INTO completion(id, created_at, model, request, response, "
                        "metadata) VALUES (?, ?, ?, ?, ?, ?)",
                        VALS(v_z(new->id), v_i(new->created_at ? new->created_at : clock_unix()),
                             v_z(new->model), v_z(new->request), v_z(new->response),
                             v_z(new->metadata)),
                        err);
}

int completions_get(struct catalog *c, const char *id, struct arena *mem,
                    struct stored_completion *ret, struct err *err) {
    return store_get(c, &completions, id, mem, ret, err);
}

int completions_list(struct catalog *c, const struct completion_filter *filter,
                     const struct page *page, struct arena *mem, struct completion_list *ret,
                     struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    if (filter->model) where_add(&w, "model = ?", v_z(filter->model));
    where_meta(&w, filter->metadata, filter->metadata_count);
    int rc = store_list(c, &completions, &w, page, mem, &out, err);
    if (!rc) *ret = (struct completion_list){out.rows, out.count, out.has_more};
    return rc;
}

int completions_set_metadata(struct catalog *c, const char *id, const char *metadata,
                             struct err *err) {
    return store_change(c, &completions, id, "UPDATE completion SET metadata = ? WHERE id = ?",
                        VALS(v_z(metadata), v_z(id)), err);
}

int completions_delete(struct catalog *c, const char *id, struct err *err) {
    return store_change(c, &completions, id, "DELETE FROM completion WHERE id = ?", VALS(v_z(id)),
                        err);
}

/* --- what people say of them --- */

static void read_feedback(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct feedback *)row =
        (struct feedback){.id = col_z(st, 0, mem),
                          .created_at = col_i64(st, 1),
                          .completion = col_z(st, 2, mem),
                          .has_score = sqlite3_column_type(st, 3) != SQLITE_NULL,
                          .score = sqlite3_column_double(st, 3),
                          .correction = col_z(st, 4, mem),
                          .comment = col_z(st, 5, mem)};
}
static const struct table feedbacks = {.name = "feedback",
                                       .columns =
                                           "id, created_at, completion, score, correction, comment",
                                       .what = "feedback",
                                       .row_size = sizeof(struct feedback),
                                       .read = read_feedback};

int feedback_add(struct catalog *c, const struct feedback *new, struct arena *mem,
                 struct feedback *ret, struct err *err) {
    char id[ID_SIZE];
    struct stored_completion of;
    struct val score = new->has_score ? v_d(new->score) : v_z(NULL);
    id_new("fb_", id);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = table_get(&c->writer, &completions, new->completion, mem, &of, err);
    if (!rc)
        rc = db_run(&c->writer,
                    "INSERT INTO feedback(id, created_at, completion, score, correction, comment) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    VALS(v_z(id), v_i(clock_unix()), v_z(new->completion), score,
                         v_z(new->correction), v_z(new->comment)),
                    err);
    if (!rc) rc = table_get(&c->writer, &feedbacks, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int feedback_list(struct catalog *c, const char *completion, struct arena *mem,
                  struct feedback_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "completion = ?", v_z(completion));
    int rc = store_list(c, &feedbacks, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct feedback_list){out.rows, out.count};
    return rc;
}
