/* A bump allocator for things that die together: a request, a file being parsed, a template run.
 * Memory is zeroed, aligned to 16, and freed all at once. A limit bounds the total; past it
 * arena_alloc returns NULL and `over` sticks, so that one check at the end is enough where the
 * caller can go on with NULL. Not thread safe. Under ASan the space between pieces is poisoned. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *head;
    size_t used, max; /* bytes handed out and their limit */
    bool over;
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_release(struct arena *a);
void arena_reset(struct arena *a);                /* frees everything, keeps the limit */
void *arena_alloc(struct arena *a, size_t bytes); /* NULL when over the limit */
void *arena_array(struct arena *a, size_t count, size_t size); /* NULL on overflow too */
char *arena_strndup(struct arena *a, const char *p, size_t n); /* NUL-terminated */
struct str arena_str(struct arena *a, struct str s);           /* a copy; empty when over */

#endif
