/* The transformer's training pass: forward and backward over packed rows.
 *
 * Rows of different length lie one after the other without padding; attention stays inside a row
 * and positions restart. Only trained tokens reach the final norm and the vocabulary. What the
 * backward pass needs is kept per layer; norms and the activation are computed again; with
 * `recompute` only the layers' inputs are kept and each layer's forward runs again in the backward
 * pass (the same bits). LoRA joins a product as its second segment: y = [x | P]·[W | B]ᵀ with P =
 * scale·x·Aᵀ.
 *
 * One block of memory, sized at open for the largest micro-batch; nothing is allocated in net_run.
 */
#ifndef TRAIN_NET_H
#define TRAIN_NET_H

#include "train/params.h"

/* A row as the pass sees it: inputs ids[0..n-2], target ids[i+1] of input i where train[i+1] > 0.
 */
struct sample {
    int64_t number; /* of the row in its file */
    const int32_t *ids;
    const float *train;
    int64_t n, trained; /* n: up to and including the last target */
    double weight;      /* sum of train */
    /* of preference pairs */
    int64_t shared;   /* first inputs that both of the pair have in common, or 0 */
    double reference; /* log-probability of the targets under the reference model */
};

/* Weights to run with; pointers are borrowed. In full training they lie in params->value. */
struct net_weights {
    const struct model_config *config;
    const struct layer *layers;
    struct mat embedding, head;
    const float *final_norm;
};

struct net_size {
    int64_t tokens, trained, rows; /* the most in one micro-batch */
    int64_t keys;                  /* with shared beginnings: rows of keys, else 0 */
    int64_t row_tokens;            /* the longest row */
    bool recompute, dropout;
};

struct net;
size_t net_bytes(const struct model_config *c, const struct params *p, const struct net_size *size);
int net_open(struct num *num, const struct net_weights *w, struct params *p,
             const struct net_size *size, struct net **ret, struct err *err);
void net_close(struct net *net);

struct net_batch {
    const struct sample *const *rows;
    int64_t count;
    int64_t shared;    /* inputs at the beginning of all rows that are computed once; 0: none */
    bool pairs;        /* rows 2i and 2i + 1 share their sample.shared instead */
    int64_t first_row; /* index in its step of the first of them, for dropout */
    float grad_scale;  /* 1 / trained weight of the whole step */
    float dropout;     /* 0: none */
    uint64_t key;      /* of this step's dropout masks */
    bool backward;     /* gradients are added to params->grad */
};
struct net_sums {    /* over trained tokens, in order */
    double loss;     /* weight·nll */
    int64_t correct; /* the target's logit is the largest */
};
/* Adds to *sums. */
void net_run(struct net *net, const struct net_batch *batch, struct net_sums *sums);

/* The same in two halves, for a loss in which rows depend on each other (preference pairs):
 * forward gives each row's loss, backward adds the gradient of sum factor·loss to params->grad.
 * Only the projection on the vocabulary is done twice. */
struct net_row {
    double loss;  /* of forward: sum of weight·nll of its trained tokens, in order */
    float factor; /* for backward, set by the caller */
};
/* As many as rows in the batch; the net's own, until its next call. grad_scale and backward of the
 * batch do not count. */
struct net_row *net_forward(struct net *net, const struct net_batch *batch);
void net_backward(struct net *net); /* once after each forward */

struct net_way {
    bool backward, recompute, halves; /* halves: net_forward and net_backward */
};
/* floating-point operations of one row without its first `shared` inputs, for the time in the plan
 */
double net_flops(const struct model_config *c, const struct params *p, const struct sample *row,
                 int64_t shared, const struct net_way *way);

#endif
