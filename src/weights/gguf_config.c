/* A GGUF's metadata as a configuration. It is put into the form of config.json and read by
 * model_config_read, so that both go through the same checks. */
#include "weights/gguf_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const architectures[] = {"llama", "qwen2", "qwen3"};

static int architecture(const struct gguf *g, const char **ret, struct err *err) {
    struct str name = {"", 0};
    int rc = gguf_get_str(g, "general.architecture", &name, err);
    if (rc) return rc;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (!str_is(name, architectures[i])) continue;
        *ret = architectures[i];
        return 0;
    }
    return err_set(
        err, ERR_UNSUPPORTED,
        "\"%s\": architecture \"%.*s\" is not supported; known are llama, qwen2 and qwen3", g->path,
        (int)(name.n < 40 ? name.n : 40), name.p);
}

/* what is built: the metadata of `arch` as config.json */
struct build {
    const struct gguf *g;
    const char *arch;
    json_t *json;
};

#define KEY_BYTES 96
static const char *full_key(const struct build *b, const char *key, char out[KEY_BYTES]) {
    snprintf(out, KEY_BYTES, "%s.%s", b->arch, key);
    return out;
}

/* *ret stays when the key is absent */
static int get_i64(const struct build *b, const char *key, int64_t *ret, struct err *err) {
    char full[KEY_BYTES];
    return gguf_get_i64(b->g, full_key(b, key, full), ret, err);
}

/* Metadata holds F32; the shortest decimal that gives the same F32 is what the original
 * configuration said: 9.999999974752427e-07 was 1e-06. */
static double as_written(double value) {
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtof(text, NULL) == (float)value) return strtod(text, NULL);
    }
    return value;
}

static int get_double(const struct build *b, const char *key, double *ret, struct err *err) {
    char full[KEY_BYTES];
    double v = NAN;
    int rc = gguf_get_double(b->g, full_key(b, key, full), &v, err);
    if (!rc && isfinite(v)) *ret = as_written(v);
    return rc;
}

static int put_sizes(struct build *b, struct err *err) {
    static const struct {
        const char *key, *name;
        bool required;
    } sizes[] = {
        {"embedding_length", "hidden_size", true},
        {"block_count", "num_hidden_layers", true},
        {"feed_forward_length", "intermediate_size", true},
        {"attention.head_count", "num_attention_heads", true},
        {"attention.head_count_kv", "num_key_value_heads", false},
        {"attention.key_length", "head_dim", false},
        {"context_length", "max_position_embeddings", false},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t v = INT64_MIN;
        int rc = get_i64(b, sizes[i].key, &v, err);
        if (rc) return rc;
        if (v != INT64_MIN)
            json_object_set_new(b->json, sizes[i].name, json_integer(v));
        else if (sizes[i].required)
            return err_set(err, ERR_CORRUPT, "\"%s\": the metadata lacks \"%s.%s\"", b->g->path,
                           b->arch, sizes[i].key);
    }
    return 0;
}

static int64_t number(const struct build *b, const char *name) {
    return json_integer_value(json_object_get(b->json, name));
}

/* What the file format assumes where keys are absent. */
static void put_absent(struct build *b) {
    int64_t heads = number(b, "num_attention_heads"), dim = number(b, "hidden_size");
    if (!json_object_get(b->json, "num_key_value_heads"))
        json_object_set_new(b->json, "num_key_value_heads", json_integer(heads));
    if (!json_object_get(b->json, "head_dim") && heads > 0 && dim % heads == 0)
        json_object_set_new(b->json, "head_dim", json_integer(dim / heads));
}

static int check_head(const struct build *b, struct err *err) {
    int64_t head_dim = number(b, "head_dim"), value = head_dim, rotary = head_dim, experts = 0;
    int rc = get_i64(b, "attention.value_length", &value, err);
    if (!rc) rc = get_i64(b, "rope.dimension_count", &rotary, err);
    if (!rc) rc = get_i64(b, "expert_count", &experts, err);
    if (!rc && experts)
        rc = err_set(err, ERR_UNSUPPORTED, "\"%s\": a mixture of %lld experts is not supported",
                     b->g->path, (long long)experts);
    if (!rc && (value != head_dim || rotary != head_dim))
        rc = err_set(err, ERR_UNSUPPORTED,
                     "\"%s\": heads of %lld with values of %lld and %lld rotary dimensions are not "
                     "supported",
                     b->g->path, (long long)head_dim, (long long)value, (long long)rotary);
    return rc;
}

static int put_vocabulary(struct build *b, struct err *err) {
    const struct gguf_tensor *t = gguf_find_tensor(b->g, "token_embd.weight");
    if (!t || t->dims != 2)
        return err_set(err, ERR_CORRUPT,
                       "\"%s\" has no tensor \"token_embd.weight\" of two dimensions", b->g->path);
    json_object_set_new(b->json, "vocab_size", json_integer(t->shape[0]));
    json_object_set_new(b->json, "tie_word_embeddings",
                        json_boolean(!gguf_find_tensor(b->g, "output.weight")));
    return 0;
}

static int put_norm_and_window(struct build *b, struct err *err) {
    double eps = NAN;
    int64_t window = 0;
    int rc = get_double(b, "attention.layer_norm_rms_epsilon", &eps, err);
    if (!rc) rc = get_i64(b, "attention.sliding_window", &window, err);
    if (rc) return rc;
    if (!isfinite(eps))
        return err_set(err, ERR_CORRUPT,
                       "\"%s\": the metadata lacks \"%s.attention.layer_norm_rms_epsilon\"",
                       b->g->path, b->arch);
    json_object_set_new(b->json, "rms_norm_eps", json_real(eps));
    if (window <= 0) return 0;
    /* of those stored under this architecture only Mistral has one */
    if (strcmp(b->arch, "llama") == 0)
        json_object_set_new(b->json, "model_type", json_string("mistral"));
    json_object_set_new(b->json, "sliding_window", json_integer(window));
    json_object_set_new(b->json, "use_sliding_window", json_true());
    json_object_set_new(b->json, "max_window_layers", json_integer(0));
    return 0;
}

/* --- rotary scaling ------------------------------------------------------------------------------
 */

/* Llama 3.1's scaling is stored as the factors it gives. The configuration behind them is always
 * the same up to `factor`, the largest of them; it is accepted when it gives back every factor. */
static bool llama3_gives(const float *factors, int64_t pairs, double theta, double factor,
                         double original) {
    for (int64_t i = 0; i < pairs; i++) {
        double wave = 2 * 3.14159265358979323846 * pow(theta, (double)i / (double)pairs);
        double smooth = (original / wave - 1) / (4 - 1),
               want = 1 / ((1 - smooth) / factor + smooth);
        if (wave < original / 4)
            want = 1;
        else if (wave > original)
            want = factor;
        if (!(fabs((double)factors[i] - want) <= 1e-4 * want)) return false;
    }
    return true;
}

static int put_rope_factors(struct build *b, const struct gguf_tensor *t, double theta,
                            struct err *err) {
    int64_t pairs = number(b, "head_dim") / 2, original = 8192;
    float factors[DEQUANT_BLOCK_MAX];
    double largest = 0;
    if (t->dims != 1 || t->shape[0] != pairs || pairs > DEQUANT_BLOCK_MAX || t->type_id != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "\"%s\": tensor \"rope_freqs.weight\" is not %lld F32 values", b->g->path,
                       (long long)pairs);
    int rc = get_i64(b, "rope.scaling.original_context_length", &original, err);
    if (rc) return rc;
    dequant_f32(t->type, t->data, (size_t)pairs, factors);
    for (int64_t i = 0; i < pairs; i++)
        if ((double)factors[i] > largest) largest = (double)factors[i];
    if (!(largest > 0) || original <= 0 ||
        !llama3_gives(factors, pairs, theta, as_written(largest), (double)original))
        return err_set(
            err, ERR_UNSUPPORTED,
            "\"%s\": the factors in \"rope_freqs.weight\" are not those of Llama 3.1's scaling",
            b->g->path);
    json_object_set_new(b->json, "rope_scaling",
                        json_pack("{s:s,s:f,s:f,s:f,s:I}", "rope_type", "llama3", "factor",
                                  as_written(largest), "low_freq_factor", 1.0, "high_freq_factor",
                                  4.0, "original_max_position_embeddings", (json_int_t)original));
    return 0;
}

static int put_rope_scaling(struct build *b, struct err *err) {
    char full[KEY_BYTES];
    struct str type = STR_LIT("none");
    double factor = 0;
    int rc = gguf_get_str(b->g, full_key(b, "rope.scaling.type", full), &type, err);
    if (!rc) rc = get_double(b, "rope.scale_linear", &factor, err); /* before there were types */
    if (!rc && factor > 0 && factor != 1) type = STR_LIT("linear");
    if (!rc) rc = get_double(b, "rope.scaling.factor", &factor, err);
    if (rc || str_is(type, "none")) return rc;
    if (!str_is(type, "linear"))
        return err_set(err, ERR_UNSUPPORTED,
                       "\"%s\": rope scaling \"%.*s\" is not supported; linear is", b->g->path,
                       (int)(type.n < 40 ? type.n : 40), type.p);
    if (factor != 1)
        json_object_set_new(b->json, "rope_scaling",
                            json_pack("{s:s,s:f}", "rope_type", "linear", "factor", factor));
    return 0;
}

static int put_rope(struct build *b, struct err *err) {
    double theta = 10000;
    int rc = get_double(b, "rope.freq_base", &theta, err);
    if (rc) return rc;
    json_object_set_new(b->json, "rope_theta", json_real(theta));
    const struct gguf_tensor *factors = gguf_find_tensor(b->g, "rope_freqs.weight");
    return factors ? put_rope_factors(b, factors, theta, err) : put_rope_scaling(b, err);
}

/* --- special ids ---------------------------------------------------------------------------------
 */

static int get_id(const struct gguf *g, const char *key, int64_t vocab, int32_t *ret,
                  struct err *err) {
    int64_t id = -1;
    int rc = gguf_get_i64(g, key, &id, err);
    if (!rc && id >= 0 && id < vocab) *ret = (int32_t)id;
    return rc;
}

static int read_special(const struct gguf *g, struct model_config *c, struct err *err) {
    static const char *const stops[] = {"tokenizer.ggml.eos_token_id",
                                        "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id"};
    int rc = get_id(g, "tokenizer.ggml.bos_token_id", c->vocab, &c->bos, err);
    for (size_t i = 0; !rc && i < sizeof stops / sizeof *stops; i++) {
        int32_t id = -1;
        bool known = false;
        rc = get_id(g, stops[i], c->vocab, &id, err);
        for (int k = 0; k < c->stop_count; k++) known = known || c->stops[k] == id;
        if (i == 0) c->eos = id;
        if (id >= 0 && !known) c->stops[c->stop_count++] = id;
    }
    return rc;
}

/* Biases are told by the tensors. Families of config.json know them all or none on q, k, v and o.
 */
static int read_biases(const struct gguf *g, struct model_config *c, struct err *err) {
    bool qkv = gguf_find_tensor(g, "blk.0.attn_q.bias") != NULL;
    bool o = gguf_find_tensor(g, "blk.0.attn_output.bias") != NULL;
    bool mlp = gguf_find_tensor(g, "blk.0.ffn_up.bias") != NULL;
    bool qwen2 = strcmp(c->family, "qwen2") == 0, none = strcmp(c->family, "mistral") == 0;
    if ((qwen2 && (!qkv || o)) || (!qwen2 && qkv != o) || (none && qkv) ||
        (mlp && strcmp(c->family, "llama") != 0))
        return err_set(err, ERR_UNSUPPORTED, "\"%s\": its biases are not those of the %s family",
                       g->path, c->family);
    c->qkv_bias = qkv;
    c->o_bias = o;
    c->mlp_bias = mlp;
    return 0;
}

int gguf_config(const struct gguf *g, struct model_config *ret, struct err *err) {
    struct build b = {.g = g};
    struct model_config c = {0};
    int rc = architecture(g, &b.arch, err);
    if (rc) return rc;
    b.json = json_pack("{s:s}", "model_type", b.arch);
    rc = put_sizes(&b, err);
    if (!rc) put_absent(&b);
    if (!rc) rc = check_head(&b, err);
    if (!rc) rc = put_vocabulary(&b, err);
    if (!rc) rc = put_norm_and_window(&b, err);
    if (!rc) rc = put_rope(&b, err);
    if (!rc) rc = model_config_read(b.json, NULL, g->path, &c, err);
    if (!rc) rc = read_special(g, &c, err);
    if (!rc) rc = read_biases(g, &c, err);
    json_decref(b.json);
    if (!rc) *ret = c;
    return rc;
}
