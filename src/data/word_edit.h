/* The one word by which two texts differ, and what such a word can mean. Any thread. */
#ifndef DATA_WORD_EDIT_H
#define DATA_WORD_EDIT_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct word_edit {
    size_t place, words; /* where; how many words differ: 0, 1, or 2 for more */
    bool one_longer;     /* the word is in the longer text only, else one stands for another */
};
struct word_edit word_edit_of(const uint32_t *a, size_t na, const uint32_t *b, size_t nb);

bool word_is_negation(uint32_t hash);
/* no number, sign or negation: one more of it does not turn a text round */
bool word_is_plain(uint32_t hash);
/* a number for another, a word for its opposite */
bool words_contrast(uint32_t a, uint32_t b);
/* the same of words as written: activate, deactivate */
bool words_contrast_by_prefix(struct str a, struct str b);
/* one letter more, less, another or swapped with its neighbour, in words of five letters or more */
bool words_slip(struct str a, struct str b);

#endif
