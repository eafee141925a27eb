/* The forward pass of a decoder over a batch of rows that may belong to several sessions and
 * adapters.
 *
 * 1. A row's bits depend on its own session alone: the products, norms and rotations work row by
 * row, attention span by span. So alone or batched, in one piece or many, the result is the same.
 * 2. A low-rank update is added after its big product, never fused into it: rows of one batch may
 *    have different adapters, and fusing only where they agree would make bits depend on company.
 * 3. The memory is the workspace's; nothing is allocated here and nothing can fail.
 */
#include "model/session_int.h"
#include "num/ops.h"

#include <math.h>

struct pass {
    struct workspace *w;
    struct num *num;
    const struct model *m;
    int64_t count, rows;
};

/* One of the linear layers that read the same x: y = x·Wᵀ + bias, or added to y. */
struct output {
    enum linear_kind kind;
    float *y;
};

struct group {
    const struct adapter *adapter;
    int64_t row, rows;
};

/* the next rows of one adapter, from piece *at on */
static bool next_group(const struct pass *p, int64_t *at, struct group *ret) {
    const struct piece *pieces = p->w->pieces;
    if (*at == p->count) return false;
    *ret = (struct group){pieces[*at].session->adapter, pieces[*at].row, 0};
    for (; *at < p->count && pieces[*at].session->adapter == ret->adapter; ++*at)
        ret->rows += pieces[*at].n;
    return true;
}

/* where x·Aᵀ of these rows stands */
static float *low_of(const struct pass *p, int slot, const struct group *g) {
    return p->w->low + (slot * p->w->rows + g->row) * p->w->low_rank;
}

static struct matmul low_in(const struct pass *p, const struct group *g, const struct linear *l,
                            const struct lora *lora, int slot, const float *x) {
    int64_t rank = g->adapter->rank;
    return (struct matmul){
        .m = g->rows,
        .n = rank,
        .seg[0] = {{x + g->row * l->in, NUM_F32, l->in}, {lora->a, NUM_F32, l->in}, l->in},
        .c = low_of(p, slot, g),
        .ldc = rank,
        .alpha = g->adapter->scale};
}

static struct matmul low_out(const struct pass *p, const struct group *g, const struct linear *l,
                             const struct lora *lora, int slot, float *y) {
    int64_t rank = g->adapter->rank;
    return (struct matmul){
        .m = g->rows,
        .n = l->out,
        .seg[0] = {{low_of(p, slot, g), NUM_F32, rank}, {lora->b, NUM_F32, rank}, rank},
        .c = y + g->row * l->out,
        .ldc = l->out,
        .accumulate = true};
}

/* The second half of all low-rank updates; the first half stands in w->low. */
static void add_low_rank(const struct pass *p, int64_t index, const struct output *out, int count) {
    struct matmul *list = p->w->products;
    struct group g;
    int64_t n = 0;
    for (int64_t at = 0; next_group(p, &at, &g);)
        for (int i = 0; g.adapter && i < count; i++) {
            const struct lora *lora = &g.adapter->lora[index][out[i].kind];
            if (lora->a)
                list[n++] =
                    low_out(p, &g, &p->m->layers[index].lin[out[i].kind], lora, i, out[i].y);
        }
    if (n > 0) matmul_nt_list(p->num, list, n);
}

/* Layers of one input in one loop of the threads, with the first half of their low-rank updates */
static void apply_linears(const struct pass *p, int64_t index, const float *x,
                          const struct output *out, int count, bool accumulate) {
    const struct linear *lin = p->m->layers[index].lin;
    struct matmul *list = p->w->products;
    struct group g;
    int64_t n = 0;
    for (int i = 0; i < count; i++) {
        const struct linear *l = &lin[out[i].kind];
        list[n++] = (struct matmul){.m = p->rows,
                                    .n = l->out,
                                    .seg[0] = {{x, NUM_F32, l->in}, l->w, l->in},
                                    .bias = l->bias,
                                    .c = out[i].y,
                                    .ldc = l->out,
                                    .accumulate = accumulate};
    }
    for (int64_t at = 0; next_group(p, &at, &g);)
        for (int i = 0; g.adapter && i < count; i++) {
            const struct lora *lora = &g.adapter->lora[index][out[i].kind];
            if (lora->a) list[n++] = low_in(p, &g, &lin[out[i].kind], lora, i, x);
        }
    matmul_nt_list(p->num, list, n);
    if (n > count) add_low_rank(p, index, out, count);
}

static void rotate(const struct pass *p, float *x, int64_t heads) {
    const struct model_config *c = &p->m->config;
    const struct piece *pieces = p->w->pieces;
    int64_t width = heads * c->head_dim;
    for (int64_t i = 0, next; i < p->count; i = next) { /* sessions with the same tables together */
        const struct session *s = pieces[i].session;
        int64_t rows = 0, row = pieces[i].row;
        for (next = i; next < p->count && pieces[next].session->rope_cos == s->rope_cos; next++)
            rows += pieces[next].n;
        rope_apply(p->num, x + row * width, rows, width, heads, c->head_dim, s->rope_cos,
                   s->rope_sin, p->w->position + row, false);
    }
}

static void append_kv(const struct pass *p, int64_t index) {
    const struct workspace *w = p->w;
    int64_t width = p->m->config.kv_heads * p->m->config.head_dim;
    for (int64_t i = 0; i < p->count; i++) {
        const struct piece *piece = &w->pieces[i];
        struct session *s = piece->session;
        size_t bytes = (size_t)(piece->n * width) * sizeof(float);
        memcpy(session_keys(s, index) + s->length * width, w->k + piece->row * width, bytes);
        memcpy(session_values(s, index) + s->length * width, w->v + piece->row * width, bytes);
        w->spans[i] = (struct attn_span){.row = piece->row,
                                         .rows = piece->n,
                                         .k = session_keys(s, index),
                                         .v = session_values(s, index),
                                         .pos0 = s->length};
    }
}

static void attend(const struct pass *p, int64_t index) {
    const struct model_config *c = &p->m->config;
    const struct layer *layer = &p->m->layers[index];
    struct workspace *w = p->w;
    float eps = (float)c->norm_eps;
    rmsnorm_forward(p->num, w->h, w->x, layer->attn_norm, p->rows, c->dim, eps);
    apply_linears(p, index, w->h, (struct output[]){{LIN_Q, w->q}, {LIN_K, w->k}, {LIN_V, w->v}}, 3,
                  false);
    if (layer->q_norm)
        rmsnorm_forward(p->num, w->q, w->q, layer->q_norm, p->rows * c->heads, c->head_dim, eps);
    if (layer->k_norm)
        rmsnorm_forward(p->num, w->k, w->k, layer->k_norm, p->rows * c->kv_heads, c->head_dim, eps);
    rotate(p, w->q, c->heads);
    rotate(p, w->k, c->kv_heads);
    append_kv(p, index);
    struct attn a = {.heads = c->heads,
                     .kv_heads = c->kv_heads,
                     .head_dim = c->head_dim,
                     .q_stride = c->heads * c->head_dim,
                     .out_stride = c->heads * c->head_dim,
                     .kv_stride = c->kv_heads * c->head_dim,
                     .scale = 1.0f / sqrtf((float)c->head_dim),
                     .window = layer->window,
                     .spans = w->spans,
                     .span_count = p->count};
    attention_forward(p->num, &a, w->att, NULL, w->q);
    apply_linears(p, index, w->att, &(struct output){LIN_O, w->x}, 1, true);
}

static void feed_forward(const struct pass *p, int64_t index) {
    const struct model_config *c = &p->m->config;
    struct workspace *w = p->w;
    rmsnorm_forward(p->num, w->h, w->x, p->m->layers[index].mlp_norm, p->rows, c->dim,
                    (float)c->norm_eps);
    apply_linears(p, index, w->h, (struct output[]){{LIN_GATE, w->gate}, {LIN_UP, w->up}}, 2,
                  false);
    swiglu_forward(p->num, w->gate, w->gate, w->up, p->rows * c->ff);
    apply_linears(p, index, w->gate, &(struct output){LIN_DOWN, w->x}, 1, true);
}

/* embedding rows and positions; returns the number of rows */
static int64_t embed(const struct pass *p) {
    const struct model_config *c = &p->m->config;
    struct workspace *w = p->w;
    int64_t row = 0;
    for (int64_t i = 0; i < p->count; i++) {
        struct piece *piece = &w->pieces[i];
        piece->row = row;
        for (int64_t j = 0; j < piece->n; j++)
            w->position[row + j] = (int32_t)(piece->session->length + j);
        embedding_forward(p->num, w->x + row * c->dim, p->m->embedding, piece->ids, piece->n,
                          c->dim);
        row += piece->n;
    }
    return row;
}

void forward_layers(struct workspace *w, struct num *num, int64_t count) {
    struct pass p = {.w = w, .num = num, .m = w->model, .count = count};
    p.rows = embed(&p);
    for (int64_t i = 0; i < w->model->config.layers; i++) {
        attend(&p, i);
        feed_forward(&p, i);
    }
    for (int64_t i = 0; i < count; i++) {
        struct session *s = w->pieces[i].session;
        memcpy(s->ids + s->length, w->pieces[i].ids, (size_t)w->pieces[i].n * sizeof *s->ids);
        s->length += w->pieces[i].n;
    }
}

void forward_norm(struct workspace *w, struct num *num, float *out, const float *x, int64_t rows) {
    const struct model *m = w->model;
    rmsnorm_forward(num, out, x, m->final_norm, rows, m->config.dim, (float)m->config.norm_eps);
}

void forward_head(struct workspace *w, struct num *num, float *logits, const float *hidden,
                  int64_t rows) {
    const struct model_config *c = &w->model->config;
    matmul_nt(num, &(struct matmul){.m = rows,
                                    .n = c->vocab,
                                    .seg[0] = {{hidden, NUM_F32, c->dim}, w->model->head, c->dim},
                                    .c = logits,
                                    .ldc = c->vocab});
}
