#include "train/params.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PARAM_ALIGN 16 /* floats: 64 bytes */

const struct linear_group linear_groups[LINEAR_GROUPS] = {
    {3, {LIN_Q, LIN_K, LIN_V}},
    {1, {LIN_O}},
    {2, {LIN_GATE, LIN_UP}},
    {1, {LIN_DOWN}},
};

void linear_shape(const struct model_config *c, enum linear_kind kind, int64_t *out, int64_t *in) {
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const int64_t shape[LIN_COUNT][2] = {
        [LIN_Q] = {q, c->dim},        [LIN_K] = {kv, c->dim},       [LIN_V] = {kv, c->dim},
        [LIN_O] = {c->dim, q},        [LIN_GATE] = {c->ff, c->dim}, [LIN_UP] = {c->ff, c->dim},
        [LIN_DOWN] = {c->dim, c->ff},
    };
    *out = shape[kind][0];
    *in = shape[kind][1];
}

static bool linear_has_bias(const struct model_config *c, enum linear_kind kind) {
    if (kind <= LIN_V) return c->qkv_bias;
    return kind == LIN_O ? c->o_bias : c->mlp_bias;
}

/* --- layout --- */

static void align_end(struct params *p) {
    p->n = (p->n + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
}

static struct param *add(struct params *p, int dims, int64_t rows, int64_t cols,
                         int64_t *ret_offset) {
    struct param *t = &p->list[p->count++];
    *t = (struct param){.dims = dims, .shape = {rows, cols}, .offset = p->n};
    p->n += rows * cols;
    *ret_offset = t->offset;
    return t;
}

static void start(struct params *p, const struct model_config *c, int64_t most_tensors) {
    *p = (struct params){.embedding = -1, .head = -1, .final_norm = -1, .layer_count = c->layers};
    p->list = mem_zalloc((size_t)most_tensors, sizeof *p->list);
    p->layers = mem_zalloc((size_t)c->layers, sizeof *p->layers);
    memset(p->layers, 0xff, (size_t)c->layers * sizeof *p->layers); /* every offset -1 */
}

static void add_group(struct params *p, const struct model_config *c, const struct lora_shape *s,
                      int64_t layer, const struct linear_group *g) {
    int64_t out, in;
    for (int i = 0; i < g->count; i++) {
        enum linear_kind k = g->kind[i];
        if (!(s->targets >> k & 1)) continue;
        linear_shape(c, k, &out, &in);
        struct param *t = add(p, 2, s->rank, in, &p->layers[layer].a[k]);
        lora_tensor_name(t->name, sizeof t->name, layer, k, 'A');
    }
    align_end(p);
    for (int i = 0; i < g->count; i++) {
        enum linear_kind k = g->kind[i];
        if (!(s->targets >> k & 1)) continue;
        linear_shape(c, k, &out, &in);
        struct param *t = add(p, 2, out, s->rank, &p->layers[layer].b[k]);
        lora_tensor_name(t->name, sizeof t->name, layer, k, 'B');
        align_end(p);
    }
}

void params_layout_lora(const struct model_config *c, const struct lora_shape *shape,
                        struct params *ret) {
    start(ret, c, c->layers * LIN_COUNT * 2);
    ret->rank = shape->rank;
    ret->scale = shape->scale;
    for (int64_t l = 0; l < c->layers; l++)
        for (int g = 0; g < LINEAR_GROUPS; g++) add_group(ret, c, shape, l, &linear_groups[g]);
}

PRINTF_LIKE(2, 3) static void name(struct param *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->name, sizeof t->name, fmt, ap);
    va_end(ap);
}

static void add_vector(struct params *p, int64_t n, int64_t *ret_offset, int64_t layer,
                       const char *what) {
    struct param *t = add(p, 1, n, 1, ret_offset);
    name(t, "model.layers.%lld.%s", (long long)layer, what);
    align_end(p);
}

static void add_layer(struct params *p, const struct model_config *c, int64_t l) {
    struct param_layer *at = &p->layers[l];
    for (int k = 0; k < LIN_COUNT; k++) {
        int64_t out, in;
        linear_shape(c, (enum linear_kind)k, &out, &in);
        struct param *t = add(p, 2, out, in, &at->w[k]);
        name(t, "model.layers.%lld.%s.weight", (long long)l, linear_module((enum linear_kind)k));
        align_end(p);
        if (!linear_has_bias(c, (enum linear_kind)k)) continue;
        t = add(p, 1, out, 1, &at->bias[k]);
        name(t, "model.layers.%lld.%s.bias", (long long)l, linear_module((enum linear_kind)k));
        align_end(p);
    }
    add_vector(p, c->dim, &at->attn_norm, l, "input_layernorm.weight");
    add_vector(p, c->dim, &at->mlp_norm, l, "post_attention_layernorm.weight");
    if (!c->qk_norm) return;
    add_vector(p, c->head_dim, &at->q_norm, l, "self_attn.q_norm.weight");
    add_vector(p, c->head_dim, &at->k_norm, l, "self_attn.k_norm.weight");
}

void params_layout_full(const struct model_config *c, struct params *ret) {
    start(ret, c, 3 + c->layers * (LIN_COUNT * 2 + 4));
    name(add(ret, 2, c->vocab, c->dim, &ret->embedding), "model.embed_tokens.weight");
    align_end(ret);
    for (int64_t l = 0; l < c->layers; l++) add_layer(ret, c, l);
    name(add(ret, 1, c->dim, 1, &ret->final_norm), "model.norm.weight");
    align_end(ret);
    if (c->tied_head) return;
    name(add(ret, 2, c->vocab, c->dim, &ret->head), "lm_head.weight");
    align_end(ret);
}

size_t params_bytes(const struct params *p, bool keep_best) {
    return (size_t)p->n * sizeof(float) * (keep_best ? 5 : 4);
}

int params_allocate(struct params *p, bool keep_best, struct err *err) {
    p->block_bytes = params_bytes(p, keep_best);
    int rc = mem_block_open(p->block_bytes, "trained weights and optimiser", &p->block, err);
    if (rc) return rc;
    p->value = p->block;
    p->grad = p->value + p->n;
    p->m = p->grad + p->n;
    p->v = p->m + p->n;
    p->best = keep_best ? p->v + p->n : NULL;
    return 0;
}

void params_touch(struct params *p) {
    size_t bytes = (size_t)p->n * sizeof(float);
    memset(p->grad, 0, bytes);
    memset(p->m, 0, bytes);
    memset(p->v, 0, bytes);
    if (p->best) memset(p->best, 0, bytes);
}

void params_drop_moments(struct params *p) {
    mem_pages_drop(p->grad, (size_t)(p->v + p->n - p->grad) * sizeof *p->grad);
}

void params_release(struct params *p) {
    mem_block_close(p->block, p->block_bytes);
    mem_free(p->list);
    mem_free(p->layers);
    *p = (struct params){0};
}

/* --- first values --- */

void params_init_lora(struct params *p, uint64_t seed) {
    for (int64_t i = 0; i < p->count; i++) {
        const struct param *t = &p->list[i];
        if (!strstr(t->name, ".lora_A.")) continue; /* B stays zero */
        struct rng rng;
        rng_init_stream(&rng, seed, hash_bytes(t->name, strlen(t->name)));
        double bound = 1.0 / sqrt((double)t->shape[1]);
        for (int64_t k = 0; k < t->shape[0] * t->shape[1]; k++)
            p->value[t->offset + k] = (float)((2.0 * rng_double(&rng) - 1.0) * bound);
    }
}

static int load_factor(struct params *p, int64_t offset, const float *from, int64_t n,
                       const char *where, const char *what, struct err *err) {
    if ((offset >= 0) != (from != NULL))
        return err_set(err, ERR_INVALID,
                       "\"%s\" %s %s; leave --targets out to take the adapter's own", where,
                       from ? "adapts a layer that is not in --targets:" : "does not adapt", what);
    if (from) memcpy(p->value + offset, from, (size_t)n * sizeof *from);
    return 0;
}

static const struct param *param_at(const struct params *p, int64_t offset) {
    for (int64_t i = 0; i < p->count; i++)
        if (p->list[i].offset == offset) return &p->list[i];
    return NULL;
}

static int load_linear(struct params *p, const struct adapter *a, int64_t l, enum linear_kind k,
                       const char *where, struct err *err) {
    const struct param_layer *at = &p->layers[l];
    const struct param *ta = param_at(p, at->a[k]), *tb = param_at(p, at->b[k]);
    char what[120];
    lora_tensor_name(what, sizeof what, l, k, 'A');
    int rc = load_factor(p, at->a[k], a->lora[l][k].a, ta ? ta->shape[0] * ta->shape[1] : 0, where,
                         what, err);
    if (rc) return rc;
    return load_factor(p, at->b[k], a->lora[l][k].b, tb ? tb->shape[0] * tb->shape[1] : 0, where,
                       what, err);
}

int params_load_adapter(struct params *p, const struct adapter *a, const char *where,
                        struct err *err) {
    if (a->rank != p->rank)
        return err_set(err, ERR_INVALID, "\"%s\" has rank %lld, not %lld; leave --rank out", where,
                       (long long)a->rank, (long long)p->rank);
    for (int64_t l = 0; l < p->layer_count; l++) {
        for (int k = 0; k < LIN_COUNT; k++) {
            int rc = load_linear(p, a, l, (enum linear_kind)k, where, err);
            if (rc) return rc;
        }
    }
    return 0;
}

void params_init_random(struct params *p, const struct model_config *c, uint64_t seed) {
    for (int64_t i = 0; i < p->count; i++) {
        const struct param *t = &p->list[i];
        float *at = p->value + t->offset;
        bool bias = t->dims == 1 && strstr(t->name, ".bias");
        if (t->dims == 1) {
            for (int64_t k = 0; k < t->shape[0]; k++) at[k] = bias ? 0.0f : 1.0f;
            continue;
        }
        struct rng rng;
        rng_init_stream(&rng, seed, hash_bytes(t->name, strlen(t->name)));
        for (int64_t k = 0; k < t->shape[0] * t->shape[1]; k++)
            at[k] = (float)(c->init_range * rng_normal(&rng));
    }
}

static void load_matrix(struct params *p, int64_t offset, struct mat w, int64_t rows,
                        int64_t cols) {
    for (int64_t r = 0; r < rows; r++)
        num_widen(p->value + offset + r * cols,
                  (const char *)w.p + (size_t)(r * w.ld) * num_type_size(w.type), w.type, cols);
}

static void load_vector(struct params *p, int64_t offset, const float *from, int64_t n) {
    if (offset >= 0) memcpy(p->value + offset, from, (size_t)n * sizeof *from);
}

void params_load_model(struct params *p, const struct model *m) {
    const struct model_config *c = &m->config;
    load_matrix(p, p->embedding, m->embedding, c->vocab, c->dim);
    if (p->head >= 0) load_matrix(p, p->head, m->head, c->vocab, c->dim);
    load_vector(p, p->final_norm, m->final_norm, c->dim);
    for (int64_t l = 0; l < c->layers; l++) {
        const struct layer *from = &m->layers[l];
        const struct param_layer *at = &p->layers[l];
        for (int k = 0; k < LIN_COUNT; k++) {
            load_matrix(p, at->w[k], from->lin[k].w, from->lin[k].out, from->lin[k].in);
            load_vector(p, at->bias[k], from->lin[k].bias, from->lin[k].out);
        }
        load_vector(p, at->attn_norm, from->attn_norm, c->dim);
        load_vector(p, at->mlp_norm, from->mlp_norm, c->dim);
        load_vector(p, at->q_norm, from->q_norm, c->head_dim);
        load_vector(p, at->k_norm, from->k_norm, c->head_dim);
    }
}
