#include "store/routes.h"

#include "base/clock.h"
#include "store/store_int.h"

static void read_route(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct route *)row = (struct route){.name = col_z(st, 0, mem),
                                          .target = col_z(st, 1, mem),
                                          .created_at = col_i64(st, 2),
                                          .updated_at = col_i64(st, 3)};
}
static const struct table routes = {.name = "route",
                                    .columns = "id, target, created_at, updated_at",
                                    .what = "alias",
                                    .row_size = sizeof(struct route),
                                    .read = read_route};

static int write_target(struct catalog *c, const char *name, const char *target, struct err *err) {
    if (!target) {
        int rc = db_run(&c->writer, "DELETE FROM route WHERE id = ?", VALS(v_z(name)), err);
        return rc ? rc
                  : db_run(&c->writer, "DELETE FROM fallback WHERE alias = ?", VALS(v_z(name)),
                           err);
    }
    return db_run(&c->writer,
                  "INSERT INTO route(id, target, created_at, updated_at, logged) "
                  "VALUES (?, ?, ?, ?, 1) ON CONFLICT(id) DO UPDATE "
                  "SET target = excluded.target, updated_at = excluded.updated_at, logged = 1",
                  VALS(v_z(name), v_z(target), v_i(clock_unix()), v_i(clock_unix())), err);
}

int routes_move(struct catalog *c, const char *name, const char *target, bool back,
                const struct audit_cause *cause, struct err *err) {
    struct arena mem;
    struct route old = {0};
    arena_init(&mem, 1 << 16);
    int rc = table_get(&c->writer, &routes, name, &mem, &old, err);
    if (rc == ERR_NOT_FOUND && target) rc = 0;
    if (!rc) rc = splits_alias_moves(c, name, cause, err);
    if (!rc) rc = write_target(c, name, target, err);
    if (!rc) {
        json_t *data = json_object();
        if (old.target) json_object_set_new(data, "from", json_string(old.target));
        if (target) json_object_set_new(data, "to", json_string(target));
        const char *kind = !target ? "route.removed" : back ? "route.back" : "route.set";
        rc = audit_append(c, kind, name, data, cause, err);
        json_decref(data);
    }
    arena_release(&mem);
    return rc;
}

int routes_set(struct catalog *c, const char *name, const char *target,
               const struct audit_cause *cause, struct err *err) {
    int rc = store_write_begin(c, err);
    return rc ? rc : store_write_end(c, routes_move(c, name, target, false, cause, err), err);
}

int routes_get_in(struct db *db, const char *name, struct arena *mem, struct route *ret,
                  struct err *err) {
    return table_get(db, &routes, name, mem, ret, err);
}

int routes_get(struct catalog *c, const char *name, struct arena *mem, struct route *ret,
               struct err *err) {
    return store_get(c, &routes, name, mem, ret, err);
}

int routes_list(struct catalog *c, struct arena *mem, struct route_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &routes, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct route_list){out.rows, out.count};
    return rc;
}

int routes_delete(struct catalog *c, const char *name, const struct audit_cause *cause,
                  struct err *err) {
    int rc = store_write_begin(c, err);
    return rc ? rc : store_write_end(c, routes_move(c, name, NULL, false, cause, err), err);
}
