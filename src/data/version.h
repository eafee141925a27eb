/* What a row of a dataset is by content, and the root that stands for a version.
 *
 * The content of a row is what a model can learn from it: messages, tools and weights (prompt and
 * completion, a text, both answers of a pair), as compact JSON with sorted keys. Its SHA-256 is the
 * row's name. Whom it came from, when and what was changed is kept beside it.
 *
 * The root is a Merkle tree's as in RFC 6962 over the rows in the order of their hashes, a leaf
 * being the hash and the split, joined with the hash of the recipe's settings. Any thread. */
#ifndef DATA_VERSION_H
#define DATA_VERSION_H

#include "base/buf.h"
#include "base/json.h"
#include "data/split.h"

#define ROW_HASH 32

/* The content of a row in OpenAI's form; false where it has none. Does not change the row. */
bool row_content(const json_t *row, struct buf *out);
void row_hash(struct str content, unsigned char ret[ROW_HASH]);

void hash_hex(const unsigned char hash[ROW_HASH], char ret[2 * ROW_HASH + 1]);
bool hash_of_hex(struct str hex, unsigned char ret[ROW_HASH]);

/* Leaves in order, in memory for their logarithm. */
struct merkle {
    struct {
        unsigned char hash[ROW_HASH];
        uint64_t leaves;
    } part[64];
    int parts;
};
void merkle_init(struct merkle *m);
void merkle_add(struct merkle *m, const unsigned char row[ROW_HASH], enum split split);
/* Of the leaves so far. */
void merkle_root(const struct merkle *m, unsigned char ret[ROW_HASH]);
/* of the rows' root and the hash of the settings */
void version_root(const struct merkle *m, struct str settings, unsigned char ret[ROW_HASH]);

#endif
