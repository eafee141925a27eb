/* What tests of whole training jobs share. */
#ifndef TESTS_TRAIN_JOBS_H
#define TESTS_TRAIN_JOBS_H

#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "train/train.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static inline char *in_dir(const char *name) { return path_join(unit_dir(), name); }

static inline struct buf file_bytes(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    struct buf b;
    struct err err;
    buf_init(&b, 16 << 20);
    if (file_read(path, &b, &err)) fail_msg("%s", err.msg);
    mem_free(path);
    return b;
}

static inline void expect_same_file(const char *a, const char *b, const char *name) {
    struct buf x = file_bytes(a, name), y = file_bytes(b, name);
    if (x.n != y.n || memcmp(x.p, y.p, x.n) != 0)
        fail_msg("%s differs between %s and %s", name, a, b);
    buf_release(&x);
    buf_release(&y);
}

static inline int lines(const struct buf *b) {
    int n = 0;
    for (size_t i = 0; i < b->n; i++) n += b->p[i] == '\n';
    return n;
}

static inline void expect_names(const char *dir, const char *const *want, size_t n) {
    char **names;
    size_t count;
    struct err err;
    assert_int_equal(dir_list(dir, &names, &count, &err), 0);
    assert_int_equal(count, n);
    for (size_t i = 0; i < n; i++) assert_string_equal(names[i], want[i]);
    dir_list_free(names, count);
}

/* In a child of its own: begins or goes on, killed after `us` microseconds unless 0. True when
 * done. */
static inline bool child_works(const struct train_options *o, bool begin, unsigned us) {
    pid_t child = fork();
    if (child == 0) {
        struct train_result r;
        struct err err;
        int rc = begin ? train_run(o, NULL, NULL, &r, &err)
                       : train_resume(o->out, 1, NULL, NULL, &r, &err);
        if (rc) fprintf(stderr, "child: %s\n", err.msg);
        _exit(rc ? 1 : 0);
    }
    if (us) {
        usleep(us);
        kill(child, SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) fail_msg("the job failed");
    return WIFEXITED(status);
}

static inline bool there_is(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    bool yes = file_exists(path);
    mem_free(path);
    return yes;
}

static inline void write_file(const char *dir, const char *name, struct str text) {
    struct err err;
    char *path = path_join(dir, name);
    assert_int_equal(file_write_atomic(path, text, &err), 0);
    mem_free(path);
}

#endif
