/* The bytes of a tokenizer's tokens as a tree in preorder, and what is the same for every string.
 */
#include "text/grammar_int.h"

#include "base/utf8.h"
#include "text/tokenizer.h"
#include "text/tokenizer_int.h"

#include <stdlib.h>

#define TOKEN_BYTES_MAX 1024 /* longer ones are never offered */
#define NOT_INSIDE 255

/* Control tokens, also where a file forgot to call them special. */
static bool is_control(struct str s) {
    return s.n > 2 &&
           ((s.p[0] == '<' && s.p[s.n - 1] == '>') || (s.p[0] == '[' && s.p[s.n - 1] == ']'));
}

struct entry {
    struct str bytes;
    int32_t id;
};

static int compare(const void *x, const void *y) {
    const struct entry *a = x, *b = y;
    int c = str_cmp(a->bytes, b->bytes);
    return c ? c : a->id < b->id ? -1 : 1;
}

static struct entry *list_tokens(struct grammar_vocab *v, uint32_t *ret_count, size_t *ret_bytes) {
    bool *control = mem_zalloc((size_t)v->size + 1, sizeof *control);
    for (size_t i = 0; i < v->tokenizer->added_count; i++) {
        int32_t id = v->tokenizer->added[i].id;
        if (id >= 0 && id < v->size) control[id] = is_control(v->tokenizer->added[i].content);
    }
    struct entry *list = mem_zalloc((size_t)v->size + 1, sizeof *list);
    uint32_t n = 0;
    *ret_bytes = 0;
    for (int32_t id = 0; id < v->size; id++) {
        struct str bytes = tokenizer_bytes(v->tokenizer, id);
        if (!bytes.n || bytes.n > TOKEN_BYTES_MAX || control[id]) continue;
        if (tokenizer_is_special(v->tokenizer, id)) continue;
        list[n++] = (struct entry){bytes, id};
        *ret_bytes += bytes.n;
        v->usable[id >> 6] |= (uint64_t)1 << (id & 63);
    }
    mem_free(control);
    qsort(list, n, sizeof *list, compare);
    *ret_count = n;
    return list;
}

static size_t common(struct str a, struct str b) {
    size_t n = 0;
    while (n < a.n && n < b.n && a.p[n] == b.p[n]) n++;
    return n;
}

static uint32_t add_node(struct grammar_vocab *v, unsigned char byte, size_t depth) {
    v->byte[v->node_count] = byte;
    v->depth[v->node_count] = (uint16_t)depth;
    v->first[v->node_count] = v->token_count;
    return v->node_count++;
}

/* skip of the nodes on the path that are deeper than `depth`: here */
static void close_nodes(struct grammar_vocab *v, const uint32_t *path, size_t from, size_t to) {
    for (size_t d = from; d > to; d--) v->skip[path[d]] = v->node_count;
}

/* A node's own tokens come right after its making: those of node n are first[n] .. first[n + 1]. */
static void build_tree(struct grammar_vocab *v, const struct entry *list, uint32_t count) {
    uint32_t path[TOKEN_BYTES_MAX + 1];
    struct str before = STR_LIT("");
    path[0] = add_node(v, 0, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct str s = list[i].bytes;
        size_t keep = common(before, s);
        close_nodes(v, path, before.n, keep);
        for (size_t d = keep; d < s.n; d++) path[d + 1] = add_node(v, (unsigned char)s.p[d], d + 1);
        v->ids[v->token_count++] = list[i].id;
        if (s.n > v->longest) v->longest = (uint16_t)s.n;
        before = s;
    }
    close_nodes(v, path, before.n, 0);
    v->skip[0] = v->node_count;
    v->first[v->node_count] = v->token_count;
}

static void note_bytes(struct grammar_vocab *v, const struct entry *list, uint32_t count) {
    v->char_ids = mem_zalloc(count + 1, sizeof *v->char_ids);
    for (uint32_t i = 0; i < count; i++) {
        unsigned cp;
        struct str s = list[i].bytes;
        if (s.n == 1) v->writes[(unsigned char)s.p[0]] = true;
        if (s.n > 1 && utf8_get(s, &cp) == s.n) v->char_ids[v->char_count++] = list[i].id;
    }
    v->complete = v->writes['\n'];
    for (unsigned b = 0x20; b < 0xF5; b++)
        if (b != 0x7F && b != 0xC0 && b != 0xC1 && !v->writes[b]) v->complete = false;
}

/* --- inside a string -----------------------------------------------------------------------------
 */

/* states of the string's machine from which the vocabulary can write the rest of a character */
static void find_resting(const struct grammar_vocab *v, bool *rest) {
    rest[STRING_BODY] = true;
    for (bool changed = true; changed;) {
        changed = false;
        for (unsigned s = 0; s < STRING_END; s++)
            for (unsigned b = 0; b < 256 && !rest[s]; b++) {
                unsigned to = string_next(s, (unsigned char)b);
                if (to < STRING_END && v->writes[b] && rest[to]) rest[s] = changed = true;
            }
    }
}

static void note_quote(struct grammar_vocab *v, uint32_t node, unsigned chars) {
    if (v->skip[node] > node + 1) {
        v->quote_nodes[v->quote_count] = node;
        v->quote_chars[v->quote_count++] = (uint8_t)chars;
    }
    for (uint32_t i = v->first[node]; i < v->first[node + 1]; i++) {
        v->quote_ids[v->quote_id_count] = v->ids[i];
        v->quote_id_chars[v->quote_id_count++] = (uint8_t)chars;
        v->quote_bits[v->ids[i] >> 6] |= (uint64_t)1 << (v->ids[i] & 63);
    }
    if (chars > v->most_chars) v->most_chars = (uint8_t)chars;
}

static void note_inside(struct grammar_vocab *v, uint32_t node, unsigned chars) {
    for (uint32_t i = v->first[node]; i < v->first[node + 1]; i++) {
        v->inside[v->ids[i]] = (uint8_t)chars;
        v->inside_bits[v->ids[i] >> 6] |= (uint64_t)1 << (v->ids[i] & 63);
        if (chars > v->most_chars) v->most_chars = (uint8_t)chars;
    }
}

static void scan_strings(struct grammar_vocab *v) {
    uint8_t state[TOKEN_BYTES_MAX + 1] = {STRING_BODY};
    unsigned chars[TOKEN_BYTES_MAX + 1] = {0};
    bool rest[STRING_END + 1] = {false};
    find_resting(v, rest);
    for (uint32_t i = 1; i < v->node_count;) {
        unsigned d = v->depth[i], from = state[d - 1], to = string_next(from, v->byte[i]);
        unsigned count = chars[d - 1] + (from == STRING_BODY && to != STRING_END);
        if (to == STRING_END) note_quote(v, i, count);
        if (to >= STRING_END || count >= NOT_INSIDE) {
            i = v->skip[i];
            continue;
        }
        state[d] = (uint8_t)to;
        chars[d] = count;
        if (rest[to]) note_inside(v, i, count);
        i++;
    }
}

/* -------------------------------------------------------------------------------------------------
 */

static void reserve(struct grammar_vocab *v, uint32_t count, size_t bytes) {
    v->byte = mem_zalloc(bytes + 2, sizeof *v->byte);
    v->depth = mem_zalloc(bytes + 2, sizeof *v->depth);
    v->skip = mem_zalloc(bytes + 2, sizeof *v->skip);
    v->first = mem_zalloc(bytes + 2, sizeof *v->first);
    v->ids = mem_zalloc(count + 1, sizeof *v->ids);
}

static void shrink(struct grammar_vocab *v) {
    size_t n = v->node_count + 1;
    v->byte = mem_realloc(v->byte, n, sizeof *v->byte);
    v->depth = mem_realloc(v->depth, n, sizeof *v->depth);
    v->skip = mem_realloc(v->skip, n, sizeof *v->skip);
    v->first = mem_realloc(v->first, n, sizeof *v->first);
    v->quote_nodes = mem_zalloc(n, sizeof *v->quote_nodes);
    v->quote_chars = mem_zalloc(n, sizeof *v->quote_chars);
    v->quote_ids = mem_zalloc(v->token_count + 1u, sizeof *v->quote_ids);
    v->quote_id_chars = mem_zalloc(v->token_count + 1u, sizeof *v->quote_id_chars);
}

int grammar_vocab_new(const struct tokenizer *t, const int32_t *stops, int64_t stop_count,
                      struct grammar_vocab **ret, struct err *err) {
    struct grammar_vocab *v = mem_zalloc(1, sizeof *v);
    atomic_init(&v->refs, 1);
    v->tokenizer = t;
    v->size = tokenizer_size(t);
    size_t words = ((size_t)v->size + 63) / 64 + 1, bytes;
    uint32_t count;
    v->usable = mem_zalloc(words, 8);
    v->inside_bits = mem_zalloc(words, 8);
    v->quote_bits = mem_zalloc(words, 8);
    v->inside = mem_zalloc((size_t)v->size + 1, 1);
    memset(v->inside, NOT_INSIDE, (size_t)v->size);
    v->stops = mem_zalloc((size_t)stop_count + 1, sizeof *v->stops);
    v->stop_count = stop_count;
    if (stop_count) memcpy(v->stops, stops, (size_t)stop_count * sizeof *stops);
    struct entry *list = list_tokens(v, &count, &bytes);
    if (bytes < UINT32_MAX / 2) {
        reserve(v, count, bytes);
        build_tree(v, list, count);
        shrink(v);
        note_bytes(v, list, count);
        scan_strings(v);
    }
    mem_free(list);
    if (!v->token_count) {
        grammar_vocab_free(v);
        return err_set(err, ERR_UNSUPPORTED, "a vocabulary without tokens cannot write JSON");
    }
    *ret = v;
    return 0;
}

struct grammar_vocab *grammar_vocab_ref(struct grammar_vocab *v) {
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void grammar_vocab_free(struct grammar_vocab *v) {
    if (!v || atomic_fetch_sub(&v->refs, 1) > 1) return;
    mem_free(v->stops);
    mem_free(v->byte);
    mem_free(v->depth);
    mem_free(v->skip);
    mem_free(v->first);
    mem_free(v->ids);
    mem_free(v->usable);
    mem_free(v->inside);
    mem_free(v->inside_bits);
    mem_free(v->quote_bits);
    mem_free(v->quote_nodes);
    mem_free(v->quote_chars);
    mem_free(v->quote_ids);
    mem_free(v->quote_id_chars);
    mem_free(v->char_ids);
    mem_free(v);
}
