/* Tool calls in a model's text: which form a model uses, reading calls out of a stream of text, and
 * a grammar that makes a model write them.
 *
 *     form = tool_form_of_template(template_text);
 *     p = tool_parser_new(&(struct tool_parser_options){.form = form, .on_event = f, .ctx = c});
 *     tool_parser_add(p, piece);            // as the text comes; calls f with what is certain
 *     tool_parser_end(p);                   // the rest; tool_parser_calls(p) were there
 *     tool_parser_free(p);
 *
 * The parser needs the text of special tokens too (but not of stop tokens): some markers are such.
 * A call is reported when it is complete; its arguments are always a JSON object. What looked like
 * a call and was none (broken, cut off, an unknown name) comes out as content, unchanged.
 *
 * A parser belongs to one thread; the functions without one are safe from any. */
#ifndef TEXT_TOOL_CALLS_H
#define TEXT_TOOL_CALLS_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "text/grammar.h"

#include <stdbool.h>
#include <stddef.h>

enum tool_form {
    TOOL_JSON,         /* the answer is {"name":..,"arguments":{..}}, or a list of such */
    TOOL_HERMES,       /* <tool_call>{"name":..,"arguments":{..}}</tool_call>; Qwen, Hermes */
    TOOL_LLAMA3,       /* {"name":..,"parameters":{..}}, perhaps behind <|python_tag|> */
    TOOL_MISTRAL,      /* [TOOL_CALLS][{"name":..,"arguments":{..}},..] */
    TOOL_MISTRAL_ARGS, /* [TOOL_CALLS]name[ARGS]{..}; Mistral since 2025 */
};
/* By the words of a chat template; TOOL_JSON when none of the others. */
enum tool_form tool_form_of_template(struct str template_text);
const char *tool_form_name(enum tool_form form);

enum tool_event_kind {
    TOOL_CONTENT,   /* text: plain content */
    TOOL_BEGIN,     /* text: the function's name */
    TOOL_ARGUMENTS, /* text: a piece of the arguments' JSON */
    TOOL_END,
};
struct tool_event {
    enum tool_event_kind kind;
    int index;       /* of the call, from 0 */
    struct str text; /* valid during the callback */
    bool cut;        /* of TOOL_END, eager only: the text broke off, the arguments were closed */
};

struct tool_parser_options {
    enum tool_form form;
    const struct str *names; /* functions that may be called, copied; NULL: any */
    size_t name_count;
    /* Arguments piece by piece as they come. A call that then breaks off can be content no more:
     * its arguments are closed to valid JSON, and TOOL_END says so. Report finish_reason "length"
     * and let nobody run it. Only for text that a grammar constrains. */
    bool eager;
    void (*on_event)(void *ctx, const struct tool_event *e);
    void *ctx;
};
struct tool_parser;
struct tool_parser *tool_parser_new(const struct tool_parser_options *options);
void tool_parser_free(struct tool_parser *p);
/* Text of whole characters. */
void tool_parser_add(struct tool_parser *p, struct str text);
void tool_parser_end(struct tool_parser *p); /* after it only calls and free */
int tool_parser_calls(const struct tool_parser *p);

struct tool_function {
    struct str name;
    const json_t *parameters; /* a schema that is enforced; NULL: any object */
    const char *where;        /* its place in messages: "tools[0].function.parameters" */
};
struct tool_grammar_options {
    enum tool_form form;
    const struct tool_function *functions; /* one, for a named tool_choice */
    size_t count;
    bool required; /* at least one call and no text; else text, or text and then calls */
    bool parallel; /* more than one call (TOOL_LLAMA3 writes one in any case) */
    /* The schema of an answer that is no call, and what its places begin with; NULL: any text, also
     * before calls. */
    const json_t *content;
    const char *content_where;
};
/* The grammar of an answer with tool calls. Errors and path as of grammar_compile. */
int tool_grammar_compile(const struct tool_grammar_options *options, struct grammar **ret,
                         char path[GRAMMAR_PATH_MAX], struct err *err);

#endif
