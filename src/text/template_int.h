/* Inside the template engine: the tree a template is compiled to, and the state of a rendering.
 *
 *   source -> template_lex (tokens) -> template_parse, template_expr (tree) -> template_run,
 * template_eval
 *
 * The tree is immutable and lives in the template's arena; a struct run belongs to one rendering.
 */
#ifndef TEXT_TEMPLATE_INT_H
#define TEXT_TEMPLATE_INT_H

#include "text/template.h"
#include "text/template_value.h"

#include "base/arena.h"

#define TEMPLATE_MAX_BYTES ((size_t)1 << 20)
#define TEMPLATE_DEPTH 150            /* nesting of the source, and height of the tree over 4 */
#define RUN_DEPTH 1500                /* nested evaluations */
#define RUN_STEPS 20000000            /* evaluations, iterations, bytes copied or compared / 64 */
#define RUN_BYTES ((size_t)256 << 20) /* of values; of texts being built, again */
#define RANGE_MAX 100000              /* jinja's sandbox */
#define NUMBER_STEPS 16               /* of writing or reading a float's digits */

enum op {
    OP_ADD = 1,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_TILDE,
    OP_LBRACKET,
    OP_RBRACKET,
    OP_LPAREN,
    OP_RPAREN,
    OP_LBRACE,
    OP_RBRACE,
    OP_EQ,
    OP_NE,
    OP_GT,
    OP_GE,
    OP_LT,
    OP_LE,
    OP_ASSIGN,
    OP_DOT,
    OP_COLON,
    OP_PIPE,
    OP_COMMA,
    OP_SEMICOLON,
    OP_IN,
    OP_NOTIN
};

const char *op_text(enum op op);

enum node_kind {
    /* expressions */
    N_CONST,
    N_NAME,
    N_LIST,
    N_TUPLE,
    N_DICT,
    N_PAIR,
    N_NEGATE,
    N_ARITH,
    N_AND,
    N_OR,
    N_NOT,
    N_CONCAT,
    N_COMPARE,
    N_OPERAND,
    N_COND,
    N_ATTR,
    N_ITEM,
    N_SLICE,
    N_CALL,
    N_ARG,
    N_KWARG,
    N_STAR,
    N_STARSTAR,
    N_FILTER,
    N_TEST,
    N_NSREF,
    /* statements */
    N_DATA,
    N_PRINT,
    N_IF,
    N_FOR,
    N_SET,
    N_SETBLOCK,
    N_MACRO,
    N_PARAM,
    N_CALLBLOCK,
    N_FILTERBLOCK,
    N_WITH,
    N_SCOPE,
    N_BREAK,
    N_CONTINUE
};

/* One shape for all; what a..e hold is said where the parser makes the node. */
struct node {
    enum node_kind kind;
    enum op op;
    int line;
    uint32_t sym;                                /* names */
    uint16_t height;                             /* of the tree below */
    bool uses_caller, uses_varargs, uses_kwargs; /* N_MACRO */
    bool recursive;                              /* N_FOR */
    struct str text;
    struct value constant;
    filter_fn *filter; /* N_FILTER, N_TEST; NULL: unknown, an error when it is reached */
    struct node *a, *b, *c, *d, *e, *next;
};

struct chat_template {
    struct arena arena;
    struct str source;
    const char *where;
    struct node *body;
    struct str *names; /* by symbol */
    size_t name_count, name_cap;
    uint32_t *name_index;
    size_t name_slots;
};

uint32_t template_symbol(struct chat_template *t, struct str name);
/* the first symbols of every template, in this order */
enum { SYM_LOOP, SYM_CALLER, SYM_VARARGS, SYM_KWARGS, SYM_FIXED };

/* --- running
 * -------------------------------------------------------------------------------------- */

struct binding {
    uint32_t sym;
    struct value v;
};

struct scope {
    struct scope *parent;
    struct binding *v;
    uint32_t n, cap;
};

struct macro {
    const struct node *def;
    struct scope *closure;
};

/* A running for loop, read through the variable "loop". Items pass the loop's condition one at a
 * time, so that a body may change what the condition reads. */
struct loop {
    const struct node *def;
    struct scope *scope, *test_scope; /* around the loop; of its condition */
    struct seq *from;
    size_t next;    /* in from */
    int64_t index0; /* -1 before the first */
    int64_t length; /* -1: not counted */
    int depth;
    struct value before, current, after;
    struct seq *rest; /* accepted ahead of time, when the length was asked for */
    size_t rest_at;
    struct value changed; /* last of loop.changed() */
};

struct run {
    const struct chat_template *t;
    struct arena arena;
    struct buf *out;
    struct err *err;
    struct value *globals; /* by symbol */
    struct scope *scope;
    struct value input; /* of a filter block */
    int64_t steps;
    size_t text_left; /* bytes that texts being built may still take */
    int line, depth;
    bool failed;
    /* handed out when the arena is exhausted; the run has failed then */
    struct seq dead_seq;
    struct dict dead_dict;
    struct undef dead_undef;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

/* Charges what walks through v and the arguments: texts by their bytes. */
void run_spend_text(struct run *r, struct value v, const struct args *a);
void run_buf(struct run *r, struct buf *b); /* for a text that v_take or buf_release ends */
struct value filter_call(struct run *r, filter_fn *filter, struct value v, const struct args *a);

struct value eval(struct run *r, const struct node *n);
bool eval_args(struct run *r, const struct node *list, struct args *ret);
enum flow exec(struct run *r, const struct node *list);
void scope_push(struct run *r, struct scope *s);
void scope_set(struct run *r, struct scope *s, uint32_t sym, struct value v);
void assign(struct run *r, const struct node *target, struct value v);
struct value capture(struct run *r, const struct node *body); /* a body's output as a string */
struct value scope_get(struct run *r, uint32_t sym);          /* undefined when there is none */

#endif
