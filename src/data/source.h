/* Examples out of a file of any size, batch by batch in file order, in bounded memory. The format
 * is detected from the content (or forced), and said:
 *
 *   OpenAI JSONL (chat, prompt/completion, text, DPO), alpaca, sharegpt (with tools), CSV and TSV
 *   with a mapping of columns, JSON arrays of these, plain text and Markdown.
 *
 * Who says what, so that each defect is said once. The reader reports what prevents an example
 * from existing, and then there is none of that record:
 *
 *   invalid_format          not JSON (syntax, nesting, duplicate keys, lone surrogates, numbers out
 *                           of range, NUL bytes), too long, no object, a message that is no object,
 *                           tool_calls that are no list, parts that are not text, outputs of a pair
 *                           that are not one message, another kind than the rows before, CSV fields
 *   missing_messages_list   none of the keys of a row, messages absent, empty or no list
 *   missing_content         content, or a question or answer, of a type that is no text
 *   message_missing_key     a sharegpt turn without from or value, no question, no answer
 *
 * and with the example what an example cannot show: message_unrecognized_key (one a message),
 * low_feedback ("label": false of KTO rows), mended_encoding. All else is the validator's, on the
 * example: a role that is absent (ROLE_OTHER, role_name empty) or unknown (role_name as written); a
 * content that is absent (!has_content) or null or "" (has_content, text empty); a weight that is
 * no number or stands where nothing is trained (NAN); calls without name or arguments (empty);
 * tools that are no list (their JSON as written); the roles and texts of a pair's outputs.
 *
 * What is not UTF-8 is read as Windows-1252 (and so Latin-1), string by string in JSON, else by
 * record. Question and answer of CSV, alpaca and their kin become a chat row. */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include "base/pool.h"
#include "data/example.h"
#include "data/findings.h"

enum source_format {
    SOURCE_AUTO,
    SOURCE_OPENAI,   /* chat, completion, text, pair: by the keys of each row */
    SOURCE_ALPACA,   /* instruction, input?, output, system?, history? */
    SOURCE_SHAREGPT, /* conversations of from and value, tools */
    SOURCE_PARTS, /* messages whose content is parts of type and value; chosen_/rejected_messages */
    SOURCE_CSV,
    SOURCE_TSV,
    SOURCE_TEXT,     /* a document: paragraphs up to a size are examples */
    SOURCE_MARKDOWN, /* sections are examples */
    SOURCE_SNIPS /* {"INTENT": [{"data": [{"text", "entity"?}]}]}: command to intent and slots */
};

struct source_options {
    enum source_format format;
    const char *prompt_column, *answer_column, *system_column; /* CSV, TSV; NULL: guessed */
    size_t record_max; /* bytes of one record; 0: 64 MiB. Longer ones are skipped and reported */
};

struct source;

/* The options and the path must outlive the source. */
int source_open(const char *path, const struct source_options *o, struct source **ret,
                struct err *err);
void source_close(struct source *s);
enum source_format source_format_of(const struct source *s);
const char *source_format_name(enum source_format f);
const char *
source_reason(const struct source *s); /* why this format, and what columns: a sentence */

/* The next batch: some megabytes of records, parsed on the pool. *ret_count 0: the file has ended.
 * The examples and what they point to live until the next call or close. Findings of records that
 * were refused or mended are added in file order. Errors are of the file, not of a record. */
int source_next(struct source *s, struct pool *pool, const struct example **ret, size_t *ret_count,
                struct findings *findings, struct err *err);
int64_t source_records(const struct source *s); /* so far, refused ones included */
int64_t source_bytes(const struct source *s);   /* read so far, for progress */

#endif
