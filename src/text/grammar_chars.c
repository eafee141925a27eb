/* Languages of string values: automata over code points, and how they are spelled in JSON. */
#include "text/grammar_int.h"

#include "base/utf8.h"

#include <stdlib.h>

void chars_release(struct chars *c) {
    mem_free(c->rows);
    mem_free(c->edges);
    *c = (struct chars){0};
}

uint32_t chars_row(struct chars *c, bool accept) {
    mem_grow((void **)&c->rows, &c->row_cap, c->row_count + 1, sizeof *c->rows);
    c->rows[c->row_count] = (struct char_row){c->edge_count, 0, accept};
    return c->row_count++;
}

void chars_edge(struct chars *c, uint32_t lo, uint32_t hi, uint32_t to) {
    struct char_row *row = &c->rows[c->row_count - 1];
    if (row->count) {
        struct char_edge *last = &c->edges[c->edge_count - 1];
        if (last->to == to && last->hi + 1 == lo) {
            last->hi = hi;
            return;
        }
    }
    mem_grow((void **)&c->edges, &c->edge_cap, c->edge_count + 1, sizeof *c->edges);
    c->edges[c->edge_count++] = (struct char_edge){lo, hi, to};
    row->count++;
}

void chars_length(uint32_t min, uint32_t max, struct chars *ret) {
    *ret = (struct chars){0};
    uint32_t last = max == COUNT_MAX ? min : max;
    for (uint32_t i = 0; i <= last; i++) {
        chars_row(ret, i >= min);
        if (i < last)
            chars_edge(ret, 1, 0x10FFFF, i + 1);
        else if (max == COUNT_MAX)
            chars_edge(ret, 1, 0x10FFFF, i);
    }
}

static uint32_t next_row(const struct chars *c, uint32_t row, uint32_t cp) {
    uint32_t lo = c->rows[row].first, hi = lo + c->rows[row].count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (cp > c->edges[mid].hi)
            lo = mid + 1;
        else
            hi = mid;
    }
    bool hit = lo < c->rows[row].first + c->rows[row].count && cp >= c->edges[lo].lo;
    return hit ? c->edges[lo].to : NO_STATE;
}

bool chars_match(const struct chars *c, struct str utf8) {
    uint32_t row = 0;
    while (utf8.n && row != NO_STATE) {
        unsigned cp = 0;
        size_t n = utf8_get(utf8, &cp);
        if (!n || !cp) return false;
        row = next_row(c, row, cp);
        utf8 = str_from(utf8, n);
    }
    return row != NO_STATE && c->rows[row].accept;
}

void chars_not(const struct chars *a, struct chars *ret) {
    *ret = (struct chars){0};
    uint32_t all = a->row_count;
    for (uint32_t r = 0; r < a->row_count; r++) {
        uint32_t at = 1;
        chars_row(ret, !a->rows[r].accept);
        for (uint32_t i = 0; i < a->rows[r].count; i++) {
            const struct char_edge *e = &a->edges[a->rows[r].first + i];
            if (e->lo > at) chars_edge(ret, at, e->lo - 1, all);
            chars_edge(ret, e->lo, e->hi, e->to);
            at = e->hi + 1;
        }
        if (at <= 0x10FFFF) chars_edge(ret, at, 0x10FFFF, all);
    }
    chars_row(ret, true);
    chars_edge(ret, 1, 0x10FFFF, all);
}

/* --- both of two ---------------------------------------------------------------------------------
 */

struct pairs {
    uint64_t *list; /* of row numbers, a's << 32 | b's */
    uint32_t count, *slots, size;
    size_t cap;
};

static uint32_t pair_put(struct pairs *p, uint32_t a, uint32_t b) {
    uint64_t key = (uint64_t)a << 32 | b;
    if (2 * (p->count + 1) > p->size) {
        p->size = p->size ? 2 * p->size : 64;
        mem_free(p->slots);
        p->slots = mem_zalloc(p->size, sizeof *p->slots);
        for (uint32_t i = 0; i < p->count; i++) {
            uint32_t at = (uint32_t)(p->list[i] * 0x9E3779B97F4A7C15u >> 40) & (p->size - 1);
            while (p->slots[at]) at = (at + 1) & (p->size - 1);
            p->slots[at] = i + 1;
        }
    }
    uint32_t at = (uint32_t)(key * 0x9E3779B97F4A7C15u >> 40) & (p->size - 1);
    for (; p->slots[at]; at = (at + 1) & (p->size - 1))
        if (p->list[p->slots[at] - 1] == key) return p->slots[at] - 1;
    mem_grow((void **)&p->list, &p->cap, p->count + 1, sizeof *p->list);
    p->list[p->count] = key;
    p->slots[at] = ++p->count;
    return p->count - 1;
}

static void join_rows(const struct chars *a, const struct chars *b, uint64_t key, struct pairs *p,
                      struct chars *ret) {
    const struct char_row *x = &a->rows[key >> 32], *y = &b->rows[(uint32_t)key];
    uint32_t i = x->first, k = y->first;
    chars_row(ret, x->accept && y->accept);
    while (i < x->first + x->count && k < y->first + y->count) {
        const struct char_edge *e = &a->edges[i], *f = &b->edges[k];
        uint32_t lo = e->lo > f->lo ? e->lo : f->lo, hi = e->hi < f->hi ? e->hi : f->hi;
        if (lo <= hi) chars_edge(ret, lo, hi, pair_put(p, e->to, f->to));
        if (e->hi < f->hi)
            i++;
        else
            k++;
    }
}

int chars_both(const struct chars *a, const struct chars *b, struct chars *ret, struct err *err) {
    struct pairs p = {0};
    int rc = 0;
    *ret = (struct chars){0};
    pair_put(&p, 0, 0);
    for (uint32_t i = 0; !rc && i < p.count; i++) {
        join_rows(a, b, p.list[i], &p, ret);
        if (p.count > CHARS_ROWS_MAX || ret->edge_count > CHARS_EDGES_MAX)
            rc = err_set(err, ERR_LIMIT, "pattern, format and length together are too large");
    }
    mem_free(p.list);
    mem_free(p.slots);
    if (rc) chars_release(ret);
    return rc;
}

/* --- names ---------------------------------------------------------------------------------------
 */

static int compare_names(const void *x, const void *y) {
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* names[from, to) share their first `at` bytes: rows of a tree, depth first */
struct name_work {
    size_t from, to, at;
};

static void name_row(const struct str *names, struct name_work w, struct name_work *queue,
                     size_t *count, struct chars *ret) {
    bool accept = false;
    while (w.from < w.to && names[w.from].n == w.at) {
        accept = true;
        w.from++;
    }
    chars_row(ret, accept);
    for (size_t i = w.from, end; i < w.to; i = end) {
        unsigned cp = 0, other;
        size_t n = utf8_get(str_from(names[i], w.at), &cp);
        for (end = i + 1; end < w.to; end++)
            if (!utf8_get(str_from(names[end], w.at), &other) || other != cp) break;
        if (!n || !cp) continue;
        chars_edge(ret, cp, cp, (uint32_t)*count);
        queue[(*count)++] = (struct name_work){i, end, w.at + n};
    }
}

void chars_names(const struct str *names, size_t count, struct chars *ret) {
    struct str *sorted = mem_zalloc(count + 1, sizeof *sorted);
    size_t rows = 1, bytes = 1;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = names[i];
        bytes += names[i].n;
    }
    if (count) qsort(sorted, count, sizeof *sorted, compare_names);
    struct name_work *queue = mem_zalloc(bytes + 1, sizeof *queue);
    *ret = (struct chars){0};
    queue[0] = (struct name_work){0, count, 0};
    for (size_t i = 0; i < rows; i++) name_row(sorted, queue[i], queue, &rows, ret);
    mem_free(queue);
    mem_free(sorted);
}

/* --- bytes ---------------------------------------------------------------------------------------
 */

struct speller {
    struct automaton *a;
    uint32_t to;     /* where a character leads */
    uint32_t *tail;  /* [4] any 1, 2, 3 bytes 80..BF and then `to`; NO_STATE: not yet made */
    uint32_t escape; /* behind a backslash */
};

static uint32_t tail(struct speller *p, unsigned n) {
    if (!n) return p->to;
    if (p->tail[n] == NO_STATE) {
        uint32_t next = tail(p, n - 1);
        p->tail[n] = build_state(p->a);
        build_byte(p->a, p->tail[n], 0x80, 0xBF, next);
    }
    return p->tail[n];
}

/* lo..hi have n bytes each and share the first `at` */
static void split(struct speller *p, uint32_t s, const char *lo, const char *hi, unsigned at,
                  unsigned n) {
    unsigned a = (unsigned char)lo[at], b = (unsigned char)hi[at], left = n - at - 1;
    if (!left) {
        build_byte(p->a, s, a, b, p->to);
        return;
    }
    if (a == b) {
        split(p, build_branch(p->a, s, a), lo, hi, at + 1, n);
        return;
    }
    bool low_full = true, high_full = true;
    for (unsigned i = at + 1; i < n; i++) {
        if ((unsigned char)lo[i] != 0x80) low_full = false;
        if ((unsigned char)hi[i] != 0xBF) high_full = false;
    }
    char full[4] = {0};
    if (!low_full) {
        memcpy(full, lo, at + 1);
        memset(full + at + 1, 0xBF, left);
        split(p, build_branch(p->a, s, a), lo, full, at + 1, n);
        a++;
    }
    if (!high_full) {
        memcpy(full, hi, at + 1);
        memset(full + at + 1, 0x80, left);
        split(p, build_branch(p->a, s, b), full, hi, at + 1, n);
        b--;
    }
    if (a <= b) build_byte(p->a, s, a, b, tail(p, left));
}

static void put_raw(struct speller *p, uint32_t s, uint32_t lo, uint32_t hi) {
    static const uint32_t ends[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF, 0x10FFFF};
    for (size_t i = 0; i < sizeof ends / sizeof *ends && lo <= hi; i++) {
        uint32_t end = hi < ends[i] ? hi : ends[i];
        char a[4], b[4];
        if (lo > ends[i]) continue;
        if (i != 3) { /* not the surrogates */
            size_t n = utf8_put(lo, a);
            utf8_put(end, b);
            split(p, s, a, b, 0, (unsigned)n);
        }
        lo = end + 1;
    }
}

static const char short_escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";

static char short_escape(uint32_t cp) {
    for (const char *e = short_escapes; *e; e += 2)
        if ((uint32_t)(unsigned char)*e == cp) return e[1];
    return 0;
}

static void put_escaped(struct speller *p, uint32_t s, uint32_t cp) {
    if (p->escape == NO_STATE) p->escape = build_branch(p->a, s, '\\');
    char letter = short_escape(cp);
    if (letter) {
        build_byte(p->a, p->escape, (unsigned char)letter, (unsigned char)letter, p->to);
        return;
    }
    uint32_t at = p->escape;
    for (const char *c = "u00"; *c; c++) at = build_branch(p->a, at, (unsigned char)*c);
    at = build_branch(p->a, at, '0' + (cp >> 4));
    unsigned digit = cp & 15;
    build_byte(p->a, at, digit < 10 ? '0' + digit : 'a' + digit - 10,
               digit < 10 ? '0' + digit : 'a' + digit - 10, p->to);
    if (digit >= 10) build_byte(p->a, at, 'A' + digit - 10, 'A' + digit - 10, p->to);
}

static void put_range(struct speller *p, uint32_t s, uint32_t lo, uint32_t hi) {
    for (; lo <= hi && lo < 0x20; lo++) put_escaped(p, s, lo);
    for (const char *c = "\"\\"; *c; c++) { /* rising */
        uint32_t cp = (unsigned char)*c;
        if (lo > cp || hi < cp) continue;
        if (lo < cp) put_raw(p, s, lo, cp - 1);
        put_escaped(p, s, cp);
        lo = cp + 1;
    }
    if (lo <= hi) put_raw(p, s, lo, hi);
}

void build_chars(struct automaton *a, uint32_t s, const struct chars *c, uint32_t to) {
    uint32_t *states = mem_zalloc(c->row_count, sizeof *states);
    uint32_t *tails = mem_zalloc(4 * (size_t)c->row_count, sizeof *tails);
    memset(tails, 0xFF, 4 * c->row_count * sizeof *tails);
    states[0] = s;
    for (uint32_t r = 1; r < c->row_count; r++) states[r] = build_state(a);
    for (uint32_t r = 0; r < c->row_count && !a->over; r++) {
        if (c->rows[r].accept) build_byte(a, states[r], '"', '"', to);
        for (uint32_t i = 0; i < c->rows[r].count && !a->over; i++) {
            const struct char_edge *e = &c->edges[c->rows[r].first + i];
            struct speller p = {a, states[e->to], tails + 4 * e->to, NO_STATE};
            put_range(&p, states[r], e->lo, e->hi);
        }
    }
    mem_free(states);
    mem_free(tails);
}

void chars_spell(struct buf *b, struct str utf8) {
    for (size_t i = 0; i < utf8.n; i++) {
        unsigned char c = (unsigned char)utf8.p[i];
        char letter = short_escape(c);
        if (letter && c) {
            buf_byte(b, '\\');
            buf_byte(b, letter);
        } else if (c < 0x20) {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_byte(b, (char)c);
        }
    }
}

/* --- any string ----------------------------------------------------------------------------------
 */

/* The inside of a string as a table of ranges. Escapes may name any character but U+0000, which
 * many programs cannot hold, and halves of surrogate pairs only in pairs. */
enum {
    U1 = 1,
    U2,
    E0,
    ED,
    F0,
    U3,
    F4,
    ESCAPE,
    X1,
    X2,
    X3,
    X4,
    Z2,
    Z3,
    Z4,
    XD,
    H3,
    H4,
    LOW,
    LOW_U,
    L1,
    L2,
    STRING_STATES
};

static const struct {
    uint8_t from, lo, hi, to;
} inside[] = {
    {STRING_BODY, '"', '"', STRING_END},
    {STRING_BODY, '\\', '\\', ESCAPE},
    {STRING_BODY, 0x20, 0x21, STRING_BODY},
    {STRING_BODY, 0x23, 0x5B, STRING_BODY},
    {STRING_BODY, 0x5D, 0x7F, STRING_BODY},
    {STRING_BODY, 0xC2, 0xDF, U1},
    {STRING_BODY, 0xE0, 0xE0, E0},
    {STRING_BODY, 0xE1, 0xEC, U2},
    {STRING_BODY, 0xED, 0xED, ED},
    {STRING_BODY, 0xEE, 0xEF, U2},
    {STRING_BODY, 0xF0, 0xF0, F0},
    {STRING_BODY, 0xF1, 0xF3, U3},
    {STRING_BODY, 0xF4, 0xF4, F4},
    {U1, 0x80, 0xBF, STRING_BODY},
    {U2, 0x80, 0xBF, U1},
    {U3, 0x80, 0xBF, U2},
    {E0, 0xA0, 0xBF, U1},
    {ED, 0x80, 0x9F, U1},
    {F0, 0x90, 0xBF, U2},
    {F4, 0x80, 0x8F, U2},
    {ESCAPE, '"', '"', STRING_BODY},
    {ESCAPE, '\\', '\\', STRING_BODY},
    {ESCAPE, '/', '/', STRING_BODY},
    {ESCAPE, 'b', 'b', STRING_BODY},
    {ESCAPE, 'f', 'f', STRING_BODY},
    {ESCAPE, 'n', 'n', STRING_BODY},
    {ESCAPE, 'r', 'r', STRING_BODY},
    {ESCAPE, 't', 't', STRING_BODY},
    {ESCAPE, 'u', 'u', X1},
    {X1, '0', '0', Z2},
    {X1, '1', '9', X2},
    {X1, 'a', 'c', X2},
    {X1, 'A', 'C', X2},
    {X1, 'e', 'f', X2},
    {X1, 'E', 'F', X2},
    {X1, 'd', 'd', XD},
    {X1, 'D', 'D', XD},
    {X2, '0', '9', X3},
    {X2, 'a', 'f', X3},
    {X2, 'A', 'F', X3},
    {X3, '0', '9', X4},
    {X3, 'a', 'f', X4},
    {X3, 'A', 'F', X4},
    {X4, '0', '9', STRING_BODY},
    {X4, 'a', 'f', STRING_BODY},
    {X4, 'A', 'F', STRING_BODY},
    {Z2, '0', '0', Z3},
    {Z2, '1', '9', X3},
    {Z2, 'a', 'f', X3},
    {Z2, 'A', 'F', X3},
    {Z3, '0', '0', Z4},
    {Z3, '1', '9', X4},
    {Z3, 'a', 'f', X4},
    {Z3, 'A', 'F', X4},
    {Z4, '1', '9', STRING_BODY},
    {Z4, 'a', 'f', STRING_BODY},
    {Z4, 'A', 'F', STRING_BODY},
    {XD, '0', '7', X3},
    {XD, '8', '9', H3},
    {XD, 'a', 'b', H3},
    {XD, 'A', 'B', H3},
    {H3, '0', '9', H4},
    {H3, 'a', 'f', H4},
    {H3, 'A', 'F', H4},
    {H4, '0', '9', LOW},
    {H4, 'a', 'f', LOW},
    {H4, 'A', 'F', LOW},
    {LOW, '\\', '\\', LOW_U},
    {LOW_U, 'u', 'u', L1},
    {L1, 'd', 'd', L2},
    {L1, 'D', 'D', L2},
    {L2, 'c', 'f', X3},
    {L2, 'C', 'F', X3},
};

unsigned string_next(unsigned state, unsigned char byte) {
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (inside[i].from == state && byte >= inside[i].lo && byte <= inside[i].hi)
            return inside[i].to;
    return STRING_BAD;
}

uint32_t build_string(struct automaton *a, uint32_t min, uint32_t max) {
    uint32_t rule = build_rule(a), counter = build_counter(a, min, max);
    uint32_t states[STRING_STATES], end = build_state(a);
    states[0] = a->starts[rule];
    if (a->over) return rule;
    a->states[states[0]].counter = counter;
    for (unsigned i = 1; i < STRING_STATES; i++) states[i] = build_state(a);
    build_accept(a, end);
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        bool last = inside[i].to == STRING_END;
        enum edge_op op = last ? OP_CLOSE : inside[i].from == STRING_BODY ? OP_COUNT : OP_NONE;
        build_count(a, states[inside[i].from], inside[i].lo, inside[i].hi,
                    last ? end : states[inside[i].to], op, counter);
    }
    return rule;
}
