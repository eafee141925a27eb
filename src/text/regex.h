/* Regular expressions of tokenizer files, run by PCRE2. They are written for Oniguruma: what the
 * two read differently is rewritten (classes take the code points of charclass.h, ^ and $ stand at
 * lines) or refused. A match is bounded in steps and memory. Immutable after compiling; each
 * thread brings its own struct regex_match. */
#ifndef TEXT_REGEX_H
#define TEXT_REGEX_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct regex;
struct regex_match; /* scratch of one thread */

int regex_compile(struct str pattern, const char *where, struct regex **ret, struct err *err);
void regex_free(struct regex *r);
struct regex_match *regex_match_new(const struct regex *r);
void regex_match_free(struct regex_match *m);

/* The first match at or after byte `from`: 1 and its place, 0 when there is none, or a negative
 * code. text must be UTF-8 and from at a character. */
int regex_find(const struct regex *r, struct regex_match *m, struct str text, size_t from,
               size_t *ret_start, size_t *ret_end, struct err *err);

#endif
