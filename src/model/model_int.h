/* The inside of a model: layers, weights, adapters. Only model/ and train/ may include this. */
#ifndef MODEL_MODEL_INT_H
#define MODEL_MODEL_INT_H

#include "model/model.h"
#include "num/matmul.h"
#include "weights/tensors.h"

/* The seven linear layers of a block, in PEFT's names q_proj ... down_proj. */
enum linear_kind { LIN_Q, LIN_K, LIN_V, LIN_O, LIN_GATE, LIN_UP, LIN_DOWN, LIN_COUNT };
const char *linear_name(enum linear_kind kind);   /* "q_proj" */
const char *linear_module(enum linear_kind kind); /* "self_attn.q_proj" */

struct linear {
    struct mat w;      /* (out, in) */
    const float *bias; /* (out) or NULL */
    int64_t out, in;
};

struct layer {
    struct linear lin[LIN_COUNT];
    const float *attn_norm, *mlp_norm; /* (dim) */
    const float *q_norm, *k_norm;      /* (head_dim) or NULL */
    int64_t window;                    /* 0: none */
};

struct model {
    struct model_config config;
    char *path;
    struct tensors *tensors;
    struct tokenizer *tokenizer;
    struct chat_template *chat;
    bool plain_chat; /* it came without a template */
    struct layer *layers;
    struct mat embedding, head; /* (vocab, dim); the same memory when tied */
    const float *final_norm;    /* (dim) */
    float *small;               /* F32 copies of norms and biases stored in other types; owned */
    float *rope_cos, *rope_sin; /* (rope_positions, head_dim/2); longer sessions make their own */
    int64_t rope_positions;
    size_t weight_bytes;
};

/* How many positions of the rotary tables every model keeps: a few milliseconds and megabytes. */
#define MODEL_ROPE_POSITIONS 4096

/* The tensors of m->tensors by name and shape into layers, embedding, head and norms. */
int model_bind(struct model *m, struct err *err);

/* Angles for positions 0..positions-1 with the config's scaling (default, linear, llama3). */
void rope_tables(const struct model_config *c, int64_t positions, float *cos, float *sin);

/* Low-rank factors of one linear layer: y += scale · (x Aᵀ) Bᵀ */
struct lora {
    const float *a; /* (rank, in); NULL: this layer is not adapted */
    const float *b; /* (out, rank) */
};

struct adapter {
    int64_t rank;
    float scale; /* alpha/rank, or alpha/sqrt(rank) with rsLoRA; same for all layers */
    int64_t layer_count;
    struct lora (*lora)[LIN_COUNT]; /* (layers) */
    float *data;                    /* owned */
    size_t floats;                  /* in data */
    json_t *config;                 /* adapter_config.json */
    char *path;
};

/* PEFT's name of a factor: "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight" */
void lora_tensor_name(char *out, size_t size, int64_t layer, enum linear_kind kind, char factor);
/* What adapter_config.json says, and what attune.json beside it adds: base path and hashes.
 * (Another key in adapter_config.json itself makes PEFT warn, and older ones fail.) */
struct adapter_meta {
    int64_t rank;
    double alpha, dropout;
    bool rslora;
    unsigned targets; /* bit per linear_kind */
    json_t *modules;  /* to write instead, where layers differ; borrowed; NULL: targets */
    const char *base_path;
    const char *dataset; /* version that it was trained on, "support@3"; NULL: unknown */
    struct model_hashes hashes;
};
float adapter_scale(const struct adapter_meta *meta);          /* as struct adapter has it */
json_t *adapter_config_write(const struct adapter_meta *meta); /* adapter_config.json */
json_t *adapter_record_write(const struct adapter_meta *meta); /* attune.json */
/* `targets` is 0 where target_modules is a pattern: then the tensors say what is adapted. base_path
 * is borrowed from config. ERR_UNSUPPORTED names a key this version cannot follow. */
int adapter_config_read(const json_t *config, const char *where, struct adapter_meta *ret,
                        struct err *err);
/* Both files of a directory. load: *ret_config (a new reference) is adapter_config.json; hashes are
 * empty where attune.json is absent. */
int adapter_config_save(const char *dir, const struct adapter_meta *meta, struct err *err);
int adapter_config_load(const char *dir, struct adapter_meta *ret, json_t **ret_config,
                        struct err *err);

#endif
