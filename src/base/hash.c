#include "base/hash.h"

#include "base/file.h"
#include "base/mem.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

struct sha256 {
    EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(void) {
    struct sha256 *h = mem_zalloc(1, sizeof *h);
    h->ctx = EVP_MD_CTX_new();
    int ok = h->ctx && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL);
    assert(ok);
    return h;
}

void sha256_add(struct sha256 *h, const void *p, size_t n) {
    int ok = EVP_DigestUpdate(h->ctx, p, n);
    assert(ok);
}

void sha256_finish(struct sha256 *h, char hex[SHA256_HEX + 1]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int ok = EVP_DigestFinal_ex(h->ctx, digest, &n);
    assert(ok && n * 2 == SHA256_HEX);
    for (unsigned i = 0; i < n; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[SHA256_HEX] = '\0';
    sha256_free(h);
}

void sha256_free(struct sha256 *h) {
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    mem_free(h);
}

void sha256_of(struct str s, char hex[SHA256_HEX + 1]) {
    struct sha256 *h = sha256_new();
    sha256_add(h, s.p, s.n);
    sha256_finish(h, hex);
}

void sha256_raw(struct str s, unsigned char ret[32]) {
    unsigned n = 0;
    int ok = EVP_Digest(s.p, s.n, ret, &n, EVP_sha256(), NULL);
    assert(ok && n == 32);
}

int sha256_file(const char *path, char hex[SHA256_HEX + 1], struct err *err) {
    struct file_map m;
    int rc = file_map_open(path, &m, err);
    if (rc) return rc;
    sha256_of((struct str){(const char *)m.p, m.n}, hex);
    file_map_close(&m);
    return 0;
}

void hmac_sha256(struct str key, struct str text, unsigned char ret[32]) {
    unsigned n = 0;
    assert(key.n <= INT_MAX);
    const unsigned char *ok =
        HMAC(EVP_sha256(), key.p, (int)key.n, (const unsigned char *)text.p, text.n, ret, &n);
    assert(ok && n == 32);
}
