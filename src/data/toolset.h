/* The tools of rows, parsed once for all rows that bring the same list: names, and schemas ready to
 * check arguments with. The cache keeps the last list of each slot; results do not depend on it. */
#ifndef DATA_TOOLSET_H
#define DATA_TOOLSET_H

#include "base/str.h"
#include "data/schema.h"

#define TOOLSET_WHY_MAX 200

struct tool {
    struct str name;
    struct schema *schema; /* NULL: no parameters given, any object is right */
};

struct toolset {
    struct tool *list;
    size_t count;
    char problem[TOOLSET_WHY_MAX]; /* why the list is not OpenAI's form; "" */
    /* of the cache */
    char *text;
    size_t text_n;
    json_t *json;
    int refs; /* guarded by the cache's lock */
};

struct toolset_cache;
struct toolset_cache *toolset_cache_new(void);
void toolset_cache_free(struct toolset_cache *c);
/* text: JSON of an array of tools. To be given back; any thread. */
const struct toolset *toolset_get(struct toolset_cache *c, struct str text);
void toolset_put(struct toolset_cache *c, const struct toolset *t);
const struct tool *toolset_find(const struct toolset *t, struct str name); /* may be NULL */

#endif
