/* Versions of datasets: with all their blobs or not at all. */
#include "unit.h"

#include "store/datasets.h"
#include "store/store_int.h"
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int add(struct fixture *f, int64_t number, const char *pack, struct dataset_version *ret) {
    struct blob_writer *w[2] = {NULL, NULL};
    struct dataset d;
    int rc = datasets_ensure(f->c, "support", &f->mem, &d, &f->err);
    for (int i = 0; !rc && i < 2; i++) rc = blob_writer_open(f->c, &w[i], &f->err);
    if (!rc) rc = blob_writer_add(w[0], pack, strlen(pack), &f->err);
    if (!rc) rc = blob_writer_add(w[1], "list\n", 5, &f->err);
    struct dataset_blob list[] = {{DATASET_PACK, NULL, w[0]}, {DATASET_MANIFEST, NULL, w[1]}};
    struct dataset_version new = {
        .dataset = "support", .number = number, .root = "00", .recipe = "{}", .counts = "{}"};
    if (!rc)
        rc = datasets_add_version(f->c, &new, &(struct dataset_blobs){list, 2}, &f->mem, ret,
                                  &f->err);
    for (int i = 0; i < 2; i++) blob_writer_free(w[i]);
    return rc;
}

static int64_t blob_count(struct fixture *f) {
    char *blobs = catalog_path(f->c, "blobs"), **shards = NULL, **names = NULL;
    size_t count = 0, n = 0;
    int64_t total = 0;
    if (!dir_exists(blobs)) return mem_free(blobs), 0;
    assert_int_equal(dir_list(blobs, &shards, &count, &f->err), 0);
    for (size_t i = 0; i < count; i++) {
        char *shard = path_join(blobs, shards[i]);
        assert_int_equal(dir_list(shard, &names, &n, &f->err), 0);
        total += (int64_t)n;
        dir_list_free(names, n);
        mem_free(shard);
    }
    dir_list_free(shards, count);
    mem_free(blobs);
    return total;
}

static void versions_follow_each_other(void **state) {
    struct fixture *f = *state;
    struct dataset_version a, b, got;
    struct version_list all;
    struct dataset_blobs blobs;
    struct dataset_list sets;
    assert_int_equal(add(f, 1, "one", &a), 0);
    assert_string_equal(a.id, "support@1");
    assert_int_equal(add(f, 1, "other", &b), ERR_CONFLICT);
    assert_non_null(strstr(f->err.msg, "version 1"));
    assert_int_equal(add(f, 2, "one", &b), 0);
    assert_int_equal(datasets_version(f->c, "support", 0, &f->mem, &got, &f->err), 0);
    assert_string_equal(got.id, "support@2");
    assert_int_equal(datasets_version(f->c, "support", 3, &f->mem, &got, &f->err), ERR_NOT_FOUND);
    assert_int_equal(datasets_version(f->c, "none", 0, &f->mem, &got, &f->err), ERR_NOT_FOUND);
    assert_int_equal(datasets_versions(f->c, "support", &f->mem, &all, &f->err), 0);
    assert_int_equal(all.count, 2);
    assert_int_equal(datasets_blobs(f->c, "support@2", &f->mem, &blobs, &f->err), 0);
    assert_int_equal(blobs.count, 2);
    assert_int_equal(blobs.list[1].role, DATASET_MANIFEST);
    assert_int_equal(datasets_packs(f->c, &f->mem, &blobs, &f->err), 0);
    assert_int_equal(blobs.count, 1); /* the same bytes are one pack */
    assert_int_equal(datasets_list(f->c, &f->mem, &sets, &f->err), 0);
    assert_int_equal(sets.count, 1);
    assert_int_equal(sets.list[0].versions, 2);
    assert_int_equal(blobs_sweep(f->c, &f->err), 0);
    assert_int_equal(blob_count(f), 2); /* all of them are needed */
}

static void names_are_plain(void **state) {
    struct fixture *f = *state;
    static const char *const bad[] = {"", "a b", "a/b", "..", "-x", "a@1", "\xc3\xa4"};
    struct dataset d;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(datasets_ensure(f->c, bad[i], &f->mem, &d, &f->err), ERR_INVALID);
    assert_int_equal(datasets_ensure(f->c, "a.b-c_D9", &f->mem, &d, &f->err), 0);
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

static void a_failing_disk_leaves_all_or_nothing(void **state) {
    struct fixture *f = *state;
    static const struct file_ops ops = {open_or, write_or, sync_or, rename_or, ftruncate};
    struct dataset_version v;
    struct version_list all;
    int failed = 0, rc = -1;
    for (int n = 0; rc && n < 100; n++) {
        calls_left = n;
        file_ops_set(&ops);
        rc = add(f, 1, "rows", &v);
        file_ops_set(NULL);
        if (!rc) break;
        failed++;
        assert_int_equal(datasets_versions(f->c, "support", &f->mem, &all, &f->err), 0);
        assert_int_equal(all.count, 0);
        assert_int_equal(blobs_sweep(f->c, &f->err), 0);
        assert_int_equal(blob_count(f), 0);
    }
    assert_int_equal(rc, 0);
    assert_in_range(failed, 5, 99);
    assert_int_equal(blob_count(f), 2);
}

UNIT_TESTS(store_datasets, WITH_CATALOG(versions_follow_each_other), WITH_CATALOG(names_are_plain),
           WITH_CATALOG(a_failing_disk_leaves_all_or_nothing))
