/* Inside store/: connections, transactions, statements, the reading of rows. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/catalog.h"

#include <pthread.h>
#include <sqlite3.h>

struct db {
    sqlite3 *handle;
    pthread_mutex_t lock; /* guards handle; held from begin to end */
};

struct catalog {
    char *home;
    struct db writer, reader;
};

/* --- transactions --- */

/* BEGIN IMMEDIATE on the writer: no other thread or process writes until store_write_end, which
 * commits where rc is 0, else rolls back; returns rc or why the commit failed. */
int store_write_begin(struct catalog *c, struct err *err);
int store_write_end(struct catalog *c, int rc, struct err *err);
/* The same view of the catalog for several queries on the reader. */
int store_read_begin(struct catalog *c, struct err *err);
int store_read_end(struct catalog *c, int rc, struct err *err);

/* --- statements --- */

struct val {
    enum { VAL_NULL, VAL_I64, VAL_REAL, VAL_TEXT } kind;
    int64_t i;
    double d;
    struct str s;
};
static inline struct val v_i(int64_t i) { return (struct val){.kind = VAL_I64, .i = i}; }
static inline struct val v_d(double d) { return (struct val){.kind = VAL_REAL, .d = d}; }
static inline struct val v_s(struct str s) { return (struct val){.kind = VAL_TEXT, .s = s}; }
static inline struct val v_z(const char *z) { /* NULL is NULL */
    return z ? v_s(str_of(z)) : (struct val){.kind = VAL_NULL};
}
static inline struct val v_time(int64_t t) { /* 0 is NULL */
    return t ? v_i(t) : (struct val){.kind = VAL_NULL};
}
#define VALS(...)                                                                                  \
    (const struct val[]){__VA_ARGS__},                                                             \
        sizeof((const struct val[]){__VA_ARGS__}) / sizeof(struct val)

/* The values are bound in order; they must live until the statement is finalised. */
int db_prepare(struct db *db, const char *sql, const struct val *v, size_t n, sqlite3_stmt **ret,
               struct err *err);
/* 1: a row, 0: no more, negative: an error */
int db_step(struct db *db, sqlite3_stmt *st, struct err *err);
int db_run(struct db *db, const char *sql, const struct val *v, size_t n, struct err *err);
/* One number; *ret_found false and *ret untouched where there is no row or NULL. */
int db_i64(struct db *db, const char *sql, const struct val *v, size_t n, int64_t *ret,
           bool *ret_found, struct err *err);
/* "what: reason", with a code that follows SQLite's */
int db_fail(struct db *db, const char *what, struct err *err);
static inline int64_t db_changes(const struct db *db) { return sqlite3_changes64(db->handle); }

static inline int64_t col_i64(sqlite3_stmt *st, int i) { return sqlite3_column_int64(st, i); }
const char *col_z(sqlite3_stmt *st, int i, struct arena *mem); /* NULL for NULL */

/* --- tables --- */

/* How rows of one table are read: get and list are the same for all of them. */
struct table {
    const char *name, *columns, *what; /* what: "file", for messages */
    size_t row_size;
    void (*read)(sqlite3_stmt *st, struct arena *mem, void *row);
};

/* conditions joined by AND; values in the order of their question marks */
struct where {
    struct buf sql;
    struct val vals[2 * META_FILTERS_MAX + 8];
    size_t n;
};
void where_init(struct where *w);
void where_release(struct where *w);
void where_add(struct where *w, const char *condition, struct val v); /* with one "?" */
void where_plain(struct where *w, const char *condition);             /* with none */
void where_meta(struct where *w, const struct meta_filter *list, size_t count);

struct list_out {
    void *rows; /* (count), in the arena */
    size_t count;
    bool has_more;
};
/* In a transaction on db. */
int table_get(struct db *db, const struct table *t, const char *id, struct arena *mem, void *row,
              struct err *err);
int table_list(struct db *db, const struct table *t, const struct where *w, const struct page *page,
               struct arena *mem, struct list_out *ret, struct err *err);
/* In a reading transaction of their own. store_list releases w. */
int store_get(struct catalog *c, const struct table *t, const char *id, struct arena *mem,
              void *row, struct err *err);
int store_list(struct catalog *c, const struct table *t, struct where *w, const struct page *page,
               struct arena *mem, struct list_out *ret, struct err *err);
/* In a writing transaction of its own: ERR_NOT_FOUND where it changed no row named id. */
int store_change(struct catalog *c, const struct table *t, const char *id, const char *sql,
                 const struct val *v, size_t n, struct err *err);
int no_such(const struct table *t, const char *id, struct err *err);
int arena_checked(const struct arena *mem, struct err *err); /* ERR_LIMIT when it ran over */

extern const struct page page_all; /* oldest first, without end */

/* --- rows of several tables in one writing transaction --- */

struct blob_writer;
struct stored_file;
struct tuned_model;
/* The blob is finished before the transaction. */
int files_insert(struct catalog *c, const struct stored_file *new, struct blob_writer *w,
                 char id[ID_SIZE], struct err *err);
int files_get_in(struct db *db, const char *id, struct arena *mem, struct stored_file *ret,
                 struct err *err);
int tuned_insert(struct catalog *c, const struct tuned_model *new, struct err *err);
/* A webhook's event for every endpoint: {"id":"evt_...","type":type,"data":{"id":subject}}. */
int outbox_emit(struct catalog *c, const char *type, const char *subject, struct err *err);

struct audit_cause;
/* One more event of the log. data: an object or NULL; the cause's words are added to it. */
int audit_append(struct catalog *c, const char *kind, const char *subject, const json_t *data,
                 const struct audit_cause *cause, struct err *err);
/* An alias moved and told; target NULL: removed. back: to where it led before (a rollback). */
int routes_move(struct catalog *c, const char *name, const char *target, bool back,
                const struct audit_cause *cause, struct err *err);

/* In the transaction that moves an alias: a canary of it that runs ends, "stopped". */
int splits_alias_moves(struct catalog *c, const char *alias, const struct audit_cause *cause,
                       struct err *err);
/* versions_promote inside a transaction */
int versions_promote_in(struct catalog *c, const char *alias, const char *target, bool back,
                        const struct audit_cause *cause, struct arena *mem, struct err *err);

struct route;
int routes_get_in(struct db *db, const char *name, struct arena *mem, struct route *ret,
                  struct err *err);

/* --- migrations --- */

extern const char *const store_migrations[];
extern const int store_migration_count;
/* Brings user_version from what it is to count; one transaction for each step. */
int store_migrate(sqlite3 *handle, const char *path, const char *const *list, int count,
                  struct err *err);

/* --- blobs, in a writing transaction --- */

/* The blob appears under its hash. The row that refers to it goes into the same transaction. */
int blob_place(struct catalog *c, struct blob_writer *w, struct err *err);
/* After the transaction that removed a reference: removes the bytes when it was the last. What
 * cannot be removed stays for blobs_sweep. NULL: nothing. */
void blob_drop(struct catalog *c, const char *sha256);

#endif
