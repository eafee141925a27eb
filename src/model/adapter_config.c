/* adapter_config.json as PEFT reads and writes it, and attune.json beside it. What this version
 * cannot follow is refused by name: an adapter applied in part is another adapter. */
#include "model/model_int.h"

#include "base/file.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIG_BYTES_MAX ((size_t)4 << 20)
#define RANK_MAX 4096

/* keys that change what the factors mean, unless null, false or empty */
static const char *const must_be_empty[] = {
    "rank_pattern",      "alpha_pattern",   "layers_to_transform",     "modules_to_save",
    "use_dora",          "fan_in_fan_out",  "layer_replication",       "lora_bias",
    "use_qalora",        "use_bdlora",      "target_parameters",       "trainable_token_indices",
    "arrow_config",      "megatron_config", "alora_invocation_tokens", "kasa_config",
    "monteclora_config",
};

/* initialisations that leave the base weights as they are */
static const char *const plain_inits[] = {"gaussian", "eva", "orthogonal", "true", "false"};

static bool is_empty(const json_t *v) {
    if (!v || json_is_null(v) || json_is_false(v)) return true;
    return (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static int refuse_key(const json_t *config, const char *key, const char *where, struct err *err) {
    char *text = json_dumps(json_object_get(config, key), JSON_ENCODE_ANY | JSON_COMPACT);
    int rc = err_set(err, ERR_UNSUPPORTED,
                     "\"%s\": %s = %.80s is not supported; merge the adapter or train a plain one",
                     where, key, text ? text : "?");
    free(text);
    return rc;
}

static int check_type(const json_t *config, const char *where, struct err *err) {
    struct str type = STR_LIT("LORA");
    int rc = json_get_str(config, "peft_type", where, &type, err);
    if (rc) return rc;
    return str_is(type, "LORA") ? 0 : refuse_key(config, "peft_type", where, err);
}

static int check_plain(const json_t *config, const char *where, struct err *err) {
    struct str bias = STR_LIT("none");
    int rc = json_get_str(config, "bias", where, &bias, err);
    if (rc) return rc;
    if (!str_is(bias, "none")) return refuse_key(config, "bias", where, err);
    for (size_t i = 0; i < sizeof must_be_empty / sizeof *must_be_empty; i++)
        if (!is_empty(json_object_get(config, must_be_empty[i])))
            return refuse_key(config, must_be_empty[i], where, err);
    const json_t *init = json_object_get(config, "init_lora_weights");
    if (!json_is_string(init)) return 0;
    for (size_t i = 0; i < sizeof plain_inits / sizeof *plain_inits; i++)
        if (str_is(json_str(init), plain_inits[i])) return 0;
    return refuse_key(config, "init_lora_weights", where, err);
}

/* "q_proj", "self_attn.q_proj" or a longer path that ends so */
static int target_bit(struct str name) {
    for (int k = 0; k < LIN_COUNT; k++) {
        struct str short_name = str_of(linear_name((enum linear_kind)k));
        if (str_eq(name, short_name)) return 1 << k;
        if (str_ends(name, short_name) && name.n > short_name.n &&
            name.p[name.n - short_name.n - 1] == '.')
            return 1 << k;
    }
    return 0;
}

static int read_targets(const json_t *config, const char *where, unsigned *ret, struct err *err) {
    const json_t *v = json_object_get(config, "target_modules");
    *ret = 0;
    if (json_is_string(v)) {
        if (str_is(json_str(v), "all-linear")) *ret = (1u << LIN_COUNT) - 1;
        return 0;
    }
    if (!json_is_array(v)) return refuse_key(config, "target_modules", where, err);
    size_t i;
    json_t *entry;
    json_array_foreach(v, i, entry) {
        struct str name = json_is_string(entry) ? json_str(entry) : STR_LIT("");
        int bit = target_bit(name);
        if (!bit)
            return err_set(err, ERR_UNSUPPORTED,
                           "\"%s\": target_modules holds \"%.*s\"; q_proj k_proj v_proj o_proj "
                           "gate_proj up_proj "
                           "down_proj can be adapted",
                           where, (int)(name.n < 80 ? name.n : 80), name.p);
        *ret |= (unsigned)bit;
    }
    return 0;
}

float adapter_scale(const struct adapter_meta *meta) {
    double rank = (double)meta->rank;
    return (float)(meta->alpha / (meta->rslora ? sqrt(rank) : rank));
}

int adapter_config_read(const json_t *config, const char *where, struct adapter_meta *ret,
                        struct err *err) {
    struct adapter_meta meta = {.rank = 8, .alpha = 8};
    struct str base = STR_LIT("");
    int rc = check_type(config, where, err);
    if (!rc) rc = check_plain(config, where, err);
    if (!rc) rc = json_get_i64(config, "r", where, 1, RANK_MAX, &meta.rank, err);
    if (!rc) rc = json_get_double(config, "lora_alpha", where, &meta.alpha, err);
    if (!rc) rc = json_get_double(config, "lora_dropout", where, &meta.dropout, err);
    if (!rc) rc = json_get_bool(config, "use_rslora", where, &meta.rslora, err);
    if (!rc) rc = read_targets(config, where, &meta.targets, err);
    if (!rc) rc = json_get_str(config, "base_model_name_or_path", where, &base, err);
    if (rc) return rc;
    if (!isfinite(adapter_scale(&meta)) || adapter_scale(&meta) == 0)
        return err_set(
            err, ERR_INVALID,
            "\"%s\": lora_alpha = %g over r = %lld is no scale to calculate with; correct "
            "lora_alpha",
            where, meta.alpha, (long long)meta.rank);
    meta.base_path = base.p;
    *ret = meta;
    return 0;
}

static json_t *target_list(const struct adapter_meta *meta) {
    if (meta->modules) return json_incref(meta->modules);
    json_t *list = json_array();
    for (int k = 0; k < LIN_COUNT; k++)
        if (meta->targets & 1u << k)
            json_array_append_new(list, json_string(linear_name((enum linear_kind)k)));
    return list;
}

/* a whole number without a point, as PEFT writes alpha */
static json_t *number(double x) {
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

json_t *adapter_config_write(const struct adapter_meta *meta) {
    return json_pack(
        "{s:s, s:s, s:s, s:b, s:I, s:o, s:o, s:b, s:o, s:s, s:b, s:b, s:n, s:n, s:{}, s:{}, s:b}",
        "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path",
        meta->base_path ? meta->base_path : "", "inference_mode", 1, "r", (json_int_t)meta->rank,
        "lora_alpha", number(meta->alpha), "lora_dropout", json_real(meta->dropout), "use_rslora",
        (int)meta->rslora, "target_modules", target_list(meta), "bias", "none", "fan_in_fan_out", 0,
        "init_lora_weights", 1, "layers_to_transform", "modules_to_save", "rank_pattern",
        "alpha_pattern", "use_dora", 0);
}

json_t *adapter_record_write(const struct adapter_meta *meta) {
    const struct model_hashes *h = &meta->hashes;
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:s*}", "base",
                     meta->base_path ? meta->base_path : "", "hashes", "weights", h->weights,
                     "tokenizer", h->tokenizer, "chat_template", h->chat_template, "dataset",
                     meta->dataset);
}

/* --- files -------------------------------------------------------------------------------------
 */

static int save_json(const char *dir, const char *name, json_t *v, struct err *err) {
    char *path = path_join(dir, name), *text = json_dumps(v, JSON_INDENT(2));
    int rc = text ? file_write_atomic(path, str_of(text), err)
                  : err_set(err, ERR_INVALID, "\"%s\": a path that is no UTF-8 cannot be recorded",
                            path);
    free(text);
    mem_free(path);
    json_decref(v);
    return rc;
}

int adapter_config_save(const char *dir, const struct adapter_meta *meta, struct err *err) {
    int rc = save_json(dir, "adapter_config.json", adapter_config_write(meta), err);
    return rc ? rc : save_json(dir, "attune.json", adapter_record_write(meta), err);
}

static int read_hash(const json_t *hashes, const char *key, const char *where, char out[65],
                     struct err *err) {
    struct str s = STR_LIT("");
    int rc = json_get_str(hashes, key, where, &s, err);
    if (rc) return rc;
    if (s.n && s.n != 64)
        return err_set(err, ERR_INVALID, "\"%s\": %s is no SHA-256 in hexadecimal", where, key);
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return 0;
}

static int load_record(const char *path, struct model_hashes *ret, struct err *err) {
    json_t *record = NULL;
    *ret = (struct model_hashes){0};
    if (!file_exists(path)) return 0;
    int rc = json_read_file(path, CONFIG_BYTES_MAX, &record, err);
    if (rc) return rc;
    const json_t *hashes = json_object_get(record, "hashes");
    if (!json_is_object(hashes)) {
        json_decref(record);
        return 0;
    }
    rc = read_hash(hashes, "weights", path, ret->weights, err);
    if (!rc) rc = read_hash(hashes, "tokenizer", path, ret->tokenizer, err);
    if (!rc) rc = read_hash(hashes, "chat_template", path, ret->chat_template, err);
    json_decref(record);
    return rc;
}

int adapter_config_load(const char *dir, struct adapter_meta *ret, json_t **ret_config,
                        struct err *err) {
    char *path = path_join(dir, "adapter_config.json"), *record = path_join(dir, "attune.json");
    json_t *config = NULL;
    struct adapter_meta meta = {0};
    int rc = 0;
    if (!file_exists(path))
        rc =
            err_set(err, ERR_NOT_FOUND, "\"%s\" is no adapter: it has no adapter_config.json", dir);
    if (!rc) rc = json_read_file(path, CONFIG_BYTES_MAX, &config, err);
    if (!rc && !json_is_object(config))
        rc = err_set(err, ERR_INVALID, "\"%s\" holds no JSON object", path);
    if (!rc) rc = adapter_config_read(config, path, &meta, err);
    if (!rc) rc = load_record(record, &meta.hashes, err);
    mem_free(record);
    mem_free(path);
    if (rc) {
        json_decref(config);
        return rc;
    }
    *ret = meta;
    *ret_config = config;
    return 0;
}
