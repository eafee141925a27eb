/* Inside the compiler of templates: tokens, and the parser that template_parse.c (statements) and
 * template_expr.c (expressions) share. */
#ifndef TEXT_TEMPLATE_PARSE_H
#define TEXT_TEMPLATE_PARSE_H

#include "text/template_int.h"

enum token_type {
    T_EOF,
    T_DATA,
    T_PRINT_BEGIN,
    T_PRINT_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_OP
};

struct token {
    enum token_type type;
    enum op op;
    int line;
    struct str text; /* a string's content with escapes resolved */
    int64_t i;
    double f;
};

struct token_run {
    struct token *v;
    size_t n, cap;
};

int template_lex(struct arena *a, struct str source, const char *where, struct token_run *ret,
                 struct err *err);
struct parser {
    struct chat_template *t;
    const struct token *at;
    struct err *err;
    int depth;
    const struct token *open; /* innermost open tag, for messages */
    struct node *macro;       /* innermost */
    int loops;                /* open for loops of this macro */
    bool failed;
};

struct node *node_new(struct parser *p, enum node_kind kind, int line);
void *parse_fail(struct parser *p, int line, const char *fmt, ...) PRINTF_LIKE(3, 4); /* NULL */
bool parse_enter(struct parser *p);
bool tok_is_op(const struct parser *p, enum op op);
bool tok_is_name(const struct parser *p, const char *name);
bool tok_skip_op(struct parser *p, enum op op);
bool tok_skip_name(struct parser *p, const char *name);
bool tok_expect_op(struct parser *p, enum op op);
bool tok_expect(struct parser *p, enum token_type type);
const char *tok_text(const struct token *t, char out[64]);
struct node *parse_expression(struct parser *p);
struct node *parse_tuple(struct parser *p, bool with_cond, const char *end_name, bool parentheses);
struct node *parse_target(struct parser *p, const char *end_name, bool with_namespace);
struct node *parse_postfix_from(struct parser *p, struct node *n);
struct node *parse_filters(struct parser *p, struct node *input, bool inline_start);
struct node *parse_call_args(struct parser *p);
struct node *parse_body(struct parser *p);

#endif
