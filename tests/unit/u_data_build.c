/* Versions out of sources: the same root whatever the order and the threads, places that stay,
 * reasons for all that goes, all or nothing on a failing disk. */
#include "unit.h"

#include "base/rng.h"
#include "data/build.h"
#include "data/manifest.h"
#include "store/completions.h"
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A question and an answer of words that no other row has. */
static void row_text(struct buf *b, int i, const char *more) {
    buf_printf(b,
               "{\"id\":\"r%d\",\"messages\":[{\"role\":\"user\",\"content\":\"w%da w%db w%dc "
               "w%dd?\"},{\"role\":\"assistant\",\"content\":\"v%da v%db v%dc, "
               "v%dd.\"}]%s}\n",
               i, i, i, i, i, i, i, i, i, more);
}

static char *file_of(const char *name, struct buf *text) {
    struct err err;
    char *path = path_join(unit_dir(), name);
    if (file_write_atomic(path, buf_view(text), &err)) fail_msg("%s", err.msg);
    buf_release(text);
    return path;
}

/* Rows from..to, upwards or downwards. */
static char *rows_file(const char *name, int from, int to, const char *last) {
    struct buf b;
    buf_init(&b, 1 << 22);
    for (int i = from; i != to; i += from < to ? 1 : -1) row_text(&b, i, "");
    buf_z(&b, last);
    return file_of(name, &b);
}

static struct build_options options_of(const char *name, const struct build_from *from,
                                       struct pool *pool) {
    return (struct build_options){.name = name,
                                  .from = from,
                                  .from_count = 1,
                                  .min_feedback = -2,
                                  .valid = 0.1,
                                  .test = 0.1,
                                  .salt = 42,
                                  .pool = pool};
}

static struct built build_file(struct fixture *f, const char *name, const char *path, int threads) {
    struct pool *pool = pool_new(threads);
    struct build_from from = {BUILD_HUMAN, path};
    struct build_options o = options_of(name, &from, pool);
    struct built built;
    if (build_run(f->c, &o, &built, &f->err)) fail_msg("%s", f->err.msg);
    pool_free(pool);
    return built;
}

static int64_t kind_count(const struct built *b, const char *kind, const char *action) {
    const json_t *k = json_object_get(json_object_get(b->counts, "kinds"), kind);
    return json_integer_value(json_object_get(k, action));
}

static int64_t row_count(const struct built *b) {
    return json_integer_value(json_object_get(b->counts, "rows"));
}

#define GOLDEN "6a2279f9657c5fc936c5a1aa2b62ebd6e836d1acf8f72bd39554f06701d448ae"

static void the_root_is_of_rows_not_of_their_order(void **state) {
    struct fixture *f = *state;
    char *up = rows_file("up.jsonl", 0, 20, ""), *down = rows_file("down.jsonl", 19, -1, "");
    struct built a = build_file(f, "golden", up, 1), again = build_file(f, "golden", down, 3);
    struct built other = build_file(f, "other", down, 2);
    assert_string_equal(a.version.root, GOLDEN);
    assert_true(again.unchanged);
    assert_string_equal(again.version.id, "golden@1");
    assert_string_equal(other.version.root, GOLDEN);
    build_release(&a);
    build_release(&again);
    build_release(&other);
    mem_free(up);
    mem_free(down);
}

/* {row: split} of a version */
static json_t *places_of(struct fixture *f, const char *version) {
    struct row_list l;
    json_t *line = NULL, *ret = json_object();
    int rc = row_list_open(f->c, version, DATASET_MANIFEST, &l, &f->err);
    while (!rc && (rc = row_list_next(&l, &line, &f->err)) == 1) {
        rc = 0;
        json_object_set(ret, line_text(line, "row"), json_object_get(line, "split"));
        json_decref(line);
    }
    if (rc) fail_msg("%s", f->err.msg);
    row_list_close(&l);
    return ret;
}

static int count_change(void *ctx, const struct version_change *change, struct err *err) {
    (void)err;
    ((int64_t *)ctx)[change->kind]++;
    return 0;
}

static void rows_that_join_move_none(void **state) {
    struct fixture *f = *state;
    char *few = rows_file("few.jsonl", 0, 200, ""), *many = rows_file("many.jsonl", 900, 50, "");
    struct built a = build_file(f, "grows", few, 2), b = build_file(f, "grows", many, 2);
    struct built c = build_file(f, "grows", few, 2);
    json_t *first = places_of(f, "grows@1"), *then = places_of(f, "grows@2"), *split;
    json_t *back = places_of(f, "grows@3");
    int64_t counts[3] = {0};
    size_t shared = 0;
    const char *row;
    json_object_foreach(first, row, split) {
        json_t *now = json_object_get(then, row);
        if (now) assert_true(json_equal(split, now));
        shared += now != NULL;
    }
    assert_int_equal(shared, 149);
    assert_true(json_equal(first, back)); /* also those that were away for a version */
    assert_int_equal(versions_diff(f->c, "grows@1", "grows@2", count_change, counts, &f->err), 0);
    assert_int_equal(counts[ROW_ADDED], 701);
    assert_int_equal(counts[ROW_REMOVED], 51);
    assert_int_equal(counts[ROW_CHANGED], 0);
    json_decref(first);
    json_decref(then);
    json_decref(back);
    build_release(&a);
    build_release(&b);
    build_release(&c);
    mem_free(few);
    mem_free(many);
}

#define BAD_ROWS                                                                                   \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"write to jo@example.com\"},{\"role\":"        \
    "\"assistant\",\"content\":\"done\"}]}\n"                                                      \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"alone\"}]}\n"                                 \
    "no json\n"

static char *first_rejected(struct fixture *f, const char *version, const char *kind) {
    struct row_list l;
    json_t *line = NULL;
    char *row = NULL;
    assert_int_equal(row_list_open(f->c, version, DATASET_REJECTED, &l, &f->err), 0);
    while (row_list_next(&l, &line, &f->err) == 1) {
        if (!row && strcmp(line_text(line, "kind"), kind) == 0)
            row = mem_strdup(line_text(line, "row"));
        json_decref(line);
    }
    row_list_close(&l);
    return row;
}

static void what_goes_has_a_reason_and_may_come_back(void **state) {
    struct fixture *f = *state;
    char *path = rows_file("bad.jsonl", 0, 60, BAD_ROWS), root[65];
    struct built a = build_file(f, "mended", path, 2), b, c;
    assert_int_equal(row_count(&a), 60);
    assert_int_equal(kind_count(&a, "contains_pii", "dropped"), 1);
    assert_int_equal(kind_count(&a, "example_missing_assistant_message", "dropped"), 1);
    assert_int_equal(kind_count(&a, "invalid_format", "dropped"), 1);
    char *row = first_rejected(f, "mended@1", "contains_pii");
    struct pool *pool = pool_new(2);
    struct build_restore r = {.name = "mended",
                              .reason = "an example address",
                              .rows = (const char *const[]){row},
                              .count = 1,
                              .pool = pool};
    if (build_restore(f->c, &r, &b, &f->err)) fail_msg("%s", f->err.msg);
    assert_string_equal(b.version.id, "mended@2");
    assert_int_equal(row_count(&b), 61);
    assert_int_equal(build_reproduce(f->c, &b.version, pool, root, &f->err), 0);
    assert_string_equal(root, b.version.root);
    assert_int_equal(build_reproduce(f->c, &a.version, pool, root, &f->err), 0);
    assert_string_equal(root, a.version.root);
    assert_int_equal(build_restore(f->c, &r, &c, &f->err), ERR_NOT_FOUND); /* it is there */
    build_release(&c);
    c = build_file(f, "mended", path, 1);
    assert_true(c.unchanged); /* and stays */
    build_release(&a);
    build_release(&b);
    build_release(&c);
    pool_free(pool);
    mem_free(row);
    mem_free(path);
}

static void loss_in_masses_needs_a_yes(void **state) {
    struct fixture *f = *state;
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 40; i++) row_text(&text, i, "");
    for (int i = 0; i < 12; i++) row_text(&text, i, "");
    char *path = file_of("twice.jsonl", &text);
    struct pool *pool = pool_new(1);
    struct build_from from = {BUILD_HUMAN, path};
    struct build_options o = options_of("masses", &from, pool);
    struct dataset_version v;
    struct built b;
    assert_int_equal(build_run(f->c, &o, &b, &f->err), ERR_CONFLICT);
    assert_non_null(strstr(f->err.msg, "12 of 52"));
    assert_int_equal(kind_count(&b, "exact_duplicate", "dropped"), 12);
    build_release(&b);
    assert_int_equal(datasets_version(f->c, "masses", 0, &f->mem, &v, &f->err), ERR_NOT_FOUND);
    o.yes = true;
    assert_int_equal(build_run(f->c, &o, &b, &f->err), 0);
    assert_int_equal(row_count(&b), 40);
    build_release(&b);
    pool_free(pool);
    mem_free(path);
}

/* --- our own answers --- */

static void put_answer(struct fixture *f, int i, double score, const char *correction) {
    char id[40], request[200], response[200];
    struct feedback made;
    snprintf(id, sizeof id, "chatcmpl-%d", i);
    snprintf(request, sizeof request,
             "{\"messages\":[{\"role\":\"user\",\"content\":\"q%da q%db q%dc\"}]}", i, i, i);
    snprintf(response, sizeof response,
             "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"a%da a%db\"}}]}", i,
             i);
    struct stored_completion s = {.id = id, .model = "m", .request = request, .response = response};
    struct feedback said = {
        .completion = id, .score = score, .has_score = true, .correction = correction};
    assert_int_equal(completions_add(f->c, &s, &f->err), 0);
    assert_int_equal(feedback_add(f->c, &said, &f->mem, &made, &f->err), 0);
}

static void corrections_become_human_examples(void **state) {
    struct fixture *f = *state;
    struct pool *pool = pool_new(1);
    struct build_from from = {BUILD_PRODUCTION, NULL};
    struct build_options o = options_of("used", &from, pool);
    struct built b;
    for (int i = 0; i < 70; i++)
        put_answer(f, i, i < 5 ? -1 : 1, i == 7 ? "as it should be" : NULL);
    o.min_feedback = 0;
    if (build_run(f->c, &o, &b, &f->err)) fail_msg("%s", f->err.msg);
    assert_int_equal(row_count(&b), 65);
    assert_int_equal(kind_count(&b, "low_feedback", "dropped"), 5);
    struct row_list l;
    json_t *line = NULL;
    int human = 0, verified = 0;
    assert_int_equal(row_list_open(f->c, "used@1", DATASET_MANIFEST, &l, &f->err), 0);
    while (row_list_next(&l, &line, &f->err) == 1) {
        human += strcmp(line_text(line, "source"), "human") == 0 &&
                 json_is_true(json_object_get(line, "corrected"));
        verified += strcmp(line_text(line, "quality"), "verified") == 0;
        json_decref(line);
    }
    row_list_close(&l);
    assert_int_equal(human, 1);
    assert_int_equal(verified, 1);
    build_release(&b);
    pool_free(pool);
}

/* --- a disk that fails at its nth call --- */

static int calls_left;

static bool fails(void) { return calls_left-- == 0; }
static int open_or(const char *path, int flags, mode_t mode) {
    if (fails()) return errno = EIO, -1;
    return open(path, flags, mode);
}
static ssize_t write_or(int fd, const void *p, size_t n) {
    if (fails()) return errno = ENOSPC, -1;
    return write(fd, p, n);
}
static int sync_or(int fd) {
    if (fails()) return errno = EIO, -1;
    return fsync(fd);
}
static int rename_or(const char *from, const char *to) {
    if (fails()) return errno = EIO, -1;
    return rename(from, to);
}

static void a_failing_disk_leaves_no_half_version(void **state) {
    struct fixture *f = *state;
    static const struct file_ops ops = {open_or, write_or, sync_or, rename_or, ftruncate};
    char *path = rows_file("few.jsonl", 0, 4, "");
    struct pool *pool = pool_new(1);
    struct build_from from = {BUILD_HUMAN, path};
    struct build_options o = options_of("crash", &from, pool);
    struct built b;
    struct version_list all;
    int rc = -1, failed = 0;
    for (int n = 0; rc && n < 500; n++) {
        calls_left = n;
        file_ops_set(&ops);
        rc = build_run(f->c, &o, &b, &f->err);
        file_ops_set(NULL);
        if (rc) {
            failed++;
            build_release(&b);
            if (datasets_versions(f->c, "crash", &f->mem, &all, &f->err) == 0)
                assert_int_equal(all.count, 0);
        }
    }
    assert_int_equal(rc, 0);
    assert_in_range(failed, 20, 499);
    assert_int_equal(build_reproduce(f->c, &b.version, pool, (char[65]){0}, &f->err), 0);
    build_release(&b);
    pool_free(pool);
    mem_free(path);
}

static void held_out_cases_are_not_trained(void **state) {
    struct fixture *f = *state;
    char *rows = rows_file("rows.jsonl", 0, 60, ""), *held = rows_file("held.jsonl", 57, 70, "");
    const char *against[] = {held};
    struct build_from from = {BUILD_HUMAN, rows};
    struct pool *pool = pool_new(2);
    struct build_options o = options_of("held", &from, pool);
    struct built built;
    o.valid = o.test = 0;
    o.against = against;
    o.against_count = 1;
    if (build_run(f->c, &o, &built, &f->err)) fail_msg("%s", f->err.msg);
    assert_int_equal(kind_count(&built, "potential_leakage", "dropped"), 3);
    assert_int_equal(row_count(&built), 57);
    build_release(&built);
    pool_free(pool);
    mem_free(rows);
    mem_free(held);
}

UNIT_TESTS(data_build, WITH_CATALOG(the_root_is_of_rows_not_of_their_order),
           WITH_CATALOG(rows_that_join_move_none),
           WITH_CATALOG(what_goes_has_a_reason_and_may_come_back),
           WITH_CATALOG(held_out_cases_are_not_trained), WITH_CATALOG(loss_in_masses_needs_a_yes),
           WITH_CATALOG(corrections_become_human_examples),
           WITH_CATALOG(a_failing_disk_leaves_no_half_version))
