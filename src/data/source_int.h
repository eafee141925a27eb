/* Inside of the readers. A file's bytes become UTF-8 (source_bytes.c), a cutter finds where records
 * begin and end (source_cut.c), one parser for each family makes an example of a record; what a
 * file is, is found from its beginning (source_detect.c). Cutting is serial and cheap, parsing runs
 * on the pool: a parser sees one record, an arena and a thread's scratch, nothing else. */
#ifndef DATA_SOURCE_INT_H
#define DATA_SOURCE_INT_H

#include "base/arena.h"
#include "data/source.h"
#include "text/json_view.h"

#define CSV_COLUMNS 256
#define HEAD_BYTES ((size_t)1 << 20) /* of a file's beginning, looked at for its format */

/* --- bytes */

enum encoding { ENCODING_UTF8, ENCODING_UTF16LE, ENCODING_UTF16BE };
/* By the first bytes; ERR_UNSUPPORTED names what cannot be read (UTF-32, gzip, ...). skip: bytes of
 * the byte order mark. */
int bytes_encoding(struct str head, enum encoding *ret, size_t *ret_skip, struct err *err);
/* UTF-16 as UTF-8 at the end of out; returns the bytes used, whole characters only. Halves of
 * characters come out as bytes that are not UTF-8. */
size_t bytes_from_utf16(struct str raw, bool big_endian, bool at_end, struct buf *out);
bool bytes_are_utf8(struct str s);
/* Windows-1252, which Latin-1 is a part of, as UTF-8; false for a byte that it does not have. */
bool bytes_mend(struct str s, struct buf *out);
bool bytes_mend_json(struct str json, struct buf *out); /* those of its strings that need it */

/* --- cutting */

enum layout {
    LAYOUT_LINES,   /* a JSON value a line */
    LAYOUT_VALUES,  /* JSON values one behind another */
    LAYOUT_ARRAY,   /* elements of one JSON list */
    LAYOUT_WRAPPED, /* elements of the lists in one JSON object */
    LAYOUT_CSV,
    LAYOUT_TEXT,
    LAYOUT_MARKDOWN
};

struct cutter {
    enum layout layout;
    char delim;
    size_t at, start, line_start; /* in the block; start: of the record, where inside */
    bool inside;
    int64_t line, first_line; /* here; of the record */
    /* JSON: where in the frame around the values, and in a value */
    enum {
        FRAME_OPEN,
        FRAME_KEY,
        FRAME_COLON,
        FRAME_LIST,
        FRAME_VALUES,
        FRAME_COMMA,
        FRAME_DONE
    } frame;
    int64_t depth, commas;
    bool quoted, ignored, spoken; /* spoken: of the end of all order; the rest is not looked at */
    const char *problem;
    char key[64];
    size_t key_n;
    bool field_start, reopens; /* CSV */
    bool skipping;             /* set by the owner while the beginning of the record is gone */
    char fence;                /* Markdown: inside of code */
};
struct piece {
    size_t start, end;
    int64_t line;
    const char *problem; /* static: why this is no record; NULL where it is one */
};
void cutter_init(struct cutter *c, enum layout layout, char delim);
/* The next record of block, which begins where the last call's began; false: more bytes are needed,
 * or with at_end there are no more records. */
bool cutter_next(struct cutter *c, struct str block, bool at_end, struct piece *ret);

/* --- parsing */

struct record {
    struct str text;
    int64_t number, line;
    char key[64]; /* of the list around it, LAYOUT_WRAPPED */
    size_t key_n;
    const char *problem;
    int64_t bytes; /* its size where it was skipped for that */
};

struct draft {
    size_t calls; /* index of the first */
    struct str reasoning;
};

/* of a thread; what it holds is of one record */
struct scratch {
    struct json_views row, inner;
    struct message *messages;
    struct draft *drafts;
    size_t message_count, message_cap, draft_cap;
    struct call *calls;
    size_t call_count, call_cap, pending; /* pending: the first call without an answer */
    struct str tools;
    struct buf json, text;
};

struct columns {
    char delim;
    bool header;
    int count, prompt, answer, system; /* -1: none */
};

struct parsing {
    enum source_format format;
    const struct columns *columns;
    const struct record *record;
    struct str text; /* of the record, UTF-8 */
    struct scratch *scratch;
    struct arena *arena;
    struct findings *findings;
    struct example *ret;
    bool utf16;
    int rc; /* of findings_add */
    struct err *err;
};

/* for "%.*s": a beginning of at most max bytes, whole characters */
int excerpt(struct str s, size_t max);
/* A finding of this record; the second for those that prevent an example: returns false. */
void parse_note(struct parsing *p, enum finding_kind kind, int32_t message, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
bool parse_refuse(struct parsing *p, enum finding_kind kind, int32_t message, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Parsers: true when *p->ret is filled. */
bool parse_openai(struct parsing *p, const struct json_view *row);
bool parse_alpaca(struct parsing *p, const struct json_view *row);
bool parse_sharegpt(struct parsing *p, const struct json_view *row);
bool parse_parts(struct parsing *p, const struct json_view *row);
bool parse_snips(struct parsing *p, const struct json_view *row);
bool parse_csv(struct parsing *p);
bool parse_text(struct parsing *p);

/* the row as written, on one line; its id */
void parse_own_json(struct parsing *p, const struct json_view *row);
/* "a string" of a member into *ret; refused otherwise */
bool parse_string(struct parsing *p, const struct json_view *row, const char *key, struct str *ret);
enum role role_of(struct str name);

/* --- rows of other forms: messages one by one, then the row in OpenAI's form (source_draft.c) */

void draft_start(struct parsing *p, const struct json_view *row); /* row: for its id; or NULL */
struct message *draft_message(struct parsing *p, enum role role, struct str text);
void draft_reasoning(struct parsing *p, struct str text); /* of the last message */
/* of the last message: {"name","arguments"}, or a list of such; ids are made up */
void draft_calls(struct parsing *p, struct str json);
void draft_answers_call(struct parsing *p); /* the last message is a tool's: of which call */
/* JSON text of a list of functions or tools, or a list itself */
void draft_tools(struct parsing *p, const struct json_view *tools);
bool draft_finish(struct parsing *p, enum row_kind kind);

/* --- CSV */

/* Fields of a record without its line end, unquoted into the arena. Returns their number, at most
 * CSV_COLUMNS are written; *ret_problem says what is wrong, or NULL. */
int csv_fields(struct str record, char delim, struct arena *a, struct str fields[CSV_COLUMNS],
               const char **ret_problem);

/* --- detection */

struct detected {
    enum source_format format;
    enum layout layout;
    struct columns columns;
};
/* head: the beginning of the file; whole: that is all of it. reason: at least one byte. */
int detect(const char *path, struct str head, bool whole, const struct source_options *o,
           struct detected *ret, struct buf *reason, struct err *err);

#endif
