#include "text/decode.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/charclass.h"

#define REPLACEMENT STR_LIT("\xEF\xBF\xBD")
#define LOWER_BLOCK "\xE2\x96\x81" /* U+2581 */

/* --- reading ------------------------------------------------------------------------------------
 */

static int read_metaspace(const json_t *spec, const char *where, struct decode_step *s,
                          struct err *err) {
    struct str scheme = {0};
    s->content = STR_LIT(LOWER_BLOCK);
    s->drop_first = true;
    int rc = json_get_str(spec, "replacement", where, &s->content, err);
    if (!rc) rc = json_get_bool(spec, "add_prefix_space", where, &s->drop_first, err);
    if (!rc) rc = json_get_str(spec, "prepend_scheme", where, &scheme, err);
    if (!rc && scheme.p) s->drop_first = !str_is(scheme, "never");
    return rc;
}

static int read_strip(const json_t *spec, const char *where, struct decode_step *s,
                      struct err *err) {
    int rc = json_get_str(spec, "content", where, &s->content, err);
    if (!rc) rc = json_get_i64(spec, "start", where, 0, INT32_MAX, &s->start, err);
    if (!rc) rc = json_get_i64(spec, "stop", where, 0, INT32_MAX, &s->stop, err);
    return rc;
}

static int read_replace(const json_t *spec, const char *where, struct decode_step *s,
                        struct err *err) {
    struct normalizer one = {0};
    int rc = normalizer_read(spec, where, &one, err);
    s->replace = one.steps[0];
    return rc;
}

static int read_step(const json_t *spec, struct str type, const char *where, struct decode_step *s,
                     struct err *err) {
    static const struct {
        const char *type;
        enum decode_kind kind;
    } kinds[] = {
        {"ByteLevel", DECODE_BYTE_LEVEL}, {"ByteFallback", DECODE_BYTE_FALLBACK},
        {"Metaspace", DECODE_METASPACE},  {"Fuse", DECODE_FUSE},
        {"Replace", DECODE_REPLACE},      {"Strip", DECODE_STRIP},
        {"BPEDecoder", DECODE_SUFFIX},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_is(type, kinds[i].type)) continue;
        s->kind = kinds[i].kind;
        if (s->kind == DECODE_METASPACE) return read_metaspace(spec, where, s, err);
        if (s->kind == DECODE_STRIP) return read_strip(spec, where, s, err);
        if (s->kind == DECODE_REPLACE) return read_replace(spec, where, s, err);
        s->content = STR_LIT("</w>");
        return s->kind == DECODE_SUFFIX ? json_get_str(spec, "suffix", where, &s->content, err) : 0;
    }
    return err_set(err, ERR_UNSUPPORTED, "%s: a decoder of type \"%.60s\" is not supported", where,
                   type.p);
}

static int read_into(const json_t *spec, const char *where, struct decoder *ret, int depth,
                     struct err *err) {
    struct str type;
    int rc = component_type(spec, where, &type, err);
    if (rc) return rc;
    if (str_is(type, "Sequence")) {
        const json_t *list = json_object_get(spec, "decoders"), *each;
        size_t i;
        if (depth > 8) return err_set(err, ERR_LIMIT, "%s: nested too deeply", where);
        if (!json_is_array(list))
            return err_set(err, ERR_INVALID, "%s: \"decoders\" must be a list", where);
        json_array_foreach(list, i, each) if (!rc) rc = read_into(each, where, ret, depth + 1, err);
        return rc;
    }
    if (ret->count == DECODE_STEPS)
        return err_set(err, ERR_LIMIT, "%s: more than %d decoders", where, DECODE_STEPS);
    return read_step(spec, type, where, &ret->steps[ret->count++], err);
}

int decoder_read(const json_t *spec, const char *where, struct decoder *ret, struct err *err) {
    if (!spec || json_is_null(spec)) return 0;
    ret->present = true;
    return read_into(spec, where, ret, 0, err);
}

void decoder_release(struct decoder *d) {
    for (size_t i = 0; i < d->count; i++) regex_free(d->steps[i].replace.regex);
}

/* --- lists of strings ---------------------------------------------------------------------------
 */

void pieces_init(struct pieces *p, size_t max_bytes) {
    *p = (struct pieces){0};
    buf_init(&p->text, max_bytes);
}

void pieces_release(struct pieces *p) {
    buf_release(&p->text);
    mem_free(p->ends);
    *p = (struct pieces){0};
}

/* What has been written to p->text since the last end is one string. */
static void pieces_end(struct pieces *p) {
    mem_grow((void **)&p->ends, &p->cap, p->count + 1, sizeof *p->ends);
    p->ends[p->count++] = p->text.n;
}

void pieces_add(struct pieces *p, struct str s) {
    buf_str(&p->text, s);
    pieces_end(p);
}

static struct str piece_at(const struct pieces *p, size_t i) {
    size_t start = i ? p->ends[i - 1] : 0;
    return (struct str){p->text.p ? p->text.p + start : "", p->ends[i] - start};
}

/* --- steps --------------------------------------------------------------------------------------
 */

/* The bytes that a token's characters stand for; a token with others is its own bytes. */
static void spelled_bytes(struct str token, struct buf *out) {
    size_t before = out->n, n;
    for (size_t i = 0; i < token.n; i += n) {
        int byte = char_to_byte(char_at(token.p + i, &n));
        if (byte >= 0) {
            buf_byte(out, (char)byte);
            continue;
        }
        out->n = before;
        buf_str(out, token);
        return;
    }
}

/* How many bytes of one ill-formed sequence make one U+FFFD (Unicode 3.9, maximal subparts). */
static size_t bad_length(struct str s) {
    unsigned char a = (unsigned char)s.p[0];
    size_t want = a >= 0xC2 && a < 0xE0   ? 2
                  : a >= 0xE0 && a < 0xF0 ? 3
                  : a >= 0xF0 && a < 0xF5 ? 4
                                          : 1;
    if (want == 1 || s.n < 2) return 1;
    unsigned char b = (unsigned char)s.p[1], low = 0x80, high = 0xBF;
    if (a == 0xE0) low = 0xA0;
    if (a == 0xED) high = 0x9F;
    if (a == 0xF0) low = 0x90;
    if (a == 0xF4) high = 0x8F;
    if (b < low || b > high) return 1;
    size_t n = 2;
    while (n < want && n < s.n && ((unsigned char)s.p[n] & 0xC0) == 0x80) n++;
    return n;
}

void decode_lossy(struct str s, struct buf *out) {
    while (s.n) {
        size_t good = utf8_valid_prefix(s);
        buf_add(out, s.p, good);
        s = str_from(s, good);
        if (!s.n) return;
        buf_str(out, REPLACEMENT);
        s = str_from(s, bad_length(s));
    }
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* <0xAB>, or -1. Rust's from_str_radix takes a sign as well: <0x+A> is 10. */
static int byte_token(struct str s) {
    if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>') return -1;
    int high = s.p[3] == '+' ? 0 : hex_digit(s.p[3]), low = hex_digit(s.p[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void flush_bytes(struct buf *bytes, struct pieces *out) {
    if (!bytes->n) return;
    if (utf8_valid_prefix(buf_view(bytes)) == bytes->n)
        pieces_add(out, buf_view(bytes));
    else
        for (size_t i = 0; i < bytes->n; i++) pieces_add(out, REPLACEMENT);
    buf_clear(bytes);
}

static void byte_fallback(const struct pieces *in, struct pieces *out) {
    struct buf bytes;
    buf_init(&bytes, in->count + 1);
    for (size_t i = 0; i < in->count; i++) {
        int byte = byte_token(piece_at(in, i));
        if (byte >= 0) {
            buf_byte(&bytes, (char)byte);
            continue;
        }
        flush_bytes(&bytes, out);
        pieces_add(out, piece_at(in, i));
    }
    flush_bytes(&bytes, out);
    buf_release(&bytes);
}

static void metaspace_one(const struct decode_step *s, struct str piece, bool drop,
                          struct buf *out) {
    for (size_t i = 0; i < piece.n;) {
        struct str rest = str_from(piece, i);
        bool is_space = s->content.n && str_starts(rest, s->content);
        if (!is_space)
            buf_byte(out, rest.p[0]);
        else if (!drop)
            buf_byte(out, ' ');
        i += is_space ? s->content.n : 1;
    }
}

static void strip_one(const struct decode_step *s, struct str piece, struct buf *out) {
    for (int64_t i = 0; i < s->start && s->content.n && str_starts(piece, s->content); i++)
        piece = str_from(piece, s->content.n);
    for (int64_t i = 0; i < s->stop && s->content.n && str_ends(piece, s->content); i++)
        piece.n -= s->content.n;
    buf_str(out, piece);
}

static void suffix_one(const struct decode_step *s, struct str piece, bool last, struct buf *out) {
    struct normalize_step replace = {.from = s->content, .to = last ? STR_LIT("") : STR_LIT(" ")};
    struct err never;
    replace_all(&replace, piece, out, &never);
}

static int each_piece(const struct decode_step *s, const struct pieces *in, struct pieces *out,
                      struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < in->count && !rc; i++) {
        struct str piece = piece_at(in, i);
        if (s->kind == DECODE_METASPACE)
            metaspace_one(s, piece, s->drop_first && i == 0, &out->text);
        else if (s->kind == DECODE_STRIP)
            strip_one(s, piece, &out->text);
        else if (s->kind == DECODE_SUFFIX)
            suffix_one(s, piece, i + 1 == in->count, &out->text);
        else
            rc = replace_all(&s->replace, piece, &out->text, err);
        pieces_end(out);
    }
    return rc;
}

static int run_step(const struct decode_step *s, const struct pieces *in, struct pieces *out,
                    struct err *err) {
    if (s->kind == DECODE_FUSE) {
        pieces_add(out, buf_view(&in->text));
        return 0;
    }
    if (s->kind == DECODE_BYTE_FALLBACK) {
        byte_fallback(in, out);
        return 0;
    }
    if (s->kind != DECODE_BYTE_LEVEL) return each_piece(s, in, out, err);
    struct buf bytes;
    buf_init(&bytes, in->text.n + 1);
    for (size_t i = 0; i < in->count; i++) spelled_bytes(piece_at(in, i), &bytes);
    decode_lossy(buf_view(&bytes), &out->text);
    pieces_end(out);
    buf_release(&bytes);
    return 0;
}

static void join_with_spaces(const struct pieces *p, struct buf *out) {
    for (size_t i = 0; i < p->count; i++) {
        if (i) buf_byte(out, ' ');
        buf_str(out, piece_at(p, i));
    }
}

int decode_pieces(const struct decoder *d, struct pieces *tokens, struct buf *out,
                  struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < d->count && !rc; i++) {
        struct pieces next;
        pieces_init(&next, tokens->text.max);
        rc = run_step(&d->steps[i], tokens, &next, err);
        pieces_release(tokens);
        *tokens = next;
    }
    if (rc) return rc;
    if (d->present)
        buf_str(out, buf_view(&tokens->text));
    else
        join_with_spaces(tokens, out);
    if (!buf_ok(&tokens->text) || !buf_ok(out))
        return err_set(err, ERR_LIMIT, "decoded text is too long");
    return 0;
}

int decode_raw(const struct decoder *d, struct str token, struct buf *out, struct err *err) {
    struct buf now, next;
    int rc = 0;
    buf_init(&now, SIZE_MAX);
    buf_init(&next, SIZE_MAX);
    buf_str(&now, token);
    for (size_t i = 0; i < d->count && !rc; i++) {
        const struct decode_step *s = &d->steps[i];
        int byte = s->kind == DECODE_BYTE_FALLBACK ? byte_token(buf_view(&now)) : -1;
        buf_clear(&next);
        if (byte >= 0) {
            buf_byte(out, (char)byte); /* no further step reads text in it */
            break;
        }
        if (s->kind == DECODE_BYTE_LEVEL)
            spelled_bytes(buf_view(&now), &next);
        else if (s->kind == DECODE_METASPACE)
            metaspace_one(s, buf_view(&now), false, &next);
        else if (s->kind == DECODE_SUFFIX)
            suffix_one(s, buf_view(&now), false, &next);
        else if (s->kind == DECODE_REPLACE)
            rc = replace_all(&s->replace, buf_view(&now), &next, err);
        else
            continue; /* the others are about a text's ends */
        struct buf swap = now;
        now = next;
        next = swap;
        if (s->kind == DECODE_BYTE_LEVEL) break;
    }
    if (!rc && !out->n) buf_str(out, buf_view(&now));
    buf_release(&now);
    buf_release(&next);
    return rc;
}
