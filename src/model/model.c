/* Opening a model: configuration, weights, tokenizer and template from a directory or a GGUF file.
 */
#include "model/model_int.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/assets.h"
#include "weights/gguf.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)

static int read_json(const char *dir, const char *name, json_t **ret, struct err *err) {
    char *path = path_join(dir, name);
    int rc = json_read_file(path, CONFIG_BYTES_MAX, ret, err);
    mem_free(path);
    return rc;
}

static int read_config(const char *dir, struct model_config *ret, struct err *err) {
    json_t *config = NULL, *generation = NULL;
    char *where = path_join(dir, "config.json"), *path = path_join(dir, "generation_config.json");
    int rc = 0;
    if (!file_exists(where))
        rc = err_set(err, ERR_NOT_FOUND,
                     "\"%s\" has no config.json; give a model directory or a GGUF file", dir);
    if (!rc) rc = read_json(dir, "config.json", &config, err);
    if (!rc && file_exists(path)) rc = read_json(dir, "generation_config.json", &generation, err);
    if (!rc) rc = model_config_read(config, generation, where, ret, err);
    json_decref(config);
    json_decref(generation);
    mem_free(path);
    mem_free(where);
    return rc;
}

static int open_weights_gguf(struct model *m, const struct model_options *o, struct err *err) {
    struct gguf *g = NULL;
    int rc = gguf_open(m->path, &g, err);
    if (!rc) rc = gguf_config(g, &m->config, err);
    if (!rc) rc = gguf_tensors(g, o->expand_f32 ? TENSOR_F32 : TENSOR_BF16, &m->tensors, err);
    gguf_close(g);
    return rc;
}

static int make_rope(struct model *m, int64_t positions, struct err *err) {
    const struct model_config *c = &m->config;
    int64_t half = c->head_dim / 2;
    if (positions < 1) positions = MODEL_ROPE_POSITIONS;
    m->rope_positions = c->max_position < positions ? c->max_position : positions;
    size_t n = (size_t)(m->rope_positions * half);
    int rc = mem_try(2 * n, sizeof(float), "rotary tables", (void **)&m->rope_cos, err);
    if (rc) return rc;
    m->rope_sin = m->rope_cos + n;
    rope_tables(c, m->rope_positions, m->rope_cos, m->rope_sin);
    return 0;
}

static int open_weights(struct model *m, const struct model_options *o, struct err *err) {
    int rc;
    if (gguf_is(m->path)) {
        rc = open_weights_gguf(m, o, err);
    } else {
        rc = read_config(m->path, &m->config, err);
        if (!rc) rc = tensors_open(m->path, &m->tensors, err);
    }
    if (!rc) rc = model_bind(m, err);
    if (!rc) rc = make_rope(m, o->positions, err);
    return rc;
}

int model_open(const char *path, const struct model_options *o, struct model **ret,
               struct err *err) {
    struct model *m = mem_zalloc(1, sizeof *m);
    int rc = 0;
    m->path = mem_strdup(path);
    if (!o->weights_only) rc = assets_tokenizer(path, &m->tokenizer, err);
    if (!rc && !o->weights_only) rc = assets_template(path, false, &m->chat, err);
    m->plain_chat = !rc && !o->weights_only && !m->chat;
    if (m->plain_chat) rc = assets_plain_template(&m->chat, err);
    if (!rc && !o->text_only) rc = open_weights(m, o, err);
    if (rc) {
        model_close(m);
        return rc;
    }
    *ret = m;
    return 0;
}

void model_close(struct model *m) {
    if (!m) return;
    tensors_close(m->tensors);
    tokenizer_free(m->tokenizer);
    template_free(m->chat);
    mem_free(m->layers);
    mem_free(m->small);
    mem_free(m->rope_cos); /* rope_sin is its second half */
    mem_free(m->path);
    mem_free(m);
}

const struct model_config *model_config(const struct model *m) { return &m->config; }
const struct tokenizer *model_tokenizer(const struct model *m) { return m->tokenizer; }
const struct chat_template *model_template(const struct model *m) { return m->chat; }
bool model_has_plain_template(const struct model *m) { return m->plain_chat; }
size_t model_weight_bytes(const struct model *m) { return m->weight_bytes; }

size_t model_kv_bytes(const struct model *m) {
    const struct model_config *c = &m->config;
    return (size_t)(2 * c->layers * c->kv_heads * c->head_dim) * sizeof(float);
}

void model_touch(const struct model *m) {
    volatile unsigned char sum = 0;
    for (int64_t i = 0; m->tensors && i < tensors_count(m->tensors); i++) {
        const struct tensor *t = tensors_at(m->tensors, i);
        for (size_t at = 0; at < t->bytes; at += 4096)
            sum = (unsigned char)(sum + ((const unsigned char *)t->data)[at]);
    }
}

bool model_is_stop(const struct model *m, int32_t id) {
    for (int i = 0; i < m->config.stop_count; i++)
        if (m->config.stops[i] == id) return true;
    return false;
}

int model_hashes(const struct model *m, struct model_hashes *ret, struct err *err) {
    struct model_hashes h = {0};
    int rc = m->tensors ? tensors_hash(m->tensors, h.weights, err) : 0;
    if (rc) return rc;
    if (m->tokenizer) tokenizer_hash(m->tokenizer, h.tokenizer);
    if (m->chat) template_hash(m->chat, h.chat_template);
    *ret = h;
    return 0;
}
