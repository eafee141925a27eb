/* The kernels of attention_kernel.h, written once against simd.h; ATTN_TABLE names the table.
 *
 * All working memory is padded to whole vectors with zeros, so the inner products have no tails:
 *   Q (rows, D)   Kt (head_dim, 64)   V (64, D)   S = Q·Kt (rows, 64)   D: padded head_dim
 * Every element of a product is one chain of multiply-adds in the order of its depth, whatever
 * block it falls in: that is what makes a row's bits independent of its neighbours. */
#include "num/attention_product.h"

#include <string.h>

/* --- forward --- */

SIMD_INLINE float exp1(float x) { return v_first(v_exp(v_set1(x))); }

/* s: scores in, exp(score - maximum) out; hidden keys become 0. `width` is whole vectors. */
static void softmax_row(float *s, struct range see, int64_t width, struct attn_state st, int64_t r,
                        int64_t padded) {
    if (see.lo >= see.hi) {
        memset(s, 0, (size_t)width * sizeof *s);
        return;
    }
    for (int64_t j = 0; j < see.lo; j++) s[j] = -INFINITY;
    for (int64_t j = see.hi; j < width; j++) s[j] = -INFINITY;
    vf top = v_load(s), sum = v_zero();
    for (int64_t j = V_WIDTH; j < width; j += V_WIDTH) top = v_max(top, v_load(s + j));
    float old = st.max[r], now = v_top(top);
    if (now < old) now = old;
    vf m = v_set1(now);
    for (int64_t j = 0; j < width; j += V_WIDTH) {
        vf e = v_exp(v_sub(v_load(s + j), m));
        v_store(s + j, e);
        sum = v_add(sum, e);
    }
    if (now > old) {
        float fade = exp1(old - now);
        float *acc = st.acc + r * padded;
        st.sum[r] *= fade;
        for (int64_t d = 0; d < padded; d += V_WIDTH)
            v_store(acc + d, v_mul(v_load(acc + d), v_set1(fade)));
        st.max[r] = now;
    }
    st.sum[r] += v_sum(sum);
}

static void state_clear(struct attn_state s, int64_t rows, int64_t padded) {
    for (int64_t r = 0; r < rows; r++) {
        s.max[r] = -INFINITY;
        s.sum[r] = 0.0f;
    }
    memset(s.acc, 0, (size_t)(rows * padded) * sizeof *s.acc);
}

static void forward(const struct attn_rows *t, int64_t from, int64_t to, struct attn_state st,
                    float *work) {
    int64_t rows = t->count * t->group, dim = t->head_dim, padded = attn_padded(dim);
    float *kt = work, *v = kt + ATTN_KEYS * padded, *q = v + ATTN_KEYS * padded;
    float *s = q + rows * padded;
    for (int64_t r = 0; r < rows; r++)
        pack_row(q + r * padded, t->q + r / t->group * t->q_stride + r % t->group * dim, dim,
                 padded, t->scale);
    state_clear(st, rows, padded);
    for (int64_t key = from; key < to; key += ATTN_KEYS) {
        int64_t keys = to - key < ATTN_KEYS ? to - key : ATTN_KEYS;
        int64_t width = (keys + V_WIDTH - 1) / V_WIDTH * V_WIDTH;
        if (t->window > 0 && key + keys <= t->first - t->window + 1) continue;
        pack_transposed(kt, t->k + key * t->kv_stride, t->kv_stride, keys, dim);
        for (int64_t j = 0; j < keys; j++)
            pack_row(v + j * padded, t->v + (key + j) * t->kv_stride, dim, padded, 1.0f);
        multiply(&(struct product){s, ATTN_KEYS, q, padded, 1, kt, ATTN_KEYS, dim}, rows, width,
                 false);
        for (int64_t r = 0; r < rows; r++)
            softmax_row(s + r * ATTN_KEYS, visible(t->first + r / t->group, t->window, key, keys),
                        width, st, r, padded);
        multiply(&(struct product){st.acc, padded, s, ATTN_KEYS, 1, v, padded, keys}, rows, padded,
                 true);
    }
}

/* A part that sees nothing changes nothing: skipping it gives the same bits. */
static void merge(struct attn_state into, struct attn_state from, int64_t rows, int64_t padded) {
    for (int64_t r = 0; r < rows; r++) {
        if (from.max[r] == -INFINITY && from.sum[r] == 0.0f) continue;
        float a = into.max[r], b = from.max[r], top = a > b ? a : b;
        float fa = exp1(a - top), fb = exp1(b - top);
        into.max[r] = top;
        into.sum[r] = into.sum[r] * fa + from.sum[r] * fb;
        float *x = into.acc + r * padded;
        const float *y = from.acc + r * padded;
        for (int64_t d = 0; d < padded; d += V_WIDTH)
            v_store(x + d, v_fma(v_load(x + d), v_set1(fa), v_mul(v_load(y + d), v_set1(fb))));
    }
}

/* --- backward --- */

/* p: scores in, probabilities out. dp: dout·vᵀ in, gradient of the score out: p·(dp - delta) */
static void gradient_row(float *p, float *dp, struct range see, int64_t width, float lse,
                         float delta) {
    for (int64_t j = 0; j < see.lo && j < width; j++) p[j] = -INFINITY;
    for (int64_t j = see.hi > 0 ? see.hi : 0; j < width; j++) p[j] = -INFINITY;
    vf l = v_set1(lse), back = v_set1(delta);
    for (int64_t j = 0; j < width; j += V_WIDTH) {
        vf e = v_exp(v_sub(v_load(p + j), l));
        v_store(p + j, e);
        v_store(dp + j, v_mul(e, v_sub(v_load(dp + j), back)));
    }
}

struct backward_work {
    float *q, *dout, *dq; /* (rows, D); q times scale */
    float *delta, *lse;   /* (rows) */
    float *p, *dp;        /* (48, 64) */
    float *kt, *vt;       /* (D, 64) */
    float *k, *dk, *dv;   /* (64, D); k times scale */
};

static struct backward_work backward_layout(float *work, int64_t rows, int64_t padded) {
    int64_t even = (rows + ATTN_LANES - 1) / ATTN_LANES * ATTN_LANES;
    struct backward_work w;
    w.q = work;
    w.dout = w.q + rows * padded;
    w.dq = w.dout + rows * padded;
    w.delta = w.dq + rows * padded;
    w.lse = w.delta + even;
    w.p = w.lse + even;
    w.dp = w.p + ATTN_GRAD_ROWS * ATTN_KEYS;
    w.kt = w.dp + ATTN_GRAD_ROWS * ATTN_KEYS;
    w.vt = w.kt + ATTN_KEYS * padded;
    w.k = w.vt + ATTN_KEYS * padded;
    w.dk = w.k + ATTN_KEYS * padded;
    w.dv = w.dk + ATTN_KEYS * padded;
    return w;
}

static void backward_begin(const struct attn_head *h, const struct backward_work *w,
                           int64_t padded) {
    memset(w->dq, 0, (size_t)(h->rows * padded) * sizeof *w->dq);
    for (int64_t r = 0; r < h->rows; r++) {
        const float *dout = h->dout + r * h->out_stride, *out = h->out + r * h->out_stride;
        pack_row(w->q + r * padded, h->q + r * h->q_stride, h->head_dim, padded, h->scale);
        pack_row(w->dout + r * padded, dout, h->head_dim, padded, 1.0f);
        double delta = 0;
        for (int64_t d = 0; d < h->head_dim; d++) delta += (double)dout[d] * (double)out[d];
        w->delta[r] = (float)delta;
        w->lse[r] = h->lse[r * h->lse_stride];
    }
}

/* rows [r, r + m) against the tile of `keys` keys from `key` on */
static void backward_tile(const struct attn_head *h, const struct backward_work *w, int64_t padded,
                          int64_t r, int64_t m, int64_t key, int64_t keys) {
    if (h->before + r + m - key < keys) keys = h->before + r + m - key;
    int64_t width = (keys + V_WIDTH - 1) / V_WIDTH * V_WIDTH, dim = h->head_dim;
    const float *q = w->q + r * padded, *dout = w->dout + r * padded;
    multiply(&(struct product){w->p, ATTN_KEYS, q, padded, 1, w->kt, ATTN_KEYS, dim}, m, width,
             false);
    multiply(&(struct product){w->dp, ATTN_KEYS, dout, padded, 1, w->vt, ATTN_KEYS, dim}, m, width,
             false);
    for (int64_t i = 0; i < m; i++)
        gradient_row(w->p + i * ATTN_KEYS, w->dp + i * ATTN_KEYS,
                     visible(h->before + r + i, h->window, key, keys), width, w->lse[r + i],
                     w->delta[r + i]);
    multiply(&(struct product){w->dv, padded, w->p, 1, ATTN_KEYS, dout, padded, m}, keys, padded,
             true);
    multiply(&(struct product){w->dk, padded, w->dp, 1, ATTN_KEYS, q, padded, m}, keys, padded,
             true);
    multiply(&(struct product){w->dq + r * padded, padded, w->dp, ATTN_KEYS, 1, w->k, padded, keys},
             m, padded, true);
}

static void backward(const struct attn_head *h, float *work) {
    int64_t dim = h->head_dim, padded = attn_padded(dim);
    struct backward_work w = backward_layout(work, h->rows, padded);
    backward_begin(h, &w, padded);
    int64_t all = h->before + h->rows;
    for (int64_t key = 0; key < all; key += ATTN_KEYS) {
        int64_t keys = all - key < ATTN_KEYS ? all - key : ATTN_KEYS;
        int64_t first = key > h->before ? key - h->before : 0;
        int64_t end = h->window > 0 ? key + keys - 1 + h->window - h->before : h->rows;
        if (end > h->rows) end = h->rows;
        pack_transposed(w.kt, h->k + key * h->kv_stride, h->kv_stride, keys, dim);
        pack_transposed(w.vt, h->v + key * h->kv_stride, h->kv_stride, keys, dim);
        for (int64_t j = 0; j < keys; j++)
            pack_row(w.k + j * padded, h->k + (key + j) * h->kv_stride, dim, padded, h->scale);
        memset(w.dk, 0, (size_t)(2 * ATTN_KEYS * padded) * sizeof *w.dk);
        for (int64_t r = first; r < end; r += ATTN_GRAD_ROWS)
            backward_tile(h, &w, padded, r, end - r < ATTN_GRAD_ROWS ? end - r : ATTN_GRAD_ROWS,
                          key, keys);
        for (int64_t j = 0; j < keys; j++) {
            memcpy(h->dk + (key + j) * h->dkv_stride, w.dk + j * padded,
                   (size_t)dim * sizeof *w.dk);
            memcpy(h->dv + (key + j) * h->dkv_stride, w.dv + j * padded,
                   (size_t)dim * sizeof *w.dv);
        }
    }
    for (int64_t r = 0; r < h->rows; r++)
        memcpy(h->dq + r * h->q_stride, w.dq + r * padded, (size_t)dim * sizeof *w.dq);
}

const struct attn_kernels ATTN_TABLE = {forward, merge, backward};
