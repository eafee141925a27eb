#include "store/fallbacks.h"

#include "store/store_int.h"

static int replace(struct catalog *c, const char *alias, const char *const *models, size_t count,
                   struct err *err) {
    int rc = db_run(&c->writer, "DELETE FROM fallback WHERE alias = ?", VALS(v_z(alias)), err);
    for (size_t i = 0; !rc && i < count; i++)
        rc = db_run(&c->writer, "INSERT INTO fallback(alias, place, model) VALUES (?, ?, ?)",
                    VALS(v_z(alias), v_i((int64_t)i), v_z(models[i])), err);
    return rc;
}

int fallbacks_set(struct catalog *c, const char *alias, const char *const *models, size_t count,
                  const struct audit_cause *cause, struct err *err) {
    if (count > FALLBACKS_MAX)
        return err_set(err, ERR_LIMIT, "an alias takes at most %d fallbacks", FALLBACKS_MAX);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = replace(c, alias, models, count, err);
    if (!rc) {
        json_t *data = json_object(), *list = json_array();
        for (size_t i = 0; i < count; i++) json_array_append_new(list, json_string(models[i]));
        json_object_set_new(data, "models", list);
        rc = audit_append(c, "fallbacks.set", alias, data, cause, err);
        json_decref(data);
    }
    return store_write_end(c, rc, err);
}

int fallbacks_get(struct catalog *c, const char *alias, struct arena *mem,
                  const char *ret[FALLBACKS_MAX], size_t *ret_count, struct err *err) {
    sqlite3_stmt *st = NULL;
    int got = 0, rc = store_read_begin(c, err);
    *ret_count = 0;
    if (rc) return rc;
    rc = db_prepare(&c->reader, "SELECT model FROM fallback WHERE alias = ? ORDER BY place",
                    VALS(v_z(alias)), &st, err);
    while (!rc && *ret_count < FALLBACKS_MAX && (got = db_step(&c->reader, st, err)) > 0)
        ret[(*ret_count)++] = col_z(st, 0, mem);
    sqlite3_finalize(st);
    if (!rc) rc = arena_checked(mem, err);
    return store_read_end(c, got < 0 ? got : rc, err);
}
