/* CSV and TSV (RFC 4180): a column asks, one answers, one may be the system prompt. */
#include "data/source_int.h"

/* where the closing quote is, from behind the opening one; s.n where there is none */
static size_t closing_quote(struct str s, bool *doubled) {
    size_t i = 0;
    *doubled = false;
    for (;;) {
        const char *q = i < s.n ? memchr(s.p + i, '"', s.n - i) : NULL;
        if (!q) return s.n;
        i = (size_t)(q - s.p);
        if (i + 1 >= s.n || s.p[i + 1] != '"') return i;
        *doubled = true;
        i += 2;
    }
}

/* from behind the opening quote; returns what is left behind the closing one */
static struct str quoted_field(struct str s, struct arena *a, struct str *ret,
                               const char **ret_problem) {
    bool doubled;
    size_t end = closing_quote(s, &doubled), n = 0;
    *ret = (struct str){s.p, end};
    if (end == s.n) *ret_problem = "a quote is not closed";
    char *out = doubled ? arena_alloc(a, end) : NULL;
    if (!out) return str_from(s, end + 1);
    for (size_t k = 0; k < end;) {
        out[n++] = s.p[k];
        k += s.p[k] == '"' ? 2 : 1;
    }
    *ret = (struct str){out, n};
    return str_from(s, end + 1);
}

int csv_fields(struct str record, char delim, struct arena *a, struct str fields[CSV_COLUMNS],
               const char **ret_problem) {
    struct str rest = record, field;
    int count = 0;
    *ret_problem = NULL;
    if (rest.n && rest.p[rest.n - 1] == '\r') rest.n--;
    for (;;) {
        if (rest.n && rest.p[0] == '"') {
            rest = quoted_field(str_from(rest, 1), a, &field, ret_problem);
            if (rest.n && rest.p[0] != delim && !*ret_problem)
                *ret_problem = "text behind a closing quote; a quote inside of quotes is doubled";
        } else {
            const char *d = rest.n ? memchr(rest.p, delim, rest.n) : NULL;
            field = (struct str){rest.p, d ? (size_t)(d - rest.p) : rest.n};
            rest = str_from(rest, field.n);
        }
        if (count < CSV_COLUMNS) fields[count] = field;
        count++;
        if (*ret_problem || !rest.n) return count;
        rest = str_from(rest, 1);
    }
}

bool parse_csv(struct parsing *p) {
    const struct columns *c = p->columns;
    struct str fields[CSV_COLUMNS];
    const char *problem;
    int n = csv_fields(p->text, c->delim, p->arena, fields, &problem);
    if (p->text.n && memchr(p->text.p, 0, p->text.n)) problem = "a NUL byte in it; remove it";
    if (problem) return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "%s", problem);
    if (n != c->count)
        return parse_refuse(p, FINDING_INVALID_FORMAT, -1, "%d field%s, where the first row has %d",
                            n, n == 1 ? "" : "s", c->count);
    draft_start(p, NULL);
    if (c->answer < 0) {
        draft_message(p, ROLE_ASSISTANT, fields[c->prompt]);
        return draft_finish(p, ROW_TEXT);
    }
    if (c->system >= 0 && fields[c->system].n) draft_message(p, ROLE_SYSTEM, fields[c->system]);
    draft_message(p, ROLE_USER, fields[c->prompt]);
    draft_message(p, ROLE_ASSISTANT, fields[c->answer]);
    return draft_finish(p, ROW_CHAT);
}
