/* Template source to tokens, as jinja2's lexer splits it with trim_blocks and lstrip_blocks: text
 * between tags is one token with its white space already cut; comments and raw tags are gone. */
#include "text/template_parse.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>

#define BRACKETS_MAX 256

struct lexer {
    struct arena *arena;
    const char *where;
    struct err *err;
    struct str src;
    size_t at;
    int line;
    bool line_starting; /* the last piece ended with a newline */
    char brackets[BRACKETS_MAX];
    int open;
    struct token_run *out;
    bool failed;
};

static const struct {
    const char *text;
    enum op op;
} operators[] = {
    {"//", OP_FLOORDIV}, {"**", OP_POW},      {"==", OP_EQ},    {"!=", OP_NE},
    {">=", OP_GE},       {"<=", OP_LE},       {"+", OP_ADD},    {"-", OP_SUB},
    {"/", OP_DIV},       {"*", OP_MUL},       {"%", OP_MOD},    {"~", OP_TILDE},
    {"[", OP_LBRACKET},  {"]", OP_RBRACKET},  {"(", OP_LPAREN}, {")", OP_RPAREN},
    {"{", OP_LBRACE},    {"}", OP_RBRACE},    {">", OP_GT},     {"<", OP_LT},
    {"=", OP_ASSIGN},    {".", OP_DOT},       {":", OP_COLON},  {"|", OP_PIPE},
    {",", OP_COMMA},     {";", OP_SEMICOLON}, {"in", OP_IN},    {"not in", OP_NOTIN},
};
#define OPERATOR_COUNT (sizeof operators / sizeof *operators - 2) /* the last two are words */

const char *op_text(enum op op) {
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].op == op) return operators[i].text;
    return "?";
}

static void fail(struct lexer *x, const char *fmt, const char *arg) {
    if (x->failed) return;
    char text[200];
    snprintf(text, sizeof text, fmt, arg); /* NOLINT: the formats are ours */
    err_set(x->err, ERR_INVALID, "%s: line %d: %s", x->where, x->line, text);
    x->failed = true;
}

static struct token *add(struct lexer *x, enum token_type type, struct str text) {
    struct token_run *o = x->out;
    mem_grow((void **)&o->v, &o->cap, o->n + 1, sizeof *o->v);
    o->v[o->n] = (struct token){.type = type, .line = x->line, .text = text};
    return &o->v[o->n++];
}

static bool at_text(const struct lexer *x, const char *z) {
    return str_starts(str_from(x->src, x->at), str_of(z));
}

/* Length of the white space code point at `at`, 0 for anything else. */
static size_t space_at(const struct lexer *x, size_t at) {
    unsigned cp;
    size_t n = utf8_get(str_from(x->src, at), &cp);
    return n && cp_is_space(cp) ? n : 0;
}

static void advance(struct lexer *x, size_t to) {
    for (size_t i = x->at; i < to; i++) x->line += x->src.p[i] == '\n';
    if (to > x->at) x->line_starting = x->src.p[to - 1] == '\n';
    x->at = to;
}

static void skip_spaces(struct lexer *x) {
    size_t to = x->at, n;
    while ((n = space_at(x, to)) > 0) to += n;
    advance(x, to);
}

/* --- text between tags
 * ---------------------------------------------------------------------------- */

static size_t find_tag(const struct lexer *x) {
    for (size_t i = x->at; i + 1 < x->src.n; i++)
        if (x->src.p[i] == '{' && strchr("%{#", x->src.p[i + 1]) && x->src.p[i + 1]) return i;
    return x->src.n;
}

static struct str strip_right(struct str s) { return str_strip(s, false, true).u.s; }

/* Cut the blanks between the last newline and a block or comment tag, when nothing else is there.
 */
static struct str strip_line(struct str s, bool line_starting) {
    size_t start = s.n;
    while (start > 0 && s.p[start - 1] != '\n') start--;
    if (start == 0 && !line_starting) return s;
    struct str tail = str_from(s, start);
    return str_strip(tail, true, false).u.s.n == 0 ? (struct str){s.p, start} : s;
}

static struct str cut_before_tag(const struct lexer *x, struct str s, char sign, bool variable) {
    if (sign == '-') return strip_right(s);
    if (sign != '+' && !variable) return strip_line(s, x->line_starting);
    return s;
}

/* After a closing sign: "-%}" eats white space, "%}" one newline, "+%}" nothing. */
static void close_tag(struct lexer *x, size_t end, char sign, bool trim) {
    advance(x, end);
    if (sign == '-')
        skip_spaces(x);
    else if (sign != '+' && trim && at_text(x, "\n"))
        advance(x, x->at + 1);
}

static void lex_comment(struct lexer *x, size_t start) {
    for (size_t i = start; i + 1 < x->src.n; i++) {
        if (x->src.p[i] != '#' || x->src.p[i + 1] != '}') continue;
        char sign = i > start ? x->src.p[i - 1] : ' ';
        close_tag(x, i + 2, sign, true);
        return;
    }
    fail(x, "%s", "Missing end of comment tag");
}

/* Matches {%[-+]? word [-+]?%} at `at`; returns its end and the signs, or 0. */
static size_t match_word_tag(const struct lexer *x, size_t at, const char *word, char *ret_open,
                             char *ret_close) {
    size_t i = at + 2, n, w = strlen(word);
    *ret_open = ' ';
    if (i < x->src.n && (x->src.p[i] == '-' || x->src.p[i] == '+')) *ret_open = x->src.p[i++];
    while ((n = space_at(x, i)) > 0) i += n;
    if (!str_starts(str_from(x->src, i), str_of(word))) return 0;
    i += w;
    while ((n = space_at(x, i)) > 0) i += n;
    *ret_close = ' ';
    if (i < x->src.n && (x->src.p[i] == '-' || x->src.p[i] == '+')) *ret_close = x->src.p[i++];
    return str_starts(str_from(x->src, i), STR_LIT("%}")) ? i + 2 : 0;
}

static void lex_raw(struct lexer *x, size_t end, char sign) {
    close_tag(x, end, sign, false);
    for (size_t i = x->at; i + 1 < x->src.n; i++) {
        char open, close;
        if (x->src.p[i] != '{' || x->src.p[i + 1] != '%') continue;
        size_t stop = match_word_tag(x, i, "endraw", &open, &close);
        if (!stop) continue;
        struct str text = {x->src.p + x->at, i - x->at};
        text = cut_before_tag(x, text, open, false);
        if (text.n) add(x, T_DATA, text);
        close_tag(x, stop, close, true);
        return;
    }
    fail(x, "%s", "Missing end of raw directive");
}

/* --- inside tags
 * ---------------------------------------------------------------------------------- */

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

/* \xhh \uhhhh \Uhhhhhhhh and octal: up to `max` digits (exactly, unless octal). */
static size_t escape_number(struct lexer *x, struct str s, int base, size_t max, unsigned *ret) {
    unsigned v = 0;
    size_t n = 0;
    while (n < max && n < s.n && digit_of(s.p[n]) < base && v < 0x110000)
        v = v * (unsigned)base + (unsigned)digit_of(s.p[n++]);
    if ((base == 16 && n < max) || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF))
        fail(x, "%s", "bad \\x, \\u or \\U escape in a string");
    else
        *ret = v;
    return n;
}

/* One escape sequence after its backslash; returns the bytes used. */
static size_t unescape_one(struct lexer *x, struct str s, struct buf *b) {
    static const char plain[] = "n\nt\tr\r\\\\''\"\"a\ab\bf\fv\v";
    for (const char *p = plain; *p; p += 2) {
        if (*p != s.p[0]) continue;
        buf_byte(b, p[1]);
        return 1;
    }
    if (s.p[0] == '\n') return 1;
    unsigned cp = 0;
    size_t used = 0;
    if (s.p[0] == 'x')
        used = 1 + escape_number(x, str_from(s, 1), 16, 2, &cp);
    else if (s.p[0] == 'u')
        used = 1 + escape_number(x, str_from(s, 1), 16, 4, &cp);
    else if (s.p[0] == 'U')
        used = 1 + escape_number(x, str_from(s, 1), 16, 8, &cp);
    else if (digit_of(s.p[0]) < 8)
        used = escape_number(x, s, 8, 3, &cp);
    if (used)
        buf_utf8(b, cp);
    else
        buf_byte(b, '\\'); /* Python keeps an unknown escape as it is */
    return used;
}

static struct str unescape(struct lexer *x, struct str s) {
    if (!s.n || !memchr(s.p, '\\', s.n)) return s;
    struct buf b;
    buf_init(&b, s.n);
    while (s.n && !x->failed) {
        size_t used = 1;
        if (s.p[0] == '\\' && s.n > 1)
            used += unescape_one(x, str_from(s, 1), &b);
        else
            buf_byte(&b, s.p[0]);
        s = str_from(s, used);
    }
    struct str done = arena_str(x->arena, buf_view(&b));
    buf_release(&b);
    return done;
}

static void lex_string(struct lexer *x) {
    char quote = x->src.p[x->at];
    for (size_t i = x->at + 1; i < x->src.n; i++) {
        if (x->src.p[i] == '\\')
            i++;
        else if (x->src.p[i] == quote) {
            struct str raw = {x->src.p + x->at + 1, i - x->at - 1};
            add(x, T_STRING, unescape(x, raw));
            advance(x, i + 1);
            return;
        }
    }
    fail(x, "unexpected char %s: the string does not end", quote == '"' ? "'\"'" : "\"'\"");
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static size_t digits_end(const struct lexer *x, size_t i) {
    while (i < x->src.n && (is_digit(x->src.p[i]) ||
                            (x->src.p[i] == '_' && i + 1 < x->src.n && is_digit(x->src.p[i + 1]))))
        i++;
    return i;
}

static bool digit_at(const struct lexer *x, size_t i) {
    return i < x->src.n && is_digit(x->src.p[i]);
}

/* One past a float's exponent at i, or i when there is none. */
static size_t exponent_end(const struct lexer *x, size_t i) {
    size_t e = i;
    if (e >= x->src.n || (x->src.p[e] != 'e' && x->src.p[e] != 'E')) return i;
    e++;
    if (e < x->src.n && (x->src.p[e] == '+' || x->src.p[e] == '-')) e++;
    return digit_at(x, e) ? digits_end(x, e) : i;
}

static void lex_radix(struct lexer *x, int base) {
    size_t i = x->at + 2;
    int64_t v = 0;
    while (i < x->src.n && (digit_of(x->src.p[i]) < base || x->src.p[i] == '_')) {
        if (x->src.p[i] != '_' && (__builtin_mul_overflow(v, base, &v) ||
                                   __builtin_add_overflow(v, digit_of(x->src.p[i]), &v)))
            fail(x, "%s", "a number does not fit in 64 bits");
        i++;
    }
    add(x, T_INT, (struct str){0})->i = v;
    advance(x, i);
}

static void lex_number(struct lexer *x) {
    static const char *const radix[] = {"0b", "0B", "0o", "0O", "0x", "0X"};
    static const int bases[] = {2, 2, 8, 8, 16, 16};
    for (int k = 0; k < 6; k++)
        if (at_text(x, radix[k])) {
            lex_radix(x, bases[k]);
            return;
        }
    size_t end = digits_end(x, x->at), whole = end;
    bool after_dot = x->at > 0 && x->src.p[x->at - 1] == '.'; /* a.0.1 is two subscripts */
    if (!after_dot && end < x->src.n && x->src.p[end] == '.' && digit_at(x, end + 1))
        end = digits_end(x, end + 1);
    if (!after_dot) end = exponent_end(x, end);
    char text[64];
    size_t n = 0;
    for (size_t i = x->at; i < end && n + 1 < sizeof text; i++)
        if (x->src.p[i] != '_') text[n++] = x->src.p[i];
    text[n] = '\0';
    struct token *t = add(x, end > whole ? T_FLOAT : T_INT, (struct str){0});
    if (end > whole)
        t->f = strtod(text, NULL);
    else {
        errno = 0;
        t->i = strtoll(text, NULL, 10);
        if (errno == ERANGE) fail(x, "the number %.40s does not fit in 64 bits", text);
    }
    advance(x, end);
}

static void lex_name(struct lexer *x) {
    size_t end = x->at;
    while (end < x->src.n && is_word(x->src.p[end])) end++;
    add(x, T_NAME, (struct str){x->src.p + x->at, end - x->at});
    advance(x, end);
}

static void balance(struct lexer *x, enum op op) {
    char close = op == OP_LBRACE ? '}' : op == OP_LPAREN ? ')' : op == OP_LBRACKET ? ']' : 0;
    if (close) {
        if (x->open == BRACKETS_MAX)
            fail(x, "%s", "brackets are nested too deeply");
        else
            x->brackets[x->open++] = close;
        return;
    }
    char is = op == OP_RBRACE ? '}' : op == OP_RPAREN ? ')' : op == OP_RBRACKET ? ']' : 0;
    if (!is) return;
    char text[40];
    if (x->open == 0)
        snprintf(text, sizeof text, "'%c'", is);
    else
        snprintf(text, sizeof text, "'%c', expected '%c'", is, x->brackets[x->open - 1]);
    if (x->open == 0 || x->brackets[x->open - 1] != is)
        fail(x, "unexpected %s", text);
    else
        x->open--;
}

static void lex_operator(struct lexer *x) {
    for (size_t i = 0; i < OPERATOR_COUNT; i++) {
        if (!at_text(x, operators[i].text)) continue;
        balance(x, operators[i].op);
        add(x, T_OP, str_of(operators[i].text))->op = operators[i].op;
        advance(x, x->at + strlen(operators[i].text));
        return;
    }
    char c[8];
    snprintf(c, sizeof c, "'%c'", x->src.p[x->at]);
    fail(x, "unexpected char %s", c);
}

/* True, and past it, when the tag ends here. */
static bool tag_end(struct lexer *x, bool block) {
    const char *end = block ? "%}" : "}}";
    if (x->open) return false;
    char sign = ' ';
    size_t i = x->at;
    if (i < x->src.n && (x->src.p[i] == '-' || (block && x->src.p[i] == '+'))) sign = x->src.p[i++];
    if (!str_starts(str_from(x->src, i), str_of(end))) return false;
    add(x, block ? T_BLOCK_END : T_PRINT_END, (struct str){0});
    close_tag(x, i + 2, sign, block);
    return true;
}

static void lex_tag(struct lexer *x, bool block) {
    add(x, block ? T_BLOCK_BEGIN : T_PRINT_BEGIN, (struct str){0});
    x->open = 0;
    while (!x->failed) {
        skip_spaces(x);
        if (x->at >= x->src.n || tag_end(x, block)) return;
        char c = x->src.p[x->at];
        if (c == '\'' || c == '"')
            lex_string(x);
        else if (is_digit(c))
            lex_number(x);
        else if (is_word(c))
            lex_name(x);
        else
            lex_operator(x);
    }
}

static void lex_root(struct lexer *x) {
    size_t tag = find_tag(x);
    struct str text = {x->src.p + x->at, tag - x->at};
    if (tag == x->src.n) {
        if (text.n) add(x, T_DATA, text);
        advance(x, tag);
        return;
    }
    char kind = x->src.p[tag + 1], sign = ' ', open, close;
    size_t after = tag + 2, raw = kind == '%' ? match_word_tag(x, tag, "raw", &open, &close) : 0;
    if (raw && close == '+') raw = 0;
    if (after < x->src.n && (x->src.p[after] == '-' || x->src.p[after] == '+'))
        sign = x->src.p[after++];
    struct str cut = cut_before_tag(x, text, sign, kind == '{');
    if (cut.n) add(x, T_DATA, cut);
    advance(x, raw ? tag : after);
    if (raw)
        lex_raw(x, raw, close);
    else if (kind == '#')
        lex_comment(x, after);
    else
        lex_tag(x, kind == '%');
}

/* \r\n and \r become \n; one newline at the very end is dropped. */
static struct str normalize(struct arena *a, struct str s) {
    char *p = arena_strndup(a, s.p, s.n);
    if (!p) return (struct str){"", 0};
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        p[n] = s.p[i];
        if (s.p[i] == '\r') {
            p[n] = '\n';
            if (i + 1 < s.n && s.p[i + 1] == '\n') i++;
        }
        n++;
    }
    if (n && p[n - 1] == '\n') n--;
    p[n] = '\0';
    return (struct str){p, n};
}

int template_lex(struct arena *a, struct str source, const char *where, struct token_run *ret,
                 struct err *err) {
    struct lexer x = {
        .arena = a, .where = where, .err = err, .line = 1, .line_starting = true, .out = ret};
    x.src = normalize(a, source);
    while (x.at < x.src.n && !x.failed) lex_root(&x);
    if (x.failed) return err->code;
    add(&x, T_EOF, (struct str){0});
    return 0;
}
