/* A model directory's tokenizer files: tokenizer.json, or the older vocab.json + merges.txt, which
 * are turned into the tokenizer.json that transformers makes of them. */
#include "text/tokenizer_int.h"

#include "base/file.h"
#include "base/mem.h"
#include "text/scan.h"

#include <stdlib.h>

#define CONFIG_MAX ((size_t)64 << 20)

struct dir {
    const char *path;
    json_t *config; /* tokenizer_config.json, or NULL */
    json_t *roles;  /* special_tokens_map.json, or NULL */
    struct err *err;
};

/* *ret stays NULL when there is no such file. */
static int read_optional(const struct dir *d, const char *name, size_t max, json_t **ret) {
    char *path = path_join(d->path, name);
    int rc = file_exists(path) ? json_read_file(path, max, ret, d->err) : 0;
    if (!rc && *ret && !json_is_object(*ret))
        rc = err_set(d->err, ERR_INVALID, "%s: must be an object", path);
    mem_free(path);
    return rc;
}

/* --- vocab.json + merges.txt ---------------------------------------------------------------------
 */

static int read_merges(const struct dir *d, json_t **ret) {
    struct buf text;
    buf_init(&text, TOKENIZER_FILE_MAX);
    char *path = path_join(d->path, "merges.txt");
    int rc = file_read(path, &text, d->err);
    mem_free(path);
    json_t *list = json_array();
    struct str rest = buf_view(&text);
    while (!rc && rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n);
        struct str line = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
        rest = str_from(rest, line.n + 1);
        if (line.n && line.p[line.n - 1] == '\r') line.n--;
        if (!line.n || str_starts(line, STR_LIT("#version"))) continue;
        if (json_array_append_new(list, json_stringn(line.p, line.n)))
            rc = err_set(d->err, ERR_INVALID, "%s/merges.txt: not UTF-8", d->path);
    }
    buf_release(&text);
    if (rc)
        json_decref(list);
    else
        *ret = list;
    return rc;
}

static json_t *byte_level(bool prefix, bool use_regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", prefix,
                     "trim_offsets", true, "use_regex", use_regex);
}

static json_t *qwen2_pieces(bool prefix) {
    struct str pattern = scan_pattern(scan_qwen2);
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex", pattern.p, "behavior", "Isolated",
                     "invert", false, byte_level(prefix, false));
}

/* One added token of tokenizer_config.json's added_tokens_decoder, with its id. */
static int add_described(const char *id, const json_t *token, json_t *list) {
    char *end;
    long long n = strtoll(id, &end, 10);
    if (*end || end == id || !json_is_object(token)) return -1;
    json_t *copy = json_copy((json_t *)(uintptr_t)token);
    json_object_set_new(copy, "id", json_integer(n));
    return json_array_append_new(list, copy);
}

static bool is_role(const struct dir *d, const char *content) {
    const char *key;
    json_t *value;
    json_object_foreach(d->roles, key, value) {
        if (json_is_object(value)) value = json_object_get(value, "content");
        if (json_is_string(value) && strcmp(json_string_value(value), content) == 0) return true;
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_t *each = json_array_get(value, i);
            if (json_is_object(each)) each = json_object_get(each, "content");
            if (json_is_string(each) && strcmp(json_string_value(each), content) == 0) return true;
        }
    }
    return false;
}

/* added_tokens_decoder, else added_tokens.json with the roles of special_tokens_map.json */
static int added_tokens(const struct dir *d, json_t *list) {
    const char *key;
    json_t *value, *plain = NULL;
    json_t *described = json_object_get(d->config, "added_tokens_decoder");
    json_object_foreach(described, key, value) {
        if (add_described(key, value, list))
            return err_set(d->err, ERR_INVALID,
                           "%s/tokenizer_config.json: added token \"%.40s\" is not usable", d->path,
                           key);
    }
    if (json_array_size(list)) return 0;
    int rc = read_optional(d, "added_tokens.json", CONFIG_MAX, &plain);
    if (rc) return rc;
    json_object_foreach(plain, key, value) {
        bool special = is_role(d, key);
        json_array_append_new(list, json_pack("{s:s, s:O, s:b, s:b}", "content", key, "id", value,
                                              "special", special, "normalized", !special));
    }
    json_decref(plain);
    return 0;
}

static int by_id(const void *pa, const void *pb) {
    json_t *const *a = pa, *const *b = pb;
    json_int_t x = json_integer_value(json_object_get(*a, "id"));
    json_int_t y = json_integer_value(json_object_get(*b, "id"));
    return (x > y) - (x < y);
}

/* Ids that the vocabulary lacks are given in this order, as transformers gives them. */
static json_t *sorted_by_id(json_t *list) {
    size_t n = json_array_size(list);
    json_t **each = mem_zalloc(n + 1, sizeof *each), *sorted = json_array();
    for (size_t i = 0; i < n; i++) each[i] = json_array_get(list, i);
    qsort(each, n, sizeof *each, by_id);
    for (size_t i = 0; i < n; i++) json_array_append(sorted, each[i]);
    mem_free(each);
    json_decref(list);
    return sorted;
}

static int check_class(const struct dir *d, bool *ret_qwen2) {
    struct str name = {0};
    int rc = json_get_str(d->config, "tokenizer_class", d->path, &name, d->err);
    if (rc) return rc;
    *ret_qwen2 = str_is(name, "Qwen2Tokenizer") || str_is(name, "Qwen2TokenizerFast");
    if (!name.p || *ret_qwen2 || str_is(name, "GPT2Tokenizer") || str_is(name, "GPT2TokenizerFast"))
        return 0;
    return err_set(d->err, ERR_UNSUPPORTED,
                   "%s: vocab.json and merges.txt of tokenizer class \"%.60s\" are not supported; "
                   "save the model with a "
                   "tokenizer.json (transformers' save_pretrained writes one)",
                   d->path, name.p);
}

static json_t *spec_of(const struct dir *d, bool qwen2, json_t *vocab, json_t *merges,
                       json_t *added, bool prefix) {
    json_t *unk = NULL;
    (void)d;
    json_t *spec =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "added_tokens", added,
                  "normalizer", qwen2 ? json_pack("{s:s}", "type", "NFC") : json_null(),
                  "pre_tokenizer", qwen2 ? qwen2_pieces(prefix) : byte_level(prefix, true),
                  "post_processor", byte_level(true, true), "decoder", byte_level(true, true));
    json_object_set_new(spec, "model",
                        json_pack("{s:s, s:o?, s:n, s:s, s:s, s:b, s:b, s:o, s:o}", "type", "BPE",
                                  "unk_token", unk, "dropout", "continuing_subword_prefix", "",
                                  "end_of_word_suffix", "", "fuse_unk", 0, "byte_fallback", 0,
                                  "vocab", vocab, "merges", merges));
    return spec;
}

static int from_vocab_and_merges(const struct dir *d, struct tokenizer **ret) {
    json_t *vocab = NULL, *merges = NULL, *added = json_array();
    bool qwen2 = false, prefix = false;
    int rc = check_class(d, &qwen2);
    if (!rc) rc = json_get_bool(d->config, "add_prefix_space", d->path, &prefix, d->err);
    if (!rc) rc = read_optional(d, "vocab.json", TOKENIZER_FILE_MAX, &vocab);
    if (!rc && !vocab)
        rc = err_set(d->err, ERR_NOT_FOUND,
                     "%s: no tokenizer.json, and no vocab.json with merges.txt", d->path);
    if (!rc) rc = read_merges(d, &merges);
    if (!rc) rc = added_tokens(d, added);
    if (rc) {
        json_decref(vocab);
        json_decref(merges);
        json_decref(added);
        return rc;
    }
    json_t *spec = spec_of(d, qwen2, vocab, merges, sorted_by_id(added), prefix);
    char *where = path_join(d->path, "vocab.json");
    rc = tokenizer_from_spec(spec, NULL, where, ret, d->err);
    mem_free(where);
    json_decref(spec);
    return rc;
}

/* -------------------------------------------------------------------------------------------------
 */

static int open_files(const struct dir *d, struct tokenizer **ret) {
    char *path = path_join(d->path, "tokenizer.json");
    json_t *spec = NULL;
    int rc = 0;
    if (!file_exists(path)) {
        rc = from_vocab_and_merges(d, ret);
    } else {
        rc = json_read_file(path, TOKENIZER_FILE_MAX, &spec, d->err);
        if (!rc) rc = tokenizer_from_spec(spec, NULL, path, ret, d->err);
        json_decref(spec);
    }
    mem_free(path);
    return rc;
}

int tokenizer_open(const char *dir, struct tokenizer **ret, struct err *err) {
    struct dir d = {.path = dir, .err = err};
    struct tokenizer *t = NULL;
    if (!dir_exists(dir)) return err_set(err, ERR_NOT_FOUND, "no directory \"%s\"", dir);
    int rc = read_optional(&d, "tokenizer_config.json", CONFIG_MAX, &d.config);
    if (!rc) rc = read_optional(&d, "special_tokens_map.json", CONFIG_MAX, &d.roles);
    if (!rc) rc = open_files(&d, &t);
    if (!rc) {
        tokenizer_note_roles(t, d.config);
        tokenizer_note_roles(t, d.roles);
        *ret = t;
    }
    json_decref(d.config);
    json_decref(d.roles);
    return rc;
}
