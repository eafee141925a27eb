/* Statements at run time: output, branches, loops, macros. */
#include "text/template_int.h"

#include "base/mem.h"

/* --- loops
 * ---------------------------------------------------------------------------------------- */

static bool passes(struct run *r, struct loop *l, struct value item) {
    if (!l->def->e) return true;
    struct scope *outer = r->scope;
    l->test_scope->n = 0;
    r->scope = l->test_scope;
    assign(r, l->def->a, item);
    bool yes = !run_failed(r) && v_truth(eval(r, l->def->e));
    r->scope = outer;
    return yes;
}

/* The next item that the condition lets through. */
static bool loop_pull(struct run *r, struct loop *l, struct value *ret) {
    if (l->rest) {
        if (l->rest_at == l->rest->n) return false;
        *ret = l->rest->v[l->rest_at++];
        return true;
    }
    while (l->next < l->from->n && run_spend(r, 1)) {
        struct value item = l->from->v[l->next++];
        if (passes(r, l, item) && !run_failed(r)) {
            *ret = item;
            return true;
        }
    }
    return false;
}

static bool loop_next(struct run *r, struct loop *l) {
    struct value item = l->after;
    l->after = v_missing();
    if (item.type == V_MISSING && !loop_pull(r, l, &item)) return false;
    l->before = l->current;
    l->current = item;
    l->index0++;
    return true;
}

static bool loop_peek(struct run *r, struct loop *l) {
    if (l->after.type == V_MISSING && !loop_pull(r, l, &l->after)) return false;
    return true;
}

static int64_t loop_length(struct run *r, struct loop *l) {
    if (l->length >= 0) return l->length;
    if (!l->def->e) return l->length = (int64_t)l->from->n;
    struct value rest = v_seq(r, V_LIST, 0), item;
    while (loop_pull(r, l, &item)) seq_add(r, rest, item);
    l->rest = rest.u.seq;
    l->rest_at = 0;
    return l->length = (int64_t)rest.u.seq->n + l->index0 + 1 + (l->after.type != V_MISSING);
}

struct value loop_attr(struct run *r, struct loop *l, struct str name) {
    if (str_is(name, "index")) return v_int(l->index0 + 1);
    if (str_is(name, "index0")) return v_int(l->index0);
    if (str_is(name, "first")) return v_bool(l->index0 == 0);
    if (str_is(name, "last")) return v_bool(!loop_peek(r, l));
    if (str_is(name, "length")) return v_int(loop_length(r, l));
    if (str_is(name, "revindex")) return v_int(loop_length(r, l) - l->index0);
    if (str_is(name, "revindex0")) return v_int(loop_length(r, l) - l->index0 - 1);
    if (str_is(name, "depth")) return v_int(l->depth + 1);
    if (str_is(name, "depth0")) return v_int(l->depth);
    if (str_is(name, "previtem"))
        return l->index0 == 0 ? v_undef_hint(r, "there is no previous item") : l->before;
    if (str_is(name, "nextitem"))
        return loop_peek(r, l) ? l->after : v_undef_hint(r, "there is no next item");
    return v_missing();
}

static struct value args_tuple(struct run *r, const struct args *a, size_t from) {
    struct value t = v_seq(r, V_TUPLE, a->n);
    for (size_t i = from; i < a->n; i++) seq_add(r, t, a->v[i]);
    return t;
}

struct value loop_method(struct run *r, struct loop *l, struct str name, const struct args *a) {
    if (str_is(name, "cycle")) {
        if (a->n == 0) return run_fail(r, "no items for cycling given");
        return a->v[(size_t)l->index0 % a->n];
    }
    if (str_is(name, "changed")) {
        struct value now = args_tuple(r, a, 0);
        bool same = l->changed.type != V_MISSING && v_equal(r, l->changed, now);
        l->changed = now;
        return v_bool(!same);
    }
    struct value v = loop_attr(r, l, name);
    return call_value(r,
                      v.type == V_MISSING
                          ? v_undef_of(r, (struct value){.type = V_LOOP, .u.loop = l}, v_str(name))
                          : v,
                      a);
}

static enum flow run_loop(struct run *r, const struct node *n, struct value over, int depth) {
    struct loop *l = run_alloc(r, 1, sizeof *l);
    struct scope *scopes = run_alloc(r, 2, sizeof *scopes), *outer = r->scope;
    if (!l || !scopes) return FLOW_ON;
    *l = (struct loop){.def = n,
                       .scope = outer,
                       .test_scope = &scopes[1],
                       .index0 = -1,
                       .length = -1,
                       .depth = depth};
    l->after = l->before = l->current = l->changed = v_missing();
    l->from = v_items(r, over);
    scopes[0].parent = scopes[1].parent = outer;
    enum flow flow = FLOW_ON;
    while (flow != FLOW_BREAK && !run_failed(r) && loop_next(r, l)) {
        scopes[0].n = 0;
        r->scope = &scopes[0];
        scope_set(r, &scopes[0], SYM_LOOP, (struct value){.type = V_LOOP, .u.loop = l});
        assign(r, n->a, l->current);
        flow = exec(r, n->c->a);
        r->scope = outer;
    }
    r->scope = outer;
    if (l->index0 < 0 && n->d && !run_failed(r)) {
        struct scope *inner = run_alloc(r, 1, sizeof *inner);
        if (!inner) return FLOW_ON;
        scope_push(r, inner);
        exec(r, n->d->a);
        r->scope = outer;
    }
    return FLOW_ON;
}

/* loop(children) of a recursive loop: its body over other items, as a string */
struct value loop_recurse(struct run *r, struct loop *l, const struct args *a) {
    if (!l->def->recursive)
        return run_fail(r, "The loop must have the 'recursive' marker to be called recursively.");
    if (a->n != 1) return run_fail(r, "loop() takes one argument");
    if (!run_enter(r)) return v_none();
    struct buf b, *out = r->out;
    struct scope *outer = r->scope;
    run_buf(r, &b);
    r->out = &b;
    r->scope = l->scope;
    run_loop(r, l->def, a->v[0], l->depth + 1);
    r->scope = outer;
    r->out = out;
    run_leave(r);
    return v_take(r, &b);
}

/* --- macros and captured output
 * ------------------------------------------------------------------- */

struct value capture(struct run *r, const struct node *body) {
    struct buf b, *out = r->out;
    run_buf(r, &b);
    r->out = &b;
    exec(r, body->a);
    r->out = out;
    return v_take(r, &b);
}

struct str macro_name(const struct macro *m) {
    return m->def->text.n ? m->def->text : STR_LIT("caller");
}

static struct value macro_new(struct run *r, const struct node *def) {
    struct macro *m = run_alloc(r, 1, sizeof *m);
    if (!m) return v_none();
    m->def = def;
    m->closure = r->scope;
    return (struct value){.type = V_MACRO, .u.macro = m};
}

static struct value param_missing(struct run *r, struct str name) {
    char hint[160];
    snprintf(hint, sizeof hint, "parameter '%.100s' was not provided", v_copy(r, name).u.s.p);
    return v_undef_hint(r, hint);
}

static bool is_param(struct run *r, const struct node *def, struct str name) {
    for (const struct node *p = def->a; p && run_spend(r, 1); p = p->next)
        if (str_eq(p->text, name)) return true;
    return false;
}

static struct value named_arg(struct run *r, const struct args *a, struct str name) {
    run_spend(r, a->named_n / 16);
    for (size_t i = 0; i < a->named_n; i++)
        if (str_eq(a->names[i], name)) return a->named[i];
    return v_missing();
}

/* caller, varargs and kwargs where the macro's body names them; else what is left over is an error
 */
static void bind_rest(struct run *r, const struct macro *m, const struct args *a, size_t params) {
    const struct node *def = m->def;
    struct value rest = v_dict(r, 0);
    for (size_t i = 0; i < a->named_n && !run_failed(r); i++) {
        bool caller = str_is(a->names[i], "caller") && def->uses_caller;
        if (!is_param(r, def, a->names[i]) && !caller)
            dict_set(r, rest, v_str(a->names[i]), a->named[i]);
    }
    if (run_failed(r)) return;
    if (def->uses_kwargs)
        scope_set(r, r->scope, SYM_KWARGS, rest);
    else if (rest.u.dict->n)
        run_fail(r, "macro '%.*s' takes no keyword argument '%.*s'", STR_ARG(macro_name(m)),
                 STR_ARG(rest.u.dict->keys[0].u.s));
    if (def->uses_varargs)
        scope_set(r, r->scope, SYM_VARARGS, args_tuple(r, a, params));
    else if (a->n > params)
        run_fail(r, "macro '%.*s' takes not more than %zu argument(s)", STR_ARG(macro_name(m)),
                 params);
    if (!def->uses_caller) return;
    struct value caller = named_arg(r, a, STR_LIT("caller"));
    if (caller.type == V_MISSING || caller.type == V_NONE)
        caller = v_undef_hint(r, "No caller defined");
    scope_set(r, r->scope, SYM_CALLER, caller);
}

static void bind_macro(struct run *r, const struct macro *m, const struct args *a) {
    size_t i = 0;
    for (const struct node *p = m->def->a; p && !run_failed(r); p = p->next, i++) {
        struct value v = i < a->n ? a->v[i] : named_arg(r, a, p->text);
        if (v.type == V_MISSING)
            v = p->a ? eval(r, p->a) : param_missing(r, p->text);
        else if (i < a->n && named_arg(r, a, p->text).type != V_MISSING)
            run_fail(r, "macro '%.*s' got two values for argument '%.*s'", STR_ARG(macro_name(m)),
                     STR_ARG(p->text));
        scope_set(r, r->scope, p->sym, v);
    }
    bind_rest(r, m, a, i);
}

struct value macro_call(struct run *r, const struct macro *m, const struct args *a) {
    struct scope *outer = r->scope, *inner = run_alloc(r, 1, sizeof *inner);
    if (!inner || !run_enter(r)) return v_none();
    inner->parent = m->closure;
    r->scope = inner;
    bind_macro(r, m, a);
    struct value v = run_failed(r) ? v_none() : capture(r, m->def->c);
    r->scope = outer;
    run_leave(r);
    return v;
}

/* --- statements
 * ----------------------------------------------------------------------------------- */

static enum flow exec_if(struct run *r, const struct node *n) {
    if (v_truth(eval(r, n->a))) return run_failed(r) ? FLOW_ON : exec(r, n->b->a);
    for (const struct node *e = n->c; e && !run_failed(r); e = e->next)
        if (v_truth(eval(r, e->a))) return run_failed(r) ? FLOW_ON : exec(r, e->b->a);
    return n->d && !run_failed(r) ? exec(r, n->d->a) : FLOW_ON;
}

static struct value filtered(struct run *r, const struct node *filters, struct value text) {
    struct value outer = r->input;
    r->input = text;
    struct value v = eval(r, filters);
    r->input = outer;
    return v;
}

/* A body in a scope of its own; `text`: captured into *text instead of printed. */
static enum flow exec_scoped(struct run *r, const struct node *n, struct value *text) {
    struct scope *outer = r->scope, *inner = run_alloc(r, 1, sizeof *inner);
    if (!inner) return FLOW_ON;
    scope_push(r, inner);
    enum flow flow = FLOW_ON;
    if (n->kind == N_WITH)
        for (const struct node *p = n->a; p && !run_failed(r); p = p->next) {
            r->scope = outer;
            struct value v = eval(r, p->b);
            r->scope = inner;
            assign(r, p->a, v);
        }
    const struct node *body = n->kind == N_SCOPE ? n : n->c;
    if (text)
        *text = capture(r, body);
    else if (!run_failed(r))
        flow = exec(r, body->a);
    r->scope = outer;
    return flow;
}

static void exec_set_block(struct run *r, const struct node *n) {
    struct value text = v_none();
    exec_scoped(r, n, &text);
    if (n->b && !run_failed(r)) text = filtered(r, n->b, text);
    if (n->kind == N_SETBLOCK)
        assign(r, n->a, text);
    else
        v_print(r, text, r->out);
}

static void exec_call_block(struct run *r, const struct node *n) {
    struct args a;
    struct value callee = eval(r, n->a->a);
    if (run_failed(r) || !eval_args(r, n->a->b, &a)) return;
    struct str *names = run_alloc(r, a.named_n + 1, sizeof *names);
    struct value *named = run_alloc(r, a.named_n + 1, sizeof *named);
    if (!names || !named) return;
    for (size_t i = 0; i < a.named_n; i++) names[i] = a.names[i], named[i] = a.named[i];
    names[a.named_n] = STR_LIT("caller");
    named[a.named_n++] = macro_new(r, n->b);
    a.names = names;
    a.named = named;
    v_print(r, call_value(r, callee, &a), r->out);
}

static enum flow exec_one(struct run *r, const struct node *n) {
    switch (n->kind) {
    case N_DATA: v_print(r, v_str(n->text), r->out); break;
    case N_PRINT: v_print(r, eval(r, n->a), r->out); break;
    case N_IF: return exec_if(r, n);
    case N_FOR: return run_loop(r, n, eval(r, n->b), 0);
    case N_SET: assign(r, n->a, eval(r, n->b)); break;
    case N_SETBLOCK:
    case N_FILTERBLOCK: exec_set_block(r, n); break;
    case N_MACRO: scope_set(r, r->scope, n->sym, macro_new(r, n)); break;
    case N_CALLBLOCK: exec_call_block(r, n); break;
    case N_WITH:
    case N_SCOPE: return exec_scoped(r, n, NULL);
    case N_BREAK: return FLOW_BREAK;
    case N_CONTINUE: return FLOW_CONTINUE;
    default: run_fail(r, "this is not a statement");
    }
    return FLOW_ON;
}

enum flow exec(struct run *r, const struct node *list) {
    enum flow flow = FLOW_ON;
    if (!run_enter(r)) return flow;
    for (const struct node *n = list; n && flow == FLOW_ON && run_spend(r, 1); n = n->next) {
        r->line = n->line;
        flow = exec_one(r, n);
        if (!buf_ok(r->out)) run_fail(r, "the rendered text is longer than %zu bytes", r->out->max);
    }
    run_leave(r);
    return flow;
}
