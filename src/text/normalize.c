#include "text/normalize.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/charclass.h"

#include <stdlib.h>
#include <utf8proc.h>

/* --- reading ------------------------------------------------------------------------------------
 */

int component_type(const json_t *spec, const char *where, struct str *ret, struct err *err) {
    *ret = (struct str){0};
    if (!json_is_object(spec)) return err_set(err, ERR_INVALID, "%s: must be an object", where);
    int rc = json_get_str(spec, "type", where, ret, err);
    if (rc) return rc;
    return ret->p ? 0 : err_set(err, ERR_INVALID, "%s: \"type\" is missing", where);
}

int pattern_read(const json_t *spec, const char *where, struct str *ret_literal,
                 struct str *ret_regex, struct err *err) {
    const json_t *pattern = json_object_get(spec, "pattern");
    *ret_literal = *ret_regex = (struct str){0};
    if (json_is_string(pattern)) {
        *ret_literal = json_str(pattern);
        return 0;
    }
    int rc = json_get_str(pattern, "String", where, ret_literal, err);
    if (!rc) rc = json_get_str(pattern, "Regex", where, ret_regex, err);
    if (rc) return rc;
    if (!ret_literal->p && !ret_regex->p)
        return err_set(err, ERR_INVALID, "%s: \"pattern\" must have a String or a Regex", where);
    return 0;
}

static int read_replace(const json_t *spec, const char *where, struct normalize_step *s,
                        struct err *err) {
    struct str regex;
    int rc = pattern_read(spec, where, &s->from, &regex, err);
    if (!rc) rc = json_get_str(spec, "content", where, &s->to, err);
    if (rc || !regex.p) return rc;
    if (s->to.n && memchr(s->to.p, '$', s->to.n))
        return err_set(err, ERR_UNSUPPORTED, "%s: groups ($) in \"content\" are not supported",
                       where);
    return regex_compile(regex, where, &s->regex, err);
}

static int read_step(const json_t *spec, struct str type, const char *where,
                     struct normalize_step *s, struct err *err) {
    static const struct {
        const char *type;
        enum normalize_kind kind;
    } kinds[] = {
        {"NFC", NORMALIZE_NFC},
        {"NFD", NORMALIZE_NFD},
        {"NFKC", NORMALIZE_NFKC},
        {"NFKD", NORMALIZE_NFKD},
        {"Lowercase", NORMALIZE_LOWERCASE},
        {"Replace", NORMALIZE_REPLACE},
        {"Prepend", NORMALIZE_PREPEND},
        {"Strip", NORMALIZE_STRIP},
        {"StripAccents", NORMALIZE_ACCENTS},
        {"ByteLevel", NORMALIZE_BYTES},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_is(type, kinds[i].type)) continue;
        s->kind = kinds[i].kind;
        if (s->kind == NORMALIZE_REPLACE) return read_replace(spec, where, s, err);
        if (s->kind == NORMALIZE_PREPEND) return json_get_str(spec, "prepend", where, &s->to, err);
        if (s->kind != NORMALIZE_STRIP) return 0;
        s->left = s->right = true;
        int rc = json_get_bool(spec, "strip_left", where, &s->left, err);
        return rc ? rc : json_get_bool(spec, "strip_right", where, &s->right, err);
    }
    return err_set(err, ERR_UNSUPPORTED, "%s: a normalizer of type \"%.60s\" is not supported",
                   where, type.p);
}

static int read_into(const json_t *spec, const char *where, struct normalizer *ret, int depth,
                     struct err *err) {
    struct str type;
    int rc = component_type(spec, where, &type, err);
    if (rc) return rc;
    if (str_is(type, "Sequence")) {
        const json_t *list = json_object_get(spec, "normalizers"), *each;
        size_t i;
        if (depth > 8) return err_set(err, ERR_LIMIT, "%s: nested too deeply", where);
        if (!json_is_array(list))
            return err_set(err, ERR_INVALID, "%s: \"normalizers\" must be a list", where);
        json_array_foreach(list, i, each) if (!rc) rc = read_into(each, where, ret, depth + 1, err);
        return rc;
    }
    if (ret->count == NORMALIZE_STEPS)
        return err_set(err, ERR_LIMIT, "%s: more than %d normalizers", where, NORMALIZE_STEPS);
    return read_step(spec, type, where, &ret->steps[ret->count++], err);
}

int normalizer_read(const json_t *spec, const char *where, struct normalizer *ret,
                    struct err *err) {
    if (!spec || json_is_null(spec)) return 0;
    return read_into(spec, where, ret, 0, err);
}

void normalizer_release(struct normalizer *n) {
    for (size_t i = 0; i < n->count; i++) regex_free(n->steps[i].regex);
}

/* --- steps --------------------------------------------------------------------------------------
 */

unsigned byte_to_char(unsigned char b) {
    if ((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD)) return b;
    if (b <= 0x20) return 0x100u + b;
    return b == 0xAD ? 0x143 : 0x121u + b - 0x7F; /* 0x7F..0xA0 */
}

int char_to_byte(unsigned cp) {
    if (cp < 0x100) return byte_to_char((unsigned char)cp) == cp ? (int)cp : -1;
    if (cp <= 0x120) return (int)cp - 0x100;
    if (cp <= 0x142) return (int)cp - 0x121 + 0x7F;
    return cp == 0x143 ? 0xAD : -1;
}

static bool is_stable(struct str s) {
    for (size_t i = 0, n; i < s.n; i += n) {
        if ((unsigned char)s.p[i] < 0x80)
            n = 1;
        else if (char_class(char_at(s.p + i, &n)) & CH_UNSTABLE)
            return false;
    }
    return true;
}

static int compose_known(utf8proc_option_t options, struct str s, struct buf *out,
                         struct err *err) {
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &mapped, options);
    if (n < 0) return err_set(err, ERR_LIMIT, "normalizing %zu bytes: %s", s.n, utf8proc_errmsg(n));
    buf_add(out, mapped, (size_t)n);
    free(mapped);
    return 0;
}

/* utf8proc follows a later Unicode than the package's normalizers, to whom some marks are ordinary
 * characters: those part the text. So does U+11A7, one before the first Hangul final: utf8proc 2.8
 * loses it behind a syllable without a final. */
static int compose(enum normalize_kind kind, struct str s, struct buf *out, struct err *err) {
    utf8proc_option_t options = UTF8PROC_STABLE;
    options |=
        kind == NORMALIZE_NFC || kind == NORMALIZE_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (kind == NORMALIZE_NFKC || kind == NORMALIZE_NFKD) options |= UTF8PROC_COMPAT;
    size_t done = 0, n;
    int rc = 0;
    for (size_t i = 0; i < s.n && !rc; i += n) {
        unsigned cp = char_at(s.p + i, &n);
        if (cp != 0x11A7 && !(char_class(cp) & CH_PLAIN)) continue;
        if (done < i) rc = compose_known(options, (struct str){s.p + done, i - done}, out, err);
        buf_add(out, s.p + i, n);
        done = i + n;
    }
    if (!rc && done < s.n) rc = compose_known(options, str_from(s, done), out, err);
    return rc;
}

static void lowercase(struct str s, struct buf *out) {
    for (size_t i = 0, n; i < s.n; i += n) {
        unsigned cp = char_at(s.p + i, &n);
        if (cp < 0x80) {
            buf_byte(out, (char)(cp >= 'A' && cp <= 'Z' ? cp + 32 : cp));
            continue;
        }
        buf_utf8(out, cp == 0x130 ? 'i' : (unsigned)utf8proc_tolower((utf8proc_int32_t)cp));
        if (cp == 0x130) buf_utf8(out, 0x307); /* the one character whose lower case is two */
    }
}

static void replace_literal(struct str s, struct str from, struct str to, struct buf *out) {
    size_t done = 0;
    while (from.n) {
        const char *hit = memmem(s.p + done, s.n - done, from.p, from.n);
        if (!hit) break;
        buf_add(out, s.p + done, (size_t)(hit - s.p) - done);
        buf_str(out, to);
        done = (size_t)(hit - s.p) + from.n;
    }
    buf_str(out, str_from(s, done));
}

int replace_all(const struct normalize_step *step, struct str s, struct buf *out, struct err *err) {
    if (!step->regex) {
        replace_literal(s, step->from, step->to, out);
        return 0;
    }
    struct regex_match *m = regex_match_new(step->regex);
    size_t done = 0, from = 0, start, end;
    int rc = 0;
    while (from <= s.n && (rc = regex_find(step->regex, m, s, from, &start, &end, err)) > 0) {
        bool empty = start == end;
        if (!empty || start != done || done == 0) {
            buf_add(out, s.p + done, start - done);
            buf_str(out, step->to);
            done = end;
        }
        size_t n = 1;
        if (empty && end < s.n) char_at(s.p + end, &n);
        from = empty ? end + n : end;
    }
    buf_str(out, str_from(s, done));
    regex_match_free(m);
    return rc < 0 ? rc : 0;
}

static void strip(const struct normalize_step *step, struct str s, struct buf *out) {
    size_t n;
    while (step->left && s.n && (char_class(char_at(s.p, &n)) & CH_SPACE)) s = str_from(s, n);
    while (step->right && s.n) {
        size_t last = char_last(s);
        if (!(char_class(char_at(s.p + last, &n)) & CH_SPACE)) break;
        s.n = last;
    }
    buf_str(out, s);
}

static void strip_accents(struct str s, struct buf *out) {
    for (size_t i = 0, n; i < s.n; i += n)
        if (!(char_class(char_at(s.p + i, &n)) & CH_ACCENT)) buf_add(out, s.p + i, n);
}

static void spell_bytes(struct str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) buf_utf8(out, byte_to_char((unsigned char)s.p[i]));
}

static int run_step(const struct normalize_step *step, struct str s, struct buf *out,
                    struct err *err) {
    switch (step->kind) {
    case NORMALIZE_NFC:
    case NORMALIZE_NFD:
    case NORMALIZE_NFKC:
    case NORMALIZE_NFKD: return compose(step->kind, s, out, err);
    case NORMALIZE_LOWERCASE: lowercase(s, out); return 0;
    case NORMALIZE_REPLACE: return replace_all(step, s, out, err);
    case NORMALIZE_PREPEND:
        if (s.n) buf_str(out, step->to);
        buf_str(out, s);
        return 0;
    case NORMALIZE_STRIP: strip(step, s, out); return 0;
    case NORMALIZE_ACCENTS: strip_accents(s, out); return 0;
    case NORMALIZE_BYTES: spell_bytes(s, out); return 0;
    }
    return 0;
}

int normalize(const struct normalizer *n, struct str text, struct buf work[2], struct str *ret,
              bool *ret_moved, struct err *err) {
    *ret_moved = false;
    for (size_t i = 0; i < n->count; i++) {
        const struct normalize_step *step = &n->steps[i];
        if (step->kind == NORMALIZE_NFC && is_stable(text)) continue;
        struct buf *out = &work[i & 1];
        buf_clear(out);
        int rc = run_step(step, text, out, err);
        if (rc) return rc;
        if (!buf_ok(out))
            return err_set(err, ERR_LIMIT, "normalized text is longer than %zu bytes", out->max);
        if (step->kind == NORMALIZE_STRIP && text.n && buf_view(out).n && out->p[0] != text.p[0])
            *ret_moved = true;
        text = buf_view(out);
    }
    *ret = text;
    return 0;
}
