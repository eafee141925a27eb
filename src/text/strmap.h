/* From strings to ids. The strings belong to whoever fills the map (an arena) and must outlive it.
 */
#ifndef TEXT_STRMAP_H
#define TEXT_STRMAP_H

#include "base/str.h"

#include <stdint.h>

struct str_slot {
    const char *p; /* NULL: free */
    uint32_t n, hash;
    int32_t id;
};
struct str_map {
    struct str_slot *slots;
    size_t count, cap; /* cap is 0 or a power of two */
    size_t longest;    /* bytes */
};

void str_map_release(struct str_map *m);
/* A later id for the same string replaces the earlier one. */
void str_map_put(struct str_map *m, struct str key, int32_t id);
int32_t str_map_find(const struct str_map *m, struct str key); /* -1: none */

#endif
