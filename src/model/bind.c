/* Which tensors a decoder has, by name and shape, and where they go. Two tables say it all; a new
 * family adds rows and conditions here. */
#include "model/model_int.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>

enum axis { AXIS_DIM, AXIS_Q, AXIS_KV, AXIS_FF, AXIS_HEAD };
enum when { ALWAYS, NEVER, IF_QKV_BIAS, IF_O_BIAS, IF_MLP_BIAS, IF_QK_NORM };

static const struct {
    const char *name, *module;
    enum axis out, in;
    enum when bias;
} linears[LIN_COUNT] = {
    [LIN_Q] = {"q_proj", "self_attn.q_proj", AXIS_Q, AXIS_DIM, IF_QKV_BIAS},
    [LIN_K] = {"k_proj", "self_attn.k_proj", AXIS_KV, AXIS_DIM, IF_QKV_BIAS},
    [LIN_V] = {"v_proj", "self_attn.v_proj", AXIS_KV, AXIS_DIM, IF_QKV_BIAS},
    [LIN_O] = {"o_proj", "self_attn.o_proj", AXIS_DIM, AXIS_Q, IF_O_BIAS},
    [LIN_GATE] = {"gate_proj", "mlp.gate_proj", AXIS_FF, AXIS_DIM, IF_MLP_BIAS},
    [LIN_UP] = {"up_proj", "mlp.up_proj", AXIS_FF, AXIS_DIM, IF_MLP_BIAS},
    [LIN_DOWN] = {"down_proj", "mlp.down_proj", AXIS_DIM, AXIS_FF, IF_MLP_BIAS},
};

static const struct {
    const char *name;
    enum axis size;
    enum when when;
    size_t offset;
} norms[] = {
    {"input_layernorm", AXIS_DIM, ALWAYS, offsetof(struct layer, attn_norm)},
    {"post_attention_layernorm", AXIS_DIM, ALWAYS, offsetof(struct layer, mlp_norm)},
    {"self_attn.q_norm", AXIS_HEAD, IF_QK_NORM, offsetof(struct layer, q_norm)},
    {"self_attn.k_norm", AXIS_HEAD, IF_QK_NORM, offsetof(struct layer, k_norm)},
};
#define NORM_COUNT (sizeof norms / sizeof *norms)

const char *linear_name(enum linear_kind kind) { return linears[kind].name; }
const char *linear_module(enum linear_kind kind) { return linears[kind].module; }

static int64_t axis_size(const struct model_config *c, enum axis axis) {
    switch (axis) {
    case AXIS_DIM: return c->dim;
    case AXIS_Q: return c->heads * c->head_dim;
    case AXIS_KV: return c->kv_heads * c->head_dim;
    case AXIS_FF: return c->ff;
    case AXIS_HEAD: return c->head_dim;
    }
    return 0;
}

static bool holds(const struct model_config *c, enum when when) {
    switch (when) {
    case ALWAYS: return true;
    case NEVER: return false;
    case IF_QKV_BIAS: return c->qkv_bias;
    case IF_O_BIAS: return c->o_bias;
    case IF_MLP_BIAS: return c->mlp_bias;
    case IF_QK_NORM: return c->qk_norm;
    }
    return false;
}

/* floats of all norms and biases: they are few, so all are kept as F32 copies */
static size_t small_count(const struct model_config *c) {
    int64_t n = 0;
    for (size_t i = 0; i < NORM_COUNT; i++)
        if (holds(c, norms[i].when)) n += axis_size(c, norms[i].size);
    for (int k = 0; k < LIN_COUNT; k++)
        if (holds(c, linears[k].bias)) n += axis_size(c, linears[k].out);
    return (size_t)(n * c->layers + c->dim);
}

struct binder {
    struct model *m;
    float *small; /* next free */
};

static int bind_small(struct binder *b, const char *name, int64_t size, const float **ret,
                      struct err *err) {
    struct tensor t;
    int rc = tensors_get(b->m->tensors, name, 1, &size, &t, err);
    if (rc) return rc;
    num_widen(b->small, t.data, (enum num_type)t.type, size);
    *ret = b->small;
    b->small += size;
    b->m->weight_bytes += t.bytes;
    return 0;
}

static int bind_matrix(struct binder *b, const char *name, int64_t out, int64_t in, struct mat *ret,
                       struct err *err) {
    struct tensor t;
    int rc = tensors_get(b->m->tensors, name, 2, (int64_t[]){out, in}, &t, err);
    if (rc) return rc;
    *ret = (struct mat){t.data, (enum num_type)t.type, in};
    b->m->weight_bytes += t.bytes;
    return 0;
}

static int bind_linear(struct binder *b, int64_t index, enum linear_kind kind, struct err *err) {
    const struct model_config *c = &b->m->config;
    struct linear *l = &b->m->layers[index].lin[kind];
    char name[96];
    l->out = axis_size(c, linears[kind].out);
    l->in = axis_size(c, linears[kind].in);
    snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)index,
             linears[kind].module);
    int rc = bind_matrix(b, name, l->out, l->in, &l->w, err);
    if (rc || !holds(c, linears[kind].bias)) return rc;
    snprintf(name, sizeof name, "model.layers.%lld.%s.bias", (long long)index,
             linears[kind].module);
    return bind_small(b, name, l->out, &l->bias, err);
}

static int bind_layer(struct binder *b, int64_t index, struct err *err) {
    const struct model_config *c = &b->m->config;
    struct layer *layer = &b->m->layers[index];
    int rc = 0;
    layer->window = c->window > 0 && index >= c->window_from ? c->window : 0;
    for (int k = 0; !rc && k < LIN_COUNT; k++) rc = bind_linear(b, index, (enum linear_kind)k, err);
    for (size_t i = 0; !rc && i < NORM_COUNT; i++) {
        char name[96];
        if (!holds(c, norms[i].when)) continue;
        snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)index, norms[i].name);
        rc = bind_small(b, name, axis_size(c, norms[i].size),
                        (const float **)(void *)((char *)layer + norms[i].offset), err);
    }
    return rc;
}

int model_bind(struct model *m, struct err *err) {
    const struct model_config *c = &m->config;
    size_t smalls = small_count(c);
    int rc = mem_try(smalls, sizeof *m->small, "norms and biases", (void **)&m->small, err);
    if (!rc) rc = mem_try((size_t)c->layers, sizeof *m->layers, "layers", (void **)&m->layers, err);
    struct binder b = {m, m->small};
    if (!rc)
        rc = bind_matrix(&b, "model.embed_tokens.weight", c->vocab, c->dim, &m->embedding, err);
    for (int64_t i = 0; !rc && i < c->layers; i++) rc = bind_layer(&b, i, err);
    if (!rc) rc = bind_small(&b, "model.norm.weight", c->dim, &m->final_norm, err);
    m->head = m->embedding;
    if (!rc && !c->tied_head)
        rc = bind_matrix(&b, "lm_head.weight", c->vocab, c->dim, &m->head, err);
    assert(rc || b.small == m->small + smalls);
    return rc;
}
