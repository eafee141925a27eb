/* The rows and runs behind ops.h and loss.h, one table for each instruction set. Each function
 * works on one row (dim) or one run (n elements) on the calling thread. */
#ifndef NUM_OPS_KERNEL_H
#define NUM_OPS_KERNEL_H

#include "num/num.h"

struct adamw_factors {
    float grad_scale, keep, beta1_rest, beta2, beta2_rest, bias2_root, eps, minus_step;
};

struct ops_kernels {
    void (*rmsnorm)(float *y, const float *x, const float *w, int64_t dim, float eps);
    void (*rmsnorm_grad)(float *dx, float *dw, const float *dy, const float *x, const float *w,
                         int64_t dim, float eps);
    void (*rope)(float *x, int64_t heads, int64_t head_dim, const float *cos, const float *sin,
                 float sign);
    void (*swiglu)(float *h, const float *gate, const float *up, int64_t n);
    void (*swiglu_grad)(float *dgate, float *dup, const float *dh, const float *gate,
                        const float *up, int64_t n);
    void (*add)(float *y, const float *x, int64_t n);
    void (*scale)(float *x, float factor, int64_t n);
    void (*adamw)(const struct adamw_factors *f, float *param, float *m, float *v,
                  const float *grad, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
    float (*max)(const float *x, int64_t n);
    double (*sum_exp)(const float *x, int64_t n, float max);
    /* w = exp((x - max) · factor) */
    void (*weights)(float *w, const float *x, int64_t n, float max, float factor);
    /* x = exp(x - lse) · factor */
    void (*softmax)(float *x, int64_t n, float lse, float factor);
};

extern const struct ops_kernels ops_scalar, ops_avx2, ops_avx512;
const struct ops_kernels *ops_kernels_of(const struct num *num);

#endif
