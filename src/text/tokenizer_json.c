/* tokenizer.json, as the `tokenizers` package writes it. */
#include "text/tokenizer_int.h"

#include "base/mem.h"

#include <assert.h>

#define AFFIX_MAX 64 /* bytes; a fallback may spell one out before every character */

/* --- the model ----------------------------------------------------------------------------------
 */

static int read_vocab(struct tokenizer *t, const json_t *vocab, const char *where,
                      struct err *err) {
    const char *key;
    size_t key_n;
    json_t *id;
    if (!json_is_object(vocab))
        return err_set(err, ERR_INVALID, "%s: model: \"vocab\" must be an object", where);
    json_object_keylen_foreach((json_t *)(uintptr_t)vocab, key, key_n, id) {
        if (!json_is_integer(id))
            return err_set(err, ERR_INVALID,
                           "%s: model: the id of \"%.60s\" must be a whole number", where, key);
        int rc = tokenizer_put(t, (struct str){key, key_n}, json_integer_value(id), where, err);
        if (rc) return rc;
    }
    tokenizer_trim(t);
    return 0;
}

/* "left right" or ["left", "right"] */
static bool merge_parts(const json_t *m, struct str *left, struct str *right) {
    if (json_is_array(m) && json_array_size(m) == 2) {
        if (!json_is_string(json_array_get(m, 0)) || !json_is_string(json_array_get(m, 1)))
            return false;
        *left = json_str(json_array_get(m, 0));
        *right = json_str(json_array_get(m, 1));
        return true;
    }
    if (!json_is_string(m)) return false;
    struct str line = json_str(m);
    const char *space = memchr(line.p, ' ', line.n);
    if (!space) return false;
    *left = (struct str){line.p, (size_t)(space - line.p)};
    *right = str_from(line, left->n + 1);
    return !memchr(right->p, ' ', right->n);
}

static int add_merge(struct tokenizer *t, struct str left, struct str right, size_t rank,
                     struct buf *joined, const char *where, struct err *err) {
    int32_t l = str_map_find(&t->ids, left), r = str_map_find(&t->ids, right);
    buf_clear(joined);
    buf_str(joined, left);
    buf_str(joined, str_from(right, t->bpe.prefix.n));
    int32_t id = str_map_find(&t->ids, buf_view(joined));
    if (l < 0 || r < 0 || id < 0) {
        struct str missing = l < 0 ? left : r < 0 ? right : buf_view(joined);
        return err_set(
            err, ERR_INVALID,
            "%s: model: merge %zu needs the token \"%.*s\", which is not in the vocabulary", where,
            rank, (int)(missing.n < 80 ? missing.n : 80), missing.p);
    }
    bpe_add_merge(&t->bpe, l, r, (uint32_t)rank, id);
    t->merges[t->merge_count++] = (struct merge_pair){l, r};
    return 0;
}

static int read_merges(struct tokenizer *t, const json_t *merges, const char *where,
                       struct err *err) {
    if (!json_is_array(merges))
        return err_set(err, ERR_INVALID, "%s: model: \"merges\" must be a list", where);
    size_t n = json_array_size(merges), skipped = 0;
    if (n >= UINT32_MAX) return err_set(err, ERR_LIMIT, "%s: model: too many merges", where);
    int rc = mem_try(n + 1, sizeof *t->merges, "merges", (void **)&t->merges, err);
    struct buf joined;
    buf_init(&joined, 1 << 26);
    for (size_t i = 0; i < n && !rc; i++) {
        const json_t *m = json_array_get(merges, i);
        struct str left, right;
        if (json_is_string(m) && str_starts(json_str(m), STR_LIT("#version")))
            skipped++;
        else if (!merge_parts(m, &left, &right))
            rc = err_set(err, ERR_INVALID, "%s: model: merge %zu must be two tokens", where, i);
        else
            rc = add_merge(t, left, right, i - skipped, &joined, where, err);
    }
    buf_release(&joined);
    return rc;
}

static int read_affix(const json_t *model, const char *key, const char *where, struct str *ret,
                      struct err *err) {
    int rc = json_get_str(model, key, where, ret, err);
    if (rc || ret->n <= AFFIX_MAX) return rc;
    return err_set(err, ERR_LIMIT, "%s: model: \"%s\" has %zu bytes; at most %d", where, key,
                   ret->n, AFFIX_MAX);
}

static int read_model_options(struct tokenizer *t, const json_t *model, const char *where,
                              struct str *unk, struct err *err) {
    struct bpe *b = &t->bpe;
    double dropout = 0;
    struct str prefix = {0}, suffix = {0};
    int rc = json_get_double(model, "dropout", where, &dropout, err);
    if (!rc) rc = json_get_str(model, "unk_token", where, unk, err);
    if (!rc) rc = read_affix(model, "continuing_subword_prefix", where, &prefix, err);
    if (!rc) rc = read_affix(model, "end_of_word_suffix", where, &suffix, err);
    if (!rc) rc = json_get_bool(model, "fuse_unk", where, &b->fuse_unk, err);
    if (!rc) rc = json_get_bool(model, "byte_fallback", where, &b->byte_fallback, err);
    if (!rc) rc = json_get_bool(model, "ignore_merges", where, &b->ignore_merges, err);
    if (rc) return rc;
    if (dropout > 0)
        return err_set(
            err, ERR_UNSUPPORTED,
            "%s: model: \"dropout\" makes ids random and is not supported; set it to null", where);
    b->prefix = arena_str(&t->strings, prefix);
    b->suffix = arena_str(&t->strings, suffix);
    return 0;
}

static int read_model(struct tokenizer *t, const json_t *model, const char *where,
                      struct err *err) {
    struct str type = {0}, unk = {0};
    int rc = json_get_str(model, "type", where, &type, err);
    if (rc) return rc;
    if (!type.p && json_object_get(model, "merges")) type = STR_LIT("BPE");
    if (!str_is(type, "BPE"))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: a model of type \"%.60s\" is not supported; only BPE is", where,
                       type.p ? type.p : "");
    rc = read_model_options(t, model, where, &unk, err);
    if (!rc) rc = read_vocab(t, json_object_get(model, "vocab"), where, err);
    if (!rc) rc = read_merges(t, json_object_get(model, "merges"), where, err);
    if (rc || !unk.p) return rc;
    t->bpe.unk = str_map_find(&t->ids, unk);
    if (t->bpe.unk < 0)
        return err_set(err, ERR_INVALID,
                       "%s: model: \"unk_token\" \"%.60s\" is not in the vocabulary", where, unk.p);
    return 0;
}

/* --- added tokens -------------------------------------------------------------------------------
 */

/* The vocabulary's id, else the next one, as in the package. Where that is taken (the vocabulary
 * has holes) the package gives one id to two tokens: the file's own id counts. */
static int32_t added_id(const struct tokenizer *t, struct str content, int64_t next, int64_t own) {
    int32_t known = str_map_find(&t->ids, content);
    bool taken = next < t->size && t->tokens[next].p;
    return known >= 0 ? known : (int32_t)(taken ? own : next);
}

static int read_added(struct tokenizer *t, const json_t *list, const char *where, struct err *err) {
    int64_t next = (int64_t)t->ids.count;
    size_t i;
    const json_t *each;
    if (list && !json_is_null(list) && !json_is_array(list))
        return err_set(err, ERR_INVALID, "%s: \"added_tokens\" must be a list", where);
    json_array_foreach(list, i, each) {
        struct added_token a = {.normalized = true};
        int64_t id = -1;
        int rc = json_get_str(each, "content", where, &a.content, err);
        if (!rc) rc = json_get_i64(each, "id", where, 0, TOKENIZER_MAX_ID - 1, &id, err);
        if (!rc) rc = json_get_bool(each, "single_word", where, &a.single_word, err);
        if (!rc) rc = json_get_bool(each, "lstrip", where, &a.lstrip, err);
        if (!rc) rc = json_get_bool(each, "rstrip", where, &a.rstrip, err);
        if (!rc) rc = json_get_bool(each, "special", where, &a.special, err);
        a.normalized = !a.special;
        if (!rc) rc = json_get_bool(each, "normalized", where, &a.normalized, err);
        if (rc) return rc;
        if (!a.content.p || id < 0)
            return err_set(err, ERR_INVALID, "%s: added token %zu needs \"content\" and \"id\"",
                           where, i);
        a.id = added_id(t, a.content, next, id);
        rc = tokenizer_add(t, a, where, err);
        if (rc) return rc;
        if (a.content.n && a.id >= next) next = a.id + 1;
    }
    return 0;
}

/* --- the post-processor --------------------------------------------------------------------------
 */

static int template_special(const json_t *post, const json_t *item, struct token_list *out,
                            const char *where, struct err *err) {
    struct str name = {0};
    int rc = json_get_str(item, "id", where, &name, err);
    if (rc) return rc;
    const json_t *token =
        name.p ? json_object_getn(json_object_get(post, "special_tokens"), name.p, name.n) : NULL;
    const json_t *ids = json_object_get(token, "ids"), *id;
    size_t i;
    if (!json_is_array(ids))
        return err_set(err, ERR_INVALID,
                       "%s: post_processor: no ids for the special token \"%.60s\"", where,
                       name.p ? name.p : "");
    json_array_foreach(ids, i, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= TOKENIZER_MAX_ID)
            return err_set(err, ERR_INVALID,
                           "%s: post_processor: an id of \"%.60s\" is out of range", where, name.p);
        token_list_add(out, (int32_t)json_integer_value(id));
    }
    return 0;
}

static int read_template(struct tokenizer *t, const json_t *post, const char *where,
                         struct err *err) {
    const json_t *single = json_object_get(post, "single"), *each;
    bool text_seen = false;
    size_t i;
    if (!json_is_array(single))
        return err_set(err, ERR_UNSUPPORTED, "%s: post_processor: \"single\" must be a list",
                       where);
    json_array_foreach(single, i, each) {
        const json_t *special = json_object_get(each, "SpecialToken");
        struct token_list *out = text_seen ? &t->after : &t->before;
        int rc = special ? template_special(post, special, out, where, err) : 0;
        if (rc) return rc;
        if (!special && text_seen)
            return err_set(err, ERR_UNSUPPORTED, "%s: post_processor: the text twice in \"single\"",
                           where);
        text_seen = text_seen || !special;
    }
    return 0;
}

/* ["token", id] */
static int pair_id(const json_t *post, const char *key, struct token_list *out, const char *where,
                   struct err *err) {
    const json_t *id = json_array_get(json_object_get(post, key), 1);
    if (!json_is_integer(id) || json_integer_value(id) < 0 ||
        json_integer_value(id) >= TOKENIZER_MAX_ID)
        return err_set(err, ERR_INVALID, "%s: post_processor: \"%s\" must be [token, id]", where,
                       key);
    token_list_add(out, (int32_t)json_integer_value(id));
    return 0;
}

/* Each step wraps what the ones before it made. */
static int read_post(struct tokenizer *t, const json_t *post, const char *where, int depth,
                     struct err *err) {
    struct str type;
    if (!post || json_is_null(post)) return 0;
    int rc = component_type(post, where, &type, err);
    if (rc || str_is(type, "ByteLevel")) return rc; /* only offsets */
    if (str_is(type, "Sequence")) {
        const json_t *list = json_object_get(post, "processors"), *each;
        size_t i;
        if (depth > 8) return err_set(err, ERR_LIMIT, "%s: nested too deeply", where);
        if (!json_is_array(list))
            return err_set(err, ERR_INVALID, "%s: \"processors\" must be a list", where);
        json_array_foreach(list, i, each) if (!rc) rc = read_post(t, each, where, depth + 1, err);
        return rc;
    }
    if (t->before.n || t->after.n)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: post_processor: more than one step that adds tokens", where);
    if (str_is(type, "TemplateProcessing")) return read_template(t, post, where, err);
    if (!str_is(type, "BertProcessing") && !str_is(type, "RobertaProcessing"))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: a post-processor of type \"%.60s\" is not supported", where, type.p);
    rc = pair_id(post, "cls", &t->before, where, err);
    return rc ? rc : pair_id(post, "sep", &t->after, where, err);
}

/* --- all of it ----------------------------------------------------------------------------------
 */

static int read_parts(struct tokenizer *t, const struct tokenizer_vocab *scored, const char *where,
                      struct err *err) {
    const json_t *spec = t->spec;
    int rc = read_model(t, json_object_get(spec, "model"), where, err);
    if (!rc && scored) rc = tokenizer_rank_by_score(t, scored, where, err);
    if (!rc) rc = normalizer_read(json_object_get(spec, "normalizer"), where, &t->normalizer, err);
    /* symbols of a byte fallback are characters, so bytes must be spelled as such */
    bool spell = t->bpe.byte_fallback || t->bpe.prefix.n || t->bpe.suffix.n;
    if (!rc)
        rc = pretokenizer_read(json_object_get(spec, "pre_tokenizer"), where, spell, &t->pre, err);
    if (!rc) rc = decoder_read(json_object_get(spec, "decoder"), where, &t->decoder, err);
    if (!rc) rc = read_post(t, json_object_get(spec, "post_processor"), where, 0, err);
    if (!rc) rc = read_added(t, json_object_get(spec, "added_tokens"), where, err);
    if (rc) return rc;
    t->bpe.bytes = t->pre.byte_level;
    rc = tokenizer_finish(t, err);
    return rc ? err_wrap(err, "%s", where) : 0;
}

/* What has been taken into tables need not be kept as JSON as well. */
static void drop_bulk(struct tokenizer *t) {
    json_t *model = json_object_get(t->spec, "model");
    json_object_del(model, "vocab");
    json_object_del(model, "merges");
    json_object_del(t->spec, "added_tokens");
}

int tokenizer_from_spec(json_t *spec, const struct tokenizer_vocab *scored, const char *where,
                        struct tokenizer **ret, struct err *err) {
    if (!json_is_object(spec)) return err_set(err, ERR_INVALID, "%s: must be an object", where);
    struct tokenizer *t = tokenizer_new();
    t->spec = json_incref(spec);
    int rc = read_parts(t, scored, where, err);
    if (rc) {
        tokenizer_free(t);
        return rc;
    }
    drop_bulk(t);
    *ret = t;
    return 0;
}

int tokenizer_from_json(struct str tokenizer_json, struct str tokenizer_config, const char *where,
                        struct tokenizer **ret, struct err *err) {
    json_t *spec = NULL, *config = NULL;
    struct tokenizer *t = NULL;
    int rc = json_read(tokenizer_json, where, &spec, err);
    if (!rc && tokenizer_config.n)
        rc = json_read(tokenizer_config, "tokenizer_config.json", &config, err);
    if (!rc) rc = tokenizer_from_spec(spec, NULL, where, &t, err);
    if (!rc) {
        tokenizer_note_roles(t, config);
        *ret = t;
    }
    json_decref(spec);
    json_decref(config);
    return rc;
}
