#include "store/audit.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "store/store_int.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS "seq, at_ms, kind, subject, actor, data, hash"
#define FIRST_HASH "0000000000000000000000000000000000000000000000000000000000000000"
#define EVENT_MAX ((size_t)1 << 20)

static struct audit_event read_event(sqlite3_stmt *st, struct arena *mem) {
    return (struct audit_event){.seq = col_i64(st, 0),
                                .at_ms = col_i64(st, 1),
                                .kind = col_z(st, 2, mem),
                                .subject = col_z(st, 3, mem),
                                .actor = col_z(st, 4, mem),
                                .data = col_z(st, 5, mem),
                                .hash = col_z(st, 6, mem)};
}

static void chain(const struct audit_event *e, const char *previous, char hex[SHA256_HEX + 1]) {
    struct buf b;
    buf_init(&b, EVENT_MAX);
    buf_printf(&b, "attune-audit-1\n%lld\n%lld\n%s\n%s\n%s\n%s\n%s\n", (long long)e->seq,
               (long long)e->at_ms, e->kind, e->subject, e->actor, e->data, previous);
    sha256_of(buf_view(&b), hex);
    buf_release(&b);
}

/* --- appending --- */

static char *data_of(const json_t *data, const struct audit_cause *cause) {
    json_t *all = data ? json_copy((json_t *)data) : json_object();
    if (cause->reason) json_object_set_new(all, "reason", json_string(cause->reason));
    if (cause->evidence) json_object_set_new(all, "evidence", json_string(cause->evidence));
    if (cause->override) json_object_set_new(all, "override", json_string(cause->override));
    struct buf b;
    buf_init(&b, EVENT_MAX);
    json_write(all, &b);
    json_decref(all);
    if (buf_ok(&b)) return buf_take(&b);
    buf_release(&b);
    return NULL;
}

static int last_event(struct catalog *c, struct arena *mem, struct audit_event *ret,
                      struct err *err) {
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(&c->writer, "SELECT " COLUMNS " FROM audit ORDER BY seq DESC LIMIT 1", NULL,
                        0, &st, err);
    if (rc) return rc;
    int got = db_step(&c->writer, st, err);
    if (got > 0) *ret = read_event(st, mem);
    sqlite3_finalize(st);
    return got < 0 ? got : 0;
}

int audit_append(struct catalog *c, const char *kind, const char *subject, const json_t *data,
                 const struct audit_cause *cause, struct err *err) {
    struct arena mem;
    struct audit_event last = {.hash = FIRST_HASH};
    char hash[SHA256_HEX + 1], *text = data_of(data, cause);
    if (!text) return err_set(err, ERR_LIMIT, "the reason is longer than an event may be");
    arena_init(&mem, 2 * EVENT_MAX);
    int rc = last_event(c, &mem, &last, err);
    if (!rc) {
        int64_t now = clock_unix_ms();
        struct audit_event e = {.seq = last.seq + 1,
                                .at_ms = now > last.at_ms ? now : last.at_ms,
                                .kind = kind,
                                .subject = subject,
                                .actor = cause->actor ? cause->actor : "unknown",
                                .data = text};
        chain(&e, last.hash, hash);
        rc = db_run(&c->writer, "INSERT INTO audit(" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?)",
                    VALS(v_i(e.seq), v_i(e.at_ms), v_z(kind), v_z(subject), v_z(e.actor), v_z(text),
                         v_z(hash)),
                    err);
    }
    arena_release(&mem);
    mem_free(text);
    return rc;
}

/* --- reading --- */

int audit_events(struct catalog *c, const char *subject, int64_t after, int64_t limit,
                 struct arena *mem, struct audit_list *ret, struct err *err) {
    sqlite3_stmt *st = NULL;
    struct audit_event *list = NULL;
    size_t count = 0, cap = 0;
    int got = 0, rc = store_read_begin(c, err);
    if (rc) return rc;
    rc = db_prepare(&c->reader,
                    "SELECT " COLUMNS " FROM audit WHERE seq > ?1 AND (?2 IS NULL OR subject = ?2) "
                    "ORDER BY seq LIMIT ?3",
                    VALS(v_i(after), v_z(subject), v_i(limit)), &st, err);
    while (!rc && (got = db_step(&c->reader, st, err)) > 0) {
        mem_grow((void **)&list, &cap, count + 1, sizeof *list);
        list[count++] = read_event(st, mem);
        rc = arena_checked(mem, err);
    }
    sqlite3_finalize(st);
    rc = store_read_end(c, got < 0 ? got : rc, err);
    struct audit_event *kept = rc ? NULL : arena_array(mem, count + 1, sizeof *list);
    if (kept && count) memcpy(kept, list, count * sizeof *list);
    mem_free(list);
    if (!rc) rc = arena_checked(mem, err);
    if (!rc) *ret = (struct audit_list){kept, count};
    return rc;
}

/* --- verifying --- */

static int broken(int64_t seq, const char *how, struct err *err) {
    return err_set(err, ERR_CORRUPT,
                   "event %lld of the audit log %s; what is told before it can be trusted",
                   (long long)seq, how);
}

static int verify_chain(struct catalog *c, int64_t *ret_count, struct err *err) {
    sqlite3_stmt *st = NULL;
    char previous[SHA256_HEX + 1] = FIRST_HASH, hex[SHA256_HEX + 1];
    int64_t seq = 0;
    int got = 0, rc = db_prepare(&c->reader, "SELECT " COLUMNS " FROM audit ORDER BY seq", NULL, 0,
                                 &st, err);
    while (!rc && (got = db_step(&c->reader, st, err)) > 0) {
        struct arena mem;
        arena_init(&mem, 2 * EVENT_MAX);
        struct audit_event e = read_event(st, &mem);
        rc = arena_checked(&mem, err);
        if (!rc && e.seq != ++seq) rc = broken(seq, "is missing", err);
        if (!rc) chain(&e, previous, hex);
        if (!rc && strcmp(hex, e.hash) != 0) rc = broken(seq, "was changed", err);
        memcpy(previous, hex, sizeof previous);
        arena_release(&mem);
    }
    sqlite3_finalize(st);
    *ret_count = seq;
    return got < 0 ? got : rc;
}

/* An alias that leads elsewhere than the last event of it says: the end of the log was cut off, or
 * the alias was moved behind the program's back. */
static int verify_routes(struct catalog *c, struct err *err) {
    sqlite3_stmt *st = NULL;
    struct arena mem;
    arena_init(&mem, EVENT_MAX);
    int rc = db_prepare(
        &c->reader,
        "WITH told(name, target) AS (SELECT subject, json_extract(data, '$.to') FROM audit "
        "WHERE seq IN (SELECT max(seq) FROM audit WHERE kind LIKE 'route.%' GROUP BY subject)) "
        "SELECT name FROM told WHERE target IS NOT (SELECT target FROM route WHERE id = name) "
        "UNION SELECT id FROM route WHERE logged AND id NOT IN (SELECT name FROM told)",
        NULL, 0, &st, err);
    int got = rc ? 0 : db_step(&c->reader, st, err);
    if (got > 0)
        rc = err_set(err, ERR_CORRUPT,
                     "the alias \"%.100s\" does not lead where the audit log says: the log was cut "
                     "off, or the alias was changed past it",
                     col_z(st, 0, &mem));
    sqlite3_finalize(st);
    arena_release(&mem);
    return got < 0 ? got : rc;
}

int audit_verify(struct catalog *c, int64_t *ret_count, struct err *err) {
    int rc = store_read_begin(c, err);
    if (rc) return rc;
    rc = verify_chain(c, ret_count, err);
    if (!rc) rc = verify_routes(c, err);
    return store_read_end(c, rc, err);
}
