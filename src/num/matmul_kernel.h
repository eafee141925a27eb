/* The contract between the driver of matrix products (matmul.c) and the kernels of one instruction
 * set. The driver cuts C into tiles and k into blocks of fixed length, packs operands and calls a
 * kernel for each (tile, block); partial sums of the blocks meet in C, in the order of k. The bits
 * of an element of C then depend on the block lengths alone, which are constants of a table.
 *
 * Two kinds of kernel. `dot` (nt): both operands lie along k; lanes of an accumulator are partial
 * sums of one element. `bc` (nn, tn): one operand is broadcast, lanes are neighbours in a row of C.
 *
 * Packed operands hold 4-byte units: one F32 or a pair of BF16 that are neighbours in k.
 */
#ifndef NUM_MATMUL_KERNEL_H
#define NUM_MATMUL_KERNEL_H

#include "num/num.h"

/* c[i][j·c_step] (+)= alpha · sum over pieces and k of a[i][k] · b[j][k]; i < rows, j < cols.
 * A is F32 (unit 1) or BF16 (unit 2); B the same, or with unit 1 any type. */
struct dot_piece {
    const void *a, *b;
    int64_t lda, ldb; /* elements */
    int64_t k;
    enum num_type b_type;
    bool a_packed; /* by dot_pack_a, which gave lda */
    /* What the next call will read, fetched meanwhile: as many rows as this one has columns,
     * next_ld bytes apart, next_size bytes an element. NULL: nothing. */
    const char *next;
    int64_t next_ld, next_size;
    /* Unit 1, B of two bytes: the first rows leave B as F32 here, the others read it. NULL: none.
     */
    float *panel;
    int64_t panel_ld;
};
struct dot_block {
    struct dot_piece piece[2];
    int pieces;
    int64_t rows, cols;
    float *c;
    int64_t ldc, c_step; /* c_step 1 where dot_whole */
    float alpha;
    bool add;
};

/* c[i][j] (+)= alpha · sum over k of a[i][k] · b[k][j]; i < rows, j < cols <= bc_cols. */
struct bc_block {
    const void *a;   /* as pack_a or pack_at left it */
    bool transposed; /* pack_at */
    const void *b;   /* as pack_b left it, or (unit 1) F32 in place */
    int64_t ldb;     /* units between rows of b */
    int64_t k;       /* units, at most bc_k */
    int64_t rows, cols;
    float *c;
    int64_t ldc;
    float alpha;
    bool add;
};

struct mm_kernels {
    int unit; /* elements of k in 4 bytes */

    int dot_cols, dot_rows; /* register block */
    int64_t dot_tile_rows;  /* rows of A that stay in L2 while columns pass by */
    bool dot_whole;         /* wants packed A, and dot_cols rows of B that may be read, always */
    int64_t dot_k;          /* elements of k in a block */
    int64_t dot_l1; /* a call takes several dot_cols columns if they fit into so many bytes */
    void (*dot)(const struct dot_block *x);
    /* For many columns: A in the order the kernel reads it, in units for rows rounded up to
     * dot_rows; returns lda. NULL: none. */
    int64_t (*dot_pack_a)(void *out, const void *a, int64_t lda, int64_t rows, int64_t k);
    /* count elements of any type to the kernel's own type */
    void (*convert)(void *out, const void *p, enum num_type type, int64_t count);

    int bc_cols, bc_rows;
    int64_t bc_k; /* units of k in a block */
    void (*bc)(const struct bc_block *x);
    void (*pack_a)(void *out, const float *a, int64_t lda, int64_t rows, int64_t k);
    void (*pack_at)(void *out, const float *a, int64_t lda, int64_t rows, int64_t k);
    /* cols are filled up to bc_cols with zeros */
    void (*pack_b)(void *out, const void *b, enum num_type type, int64_t ldb, int64_t k,
                   int64_t cols);
    void (*round)(float *x, int64_t count); /* to BF16 and back; unit 1 only */
};

#define BC_PAD 16 /* units between rows of a packed A beyond bc_k: keeps them off one cache set */

extern const struct mm_kernels mm_scalar;
#if defined(__x86_64__)
extern const struct mm_kernels mm_avx2;
extern const struct mm_kernels mm_avx512;
extern const struct mm_kernels mm_avx512bf16;
extern const struct mm_kernels mm_amx;
#endif

#endif
