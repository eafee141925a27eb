#include "store/requests.h"

#include "base/clock.h"
#include "store/store_int.h"

#include <math.h>

#define DROP_MAX 5000 /* rows of a transaction */

/* --- writing --- */

static int add_one(struct catalog *c, const struct logged_request *r, struct err *err) {
    return db_run(&c->writer,
                  "INSERT INTO request(at_ms, model, alias, key, completion, finish, status, "
                  "prompt_tokens, completion_tokens, cached_tokens, first_ms, total_ms, language, "
                  "topic, refusal, format, prompt, answer) "
                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                  VALS(v_i(r->at_ms), v_z(r->model), v_z(r->alias), v_z(r->key), v_z(r->completion),
                       v_z(r->finish), v_i(r->status), v_i(r->prompt_tokens),
                       v_i(r->completion_tokens), v_i(r->cached_tokens), v_d(r->first_ms),
                       v_d(r->total_ms), v_i(r->language), v_i(r->topic), v_i(r->refusal),
                       v_i(r->format), v_z(r->prompt), v_z(r->answer)),
                  err);
}

/* Rows by number first: they are in the order of time, but for clocks that were set back. */
static int drop_old(struct catalog *c, const struct request_limits *keep, struct err *err) {
    int rc = db_run(&c->writer,
                    "DELETE FROM request WHERE seq IN (SELECT seq FROM request WHERE seq <= "
                    "(SELECT max(seq) FROM request) - ? ORDER BY seq LIMIT ?)",
                    VALS(v_i(keep->rows_max), v_i(DROP_MAX)), err);
    if (rc) return rc;
    return db_run(&c->writer,
                  "DELETE FROM request WHERE seq IN (SELECT seq FROM request WHERE at_ms < ? "
                  "ORDER BY at_ms LIMIT ?)",
                  VALS(v_i(keep->oldest_ms), v_i(DROP_MAX)), err);
}

int requests_add(struct catalog *c, const struct logged_request *list, size_t count,
                 const struct request_limits *keep, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    for (size_t i = 0; !rc && i < count; i++) rc = add_one(c, &list[i], err);
    if (!rc) rc = drop_old(c, keep, err);
    return store_write_end(c, rc, err);
}

/* --- reading --- */

#define FROM_RANGE                                                                                 \
    " FROM request r WHERE model = ?1 AND seq >= "                                                 \
    "coalesce((SELECT min(seq) FROM request WHERE model = ?1 AND at_ms >= ?2), 1 << 62) "          \
    "AND (?3 = 0 OR at_ms < ?3)"

static void read_request(sqlite3_stmt *st, struct arena *mem, struct logged_request *r) {
    int i = 0;
    r->seq = col_i64(st, i++);
    r->at_ms = col_i64(st, i++);
    r->model = col_z(st, i++, mem);
    r->alias = col_z(st, i++, mem);
    r->key = col_z(st, i++, mem);
    r->completion = col_z(st, i++, mem);
    r->finish = col_z(st, i++, mem);
    r->status = col_i64(st, i++);
    r->prompt_tokens = col_i64(st, i++);
    r->completion_tokens = col_i64(st, i++);
    r->cached_tokens = col_i64(st, i++);
    r->first_ms = sqlite3_column_double(st, i++);
    r->total_ms = sqlite3_column_double(st, i++);
    r->language = col_i64(st, i++);
    r->topic = col_i64(st, i++);
    r->refusal = col_i64(st, i++);
    r->format = col_i64(st, i++);
    r->prompt = col_z(st, i++, mem);
    r->answer = col_z(st, i++, mem);
    r->has_score = sqlite3_column_type(st, i) != SQLITE_NULL;
    r->score = sqlite3_column_double(st, i);
}

int requests_list(struct catalog *c, const struct request_range *r, struct arena *mem,
                  struct request_rows *ret, struct err *err) {
    struct logged_request *list = arena_array(mem, (size_t)r->limit, sizeof *list);
    sqlite3_stmt *st = NULL;
    *ret = (struct request_rows){list, 0};
    if (!list) return arena_checked(mem, err);
    int rc = store_read_begin(c, err), more;
    if (rc) return rc;
    rc = db_prepare(
        &c->reader,
        "SELECT seq, at_ms, model, alias, key, completion, finish, status, prompt_tokens, "
        "completion_tokens, cached_tokens, first_ms, total_ms, language, topic, refusal, format, "
        "prompt, answer, (SELECT score FROM feedback f WHERE f.completion = r.completion AND "
        "score IS NOT NULL ORDER BY f.seq DESC LIMIT 1)" FROM_RANGE
        " ORDER BY seq LIMIT ?4 OFFSET ?5",
        VALS(v_z(r->model), v_i(r->from_ms), v_i(r->to_ms), v_i(r->limit), v_i(r->skip)), &st, err);
    while (!rc && (more = db_step(&c->reader, st, err)) != 0) {
        if (more < 0) rc = more;
        if (!rc) read_request(st, mem, &list[ret->count++]);
        if (!rc) rc = arena_checked(mem, err);
    }
    sqlite3_finalize(st);
    return store_read_end(c, rc, err);
}

int requests_count(struct catalog *c, const struct request_range *r, int64_t *ret,
                   struct err *err) {
    bool found;
    *ret = 0;
    int rc = store_read_begin(c, err);
    if (rc) return rc;
    rc = db_i64(&c->reader, "SELECT count(*)" FROM_RANGE,
                VALS(v_z(r->model), v_i(r->from_ms), v_i(r->to_ms)), ret, &found, err);
    return store_read_end(c, rc, err);
}

/* --- sums --- */

int requests_usage(struct catalog *c, const char *model, int64_t since_ms, struct arena *mem,
                   struct usage_list *ret, struct err *err) {
    sqlite3_stmt *st = NULL;
    int64_t groups = 0;
    bool found;
    *ret = (struct usage_list){0};
    int rc = store_read_begin(c, err), more;
    if (rc) return rc;
    rc = db_i64(&c->reader,
                "SELECT count(*) FROM (SELECT 1 FROM request WHERE at_ms >= ? GROUP BY model, key)",
                VALS(v_i(since_ms)), &groups, &found, err);
    if (!rc) ret->list = arena_array(mem, (size_t)groups, sizeof *ret->list);
    if (!rc && !ret->list) rc = arena_checked(mem, err);
    if (!rc)
        rc = db_prepare(&c->reader,
                        "SELECT model, key, count(*), sum(status >= 400 AND status <> 499), "
                        "sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens) "
                        "FROM request WHERE at_ms >= ?1 AND (?2 IS NULL OR model = ?2) "
                        "GROUP BY model, key ORDER BY model, key",
                        VALS(v_i(since_ms), v_z(model)), &st, err);
    while (!rc && (more = db_step(&c->reader, st, err)) != 0) {
        if (more < 0) rc = more;
        if (rc) break;
        ret->list[ret->count++] = (struct request_usage){.model = col_z(st, 0, mem),
                                                         .key = col_z(st, 1, mem),
                                                         .requests = col_i64(st, 2),
                                                         .failed = col_i64(st, 3),
                                                         .prompt_tokens = col_i64(st, 4),
                                                         .completion_tokens = col_i64(st, 5),
                                                         .cached_tokens = col_i64(st, 6)};
        rc = arena_checked(mem, err);
    }
    sqlite3_finalize(st);
    return store_read_end(c, rc, err);
}

/* microseconds of the k-th, as db_i64 reads whole numbers */
static int quantile(struct db *db, const char *model, int64_t since_ms, enum request_time which,
                    double q, double *ret, struct err *err) {
    static const char *const counts[] = {
        "SELECT count(*) FROM request WHERE model = ? AND at_ms >= ? AND status = 200 AND "
        "first_ms > 0",
        "SELECT count(*) FROM request WHERE model = ? AND at_ms >= ? AND status = 200"};
    static const char *const values[] = {
        "SELECT CAST(first_ms * 1000 AS INTEGER) FROM request WHERE model = ? AND at_ms >= ? AND "
        "status = 200 AND first_ms > 0 ORDER BY first_ms LIMIT 1 OFFSET ?",
        "SELECT CAST(total_ms * 1000 AS INTEGER) FROM request WHERE model = ? AND at_ms >= ? AND "
        "status = 200 ORDER BY total_ms LIMIT 1 OFFSET ?"};
    int64_t count = 0, micros = 0;
    bool found;
    int rc = db_i64(db, counts[which], VALS(v_z(model), v_i(since_ms)), &count, &found, err);
    *ret = NAN;
    if (rc || !count) return rc;
    int64_t rank = (int64_t)ceil(q * (double)count);
    rc = db_i64(db, values[which], VALS(v_z(model), v_i(since_ms), v_i(rank > 0 ? rank - 1 : 0)),
                &micros, &found, err);
    if (!rc && found) *ret = (double)micros / 1000;
    return rc;
}

int requests_quantile(struct catalog *c, const char *model, int64_t since_ms,
                      enum request_time which, double q, double *ret, struct err *err) {
    int rc = store_read_begin(c, err);
    if (rc) return rc;
    rc = quantile(&c->reader, model, since_ms, which, q, ret, err);
    return store_read_end(c, rc, err);
}

/* --- standing alarms --- */

/* All that stand are written anew with a mark; those without it stand no more. */
static int alarms_write(struct catalog *c, const char *model, const struct drift_alarm *list,
                        size_t count, int64_t *ret_new, struct err *err) {
    int rc = db_run(&c->writer, "UPDATE drift_alarm SET stands = 0 WHERE model = ?",
                    VALS(v_z(model)), err);
    for (size_t i = 0; !rc && i < count; i++) {
        const struct drift_alarm *a = &list[i];
        rc = db_run(&c->writer,
                    "UPDATE drift_alarm SET stands = 1, p = ?, psi = ? WHERE model = ? AND "
                    "stream = ?",
                    VALS(v_d(a->p), v_d(a->psi), v_z(model), v_z(a->stream)), err);
        if (rc || db_changes(&c->writer) > 0) continue;
        char id[ID_SIZE];
        id_new("drift_", id);
        rc = db_run(&c->writer,
                    "INSERT INTO drift_alarm(id, at, model, stream, p, psi, stands) "
                    "VALUES (?, ?, ?, ?, ?, ?, 1)",
                    VALS(v_z(id), v_i(a->at ? a->at : clock_unix()), v_z(model), v_z(a->stream),
                         v_d(a->p), v_d(a->psi)),
                    err);
        ++*ret_new;
    }
    if (!rc)
        rc = db_run(&c->writer, "DELETE FROM drift_alarm WHERE model = ? AND stands = 0",
                    VALS(v_z(model)), err);
    return rc;
}

int alarms_set(struct catalog *c, const char *model, const struct drift_alarm *list, size_t count,
               int64_t *ret_new, struct err *err) {
    *ret_new = 0;
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = alarms_write(c, model, list, count, ret_new, err);
    if (!rc && *ret_new) rc = outbox_emit(c, "attune.drift", model, err);
    return store_write_end(c, rc, err);
}

static void read_alarm(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct drift_alarm *)row = (struct drift_alarm){.at = col_i64(st, 0),
                                                      .model = col_z(st, 1, mem),
                                                      .stream = col_z(st, 2, mem),
                                                      .p = sqlite3_column_double(st, 3),
                                                      .psi = sqlite3_column_double(st, 4)};
}
static const struct table alarms = {.name = "drift_alarm",
                                    .columns = "at, model, stream, p, psi",
                                    .what = "alarm",
                                    .row_size = sizeof(struct drift_alarm),
                                    .read = read_alarm};

int alarms_list(struct catalog *c, struct arena *mem, struct alarm_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &alarms, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct alarm_list){out.rows, out.count};
    return rc;
}
