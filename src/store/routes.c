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

int routes_set(struct catalog *c, const char *name, const char *target, struct err *err) {
    return store_change(c, &routes, name,
                        "INSERT INTO route(id, target, created_at, updated_at) "
                        "VALUES (?, ?, ?, ?) ON CONFLICT(id) DO UPDATE "
                        "SET target = excluded.target, updated_at = excluded.updated_at",
                        VALS(v_z(name), v_z(target), v_i(clock_unix()), v_i(clock_unix())), err);
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

int routes_delete(struct catalog *c, const char *name, struct err *err) {
    return store_change(c, &routes, name, "DELETE FROM route WHERE id = ?", VALS(v_z(name)), err);
}
