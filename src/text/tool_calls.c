/* Reading tool calls out of streamed text.
 *
 *   PLAIN    content, and looking for an opening; `held` is what may be the beginning of one
 *   OPENED   behind an opening marker (or, without markers, at the start of the answer)
 *   OBJECT   inside the JSON object of a call
 *   BETWEEN  behind a call: its closing marker, the next call, or the end
 *   OVER     forms that are the whole answer: nothing more is looked for
 *
 * From OPENED on all text is held until the call is complete; then it is dropped. When it turns out
 * to be no call, the opening is let out as content and the rest is read again as PLAIN. */
#include "text/tool_calls.h"

#include "base/buf.h"
#include "base/mem.h"
#include "text/json_scan.h"

#define HELD_MAX ((size_t)8 << 20)
#define NAME_MAX_BYTES 256

static const struct form {
    const char *name;
    const char *open, *close; /* markers; NULL: the answer itself */
    bool list;                /* a list of calls may stand in the place of one */
} forms[] = {
    [TOOL_JSON] = {"json", NULL, NULL, true},
    [TOOL_HERMES] = {"hermes", "<tool_call>", "</tool_call>", false},
    [TOOL_LLAMA3] = {"llama3", NULL, NULL, false},
    [TOOL_MISTRAL] = {"mistral", "[TOOL_CALLS]", NULL, true},
    [TOOL_MISTRAL_ARGS] = {"mistral-args", "[TOOL_CALLS]", NULL, true},
};
static const char python_tag[] = "<|python_tag|>";

const char *tool_form_name(enum tool_form form) { return forms[form].name; }

static bool contains(struct str s, const char *word) {
    return s.n && memmem(s.p, s.n, word, strlen(word)) != NULL;
}

enum tool_form tool_form_of_template(struct str t) {
    bool xml = contains(t, "<function=") || contains(t, "<arg_key>") || contains(t, "<parameter");
    if (contains(t, "[TOOL_CALLS]"))
        return contains(t, "[ARGS]") ? TOOL_MISTRAL_ARGS : TOOL_MISTRAL;
    if (contains(t, "<tool_call>") && !xml) return TOOL_HERMES;
    bool llama = contains(t, "<|python_tag|>") || contains(t, "ipython");
    if (llama && contains(t, "\"parameters\"")) return TOOL_LLAMA3;
    return TOOL_JSON;
}

enum state { PLAIN, OPENED, OBJECT, BETWEEN, OVER };

struct tool_parser {
    struct tool_parser_options o;
    struct str *names;
    enum state state;
    struct buf held;
    size_t at;     /* bytes of held that have been read */
    size_t opened; /* length of the opening marker at the front of held */
    bool in_list;
    int calls;

    /* the object that is being read */
    struct json_scan scan;
    size_t start;    /* in held */
    struct str bare; /* the object is the arguments themselves, and this is the name; owned */
    enum { HEAD, WHOLE, PIECES, PIECES_DONE } mode; /* eager: how far it may be reported */
    struct json_scan arguments;
    size_t sent; /* of held, in PIECES */
};

struct tool_parser *tool_parser_new(const struct tool_parser_options *options) {
    struct tool_parser *p = mem_zalloc(1, sizeof *p);
    p->o = *options;
    if (options->names) {
        p->names = mem_zalloc(options->name_count + 1, sizeof *p->names);
        for (size_t i = 0; i < options->name_count; i++)
            p->names[i] = (struct str){mem_strndup(options->names[i].p, options->names[i].n),
                                       options->names[i].n};
    }
    p->o.names = p->names;
    buf_init(&p->held, 2 * HELD_MAX);
    p->state = forms[p->o.form].open ? PLAIN : OPENED;
    return p;
}

void tool_parser_free(struct tool_parser *p) {
    if (!p) return;
    for (size_t i = 0; p->names && i < p->o.name_count; i++) mem_free((char *)p->names[i].p);
    mem_free(p->names);
    mem_free((char *)p->bare.p);
    buf_release(&p->held);
    mem_free(p);
}

int tool_parser_calls(const struct tool_parser *p) { return p->calls; }

/* --- out -----------------------------------------------------------------------------------------
 */

static void send(struct tool_parser *p, enum tool_event_kind kind, struct str text, bool cut) {
    bool piece = kind == TOOL_CONTENT || kind == TOOL_ARGUMENTS;
    if (piece && !text.n) return;
    struct tool_event e = {kind, kind == TOOL_CONTENT ? -1 : p->calls, text, cut};
    p->o.on_event(p->o.ctx, &e);
}

static void drop(struct tool_parser *p, size_t n) {
    if (!n) return;
    memmove(p->held.p, p->held.p + n, p->held.n - n);
    p->held.n -= n;
    p->at = p->at > n ? p->at - n : 0;
    p->held.p[p->held.n] = 0;
}

static void let_out(struct tool_parser *p, size_t n) {
    if (!n) return;
    send(p, TOOL_CONTENT, (struct str){p->held.p, n}, false);
    drop(p, n);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* the first byte from `from` on that is no white space; held.n when there is none */
static size_t skip_space(const struct tool_parser *p, size_t from) {
    while (from < p->held.n && is_space(p->held.p[from])) from++;
    return from;
}

static void forget_name(struct tool_parser *p) {
    mem_free((char *)p->bare.p);
    p->bare = (struct str){0};
}

/* What was held is no call. */
static void no_call(struct tool_parser *p) {
    p->at = 0;
    p->in_list = false;
    forget_name(p);
    if (forms[p->o.form].open) {
        p->state = PLAIN;
        let_out(p, p->opened);
    } else {
        p->state = OVER;
        let_out(p, p->held.n);
    }
    p->opened = 0;
}

/* --- one object ----------------------------------------------------------------------------------
 */

static size_t space(struct str s, size_t at) {
    while (at < s.n && is_space(s.p[at])) at++;
    return at;
}

/* The end of the value that begins at `at`; s.n when it does not end there. */
static size_t value_end(struct str s, size_t at) {
    struct json_scan scan;
    json_scan_init(&scan);
    for (; at < s.n && !json_scan_done(&scan); at++)
        if (!json_scan_byte(&scan, (unsigned char)s.p[at])) break; /* a number has ended */
    return at;
}

/* One member of an object whose text is s, from *at on (behind `{` or `,`). False at the end, and
 * when s ends inside the member (then *key.n or *value.n is 0). */
static bool next_member(struct str s, size_t *at, struct str *key, struct str *value) {
    *key = *value = (struct str){s.p, 0};
    size_t from = space(s, *at);
    if (from >= s.n || s.p[from] != '"') return false;
    size_t to = value_end(s, from);
    *key = (struct str){s.p + from, to - from};
    from = space(s, to);
    if (from >= s.n || s.p[from] != ':') return false;
    from = space(s, from + 1);
    to = value_end(s, from);
    *value = (struct str){s.p + from, to - from};
    while (value->n && is_space(value->p[value->n - 1])) value->n--;
    *at = space(s, to);
    if (*at < s.n && s.p[*at] == ',') ++*at;
    return from < s.n;
}

static bool is_arguments(struct str key) {
    return str_is(key, "\"arguments\"") || str_is(key, "\"parameters\"");
}

static json_t *read_value(struct str text) {
    struct err err;
    json_t *v = NULL;
    return json_read(text, "call", &v, &err) ? NULL : v;
}

static bool known_name(const struct tool_parser *p, struct str name) {
    if (!name.n || name.n > NAME_MAX_BYTES) return false;
    for (size_t i = 0; p->names && i < p->o.name_count; i++)
        if (str_eq(p->names[i], name)) return true;
    return !p->names;
}

static void begin_object(struct tool_parser *p, size_t start) {
    json_scan_init(&p->scan);
    json_scan_init(&p->arguments);
    p->state = OBJECT;
    p->mode = p->o.eager ? HEAD : WHOLE;
    p->start = p->at = start;
}

static void report(struct tool_parser *p, struct str name, struct str arguments) {
    send(p, TOOL_BEGIN, name, false);
    send(p, TOOL_ARGUMENTS, arguments, false);
    send(p, TOOL_END, STR_LIT(""), false);
    p->calls++;
}

/* Some models write the arguments as a string that holds the JSON. */
static bool report_text(struct tool_parser *p, struct str name, const json_t *text) {
    json_t *inner = read_value(json_str(text));
    bool ok = json_is_object(inner);
    if (ok) report(p, name, json_str(text));
    json_decref(inner);
    return ok;
}

/* The complete object held[start, end) as a call; false when it is none. */
static bool take_call(struct tool_parser *p, size_t end) {
    struct str text = {p->held.p + p->start, end - p->start}, key, value, raw = STR_LIT("{}");
    json_t *object = read_value(text);
    if (!json_is_object(object)) return json_decref(object), false;
    if (p->bare.p) {
        report(p, p->bare, text);
        json_decref(object);
        return true;
    }
    const json_t *name = json_object_get(object, "name"), *arguments = NULL;
    for (size_t at = 1; next_member(text, &at, &key, &value);) {
        if (!is_arguments(key)) continue;
        raw = value;
        arguments = json_object_get(object, key.p[1] == 'a' ? "arguments" : "parameters");
    }
    bool ok = json_is_string(name) && known_name(p, json_str(name));
    if (ok && json_is_string(arguments))
        ok = report_text(p, json_str(name), arguments);
    else if (ok && json_is_object(arguments))
        report(p, json_str(name), raw);
    else if (ok && forms[p->o.form].open && (!arguments || json_is_null(arguments)))
        report(p, json_str(name), STR_LIT("{}"));
    else
        ok = false;
    json_decref(object);
    return ok;
}

/* Eager: may the call be reported? Only when the name comes first and the arguments next. */
static void look_at_head(struct tool_parser *p) {
    struct str text = {p->held.p + p->start, p->at - p->start}, key, value;
    size_t at = 1, arguments = 0;
    if (p->bare.p) {
        send(p, TOOL_BEGIN, p->bare, false);
        p->mode = PIECES;
        p->sent = p->start;
        return;
    }
    bool named = text.n && next_member(text, &at, &key, &value) && str_is(key, "\"name\"");
    if (!named || at >= text.n) {
        if (p->at - p->start > 4 * NAME_MAX_BYTES) p->mode = WHOLE;
        return;
    }
    json_t *name = read_value(value);
    struct str of = name ? json_str(name) : STR_LIT("");
    if (!json_is_string(name) || !known_name(p, of)) {
        p->mode = WHOLE;
    } else {
        next_member(text, &at, &key, &value);
        arguments = value.n && is_arguments(key) ? (size_t)(value.p - p->held.p) : 0;
        if (value.n) p->mode = arguments && value.p[0] == '{' ? PIECES : WHOLE;
    }
    if (p->mode == PIECES) {
        send(p, TOOL_BEGIN, of, false);
        p->sent = arguments;
    }
    json_decref(name);
}

/* Eager: reports arguments up to the last byte that was read; false when they break. */
static bool send_pieces(struct tool_parser *p) {
    size_t to = p->sent;
    bool ok = true;
    while (to < p->at && !json_scan_done(&p->arguments) &&
           (ok = json_scan_byte(&p->arguments, (unsigned char)p->held.p[to])))
        to++;
    send(p, TOOL_ARGUMENTS, (struct str){p->held.p + p->sent, to - p->sent}, false);
    p->sent = to;
    if (json_scan_done(&p->arguments)) p->mode = PIECES_DONE;
    return ok;
}

/* Eager: the call cannot be taken back. What follows byte `at` of held is content. */
static void cut_call(struct tool_parser *p) {
    struct buf rest;
    bool cut = p->mode == PIECES;
    buf_init(&rest, 1 << 16);
    if (cut) {
        json_scan_close(&p->arguments, &rest);
        send(p, TOOL_ARGUMENTS, buf_view(&rest), false);
    }
    buf_release(&rest);
    send(p, TOOL_END, STR_LIT(""), cut);
    p->calls++;
    forget_name(p);
    drop(p, p->sent);
    p->at = p->opened = 0;
    p->mode = WHOLE;
    p->state = forms[p->o.form].open ? PLAIN : OVER;
}

/* --- states --------------------------------------------------------------------------------------
 */

/* Reads bytes of the object; true when the state changed. */
static bool read_object(struct tool_parser *p) {
    bool ok = true;
    while (p->at < p->held.n && ok && !json_scan_done(&p->scan)) {
        ok = json_scan_byte(&p->scan, (unsigned char)p->held.p[p->at]);
        if (ok) p->at++;
    }
    if (p->mode == HEAD && p->at > p->start) look_at_head(p);
    if (p->mode == PIECES) ok &= send_pieces(p);
    bool late = p->mode == PIECES || p->mode == PIECES_DONE;
    if (!ok || (p->held.n > HELD_MAX && !json_scan_done(&p->scan))) {
        if (late)
            cut_call(p);
        else
            no_call(p);
        return true;
    }
    if (!json_scan_done(&p->scan)) return false;
    if (late) {
        send(p, TOOL_END, STR_LIT(""), false);
        p->calls++;
    } else if (!take_call(p, p->at)) {
        no_call(p);
        return true;
    }
    forget_name(p);
    drop(p, p->at);
    p->at = p->opened = 0;
    p->state = BETWEEN;
    return true;
}

/* Behind [TOOL_CALLS]: name[ARGS]{ or name[CALL_ID]id[ARGS]{ or name{. 1: read, 0: more text is
 * needed, -1: it is none. */
static int read_bare_name(struct tool_parser *p, size_t from) {
    struct str s = str_from(buf_view(&p->held), from);
    size_t n = 0;
    while (n < s.n && s.p[n] != '[' && s.p[n] != '{' && !is_space(s.p[n])) n++;
    if (n > NAME_MAX_BYTES) return -1;
    size_t object = n;
    while (object < s.n && s.p[object] != '{' && object < n + 80) object++;
    if (object >= n + 80) return -1;
    if (n == s.n || object == s.n) return 0;
    struct str between = {s.p + n, object - n};
    while (between.n && is_space(between.p[between.n - 1])) between.n--;
    bool marked = !between.n || str_ends(between, STR_LIT("[ARGS]"));
    if (!marked || !known_name(p, (struct str){s.p, n})) return -1;
    p->bare = (struct str){mem_strndup(s.p, n), n};
    begin_object(p, from + object);
    return 1;
}

/* Behind an opening: the first byte decides. True when the state changed. */
static bool read_opened(struct tool_parser *p) {
    const struct form *f = &forms[p->o.form];
    size_t from = skip_space(p, p->opened);
    struct str rest = str_from(buf_view(&p->held), from);
    if (!f->open && p->o.form == TOOL_LLAMA3 && rest.n && rest.p[0] == '<') {
        struct str tag = str_of(python_tag);
        if (rest.n < tag.n && str_starts(tag, rest)) return false;
        if (str_starts(rest, tag)) {
            from = skip_space(p, from + tag.n);
            rest = str_from(buf_view(&p->held), from);
        }
    }
    if (!rest.n) return false;
    if (rest.p[0] == '{') return begin_object(p, from), true;
    if (rest.p[0] == '[' && f->list && !p->in_list) {
        p->in_list = true;
        from = skip_space(p, from + 1);
        if (from == p->held.n) return p->in_list = false;
        if (p->held.p[from] == '{') return begin_object(p, from), true;
    } else if (f->open && f->list) {
        int found = read_bare_name(p, from);
        if (found >= 0) return found;
    }
    no_call(p);
    return true;
}

/* how many bytes at the end of s begin `word` without ending it */
static size_t partial(struct str s, struct str word) {
    size_t n = s.n < word.n ? s.n : word.n - 1;
    while (n && !str_starts(word, str_from(s, s.n - n))) n--;
    return n;
}

static bool read_plain(struct tool_parser *p) {
    struct str open = str_of(forms[p->o.form].open), held = buf_view(&p->held);
    const char *found = held.n ? memmem(held.p, held.n, open.p, open.n) : NULL;
    size_t n = found ? (size_t)(found - held.p) : held.n - partial(held, open);
    /* white space before a call belongs to it, not to the text */
    size_t text = n;
    while (text && is_space(held.p[text - 1])) text--;
    let_out(p, text);
    if (!found) return false;
    p->opened = n - text + open.n;
    p->at = 0;
    p->state = OPENED;
    return true;
}

/* More text is needed to tell; true when the state changed. */
static bool read_between(struct tool_parser *p) {
    const struct form *f = &forms[p->o.form];
    size_t from = skip_space(p, 0);
    struct str rest = str_from(buf_view(&p->held), from);
    if (!rest.n) return false;
    if (f->close) {
        struct str close = str_of(f->close);
        if (rest.n < close.n && str_starts(close, rest)) return false;
        if (str_starts(rest, close)) drop(p, from + close.n);
        p->state = PLAIN;
        return true;
    }
    if (p->in_list && (rest.p[0] == ',' || rest.p[0] == ']')) {
        bool more = rest.p[0] == ',';
        size_t next = skip_space(p, from + 1);
        if (more && next == p->held.n) return false;
        if (more && p->held.p[next] == '{') return begin_object(p, next), true;
        if (!more) drop(p, from + 1);
        p->in_list = false;
        p->state = f->open ? PLAIN : OVER;
        return true;
    }
    if (!f->open && !p->in_list) { /* {..}; {..} */
        size_t next = rest.p[0] == ';' ? skip_space(p, from + 1) : from;
        if (next == p->held.n) return false;
        if (p->held.p[next] == '{') return begin_object(p, next), true;
    }
    p->in_list = false;
    p->state = f->open ? PLAIN : OVER;
    return true;
}

static void advance(struct tool_parser *p) {
    for (bool changed = true; changed;) {
        switch (p->state) {
        case PLAIN: changed = read_plain(p); break;
        case OPENED: changed = read_opened(p); break;
        case OBJECT: changed = read_object(p); break;
        case BETWEEN: changed = read_between(p); break;
        case OVER:
            let_out(p, p->held.n);
            changed = false;
            break;
        }
    }
}

void tool_parser_add(struct tool_parser *p, struct str text) {
    while (text.n) { /* in parts, so that what is held stays below its limit */
        size_t n = text.n < HELD_MAX / 2 ? text.n : HELD_MAX / 2;
        buf_add(&p->held, text.p, n);
        text = str_from(text, n);
        advance(p);
    }
}

void tool_parser_end(struct tool_parser *p) {
    if (p->state == OBJECT && (p->mode == PIECES || p->mode == PIECES_DONE)) cut_call(p);
    while (p->state == OPENED || p->state == OBJECT) {
        no_call(p);
        if (p->state == PLAIN) advance(p);
    }
    size_t rest = p->held.n;
    bool after_call = p->state == BETWEEN || (p->calls && skip_space(p, 0) == rest);
    if (!after_call) let_out(p, rest);
    p->held.n = 0;
    p->state = OVER;
}
