#include "base/json.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL)

static size_t string_length(struct str at) {
    size_t n = 1;
    while (n < at.n && at.p[n] != '"') n += at.p[n] == '\\' ? 2 : 1;
    return n < at.n ? n + 1 : at.n;
}

static size_t number_length(struct str at) {
    size_t n = 0;
    while (n < at.n && memchr("+-.0123456789Ee", at.p[n], 15)) n++;
    return n;
}

/* valid JSON with "e0" behind each integer that 64 bits cannot hold */
static void write_big_as_reals(struct str text, struct buf *out) {
    for (size_t n; text.n; text = str_from(text, n)) {
        size_t start = out->n;
        n = text.p[0] == '"' ? string_length(text) : number_length(text);
        if (n == 0) n = 1;
        buf_add(out, text.p, n);
        if (n < 19 || text.p[0] == '"' || strpbrk(out->p + start, ".eE")) continue;
        errno = 0;
        strtoll(out->p + start, NULL, 10);
        if (errno == ERANGE) buf_z(out, "e0");
    }
}

/* transformers writes "model_max_length": 1000000000000000019884624838656. The first reading, with
 * reals only, is for errors at the places of the text as given. */
static json_t *read_with_big(struct str text, json_error_t *e) {
    json_t *v = json_loadb(text.p, text.n, READ_FLAGS | JSON_DECODE_INT_AS_REAL, e);
    if (!v) return NULL;
    json_decref(v);
    struct buf b;
    buf_init(&b, SIZE_MAX);
    write_big_as_reals(text, &b);
    v = json_loadb(b.p, b.n, READ_FLAGS, e);
    buf_release(&b);
    return v;
}

/* jansson itself stops at 2048 levels of nesting (JSON_PARSER_MAX_DEPTH) */
int json_read(struct str text, const char *where, json_t **ret, struct err *err) {
    json_error_t e;
    const char *nul = text.n ? memchr(text.p, 0, text.n) : NULL; /* to jansson it is the end */
    if (nul)
        return err_set(err, ERR_INVALID, "%s: not valid JSON: NUL byte (byte %zu)", where,
                       (size_t)(nul - text.p) + 1);
    json_t *v = json_loadb(text.p, text.n, READ_FLAGS, &e);
    if (!v && json_error_code(&e) == json_error_numeric_overflow) v = read_with_big(text, &e);
    if (!v)
        return err_set(err, ERR_INVALID, "%s: not valid JSON: %s (line %d, column %d)", where,
                       e.text, e.line, e.column);
    *ret = v;
    return 0;
}

int json_read_file(const char *path, size_t max_bytes, json_t **ret, struct err *err) {
    struct buf b;
    buf_init(&b, max_bytes);
    int rc = file_read(path, &b, err);
    if (!rc) rc = json_read(buf_view(&b), path, ret, err);
    buf_release(&b);
    return rc;
}

/* the member, or NULL when it is absent or null */
static const json_t *member(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

static int wrong(const json_t *v, const char *key, const char *where, const char *want,
                 struct err *err) {
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    err_set(err, ERR_INVALID, "%s: \"%s\" must be %s, not %.80s", where, key, want,
            text ? text : "?");
    free(text);
    return err->code;
}

int json_get_str(const json_t *o, const char *key, const char *where, struct str *ret,
                 struct err *err) {
    const json_t *v = member(o, key);
    if (!v) return 0;
    if (!json_is_string(v)) return wrong(v, key, where, "a string", err);
    *ret = json_str(v);
    return 0;
}

int json_get_i64(const json_t *o, const char *key, const char *where, int64_t min, int64_t max,
                 int64_t *ret, struct err *err) {
    const json_t *v = member(o, key);
    if (!v) return 0;
    char want[80];
    snprintf(want, sizeof want, "a whole number from %lld to %lld", (long long)min, (long long)max);
    double real = json_is_real(v) ? json_real_value(v) : 0.5;
    bool whole = real >= -0x1p53 && real <= 0x1p53 && real == (double)(json_int_t)real;
    if (!json_is_integer(v) && !whole) return wrong(v, key, where, want, err);
    json_int_t x = whole ? (json_int_t)real : json_integer_value(v);
    if (x < min || x > max) return wrong(v, key, where, want, err);
    *ret = x;
    return 0;
}

int json_get_double(const json_t *o, const char *key, const char *where, double *ret,
                    struct err *err) {
    const json_t *v = member(o, key);
    if (!v) return 0;
    if (!json_is_number(v)) return wrong(v, key, where, "a number", err);
    *ret = json_number_value(v);
    return 0;
}

int json_get_bool(const json_t *o, const char *key, const char *where, bool *ret, struct err *err) {
    const json_t *v = member(o, key);
    if (!v) return 0;
    if (!json_is_boolean(v)) return wrong(v, key, where, "true or false", err);
    *ret = json_is_true(v);
    return 0;
}

static int add_to_buf(const char *p, size_t n, void *b) {
    buf_add(b, p, n);
    return 0;
}

void json_write(const json_t *v, struct buf *b) {
    json_dump_callback(v, add_to_buf, b, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

static void write_char(struct buf *b, unsigned cp, struct str raw) {
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *s = shorts; cp < 0x80 && *s; s += 2) {
        if ((unsigned)*s != cp) continue;
        buf_byte(b, '\\');
        buf_byte(b, s[1]);
        return;
    }
    if (cp < 0x20 || cp == 0x7F)
        buf_printf(b, "\\u%04x", cp);
    else
        buf_str(b, raw);
}

void json_write_str(struct buf *b, struct str s) {
    buf_byte(b, '"');
    while (s.n) {
        unsigned cp = 0;
        size_t n = utf8_get(s, &cp);
        if (n)
            write_char(b, cp, (struct str){s.p, n});
        else
            buf_z(b, "\xEF\xBF\xBD");
        s = str_from(s, n ? n : 1);
    }
    buf_byte(b, '"');
}
