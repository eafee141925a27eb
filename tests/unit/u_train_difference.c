/* Gradients on the scalar path against central differences of a forward pass written a second time,
 * plainly and in double. */
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "train/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BASE "tests/fixtures/train/llama"
#define TOKENS 13
#define FIRST_TRAINED 5
#define WIDEST 64 /* at least every width of the fixture's model */
#define PROBES 4  /* elements tried in each tensor */
#define STEP 1e-5

struct twin { /* the model again, with the factors as doubles */
    const struct model *m;
    const struct params *p;
    double *value;
    int32_t ids[TOKENS];
};

/* y = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ */
static void linear(const struct twin *w, int64_t layer, int k, const double *x, double *y) {
    const struct linear *lin = &w->m->layers[layer].lin[k];
    const float *weight = lin->w.p;
    const double *a = w->value + w->p->layers[layer].a[k], *b = w->value + w->p->layers[layer].b[k];
    double low[8] = {0};
    for (int64_t r = 0; r < w->p->rank; r++)
        for (int64_t i = 0; i < lin->in; i++) low[r] += a[r * lin->in + i] * x[i];
    for (int64_t o = 0; o < lin->out; o++) {
        y[o] = lin->bias ? (double)lin->bias[o] : 0;
        for (int64_t i = 0; i < lin->in; i++) y[o] += (double)weight[o * lin->w.ld + i] * x[i];
        for (int64_t r = 0; r < w->p->rank; r++)
            y[o] += (double)w->p->scale * b[o * w->p->rank + r] * low[r];
    }
}

static void norm(const struct twin *w, const float *scale, const double *x, double *y) {
    int64_t n = w->m->config.dim;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    double factor = 1 / sqrt(sum / (double)n + w->m->config.norm_eps);
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * factor * (double)scale[i];
}

static void rotate(const struct twin *w, double *x, int64_t heads, int position) {
    int64_t d = w->m->config.head_dim;
    for (int64_t h = 0; h < heads; h++) {
        for (int64_t i = 0; i < d / 2; i++) {
            double angle = position * pow(w->m->config.rope.theta, -2.0 * (double)i / (double)d);
            double *lo = &x[h * d + i], *hi = &x[h * d + i + d / 2], was = *lo;
            *lo = was * cos(angle) - *hi * sin(angle);
            *hi = *hi * cos(angle) + was * sin(angle);
        }
    }
}

/* row t of the attention: queries of all heads over keys 0..t */
static void attend(const struct twin *w, int t, const double *q, double (*k)[WIDEST],
                   double (*v)[WIDEST], double *out) {
    const struct model_config *c = &w->m->config;
    for (int64_t h = 0; h < c->heads; h++) {
        int64_t from = h / (c->heads / c->kv_heads) * c->head_dim;
        double p[TOKENS], sum = 0;
        for (int s = 0; s <= t; s++) {
            double dot = 0;
            for (int64_t i = 0; i < c->head_dim; i++)
                dot += q[h * c->head_dim + i] * k[s][from + i];
            sum += p[s] = exp(dot / sqrt((double)c->head_dim));
        }
        for (int64_t i = 0; i < c->head_dim; i++) {
            double *o = &out[h * c->head_dim + i];
            *o = 0;
            for (int s = 0; s <= t; s++) *o += p[s] / sum * v[s][from + i];
        }
    }
}

static void layer_forward(const struct twin *w, int64_t l, double (*x)[WIDEST]) {
    const struct model_config *c = &w->m->config;
    double q[TOKENS][WIDEST], k[TOKENS][WIDEST], v[TOKENS][WIDEST], n[WIDEST], y[WIDEST],
        gate[WIDEST], up[WIDEST];
    for (int t = 0; t < TOKENS; t++) {
        norm(w, w->m->layers[l].attn_norm, x[t], n);
        linear(w, l, LIN_Q, n, q[t]);
        linear(w, l, LIN_K, n, k[t]);
        linear(w, l, LIN_V, n, v[t]);
        rotate(w, q[t], c->heads, t);
        rotate(w, k[t], c->kv_heads, t);
    }
    for (int t = 0; t < TOKENS; t++) {
        attend(w, t, q[t], k, v, n);
        linear(w, l, LIN_O, n, y);
        for (int64_t i = 0; i < c->dim; i++) x[t][i] += y[i];
        norm(w, w->m->layers[l].mlp_norm, x[t], n);
        linear(w, l, LIN_GATE, n, gate);
        linear(w, l, LIN_UP, n, up);
        for (int64_t i = 0; i < c->ff; i++) gate[i] *= up[i] / (1 + exp(-gate[i]));
        linear(w, l, LIN_DOWN, gate, y);
        for (int64_t i = 0; i < c->dim; i++) x[t][i] += y[i];
    }
}

/* mean loss of the tokens from FIRST_TRAINED on */
static double twin_loss(const struct twin *w) {
    const struct model_config *c = &w->m->config;
    const float *embedding = w->m->embedding.p, *head = w->m->head.p;
    double x[TOKENS][WIDEST], n[WIDEST], loss = 0;
    for (int t = 0; t < TOKENS; t++)
        for (int64_t i = 0; i < c->dim; i++) x[t][i] = (double)embedding[w->ids[t] * c->dim + i];
    for (int64_t l = 0; l < c->layers; l++) layer_forward(w, l, x);
    for (int t = FIRST_TRAINED; t < TOKENS; t++) {
        double sum = 0, target = 0;
        norm(w, w->m->final_norm, x[t - 1], n);
        for (int64_t o = 0; o < c->vocab; o++) {
            double logit = 0;
            for (int64_t i = 0; i < c->dim; i++) logit += (double)head[o * c->dim + i] * n[i];
            sum += exp(logit);
            if (o == w->ids[t]) target = logit;
        }
        loss += log(sum) - target;
    }
    return loss / (TOKENS - FIRST_TRAINED);
}

static double difference(struct twin *w, int64_t at) {
    double was = w->value[at], up, down;
    w->value[at] = was + STEP;
    up = twin_loss(w);
    w->value[at] = was - STEP;
    down = twin_loss(w);
    w->value[at] = was;
    return (up - down) / (2 * STEP);
}

static double net_gradient(struct num *num, const struct twin *w, struct params *p) {
    const struct model *m = w->m;
    struct err err;
    struct net *net;
    struct net_weights weights = {&m->config, m->layers, m->embedding, m->head, m->final_norm};
    struct net_size size = {.tokens = TOKENS, .trained = TOKENS, .rows = 1, .row_tokens = TOKENS};
    float train[TOKENS] = {0};
    for (int t = FIRST_TRAINED; t < TOKENS; t++) train[t] = 1;
    int trained = TOKENS - FIRST_TRAINED;
    struct sample row = {
        .ids = w->ids, .train = train, .n = TOKENS, .trained = trained, .weight = trained};
    const struct sample *rows[] = {&row};
    struct net_sums sums = {0};
    assert_int_equal(net_open(num, &weights, p, &size, &net, &err), 0);
    net_run(net,
            &(struct net_batch){
                .rows = rows, .count = 1, .grad_scale = 1.0f / (float)trained, .backward = true},
            &sums);
    net_close(net);
    return sums.loss / trained;
}

static void gradients_are_the_slopes_of_the_loss(void **state) {
    (void)state;
    struct model *m;
    struct adapter *a;
    struct params p;
    struct err err;
    char warning[240];
    struct twin w = {0};
    struct rng rng;
    rng_init(&rng, unit_seed());
    assert_int_equal(model_open(BASE, &(struct model_options){.weights_only = true}, &m, &err), 0);
    assert_int_equal(adapter_open(m, BASE "/adapter", &a, warning, &err), 0);
    struct num *num =
        num_new(&(struct num_options){.threads = 1, .compute = NUM_F32, .isa = NUM_SCALAR});
    params_layout_lora(&m->config, &(struct lora_shape){a->rank, a->scale, (1u << LIN_COUNT) - 1},
                       &p);
    assert_int_equal(params_allocate(&p, false, &err), 0);
    assert_int_equal(params_load_adapter(&p, a, "", &err), 0);
    w = (struct twin){.m = m, .p = &p, .value = mem_alloc((size_t)p.n * sizeof(double))};
    for (int64_t i = 0; i < p.n; i++) w.value[i] = (double)p.value[i];
    for (int t = 0; t < TOKENS; t++) w.ids[t] = (int32_t)rng_below(&rng, (uint64_t)m->config.vocab);
    double loss = net_gradient(num, &w, &p), worst = 0;
    assert_true(fabs(loss / twin_loss(&w) - 1) < 1e-6);
    for (int64_t i = 0; i < p.count; i++) {
        const struct param *t = &p.list[i];
        double off = 0, size = 0;
        for (int k = 0; k < PROBES; k++) {
            int64_t at =
                t->offset + (int64_t)rng_below(&rng, (uint64_t)(t->shape[0] * t->shape[1]));
            double slope = difference(&w, at);
            off += (slope - (double)p.grad[at]) * (slope - (double)p.grad[at]);
            size += slope * slope;
        }
        double relative = sqrt(off / size);
        if (relative > worst) worst = relative;
        if (!(relative < 1e-4)) fail_msg("%s is off by %g", t->name, relative);
    }
    printf("largest relative difference from the slopes %.2g\n", worst);
    mem_free(w.value);
    params_release(&p);
    num_free(num);
    adapter_close(a);
    model_close(m);
}

UNIT_TESTS(train_difference, cmocka_unit_test(gradients_are_the_slopes_of_the_loss))
