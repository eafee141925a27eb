/* Patterns of ECMA-262 (with the u flag) as automata over code points. What no automaton can do
 * (look-around, back references, word boundaries) is refused by name. */
#include "text/grammar_int.h"

#include "base/utf8.h"
#include "text/charclass.h"

#include <stdlib.h>
#include <utf8proc.h>

#define DEPTH_MAX 100
#define NODES_MAX 20000 /* of the pattern's tree and of its states */
#define REPEAT_MAX 10000
#define ROWS_MAX 4000
#define SETS_MAX 50000 /* ranges */
#define WORK_MAX 50000000

struct range {
    uint32_t lo, hi;
};
enum tree_kind { T_EMPTY, T_SET, T_BOTH, T_EITHER, T_REPEAT, T_BEGIN, T_END };
struct tree {
    enum tree_kind kind;
    uint32_t a, b;     /* children; of a set: its first range, their number */
    uint32_t min, max; /* of a repetition; COUNT_MAX: no end */
};
enum step_kind { N_SET, N_SPLIT, N_BEGIN, N_END, N_MATCH };
struct step {
    enum step_kind kind;
    uint32_t a, b, first, count; /* next ones; ranges */
};

struct pattern {
    struct str in;
    size_t at;
    int depth;
    struct range *ranges;
    struct tree *trees;
    struct step *steps;
    uint32_t range_count, tree_count, step_count;
    size_t range_cap, tree_cap, step_cap;
    struct err *err;
    int rc;
};

static uint32_t refuse(struct pattern *p, int code, const char *what) {
    if (!p->rc)
        p->rc = err_set(p->err, code, "the pattern \"%.*s\": %s (at byte %zu)",
                        (int)(p->in.n < 100 ? p->in.n : 100), p->in.p, what, p->at);
    return 0;
}

static uint32_t tree(struct pattern *p, struct tree t) {
    if (p->tree_count >= NODES_MAX) return refuse(p, ERR_LIMIT, "too long");
    mem_grow((void **)&p->trees, &p->tree_cap, p->tree_count + 1, sizeof *p->trees);
    p->trees[p->tree_count] = t;
    return p->tree_count++;
}

/* --- sets of characters --------------------------------------------------------------------------
 */

static void put_range(struct pattern *p, uint32_t lo, uint32_t hi) {
    if (p->range_count >= SETS_MAX) {
        refuse(p, ERR_LIMIT, "too many classes of characters");
        return;
    }
    mem_grow((void **)&p->ranges, &p->range_cap, p->range_count + 1, sizeof *p->ranges);
    p->ranges[p->range_count++] = (struct range){lo, hi};
}

static int compare_ranges(const void *x, const void *y) {
    const struct range *a = x, *b = y;
    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

/* the ranges from `first` on: sorted, joined, perhaps all the others instead */
static void settle_set(struct pattern *p, uint32_t first, bool negated) {
    uint32_t n = p->range_count - first, out = first;
    if (p->rc) return;
    if (n > 1) qsort(p->ranges + first, n, sizeof *p->ranges, compare_ranges);
    for (uint32_t i = first; i < p->range_count; i++) {
        struct range r = p->ranges[i];
        if (out > first && r.lo <= p->ranges[out - 1].hi + 1) {
            if (r.hi > p->ranges[out - 1].hi) p->ranges[out - 1].hi = r.hi;
        } else {
            p->ranges[out++] = r;
        }
    }
    p->range_count = out;
    if (!negated) return;
    uint32_t at = 0, count = out - first;
    struct range *old = mem_zalloc(count + 1, sizeof *old);
    if (count) memcpy(old, p->ranges + first, count * sizeof *old);
    p->range_count = first;
    for (uint32_t i = 0; i < count; i++) {
        if (old[i].lo > at) put_range(p, at, old[i].lo - 1);
        at = old[i].hi + 1;
    }
    if (at <= 0x10FFFF) put_range(p, at, 0x10FFFF);
    mem_free(old);
}

static uint32_t set_tree(struct pattern *p, uint32_t first) {
    return tree(p, (struct tree){.kind = T_SET, .a = first, .b = p->range_count - first});
}

static const struct {
    const char *name, *abbreviation;
} categories[] = {
    {"Letter", "L"},
    {"Lowercase_Letter", "Ll"},
    {"Uppercase_Letter", "Lu"},
    {"Titlecase_Letter", "Lt"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Mark", "M"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"digit", "Nd"},
    {"punct", "P"},
    {"Symbol", "S"},
    {"Math_Symbol", "Sm"},
    {"Currency_Symbol", "Sc"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Other", "C"},
    {"Control", "Cc"},
    {"Dash_Punctuation", "Pd"},
    {"Open_Punctuation", "Ps"},
    {"Close_Punctuation", "Pe"},
    {"Connector_Punctuation", "Pc"},
    {"Other_Punctuation", "Po"},
};

static bool in_category(uint32_t cp, struct str name) {
    const char *own = utf8proc_category_string((utf8proc_int32_t)cp);
    return own[0] == name.p[0] && (name.n == 1 || own[1] == name.p[1]);
}

static void put_property(struct pattern *p, bool negated) {
    struct str rest = str_from(p->in, p->at);
    const char *close = rest.n && rest.p[0] == '{' ? memchr(rest.p, '}', rest.n) : NULL;
    if (!close) {
        refuse(p, ERR_INVALID, "\\p needs {...}");
        return;
    }
    struct str name = {rest.p + 1, (size_t)(close - rest.p) - 1};
    p->at += name.n + 2;
    if (str_starts(name, STR_LIT("General_Category="))) name = str_from(name, 17);
    if (str_starts(name, STR_LIT("gc="))) name = str_from(name, 3);
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (str_is(name, categories[i].name)) name = str_of(categories[i].abbreviation);
    bool known =
        (name.n == 1 && strchr("LMNPSZC", name.p[0])) ||
        (name.n == 2 && strchr("LMNPSZC", name.p[0]) && strchr("ultmocedksfip", name.p[1]));
    if (!known) {
        refuse(p, ERR_UNSUPPORTED, "only general categories are known to \\p");
        return;
    }
    uint32_t start = NO_STATE;
    for (uint32_t cp = 0; cp <= 0x110000; cp++) {
        bool in = cp < 0x110000 && in_category(cp, name) != negated;
        if (in && start == NO_STATE) start = cp;
        if (!in && start != NO_STATE) {
            put_range(p, start, cp - 1);
            start = NO_STATE;
        }
    }
}

static const struct range digits[] = {{'0', '9'}};
static const struct range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct range spaces[] = {
    {9, 13},          {32, 32},         {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const struct range line_ends[] = {{10, 10}, {13, 13}, {0x2028, 0x2029}};

static void put_class(struct pattern *p, const struct range *r, size_t n, bool negated) {
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!negated)
            put_range(p, r[i].lo, r[i].hi);
        else if (r[i].lo > at)
            put_range(p, at, r[i].lo - 1);
        at = r[i].hi + 1;
    }
    if (negated) put_range(p, at, 0x10FFFF);
}

/* --- reading -------------------------------------------------------------------------------------
 */

static int peek(const struct pattern *p) {
    return p->at < p->in.n ? (unsigned char)p->in.p[p->at] : -1;
}

static bool take(struct pattern *p, char c) {
    if (peek(p) != (unsigned char)c) return false;
    p->at++;
    return true;
}

static uint32_t next_char(struct pattern *p) {
    unsigned cp = 0;
    size_t n = utf8_get(str_from(p->in, p->at), &cp);
    if (!n) return refuse(p, ERR_INVALID, "not UTF-8");
    p->at += n;
    return cp;
}

static int hex_digit(int c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static uint32_t hex(struct pattern *p, int count) {
    uint32_t x = 0;
    for (int i = 0; i < count; i++) {
        int d = hex_digit(peek(p));
        if (d < 0) return refuse(p, ERR_INVALID, "a hexadecimal digit is missing");
        x = x * 16 + (uint32_t)d;
        p->at++;
    }
    return x;
}

static uint32_t unicode_escape(struct pattern *p) {
    uint32_t x = 0;
    if (take(p, '{')) {
        while (hex_digit(peek(p)) >= 0 && x <= 0x10FFFF) x = x * 16 + hex(p, 1);
        if (!take(p, '}') || x > 0x10FFFF) return refuse(p, ERR_INVALID, "\\u{...} is not ended");
        return x;
    }
    x = hex(p, 4);
    bool pair = x >= 0xD800 && x < 0xDC00 && str_starts(str_from(p->in, p->at), STR_LIT("\\u"));
    if (pair) {
        p->at += 2;
        x = 0x10000 + ((x - 0xD800) << 10) + (hex(p, 4) - 0xDC00);
    }
    return x <= 0x10FFFF ? x : refuse(p, ERR_INVALID, "half a surrogate pair");
}

/* Behind a backslash. True: one character, in *cp; false: a class, whose ranges were put. */
static bool escape(struct pattern *p, bool in_class, uint32_t *cp) {
    static const char letters[] = "n\nr\rt\tv\vf\f";
    int c = peek(p);
    *cp = 0;
    if (c < 0) return refuse(p, ERR_INVALID, "a backslash at the end");
    if (c >= '1' && c <= '9')
        return refuse(p, ERR_UNSUPPORTED, "back references are not supported");
    *cp = next_char(p);
    for (const char *l = letters; *l; l += 2)
        if (c == *l) return *cp = (unsigned char)l[1], true;
    switch (c) {
    case '0': return *cp = 0, true;
    case 'x': return *cp = hex(p, 2), true;
    case 'u': return *cp = unicode_escape(p), true;
    case 'c': return *cp = next_char(p) & 31, true;
    case 'd': return put_class(p, digits, 1, false), false;
    case 'D': return put_class(p, digits, 1, true), false;
    case 'w': return put_class(p, words, 4, false), false;
    case 'W': return put_class(p, words, 4, true), false;
    case 's': return put_class(p, spaces, 10, false), false;
    case 'S': return put_class(p, spaces, 10, true), false;
    case 'p': return put_property(p, false), false;
    case 'P': return put_property(p, true), false;
    case 'b':
        if (in_class) return *cp = 8, true;
        return refuse(p, ERR_UNSUPPORTED, "word boundaries are not supported");
    case 'B': return refuse(p, ERR_UNSUPPORTED, "word boundaries are not supported");
    case 'k': return refuse(p, ERR_UNSUPPORTED, "back references are not supported");
    default: break;
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter) refuse(p, ERR_INVALID, "an unknown escape");
    return true;
}

static uint32_t read_class(struct pattern *p) {
    uint32_t first = p->range_count;
    bool negated = take(p, '^');
    while (!p->rc && !take(p, ']')) {
        uint32_t lo, hi;
        if (peek(p) < 0) return refuse(p, ERR_INVALID, "a class without its end");
        if (take(p, '\\')) {
            if (!escape(p, true, &lo)) continue;
        } else {
            lo = next_char(p);
        }
        hi = lo;
        bool range = peek(p) == '-' && p->at + 1 < p->in.n && p->in.p[p->at + 1] != ']';
        if (range) {
            p->at++;
            if (!take(p, '\\'))
                hi = next_char(p);
            else if (!escape(p, true, &hi))
                return refuse(p, ERR_INVALID, "a class cannot end a range");
        }
        if (hi < lo) return refuse(p, ERR_INVALID, "a range that falls");
        put_range(p, lo, hi);
    }
    settle_set(p, first, negated);
    return set_tree(p, first);
}

static uint32_t read_either(struct pattern *p);

static uint32_t read_group(struct pattern *p) {
    if (take(p, '?')) {
        bool name = peek(p) == '<' && p->at + 1 < p->in.n && p->in.p[p->at + 1] != '=' &&
                    p->in.p[p->at + 1] != '!';
        if (name) {
            while (peek(p) >= 0 && peek(p) != '>') p->at++;
            p->at++;
        } else if (!take(p, ':')) {
            bool look = peek(p) == '=' || peek(p) == '!' || peek(p) == '<';
            return refuse(p, ERR_UNSUPPORTED,
                          look ? "look-ahead and look-behind are not supported"
                               : "flags in a group are not supported");
        }
    }
    if (++p->depth > DEPTH_MAX) return refuse(p, ERR_LIMIT, "nested too deeply");
    uint32_t t = read_either(p);
    p->depth--;
    if (!p->rc && !take(p, ')')) return refuse(p, ERR_INVALID, "a group without its end");
    return t;
}

static uint32_t read_atom(struct pattern *p) {
    uint32_t first = p->range_count, cp;
    switch (peek(p)) {
    case '(': return p->at++, read_group(p);
    case '[': return p->at++, read_class(p);
    case '^': return p->at++, tree(p, (struct tree){.kind = T_BEGIN});
    case '$': return p->at++, tree(p, (struct tree){.kind = T_END});
    case '*':
    case '+':
    case '?': return refuse(p, ERR_INVALID, "nothing to repeat");
    case '.':
        p->at++;
        put_class(p, line_ends, 3, true);
        return set_tree(p, first);
    case '\\':
        p->at++;
        if (escape(p, false, &cp)) put_range(p, cp, cp);
        settle_set(p, first, false);
        return set_tree(p, first);
    default:
        cp = next_char(p);
        put_range(p, cp, cp);
        return set_tree(p, first);
    }
}

static bool read_number(struct pattern *p, uint32_t *ret) {
    size_t start = p->at;
    *ret = 0;
    while (peek(p) >= '0' && peek(p) <= '9') {
        if (*ret <= REPEAT_MAX) *ret = *ret * 10 + (uint32_t)(peek(p) - '0');
        p->at++;
    }
    return p->at > start;
}

/* {n}, {n,} or {n,m}; anything else in braces is text */
static bool read_braces(struct pattern *p, uint32_t *min, uint32_t *max) {
    size_t start = p->at++;
    bool ok = read_number(p, min);
    *max = *min;
    if (ok && take(p, ',') && !read_number(p, max)) *max = COUNT_MAX;
    if (ok && take(p, '}')) return true;
    p->at = start;
    return false;
}

static uint32_t read_repeat(struct pattern *p) {
    uint32_t t = read_atom(p);
    while (!p->rc) {
        uint32_t min = 0, max = COUNT_MAX;
        int c = peek(p);
        if (c == '{') {
            if (!read_braces(p, &min, &max)) break;
        } else if (c == '*' || c == '+' || c == '?') {
            p->at++;
            min = c == '+';
            if (c == '?') max = 1;
        } else {
            break;
        }
        take(p, '?'); /* lazy: the same texts */
        if (max < min) return refuse(p, ERR_INVALID, "a repetition that falls");
        if (min > REPEAT_MAX || (max != COUNT_MAX && max > REPEAT_MAX))
            return refuse(p, ERR_LIMIT, "a repetition of more than 10000");
        t = tree(p, (struct tree){.kind = T_REPEAT, .a = t, .min = min, .max = max});
    }
    return t;
}

static uint32_t read_row(struct pattern *p) {
    uint32_t t = tree(p, (struct tree){.kind = T_EMPTY});
    while (!p->rc && peek(p) >= 0 && peek(p) != '|' && peek(p) != ')') {
        uint32_t next = read_repeat(p);
        t = tree(p, (struct tree){.kind = T_BOTH, .a = t, .b = next});
    }
    return t;
}

static uint32_t read_either(struct pattern *p) {
    uint32_t t = read_row(p);
    while (!p->rc && take(p, '|')) {
        uint32_t other = read_row(p);
        t = tree(p, (struct tree){.kind = T_EITHER, .a = t, .b = other});
    }
    return t;
}

/* --- states of the pattern -----------------------------------------------------------------------
 */

static uint32_t step(struct pattern *p, struct step s) {
    if (p->step_count >= NODES_MAX) return refuse(p, ERR_LIMIT, "too many states");
    mem_grow((void **)&p->steps, &p->step_cap, p->step_count + 1, sizeof *p->steps);
    p->steps[p->step_count] = s;
    return p->step_count++;
}

static uint32_t emit(struct pattern *p, uint32_t at, uint32_t next);

static uint32_t emit_repeat(struct pattern *p, struct tree t, uint32_t next) {
    uint32_t start = next;
    if (t.max == COUNT_MAX) {
        start = step(p, (struct step){.kind = N_SPLIT, .a = next, .b = next});
        uint32_t body = emit(p, t.a, start);
        if (!p->rc) p->steps[start].a = body;
    }
    for (uint32_t i = t.min; t.max != COUNT_MAX && i < t.max && !p->rc; i++) {
        uint32_t body = emit(p, t.a, start);
        start = step(p, (struct step){.kind = N_SPLIT, .a = body, .b = next});
    }
    for (uint32_t i = 0; i < t.min && !p->rc; i++) start = emit(p, t.a, start);
    return start;
}

/* the state from which the tree is matched and then `next` */
static uint32_t emit(struct pattern *p, uint32_t at, uint32_t next) {
    while (!p->rc) {
        struct tree t = p->trees[at];
        switch (t.kind) {
        case T_EMPTY: return next;
        case T_SET:
            return step(p, (struct step){.kind = N_SET, .a = next, .first = t.a, .count = t.b});
        case T_BEGIN: return step(p, (struct step){.kind = N_BEGIN, .a = next});
        case T_END: return step(p, (struct step){.kind = N_END, .a = next});
        case T_REPEAT: return emit_repeat(p, t, next);
        case T_BOTH: /* a chain to the left: no recursion along it */
            next = emit(p, t.b, next);
            at = t.a;
            break;
        case T_EITHER: {
            uint32_t b = emit(p, t.b, next), a = emit(p, t.a, next);
            return step(p, (struct step){.kind = N_SPLIT, .a = a, .b = b});
        }
        }
    }
    return 0;
}

/* --- rows: sets of states ------------------------------------------------------------------------
 */

struct subset {
    uint32_t first, count;
    uint32_t next;
};
struct subsets {
    struct pattern *p;
    struct chars *out;
    uint32_t *members;
    struct subset *rows;
    uint32_t member_count, row_count, heads[1024], all;
    size_t member_cap, row_cap;
    uint32_t *list, *seen, list_count, round; /* a closure */
    uint32_t *bounds, bound_count;
    size_t bound_cap;
};

static void visit(struct subsets *x, uint32_t s) {
    if (x->seen[s] == x->round) return;
    x->seen[s] = x->round;
    x->list[x->list_count++] = s;
}

/* Follows list from `from` on; whether the pattern has matched. */
static bool close_list(struct subsets *x, bool begin, bool end) {
    bool matched = false;
    for (uint32_t i = 0; i < x->list_count; i++) {
        const struct step *s = &x->p->steps[x->list[i]];
        if (s->kind == N_MATCH) matched = true;
        if (s->kind == N_SPLIT) {
            visit(x, s->a);
            visit(x, s->b);
        }
        if ((s->kind == N_BEGIN && begin) || (s->kind == N_END && end)) visit(x, s->a);
    }
    return matched;
}

static int compare_u32(const void *x, const void *y) {
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

/* The row of the closed list. Row 0 alone stands at the beginning of the text. */
static uint32_t row_of(struct subsets *x, bool begin) {
    uint32_t n = 0, keep = x->list_count;
    uint32_t *kept = mem_zalloc(keep + 1, sizeof *kept);
    for (uint32_t i = 0; i < keep; i++) {
        enum step_kind k = x->p->steps[x->list[i]].kind;
        if (k == N_SET || k == N_END) kept[n++] = x->list[i];
    }
    qsort(kept, n, sizeof *kept, compare_u32);
    uint32_t hash = begin;
    for (uint32_t i = 0; i < n; i++) hash = (hash ^ kept[i]) * 0x9E3779B1u;
    uint32_t *head = &x->heads[hash >> 22], i = *head;
    for (; i != NO_STATE; i = x->rows[i].next)
        if (i != x->all && (i || begin) && x->rows[i].count == n &&
            !memcmp(x->members + x->rows[i].first, kept, n * sizeof *kept))
            break;
    if (i == NO_STATE) {
        mem_grow((void **)&x->members, &x->member_cap, x->member_count + n + 1, sizeof *x->members);
        memcpy(x->members + x->member_count, kept, n * sizeof *kept);
        mem_grow((void **)&x->rows, &x->row_cap, x->row_count + 1, sizeof *x->rows);
        x->rows[x->row_count] = (struct subset){x->member_count, n, *head};
        x->member_count += n;
        i = *head = x->row_count++;
    }
    mem_free(kept);
    return i;
}

/* the row that matches whatever comes */
static uint32_t row_all(struct subsets *x) {
    if (x->all == NO_STATE) {
        mem_grow((void **)&x->rows, &x->row_cap, x->row_count + 1, sizeof *x->rows);
        x->rows[x->row_count] = (struct subset){0, 0, NO_STATE};
        x->all = x->row_count++;
    }
    return x->all;
}

static void start_list(struct subsets *x) {
    x->round++;
    x->list_count = 0;
}

static void put_bound(struct subsets *x, uint32_t at) {
    mem_grow((void **)&x->bounds, &x->bound_cap, x->bound_count + 1, sizeof *x->bounds);
    x->bounds[x->bound_count++] = at;
}

static bool has(const struct pattern *p, const struct step *s, uint32_t cp) {
    uint32_t lo = s->first, hi = s->first + s->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (cp > p->ranges[mid].hi)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->first + s->count && p->ranges[lo].lo <= cp;
}

static void collect_bounds(struct subsets *x, struct subset row) {
    x->bound_count = 0;
    put_bound(x, 1);
    put_bound(x, 0x110000);
    for (uint32_t i = 0; i < row.count; i++) {
        const struct step *s = &x->p->steps[x->members[row.first + i]];
        for (uint32_t k = 0; s->kind == N_SET && k < s->count; k++) {
            put_bound(x, x->p->ranges[s->first + k].lo);
            put_bound(x, x->p->ranges[s->first + k].hi + 1);
        }
    }
    qsort(x->bounds, x->bound_count, sizeof *x->bounds, compare_u32);
    uint32_t n = 1;
    for (uint32_t i = 1; i < x->bound_count; i++)
        if (x->bounds[i] != x->bounds[n - 1]) x->bounds[n++] = x->bounds[i];
    x->out->work += 10 * (uint64_t)x->bound_count + (uint64_t)n * row.count;
    x->bound_count = n;
    if (x->out->work > WORK_MAX) refuse(x->p, ERR_LIMIT, "too much work");
}

static bool accepts(struct subsets *x, struct subset row, bool begin) {
    start_list(x);
    for (uint32_t i = 0; i < row.count; i++) visit(x, x->members[row.first + i]);
    return close_list(x, begin, true);
}

static void expand(struct subsets *x, uint32_t r) {
    struct subset row = x->rows[r];
    if (r == x->all) {
        chars_row(x->out, true);
        chars_edge(x->out, 1, 0x10FFFF, r);
        return;
    }
    chars_row(x->out, accepts(x, row, r == 0));
    collect_bounds(x, row);
    for (uint32_t b = 0; b + 1 < x->bound_count && !x->p->rc; b++) {
        uint32_t lo = x->bounds[b], hi = x->bounds[b + 1] - 1;
        if (lo < 1 || lo > 0x10FFFF) continue;
        start_list(x);
        for (uint32_t i = 0; i < row.count; i++) {
            const struct step *s = &x->p->steps[x->members[row.first + i]];
            if (s->kind == N_SET && has(x->p, s, lo)) visit(x, s->a);
        }
        if (!x->list_count) continue;
        bool matched = close_list(x, false, false);
        chars_edge(x->out, lo, hi, matched ? row_all(x) : row_of(x, false));
    }
}

static void make_rows(struct pattern *p, uint32_t start, struct chars *out) {
    struct subsets x = {.p = p, .out = out, .all = NO_STATE};
    memset(x.heads, 0xFF, sizeof x.heads);
    x.list = mem_zalloc(p->step_count, sizeof *x.list);
    x.seen = mem_zalloc(p->step_count, sizeof *x.seen);
    start_list(&x);
    visit(&x, start);
    if (close_list(&x, true, false))
        row_all(&x);
    else
        row_of(&x, true);
    for (uint32_t r = 0; r < x.row_count && !p->rc; r++) {
        expand(&x, r);
        if (x.row_count > ROWS_MAX || out->edge_count > CHARS_EDGES_MAX)
            refuse(p, ERR_LIMIT, "needs too many states");
    }
    mem_free(x.list);
    mem_free(x.seen);
    mem_free(x.members);
    mem_free(x.rows);
    mem_free(x.bounds);
}

int chars_pattern(struct str pattern, struct chars *ret, struct err *err) {
    struct pattern p = {.in = pattern, .err = err};
    *ret = (struct chars){0};
    uint32_t t = read_either(&p);
    if (!p.rc && p.at < p.in.n) refuse(&p, ERR_INVALID, "a ) without its (");
    uint32_t match = step(&p, (struct step){.kind = N_MATCH});
    uint32_t start = p.rc ? 0 : emit(&p, t, match);
    put_range(&p, 1, 0x10FFFF);
    uint32_t any = step(&p, (struct step){.kind = N_SET, .first = p.range_count - 1, .count = 1});
    uint32_t loop = step(&p, (struct step){.kind = N_SPLIT, .a = start, .b = any});
    if (!p.rc) {
        p.steps[any].a = loop;
        make_rows(&p, loop, ret);
    }
    mem_free(p.ranges);
    mem_free(p.trees);
    mem_free(p.steps);
    if (p.rc) chars_release(ret);
    return p.rc;
}

/* --- formats -------------------------------------------------------------------------------------
 */

#define IPV4_BYTE "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4 IPV4_BYTE "(\\." IPV4_BYTE "){3}"
#define H16 "[0-9a-fA-F]{1,4}"
#define LS32 "(" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                       \
    "((" H16 ":){6}" LS32 "|::(" H16 ":){5}" LS32 "|(" H16 ")?::(" H16 ":){4}" LS32 "|((" H16      \
    ":){0,1}" H16 ")?::(" H16 ":){3}" LS32 "|((" H16 ":){0,2}" H16 ")?::(" H16 ":){2}" LS32        \
    "|((" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|((" H16 ":){0,4}" H16 ")?::" LS32 "|((" H16      \
    ":){0,5}" H16 ")?::" H16 "|((" H16 ":){0,6}" H16 ")?::)"
/* At most 253 characters in labels of at most 63: few long ones or many short ones, without the
 * cost of counting both. */
#define LABEL(most) "[A-Za-z0-9]([A-Za-z0-9-]{0," most "}[A-Za-z0-9])?"
#define HOST                                                                                       \
    "(" LABEL("61") "(\\." LABEL("61") "){0,2}|" LABEL("59") "(\\." LABEL("61") "){3}|" LABEL(     \
        "13") "(\\." LABEL("13") "){4,14})"
#define ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define QUOTED "\"([ !#-\\[\\]-~]|\\\\[ -~])*\""
#define LEAP "(([0-9][0-9])(0[48]|[2468][048]|[13579][26])|(0[48]|[02468][048]|[13579][26])00)"
#define DATE                                                                                       \
    "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"       \
    "|02-(0[1-9]|1[0-9]|2[0-8]))|" LEAP "-02-29)"
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,18})?"                                    \
    "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define N "[0-9]{1,9}"
#define DUR_TIME "T(" N "H(" N "M(" N "S)?)?|" N "M(" N "S)?|" N "S)"
#define DUR_DATE "(" N "D|" N "M(" N "D)?|" N "Y(" N "M(" N "D)?)?)"

static const struct {
    const char *name, *pattern, *but; /* but: what it must not match */
} formats[] = {
    {"date", "^" DATE "$", NULL},
    {"time", "^" TIME "$", NULL},
    {"date-time", "^" DATE "[Tt]" TIME "$", NULL},
    {"duration", "^P(" DUR_DATE "(" DUR_TIME ")?|" DUR_TIME "|" N "W)$", NULL},
    {"email", "^(" ATOM "(\\." ATOM ")*|" QUOTED ")@(" HOST "|\\[(" IPV4 "|IPv6:" IPV6 ")\\])$",
     NULL},
    {"hostname", "^" HOST "$", "(^|\\.)..--"},
    {"ipv4", "^" IPV4 "$", NULL},
    {"ipv6", "^" IPV6 "$", NULL},
    {"uuid", "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", NULL},
};

static int narrow(struct chars *c, struct chars *by, struct err *err) {
    struct chars both;
    int rc = chars_both(c, by, &both, err);
    chars_release(by);
    if (rc) return rc;
    chars_release(c);
    *c = both;
    return 0;
}

int chars_format(struct str format, struct chars *ret, struct err *err) {
    size_t i = 0;
    while (i < sizeof formats / sizeof *formats && !str_is(format, formats[i].name)) i++;
    if (i == sizeof formats / sizeof *formats)
        return err_set(err, ERR_NOT_FOUND,
                       "the format \"%.*s\" cannot be enforced; known are date, time, date-time, "
                       "duration, email, hostname, ipv4, ipv6 and uuid",
                       (int)(format.n < 60 ? format.n : 60), format.p);
    int rc = chars_pattern(str_of(formats[i].pattern), ret, err);
    if (!rc && formats[i].but) {
        struct chars but, others;
        rc = chars_pattern(str_of(formats[i].but), &but, err);
        if (!rc) {
            chars_not(&but, &others);
            chars_release(&but);
            rc = narrow(ret, &others, err);
        }
    }
    if (rc) chars_release(ret);
    return rc;
}
