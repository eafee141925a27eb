#include "store/store_int.h"

#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define BUSY_MS 30000
#define APPLICATION_ID 0x6174746e /* "attn" in the file's header */
#define WHERE_MAX ((size_t)1 << 14)

/* --- errors --- */

static int code_of(int sqlite) {
    switch (sqlite & 0xff) {
    case SQLITE_FULL: return ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ERR_CORRUPT;
    case SQLITE_CONSTRAINT: return ERR_CONFLICT;
    case SQLITE_TOOBIG: return ERR_LIMIT;
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_ERROR: return ERR_INTERNAL;
    default: return ERR_IO;
    }
}

static int fail(sqlite3 *handle, const char *what, struct err *err) {
    int code = handle ? sqlite3_extended_errcode(handle) : SQLITE_NOMEM;
    if ((code & 0xff) == SQLITE_BUSY)
        return err_set(err, ERR_IO, "%s: another process has held the catalog for %d s", what,
                       BUSY_MS / 1000);
    return err_set(err, code_of(code), "%s: %s", what,
                   handle ? sqlite3_errmsg(handle) : "out of memory");
}

int db_fail(struct db *db, const char *what, struct err *err) {
    return fail(db->handle, what, err);
}

/* --- opening --- */

static int exec(sqlite3 *handle, const char *sql, const char *path, struct err *err) {
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK) return 0;
    fail(handle, path, err);
    return err_wrap(err, "catalog");
}

static int pragma_i64(sqlite3 *handle, const char *sql, int64_t *ret) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &st, NULL);
    if (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) *ret = sqlite3_column_int64(st, 0);
    return rc == SQLITE_OK ? sqlite3_finalize(st) : rc;
}

static int migrate_step(sqlite3 *handle, const char *path, const char *sql, int number,
                        struct err *err) {
    char after[96];
    snprintf(after, sizeof after, "PRAGMA user_version = %d; PRAGMA application_id = %d; COMMIT",
             number, APPLICATION_ID);
    int rc = exec(handle, "BEGIN IMMEDIATE", path, err);
    if (!rc) rc = exec(handle, sql, path, err);
    if (!rc) rc = exec(handle, after, path, err);
    if (!rc) return 0;
    sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
    return err_wrap(err, "bringing the catalog to version %d", number);
}

int store_migrate(sqlite3 *handle, const char *path, const char *const *list, int count,
                  struct err *err) {
    int64_t version = 0, application = 0;
    if (pragma_i64(handle, "PRAGMA user_version", &version) != SQLITE_OK ||
        pragma_i64(handle, "PRAGMA application_id", &application) != SQLITE_OK)
        return fail(handle, path, err);
    if (version > count)
        return err_set(err, ERR_UNSUPPORTED,
                       "\"%s\" was written by a newer attune (version %lld of the catalog, this "
                       "program knows %d); use that one, or another ATTUNE_HOME",
                       path, (long long)version, count);
    if (version > 0 ? application != APPLICATION_ID : application != 0)
        return err_set(err, ERR_CORRUPT, "\"%s\" is the database of another program", path);
    int rc = 0;
    for (int i = (int)version; !rc && i < count; i++)
        rc = migrate_step(handle, path, list[i], i + 1, err);
    return rc;
}

static int connect(const char *path, struct db *db, struct err *err) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &db->handle, flags, NULL) != SQLITE_OK) {
        fail(db->handle, path, err);
        return err_wrap(err, "catalog");
    }
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return exec(db->handle,
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
                "PRAGMA trusted_schema = OFF",
                path, err);
}

/* Making and migrating is for one process at a time; SQLite's own waiting does not cover the
 * change to WAL. */
static int open_lock(const char *home, int *ret_fd, struct err *err) {
    char *path = path_join(home, "catalog.lock");
    int rc = 0, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) rc = err_sys(err, errno, "could not open \"%s\"", path);
    while (!rc && flock(fd, LOCK_EX) != 0)
        if (errno != EINTR) rc = err_sys(err, errno, "could not lock \"%s\"", path);
    mem_free(path);
    if (rc)
        file_close(fd);
    else
        *ret_fd = fd;
    return rc;
}

/* Prompts and rows are nobody else's business; SQLite's other files take the mode of this one. */
static int make_private(const char *path, struct err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return err_sys(err, errno, "could not open \"%s\"", path);
    file_close(fd);
    return 0;
}

static int open_in(struct catalog *c, struct err *err) {
    char *path = path_join(c->home, "catalog.db"), *above = path_join(c->home, "..");
    int lock = -1, rc = open_lock(c->home, &lock, err);
    bool fresh = !file_exists(path);
    if (!rc) rc = make_private(path, err);
    if (!rc) rc = connect(path, &c->writer, err);
    if (!rc)
        rc = store_migrate(c->writer.handle, path, store_migrations, store_migration_count, err);
    if (!rc) rc = connect(path, &c->reader, err);
    if (!rc) rc = exec(c->reader.handle, "PRAGMA query_only = ON", path, err);
    if (!rc && fresh) rc = dir_sync(c->home, err);
    if (!rc && fresh) rc = dir_sync(above, err);
    file_close(lock);
    mem_free(above);
    mem_free(path);
    return rc;
}

int catalog_open(const char *home, struct catalog **ret, struct err *err) {
    struct catalog *c = mem_zalloc(1, sizeof *c);
    c->home = home ? mem_strdup(home) : path_home();
    pthread_mutex_init(&c->writer.lock, NULL);
    pthread_mutex_init(&c->reader.lock, NULL);
    int rc = dir_make(c->home, err);
    if (!rc) rc = open_in(c, err);
    if (rc)
        catalog_close(c);
    else
        *ret = c;
    return rc;
}

void catalog_close(struct catalog *c) {
    if (!c) return;
    sqlite3_close(c->reader.handle);
    sqlite3_close(c->writer.handle);
    pthread_mutex_destroy(&c->reader.lock);
    pthread_mutex_destroy(&c->writer.lock);
    mem_free(c->home);
    mem_free(c);
}

const char *catalog_home(const struct catalog *c) { return c->home; }

char *catalog_path(const struct catalog *c, const char *below) { return path_join(c->home, below); }

/* --- ids --- */

void id_random(char *to, int n) {
    static const char alnum[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (int i = 0; i < n;) {
        unsigned char bytes[64];
        ssize_t got = getrandom(bytes, sizeof bytes, 0);
        assert(got > 0 || errno == EINTR);
        for (ssize_t k = 0; k < got && i < n; k++)
            if (bytes[k] < 248) to[i++] = alnum[bytes[k] % 62]; /* 248 = 4 * 62: no bias */
    }
    to[n] = '\0';
}

void id_new(const char *prefix, char ret[ID_SIZE]) {
    size_t n = strlen(prefix);
    assert(n + ID_RANDOM < ID_SIZE);
    memcpy(ret, prefix, n);
    id_random(ret + n, ID_RANDOM);
}

/* --- transactions --- */

static int begin(struct db *db, const char *sql, struct err *err) {
    pthread_mutex_lock(&db->lock);
    int rc = db_run(db, sql, NULL, 0, err);
    if (rc) pthread_mutex_unlock(&db->lock);
    return rc;
}

static int end(struct db *db, int rc, struct err *err) {
    if (!rc) rc = db_run(db, "COMMIT", NULL, 0, err);
    if (rc && !sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&db->lock);
    return rc;
}

int store_write_begin(struct catalog *c, struct err *err) {
    return begin(&c->writer, "BEGIN IMMEDIATE", err);
}
int store_write_end(struct catalog *c, int rc, struct err *err) { return end(&c->writer, rc, err); }
int store_read_begin(struct catalog *c, struct err *err) { return begin(&c->reader, "BEGIN", err); }
int store_read_end(struct catalog *c, int rc, struct err *err) { return end(&c->reader, rc, err); }

/* --- statements --- */

static int bind(sqlite3_stmt *st, int at, const struct val *v) {
    switch (v->kind) {
    case VAL_NULL: return sqlite3_bind_null(st, at);
    case VAL_I64: return sqlite3_bind_int64(st, at, v->i);
    case VAL_REAL: return sqlite3_bind_double(st, at, v->d);
    case VAL_TEXT:
        return sqlite3_bind_text64(st, at, v->s.p ? v->s.p : "", v->s.n, SQLITE_STATIC,
                                   SQLITE_UTF8);
    }
    return SQLITE_MISUSE;
}

int db_prepare(struct db *db, const char *sql, const struct val *v, size_t n, sqlite3_stmt **ret,
               struct err *err) {
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db->handle, sql, -1, &st, NULL) != SQLITE_OK)
        return db_fail(db, "catalog", err);
    assert(sqlite3_bind_parameter_count(st) == (int)n);
    for (size_t i = 0; i < n; i++) {
        if (bind(st, (int)i + 1, &v[i]) == SQLITE_OK) continue;
        int rc = db_fail(db, "catalog", err);
        sqlite3_finalize(st);
        return rc;
    }
    *ret = st;
    return 0;
}

int db_step(struct db *db, sqlite3_stmt *st, struct err *err) {
    switch (sqlite3_step(st)) {
    case SQLITE_ROW: return 1;
    case SQLITE_DONE: return 0;
    default: return db_fail(db, "catalog", err);
    }
}

int db_run(struct db *db, const char *sql, const struct val *v, size_t n, struct err *err) {
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(db, sql, v, n, &st, err);
    while (!rc && (rc = db_step(db, st, err)) == 1) rc = 0;
    sqlite3_finalize(st);
    return rc;
}

int db_i64(struct db *db, const char *sql, const struct val *v, size_t n, int64_t *ret,
           bool *ret_found, struct err *err) {
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(db, sql, v, n, &st, err);
    *ret_found = false;
    if (!rc) rc = db_step(db, st, err);
    if (rc == 1 && sqlite3_column_type(st, 0) != SQLITE_NULL) {
        *ret = col_i64(st, 0);
        *ret_found = true;
    }
    sqlite3_finalize(st);
    return rc < 0 ? rc : 0;
}

const char *col_z(sqlite3_stmt *st, int i, struct arena *mem) {
    if (sqlite3_column_type(st, i) == SQLITE_NULL) return NULL;
    const char *text = (const char *)sqlite3_column_text(st, i);
    return arena_strndup(mem, text ? text : "", (size_t)sqlite3_column_bytes(st, i));
}

/* --- tables --- */

const struct page page_all = {.limit = INT64_MAX - 1, .ascending = true};

void where_init(struct where *w) {
    *w = (struct where){.n = 0};
    buf_init(&w->sql, WHERE_MAX);
    buf_z(&w->sql, "1");
}

void where_release(struct where *w) { buf_release(&w->sql); }

void where_plain(struct where *w, const char *condition) {
    buf_printf(&w->sql, " AND %s", condition);
}

static void add_val(struct where *w, struct val v) {
    assert(w->n + 2 < sizeof w->vals / sizeof *w->vals); /* two are the page's */
    w->vals[w->n++] = v;
}

void where_add(struct where *w, const char *condition, struct val v) {
    where_plain(w, condition);
    add_val(w, v);
}

void where_meta(struct where *w, const struct meta_filter *list, size_t count) {
    assert(count <= META_FILTERS_MAX);
    for (size_t i = 0; i < count; i++) {
        where_add(w, "EXISTS (SELECT 1 FROM json_each(metadata) WHERE key = ?", v_s(list[i].key));
        where_add(w, "atom = ?)", v_s(list[i].value));
    }
}

int no_such(const struct table *t, const char *id, struct err *err) {
    return err_set(err, ERR_NOT_FOUND, "no such %s: \"%.200s\"", t->what, id);
}

int arena_checked(const struct arena *mem, struct err *err) {
    if (!mem->over) return 0;
    return err_set(err, ERR_LIMIT, "the answer would take more than %zu bytes; ask for less",
                   mem->max);
}

int table_get(struct db *db, const struct table *t, const char *id, struct arena *mem, void *row,
              struct err *err) {
    char sql[1024];
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = ?", t->columns, t->name);
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(db, sql, VALS(v_z(id)), &st, err);
    if (!rc) rc = db_step(db, st, err);
    if (rc == 1) {
        t->read(st, mem, row);
        rc = arena_checked(mem, err);
    } else if (rc == 0) {
        rc = no_such(t, id, err);
    }
    sqlite3_finalize(st);
    return rc;
}

/* Rows up to the page's limit, and whether there is one more. */
static int read_page(struct db *db, sqlite3_stmt *st, const struct table *t, int64_t limit,
                     struct arena *mem, struct list_out *ret, struct err *err) {
    size_t cap = 0;
    int rc;
    while ((rc = db_step(db, st, err)) == 1) {
        if ((int64_t)ret->count == limit) {
            ret->has_more = true;
            return 0;
        }
        if (ret->count == cap) {
            size_t grown = cap ? 2 * cap : 16;
            char *rows = arena_array(mem, grown, t->row_size);
            if (!rows) return arena_checked(mem, err);
            if (cap) memcpy(rows, ret->rows, cap * t->row_size);
            ret->rows = rows;
            cap = grown;
        }
        t->read(st, mem, (char *)ret->rows + ret->count * t->row_size);
        if (mem->over) return arena_checked(mem, err);
        ret->count++;
    }
    return rc;
}

int table_list(struct db *db, const struct table *t, const struct where *w, const struct page *page,
               struct arena *mem, struct list_out *ret, struct err *err) {
    char text[256];
    int64_t after = page->ascending ? 0 : INT64_MAX;
    bool found = true;
    int rc = 0;
    snprintf(text, sizeof text, "SELECT seq FROM %s WHERE id = ?", t->name);
    if (page->after) rc = db_i64(db, text, VALS(v_z(page->after)), &after, &found, err);
    if (!rc && !found) rc = no_such(t, page->after, err);
    if (rc) return err_wrap(err, "after");
    struct val vals[sizeof w->vals / sizeof *w->vals];
    memcpy(vals, w->vals, w->n * sizeof *vals);
    vals[w->n] = v_i(after);
    vals[w->n + 1] = v_i(page->limit + 1);
    struct buf sql;
    buf_init(&sql, 2 * WHERE_MAX);
    buf_printf(&sql, "SELECT %s FROM %s WHERE %s AND seq %s ? ORDER BY seq %s LIMIT ?", t->columns,
               t->name, w->sql.p, page->ascending ? ">" : "<", page->ascending ? "ASC" : "DESC");
    sqlite3_stmt *st = NULL;
    struct list_out out = {0};
    rc = buf_ok(&sql) && buf_ok(&w->sql) ? 0 : err_set(err, ERR_LIMIT, "too many filters");
    if (!rc) rc = db_prepare(db, sql.p, vals, w->n + 2, &st, err);
    if (!rc) rc = read_page(db, st, t, page->limit, mem, &out, err);
    sqlite3_finalize(st);
    buf_release(&sql);
    if (!rc) *ret = out;
    return rc;
}

int store_get(struct catalog *c, const struct table *t, const char *id, struct arena *mem,
              void *row, struct err *err) {
    int rc = store_read_begin(c, err);
    if (rc) return rc;
    return store_read_end(c, table_get(&c->reader, t, id, mem, row, err), err);
}

int store_list(struct catalog *c, const struct table *t, struct where *w, const struct page *page,
               struct arena *mem, struct list_out *ret, struct err *err) {
    int rc = store_read_begin(c, err);
    if (!rc) rc = store_read_end(c, table_list(&c->reader, t, w, page, mem, ret, err), err);
    where_release(w);
    return rc;
}

int store_change(struct catalog *c, const struct table *t, const char *id, const char *sql,
                 const struct val *v, size_t n, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer, sql, v, n, err);
    if (!rc && db_changes(&c->writer) == 0) rc = no_such(t, id, err);
    return store_write_end(c, rc, err);
}
