/* Normalizers of tokenizer.json: a list of steps from text to text. */
#ifndef TEXT_NORMALIZE_H
#define TEXT_NORMALIZE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "text/regex.h"

#include <stdbool.h>

enum normalize_kind {
    NORMALIZE_NFC,
    NORMALIZE_NFD,
    NORMALIZE_NFKC,
    NORMALIZE_NFKD,
    NORMALIZE_LOWERCASE,
    NORMALIZE_REPLACE, /* a literal, or a regex */
    NORMALIZE_PREPEND,
    NORMALIZE_STRIP,
    NORMALIZE_ACCENTS,
    NORMALIZE_BYTES, /* ByteLevel: bytes as the characters that stand for them */
};
struct normalize_step {
    enum normalize_kind kind;
    bool left, right;    /* strip */
    struct regex *regex; /* replace; NULL: the literal `from` */
    struct str from, to; /* replace; prepend uses `to` */
};

#define NORMALIZE_STEPS 16
struct normalizer {
    struct normalize_step steps[NORMALIZE_STEPS];
    size_t count;
};

/* spec: the "normalizer" of tokenizer.json, or NULL; borrowed strings live as long as spec. */
int normalizer_read(const json_t *spec, const char *where, struct normalizer *ret, struct err *err);
void normalizer_release(struct normalizer *n);
/* The normal form of text: text itself when nothing changes, else in one of the two buffers.
 * *ret_moved: characters were taken from the front. */
int normalize(const struct normalizer *n, struct str text, struct buf work[2], struct str *ret,
              bool *ret_moved, struct err *err);

/* All of `from` (a literal, or what regex matches) replaced by `to`. */
int replace_all(const struct normalize_step *step, struct str text, struct buf *out,
                struct err *err);

/* The character that stands for a byte in GPT-2's alphabet, and back (-1: none). */
unsigned byte_to_char(unsigned char byte);
int char_to_byte(unsigned cp);

/* {"String": x} or {"Regex": x} (a plain string is a String). */
int pattern_read(const json_t *spec, const char *where, struct str *ret_literal,
                 struct str *ret_regex, struct err *err);
/* The "type" of a component; errors name `where`. */
int component_type(const json_t *spec, const char *where, struct str *ret, struct err *err);

#endif
