/* What kind of character a code point is, in the eyes of the `tokenizers` package, whose regex
 * engine, standard library and tables each follow their own version of Unicode. The table is built
 * once from runs and then only read. */
#ifndef TEXT_CHARCLASS_H
#define TEXT_CHARCLASS_H

#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

enum char_class {
    CH_LETTER = 1,       /* \p{L} */
    CH_NUMBER = 2,       /* \p{N} */
    CH_SPACE = 4,        /* \s; char::is_whitespace is the same set */
    CH_WORD = 8,         /* \w of Rust's regex crate */
    CH_NUMERIC = 16,     /* char::is_numeric */
    CH_MARK = 32,        /* \p{M} */
    CH_PUNCT = 64,       /* \p{P} */
    CH_PUNCT_STEP = 128, /* what the Punctuation pre-tokenizer splits at */
    CH_ACCENT = 256,     /* what the StripAccents normalizer removes */
    CH_DIGIT = 512,      /* \d */
    CH_UNSTABLE = 1024,  /* NFC may change a text only where one of these stands */
    CH_PLAIN = 2048,     /* newer than the normalizers' Unicode: they leave it alone */
};

#define CHARCLASS_BLOCK 128
extern uint16_t charclass_index[0x110000 / CHARCLASS_BLOCK];
extern uint16_t (*charclass_blocks)[CHARCLASS_BLOCK];

void charclass_init(void); /* before the first char_class; any thread, any number of times */

static inline unsigned char_class(unsigned cp) {
    return charclass_blocks[charclass_index[cp / CHARCLASS_BLOCK]][cp % CHARCLASS_BLOCK];
}

/* The code point at p in text known to be UTF-8; *ret_n gets its length. */
static inline unsigned char_at(const char *p, size_t *ret_n) {
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) return *ret_n = 1, u[0];
    if (u[0] < 0xE0) return *ret_n = 2, (u[0] & 31u) << 6 | (u[1] & 63u);
    if (u[0] < 0xF0) return *ret_n = 3, (u[0] & 15u) << 12 | (u[1] & 63u) << 6 | (u[2] & 63u);
    *ret_n = 4;
    return (u[0] & 7u) << 18 | (u[1] & 63u) << 12 | (u[2] & 63u) << 6 | (u[3] & 63u);
}

/* The start of the last character of a non-empty UTF-8 text. */
static inline size_t char_last(struct str s) {
    size_t i = s.n - 1;
    while (i && ((unsigned char)s.p[i] & 0xC0) == 0x80) i--;
    return i;
}

/* Ranges of all code points with (or without) one of `bits`, as the inside of a regex class. */
void charclass_ranges(unsigned bits, bool without, struct buf *out);

#endif
