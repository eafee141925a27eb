/* Strings as Python has them: stripping, case, lines, replacement. Over code points; case follows
 * Unicode's simple mappings plus the few full ones that occur in running text (German sharp s,
 * Greek final sigma). */
#include "text/template_int.h"

#include "base/utf8.h"

#include <utf8proc.h>

bool cp_is_space(unsigned cp) {
    if (cp < 0x80) return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x1F);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

/* Of characters; those beyond ASCII are searched for in the text that lists them. */
struct char_set {
    struct run *r;
    struct str all;
    bool ascii[128];
};

static bool in_set(struct str c, const struct char_set *set) {
    unsigned cp = 0;
    if (!set) return utf8_get(c, &cp) && cp_is_space(cp);
    if ((unsigned char)c.p[0] < 128) return set->ascii[(unsigned char)c.p[0]];
    return run_spend(set->r, set->all.n / 64) && memmem(set->all.p, set->all.n, c.p, c.n);
}

static size_t last_char(struct str s) {
    size_t n = 1;
    while (n < s.n && ((unsigned char)s.p[s.n - n] & 0xC0) == 0x80) n++;
    return n;
}

/* set NULL: white space */
static struct value strip(struct str s, const struct char_set *set, bool left, bool right) {
    while (left && s.n) {
        size_t n = str_offset(s, 1);
        if (!in_set((struct str){s.p, n}, set)) break;
        s = str_from(s, n);
    }
    while (right && s.n) {
        size_t n = last_char(s);
        if (!in_set((struct str){s.p + s.n - n, n}, set)) break;
        s.n -= n;
    }
    return v_str(s);
}

struct value str_strip(struct str s, bool left, bool right) {
    return strip(s, NULL, left, right);
}

struct value str_strip_set(struct run *r, struct str s, struct str chars, bool left, bool right) {
    struct char_set set = {.r = r, .all = chars};
    for (size_t i = 0; i < chars.n; i++)
        if ((unsigned char)chars.p[i] < 128) set.ascii[(unsigned char)chars.p[i]] = true;
    return strip(s, &set, left, right);
}

struct value str_escape(struct run *r, struct str s) {
    static const char *const entities[] = {"&&amp;", "<&lt;", ">&gt;", "'&#39;", "\"&#34;"};
    struct buf b;
    run_buf(r, &b);
    for (size_t i = 0; i < s.n; i++) {
        size_t k = 0;
        while (k < 5 && entities[k][0] != s.p[i]) k++;
        if (k < 5)
            buf_z(&b, entities[k] + 1);
        else
            buf_byte(&b, s.p[i]);
    }
    struct value v = v_take(r, &b);
    v.markup = true;
    return v;
}

/* count < 0: all */
struct value str_replace(struct run *r, struct str s, struct str old, struct str with,
                         int64_t count) {
    struct buf out;
    run_buf(r, &out);
    while (count != 0 && run_spend(r, 1)) {
        size_t at = s.n + 1, skip = old.n;
        if (old.n) {
            const char *hit = memmem(s.p, s.n, old.p, old.n);
            if (hit) at = (size_t)(hit - s.p);
        } else
            at = 0;
        if (at > s.n) break;
        buf_add(&out, s.p, at);
        buf_str(&out, with);
        s = str_from(s, at + skip);
        if (count > 0) count--;
        if (old.n) continue;
        if (!s.n) break;
        size_t n = str_offset(s, 1); /* between every two characters */
        buf_add(&out, s.p, n);
        s = str_from(s, n);
        if (!s.n && count != 0) {
            buf_str(&out, with);
            break;
        }
    }
    buf_str(&out, s);
    return v_take(r, &out);
}

/* --- case
 * ----------------------------------------------------------------------------------------- */

static bool is_upper(unsigned cp) {
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c == UTF8PROC_CATEGORY_LU;
}

static bool is_lower(unsigned cp) {
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c == UTF8PROC_CATEGORY_LL || cp == 0xAA || cp == 0xBA;
}

static bool is_cased(unsigned cp) {
    return is_upper(cp) || is_lower(cp) ||
           utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_LT;
}

static void put_upper(unsigned cp, bool title, struct buf *out) {
    if (cp == 0xDF)
        buf_z(out, title ? "Ss" : "SS");
    else if (cp == 0x149)
        buf_z(out, "\xCA\xBCN");
    else
        buf_utf8(out, (unsigned)(title ? utf8proc_totitle((utf8proc_int32_t)cp)
                                       : utf8proc_toupper((utf8proc_int32_t)cp)));
}

/* Σ at the end of a word is ς */
static void put_lower(unsigned cp, bool after_cased, struct str rest, struct buf *out) {
    unsigned next = 0;
    if (cp == 0x3A3 && after_cased && !(utf8_get(rest, &next) && is_cased(next)))
        buf_utf8(out, 0x3C2);
    else if (cp == 0x130)
        buf_z(out, "i\xCC\x87");
    else
        buf_utf8(out, (unsigned)utf8proc_tolower((utf8proc_int32_t)cp));
}

static void put_case(unsigned cp, char how, bool first, bool after_cased, struct str rest,
                     struct buf *out) {
    bool up = how == 'u' || (how == 's' && is_lower(cp));
    if (how == 's' && !is_lower(cp) && !is_upper(cp))
        buf_utf8(out, cp);
    else if (up)
        put_upper(cp, false, out);
    else if ((how == 'c' && first) || (how == 't' && !after_cased))
        put_upper(cp, true, out);
    else
        put_lower(cp, after_cased, rest, out);
}

struct value str_case(struct run *r, struct str s, char how) {
    struct buf out;
    run_spend(r, s.n / 4);
    run_buf(r, &out);
    bool first = true, after_cased = false;
    unsigned cp;
    while (s.n) {
        size_t n = utf8_get(s, &cp);
        if (!n) break;
        s = str_from(s, n);
        put_case(cp, how, first, after_cased, s, &out);
        first = false;
        after_cased = is_cased(cp);
    }
    return v_take(r, &out);
}

/* str.isupper, str.islower: at least one cased character and none of the other case */
bool str_is_case(struct run *r, struct str s, bool upper) {
    bool any = false;
    unsigned cp;
    run_spend(r, s.n / 16);
    for (size_t n; s.n && (n = utf8_get(s, &cp)) > 0; s = str_from(s, n)) {
        if (!is_cased(cp)) continue;
        if (upper != is_upper(cp)) return false;
        any = true;
    }
    return any;
}

/* --- lines
 * ---------------------------------------------------------------------------------------- */

static size_t line_break(struct str s) {
    unsigned cp;
    size_t n = utf8_get(s, &cp);
    if (!n) return 0;
    if (cp == '\r' && s.n > 1 && s.p[1] == '\n') return 2;
    bool is = (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
              cp == 0x2029;
    return is ? n : 0;
}

struct value str_lines(struct run *r, struct str s, bool keep_ends) {
    struct value list = v_seq(r, V_LIST, 0);
    size_t start = 0, at = 0;
    run_spend(r, s.n / 64);
    while (at < s.n) {
        size_t n = line_break(str_from(s, at));
        if (n) {
            seq_add(r, list, v_str((struct str){s.p + start, at - start + (keep_ends ? n : 0)}));
            start = at += n;
        } else
            at++;
    }
    if (start < s.n) seq_add(r, list, v_str(str_from(s, start)));
    return list;
}
