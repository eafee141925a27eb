/* Text as words for comparing rows: normalised, then one 32-bit hash a word. Two texts that differ
 * in case, width, accents, zero-width characters, spaces or punctuation alone have the same words.
 *
 * A word is a run of letters, digits and marks; an apostrophe within is left out, a dot or comma
 * between digits stays. Characters of scripts without spaces (Han, kana, Thai, Lao, Khmer, Burmese)
 * are words each and counted in `wide`. Signs that change what is said (+ - * / = < > % ...) are
 * words unless they join two letters. Any thread, each on its own struct. */
#ifndef DATA_WORDS_H
#define DATA_WORDS_H

#include "base/buf.h"

#include <stdint.h>

struct word_at {
    uint32_t start; /* in the normalised text */
    uint32_t bytes : 31;
    uint32_t joined : 1; /* no space before it: "top-up" and "$5" are two words, written as one */
};
struct words {
    uint32_t *list; /* the hash of each: lowest bit set of numbers and signs */
    struct word_at *at;
    size_t n, cap, at_cap;
    size_t wide; /* how many are single characters of scripts without spaces */
};

/* Folded case and width, no accents or zero-width characters, each run of spaces one space, none at
 * the ends; appended. Bytes that are not UTF-8 become U+FFFD. */
void text_normalise(struct str text, struct buf *out);

/* The words of a normalised text, appended; `at` counts from normal.p. */
void words_add(struct words *w, struct str normal);
void words_clear(struct words *w);
void words_release(struct words *w);

/* the hash of a word given as it is written in normalised text */
uint32_t word_hash(struct str word);
/* it holds a digit or is a sign: exchanged for another, the text says something else */
static inline bool word_is_number(uint32_t hash) { return hash & 1; }

/* 64 bits of bytes, several at a time; the same on every machine. */
uint64_t content_hash(uint64_t seed, const void *p, size_t n);

#endif
