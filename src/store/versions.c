#include "store/versions.h"

#include "base/clock.h"
#include "store/routes.h"
#include "store/store_int.h"

#include <string.h>

#define MEM_MAX ((size_t)4 << 20)

static void read_version(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct version *)row = (struct version){.name = col_z(st, 0, mem),
                                              .created_at = col_i64(st, 1),
                                              .state = col_z(st, 2, mem),
                                              .record = col_z(st, 3, mem)};
}
static const struct table versions = {.name = "version",
                                      .columns = "id, created_at, state, record",
                                      .what = "version",
                                      .row_size = sizeof(struct version),
                                      .read = read_version};

int versions_add(struct catalog *c, const struct version *new, const struct audit_cause *cause,
                 struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "INSERT OR IGNORE INTO version(id, created_at, state, record) VALUES (?, ?, ?, ?)",
                VALS(v_z(new->name), v_i(clock_unix()), v_z(new->state), v_z(new->record)), err);
    if (!rc && db_changes(&c->writer) == 1) {
        json_t *record = NULL, *data = json_object();
        rc = json_read(str_of(new->record), "the version's record", &record, err);
        json_object_set_new(data, "state", json_string(new->state));
        json_object_set_new(data, "record", record);
        if (!rc) rc = audit_append(c, "version.added", new->name, data, cause, err);
        json_decref(data);
    }
    return store_write_end(c, rc, err);
}

int versions_get(struct catalog *c, const char *name, struct arena *mem, struct version *ret,
                 struct err *err) {
    return store_get(c, &versions, name, mem, ret, err);
}

int versions_list(struct catalog *c, struct arena *mem, struct version_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &versions, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct version_list){out.rows, out.count};
    return rc;
}

/* --- states --- */

static int check_edge(struct catalog *c, const struct version *v, const char *state,
                      struct err *err) {
    int64_t one;
    bool found = false;
    int rc = db_i64(&c->writer, "SELECT 1 FROM version_edge WHERE from_state = ? AND to_state = ?",
                    VALS(v_z(v->state), v_z(state)), &one, &found, err);
    if (!rc && !found)
        rc = err_set(err, ERR_CONFLICT, "\"%.200s\" is %s, and no way leads from there to %.40s",
                     v->name, v->state, state);
    return rc;
}

static int move_to(struct catalog *c, const struct version *v, const char *state,
                   const struct audit_cause *cause, struct err *err) {
    if (strcmp(v->state, state) == 0) return 0;
    int rc = check_edge(c, v, state, err);
    if (!rc)
        rc = db_run(&c->writer, "UPDATE version SET state = ? WHERE id = ?",
                    VALS(v_z(state), v_z(v->name)), err);
    if (rc) return rc;
    json_t *data = json_pack("{s:s, s:s}", "from", v->state, "to", state);
    rc = audit_append(c, "version.moved", v->name, data, cause, err);
    json_decref(data);
    return rc;
}

int versions_move(struct catalog *c, const char *name, const char *state,
                  const struct audit_cause *cause, struct err *err) {
    struct version v;
    struct arena mem;
    arena_init(&mem, MEM_MAX);
    int rc = store_write_begin(c, err);
    if (!rc) {
        rc = table_get(&c->writer, &versions, name, &mem, &v, err);
        if (!rc) rc = move_to(c, &v, state, cause, err);
        rc = store_write_end(c, rc, err);
    }
    arena_release(&mem);
    return rc;
}

/* --- production --- */

/* Through staging where the way leads there, so that every step is told. */
static int put_in_production(struct catalog *c, const char *name, const struct audit_cause *cause,
                             struct arena *mem, struct err *err) {
    struct version v;
    int rc = table_get(&c->writer, &versions, name, mem, &v, err);
    if (rc) return rc == ERR_NOT_FOUND ? 0 : rc; /* a base model has no version */
    if (strcmp(v.state, "evaluating") == 0 || strcmp(v.state, "archived") == 0) {
        rc = move_to(c, &v, "staging", cause, err);
        v.state = "staging";
    }
    return rc ? rc : move_to(c, &v, "production", cause, err);
}

static int retire(struct catalog *c, const char *name, const struct audit_cause *cause,
                  struct arena *mem, struct err *err) {
    struct version v;
    int64_t one;
    bool used = false;
    int rc = db_i64(&c->writer, "SELECT 1 FROM route WHERE target = ? LIMIT 1", VALS(v_z(name)),
                    &one, &used, err);
    if (rc || used) return rc;
    rc = table_get(&c->writer, &versions, name, mem, &v, err);
    if (rc == ERR_NOT_FOUND) return 0;
    if (!rc && strcmp(v.state, "production") == 0) rc = move_to(c, &v, "deprecated", cause, err);
    return rc;
}

int versions_promote_in(struct catalog *c, const char *alias, const char *target, bool back,
                        const struct audit_cause *cause, struct arena *mem, struct err *err) {
    struct route old = {0};
    int rc = routes_get_in(&c->writer, alias, mem, &old, err);
    if (rc == ERR_NOT_FOUND) rc = 0;
    if (!rc) rc = routes_move(c, alias, target, back, cause, err);
    if (!rc) rc = put_in_production(c, target, cause, mem, err);
    if (!rc && old.target) rc = retire(c, old.target, cause, mem, err);
    return rc;
}

int versions_promote(struct catalog *c, const char *alias, const char *target, bool back,
                     const struct audit_cause *cause, struct err *err) {
    struct arena mem;
    arena_init(&mem, MEM_MAX);
    int rc = store_write_begin(c, err);
    if (!rc)
        rc = store_write_end(c, versions_promote_in(c, alias, target, back, cause, &mem, err), err);
    arena_release(&mem);
    return rc;
}
