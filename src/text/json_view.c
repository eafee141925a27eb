/* One pass without recursion: a stack of open lists and objects, and runs of plain bytes of strings
 * eight at a time. */
#include "text/json_view.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS_QUADRATIC 12

struct reader {
    const char *p;
    size_t at, n;
    struct arena *arena;
    struct json_views *out;
    uint32_t open[JSON_VIEW_DEPTH]; /* indexes of containers */
    size_t starts[JSON_VIEW_DEPTH]; /* where they begin */
    int depth;
    enum json_view_fault fault;
    struct err *err;
};

static int bad(struct reader *r, size_t at, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int bad(struct reader *r, size_t at, const char *fmt, ...) {
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (r->fault == JSON_VIEW_FINE) r->fault = JSON_VIEW_SYNTAX;
    return err_set(r->err, ERR_INVALID, "%s (byte %zu)", text, at + 1);
}

static int unexpected(struct reader *r, const char *want) {
    if (r->at >= r->n) return bad(r, r->at, "it ends where %s should come", want);
    unsigned char c = (unsigned char)r->p[r->at];
    if (c == 0) return bad(r, r->at, "a NUL byte where %s should come", want);
    if (c < 0x20 || c >= 0x7F) return bad(r, r->at, "byte 0x%02x where %s should come", c, want);
    return bad(r, r->at, "'%c' where %s should come", c, want);
}

static void skip_space(struct reader *r) {
    while (r->at < r->n) {
        char c = r->p[r->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
        r->at++;
    }
}

static struct json_view *push(struct reader *r, enum json_view_type type) {
    struct json_views *o = r->out;
    if (o->count >= JSON_VIEW_VALUES_MAX) {
        r->fault = JSON_VIEW_LIMIT;
        bad(r, r->at, "more than %zu values", JSON_VIEW_VALUES_MAX);
        return NULL;
    }
    if (o->count == o->cap) mem_grow((void **)&o->list, &o->cap, o->count + 1, sizeof *o->list);
    struct json_view *v = &o->list[o->count++];
    *v = (struct json_view){.type = type, .size = 1};
    return v;
}

/* --- strings ------------------------------------------------------------------------------- */

/* bytes from i on that stand for themselves: ASCII, no control, quote or backslash */
static size_t plain_end(const char *p, size_t i, size_t n) {
    const uint64_t ones = 0x0101010101010101u, highs = ones * 0x80;
    while (n - i >= 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
        uint64_t stop = w | (w - ones * 0x20) | (quote - ones) | (slash - ones);
        if (stop & highs) break;
        i += 8;
    }
    while (i < n) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
        i++;
    }
    return i;
}

/* from behind the opening quote to the closing one; counts escapes */
static int string_end(struct reader *r, size_t *escapes) {
    const char *p = r->p;
    *escapes = 0;
    for (;;) {
        size_t i = r->at = plain_end(p, r->at, r->n);
        if (i >= r->n) return bad(r, i, "a string is not closed");
        unsigned char c = (unsigned char)p[i];
        if (c == '"') return 0;
        if (c == '\\') {
            if (i + 1 >= r->n) return bad(r, i, "a string is not closed");
            ++*escapes;
            r->at = i + 2;
        } else if (c == 0) {
            return bad(r, i, "a NUL byte in a string; write \\u0000 or remove it");
        } else if (c < 0x20) {
            return bad(r, i, "control character 0x%02x in a string; write it as an escape", c);
        } else {
            unsigned cp;
            size_t k = utf8_get((struct str){p + i, r->n - i}, &cp);
            if (k == 0) {
                r->fault = JSON_VIEW_NOT_UTF8;
                return bad(r, i, "byte 0x%02x is not UTF-8", c);
            }
            r->at = i + k;
        }
    }
}

static bool hex4(const char *p, unsigned *ret) {
    unsigned x = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = (unsigned char)p[i], lower = c | 0x20;
        if (c >= '0' && c <= '9')
            x = x << 4 | (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            x = x << 4 | (lower - 'a' + 10);
        else
            return false;
    }
    *ret = x;
    return true;
}

/* \uXXXX at p[i] (the u), in [i, n); moves *i behind it */
static int unicode_escape(struct reader *r, size_t *i, size_t n, unsigned *ret) {
    unsigned cp, low;
    if (*i + 5 > n || !hex4(r->p + *i + 1, &cp))
        return bad(r, *i - 1, "\\u takes four hexadecimal digits");
    *i += 5;
    if (cp >= 0xDC00 && cp <= 0xDFFF)
        return bad(r, *i - 6, "lone surrogate \\u%04x: half of a character", cp);
    if (cp >= 0xD800 && cp <= 0xDBFF) {
        if (*i + 6 > n || r->p[*i] != '\\' || r->p[*i + 1] != 'u' || !hex4(r->p + *i + 2, &low) ||
            low < 0xDC00 || low > 0xDFFF)
            return bad(r, *i - 6, "lone surrogate \\u%04x: half of a character", cp);
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        *i += 6;
    }
    *ret = cp;
    return 0;
}

static int unescape(struct reader *r, size_t start, size_t end, struct str *ret) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char *out = arena_alloc(r->arena, end - start);
    size_t n = 0, i = start;
    if (!out) {
        r->fault = JSON_VIEW_LIMIT;
        return bad(r, start, "it takes more memory than a record may");
    }
    while (i < end) {
        const char *slash = memchr(r->p + i, '\\', end - i);
        size_t run = (slash ? (size_t)(slash - r->p) : end) - i;
        memcpy(out + n, r->p + i, run);
        n += run;
        i += run;
        if (i >= end) break;
        i++;
        const char *at = r->p[i] ? strchr(from, r->p[i]) : NULL;
        unsigned cp = 0;
        if (at) {
            out[n++] = to[at - from];
            i++;
        } else if (r->p[i] != 'u') {
            return bad(r, i - 1, "an escape that JSON does not have");
        } else {
            int rc = unicode_escape(r, &i, end, &cp);
            if (rc) return rc;
            char bytes[4];
            size_t k = utf8_put(cp, bytes);
            memcpy(out + n, bytes, k);
            n += k;
        }
    }
    *ret = (struct str){out, n};
    return 0;
}

/* at its opening quote */
static int read_string(struct reader *r) {
    size_t start = ++r->at, escapes;
    int rc = string_end(r, &escapes);
    if (rc) return rc;
    struct str s = {r->p + start, r->at - start};
    if (escapes) rc = unescape(r, start, r->at, &s);
    if (rc) return rc;
    r->at++;
    struct json_view *v = push(r, VIEW_STRING);
    if (!v) return r->err->code;
    v->text = s;
    return 0;
}

/* --- numbers and words --------------------------------------------------------------------- */

static size_t digits_end(const struct reader *r, size_t i) {
    while (i < r->n && r->p[i] >= '0' && r->p[i] <= '9') i++;
    return i;
}

static double number_of(struct str s) {
    char text[64];
    char *z = s.n < sizeof text ? text : mem_alloc(s.n + 1);
    memcpy(z, s.p, s.n);
    z[s.n] = 0;
    double x = strtod(z, NULL);
    if (z != text) mem_free(z);
    return x;
}

static int read_number(struct reader *r) {
    size_t start = r->at, i = start + (r->p[start] == '-'), from = i;
    bool exponent = false;
    i = digits_end(r, i);
    if (i == from || (r->p[from] == '0' && i > from + 1))
        return bad(r, start, "a number that JSON does not have");
    if (i < r->n && r->p[i] == '.') {
        from = ++i;
        i = digits_end(r, i);
        if (i == from) return bad(r, start, "a number that ends in a point");
    }
    if (i < r->n && (r->p[i] | 0x20) == 'e') {
        exponent = true;
        i++;
        if (i < r->n && (r->p[i] == '+' || r->p[i] == '-')) i++;
        from = i;
        i = digits_end(r, i);
        if (i == from) return bad(r, start, "a number without digits in its exponent");
    }
    struct str text = {r->p + start, i - start};
    if ((exponent || text.n > 300) && isinf(number_of(text)))
        return bad(r, start, "number out of range: %.40s",
                   text.n > 40 ? "too many digits" : "beyond 1e308");
    struct json_view *v = push(r, VIEW_NUMBER);
    if (!v) return r->err->code;
    v->text = text;
    r->at = i;
    return 0;
}

static int read_word(struct reader *r) {
    static const struct {
        struct str text;
        enum json_view_type type;
    } words[] = {{{"true", 4}, VIEW_TRUE}, {{"false", 5}, VIEW_FALSE}, {{"null", 4}, VIEW_NULL}};
    struct str rest = {r->p + r->at, r->n - r->at};
    for (int i = 0; i < 3; i++) {
        if (!str_starts(rest, words[i].text)) continue;
        struct json_view *v = push(r, words[i].type);
        if (!v) return r->err->code;
        v->text = (struct str){rest.p, words[i].text.n};
        r->at += words[i].text.n;
        return 0;
    }
    return unexpected(r, "a value");
}

/* --- lists and objects --------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int duplicate(struct reader *r, struct str key) {
    if (key.n > 60) key.n = 60 - utf8_incomplete_tail((struct str){key.p, 60});
    return bad(r, r->at, "the key \"%.*s\" comes twice in an object", (int)key.n, key.p);
}

static int check_keys(struct reader *r, const struct json_view *o) {
    struct json_views *out = r->out;
    if (out->keys_cap < o->count)
        mem_grow((void **)&out->keys, &out->keys_cap, o->count, sizeof *out->keys);
    const struct json_view *key = o + 1;
    struct str *keys = out->keys;
    for (uint32_t i = 0; i < o->count; i++) {
        keys[i] = key->text;
        key += 1 + key[1].size;
    }
    if (o->count <= KEYS_QUADRATIC) {
        for (uint32_t i = 1; i < o->count; i++)
            for (uint32_t j = 0; j < i; j++)
                if (str_eq(keys[i], keys[j])) return duplicate(r, keys[i]);
        return 0;
    }
    qsort(keys, o->count, sizeof *keys, by_bytes);
    for (uint32_t i = 1; i < o->count; i++)
        if (str_eq(keys[i], keys[i - 1])) return duplicate(r, keys[i]);
    return 0;
}

static int open_container(struct reader *r) {
    if (r->depth == JSON_VIEW_DEPTH)
        return bad(r, r->at, "nested more than %d levels deep", JSON_VIEW_DEPTH);
    struct json_view *v = push(r, r->p[r->at] == '{' ? VIEW_OBJECT : VIEW_ARRAY);
    if (!v) return r->err->code;
    r->open[r->depth] = (uint32_t)(v - r->out->list);
    r->starts[r->depth++] = r->at++;
    return 0;
}

static int close_container(struct reader *r) {
    r->depth--;
    r->at++;
    struct json_view *v = &r->out->list[r->open[r->depth]];
    v->size = (uint32_t)(r->out->count - r->open[r->depth]);
    v->text = (struct str){r->p + r->starts[r->depth], r->at - r->starts[r->depth]};
    return v->type == VIEW_OBJECT && v->count > 1 ? check_keys(r, v) : 0;
}

/* a key and its colon; the value comes next */
static int read_key(struct reader *r) {
    skip_space(r);
    if (r->at >= r->n || r->p[r->at] != '"') return unexpected(r, "a key in quotes");
    size_t at = r->at;
    int rc = read_string(r);
    if (rc) return rc;
    struct str key = r->out->list[r->out->count - 1].text;
    if (key.n && memchr(key.p, 0, key.n)) return bad(r, at, "a key with \\u0000 in it");
    skip_space(r);
    if (r->at >= r->n || r->p[r->at] != ':') return unexpected(r, "':'");
    r->at++;
    return 0;
}

enum next { NEXT_VALUE, NEXT_KEY, NEXT_AFTER, NEXT_FIRST };

static int read_value(struct reader *r, enum next *next) {
    skip_space(r);
    char c = r->at < r->n ? r->p[r->at] : 0;
    *next = NEXT_AFTER;
    if (c == '"') return read_string(r);
    if (c == '{' || c == '[') {
        *next = NEXT_FIRST;
        return open_container(r);
    }
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(r);
    return read_word(r);
}

/* behind the opening bracket */
static int read_first(struct reader *r, enum next *next) {
    struct json_view *o = &r->out->list[r->open[r->depth - 1]];
    skip_space(r);
    char c = r->at < r->n ? r->p[r->at] : 0;
    *next = NEXT_AFTER;
    if (c == (o->type == VIEW_OBJECT ? '}' : ']')) return close_container(r);
    o->count = 1;
    *next = o->type == VIEW_OBJECT ? NEXT_KEY : NEXT_VALUE;
    return 0;
}

/* behind a value inside of a container */
static int read_after(struct reader *r, enum next *next) {
    struct json_view *o = &r->out->list[r->open[r->depth - 1]];
    skip_space(r);
    char c = r->at < r->n ? r->p[r->at] : 0;
    *next = NEXT_AFTER;
    if (c == (o->type == VIEW_OBJECT ? '}' : ']')) return close_container(r);
    if (c != ',') return unexpected(r, o->type == VIEW_OBJECT ? "',' or '}'" : "',' or ']'");
    r->at++;
    o->count++;
    *next = o->type == VIEW_OBJECT ? NEXT_KEY : NEXT_VALUE;
    return 0;
}

static int read_all(struct reader *r) {
    enum next next = NEXT_VALUE;
    int rc = 0;
    for (;;) {
        switch (next) {
        case NEXT_VALUE: rc = read_value(r, &next); break;
        case NEXT_FIRST: rc = read_first(r, &next); break;
        case NEXT_AFTER: rc = read_after(r, &next); break;
        case NEXT_KEY:
            rc = read_key(r);
            next = NEXT_VALUE;
            break;
        }
        if (rc) return rc;
        if (r->depth == 0 && next == NEXT_AFTER) break;
    }
    skip_space(r);
    return r->at < r->n ? unexpected(r, "the end") : 0;
}

int json_view_read(struct str text, struct arena *a, struct json_views *ret,
                   enum json_view_fault *ret_fault, struct err *err) {
    struct reader r = {.p = text.p, .n = text.n, .arena = a, .out = ret, .err = err};
    ret->count = 0;
    int rc = read_all(&r);
    *ret_fault = r.fault;
    return rc;
}

void json_views_release(struct json_views *v) {
    mem_free(v->list);
    mem_free(v->keys);
    *v = (struct json_views){0};
}

/* --- looking and writing ------------------------------------------------------------------- */

const struct json_view *json_view_get(const struct json_view *o, const char *key) {
    if (!json_view_is(o, VIEW_OBJECT)) return NULL;
    struct str want = str_of(key);
    const struct json_view *k = o + 1;
    for (uint32_t i = 0; i < o->count; i++) {
        if (str_eq(k->text, want)) return k + 1;
        k += 1 + k[1].size;
    }
    return NULL;
}

const char *json_view_type_name(const struct json_view *v) {
    static const char *const names[] = {"null",     "false",  "true",     "a number",
                                        "a string", "a list", "an object"};
    return v ? names[v->type] : "absent";
}

double json_view_number(const struct json_view *v) { return number_of(v->text); }

void json_view_quote(struct buf *b, struct str s) {
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    buf_byte(b, '"');
    for (size_t i = 0; i < s.n;) {
        size_t end = plain_end(s.p, i, s.n);
        while (end < s.n && (unsigned char)s.p[end] >= 0x80) end = plain_end(s.p, end + 1, s.n);
        buf_add(b, s.p + i, end - i);
        i = end;
        if (i >= s.n) break;
        const char *at = shorts;
        while (*at && *at != s.p[i]) at += 2;
        if (*at) {
            buf_byte(b, '\\');
            buf_byte(b, at[1]);
        } else {
            buf_printf(b, "\\u%04x", (unsigned)(unsigned char)s.p[i]);
        }
        i++;
    }
    buf_byte(b, '"');
}

/* Outside of strings space means nothing, and inside there are no raw line ends. */
static void write_packed(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n;) {
        size_t from = i;
        if (s.p[i] == '"') {
            i++;
            while (s.p[i] != '"') i += s.p[i] == '\\' ? 2 : 1;
            i++;
        } else if (strchr(" \t\r\n", s.p[i])) {
            i++;
            continue;
        } else {
            while (i < s.n && !strchr("\" \t\r\n", s.p[i])) i++;
        }
        buf_add(b, s.p + from, i - from);
    }
}

void json_view_write(struct buf *b, const struct json_view *v) {
    if (v->type == VIEW_STRING)
        json_view_quote(b, v->text);
    else
        write_packed(b, v->text);
}
