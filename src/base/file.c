#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int real_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

static const struct file_ops real_ops = {real_open, write, fsync, rename, ftruncate};
static const struct file_ops *ops = &real_ops;

void file_ops_set(const struct file_ops *replacement) {
    ops = replacement ? replacement : &real_ops;
}

static int fd_size(int fd, const char *path, int64_t *ret, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return err_sys(err, errno, "could not examine \"%s\"", path);
    if (S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "\"%s\" is a directory, not a file", path);
    *ret = st.st_size;
    return 0;
}

int file_read(const char *path, struct buf *b, struct err *err) {
    int fd = ops->open(path, O_RDONLY | O_CLOEXEC, 0), rc = 0;
    if (fd < 0) return err_sys(err, errno, "could not open \"%s\"", path);
    int64_t size = 0;
    rc = fd_size(fd, path, &size, err);
    while (!rc) {
        char chunk[1 << 16];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = err_sys(err, errno, "could not read \"%s\"", path);
        if (n <= 0) break;
        buf_add(b, chunk, (size_t)n);
        if (!buf_ok(b))
            rc = err_set(err, ERR_LIMIT, "\"%s\" is larger than the limit of %zu bytes", path,
                         b->max);
    }
    close(fd);
    return rc;
}

static int write_all(int fd, const char *path, const void *data, size_t n, struct err *err) {
    const char *p = data;
    while (n > 0) {
        ssize_t done = ops->write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return err_sys(err, errno, "could not write \"%s\"", path);
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

int dir_sync(const char *path, struct err *err) {
    int rc = 0, fd = ops->open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        rc = err_sys(err, errno, "could not open directory \"%s\"", path);
    else if (ops->fsync(fd) != 0 && errno != EINVAL) /* some file systems cannot sync a directory */
        rc = err_sys(err, errno, "could not sync directory \"%s\"", path);
    file_close(fd);
    return rc;
}

static int dir_sync_of(const char *path, struct err *err) {
    size_t n = (size_t)(path_base(path).p - path);
    char *dir = n ? mem_strndup(path, n) : mem_strdup(".");
    int rc = dir_sync(dir, err);
    mem_free(dir);
    return rc;
}

int file_writer_open(const char *path, struct file_writer *ret, struct err *err) {
    size_t n = strlen(path) + 32;
    char *temp = mem_alloc(n);
    snprintf(temp, n, "%s.tmp-%ld", path, (long)getpid());
    int fd = ops->open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        int rc = err_sys(err, errno, "could not create \"%s\"", path);
        mem_free(temp);
        return rc;
    }
    *ret = (struct file_writer){.fd = fd, .path = mem_strdup(path), .temp = temp};
    return 0;
}

int file_writer_add(struct file_writer *w, const void *p, size_t n, struct err *err) {
    int rc = write_all(w->fd, w->path, p, n, err);
    if (!rc) w->size += (int64_t)n;
    return rc;
}

int file_writer_sync(struct file_writer *w, struct err *err) {
    return ops->fsync(w->fd) == 0 ? 0 : err_sys(err, errno, "could not sync \"%s\"", w->path);
}

int file_writer_commit(struct file_writer *w, struct err *err) {
    int rc = file_writer_sync(w, err);
    close(w->fd);
    w->fd = -1;
    if (!rc && ops->rename(w->temp, w->path) != 0)
        rc = err_sys(err, errno, "could not rename \"%s\" to \"%s\"", w->temp, w->path);
    if (!rc) {
        mem_free(w->temp);
        w->temp = NULL;
        rc = dir_sync_of(w->path, err);
    }
    file_writer_abort(w);
    return rc;
}

void file_writer_abort(struct file_writer *w) {
    if (w->fd >= 0 && w->path) close(w->fd);
    if (w->temp) unlink(w->temp);
    mem_free(w->temp);
    mem_free(w->path);
    *w = (struct file_writer){.fd = -1};
}

int file_write_atomic(const char *path, struct str data, struct err *err) {
    struct file_writer w;
    int rc = file_writer_open(path, &w, err);
    if (rc) return rc;
    rc = file_writer_add(&w, data.p, data.n, err);
    if (!rc) return file_writer_commit(&w, err);
    file_writer_abort(&w);
    return rc;
}

int file_append_open(const char *path, int64_t keep_bytes, int *ret_fd, struct err *err) {
    int fd = ops->open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return err_sys(err, errno, "could not open \"%s\"", path);
    if (ops->ftruncate(fd, keep_bytes) != 0 || lseek(fd, keep_bytes, SEEK_SET) < 0) {
        int rc =
            err_sys(err, errno, "could not cut \"%s\" to %lld bytes", path, (long long)keep_bytes);
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

int file_append(int fd, const char *path, struct str s, bool sync, struct err *err) {
    int rc = write_all(fd, path, s.p, s.n, err);
    if (!rc && sync && ops->fsync(fd) != 0) rc = err_sys(err, errno, "could not sync \"%s\"", path);
    return rc;
}

void file_close(int fd) {
    if (fd >= 0) close(fd);
}

int file_map_open(const char *path, struct file_map *ret, struct err *err) {
    int fd = ops->open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return err_sys(err, errno, "could not open \"%s\"", path);
    int64_t size = 0;
    int rc = fd_size(fd, path, &size, err);
    void *p = NULL;
    if (!rc && size > 0) {
        p = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) rc = err_sys(err, errno, "could not map \"%s\"", path);
    }
    close(fd);
    if (!rc) *ret = (struct file_map){p, (size_t)size};
    return rc;
}

void file_map_close(struct file_map *m) {
    if (m->p) munmap((void *)m->p, m->n);
    *m = (struct file_map){0};
}

bool file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool dir_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int file_size(const char *path, int64_t *ret, struct err *err) {
    struct stat st;
    if (stat(path, &st) != 0) return err_sys(err, errno, "could not examine \"%s\"", path);
    *ret = st.st_size;
    return 0;
}

int dir_make(const char *path, struct err *err) {
    char *p = mem_strdup(path);
    int rc = 0;
    for (char *at = p + 1; !rc && *path; at++) {
        if (*at != '/' && *at != '\0') continue;
        char was = *at;
        *at = '\0';
        if (mkdir(p, 0755) != 0 && !dir_exists(p))
            rc = err_sys(err, errno, "could not create directory \"%s\"", p);
        *at = was;
        if (was == '\0') break;
    }
    mem_free(p);
    return rc;
}

int file_remove(const char *path, struct err *err) {
    if (unlink(path) == 0 || errno == ENOENT) return 0;
    return err_sys(err, errno, "could not remove \"%s\"", path);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk) {
    (void)st, (void)type, (void)walk;
    return remove(path);
}

int dir_remove_all(const char *path, struct err *err) {
    if (!dir_exists(path)) return 0;
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0) return 0;
    return err_sys(err, errno, "could not remove \"%s\"", path);
}

int file_rename(const char *from, const char *to, struct err *err) {
    if (ops->rename(from, to) != 0)
        return err_sys(err, errno, "could not rename \"%s\" to \"%s\"", from, to);
    return dir_sync_of(to, err);
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int dir_list(const char *path, char ***ret_names, size_t *ret_count, struct err *err) {
    DIR *d = opendir(path);
    if (!d) return err_sys(err, errno, "could not open directory \"%s\"", path);
    char **names = NULL;
    size_t count = 0, cap = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        mem_grow((void **)&names, &cap, count + 1, sizeof *names);
        names[count++] = mem_strdup(e->d_name);
    }
    closedir(d);
    if (count) qsort(names, count, sizeof *names, by_bytes);
    *ret_names = names;
    *ret_count = count;
    return 0;
}

void dir_list_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) mem_free(names[i]);
    mem_free(names);
}

char *path_join(const char *a, const char *b) {
    if (b[0] == '/' || !a[0]) return mem_strdup(b);
    size_t n = strlen(a) + strlen(b) + 2;
    char *p = mem_alloc(n);
    snprintf(p, n, "%s%s%s", a, a[strlen(a) - 1] == '/' ? "" : "/", b);
    return p;
}

struct str path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return str_of(slash ? slash + 1 : path);
}

char *path_home(void) {
    const char *set = getenv("ATTUNE_HOME");
    if (set && *set) return mem_strdup(set);
    const char *data = getenv("XDG_DATA_HOME");
    if (data && *data) return path_join(data, "attune");
    const char *home = getenv("HOME");
    return path_join(home && *home ? home : "/tmp", ".local/share/attune");
}
