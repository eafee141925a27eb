/* Making, comparing and printing values, with Python's rules. */
#include "text/template_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>

#define INDEX_FROM 9 /* smaller dictionaries are searched in order */

/* --- the run
 * -------------------------------------------------------------------------------------- */

bool run_failed(const struct run *r) { return r->failed; }

static void fail_text(struct run *r, int code, const char *text) {
    if (!r->failed) err_set(r->err, code, "%s: line %d: %s", r->t->where, r->line, text);
    r->failed = true;
}

struct value run_fail(struct run *r, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fail_text(r, ERR_INVALID, text);
    return (struct value){.type = V_UNDEF, .u.undef = &r->dead_undef};
}

void *run_alloc(struct run *r, size_t count, size_t size) {
    void *p = arena_array(&r->arena, count, size);
    if (!p) fail_text(r, ERR_LIMIT, "the template needs too much memory");
    return p;
}

bool run_spend(struct run *r, size_t steps) {
    if (steps > RUN_STEPS || (r->steps -= (int64_t)steps) < 0) {
        r->steps = 0;
        fail_text(r, ERR_LIMIT, "the template takes too many steps");
    }
    return !r->failed;
}

static size_t text_steps(struct value v) { return v.type == V_STR ? v.u.s.n / 64 : 0; }

void run_spend_text(struct run *r, struct value v, const struct args *a) {
    size_t steps = text_steps(v) + a->n;
    for (size_t i = 0; i < a->n; i++) steps += text_steps(a->v[i]);
    for (size_t i = 0; i < a->named_n; i++) steps += text_steps(a->named[i]);
    run_spend(r, steps);
}

void run_buf(struct run *r, struct buf *b) { buf_init_shared(b, RUN_BYTES, &r->text_left); }

bool run_enter(struct run *r) {
    if (r->failed) return false;
    if (++r->depth <= RUN_DEPTH) return true;
    r->depth--;
    fail_text(r, ERR_LIMIT, "maximum recursion depth exceeded");
    return false;
}

void run_leave(struct run *r) { r->depth--; }

/* --- undefined
 * ------------------------------------------------------------------------------------ */

static struct undef *undef_new(struct run *r) {
    struct undef *u = run_alloc(r, 1, sizeof *u);
    return u ? u : &r->dead_undef;
}

static struct value undef_value(const struct undef *u) {
    return (struct value){.type = V_UNDEF, .u.undef = u};
}

struct value v_undef_var(struct run *r, struct str name) {
    struct undef *u = undef_new(r);
    u->name = v_str(name);
    return undef_value(u);
}

struct value v_undef_hint(struct run *r, const char *hint) {
    struct undef *u = undef_new(r);
    u->hint = v_copy(r, str_of(hint)).u.s;
    return undef_value(u);
}

struct value v_undef_of(struct run *r, struct value of, struct value name) {
    struct undef *u = undef_new(r);
    u->of = v_type_name(of);
    u->name = name;
    return undef_value(u);
}

struct value v_undef_unsafe(struct run *r, struct value of, struct str name) {
    struct undef *u = undef_new(r);
    u->hint = v_printf(r, "access to attribute '%.*s' of '%s' object is unsafe.", STR_ARG(name),
                       v_type_name(of))
                  .u.s;
    u->unsafe = true;
    return undef_value(u);
}

/* Classes outside Python's builtins are named with their module. */
static const char *undef_owner(const char *type) {
    static const char *const full[][2] = {{"Namespace", "jinja2.utils.Namespace object"},
                                          {"LoopContext", "jinja2.runtime.LoopContext object"},
                                          {"Macro", "jinja2.runtime.Macro object"},
                                          {"Undefined", "jinja2.runtime.Undefined object"}};
    for (size_t i = 0; i < sizeof full / sizeof *full; i++)
        if (!strcmp(full[i][0], type)) return full[i][1];
    return NULL;
}

struct value run_fail_undef(struct run *r, struct value undef) {
    const struct undef *u = undef.u.undef;
    if (u->hint.n) return run_fail(r, "%.*s", STR_ARG(u->hint));
    struct buf name;
    buf_init(&name, 1 << 16);
    v_repr(r, u->name, &name);
    struct value v;
    if (!u->of)
        v = run_fail(r, "%s is undefined", name.p ? name.p : "a value");
    else {
        char plain[80];
        const char *owner = undef_owner(u->of);
        snprintf(plain, sizeof plain, !strcmp(u->of, "NoneType") ? "None" : "%s object",
                 u->of); /* NOLINT */
        if (!owner) owner = plain;
        if (u->name.type == V_STR)
            v = run_fail(r, "'%s' has no attribute %s", owner, name.p ? name.p : "?");
        else
            v = run_fail(r, "%s has no element %s", owner, name.p ? name.p : "?");
    }
    buf_release(&name);
    return v;
}

/* --- strings and sequences
 * ------------------------------------------------------------------------ */

struct value v_copy(struct run *r, struct str s) {
    run_spend(r, s.n / 64);
    char *p = run_alloc(r, s.n + 1, 1);
    if (!p) return v_str((struct str){"", 0});
    if (s.n) memcpy(p, s.p, s.n);
    return v_str((struct str){p, s.n});
}

struct value v_take(struct run *r, struct buf *b) {
    if (!buf_ok(b)) fail_text(r, ERR_LIMIT, "a string of the template is too long");
    struct value v = v_copy(r, buf_view(b));
    buf_release(b);
    return v;
}

struct value v_printf(struct run *r, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return v_copy(r, str_of(text));
}

struct value v_seq(struct run *r, enum value_type type, size_t cap) {
    struct seq *s = run_alloc(r, 1, sizeof *s);
    struct value v = {.type = type, .u.seq = s ? s : &r->dead_seq};
    if (s && cap && (s->v = run_alloc(r, cap, sizeof *s->v)) != NULL) s->cap = cap;
    return v;
}

void seq_add(struct run *r, struct value seq, struct value item) {
    struct seq *s = seq.u.seq;
    if (!run_spend(r, 1)) return;
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 8;
        struct value *v = run_alloc(r, cap, sizeof *v);
        if (!v) return;
        if (s->n) memcpy(v, s->v, s->n * sizeof *v);
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = item;
}

struct value v_iter(struct run *r, struct value list, const char *kind) {
    struct value v = v_seq(r, V_ITER, 0);
    if (r->failed) return v;
    v.u.seq->v = list.u.seq->v;
    v.u.seq->n = list.u.seq->n;
    v.u.seq->kind = kind;
    return v;
}

/* --- dictionaries
 * --------------------------------------------------------------------------------- */

struct value v_dict(struct run *r, size_t cap) {
    struct dict *d = run_alloc(r, 1, sizeof *d);
    struct value v = {.type = V_DICT, .u.dict = d ? d : &r->dead_dict};
    if (!d || !cap) return v;
    d->keys = run_alloc(r, cap, sizeof *d->keys);
    d->values = run_alloc(r, cap, sizeof *d->values);
    if (d->keys && d->values) d->cap = cap;
    return v;
}

static uint32_t *slot_of(const struct dict *d, struct str key) {
    size_t at = hash_bytes(key.p, key.n) & (d->slots - 1);
    while (d->index[at] && !str_eq(d->keys[d->index[at] - 1].u.s, key))
        at = (at + 1) & (d->slots - 1);
    return &d->index[at];
}

bool dict_get_str(const struct dict *d, struct str key, struct value *ret) {
    if (d->index) {
        uint32_t at = *slot_of(d, key);
        if (at) *ret = d->values[at - 1];
        return at != 0;
    }
    for (size_t i = 0; i < d->n; i++) {
        if (d->keys[i].type != V_STR || !str_eq(d->keys[i].u.s, key)) continue;
        *ret = d->values[i];
        return true;
    }
    return false;
}

static bool hashable(struct value v) { return v.type != V_LIST && v.type != V_DICT; }

static int64_t dict_find(struct run *r, const struct dict *d, struct value key) {
    if (key.type == V_STR) run_spend(r, key.u.s.n / 64);
    if (key.type == V_STR && d->index) return (int64_t)*slot_of(d, key.u.s) - 1;
    run_spend(r, d->n / 16);
    for (size_t i = 0; i < d->n && !r->failed; i++)
        if (v_equal(r, d->keys[i], key)) return (int64_t)i;
    return -1;
}

bool dict_get(struct run *r, struct value dict, struct value key, struct value *ret) {
    if (!hashable(key)) return run_fail(r, "unhashable type: '%s'", v_type_name(key)), false;
    int64_t at = dict_find(r, dict.u.dict, key);
    if (at >= 0) *ret = dict.u.dict->values[at];
    return at >= 0;
}

static bool dict_grow(struct run *r, struct dict *d) {
    size_t cap = d->cap ? d->cap * 2 : 4;
    struct value *keys = run_alloc(r, cap, sizeof *keys),
                 *values = run_alloc(r, cap, sizeof *values);
    if (!keys || !values) return false;
    if (d->n) memcpy(keys, d->keys, d->n * sizeof *keys);
    if (d->n) memcpy(values, d->values, d->n * sizeof *values);
    d->keys = keys;
    d->values = values;
    d->cap = cap;
    return true;
}

/* (Re)build the index over string keys so that it is at most half full. */
static void dict_index(struct run *r, struct dict *d) {
    size_t slots = 32;
    while (slots < d->n * 4) slots *= 2;
    uint32_t *index = run_alloc(r, slots, sizeof *index);
    if (!index) return;
    d->index = index;
    d->slots = slots;
    for (size_t i = 0; i < d->n; i++)
        if (d->keys[i].type == V_STR) *slot_of(d, d->keys[i].u.s) = (uint32_t)i + 1;
}

void dict_set(struct run *r, struct value dict, struct value key, struct value item) {
    struct dict *d = dict.u.dict;
    if (!run_spend(r, 1)) return;
    if (!hashable(key)) {
        run_fail(r, "unhashable type: '%s'", v_type_name(key));
        return;
    }
    int64_t at = dict_find(r, d, key);
    if (at >= 0) {
        d->values[at] = item;
        return;
    }
    if (d->n == d->cap && !dict_grow(r, d)) return;
    d->keys[d->n] = key;
    d->values[d->n++] = item;
    if (d->n < INDEX_FROM) return;
    if (!d->index || d->n * 2 > d->slots)
        dict_index(r, d);
    else if (key.type == V_STR)
        *slot_of(d, key.u.s) = (uint32_t)d->n;
}

/* --- truth, length, items
 * ------------------------------------------------------------------------- */

bool v_truth(struct value v) {
    switch (v.type) {
    case V_UNDEF:
    case V_MISSING:
    case V_NONE: return false;
    case V_BOOL: return v.u.b;
    case V_INT: return v.u.i != 0;
    case V_FLOAT: return v.u.f != 0;
    case V_STR: return v.u.s.n > 0;
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
    case V_VIEW: return v.u.seq->n > 0;
    case V_DICT: return v.u.dict->n > 0;
    default: return true;
    }
}

double v_as_double(struct value v) { return v.type == V_FLOAT ? v.u.f : (double)v_as_int(v); }

const char *v_type_name(struct value v) {
    switch (v.type) {
    case V_UNDEF:
    case V_MISSING: return "Undefined";
    case V_NONE: return "NoneType";
    case V_BOOL: return "bool";
    case V_INT: return "int";
    case V_FLOAT: return "float";
    case V_STR: return "str";
    case V_LIST: return "list";
    case V_TUPLE: return "tuple";
    case V_RANGE: return "range";
    case V_VIEW:
    case V_ITER: return v.u.seq->kind ? v.u.seq->kind : "generator";
    case V_DICT: return "dict";
    case V_SPACE: return "Namespace";
    case V_MACRO: return "Macro";
    case V_METHOD: return "builtin_function_or_method";
    case V_FUNC: return "function";
    case V_LOOP: return "LoopContext";
    }
    return "object";
}

size_t str_chars(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

/* The byte where code point number `chars` begins; s.n past the end. */
size_t str_offset(struct str s, size_t chars) {
    size_t i = 0;
    for (; i < s.n; i++)
        if (((unsigned char)s.p[i] & 0xC0) != 0x80 && chars-- == 0) return i;
    return i;
}

bool v_length(struct value v, int64_t *ret) {
    switch (v.type) {
    case V_UNDEF: *ret = 0; return true;
    case V_STR: *ret = (int64_t)str_chars(v.u.s); return true;
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
    case V_VIEW: *ret = (int64_t)v.u.seq->n; return true;
    case V_DICT: *ret = (int64_t)v.u.dict->n; return true;
    default: return false;
    }
}

bool v_iterable(struct value v) {
    return v.type == V_UNDEF || v.type == V_STR || v.type == V_LOOP || v.type == V_DICT ||
           (v.type >= V_LIST && v.type <= V_ITER);
}

static struct seq *chars_of(struct run *r, struct str s) {
    struct value list = v_seq(r, V_LIST, 0);
    unsigned cp;
    while (s.n && !r->failed) {
        size_t n = utf8_get(s, &cp);
        if (!n) n = 1;
        seq_add(r, list, v_str((struct str){s.p, n}));
        s = str_from(s, n);
    }
    return list.u.seq;
}

/* What is left of an iterator, which is thereby used up. */
static struct seq *drain(struct run *r, struct seq *it) {
    struct seq *left = v_seq(r, V_LIST, 0).u.seq;
    if (r->failed) return left;
    if (it->at < it->n) left->v = it->v + it->at;
    left->n = it->n - it->at;
    it->at = it->n;
    return left;
}

struct seq *v_items(struct run *r, struct value v) {
    switch (v.type) {
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
    case V_VIEW: return v.u.seq;
    case V_ITER: return drain(r, v.u.seq);
    case V_STR: return chars_of(r, v.u.s);
    case V_UNDEF: return v_seq(r, V_LIST, 0).u.seq;
    case V_DICT: {
        struct seq *keys = v_seq(r, V_LIST, 0).u.seq;
        if (r->failed) return keys;
        keys->v = v.u.dict->keys;
        keys->n = v.u.dict->n;
        return keys;
    }
    default: run_fail(r, "'%s' object is not iterable", v_type_name(v)); return &r->dead_seq;
    }
}

/* --- equality and order
 * --------------------------------------------------------------------------- */

static int number_compare(struct value a, struct value b) {
    if (a.type != V_FLOAT && b.type != V_FLOAT) {
        int64_t x = v_as_int(a), y = v_as_int(b);
        return (x > y) - (x < y);
    }
    long double x = a.type == V_FLOAT ? a.u.f : (long double)v_as_int(a);
    long double y = b.type == V_FLOAT ? b.u.f : (long double)v_as_int(b);
    return x > y ? 1 : x < y ? -1 : x == y ? 0 : 2; /* 2: a NaN */
}

static bool seq_equal(struct run *r, const struct seq *a, const struct seq *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!run_spend(r, 1) || !v_equal(r, a->v[i], b->v[i])) return false;
    return true;
}

static bool dict_equal(struct run *r, struct value a, struct value b) {
    if (a.u.dict->n != b.u.dict->n) return false;
    for (size_t i = 0; i < a.u.dict->n; i++) {
        struct value other;
        if (!run_spend(r, 1) || !dict_get(r, b, a.u.dict->keys[i], &other)) return false;
        if (!v_equal(r, a.u.dict->values[i], other)) return false;
    }
    return true;
}

static bool deep_equal(struct run *r, struct value a, struct value b) {
    if (!run_enter(r)) return false;
    run_spend(r, 1);
    bool same = a.type == V_DICT ? dict_equal(r, a, b) : seq_equal(r, a.u.seq, b.u.seq);
    run_leave(r);
    return same;
}

bool v_equal(struct run *r, struct value a, struct value b) {
    if (v_is_number(a) && v_is_number(b)) return number_compare(a, b) == 0;
    if (a.type != b.type) return false;
    switch (a.type) {
    case V_UNDEF:
    case V_NONE: return true;
    case V_STR: run_spend(r, a.u.s.n / 64); return str_eq(a.u.s, b.u.s);
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
    case V_DICT: return deep_equal(r, a, b);
    default: return a.u.seq == b.u.seq; /* identity */
    }
}

static int seq_compare(struct run *r, const struct seq *a, const struct seq *b, const char *op) {
    size_t n = a->n < b->n ? a->n : b->n;
    if (!run_enter(r)) return 0;
    int c = 0;
    for (size_t i = 0; i < n && !c && run_spend(r, 1); i++)
        if (!v_equal(r, a->v[i], b->v[i])) c = v_compare(r, a->v[i], b->v[i], op);
    run_leave(r);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

int v_compare(struct run *r, struct value a, struct value b, const char *op) {
    run_spend(r, 1);
    if (v_is_number(a) && v_is_number(b)) return number_compare(a, b);
    if (a.type == V_STR && b.type == V_STR) {
        run_spend(r, a.u.s.n / 64);
        return str_cmp(a.u.s, b.u.s);
    }
    if (a.type == b.type && (a.type == V_LIST || a.type == V_TUPLE))
        return seq_compare(r, a.u.seq, b.u.seq, op);
    if (a.type == V_UNDEF)
        run_fail_undef(r, a);
    else if (b.type == V_UNDEF)
        run_fail_undef(r, b);
    else
        run_fail(r, "'%s' not supported between instances of '%s' and '%s'", op, v_type_name(a),
                 v_type_name(b));
    return 0;
}

static bool str_contains(struct run *r, struct str in, struct str part) {
    run_spend(r, in.n / 64);
    return part.n == 0 || memmem(in.p, in.n, part.p, part.n) != NULL;
}

bool v_contains(struct run *r, struct value item, struct value in) {
    struct value ignored;
    if (in.type == V_DICT) return dict_get(r, in, item, &ignored);
    if (in.type == V_STR) {
        if (item.type == V_STR) return str_contains(r, in.u.s, item.u.s);
        run_fail(r, "'in <string>' requires string as left operand, not %s", v_type_name(item));
        return false;
    }
    if (!v_iterable(in)) {
        run_fail(r, "argument of type '%s' is not iterable", v_type_name(in));
        return false;
    }
    struct seq *s = v_items(r, in);
    for (size_t i = 0; i < s->n && run_spend(r, 1); i++)
        if (v_equal(r, s->v[i], item)) return true;
    return false;
}
