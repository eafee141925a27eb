/* The reference of preference pairs: the log-probability of every output under the model that
 * training begins with (the base, with the adapter of --init where there is one). Computed once
 * before step 1 by the same net on the same micro-batches, kept in OUT/checkpoint/reference.json
 * with all its digits. Where that is gone it is computed again from the first values, to the same
 * bits. Only rows that the job comes to are computed; the others are null. */
#include "train/trainer.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

#define REFERENCE_FORMAT 1
#define REFERENCE_BYTES_MAX ((size_t)1 << 30)

static char *reference_path(const struct trainer *t) {
    return trainer_path(t, "checkpoint/reference.json");
}

bool reference_exists(const struct trainer *t) {
    char *path = reference_path(t);
    bool yes = file_exists(path);
    mem_free(path);
    return yes;
}

/* --- computing --- */

static void forget(struct dataset *d) {
    for (int64_t i = 0; i < d->count * d->per_row; i++) d->list[i].reference = NAN;
}

/* the rows are the datasets' own, which may be written */
static int compute(struct trainer *t, const struct sample *const *rows, int64_t count,
                   double *scratch, struct err *err) {
    struct objective o = trainer_objective(t);
    objective_logprobs(&o, t->net, rows, count, scratch);
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(scratch[i]))
            return err_set(err, ERR_INVALID,
                           "row %lld has no finite log-probability under the model as it is; "
                           "its weights may be damaged",
                           (long long)rows[i]->number);
        ((struct sample *)rows[i])->reference = scratch[i];
    }
    t->interrupted = t->stop && *t->stop;
    return 0;
}

/* the first epoch has every row once */
static int compute_all(struct trainer *t, struct err *err) {
    const struct job *j = &t->job;
    int64_t steps = j->steps < j->epoch_steps ? j->steps : j->epoch_steps;
    int64_t most = j->o.batch_size * t->data.per_row;
    double *scratch = mem_zalloc((size_t)most, sizeof *scratch);
    int rc = 0;
    trainer_note(t, "reference: log-probabilities of the pairs under the model as it is");
    for (int64_t step = 1; !rc && !t->interrupted && step <= steps; step++) {
        int64_t count = trainer_step_rows(t, step);
        rc = compute(t, t->step_rows, count, scratch, err);
    }
    for (int64_t at = 0; !rc && !t->interrupted && at < t->valid_count; at += most) {
        int64_t left = t->valid_count - at;
        rc = compute(t, t->valid + at, left < most ? left : most, scratch, err);
    }
    mem_free(scratch);
    return rc;
}

/* --- the file --- */

static void write_list(struct buf *b, const char *key, const struct dataset *d) {
    buf_printf(b, ",\n\"%s\":[", key);
    for (int64_t i = 0; i < d->count * d->per_row; i++) {
        double x = d->list[i].reference;
        buf_z(b, i ? "," : "");
        if (isnan(x))
            buf_z(b, "null");
        else
            buf_printf(b, "%.17g", x);
        if (i % 8 == 7) buf_byte(b, '\n');
    }
    buf_byte(b, ']');
}

static int save(const struct trainer *t, struct err *err) {
    char *dir = trainer_path(t, "checkpoint"), *path = reference_path(t);
    struct buf b;
    buf_init(&b, REFERENCE_BYTES_MAX);
    buf_printf(&b, "{\"format\":%d", REFERENCE_FORMAT);
    write_list(&b, "data", &t->data);
    write_list(&b, "valid", &t->valid_data);
    buf_z(&b, "}\n");
    int rc = dir_make(dir, err);
    if (!rc)
        rc = buf_ok(&b) ? file_write_atomic(path, buf_view(&b), err)
                        : err_set(err, ERR_LIMIT, "\"%s\" would be too long", path);
    buf_release(&b);
    mem_free(path);
    mem_free(dir);
    return rc;
}

static bool read_list(const json_t *root, const char *key, struct dataset *d) {
    const json_t *list = json_object_get(root, key), *x;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) != (size_t)(d->count * d->per_row))
        return false;
    json_array_foreach(list, i, x) {
        if (!json_is_number(x) && !json_is_null(x)) return false;
        d->list[i].reference = json_is_null(x) ? NAN : json_number_value(x);
    }
    return true;
}

static int load(struct trainer *t, struct err *err) {
    char *path = reference_path(t);
    json_t *root = NULL;
    int64_t format = 0;
    int rc = json_read_file(path, REFERENCE_BYTES_MAX, &root, err);
    if (!rc) rc = json_get_i64(root, "format", path, 0, INT32_MAX, &format, err);
    if (!rc && (format != REFERENCE_FORMAT || !read_list(root, "data", &t->data) ||
                !read_list(root, "valid", &t->valid_data)))
        rc = err_set(err, ERR_CORRUPT, "\"%s\" is damaged; remove it and it is computed again",
                     path);
    json_decref(root);
    mem_free(path);
    return rc;
}

int reference_prepare(struct trainer *t, struct err *err) {
    if (t->job.o.objective != OBJECTIVE_DPO) return 0;
    forget(&t->data);
    forget(&t->valid_data);
    if (reference_exists(t)) return load(t, err);
    int rc = compute_all(t, err);
    return rc || t->interrupted ? rc : save(t, err);
}
