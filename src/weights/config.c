/* Configurations. A family is a row of `families`: what transformers' configuration class of that
 * model_type assumes where config.json is silent, and which switches the family has. */
#include "weights/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct family {
    const char *model_type, *architecture;
    bool qkv_bias;       /* always has biases on q, k, v */
    bool attention_bias; /* "attention_bias": biases on q, k, v and o */
    bool mlp_bias;       /* "mlp_bias" is read */
    bool qk_norm;
    bool window_default_on; /* a window is used unless it is null */
    bool window_switch;     /* used only with "use_sliding_window", from "max_window_layers" on */
    int64_t kv_heads, head_dim, max_position, window; /* defaults; 0: heads, dim/heads, -, none */
};

static const struct family families[] = {
    {"llama", "LlamaForCausalLM", .attention_bias = true, .mlp_bias = true, .max_position = 2048},
    {"mistral", "MistralForCausalLM", .window_default_on = true, .kv_heads = 8,
     .max_position = 131072, .window = 4096},
    {"qwen2", "Qwen2ForCausalLM", .qkv_bias = true, .window_switch = true, .kv_heads = 32,
     .max_position = 32768, .window = 4096},
    {"qwen3", "Qwen3ForCausalLM", .attention_bias = true, .qk_norm = true, .window_switch = true,
     .kv_heads = 32, .head_dim = 128, .max_position = 32768, .window = 4096},
};
#define FAMILY_COUNT (sizeof families / sizeof *families)

#define DIM_MAX (1 << 20)
#define LAYERS_MAX 4096
#define HEADS_MAX 4096
#define HEAD_DIM_MAX 4096
#define FF_MAX (1 << 24)
#define VOCAB_MAX (1 << 26)
#define POSITION_MAX ((int64_t)1 << 31)

/* what is being read: config.json with the name it has in messages */
struct source {
    const json_t *json;
    const char *where;
    const struct family *family;
};

static bool present(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

static int find_family(struct source *s, struct err *err) {
    struct str type = {"", 0};
    int rc = json_get_str(s->json, "model_type", s->where, &type, err);
    if (rc) return rc;
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        if (!str_is(type, families[i].model_type)) continue;
        s->family = &families[i];
        return 0;
    }
    if (!type.n)
        return err_set(err, ERR_INVALID,
                       "%s: \"model_type\" is missing; is this a model's config.json?", s->where);
    return err_set(
        err, ERR_UNSUPPORTED,
        "%s: model_type \"%.40s\" is not supported; known are llama, mistral, qwen2 and qwen3",
        s->where, type.p);
}

/* A size that must be there (fallback 0) or has a default. */
static int read_size(const struct source *s, const char *key, int64_t max, int64_t fallback,
                     int64_t *ret, struct err *err) {
    if (!fallback && !present(s->json, key))
        return err_set(err, ERR_INVALID, "%s: \"%s\" is missing", s->where, key);
    *ret = fallback;
    return json_get_i64(s->json, key, s->where, 1, max, ret, err);
}

static int read_heads(const struct source *s, struct model_config *c, struct err *err) {
    int rc = read_size(s, "num_attention_heads", HEADS_MAX, 0, &c->heads, err);
    if (rc) return rc;
    /* null means as many as heads, absent means what the family's class assumes */
    bool null_kv = json_is_null(json_object_get(s->json, "num_key_value_heads"));
    int64_t kv = s->family->kv_heads && !null_kv ? s->family->kv_heads : c->heads;
    rc = read_size(s, "num_key_value_heads", HEADS_MAX, kv, &c->kv_heads, err);
    if (rc) return rc;
    if (c->heads % c->kv_heads)
        return err_set(
            err, ERR_INVALID,
            "%s: \"num_attention_heads\" %lld is no multiple of \"num_key_value_heads\" %lld",
            s->where, (long long)c->heads, (long long)c->kv_heads);
    int64_t head_dim = s->family->head_dim;
    if (!head_dim) {
        head_dim = c->dim / c->heads;
        if (!present(s->json, "head_dim") && c->dim % c->heads)
            return err_set(
                err, ERR_INVALID,
                "%s: \"hidden_size\" %lld is no multiple of \"num_attention_heads\" %lld", s->where,
                (long long)c->dim, (long long)c->heads);
    }
    rc = read_size(s, "head_dim", HEAD_DIM_MAX, head_dim, &c->head_dim, err);
    if (!rc && c->head_dim % 2)
        rc = err_set(err, ERR_INVALID, "%s: \"head_dim\" %lld is odd; rotary positions need pairs",
                     s->where, (long long)c->head_dim);
    return rc;
}

static int read_sizes(const struct source *s, struct model_config *c, struct err *err) {
    int rc = read_size(s, "hidden_size", DIM_MAX, 0, &c->dim, err);
    if (!rc) rc = read_size(s, "num_hidden_layers", LAYERS_MAX, 0, &c->layers, err);
    if (!rc) rc = read_size(s, "intermediate_size", FF_MAX, 0, &c->ff, err);
    if (!rc) rc = read_size(s, "vocab_size", VOCAB_MAX, 0, &c->vocab, err);
    if (!rc)
        rc = read_size(s, "max_position_embeddings", POSITION_MAX, s->family->max_position,
                       &c->max_position, err);
    if (!rc) rc = read_heads(s, c, err);
    return rc;
}

static int check_activation(const struct source *s, struct err *err) {
    struct str act = STR_LIT("silu");
    int rc = json_get_str(s->json, "hidden_act", s->where, &act, err);
    if (!rc && !str_is(act, "silu"))
        rc = err_set(err, ERR_UNSUPPORTED,
                     "%s: \"hidden_act\" \"%.40s\" is not supported; it must be silu", s->where,
                     act.p);
    return rc;
}

static int check_unquantised(const struct source *s, struct err *err) {
    if (!present(s->json, "quantization_config")) return 0;
    struct str method = STR_LIT("unknown");
    int rc = json_get_str(json_object_get(s->json, "quantization_config"), "quant_method", s->where,
                          &method, err);
    if (rc) return rc;
    return err_set(
        err, ERR_UNSUPPORTED,
        "%s: weights quantised by \"%.40s\" are not supported; use the model's original weights "
        "or a GGUF file",
        s->where, method.p);
}

static int read_switches(const struct source *s, struct model_config *c, struct err *err) {
    const struct family *f = s->family;
    bool attention = false;
    int rc = json_get_bool(s->json, "tie_word_embeddings", s->where, &c->tied_head, err);
    if (!rc && f->attention_bias)
        rc = json_get_bool(s->json, "attention_bias", s->where, &attention, err);
    if (!rc && f->mlp_bias) rc = json_get_bool(s->json, "mlp_bias", s->where, &c->mlp_bias, err);
    c->qkv_bias = f->qkv_bias || attention;
    c->o_bias = attention;
    c->qk_norm = f->qk_norm;
    c->norm_eps = 1e-6;
    c->init_range = 0.02;
    if (!rc) rc = json_get_double(s->json, "rms_norm_eps", s->where, &c->norm_eps, err);
    if (!rc) rc = json_get_double(s->json, "initializer_range", s->where, &c->init_range, err);
    if (!rc && !(c->norm_eps >= 0 && c->norm_eps < 1))
        rc = err_set(err, ERR_INVALID, "%s: \"rms_norm_eps\" %g is not in [0, 1)", s->where,
                     c->norm_eps);
    if (!rc && !(c->init_range >= 0 && c->init_range < 100))
        rc = err_set(err, ERR_INVALID, "%s: \"initializer_range\" %g is not in [0, 100)", s->where,
                     c->init_range);
    return rc;
}

/* --- rotary positions ----------------------------------------------------------------------------
 */

static const char *const rope_names[] = {"default", "linear", "llama3"};

static int rope_kind_of(const struct source *s, const json_t *rope, enum rope_kind *ret,
                        struct err *err) {
    struct str type = STR_LIT("default");
    int rc =
        json_get_str(rope, "type", s->where, &type, err); /* the name before transformers 4.43 */
    if (!rc) rc = json_get_str(rope, "rope_type", s->where, &type, err);
    if (rc) return rc;
    for (size_t i = 0; i < sizeof rope_names / sizeof *rope_names; i++) {
        if (!str_is(type, rope_names[i])) continue;
        *ret = (enum rope_kind)i;
        return 0;
    }
    return err_set(err, ERR_UNSUPPORTED,
                   "%s: rope type \"%.40s\" is not supported; known are default, linear and llama3",
                   s->where, type.p);
}

/* A number that must be there, and by which F32 angles can be divided. */
static int read_factor(const struct source *s, const json_t *rope, const char *key, double *ret,
                       struct err *err) {
    double v = 0;
    int rc = json_get_double(rope, key, s->where, &v, err);
    if (!rc && !(v >= 1e-12 && v <= 1e12))
        rc = err_set(err, ERR_INVALID,
                     "%s: the rope's \"%s\" must be a number from 1e-12 to 1e12, not %g", s->where,
                     key, v);
    if (!rc) *ret = v;
    return rc;
}

static int read_llama3(const struct source *s, const json_t *rope, struct model_config *c,
                       struct err *err) {
    struct rope_config *r = &c->rope;
    r->original_max_position = c->max_position;
    int rc = json_get_i64(s->json, "original_max_position_embeddings", s->where, 1, POSITION_MAX,
                          &r->original_max_position, err);
    if (!rc)
        rc = json_get_i64(rope, "original_max_position_embeddings", s->where, 1, POSITION_MAX,
                          &r->original_max_position, err);
    if (!rc) rc = read_factor(s, rope, "low_freq_factor", &r->low_freq_factor, err);
    if (!rc) rc = read_factor(s, rope, "high_freq_factor", &r->high_freq_factor, err);
    if (!rc && r->high_freq_factor <= r->low_freq_factor)
        rc = err_set(err, ERR_INVALID,
                     "%s: the rope's \"high_freq_factor\" must be above \"low_freq_factor\"",
                     s->where);
    return rc;
}

static int check_whole_head(const struct source *s, const json_t *o, struct err *err) {
    double part = 1;
    int rc = json_get_double(o, "partial_rotary_factor", s->where, &part, err);
    if (!rc && part != 1)
        rc = err_set(err, ERR_UNSUPPORTED, "%s: \"partial_rotary_factor\" %g is not supported",
                     s->where, part);
    return rc;
}

/* transformers 5 puts everything into rope_parameters; 4 has rope_theta beside rope_scaling */
static int read_rope(const struct source *s, struct model_config *c, struct err *err) {
    const char *key = present(s->json, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    const json_t *rope = present(s->json, key) ? json_object_get(s->json, key) : NULL;
    if (rope && !json_is_object(rope))
        return err_set(err, ERR_INVALID, "%s: \"%s\" must be an object", s->where, key);
    struct rope_config *r = &c->rope;
    *r = (struct rope_config){.theta = 10000,
                              .factor = 1,
                              .low_freq_factor = 1,
                              .high_freq_factor = 4,
                              .original_max_position = c->max_position};
    int rc = json_get_double(s->json, "rope_theta", s->where, &r->theta, err);
    if (!rc) rc = json_get_double(rope, "rope_theta", s->where, &r->theta, err);
    if (!rc && !(r->theta >= 1e-12 && r->theta <= 1e15))
        rc = err_set(err, ERR_INVALID, "%s: \"rope_theta\" %g is not from 1e-12 to 1e15", s->where,
                     r->theta);
    if (!rc) rc = check_whole_head(s, s->json, err);
    if (!rc) rc = check_whole_head(s, rope, err);
    if (!rc) rc = rope_kind_of(s, rope, &r->kind, err);
    if (!rc && r->kind != ROPE_DEFAULT) rc = read_factor(s, rope, "factor", &r->factor, err);
    if (!rc && r->kind == ROPE_LLAMA3) rc = read_llama3(s, rope, c, err);
    return rc;
}

/* --- sliding window ------------------------------------------------------------------------------
 */

/* "layer_types" decides where it is given: full attention first, windows from some layer on */
static int read_layer_types(const struct source *s, struct model_config *c, struct err *err) {
    const json_t *types = json_object_get(s->json, "layer_types");
    if (!json_is_array(types) || (int64_t)json_array_size(types) < c->layers)
        return err_set(err, ERR_INVALID, "%s: \"layer_types\" must be an array with %lld entries",
                       s->where, (long long)c->layers);
    int64_t first = c->layers;
    for (int64_t i = 0; i < c->layers; i++) {
        struct str type = json_str(json_array_get(types, (size_t)i));
        bool slides = type.p && str_is(type, "sliding_attention");
        if (!type.p || (!slides && !str_is(type, "full_attention")))
            return err_set(err, ERR_UNSUPPORTED, "%s: \"layer_types\" entry %lld is not supported",
                           s->where, (long long)i);
        if (slides && first == c->layers) first = i;
        if (!slides && first != c->layers)
            return err_set(
                err, ERR_UNSUPPORTED,
                "%s: \"layer_types\" goes back to full attention at layer %lld, which is not "
                "supported",
                s->where, (long long)i);
    }
    c->window_from = first;
    return 0;
}

static int read_window(const struct source *s, struct model_config *c, struct err *err) {
    const struct family *f = s->family;
    bool on = f->window_default_on;
    if (!on && !f->window_switch) return 0;
    int rc = 0;
    if (f->window_switch) rc = json_get_bool(s->json, "use_sliding_window", s->where, &on, err);
    if (json_is_null(json_object_get(s->json, "sliding_window"))) on = false;
    if (rc || !on) return rc;
    c->window = f->window;
    rc = json_get_i64(s->json, "sliding_window", s->where, 1, POSITION_MAX, &c->window, err);
    if (f->window_switch) {
        c->window_from = 28; /* what transformers assumes */
        if (!rc)
            rc = json_get_i64(s->json, "max_window_layers", s->where, 0, INT32_MAX, &c->window_from,
                              err);
    }
    if (!rc && present(s->json, "layer_types")) rc = read_layer_types(s, c, err);
    if (!rc && c->window_from >= c->layers) c->window = c->window_from = 0;
    return rc;
}

/* --- special ids ---------------------------------------------------------------------------------
 */

static int read_id(const json_t *v, const char *key, const char *where, int32_t *ret,
                   struct err *err) {
    json_int_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < -1 || id > INT32_MAX)
        return err_set(err, ERR_INVALID, "%s: \"%s\" must be a token id or a list of them", where,
                       key);
    *ret = (int32_t)id;
    return 0;
}

/* A number or a list into ids (at most max); -1 and null mean none. */
static int read_ids(const json_t *o, const char *key, const char *where, int32_t *ids,
                    int *ret_count, struct err *err) {
    const json_t *v = json_object_get(o, key);
    size_t given = json_is_array(v) ? json_array_size(v) : v && !json_is_null(v);
    if (given > CONFIG_STOPS_MAX)
        return err_set(err, ERR_LIMIT, "%s: \"%s\" lists %zu ids; at most %d are supported", where,
                       key, given, CONFIG_STOPS_MAX);
    int count = 0;
    for (size_t i = 0; i < given; i++) {
        int32_t id = -1;
        int rc = read_id(json_is_array(v) ? json_array_get(v, i) : v, key, where, &id, err);
        if (rc) return rc;
        if (id >= 0) ids[count++] = id;
    }
    *ret_count = count;
    return 0;
}

static int read_special(const struct source *s, const json_t *generation, struct model_config *c,
                        struct err *err) {
    int32_t ids[CONFIG_STOPS_MAX];
    int count = 0;
    int rc = read_ids(s->json, "bos_token_id", s->where, ids, &count, err);
    if (rc) return rc;
    c->bos = count ? ids[0] : -1;
    rc = read_ids(s->json, "eos_token_id", s->where, c->stops, &c->stop_count, err);
    if (rc) return rc;
    c->eos = c->stop_count ? c->stops[0] : -1;
    if (!present(generation, "eos_token_id")) return 0;
    return read_ids(generation, "eos_token_id", "generation_config.json", c->stops, &c->stop_count,
                    err);
}

int model_config_read(const json_t *config, const json_t *generation, const char *where,
                      struct model_config *ret, struct err *err) {
    struct source s = {.json = config, .where = where};
    struct model_config c = {.bos = -1, .eos = -1};
    if (!json_is_object(config))
        return err_set(err, ERR_INVALID, "%s: it must be a JSON object", where);
    int rc = find_family(&s, err);
    if (rc) return rc;
    snprintf(c.family, sizeof c.family, "%s", s.family->model_type);
    rc = check_activation(&s, err);
    if (!rc) rc = check_unquantised(&s, err);
    if (!rc) rc = read_sizes(&s, &c, err);
    if (!rc) rc = read_switches(&s, &c, err);
    if (!rc) rc = read_rope(&s, &c, err);
    if (!rc) rc = read_window(&s, &c, err);
    if (!rc) rc = read_special(&s, generation, &c, err);
    if (!rc) *ret = c;
    return rc;
}

/* --- writing -------------------------------------------------------------------------------------
 */

static const struct family *family_of(const struct model_config *c) {
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (strcmp(c->family, families[i].model_type) == 0) return &families[i];
    return &families[0];
}

static void put_i64(json_t *o, const char *key, int64_t v) {
    json_object_set_new(o, key, json_integer(v));
}

static void put_bool(json_t *o, const char *key, bool v) {
    json_object_set_new(o, key, json_boolean(v));
}

static void put_id(json_t *o, const char *key, int32_t id) {
    json_object_set_new(o, key, id < 0 ? json_null() : json_integer(id));
}

/* both forms: transformers 4 reads rope_theta and rope_scaling, 5 reads rope_parameters */
static void put_rope(json_t *o, const struct rope_config *r) {
    json_t *p = json_object();
    json_object_set_new(p, "rope_type", json_string(rope_names[r->kind]));
    if (r->kind != ROPE_DEFAULT) json_object_set_new(p, "factor", json_real(r->factor));
    if (r->kind == ROPE_LLAMA3) {
        json_object_set_new(p, "low_freq_factor", json_real(r->low_freq_factor));
        json_object_set_new(p, "high_freq_factor", json_real(r->high_freq_factor));
        put_i64(p, "original_max_position_embeddings", r->original_max_position);
    }
    json_object_set_new(o, "rope_theta", json_real(r->theta));
    json_object_set_new(o, "rope_scaling",
                        r->kind == ROPE_DEFAULT ? json_null() : json_deep_copy(p));
    json_object_set_new(p, "rope_theta", json_real(r->theta));
    json_object_set_new(o, "rope_parameters", p);
}

static json_t *layer_types(const struct model_config *c) {
    json_t *list = json_array();
    for (int64_t l = 0; l < c->layers; l++)
        json_array_append_new(
            list, json_string(l < c->window_from ? "full_attention" : "sliding_attention"));
    return list;
}

static void put_window(json_t *o, const struct family *f, const struct model_config *c) {
    if (!f->window_default_on && !f->window_switch) return;
    json_object_set_new(o, "sliding_window", c->window ? json_integer(c->window) : json_null());
    if (!f->window_switch && c->window_from) json_object_set_new(o, "layer_types", layer_types(c));
    if (!f->window_switch) return;
    put_bool(o, "use_sliding_window", c->window > 0);
    put_i64(o, "max_window_layers", c->window ? c->window_from : c->layers);
}

json_t *model_config_write(const struct model_config *c, const char *torch_dtype) {
    const struct family *f = family_of(c);
    json_t *o = json_object();
    json_object_set_new(o, "architectures", json_pack("[s]", f->architecture));
    json_object_set_new(o, "model_type", json_string(f->model_type));
    put_i64(o, "hidden_size", c->dim);
    put_i64(o, "num_hidden_layers", c->layers);
    put_i64(o, "num_attention_heads", c->heads);
    put_i64(o, "num_key_value_heads", c->kv_heads);
    put_i64(o, "head_dim", c->head_dim);
    put_i64(o, "intermediate_size", c->ff);
    put_i64(o, "vocab_size", c->vocab);
    put_i64(o, "max_position_embeddings", c->max_position);
    json_object_set_new(o, "hidden_act", json_string("silu"));
    json_object_set_new(o, "rms_norm_eps", json_real(c->norm_eps));
    json_object_set_new(o, "initializer_range", json_real(c->init_range));
    put_bool(o, "tie_word_embeddings", c->tied_head);
    if (f->attention_bias) put_bool(o, "attention_bias", c->o_bias);
    if (f->mlp_bias) put_bool(o, "mlp_bias", c->mlp_bias);
    json_object_set_new(o, "attention_dropout", json_real(0));
    put_rope(o, &c->rope);
    put_window(o, f, c);
    put_id(o, "bos_token_id", c->bos);
    put_id(o, "eos_token_id", c->eos);
    json_object_set_new(o, "torch_dtype", json_string(torch_dtype));
    put_bool(o, "use_cache", true);
    return o;
}

json_t *model_config_write_generation(const struct model_config *c) {
    json_t *o = json_object(), *stops = json_array();
    for (int i = 0; i < c->stop_count; i++) json_array_append_new(stops, json_integer(c->stops[i]));
    put_id(o, "bos_token_id", c->bos);
    if (c->stop_count == 1)
        put_id(o, "eos_token_id", c->stops[0]);
    else if (c->stop_count > 1)
        json_object_set(o, "eos_token_id", stops);
    json_decref(stops);
    return o;
}
