/* A decoder's configuration, from Hugging Face's config.json (both the transformers 4 and 5 forms)
 * or from GGUF metadata. A family is a row of a table: switches and names, no code of its own. */
#ifndef WEIGHTS_CONFIG_H
#define WEIGHTS_CONFIG_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_STOPS_MAX 16

enum rope_kind { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3 };

struct rope_config {
    enum rope_kind kind;
    double theta, factor, low_freq_factor, high_freq_factor;
    int64_t original_max_position;
};

struct model_config {
    char family[32]; /* model_type: "llama", "mistral", "qwen2", "qwen3" */
    int64_t dim, layers, heads, kv_heads, head_dim, ff, vocab, max_position;
    double norm_eps;
    struct rope_config rope;
    int64_t window;      /* sliding window in tokens, 0: none */
    int64_t window_from; /* first layer that has it (Qwen2's max_window_layers); 0: all */
    bool qkv_bias, o_bias, mlp_bias, qk_norm, tied_head;
    int32_t bos, eos;                /* -1: none; from config.json */
    int32_t stops[CONFIG_STOPS_MAX]; /* generation_config.json's eos_token_id, else config.json's */
    int stop_count;
    double init_range; /* initializer_range, for training from scratch */
};

/* config: parsed config.json; generation: parsed generation_config.json or NULL. Every size is
 * checked (positive, heads % kv_heads == 0, bounded). Unknown families: ERR_UNSUPPORTED naming the
 * value and the known ones. */
int model_config_read(const json_t *config, const json_t *generation, const char *where,
                      struct model_config *ret, struct err *err);
/* config.json of the same model, for exports and full training; new reference. */
json_t *model_config_write(const struct model_config *c, const char *torch_dtype);
/* generation_config.json with its stops; new reference */
json_t *model_config_write_generation(const struct model_config *c);

#endif
