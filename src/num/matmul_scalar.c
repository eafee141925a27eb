/* Kernels in plain C: for any CPU, and the truth that the others are tested against. */
#include "num/matmul_kernel.h"

#include <string.h>

#define COLS 8
#define K 1024
#define STRIDE (K + BC_PAD)

static float widened(const void *p, int64_t at, enum num_type type) {
    if (type == NUM_F32) return ((const float *)p)[at];
    uint16_t h = ((const uint16_t *)p)[at];
    return type == NUM_BF16 ? num_of_bf16(h) : num_of_f16(h);
}

static float dot_one(const struct dot_block *x, int64_t i, int64_t j) {
    float sum = 0;
    for (int s = 0; s < x->pieces; s++) {
        const struct dot_piece *p = &x->piece[s];
        const float *a = (const float *)p->a + i * p->lda;
        for (int64_t k = 0; k < p->k; k++) sum += a[k] * widened(p->b, j * p->ldb + k, p->b_type);
    }
    return sum;
}

static void dot(const struct dot_block *x) {
    for (int64_t i = 0; i < x->rows; i++)
        for (int64_t j = 0; j < x->cols; j++) {
            float *c = x->c + i * x->ldc + j * x->c_step, sum = x->alpha * dot_one(x, i, j);
            *c = x->add ? *c + sum : sum;
        }
}

static void convert(void *out, const void *p, enum num_type type, int64_t count) {
    num_widen(out, p, type, count);
}

static void pack_a(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    for (int64_t i = 0; i < rows; i++)
        memcpy((float *)out + i * STRIDE, a + i * lda, (size_t)k * sizeof *a);
}

static void pack_at(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    for (int64_t at = 0; at < k; at++)
        for (int64_t i = 0; i < rows; i++) ((float *)out)[i * STRIDE + at] = a[at * lda + i];
}

static void pack_b(void *out, const void *b, enum num_type type, int64_t ldb, int64_t k,
                   int64_t cols) {
    float *y = out;
    for (int64_t at = 0; at < k; at++, y += COLS) {
        num_widen(y, (const char *)b + (size_t)(at * ldb) * num_type_size(type), type, cols);
        for (int64_t j = cols; j < COLS; j++) y[j] = 0;
    }
}

static void bc(const struct bc_block *x) {
    for (int64_t i = 0; i < x->rows; i++) {
        float sum[COLS] = {0};
        const float *a = (const float *)x->a + i * STRIDE, *b = x->b;
        for (int64_t k = 0; k < x->k; k++, b += x->ldb)
            for (int64_t j = 0; j < x->cols; j++) sum[j] += a[k] * b[j];
        float *c = x->c + i * x->ldc;
        for (int64_t j = 0; j < x->cols; j++)
            c[j] = x->add ? c[j] + x->alpha * sum[j] : x->alpha * sum[j];
    }
}

static void round_to_bf16(float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) x[i] = num_of_bf16(num_bf16_of(x[i]));
}

const struct mm_kernels mm_scalar = {
    .unit = 1,
    .dot_cols = COLS,
    .dot_rows = 1,
    .dot_tile_rows = 64,
    .dot_k = K,
    .dot = dot,
    .convert = convert,
    .bc_cols = COLS,
    .bc_rows = 1,
    .bc_k = K,
    .bc = bc,
    .pack_a = pack_a,
    .pack_at = pack_at,
    .pack_b = pack_b,
    .round = round_to_bf16,
};
