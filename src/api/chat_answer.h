/* The answers of one chat completion as they grow, and their forms on the wire: one JSON object, or
 * chunks of a stream. What is in `content` and `calls` has come; what was sent in chunks is
 * counted, so both forms read the same state. Belongs to one thread. */
#ifndef API_CHAT_ANSWER_H
#define API_CHAT_ANSWER_H

#include "api/choice.h"
#include "store/catalog.h"
#include "text/tool_calls.h"

struct answer_call {
    char id[ID_SIZE];
    struct buf name, arguments;
    size_t sent; /* bytes of the arguments */
    bool begun;  /* its first chunk went out */
};

struct answer {
    struct choice choice;
    struct buf content;
    size_t sent;
    json_t *logprobs; /* all entries; NULL: not asked for */
    size_t logprobs_sent;
    struct tool_parser *parser; /* NULL: the text is plain */
    struct answer_call *calls;
    size_t call_count, call_cap;
    bool parsed; /* the parser has had all */
    bool role_sent, finish_sent;
};

struct chat_answers {
    char id[ID_SIZE];
    int64_t created;
    const char *model, *fingerprint; /* borrowed */
    bool named_call;  /* one function was demanded by name: finish_reason stays "stop" */
    bool legacy_call; /* asked for with "functions": answered with "function_call" */
    struct answer *list;
    int64_t count;
};

void answers_release(struct chat_answers *a);
/* From now on the answer's text is read for calls. names: functions that may be called. */
void answer_reads_calls(struct answer *a, enum tool_form form, const struct str *names,
                        size_t count);
/* Moves what has come from the choice into the answer. */
void answer_take(struct answer *a);
const char *answer_finish(const struct chat_answers *all, const struct answer *a);

/* {"prompt_tokens", ...} of all answers; the prompt counts once */
json_t *answers_usage(const struct chat_answers *a);
json_t *answers_object(const struct chat_answers *a); /* chat.completion */
/* The chunks that are due; with_usage: each has "usage": null. */
void answers_chunks(struct chat_answers *a, bool with_usage, struct buf *out);
void answers_usage_chunk(const struct chat_answers *a, struct buf *out);

#endif
