/* The catalog file itself: migrations, refusals, several threads and processes, kills. */
#include "unit.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/files.h"
#include "store/ftjobs.h"
#include "store/store_int.h"
#include "store_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *db_path(const char *home) { return path_join(home, "catalog.db"); }

static void set_version(const char *home, int version) {
    char *path = db_path(home), sql[64];
    sqlite3 *h = NULL;
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);
    mem_free(path);
}

static void it_is_made_with_its_guards(void **state) {
    struct fixture *f = *state;
    struct catalog *c = f->c;
    int64_t x = 0;
    bool found;
    assert_int_equal(store_write_begin(c, &f->err), 0);
    assert_int_equal(db_i64(&c->writer, "PRAGMA synchronous", NULL, 0, &x, &found, &f->err), 0);
    assert_int_equal(x, 2); /* FULL */
    assert_int_equal(db_i64(&c->writer, "PRAGMA foreign_keys", NULL, 0, &x, &found, &f->err), 0);
    assert_int_equal(x, 1);
    assert_int_equal(db_i64(&c->writer, "PRAGMA user_version", NULL, 0, &x, &found, &f->err), 0);
    assert_int_equal(x, store_migration_count);
    assert_int_equal(store_write_end(c, 0, &f->err), 0);
    char *wal = path_join(f->home, "catalog.db-wal");
    assert_true(file_exists(wal));
    mem_free(wal);
}

static void a_newer_catalog_is_refused(void **state) {
    struct fixture *f = *state;
    catalog_close(f->c);
    f->c = NULL;
    set_version(f->home, store_migration_count + 1);
    assert_int_equal(catalog_open(f->home, &f->c, &f->err), ERR_UNSUPPORTED);
    assert_non_null(strstr(f->err.msg, "newer attune"));
    set_version(f->home, store_migration_count);
    assert_int_equal(catalog_open(f->home, &f->c, &f->err), 0);
}

static void other_files_are_refused(void **state) {
    struct fixture *f = *state;
    char *home = path_join(unit_dir(), "foreign"), *path = db_path(home);
    struct catalog *c = NULL;
    sqlite3 *h = NULL;
    assert_int_equal(dir_make(home, &f->err), 0);
    assert_int_equal(file_write_atomic(path,
                                       STR_LIT("not a database at all, but long enough to "
                                               "hold a header that says so ............."),
                                       &f->err),
                     0);
    assert_int_equal(catalog_open(home, &c, &f->err), ERR_CORRUPT);
    assert_int_equal(file_remove(path, &f->err), 0);
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, "PRAGMA application_id = 77", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);
    assert_int_equal(catalog_open(home, &c, &f->err), ERR_CORRUPT);
    assert_non_null(strstr(f->err.msg, "another program"));
    mem_free(path);
    mem_free(home);
}

static void migrations_go_forward_or_not_at_all(void **state) {
    struct fixture *f = *state;
    static const char *const one[] = {"CREATE TABLE a(x INTEGER);"};
    static const char *const two[] = {"CREATE TABLE a(x INTEGER);",
                                      "CREATE TABLE b(x INTEGER); ALTER TABLE a ADD COLUMN y;"};
    static const char *const torn[] = {"CREATE TABLE a(x INTEGER);",
                                       "CREATE TABLE b(x INTEGER); CREATE TABLE a(x INTEGER);"};
    sqlite3 *h = NULL;
    int64_t n = -1;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(":memory:", &h), SQLITE_OK);
    assert_int_equal(store_migrate(h, "m", one, 1, &f->err), 0);
    assert_int_not_equal(store_migrate(h, "m", torn, 2, &f->err), 0);
    assert_non_null(strstr(f->err.msg, "version 2"));
    assert_int_equal(sqlite3_prepare_v2(h, "SELECT count(*) FROM sqlite_schema", -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    assert_int_equal(n, 1); /* nothing of the torn one */
    assert_int_equal(store_migrate(h, "m", two, 2, &f->err), 0);
    assert_int_equal(store_migrate(h, "m", two, 2, &f->err), 0); /* again: nothing to do */
    assert_int_equal(store_migrate(h, "m", one, 1, &f->err), ERR_UNSUPPORTED);
    sqlite3_close(h);
}

/* --- threads and processes --- */

#define THREADS 4
#define EACH 12

static void *add_events(void *arg) {
    struct fixture *f = arg;
    struct err err;
    for (int i = 0; i < EACH; i++) {
        struct arena mem;
        struct ftevent_list l;
        arena_init(&mem, 1 << 20);
        if (ftevents_add(f->c, f->job, &(struct ftevent){.message = "x"}, &err)) return &f->err;
        if (ftevents_list(f->c, f->job, &(struct page){.limit = 100}, &mem, &l, &err))
            return &f->err;
        arena_release(&mem);
    }
    return NULL;
}

static void threads_share_it(void **state) {
    struct fixture *f = *state;
    pthread_t t[THREADS];
    fixture_job(f);
    for (int i = 0; i < THREADS; i++) pthread_create(&t[i], NULL, add_events, f);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
    struct ftevent_list l;
    assert_int_equal(
        ftevents_list(f->c, f->job, &(struct page){.limit = 1000}, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, THREADS * EACH + 2); /* created, validating */
}

static void processes_open_it_at_once(void **state) {
    struct fixture *f = *state;
    char *home = path_join(unit_dir(), "race");
    pid_t child[3];
    for (int i = 0; i < 3; i++) {
        child[i] = fork();
        if (child[i]) continue;
        struct catalog *c = NULL;
        struct err err;
        int rc = catalog_open(home, &c, &err);
        if (rc) fprintf(stderr, "child: %s\n", err.msg);
        catalog_close(c);
        _exit(rc ? 1 : 0);
    }
    for (int i = 0; i < 3; i++) {
        int status = 0;
        waitpid(child[i], &status, 0);
        assert_int_equal(status, 0);
    }
    (void)f;
    mem_free(home);
}

/* --- kills --- */

/* Adds files for ever; an id goes down the pipe once its row is acknowledged. */
static void child_adds(const char *home, int out) {
    struct catalog *c = NULL;
    struct err err;
    if (catalog_open(home, &c, &err)) _exit(1);
    for (int i = 0;; i++) {
        char text[64], line[ID_SIZE + 64];
        struct blob_writer *w = NULL;
        struct stored_file file;
        struct arena mem;
        arena_init(&mem, 1 << 16);
        snprintf(text, sizeof text, "content %d of %d", i, (int)getpid());
        if (blob_writer_open(c, &w, &err) || blob_writer_add(w, text, strlen(text), &err) ||
            files_add(c, &(struct stored_file){.filename = "a", .purpose = "user_data"}, w, &mem,
                      &file, &err))
            _exit(1);
        int n = snprintf(line, sizeof line, "%s %s\n", file.id, text);
        if (write(out, line, (size_t)n) != n) _exit(1);
        blob_writer_free(w);
        arena_release(&mem);
    }
}

static int check_line(struct fixture *f, const char *line) {
    char id[ID_SIZE];
    const char *space = strchr(line, ' ');
    struct stored_file file;
    struct file_map map;
    assert_non_null(space);
    snprintf(id, sizeof id, "%.*s", (int)(space - line), line);
    assert_int_equal(files_get(f->c, id, &f->mem, &file, &f->err), 0);
    assert_int_equal(blob_map(f->c, file.blob, &map, &f->err), 0);
    assert_int_equal(map.n, strlen(space + 1));
    assert_memory_equal(map.p, space + 1, map.n);
    file_map_close(&map);
    return 1;
}

static void what_was_acknowledged_survives_a_kill(void **state) {
    struct fixture *f = *state;
    struct rng rng;
    int acknowledged = 0;
    rng_init(&rng, unit_seed());
    for (int round = 0; round < 6; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) child_adds(f->home, ends[1]);
        close(ends[1]);
        FILE *in = fdopen(ends[0], "r");
        char line[256];
        int wanted = 1 + (int)rng_below(&rng, 6);
        for (int i = 0; i < wanted && fgets(line, sizeof line, in); i++) {
            line[strcspn(line, "\n")] = '\0';
            acknowledged += check_line(f, line); /* another process sees it at once */
        }
        usleep((unsigned)rng_below(&rng, 3000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        catalog_close(f->c);
        assert_int_equal(catalog_open(f->home, &f->c, &f->err), 0);
        while (fgets(line, sizeof line, in)) {
            if (!strchr(line, '\n')) break;
            line[strcspn(line, "\n")] = '\0';
            acknowledged += check_line(f, line);
        }
        fclose(in);
        assert_int_equal(blobs_sweep(f->c, &f->err), 0);
    }
    assert_true(acknowledged >= 6);
    struct file_list l;
    assert_int_equal(files_list(f->c, NULL, &(struct page){.limit = 10000}, &f->mem, &l, &f->err),
                     0);
    assert_true(l.count >= (size_t)acknowledged);
    for (size_t i = 0; i < l.count; i++) { /* no row without its bytes, none of them torn */
        char *path = blob_path(f->c, l.list[i].blob), hex[65];
        assert_int_equal(sha256_file(path, hex, &f->err), 0);
        assert_string_equal(hex, l.list[i].blob);
        mem_free(path);
    }
    char *temp = path_join(f->home, "blobs/tmp"), **names = NULL;
    size_t count = 1;
    assert_int_equal(dir_list(temp, &names, &count, &f->err), 0);
    assert_int_equal(count, 0);
    dir_list_free(names, count);
    mem_free(temp);
}

UNIT_TESTS(store_catalog, WITH_CATALOG(it_is_made_with_its_guards),
           WITH_CATALOG(a_newer_catalog_is_refused), WITH_CATALOG(other_files_are_refused),
           WITH_CATALOG(migrations_go_forward_or_not_at_all), WITH_CATALOG(threads_share_it),
           WITH_CATALOG(processes_open_it_at_once),
           WITH_CATALOG(what_was_acknowledged_survives_a_kill))
