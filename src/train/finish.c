/* The result of a job. Its files are written atomically one by one, result.json last: where that
 * is, the job is done. Until then the checkpoint stays, and finishing again writes the same bytes.
 */
#include "train/trainer.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/save.h"
#include "train/plot.h"
#include "weights/tensors.h"

#include <math.h>
#include <string.h>

#define METRICS_MAX ((size_t)1 << 30)
#define PLOT_MAX ((size_t)4 << 20)
#define RESULT_MAX ((size_t)1 << 16)
#define SHARD_BYTES ((int64_t)4 << 30)

static const float *final_values(const struct trainer *t) {
    bool best = t->params.best && t->state.best_step > 0;
    return best ? t->params.best : t->params.value;
}

static struct tensor_out *tensor_list(const struct trainer *t, const float *values) {
    const struct params *p = &t->params;
    struct tensor_out *list = mem_zalloc((size_t)p->count, sizeof *list);
    for (int64_t i = 0; i < p->count; i++)
        list[i] = (struct tensor_out){.name = p->list[i].name,
                                      .type = TENSOR_F32,
                                      .dims = p->list[i].dims,
                                      .shape = {p->list[i].shape[0], p->list[i].shape[1]},
                                      .data = values + p->list[i].offset};
    return list;
}

/* --- the adapter --- */

static int write_json(const struct trainer *t, const char *name, const json_t *root,
                      struct err *err) {
    struct buf b;
    buf_init(&b, RESULT_MAX);
    json_write(root, &b);
    buf_byte(&b, '\n');
    char *path = trainer_path(t, name);
    int rc = buf_ok(&b) ? file_write_atomic(path, buf_view(&b), err)
                        : err_set(err, ERR_LIMIT, "\"%s\" is too long", path);
    mem_free(path);
    buf_release(&b);
    return rc;
}

/* opened as any user of it would, and equal to what was trained */
static int adapter_reads_back(const struct trainer *t, struct err *err) {
    struct adapter *a = NULL;
    char warning[240] = "";
    int rc = adapter_open(t->model, t->job.o.out, &a, warning, err);
    if (rc) return rc;
    const float *values = final_values(t);
    for (int64_t l = 0; !rc && l < a->layer_count; l++) {
        for (int k = 0; k < LIN_COUNT; k++) {
            int64_t at = t->params.layers[l].b[k], rank = t->params.rank;
            const float *b = a->lora[l][k].b;
            if (at < 0) continue;
            size_t bytes = (size_t)(t->model->layers[l].lin[k].out * rank) * sizeof *b;
            if (!b || memcmp(b, values + at, bytes) != 0)
                rc = err_set(err, ERR_CORRUPT,
                             "the adapter in \"%s\" does not read back as it was written",
                             t->job.o.out);
        }
    }
    adapter_close(a);
    return rc;
}

int adapter_write(const struct trainer *t, const char *dir, const float *values, struct err *err) {
    const struct train_options *o = &t->job.o;
    struct adapter_meta meta = {.rank = o->rank,
                                .dataset = o->dataset,
                                .alpha = o->alpha,
                                .dropout = o->dropout,
                                .rslora = o->rslora,
                                .targets = o->targets,
                                .base_path = o->base,
                                .hashes = t->job.hashes};
    struct tensor_out *list = tensor_list(t, values);
    char *path = path_join(dir, "adapter_model.safetensors");
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    int rc = safetensors_write(path, list, t->params.count, metadata, err);
    if (!rc) rc = adapter_config_save(dir, &meta, err);
    json_decref(metadata);
    mem_free(path);
    mem_free(list);
    return rc;
}

static int write_result_adapter(struct trainer *t, struct err *err) {
    int rc = adapter_write(t, t->job.o.out, final_values(t), err);
    params_drop_moments(&t->params); /* reading back takes less than they did */
    return rc ? rc : adapter_reads_back(t, err);
}

/* --- the model --- */

/* The moments are done with: their memory holds the narrowed matrices. */
static void narrow_matrices(struct trainer *t, struct tensor_out *list) {
    char *to = (char *)t->params.m;
    for (int64_t i = 0; i < t->params.count; i++) {
        const struct param *p = &t->params.list[i];
        char *at = to + (size_t)p->offset * sizeof(uint16_t);
        num_narrow(at, NUM_BF16, list[i].data, p->shape[0] * p->shape[1]);
        list[i].type = TENSOR_BF16;
        list[i].data = at;
    }
}

static int write_model(struct trainer *t, struct err *err) {
    bool narrow = t->job.o.dtype == NUM_BF16;
    struct tensor_out *list = tensor_list(t, final_values(t));
    if (narrow) narrow_matrices(t, list);
    t->model->config = t->config; /* from scratch the model was opened for its tokenizer only */
    int rc = safetensors_write_dir(t->job.o.out, list, t->params.count, SHARD_BYTES, err);
    if (!rc) rc = model_save_assets(t->model, narrow ? TENSOR_BF16 : TENSOR_F32, t->job.o.out, err);
    mem_free(list);
    return rc;
}

/* --- the plot --- */

struct curve {
    struct plot_point *list;
    int64_t count;
    size_t cap;
};

static void add_point(struct curve *c, double x, double y) {
    mem_grow((void **)&c->list, &c->cap, (size_t)c->count + 1, sizeof *c->list);
    c->list[c->count++] = (struct plot_point){x, y};
}

static int read_line(struct str line, struct curve *steps, struct curve *valid, struct err *err) {
    json_t *root = NULL;
    double step = 0, loss = NAN, judged = NAN;
    int rc = json_read(line, "metrics.jsonl", &root, err);
    if (!rc) rc = json_get_double(root, "step", "metrics.jsonl", &step, err);
    if (!rc) rc = json_get_double(root, "loss", "metrics.jsonl", &loss, err);
    if (!rc) rc = json_get_double(root, "valid_loss", "metrics.jsonl", &judged, err);
    if (!rc && !isnan(loss)) add_point(steps, step, loss);
    if (!rc && !isnan(judged)) add_point(valid, step, judged);
    json_decref(root);
    return rc;
}

static int read_curves(const struct trainer *t, struct curve *steps, struct curve *valid,
                       struct err *err) {
    struct buf b;
    buf_init(&b, METRICS_MAX);
    int rc = file_read(t->metrics.path, &b, err);
    for (size_t at = 0; !rc && at < b.n;) {
        const char *end = memchr(b.p + at, '\n', b.n - at);
        size_t n = end ? (size_t)(end - (b.p + at)) : b.n - at;
        rc = read_line((struct str){b.p + at, n}, steps, valid, err);
        at += n + 1;
    }
    buf_release(&b);
    return rc;
}

static int write_plot(struct trainer *t, struct err *err) {
    struct curve steps = {0}, valid = {0};
    struct buf svg;
    char *path = trainer_path(t, "loss.svg");
    buf_init(&svg, PLOT_MAX);
    int rc = read_curves(t, &steps, &valid, err);
    plot_svg(&(struct plot){.steps = steps.list,
                            .step_count = steps.count,
                            .valid = valid.list,
                            .valid_count = valid.count,
                            .best_step = t->params.best ? t->state.best_step : 0,
                            .title = "loss"},
             &svg);
    if (!rc) rc = file_write_atomic(path, buf_view(&svg), err);
    buf_release(&svg);
    mem_free(path);
    mem_free(steps.list);
    mem_free(valid.list);
    return rc;
}

/* --- result.json --- */

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static int write_result(struct trainer *t, struct err *err) {
    const struct train_state *s = &t->state;
    json_t *o = json_object();
    json_object_set_new(o, "steps", json_integer(s->step));
    json_object_set_new(o, "first_loss", number(s->first_loss));
    json_object_set_new(o, "last_loss", number(s->last_loss));
    json_object_set_new(o, "best_step", json_integer(s->best_step));
    json_object_set_new(o, "best_valid", number(s->best_valid));
    json_object_set_new(o, "stopped_early", json_boolean(s->stopped_early));
    json_object_set_new(o, "seconds", number(s->seconds));
    json_object_set_new(o, "peak_bytes", json_integer((int64_t)mem_rss_peak()));
    int rc = write_json(t, "result.json", o, err);
    json_decref(o);
    return rc;
}

int finish_read(const char *out, struct train_result *ret, bool *ret_found, struct err *err) {
    char *path = path_join(out, "result.json");
    json_t *o = NULL;
    struct train_result r = {.first_loss = NAN, .last_loss = NAN, .best_valid = NAN};
    int64_t peak = 0;
    int rc = 0;
    *ret_found = file_exists(path);
    if (!*ret_found) goto out;
    rc = json_read_file(path, RESULT_MAX, &o, err);
    if (!rc) rc = json_get_i64(o, "steps", path, 0, INT64_MAX, &r.steps, err);
    if (!rc) rc = json_get_i64(o, "best_step", path, 0, INT64_MAX, &r.best_step, err);
    if (!rc) rc = json_get_i64(o, "peak_bytes", path, 0, INT64_MAX, &peak, err);
    if (!rc) rc = json_get_double(o, "first_loss", path, &r.first_loss, err);
    if (!rc) rc = json_get_double(o, "last_loss", path, &r.last_loss, err);
    if (!rc) rc = json_get_double(o, "best_valid", path, &r.best_valid, err);
    if (!rc) rc = json_get_double(o, "seconds", path, &r.seconds, err);
    if (!rc) rc = json_get_bool(o, "stopped_early", path, &r.stopped_early, err);
    r.peak_bytes = (size_t)peak;
    if (!rc) *ret = r;
out:
    json_decref(o);
    mem_free(path);
    return rc;
}

int check_values(const struct trainer *t, const float *values, struct err *err) {
    for (int64_t i = 0; i < t->params.n; i++)
        if (!isfinite(values[i]))
            return err_set(err, ERR_INVALID,
                           "a trained weight is no longer a number (%g); a smaller --lr than %g "
                           "helps as a rule",
                           (double)values[i], t->job.o.lr);
    return 0;
}

int finish_job(struct trainer *t, struct err *err) {
    int rc = metrics_sync(&t->metrics, err);
    if (!rc) rc = check_values(t, final_values(t), err);
    if (!rc) rc = epochs_prune(t, err);
    if (!rc)
        rc = t->job.o.method == TRAIN_LORA ? write_result_adapter(t, err) : write_model(t, err);
    if (!rc) rc = write_plot(t, err);
    if (!rc) rc = write_result(t, err);
    if (!rc) rc = checkpoint_remove(t, err);
    return rc ? err_wrap(err, "writing the result") : 0;
}
