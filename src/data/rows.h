/* Training rows from a JSONL file: reading, validation, rendering to tokens with a mask.
 *
 * Kinds, told apart by their keys and the same for the whole file:
 *   chat        {"messages":[{"role","content","weight"?,"tool_calls"?...}],"tools"?:[...]}
 *   completion  {"prompt":"...","completion":"..."}
 *   text        {"text":"..."}
 *   pair        {"input":{"messages":[...],"tools"?:[...]},"preferred_output":[{"role":"assistant",
 *               "content"}],"non_preferred_output":[...]}  (also preferred_completion and
 *               non_preferred_completion): which of two answers is the better one
 * Nothing is dropped in silence: what a row lost or why it was refused is in its `issue`.
 */
#ifndef DATA_ROWS_H
#define DATA_ROWS_H

#include "base/err.h"
#include "base/json.h"
#include "text/template.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

enum row_kind { ROW_CHAT, ROW_COMPLETION, ROW_TEXT, ROW_PAIR };
enum pair_side { PAIR_PREFERRED, PAIR_NON_PREFERRED, PAIR_SIDES };

struct row {
    int64_t number; /* from 1; blank lines do not count */
    int64_t line;   /* in the file, from 1 */
    json_t *json;   /* the row as read */
};

struct rows {
    enum row_kind kind;
    struct row *list;
    int64_t count;
    char sha256[65]; /* of the file */
    bool had_bom;    /* the file began with a byte order mark, which was skipped */
};

/* The whole file, at most max_bytes. The first bad row is an error: file, row, key, value, what to
 * do. Blank lines are skipped. */
int rows_read(const char *path, size_t max_bytes, struct rows *ret, struct err *err);
int rows_from_text(struct str text, const char *where, struct rows *ret,
                   struct err *err); /* the parser */
void rows_release(struct rows *r);
/* the message of one side of a checked pair; borrowed */
json_t *pair_output(const json_t *row, enum pair_side side);

/* What a row came to. Bits of row_tokens.issues. */
enum row_issue {
    ROW_TRAINS_NOTHING = 1,   /* no token is trained */
    ROW_CUT = 2,              /* longer than max_length: cut at the end */
    ROW_SERVES_OTHERWISE = 4, /* rendered prefix differs from what serving would send */
    ROW_TOOLS_UNSEEN = 8,     /* the template leaves its tools out, here and when serving */
    ROW_CALLS_UNSEEN = 16     /* the template leaves its calls out: nothing is trained */
};

/* A row as tokens. train[i] > 0: token i is a target (predicted from the tokens before it), with
 * this weight. train[0] is always 0. */
struct row_tokens {
    int32_t *ids;
    float *train;
    int64_t n, trained; /* trained: targets with weight > 0 */
    int64_t uncut;      /* length before cutting */
    int issues;
};

struct render_options {
    const struct tokenizer *tokenizer;
    const struct chat_template *chat; /* NULL: chat rows are refused */
    int64_t max_length;               /* tokens; longer rows are cut at the end and say so */
};

/* Chat: messages are rendered prefix by prefix. For assistant message i: the prompt is messages[:i]
 * with the generation prompt, the full text messages[:i+1]; what the full text adds after the
 * prompt, up to and including its last special token, is trained (all of it when it has none),
 * unless the message has "weight": 0. A template that changes earlier text when a message is added
 * (then that earlier answer is not trained), or a full text that does not begin with the prompt, is
 * ROW_SERVES_OTHERWISE. Tokenized without BOS/EOS of the post-processor. Completion: prompt +
 * completion joined as written; the completion and EOS are trained. Text: the document and EOS.
 * Both begin with the post-processor's BOS. A chat row whose tool calls the template does
 * not show trains nothing: it would teach another answer than it holds. Any thread may render; rows
 * are not changed. Not for pairs. */
int row_render(const struct row *row, enum row_kind kind, const struct render_options *o,
               struct row_tokens *ret, struct err *err);
/* Both sides of a pair: input's messages with that output as the last one, of which alone is
 * trained what chat rows train of an answer. ret[PAIR_SIDES], each to be released. */
int row_render_pair(const struct row *row, const struct render_options *o, struct row_tokens *ret,
                    struct err *err);
void row_tokens_release(struct row_tokens *t);

#endif
