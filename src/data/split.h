/* Which rows train, and which judge. Rows that belong together (the same user, conversation,
 * document or seed row; near duplicates; the same question) are one group and never straddle: a
 * group's place is a hash of its name under a salt, held against a cut of its stratum. Cuts are
 * computed where a stratum is new and handed back, so that later versions use the same ones and
 * adding rows moves none. Rows of earlier versions stay where they were, and their group with them.
 * Nothing depends on the order of rows or edges. */
#ifndef DATA_SPLIT_H
#define DATA_SPLIT_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum split { SPLIT_TRAIN, SPLIT_VALID, SPLIT_TEST, SPLITS };
/* a row that is new, in a group with earlier rows on several sides: in none of them without a leak
 */
#define SPLIT_STRADDLES (-2)
#define SPLIT_NEW (-1)

const char *split_name(enum split s); /* "train", "valid", "test" */

/* The keys that tie rows, the strongest first: it names the group. */
enum split_key { SPLIT_USER, SPLIT_CONVERSATION, SPLIT_DOCUMENT, SPLIT_SEED, SPLIT_KEYS };

struct split_row {
    uint64_t content;          /* of its hash; names a group without keys */
    uint64_t keys[SPLIT_KEYS]; /* hashes of kind and value, 0: none */
    uint64_t stratum;          /* label or source */
    int8_t before;             /* its split in an earlier version, or SPLIT_NEW */
};
struct split_edge {
    uint32_t a, b; /* indexes of rows */
};
/* Of one stratum: a group whose hash is below `test` is test, below `valid` valid, else train. */
struct split_cut {
    uint64_t stratum, test, valid;
};
struct split_cuts {
    struct split_cut *list; /* by stratum; mem_free */
    size_t count, cap;
};
struct split_options {
    double valid, test; /* shares of the rows, together below 1 */
    uint64_t salt;
};

/* ret (n): enum split or SPLIT_STRADDLES. cuts: those known, by stratum; new ones are added. n is
 * below 2^32. ERR_LIMIT: memory. */
int split_assign(const struct split_row *rows, size_t n, const struct split_edge *edges,
                 size_t edge_count, const struct split_options *o, struct split_cuts *cuts,
                 int8_t *ret, struct err *err);

#endif
