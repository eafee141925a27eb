#include "text/pretokenize.h"

#include "base/mem.h"
#include "text/charclass.h"
#include "text/normalize.h"

#define TEXT_MAX ((size_t)1 << 33)

/* --- reading ------------------------------------------------------------------------------------
 */

struct reader {
    const char *where;
    struct pretokenizer *out;
    bool spell_bytes;
    struct err *err;
};

static int add_step(struct reader *r, struct pre_step step) {
    if (r->out->count == PRE_STEPS)
        return err_set(r->err, ERR_LIMIT, "%s: more than %d pre-tokenizers", r->where, PRE_STEPS);
    r->out->steps[r->out->count++] = step;
    return 0;
}

static int read_behavior(struct reader *r, const json_t *spec, enum split_behavior *ret) {
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious",
                                        "MergedWithNext"};
    struct str name = {0};
    int rc = json_get_str(spec, "behavior", r->where, &name, r->err);
    if (rc || !name.p) return rc;
    for (int i = 0; i < 5; i++) {
        if (!str_is(name, names[i])) continue;
        *ret = (enum split_behavior)i;
        return 0;
    }
    return err_set(r->err, ERR_INVALID, "%s: unknown \"behavior\" \"%.40s\"", r->where, name.p);
}

static int read_split(struct reader *r, const json_t *spec) {
    struct str literal, regex;
    struct pre_step s = {.kind = PRE_LITERAL};
    int rc = pattern_read(spec, r->where, &literal, &regex, r->err);
    if (!rc) rc = read_behavior(r, spec, &s.behavior);
    if (!rc) rc = json_get_bool(spec, "invert", r->where, &s.invert, r->err);
    if (rc) return rc;
    s.literal = literal;
    if (!regex.p) return add_step(r, s);
    s.scan = scan_for_pattern(regex);
    if (s.scan && s.behavior == SPLIT_ISOLATED) {
        s.kind = PRE_SCAN;
        return add_step(r, s);
    }
    s.kind = PRE_REGEX;
    rc = regex_compile(regex, r->where, &s.regex, r->err);
    if (!rc && (rc = add_step(r, s))) regex_free(s.regex);
    return rc;
}

static int read_byte_level(struct reader *r, const json_t *spec, bool last) {
    bool prefix = true, use_regex = true;
    int rc = json_get_bool(spec, "add_prefix_space", r->where, &prefix, r->err);
    if (!rc) rc = json_get_bool(spec, "use_regex", r->where, &use_regex, r->err);
    if (!rc && prefix) rc = add_step(r, (struct pre_step){.kind = PRE_PREFIX});
    if (!rc && use_regex) rc = add_step(r, (struct pre_step){.kind = PRE_SCAN, .scan = scan_gpt2});
    if (rc) return rc;
    if (last && !r->spell_bytes) {
        r->out->byte_level = true;
        return 0;
    }
    return add_step(r, (struct pre_step){.kind = PRE_BYTES});
}

static int read_metaspace(struct reader *r, const json_t *spec) {
    struct pre_step s = {.kind = PRE_METASPACE, .behavior = SPLIT_NEXT, .split = true};
    struct str scheme = {0};
    bool add_prefix = true;
    s.literal = STR_LIT("\xE2\x96\x81");
    int rc = json_get_str(spec, "replacement", r->where, &s.literal, r->err);
    if (!rc) rc = json_get_str(spec, "prepend_scheme", r->where, &scheme, r->err);
    if (!rc) rc = json_get_bool(spec, "add_prefix_space", r->where, &add_prefix, r->err);
    if (!rc) rc = json_get_bool(spec, "split", r->where, &s.split, r->err);
    if (rc) return rc;
    if (!scheme.p)
        s.prepend = add_prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    else if (str_is(scheme, "first"))
        s.prepend = PREPEND_FIRST;
    else if (str_is(scheme, "always"))
        s.prepend = PREPEND_ALWAYS;
    else if (str_is(scheme, "never"))
        s.prepend = PREPEND_NEVER;
    else
        return err_set(r->err, ERR_INVALID, "%s: unknown \"prepend_scheme\" \"%.40s\"", r->where,
                       scheme.p);
    return add_step(r, s);
}

static int read_digits(struct reader *r, const json_t *spec) {
    bool individual = false;
    int rc = json_get_bool(spec, "individual_digits", r->where, &individual, r->err);
    struct pre_step s = {.kind = PRE_CLASS, .bits = CH_NUMERIC};
    s.behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return rc ? rc : add_step(r, s);
}

static int read_delimiter(struct reader *r, const json_t *spec) {
    struct pre_step s = {.kind = PRE_LITERAL, .behavior = SPLIT_REMOVED};
    int rc = json_get_str(spec, "delimiter", r->where, &s.literal, r->err);
    return rc ? rc : add_step(r, s);
}

static int read_one(struct reader *r, const json_t *spec, struct str type, bool last) {
    if (str_is(type, "Split")) return read_split(r, spec);
    if (str_is(type, "ByteLevel")) return read_byte_level(r, spec, last);
    if (str_is(type, "Metaspace")) return read_metaspace(r, spec);
    if (str_is(type, "Digits")) return read_digits(r, spec);
    if (str_is(type, "CharDelimiterSplit")) return read_delimiter(r, spec);
    if (str_is(type, "Whitespace")) return add_step(r, (struct pre_step){.kind = PRE_WORDS});
    struct pre_step s = {.kind = PRE_CLASS};
    if (str_is(type, "WhitespaceSplit") || str_is(type, "BertPreTokenizer")) {
        s.behavior = SPLIT_REMOVED;
        s.bits = CH_SPACE;
        int rc = add_step(r, s);
        if (rc || str_is(type, "WhitespaceSplit")) return rc;
    }
    if (str_is(type, "Punctuation") || str_is(type, "BertPreTokenizer")) {
        s.behavior = SPLIT_ISOLATED;
        s.bits = CH_PUNCT_STEP;
        int rc = str_is(type, "Punctuation") ? read_behavior(r, spec, &s.behavior) : 0;
        return rc ? rc : add_step(r, s);
    }
    return err_set(r->err, ERR_UNSUPPORTED,
                   "%s: a pre-tokenizer of type \"%.60s\" is not supported", r->where, type.p);
}

static int read_into(struct reader *r, const json_t *spec, bool last, int depth) {
    struct str type;
    int rc = component_type(spec, r->where, &type, r->err);
    if (rc) return rc;
    if (!str_is(type, "Sequence")) return read_one(r, spec, type, last);
    const json_t *list = json_object_get(spec, "pretokenizers");
    if (depth > 8) return err_set(r->err, ERR_LIMIT, "%s: nested too deeply", r->where);
    if (!json_is_array(list))
        return err_set(r->err, ERR_INVALID, "%s: \"pretokenizers\" must be a list", r->where);
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n && !rc; i++)
        rc = read_into(r, json_array_get(list, i), last && i + 1 == n, depth + 1);
    return rc;
}

int pretokenizer_read(const json_t *spec, const char *where, bool spell_bytes,
                      struct pretokenizer *ret, struct err *err) {
    if (!spec || json_is_null(spec)) return 0;
    struct reader r = {where, ret, spell_bytes, err};
    return read_into(&r, spec, true, 0);
}

void pretokenizer_release(struct pretokenizer *p) {
    for (size_t i = 0; i < p->count; i++) regex_free(p->steps[i].regex);
}

/* --- matches of a step --------------------------------------------------------------------------
 */

struct matcher {
    const struct pre_step *step;
    struct regex_match *match;
    struct str text;
    size_t from;       /* where to look next */
    size_t last_match; /* the end of the last one; SIZE_MAX: none yet */
    struct err *err;
};

static bool find_literal(struct matcher *m, size_t *start, size_t *end) {
    struct str what = m->step->literal;
    if (!what.n) return false;
    const char *hit = memmem(m->text.p + m->from, m->text.n - m->from, what.p, what.n);
    if (!hit) return false;
    *start = (size_t)(hit - m->text.p);
    *end = *start + what.n;
    return true;
}

static bool find_class(struct matcher *m, size_t *start, size_t *end) {
    for (size_t i = m->from, n; i < m->text.n; i += n) {
        if (!(char_class(char_at(m->text.p + i, &n)) & m->step->bits)) continue;
        *start = i;
        *end = i + n;
        return true;
    }
    return false;
}

/* An empty match right behind the last one is passed over, as Oniguruma's find_iter does. */
static int find_regex(struct matcher *m, size_t *start, size_t *end) {
    while (m->from <= m->text.n) {
        int rc = regex_find(m->step->regex, m->match, m->text, m->from, start, end, m->err);
        if (rc <= 0) return rc;
        if (*start != *end || m->last_match != *end) return 1;
        size_t n = 1;
        if (*end < m->text.n) char_at(m->text.p + *end, &n);
        m->from = *end + n;
    }
    return 0;
}

/* 1 and the next match, 0 at the end, or a negative code */
static int next_match(struct matcher *m, size_t *start, size_t *end) {
    int rc = 0;
    if (m->from > m->text.n) return 0;
    if (m->step->kind == PRE_CLASS)
        rc = find_class(m, start, end);
    else if (m->step->kind == PRE_REGEX)
        rc = find_regex(m, start, end);
    else
        rc = find_literal(m, start, end);
    if (rc > 0) m->from = m->last_match = *end;
    return rc;
}

/* --- from matches to pieces ---------------------------------------------------------------------
 */

static int run_from(struct pre_run *r, size_t step, struct str piece, bool at_start,
                    struct err *err);

struct splitter {
    struct pre_run *run;
    size_t step;
    struct str text;
    bool at_start;
    enum split_behavior behavior;
    bool held, held_is_match; /* a piece that may still grow: text[hold_start, hold_end) */
    size_t hold_start, hold_end;
    struct err *err;
};

static int pass_on(struct splitter *s, size_t start, size_t end) {
    if (start == end) return 0;
    struct str piece = {s->text.p + start, end - start};
    return run_from(s->run, s->step + 1, piece, s->at_start && start == 0, s->err);
}

static int flush(struct splitter *s) {
    if (!s->held) return 0;
    s->held = false;
    return pass_on(s, s->hold_start, s->hold_end);
}

static bool grows(const struct splitter *s, bool is_match) {
    switch (s->behavior) {
    case SPLIT_CONTIGUOUS: return is_match == s->held_is_match;
    case SPLIT_PREVIOUS: return is_match && !s->held_is_match;
    case SPLIT_NEXT: return !is_match && s->held_is_match;
    default: return false;
    }
}

/* The stretches of the text come in order, matches and what lies between them. */
static int add_stretch(struct splitter *s, size_t start, size_t end, bool is_match) {
    if (s->behavior == SPLIT_REMOVED) return is_match ? 0 : pass_on(s, start, end);
    if (s->behavior == SPLIT_ISOLATED) return pass_on(s, start, end);
    if (s->held && grows(s, is_match)) {
        s->hold_end = end;
        s->held_is_match = is_match;
        return 0;
    }
    int rc = flush(s);
    s->held = true;
    s->held_is_match = is_match;
    s->hold_start = start;
    s->hold_end = end;
    return rc;
}

static int split(struct pre_run *r, size_t step, struct str text, bool at_start, struct err *err) {
    const struct pre_step *p = &r->pre->steps[step];
    if (p->regex && !r->matches[step]) r->matches[step] = regex_match_new(p->regex);
    struct matcher m = {p, r->matches[step], text, 0, SIZE_MAX, err};
    struct splitter s = {.run = r,
                         .step = step,
                         .text = text,
                         .at_start = at_start,
                         .behavior = p->behavior,
                         .err = err};
    size_t done = 0, start = 0, end = 0;
    int rc;
    while ((rc = next_match(&m, &start, &end)) > 0) {
        rc = done != start ? add_stretch(&s, done, start, p->invert) : 0;
        if (!rc) rc = add_stretch(&s, start, end, !p->invert);
        if (rc) return rc;
        done = end;
    }
    if (!rc && done != text.n) rc = add_stretch(&s, done, text.n, p->invert);
    return rc ? rc : flush(&s);
}

static int split_by_scan(struct pre_run *r, size_t step, struct str text, bool at_start,
                         struct err *err) {
    scan_fn *scan = r->pre->steps[step].scan;
    bool last = step + 1 == r->pre->count;
    int rc = 0;
    for (size_t at = 0, n; at < text.n && !rc; at += n) {
        struct str rest = {text.p + at, text.n - at};
        n = scan(rest);
        rest.n = n;
        if (last)
            r->word(r->ctx, rest);
        else
            rc = run_from(r, step + 1, rest, at_start && at == 0, err);
    }
    return rc;
}

/* \w+|[^\w\s]+ kept, white space dropped */
static int split_words(struct pre_run *r, size_t step, struct str text, bool at_start,
                       struct err *err) {
    int rc = 0;
    for (size_t at = 0, n; at < text.n && !rc;) {
        unsigned kind = char_class(char_at(text.p + at, &n)) & (CH_WORD | CH_SPACE);
        size_t end = at + n;
        while (end < text.n &&
               (char_class(char_at(text.p + end, &n)) & (CH_WORD | CH_SPACE)) == kind)
            end += n;
        if (!(kind & CH_SPACE))
            rc = run_from(r, step + 1, (struct str){text.p + at, end - at}, at_start && at == 0,
                          err);
        at = end;
    }
    return rc;
}

static int metaspace(struct pre_run *r, size_t step, struct str text, bool at_start,
                     struct err *err) {
    const struct pre_step *p = &r->pre->steps[step];
    struct buf *b = &r->text[step];
    bool prepend = p->prepend == PREPEND_ALWAYS || (p->prepend == PREPEND_FIRST && at_start);
    buf_clear(b);
    if (prepend && text.p[0] != ' ' && !str_starts(text, p->literal)) buf_str(b, p->literal);
    for (size_t done = 0; done < text.n;) {
        const char *space = memchr(text.p + done, ' ', text.n - done);
        size_t end = space ? (size_t)(space - text.p) : text.n;
        buf_add(b, text.p + done, end - done);
        if (space) buf_str(b, p->literal);
        done = end + 1;
    }
    if (!buf_ok(b)) return err_set(err, ERR_LIMIT, "text is too long");
    if (p->split) return split(r, step, buf_view(b), at_start, err);
    return run_from(r, step + 1, buf_view(b), at_start, err);
}

static int rewrite(struct pre_run *r, size_t step, struct str text, bool at_start,
                   struct err *err) {
    struct buf *b = &r->text[step];
    bool spell = r->pre->steps[step].kind == PRE_BYTES;
    if (!spell && text.p[0] == ' ') return run_from(r, step + 1, text, at_start, err);
    buf_clear(b);
    if (!spell) {
        buf_byte(b, ' ');
        buf_str(b, text);
    }
    for (size_t i = 0; spell && i < text.n; i++)
        buf_utf8(b, byte_to_char((unsigned char)text.p[i]));
    if (!buf_ok(b)) return err_set(err, ERR_LIMIT, "text is too long");
    return run_from(r, step + 1, buf_view(b), at_start, err);
}

/* Recursion is as deep as there are steps: at most PRE_STEPS. */
static int run_from(struct pre_run *r, size_t step, struct str piece, bool at_start,
                    struct err *err) {
    if (!piece.n) return 0;
    if (step == r->pre->count) {
        r->word(r->ctx, piece);
        return 0;
    }
    switch (r->pre->steps[step].kind) {
    case PRE_SCAN: return split_by_scan(r, step, piece, at_start, err);
    case PRE_WORDS: return split_words(r, step, piece, at_start, err);
    case PRE_METASPACE: return metaspace(r, step, piece, at_start, err);
    case PRE_PREFIX:
    case PRE_BYTES: return rewrite(r, step, piece, at_start, err);
    default: return split(r, step, piece, at_start, err);
    }
}

void pre_run_init(struct pre_run *r, const struct pretokenizer *pre,
                  void (*word)(void *ctx, struct str word), void *ctx) {
    *r = (struct pre_run){.pre = pre, .word = word, .ctx = ctx};
    for (size_t i = 0; i < PRE_STEPS; i++) buf_init(&r->text[i], TEXT_MAX);
}

void pre_run_release(struct pre_run *r) {
    for (size_t i = 0; i < PRE_STEPS; i++) {
        regex_match_free(r->matches[i]);
        buf_release(&r->text[i]);
    }
}

int pre_run(struct pre_run *r, struct str piece, bool at_start, struct err *err) {
    return run_from(r, 0, piece, at_start, err);
}
