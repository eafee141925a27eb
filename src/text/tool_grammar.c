/* Grammars of answers with tool calls: what a family writes around a function's arguments. */
#include "text/grammar_int.h"
#include "text/tool_calls.h"

#include <stdio.h>

struct envelope {
    const char *open; /* marker that begins calls; NULL: the answer itself is the call */
    const char *before, *name, *between, *after; /* around the name and the arguments; a space in
                                                    `between` may be left out */
    const char *join;                            /* between calls; NULL: one call only */
    const char *close;                           /* behind the last */
    bool open_each;                              /* the marker stands before each call */
    bool quoted;                                 /* the name is a JSON string */
};
static const struct envelope envelopes[] = {
    [TOOL_JSON] = {.before = "{",
                   .name = "\"name\": ",
                   .between = ", \"arguments\": ",
                   .after = "}",
                   .close = "",
                   .quoted = true},
    [TOOL_HERMES] = {.open = "<tool_call>",
                     .before = "\n{",
                     .name = "\"name\": ",
                     .between = ", \"arguments\": ",
                     .after = "}\n</tool_call>",
                     .join = "\n",
                     .close = "",
                     .open_each = true,
                     .quoted = true},
    [TOOL_LLAMA3] = {.before = "{",
                     .name = "\"name\": ",
                     .between = ", \"parameters\": ",
                     .after = "}",
                     .close = "",
                     .quoted = true},
    [TOOL_MISTRAL] = {.open = "[TOOL_CALLS]",
                      .before = "{",
                      .name = "\"name\": ",
                      .between = ", \"arguments\": ",
                      .after = "}",
                      .join = ", ",
                      .close = "]",
                      .quoted = true},
    [TOOL_MISTRAL_ARGS] = {.open = "[TOOL_CALLS]",
                           .before = "",
                           .name = "",
                           .between = "[ARGS]",
                           .after = "",
                           .join = "",
                           .close = "",
                           .open_each = true},
};

struct maker {
    struct automaton *a;
    const struct tool_grammar_options *o;
    const struct envelope *e;
    uint32_t *arguments; /* rules by function */
    uint32_t content;    /* rule of the answer without calls, where o->content is one */
};

/* A text whose spaces may be left out and whose markers may be one token. */
static uint32_t put_text(struct automaton *a, uint32_t at, const char *text) {
    static const char *const markers[] = {"<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]"};
    while (*text) {
        size_t n = 0;
        for (size_t i = 0; i < sizeof markers / sizeof *markers; i++)
            if (str_starts(str_of(text), str_of(markers[i]))) n = strlen(markers[i]);
        if (n) {
            struct str marker = {text, n};
            uint32_t from = at;
            at = build_text(a, from, marker);
            if (!a->over) build_mark(a, from, build_mark_text(a, marker), at);
            text += n;
        } else {
            at = *text == ' ' ? build_space(a, at) : build_branch(a, at, (unsigned char)*text);
            text++;
        }
    }
    return at;
}

/* One call behind the markers, from `at` on; the state behind it. */
static uint32_t put_call(struct maker *m, uint32_t at, const char *before) {
    struct automaton *a = m->a;
    uint32_t end = build_state(a);
    at = put_text(a, at, before);
    at = put_text(a, at, m->e->name);
    for (size_t i = 0; i < m->o->count && !a->over; i++) {
        struct buf name;
        buf_init(&name, SIZE_MAX);
        if (m->e->quoted) buf_byte(&name, '"');
        chars_spell(&name, m->o->functions[i].name);
        if (m->e->quoted) buf_byte(&name, '"');
        uint32_t own = at;
        for (size_t k = 0; k < name.n; k++) own = build_branch(a, own, (unsigned char)name.p[k]);
        buf_release(&name);
        own = put_text(a, own, m->e->between);
        if (!a->over) build_call(a, own, m->arguments[i], end);
    }
    return put_text(a, end, m->e->after);
}

/* Everything from behind the first opening marker to the end. */
static void put_calls(struct maker *m, uint32_t at) {
    struct automaton *a = m->a;
    bool list = m->o->form == TOOL_MISTRAL;
    uint32_t end = build_state(a), first = list ? build_branch(a, at, '[') : at;
    if (a->over) return;
    build_accept(a, end);
    uint32_t after = put_call(m, first, m->e->before);
    if (m->o->parallel && m->e->join) {
        uint32_t next = put_text(a, after, m->e->join);
        if (m->e->open_each) next = put_text(a, next, m->e->open);
        if (!a->over) build_empty(a, next, first);
    }
    build_empty(a, put_text(a, after, m->e->close), end);
}

/* where the longest end of text[0, n) + byte that begins `word` leads: its length */
static size_t fallback(struct str word, size_t n, unsigned char byte) {
    for (size_t length = n + 1; length; length--) {
        if ((unsigned char)word.p[length - 1] != byte) continue;
        if (!memcmp(word.p, word.p + n - (length - 1), length - 1)) return length;
    }
    return 0;
}

/* Free text up to a marker, which leads to `to`; the answer may end before it. */
static void put_free(struct automaton *a, uint32_t start, struct str marker, uint32_t to) {
    uint32_t states[64];
    if (a->over || marker.n > 64) return;
    states[0] = start;
    for (size_t i = 1; i < marker.n; i++) states[i] = build_state(a);
    uint32_t mark = build_mark_text(a, marker);
    for (size_t i = 0; i < marker.n && !a->over; i++) {
        build_accept(a, states[i]);
        build_mark(a, states[i], mark, to);
        unsigned run = 0; /* bytes from here on lead to the start */
        for (unsigned b = 0; b < 256; b++) {
            size_t next = fallback(marker, i, (unsigned char)b);
            if (!next) continue;
            if (run < b) build_byte(a, states[i], run, b - 1, start);
            build_byte(a, states[i], b, b, next == marker.n ? to : states[next]);
            run = b + 1;
        }
        if (run < 256) build_byte(a, states[i], run, 255, start);
    }
}

/* The answer is a call if it begins like one, else free text. */
static void put_answer(struct automaton *a, uint32_t start, struct str head, uint32_t to) {
    uint32_t at = start, rest = build_state(a);
    if (a->over) return;
    build_accept(a, rest);
    build_byte(a, rest, 0, 255, rest);
    for (size_t i = 0; i < head.n && !a->over; i++) {
        unsigned b = (unsigned char)head.p[i];
        uint32_t next = i + 1 < head.n ? build_state(a) : to;
        build_accept(a, at);
        build_byte(a, at, b, b, next);
        if (b) build_byte(a, at, 0, b - 1, rest);
        if (b < 255) build_byte(a, at, b + 1, 255, rest);
        at = next;
    }
}

/* calls from the first byte on, or a value */
static void put_calls_or_value(struct maker *m, uint32_t start) {
    struct automaton *a = m->a;
    uint32_t end = build_state(a);
    put_calls(m, m->e->open ? put_text(a, start, m->e->open) : start);
    if (a->over) return;
    build_accept(a, end);
    build_call(a, start, m->content, end);
}

static void put_root(struct maker *m, uint32_t start) {
    struct automaton *a = m->a;
    if (m->o->required) {
        put_calls(m, m->e->open ? put_text(a, start, m->e->open) : start);
        return;
    }
    if (m->o->content) {
        put_calls_or_value(m, start);
        return;
    }
    uint32_t calls = build_state(a);
    if (m->e->open) {
        put_free(a, start, str_of(m->e->open), calls);
        put_calls(m, calls);
        return;
    }
    /* `{"name"` decides; what follows is as in put_call */
    struct maker tail = *m;
    struct envelope e = *m->e;
    e.before = "";
    e.name = ": ";
    tail.e = &e;
    put_answer(a, start, STR_LIT("{\"name\""), calls);
    put_calls(&tail, calls);
}

static int add_functions(struct maker *m, struct schemas *s, const json_t *any, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < m->o->count && !rc; i++) {
        const struct tool_function *f = &m->o->functions[i];
        const char *where = f->where ? f->where : "tools";
        rc = schemas_add(s, f->parameters ? f->parameters : any, where, &m->arguments[i], err);
    }
    return rc;
}

int tool_grammar_compile(const struct tool_grammar_options *o, struct grammar **ret,
                         char path[GRAMMAR_PATH_MAX], struct err *err) {
    struct automaton a = {0};
    struct schemas *s = schemas_new(&a);
    struct maker m = {.a = &a, .o = o, .e = &envelopes[o->form]};
    json_t *any = json_pack("{s:s}", "type", "object");
    m.arguments = mem_zalloc(o->count + 1, sizeof *m.arguments);
    uint32_t root = build_rule(&a);
    int rc = o->count ? 0 : err_set(err, ERR_INVALID, "tool calls need at least one function");
    if (!rc) rc = add_functions(&m, s, any, err);
    if (!rc && o->content)
        rc = schemas_add(s, o->content, o->content_where ? o->content_where : "content", &m.content,
                         err);
    if (!rc) {
        put_root(&m, a.starts[root]);
        rc = grammar_make(&a, s, ret, err);
    } else {
        automaton_release(&a);
    }
    if (path) snprintf(path, GRAMMAR_PATH_MAX, "%s", schemas_path(s));
    mem_free(m.arguments);
    schemas_free(s);
    json_decref(any);
    return rc;
}
