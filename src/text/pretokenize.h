/* Pre-tokenizers of tokenizer.json: a list of steps, each of which cuts a piece of text into
 * smaller ones. Pieces stream through all steps to a callback; nothing is collected. */
#ifndef TEXT_PRETOKENIZE_H
#define TEXT_PRETOKENIZE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "text/regex.h"
#include "text/scan.h"

#include <stdbool.h>

enum pre_kind {
    PRE_SCAN, /* a well-known pattern */
    PRE_REGEX,
    PRE_LITERAL, /* Split with a string */
    PRE_CLASS, /* characters of a class: Digits, WhitespaceSplit, Punctuation, CharDelimiterSplit */
    PRE_WORDS, /* Whitespace: \w+|[^\w\s]+ */
    PRE_METASPACE,
    PRE_PREFIX, /* ByteLevel's add_prefix_space */
    PRE_BYTES,  /* ByteLevel's bytes as characters, where more steps follow */
};
enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_CONTIGUOUS, SPLIT_PREVIOUS, SPLIT_NEXT };
enum prepend_scheme { PREPEND_FIRST, PREPEND_ALWAYS, PREPEND_NEVER };

struct pre_step {
    enum pre_kind kind;
    enum split_behavior behavior;
    bool invert;
    scan_fn *scan;
    struct regex *regex;
    struct str literal; /* PRE_LITERAL; of PRE_METASPACE the replacement */
    unsigned bits;      /* PRE_CLASS */
    enum prepend_scheme prepend;
    bool split; /* PRE_METASPACE */
};

#define PRE_STEPS 16
struct pretokenizer {
    struct pre_step steps[PRE_STEPS];
    size_t count;
    bool byte_level; /* the words are to be read as bytes */
};

/* spec: the "pre_tokenizer" of tokenizer.json, or NULL; borrowed strings live as long as spec.
 * With `spell_bytes` a final ByteLevel gives characters, too. */
int pretokenizer_read(const json_t *spec, const char *where, bool spell_bytes,
                      struct pretokenizer *ret, struct err *err);
void pretokenizer_release(struct pretokenizer *p);

/* One encoding's scratch and its end. */
struct pre_run {
    const struct pretokenizer *pre;
    void (*word)(void *ctx, struct str word);
    void *ctx;
    struct regex_match *matches[PRE_STEPS];
    struct buf text[PRE_STEPS];
};
void pre_run_init(struct pre_run *r, const struct pretokenizer *pre,
                  void (*word)(void *ctx, struct str word), void *ctx);
void pre_run_release(struct pre_run *r);
/* at_start: the piece begins where the text does. */
int pre_run(struct pre_run *r, struct str piece, bool at_start, struct err *err);

#endif
