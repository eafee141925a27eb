/* The patterns that most byte-level tokenizers split words with, by hand: several times as fast as
 * any regex engine. Each matches at every place of a text, so the words cover it. */
#ifndef TEXT_SCAN_H
#define TEXT_SCAN_H

#include "base/str.h"

/* The length of the word at the start of a non-empty UTF-8 text. */
typedef size_t scan_fn(struct str text);

scan_fn scan_gpt2;
scan_fn scan_llama3; /* up to three digits a word */
scan_fn scan_qwen2;  /* every digit its own word */

/* The scanner that does what a regular expression says, or NULL. */
scan_fn *scan_for_pattern(struct str pattern);
/* The inverse, for writing tokenizer.json. */
struct str scan_pattern(scan_fn *scan);

#endif
