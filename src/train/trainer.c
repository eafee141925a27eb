#include "train/trainer.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_MAX ((size_t)1 << 20)

char *trainer_path(const struct trainer *t, const char *name) {
    return path_join(t->job.o.out, name);
}

void trainer_note(const struct trainer *t, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (t->events && t->events->note) t->events->note(t->events->ctx, text);
}

/* --- opening --- */

static int open_num(struct trainer *t, int threads, struct err *err) {
    enum num_isa isa;
    int rc = num_isa_choose(&isa, err);
    if (rc) return rc;
    if (t->job.o.dtype_auto) t->job.o.dtype = num_compute_default(isa);
    t->job.o.dtype_auto = false;
    t->num =
        num_new(&(struct num_options){.threads = threads, .compute = t->job.o.dtype, .isa = isa});
    return 0;
}

/* A model's shape without weights: a directory with config.json. */
static int read_config(struct trainer *t, struct err *err) {
    char *path = path_join(t->job.o.base, "config.json"),
         *more = path_join(t->job.o.base, "generation_config.json");
    json_t *config = NULL, *generation = NULL;
    int rc = json_read_file(path, CONFIG_MAX, &config, err);
    if (!rc && file_exists(more)) rc = json_read_file(more, CONFIG_MAX, &generation, err);
    if (!rc) rc = model_config_read(config, generation, path, &t->config, err);
    json_decref(config);
    json_decref(generation);
    mem_free(path);
    mem_free(more);
    return rc;
}

static int open_model(struct trainer *t, struct err *err) {
    const struct train_options *o = &t->job.o;
    t->shared_bytes = mem_rss() - mem_rss_anon();
    int rc =
        model_open(o->base, &(struct model_options){.text_only = o->from_scratch}, &t->model, err);
    if (rc) return rc;
    if (model_has_plain_template(t->model))
        trainer_note(t, "the model has no chat template: messages are written as \"User: ...\" and "
                        "\"Assistant: ...\"");
    if (o->from_scratch) return read_config(t, err);
    t->config = t->model->config;
    return 0;
}

/* a checkpoint has what became of them; but pairs are judged by what they were */
static bool first_values_are_needed(const struct trainer *t) {
    bool pairs = t->job.o.objective == OBJECTIVE_DPO;
    return !checkpoint_exists(t) || (pairs && !reference_exists(t));
}

static int open_init(struct trainer *t, struct err *err) {
    const char *dir = t->job.o.init;
    char warning[240] = "";
    if (!dir || !first_values_are_needed(t)) return 0;
    int rc = adapter_open(t->model, dir, &t->init, warning, err);
    if (rc) return err_wrap(err, "--init");
    if (warning[0]) trainer_note(t, "%s", warning);
    rc = adapter_config_read(t->init->config, dir, &t->init_meta, err);
    if (!rc && !t->init_meta.targets) /* a pattern: what is there counts */
        for (int k = 0; k < LIN_COUNT; k++)
            if (t->init->lora[0][k].a) t->init_meta.targets |= 1u << k;
    return rc;
}

static int resolve_length(struct trainer *t, struct err *err) {
    struct train_options *o = &t->job.o;
    int64_t most = t->config.max_position;
    if (o->max_length > most)
        return err_set(err, ERR_USAGE, "--max-length %lld is more than the model's %lld positions",
                       (long long)o->max_length, (long long)most);
    if (o->max_length <= 0) o->max_length = most < 4096 ? most : 4096;
    return 0;
}

static int check_ids(const struct dataset *d, const char *path, int64_t vocab, struct err *err) {
    for (int64_t r = 0; r < d->count * d->per_row; r++)
        for (int64_t i = 0; i < d->list[r].n; i++)
            if (d->list[r].ids[i] < 0 || d->list[r].ids[i] >= vocab)
                return err_set(err, ERR_INVALID,
                               "\"%s\" row %lld: the tokenizer gives id %d, the model has %lld",
                               path, (long long)d->list[r].number, d->list[r].ids[i],
                               (long long)vocab);
    return 0;
}

static int load_rows(struct trainer *t, const char *path, struct dataset *d, struct err *err) {
    struct render_options render = {.tokenizer = model_tokenizer(t->model),
                                    .chat = model_template(t->model),
                                    .max_length = t->job.o.max_length};
    int rc = dataset_load(path, &render, d, err);
    enum train_finding f = d->found[FOUND_CALLS].count ? FOUND_CALLS : FOUND_NOTHING;
    if (!rc && d->count == 0)
        rc = err_set(err, ERR_INVALID,
                     "\"%s\": none of its %lld rows trains a token; %lld are rows %s", path,
                     (long long)d->rows, (long long)d->found[f].count, train_finding_text(f));
    return rc ? rc : check_ids(d, path, t->config.vocab, err);
}

#define BETA 0.1

/* The rows decide; what was asked for must agree with them. */
static int resolve_objective(struct trainer *t, struct err *err) {
    struct train_options *o = &t->job.o;
    bool pairs = t->data.per_row == PAIR_SIDES;
    if (o->valid && t->valid_data.per_row != t->data.per_row)
        return err_set(err, ERR_INVALID, "\"%s\" holds %s and \"%s\" does not", o->data,
                       pairs ? "preference pairs" : "single answers", o->valid);
    if (o->objective == OBJECTIVE_SFT && pairs)
        return err_set(err, ERR_INVALID,
                       "\"%s\" holds preference pairs, which are for the objective dpo, not sft",
                       o->data);
    if (o->objective == OBJECTIVE_DPO && !pairs)
        return err_set(err, ERR_INVALID,
                       "the objective dpo needs preference pairs (\"input\", \"preferred_output\", "
                       "\"non_preferred_output\"); \"%s\" holds none",
                       o->data);
    if (o->beta > 0 && !pairs)
        return err_set(err, ERR_USAGE, "--beta is for preference pairs; \"%s\" holds none",
                       o->data);
    if (o->from_scratch && pairs)
        return err_set(err, ERR_USAGE,
                       "preference pairs compare with the model as it is; train one first");
    o->objective = pairs ? OBJECTIVE_DPO : OBJECTIVE_SFT;
    if (pairs && o->beta <= 0) o->beta = BETA;
    return 0;
}

int trainer_open(struct trainer *t, int threads, struct err *err) {
    int rc = open_num(t, threads, err);
    if (!rc) rc = open_model(t, err);
    if (!rc) rc = open_init(t, err);
    if (!rc) rc = resolve_length(t, err);
    if (!rc) rc = load_rows(t, t->job.o.data, &t->data, err);
    if (!rc && t->job.o.valid) rc = load_rows(t, t->job.o.valid, &t->valid_data, err);
    return rc ? rc : resolve_objective(t, err);
}

/* a row's samples; returns how many */
static int point_to(const struct dataset *d, int64_t row, const struct sample **ret) {
    for (int i = 0; i < d->per_row; i++) ret[i] = dataset_row(d, row) + i;
    return d->per_row;
}

int trainer_split(struct trainer *t, struct err *err) {
    struct job *j = &t->job;
    split_make(&t->data, j->o.seed, j->hold_out, &t->split);
    if (t->split.train_count == 0)
        return err_set(err, ERR_INVALID,
                       "no rows are left to train on; the rows are all alike, or too few for "
                       "holding some out: give --holdout 0");
    const struct dataset *from = j->o.valid ? &t->valid_data : &t->data;
    int64_t rows = j->o.valid ? from->count : t->split.valid_count, most = j->o.batch_size;
    t->valid = mem_zalloc((size_t)(rows * from->per_row), sizeof *t->valid);
    for (int64_t i = 0; i < rows; i++)
        t->valid_count +=
            point_to(from, j->o.valid ? i : t->split.valid[i], t->valid + t->valid_count);
    t->order = mem_zalloc((size_t)t->split.train_count, sizeof *t->order);
    t->order_epoch = -1;
    t->step_rows = mem_zalloc((size_t)(most * t->data.per_row), sizeof *t->step_rows);
    return 0;
}

/* --- trained weights --- */

static double lora_scale(const struct train_options *o) {
    return o->alpha / (o->rslora ? sqrt((double)o->rank) : (double)o->rank);
}

void trainer_lay_out(struct trainer *t) {
    const struct train_options *o = &t->job.o;
    struct lora_shape shape = {
        .rank = o->rank, .scale = (float)lora_scale(o), .targets = o->targets};
    if (o->method == TRAIN_LORA)
        params_layout_lora(&t->config, &shape, &t->params);
    else
        params_layout_full(&t->config, &t->params);
}

static float *value_at(const struct trainer *t, int64_t offset) {
    return offset >= 0 ? t->params.value + offset : NULL;
}

/* Full training runs on the master copies. */
static void weights_in_params(struct trainer *t) {
    const struct model_config *c = &t->config;
    const struct params *p = &t->params;
    t->layers = mem_zalloc((size_t)c->layers, sizeof *t->layers);
    for (int64_t l = 0; l < c->layers; l++) {
        const struct param_layer *at = &p->layers[l];
        struct layer *to = &t->layers[l];
        for (int k = 0; k < LIN_COUNT; k++) {
            struct linear *lin = &to->lin[k];
            linear_shape(c, (enum linear_kind)k, &lin->out, &lin->in);
            lin->w = (struct mat){value_at(t, at->w[k]), NUM_F32, lin->in};
            lin->bias = value_at(t, at->bias[k]);
        }
        to->attn_norm = value_at(t, at->attn_norm);
        to->mlp_norm = value_at(t, at->mlp_norm);
        to->q_norm = value_at(t, at->q_norm);
        to->k_norm = value_at(t, at->k_norm);
        to->window = l >= c->window_from ? c->window : 0;
    }
    struct mat embedding = {value_at(t, p->embedding), NUM_F32, c->dim};
    struct mat head =
        p->head >= 0 ? (struct mat){value_at(t, p->head), NUM_F32, c->dim} : embedding;
    t->weights = (struct net_weights){c, t->layers, embedding, head, value_at(t, p->final_norm)};
}

static int take_init(struct trainer *t, struct err *err) {
    const struct params *p = &t->params;
    int rc = params_load_adapter(&t->params, t->init, t->job.o.init, err);
    adapter_close(t->init);
    t->init = NULL;
    if (!rc)
        sha256_of((struct str){(const char *)p->value, (size_t)p->n * sizeof *p->value},
                  t->init_sha256);
    return rc;
}

static int first_values(struct trainer *t, struct err *err) {
    const struct train_options *o = &t->job.o;
    if (o->method == TRAIN_LORA) {
        const struct model *m = t->model;
        t->weights =
            (struct net_weights){&t->config, m->layers, m->embedding, m->head, m->final_norm};
        params_init_lora(&t->params, o->seed);
        return t->init ? take_init(t, err) : 0;
    }
    weights_in_params(t);
    if (o->from_scratch)
        params_init_random(&t->params, &t->config, o->seed);
    else
        params_load_model(&t->params, t->model);
    return 0;
}

int trainer_allocate(struct trainer *t, struct err *err) {
    const struct train_options *o = &t->job.o;
    int rc = params_allocate(&t->params, job_keeps_best(&t->job), err);
    if (!rc) rc = first_values(t, err);
    if (!rc) rc = net_open(t->num, &t->weights, &t->params, &t->size, &t->net, err);
    t->optim = (struct optim){.lr = o->lr,
                              .weight_decay = o->weight_decay,
                              .clip = o->clip,
                              .schedule = o->schedule,
                              .warmup_steps = o->warmup_steps,
                              .steps = t->job.steps};
    t->state = (struct train_state){.best_valid = NAN, .first_loss = NAN, .last_loss = NAN};
    return rc;
}

void trainer_close(struct trainer *t) {
    net_close(t->net);
    params_release(&t->params);
    adapter_close(t->init);
    split_release(&t->split);
    dataset_release(&t->data);
    dataset_release(&t->valid_data);
    metrics_close(&t->metrics);
    mem_free(t->layers);
    mem_free(t->valid);
    mem_free(t->order);
    mem_free(t->step_rows);
    model_close(t->model);
    num_free(t->num);
    job_release(&t->job);
    file_close(t->lock);
}

int64_t trainer_step_rows(struct trainer *t, int64_t step) {
    const struct job *j = &t->job;
    int64_t epoch = (step - 1) / j->epoch_steps, at = (step - 1) % j->epoch_steps * j->o.batch_size;
    if (epoch != t->order_epoch)
        epoch_order(&t->split, j->o.seed, epoch, !j->o.no_shuffle, t->order);
    t->order_epoch = epoch;
    int64_t left = t->split.train_count - at,
            count = left < j->o.batch_size ? left : j->o.batch_size;
    int64_t samples = 0;
    for (int64_t i = 0; i < count; i++)
        samples += point_to(&t->data, t->order[at + i], t->step_rows + samples);
    return samples;
}
