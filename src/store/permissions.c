#include "store/permissions.h"

#include "base/clock.h"
#include "store/store_int.h"

static void read_permission(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct permission *)row = (struct permission){.id = col_z(st, 0, mem),
                                                    .created_at = col_i64(st, 1),
                                                    .checkpoint = col_z(st, 2, mem),
                                                    .project = col_z(st, 3, mem)};
}
static const struct table permissions = {.name = "permission",
                                         .columns = "id, created_at, checkpoint, project",
                                         .what = "permission",
                                         .row_size = sizeof(struct permission),
                                         .read = read_permission};

int permissions_add(struct catalog *c, const char *checkpoint, const char *const *projects,
                    size_t count, struct arena *mem, struct permission_list *ret, struct err *err) {
    struct permission *list = arena_array(mem, count + 1, sizeof *list);
    int rc = arena_checked(mem, err);
    if (!rc) rc = store_write_begin(c, err);
    if (rc) return rc;
    for (size_t i = 0; !rc && i < count; i++) {
        char id[ID_SIZE];
        id_new("cp_", id);
        rc = db_run(&c->writer,
                    "INSERT INTO permission(id, created_at, checkpoint, project) "
                    "VALUES (?, ?, ?, ?)",
                    VALS(v_z(id), v_i(clock_unix()), v_z(checkpoint), v_z(projects[i])), err);
        if (!rc) rc = table_get(&c->writer, &permissions, id, mem, &list[i], err);
    }
    rc = store_write_end(c, rc, err);
    if (!rc) *ret = (struct permission_list){list, count, false};
    return rc;
}

int permissions_list(struct catalog *c, const char *checkpoint, const char *project,
                     const struct page *page, struct arena *mem, struct permission_list *ret,
                     struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "checkpoint = ?", v_z(checkpoint));
    if (project) where_add(&w, "project = ?", v_z(project));
    int rc = store_list(c, &permissions, &w, page, mem, &out, err);
    if (!rc) *ret = (struct permission_list){out.rows, out.count, out.has_more};
    return rc;
}

int permissions_delete(struct catalog *c, const char *checkpoint, const char *id, struct err *err) {
    return store_change(c, &permissions, id,
                        "DELETE FROM permission WHERE id = ? AND checkpoint = ?",
                        VALS(v_z(id), v_z(checkpoint)), err);
}
