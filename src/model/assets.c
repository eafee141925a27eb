/* Tokenizer and chat template of a model directory or a GGUF file. */
#include "model/assets.h"

#include "base/file.h"
#include "base/mem.h"
#include "weights/gguf.h"

#include <stdint.h>

#define TEMPLATE_BYTES_MAX ((size_t)4 << 20)
#define CONFIG_BYTES_MAX ((size_t)64 << 20)
#define VOCAB_MAX ((int64_t)1 << 24)

/* --- GGUF --------------------------------------------------------------------------------------
 */

/* llama.cpp's names of vocabularies of the Llama 3 kind, whose BOS is added unless the file says no
 */
static bool pre_adds_bos(struct str pre) {
    static const char *const names[] = {"llama3",  "llama-v3", "llama-bpe", "falcon3", "falcon-h1",
                                        "pixtral", "midm-2.0", "lfm2",      "tekken",  "chameleon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(pre, names[i])) return true;
    return false;
}

static int get_id(const struct gguf *g, const char *key, int64_t count, int32_t *ret,
                  struct err *err) {
    int64_t id = *ret;
    int rc = gguf_get_i64(g, key, &id, err);
    if (rc) return rc;
    if (id < -1 || id >= count) {
        if (id != *ret)
            return err_set(err, ERR_INVALID, "%s is %lld, but the vocabulary has %lld tokens", key,
                           (long long)id, (long long)count);
        id = -1;
    }
    *ret = (int32_t)id;
    return 0;
}

static int get_flags(const struct gguf *g, struct tokenizer_vocab *v, struct err *err) {
    bool sentencepiece = str_is(v->model, "llama");
    v->bos = sentencepiece ? 1 : -1;
    v->eos = sentencepiece ? 2 : -1;
    v->unk = sentencepiece ? 0 : -1;
    v->add_bos = sentencepiece || pre_adds_bos(v->pre);
    v->add_space_prefix = sentencepiece;
    int rc = get_id(g, "tokenizer.ggml.bos_token_id", v->count, &v->bos, err);
    if (!rc) rc = get_id(g, "tokenizer.ggml.eos_token_id", v->count, &v->eos, err);
    if (!rc) rc = get_id(g, "tokenizer.ggml.unknown_token_id", v->count, &v->unk, err);
    if (!rc) rc = gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos, err);
    if (!rc) rc = gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos, err);
    if (!rc) rc = gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix, err);
    return rc;
}

static int get_strings(const struct gguf *g, const char *key, int64_t count, struct str **ret,
                       struct err *err) {
    int rc = mem_try((size_t)count, sizeof **ret, key, (void **)ret, err);
    for (int64_t i = 0; !rc && i < count; i++) rc = gguf_array_str(g, key, i, *ret + i, err);
    return rc;
}

static int get_scores(const struct gguf *g, int64_t count, float **ret, struct err *err) {
    const char *key = "tokenizer.ggml.scores";
    if (gguf_array_count(g, key) != count) return 0;
    int rc = mem_try((size_t)count, sizeof **ret, key, (void **)ret, err);
    for (int64_t i = 0; !rc && i < count; i++) {
        double score = 0;
        rc = gguf_array_double(g, key, i, &score, err);
        (*ret)[i] = (float)score;
    }
    return rc;
}

static int get_types(const struct gguf *g, int64_t count, int32_t **ret, struct err *err) {
    const char *key = "tokenizer.ggml.token_type";
    if (gguf_array_count(g, key) != count) return 0;
    int rc = mem_try((size_t)count, sizeof **ret, key, (void **)ret, err);
    for (int64_t i = 0; !rc && i < count; i++) {
        int64_t type = 0;
        rc = gguf_array_i64(g, key, i, &type, err);
        (*ret)[i] = (int32_t)type;
    }
    return rc;
}

static int tokenizer_of_gguf(const struct gguf *g, const char *path, struct tokenizer **ret,
                             struct err *err) {
    struct tokenizer_vocab v = {.model = STR_LIT(""), .pre = STR_LIT("default")};
    struct str *tokens = NULL, *merges = NULL;
    float *scores = NULL;
    int32_t *types = NULL;
    v.count = gguf_array_count(g, "tokenizer.ggml.tokens");
    v.merge_count = gguf_array_count(g, "tokenizer.ggml.merges");
    if (v.merge_count < 0) v.merge_count = 0;
    if (v.count <= 0 || v.count > VOCAB_MAX || v.merge_count > VOCAB_MAX)
        return err_set(err, ERR_INVALID, "\"%s\" holds no tokenizer (tokenizer.ggml.tokens)", path);
    int rc = gguf_get_str(g, "tokenizer.ggml.model", &v.model, err);
    if (!rc) rc = gguf_get_str(g, "tokenizer.ggml.pre", &v.pre, err);
    if (!rc) rc = get_flags(g, &v, err);
    if (!rc) rc = get_strings(g, "tokenizer.ggml.tokens", v.count, &tokens, err);
    if (!rc && v.merge_count)
        rc = get_strings(g, "tokenizer.ggml.merges", v.merge_count, &merges, err);
    if (!rc) rc = get_scores(g, v.count, &scores, err);
    if (!rc) rc = get_types(g, v.count, &types, err);
    v.tokens = tokens;
    v.merges = merges;
    v.scores = scores;
    v.types = types;
    if (!rc) rc = tokenizer_from_vocab(&v, path, ret, err);
    mem_free(tokens);
    mem_free(merges);
    mem_free(scores);
    mem_free(types);
    return rc;
}

static int template_of_gguf(const struct gguf *g, const char *path, bool want_tools,
                            struct chat_template **ret, struct err *err) {
    struct str source = {NULL, 0};
    int rc = 0;
    if (want_tools) rc = gguf_get_str(g, "tokenizer.chat_template.tool_use", &source, err);
    if (!rc && !source.p) rc = gguf_get_str(g, "tokenizer.chat_template", &source, err);
    if (rc || !source.p) return rc;
    return template_compile(source, path, ret, err);
}

/* --- directories -------------------------------------------------------------------------------
 */

static int template_of_file(const char *path, struct chat_template **ret, struct err *err) {
    struct buf b;
    buf_init(&b, TEMPLATE_BYTES_MAX);
    int rc = file_read(path, &b, err);
    if (!rc) rc = template_compile(buf_view(&b), path, ret, err);
    buf_release(&b);
    return rc;
}

/* chat_template is a string, or a list of {"name","template"} */
static const json_t *choose_template(const json_t *value, bool want_tools) {
    const json_t *chosen = NULL;
    size_t i;
    json_t *entry;
    if (!json_is_array(value)) return value;
    json_array_foreach(value, i, entry) {
        struct str name = json_str(json_object_get(entry, "name"));
        if (want_tools && name.p && str_is(name, "tool_use"))
            return json_object_get(entry, "template");
        if (name.p && str_is(name, "default")) chosen = json_object_get(entry, "template");
    }
    return chosen;
}

/* the member chat_template of a JSON file; absent file or member: *ret stays */
static int template_of_json(const char *path, bool want_tools, struct chat_template **ret,
                            struct err *err) {
    json_t *config = NULL;
    if (!file_exists(path)) return 0;
    int rc = json_read_file(path, CONFIG_BYTES_MAX, &config, err);
    if (rc) return rc;
    const json_t *value = choose_template(json_object_get(config, "chat_template"), want_tools);
    if (json_is_string(value))
        rc = template_compile(json_str(value), path, ret, err);
    else if (value && !json_is_null(value))
        rc = err_set(err, ERR_INVALID, "\"%s\": chat_template is no string", path);
    json_decref(config);
    return rc;
}

static int template_of_dir(const char *dir, bool want_tools, struct chat_template **ret,
                           struct err *err) {
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json",
                                        "chat_template.json"};
    int rc = 0;
    for (size_t i = 0; !rc && !*ret && i < sizeof names / sizeof *names; i++) {
        char *path = path_join(dir, names[i]);
        if (i > 0)
            rc = template_of_json(path, want_tools, ret, err);
        else if (file_exists(path))
            rc = template_of_file(path, ret, err);
        mem_free(path);
    }
    return rc;
}

/* --- both --------------------------------------------------------------------------------------
 */

int assets_tokenizer(const char *path, struct tokenizer **ret, struct err *err) {
    if (!gguf_is(path)) return tokenizer_open(path, ret, err);
    struct gguf *g = NULL;
    int rc = gguf_open(path, &g, err);
    if (!rc) rc = tokenizer_of_gguf(g, path, ret, err);
    gguf_close(g);
    return rc;
}

int assets_template(const char *path, bool want_tools, struct chat_template **ret,
                    struct err *err) {
    struct chat_template *t = NULL;
    struct gguf *g = NULL;
    int rc;
    if (gguf_is(path)) {
        rc = gguf_open(path, &g, err);
        if (!rc) rc = template_of_gguf(g, path, want_tools, &t, err);
        gguf_close(g);
    } else {
        rc = template_of_dir(path, want_tools, &t, err);
    }
    if (!rc) *ret = t;
    return rc;
}

int assets_plain_template(struct chat_template **ret, struct err *err) {
    static const char text[] =
        "{% if tools %}Tools: {{ tools | tojson }}{{ '\n' }}{% endif %}"
        "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}"
        "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
        "{% if m.role == 'assistant' %}{{ eos_token or '' }}{% endif %}{{ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}";
    return template_compile(STR_LIT(text), "plain template", ret, err);
}

int assets_render(const struct chat_template *t, const struct tokenizer *tok, const json_t *vars,
                  bool add_generation_prompt, struct buf *out, struct err *err) {
    return template_render_chat(t, vars, tokenizer_special_map(tok), add_generation_prompt, out,
                                err);
}
