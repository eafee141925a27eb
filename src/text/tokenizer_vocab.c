/* A GGUF's vocabulary. "gpt2" (byte-level BPE) becomes the tokenizer.json it was made from, as far
 * as its `pre` tells. "llama" (SentencePiece BPE) has scores in place of merges: two neighbours
 * join when their text is a token, the one of highest score first, the leftmost of equals. */
#include "text/tokenizer_int.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/charclass.h"
#include "text/scan.h"

#include <math.h>
#include <stdlib.h>

#define MERGED_MAX 1024 /* bytes of a token that merges make: each of its parts is looked up */

enum token_type { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

#define LOWER_BLOCK "\xE2\x96\x81" /* U+2581 */

/* --- what `pre` means ----------------------------------------------------------------------------
 */

enum pre_family { PRE_DEFAULT, PRE_GPT2, PRE_DIGITS_GPT2, PRE_LLAMA3, PRE_LLAMA3_WHOLE, PRE_QWEN2 };

static const struct {
    const char *name;
    enum pre_family family;
} pre_names[] = {
    {"", PRE_DEFAULT},
    {"default", PRE_DEFAULT},
    {"gpt-2", PRE_GPT2},
    {"phi-2", PRE_GPT2},
    {"mpt", PRE_GPT2},
    {"olmo", PRE_GPT2},
    {"smollm", PRE_DIGITS_GPT2},
    {"starcoder", PRE_DIGITS_GPT2},
    {"refact", PRE_DIGITS_GPT2},
    {"command-r", PRE_DIGITS_GPT2},
    {"codeshell", PRE_DIGITS_GPT2},
    {"exaone", PRE_DIGITS_GPT2},
    {"llama3", PRE_LLAMA3_WHOLE},
    {"llama-v3", PRE_LLAMA3_WHOLE},
    {"llama-bpe", PRE_LLAMA3_WHOLE},
    {"falcon3", PRE_LLAMA3_WHOLE},
    {"dbrx", PRE_LLAMA3},
    {"smaug-bpe", PRE_LLAMA3},
    {"qwen2", PRE_QWEN2},
    {"stablelm2", PRE_QWEN2},
    {"deepseek-r1-qwen", PRE_QWEN2},
    {"megrez", PRE_QWEN2},
};

static json_t *split(const char *pattern) {
    return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", pattern,
                     "behavior", "Isolated", "invert", 0);
}

static json_t *byte_level(bool use_regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", use_regex);
}

static json_t *pieces_of(enum pre_family family) {
    json_t *list = json_array();
    bool gpt2 = false;
    if (family == PRE_DEFAULT) {
        json_array_append_new(list, split("[\\p{P}\\$\\+<=>\\^~\\|]+"));
        json_array_append_new(list, split(scan_pattern(scan_gpt2).p));
        json_array_append_new(list, split("\\p{N}+"));
        json_array_append_new(list, split("[0-9][0-9][0-9]"));
    } else if (family == PRE_LLAMA3 || family == PRE_LLAMA3_WHOLE) {
        json_array_append_new(list, split(scan_pattern(scan_llama3).p));
    } else if (family == PRE_QWEN2) {
        json_array_append_new(list, split(scan_pattern(scan_qwen2).p));
    } else {
        gpt2 = true;
        if (family == PRE_DIGITS_GPT2)
            json_array_append_new(
                list, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1));
    }
    json_array_append_new(list, byte_level(gpt2));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
}

static int find_family(struct str pre, const char *where, enum pre_family *ret, struct err *err) {
    for (size_t i = 0; i < sizeof pre_names / sizeof *pre_names; i++) {
        if (!str_is(pre, pre_names[i].name)) continue;
        *ret = pre_names[i].family;
        return 0;
    }
    return err_set(err, ERR_UNSUPPORTED, "%s: tokenizer.ggml.pre \"%.*s\" is not supported", where,
                   (int)(pre.n < 60 ? pre.n : 60), pre.p);
}

/* --- as tokenizer.json ---------------------------------------------------------------------------
 */

static int token_type(const struct tokenizer_vocab *v, int64_t id) {
    return v->types ? v->types[id] : 0;
}

static int bad_token(int64_t id, const char *where, struct err *err) {
    return err_set(err, ERR_INVALID, "%s: token %lld is not UTF-8", where, (long long)id);
}

static int add_vocab(const struct tokenizer_vocab *v, json_t *vocab, json_t *added,
                     const char *where, struct err *err) {
    for (int64_t i = 0; i < v->count; i++) {
        struct str s = v->tokens[i];
        if (json_object_setn_new(vocab, s.p, s.n, json_integer(i))) return bad_token(i, where, err);
        int type = token_type(v, i);
        bool special = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
        if ((!special && type != TYPE_USER_DEFINED) || !s.n) continue;
        json_array_append_new(added,
                              json_pack("{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i,
                                        "content", s.p, s.n, "single_word", 0, "lstrip", 0,
                                        "rstrip", 0, "normalized", 0, "special", special));
    }
    return 0;
}

static int add_merges(const struct tokenizer_vocab *v, json_t *merges, const char *where,
                      struct err *err) {
    for (int64_t i = 0; i < v->merge_count; i++)
        if (json_array_append_new(merges, json_stringn(v->merges[i].p, v->merges[i].n)))
            return err_set(err, ERR_INVALID, "%s: merge %lld is not UTF-8", where, (long long)i);
    return 0;
}

static bool names_token(const struct tokenizer_vocab *v, int32_t id) {
    return id >= 0 && id < v->count;
}

static void add_role(const struct tokenizer_vocab *v, bool wanted, int32_t id, json_t *single,
                     json_t *known) {
    if (!wanted || !names_token(v, id)) return;
    struct str s = v->tokens[id];
    json_array_append_new(
        single, json_pack("{s:{s:s%, s:i}}", "SpecialToken", "id", s.p, s.n, "type_id", 0));
    json_object_setn_new(
        known, s.p, s.n,
        json_pack("{s:s%, s:[i], s:[s%]}", "id", s.p, s.n, "ids", id, "tokens", s.p, s.n));
}

static json_t *post_processor(const struct tokenizer_vocab *v) {
    json_t *single = json_array(), *known = json_object();
    add_role(v, v->add_bos, v->bos, single, known);
    json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
    add_role(v, v->add_eos, v->eos, single, known);
    json_t *pair = json_deep_copy(single);
    json_array_append_new(pair, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 1));
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair",
                     pair, "special_tokens", known);
}

static json_t *replace(const char *from, const char *to) {
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content",
                     to);
}

static void describe_spaces(const struct tokenizer_vocab *v, json_t *spec) {
    json_t *normalizers = json_array();
    if (v->add_space_prefix)
        json_array_append_new(normalizers,
                              json_pack("{s:s, s:s}", "type", "Prepend", "prepend", LOWER_BLOCK));
    json_array_append_new(normalizers, replace(" ", LOWER_BLOCK));
    json_t *decoders = json_pack("[o, {s:s}, {s:s}]", replace(LOWER_BLOCK, " "), "type",
                                 "ByteFallback", "type", "Fuse");
    if (v->add_space_prefix)
        json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip",
                                                  "content", " ", "start", 1, "stop", 0));
    json_object_set_new(spec, "normalizer",
                        json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", normalizers));
    json_object_set_new(spec, "decoder",
                        json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders));
}

static int describe(const struct tokenizer_vocab *v, const char *where, json_t *spec,
                    struct err *err) {
    bool scored = str_is(v->model, "llama");
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    json_t *model = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE",
                              "dropout", "unk_token", "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", scored, "byte_fallback", scored,
                              "ignore_merges", 0, "vocab", vocab, "merges", merges);
    json_object_set_new(spec, "model", model);
    json_object_set_new(spec, "added_tokens", added);
    json_object_set_new(spec, "post_processor", post_processor(v));
    int rc = add_vocab(v, vocab, added, where, err);
    if (!rc && scored) {
        if (names_token(v, v->unk))
            json_object_set_new(model, "unk_token",
                                json_stringn(v->tokens[v->unk].p, v->tokens[v->unk].n));
        describe_spaces(v, spec);
        return 0;
    }
    enum pre_family family = PRE_DEFAULT;
    if (!rc) rc = find_family(v->pre, where, &family, err);
    if (!rc) rc = add_merges(v, merges, where, err);
    if (rc) return rc;
    json_object_set_new(model, "ignore_merges", json_boolean(family == PRE_LLAMA3_WHOLE));
    json_object_set_new(spec, "pre_tokenizer", pieces_of(family));
    json_object_set_new(spec, "decoder", byte_level(true));
    return 0;
}

/* --- merges from scores --------------------------------------------------------------------------
 */

struct scored_merge {
    float score;
    int32_t left, right, id;
    size_t left_n;
    int64_t order;
};

static int by_score(const void *pa, const void *pb) {
    const struct scored_merge *a = pa, *b = pb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->left_n != b->left_n) return a->left_n > b->left_n ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* The symbol of a part of a token: a token, or a character that is none by itself; -1: neither. */
static int32_t symbol_of(struct tokenizer *t, struct str part, struct str_map *lone, size_t *cap) {
    int32_t id = str_map_find(&t->ids, part);
    if (id >= 0) return id;
    if (char_last(part) != 0) return -1;
    id = str_map_find(lone, part);
    if (id >= 0) return id;
    struct bpe *b = &t->bpe;
    mem_grow((void **)&b->pseudo, cap, (size_t)b->pseudo_count + 1, sizeof *b->pseudo);
    b->pseudo[b->pseudo_count] = part; /* part of a token's string: lives as long */
    id = (int32_t)t->size + b->pseudo_count++;
    str_map_put(lone, part, id);
    return id;
}

struct merge_list {
    struct scored_merge *list;
    size_t count, cap, pseudo_cap;
    struct str_map lone;
};

static int add_splits(struct tokenizer *t, int32_t id, float score, struct merge_list *m,
                      const char *where, struct err *err) {
    struct str token = t->tokens[id];
    size_t n;
    if (token.n > MERGED_MAX)
        return err_set(err, ERR_LIMIT, "%s: token %d has %zu bytes; at most %d can be merged",
                       where, id, token.n, MERGED_MAX);
    for (size_t at = 0; at < token.n; at += n) {
        char_at(token.p + at, &n);
        if (!at) continue;
        struct str left = {token.p, at}, right = str_from(token, at);
        int32_t l = symbol_of(t, left, &m->lone, &m->pseudo_cap);
        int32_t r = l < 0 ? -1 : symbol_of(t, right, &m->lone, &m->pseudo_cap);
        if (r < 0) continue;
        mem_grow((void **)&m->list, &m->cap, m->count + 1, sizeof *m->list);
        m->list[m->count] = (struct scored_merge){score, l, r, id, at, (int64_t)m->count};
        m->count++;
    }
    return 0;
}

/* Equal scores share a rank, so that of them the leftmost pair is merged first. */
static int take_merges(struct tokenizer *t, struct merge_list *m, struct err *err) {
    if (m->count) qsort(m->list, m->count, sizeof *m->list, by_score);
    mem_free(t->merges);
    t->merges = NULL;
    int rc = mem_try(m->count + 1, sizeof *t->merges, "merges", (void **)&t->merges, err);
    uint32_t rank = 0;
    for (size_t i = 0; i < m->count && !rc; i++) {
        const struct scored_merge *s = &m->list[i];
        bool same = i && s->score == m->list[i - 1].score;
        if (i && !same) rank++;
        if (same && s->id != m->list[i - 1].id) t->ties = true;
        bpe_add_merge(&t->bpe, s->left, s->right, rank, s->id);
        if (s->left < t->size && s->right < t->size)
            t->merges[t->merge_count++] = (struct merge_pair){s->left, s->right};
    }
    return rc;
}

int tokenizer_rank_by_score(struct tokenizer *t, const struct tokenizer_vocab *v, const char *where,
                            struct err *err) {
    struct merge_list m = {0};
    int rc = 0;
    for (int64_t i = 0; i < v->count && !rc; i++) {
        if (!isfinite(v->scores[i]))
            rc = err_set(err, ERR_INVALID, "%s: the score of token %lld is not a number", where,
                         (long long)i);
        else if (tokenizer_find(t, v->tokens[i]) == i)
            rc = add_splits(t, (int32_t)i, v->scores[i], &m, where, err);
    }
    if (!rc) rc = take_merges(t, &m, err);
    /* characters that only occur in tokens start as symbols of their own */
    for (int32_t i = 0; i < t->bpe.pseudo_count; i++)
        str_map_put(&t->bpe.words, t->bpe.pseudo[i], (int32_t)t->size + i);
    str_map_release(&m.lone);
    mem_free(m.list);
    return rc;
}

/* -------------------------------------------------------------------------------------------------
 */

static void note_role(struct tokenizer *t, const struct tokenizer_vocab *v, const char *role,
                      int32_t id) {
    if (!names_token(v, id)) return;
    json_object_set_new(t->special_map, role, json_stringn(v->tokens[id].p, v->tokens[id].n));
}

static int check(const struct tokenizer_vocab *v, const char *where, struct err *err) {
    bool scored = str_is(v->model, "llama");
    if (!scored && !str_is(v->model, "gpt2"))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: tokenizer.ggml.model \"%.*s\" is not supported; gpt2 and llama are",
                       where, (int)(v->model.n < 60 ? v->model.n : 60), v->model.p);
    if (v->count < 1 || v->count > TOKENIZER_MAX_ID)
        return err_set(err, ERR_LIMIT, "%s: %lld tokens; 1 to %d can be used", where,
                       (long long)v->count, TOKENIZER_MAX_ID);
    if (scored && !v->scores)
        return err_set(err, ERR_INVALID, "%s: tokenizer.ggml.scores is missing", where);
    for (int64_t i = 0; i < v->count; i++)
        if (utf8_valid_prefix(v->tokens[i]) != v->tokens[i].n) return bad_token(i, where, err);
    return 0;
}

int tokenizer_from_vocab(const struct tokenizer_vocab *v, const char *where, struct tokenizer **ret,
                         struct err *err) {
    bool scored = str_is(v->model, "llama");
    struct tokenizer *t = NULL;
    int rc = check(v, where, err);
    if (rc) return rc;
    json_t *spec = json_pack("{s:s}", "version", "1.0");
    rc = describe(v, where, spec, err);
    if (!rc) rc = tokenizer_from_spec(spec, scored ? v : NULL, where, &t, err);
    json_decref(spec);
    if (rc) return rc;
    note_role(t, v, "bos_token", v->bos);
    note_role(t, v, "eos_token", v->eos);
    note_role(t, v, "unk_token", v->unk);
    *ret = t;
    return 0;
}
