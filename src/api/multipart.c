#include "api/multipart.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PREAMBLE, AFTER_MARK, HEADERS, BODY, EPILOGUE };

/* --- headers with parameters: form-data; name="file"; filename="x.jsonl" --- */

static struct str trimmed(struct str s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = str_from(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

static bool same_word(struct str s, const char *word) {
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* A value at *rest, quoted or not, into out; *rest goes behind it. In quotes a backslash escapes
 * only a quote or itself: some clients send Windows paths as they are. */
static void take_value(struct str *rest, struct buf *out) {
    struct str s = trimmed(*rest);
    bool quoted = s.n && s.p[0] == '"';
    if (quoted) s = str_from(s, 1);
    while (s.n && s.p[0] != (quoted ? '"' : ';')) {
        if (quoted && s.n > 1 && s.p[0] == '\\' && (s.p[1] == '"' || s.p[1] == '\\'))
            s = str_from(s, 1);
        buf_byte(out, s.p[0]);
        s = str_from(s, 1);
    }
    *rest = s;
}

/* the parameter's value; false when there is none */
static bool find_param(struct str header, const char *name, struct buf *out) {
    struct str rest = header;
    const char *semicolon;
    while (rest.n && (semicolon = memchr(rest.p, ';', rest.n))) {
        rest = str_from(rest, (size_t)(semicolon - rest.p) + 1);
        const char *eq = rest.n ? memchr(rest.p, '=', rest.n) : NULL;
        if (!eq) return false;
        struct str key = trimmed((struct str){rest.p, (size_t)(eq - rest.p)});
        rest = str_from(rest, (size_t)(eq - rest.p) + 1);
        buf_clear(out);
        take_value(&rest, out);
        if (same_word(key, name)) return true;
    }
    buf_clear(out);
    return false;
}

/* What HTML's form encoding escapes in a file name; all else is sent as it is. */
static bool unescape(struct str *s, char *c) {
    static const struct {
        const char *code;
        char c;
    } escapes[] = {{"%22", '"'}, {"%0A", '\n'}, {"%0D", '\r'}};
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (s->n < 3 || strncasecmp(s->p, escapes[i].code, 3) != 0) continue;
        *c = escapes[i].c;
        *s = str_from(*s, 3);
        return true;
    }
    return false;
}

/* last component, escapes undone, without what no file name should hold */
static void clean_filename(struct str raw, struct buf *out) {
    for (size_t i = raw.n; i > 0; i--) {
        if (raw.p[i - 1] != '/' && raw.p[i - 1] != '\\') continue;
        raw = str_from(raw, i);
        break;
    }
    while (raw.n) {
        char c;
        unsigned cp = 0;
        if (unescape(&raw, &c)) {
            buf_byte(out, c == '"' ? '"' : '_');
            continue;
        }
        size_t n = utf8_get(raw, &cp);
        if (n == 0 || cp < 0x20 || cp == 0x7F)
            buf_byte(out, '_');
        else
            buf_add(out, raw.p, n);
        raw = str_from(raw, n ? n : 1);
    }
}

/* --- life --- */

int multipart_init(struct multipart *m, const char *content_type,
                   const struct multipart_events *events, void *ctx, struct err *err) {
    *m = (struct multipart){.events = events, .ctx = ctx, .matched = 2};
    buf_init(&m->headers, MULTIPART_HEADERS_MAX);
    struct str type = str_of(content_type ? content_type : "");
    struct str kind = {type.p, strcspn(type.p, ";")};
    if (!same_word(trimmed(kind), "multipart/form-data"))
        return err_set(err, ERR_INVALID,
                       "the body must be multipart/form-data (file uploads), not \"%.80s\"",
                       type.p);
    struct buf boundary;
    buf_init(&boundary, 256);
    find_param(type, "boundary", &boundary);
    struct str b = buf_view(&boundary);
    int rc = 0;
    if (b.n == 0 || b.n > MULTIPART_BOUNDARY_MAX || memchr(b.p, '\r', b.n) ||
        memchr(b.p, '\n', b.n))
        rc = err_set(err, ERR_INVALID,
                     "the Content-Type has no boundary of 1 to %d bytes: \"%.120s\"",
                     MULTIPART_BOUNDARY_MAX, type.p);
    else
        m->mark_n = (size_t)snprintf(m->mark, sizeof m->mark, "\r\n--%s", b.p);
    buf_release(&boundary);
    return rc;
}

void multipart_release(struct multipart *m) { buf_release(&m->headers); }

/* --- parts --- */

/* the headers' block into a part for the callback */
static int part_begin(struct multipart *m, struct err *err) {
    struct buf disposition, name, raw_filename, filename, type;
    buf_init(&disposition, MULTIPART_HEADERS_MAX);
    buf_init(&name, MULTIPART_HEADERS_MAX);
    buf_init(&raw_filename, MULTIPART_HEADERS_MAX);
    buf_init(&filename, MULTIPART_HEADERS_MAX);
    buf_init(&type, MULTIPART_HEADERS_MAX);
    struct str rest = buf_view(&m->headers);
    while (rest.n) {
        const char *nl = memchr(rest.p, '\n', rest.n);
        struct str line = {rest.p, nl ? (size_t)(nl - rest.p) : rest.n};
        rest = str_from(rest, line.n + 1);
        const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
        if (!colon) continue;
        struct str key = {line.p, (size_t)(colon - line.p)};
        if (line.p[line.n - 1] == '\r') line.n--;
        struct str value = trimmed(str_from(line, key.n + 1));
        if (same_word(key, "content-disposition")) buf_str(&disposition, value);
        if (same_word(key, "content-type")) buf_str(&type, value);
    }
    struct multipart_part p = {0};
    struct str form = buf_view(&disposition);
    bool named = find_param(form, "name", &name);
    p.has_filename = find_param(form, "filename", &raw_filename);
    clean_filename(buf_view(&raw_filename), &filename);
    p.name = buf_view(&name);
    p.filename = buf_view(&filename);
    p.type = buf_view(&type);
    int rc;
    if (!named)
        rc = err_set(err, ERR_INVALID,
                     "part %d of the multipart body has no Content-Disposition with a name",
                     m->parts);
    else
        rc = m->events->part(m->ctx, &p, err);
    buf_release(&type);
    buf_release(&filename);
    buf_release(&raw_filename);
    buf_release(&name);
    buf_release(&disposition);
    return rc;
}

static int data(struct multipart *m, const char *p, size_t n, struct err *err) {
    return n && m->state == BODY ? m->events->data(m->ctx, p, n, err) : 0;
}

/* Text up to the next mark; *p goes behind what was used. The mark's first byte, CR, occurs in it
 * only once: a mismatch can begin a new mark only at the byte at hand. */
static int text(struct multipart *m, const char **p, const char *end, struct err *err) {
    const char *start = *p, *at = *p;
    int rc = 0;
    while (!rc && at < end) {
        if (m->matched == 0) {
            at = memchr(at, '\r', (size_t)(end - at));
            if (!at) at = end;
            rc = data(m, start, (size_t)(at - start), err);
            start = at;
            if (at < end) at++, m->matched = 1;
        } else if (*at == m->mark[m->matched]) {
            at++;
            if (++m->matched < m->mark_n) continue;
            m->matched = 0;
            m->after_n = 0;
            *p = at;
            m->state = m->state == BODY ? AFTER_MARK : -AFTER_MARK;
            return 0;
        } else { /* what looked like a mark is text */
            rc = data(m, m->mark, m->matched, err);
            m->matched = 0;
            start = at;
        }
    }
    *p = at;
    return rc;
}

/* One byte behind a mark: "--" ends all; blanks and a line end begin a part; anything else shows
 * that it was no mark. The sign of the state keeps whether a part was open. */
static int after_mark(struct multipart *m, char c, struct err *err) {
    bool in_part = m->state > 0;
    size_t n = m->after_n;
    if (c == '-' && n < 2 && (n == 0 || m->after[0] == '-')) {
        m->after[m->after_n++] = c;
        if (n == 1) m->state = EPILOGUE;
        return 0;
    }
    bool dashed = n && m->after[0] == '-', cr = n && m->after[n - 1] == '\r';
    if (c == '\n' && !dashed) {
        if (++m->parts > MULTIPART_PARTS_MAX)
            return err_set(err, ERR_LIMIT, "the multipart body has more than %d parts",
                           MULTIPART_PARTS_MAX);
        m->state = HEADERS;
        buf_clear(&m->headers);
        return 0;
    }
    if (!dashed && !cr && n < sizeof m->after && (c == ' ' || c == '\t' || c == '\r')) {
        m->after[m->after_n++] = c;
        return 0;
    }
    m->state = in_part ? BODY : PREAMBLE;
    int rc = data(m, m->mark, m->mark_n, err);
    if (!rc) rc = data(m, m->after, n, err);
    const char *p = &c;
    return rc ? rc : text(m, &p, p + 1, err);
}

static int header_byte(struct multipart *m, char c, struct err *err) {
    buf_byte(&m->headers, c);
    if (!buf_ok(&m->headers))
        return err_set(err, ERR_LIMIT, "part %d of the multipart body has headers over %d bytes",
                       m->parts, MULTIPART_HEADERS_MAX);
    struct str h = buf_view(&m->headers);
    bool end = str_is(h, "\n") || str_is(h, "\r\n") || str_ends(h, STR_LIT("\n\n")) ||
               str_ends(h, STR_LIT("\n\r\n"));
    if (!end) return 0;
    m->state = BODY;
    return part_begin(m, err);
}

int multipart_feed(struct multipart *m, const char *p, size_t n, struct err *err) {
    const char *end = p + n;
    int rc = 0;
    while (!rc && p < end) {
        switch (m->state) {
        case PREAMBLE:
        case BODY: rc = text(m, &p, end, err); break;
        case HEADERS: rc = header_byte(m, *p++, err); break;
        case EPILOGUE: p = end; break;
        default: rc = after_mark(m, *p++, err); break;
        }
    }
    return rc;
}

int multipart_finish(const struct multipart *m, struct err *err) {
    if (m->state == EPILOGUE) return 0;
    return err_set(err, ERR_INVALID,
                   "the multipart body ends before its closing boundary; %d parts were read",
                   m->parts);
}
