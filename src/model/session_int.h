/* Sessions and the memory of a forward pass; for model/ alone. */
#ifndef MODEL_SESSION_INT_H
#define MODEL_SESSION_INT_H

#include "model/model_int.h"
#include "num/attention.h"

/* Keys and values, F32: two blocks of (layers, capacity, kv_dim), first keys, then values. The
 * block grows in steps up to max_tokens, so a short conversation in a long session stays small. */
struct session {
    const struct model *model;
    const struct adapter *adapter;
    int64_t max_tokens, capacity, length;
    float *kv;
    int32_t *ids;               /* (max_tokens), the first `length` are set */
    float *rope_cos, *rope_sin; /* the model's, or this session's when it is longer */
    float *own_rope;
    struct workspace *own_work; /* for session_eval and session_score, made by the first */
};

int64_t session_kv_dim(const struct session *s);
float *session_keys(const struct session *s, int64_t layer);
float *session_values(const struct session *s, int64_t layer);
/* Room for `length` positions; what is there stays. */
int session_reserve(struct session *s, int64_t length, struct err *err);

/* A piece of work: the next n ids of a session, in rows [row, row + n) of the batch. */
struct piece {
    struct session *session;
    const int32_t *ids;
    int64_t n, row;
    int64_t want; /* final hidden states of the last rows */
};

struct workspace {
    const struct model *model;
    int64_t rows, outputs; /* limits */
    struct piece *pieces;  /* (rows): a piece has at least one row */
    struct attn_span *spans;
    int32_t *position; /* (rows) */
    float *x;          /* (rows, dim) residual stream */
    float *h;          /* (rows, dim) normalised */
    float *q, *att;    /* (rows, heads·head_dim) */
    float *k, *v;      /* (rows, kv_dim) */
    float *gate, *up;  /* (rows, ff) */
    float *out;        /* (outputs, dim) final hidden states that were asked for */
    void *block;
    size_t block_bytes;
    float *low; /* (3, rows, low_rank) x·Aᵀ; grows when a larger adapter comes */
    int64_t low_rank;
    struct matmul *products; /* (PRODUCTS · (rows + 1)) that run together */
};

#define PRODUCTS 3 /* linear layers with one input: q, k, v */

/* The pieces (rows in all at most w->rows) through all layers; w->x holds the last layer's result.
 * Sessions have room; their lengths grow by n. */
void forward_layers(struct workspace *w, struct num *num, int64_t count);
/* Final norm of `rows` hidden states. */
void forward_norm(struct workspace *w, struct num *num, float *out, const float *x, int64_t rows);
/* Logits (rows, vocab) of normalised hidden states. */
void forward_head(struct workspace *w, struct num *num, float *logits, const float *hidden,
                  int64_t rows);

#endif
