/* Chat templates from outside: compiling, rendering, the variables of a rendering. */
#include "text/template_parse.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"

#define COMPILED_MAX_BYTES ((size_t)512 << 20)

/* jinja2 refuses unknown filters and tests when it compiles, except inside if, where they fail when
 * they are reached. */
static bool check_list(const struct node *list, bool soft, const char *where, struct err *err);

static bool check_node(const struct node *n, bool soft, const char *where, struct err *err) {
    bool named = n->kind == N_FILTER || n->kind == N_TEST;
    if (named && !n->filter && !soft) {
        err_set(err, ERR_INVALID, "%s: line %d: No %s named '%.*s'.", where, n->line,
                n->kind == N_FILTER ? "filter" : "test", STR_ARG(n->text));
        return false;
    }
    bool hardens = n->kind == N_FOR || n->kind == N_MACRO || n->kind == N_WITH ||
                   n->kind == N_SETBLOCK || n->kind == N_FILTERBLOCK || n->kind == N_CALLBLOCK;
    bool inner = soft || n->kind == N_IF || n->kind == N_COND;
    return check_list(n->a, inner, where, err) && check_list(n->b, inner, where, err) &&
           check_list(n->c, hardens ? false : inner, where, err) &&
           check_list(n->d, hardens ? false : inner, where, err) &&
           check_list(n->e, inner, where, err);
}

static bool check_list(const struct node *list, bool soft, const char *where, struct err *err) {
    for (; list; list = list->next)
        if (!check_node(list, soft, where, err)) return false;
    return true;
}

static int parse(struct chat_template *t, struct str source, struct err *err) {
    struct token_run tokens = {0};
    int rc = template_lex(&t->arena, source, t->where, &tokens, err);
    if (!rc) {
        static const char *const fixed[SYM_FIXED] = {"loop", "caller", "varargs", "kwargs"};
        for (size_t i = 0; i < SYM_FIXED; i++) template_symbol(t, str_of(fixed[i]));
        struct parser p = {.t = t, .at = tokens.v, .err = err};
        t->body = parse_body(&p);
        if (p.failed || !t->body)
            rc = err->code;
        else if (!check_list(t->body, false, t->where, err))
            rc = err->code;
    }
    mem_free(tokens.v);
    return rc;
}

int template_compile(struct str source, const char *where, struct chat_template **ret,
                     struct err *err) {
    size_t valid = utf8_valid_prefix(source);
    if (source.n > TEMPLATE_MAX_BYTES)
        return err_set(err, ERR_LIMIT, "%s: the template has %zu bytes; the limit is %zu", where,
                       source.n, TEMPLATE_MAX_BYTES);
    if (valid < source.n)
        return err_set(err, ERR_INVALID, "%s: not UTF-8 at byte %zu", where, valid);
    struct chat_template *t = mem_zalloc(1, sizeof *t);
    arena_init(&t->arena, COMPILED_MAX_BYTES);
    t->where = arena_strndup(&t->arena, where, strlen(where));
    t->source = arena_str(&t->arena, source);
    int rc = parse(t, source, err);
    if (rc)
        template_free(t);
    else
        *ret = t;
    return rc;
}

void template_free(struct chat_template *t) {
    if (!t) return;
    arena_release(&t->arena);
    mem_free(t->names);
    mem_free(t->name_index);
    mem_free(t);
}

struct str template_source(const struct chat_template *t) {
    return t->source;
}

void template_hash(const struct chat_template *t, char hex[65]) { sha256_of(t->source, hex); }

/* --- rendering
 * ------------------------------------------------------------------------------------ */

struct variables {
    const json_t *vars, *more;
    int generation_prompt; /* -1: as in vars */
};

static struct value variable(struct run *r, const struct variables *v, struct str name) {
    if (v->generation_prompt >= 0 && str_is(name, "add_generation_prompt"))
        return v_bool(v->generation_prompt > 0);
    const json_t *j = json_object_getn(v->vars, name.p, name.n);
    if (!j && v->more) j = json_object_getn(v->more, name.p, name.n);
    if (j) return v_from_json(r, j);
    if (str_is(name, "tools") || str_is(name, "documents")) return v_none();
    const struct function *f = function_find(name);
    return f ? (struct value){.type = V_FUNC, .u.func = f} : v_missing();
}

static int render(const struct chat_template *t, const struct variables *v, struct buf *out,
                  struct err *err) {
    struct run r = {
        .t = t, .out = out, .err = err, .steps = RUN_STEPS, .text_left = RUN_BYTES, .line = 1};
    struct scope root = {0};
    arena_init(&r.arena, RUN_BYTES);
    r.scope = &root;
    r.globals = run_alloc(&r, t->name_count, sizeof *r.globals);
    for (size_t i = 0; i < t->name_count && !r.failed; i++)
        r.globals[i] = variable(&r, v, t->names[i]);
    if (!r.failed) exec(&r, t->body->a);
    arena_release(&r.arena);
    return r.failed ? err->code : 0;
}

int template_render(const struct chat_template *t, const json_t *vars, struct buf *out,
                    struct err *err) {
    return render(t, &(struct variables){vars, NULL, -1}, out, err);
}

int template_render_chat(const struct chat_template *t, const json_t *vars, const json_t *more,
                         bool add_generation_prompt, struct buf *out, struct err *err) {
    return render(t, &(struct variables){vars, more, add_generation_prompt}, out, err);
}
