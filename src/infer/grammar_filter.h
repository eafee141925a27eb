/* A grammar as the engine's filter: each token stays inside it, and the answer ends with it. */
#ifndef INFER_GRAMMAR_FILTER_H
#define INFER_GRAMMAR_FILTER_H

#include "infer/engine.h"
#include "text/grammar.h"

/* The filter's ctx is released by the engine, or by grammar_filter_release where the request was
 * not taken. Grammar and vocabulary are kept alive by it. */
int grammar_filter(struct grammar *g, struct grammar_vocab *v, struct engine_filter *ret,
                   struct err *err);
void grammar_filter_release(struct engine_filter *f); /* an empty one is fine */

#endif
