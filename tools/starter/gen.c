/* Text from a grammar, for training the starter model and for its demo:
 *
 *     starter-gen RULE ROWS SEED text|chat GRAMMAR... > rows.jsonl
 *
 * A grammar file holds rules; a rule holds entries, one a line, chosen at random:
 *
 *     == animal (one; many; home)        a rule with fields: entries are literal, split at ";"
 *     fox; foxes; den
 *     == sentence                        a rule without: entries are templates
 *     *3 The {animal} sleeps.            three times as likely as an entry without a weight
 *     {^A=animal.many} live in a {A.home}. A(n) {A} is [small|quick].
 *
 * {rule} expands a rule; {X=rule} also binds it to X for the rest of the row; {!X=rule} binds
 * without writing; {X} and {X.field} write a bound one; ^ begins with a capital; {#X+Y} and {#X-Y}
 * count with the positions of two bound entries; {~} makes up a word. Entries bound from one rule
 * differ within a row. [a|b] is a choice, a(n) looks at the next letter, \n is a new line. " => "
 * separates the turns of a chat (user first; "(system)" may open it).
 *
 * "chat" writes {"messages":[...]}, each row once only; "text" writes {"text":...} with a chat in
 * ChatML and without its last <|im_end|>, which training adds as the end of every text. The same
 * arguments give the same bytes everywhere.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>

#define FIELDS_MAX 8
#define BOUND_MAX 64
#define DEPTH_MAX 24

struct entry {
    struct str field[FIELDS_MAX]; /* a template is field[0] */
    int weight;
};

struct rule {
    struct str name;
    struct str field[FIELDS_MAX];
    int fields; /* 0: entries are templates */
    struct entry *entries;
    size_t count, cap;
    int weight; /* of all entries */
};

struct grammar {
    struct rule *rules;
    size_t count, cap;
};

/* what {X=...} left behind; valid within a row */
struct bound {
    struct str name;
    const struct rule *rule;
    const struct entry *entry; /* of a rule with fields */
    struct buf text;           /* of one without */
};

struct row {
    const struct grammar *grammar;
    struct rng rng;
    struct bound bound[BOUND_MAX];
    int count;
};

static void die(const char *what, struct str value) {
    fprintf(stderr, "starter-gen: %s: %.*s\n", what, STR_ARG(value));
    exit(1);
}

static struct str trim(struct str s) {
    while (s.n && s.p[0] == ' ') s = str_from(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\r')) s.n--;
    return s;
}

/* the part of *rest before `sep`, which is dropped */
static struct str cut(struct str *rest, char sep) {
    const char *at = memchr(rest->p, sep, rest->n);
    struct str head = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
    *rest = str_from(*rest, head.n + (at ? 1 : 0));
    return head;
}

/* --- the grammar ------------------------------------------------------------------------------ */

static struct rule *rule_find(const struct grammar *g, struct str name) {
    for (size_t i = 0; i < g->count; i++)
        if (str_eq(g->rules[i].name, name)) return &g->rules[i];
    return NULL;
}

static struct rule *rule_add(struct grammar *g, struct str line) {
    struct str rest = str_from(line, 2);
    struct str name = trim(cut(&rest, '('));
    struct rule *r = rule_find(g, name);
    if (r) return r; /* a rule may go on in another file */
    mem_grow((void **)&g->rules, &g->cap, g->count + 1, sizeof *g->rules);
    r = &g->rules[g->count++];
    *r = (struct rule){.name = name};
    struct str fields = cut(&rest, ')');
    while (fields.n && r->fields < FIELDS_MAX) r->field[r->fields++] = trim(cut(&fields, ';'));
    return r;
}

static void entry_add(struct rule *r, struct str line) {
    struct entry e = {.weight = 1};
    if (line.p[0] == '*') {
        struct str number = cut(&line, ' ');
        e.weight = (int)strtol(number.p + 1, NULL, 10);
    }
    if (r->fields == 0) e.field[0] = trim(line);
    for (int i = 0; i < r->fields; i++) e.field[i] = trim(cut(&line, ';'));
    mem_grow((void **)&r->entries, &r->cap, r->count + 1, sizeof *r->entries);
    r->entries[r->count++] = e;
    r->weight += e.weight;
}

/* text must outlive the grammar */
static void grammar_add(struct grammar *g, struct str text) {
    struct rule *r = NULL;
    while (text.n) {
        struct str line = trim(cut(&text, '\n'));
        if (line.n == 0 || line.p[0] == '#') continue;
        if (str_starts(line, STR_LIT("==")))
            r = rule_add(g, line);
        else if (!r)
            die("entry before the first rule", line);
        else
            entry_add(r, line);
    }
}

/* --- expansion -------------------------------------------------------------------------------- */

static void expand(struct row *row, struct str text, struct buf *out, int depth);

static struct bound *bound_find(struct row *row, struct str name) {
    for (int i = 0; i < row->count; i++)
        if (str_eq(row->bound[i].name, name)) return &row->bound[i];
    return NULL;
}

static bool entry_is_bound(const struct row *row, const struct entry *e) {
    for (int i = 0; i < row->count; i++)
        if (row->bound[i].entry == e) return true;
    return false;
}

static const struct entry *entry_choose(struct row *row, const struct rule *r) {
    const struct entry *e = NULL;
    if (r->weight <= 0) die("rule without entries", r->name);
    for (int tries = 0; tries < 40; tries++) {
        int at = (int)rng_below(&row->rng, (uint64_t)r->weight);
        for (e = r->entries; at >= e->weight; e++) at -= e->weight;
        if (r->fields == 0 || !entry_is_bound(row, e)) break;
    }
    return e;
}

static struct str field_get(const struct rule *r, const struct entry *e, struct str field) {
    if (field.n == 0) return e->field[0];
    for (int i = 0; i < r->fields; i++)
        if (str_eq(r->field[i], field)) return e->field[i];
    die("no such field", field);
    return field;
}

static void word_make_up(struct row *row, struct buf *out) {
    static const char *const onset[] = {"b", "d", "f", "g", "k",  "l",  "m",  "n",  "p",  "r",
                                        "s", "t", "v", "z", "br", "dr", "kl", "st", "tr", "sh"};
    static const char *const vowel[] = {"a", "e", "i", "o", "u", "ai", "ee", "oo"};
    static const char *const coda[] = {"", "", "n", "r", "l", "s", "m", "x", "k"};
    uint64_t syllables = 2 + rng_below(&row->rng, 2);
    for (uint64_t i = 0; i < syllables; i++) {
        buf_z(out, onset[rng_below(&row->rng, sizeof onset / sizeof *onset)]);
        buf_z(out, vowel[rng_below(&row->rng, sizeof vowel / sizeof *vowel)]);
    }
    buf_z(out, coda[rng_below(&row->rng, sizeof coda / sizeof *coda)]);
}

static int64_t position(struct row *row, struct str name) {
    struct bound *b = bound_find(row, name);
    if (!b || !b->entry) die("not a bound entry", name);
    return b->entry - b->rule->entries;
}

static void count_out(struct row *row, struct str sum, struct buf *out) {
    bool minus = memchr(sum.p, '-', sum.n) != NULL;
    struct str rest = sum, first = cut(&rest, minus ? '-' : '+');
    int64_t a = position(row, first), b = position(row, rest);
    buf_printf(out, "%lld", (long long)(minus ? a - b : a + b));
}

static void bind(struct row *row, struct str name, struct str source, struct buf *out, int depth) {
    struct str field = source, rule_name = cut(&field, '.');
    if (row->count == BOUND_MAX) die("too many bound names", name);
    struct bound b = {.name = name};
    buf_init(&b.text, 1 << 16);
    if (str_is(rule_name, "~")) {
        word_make_up(row, &b.text);
    } else {
        b.rule = rule_find(row->grammar, rule_name);
        if (!b.rule) die("no such rule", rule_name);
        const struct entry *e = entry_choose(row, b.rule);
        if (b.rule->fields)
            b.entry = e;
        else
            expand(row, e->field[0], &b.text, depth + 1);
    }
    buf_str(out, b.entry ? field_get(b.rule, b.entry, field) : buf_view(&b.text));
    struct bound *old = bound_find(row, name);
    if (old) {
        buf_release(&old->text);
        *old = b;
    } else {
        row->bound[row->count++] = b;
    }
}

/* what stands between { and } */
static void slot(struct row *row, struct str s, struct buf *out, int depth) {
    bool silent = s.n && s.p[0] == '!', capital = s.n && s.p[0] == '^';
    if (silent || capital) s = str_from(s, 1);
    struct buf one;
    buf_init(&one, 1 << 16);
    struct str rest = s, name = cut(&rest, '=');
    if (name.n < s.n) {
        bind(row, name, rest, &one, depth);
    } else if (str_is(s, "~")) {
        word_make_up(row, &one);
    } else if (s.p[0] == '#') {
        count_out(row, str_from(s, 1), &one);
    } else {
        struct str field = s, head = cut(&field, '.');
        const struct bound *b = bound_find(row, head);
        const struct rule *r = rule_find(row->grammar, head);
        if (b) {
            buf_str(&one, b->entry ? field_get(b->rule, b->entry, field) : buf_view(&b->text));
        } else if (r) {
            const struct entry *e = entry_choose(row, r);
            if (r->fields)
                buf_str(&one, field_get(r, e, field));
            else
                expand(row, e->field[0], &one, depth + 1);
        } else {
            die("neither a rule nor bound", head);
        }
    }
    if (capital && one.n && one.p[0] >= 'a' && one.p[0] <= 'z') one.p[0] = (char)(one.p[0] - 32);
    if (!silent) buf_str(out, buf_view(&one));
    buf_release(&one);
}

/* the length of the bracketed part that begins at s, brackets included */
static size_t matching(struct str s, char open, char close) {
    int level = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == open) level++;
        if (s.p[i] == close && --level == 0) return i + 1;
    }
    die("bracket never closed", s);
    return 0;
}

/* one of the parts of "a|b|c"; a part may hold brackets of its own */
static struct str choice(struct row *row, struct str s) {
    size_t start[64] = {0}, end[64], n = 0;
    int level = 0;
    for (size_t i = 0; i <= s.n && n < 63; i++) {
        if (i < s.n && s.p[i] == '[') level++;
        if (i < s.n && s.p[i] == ']') level--;
        if (i == s.n || (s.p[i] == '|' && level == 0)) {
            end[n++] = i;
            start[n] = i + 1;
        }
    }
    size_t k = (size_t)rng_below(&row->rng, n);
    return (struct str){s.p + start[k], end[k] - start[k]};
}

static void expand(struct row *row, struct str s, struct buf *out, int depth) {
    if (depth > DEPTH_MAX) die("rules too deep", s);
    while (s.n) {
        if (s.p[0] == '{') {
            size_t n = matching(s, '{', '}');
            slot(row, (struct str){s.p + 1, n - 2}, out, depth);
            s = str_from(s, n);
        } else if (s.p[0] == '[') {
            size_t n = matching(s, '[', ']');
            expand(row, choice(row, (struct str){s.p + 1, n - 2}), out, depth + 1);
            s = str_from(s, n);
        } else if (s.p[0] == '\\' && s.n > 1) { /* \n, or the next character as it is */
            buf_byte(out, s.p[1] == 'n' ? '\n' : s.p[1]);
            s = str_from(s, 2);
        } else {
            buf_byte(out, s.p[0]);
            s = str_from(s, 1);
        }
    }
}

/* a(n) becomes a or an */
static void articles(struct str s, struct buf *out) {
    for (size_t i = 0; i < s.n; i++) {
        buf_byte(out, s.p[i]);
        if (i + 5 >= s.n || (s.p[i] != 'a' && s.p[i] != 'A')) continue;
        if (memcmp(s.p + i + 1, "(n) ", 4) != 0) continue;
        if (strchr("aeiouAEIOU", s.p[i + 5])) buf_byte(out, 'n');
        i += 3;
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static struct str turn_next(struct str *rest) {
    for (size_t i = 0; i + 4 <= rest->n; i++) {
        if (memcmp(rest->p + i, " => ", 4) != 0) continue;
        struct str turn = {rest->p, i};
        *rest = str_from(*rest, i + 4);
        return turn;
    }
    struct str turn = *rest;
    *rest = str_from(*rest, rest->n);
    return turn;
}

static void chat_out(struct str s, bool messages, struct buf *out) {
    bool user = true;
    for (int n = 0; s.n; n++) {
        struct str turn = turn_next(&s);
        bool system = n == 0 && str_starts(turn, STR_LIT("(system) "));
        if (system) turn = str_from(turn, 9);
        const char *role = system ? "system" : user ? "user" : "assistant";
        if (messages) {
            buf_printf(out, "%s{\"role\":\"%s\",\"content\":", n ? "," : "", role);
            json_write_str(out, turn);
            buf_byte(out, '}');
        } else {
            buf_printf(out, "<|im_start|>%s\n%.*s", role, STR_ARG(turn));
            if (s.n) buf_z(out, "<|im_end|>\n");
        }
        if (!system) user = !user;
    }
}

static void row_out(struct str text, bool messages, struct buf *line) {
    struct str rest = text;
    turn_next(&rest);
    bool chat = rest.n > 0;
    if (messages && !chat) die("not a chat", text);
    if (messages) {
        buf_z(line, "{\"messages\":[");
        chat_out(text, true, line);
        buf_z(line, "]}\n");
        return;
    }
    struct buf plain;
    buf_init(&plain, 1 << 20);
    if (chat)
        chat_out(text, false, &plain);
    else
        buf_str(&plain, text);
    buf_z(line, "{\"text\":");
    json_write_str(line, buf_view(&plain));
    buf_z(line, "}\n");
    buf_release(&plain);
}

static void row_text(const struct grammar *g, const struct rule *top, uint64_t seed, int64_t number,
                     struct buf *text) {
    struct row row = {.grammar = g};
    rng_init_stream(&row.rng, seed, (uint64_t)number);
    struct buf raw;
    buf_init(&raw, 1 << 20);
    expand(&row, entry_choose(&row, top)->field[0], &raw, 0);
    articles(buf_view(&raw), text);
    for (int i = 0; i < row.count; i++) buf_release(&row.bound[i].text);
    buf_release(&raw);
}

/* whether this text was seen before; remembers it */
static bool seen(struct str text, uint64_t **hashes, size_t *count, size_t *cap) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < text.n; i++) h = (h ^ (unsigned char)text.p[i]) * 1099511628211u;
    for (size_t i = 0; i < *count; i++)
        if ((*hashes)[i] == h) return true;
    mem_grow((void **)hashes, cap, *count + 1, sizeof **hashes);
    (*hashes)[(*count)++] = h;
    return false;
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: starter-gen RULE ROWS SEED text|chat GRAMMAR...\n");
        return 2;
    }
    struct grammar g = {0};
    struct err err;
    for (int i = 5; i < argc; i++) {
        struct buf b;
        buf_init(&b, 1 << 24);
        if (file_read(argv[i], &b, &err)) die(err.msg, str_of(argv[i]));
        grammar_add(&g, (struct str){b.p, b.n}); /* kept to the end */
    }
    const struct rule *top = rule_find(&g, str_of(argv[1]));
    if (!top) die("no such rule", str_of(argv[1]));
    int64_t rows = strtoll(argv[2], NULL, 10);
    uint64_t seed = strtoull(argv[3], NULL, 10), *hashes = NULL;
    bool messages = strcmp(argv[4], "chat") == 0;
    size_t count = 0, cap = 0;
    struct buf text, line;
    buf_init(&text, 1 << 20);
    buf_init(&line, 1 << 20);
    for (int64_t written = 0, n = 0; written < rows; n++) {
        if (n > 100 * rows) die("too few different rows", str_of(argv[1]));
        buf_clear(&text);
        buf_clear(&line);
        row_text(&g, top, seed, n, &text);
        if (messages && seen(buf_view(&text), &hashes, &count, &cap)) continue;
        row_out(buf_view(&text), messages, &line);
        fwrite(line.p, 1, line.n, stdout);
        written++;
    }
    return fflush(stdout) != 0;
}
