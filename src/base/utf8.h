/* UTF-8 (RFC 3629): no surrogates, no overlong forms, at most U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/str.h"

/* Decode one code point at s.p; returns its length 1..4, or 0 when the bytes there are not UTF-8
 * (or s is empty); *ret_cp is written only on success. */
size_t utf8_get(struct str s, unsigned *ret_cp);
/* Encode; returns the length 1..4. cp must be a scalar value. */
size_t utf8_put(unsigned cp, char out[4]);
/* Length of the longest valid prefix: s.n when all of s is valid. */
size_t utf8_valid_prefix(struct str s);
/* Bytes at the end of s that begin a code point but do not finish it (0..3): what a stream of
 * tokens must hold back. */
size_t utf8_incomplete_tail(struct str s);

#endif
