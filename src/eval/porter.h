/* Porter's stemmer with the changes that nltk makes by default, as METEOR uses it. */
#ifndef EVAL_PORTER_H
#define EVAL_PORTER_H

#include "base/str.h"

#define PORTER_ROOM 1 /* bytes that a stem may be longer than its word */

/* The stem of a word in lower case, into out (word.n + PORTER_ROOM bytes); returns its length. */
size_t porter_stem(struct str word, char *out);

#endif
