/* What constrained answers need and requests share: the token bytes of the last few models, and the
 * grammars of the last schemas, which remember the masks they have computed. Any thread. */
#ifndef API_GRAMMAR_CACHE_H
#define API_GRAMMAR_CACHE_H

#include "infer/engine.h"
#include "text/grammar.h"

struct grammar_cache;
struct grammar_cache *grammar_cache_new(struct engine *e);
void grammar_cache_free(struct grammar_cache *c); /* before engine_close; NULL is fine */

/* The references are the caller's (grammar_vocab_free, grammar_free). */
int grammar_cache_vocab(struct grammar_cache *c, const char *path, struct grammar_vocab **ret,
                        struct err *err);
/* NULL when there is none of this key: compile it, and put it there. */
struct grammar *grammar_cache_find(struct grammar_cache *c, struct str key);
void grammar_cache_put(struct grammar_cache *c, struct str key, struct grammar *g);

#endif
