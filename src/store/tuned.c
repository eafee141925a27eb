#include "store/tuned.h"

#include "base/clock.h"
#include "store/store_int.h"

static void read_model(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct tuned_model *)row = (struct tuned_model){.name = col_z(st, 0, mem),
                                                      .created_at = col_i64(st, 1),
                                                      .kind = col_z(st, 2, mem),
                                                      .base = col_z(st, 3, mem),
                                                      .adapter = col_z(st, 4, mem),
                                                      .job = col_z(st, 5, mem),
                                                      .parent = col_z(st, 6, mem),
                                                      .step = col_i64(st, 7)};
}
static const struct table models = {.name = "model",
                                    .columns =
                                        "id, created_at, kind, base, adapter, job, parent, step",
                                    .what = "tuned model",
                                    .row_size = sizeof(struct tuned_model),
                                    .read = read_model};

int tuned_insert(struct catalog *c, const struct tuned_model *new, struct err *err) {
    return db_run(&c->writer,
                  "INSERT INTO model(id, created_at, kind, base, adapter, job, parent, step) "
                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                  VALS(v_z(new->name), v_i(new->created_at ? new->created_at : clock_unix()),
                       v_z(new->kind), v_z(new->base), v_z(new->adapter), v_z(new->job),
                       v_z(new->parent), v_time(new->step)),
                  err);
}

int tuned_add(struct catalog *c, const struct tuned_model *new, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = tuned_insert(c, new, err);
    if (rc == ERR_CONFLICT)
        err_set(err, rc, "there is a model named \"%.200s\" already", new->name);
    return store_write_end(c, rc, err);
}

int tuned_get(struct catalog *c, const char *name, struct arena *mem, struct tuned_model *ret,
              struct err *err) {
    return store_get(c, &models, name, mem, ret, err);
}

int tuned_list(struct catalog *c, struct arena *mem, struct tuned_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &models, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct tuned_list){out.rows, out.count};
    return rc;
}

int tuned_delete(struct catalog *c, const char *name, struct arena *mem, struct tuned_list *ret,
                 struct err *err) {
    struct where w;
    struct list_out out = {0};
    where_init(&w);
    where_add(&w, "? IN (id, parent)", v_z(name));
    int rc = store_write_begin(c, err);
    if (!rc) {
        rc = table_list(&c->writer, &models, &w, &page_all, mem, &out, err);
        if (!rc && out.count == 0) rc = no_such(&models, name, err);
        if (!rc)
            rc = db_run(&c->writer, "DELETE FROM model WHERE ? IN (id, parent)", VALS(v_z(name)),
                        err);
        rc = store_write_end(c, rc, err);
    }
    where_release(&w);
    if (!rc) *ret = (struct tuned_list){out.rows, out.count};
    return rc;
}
