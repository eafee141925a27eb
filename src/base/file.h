/* Files. All writing goes through one table of operations, so that a test can make the disk full,
 * tear a write or fail a sync. A finished write is atomic and durable: temporary name in the same
 * directory, write, fsync, rename, fsync of the directory. Paths are NUL-terminated UTF-8.
 * Functions are safe from any thread; a struct file_writer belongs to one. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Replaceable system calls; each returns as the call of its name does and sets errno. */
struct file_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *p, size_t n);
    int (*fsync)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*ftruncate)(int fd, off_t size);
};
/* NULL restores the real ones. For tests, before other threads start. */
void file_ops_set(const struct file_ops *ops);

/* Whole file into b (b's maximum is the limit). ERR_LIMIT names path and limit. */
int file_read(const char *path, struct buf *b, struct err *err);
int file_write_atomic(const char *path, struct str data, struct err *err);

/* Streaming form of the same. abort removes the temporary; commit makes the file appear. */
struct file_writer {
    int fd;
    char *path, *temp;
    int64_t size;
};
int file_writer_open(const char *path, struct file_writer *ret, struct err *err);
int file_writer_add(struct file_writer *w, const void *p, size_t n, struct err *err);
int file_writer_sync(struct file_writer *w, struct err *err); /* early, so that commit is quick */
int file_writer_commit(struct file_writer *w, struct err *err);
void file_writer_abort(struct file_writer *w); /* also fine after commit */

/* A file that grows line by line (metrics, logs). file_append writes all of s or fails; with `sync`
 * the line is on disk on return. */
int file_append_open(const char *path, int64_t keep_bytes, int *ret_fd, struct err *err);
int file_append(int fd, const char *path, struct str s, bool sync, struct err *err);
void file_close(int fd);

/* Read-only map of a whole file, shared with the page cache. An empty file maps to n = 0. */
struct file_map {
    const unsigned char *p;
    size_t n;
};
int file_map_open(const char *path, struct file_map *ret, struct err *err);
void file_map_close(struct file_map *m);

bool file_exists(const char *path);
bool dir_exists(const char *path);
int file_size(const char *path, int64_t *ret, struct err *err);
int dir_make(const char *path, struct err *err);    /* with parents; present is fine */
int dir_sync(const char *path, struct err *err);    /* names made in it or removed are on disk */
int file_remove(const char *path, struct err *err); /* absent is fine */
int dir_remove_all(const char *path, struct err *err);
int file_rename(const char *from, const char *to, struct err *err); /* and syncs the directory */
/* Names (without "." and ".."), sorted by bytes; caller frees each and the array. */
int dir_list(const char *path, char ***ret_names, size_t *ret_count, struct err *err);
void dir_list_free(char **names, size_t count);
/* "a/b"; caller frees with mem_free. An absolute b is returned as is. */
char *path_join(const char *a, const char *b);
struct str path_base(const char *path); /* last component */
/* $ATTUNE_HOME, else $XDG_DATA_HOME/attune, else ~/.local/share/attune; caller frees. */
char *path_home(void);

#endif
