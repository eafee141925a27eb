/* Kernels for AMX: tdpbf16ps adds the product of a 16 x 32 and a 32 x 16 tile of BF16 to 16 x 16
 * sums. Two by two tiles of sums in flight; 4 tile loads feed 4 products.
 *
 * dot (nt): rows of the weights are tiles as they lie (16 rows, 64 bytes of each). Activations are
 * packed once into pairs, 16 rows side by side. Sums come out transposed, weights down and
 * activations across, and are turned when they go to C.
 * bc (nn, tn): A is packed in rows, B in pairs, and sums come out as C lies.
 */
#if defined(__x86_64__)

#include "num/matmul_kernel.h"
#include "num/simd_bf16.h"

#include <string.h>

#define SIDE 32 /* rows and columns of four tiles of sums */
#define DOT_K 2048
#define BC_K 256
#define BC_STRIDE (BC_K + BC_PAD)
#define TILE_K 32 /* elements of k in a tile */

struct tile_config {
    uint8_t palette, start_row, reserved[14]; /* reserved bytes must be zero */
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* All eight tiles whole. Tile state costs at each switch of threads: kernels release it. */
static void tiles_open(void) {
    struct tile_config c __attribute__((aligned(64)));
    memset(&c, 0, sizeof c);
    c.palette = 1;
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    _tile_loadconfig(&c);
}

/* tiles 0-3: sums; 4, 5: left operand; 6, 7: right operand */
static void sums_clear(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

static void step_4(const void *left0, const void *left1, size_t left_stride, const void *right0,
                   const void *right1, size_t right_stride) {
    _tile_loadd(4, left0, left_stride);
    _tile_loadd(6, right0, right_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right1, right_stride);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left1, left_stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* half of the right side only: 16 columns */
static void step_2(const void *left0, const void *left1, size_t left_stride, const void *right0,
                   size_t right_stride) {
    _tile_loadd(4, left0, left_stride);
    _tile_loadd(6, right0, right_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, left1, left_stride);
    _tile_dpbf16ps(2, 5, 6);
}

static void sums_store(float *out) {
    _tile_stored(0, out, SIDE * sizeof *out);
    _tile_stored(1, out + 16, SIDE * sizeof *out);
    _tile_stored(2, out + 16 * SIDE, SIDE * sizeof *out);
    _tile_stored(3, out + 16 * SIDE + 16, SIDE * sizeof *out);
}

/* --- C --- */

/* n values of one row of C */
static void c_update(float *c, vf sum, int64_t n, vf alpha, bool add) {
    sum = v_mul(sum, alpha);
    if (n >= VL) {
        v_store(c, add ? v_add(v_load(c), sum) : sum);
        return;
    }
    v_store_n(c, add ? v_add(v_load_n(c, n), sum) : sum, n);
}

/* 16 x 16, in the four stages of neighbours, pairs, quarters and halves */
static void transpose(vf *r) {
    vf t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int h = 0; h < 2; h++) {
            __m512d a = _mm512_castps_pd(t[i + h]), b = _mm512_castps_pd(t[i + 2 + h]);
            r[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++)
        for (int h = 0; h < 2; h++) {
            t[i + 8 * h] = _mm512_shuffle_f32x4(r[i + 8 * h], r[i + 8 * h + 4], 0x88);
            t[i + 8 * h + 4] = _mm512_shuffle_f32x4(r[i + 8 * h], r[i + 8 * h + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

/* sums[j][i] to C[i][j] */
static void c_update_turned(const struct dot_block *x, int64_t i0, const float *sums) {
    vf alpha = v_set1(x->alpha);
    for (int64_t j = 0; j < x->cols; j += 16)
        for (int64_t i = 0; i < SIDE && i0 + i < x->rows; i += 16) {
            vf r[16];
            for (int64_t l = 0; l < 16; l++) r[l] = v_load(sums + (j + l) * SIDE + i);
            transpose(r);
            for (int64_t l = 0; l < 16 && i0 + i + l < x->rows; l++)
                c_update(x->c + (i0 + i + l) * x->ldc + j, r[l], x->cols - j, alpha, x->add);
        }
}

/* --- dot --- */

/* Groups of 16 rows of A, BF16 already, to pairs across: k/2 units, each of the 16 rows in turn.
 * Rows and k beyond the end are zeros. */
static int64_t dot_pack_a(void *out, const void *a, int64_t lda, int64_t rows, int64_t k) {
    int64_t padded = (k + TILE_K - 1) / TILE_K * TILE_K;
    for (int64_t i = 0; i < (rows + SIDE - 1) / SIDE * SIDE; i += 16) {
        float *y = (float *)out + i * padded / 2;
        for (int64_t at = 0; at < padded; at += TILE_K, y += 16 * 16) {
            int64_t n = k - at < TILE_K ? k - at : TILE_K;
            vf r[16];
            for (int64_t l = 0; l < 16; l++) {
                uint16_t h[TILE_K] = {0};
                if (i + l < rows)
                    memcpy(h, (const uint16_t *)a + (i + l) * lda + at, (size_t)n * sizeof *h);
                r[l] = v_load((const float *)(const void *)h);
            }
            transpose(r);
            for (int l = 0; l < 16; l++) v_store(y + 16 * l, r[l]);
        }
    }
    return padded;
}

static void dot_step(const struct dot_piece *p, const uint16_t *b, size_t stride, int64_t i0,
                     int64_t at, bool wide) {
    const float *a = (const float *)p->a + i0 * p->lda / 2 + at * 8;
    const uint16_t *b1 = (const uint16_t *)(const void *)((const char *)b + 16 * stride);
    if (wide)
        step_4(b, b1, stride, a, a + 16 * p->lda / 2, 64);
    else
        step_2(b, b1, stride, a, 64);
}

/* the last elements of k: weights end where other memory begins */
static void dot_tail(const struct dot_piece *p, int64_t i0, int64_t at, bool wide) {
    uint16_t edge[SIDE][TILE_K] __attribute__((aligned(64)));
    memset(edge, 0, sizeof edge);
    for (int64_t j = 0; j < SIDE; j++)
        memcpy(edge[j], (const uint16_t *)p->b + j * p->ldb + at,
               (size_t)(p->k - at) * sizeof **edge);
    dot_step(p, edge[0], sizeof *edge, i0, at, wide);
}

static void dot(const struct dot_block *x) {
    float sums[SIDE * SIDE] __attribute__((aligned(64)));
    tiles_open();
    for (int64_t i0 = 0; i0 < x->rows; i0 += SIDE) {
        bool wide = x->rows - i0 > 16;
        sums_clear();
        for (int s = 0; s < x->pieces; s++) {
            const struct dot_piece *p = &x->piece[s];
            int64_t at = 0;
            for (; at + TILE_K <= p->k; at += TILE_K)
                dot_step(p, (const uint16_t *)p->b + at, (size_t)p->ldb * 2, i0, at, wide);
            if (at < p->k) dot_tail(p, i0, at, wide);
        }
        sums_store(sums);
        c_update_turned(x, i0, sums);
    }
    _tile_release();
}

/* --- bc --- */

static void pack_a(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    pack_rows_bf16(out, a, lda, rows, k, BC_STRIDE);
}

/* A(k, rows) to the rows of pack_a */
static void pack_at(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    int64_t units = units_of(k);
    for (int64_t i = 0; i < rows; i += 16) {
        int64_t n = rows - i < 16 ? rows - i : 16;
        for (int64_t u = 0; u < units; u += 16) {
            vf r[16];
            for (int64_t l = 0; l < 16; l++)
                r[l] = u + l < units ? pair_of_rows(a, lda, 2 * (u + l), k, i, n) : v_zero();
            transpose(r);
            for (int64_t l = 0; l < n; l++) v_store((float *)out + (i + l) * BC_STRIDE + u, r[l]);
        }
    }
}

static void bc_update(const struct bc_block *x, int64_t i0, const float *sums) {
    vf alpha = v_set1(x->alpha);
    for (int64_t i = 0; i < SIDE && i0 + i < x->rows; i++)
        for (int64_t j = 0; j < x->cols; j += VL)
            c_update(x->c + (i0 + i) * x->ldc + j, v_load(sums + i * SIDE + j), x->cols - j, alpha,
                     x->add);
}

static void bc(const struct bc_block *x) {
    float sums[SIDE * SIDE] __attribute__((aligned(64)));
    tiles_open();
    for (int64_t i0 = 0; i0 < x->rows; i0 += SIDE) {
        const float *a = (const float *)x->a + i0 * BC_STRIDE, *b = x->b;
        sums_clear();
        for (int64_t k = 0; k < x->k; k += TILE_UNITS, b += TILE_UNITS * x->ldb)
            step_4(a + k, a + k + 16 * BC_STRIDE, BC_STRIDE * 4, b, b + 16, (size_t)x->ldb * 4);
        sums_store(sums);
        bc_update(x, i0, sums);
    }
    _tile_release();
}

const struct mm_kernels mm_amx = {
    .unit = 2,
    .dot_cols = SIDE,
    .dot_rows = SIDE,
    .dot_tile_rows = 128,
    .dot_whole = true,
    .dot_k = DOT_K,
    .dot = dot,
    .dot_pack_a = dot_pack_a,
    .convert = convert_bf16,
    .bc_cols = BC_COLS,
    .bc_rows = SIDE,
    .bc_k = BC_K,
    .bc = bc,
    .pack_a = pack_a,
    .pack_at = pack_at,
    .pack_b = pack_b_bf16,
};

#endif
