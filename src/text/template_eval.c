/* Expressions at run time: one recursive function over the tree, its depth and steps counted. */
#include "text/template_int.h"

#include "base/mem.h"

/* --- variables
 * ------------------------------------------------------------------------------------ */

struct value scope_get(struct run *r, uint32_t sym) {
    for (const struct scope *s = r->scope; s; s = s->parent) {
        run_spend(r, s->n / 16);
        for (uint32_t i = 0; i < s->n; i++)
            if (s->v[i].sym == sym) return s->v[i].v;
    }
    struct value v = r->globals[sym];
    return v.type == V_MISSING ? v_undef_var(r, r->t->names[sym]) : v;
}

void scope_push(struct run *r, struct scope *s) {
    *s = (struct scope){.parent = r->scope};
    r->scope = s;
}

void scope_set(struct run *r, struct scope *s, uint32_t sym, struct value v) {
    run_spend(r, s->n / 16);
    for (uint32_t i = 0; i < s->n; i++)
        if (s->v[i].sym == sym) {
            s->v[i].v = v;
            return;
        }
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 4;
        struct binding *b = run_alloc(r, cap, sizeof *b);
        if (!b) return;
        if (s->n) memcpy(b, s->v, s->n * sizeof *b);
        s->v = b;
        s->cap = cap;
    }
    s->v[s->n++] = (struct binding){sym, v};
}

static void assign_attribute(struct run *r, const struct node *target, struct value v) {
    struct value space = scope_get(r, target->sym);
    if (space.type != V_SPACE)
        run_fail(r, "cannot assign attribute on non-namespace object");
    else if (str_starts(target->text, STR_LIT("_")))
        run_fail(r,
                 "Chat templates cannot store underscore-prefixed attributes on a namespace, but "
                 "got '%.*s'. "
                 "Please rename the attribute.",
                 STR_ARG(target->text));
    else
        dict_set(r, space, v_str(target->text), v);
}

static void assign_tuple(struct run *r, const struct node *target, struct value v) {
    size_t want = 0, i = 0;
    for (const struct node *n = target->a; n; n = n->next) want++;
    if (v.type != V_UNDEF && !v_iterable(v)) {
        run_fail(r, "cannot unpack non-iterable %s object", v_type_name(v));
        return;
    }
    struct seq *items = v_items(r, v);
    if (items->n > want)
        run_fail(r, "too many values to unpack (expected %zu)", want);
    else if (items->n < want)
        run_fail(r, "not enough values to unpack (expected %zu, got %zu)", want, items->n);
    if (run_failed(r)) return;
    for (const struct node *n = target->a; n; n = n->next) assign(r, n, items->v[i++]);
}

/* Into the innermost scope. */
void assign(struct run *r, const struct node *target, struct value v) {
    if (run_failed(r)) return;
    if (target->kind == N_NAME)
        scope_set(r, r->scope, target->sym, v);
    else if (target->kind == N_NSREF)
        assign_attribute(r, target, v);
    else
        assign_tuple(r, target, v);
}

/* --- calls
 * ---------------------------------------------------------------------------------------- */

struct arg_list {
    struct args *a;
    size_t cap, named_cap;
};

static void add_arg(struct run *r, struct arg_list *l, struct value v) {
    if (l->a->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct value *p = run_alloc(r, cap, sizeof *p);
        if (!p) return;
        if (l->a->n) memcpy(p, l->a->v, l->a->n * sizeof *p);
        l->a->v = p;
        l->cap = cap;
    }
    l->a->v[l->a->n++] = v;
}

static void add_named(struct run *r, struct arg_list *l, struct str name, struct value v) {
    struct args *a = l->a;
    run_spend(r, a->named_n / 16);
    for (size_t i = 0; i < a->named_n; i++)
        if (str_eq(a->names[i], name)) {
            run_fail(r, "got multiple values for keyword argument '%.*s'", STR_ARG(name));
            return;
        }
    if (a->named_n == l->named_cap) {
        size_t cap = l->named_cap ? l->named_cap * 2 : 4;
        struct value *p = run_alloc(r, cap, sizeof *p);
        struct str *names = run_alloc(r, cap, sizeof *names);
        if (!p || !names) return;
        if (a->named_n) memcpy(p, a->named, a->named_n * sizeof *p);
        if (a->named_n) memcpy(names, a->names, a->named_n * sizeof *names);
        a->named = p;
        a->names = names;
        l->named_cap = cap;
    }
    a->names[a->named_n] = name;
    a->named[a->named_n++] = v;
}

static void add_mapping(struct run *r, struct arg_list *l, struct value v) {
    if (v.type != V_DICT) {
        run_fail(r, "argument after ** must be a mapping, not %s", v_type_name(v));
        return;
    }
    for (size_t i = 0; i < v.u.dict->n && run_spend(r, 1); i++) {
        if (v.u.dict->keys[i].type != V_STR)
            run_fail(r, "keywords must be strings");
        else
            add_named(r, l, v.u.dict->keys[i].u.s, v.u.dict->values[i]);
    }
}

bool eval_args(struct run *r, const struct node *list, struct args *ret) {
    struct arg_list l = {.a = ret};
    *ret = (struct args){0};
    for (const struct node *n = list; n && !run_failed(r); n = n->next) {
        struct value v = eval(r, n->a);
        if (run_failed(r)) break;
        if (n->kind == N_ARG)
            add_arg(r, &l, v);
        else if (n->kind == N_KWARG)
            add_named(r, &l, n->text, v);
        else if (n->kind == N_STARSTAR)
            add_mapping(r, &l, v);
        else {
            struct seq *items = v_items(r, v);
            for (size_t i = 0; i < items->n && run_spend(r, 1); i++) add_arg(r, &l, items->v[i]);
        }
    }
    return !run_failed(r);
}

struct value call_value(struct run *r, struct value callee, const struct args *a) {
    switch (callee.type) {
    case V_METHOD: return method_call(r, callee.u.method, a);
    case V_MACRO: return macro_call(r, callee.u.macro, a);
    case V_FUNC: return function_call(r, callee.u.func, a);
    case V_LOOP: return loop_recurse(r, callee.u.loop, a);
    case V_UNDEF: return run_fail_undef(r, callee);
    default: return run_fail(r, "'%s' object is not callable", v_type_name(callee));
    }
}

static struct value eval_call(struct run *r, const struct node *n) {
    struct args a;
    const struct node *f = n->a;
    struct value callee = f->kind == N_ATTR ? eval(r, f->a) : eval(r, f);
    bool of_loop = f->kind == N_ATTR && callee.type == V_LOOP;
    if (f->kind == N_ATTR && !of_loop && !run_failed(r)) callee = v_attr(r, callee, f->text);
    if (run_failed(r) || !eval_args(r, n->b, &a)) return v_none();
    r->line = n->line;
    return of_loop ? loop_method(r, callee.u.loop, f->text, &a) : call_value(r, callee, &a);
}

static struct value eval_filter(struct run *r, const struct node *n) {
    struct args a;
    struct value v = n->a ? eval(r, n->a) : r->input;
    if (run_failed(r) || !eval_args(r, n->b, &a)) return v_none();
    r->line = n->line;
    if (n->filter && n->kind == N_FILTER) return filter_call(r, n->filter, v, &a);
    if (n->filter) return n->filter(r, v, &a);
    return run_fail(r, "No %s named '%.*s' found.", n->kind == N_FILTER ? "filter" : "test",
                    STR_ARG(n->text));
}

/* --- operators
 * ------------------------------------------------------------------------------------ */

static bool compare_one(struct run *r, enum op op, struct value a, struct value b) {
    int c;
    switch (op) {
    case OP_EQ: return v_equal(r, a, b);
    case OP_NE: return !v_equal(r, a, b);
    case OP_IN: return v_contains(r, a, b);
    case OP_NOTIN: return !v_contains(r, a, b);
    default: break;
    }
    c = v_compare(r, a, b, op_text(op));
    if (c == 2) return false;
    return op == OP_LT ? c < 0 : op == OP_LE ? c <= 0 : op == OP_GT ? c > 0 : c >= 0;
}

static struct value eval_compare(struct run *r, const struct node *n) {
    struct value a = eval(r, n->a);
    for (const struct node *o = n->b; o && !run_failed(r); o = o->next) {
        struct value b = eval(r, o->a);
        if (run_failed(r) || !compare_one(r, o->op, a, b)) return v_bool(false);
        a = b;
    }
    return v_bool(true);
}

static struct value eval_concat(struct run *r, const struct node *n) {
    struct buf b;
    run_buf(r, &b);
    for (const struct node *i = n->a; i && !run_failed(r); i = i->next) v_print(r, eval(r, i), &b);
    return v_take(r, &b);
}

static struct value eval_arith(struct run *r, const struct node *n) {
    static const char codes[] = {
        [OP_ADD] = '+',      [OP_SUB] = '-', [OP_MUL] = '*', [OP_DIV] = '/',
        [OP_FLOORDIV] = '|', [OP_MOD] = '%', [OP_POW] = '^'};
    struct value a = eval(r, n->a), b = eval(r, n->b);
    r->line = n->line;
    return v_arith(r, codes[n->op], a, b);
}

static struct value eval_list(struct run *r, const struct node *n) {
    struct value list = v_seq(r, n->kind == N_LIST ? V_LIST : V_TUPLE, 0);
    for (const struct node *i = n->a; i && !run_failed(r); i = i->next)
        seq_add(r, list, eval(r, i));
    return list;
}

static struct value eval_dict(struct run *r, const struct node *n) {
    struct value dict = v_dict(r, 0);
    for (const struct node *i = n->a; i && !run_failed(r); i = i->next) {
        struct value key = eval(r, i->a);
        dict_set(r, dict, key, eval(r, i->b));
    }
    return dict;
}

static struct value eval_item(struct run *r, const struct node *n) {
    struct value v = eval(r, n->a);
    if (n->b->kind != N_SLICE) {
        struct value key = eval(r, n->b);
        r->line = n->line;
        return v_item(r, v, key);
    }
    const struct node *parts[3] = {n->b->a, n->b->b, n->b->c};
    struct value bounds[3];
    for (int i = 0; i < 3; i++) bounds[i] = parts[i] ? eval(r, parts[i]) : v_none();
    r->line = n->line;
    return run_failed(r) ? v_none() : v_slice(r, v, bounds);
}

static struct value eval_cond(struct run *r, const struct node *n) {
    if (v_truth(eval(r, n->a))) return eval(r, n->b);
    if (n->c) return eval(r, n->c);
    char hint[120];
    snprintf(
        hint, sizeof hint,
        "the inline if-expression on line %d evaluated to false and no else section was defined.",
        n->line);
    return v_undef_hint(r, hint);
}

static struct value eval_node(struct run *r, const struct node *n) {
    struct value v;
    switch (n->kind) {
    case N_CONST: return n->constant;
    case N_NAME: return scope_get(r, n->sym);
    case N_LIST:
    case N_TUPLE: return eval_list(r, n);
    case N_DICT: return eval_dict(r, n);
    case N_NEGATE: return v_negate(r, eval(r, n->a), n->op == OP_SUB ? '-' : '+');
    case N_ARITH: return eval_arith(r, n);
    case N_AND: return v_truth(v = eval(r, n->a)) ? eval(r, n->b) : v;
    case N_OR: return v_truth(v = eval(r, n->a)) ? v : eval(r, n->b);
    case N_NOT: return v_bool(!v_truth(eval(r, n->a)));
    case N_CONCAT: return eval_concat(r, n);
    case N_COMPARE: return eval_compare(r, n);
    case N_COND: return eval_cond(r, n);
    case N_ATTR:
        v = eval(r, n->a);
        r->line = n->line;
        return v_attr(r, v, n->text);
    case N_ITEM: return eval_item(r, n);
    case N_CALL: return eval_call(r, n);
    case N_FILTER:
    case N_TEST: return eval_filter(r, n);
    default: return run_fail(r, "this is not an expression");
    }
}

struct value eval(struct run *r, const struct node *n) {
    if (!run_enter(r)) return v_none();
    run_spend(r, 1);
    r->line = n->line;
    struct value v = eval_node(r, n);
    run_leave(r);
    return v;
}
