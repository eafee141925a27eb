#include "base/base64.h"

#include <limits.h>
#include <openssl/evp.h>

void base64_encode(struct str bytes, struct buf *out) {
    if (bytes.n > INT_MAX / 2 || !buf_reserve(out, (bytes.n + 2) / 3 * 4 + 1)) return;
    int n = EVP_EncodeBlock((unsigned char *)out->p + out->n, (const unsigned char *)bytes.p,
                            (int)bytes.n);
    out->n += (size_t)n;
}

bool base64_decode(struct str text, struct buf *out) {
    if (text.n % 4 || text.n > INT_MAX / 2 || !buf_reserve(out, text.n / 4 * 3 + 1)) return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.n && text.p[text.n - 1 - padding] == '=') padding++;
    for (size_t i = 0; i < text.n - padding; i++) /* the library would skip blanks */
        if (text.p[i] == '=' || text.p[i] == ' ' || text.p[i] == '\n') return false;
    int n = EVP_DecodeBlock((unsigned char *)out->p + out->n, (const unsigned char *)text.p,
                            (int)text.n);
    if (n < 0) return false;
    out->n += (size_t)n - padding; /* the library counts the padding as zero bytes */
    out->p[out->n] = '\0';
    return true;
}
