/* Files as batches of examples: a block of text is filled and cut into records, the records are
 * parsed on the pool in portions of some hundred kilobytes, each with its own memory, and what they
 * came to is put together in the order of the file. */
#include "data/source.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "data/source_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)8 << 20)
#define PORTION_BYTES ((size_t)256 << 10)
#define BATCH_RECORDS 65536
#define RECORD_MAX ((size_t)64 << 20)
#define ARENA_MAX ((size_t)1 << 30) /* of a portion */

/* records from..to, and what was made of them */
struct portion {
    size_t from, to;
    struct arena arena;
    struct findings *findings;
    struct err err;
    int rc;
};

struct source {
    const char *path;
    size_t record_max;
    int fd;
    enum encoding encoding;
    struct detected is;
    struct cutter cutter;
    struct buf block, raw, reason; /* raw: UTF-16 not converted yet */
    bool at_end, header_seen, kind_known;
    enum row_kind kind;
    int64_t first_number; /* of the row that decided the kind */
    int64_t skipped;      /* bytes of the present record that are gone */
    int64_t records, bytes;
    struct record *list;
    size_t count, cap;
    struct example *examples;
    bool *made;
    size_t example_cap, made_cap;
    struct portion *portions;
    size_t portion_count, portion_cap;
    struct scratch *scratch; /* one a thread */
    int scratch_count;
};

/* --- filling the block ---------------------------------------------------------------------- */

static int read_more(struct source *s, struct buf *b, size_t want, struct err *err) {
    if (!buf_reserve(b, want)) return err_set(err, ERR_LIMIT, "%s: a block is too large", s->path);
    ssize_t n;
    do n = read(s->fd, b->p + b->n, want);
    while (n < 0 && errno == EINTR);
    if (n < 0) return err_sys(err, errno, "could not read \"%s\"", s->path);
    b->n += (size_t)n;
    s->bytes += n;
    if (n == 0) s->at_end = true;
    return 0;
}

static void drop_front(struct buf *b, size_t n) {
    if (n) memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

/* Until the block holds `want` bytes or the file has ended. */
static int fill(struct source *s, size_t want, struct err *err) {
    int rc = 0;
    while (!rc && !s->at_end && s->block.n < want) {
        if (s->encoding == ENCODING_UTF8) {
            rc = read_more(s, &s->block, want - s->block.n, err);
            continue;
        }
        rc = read_more(s, &s->raw, BLOCK_BYTES / 4, err);
        bool big = s->encoding == ENCODING_UTF16BE;
        size_t used = bytes_from_utf16(buf_view(&s->raw), big, s->at_end, &s->block);
        drop_front(&s->raw, used);
    }
    return rc;
}

/* What the cutter is done with goes, and of a record that is too long all that was seen. */
static void make_room(struct source *s) {
    struct cutter *c = &s->cutter;
    bool text = c->layout == LAYOUT_TEXT || c->layout == LAYOUT_MARKDOWN;
    size_t gone = c->inside ? c->start : text ? c->line_start : c->at;
    if (c->inside && c->at - c->start > s->record_max) c->skipping = true;
    if (c->skipping) {
        gone = c->at;
        s->skipped += (int64_t)(c->at - c->start);
    }
    c->at -= gone;
    c->start = c->inside && !c->skipping ? c->start - gone : 0;
    c->line_start = c->line_start > gone ? c->line_start - gone : 0;
    drop_front(&s->block, gone);
}

/* --- cutting -------------------------------------------------------------------------------- */

static void add_record(struct source *s, const struct piece *piece) {
    struct record r = {.text = {s->block.p + piece->start, piece->end - piece->start},
                       .line = piece->line,
                       .problem = piece->problem,
                       .key_n = s->cutter.key_n};
    r.bytes = s->skipped + (int64_t)r.text.n;
    s->skipped = 0;
    s->cutter.skipping = false;
    if (r.bytes > (int64_t)s->record_max)
        r.problem = "too long";
    else
        r.bytes = 0;
    if (s->is.columns.header && !s->header_seen) {
        s->header_seen = true;
        return;
    }
    memcpy(r.key, s->cutter.key, sizeof r.key);
    r.number = ++s->records;
    if (s->count == s->cap) mem_grow((void **)&s->list, &s->cap, s->count + 1, sizeof *s->list);
    s->list[s->count++] = r;
}

/* Records of the next batch; none: the file has ended. */
static int cut_batch(struct source *s, struct err *err) {
    s->count = 0;
    make_room(s);
    for (size_t want = BLOCK_BYTES;; want = s->block.n + BLOCK_BYTES) {
        struct piece piece;
        int rc = fill(s, want, err);
        if (rc) return rc;
        while (s->count < BATCH_RECORDS &&
               cutter_next(&s->cutter, buf_view(&s->block), s->at_end, &piece))
            add_record(s, &piece);
        if (s->count || s->at_end) return 0;
        make_room(s);
    }
}

/* --- parsing -------------------------------------------------------------------------------- */

int excerpt(struct str s, size_t max) {
    if (s.n > max) s.n = max;
    return (int)(s.n - utf8_incomplete_tail(s));
}

void parse_note(struct parsing *p, enum finding_kind kind, int32_t message, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct finding f = {.kind = kind, .row = p->record->number, .message = message, .detail = text};
    if (!p->rc) p->rc = findings_add(p->findings, &f, p->err);
}

bool parse_refuse(struct parsing *p, enum finding_kind kind, int32_t message, const char *fmt,
                  ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    parse_note(p, kind, message, "%s", text);
    return false;
}

static bool is_json(enum source_format f) {
    return f != SOURCE_CSV && f != SOURCE_TSV && f != SOURCE_TEXT && f != SOURCE_MARKDOWN;
}

/* p->text as UTF-8; false: refused */
static bool mend(struct parsing *p, bool json, bool *ret_mended) {
    struct buf *b = &p->scratch->text;
    if (p->utf16)
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1,
                            "half of a character: a lone surrogate in UTF-16");
    buf_clear(b);
    if (!(json ? bytes_mend_json(p->text, b) : bytes_mend(p->text, b)))
        return parse_refuse(
            p, FINDING_INVALID_FORMAT, -1,
            "bytes that are neither UTF-8 nor Windows-1252; save the file as UTF-8");
    p->text = arena_str(p->arena, buf_view(b));
    *ret_mended = true;
    return true;
}

static bool parse_row(struct parsing *p, const struct json_view *row) {
    if (row->type != VIEW_OBJECT)
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "a row must be a JSON object, not %s",
                            json_view_type_name(row));
    switch (p->format) {
    case SOURCE_ALPACA: return parse_alpaca(p, row);
    case SOURCE_SHAREGPT: return parse_sharegpt(p, row);
    case SOURCE_PARTS: return parse_parts(p, row);
    case SOURCE_SNIPS: return parse_snips(p, row);
    default: return parse_openai(p, row);
    }
}

static bool parse_json(struct parsing *p, bool *ret_mended) {
    struct err err;
    enum json_view_fault fault;
    int rc = json_view_read(p->text, p->arena, &p->scratch->row, &fault, &err);
    if (rc && fault == JSON_VIEW_NOT_UTF8) {
        if (!mend(p, true, ret_mended)) return false;
        rc = json_view_read(p->text, p->arena, &p->scratch->row, &fault, &err);
    }
    if (rc) return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "not valid JSON: %s", err.msg);
    return parse_row(p, p->scratch->row.list);
}

static bool parse_flat(struct parsing *p, bool *ret_mended) {
    if (!bytes_are_utf8(p->text) && !mend(p, false, ret_mended)) return false;
    return p->format == SOURCE_TEXT || p->format == SOURCE_MARKDOWN ? parse_text(p) : parse_csv(p);
}

static bool parse_record(struct parsing *p) {
    const struct record *r = p->record;
    bool mended = false, json = is_json(p->format);
    if (r->bytes)
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1,
                            "the record has %lld bytes, more than are read at once",
                            (long long)r->bytes);
    if (r->problem && !json) return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "%s", r->problem);
    if (r->problem)
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "not valid JSON: %s", r->problem);
    *p->ret = (struct example){.number = r->number, .line = r->line};
    bool made = json ? parse_json(p, &mended) : parse_flat(p, &mended);
    if (p->arena->over)
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1,
                            "it takes more memory than a record may");
    if (made && mended)
        parse_note(p, FINDING_MENDED_ENCODING, -1,
                   "bytes that are not UTF-8, read as Windows-1252");
    return made;
}

static void parse_portion(void *ctx, int64_t i) {
    struct source *s = ctx;
    struct portion *part = &s->portions[i];
    struct parsing p = {.format = s->is.format,
                        .columns = &s->is.columns,
                        .scratch = &s->scratch[pool_thread_index()],
                        .arena = &part->arena,
                        .findings = part->findings,
                        .utf16 = s->encoding != ENCODING_UTF8,
                        .err = &part->err};
    for (size_t k = part->from; k < part->to && !p.rc; k++) {
        p.record = &s->list[k];
        p.text = s->list[k].text;
        p.ret = &s->examples[k];
        s->made[k] = parse_record(&p);
    }
    part->rc = p.rc;
}

/* --- putting together ------------------------------------------------------------------------ */

static void split_batch(struct source *s) {
    size_t bytes = 0, from = 0;
    s->portion_count = 0;
    for (size_t i = 0; i < s->count; i++) {
        bytes += s->list[i].text.n + 64;
        if (bytes < PORTION_BYTES && i + 1 < s->count) continue;
        if (s->portion_count == s->portion_cap) {
            size_t before = s->portion_cap;
            mem_grow((void **)&s->portions, &s->portion_cap, before + 1, sizeof *s->portions);
            memset(s->portions + before, 0, (s->portion_cap - before) * sizeof *s->portions);
        }
        struct portion *p = &s->portions[s->portion_count++];
        if (!p->findings) {
            p->findings = findings_new();
            arena_init(&p->arena, ARENA_MAX);
        }
        arena_reset(&p->arena);
        p->from = from;
        p->to = from = i + 1;
        bytes = 0;
    }
}

static void make_scratch(struct source *s, int threads) {
    if (s->scratch_count >= threads) return;
    s->scratch = mem_realloc(s->scratch, (size_t)threads, sizeof *s->scratch);
    for (int i = s->scratch_count; i < threads; i++) {
        s->scratch[i] = (struct scratch){0};
        buf_init(&s->scratch[i].json, ARENA_MAX);
        buf_init(&s->scratch[i].text, ARENA_MAX);
    }
    s->scratch_count = threads;
}

static const char *kind_name(enum row_kind kind) {
    static const char *const names[] = {"chat", "prompt/completion", "text", "preference"};
    return names[kind];
}

/* One file holds one kind: that of its first row that can be read. */
static int keep_kind(struct source *s, const struct example *e, bool *ret,
                     struct findings *findings, struct err *err) {
    char text[200];
    if (!s->kind_known) {
        s->kind_known = true;
        s->kind = e->kind;
        s->first_number = e->number;
    }
    *ret = e->kind == s->kind;
    if (*ret) return 0;
    snprintf(text, sizeof text,
             "this is a %s row, but row %lld is a %s row; one file holds one kind",
             kind_name(e->kind), (long long)s->first_number, kind_name(s->kind));
    struct finding f = {
        .kind = FINDING_INVALID_FORMAT, .row = e->number, .message = -1, .detail = text};
    return findings_add(findings, &f, err);
}

/* One portion's examples behind the n there are, its findings in the order of rows. */
static int add_portion(struct source *s, struct portion *p, size_t *n, struct findings *findings,
                       struct err *err) {
    size_t next = 0, count = findings_count(p->findings);
    for (size_t k = p->from; k < p->to; k++) {
        bool keep = s->made[k];
        int rc = 0;
        for (; !rc && next < count; next++) {
            const struct finding *f = findings_at(p->findings, next);
            if (f->row > s->list[k].number) break;
            rc = findings_add(findings, f, err);
        }
        if (!rc && keep) rc = keep_kind(s, &s->examples[k], &keep, findings, err);
        if (rc) return rc;
        if (keep) s->examples[(*n)++] = s->examples[k];
    }
    if (count) {
        findings_free(p->findings);
        p->findings = findings_new();
    }
    return 0;
}

static int put_together(struct source *s, size_t *ret_count, struct findings *findings,
                        struct err *err) {
    *ret_count = 0;
    for (size_t i = 0; i < s->portion_count; i++) {
        struct portion *p = &s->portions[i];
        int rc = p->rc;
        if (rc) *err = p->err;
        if (!rc) rc = add_portion(s, p, ret_count, findings, err);
        if (rc) return rc;
    }
    return 0;
}

int source_next(struct source *s, struct pool *pool, const struct example **ret, size_t *ret_count,
                struct findings *findings, struct err *err) {
    size_t n = 0;
    while (n == 0) {
        int rc = cut_batch(s, err);
        if (rc) return rc;
        if (s->count == 0) break;
        if (s->example_cap < s->count)
            mem_grow((void **)&s->examples, &s->example_cap, s->count, sizeof *s->examples);
        if (s->made_cap < s->count)
            mem_grow((void **)&s->made, &s->made_cap, s->count, sizeof *s->made);
        split_batch(s);
        make_scratch(s, pool_threads(pool));
        pool_run(pool, (int64_t)s->portion_count, parse_portion, s);
        rc = put_together(s, &n, findings, err);
        if (rc) return rc;
    }
    *ret = s->examples;
    *ret_count = n;
    return 0;
}

/* --- opening -------------------------------------------------------------------------------- */

/* names of columns come as they stand in the file */
static void mend_reason(struct buf *reason) {
    struct buf b;
    buf_init(&b, 4 * 4096);
    if (!bytes_mend(buf_view(reason), &b)) {
        buf_clear(&b);
        buf_z(&b, "a table, whose names of columns are not UTF-8");
    }
    buf_release(reason);
    *reason = b;
}

static int open_file(struct source *s, const struct source_options *o, struct err *err) {
    struct err why;
    size_t skip = 0;
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) return err_sys(err, errno, "could not open \"%s\"", s->path);
    int rc = read_more(s, &s->raw, 4096, err);
    if (!rc && bytes_encoding(buf_view(&s->raw), &s->encoding, &skip, &why))
        rc = err_set(err, why.code, "%s: %s", s->path, why.msg);
    if (rc) return rc;
    drop_front(&s->raw, skip);
    if (s->encoding == ENCODING_UTF8) {
        buf_str(&s->block, buf_view(&s->raw));
        buf_clear(&s->raw);
    }
    rc = fill(s, HEAD_BYTES, err);
    if (rc) return rc;
    struct str head = buf_view(&s->block);
    bool whole = s->at_end && head.n <= HEAD_BYTES;
    if (head.n > HEAD_BYTES) head.n = HEAD_BYTES;
    if (detect(s->path, head, whole, o, &s->is, &s->reason, &why))
        return err_set(err, why.code, "%s: %s", s->path, why.msg);
    if (!bytes_are_utf8(buf_view(&s->reason))) mend_reason(&s->reason);
    if (s->encoding != ENCODING_UTF8) buf_z(&s->reason, "; converted from UTF-16");
    cutter_init(&s->cutter, s->is.layout, s->is.columns.delim);
    return 0;
}

int source_open(const char *path, const struct source_options *o, struct source **ret,
                struct err *err) {
    struct source *s = mem_zalloc(1, sizeof *s);
    s->path = path;
    s->fd = -1;
    s->record_max = o->record_max ? o->record_max : RECORD_MAX;
    buf_init(&s->block, SIZE_MAX / 2);
    buf_init(&s->raw, BLOCK_BYTES);
    buf_init(&s->reason, 4096);
    int rc = open_file(s, o, err);
    if (rc)
        source_close(s);
    else
        *ret = s;
    return rc;
}

void source_close(struct source *s) {
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    for (size_t i = 0; i < s->portion_cap; i++) {
        findings_free(s->portions[i].findings);
        arena_release(&s->portions[i].arena);
    }
    for (int i = 0; i < s->scratch_count; i++) {
        struct scratch *c = &s->scratch[i];
        json_views_release(&c->row);
        json_views_release(&c->inner);
        mem_free(c->messages);
        mem_free(c->drafts);
        mem_free(c->calls);
        buf_release(&c->json);
        buf_release(&c->text);
    }
    mem_free(s->scratch);
    mem_free(s->portions);
    mem_free(s->list);
    mem_free(s->examples);
    mem_free(s->made);
    buf_release(&s->block);
    buf_release(&s->raw);
    buf_release(&s->reason);
    mem_free(s);
}

enum source_format source_format_of(const struct source *s) { return s->is.format; }
const char *source_reason(const struct source *s) { return s->reason.p; }
int64_t source_records(const struct source *s) { return s->records; }
int64_t source_bytes(const struct source *s) { return s->bytes; }

const char *source_format_name(enum source_format f) {
    static const char *const names[] = {"auto", "openai", "alpaca", "sharegpt", "parts",
                                        "csv",  "tsv",    "text",   "markdown", "snips"};
    return names[f];
}
