/* Addresses of cryptocurrencies: base58check, bech32 and bech32m, and Ethereum's by its shape. */
#include "base/hash.h"
#include "data/pii_int.h"

static bool bounded(const struct pii_scan *s, size_t start, size_t end) {
    unsigned char a = pii_before(s, start), b = pii_at(s, end);
    return !pii_alnum(a) && a != '_' && !pii_alnum(b) && b != '_';
}

/* --- base58check */

static int base58_value(unsigned char c) {
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    const char *p = c ? strchr(digits, c) : NULL;
    return p ? (int)(p - digits) : -1;
}

static unsigned char hex_byte(const char *h) {
    unsigned x = 0;
    for (int i = 0; i < 2; i++) x = x << 4 | (unsigned)(h[i] <= '9' ? h[i] - '0' : h[i] - 'a' + 10);
    return (unsigned char)x;
}

static void sha256_bytes(const void *p, size_t n, unsigned char ret[32]) {
    char hex[SHA256_HEX + 1];
    sha256_of((struct str){p, n}, hex);
    for (int i = 0; i < 32; i++) ret[i] = hex_byte(hex + 2 * (size_t)i);
}

/* 25 bytes: version, 20 of a hash, 4 of the check */
static bool base58check(struct str t) {
    unsigned char b[25] = {0}, h[32];
    for (size_t i = 0; i < t.n; i++) {
        int carry = base58_value((unsigned char)t.p[i]);
        if (carry < 0) return false;
        for (int k = 24; k >= 0; k--) {
            carry += 58 * b[k];
            b[k] = (unsigned char)carry;
            carry >>= 8;
        }
        if (carry) return false;
    }
    if (b[0] != 0 && b[0] != 5) return false;
    sha256_bytes(b, 21, h);
    sha256_bytes(h, 32, h);
    return memcmp(h, b + 21, 4) == 0;
}

static size_t base58(struct pii_scan *s, size_t i) {
    if (!pii_alnum(pii_at(s, i + 6)) || !pii_alnum(pii_at(s, i + 25))) return 0; /* most numbers */
    size_t end = i;
    while (end - i <= 35 && pii_alnum(pii_at(s, end))) end++;
    s->steps += end - i;
    if (end - i < 26 || end - i > 35 || !bounded(s, i, end)) return 0;
    if (!base58check(pii_part(s, i, end))) return 0;
    return pii_found(s, PII_CRYPTO, i, end, 0.98) ? end : 0;
}

/* --- bech32 (BIP 173) and bech32m (BIP 350) */

static uint32_t polymod(uint32_t c, unsigned value) {
    static const uint32_t g[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
    unsigned top = c >> 25;
    c = (c & 0x1ffffff) << 5 ^ value;
    for (int i = 0; i < 5; i++)
        if (top >> i & 1) c ^= g[i];
    return c;
}

/* the digit 1 after a prefix of letters */
static size_t bech32(struct pii_scan *s, size_t one) {
    static const char digits[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    size_t start = one, end = one + 1;
    while (start > 0 && one - start < 4 && pii_letter(pii_before(s, start))) start--;
    struct str prefix = pii_part(s, start, one);
    if (!str_is(prefix, "bc") && !str_is(prefix, "tb") && !str_is(prefix, "ltc")) return 0;
    uint32_t c = 1;
    for (size_t i = 0; i < prefix.n; i++) c = polymod(c, (unsigned char)prefix.p[i] >> 5);
    c = polymod(c, 0);
    for (size_t i = 0; i < prefix.n; i++) c = polymod(c, prefix.p[i] & 31);
    for (; end - start <= 90 && pii_alnum(pii_at(s, end)); end++) {
        const char *p = strchr(digits, pii_at(s, end));
        if (!p) return 0;
        c = polymod(c, (unsigned)(p - digits));
    }
    s->steps += end - start;
    if (end - start < 14 || end - start > 90 || !bounded(s, start, end)) return 0;
    if (c != 1 && c != 0x2bc830a3) return 0;
    return pii_found(s, PII_CRYPTO, start, end, 0.98) ? end : 0;
}

/* 0x and 40 hex digits, not all the same */
static size_t ethereum(struct pii_scan *s, size_t i) {
    size_t end = i + 2;
    bool differ = false;
    for (; end - i <= 42 && pii_hex(pii_at(s, end)); end++)
        differ |= pii_at(s, end) != pii_at(s, i + 2);
    s->steps += end - i;
    if (end - i != 42 || !differ || !bounded(s, i, end)) return 0;
    return pii_found(s, PII_CRYPTO, i, end, 0.7) ? end : 0;
}

size_t pii_crypto(struct pii_scan *s, size_t i) {
    unsigned char c = pii_at(s, i), before = pii_before(s, i);
    if (c == '0' && pii_at(s, i + 1) == 'x') return ethereum(s, i);
    if (c == '1' && (before == 'c' || before == 'b')) return bech32(s, i);
    if ((c == '1' || c == '3') && !pii_alnum(before) && before != '_') return base58(s, i);
    return 0;
}
