/* What attention_body.h is built of: small products on padded memory, packing, and which keys a row
 * sees. Static functions, compiled for each instruction set. */
#ifndef NUM_ATTENTION_PRODUCT_H
#define NUM_ATTENTION_PRODUCT_H

#include "num/attention_kernel.h"
#include "num/simd.h"

/* --- products --- */

struct product {
    float *c;
    int64_t ldc;
    const float *a;
    int64_t row, step; /* distance between rows of A, and along the depth */
    const float *b;
    int64_t ldb, depth;
};

/* C(mr, nr vectors) = or += A·B, all sums in registers */
SIMD_INLINE void block(const int mr, const int nr, const struct product *p, int64_t i, int64_t j,
                       bool add) {
    vf acc[6][8];
    float *c = p->c + i * p->ldc + j;
    for (int r = 0; r < mr; r++)
        for (int n = 0; n < nr; n++)
            acc[r][n] = add ? v_load(c + r * p->ldc + n * V_WIDTH) : v_zero();
    const float *a = p->a + i * p->row, *b = p->b + j;
    int64_t row = p->row, step = p->step, ldb = p->ldb;
    for (int64_t k = 0; k < p->depth; k++, a += step, b += ldb) {
        vf bv[8];
        for (int n = 0; n < nr; n++) bv[n] = v_load(b + n * V_WIDTH);
        for (int r = 0; r < mr; r++) {
            vf av = v_set1(a[r * row]);
            for (int n = 0; n < nr; n++) acc[r][n] = v_fma(av, bv[n], acc[r][n]);
        }
    }
    for (int r = 0; r < mr; r++)
        for (int n = 0; n < nr; n++) v_store(c + r * p->ldc + n * V_WIDTH, acc[r][n]);
}

#define WIDE (V_WIDTH == 16 ? 4 : 2) /* vectors beside six rows */

#define BLOCK_ROWS(mr, nr)                                                                         \
    static void block_##mr(const struct product *p, int64_t i, int64_t n, bool add) {              \
        int64_t j = 0;                                                                             \
        for (; j + (nr)*V_WIDTH <= n; j += (nr)*V_WIDTH) block(mr, nr, p, i, j, add);              \
        for (; j < n; j += V_WIDTH) block(mr, 1, p, i, j, add);                                    \
    }
BLOCK_ROWS(6, WIDE)
BLOCK_ROWS(4, WIDE)
BLOCK_ROWS(2, 4)
BLOCK_ROWS(1, 8)

/* n is rounded up to whole vectors */
static void multiply(const struct product *p, int64_t m, int64_t n, bool add) {
    int64_t i = 0;
    for (; i + 6 <= m; i += 6) block_6(p, i, n, add);
    if (i + 4 <= m) block_4(p, i, n, add), i += 4;
    if (i + 2 <= m) block_2(p, i, n, add), i += 2;
    if (i < m) block_1(p, i, n, add);
}

/* --- packing --- */

static void pack_row(float *to, const float *from, int64_t dim, int64_t padded, float scale) {
    vf s = v_set1(scale);
    int64_t d = 0;
    for (; d + V_WIDTH <= dim; d += V_WIDTH) v_store(to + d, v_mul(v_load(from + d), s));
    for (; d < padded; d += V_WIDTH)
        v_store(to + d, v_mul(v_load_n(from + d, d < dim ? dim - d : 0), s));
}

#if defined SIMD_AVX2 || defined SIMD_AVX512
SIMD_INLINE void transpose8(float *to, int64_t to_stride, const float *from, int64_t stride) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from + i * stride);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int h = 0; h < 2; h++) {
            a[i + 2 * h] = _mm256_shuffle_ps(b[i + h], b[i + h + 2], 0x44);
            a[i + 2 * h + 1] = _mm256_shuffle_ps(b[i + h], b[i + h + 2], 0xEE);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}
enum { TURN = 8 };
#else
SIMD_INLINE void transpose8(float *to, int64_t to_stride, const float *from, int64_t stride) {
    (void)to_stride, (void)stride;
    *to = *from;
}
enum { TURN = 1 };
#endif

/* to(dim, 64) = from(keys, dim) transposed; columns from `keys` on are zero */
static void pack_transposed(float *to, const float *from, int64_t stride, int64_t keys,
                            int64_t dim) {
    int64_t whole = keys / TURN * TURN, deep = dim / TURN * TURN;
    for (int64_t j = 0; j < whole; j += TURN) {
        for (int64_t d = 0; d < deep; d += TURN)
            transpose8(to + d * ATTN_KEYS + j, ATTN_KEYS, from + j * stride + d, stride);
        for (int64_t d = deep; d < dim; d++)
            for (int64_t t = j; t < j + TURN; t++) to[d * ATTN_KEYS + t] = from[t * stride + d];
    }
    for (int64_t d = 0; d < dim; d++)
        for (int64_t j = whole; j < ATTN_KEYS; j++)
            to[d * ATTN_KEYS + j] = j < keys ? from[j * stride + d] : 0.0f;
}

/* --- masks --- */

struct range {
    int64_t lo, hi;
};

/* keys of the tile [key, key + count) that position `at` sees, counted from its beginning */
static struct range visible(int64_t at, int64_t window, int64_t key, int64_t count) {
    int64_t lo = window > 0 ? at - window + 1 - key : 0, hi = at + 1 - key;
    return (struct range){lo > 0 ? lo : 0, hi < count ? hi : count};
}

#endif
