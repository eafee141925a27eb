/* What a check says of a row: kinds with a name for scripts and words for people, collected in the
 * order of the rows. */
#ifndef DATA_FINDINGS_H
#define DATA_FINDINGS_H

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

/* name, label, group, what it means and what to do. A note informs and leaves a row clean; the
 * rest are findings. Groups are the words of `--checks`. */
#define FINDING_MAP(X)                                                                             \
    X(INVALID_FORMAT, "invalid_format", FORMAT, "the row cannot be read")                          \
    X(MISSING_MESSAGES_LIST, "missing_messages_list", FORMAT, "there is no list of messages")      \
    X(MESSAGE_MISSING_KEY, "message_missing_key", FORMAT, "a message lacks role or content")       \
    X(MESSAGE_UNRECOGNIZED_KEY, "message_unrecognized_key", FORMAT, "a key that nobody reads")     \
    X(UNRECOGNIZED_ROLE, "unrecognized_role", FORMAT, "a role that chat models do not know")       \
    X(INVALID_ROLE_ORDER, "invalid_role_order", FORMAT, "the turns come in an order never served") \
    X(MISSING_CONTENT, "missing_content", FORMAT, "a message without text")                        \
    X(EXAMPLE_MISSING_ASSISTANT_MESSAGE, "example_missing_assistant_message", FORMAT,              \
      "nothing to learn: no answer of the assistant")                                              \
    X(INVALID_WEIGHT, "invalid_weight", FORMAT, "a weight that is neither 0 nor 1")                \
    X(INVALID_TOOLS, "invalid_tools", FORMAT, "the list of tools is not OpenAI's form")            \
    X(INVALID_TOOL_ARGUMENTS, "invalid_tool_arguments", FORMAT, "a call its schema refuses")       \
    X(SCHEMA_UNCHECKED, "schema_unchecked", NOTES, "a schema that arguments cannot be tried with") \
    X(UNPAIRED_TOOL_CALL, "unpaired_tool_call", FORMAT, "a call without result, or the reverse")   \
    X(REFUSING_ANSWER, "refusing_answer", FORMAT, "the answer refuses")                            \
    X(INVALID_LENGTH, "invalid_length", TOKENS, "longer than the model reads: it would be cut")    \
    X(TRAINS_NOTHING, "trains_nothing", TOKENS, "no token of it would be trained")                 \
    X(TEMPLATE_MISMATCH, "template_mismatch", TOKENS,                                              \
      "training would see what serving never does")                                                \
    X(CONTAINS_PII, "contains_pii", PII, "personal data or a secret")                              \
    X(EXACT_DUPLICATE, "exact_duplicate", DUPLICATES, "the same as an earlier row")                \
    X(NEAR_DUPLICATE, "near_duplicate", DUPLICATES, "nearly the same as an earlier row")           \
    X(CONFLICTING_ANSWERS, "conflicting_answers", CONFLICTS, "the same question, another answer")  \
    X(POTENTIAL_LEAKAGE, "potential_leakage", LEAKAGE, "a held-out case is in the training data")  \
    X(LOW_FEEDBACK, "low_feedback", FORMAT, "people rated this answer low")                        \
    X(MENDED_ENCODING, "mended_encoding", NOTES, "bytes that were not UTF-8, read as Latin-1")     \
    X(LENGTH_OUTLIER, "length_outlier", NOTES, "far longer or shorter than the others")            \
    X(SYSTEM_PROMPT_VARIANT, "system_prompt_variant", NOTES, "a system prompt nearly as others")   \
    X(CLASS_IMBALANCE, "class_imbalance", NOTES, "few rows of this answer, many of others")        \
    X(OTHER_LANGUAGE, "other_language", NOTES, "another language than most rows")                  \
    X(HELD_OUT_UNREAD, "held_out_unread", NOTES, "held-out records that could not be compared")

enum finding_kind {
#define X(name, label, group, text) FINDING_##name,
    FINDING_MAP(X)
#undef X
        FINDING_KINDS
};

/* bits of a set of checks */
enum check_group {
    CHECK_FORMAT = 1,
    CHECK_TOKENS = 2, /* needs a model's tokenizer and template */
    CHECK_PII = 4,
    CHECK_DUPLICATES = 8,
    CHECK_CONFLICTS = 16,
    CHECK_LEAKAGE = 32,
    CHECK_NOTES = 64,
    CHECK_ALL = 127
};

const char *finding_label(enum finding_kind kind);
const char *finding_text(enum finding_kind kind);
enum check_group finding_group(enum finding_kind kind);

struct finding {
    enum finding_kind kind;
    int64_t row;        /* example.number; of a pair the later row */
    int32_t message;    /* from 0; -1: of the row as a whole */
    const char *entity; /* PII: its label, static; else NULL */
    int64_t start, end; /* PII: bytes of that message's text; else 0 */
    int64_t twin; /* duplicates, conflicts: the earlier row; leakage: the held-out row; else 0 */
    const char *against; /* leakage: the held-out file, static for the run; else NULL */
    double similarity;   /* of twins, 0..1 */
    const char *detail;  /* value and next step in words; NULL where the kind says it all */
};

/* Grows; owns copies of the details. One thread at a time. */
struct findings;
struct findings *findings_new(void);
void findings_free(struct findings *f);
/* ERR_LIMIT where more memory would be taken than findings may (256 MiB). */
int findings_add(struct findings *f, const struct finding *one, struct err *err);
/* By row, then kind, message, start, twin: the same order however they were found. */
void findings_sort(struct findings *f);
size_t findings_count(const struct findings *f);
const struct finding *findings_at(const struct findings *f, size_t i);

#endif
