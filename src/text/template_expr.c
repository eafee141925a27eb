/* Expressions of the template language: recursive descent in jinja2's order of precedence, with a
 * limit on depth. A parse function returns NULL after an error. */
#include "text/template_parse.h"

static struct node *parse_unary(struct parser *p, bool with_filter);
static struct node *parse_or(struct parser *p);

static bool is_keyword_operand(const struct parser *p) {
    return tok_is_name(p, "else") || tok_is_name(p, "or") || tok_is_name(p, "and");
}

/* Links n at the end of a list and moves the end. */
static bool append(struct node ***end, struct node *n) {
    if (!n) return false;
    **end = n;
    *end = &n->next;
    return true;
}

static struct node *constant(struct parser *p, struct value v) {
    struct node *n = node_new(p, N_CONST, p->at->line);
    if (n) n->constant = v;
    return n;
}

static struct node *binary(struct parser *p, enum node_kind kind, enum op op, struct node *a,
                           struct node *b) {
    if (!a || !b) return NULL;
    struct node *n = node_new(p, kind, a->line);
    if (!n) return NULL;
    n->op = op;
    n->a = a;
    n->b = b;
    n->height = (uint16_t)(1 + (a->height > b->height ? a->height : b->height));
    if (n->height > TEMPLATE_DEPTH * 4) return parse_fail(p, n->line, "an expression is too long");
    return n;
}

/* --- primaries
 * ------------------------------------------------------------------------------------ */

static struct node *parse_list(struct parser *p) {
    struct node *n = node_new(p, N_LIST, p->at->line);
    p->at++;
    if (!n) return NULL;
    struct node **end = &n->a;
    while (!tok_is_op(p, OP_RBRACKET)) {
        if (n->a && !tok_expect_op(p, OP_COMMA)) return NULL;
        if (tok_is_op(p, OP_RBRACKET)) break;
        if (!append(&end, parse_expression(p))) return NULL;
    }
    p->at++;
    return n;
}

static struct node *parse_pair(struct parser *p) {
    struct node *pair = node_new(p, N_PAIR, p->at->line);
    if (!pair) return NULL;
    pair->a = parse_expression(p);
    if (!pair->a || !tok_expect_op(p, OP_COLON)) return NULL;
    pair->b = parse_expression(p);
    return pair->b ? pair : NULL;
}

static struct node *parse_dict(struct parser *p) {
    struct node *n = node_new(p, N_DICT, p->at->line);
    p->at++;
    if (!n) return NULL;
    struct node **end = &n->a;
    while (!tok_is_op(p, OP_RBRACE)) {
        if (n->a && !tok_expect_op(p, OP_COMMA)) return NULL;
        if (tok_is_op(p, OP_RBRACE)) break;
        if (!append(&end, parse_pair(p))) return NULL;
    }
    p->at++;
    return n;
}

static struct node *parse_name(struct parser *p, bool with_namespace) {
    const struct token *t = p->at;
    struct str name = t->text;
    if (str_is(name, "true") || str_is(name, "True") || str_is(name, "false") ||
        str_is(name, "False") || str_is(name, "none") || str_is(name, "None")) {
        bool truth = name.p[0] == 't' || name.p[0] == 'T', none = name.n == 4 && !truth;
        struct node *n = constant(p, none ? v_none() : v_bool(truth));
        p->at++;
        return n;
    }
    p->at++;
    struct node *n = node_new(p, N_NAME, t->line);
    if (!n) return NULL;
    n->text = name;
    n->sym = template_symbol(p->t, name);
    if (p->macro && str_is(name, "caller")) p->macro->uses_caller = true;
    if (p->macro && str_is(name, "varargs")) p->macro->uses_varargs = true;
    if (p->macro && str_is(name, "kwargs")) p->macro->uses_kwargs = true;
    if (!with_namespace || !tok_skip_op(p, OP_DOT)) return n;
    n->kind = N_NSREF;
    if (p->at->type != T_NAME) return tok_expect(p, T_NAME), NULL;
    n->text = p->at->text;
    p->at++;
    return n;
}

/* "a" 'b' is one string */
static struct node *parse_strings(struct parser *p) {
    struct node *n = constant(p, v_str(p->at->text));
    p->at++;
    if (!n || p->at->type != T_STRING) return n;
    struct buf b;
    buf_init(&b, TEMPLATE_MAX_BYTES);
    buf_str(&b, n->constant.u.s);
    for (; p->at->type == T_STRING; p->at++) buf_str(&b, p->at->text);
    n->constant = v_str(arena_str(&p->t->arena, buf_view(&b)));
    buf_release(&b);
    return n;
}

static struct node *parse_primary(struct parser *p, bool with_namespace) {
    const struct token *t = p->at;
    struct node *n;
    char text[64];
    switch (t->type) {
    case T_NAME: return parse_name(p, with_namespace);
    case T_STRING: return parse_strings(p);
    case T_INT:
    case T_FLOAT:
        n = constant(p, t->type == T_INT ? v_int(t->i) : v_float(t->f));
        p->at++;
        return n;
    default: break;
    }
    if (tok_skip_op(p, OP_LPAREN)) {
        n = parse_tuple(p, true, NULL, true);
        return n && tok_expect_op(p, OP_RPAREN) ? n : NULL;
    }
    if (tok_is_op(p, OP_LBRACKET)) return parse_list(p);
    if (tok_is_op(p, OP_LBRACE)) return parse_dict(p);
    return parse_fail(p, t->line, "unexpected '%s'", tok_text(t, text));
}

/* --- what follows a primary
 * ----------------------------------------------------------------------- */

static struct node *parse_arg(struct parser *p) {
    struct node *n = node_new(p, N_ARG, p->at->line);
    if (!n) return NULL;
    if (tok_skip_op(p, OP_MUL))
        n->kind = N_STAR;
    else if (tok_skip_op(p, OP_POW))
        n->kind = N_STARSTAR;
    else if (p->at->type == T_NAME && p->at[1].type == T_OP && p->at[1].op == OP_ASSIGN) {
        n->kind = N_KWARG;
        n->text = p->at->text;
        p->at += 2;
    }
    n->a = parse_expression(p);
    return n->a ? n : NULL;
}

static bool arg_in_order(const struct node *before, const struct node *n) {
    static const int rank[] = {[N_ARG] = 0, [N_KWARG] = 1, [N_STAR] = 2, [N_STARSTAR] = 3};
    if (!before) return true;
    if (n->kind == N_ARG) return before->kind == N_ARG;
    if (n->kind == N_KWARG) return before->kind != N_STARSTAR;
    return rank[before->kind] < rank[n->kind];
}

/* "(" a, k=v, *args, **kwargs ")": a holder whose `a` is the list */
struct node *parse_call_args(struct parser *p) {
    struct node *holder = node_new(p, N_ARG, p->at->line);
    if (!holder || !tok_expect_op(p, OP_LPAREN)) return NULL;
    struct node **end = &holder->a, *before = NULL;
    while (!tok_is_op(p, OP_RPAREN)) {
        if (before && !tok_expect_op(p, OP_COMMA)) return NULL;
        if (tok_is_op(p, OP_RPAREN)) break;
        struct node *n = parse_arg(p);
        if (!append(&end, n)) return NULL;
        if (!arg_in_order(before, n))
            return parse_fail(p, holder->line, "invalid syntax for function call expression");
        before = n;
    }
    p->at++;
    return holder;
}

static struct node *parse_call(struct parser *p, struct node *callee) {
    struct node *args = parse_call_args(p), *n = binary(p, N_CALL, 0, callee, args);
    if (n) n->b = args->a, n->line = args->line;
    return n;
}

/* [x], [a:b], [a:b:c]; the parts of a slice may be absent */
static struct node *parse_subscript_part(struct parser *p) {
    struct node *n = node_new(p, N_SLICE, p->at->line), **parts[3];
    if (!n) return NULL;
    parts[0] = &n->a;
    parts[1] = &n->b;
    parts[2] = &n->c;
    int part = 0;
    while (part < 3) {
        if (!tok_is_op(p, OP_COLON) && !tok_is_op(p, OP_RBRACKET) && !tok_is_op(p, OP_COMMA)) {
            *parts[part] = parse_expression(p);
            if (!*parts[part]) return NULL;
        }
        if (part < 2 && tok_skip_op(p, OP_COLON))
            part++;
        else
            break;
    }
    if (part == 0) return n->a ? n->a : parse_fail(p, n->line, "unexpected ']'");
    return n;
}

static struct node *parse_subscript(struct parser *p, struct node *of) {
    int line = p->at->line;
    if (tok_skip_op(p, OP_DOT)) {
        const struct token *t = p->at;
        struct node *n = node_new(p, N_ATTR, line);
        if (!n) return NULL;
        n->a = of;
        n->height = (uint16_t)(of->height + 1);
        n->text = t->text;
        if (n->height > TEMPLATE_DEPTH * 4) return parse_fail(p, line, "an expression is too long");
        if (t->type == T_INT) {
            n->kind = N_ITEM;
            n->b = constant(p, v_int(t->i));
        } else if (t->type != T_NAME)
            return parse_fail(p, t->line, "expected name or number");
        p->at++;
        return n;
    }
    p->at++;
    struct node *key = parse_subscript_part(p);
    if (key && tok_is_op(p, OP_COMMA))
        return parse_fail(p, line, "a subscript with a comma is not supported");
    return key && tok_expect_op(p, OP_RBRACKET) ? binary(p, N_ITEM, 0, of, key) : NULL;
}

struct node *parse_postfix_from(struct parser *p, struct node *n) {
    while (n) {
        if (tok_is_op(p, OP_DOT) || tok_is_op(p, OP_LBRACKET))
            n = parse_subscript(p, n);
        else if (tok_is_op(p, OP_LPAREN))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* a chain of |name(args); input NULL stands for the text of a block */
struct node *parse_filters(struct parser *p, struct node *input, bool inline_start) {
    while (inline_start || tok_is_op(p, OP_PIPE)) {
        if (!inline_start) p->at++;
        struct node *n = node_new(p, N_FILTER, p->at->line);
        if (!n) return NULL;
        n->text = p->at->text;
        if (!tok_expect(p, T_NAME)) return NULL;
        n->filter = filter_find(n->text);
        n->a = input;
        n->height = (uint16_t)(input ? input->height + 1 : 1);
        if (n->height > TEMPLATE_DEPTH * 4)
            return parse_fail(p, n->line, "an expression is too long");
        if (tok_is_op(p, OP_LPAREN)) {
            struct node *args = parse_call_args(p);
            if (!args) return NULL;
            n->b = args->a;
        }
        input = n;
        inline_start = false;
    }
    return input;
}

static bool starts_test_argument(const struct parser *p) {
    if (is_keyword_operand(p)) return false;
    switch (p->at->type) {
    case T_NAME:
    case T_STRING:
    case T_INT:
    case T_FLOAT: return true;
    default: return tok_is_op(p, OP_LBRACKET) || tok_is_op(p, OP_LBRACE);
    }
}

static bool parse_test_args(struct parser *p, struct node *n) {
    if (tok_is_op(p, OP_LPAREN)) {
        struct node *args = parse_call_args(p);
        if (args) n->b = args->a;
        return args != NULL;
    }
    if (!starts_test_argument(p)) return true;
    if (tok_is_name(p, "is"))
        return parse_fail(p, n->line, "You cannot chain multiple tests with is"), false;
    n->b = node_new(p, N_ARG, p->at->line);
    if (!n->b) return false;
    n->b->a = parse_postfix_from(p, parse_primary(p, false));
    return n->b->a != NULL;
}

static struct node *parse_test(struct parser *p, struct node *of) {
    int line = p->at->line;
    p->at++; /* is */
    bool negated = tok_skip_name(p, "not");
    struct node *n = node_new(p, N_TEST, line);
    if (!n) return NULL;
    n->a = of;
    n->height = (uint16_t)(of->height + 1);
    n->text = p->at->text;
    if (n->height > TEMPLATE_DEPTH * 4) return parse_fail(p, line, "an expression is too long");
    if (!tok_expect(p, T_NAME)) return NULL;
    n->filter = test_find(n->text);
    if (!parse_test_args(p, n)) return NULL;
    if (!negated) return n;
    struct node *not = node_new(p, N_NOT, line);
    if (not ) not ->a = n, not ->height = (uint16_t)(n->height + 1);
    return not ;
}

static struct node *parse_filter_tests(struct parser *p, struct node *n) {
    while (n) {
        if (tok_is_op(p, OP_PIPE))
            n = parse_filters(p, n, false);
        else if (tok_is_name(p, "is"))
            n = parse_test(p, n);
        else if (tok_is_op(p, OP_LPAREN))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* --- operators, loosest last
 * ---------------------------------------------------------------------- */

static struct node *parse_unary(struct parser *p, bool with_filter) {
    if (!parse_enter(p)) return NULL;
    struct node *n = NULL;
    int line = p->at->line;
    if (tok_is_op(p, OP_SUB) || tok_is_op(p, OP_ADD)) {
        enum op op = p->at->op;
        p->at++;
        struct node *of = parse_unary(p, false);
        n = of ? node_new(p, N_NEGATE, line) : NULL;
        if (n) n->a = of, n->op = op, n->height = (uint16_t)(of->height + 1);
    } else
        n = parse_primary(p, false);
    n = parse_postfix_from(p, n);
    if (with_filter) n = parse_filter_tests(p, n);
    p->depth--;
    return n;
}

static struct node *parse_pow(struct parser *p) {
    struct node *n = parse_unary(p, true);
    while (n && tok_skip_op(p, OP_POW)) n = binary(p, N_ARITH, OP_POW, n, parse_unary(p, true));
    return n;
}

static struct node *parse_product(struct parser *p) {
    struct node *n = parse_pow(p);
    while (n && (tok_is_op(p, OP_MUL) || tok_is_op(p, OP_DIV) || tok_is_op(p, OP_FLOORDIV) ||
                 tok_is_op(p, OP_MOD))) {
        enum op op = p->at->op;
        p->at++;
        n = binary(p, N_ARITH, op, n, parse_pow(p));
    }
    return n;
}

static struct node *parse_concat(struct parser *p) {
    struct node *first = parse_product(p);
    if (!first || !tok_is_op(p, OP_TILDE)) return first;
    struct node *n = node_new(p, N_CONCAT, first->line);
    if (!n) return NULL;
    n->a = first;
    struct node **end = &first->next;
    while (tok_skip_op(p, OP_TILDE))
        if (!append(&end, parse_product(p))) return NULL;
    return n;
}

static struct node *parse_sum(struct parser *p) {
    struct node *n = parse_concat(p);
    while (n && (tok_is_op(p, OP_ADD) || tok_is_op(p, OP_SUB))) {
        enum op op = p->at->op;
        p->at++;
        n = binary(p, N_ARITH, op, n, parse_concat(p));
    }
    return n;
}

static enum op comparison(struct parser *p) {
    static const enum op ops[] = {OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (tok_skip_op(p, ops[i])) return ops[i];
    if (tok_skip_name(p, "in")) return OP_IN;
    if (!tok_is_name(p, "not") || p->at[1].type != T_NAME || !str_is(p->at[1].text, "in")) return 0;
    p->at += 2;
    return OP_NOTIN;
}

static struct node *parse_compare(struct parser *p) {
    struct node *first = parse_sum(p), *n = NULL, **end = NULL;
    enum op op;
    while (first && (op = comparison(p)) != 0) {
        struct node *o = node_new(p, N_OPERAND, p->at->line);
        if (!n) {
            n = node_new(p, N_COMPARE, first->line);
            if (!n) return NULL;
            n->a = first;
            n->height = (uint16_t)(first->height + 1);
            end = &n->b;
        }
        if (!o) return NULL;
        o->op = op;
        o->a = parse_sum(p);
        if (!o->a || !append(&end, o)) return NULL;
    }
    return n ? n : first;
}

static struct node *parse_not(struct parser *p) {
    if (!tok_is_name(p, "not")) return parse_compare(p);
    int line = p->at->line;
    if (!parse_enter(p)) return NULL;
    p->at++;
    struct node *of = parse_not(p), *n = of ? node_new(p, N_NOT, line) : NULL;
    if (n) n->a = of, n->height = (uint16_t)(of->height + 1);
    p->depth--;
    return n;
}

static struct node *parse_and(struct parser *p) {
    struct node *n = parse_not(p);
    while (n && tok_skip_name(p, "and")) n = binary(p, N_AND, 0, n, parse_not(p));
    return n;
}

static struct node *parse_or(struct parser *p) {
    struct node *n = parse_and(p);
    while (n && tok_skip_name(p, "or")) n = binary(p, N_OR, 0, n, parse_and(p));
    return n;
}

/* a if test else c: the node's a is the test, b the value, c the other value or NULL */
struct node *parse_expression(struct parser *p) {
    if (!parse_enter(p)) return NULL;
    struct node *n = parse_or(p);
    while (n && tok_skip_name(p, "if")) {
        struct node *test = parse_or(p), *cond = binary(p, N_COND, 0, test, n);
        if (cond && tok_skip_name(p, "else")) {
            cond->c = parse_expression(p);
            if (!cond->c) cond = NULL;
        }
        n = cond;
    }
    p->depth--;
    return n;
}

static bool is_tuple_end(const struct parser *p, const char *end_name) {
    if (p->at->type == T_PRINT_END || p->at->type == T_BLOCK_END || tok_is_op(p, OP_RPAREN))
        return true;
    return end_name && tok_is_name(p, end_name);
}

static struct node *parse_items(struct parser *p, bool targets, bool with_cond, bool with_namespace,
                                const char *end_name, bool parentheses) {
    struct node *list = NULL, **end = &list;
    int line = p->at->line;
    bool is_tuple = false;
    char text[64];
    while (true) {
        if (list && !tok_expect_op(p, OP_COMMA)) return NULL;
        if (is_tuple_end(p, end_name)) break;
        struct node *n = targets     ? parse_primary(p, with_namespace)
                         : with_cond ? parse_expression(p)
                                     : parse_or(p);
        if (!append(&end, n)) return NULL;
        if (!tok_is_op(p, OP_COMMA)) break;
        is_tuple = true;
    }
    if (!is_tuple && list) return list;
    if (!is_tuple && !parentheses)
        return parse_fail(p, line, "Expected an expression, got '%s'", tok_text(p->at, text));
    struct node *tuple = node_new(p, N_TUPLE, line);
    if (tuple) tuple->a = list;
    return tuple;
}

struct node *parse_tuple(struct parser *p, bool with_cond, const char *end_name, bool parentheses) {
    return parse_items(p, false, with_cond, false, end_name, parentheses);
}

static bool can_assign(const struct node *n) {
    if (n->kind == N_NAME || n->kind == N_NSREF) return true;
    if (n->kind != N_TUPLE) return false;
    for (const struct node *i = n->a; i; i = i->next)
        if (!can_assign(i)) return false;
    return true;
}

struct node *parse_target(struct parser *p, const char *end_name, bool with_namespace) {
    if (!parse_enter(p)) return NULL;
    struct node *n = parse_items(p, true, false, with_namespace, end_name, false);
    p->depth--;
    if (n && !can_assign(n)) return parse_fail(p, n->line, "can't assign to this");
    return n;
}
