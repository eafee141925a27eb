/* Remembered hashes of large files: $ATTUNE_HOME/hashes/KEY, where KEY is the hash of what tells a
 * file's content apart without reading it: path, size, inode, time of change. A cache only: every
 * failure to read or write it means computing again. */
#ifndef WEIGHTS_HASH_CACHE_H
#define WEIGHTS_HASH_CACHE_H

#include "base/hash.h"

#include <stdbool.h>

struct hash_cache_key {
    struct sha256 *hash; /* until the key is complete */
    char hex[SHA256_HEX + 1];
    bool usable; /* every file could be examined */
};

void hash_cache_begin(struct hash_cache_key *k, const char *kind);
void hash_cache_add(struct hash_cache_key *k, const char *path);
bool hash_cache_find(struct hash_cache_key *k, char hex[SHA256_HEX + 1]); /* completes the key */
void hash_cache_put(const struct hash_cache_key *k, const char hex[SHA256_HEX + 1]);

#endif
