/* What is trained: one flat array of floats with its gradient and AdamW's two moments, and a table
 * that says which tensor lies where. LoRA: the factors A and B of every adapted linear layer. Full:
 * every weight of the model as F32 master copies. Offsets are -1 for what does not exist.
 *
 * The factors A of linear layers that read the same input (q k v; gate up) lie next to each other,
 * so that one product serves the whole group. Gaps between tensors hold zeros, so one AdamW call
 * and one sum of squares go over everything.
 */
#ifndef TRAIN_PARAMS_H
#define TRAIN_PARAMS_H

#include "base/err.h"
#include "model/model_int.h"
#include "weights/config.h"

struct param {
    char name[120]; /* as in the file that is written at the end */
    int dims;
    int64_t shape[2];
    int64_t offset;
};

struct param_layer {
    int64_t a[LIN_COUNT], b[LIN_COUNT];    /* LoRA: (rank, in), (out, rank) */
    int64_t w[LIN_COUNT], bias[LIN_COUNT]; /* full: (out, in), (out) */
    int64_t attn_norm, mlp_norm, q_norm, k_norm;
};

struct params {
    struct param *list;
    int64_t count, n; /* tensors; floats, gaps included */
    struct param_layer *layers;
    int64_t layer_count;
    int64_t embedding, head, final_norm;
    int64_t rank; /* 0: full training */
    float scale;
    float *value, *grad, *m, *v;
    float *best; /* NULL: not kept */
    void *block;
    size_t block_bytes;
};

/* linear layers that read the same input */
#define LINEAR_GROUPS 4
struct linear_group {
    int count;
    enum linear_kind kind[3];
};
extern const struct linear_group linear_groups[LINEAR_GROUPS];

void linear_shape(const struct model_config *c, enum linear_kind kind, int64_t *out, int64_t *in);

struct lora_shape {
    int64_t rank;
    float scale;
    unsigned targets; /* bit per linear_kind */
};
/* Lays out the table; no memory for values yet. */
void params_layout_lora(const struct model_config *c, const struct lora_shape *shape,
                        struct params *ret);
void params_layout_full(const struct model_config *c, struct params *ret);
size_t params_bytes(const struct params *p, bool keep_best);
int params_allocate(struct params *p, bool keep_best, struct err *err);
/* Gradients and moments zero, every page of them and of `best` resident. */
void params_touch(struct params *p);
/* Gradients and moments become zero and their memory is free for the rest of the process. */
void params_drop_moments(struct params *p);
void params_release(struct params *p);

/* A uniform in ±1/sqrt(in) (PEFT's kaiming_uniform with a = sqrt 5), B zero. */
void params_init_lora(struct params *p, uint64_t seed);
/* A and B of a PEFT adapter; rank and targets must agree. */
int params_load_adapter(struct params *p, const struct adapter *a, const char *where,
                        struct err *err);
/* Full: normal(0, init_range) for matrices, one for norms, zero for biases. */
void params_init_random(struct params *p, const struct model_config *c, uint64_t seed);
/* Full: from a model's own weights. */
void params_load_model(struct params *p, const struct model *m);

#endif
