/* OUT/checkpoint/state.safetensors: trained weights, both moments, the best weights, and the
 * counters as metadata. One file, written beside and renamed, so there is always a complete one.
 * The order of the rows, dropout and the learning rate follow from seed and step: no other state
 * exists. */
#include "train/trainer.h"

#include "base/file.h"
#include "base/mem.h"
#include "weights/tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECKPOINT_FORMAT "attune-checkpoint-1"
#define COPY_FLOATS ((int64_t)1 << 18)

static char *state_path(const struct trainer *t) {
    return trainer_path(t, "checkpoint/state.safetensors");
}

static void put_i64(json_t *o, const char *key, int64_t v) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)v);
    json_object_set_new(o, key, json_string(text));
}

static void put_double(json_t *o, const char *key, double v) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", v);
    json_object_set_new(o, key, json_string(text));
}

static json_t *metadata(const struct trainer *t) {
    const struct train_state *s = &t->state;
    json_t *o = json_object();
    json_object_set_new(o, "format", json_string(CHECKPOINT_FORMAT));
    json_object_set_new(o, "data_sha256", json_string(t->job.data_sha256));
    put_i64(o, "step", s->step);
    put_i64(o, "best_step", s->best_step);
    put_i64(o, "validations_without_gain", s->validations_without_gain);
    put_i64(o, "metrics_bytes", s->metrics_bytes);
    put_i64(o, "stopped_early", s->stopped_early);
    put_double(o, "best_valid", s->best_valid);
    put_double(o, "first_loss", s->first_loss);
    put_double(o, "last_loss", s->last_loss);
    put_double(o, "seconds", s->seconds);
    return o;
}

int checkpoint_save(struct trainer *t, struct err *err) {
    const struct params *p = &t->params;
    char *dir = trainer_path(t, "checkpoint"), *path = state_path(t);
    int rc = metrics_sync(&t->metrics, err); /* before what counts its bytes */
    t->state.metrics_bytes = t->metrics.bytes;
    struct tensor_out list[4] = {
        {"value", TENSOR_F32, 1, {p->n}, p->value},
        {"m", TENSOR_F32, 1, {p->n}, p->m},
        {"v", TENSOR_F32, 1, {p->n}, p->v},
        {"best", TENSOR_F32, 1, {p->n}, p->best},
    };
    json_t *meta = metadata(t);
    if (!rc) rc = dir_make(dir, err);
    if (!rc) rc = safetensors_write(path, list, p->best ? 4 : 3, meta, err);
    json_decref(meta);
    mem_free(dir);
    mem_free(path);
    return rc ? err_wrap(err, "saving the checkpoint of step %lld", (long long)t->state.step) : 0;
}

/* --- reading --- */

static bool get_text(const json_t *o, const char *key, const char **ret) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v)) return false;
    *ret = json_string_value(v);
    return true;
}

static bool get_i64(const json_t *o, const char *key, int64_t *ret) {
    const char *text;
    char *end;
    if (!get_text(o, key, &text)) return false;
    *ret = strtoll(text, &end, 10);
    return *text && !*end && *ret >= 0;
}

static bool get_double(const json_t *o, const char *key, double *ret) {
    const char *text;
    char *end;
    if (!get_text(o, key, &text)) return false;
    *ret = strtod(text, &end);
    return *text && !*end;
}

static int read_metadata(const struct trainer *t, const json_t *o, const char *path,
                         struct train_state *ret, struct err *err) {
    const char *format = "", *data = "";
    struct train_state s = {0};
    int64_t stopped = 0;
    bool ok = o && get_text(o, "format", &format) && strcmp(format, CHECKPOINT_FORMAT) == 0 &&
              get_text(o, "data_sha256", &data) && get_i64(o, "step", &s.step) &&
              get_i64(o, "best_step", &s.best_step) &&
              get_i64(o, "validations_without_gain", &s.validations_without_gain) &&
              get_i64(o, "metrics_bytes", &s.metrics_bytes) &&
              get_i64(o, "stopped_early", &stopped) && get_double(o, "best_valid", &s.best_valid) &&
              get_double(o, "first_loss", &s.first_loss) &&
              get_double(o, "last_loss", &s.last_loss) && get_double(o, "seconds", &s.seconds);
    s.stopped_early = stopped != 0;
    if (!ok || s.step > t->job.steps)
        return err_set(err, ERR_CORRUPT,
                       "\"%s\" is not a checkpoint of this job; remove it to begin at step 1",
                       path);
    if (strcmp(data, t->job.data_sha256) != 0)
        return err_set(err, ERR_CONFLICT, "\"%s\" belongs to other data than job.json", path);
    *ret = s;
    return 0;
}

/* never much of both resident */
static void copy_mapped(float *to, const float *from, int64_t n) {
    for (int64_t at = 0; at < n; at += COPY_FLOATS) {
        size_t bytes = (size_t)(n - at < COPY_FLOATS ? n - at : COPY_FLOATS) * sizeof *to;
        memcpy(to + at, from + at, bytes);
        mem_pages_drop(from + at, bytes);
    }
}

static int read_array(struct tensors *from, const char *name, float *to, int64_t n,
                      struct err *err) {
    struct tensor w;
    int rc = tensors_get(from, name, 1, &n, &w, err);
    if (!rc && w.type != TENSOR_F32)
        return err_set(err, ERR_CORRUPT, "checkpoint: \"%s\" is not F32", name);
    if (!rc) copy_mapped(to, w.data, n);
    return rc;
}

bool checkpoint_exists(const struct trainer *t) {
    char *path = state_path(t);
    bool yes = file_exists(path);
    mem_free(path);
    return yes;
}

int checkpoint_load(struct trainer *t, bool *ret_found, struct err *err) {
    struct params *p = &t->params;
    char *path = state_path(t);
    struct tensors *from = NULL;
    struct train_state state;
    int rc = 0;
    *ret_found = file_exists(path);
    if (!*ret_found) goto out;
    rc = tensors_open(path, &from, err);
    if (!rc) rc = read_metadata(t, tensors_metadata(from), path, &state, err);
    if (!rc) rc = read_array(from, "value", p->value, p->n, err);
    if (!rc) rc = read_array(from, "m", p->m, p->n, err);
    if (!rc) rc = read_array(from, "v", p->v, p->n, err);
    if (!rc && p->best) rc = read_array(from, "best", p->best, p->n, err);
    if (!rc) t->state = state;
out:
    tensors_close(from);
    mem_free(path);
    return rc;
}

int checkpoint_remove(struct trainer *t, struct err *err) {
    char *dir = trainer_path(t, "checkpoint");
    int rc = dir_remove_all(dir, err);
    mem_free(dir);
    return rc;
}
