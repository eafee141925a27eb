/* One example as the checks see it, whatever format it came in: views into memory of its batch, no
 * JSON tree. Read-only once the reader has made it; any thread may look. */
#ifndef DATA_EXAMPLE_H
#define DATA_EXAMPLE_H

#include "base/str.h"
#include "data/rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, ROLE_OTHER };

struct call {
    struct str id, name;
    struct str arguments; /* as written: JSON text, of an object where the row is right */
};

struct message {
    enum role role;       /* developer is ROLE_SYSTEM, function is ROLE_TOOL */
    struct str role_name; /* as written */
    struct str text;      /* UTF-8; text parts joined by a line end; empty where there is none */
    bool has_content;     /* content was given, even if empty */
    const struct call *calls;
    size_t call_count;
    struct str tool_call_id, name;
    double weight; /* 1 unless given */
};

/* messages by kind:
 *   chat        those of the row
 *   completion  the prompt as a user's, the completion as an assistant's
 *   text        one of an assistant
 *   pair        the input's, then preferred, then non-preferred (the last two) */
struct example {
    int64_t number; /* from 1 in its file: lines that are not blank, elements, CSV records */
    int64_t line;   /* where it begins, from 1 */
    enum row_kind kind;
    struct str id; /* "id" of the row as text, empty where it has none */
    const struct message *messages;
    size_t message_count;
    struct str tools; /* JSON text of its array of tools in OpenAI's form, or empty */
    struct str json;  /* the whole row in OpenAI's form of its kind: one line of JSON */
};

#endif
