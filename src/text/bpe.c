#include "text/bpe.h"

#include "base/mem.h"
#include "text/charclass.h"

#include <assert.h>

#define FREE_PAIR UINT64_MAX
#define NO_RANK UINT32_MAX
#define SCAN_MAX 32 /* symbols; more go through the heap */

enum { WHOLE_UNKNOWN, WHOLE_YES, WHOLE_NO };

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static size_t pair_hash(uint64_t pair) {
    uint64_t h = pair * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 32);
}

void bpe_scratch_release(struct bpe_scratch *s) {
    mem_free(s->ids);
    mem_free(s->symbols);
    mem_free(s->heap);
    *s = (struct bpe_scratch){0};
}

void bpe_release(struct bpe *b) {
    str_map_release(&b->words);
    mem_free(b->whole);
    mem_free(b->merges.slots);
    mem_free(b->joins.slots);
    mem_free(b->pseudo);
}

/* --- the table of merges -------------------------------------------------------------------- */

static struct merge *merge_slot(const struct merge_map *m, uint64_t pair) {
    size_t i = pair_hash(pair) & (m->cap - 1);
    while (m->slots[i].pair != pair && m->slots[i].pair != FREE_PAIR) i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static void merge_map_grow(struct merge_map *m) {
    struct merge_map bigger = {.count = m->count, .cap = m->cap ? m->cap * 2 : 64};
    bigger.slots = mem_zalloc(bigger.cap, sizeof *bigger.slots);
    for (size_t i = 0; i < bigger.cap; i++) bigger.slots[i].pair = FREE_PAIR;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].pair != FREE_PAIR) *merge_slot(&bigger, m->slots[i].pair) = m->slots[i];
    mem_free(m->slots);
    *m = bigger;
}

void bpe_add_merge(struct bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    struct merge_map *m = &b->merges;
    if (m->count * 2 >= m->cap) merge_map_grow(m);
    struct merge *slot = merge_slot(m, pair_of(left, right));
    if (slot->pair == FREE_PAIR) m->count++;
    *slot = (struct merge){pair_of(left, right), rank, id};
}

const struct merge *bpe_find_merge(const struct bpe *b, int32_t left, int32_t right) {
    if (!b->merges.cap) return NULL;
    const struct merge *m = merge_slot(&b->merges, pair_of(left, right));
    return m->pair == FREE_PAIR ? NULL : m;
}

/* --- where a text can be cut ------------------------------------------------------------------ */

static unsigned near_index(unsigned cp) { return cp < 128 ? cp : cp == 0x2581 ? 128 : BPE_NEAR; }

static bool pair_set_has(const struct pair_set *s, uint64_t pair) {
    if (!s->cap) return false;
    size_t i = pair_hash(pair) & (s->cap - 1);
    while (s->slots[i] != pair && s->slots[i] != FREE_PAIR) i = (i + 1) & (s->cap - 1);
    return s->slots[i] == pair;
}

static void pair_set_put(struct pair_set *s, uint64_t pair) {
    if (s->count * 2 >= s->cap) {
        struct pair_set bigger = {.cap = s->cap ? s->cap * 2 : 64};
        bigger.slots = mem_alloc(bigger.cap * sizeof *bigger.slots);
        memset(bigger.slots, 0xFF, bigger.cap * sizeof *bigger.slots);
        for (size_t i = 0; i < s->cap; i++)
            if (s->slots[i] != FREE_PAIR) pair_set_put(&bigger, s->slots[i]);
        mem_free(s->slots);
        *s = bigger;
    }
    size_t i = pair_hash(pair) & (s->cap - 1);
    while (s->slots[i] != pair && s->slots[i] != FREE_PAIR) i = (i + 1) & (s->cap - 1);
    if (s->slots[i] == FREE_PAIR) s->count++;
    s->slots[i] = pair;
}

static void note_join(struct bpe *b, unsigned left, unsigned right) {
    unsigned l = near_index(left), r = near_index(right);
    if (l < BPE_NEAR && r < BPE_NEAR)
        b->near[l][r] = 1;
    else
        pair_set_put(&b->joins, (uint64_t)left << 32 | right);
}

static bool may_join(const struct bpe *b, unsigned left, unsigned right) {
    unsigned l = near_index(left), r = near_index(right);
    if (l < BPE_NEAR && r < BPE_NEAR) return b->near[l][r];
    return pair_set_has(&b->joins, (uint64_t)left << 32 | right);
}

static struct str symbol_form(const struct bpe *b, const struct str *forms, int32_t id) {
    return id < b->size ? forms[id] : b->pseudo[id - b->size];
}

/* Which characters some merge brings together. Sound only while each symbol's form begins and ends
 * with the characters it stands for: not for merges of fallback bytes or of the unknown token. */
static void find_cuts(struct bpe *b, const struct str *forms) {
    if (b->bytes || b->ignore_merges || b->prefix.n || b->suffix.n) return;
    size_t symbols = (size_t)b->size + (size_t)b->pseudo_count;
    bool *opaque = mem_zalloc(symbols + 1, sizeof *opaque);
    for (int i = 0; i < 256 && b->byte_fallback; i++)
        if (b->byte_ids[i] >= 0) opaque[b->byte_ids[i]] = true;
    if (b->unk >= 0) opaque[b->unk] = true;
    b->cuts = true;
    for (size_t i = 0; i < b->merges.cap; i++) {
        if (b->merges.slots[i].pair == FREE_PAIR) continue;
        int32_t left = (int32_t)(b->merges.slots[i].pair >> 32);
        int32_t right = (int32_t)(b->merges.slots[i].pair & UINT32_MAX);
        if (opaque[left] || opaque[right]) b->cuts = false;
        struct str l = symbol_form(b, forms, left), r = symbol_form(b, forms, right);
        size_t n;
        if (!l.n || !r.n) continue;
        note_join(b, char_at(l.p + char_last(l), &n), char_at(r.p, &n));
    }
    mem_free(opaque);
}

void bpe_finish(struct bpe *b, const struct str *forms) {
    b->whole = mem_zalloc((size_t)b->size + 1, sizeof *b->whole);
    for (int i = 0; i < 128; i++) {
        char c = (char)i;
        b->ascii_ids[i] = str_map_find(&b->words, (struct str){&c, 1});
    }
    for (int i = 0; i < 256; i++) {
        char c = (char)i, code[8];
        snprintf(code, sizeof code, "<0x%02X>", (unsigned)i);
        b->byte_ids[i] = str_map_find(&b->words, b->bytes ? (struct str){&c, 1} : str_of(code));
    }
    b->vanish = b->unk < 0;
    if (b->byte_fallback && b->vanish) {
        b->vanish = false;
        for (int i = 0; i < 256; i++) b->vanish |= b->byte_ids[i] < 0;
    }
    find_cuts(b, forms);
}

/* --- symbols of a word -------------------------------------------------------------------------
 */

struct symbols {
    const struct bpe *bpe;
    int32_t *ids;
    size_t n;
    bool unk_waits; /* an unknown token not yet written: the next unknown may join it */
};

static void add_unknown(struct symbols *s, struct str form) {
    const struct bpe *b = s->bpe;
    bool all = b->byte_fallback;
    for (size_t i = 0; all && i < form.n; i++) all = b->byte_ids[(unsigned char)form.p[i]] >= 0;
    if (all) {
        for (size_t i = 0; i < form.n; i++) s->ids[s->n++] = b->byte_ids[(unsigned char)form.p[i]];
        return;
    }
    if (b->unk < 0) return;
    if (s->unk_waits && !b->fuse_unk) s->ids[s->n++] = b->unk;
    s->unk_waits = true;
}

static void add_known(struct symbols *s, int32_t id) {
    if (s->unk_waits) s->ids[s->n++] = s->bpe->unk;
    s->unk_waits = false;
    s->ids[s->n++] = id;
}

/* with continuing_subword_prefix and end_of_word_suffix */
static int32_t affixed_id(const struct bpe *b, struct str c, bool first, bool last,
                          struct buf *form) {
    buf_clear(form);
    if (!first) buf_str(form, b->prefix);
    buf_str(form, c);
    if (last) buf_str(form, b->suffix);
    return str_map_find(&b->words, buf_view(form));
}

static size_t character_symbols(const struct bpe *b, struct str word, int32_t *ids) {
    struct symbols s = {.bpe = b, .ids = ids};
    bool affixes = b->prefix.n || b->suffix.n;
    struct buf form;
    buf_init(&form, 8 + b->prefix.n + b->suffix.n);
    for (size_t at = 0, n; at < word.n; at += n) {
        unsigned cp = char_at(word.p + at, &n);
        struct str c = {word.p + at, n};
        int32_t id;
        if (affixes)
            id = affixed_id(b, c, at == 0, at + n == word.n, &form);
        else
            id = cp < 128 ? b->ascii_ids[cp] : str_map_find(&b->words, c);
        if (id >= 0)
            add_known(&s, id);
        else
            add_unknown(&s, affixes ? buf_view(&form) : c);
    }
    if (s.unk_waits) s.ids[s.n++] = b->unk;
    buf_release(&form);
    return s.n;
}

static size_t byte_symbols(const struct bpe *b, struct str word, int32_t *ids) {
    struct symbols s = {.bpe = b, .ids = ids};
    for (size_t i = 0; i < word.n; i++) {
        int32_t id = b->byte_ids[(unsigned char)word.p[i]];
        if (id >= 0)
            add_known(&s, id);
        else
            add_unknown(&s, (struct str){word.p + i, 1});
    }
    if (s.unk_waits) s.ids[s.n++] = b->unk;
    return s.n;
}

/* --- merging -----------------------------------------------------------------------------------
 */

/* In place; returns how many are left. */
static size_t merge_by_scanning(const struct bpe *b, int32_t *ids, size_t n) {
    uint32_t ranks[SCAN_MAX];
    int32_t merged[SCAN_MAX];
    for (size_t i = 0; i + 1 < n; i++) {
        const struct merge *m = bpe_find_merge(b, ids[i], ids[i + 1]);
        ranks[i] = m ? m->rank : NO_RANK;
        merged[i] = m ? m->id : -1;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NO_RANK) break;
        ids[best] = merged[best];
        n--;
        size_t after = n - best - 1; /* symbols behind the new one */
        memmove(ids + best + 1, ids + best + 2, after * sizeof *ids);
        memmove(ranks + best, ranks + best + 1, after * sizeof *ranks);
        memmove(merged + best, merged + best + 1, after * sizeof *merged);
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct merge *m = bpe_find_merge(b, ids[i], ids[i + 1]);
            ranks[i] = m ? m->rank : NO_RANK;
            merged[i] = m ? m->id : -1;
        }
    }
    return n;
}

static void heap_sift_down(struct bpe_scratch *s, size_t i) {
    struct bpe_heap_item item = s->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->heap_count) break;
        if (child + 1 < s->heap_count && s->heap[child + 1].order < s->heap[child].order) child++;
        if (s->heap[child].order >= item.order) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = item;
}

static void heap_push(struct bpe_scratch *s, struct bpe_heap_item item) {
    mem_grow((void **)&s->heap, &s->heap_cap, s->heap_count + 1, sizeof *s->heap);
    size_t i = s->heap_count++;
    for (; i && s->heap[(i - 1) / 2].order > item.order; i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = item;
}

static struct bpe_heap_item heap_pop(struct bpe_scratch *s) {
    struct bpe_heap_item top = s->heap[0];
    s->heap[0] = s->heap[--s->heap_count];
    if (s->heap_count) heap_sift_down(s, 0);
    return top;
}

static bool pair_item(const struct bpe *b, const struct bpe_symbol *symbols, int32_t at,
                      struct bpe_heap_item *ret) {
    int32_t next = symbols[at].next;
    if (next < 0) return false;
    const struct merge *m = bpe_find_merge(b, symbols[at].id, symbols[next].id);
    if (!m) return false;
    *ret = (struct bpe_heap_item){(uint64_t)m->rank << 32 | (uint32_t)at, symbols[next].id, m->id};
    return true;
}

static void fill_heap(const struct bpe *b, struct bpe_scratch *s, const int32_t *ids, size_t n) {
    mem_grow((void **)&s->symbols, &s->symbol_cap, n, sizeof *s->symbols);
    mem_grow((void **)&s->heap, &s->heap_cap, n, sizeof *s->heap);
    for (size_t i = 0; i < n; i++)
        s->symbols[i] =
            (struct bpe_symbol){ids[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
    s->heap_count = 0;
    for (size_t i = 0; i < n; i++)
        if (pair_item(b, s->symbols, (int32_t)i, &s->heap[s->heap_count])) s->heap_count++;
    for (size_t i = s->heap_count / 2; i-- > 0;) heap_sift_down(s, i);
}

/* An entry is stale when its left symbol is gone or its pair is no longer what it was. */
static bool is_current(const struct bpe *b, const struct bpe_symbol *symbols,
                       const struct bpe_heap_item *item) {
    const struct bpe_symbol *left = &symbols[item->order & UINT32_MAX];
    if (left->id < 0 || left->next < 0 || symbols[left->next].id != item->right) return false;
    const struct merge *m = bpe_find_merge(b, left->id, item->right);
    return m && m->id == item->id;
}

static size_t merge_by_heap(const struct bpe *b, struct bpe_scratch *s, int32_t *ids, size_t n) {
    fill_heap(b, s, ids, n);
    while (s->heap_count) {
        struct bpe_heap_item item = heap_pop(s);
        if (!is_current(b, s->symbols, &item)) continue;
        int32_t at = (int32_t)(item.order & UINT32_MAX);
        struct bpe_symbol *left = &s->symbols[at], *right = &s->symbols[left->next];
        left->id = item.id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) s->symbols[left->next].prev = at;
        if (left->prev >= 0 && pair_item(b, s->symbols, left->prev, &item)) heap_push(s, item);
        if (pair_item(b, s->symbols, at, &item)) heap_push(s, item);
    }
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (s->symbols[i].id >= 0) ids[left++] = s->symbols[i].id;
    return left;
}

/* --- words and texts ---------------------------------------------------------------------------
 */

static void emit(const struct bpe *b, int32_t id, struct token_list *out) {
    if (id < b->size) {
        token_list_add(out, id);
        return;
    }
    struct str bytes = b->pseudo[id - b->size];
    for (size_t i = 0; i < bytes.n; i++) {
        int32_t byte = b->byte_ids[(unsigned char)bytes.p[i]];
        if (byte < 0) byte = b->unk;
        if (byte >= 0) token_list_add(out, byte);
    }
}

static void encode_word(const struct bpe *b, struct bpe_scratch *s, struct str word,
                        struct token_list *out) {
    int32_t whole = str_map_find(&b->words, word);
    if (whole >= b->size) whole = -1;
    if (whole >= 0 && (b->ignore_merges ||
                       atomic_load_explicit(&b->whole[whole], memory_order_relaxed) == WHOLE_YES)) {
        token_list_add(out, whole);
        return;
    }
    int32_t few[SCAN_MAX];
    int32_t *ids = few;
    size_t most = word.n;
    if (b->byte_fallback) most += word.n * b->prefix.n + b->suffix.n;
    if (most > SCAN_MAX) {
        mem_grow((void **)&s->ids, &s->id_cap, most, sizeof *s->ids);
        ids = s->ids;
    }
    size_t n = b->bytes ? byte_symbols(b, word, ids) : character_symbols(b, word, ids);
    n = n <= SCAN_MAX ? merge_by_scanning(b, ids, n) : merge_by_heap(b, s, ids, n);
    for (size_t i = 0; i < n; i++) emit(b, ids[i], out);
    if (whole >= 0) {
        bool same = n == 1 && ids[0] == whole;
        atomic_store_explicit(&b->whole[whole], same ? WHOLE_YES : WHOLE_NO, memory_order_relaxed);
    }
}

static bool is_known(const struct bpe *b, unsigned cp, struct str c) {
    return cp < 128 ? b->ascii_ids[cp] >= 0 : str_map_find(&b->words, c) >= 0;
}

/* Only before a known character: unknown ones may become one unknown token, and theirs comes after
 * the fallback bytes of those that follow. Where they leave no symbol, what is around them joins.
 */
static bool can_cut(const struct bpe *b, unsigned left, struct str left_char, unsigned right,
                    struct str right_char) {
    return !may_join(b, left, right) && is_known(b, right, right_char) &&
           (!b->vanish || is_known(b, left, left_char));
}

void bpe_encode(const struct bpe *b, struct bpe_scratch *s, struct str text,
                struct token_list *out) {
    if (!text.n) return;
    if (!b->cuts) {
        encode_word(b, s, text, out);
        return;
    }
    size_t start = 0, left_n, n;
    unsigned left = char_at(text.p, &left_n);
    for (size_t at = left_n; at < text.n; at += n) {
        unsigned right = char_at(text.p + at, &n);
        struct str left_char = {text.p + at - left_n, left_n};
        if (can_cut(b, left, left_char, right, (struct str){text.p + at, n})) {
            encode_word(b, s, (struct str){text.p + start, at - start}, out);
            start = at;
        }
        left = right;
        left_n = n;
    }
    encode_word(b, s, (struct str){text.p + start, text.n - start}, out);
}
