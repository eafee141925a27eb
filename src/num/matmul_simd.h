/* Kernels of the contract in matmul_kernel.h, written in the vector operations of simd_avx2.h or
 * simd_avx512.h. Included once by a file that has defined
 *
 *   UNIT                         1: operands F32; 2: pairs of BF16
 *   DOT_ROWS, DOT_COLS, DOT_K    register block and k block of the dot kernel; DOT_COLS % 4 == 0
 *   DOT_SQUARE                   1: also blocks of 4 rows and 2 columns
 *   DOT_L1                       bytes of B that stay in L1 while rows pass by
 *   DOT_TILE_ROWS                rows of A in L2: a multiple of DOT_ROWS
 *   BC_ROWS, BC_K                the same of the broadcast kernel, 2 vectors wide
 */
#include "num/matmul_kernel.h"

#include <assert.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#if UNIT == 2
#include "num/simd_bf16.h"
#define MULTIPLY_ADD v_dpbf16
typedef uint16_t elem;
#else
#define MULTIPLY_ADD v_fma
#define BC_COLS (2 * VL)
typedef float elem;
#endif
#define STEP (UNIT * VL) /* elements of k in a vector */
#define BC_STRIDE (BC_K + BC_PAD)
/* Else compilers load x again for each product that uses it, and loads become the limit. */
#if defined(NUM_EMULATE)
#define IN_REGISTER(x) (void)(x)
#else
#define IN_REGISTER(x) __asm__("" : "+" V_CONSTRAINT(x))
#endif
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_2 _Pragma("clang loop unroll_count(2)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL_2 _Pragma("GCC unroll 2")
#endif

/* --- dot --- */

#if UNIT == 2
INLINE vf load_as(const void *p, int64_t at, const enum num_type type) {
    (void)type; /* BF16, by the driver */
    return v_load((const float *)(const void *)((const uint16_t *)p + at));
}
#else
INLINE vf load_as(const void *p, int64_t at, const enum num_type type) {
    if (type == NUM_BF16) return v_load_bf16((const uint16_t *)p + at);
    if (type == NUM_F16) return v_load_f16((const uint16_t *)p + at);
    return v_load((const float *)p + at);
}
#endif
/* with a constant in a register, which three rows have none for */
INLINE vf load_quick(const void *p, int64_t at, const enum num_type type) {
#if UNIT == 1
    if (type == NUM_BF16) return v_load_bf16_quick((const uint16_t *)p + at);
#endif
    return load_as(p, at, type);
}
#define A_TYPE (UNIT == 2 ? NUM_BF16 : NUM_F32)
#define ROWS_MOST (DOT_ROWS + DOT_SQUARE)

INLINE vf load_tail(const void *p, int64_t at, int64_t n, const enum num_type type) {
    if (type == NUM_F32) return v_load_n((const float *)p + at, n);
    uint16_t h[STEP] = {0};
    memcpy(h, (const uint16_t *)p + at, (size_t)n * sizeof *h);
    return load_as(h, 0, type);
}

/* A in place: rows of p->lda. Packed: by groups as group_rows says, in each group a vector of every
 * row in turn, zeros at the end of k; one stream, which the hardware fetches ahead. */
struct dot_a {
    const elem *row[ROWS_MOST];
};

/* What a group of rows does besides multiplying. ALONE: it fetches all of B that comes next. Where
 * there are several groups each fetches a part, so that memory is busy all the time; the first
 * leaves B as F32 in the panel where there is one (WIDEN). */
enum dot_work { SHARED, ALONE, WIDEN };

/* the first row and column of a register block, and which group of rows of how many it is in */
struct dot_at {
    int64_t i, j, group, groups;
};

struct dot_b {
    const char *row[DOT_COLS], *next[DOT_COLS];
    float *panel[DOT_COLS];
    int64_t next_size;
};

INLINE int fetched(const int cols, const enum dot_work work) {
    return work == ALONE ? cols : cols / 2;
}

INLINE void dot_step(vf (*acc)[DOT_COLS], const int rows, const int cols, const struct dot_a *a,
                     const struct dot_b *b, int64_t at, const int64_t step,
                     const enum num_type type, const enum dot_work work) {
    vf x[ROWS_MOST];
    UNROLL for (int i = 0; i < rows; i++) {
        x[i] = load_as(a->row[i], at * step, A_TYPE);
        IN_REGISTER(x[i]);
    }
    UNROLL for (int j = 0; j < cols; j++) {
        vf y = rows == 3 ? load_as(b->row[j], at, type) : load_quick(b->row[j], at, type);
        if (rows != 3) IN_REGISTER(y); /* with 3 rows it would cost a spill */
        if (work == WIDEN) v_store(b->panel[j] + at, y);
        UNROLL for (int i = 0; i < rows; i++) acc[i][j] = MULTIPLY_ADD(x[i], y, acc[i][j]);
    }
}

INLINE void dot_tail(vf (*acc)[DOT_COLS], const int rows, const int cols, const struct dot_a *a,
                     const struct dot_b *b, int64_t at, int64_t n, const int64_t step,
                     const enum num_type type, const enum dot_work work) {
    vf x[ROWS_MOST];
    UNROLL for (int i = 0; i < rows; i++) x[i] = load_tail(a->row[i], at * step, n, A_TYPE);
    UNROLL for (int j = 0; j < cols; j++) {
        vf y = load_tail(b->row[j], at, n, type);
        if (work == WIDEN) v_store(b->panel[j] + at, y);
        UNROLL for (int i = 0; i < rows; i++) acc[i][j] = MULTIPLY_ADD(x[i], y, acc[i][j]);
    }
}

INLINE void dot_k(vf (*acc)[DOT_COLS], const int rows, const int cols, int64_t count,
                  const struct dot_a *a, const struct dot_b *b, const int64_t step,
                  const enum num_type type, const enum dot_work work) {
    const int64_t line = 64 / (int64_t)num_type_size(type);
    int64_t k = 0;
    for (; k + line <= count; k += line) {
        UNROLL for (int j = 0; j < fetched(cols, work); j++)
            __builtin_prefetch(b->next[j] + k * b->next_size);
        UNROLL for (int64_t at = 0; at < line; at += STEP)
            dot_step(acc, rows, cols, a, b, k + at, step, type, work);
    }
    for (; k + STEP <= count; k += STEP) dot_step(acc, rows, cols, a, b, k, step, type, work);
    if (k < count) dot_tail(acc, rows, cols, a, b, k, count - k, step, type, work);
}

INLINE void dot_piece_add(vf (*acc)[DOT_COLS], const int rows, const int cols,
                          const struct dot_piece *p, const struct dot_a *a, const struct dot_b *b,
                          const enum num_type type, const enum dot_work work) {
    if (p->a_packed)
        dot_k(acc, rows, cols, p->k, a, b, rows, type, work);
    else
        dot_k(acc, rows, cols, p->k, a, b, 1, type, work);
}

/* c (+)= alpha · s for up to four columns; those that are few or not neighbours have the same
 * operations one by one */
INLINE void c_update4(const struct dot_block *x, float *c, __m128 s, int64_t cols) {
    s = _mm_mul_ps(s, _mm_set1_ps(x->alpha));
    if (cols >= 4 && x->c_step == 1) {
        if (x->add) s = _mm_add_ps(_mm_loadu_ps(c), s);
        _mm_storeu_ps(c, s);
        return;
    }
    float t[4];
    _mm_storeu_ps(t, s);
    for (int64_t j = 0; j < cols && j < 4; j++, c += x->c_step) *c = x->add ? *c + t[j] : t[j];
}

/* Of `cols` columns of what comes next, those that group `i` of `groups` fetches: the first of them
 * in *ret. */
INLINE int fetch_share(int64_t i, int64_t groups, const int cols, int *ret) {
    int64_t shares = groups < cols ? groups : cols;
    if (i >= shares) return 0;
    *ret = (int)(i * cols / shares);
    return (int)((i + 1) * cols / shares) - *ret;
}

/* rows of B for `cols` columns from at->j on; beyond the end the last again, whose sum is not
 * stored
 */
INLINE void dot_b_rows(const struct dot_block *x, const struct dot_piece *p,
                       const struct dot_at *at, const int cols, const enum dot_work work,
                       struct dot_b *b) {
    bool reads_panel = work == SHARED && p->panel;
    int first = 0, count = p->next ? fetch_share(at->group, at->groups, cols, &first) : 0;
    b->next_size = p->next_size;
    UNROLL for (int j = 0; j < cols; j++) {
        int64_t row = at->j + j < x->cols ? at->j + j : x->cols - 1;
        b->row[j] = (const char *)p->b + (size_t)(row * p->ldb) * num_type_size(p->b_type);
        if (reads_panel) b->row[j] = (const char *)(p->panel + row * p->panel_ld);
        if (work == WIDEN) b->panel[j] = p->panel ? p->panel + row * p->panel_ld : NULL;
    }
    UNROLL for (int j = 0; j < fetched(cols, work); j++) {
        int64_t row = at->j + first + j < x->cols ? at->j + first + j : x->cols - 1;
        b->next[j] = j < count ? p->next + row * p->next_ld : b->row[0];
    }
}

/* sums over the lanes into C */
INLINE void dot_finish(const struct dot_block *x, const struct dot_at *at, vf (*acc)[DOT_COLS],
                       const int rows, const int cols) {
    float *c = x->c + at->i * x->ldc + at->j * x->c_step;
    int64_t left = x->cols - at->j;
    if (cols == 2) {
        UNROLL for (int r = 0; r < rows; r += 2) {
            __m128 s = v_sum4(acc[r][0], acc[r][1], acc[r + 1][0], acc[r + 1][1]);
            c_update4(x, c + r * x->ldc, s, left < 2 ? left : 2);
            c_update4(x, c + (r + 1) * x->ldc, _mm_movehl_ps(s, s), left < 2 ? left : 2);
        }
        return;
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int j = 0; j < cols; j += 4) {
        __m128 s = v_sum4(acc[r][j], acc[r][j + 1], acc[r][j + 2], acc[r][j + 3]);
        if (j < left) c_update4(x, c + r * x->ldc + j * x->c_step, s, left - j);
    }
}

INLINE void dot_rows(const struct dot_block *x, const struct dot_at *at, const int rows,
                     const int cols, const enum dot_work work) {
    const enum dot_work plain = work == ALONE ? ALONE : SHARED;
    vf acc[ROWS_MOST][DOT_COLS];
    float *c = x->c + at->i * x->ldc + at->j * x->c_step;
    UNROLL for (int r = 0; r < rows; r++) __builtin_prefetch(c + r * x->ldc, 1);
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int j = 0; j < cols; j++) acc[r][j] =
        v_zero();
    for (int s = 0; s < x->pieces; s++) {
        const struct dot_piece *p = &x->piece[s];
        struct dot_a a;
        struct dot_b b;
        dot_b_rows(x, p, at, cols, work, &b);
        UNROLL for (int r = 0; r < rows; r++) a.row[r] =
            (const elem *)p->a + at->i * p->lda + r * (p->a_packed ? STEP : p->lda);
        if (work == WIDEN && p->panel && p->b_type == NUM_BF16)
            dot_piece_add(acc, rows, cols, p, &a, &b, NUM_BF16, WIDEN);
        else if (work == WIDEN && p->panel)
            dot_piece_add(acc, rows, cols, p, &a, &b, NUM_F16, WIDEN);
        else if (p->b_type == NUM_F32 || (work == SHARED && p->panel))
            dot_piece_add(acc, rows, cols, p, &a, &b, NUM_F32, plain);
        else if (p->b_type == NUM_BF16)
            dot_piece_add(acc, rows, cols, p, &a, &b, NUM_BF16, plain);
        else
            dot_piece_add(acc, rows, cols, p, &a, &b, NUM_F16, plain);
    }
    dot_finish(x, at, acc, rows, cols);
}

/* Rows that are multiplied together, of `left`: a single one would leave the pipeline half empty.
 */
static int64_t group_rows(int64_t left) {
    _Static_assert(DOT_ROWS == 3, "groups of 3, or 2 and 2 at the end");
    return left == 4 || left == 2 ? 2 : left < 2 ? 1 : 3;
}

static int64_t dot_pack_a(void *out, const void *a, int64_t lda, int64_t rows, int64_t k) {
    int64_t padded = (k + STEP - 1) / STEP * STEP;
    for (int64_t i = 0, group; i < rows; i += group) {
        group = group_rows(rows - i);
        for (int64_t r = 0; r < group; r++) {
            const elem *x = (const elem *)a + (i + r) * lda;
            elem *y = (elem *)out + i * padded + r * STEP;
            int64_t at = 0;
            for (; at + STEP <= k; at += STEP, y += group * STEP)
                memcpy(y, x + at, STEP * sizeof *y);
            if (at == k) continue;
            memcpy(y, x + at, (size_t)(k - at) * sizeof *y);
            memset(y + (k - at), 0, (size_t)(STEP - (k - at)) * sizeof *y);
        }
    }
    return padded;
}

/* A function each: compilers keep the accumulators of small ones in registers. */
#define DOT_CASE(NAME, R, WORK)                                                                    \
    static __attribute__((noinline)) void NAME(const struct dot_block *x, struct dot_at at) {      \
        dot_rows(x, &at, R, DOT_COLS, WORK);                                                       \
    }
DOT_CASE(dot_3, 3, SHARED)
DOT_CASE(dot_2, 2, SHARED)
DOT_CASE(dot_3_alone, 3, ALONE)
DOT_CASE(dot_2_alone, 2, ALONE)
DOT_CASE(dot_1_alone, 1, ALONE)
#if UNIT == 1
DOT_CASE(dot_3_widen, 3, WIDEN)
DOT_CASE(dot_2_widen, 2, WIDEN)
#endif
#if DOT_SQUARE
/* Four rows by themselves: two blocks of 4 x 2 read B once, where groups of two would read it
 * twice.
 */
static __attribute__((noinline)) void dot_4_alone(const struct dot_block *x, struct dot_at at) {
    for (; at.j < x->cols; at.j += 2) dot_rows(x, &at, 4, 2, ALONE);
}
#endif

/* rows in the outer loop: a group of A comes from L2 once for all columns at hand */
static void dot(const struct dot_block *x) {
    typedef void (*fn)(const struct dot_block *, struct dot_at);
    static const fn work[][4] = {
        [SHARED] = {NULL, NULL, dot_2, dot_3},
        [ALONE] = {NULL, dot_1_alone, dot_2_alone, dot_3_alone},
#if UNIT == 1
        [WIDEN] = {NULL, NULL, dot_2_widen, dot_3_widen},
#endif
    };
    struct dot_at at = {.groups = (x->rows + DOT_ROWS - 1) / DOT_ROWS};
#if DOT_SQUARE
    if (x->rows == 4 && !x->piece[0].a_packed) {
        at.groups = 1;
        dot_4_alone(x, at);
        return;
    }
#endif
    bool widens = x->piece[0].panel || (x->pieces > 1 && x->piece[1].panel);
    for (int64_t rows; at.i < x->rows; at.i += rows, at.group++) {
        rows = group_rows(x->rows - at.i);
        fn run = work[at.groups == 1 ? ALONE : widens && at.i == 0 ? WIDEN : SHARED][rows];
        for (at.j = 0; at.j < x->cols; at.j += DOT_COLS) run(x, at);
    }
}

/* --- broadcast --- */

#if UNIT == 2

static void pack_a(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    pack_rows_bf16(out, a, lda, rows, k, BC_STRIDE);
}

/* A(k, rows) to panels of BC_ROWS rows, k-major inside */
static void pack_at(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    for (int64_t i = 0; i < rows; i += BC_ROWS) {
        int64_t n = rows - i < BC_ROWS ? rows - i : BC_ROWS;
        float *y = (float *)out + i * BC_K;
        for (int64_t at = 0; at < k; at += 2, y += BC_ROWS)
            v_store_n(y, pair_of_rows(a, lda, at, k, i, n), n);
    }
}

#define CONVERT convert_bf16
#define PACK_B pack_b_bf16
#define ROUND NULL

#else

static void convert(void *out, const void *p, enum num_type type, int64_t count) {
    float *y = out;
    int64_t i = 0;
    switch (type) {
    case NUM_F32: memcpy(out, p, (size_t)count * sizeof *y); return;
    case NUM_BF16:
        for (; i + VL <= count; i += VL) v_store(y + i, load_as(p, i, NUM_BF16));
        break;
    case NUM_F16:
        for (; i + VL <= count; i += VL) v_store(y + i, load_as(p, i, NUM_F16));
        break;
    }
    num_widen(y + i, (const uint16_t *)p + i, type, count - i);
}

static void round_to_bf16(float *x, int64_t count) {
    int64_t i = 0;
    for (; i + VL <= count; i += VL) v_store(x + i, v_round_bf16(v_load(x + i)));
    for (; i < count; i++) x[i] = num_of_bf16(num_bf16_of(x[i]));
}

static void pack_a(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    for (int64_t i = 0; i < rows; i++)
        memcpy((float *)out + i * BC_STRIDE, a + i * lda, (size_t)k * sizeof *a);
}

static void pack_at(void *out, const float *a, int64_t lda, int64_t rows, int64_t k) {
    for (int64_t at = 0; at < k; at++) {
        float *y = (float *)out + at * BC_ROWS;
        const float *x = a + at * lda;
        int64_t i = 0;
        for (; i + BC_ROWS <= rows; i += BC_ROWS, y += BC_K * BC_ROWS)
            memcpy(y, x + i, BC_ROWS * sizeof *y);
        if (i < rows) memcpy(y, x + i, (size_t)(rows - i) * sizeof *y);
    }
}

static void pack_b(void *out, const void *b, enum num_type type, int64_t ldb, int64_t k,
                   int64_t cols) {
    float *y = out;
    const char *x = b;
    size_t step = (size_t)ldb * num_type_size(type);
    for (int64_t at = 0; at < k; at++, x += step, y += BC_COLS) {
        __builtin_prefetch(x + BC_COLS * num_type_size(type)); /* the next panel of this row */
        if (cols == BC_COLS) {
            switch (type) {
            case NUM_F32:
                v_store(y, load_as(x, 0, NUM_F32));
                v_store(y + VL, load_as(x, VL, NUM_F32));
                break;
            case NUM_BF16:
                v_store(y, load_as(x, 0, NUM_BF16));
                v_store(y + VL, load_as(x, VL, NUM_BF16));
                break;
            case NUM_F16:
                v_store(y, load_as(x, 0, NUM_F16));
                v_store(y + VL, load_as(x, VL, NUM_F16));
                break;
            }
        } else {
            convert(y, x, type, cols);
            memset(y + cols, 0, (size_t)(BC_COLS - cols) * sizeof *y);
        }
    }
}

#define CONVERT convert
#define PACK_B pack_b
#define ROUND round_to_bf16

#endif

INLINE void bc_update(const struct bc_block *x, float *c, vf *v, const int vectors, vf alpha) {
    UNROLL for (int j = 0; j < vectors; j++) v[j] = v_mul(v[j], alpha);
    if (x->cols >= vectors * VL) {
        UNROLL for (int j = 0; j < vectors; j++) {
            if (x->add) v[j] = v_add(v_load(c + j * VL), v[j]);
            v_store(c + j * VL, v[j]);
        }
        return;
    }
    float t[BC_COLS];
    UNROLL for (int j = 0; j < vectors; j++) v_store(t + j * VL, v[j]);
    for (int64_t j = 0; j < x->cols; j++) c[j] = x->add ? c[j] + t[j] : t[j];
}

INLINE void bc_rows(const struct bc_block *x, int64_t i, const int rows, const int vectors,
                    const int64_t row_step, const int64_t k_step) {
    vf acc[BC_ROWS][2];
    UNROLL for (int r = 0; r < rows; r++) __builtin_prefetch(x->c + (i + r) * x->ldc, 1);
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int j = 0; j < vectors; j++) acc[r][j] =
        v_zero();
    const float *a = (const float *)x->a + i * row_step;
    if (row_step == 1) a = (const float *)x->a + i / BC_ROWS * BC_ROWS * BC_K + i % BC_ROWS;
    const float *b = x->b;
    UNROLL_2 for (int64_t k = 0; k < x->k; k++, a += k_step, b += x->ldb) {
        __builtin_prefetch(b + BC_COLS); /* in place: the next columns, a line of their own */
        vf y[2];
        UNROLL for (int j = 0; j < vectors; j++) y[j] = v_load(b + j * VL);
        UNROLL for (int r = 0; r < rows; r++) {
            vf s = v_set1(a[r * row_step]);
            UNROLL for (int j = 0; j < vectors; j++) acc[r][j] = MULTIPLY_ADD(s, y[j], acc[r][j]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        bc_update(x, x->c + (i + r) * x->ldc, acc[r], vectors, v_set1(x->alpha));
}

INLINE void bc_layout(const struct bc_block *x, int64_t i, const int rows, const int vectors) {
    if (x->transposed)
        bc_rows(x, i, rows, vectors, 1, BC_ROWS);
    else
        bc_rows(x, i, rows, vectors, BC_STRIDE, 1);
}

#define BC_CASE(R)                                                                                 \
    static void bc_##R(const struct bc_block *x, int64_t i) {                                      \
        if (x->cols > VL)                                                                          \
            bc_layout(x, i, R, 2);                                                                 \
        else                                                                                       \
            bc_layout(x, i, R, 1);                                                                 \
    }
#if BC_ROWS == 12
BC_CASE(12)
#else
BC_CASE(6)
#endif
BC_CASE(4)
BC_CASE(2)
BC_CASE(1)

static void bc(const struct bc_block *x) {
    assert(x->k <= BC_K && x->cols <= BC_COLS);
    int64_t i = 0;
#if BC_ROWS == 12
    for (; i + 12 <= x->rows; i += 12) bc_12(x, i);
#else
    for (; i + 6 <= x->rows; i += 6) bc_6(x, i);
#endif
    for (; i + 4 <= x->rows; i += 4) bc_4(x, i);
    for (; i + 2 <= x->rows; i += 2) bc_2(x, i);
    for (; i < x->rows; i++) bc_1(x, i);
}

#define MM_TABLE                                                                                   \
    {                                                                                              \
        .unit = UNIT, .dot_tile_rows = DOT_TILE_ROWS, .dot_cols = DOT_COLS, .dot_rows = DOT_ROWS,  \
        .dot_k = DOT_K, .dot_l1 = DOT_L1, .dot = dot, .dot_pack_a = dot_pack_a,                    \
        .convert = CONVERT, .bc_cols = BC_COLS, .bc_rows = BC_ROWS, .bc_k = BC_K, .bc = bc,        \
        .pack_a = pack_a, .pack_at = pack_at, .pack_b = PACK_B, .round = ROUND,                    \
    }
