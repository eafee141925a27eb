/* Who may remove a blob: only a writing transaction, which excludes every other one, and rows that
 * refer to blobs are added together with the blob in one. So no row is ever left without its
 * bytes; a kill between the two steps of a removal leaves bytes without a row, for the sweep. A
 * writer holds a lock on its temporary file, which tells the living from the dead. */
#include "store/blobs.h"

#include "base/hash.h"
#include "base/mem.h"
#include "store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct blob_writer {
    struct file_writer file;
    struct sha256 *hash;
    int64_t bytes;
    char hex[SHA256_HEX + 1]; /* once finished */
};

static char *temp_dir(const struct catalog *c) { return catalog_path(c, "blobs/tmp"); }

static char *shard_dir(const struct catalog *c, const char *sha256) {
    char below[16];
    snprintf(below, sizeof below, "blobs/%.2s", sha256);
    return catalog_path(c, below);
}

char *blob_path(const struct catalog *c, const char *sha256) {
    char *dir = shard_dir(c, sha256), *path = path_join(dir, sha256);
    mem_free(dir);
    return path;
}

int blob_map(const struct catalog *c, const char *sha256, struct file_map *ret, struct err *err) {
    char *path = blob_path(c, sha256);
    int rc = file_map_open(path, ret, err);
    mem_free(path);
    return rc;
}

/* --- writing --- */

static int make_dirs(const struct catalog *c, const char *dir, struct err *err) {
    if (dir_exists(dir)) return 0;
    char *blobs = catalog_path(c, "blobs");
    bool first = !dir_exists(blobs);
    int rc = dir_make(dir, err);
    if (!rc && first && chmod(blobs, 0700) != 0)
        rc = err_sys(err, errno, "could not close \"%s\" to others", blobs);
    if (!rc) rc = dir_sync(blobs, err);
    if (!rc && first) rc = dir_sync(c->home, err);
    mem_free(blobs);
    return rc;
}

int blob_writer_open(struct catalog *c, struct blob_writer **ret, struct err *err) {
    char name[ID_SIZE];
    id_new("", name);
    char *dir = temp_dir(c), *path = path_join(dir, name);
    struct blob_writer *w = mem_zalloc(1, sizeof *w);
    w->file.fd = -1;
    w->hash = sha256_new();
    int rc = make_dirs(c, dir, err);
    if (!rc) rc = file_writer_open(path, &w->file, err);
    if (!rc && flock(w->file.fd, LOCK_EX | LOCK_NB) != 0)
        rc = err_sys(err, errno, "could not lock \"%s\"", path);
    mem_free(path);
    mem_free(dir);
    if (rc)
        blob_writer_free(w);
    else
        *ret = w;
    return rc;
}

int blob_writer_add(struct blob_writer *w, const void *p, size_t n, struct err *err) {
    int rc = file_writer_add(&w->file, p, n, err);
    if (rc) return rc;
    sha256_add(w->hash, p, n);
    w->bytes += (int64_t)n;
    return 0;
}

int64_t blob_writer_bytes(const struct blob_writer *w) { return w->bytes; }

const char *blob_writer_path(const struct blob_writer *w) { return w->file.temp; }

void blob_writer_free(struct blob_writer *w) {
    if (!w) return;
    file_writer_abort(&w->file);
    sha256_free(w->hash);
    mem_free(w);
}

int blob_writer_finish(struct blob_writer *w, struct err *err) {
    if (!w->hash) return 0; /* it is */
    int rc = file_writer_sync(&w->file, err);
    if (rc) return rc;
    sha256_finish(w->hash, w->hex);
    w->hash = NULL;
    return 0;
}

const char *blob_writer_sha256(const struct blob_writer *w) { return w->hex; }

int blob_place(struct catalog *c, struct blob_writer *w, struct err *err) {
    char *dir = shard_dir(c, w->hex);
    int rc = make_dirs(c, dir, err);
    mem_free(dir);
    if (rc) return rc;
    mem_free(w->file.path); /* the name was not known before; equal bytes there are replaced */
    w->file.path = blob_path(c, w->hex);
    return file_writer_commit(&w->file, err);
}

/* --- removing --- */

/* a finished job's rows are not needed any more */
#define REFERENCES                                                                                 \
    "SELECT 1 FROM file WHERE blob = ? UNION ALL SELECT 1 FROM upload_part WHERE blob = ? "        \
    "UNION ALL SELECT 1 FROM ftjob WHERE (training_blob = ? OR validation_blob = ?) "              \
    "AND finished_at IS NULL UNION ALL SELECT 1 FROM dataset_blob WHERE blob = ? LIMIT 1"

static int remove_if_unused(struct catalog *c, const char *sha256, struct err *err) {
    struct val hash = v_z(sha256);
    int64_t one;
    bool used = true;
    int rc = db_i64(&c->writer, REFERENCES, VALS(hash, hash, hash, hash, hash), &one, &used, err);
    if (rc || used) return rc;
    char *path = blob_path(c, sha256);
    rc = file_remove(path, err);
    mem_free(path);
    return rc;
}

void blob_drop(struct catalog *c, const char *sha256) {
    struct err ignored;
    if (!sha256 || store_write_begin(c, &ignored)) return;
    store_write_end(c, remove_if_unused(c, sha256, &ignored), &ignored);
}

static int sweep_shard(struct catalog *c, const char *dir, struct err *err) {
    char **names = NULL;
    size_t count = 0;
    int rc = dir_list(dir, &names, &count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        if (strlen(names[i]) != SHA256_HEX) continue;
        rc = store_write_begin(c, err);
        if (!rc) rc = store_write_end(c, remove_if_unused(c, names[i], err), err);
    }
    dir_list_free(names, count);
    return rc;
}

static void remove_dead(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(path);
    file_close(fd);
}

static int sweep_temp(const char *dir, struct err *err) {
    char **names = NULL;
    size_t count = 0;
    int rc = dir_list(dir, &names, &count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        char *path = path_join(dir, names[i]);
        remove_dead(path);
        mem_free(path);
    }
    dir_list_free(names, count);
    return rc;
}

int blobs_sweep(struct catalog *c, struct err *err) {
    char *blobs = catalog_path(c, "blobs"), **names = NULL;
    size_t count = 0;
    int rc = dir_exists(blobs) ? dir_list(blobs, &names, &count, err) : 0;
    for (size_t i = 0; !rc && i < count; i++) {
        char *dir = path_join(blobs, names[i]);
        if (strcmp(names[i], "tmp") == 0)
            rc = sweep_temp(dir, err);
        else if (strlen(names[i]) == 2 && dir_exists(dir))
            rc = sweep_shard(c, dir, err);
        mem_free(dir);
    }
    dir_list_free(names, count);
    mem_free(blobs);
    return rc;
}
