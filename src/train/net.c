#include "train/net.h"

#include "base/mem.h"
#include "base/rng.h"
#include "num/attention.h"
#include "num/loss.h"
#include "num/matmul.h"
#include "num/ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct net_linear {
    struct mat w;
    const float *bias;
    int64_t out, in;
    float *dw, *dbias; /* full training; else NULL */
    const float *b;    /* (out, rank) or NULL: not adapted */
    float *db;
    int64_t slot; /* first column in its group's P */
};

/* the adapted layers of a group: their A lie one after the other */
struct net_group {
    const float *a; /* (ranks, in) */
    float *da;
    int64_t ranks, in;
    int count;
    enum linear_kind kind[3];
};

struct net_layer {
    struct net_linear lin[LIN_COUNT];
    struct net_group group[LINEAR_GROUPS];
    const float *attn_norm, *mlp_norm, *q_norm, *k_norm;
    float *d_attn_norm, *d_mlp_norm, *d_q_norm, *d_k_norm; /* full training; else NULL */
    int64_t window;
};

/* What a layer's backward pass needs. T tokens. */
struct acts {
    float *mid;              /* (T, dim): after the attention's residual */
    float *q, *k, *v;        /* (T, heads·head_dim), (T, kv_heads·head_dim): rotated */
    float *q_raw, *k_raw;    /* the same before their norms; NULL without q/k norms */
    float *att, *lse;        /* (T, heads·head_dim), (T, heads) */
    float *gate, *up;        /* (T, ff) */
    float *p[LINEAR_GROUPS]; /* (T, ranks of the group) */
};

struct net {
    struct num *num;
    const struct model_config *config;
    struct params *params;
    struct net_layer *layers;
    struct mat embedding, head;
    const float *final_norm;
    struct net_size size;
    float *rope_cos, *rope_sin;

    void *block;
    size_t block_bytes;
    float **x;           /* (layers + 1): input of each layer and the last output, (T, dim) */
    struct acts *acts;   /* one per layer, or one for all with recompute */
    int64_t held;        /* with recompute: the layer whose activations are there */
    float *xn, *dxn;     /* (T, dim) */
    float *wide;         /* (T, widest): products inside a block */
    float *dp, *drop;    /* (T, ranks), (T, widest input) */
    float *xg, *hg, *dg; /* trained rows: (R, dim) */
    float *nll, *weight, *ones;
    uint8_t *correct; /* (R) */
    int32_t *ids, *target, *position, *trained_row;
    struct attn_span *spans;
    int64_t *span_base;   /* (spans): token where the shared ones before it begin */
    struct net_row *rows; /* (rows) */
    int64_t *row_end;     /* (rows): one past its last trained token */
    float *kc, *vc, *dkc,
        *dvc; /* (keys, kv): with shared beginnings, each row's keys in one piece */

    int64_t tokens, trained, row_count, span_count, keys; /* of the present batch */
    bool shared;                                          /* some are computed once for several */
    float dropout;
    uint64_t key;
    int64_t first_row;
};

/* --- sizes --- */

static int64_t q_dim(const struct model_config *c) { return c->heads * c->head_dim; }
static int64_t kv_dim(const struct model_config *c) { return c->kv_heads * c->head_dim; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t group_ranks(const struct params *p, int64_t layer, const struct linear_group *g) {
    int64_t ranks = 0;
    for (int i = 0; i < g->count; i++) ranks += p->layers[layer].a[g->kind[i]] >= 0 ? p->rank : 0;
    return ranks;
}

/* in the backward pass through attention: d(att), dq, dk, dv, and with q/k norms two more */
static int64_t wide_dim(const struct model_config *c) {
    int64_t attention = 2 * q_dim(c) + 2 * kv_dim(c);
    if (c->qk_norm) attention += q_dim(c) + kv_dim(c);
    return most(c->ff, attention);
}

/* A walk over one block: with base NULL it only counts. */
struct cursor {
    char *base;
    size_t used;
};

static void *take(struct cursor *at, int64_t count, size_t size) {
    void *p = at->base ? at->base + at->used : NULL;
    at->used += ((size_t)count * size + 63) & ~(size_t)63;
    return p;
}

static float *take_floats(struct cursor *at, int64_t rows, int64_t cols) {
    return take(at, rows * cols, sizeof(float));
}

static void place_acts(struct cursor *at, const struct model_config *c, const struct params *p,
                       int64_t tokens, struct acts *a) {
    a->mid = take_floats(at, tokens, c->dim);
    a->q = take_floats(at, tokens, q_dim(c));
    a->k = take_floats(at, tokens, kv_dim(c));
    a->v = take_floats(at, tokens, kv_dim(c));
    a->q_raw = c->qk_norm ? take_floats(at, tokens, q_dim(c)) : NULL;
    a->k_raw = c->qk_norm ? take_floats(at, tokens, kv_dim(c)) : NULL;
    a->att = take_floats(at, tokens, q_dim(c));
    a->lse = take_floats(at, tokens, c->heads);
    a->gate = take_floats(at, tokens, c->ff);
    a->up = take_floats(at, tokens, c->ff);
    for (int g = 0; g < LINEAR_GROUPS; g++)
        a->p[g] = take_floats(at, tokens, group_ranks(p, 0, &linear_groups[g]));
}

static void place(struct cursor *at, const struct model_config *c, const struct params *p,
                  const struct net_size *s, struct net *n) {
    int64_t t = s->tokens, kept = s->recompute ? 1 : c->layers;
    n->x = take(at, c->layers + 1, sizeof *n->x);
    n->acts = take(at, kept, sizeof *n->acts);
    struct acts unused;
    for (int64_t l = 0; l < kept; l++) place_acts(at, c, p, t, at->base ? &n->acts[l] : &unused);
    for (int64_t l = 0; l <= c->layers; l++) {
        float *x = take_floats(at, t, c->dim);
        if (at->base) n->x[l] = x;
    }
    n->xn = take_floats(at, t, c->dim);
    n->dxn = take_floats(at, t, c->dim);
    n->wide = take_floats(at, t, wide_dim(c));
    n->dp = take_floats(at, t, 3 * p->rank);
    n->drop = s->dropout ? take_floats(at, t, most(c->ff, most(c->dim, q_dim(c)))) : NULL;
    n->xg = take_floats(at, s->trained, c->dim);
    n->hg = take_floats(at, s->trained, c->dim);
    n->dg = take_floats(at, s->trained, c->dim);
    n->nll = take_floats(at, s->trained, 1);
    n->weight = take_floats(at, s->trained, 1);
    n->correct = take(at, s->trained, sizeof *n->correct);
    n->ones = take_floats(at, t, 1);
    n->target = take(at, s->trained, sizeof *n->target);
    n->trained_row = take(at, s->trained, sizeof *n->trained_row);
    n->ids = take(at, t, sizeof *n->ids);
    n->position = take(at, t, sizeof *n->position);
    int64_t spans = s->rows + s->rows / 2 + 1; /* a shared beginning for each pair, or for all */
    n->spans = take(at, spans, sizeof *n->spans);
    n->span_base = take(at, spans, sizeof *n->span_base);
    n->rows = take(at, s->rows, sizeof *n->rows);
    n->row_end = take(at, s->rows, sizeof *n->row_end);
    float **keys[] = {&n->kc, &n->vc, &n->dkc, &n->dvc};
    for (int i = 0; i < 4; i++) *keys[i] = take_floats(at, s->keys, kv_dim(c));
    n->rope_cos = take_floats(at, s->row_tokens, c->head_dim / 2);
    n->rope_sin = take_floats(at, s->row_tokens, c->head_dim / 2);
}

size_t net_bytes(const struct model_config *c, const struct params *p,
                 const struct net_size *size) {
    struct cursor at = {0};
    struct net n;
    place(&at, c, p, size, &n);
    return at.used;
}

/* --- opening --- */

static float *grad_at(const struct params *p, int64_t offset) {
    return offset >= 0 ? p->grad + offset : NULL;
}

static void bind_linear(const struct params *p, const struct param_layer *at,
                        const struct linear *from, enum linear_kind k, struct net_linear *to) {
    *to = (struct net_linear){.w = from->w, .bias = from->bias, .out = from->out, .in = from->in};
    to->dw = grad_at(p, at->w[k]);
    to->dbias = grad_at(p, at->bias[k]);
    if (at->b[k] < 0) return;
    to->b = p->value + at->b[k];
    to->db = p->grad + at->b[k];
}

static void bind_group(const struct params *p, const struct param_layer *at,
                       const struct linear_group *g, struct net_layer *layer,
                       struct net_group *to) {
    *to = (struct net_group){.in = layer->lin[g->kind[0]].in};
    for (int i = 0; i < g->count; i++) {
        enum linear_kind k = g->kind[i];
        if (at->a[k] < 0) continue;
        if (!to->count) to->a = p->value + at->a[k], to->da = p->grad + at->a[k];
        layer->lin[k].slot = to->ranks;
        to->ranks += p->rank;
        to->kind[to->count++] = k;
    }
}

static void bind_layer(const struct params *p, int64_t l, const struct layer *from,
                       struct net_layer *to) {
    const struct param_layer *at = &p->layers[l];
    for (int k = 0; k < LIN_COUNT; k++)
        bind_linear(p, at, &from->lin[k], (enum linear_kind)k, &to->lin[k]);
    for (int g = 0; g < LINEAR_GROUPS; g++) bind_group(p, at, &linear_groups[g], to, &to->group[g]);
    to->attn_norm = from->attn_norm;
    to->mlp_norm = from->mlp_norm;
    to->q_norm = from->q_norm;
    to->k_norm = from->k_norm;
    to->d_attn_norm = grad_at(p, at->attn_norm);
    to->d_mlp_norm = grad_at(p, at->mlp_norm);
    to->d_q_norm = grad_at(p, at->q_norm);
    to->d_k_norm = grad_at(p, at->k_norm);
    to->window = from->window;
}

int net_open(struct num *num, const struct net_weights *w, struct params *p,
             const struct net_size *size, struct net **ret, struct err *err) {
    struct net *n = mem_zalloc(1, sizeof *n);
    size_t bytes = net_bytes(w->config, p, size);
    void *block;
    int rc = mem_block_open(bytes, "activations", &block, err);
    if (rc) {
        mem_free(n);
        return rc;
    }
    struct cursor at = {.base = block};
    place(&at, w->config, p, size, n);
    n->num = num;
    n->config = w->config;
    n->params = p;
    n->embedding = w->embedding;
    n->head = w->head;
    n->final_norm = w->final_norm;
    n->size = *size;
    n->block = block;
    n->block_bytes = bytes;
    n->layers = mem_zalloc((size_t)w->config->layers, sizeof *n->layers);
    for (int64_t l = 0; l < w->config->layers; l++) bind_layer(p, l, &w->layers[l], &n->layers[l]);
    rope_tables(w->config, size->row_tokens, n->rope_cos, n->rope_sin);
    for (int64_t t = 0; t < size->tokens; t++) n->ones[t] = 1.0f;
    *ret = n;
    return 0;
}

void net_close(struct net *net) {
    if (!net) return;
    mem_block_close(net->block, net->block_bytes);
    mem_free(net->layers);
    mem_free(net);
}

/* --- the batch --- */

/* Inputs [from, to) of a row. What comes before them was laid out already, at token `base`; in the
 * row's piece of keys it stands first, so pieces begin later than the tokens do. */
static void span_lay_out(struct net *n, const struct sample *s, int64_t from, int64_t to,
                         int64_t base) {
    n->span_base[n->span_count] = base;
    n->spans[n->span_count++] = (struct attn_span){
        .row = n->tokens, .rows = to - from, .pos0 = from, .key_offset = n->keys - n->tokens};
    n->keys += to;
    for (int64_t i = from; i < to; i++, n->tokens++) {
        n->ids[n->tokens] = s->ids[i];
        n->position[n->tokens] = (int32_t)i;
        if (!(s->train[i + 1] > 0.0f)) continue;
        n->trained_row[n->trained] = (int32_t)n->tokens;
        n->target[n->trained] = s->ids[i + 1];
        n->weight[n->trained++] = s->train[i + 1];
    }
}

static void batch_lay_out(struct net *n, const struct net_batch *b) {
    int64_t sharing = b->pairs ? 2 : b->count, base = 0;
    assert(b->count <= n->size.rows && b->count % sharing == 0);
    n->tokens = n->trained = n->span_count = n->keys = 0;
    n->shared = false;
    n->row_count = b->count;
    for (int64_t r = 0; r < b->count; r++) {
        const struct sample *row = b->rows[r];
        int64_t shared = b->pairs ? row->shared : b->shared;
        if (r % sharing == 0) base = n->tokens;
        if (r % sharing == 0 && shared) span_lay_out(n, row, 0, shared, base);
        span_lay_out(n, row, shared, row->n - 1, base);
        n->row_end[r] = n->trained;
        n->shared = n->shared || shared;
    }
    assert(n->tokens <= n->size.tokens && n->trained <= n->size.trained);
    assert(!n->shared || n->keys <= n->size.keys);
    n->dropout = b->dropout;
    n->key = b->key;
    n->first_row = b->first_row;
}

static uint64_t mask_key(const struct net *n, int64_t layer, enum linear_kind k, int64_t span) {
    uint64_t place = (uint64_t)(layer * LIN_COUNT + (int64_t)k);
    return rng_hash(rng_hash(n->key, place), (uint64_t)(n->first_row + span));
}

/* y = x with a part of its elements dropped; the mask depends on step, layer, row and place alone
 */
static void drop(struct net *n, int64_t layer, enum linear_kind k, float *y, const float *x,
                 int64_t dim) {
    for (int64_t s = 0; s < n->span_count; s++) {
        const struct attn_span *span = &n->spans[s];
        dropout_apply(n->num, y + span->row * dim, x + span->row * dim, span->rows * dim,
                      n->dropout, mask_key(n, layer, k, s));
    }
}

/* --- linear layers with their low-rank updates --- */

static struct mat f32(const float *p, int64_t ld) { return (struct mat){p, NUM_F32, ld}; }

/* P = scale · x · Aᵀ for all adapted layers of the group */
static void lora_project(struct net *n, int64_t layer, int g, float *p, const float *x) {
    const struct net_group *group = &n->layers[layer].group[g];
    struct matmul mm = {
        .m = n->tokens, .n = group->ranks, .c = p, .ldc = group->ranks, .alpha = n->params->scale};
    mm.seg[0].a = f32(x, group->in);
    mm.seg[0].b = f32(group->a, group->in);
    mm.seg[0].k = group->in;
    if (group->ranks == 0) return;
    if (n->dropout == 0.0f) {
        matmul_nt(n->num, &mm);
        return;
    }
    mm.n = n->params->rank;
    for (int i = 0; i < group->count; i++) {
        int64_t slot = n->layers[layer].lin[group->kind[i]].slot;
        drop(n, layer, group->kind[i], n->drop, x, group->in);
        mm.seg[0].a = f32(n->drop, group->in);
        mm.seg[0].b = f32(group->a + slot * group->in, group->in);
        mm.c = p + slot;
        matmul_nt(n->num, &mm);
    }
}

/* y = x · Wᵀ + P · Bᵀ + bias */
static void linear_forward(struct net *n, int64_t layer, enum linear_kind k, float *y,
                           const float *x, const float *p, int64_t ranks, bool accumulate) {
    const struct net_linear *lin = &n->layers[layer].lin[k];
    struct matmul mm = {.m = n->tokens,
                        .n = lin->out,
                        .c = y,
                        .ldc = lin->out,
                        .bias = lin->bias,
                        .accumulate = accumulate};
    mm.seg[0].a = f32(x, lin->in);
    mm.seg[0].b = lin->w;
    mm.seg[0].k = lin->in;
    if (lin->b) {
        mm.seg[1].a = f32(p + lin->slot, ranks);
        mm.seg[1].b = f32(lin->b, n->params->rank);
        mm.seg[1].k = n->params->rank;
    }
    matmul_nt(n->num, &mm);
}

/* gradients of the weights themselves (full training) */
static void weight_gradient(struct net *n, const struct net_linear *lin, const float *dy,
                            const float *x) {
    if (lin->dw) {
        struct matmul mm = {
            .m = lin->out, .n = lin->in, .c = lin->dw, .ldc = lin->in, .accumulate = true};
        mm.seg[0].a = f32(dy, lin->out);
        mm.seg[0].b = f32(x, lin->in);
        mm.seg[0].k = n->tokens;
        matmul_tn(n->num, &mm);
    }
    if (lin->dbias) {
        struct matmul mm = {
            .m = 1, .n = lin->out, .c = lin->dbias, .ldc = lin->out, .accumulate = true};
        mm.seg[0].a = f32(n->ones, 1);
        mm.seg[0].b = f32(dy, lin->out);
        mm.seg[0].k = n->tokens;
        matmul_tn(n->num, &mm);
    }
}

/* dP = scale · dY · B into n->dp, and dB += dYᵀ · P */
static void factor_b_gradient(struct net *n, const struct net_linear *lin, const float *dy,
                              const float *p, int64_t ranks) {
    int64_t rank = n->params->rank;
    struct matmul dp = {
        .m = n->tokens, .n = rank, .c = n->dp + lin->slot, .ldc = ranks, .alpha = n->params->scale};
    dp.seg[0].a = f32(dy, lin->out);
    dp.seg[0].b = f32(lin->b, rank);
    dp.seg[0].k = lin->out;
    matmul_nn(n->num, &dp);
    struct matmul db = {.m = lin->out, .n = rank, .c = lin->db, .ldc = rank, .accumulate = true};
    db.seg[0].a = f32(dy, lin->out);
    db.seg[0].b = f32(p + lin->slot, ranks);
    db.seg[0].k = n->tokens;
    matmul_tn(n->num, &db);
}

/* dA += dPᵀ · x */
static void factor_a_gradient(struct net *n, int64_t layer, const struct net_group *g,
                              const float *x) {
    struct matmul mm = {.m = g->ranks, .n = g->in, .c = g->da, .ldc = g->in, .accumulate = true};
    mm.seg[0].a = f32(n->dp, g->ranks);
    mm.seg[0].b = f32(x, g->in);
    mm.seg[0].k = n->tokens;
    if (n->dropout == 0.0f) {
        matmul_tn(n->num, &mm);
        return;
    }
    mm.m = n->params->rank;
    for (int i = 0; i < g->count; i++) {
        int64_t slot = n->layers[layer].lin[g->kind[i]].slot;
        drop(n, layer, g->kind[i], n->drop, x, g->in);
        mm.seg[0].a = f32(n->dp + slot, g->ranks);
        mm.seg[0].b = f32(n->drop, g->in);
        mm.c = g->da + slot * g->in;
        matmul_tn(n->num, &mm);
    }
}

/* All gradients of a group's weights; dy[i] belongs to the i-th layer of the group. */
static void group_gradient(struct net *n, int64_t layer, int g, const float *const *dy,
                           const float *x, const float *p) {
    const struct net_layer *at = &n->layers[layer];
    const struct net_group *group = &at->group[g];
    for (int i = 0; i < linear_groups[g].count; i++) {
        const struct net_linear *lin = &at->lin[linear_groups[g].kind[i]];
        weight_gradient(n, lin, dy[i], x);
        if (lin->b) factor_b_gradient(n, lin, dy[i], p, group->ranks);
    }
    if (group->ranks) factor_a_gradient(n, layer, group, x);
}

/* dx += the part of the gradient that went through dropout */
static void dropped_input_gradient(struct net *n, int64_t layer, const struct net_group *g,
                                   float *dx) {
    for (int i = 0; i < g->count; i++) {
        int64_t slot = n->layers[layer].lin[g->kind[i]].slot;
        struct matmul mm = {.m = n->tokens, .n = g->in, .c = n->drop, .ldc = g->in};
        mm.seg[0].a = f32(n->dp + slot, g->ranks);
        mm.seg[0].b = f32(g->a + slot * g->in, g->in);
        mm.seg[0].k = n->params->rank;
        matmul_nn(n->num, &mm);
        drop(n, layer, g->kind[i], n->drop, n->drop, g->in);
        num_add(n->num, dx, n->drop, n->tokens * g->in);
    }
}

/* dx = sum of dY · W over the group + dP · A, two products at a time */
static void group_input_gradient(struct net *n, int64_t layer, int g, float *dx,
                                 const float *const *dy) {
    const struct net_layer *at = &n->layers[layer];
    const struct net_group *group = &at->group[g];
    struct matmul mm = {.m = n->tokens, .n = group->in, .c = dx, .ldc = group->in};
    int used = 0;
    if (group->ranks && n->dropout == 0.0f) {
        mm.seg[1].a = f32(n->dp, group->ranks);
        mm.seg[1].b = f32(group->a, group->in);
        mm.seg[1].k = group->ranks;
    }
    for (int i = 0; i < linear_groups[g].count; i++) {
        const struct net_linear *lin = &at->lin[linear_groups[g].kind[i]];
        mm.seg[used].a = f32(dy[i], lin->out);
        mm.seg[used].b = lin->w;
        mm.seg[used].k = lin->out;
        bool full = used == 1 || mm.seg[1].k > 0, last = i + 1 == linear_groups[g].count;
        used++;
        if (!full && !last) continue;
        matmul_nn(n->num, &mm);
        mm.accumulate = true;
        mm.seg[1].k = 0;
        used = 0;
    }
    if (n->dropout > 0.0f) dropped_input_gradient(n, layer, group, dx);
}

/* --- attention --- */

static void copy_floats(float *to, const float *from, int64_t count) {
    memcpy(to, from, (size_t)count * sizeof *to);
}

static int64_t first_key(const struct attn_span *s) { return s->row + s->key_offset; }

/* each row's keys in one piece: the shared ones, then its own */
static void keys_gather(const struct net *n, float *to, const float *from) {
    int64_t kv = kv_dim(n->config);
    for (int64_t i = 0; i < n->span_count; i++) {
        const struct attn_span *s = &n->spans[i];
        float *piece = to + first_key(s) * kv;
        copy_floats(piece, from + n->span_base[i] * kv, s->pos0 * kv);
        copy_floats(piece + s->pos0 * kv, from + s->row * kv, s->rows * kv);
    }
}

/* the gradients back: those of the shared keys are summed over the rows, in order */
static void keys_scatter(const struct net *n, float *to, const float *from) {
    int64_t kv = kv_dim(n->config);
    for (int64_t i = 0; i < n->span_count; i++) {
        const struct attn_span *s = &n->spans[i];
        const float *piece = from + first_key(s) * kv;
        float *base = to + n->span_base[i] * kv;
        for (int64_t j = 0; j < s->pos0 * kv; j++) base[j] += piece[j];
        copy_floats(to + s->row * kv, piece + s->pos0 * kv, s->rows * kv);
    }
}

static void attention_lay_out(struct net *n, int64_t layer, const struct acts *a,
                              struct attn *ret) {
    const struct model_config *c = n->config;
    if (n->shared) {
        keys_gather(n, n->kc, a->k);
        keys_gather(n, n->vc, a->v);
    }
    for (int64_t s = 0; s < n->span_count; s++) {
        int64_t key = first_key(&n->spans[s]) * kv_dim(c);
        n->spans[s].k = (n->shared ? n->kc : a->k) + key;
        n->spans[s].v = (n->shared ? n->vc : a->v) + key;
    }
    *ret = (struct attn){.heads = c->heads,
                         .kv_heads = c->kv_heads,
                         .head_dim = c->head_dim,
                         .q_stride = q_dim(c),
                         .out_stride = q_dim(c),
                         .kv_stride = kv_dim(c),
                         .scale = 1.0f / sqrtf((float)c->head_dim),
                         .window = n->layers[layer].window,
                         .spans = n->spans,
                         .span_count = n->span_count};
}

static void rotate(struct net *n, float *x, int64_t heads, bool inverse) {
    int64_t d = n->config->head_dim;
    rope_apply(n->num, x, n->tokens, heads * d, heads, d, n->rope_cos, n->rope_sin, n->position,
               inverse);
}

static void attention_block(struct net *n, int64_t layer, struct acts *a, const float *x) {
    const struct model_config *c = n->config;
    const struct net_layer *at = &n->layers[layer];
    float eps = (float)c->norm_eps;
    int64_t t = n->tokens, d = c->head_dim, ranks = at->group[0].ranks;
    float *q = a->q_raw ? a->q_raw : a->q, *k = a->k_raw ? a->k_raw : a->k;
    rmsnorm_forward(n->num, n->xn, x, at->attn_norm, t, c->dim, eps);
    lora_project(n, layer, 0, a->p[0], n->xn);
    linear_forward(n, layer, LIN_Q, q, n->xn, a->p[0], ranks, false);
    linear_forward(n, layer, LIN_K, k, n->xn, a->p[0], ranks, false);
    linear_forward(n, layer, LIN_V, a->v, n->xn, a->p[0], ranks, false);
    if (a->q_raw) {
        rmsnorm_forward(n->num, a->q, q, at->q_norm, t * c->heads, d, eps);
        rmsnorm_forward(n->num, a->k, k, at->k_norm, t * c->kv_heads, d, eps);
    }
    rotate(n, a->q, c->heads, false);
    rotate(n, a->k, c->kv_heads, false);
    struct attn attn;
    attention_lay_out(n, layer, a, &attn);
    attention_forward(n->num, &attn, a->att, a->lse, a->q);
    lora_project(n, layer, 1, a->p[1], a->att);
    memcpy(a->mid, x, (size_t)(t * c->dim) * sizeof *x);
    linear_forward(n, layer, LIN_O, a->mid, a->att, a->p[1], at->group[1].ranks, true);
}

/* out NULL: only what the backward pass needs */
static void layer_forward(struct net *n, int64_t layer, struct acts *a, const float *x,
                          float *out) {
    const struct model_config *c = n->config;
    const struct net_layer *at = &n->layers[layer];
    int64_t t = n->tokens;
    attention_block(n, layer, a, x);
    rmsnorm_forward(n->num, n->xn, a->mid, at->mlp_norm, t, c->dim, (float)c->norm_eps);
    lora_project(n, layer, 2, a->p[2], n->xn);
    linear_forward(n, layer, LIN_GATE, a->gate, n->xn, a->p[2], at->group[2].ranks, false);
    linear_forward(n, layer, LIN_UP, a->up, n->xn, a->p[2], at->group[2].ranks, false);
    swiglu_forward(n->num, n->wide, a->gate, a->up, t * c->ff);
    lora_project(n, layer, 3, a->p[3], n->wide);
    if (!out) return;
    memcpy(out, a->mid, (size_t)(t * c->dim) * sizeof *out);
    linear_forward(n, layer, LIN_DOWN, out, n->wide, a->p[3], at->group[3].ranks, true);
}

/* --- backward --- */

/* dx: gradient of the layer's output in, of `mid` out */
static void mlp_backward(struct net *n, int64_t layer, struct acts *a, float *dx) {
    const struct model_config *c = n->config;
    const struct net_layer *at = &n->layers[layer];
    int64_t t = n->tokens;
    const float *down[1] = {dx}, *gate_up[2] = {a->gate, a->up};
    swiglu_forward(n->num, n->wide, a->gate, a->up, t * c->ff);
    group_gradient(n, layer, 3, down, n->wide, a->p[3]);
    group_input_gradient(n, layer, 3, n->wide, down);
    swiglu_backward(n->num, a->gate, a->up, n->wide, a->gate, a->up, t * c->ff);
    rmsnorm_forward(n->num, n->xn, a->mid, at->mlp_norm, t, c->dim, (float)c->norm_eps);
    group_gradient(n, layer, 2, gate_up, n->xn, a->p[2]);
    group_input_gradient(n, layer, 2, n->dxn, gate_up);
    rmsnorm_backward(n->num, dx, at->d_mlp_norm, n->dxn, a->mid, at->mlp_norm, t, c->dim,
                     (float)c->norm_eps);
}

/* d: (T, heads·head_dim) gradient after the norm in, before it out (in `raw_grad`) */
static void head_norm_backward(struct net *n, float *raw_grad, float *dw, const float *d,
                               const float *raw, const float *w, int64_t heads) {
    int64_t rows = n->tokens * heads, dim = n->config->head_dim;
    memset(raw_grad, 0, (size_t)(rows * dim) * sizeof *raw_grad);
    rmsnorm_backward(n->num, raw_grad, dw, d, raw, w, rows, dim, (float)n->config->norm_eps);
}

/* dx: gradient of `mid` in, of the layer's input x out; left alone below when !to_input */
static void attention_block_backward(struct net *n, int64_t layer, struct acts *a, const float *x,
                                     float *dx, bool to_input) {
    const struct model_config *c = n->config;
    const struct net_layer *at = &n->layers[layer];
    int64_t t = n->tokens, qn = t * q_dim(c), kvn = t * kv_dim(c);
    float *datt = n->wide, *dq = datt + qn, *dk = dq + qn, *dv = dk + kvn;
    const float *o[1] = {dx};
    group_gradient(n, layer, 1, o, a->att, a->p[1]);
    group_input_gradient(n, layer, 1, datt, o);
    struct attn attn;
    attention_lay_out(n, layer, a, &attn);
    attention_backward(n->num, &attn, dq, n->shared ? n->dkc : dk, n->shared ? n->dvc : dv, datt,
                       a->att, a->lse, a->q);
    if (n->shared) {
        keys_scatter(n, dk, n->dkc);
        keys_scatter(n, dv, n->dvc);
    }
    rotate(n, dq, c->heads, true);
    rotate(n, dk, c->kv_heads, true);
    if (a->q_raw) {
        float *dq_raw = dv + kvn, *dk_raw = dq_raw + qn;
        head_norm_backward(n, dq_raw, at->d_q_norm, dq, a->q_raw, at->q_norm, c->heads);
        head_norm_backward(n, dk_raw, at->d_k_norm, dk, a->k_raw, at->k_norm, c->kv_heads);
        dq = dq_raw;
        dk = dk_raw;
    }
    const float *qkv[3] = {dq, dk, dv};
    rmsnorm_forward(n->num, n->xn, x, at->attn_norm, t, c->dim, (float)c->norm_eps);
    group_gradient(n, layer, 0, qkv, n->xn, a->p[0]);
    if (!to_input) return;
    group_input_gradient(n, layer, 0, n->dxn, qkv);
    rmsnorm_backward(n->num, dx, at->d_attn_norm, n->dxn, x, at->attn_norm, t, c->dim,
                     (float)c->norm_eps);
}

static void layer_backward(struct net *n, int64_t layer, float *dx) {
    struct acts *a = &n->acts[n->size.recompute ? 0 : layer];
    if (n->size.recompute && n->held != layer) layer_forward(n, layer, a, n->x[layer], NULL);
    n->held = -1; /* gate and up are overwritten */
    mlp_backward(n, layer, a, dx);
    attention_block_backward(n, layer, a, n->x[layer], dx, layer > 0 || n->params->rank == 0);
}

/* --- the whole --- */

static void copy_rows(float *to, const float *from, const int32_t *rows, int64_t count, int64_t dim,
                      bool scatter) {
    for (int64_t i = 0; i < count; i++) {
        int64_t r = rows[i];
        memcpy(to + (scatter ? r : i) * dim, from + (scatter ? i : r) * dim,
               (size_t)dim * sizeof *to);
    }
}

/* up to the final norm of the trained rows */
static void forward_pass(struct net *n, const struct net_batch *b) {
    const struct model_config *c = n->config;
    batch_lay_out(n, b);
    embedding_forward(n->num, n->x[0], n->embedding, n->ids, n->tokens, c->dim);
    for (int64_t l = 0; l < c->layers; l++) {
        struct acts *a = &n->acts[n->size.recompute ? 0 : l];
        layer_forward(n, l, a, n->x[l], n->x[l + 1]);
        n->held = l;
    }
    copy_rows(n->xg, n->x[c->layers], n->trained_row, n->trained, c->dim, false);
    rmsnorm_forward(n->num, n->hg, n->xg, n->final_norm, n->trained, c->dim, (float)c->norm_eps);
}

/* nll and correct of the trained rows; with gradient theirs of the final norm's output into dg */
static void loss_pass(struct net *n, float grad_scale, bool gradient) {
    struct params *p = n->params;
    int64_t dhead = p->head >= 0 ? p->head : p->embedding;
    loss_run(n->num, &(struct loss){.rows = n->trained,
                                    .dim = n->config->dim,
                                    .vocab = n->config->vocab,
                                    .hidden = n->hg,
                                    .head = n->head,
                                    .target = n->target,
                                    .weight = n->weight,
                                    .grad_scale = grad_scale,
                                    .nll = n->nll,
                                    .correct = n->correct,
                                    .dhidden = gradient ? n->dg : NULL,
                                    .dhead = gradient ? grad_at(p, dhead) : NULL});
}

/* from dg down; the gradient of a layer's output lies where the last output was */
static void backward_pass(struct net *n) {
    const struct model_config *c = n->config;
    struct params *p = n->params;
    float *dx = n->x[c->layers];
    memset(n->hg, 0, (size_t)(n->trained * c->dim) * sizeof *n->hg);
    rmsnorm_backward(n->num, n->hg, grad_at(p, p->final_norm), n->dg, n->xg, n->final_norm,
                     n->trained, c->dim, (float)c->norm_eps);
    memset(dx, 0, (size_t)(n->tokens * c->dim) * sizeof *dx);
    copy_rows(dx, n->hg, n->trained_row, n->trained, c->dim, true);
    for (int64_t l = c->layers - 1; l >= 0; l--) layer_backward(n, l, dx);
    if (p->embedding < 0) return;
    embedding_backward(n->num, p->grad + p->embedding, dx, n->ids, n->tokens, c->dim);
}

void net_run(struct net *n, const struct net_batch *b, struct net_sums *sums) {
    forward_pass(n, b);
    loss_pass(n, b->grad_scale, b->backward);
    for (int64_t i = 0; i < n->trained; i++) {
        sums->loss += (double)n->weight[i] * (double)n->nll[i];
        sums->correct += n->correct[i];
    }
    if (b->backward) backward_pass(n);
}

struct net_row *net_forward(struct net *n, const struct net_batch *b) {
    forward_pass(n, b);
    loss_pass(n, 0, false);
    for (int64_t r = 0, i = 0; r < n->row_count; r++) {
        n->rows[r] = (struct net_row){0};
        for (; i < n->row_end[r]; i++) n->rows[r].loss += (double)n->weight[i] * (double)n->nll[i];
    }
    return n->rows;
}

void net_backward(struct net *n) {
    for (int64_t r = 0, i = 0; r < n->row_count; r++)
        for (; i < n->row_end[r]; i++) n->weight[i] *= n->rows[r].factor;
    loss_pass(n, 1, true);
    backward_pass(n);
}

double net_flops(const struct model_config *c, const struct params *p, const struct sample *row,
                 int64_t shared, const struct net_way *way) {
    double weights = 0, t = (double)(row->n - 1 - shared);
    for (int k = 0; k < LIN_COUNT; k++) {
        int64_t out, in;
        linear_shape(c, (enum linear_kind)k, &out, &in);
        weights += (double)out * (double)in;
    }
    double attention =
        2.0 * t * (double)q_dim(c); /* per token: scores and values, half of them masked */
    double forward = 2.0 * weights * t + attention * t;
    double head = 2.0 * (double)row->trained * (double)c->vocab * (double)c->dim;
    if (!way->backward) return forward * (double)c->layers + head;
    double passes = (p->rank ? 2.0 : 3.0) + (way->recompute ? 0.8 : 0.0) + 0.1;
    double heads = (p->rank ? 2.0 : 3.0) + (way->halves ? 1.0 : 0.0);
    return passes * forward * (double)c->layers + heads * head;
}
