/* Statements of the template language, and the token helpers of the whole parser. */
#include "text/template_parse.h"

#include "base/hash.h"
#include "base/mem.h"

static struct node *parse_statement(struct parser *p);

/* --- symbols, nodes, errors
 * ------------------------------------------------------------------------ */

static void index_names(struct chat_template *t) {
    t->name_slots = t->name_slots ? t->name_slots * 2 : 64;
    mem_free(t->name_index);
    t->name_index = mem_zalloc(t->name_slots, sizeof *t->name_index);
    for (size_t i = 0; i < t->name_count; i++) {
        size_t at = hash_bytes(t->names[i].p, t->names[i].n) & (t->name_slots - 1);
        while (t->name_index[at]) at = (at + 1) & (t->name_slots - 1);
        t->name_index[at] = (uint32_t)i + 1;
    }
}

uint32_t template_symbol(struct chat_template *t, struct str name) {
    if (t->name_count * 2 >= t->name_slots) index_names(t);
    size_t at = hash_bytes(name.p, name.n) & (t->name_slots - 1);
    for (; t->name_index[at]; at = (at + 1) & (t->name_slots - 1))
        if (str_eq(t->names[t->name_index[at] - 1], name)) return t->name_index[at] - 1;
    mem_grow((void **)&t->names, &t->name_cap, t->name_count + 1, sizeof *t->names);
    t->names[t->name_count] = name;
    t->name_index[at] = (uint32_t)++t->name_count;
    return (uint32_t)t->name_count - 1;
}

struct node *node_new(struct parser *p, enum node_kind kind, int line) {
    struct node *n = arena_alloc(&p->t->arena, sizeof *n);
    if (!n) return parse_fail(p, line, "the template is too large");
    n->kind = kind;
    n->line = line;
    n->height = 1;
    return n;
}

void *parse_fail(struct parser *p, int line, const char *fmt, ...) {
    char text[360];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!p->failed) err_set(p->err, ERR_INVALID, "%s: line %d: %s", p->t->where, line, text);
    p->failed = true;
    return NULL;
}

bool parse_enter(struct parser *p) {
    if (++p->depth <= TEMPLATE_DEPTH) return true;
    parse_fail(p, p->at->line, "nested more than %d levels deep", TEMPLATE_DEPTH);
    return false;
}

const char *tok_text(const struct token *t, char out[64]) {
    switch (t->type) {
    case T_EOF: return "end of template";
    case T_DATA: return "template data / text";
    case T_PRINT_BEGIN: return "begin of print statement";
    case T_PRINT_END: return "end of print statement";
    case T_BLOCK_BEGIN: return "begin of statement block";
    case T_BLOCK_END: return "end of statement block";
    case T_STRING: return "string";
    case T_INT: return "integer";
    case T_FLOAT: return "float";
    case T_NAME:
    case T_OP: break;
    }
    snprintf(out, 64, "%.*s", (int)(t->text.n < 60 ? t->text.n : 60), t->text.p ? t->text.p : "");
    return out;
}

bool tok_is_op(const struct parser *p, enum op op) {
    return p->at->type == T_OP && p->at->op == op;
}

bool tok_is_name(const struct parser *p, const char *name) {
    return p->at->type == T_NAME && str_is(p->at->text, name);
}

bool tok_skip_op(struct parser *p, enum op op) {
    if (!tok_is_op(p, op)) return false;
    p->at++;
    return true;
}

bool tok_skip_name(struct parser *p, const char *name) {
    if (!tok_is_name(p, name)) return false;
    p->at++;
    return true;
}

static bool expected(struct parser *p, const char *what) {
    char text[64];
    if (p->at->type == T_EOF)
        parse_fail(p, p->at->line, "unexpected end of template, expected '%s'.", what);
    else
        parse_fail(p, p->at->line, "expected token '%s', got '%s'", what, tok_text(p->at, text));
    return false;
}

bool tok_expect_op(struct parser *p, enum op op) {
    return tok_skip_op(p, op) || expected(p, op_text(op));
}

bool tok_expect(struct parser *p, enum token_type type) {
    char text[64];
    if (p->at->type == type) {
        p->at++;
        return true;
    }
    return expected(p, type == T_NAME ? "name" : tok_text(&(struct token){.type = type}, text));
}

/* --- bodies
 * --------------------------------------------------------------------------------------- */

static bool is_end(const struct parser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (p->at[1].type == T_NAME && str_is(p->at[1].text, *ends)) return true;
    return false;
}

static struct node *unclosed(struct parser *p, const char *const *ends) {
    char list[80] = "", open[64];
    for (size_t n = 0; *ends && n < sizeof list; ends++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s'%s'", n ? " or " : "", *ends);
    return parse_fail(
        p, p->at->line,
        "Unexpected end of template. Jinja was looking for the following tags: %s. The "
        "innermost block that needs to be closed is '%s'.",
        list, tok_text(p->open, open));
}

static struct node *parse_print(struct parser *p) {
    struct node *n = node_new(p, N_PRINT, p->at->line);
    p->at++;
    if (!n) return NULL;
    n->a = parse_tuple(p, true, NULL, false);
    return n->a && tok_expect(p, T_PRINT_END) ? n : NULL;
}

static struct node *parse_piece(struct parser *p) {
    struct node *n;
    switch (p->at->type) {
    case T_DATA:
        n = node_new(p, N_DATA, p->at->line);
        if (n) n->text = p->at->text;
        p->at++;
        return n;
    case T_PRINT_BEGIN: return parse_print(p);
    case T_BLOCK_BEGIN:
        p->at++;
        n = parse_statement(p);
        return n && tok_expect(p, T_BLOCK_END) ? n : NULL;
    default: return parse_fail(p, p->at->line, "unexpected token");
    }
}

/* Pieces up to {% one of ends, with the end's name as the next token; a scope node (empty bodies
 * have one too). ends NULL: the whole template. */
static struct node *parse_until(struct parser *p, const char *const *ends) {
    struct node *body = node_new(p, N_SCOPE, p->at->line);
    if (!body || !parse_enter(p)) return NULL;
    struct node **end = &body->a;
    while (p->at->type != T_EOF && !(p->at->type == T_BLOCK_BEGIN && is_end(p, ends))) {
        struct node *n = parse_piece(p);
        if (!n) return NULL;
        *end = n;
        end = &n->next;
    }
    p->depth--;
    if (ends && p->at->type == T_EOF) return unclosed(p, ends);
    if (ends) p->at++; /* {% */
    return body;
}

struct node *parse_body(struct parser *p) {
    return parse_until(p, NULL);
}

/* The body of a tag: "%}" ... up to one of ends; p->at is at the end's name. */
static struct node *parse_block(struct parser *p, const struct token *open,
                                const char *const *ends) {
    const struct token *outer = p->open;
    p->open = open;
    tok_skip_op(p, OP_COLON);
    struct node *body = tok_expect(p, T_BLOCK_END) ? parse_until(p, ends) : NULL;
    p->open = outer;
    return body;
}

static struct node *parse_closed(struct parser *p, const struct token *open, const char *end) {
    const char *const ends[] = {end, NULL};
    struct node *body = parse_block(p, open, ends);
    if (body) p->at++;
    return body;
}

/* --- tags
 * ----------------------------------------------------------------------------------------- */

/* a test, b body, c list of elif nodes with a and b, d else body */
static struct node *parse_if(struct parser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    const struct token *open = p->at++;
    struct node *first = node_new(p, N_IF, open->line), *n = first, **elifs;
    if (!n) return NULL;
    elifs = &first->c;
    while (true) {
        n->a = parse_tuple(p, false, NULL, false);
        if (!n->a || !(n->b = parse_block(p, open, ends))) return NULL;
        const struct token *t = p->at++;
        if (str_is(t->text, "endif")) return first;
        if (str_is(t->text, "else")) {
            first->d = parse_closed(p, open, "endif");
            return first->d ? first : NULL;
        }
        n = node_new(p, N_IF, t->line);
        if (!n) return NULL;
        *elifs = n;
        elifs = &n->next;
    }
}

/* a target, b what is walked, c body, d else body, e condition */
static struct node *parse_for(struct parser *p) {
    static const char *const ends[] = {"endfor", "else", NULL};
    const struct token *open = p->at++;
    struct node *n = node_new(p, N_FOR, open->line);
    if (!n || !(n->a = parse_target(p, "in", false))) return NULL;
    if (!tok_skip_name(p, "in")) return expected(p, "in"), NULL;
    if (!(n->b = parse_tuple(p, false, "recursive", false))) return NULL;
    if (tok_skip_name(p, "if") && !(n->e = parse_expression(p))) return NULL;
    n->recursive = tok_skip_name(p, "recursive");
    p->loops++;
    n->c = parse_block(p, open, ends);
    p->loops--;
    if (!n->c) return NULL;
    const struct token *t = p->at++;
    if (str_is(t->text, "else") && !(n->d = parse_closed(p, open, "endfor"))) return NULL;
    return n;
}

/* a target, b expression; or a target, b filters, c body */
static struct node *parse_set(struct parser *p) {
    const struct token *open = p->at++;
    struct node *n = node_new(p, N_SET, open->line);
    if (!n || !(n->a = parse_target(p, NULL, true))) return NULL;
    if (tok_skip_op(p, OP_ASSIGN)) {
        n->b = parse_tuple(p, true, NULL, false);
        return n->b ? n : NULL;
    }
    n->kind = N_SETBLOCK;
    n->b = parse_filters(p, NULL, false);
    if (p->failed || !(n->c = parse_closed(p, open, "endset"))) return NULL;
    return n;
}

/* (a, b=1): N_PARAM nodes, a the default */
static bool parse_signature(struct parser *p, struct node *macro) {
    struct node **end = &macro->a;
    if (!tok_expect_op(p, OP_LPAREN)) return false;
    while (!tok_is_op(p, OP_RPAREN)) {
        if (macro->a && !tok_expect_op(p, OP_COMMA)) return false;
        struct node *param = node_new(p, N_PARAM, p->at->line);
        if (!param) return false;
        param->text = p->at->text;
        if (!tok_expect(p, T_NAME)) return false;
        param->sym = template_symbol(p->t, param->text);
        bool had_default = macro->a && end != &macro->a && macro->b;
        if (tok_skip_op(p, OP_ASSIGN)) {
            if (!(param->a = parse_expression(p))) return false;
            macro->b = param; /* only while parsing: a default was seen */
        } else if (had_default)
            return parse_fail(p, param->line, "non-default argument follows default argument");
        *end = param;
        end = &param->next;
    }
    macro->b = NULL;
    p->at++;
    return true;
}

static bool parse_macro_body(struct parser *p, struct node *n, const struct token *open,
                             const char *end) {
    struct node *outer = p->macro;
    int loops = p->loops;
    p->macro = n;
    p->loops = 0;
    n->c = parse_closed(p, open, end);
    p->macro = outer;
    p->loops = loops;
    return n->c != NULL;
}

static struct node *parse_macro(struct parser *p) {
    const struct token *open = p->at++;
    struct node *n = node_new(p, N_MACRO, open->line);
    if (!n) return NULL;
    n->text = p->at->text;
    if (!tok_expect(p, T_NAME)) return NULL;
    n->sym = template_symbol(p->t, n->text);
    if (!parse_signature(p, n) || !parse_macro_body(p, n, open, "endmacro")) return NULL;
    return n;
}

/* a the call, b a nameless macro that becomes caller() */
static struct node *parse_call_block(struct parser *p) {
    const struct token *open = p->at++;
    struct node *n = node_new(p, N_CALLBLOCK, open->line);
    if (!n || !(n->b = node_new(p, N_MACRO, open->line))) return NULL;
    n->sym = template_symbol(p->t, STR_LIT("caller"));
    if (tok_is_op(p, OP_LPAREN) && !parse_signature(p, n->b)) return NULL;
    if (!(n->a = parse_expression(p))) return NULL;
    if (n->a->kind != N_CALL) return parse_fail(p, n->line, "expected call");
    return parse_macro_body(p, n->b, open, "endcall") ? n : NULL;
}

static struct node *parse_filter_block(struct parser *p) {
    const struct token *open = p->at++;
    struct node *n = node_new(p, N_FILTERBLOCK, open->line);
    if (!n || !(n->b = parse_filters(p, NULL, true))) return NULL;
    n->c = parse_closed(p, open, "endfilter");
    return n->c ? n : NULL;
}

/* a list of N_PAIR target = value, c body */
static struct node *parse_with(struct parser *p) {
    const struct token *open = p->at++;
    struct node *n = node_new(p, N_WITH, open->line), **end;
    if (!n) return NULL;
    end = &n->a;
    while (p->at->type != T_BLOCK_END) {
        if (n->a && !tok_expect_op(p, OP_COMMA)) return NULL;
        struct node *pair = node_new(p, N_PAIR, p->at->line);
        if (!pair || !(pair->a = parse_target(p, NULL, false))) return NULL;
        if (!tok_expect_op(p, OP_ASSIGN) || !(pair->b = parse_expression(p))) return NULL;
        *end = pair;
        end = &pair->next;
    }
    n->c = parse_closed(p, open, "endwith");
    return n->c ? n : NULL;
}

/* {% generation %} and {% block name %}: a body with a scope of its own */
static struct node *parse_scoped(struct parser *p, const char *end, bool named) {
    const struct token *open = p->at++;
    if (named && !tok_expect(p, T_NAME)) return NULL;
    if (named) tok_skip_name(p, "scoped");
    struct node *body = parse_closed(p, open, end);
    if (body && named && p->at->type == T_NAME) p->at++;
    return body;
}

static struct node *parse_loop_control(struct parser *p) {
    struct node *n = node_new(p, tok_is_name(p, "break") ? N_BREAK : N_CONTINUE, p->at->line);
    if (n && p->loops == 0)
        return parse_fail(p, n->line, "'%.*s' outside of a loop", STR_ARG(p->at->text));
    p->at++;
    return n;
}

static struct node *parse_print_tag(struct parser *p) {
    struct node *n = node_new(p, N_PRINT, p->at->line);
    p->at++;
    if (n) n->a = parse_expression(p);
    return n && n->a ? n : NULL;
}

static struct node *unknown_tag(struct parser *p) {
    static const char *const refused[] = {"include", "import",     "from",
                                          "extends", "autoescape", "do"};
    char open[64], name[64];
    tok_text(p->at, name);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (str_is(p->at->text, refused[i]))
            return parse_fail(p, p->at->line,
                              "the tag '%s' is not supported: a chat template stands alone", name);
    if (p->open)
        return parse_fail(
            p, p->at->line,
            "Encountered unknown tag '%s'. The innermost block that needs to be closed is '%s'.",
            name, tok_text(p->open, open));
    return parse_fail(p, p->at->line, "Encountered unknown tag '%s'.", name);
}

static struct node *parse_statement(struct parser *p) {
    if (p->at->type != T_NAME) return parse_fail(p, p->at->line, "tag name expected");
    if (tok_is_name(p, "if")) return parse_if(p);
    if (tok_is_name(p, "for")) return parse_for(p);
    if (tok_is_name(p, "set")) return parse_set(p);
    if (tok_is_name(p, "macro")) return parse_macro(p);
    if (tok_is_name(p, "call")) return parse_call_block(p);
    if (tok_is_name(p, "filter")) return parse_filter_block(p);
    if (tok_is_name(p, "with")) return parse_with(p);
    if (tok_is_name(p, "generation")) return parse_scoped(p, "endgeneration", false);
    if (tok_is_name(p, "block")) return parse_scoped(p, "endblock", true);
    if (tok_is_name(p, "break") || tok_is_name(p, "continue")) return parse_loop_control(p);
    if (tok_is_name(p, "print")) return parse_print_tag(p);
    return unknown_tag(p);
}
