#include "text/added.h"

#include "base/mem.h"
#include "text/charclass.h"

#define SMALL 256 /* pattern lengths kept as bits */

void added_set_release(struct added_set *s) {
    str_map_release(&s->map);
    mem_free(s->rare);
}

static void note_rare_length(struct added_set *s, size_t n) {
    size_t i = 0;
    while (i < s->rare_count && s->rare[i] > n) i++;
    if (i < s->rare_count && s->rare[i] == n) return;
    mem_grow((void **)&s->rare, &s->rare_cap, s->rare_count + 1, sizeof *s->rare);
    memmove(s->rare + i + 1, s->rare + i, (s->rare_count - i) * sizeof *s->rare);
    s->rare[i] = n;
    s->rare_count++;
}

void added_set_put(struct added_set *s, struct str pattern, int32_t index) {
    if (!pattern.n) return;
    if (str_map_find(&s->map, pattern) < 0) str_map_put(&s->map, pattern, index);
    s->first[(unsigned char)pattern.p[0]] = true;
    if (pattern.n <= SMALL)
        s->lengths[(pattern.n - 1) / 64] |= (uint64_t)1 << (pattern.n - 1) % 64;
    else
        note_rare_length(s, pattern.n);
}

static int32_t try_length(const struct added_set *s, struct str text, size_t n) {
    return n <= text.n ? str_map_find(&s->map, (struct str){text.p, n}) : -1;
}

/* The longest pattern at the start of text; -1: none. */
static int32_t longest(const struct added_set *s, struct str text, size_t *ret_n) {
    int32_t index;
    for (size_t i = 0; i < s->rare_count; i++)
        if ((index = try_length(s, text, s->rare[i])) >= 0) return *ret_n = s->rare[i], index;
    for (int w = 3; w >= 0; w--) {
        for (uint64_t bits = s->lengths[w]; bits;) {
            int top = 63 - __builtin_clzll(bits);
            size_t n = (size_t)w * 64 + (size_t)top + 1;
            if ((index = try_length(s, text, n)) >= 0) return *ret_n = n, index;
            bits &= ~((uint64_t)1 << top);
        }
    }
    return -1;
}

static bool class_before(struct str text, size_t at, unsigned bits) {
    size_t n;
    return at && (char_class(char_at(text.p + char_last((struct str){text.p, at}), &n)) & bits);
}

static bool class_after(struct str text, size_t at, unsigned bits) {
    size_t n;
    return at < text.n && (char_class(char_at(text.p + at, &n)) & bits);
}

static void take_spaces(const struct added_token *t, struct str text, size_t taken,
                        struct added_hit *hit) {
    size_t n;
    if (t->lstrip)
        while (hit->start > taken && class_before(text, hit->start, CH_SPACE))
            hit->start = char_last((struct str){text.p, hit->start});
    if (!t->rstrip) return;
    while (class_after(text, hit->end, CH_SPACE)) {
        char_at(text.p + hit->end, &n);
        hit->end += n;
    }
}

bool added_set_find(const struct added_set *s, const struct added_token *tokens, struct str text,
                    size_t *from, size_t taken, struct added_hit *ret) {
    if (!s->map.count) return false;
    for (size_t at = *from, n; at < text.n; at++) {
        if (!s->first[(unsigned char)text.p[at]]) continue;
        int32_t index = longest(s, str_from(text, at), &n);
        if (index < 0) continue;
        const struct added_token *t = &tokens[index];
        if (t->single_word &&
            (class_before(text, at, CH_WORD) || class_after(text, at + n, CH_WORD))) {
            at += n - 1; /* not a word by itself: the search goes on behind it */
            continue;
        }
        *from = at + n;
        *ret = (struct added_hit){at, at + n, index};
        take_spaces(t, text, taken, ret);
        return true;
    }
    return false;
}
