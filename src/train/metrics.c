#include "train/metrics.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define METRICS_BYTES_MAX ((size_t)1 << 30)

/* The user's file starts as a copy of ours. A terminal or a pipe only gets what is new. */
static int copy_open(struct metrics *m, struct str so_far, struct err *err) {
    if (!file_exists(m->copy_path) && access(m->copy_path, F_OK) == 0) {
        m->copy_fd = open(m->copy_path, O_WRONLY | O_CLOEXEC);
        return m->copy_fd >= 0 ? 0 : err_sys(err, errno, "could not open \"%s\"", m->copy_path);
    }
    int rc = file_append_open(m->copy_path, 0, &m->copy_fd, err);
    return rc ? rc : file_append(m->copy_fd, m->copy_path, so_far, false, err);
}

int metrics_open(const char *path, const char *copy, int64_t keep, struct metrics *ret,
                 struct err *err) {
    struct metrics m = {.path = mem_strdup(path), .fd = -1, .copy_fd = -1, .bytes = keep};
    struct buf so_far;
    buf_init(&so_far, METRICS_BYTES_MAX);
    int rc = 0;
    if (keep > 0) rc = file_read(path, &so_far, err);
    if (!rc && (int64_t)so_far.n < keep)
        rc = err_set(err, ERR_CORRUPT,
                     "\"%s\" is shorter than the checkpoint says (%zu of %lld bytes)", path,
                     so_far.n, (long long)keep);
    if (!rc) rc = file_append_open(path, keep, &m.fd, err);
    if (!rc && copy && strcmp(copy, path) != 0) {
        m.copy_path = mem_strdup(copy);
        rc = copy_open(&m, (struct str){so_far.p ? so_far.p : "", (size_t)keep}, err);
    }
    buf_release(&so_far);
    if (rc)
        metrics_close(&m);
    else
        *ret = m;
    return rc;
}

void metrics_close(struct metrics *m) {
    if (m->path) {
        file_close(m->fd);
        file_close(m->copy_fd);
    }
    mem_free(m->path);
    mem_free(m->copy_path);
    *m = (struct metrics){.fd = -1, .copy_fd = -1};
}

static int add(struct metrics *m, const struct buf *line, struct err *err) {
    int rc = file_append(m->fd, m->path, buf_view(line), false, err);
    if (!rc) m->bytes += (int64_t)line->n;
    if (!rc && m->copy_fd >= 0)
        rc = file_append(m->copy_fd, m->copy_path, buf_view(line), false, err);
    return rc;
}

/* and the end of the line */
static void add_rewards(struct buf *b, const char *of, const struct train_rewards *r) {
    if (!isnan(r->margin))
        buf_printf(b, ",\"%smargin\":%.9g,\"%srewards/chosen\":%.9g,\"%srewards/rejected\":%.9g",
                   of, r->margin, of, r->chosen, of, r->rejected);
    buf_z(b, "}\n");
}

int metrics_add_step(struct metrics *m, const struct metrics_step *s, struct err *err) {
    struct buf b;
    buf_init(&b, 512);
    buf_printf(&b,
               "{\"step\":%lld,\"loss\":%.9g,\"lr\":%.9g,\"grad_norm\":%.9g,\"tokens\":%lld,"
               "\"rows\":%lld,\"accuracy\":%.9g",
               (long long)s->step, s->loss, s->lr, s->grad_norm, (long long)s->tokens,
               (long long)s->rows, s->accuracy);
    add_rewards(&b, "", &s->rewards);
    int rc = add(m, &b, err);
    buf_release(&b);
    return rc;
}

int metrics_add_valid(struct metrics *m, const struct train_valid *v, struct err *err) {
    struct buf b;
    buf_init(&b, 512);
    buf_printf(&b, "{\"step\":%lld,\"valid_loss\":%.9g,\"valid_accuracy\":%.9g", (long long)v->step,
               v->loss, v->accuracy);
    add_rewards(&b, "valid_", &v->rewards);
    int rc = add(m, &b, err);
    buf_release(&b);
    return rc;
}

int metrics_sync(struct metrics *m, struct err *err) {
    return file_append(m->fd, m->path, (struct str){"", 0}, true, err);
}
