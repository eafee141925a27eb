/* Answers that refuse: how models and support staff begin such answers, in several languages. Known
 * phrases near the beginning only; an answer that says further down what cannot be done is none. */
#ifndef DATA_REFUSAL_H
#define DATA_REFUSAL_H

#include "base/str.h"

/* The phrase that was found (a literal), or NULL. */
const char *refusal_find(struct str answer);

#endif
