/* The operations of ops.h: they cut the work into items of a fixed size, whatever the thread count,
 * and give each to the kernels of the instruction set (ops_body.h). */
#include "num/ops.h"

#include "base/rng.h"
#include "num/ops_kernel.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    RUN = 16384,        /* elements of one item */
    SUM_ROWS_MIN = 16,  /* rows of one partial sum over rows, at least */
    SUM_BLOCKS_MAX = 64 /* partial sums over rows, at most */
};

const struct ops_kernels *ops_kernels_of(const struct num *num) {
#if defined __x86_64__
    if (num_isa(num) >= NUM_AVX512) return &ops_avx512;
    if (num_isa(num) == NUM_AVX2) return &ops_avx2;
#else
    (void)num;
#endif
    return &ops_scalar;
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t rows_per_run(int64_t dim) { return dim >= RUN ? 1 : RUN / (dim > 0 ? dim : 1); }
static int64_t rows_per_sum(int64_t rows) {
    int64_t even = blocks(rows, SUM_BLOCKS_MAX);
    return even > SUM_ROWS_MIN ? even : SUM_ROWS_MIN;
}

/* --- sums over rows: partial(block, dim), then one fixed order --- */

struct col_sum {
    float *sums;
    const float *x;
    int64_t rows, dim, stride;
};

enum { COLS = 64 };

static void col_sum_item(void *ctx, int64_t i) {
    const struct col_sum *s = ctx;
    int64_t from = i * COLS, count = min64(COLS, s->dim - from);
    float total[COLS] = {0};
    for (int64_t r = 0; r < s->rows; r++) {
        const float *x = s->x + r * s->stride + from;
        for (int64_t j = 0; j < count; j++) total[j] += x[j];
    }
    for (int64_t j = 0; j < count; j++) s->sums[from + j] += total[j];
}

static void col_sums_in_order(struct num *num, float *sums, const float *x, int64_t rows,
                              int64_t dim, int64_t stride) {
    struct col_sum s = {sums, x, rows, dim, stride};
    pool_run(num_pool(num), blocks(dim, COLS), col_sum_item, &s);
}

struct col_part {
    float *part;
    const float *x;
    int64_t rows, dim, stride, per_block;
    const struct ops_kernels *k;
};

static void col_part_item(void *ctx, int64_t b) {
    const struct col_part *p = ctx;
    float *part = p->part + b * p->dim;
    memset(part, 0, (size_t)p->dim * sizeof *part);
    int64_t to = min64(p->rows, (b + 1) * p->per_block);
    for (int64_t r = b * p->per_block; r < to; r++) p->k->add(part, p->x + r * p->stride, p->dim);
}

void num_col_sums(struct num *num, float *sums, const float *x, int64_t rows, int64_t dim,
                  int64_t stride) {
    int64_t per_block = rows_per_sum(rows), count = blocks(rows, per_block);
    float *part = num_scratch(num, NUM_SLOT_OPS, (size_t)(count * dim) * sizeof *part);
    struct col_part p = {part, x, rows, dim, stride, per_block, ops_kernels_of(num)};
    pool_run(num_pool(num), count, col_part_item, &p);
    col_sums_in_order(num, sums, part, count, dim, dim);
}

/* --- RMSNorm --- */

struct rmsnorm {
    float *y;
    const float *x, *w;
    int64_t rows, dim, per_item;
    float eps;
    const struct ops_kernels *k;
};

static void rmsnorm_item(void *ctx, int64_t i) {
    const struct rmsnorm *n = ctx;
    int64_t to = min64(n->rows, (i + 1) * n->per_item);
    for (int64_t r = i * n->per_item; r < to; r++)
        n->k->rmsnorm(n->y + r * n->dim, n->x + r * n->dim, n->w, n->dim, n->eps);
}

void rmsnorm_forward(struct num *num, float *y, const float *x, const float *w, int64_t rows,
                     int64_t dim, float eps) {
    int64_t per_item = rows_per_run(dim);
    struct rmsnorm n = {y, x, w, rows, dim, per_item, eps, ops_kernels_of(num)};
    pool_run(num_pool(num), blocks(rows, per_item), rmsnorm_item, &n);
}

struct rmsnorm_grad {
    float *dx, *part;
    const float *dy, *x, *w;
    int64_t rows, dim, per_item;
    float eps;
    const struct ops_kernels *k;
};

static void rmsnorm_grad_item(void *ctx, int64_t i) {
    const struct rmsnorm_grad *n = ctx;
    float *part = n->part ? n->part + i * n->dim : NULL;
    if (part) memset(part, 0, (size_t)n->dim * sizeof *part);
    int64_t to = min64(n->rows, (i + 1) * n->per_item);
    for (int64_t r = i * n->per_item; r < to; r++)
        n->k->rmsnorm_grad(n->dx + r * n->dim, part, n->dy + r * n->dim, n->x + r * n->dim, n->w,
                           n->dim, n->eps);
}

void rmsnorm_backward(struct num *num, float *dx, float *dw, const float *dy, const float *x,
                      const float *w, int64_t rows, int64_t dim, float eps) {
    assert(dx != dy);
    int64_t per_item = dw ? rows_per_sum(rows) : rows_per_run(dim), count = blocks(rows, per_item);
    float *part = NULL;
    if (dw) part = num_scratch(num, NUM_SLOT_OPS, (size_t)(count * dim) * sizeof *part);
    struct rmsnorm_grad n = {dx, part, dy, x, w, rows, dim, per_item, eps, ops_kernels_of(num)};
    pool_run(num_pool(num), count, rmsnorm_grad_item, &n);
    if (dw) col_sums_in_order(num, dw, part, count, dim, dim);
}

/* --- rotary positions --- */

struct rope {
    float *x;
    int64_t rows, stride, heads, head_dim, per_item;
    const float *cos, *sin;
    const int32_t *position;
    float sign;
    const struct ops_kernels *k;
};

static void rope_item(void *ctx, int64_t i) {
    const struct rope *p = ctx;
    int64_t half = p->head_dim / 2, to = min64(p->rows, (i + 1) * p->per_item);
    for (int64_t r = i * p->per_item; r < to; r++) {
        int64_t at = p->position[r] * half;
        p->k->rope(p->x + r * p->stride, p->heads, p->head_dim, p->cos + at, p->sin + at, p->sign);
    }
}

void rope_apply(struct num *num, float *x, int64_t rows, int64_t stride, int64_t heads,
                int64_t head_dim, const float *cos, const float *sin, const int32_t *position,
                bool inverse) {
    assert(head_dim % 2 == 0 && heads * head_dim <= stride);
    int64_t per_item = rows_per_run(heads * head_dim);
    struct rope p = {x,
                     rows,
                     stride,
                     heads,
                     head_dim,
                     per_item,
                     cos,
                     sin,
                     position,
                     inverse ? -1.0f : 1.0f,
                     ops_kernels_of(num)};
    pool_run(num_pool(num), blocks(rows, per_item), rope_item, &p);
}

/* --- element by element --- */

struct run {
    float *a, *b, *c; /* written */
    const float *x, *y, *z;
    int64_t n;
    float factor;
    uint64_t key;
    const struct adamw_factors *adamw;
    const struct ops_kernels *k;
};

static int64_t run_count(const struct run *r, int64_t i) { return min64(RUN, r->n - i * RUN); }
static void run_all(struct num *num, struct run *r, void (*item)(void *, int64_t)) {
    r->k = ops_kernels_of(num);
    pool_run(num_pool(num), blocks(r->n, RUN), item, r);
}

static void swiglu_item(void *ctx, int64_t i) {
    const struct run *r = ctx;
    r->k->swiglu(r->a + i * RUN, r->x + i * RUN, r->y + i * RUN, run_count(r, i));
}

void swiglu_forward(struct num *num, float *h, const float *gate, const float *up, int64_t n) {
    struct run r = {.a = h, .x = gate, .y = up, .n = n};
    run_all(num, &r, swiglu_item);
}

static void swiglu_grad_item(void *ctx, int64_t i) {
    const struct run *r = ctx;
    r->k->swiglu_grad(r->a + i * RUN, r->b + i * RUN, r->x + i * RUN, r->y + i * RUN,
                      r->z + i * RUN, run_count(r, i));
}

void swiglu_backward(struct num *num, float *dgate, float *dup, const float *dh, const float *gate,
                     const float *up, int64_t n) {
    struct run r = {.a = dgate, .b = dup, .x = dh, .y = gate, .z = up, .n = n};
    run_all(num, &r, swiglu_grad_item);
}

static void add_item(void *ctx, int64_t i) {
    const struct run *r = ctx;
    r->k->add(r->a + i * RUN, r->x + i * RUN, run_count(r, i));
}

void num_add(struct num *num, float *y, const float *x, int64_t n) {
    struct run r = {.a = y, .x = x, .n = n};
    run_all(num, &r, add_item);
}

static void scale_item(void *ctx, int64_t i) {
    const struct run *r = ctx;
    r->k->scale(r->a + i * RUN, r->factor, run_count(r, i));
}

void num_scale(struct num *num, float *x, float factor, int64_t n) {
    struct run r = {.a = x, .factor = factor, .n = n};
    run_all(num, &r, scale_item);
}

/* One hash serves two elements; p has 32 bits. */
static void dropout_item(void *ctx, int64_t i) {
    const struct run *r = ctx;
    uint64_t limit = (uint64_t)((double)r->factor * 4294967296.0);
    float up = 1.0f / (1.0f - r->factor);
    int64_t from = i * RUN, to = from + run_count(r, i);
    for (int64_t j = from; j < to; j += 2) {
        uint64_t bits = rng_hash(r->key, (uint64_t)j / 2);
        r->a[j] = bits >> 32 >= limit ? r->x[j] * up : 0.0f;
        if (j + 1 < to) r->a[j + 1] = (bits & 0xFFFFFFFFu) >= limit ? r->x[j + 1] * up : 0.0f;
    }
}

void dropout_apply(struct num *num, float *y, const float *x, int64_t n, float p, uint64_t key) {
    assert(p >= 0.0f && p < 1.0f);
    if (p == 0.0f) {
        if (y != x) memcpy(y, x, (size_t)n * sizeof *y);
        return;
    }
    struct run r = {.a = y, .x = x, .n = n, .factor = p, .key = key};
    run_all(num, &r, dropout_item);
}

/* --- sums --- */

struct squares {
    const float *x;
    double *part;
    int64_t n;
    const struct ops_kernels *k;
};

static void squares_item(void *ctx, int64_t i) {
    const struct squares *s = ctx;
    s->part[i] = s->k->sum_squares(s->x + i * RUN, min64(RUN, s->n - i * RUN));
}

double num_sum_squares(struct num *num, const float *x, int64_t n) {
    int64_t count = blocks(n, RUN);
    double *part = num_scratch(num, NUM_SLOT_OPS, (size_t)(count + 1) * sizeof *part);
    struct squares s = {x, part, n, ops_kernels_of(num)};
    pool_run(num_pool(num), count, squares_item, &s);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += s.part[i];
    return sum;
}

float num_row_max(const struct num *num, const float *x, int64_t n) {
    return ops_kernels_of(num)->max(x, n);
}

double num_row_sum_exp(const struct num *num, const float *x, int64_t n, float max) {
    return ops_kernels_of(num)->sum_exp(x, n, max);
}

void num_row_weights(const struct num *num, float *w, const float *x, int64_t n, float max,
                     float factor) {
    ops_kernels_of(num)->weights(w, x, n, max, factor);
}

/* x - x is 0, or NaN where x is not finite; NaN stays in a sum */
bool num_row_finite(const float *x, int64_t n) {
    float s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) s[j] += x[i + j] - x[i + j];
    for (; i < n; i++) s[0] += x[i] - x[i];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])) == 0;
}

float num_logsumexp(struct num *num, const float *x, int64_t n) {
    const struct ops_kernels *k = ops_kernels_of(num);
    float top = k->max(x, n);
    return (float)((double)top + log(k->sum_exp(x, n, top)));
}

/* --- embedding --- */

struct embedding {
    float *out;
    struct mat table;
    const int32_t *ids;
    int64_t rows, dim, per_item;
};

static void embedding_item(void *ctx, int64_t i) {
    const struct embedding *e = ctx;
    int64_t to = min64(e->rows, (i + 1) * e->per_item);
    size_t row_bytes = (size_t)e->table.ld * num_type_size(e->table.type);
    for (int64_t r = i * e->per_item; r < to; r++)
        num_widen(e->out + r * e->dim, (const char *)e->table.p + (size_t)e->ids[r] * row_bytes,
                  e->table.type, e->dim);
}

void embedding_forward(struct num *num, float *out, struct mat table, const int32_t *ids,
                       int64_t rows, int64_t dim) {
    struct embedding e = {out, table, ids, rows, dim, rows_per_run(dim)};
    pool_run(num_pool(num), blocks(rows, e.per_item), embedding_item, &e);
}

struct embedding_grad {
    float *dtable;
    const float *dout;
    const int32_t *ids;
    int64_t rows, dim;
    const struct ops_kernels *k;
};

static void embedding_grad_item(void *ctx, int64_t i) { /* some columns of all rows, in order */
    const struct embedding_grad *e = ctx;
    int64_t from = i * COLS, count = min64(COLS, e->dim - from);
    for (int64_t r = 0; r < e->rows; r++)
        e->k->add(e->dtable + e->ids[r] * e->dim + from, e->dout + r * e->dim + from, count);
}

void embedding_backward(struct num *num, float *dtable, const float *dout, const int32_t *ids,
                        int64_t rows, int64_t dim) {
    struct embedding_grad e = {dtable, dout, ids, rows, dim, ops_kernels_of(num)};
    pool_run(num_pool(num), blocks(dim, COLS), embedding_grad_item, &e);
}

/* --- optimiser --- */

static void adamw_item(void *ctx, int64_t i) {
    const struct run *r = ctx;
    r->k->adamw(r->adamw, r->a + i * RUN, r->b + i * RUN, r->c + i * RUN, r->x + i * RUN,
                run_count(r, i));
}

void adamw_step(struct num *num, const struct adamw *o, float *param, float *m, float *v,
                const float *grad, int64_t n) {
    assert(o->step >= 1);
    double bias1 = 1.0 - pow(o->beta1, (double)o->step);
    double bias2 = 1.0 - pow(o->beta2, (double)o->step);
    struct adamw_factors f = {
        .grad_scale = o->grad_scale,
        .keep = (float)(1.0 - o->lr * o->weight_decay),
        .beta1_rest = (float)(1.0 - o->beta1),
        .beta2 = (float)o->beta2,
        .beta2_rest = (float)(1.0 - o->beta2),
        .bias2_root = (float)sqrt(bias2),
        .eps = (float)o->eps,
        .minus_step = (float)(-o->lr / bias1),
    };
    struct run r = {.a = param, .b = m, .c = v, .x = grad, .n = n, .adamw = &f};
    run_all(num, &r, adamw_item);
}
