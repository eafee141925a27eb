/* Training against PyTorch + PEFT (tests/parity/make_train.py): losses, gradient norms, gradients.
 */
#include "unit.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "train/net.h"
#include "train/optim.h"
#include "weights/tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXTURES "tests/fixtures/train"
#define ROWS_MAX 32
#define TOLERANCE 1e-4

struct recipe {
    json_t *json;
    struct sample rows[ROWS_MAX];
    int64_t count, batch, steps, longest;
    struct optim optim;
};

static double number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static void recipe_open(struct recipe *r) {
    struct err err;
    *r = (struct recipe){0};
    assert_int_equal(json_read_file(FIXTURES "/rows.json", 1 << 20, &r->json, &err), 0);
    const json_t *rows = json_object_get(r->json, "rows");
    r->count = (int64_t)json_array_size(rows);
    for (int64_t i = 0; i < r->count; i++) {
        const json_t *row = json_array_get(rows, (size_t)i), *ids = json_object_get(row, "ids");
        size_t n = json_array_size(ids);
        int32_t *id = mem_alloc(n * sizeof *id);
        float *train = mem_alloc(n * sizeof *train);
        struct sample *s = &r->rows[i];
        *s = (struct sample){.number = i + 1, .ids = id, .train = train};
        for (size_t k = 0; k < n; k++) {
            id[k] = (int32_t)json_integer_value(json_array_get(ids, k));
            train[k] = (float)json_number_value(json_array_get(json_object_get(row, "train"), k));
            if (!(train[k] > 0)) continue;
            s->n = (int64_t)k + 1;
            s->trained++;
            s->weight += (double)train[k];
        }
        if (s->n > r->longest) r->longest = s->n;
    }
    r->batch = (int64_t)number(r->json, "batch");
    r->steps = (int64_t)number(r->json, "steps");
    r->optim = (struct optim){.lr = number(r->json, "lr"),
                              .weight_decay = number(r->json, "decay"),
                              .clip = number(r->json, "clip"),
                              .schedule = SCHEDULE_COSINE,
                              .warmup_steps = (int64_t)number(r->json, "warmup"),
                              .steps = r->steps};
}

static void recipe_close(struct recipe *r) {
    for (int64_t i = 0; i < r->count; i++) {
        mem_free((void *)r->rows[i].ids);
        mem_free((void *)r->rows[i].train);
    }
    json_decref(r->json);
}

struct bench { /* a model with something to train on it */
    struct model *model;
    struct adapter *adapter;
    struct num *num;
    struct params params;
    struct layer *layers;
    struct net *net;
    struct recipe recipe;
};

static void open_lora(struct bench *b, const char *family) {
    char path[200], warning[240];
    struct err err;
    struct adapter_meta meta;
    snprintf(path, sizeof path, FIXTURES "/%s/adapter", family);
    assert_int_equal(adapter_open(b->model, path, &b->adapter, warning, &err), 0);
    assert_int_equal(adapter_config_read(b->adapter->config, path, &meta, &err), 0);
    struct lora_shape shape = {meta.rank, b->adapter->scale, meta.targets};
    params_layout_lora(&b->model->config, &shape, &b->params);
    assert_int_equal(params_allocate(&b->params, false, &err), 0);
    assert_int_equal(params_load_adapter(&b->params, b->adapter, path, &err), 0);
}

static void open_full(struct bench *b) {
    struct err err;
    const struct params *p = &b->params;
    params_layout_full(&b->model->config, &b->params);
    assert_int_equal(params_allocate(&b->params, false, &err), 0);
    params_load_model(&b->params, b->model);
    int64_t layers = b->model->config.layers;
    b->layers = mem_zalloc((size_t)layers, sizeof *b->layers);
    memcpy(b->layers, b->model->layers, (size_t)layers * sizeof *b->layers);
    for (int64_t l = 0; l < layers; l++) {
        for (int k = 0; k < LIN_COUNT; k++)
            b->layers[l].lin[k].w =
                (struct mat){p->value + p->layers[l].w[k], NUM_F32, b->layers[l].lin[k].in};
        b->layers[l].attn_norm = p->value + p->layers[l].attn_norm;
        b->layers[l].mlp_norm = p->value + p->layers[l].mlp_norm;
    }
}

static struct net_weights weights_of(const struct bench *b) {
    const struct model *m = b->model;
    if (!b->layers)
        return (struct net_weights){&m->config, m->layers, m->embedding, m->head, m->final_norm};
    struct mat embedding = {b->params.value + b->params.embedding, NUM_F32, m->config.dim};
    return (struct net_weights){&m->config, b->layers, embedding, embedding,
                                b->params.value + b->params.final_norm};
}

struct setting {
    const char *family;
    bool full, recompute;
    float dropout;
    int threads;
    enum num_isa isa;
    int64_t steps; /* of the recipe's; 0: all */
};

static void bench_open(struct bench *b, const struct setting *s) {
    char path[200];
    struct err err;
    *b = (struct bench){0};
    recipe_open(&b->recipe);
    snprintf(path, sizeof path, FIXTURES "/%s", s->family);
    assert_int_equal(
        model_open(path, &(struct model_options){.weights_only = true}, &b->model, &err), 0);
    b->num =
        num_new(&(struct num_options){.threads = s->threads, .compute = NUM_F32, .isa = s->isa});
    if (s->full)
        open_full(b);
    else
        open_lora(b, s->family);
    struct net_weights w = weights_of(b);
    struct net_size size = {.tokens = 200,
                            .trained = 200,
                            .rows = 8,
                            .keys = 300,
                            .row_tokens = b->recipe.longest,
                            .recompute = s->recompute,
                            .dropout = s->dropout > 0};
    assert_int_equal(net_open(b->num, &w, &b->params, &size, &b->net, &err), 0);
}

static void bench_close(struct bench *b) {
    net_close(b->net);
    params_release(&b->params);
    adapter_close(b->adapter);
    mem_free(b->layers);
    num_free(b->num);
    model_close(b->model);
    recipe_close(&b->recipe);
}

/* forward and backward of a step in micro-batches of `micro` rows: mean loss */
static double step_gradient(struct bench *b, int64_t step, int64_t micro, float dropout) {
    struct recipe *r = &b->recipe;
    int64_t per_epoch = (r->count + r->batch - 1) / r->batch,
            at = (step - 1) % per_epoch * r->batch;
    int64_t count = r->count - at < r->batch ? r->count - at : r->batch;
    const struct sample *rows[ROWS_MAX];
    double weight = 0;
    struct net_sums sums = {0};
    for (int64_t i = 0; i < count; i++) rows[i] = &r->rows[at + i], weight += rows[i]->weight;
    for (int64_t i = 0; i < count; i += micro) {
        struct net_batch batch = {.rows = rows + i,
                                  .count = count - i < micro ? count - i : micro,
                                  .first_row = i,
                                  .grad_scale = (float)(1 / weight),
                                  .dropout = dropout,
                                  .key = 99,
                                  .backward = true};
        net_run(b->net, &batch, &sums);
    }
    return sums.loss / weight;
}

static double relative(const float *got, const float *want, int64_t n) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        difference += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(difference / (size > 0 ? size : 1));
}

static void expect_gradients(const struct bench *b, const struct tensors *want,
                             const char *family) {
    double worst = 0;
    for (int64_t i = 0; i < b->params.count; i++) {
        const struct param *p = &b->params.list[i];
        char name[160];
        snprintf(name, sizeof name, "grad.%s", p->name);
        const struct tensor *t = tensors_find(want, name);
        if (!t) fail_msg("%s is not in the fixture", name);
        double off = relative(b->params.grad + p->offset, t->data, p->shape[0] * p->shape[1]);
        if (off > worst) worst = off;
        if (!(off < TOLERANCE)) fail_msg("%s: %s is off by %g", family, name, off);
    }
    printf("%s: largest relative difference of a gradient %.2g\n", family, worst);
}

static void compare(const struct setting *s) {
    struct bench b;
    char path[200];
    struct tensors *want;
    struct err err;
    snprintf(path, sizeof path, FIXTURES "/%s/%s.safetensors", s->family,
             s->full ? "full" : "lora");
    assert_int_equal(tensors_open(path, &want, &err), 0);
    bench_open(&b, s);
    const float *losses = tensors_find(want, "losses")->data,
                *norms = tensors_find(want, "grad_norms")->data;
    double worst = 0;
    int64_t steps = s->steps ? s->steps : b.recipe.steps;
    for (int64_t step = 1; step <= steps; step++) {
        double loss = step_gradient(&b, step, 2, 0), want_loss = (double)losses[step - 1];
        if (step == 1) expect_gradients(&b, want, s->family);
        double norm = optim_step(b.num, &b.recipe.optim, &b.params, step),
               want_norm = (double)norms[step - 1];
        double off = fabs(loss / want_loss - 1);
        if (off > worst) worst = off;
        if (!(off < TOLERANCE))
            fail_msg("%s step %d: loss %.9g, not %.9g", s->family, (int)step, loss, want_loss);
        if (!(fabs(norm / want_norm - 1) < 1e-3))
            fail_msg("%s step %d: norm %.9g, not %.9g", s->family, (int)step, norm, want_norm);
    }
    printf("%s%s: largest relative difference of %d losses %.2g\n", s->family,
           s->full ? " full" : "", (int)steps, worst);
    bench_close(&b);
    tensors_close(want);
}

static void lora_follows_peft(void **state) {
    (void)state;
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    for (size_t i = 0; i < 3; i++) {
        compare(
            &(struct setting){.family = families[i], .threads = 1, .isa = NUM_SCALAR, .steps = 3});
        compare(&(struct setting){.family = families[i], .threads = 1, .isa = num_isa_best()});
    }
}

static void full_training_follows_pytorch(void **state) {
    (void)state;
    compare(&(struct setting){
        .family = "llama", .full = true, .threads = 1, .isa = NUM_SCALAR, .steps = 3});
    compare(&(struct setting){
        .family = "llama", .full = true, .recompute = true, .threads = 2, .isa = num_isa_best()});
}

/* --- what may not change a bit, and what only rounding --- */

static float *gradient_of(const struct setting *s, int64_t micro, double *ret_loss,
                          int64_t *ret_n) {
    struct bench b;
    bench_open(&b, s);
    *ret_loss = step_gradient(&b, 2, micro, s->dropout);
    *ret_n = b.params.n;
    float *copy = mem_alloc((size_t)b.params.n * sizeof *copy);
    memcpy(copy, b.params.grad, (size_t)b.params.n * sizeof *copy);
    bench_close(&b);
    return copy;
}

static void expect_same(const struct setting *a, const struct setting *b, int64_t micro_a,
                        int64_t micro_b, bool bits) {
    double loss_a, loss_b;
    int64_t n;
    float *x = gradient_of(a, micro_a, &loss_a, &n), *y = gradient_of(b, micro_b, &loss_b, &n);
    assert_true(loss_a == loss_b);
    if (bits)
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
    else
        assert_true(relative(x, y, n) < 1e-5);
    mem_free(x);
    mem_free(y);
}

static void recomputation_changes_no_bit(void **state) {
    (void)state;
    struct setting kept = {.family = "qwen3", .threads = 1, .isa = num_isa_best()}, again = kept;
    again.recompute = true;
    expect_same(&kept, &again, 2, 2, true);
    kept.dropout = again.dropout = 0.2f;
    expect_same(&kept, &again, 2, 2, true);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    struct setting one = {.family = "qwen2", .threads = 1, .isa = num_isa_best()}, more = one;
    more.threads = 3;
    expect_same(&one, &more, 4, 4, true);
}

static void micro_batches_change_rounding_only(void **state) {
    (void)state;
    struct setting s = {.family = "llama", .threads = 2, .isa = num_isa_best()};
    expect_same(&s, &s, 4, 1, false);
    s.dropout = 0.3f; /* masks belong to rows, not to micro-batches */
    expect_same(&s, &s, 4, 1, false);
    s.full = true;
    s.dropout = 0;
    expect_same(&s, &s, 4, 1, false);
}

/* The same rows with their first `shared` inputs made equal and untrained. */
static double shared_gradient(const struct setting *s, int64_t shared, bool use, float **ret,
                              int64_t *ret_n) {
    struct bench b;
    bench_open(&b, s);
    const struct sample *rows[ROWS_MAX];
    int64_t count = 0;
    struct net_sums sums = {0};
    for (int64_t i = 0; i < b.recipe.count && count < 4; i++) {
        struct sample *row = &b.recipe.rows[i];
        if (row->n < shared + 4) continue;
        for (int64_t k = 0; k < shared; k++) ((int32_t *)row->ids)[k] = (int32_t)(k % 7 + 3);
        for (int64_t k = 0; k <= shared; k++) ((float *)row->train)[k] = 0;
        rows[count++] = row;
    }
    assert_true(count >= 3);
    struct net_batch batch = {.rows = rows,
                              .count = count,
                              .shared = use ? shared : 0,
                              .grad_scale = 0.1f,
                              .backward = true};
    net_run(b.net, &batch, &sums);
    *ret_n = b.params.n;
    *ret = mem_alloc((size_t)b.params.n * sizeof **ret);
    memcpy(*ret, b.params.grad, (size_t)b.params.n * sizeof **ret);
    bench_close(&b);
    return sums.loss;
}

static void shared_beginnings_change_rounding_only(void **state) {
    (void)state;
    static const struct setting settings[] = {{.family = "llama", .threads = 2},
                                              {.family = "qwen2", .threads = 1, .recompute = true},
                                              {.family = "qwen3", .threads = 2},
                                              {.family = "llama", .threads = 2, .full = true}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct setting s = settings[i];
        s.isa = num_isa_best();
        float *plain, *shared;
        int64_t n;
        double a = shared_gradient(&s, 6, false, &plain, &n);
        double b = shared_gradient(&s, 6, true, &shared, &n);
        assert_true(fabs(a / b - 1) < 1e-5);
        assert_true(relative(shared, plain, n) < 1e-5);
        mem_free(plain);
        mem_free(shared);
    }
}

UNIT_TESTS(train_parity, cmocka_unit_test(lora_follows_peft),
           cmocka_unit_test(full_training_follows_pytorch),
           cmocka_unit_test(recomputation_changes_no_bit), cmocka_unit_test(threads_change_no_bit),
           cmocka_unit_test(micro_batches_change_rounding_only),
           cmocka_unit_test(shared_beginnings_change_rounding_only))
