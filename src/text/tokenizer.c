#include "text/tokenizer_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/charclass.h"

#include <assert.h>

#define STRINGS_MAX ((size_t)1 << 30)

/* --- building -----------------------------------------------------------------------------------
 */

struct tokenizer *tokenizer_new(void) {
    charclass_init();
    struct tokenizer *t = mem_zalloc(1, sizeof *t);
    arena_init(&t->strings, STRINGS_MAX);
    t->special_map = json_object();
    t->bpe.unk = -1;
    return t;
}

void tokenizer_free(struct tokenizer *t) {
    if (!t) return;
    bpe_release(&t->bpe);
    normalizer_release(&t->normalizer);
    pretokenizer_release(&t->pre);
    decoder_release(&t->decoder);
    added_set_release(&t->in_text);
    added_set_release(&t->in_normal_form);
    str_map_release(&t->ids);
    token_list_release(&t->before);
    token_list_release(&t->after);
    mem_free(t->tokens);
    mem_free(t->raw);
    mem_free(t->shown);
    mem_free(t->special);
    mem_free(t->merges);
    mem_free(t->added);
    json_decref(t->spec);
    json_decref(t->special_map);
    arena_release(&t->strings);
    mem_free(t);
}

int tokenizer_reserve(struct tokenizer *t, int64_t size, struct err *err) {
    if (size <= t->size) return 0;
    if (size > TOKENIZER_MAX_ID)
        return err_set(err, ERR_LIMIT, "a token id of %lld; at most %d", (long long)size - 1,
                       TOKENIZER_MAX_ID - 1);
    t->tokens = mem_realloc(t->tokens, (size_t)size, sizeof *t->tokens);
    memset(t->tokens + t->size, 0, (size_t)(size - t->size) * sizeof *t->tokens);
    t->size = size;
    return 0;
}

int tokenizer_put(struct tokenizer *t, struct str token, int64_t id, const char *where,
                  struct err *err) {
    if (id < 0 || id >= TOKENIZER_MAX_ID)
        return err_set(err, ERR_INVALID, "%s: token \"%.60s\" has the id %lld; ids go from 0 to %d",
                       where, token.p, (long long)id, TOKENIZER_MAX_ID - 1);
    int rc =
        id < t->size ? 0 : tokenizer_reserve(t, id + 1 > t->size * 2 ? id + 1 : t->size * 2, err);
    if (rc) return err_wrap(err, "%s", where);
    if (t->tokens[id].p && !str_eq(t->tokens[id], token))
        return err_set(err, ERR_INVALID, "%s: token \"%.60s\" has the id %lld of token \"%.60s\"",
                       where, token.p, (long long)id, t->tokens[id].p);
    struct str copy = arena_str(&t->strings, token);
    if (!copy.p && token.n)
        return err_set(err, ERR_LIMIT, "%s: the vocabulary is too large", where);
    if (!copy.p) copy.p = "";
    t->tokens[id] = copy;
    str_map_put(&t->ids, copy, (int32_t)id);
    return 0;
}

int tokenizer_add(struct tokenizer *t, struct added_token token, const char *where,
                  struct err *err) {
    int rc = 0;
    if (!token.content.n) return 0;
    token.outside = str_map_find(&t->ids, token.content) < 0;
    if (token.outside) rc = tokenizer_put(t, token.content, token.id, where, err);
    if (rc) return rc;
    token.content = t->tokens[token.id];
    mem_grow((void **)&t->added, &t->added_cap, t->added_count + 1, sizeof *t->added);
    t->added[t->added_count++] = token;
    return 0;
}

void tokenizer_trim(struct tokenizer *t) {
    while (t->size && !t->tokens[t->size - 1].p) t->size--;
}

/* A token that is spelled in GPT-2's byte alphabet, as bytes; else none. */
static struct str spelled(struct tokenizer *t, struct str token) {
    struct buf b;
    buf_init(&b, token.n + 1);
    bool all = true;
    for (size_t i = 0, n; all && i < token.n; i += n) {
        int byte = char_to_byte(char_at(token.p + i, &n));
        all = byte >= 0;
        if (all) buf_byte(&b, (char)byte);
    }
    struct str form = all && b.n ? arena_str(&t->strings, buf_view(&b)) : (struct str){0};
    buf_release(&b);
    return form;
}

/* Forms are what the model looks words up by: raw bytes, or the tokens as they are. */
static void fill_model(struct tokenizer *t) {
    struct bpe *b = &t->bpe;
    struct str *forms = mem_zalloc((size_t)t->size + 1, sizeof *forms);
    bool *outside = mem_zalloc((size_t)t->size + 1, sizeof *outside);
    for (size_t i = 0; i < t->added_count; i++) outside[t->added[i].id] |= t->added[i].outside;
    b->size = (int32_t)t->size;
    for (int64_t i = 0; i < t->size; i++) {
        if (!t->tokens[i].p || outside[i]) continue;
        forms[i] = b->bytes ? spelled(t, t->tokens[i]) : t->tokens[i];
        if (forms[i].n) str_map_put(&b->words, forms[i], (int32_t)i);
    }
    bpe_finish(b, forms);
    mem_free(forms);
    mem_free(outside);
}

static int fill_raw(struct tokenizer *t, struct err *err) {
    struct buf b;
    buf_init(&b, STRINGS_MAX);
    t->raw = mem_zalloc((size_t)t->size + 1, sizeof *t->raw);
    int rc = 0;
    for (int64_t i = 0; i < t->size && !rc; i++) {
        buf_clear(&b);
        if (t->special[i])
            buf_str(&b, t->tokens[i]);
        else if (t->tokens[i].p)
            rc = decode_raw(&t->decoder, t->tokens[i], &b, err);
        bool same = str_eq(buf_view(&b), t->tokens[i]);
        t->raw[i] = same ? t->tokens[i] : arena_str(&t->strings, buf_view(&b));
        if (!t->raw[i].p) t->raw[i].p = "";
    }
    buf_release(&b);
    return rc;
}

/* The last of several added tokens with the same content counts, as in the package. */
static int fill_added(struct tokenizer *t, struct err *err) {
    struct buf work[2];
    buf_init(&work[0], TOKENIZER_TEXT_MAX);
    buf_init(&work[1], TOKENIZER_TEXT_MAX);
    int rc = 0;
    for (size_t i = 0; i < t->added_count && !rc; i++) {
        struct added_token *a = &t->added[i];
        if (a->special) t->special[a->id] = true;
        if (!a->normalized) {
            added_set_put(&t->in_text, a->content, (int32_t)i);
            continue;
        }
        struct str form;
        bool moved;
        rc = normalize(&t->normalizer, a->content, work, &form, &moved, err);
        if (rc) break;
        t->shown[a->id] = arena_str(&t->strings, form);
        added_set_put(&t->in_normal_form, t->shown[a->id], (int32_t)i);
    }
    buf_release(&work[0]);
    buf_release(&work[1]);
    return rc;
}

int tokenizer_finish(struct tokenizer *t, struct err *err) {
    tokenizer_trim(t);
    t->special = mem_zalloc((size_t)t->size + 1, sizeof *t->special);
    t->shown = mem_zalloc((size_t)t->size + 1, sizeof *t->shown);
    memcpy(t->shown, t->tokens, (size_t)t->size * sizeof *t->shown);
    int rc = fill_added(t, err);
    if (!rc) rc = fill_raw(t, err);
    if (rc) return rc;
    fill_model(t);
    if (t->strings.over) return err_set(err, ERR_LIMIT, "the vocabulary is too large");
    return 0;
}

static void note_role(struct tokenizer *t, const char *role, const json_t *value) {
    if (json_is_object(value)) value = json_object_get(value, "content");
    if (!json_is_string(value) || json_object_get(t->special_map, role)) return;
    json_object_set(t->special_map, role, (json_t *)(uintptr_t)value);
}

void tokenizer_note_roles(struct tokenizer *t, const json_t *config) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        if (str_ends(str_of(key), STR_LIT("_token"))) note_role(t, key, value);
    }
    json_t *extra = json_object_get(config, "extra_special_tokens");
    json_object_foreach(extra, key, value) note_role(t, key, value);
}

/* --- encoding -----------------------------------------------------------------------------------
 */

struct encoding {
    const struct tokenizer *t;
    struct token_list *out;
    struct bpe_scratch scratch;
    struct pre_run pre;
    struct buf work[2];
};

static void encode_word(void *ctx, struct str word) {
    struct encoding *e = ctx;
    bpe_encode(&e->t->bpe, &e->scratch, word, e->out);
}

/* A piece in normal form, with the added tokens that are looked for there. */
static int encode_normal(struct encoding *e, struct str text, bool at_start, struct err *err) {
    const struct tokenizer *t = e->t;
    struct added_hit hit;
    size_t from = 0, done = 0;
    int rc = 0;
    while (!rc && added_set_find(&t->in_normal_form, t->added, text, &from, done, &hit)) {
        if (done < hit.start)
            rc = pre_run(&e->pre, (struct str){text.p + done, hit.start - done}, at_start && !done,
                         err);
        token_list_add(e->out, t->added[hit.index].id);
        done = hit.end;
    }
    if (!rc && done < text.n) rc = pre_run(&e->pre, str_from(text, done), at_start && !done, err);
    return rc;
}

static int encode_raw(struct encoding *e, struct str text, bool at_start, struct err *err) {
    struct str normal;
    bool moved;
    int rc = normalize(&e->t->normalizer, text, e->work, &normal, &moved, err);
    return rc ? rc : encode_normal(e, normal, at_start && !moved, err);
}

static int encode_text(struct encoding *e, struct str text, struct err *err) {
    const struct tokenizer *t = e->t;
    struct added_hit hit;
    size_t from = 0, done = 0;
    int rc = 0;
    while (!rc && added_set_find(&t->in_text, t->added, text, &from, done, &hit)) {
        if (done < hit.start)
            rc = encode_raw(e, (struct str){text.p + done, hit.start - done}, !done, err);
        token_list_add(e->out, t->added[hit.index].id);
        done = hit.end;
    }
    if (!rc && done < text.n) rc = encode_raw(e, str_from(text, done), !done, err);
    return rc;
}

static void add_all(struct token_list *out, const struct token_list *more) {
    for (int64_t i = 0; i < more->n; i++) token_list_add(out, more->ids[i]);
}

int tokenizer_encode(const struct tokenizer *t, struct str text, bool specials,
                     struct token_list *out, struct err *err) {
    if (text.n > TOKENIZER_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "a text of %zu bytes; at most %zu at once", text.n,
                       TOKENIZER_TEXT_MAX);
    size_t good = utf8_valid_prefix(text);
    if (good != text.n)
        return err_set(err, ERR_INVALID, "the text is not UTF-8: byte 0x%02x at offset %zu",
                       (unsigned)(unsigned char)text.p[good], good);
    struct encoding e = {.t = t, .out = out};
    pre_run_init(&e.pre, &t->pre, encode_word, &e);
    buf_init(&e.work[0], 8 * TOKENIZER_TEXT_MAX);
    buf_init(&e.work[1], 8 * TOKENIZER_TEXT_MAX);
    if (specials) add_all(out, &t->before);
    int rc = encode_text(&e, text, err);
    if (!rc && specials) add_all(out, &t->after);
    bpe_scratch_release(&e.scratch);
    pre_run_release(&e.pre);
    buf_release(&e.work[0]);
    buf_release(&e.work[1]);
    return rc;
}

void token_list_add(struct token_list *l, int32_t id) {
    if ((size_t)l->n == l->cap)
        mem_grow((void **)&l->ids, &l->cap, (size_t)l->n + 1, sizeof *l->ids);
    l->ids[l->n++] = id;
}

void token_list_release(struct token_list *l) {
    mem_free(l->ids);
    *l = (struct token_list){0};
}

/* --- decoding -----------------------------------------------------------------------------------
 */

static bool has(const struct tokenizer *t, int32_t id) {
    return id >= 0 && id < t->size && t->tokens[id].p;
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int64_t n, bool skip_special,
                     struct buf *out, struct err *err) {
    struct pieces tokens;
    pieces_init(&tokens, 4 * TOKENIZER_TEXT_MAX);
    for (int64_t i = 0; i < n; i++)
        if (has(t, ids[i]) && !(skip_special && t->special[ids[i]]))
            pieces_add(&tokens, t->shown[ids[i]]);
    int rc = decode_pieces(&t->decoder, &tokens, out, err);
    pieces_release(&tokens);
    return rc;
}

/* --- looking up ---------------------------------------------------------------------------------
 */

struct str tokenizer_bytes(const struct tokenizer *t, int32_t id) {
    return has(t, id) ? t->raw[id] : (struct str){"", 0};
}

struct str tokenizer_token(const struct tokenizer *t, int32_t id) {
    return has(t, id) ? t->tokens[id] : (struct str){"", 0};
}

int64_t tokenizer_size(const struct tokenizer *t) { return t->size; }

int32_t tokenizer_find(const struct tokenizer *t, struct str token) {
    return str_map_find(&t->ids, token);
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id) {
    return has(t, id) && t->special[id];
}

static int32_t role_id(const struct tokenizer *t, const char *role) {
    const json_t *token = json_object_get(t->special_map, role);
    return token ? tokenizer_find(t, json_str(token)) : -1;
}

int32_t tokenizer_bos(const struct tokenizer *t) { return role_id(t, "bos_token"); }
int32_t tokenizer_eos(const struct tokenizer *t) { return role_id(t, "eos_token"); }
const json_t *tokenizer_special_map(const struct tokenizer *t) { return t->special_map; }
