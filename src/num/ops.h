/* The operations between the matrix products, forward and backward. Shapes in brackets, F32 unless
 * said, rows contiguous. Gradients named d*: those marked += are added to. Reductions over rows run
 * in fixed blocks and a fixed tree: same bits at any thread count. */
#ifndef NUM_OPS_H
#define NUM_OPS_H

#include "num/matmul.h"
#include "num/num.h"

/* y = x / sqrt(mean(x²) + eps) · w, per row (Zhang, Sennrich 2019). y may be x. w: (dim) */
void rmsnorm_forward(struct num *num, float *y, const float *x, const float *w, int64_t rows,
                     int64_t dim, float eps);
/* dx += ; dw += or NULL. Recomputes the scale from x. dx must not be dy. */
void rmsnorm_backward(struct num *num, float *dx, float *dw, const float *dy, const float *x,
                      const float *w, int64_t rows, int64_t dim, float eps);

/* Rotary positions in Hugging Face's half-split order (RoFormer): pairs (i, i + head_dim/2).
 * x: rows of `stride` floats, the first heads·head_dim of which are rotated in place;
 * cos, sin: (positions, head_dim/2); position[rows]. `inverse` rotates back (the backward pass). */
void rope_apply(struct num *num, float *x, int64_t rows, int64_t stride, int64_t heads,
                int64_t head_dim, const float *cos, const float *sin, const int32_t *position,
                bool inverse);

/* h = silu(gate) · up ; n elements */
void swiglu_forward(struct num *num, float *h, const float *gate, const float *up, int64_t n);
/* dgate, dup from dh; either may be the memory of gate, up or dh at the same index */
void swiglu_backward(struct num *num, float *dgate, float *dup, const float *dh, const float *gate,
                     const float *up, int64_t n);

void num_add(struct num *num, float *y, const float *x, int64_t n); /* y += x */

void num_scale(struct num *num, float *x, float factor, int64_t n); /* x *= factor */
/* sums(dim) += of the rows of x(rows, dim), which are `stride` floats apart: the gradient of a bias
 */
void num_col_sums(struct num *num, float *sums, const float *x, int64_t rows, int64_t dim,
                  int64_t stride);
/* log of the sum of exp(x): a row's log-probabilities are x - num_logsumexp(x) */
float num_logsumexp(struct num *num, const float *x, int64_t n);

/* One row on the calling thread, for loops over rows; the pool is not used. */
float num_row_max(const struct num *num, const float *x, int64_t n); /* x without NaN */
double num_row_sum_exp(const struct num *num, const float *x, int64_t n, float max);
/* w = exp((x - max) · factor) */
void num_row_weights(const struct num *num, float *w, const float *x, int64_t n, float max,
                     float factor);
bool num_row_finite(const float *x, int64_t n);

/* out(rows, dim) = table[ids[row]] ; table (vocab, dim) of any type */
void embedding_forward(struct num *num, float *out, struct mat table, const int32_t *ids,
                       int64_t rows, int64_t dim);
/* dtable(vocab, dim) += ; rows are added in order of index */
void embedding_backward(struct num *num, float *dtable, const float *dout, const int32_t *ids,
                        int64_t rows, int64_t dim);

/* Inverted dropout: y = x · keep/(1-p), keep from rng_hash(key, index) : the same mask in forward
 * and backward for the same key. p = 0 copies. */
void dropout_apply(struct num *num, float *y, const float *x, int64_t n, float p, uint64_t key);

/* Sum of squares in double: fixed blocks, fixed order. */
double num_sum_squares(struct num *num, const float *x, int64_t n);

/* AdamW as in PyTorch (Loshchilov, Hutter 2019): decoupled decay, bias correction by `step` >= 1.
 * grads are multiplied by `grad_scale` first (clipping). Doubles as there: 1 - 0.999f would be off
 * by 5e-5. Same bits for every instruction set. */
struct adamw {
    double lr, beta1, beta2, eps, weight_decay;
    float grad_scale;
    int64_t step;
};
void adamw_step(struct num *num, const struct adamw *o, float *param, float *m, float *v,
                const float *grad, int64_t n);

#endif
