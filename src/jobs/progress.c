#include "jobs/progress.h"

#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define TAIL_MAX ((size_t)1 << 28)

/* --- reading --- */

static int read_tail(const struct follow *f, struct buf *b, struct err *err) {
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : err_sys(err, errno, "could not open \"%s\"", f->path);
    char chunk[1 << 14];
    ssize_t n;
    int64_t at = f->at;
    while ((n = pread(fd, chunk, sizeof chunk, at)) > 0) {
        buf_add(b, chunk, (size_t)n);
        at += n;
    }
    int rc = n < 0 ? err_sys(err, errno, "could not read \"%s\"", f->path) : 0;
    if (!rc && !buf_ok(b)) rc = err_set(err, ERR_LIMIT, "\"%s\" is too long", f->path);
    file_close(fd);
    return rc;
}

static int give_pending(struct follow *f, follow_fn *on, void *ctx, struct err *err) {
    if (!f->has_pending) return 0;
    f->has_pending = false;
    return on(ctx, &f->pending, err);
}

static int take_line(struct follow *f, struct str line, follow_fn *on, void *ctx, struct err *err) {
    struct step_numbers s = {0, NAN, NAN, NAN, NAN};
    json_t *root = NULL;
    int rc = json_read(line, f->path, &root, err);
    if (!rc) rc = json_get_i64(root, "step", f->path, 1, INT64_MAX, &s.step, err);
    if (!rc) rc = json_get_double(root, "loss", f->path, &s.loss, err);
    if (!rc) rc = json_get_double(root, "accuracy", f->path, &s.accuracy, err);
    if (!rc) rc = json_get_double(root, "valid_loss", f->path, &s.valid_loss, err);
    if (!rc) rc = json_get_double(root, "valid_accuracy", f->path, &s.valid_accuracy, err);
    json_decref(root);
    if (rc) return rc;
    if (f->has_pending && f->pending.step == s.step && isnan(s.loss)) {
        f->pending.valid_loss = s.valid_loss;
        f->pending.valid_accuracy = s.valid_accuracy;
        return 0;
    }
    rc = give_pending(f, on, ctx, err);
    f->pending = s;
    f->has_pending = !rc && !isnan(s.loss);
    return rc;
}

int follow_read(struct follow *f, bool flush, follow_fn *on, void *ctx, struct err *err) {
    struct buf b;
    buf_init(&b, TAIL_MAX);
    int rc = read_tail(f, &b, err);
    size_t at = 0;
    while (!rc && at < b.n) {
        const char *end = memchr(b.p + at, '\n', b.n - at);
        if (!end) break; /* still being written */
        size_t n = (size_t)(end - (b.p + at));
        rc = take_line(f, (struct str){b.p + at, n}, on, ctx, err);
        at += n + 1;
    }
    f->at += (int64_t)at;
    buf_release(&b);
    return rc || !flush ? rc : give_pending(f, on, ctx, err);
}

/* --- writing --- */

void step_message(const struct step_numbers *s, int64_t steps, struct buf *out) {
    buf_printf(out, "Step %lld/%lld: training loss=%.2f", (long long)s->step, (long long)steps,
               s->loss);
    if (!isnan(s->valid_loss)) buf_printf(out, ", validation loss=%.2f", s->valid_loss);
}

static void add_number(struct buf *out, const char *key, double x) {
    if (isfinite(x)) buf_printf(out, ",\"%s\":%.9g", key, x);
}

void step_json(const struct step_numbers *s, int64_t steps, bool whole, struct buf *out) {
    buf_printf(out, "{\"step\":%lld", (long long)s->step);
    if (steps > 0) buf_printf(out, ",\"total_steps\":%lld", (long long)steps);
    add_number(out, "train_loss", s->loss);
    add_number(out, "train_mean_token_accuracy", s->accuracy);
    add_number(out, "valid_loss", s->valid_loss);
    add_number(out, "valid_mean_token_accuracy", s->valid_accuracy);
    if (whole) {
        add_number(out, "full_valid_loss", s->valid_loss);
        add_number(out, "full_valid_mean_token_accuracy", s->valid_accuracy);
    }
    buf_byte(out, '}');
}

void step_csv_header(struct buf *out) {
    buf_z(out, "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n");
}

static void add_cell(struct buf *out, double x) {
    buf_byte(out, ',');
    if (isfinite(x)) buf_printf(out, "%.5f", x);
}

void step_csv(const struct step_numbers *s, struct buf *out) {
    buf_printf(out, "%lld", (long long)s->step);
    add_cell(out, s->loss);
    add_cell(out, s->accuracy);
    add_cell(out, s->valid_loss);
    add_cell(out, s->valid_accuracy);
    buf_byte(out, '\n');
}
