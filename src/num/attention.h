/* Causal attention with grouped heads, tiled with a running maximum (FlashAttention, Dao 2022):
 * no score matrix is stored. One call serves packed training rows and decoding alike: each span is
 * one document or one session. Query row i of a span stands at position pos0 + i and sees keys
 * j <= pos0 + i, and with window > 0 only j > pos0 + i - window. Key tiles begin at multiples of a
 * fixed size counted from key 0, so a row's bits do not depend on how many rows came with it.
 */
#ifndef NUM_ATTENTION_H
#define NUM_ATTENTION_H

#include "num/num.h"

struct attn_span {
    int64_t row, rows;  /* rows of q, out (and of k, v gradients in training) */
    const float *k, *v; /* key 0 of this span; kv_stride floats between positions */
    int64_t pos0;       /* position of the first query = keys before it */
    int64_t key_offset; /* backward pass: key j has its gradients in row `row + key_offset + j` */
};

struct attn {
    int64_t heads, kv_heads, head_dim;
    int64_t q_stride, out_stride, kv_stride; /* floats between rows */
    float scale;                             /* 1/sqrt(head_dim) as a rule */
    int64_t window;                          /* 0: none */
    const struct attn_span *spans;
    int64_t span_count;
};

/* q, out: (rows, heads·head_dim); lse: (rows, heads) log-sum-exp for the backward pass, or NULL */
void attention_forward(struct num *num, const struct attn *a, float *out, float *lse,
                       const float *q);

/* Training. dq is written at the query rows; dk, dv are written for all pos0 + rows keys of each
 * span (see key_offset; spans must not share key rows), kv_stride apart. dq may not be dout. */
void attention_backward(struct num *num, const struct attn *a, float *dq, float *dk, float *dv,
                        const float *dout, const float *out, const float *lse, const float *q);

#endif
