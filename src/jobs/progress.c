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

struct step_numbers step_nothing(int64_t step) {
    struct step_side none = {NAN, NAN, NAN, NAN, NAN};
    return (struct step_numbers){step, none, none};
}

static int read_line(struct str line, const char *path, struct step_numbers *s, struct err *err) {
    const struct {
        const char *key;
        double *to;
    } numbers[] = {{"loss", &s->train.loss},
                   {"accuracy", &s->train.accuracy},
                   {"margin", &s->train.margin},
                   {"rewards/chosen", &s->train.chosen},
                   {"rewards/rejected", &s->train.rejected},
                   {"valid_loss", &s->valid.loss},
                   {"valid_accuracy", &s->valid.accuracy},
                   {"valid_margin", &s->valid.margin},
                   {"valid_rewards/chosen", &s->valid.chosen},
                   {"valid_rewards/rejected", &s->valid.rejected}};
    json_t *root = NULL;
    *s = step_nothing(0);
    int rc = json_read(line, path, &root, err);
    if (!rc) rc = json_get_i64(root, "step", path, 1, INT64_MAX, &s->step, err);
    for (size_t i = 0; !rc && i < sizeof numbers / sizeof *numbers; i++)
        rc = json_get_double(root, numbers[i].key, path, numbers[i].to, err);
    json_decref(root);
    return rc;
}

static int take_line(struct follow *f, struct str line, follow_fn *on, void *ctx, struct err *err) {
    struct step_numbers s;
    int rc = read_line(line, f->path, &s, err);
    if (rc) return rc;
    if (f->has_pending && f->pending.step == s.step && isnan(s.train.loss)) {
        f->pending.valid = s.valid;
        return 0;
    }
    rc = give_pending(f, on, ctx, err);
    f->pending = s;
    f->has_pending = !rc && !isnan(s.train.loss);
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
               s->train.loss);
    if (!isnan(s->valid.loss)) buf_printf(out, ", validation loss=%.2f", s->valid.loss);
}

static void add_number(struct buf *out, const char *of, const char *key, double x) {
    if (isfinite(x)) buf_printf(out, ",\"%s_%s\":%.9g", of, key, x);
}

/* of pairs, `accuracy` is not about tokens */
static void add_side(struct buf *out, const char *of, const struct step_side *s) {
    bool pairs = !isnan(s->margin);
    add_number(out, of, "loss", s->loss);
    add_number(out, of, pairs ? "reward_accuracy" : "mean_token_accuracy", s->accuracy);
    add_number(out, of, "reward_margin", s->margin);
    add_number(out, of, "reward_chosen", s->chosen);
    add_number(out, of, "reward_rejected", s->rejected);
}

void step_json(const struct step_numbers *s, int64_t steps, bool whole, struct buf *out) {
    buf_printf(out, "{\"step\":%lld", (long long)s->step);
    if (steps > 0) buf_printf(out, ",\"total_steps\":%lld", (long long)steps);
    add_side(out, "train", &s->train);
    add_side(out, "valid", &s->valid);
    if (whole) add_side(out, "full_valid", &s->valid);
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
    add_cell(out, s->train.loss);
    add_cell(out, s->train.accuracy);
    add_cell(out, s->valid.loss);
    add_cell(out, s->valid.accuracy);
    buf_byte(out, '\n');
}
