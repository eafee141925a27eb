/* Bytes into UTF-8: what a file may be written in, and mending of what is neither. */
#include "base/utf8.h"
#include "data/source_int.h"

#include <stdint.h>

int bytes_encoding(struct str head, enum encoding *ret, size_t *ret_skip, struct err *err) {
    static const struct {
        struct str magic;
        const char *what, *hint;
    } others[] = {
        {{"\xFF\xFE\0\0", 4}, "UTF-32 text", "save it as UTF-8"},
        {{"\0\0\xFE\xFF", 4}, "UTF-32 text", "save it as UTF-8"},
        {{"\x1F\x8B", 2}, "compressed (gzip)", "unpack it first: gzip -d"},
        {{"\x28\xB5\x2F\xFD", 4}, "compressed (zstd)", "unpack it first: zstd -d"},
        {{"BZh", 3}, "compressed (bzip2)", "unpack it first: bzip2 -d"},
        {{"\xFD"
          "7zXZ",
          5},
         "compressed (xz)",
         "unpack it first: xz -d"},
        {{"PK\3\4", 4}, "a ZIP archive or an Office document", "unpack it, or save it as CSV"},
        {{"PAR1", 4}, "Parquet", "convert it to JSON Lines"},
        {{"%PDF-", 5}, "PDF", "save it as text"},
        {{"SQLite format 3", 15}, "an SQLite database", "export the table as CSV"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (str_starts(head, others[i].magic))
            return err_set(err, ERR_UNSUPPORTED, "the file is %s; %s", others[i].what,
                           others[i].hint);
    *ret_skip = 2;
    *ret = ENCODING_UTF8;
    if (str_starts(head, STR_LIT("\xFF\xFE")))
        *ret = ENCODING_UTF16LE;
    else if (str_starts(head, STR_LIT("\xFE\xFF")))
        *ret = ENCODING_UTF16BE;
    else
        *ret_skip = str_starts(head, STR_LIT("\xEF\xBB\xBF")) ? 3 : 0;
    if (*ret == ENCODING_UTF8 && head.n >= 4 && (head.p[0] == 0) != (head.p[1] == 0) &&
        (head.p[0] == 0) == (head.p[2] == 0) && (head.p[1] == 0) == (head.p[3] == 0))
        return err_set(err, ERR_UNSUPPORTED,
                       "the file is UTF-16 without a byte order mark; save it as UTF-8");
    return 0;
}

static unsigned unit_at(struct str raw, size_t i, bool big_endian) {
    unsigned a = (unsigned char)raw.p[i], b = (unsigned char)raw.p[i + 1];
    return big_endian ? a << 8 | b : b << 8 | a;
}

size_t bytes_from_utf16(struct str raw, bool big_endian, bool at_end, struct buf *out) {
    size_t i = 0;
    while (i + 2 <= raw.n) {
        unsigned cp = unit_at(raw, i, big_endian), low = 0;
        bool high = cp >= 0xD800 && cp <= 0xDBFF;
        if (high && i + 4 > raw.n && !at_end) break;
        if (high && i + 4 <= raw.n) low = unit_at(raw, i + 2, big_endian);
        i += 2;
        if (high && low >= 0xDC00 && low <= 0xDFFF) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            i += 2;
        }
        char bytes[4];
        if (cp < 0x80)
            buf_byte(out, (char)cp);
        else if (cp >= 0xD800 && cp <= 0xDFFF)
            buf_byte(out, '\xFF');
        else
            buf_add(out, bytes, utf8_put(cp, bytes));
    }
    if (at_end && i < raw.n) {
        buf_byte(out, '\xFF');
        i = raw.n;
    }
    return i;
}

bool bytes_are_utf8(struct str s) {
    size_t i = 0;
    unsigned cp;
    while (i < s.n) {
        uint64_t w;
        if (s.n - i >= 8 && (memcpy(&w, s.p + i, 8), !(w & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        size_t k = (unsigned char)s.p[i] < 0x80 ? 1 : utf8_get(str_from(s, i), &cp);
        if (k == 0) return false;
        i += k;
    }
    return true;
}

bool bytes_mend(struct str s, struct buf *out) {
    /* 0x80..0x9F; 0: not assigned */
    static const uint16_t high[32] = {
        0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};
    for (size_t i = 0; i < s.n; i++) {
        unsigned cp = (unsigned char)s.p[i];
        char bytes[4];
        if (cp >= 0x80 && cp < 0xA0) cp = high[cp - 0x80];
        if (cp == 0 && s.p[i]) return false;
        buf_add(out, bytes, utf8_put(cp, bytes));
    }
    return true;
}

bool bytes_mend_json(struct str json, struct buf *out) {
    for (size_t i = 0; i < json.n;) {
        size_t from = i++;
        if (json.p[from] != '"') {
            while (i < json.n && json.p[i] != '"') i++;
            buf_add(out, json.p + from, i - from);
            continue;
        }
        while (i < json.n && json.p[i] != '"') i += json.p[i] == '\\' ? 2 : 1;
        if (i > json.n) i = json.n;
        if (i < json.n) i++;
        struct str s = {json.p + from, i - from};
        if (bytes_are_utf8(s))
            buf_str(out, s);
        else if (!bytes_mend(s, out))
            return false;
    }
    return true;
}
