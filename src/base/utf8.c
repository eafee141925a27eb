#include "base/utf8.h"

static bool is_tail(unsigned char c) { return (c & 0xC0) == 0x80; }

size_t utf8_get(struct str s, unsigned *ret_cp) {
    if (s.n == 0) return 0;
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned c = p[0];
    if (c < 0x80) {
        *ret_cp = c;
        return 1;
    }
    if (c >= 0xC2 && c <= 0xDF && s.n >= 2 && is_tail(p[1])) {
        *ret_cp = (c & 0x1Fu) << 6 | (p[1] & 0x3Fu);
        return 2;
    }
    if (c >= 0xE0 && c <= 0xEF && s.n >= 3 && is_tail(p[1]) && is_tail(p[2])) {
        unsigned cp = (c & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        if (cp < 0x800 || (cp >= 0xD800 && cp <= 0xDFFF)) return 0;
        *ret_cp = cp;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4 && s.n >= 4 && is_tail(p[1]) && is_tail(p[2]) && is_tail(p[3])) {
        unsigned cp =
            (c & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
        if (cp < 0x10000 || cp > 0x10FFFF) return 0;
        *ret_cp = cp;
        return 4;
    }
    return 0;
}

size_t utf8_put(unsigned cp, char out[4]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

size_t utf8_valid_prefix(struct str s) {
    size_t at = 0;
    unsigned cp;
    while (at < s.n) {
        size_t n = utf8_get(str_from(s, at), &cp);
        if (n == 0) break;
        at += n;
    }
    return at;
}

size_t utf8_incomplete_tail(struct str s) {
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        unsigned char c = (unsigned char)s.p[s.n - back];
        if (is_tail(c)) continue;
        size_t need = c >= 0xF0 && c <= 0xF4  ? 4
                      : c >= 0xE0 && c < 0xF0 ? 3
                      : c >= 0xC2 && c < 0xE0 ? 2
                                              : 1;
        return need > back ? back : 0;
    }
    return 0;
}
