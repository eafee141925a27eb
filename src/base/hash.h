/* SHA-256 (FIPS 180-4) through libcrypto, and a fast 64-bit hash for tables (FNV-1a with a final
 * mix; not for hostile keys without a limit on their number). */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

#define SHA256_HEX 64

struct sha256;
struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *h, const void *p, size_t n);
/* Writes 64 lower-case hex digits and NUL, and frees h. */
void sha256_finish(struct sha256 *h, char hex[SHA256_HEX + 1]);
void sha256_free(struct sha256 *h); /* to give up without a result */
void sha256_of(struct str s, char hex[SHA256_HEX + 1]);
void sha256_raw(struct str s, unsigned char ret[32]); /* the same as bytes */
/* HMAC-SHA256 (RFC 2104) */
void hmac_sha256(struct str key, struct str text, unsigned char ret[32]);
int sha256_file(const char *path, char hex[SHA256_HEX + 1], struct err *err);

static inline uint64_t hash_bytes(const void *p, size_t n) {
    const unsigned char *b = (const unsigned char *)p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

#endif
