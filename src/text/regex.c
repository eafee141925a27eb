#define PCRE2_CODE_UNIT_WIDTH 8

#include "text/regex.h"

#include "base/buf.h"
#include "base/mem.h"
#include "text/charclass.h"

#include <pcre2.h>

#define PATTERN_MAX (1 << 16)
#define REWRITTEN_MAX (1 << 20)
#define MATCH_LIMIT 50000000
#define HEAP_LIMIT_KIB (256 * 1024)

struct regex {
    pcre2_code *code;
    pcre2_match_context *context;
    char *where;
};
struct regex_match {
    pcre2_match_data *data;
};

/* --- from Oniguruma's notation to PCRE2's -------------------------------------------------------
 */

struct rewriter {
    struct str in;
    size_t at;
    bool in_class;
    struct buf *out;
};

static const struct {
    const char *name;
    unsigned bits;
} properties[] = {
    {"L", CH_LETTER}, {"N", CH_NUMBER}, {"M", CH_MARK}, {"P", CH_PUNCT}, {"Nd", CH_DIGIT},
};

static void put_class(struct rewriter *w, unsigned bits, bool without) {
    if (!w->in_class) buf_byte(w->out, '[');
    charclass_ranges(bits, without, w->out);
    if (!w->in_class) buf_byte(w->out, ']');
}

/* \p{X}, \P{X}, \p{^X} of a class we have a table for; others stay with PCRE2 */
static bool rewrite_property(struct rewriter *w) {
    struct str s = str_from(w->in, w->at);
    if (s.n < 4 || (s.p[1] != 'p' && s.p[1] != 'P') || s.p[2] != '{') return false;
    const char *close = memchr(s.p, '}', s.n);
    if (!close) return false;
    bool without = s.p[1] == 'P';
    struct str name = {s.p + 3, (size_t)(close - s.p) - 3};
    if (name.n && name.p[0] == '^') {
        without = !without;
        name = str_from(name, 1);
    }
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (!str_is(name, properties[i].name)) continue;
        put_class(w, properties[i].bits, without);
        w->at += (size_t)(close - s.p) + 1;
        return true;
    }
    return false;
}

static bool rewrite_escape(struct rewriter *w) {
    switch (w->at + 1 < w->in.n ? w->in.p[w->at + 1] : 0) {
    case 's': put_class(w, CH_SPACE, false); break;
    case 'S': put_class(w, CH_SPACE, true); break;
    case 'd': put_class(w, CH_DIGIT, false); break;
    case 'D': put_class(w, CH_DIGIT, true); break;
    case 'w': put_class(w, CH_WORD, false); break;
    case 'W': put_class(w, CH_WORD, true); break;
    case 'h': buf_z(w->out, w->in_class ? "0-9A-Fa-f" : "[0-9A-Fa-f]"); break;
    case 'H': buf_z(w->out, w->in_class ? "" : "[^0-9A-Fa-f]"); break;
    default: return rewrite_property(w);
    }
    w->at += 2;
    return true;
}

static int refuse(struct rewriter *w, const char *what, const char *where, struct err *err) {
    return err_set(err, ERR_UNSUPPORTED, "%s: regular expression \"%.120s\": %s at byte %zu", where,
                   w->in.p, what, w->at);
}

static int rewrite(struct rewriter *w, const char *where, struct err *err) {
    while (w->at < w->in.n) {
        char c = w->in.p[w->at];
        if (c == '\\') {
            bool negated_hex = w->in_class && w->at + 1 < w->in.n && w->in.p[w->at + 1] == 'H';
            if (negated_hex) return refuse(w, "\\H in a class is not supported", where, err);
            if (rewrite_escape(w)) continue;
            size_t n = w->at + 1 < w->in.n ? 2 : 1;
            buf_add(w->out, w->in.p + w->at, n);
            w->at += n;
            continue;
        }
        if (w->in_class && c == '&' && w->at + 1 < w->in.n && w->in.p[w->at + 1] == '&')
            return refuse(w, "an intersection of classes is not supported", where, err);
        if (w->in_class && c == '[')
            return refuse(w, "a class in a class is not supported", where, err);
        if (!w->in_class && c == '[') {
            w->in_class = true;
            buf_byte(w->out, c);
            w->at++;
            if (w->at < w->in.n && w->in.p[w->at] == '^') buf_byte(w->out, w->in.p[w->at++]);
            if (w->at < w->in.n && w->in.p[w->at] == ']') buf_byte(w->out, w->in.p[w->at++]);
            continue;
        }
        if (w->in_class && c == ']') w->in_class = false;
        buf_byte(w->out, c);
        w->at++;
    }
    if (!buf_ok(w->out)) return refuse(w, "too long", where, err);
    return 0;
}

/* ------------------------------------------------------------------------------------------------
 */

static int compile(struct str pattern, const char *where, struct regex **ret, struct err *err) {
    int code = 0;
    PCRE2_SIZE at = 0;
    uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, flags, &code, &at, NULL);
    if (!compiled) {
        char msg[120];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)msg, sizeof msg);
        return err_set(err, ERR_UNSUPPORTED, "%s: regular expression: %s", where, msg);
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    struct regex *r = mem_zalloc(1, sizeof *r);
    r->code = compiled;
    r->context = pcre2_match_context_create(NULL);
    r->where = mem_strdup(where);
    pcre2_set_match_limit(r->context, MATCH_LIMIT);
    pcre2_set_heap_limit(r->context, HEAP_LIMIT_KIB);
    *ret = r;
    return 0;
}

int regex_compile(struct str pattern, const char *where, struct regex **ret, struct err *err) {
    if (pattern.n > PATTERN_MAX)
        return err_set(err, ERR_LIMIT, "%s: a regular expression of %zu bytes; at most %d", where,
                       pattern.n, PATTERN_MAX);
    struct buf out;
    buf_init(&out, REWRITTEN_MAX);
    char *in = mem_strndup(pattern.p, pattern.n);
    struct rewriter w = {.in = {in, pattern.n}, .out = &out};
    int rc = rewrite(&w, where, err);
    if (!rc) rc = compile(buf_view(&out), where, ret, err);
    mem_free(in);
    buf_release(&out);
    return rc;
}

void regex_free(struct regex *r) {
    if (!r) return;
    pcre2_match_context_free(r->context);
    pcre2_code_free(r->code);
    mem_free(r->where);
    mem_free(r);
}

struct regex_match *regex_match_new(const struct regex *r) {
    struct regex_match *m = mem_zalloc(1, sizeof *m);
    m->data = pcre2_match_data_create_from_pattern(r->code, NULL);
    return m;
}

void regex_match_free(struct regex_match *m) {
    if (!m) return;
    pcre2_match_data_free(m->data);
    mem_free(m);
}

int regex_find(const struct regex *r, struct regex_match *m, struct str text, size_t from,
               size_t *ret_start, size_t *ret_end, struct err *err) {
    PCRE2_SPTR p = (PCRE2_SPTR)text.p;
    int rc = pcre2_match(r->code, p, text.n, from, PCRE2_NO_UTF_CHECK, m->data, r->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* a very long match: the interpreter has more room */
        rc = pcre2_match(r->code, p, text.n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data,
                         r->context);
    if (rc == PCRE2_ERROR_NOMATCH) return 0;
    if (rc < 0) {
        char msg[120];
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)msg, sizeof msg);
        return err_set(err, ERR_LIMIT, "%s: matching a regular expression at byte %zu: %s",
                       r->where, from, msg);
    }
    PCRE2_SIZE *place = pcre2_get_ovector_pointer(m->data);
    *ret_start = place[0] < place[1] ? place[0] : place[1]; /* \K can swap them */
    *ret_end = place[1];
    return 1;
}
