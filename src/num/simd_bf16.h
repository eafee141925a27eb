/* F32 and stored types to units of two BF16, neighbours in k, for vdpbf16ps and the tiles. */
#ifndef NUM_SIMD_BF16_H
#define NUM_SIMD_BF16_H

#include "num/num.h"
#include "num/simd_avx512.h"

#define BC_COLS 32
#define TILE_UNITS 16 /* packed operands are filled with zeros up to whole tiles */

/* Operands are stored types seen as vectors; the instruction wants its own. */
static inline vf v_dpbf16(vf a, vf b, vf c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

static inline __m512i v_bf16_low(vf v) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(v));
}

/* lane i: (low[i], high[i]) */
static inline vf v_pair(__m512i low, __m512i high) {
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

static inline __m512i v_load_low(const void *p, int64_t at, enum num_type type) {
    const uint16_t *h = (const uint16_t *)p + at;
    if (type == NUM_BF16) return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)h));
    return v_bf16_low(type == NUM_F16 ? v_load_f16(h) : v_load((const float *)p + at));
}

static void convert_bf16(void *out, const void *p, enum num_type type, int64_t count) {
    uint16_t *y = out;
    const uint16_t *h = p;
    const float *f = p;
    if (type == NUM_BF16) {
        memcpy(out, p, (size_t)count * sizeof *y);
        return;
    }
    for (int64_t i = 0; i < count; i += VL) {
        int64_t n = count - i < VL ? count - i : VL;
        uint16_t tail[VL] = {0};
        if (type == NUM_F16 && n < VL) memcpy(tail, h + i, (size_t)n * sizeof *tail);
        vf v = type == NUM_F32 ? n < VL ? v_load_n(f + i, n) : v_load(f + i)
                               : v_load_f16(n < VL ? tail : h + i);
        __m256i b = (__m256i)_mm512_cvtneps_pbh(v);
        if (n == VL)
            _mm256_storeu_si256((__m256i *)(y + i), b);
        else
            memcpy(y + i, &b, (size_t)n * sizeof *y);
    }
}

static int64_t units_of(int64_t k) { return (k + 1) / 2; }
static int64_t whole_tiles(int64_t units) {
    return (units + TILE_UNITS - 1) / TILE_UNITS * TILE_UNITS;
}

/* rows of k, `stride` units apart */
static void pack_rows_bf16(void *out, const float *a, int64_t lda, int64_t rows, int64_t k,
                           int64_t stride) {
    int64_t filled = 2 * whole_tiles(units_of(k));
    for (int64_t i = 0; i < rows; i++) {
        uint16_t *y = (uint16_t *)out + 2 * i * stride;
        convert_bf16(y, a + i * lda, NUM_F32, k);
        memset(y + k, 0, (size_t)(filled - k) * sizeof *y);
    }
}

/* pairs of rows of B, BC_COLS columns of units each */
static void pack_b_bf16(void *out, const void *b, enum num_type type, int64_t ldb, int64_t k,
                        int64_t cols) {
    size_t size = num_type_size(type);
    char edge[2][BC_COLS * 4];
    float *y = out;
    for (int64_t at = 0; at < k; at += 2, y += BC_COLS) {
        const char *low = (const char *)b + (size_t)(at * ldb) * size, *high = low;
        if (at + 1 < k) high += (size_t)ldb * size;
        if (cols < BC_COLS) {
            memset(edge, 0, sizeof edge);
            low = memcpy(edge[0], low, (size_t)cols * size);
            high = memcpy(edge[1], high, (size_t)cols * size);
        } else {
            __builtin_prefetch(low + BC_COLS * size);
            __builtin_prefetch(high + BC_COLS * size);
        }
        for (int j = 0; j < BC_COLS; j += VL) {
            __m512i second = at + 1 < k ? v_load_low(high, j, type) : _mm512_set1_epi32(0);
            v_store(y + j, v_pair(v_load_low(low, j, type), second));
        }
    }
    int64_t units = units_of(k);
    memset(y, 0, (size_t)((whole_tiles(units) - units) * BC_COLS) * sizeof *y);
}

/* one vector of pairs from rows at and at+1 of A(k, rows): columns i to i + n */
static inline vf pair_of_rows(const float *a, int64_t lda, int64_t at, int64_t k, int64_t i,
                              int64_t n) {
    const float *x = a + at * lda + i;
    vf low = v_load_n(x, n), high = at + 1 < k ? v_load_n(x + lda, n) : v_zero();
    return v_pair(v_bf16_low(low), v_bf16_low(high));
}

#endif
