/* Scores of one text against another: right or wrong, or a share. Pure functions, any thread. */
#ifndef EVAL_SCORE_TEXT_H
#define EVAL_SCORE_TEXT_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct str text_trimmed(struct str s);       /* without white space around it */
bool text_exact(struct str a, struct str b); /* but for white space around them */
/* SQuAD's normal form: lower case, no ASCII punctuation, no a, an, the, single spaces */
int text_normalized(struct str a, struct str b, bool *ret, struct err *err);
bool text_contains(struct str text, struct str part);
int text_contains_folded(struct str text, struct str part, bool *ret, struct err *err);
/* A number alone, or the last in a text: sign, digits with commas between thousands, decimals, an
 * exponent; "$" before and "%" behind are skipped. False when there is none. */
bool text_number(struct str s, bool last, double *ret);
/* F1 of the two sets of parts between commas, semicolons and line ends, trimmed and folded */
int text_set_f1(struct str a, struct str b, double *ret, struct err *err);
/* 1 - edits / length of the longer, over characters */
int text_edit_similarity(struct str a, struct str b, double *ret, struct err *err);
/* PCRE2, UTF-8, bounded: found anywhere. ERR_INVALID for a pattern that is none. */
int text_regex(struct str pattern, struct str text, bool *ret, struct err *err);

#endif
