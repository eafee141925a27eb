/* The two heavy items of attention, one table for each instruction set (attention_body.h), and the
 * sizes that fix the arithmetic. */
#ifndef NUM_ATTENTION_KERNEL_H
#define NUM_ATTENTION_KERNEL_H

#include "num/attention.h"

enum {
    ATTN_KEYS = 64,   /* keys of one tile */
    ATTN_PART = 1024, /* keys of one part: its own maximum and sum, merged in order */
    ATTN_ROWS = 96,   /* query rows (positions x heads of one kv head) of a forward item, about */
    ATTN_GRAD_ROWS = 24, /* query rows of a tile in the backward pass */
    ATTN_LANES = 16      /* head_dim is padded to a multiple of this in all working memory */
};

/* Query rows that share one kv head: row r is position first + r / group, head r % group. */
struct attn_rows {
    const float *q; /* first position, first head of the group */
    int64_t q_stride, first, count, group;
    const float *k, *v; /* key 0, this kv head */
    int64_t kv_stride, head_dim, window;
    float scale;
};

/* What a softmax under way knows of each row: maximum, sum, weighted values (rows, padded dim). */
struct attn_state {
    float *max, *sum, *acc;
};

/* One query head of one span in the backward pass. */
struct attn_head {
    int64_t rows, before, head_dim, window; /* `before` keys come before the first query's own */
    float scale;
    const float *q, *dout, *out, *lse; /* row 0 of the span, this head */
    float *dq;
    int64_t q_stride, out_stride, lse_stride;
    const float *k, *v;
    int64_t kv_stride;
    float *dk, *dv; /* written: of this query head alone */
    int64_t dkv_stride;
};

struct attn_kernels {
    /* the state of these rows over keys [from, to), from a multiple of ATTN_PART, to <= from +
     * ATTN_PART */
    void (*forward)(const struct attn_rows *t, int64_t from, int64_t to, struct attn_state s,
                    float *work);
    void (*merge)(struct attn_state into, struct attn_state from, int64_t rows, int64_t padded);
    void (*backward)(const struct attn_head *h, float *work);
};

extern const struct attn_kernels attn_scalar, attn_avx2, attn_avx512;

static inline int64_t attn_padded(int64_t head_dim) {
    return (head_dim + ATTN_LANES - 1) / ATTN_LANES * ATTN_LANES;
}
/* floats of working memory */
static inline int64_t attn_state_floats(int64_t rows, int64_t padded) {
    int64_t even = (rows + ATTN_LANES - 1) / ATTN_LANES * ATTN_LANES;
    return even * 2 + rows * padded;
}
static inline int64_t attn_forward_floats(int64_t rows, int64_t padded) {
    return rows * (padded + ATTN_KEYS) + 2 * ATTN_KEYS * padded;
}
static inline int64_t attn_backward_floats(int64_t rows, int64_t padded) {
    int64_t even = (rows + ATTN_LANES - 1) / ATTN_LANES * ATTN_LANES;
    return 3 * rows * padded + 2 * even + 2 * ATTN_GRAD_ROWS * ATTN_KEYS + 5 * ATTN_KEYS * padded;
}

#endif
