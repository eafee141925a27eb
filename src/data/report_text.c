/* The report for a terminal: figures, then problems by kind, most frequent first, then the verdict.
 */
#include "data/report.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS_SHOWN 8
#define TWINS_SHOWN 4

struct page {
    const struct check_report *r;
    struct buf *b;
    const int64_t *counts; /* of what is being written: findings or notes */
    const char *bold, *red, *green, *yellow, *dim, *off;
};

static void number(struct buf *b, int64_t n) {
    char text[32];
    int digits = snprintf(text, sizeof text, "%lld", (long long)n);
    for (int i = 0; i < digits; i++) {
        if (i && (digits - i) % 3 == 0 && text[i - 1] != '-') buf_byte(b, ',');
        buf_byte(b, text[i]);
    }
}

/* What a terminal would take for a command is shown, not obeyed. */
static void plain(struct buf *b, struct str s, bool lines) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\n' && lines)
            buf_z(b, "\n    ");
        else if (c < ' ' || c == 0x7f)
            buf_byte(b, ' ');
        else if (c == 0xC2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xA0)
            buf_byte(b, ' '), i++;
        else
            buf_byte(b, (char)c);
    }
}

static void put_row(const struct page *p, int64_t row) {
    int64_t n = 0;
    const struct check_file *file = check_place(p->r, row, &n);
    if (p->r->file_count > 1) {
        plain(p->b, str_of(file->path), false);
        buf_byte(p->b, ':');
    }
    buf_printf(p->b, "%lld", (long long)n);
}

static void put_files(const struct page *p) {
    const struct check_report *r = p->r;
    for (size_t i = 0; i < r->file_count; i++) {
        const struct check_file *f = &r->files[i];
        buf_printf(p->b, "%s", p->bold);
        plain(p->b, str_of(f->path), false);
        buf_printf(p->b, "%s  ", p->off);
        number(p->b, f->rows);
        buf_printf(p->b, " row%s, %s", f->rows == 1 ? "" : "s", source_format_name(f->format));
        if (*f->reason) {
            buf_z(p->b, " (");
            plain(p->b, str_of(f->reason), false);
            buf_z(p->b, ")");
        }
        buf_byte(p->b, '\n');
    }
}

static void put_figures(const struct page *p) {
    const struct stats_summary *s = &p->r->stats;
    const struct check_tokens *t = &p->r->tokens;
    buf_z(p->b, "  rows      ");
    number(p->b, p->r->rows);
    buf_z(p->b, ", clean ");
    number(p->b, p->r->clean);
    buf_z(p->b, "\n  text      ");
    number(p->b, s->bytes);
    buf_z(p->b, " bytes in ");
    number(p->b, s->messages);
    buf_z(p->b, " messages; a row has ");
    number(p->b, s->shortest);
    buf_z(p->b, " to ");
    number(p->b, s->longest);
    buf_byte(p->b, '\n');
    if (p->r->has_tokens) {
        buf_z(p->b, "  tokens    ");
        number(p->b, t->total);
        buf_z(p->b, ", of which ");
        number(p->b, t->trained);
        buf_z(p->b, " are trained; the longest row has ");
        number(p->b, t->longest);
        buf_z(p->b, ", the limit is ");
        number(p->b, t->limit);
        buf_byte(p->b, '\n');
    }
    if (s->class_count)
        buf_printf(p->b, "  answers   %zu different ones: classes\n", s->class_count);
    const char *sep = "  language  ";
    for (enum language l = LANGUAGE_UNKNOWN + 1; l < LANGUAGES; l++) {
        if (!s->languages[l]) continue;
        buf_printf(p->b, "%s%s ", sep, language_name(l));
        number(p->b, s->languages[l]);
        sep = ", ";
    }
    if (*sep == ',')
        buf_z(p->b, s->languages[LANGUAGE_UNKNOWN] ? ", the rest too short to say\n" : "\n");
}

static void put_twins(const struct page *p, const struct findings *list, enum finding_kind kind) {
    int shown = 0;
    for (size_t i = 0; i < findings_count(list) && shown < TWINS_SHOWN; i++) {
        const struct finding *f = findings_at(list, i);
        if (f->kind != kind || !f->twin) continue;
        buf_z(p->b, shown++ ? ", " : "    pairs     ");
        put_row(p, f->row);
        buf_z(p->b, " with ");
        if (f->against) {
            plain(p->b, str_of(f->against), false);
            buf_printf(p->b, ":%lld", (long long)f->twin);
        } else {
            put_row(p, f->twin);
        }
        if (f->similarity < 1) buf_printf(p->b, " (%.2f)", f->similarity);
    }
    if (shown) buf_byte(p->b, '\n');
}

static void put_rows(const struct page *p, const struct findings *list, enum finding_kind kind) {
    int64_t last = 0;
    int shown = 0;
    buf_z(p->b, "    rows      ");
    for (size_t i = 0; i < findings_count(list) && shown <= ROWS_SHOWN; i++) {
        const struct finding *f = findings_at(list, i);
        if (f->kind != kind || f->row == last || !f->row) continue;
        last = f->row;
        if (shown) buf_z(p->b, ", ");
        if (shown++ == ROWS_SHOWN)
            buf_z(p->b, "...");
        else
            put_row(p, f->row);
    }
    if (!shown) buf_z(p->b, "-");
    buf_byte(p->b, '\n');
}

static void put_entities(const struct page *p) {
    const char *sep = "    found     ";
    for (enum pii_entity e = 0; e < PII_ENTITIES; e++) {
        if (!p->r->entities[e]) continue;
        buf_printf(p->b, "%s%s ", sep, pii_label(e));
        number(p->b, p->r->entities[e]);
        sep = ", ";
    }
    buf_byte(p->b, '\n');
}

static const struct finding *first_of(const struct findings *list, enum finding_kind kind) {
    for (size_t i = 0; i < findings_count(list); i++)
        if (findings_at(list, i)->kind == kind) return findings_at(list, i);
    return NULL;
}

static void put_kind(const struct page *p, const struct findings *list, enum finding_kind kind,
                     const char *colour) {
    const struct finding *f = first_of(list, kind);
    if (!f) return;
    buf_printf(p->b, "\n  %s%s%s  %lld: %s\n", colour, finding_label(kind), p->off,
               (long long)p->counts[kind], finding_text(kind));
    put_rows(p, list, kind);
    if (f->twin) put_twins(p, list, kind);
    if (kind == FINDING_CONTAINS_PII) put_entities(p);
    if (f->detail) {
        buf_z(p->b, "    example   row ");
        if (f->row) put_row(p, f->row);
        buf_z(p->b, ": ");
        plain(p->b, str_of(f->detail), false);
        buf_byte(p->b, '\n');
    }
    if (p->r->excerpts[kind]) {
        buf_printf(p->b, "              %s", p->dim);
        plain(p->b, str_of(p->r->excerpts[kind]), false);
        buf_printf(p->b, "%s\n", p->off);
    }
    buf_printf(p->b, "    to do     %s\n", report_advice(kind));
}

/* kinds by their number, most frequent first */
static void put_kinds(const struct page *p, const struct findings *list, const char *colour) {
    bool done[FINDING_KINDS] = {false};
    for (int i = 0; i < FINDING_KINDS; i++) {
        int best = -1;
        for (int k = 0; k < FINDING_KINDS; k++) {
            if (done[k] || !p->counts[k]) continue;
            if (best < 0 || p->counts[k] > p->counts[best]) best = k;
        }
        if (best < 0) return;
        done[best] = true;
        put_kind(p, list, (enum finding_kind)best, colour);
    }
}

static void put_sample(const struct page *p) {
    if (!p->r->sample_count || !*p->off) return;
    buf_printf(p->b, "\n  %sThe first row as training sees it%s (%strained%s, %scontext%s)\n    ",
               p->bold, p->off, p->green, p->off, p->dim, p->off);
    for (size_t i = 0; i < p->r->sample_count; i++) {
        const struct check_piece *s = &p->r->sample[i];
        buf_z(p->b, s->trained ? p->green : p->dim);
        plain(p->b, s->text, true);
        buf_z(p->b, p->off);
    }
    buf_byte(p->b, '\n');
}

void report_text(const struct check_report *r, bool colour, struct buf *b) {
    static const struct page with = {.bold = "\033[1m",
                                     .red = "\033[31m",
                                     .green = "\033[32m",
                                     .yellow = "\033[33m",
                                     .dim = "\033[2m",
                                     .off = "\033[0m"};
    static const struct page without = {
        .bold = "", .red = "", .green = "", .yellow = "", .dim = "", .off = ""};
    struct page p = colour ? with : without;
    struct report_verdict v;
    p.r = r, p.b = b;
    report_verdict(r, &v);
    put_files(&p);
    put_figures(&p);
    put_sample(&p);
    if (findings_count(r->findings)) buf_printf(b, "\n%sProblems%s\n", p.bold, p.off);
    p.counts = r->counts;
    put_kinds(&p, r->findings, p.red);
    if (findings_count(r->notes)) buf_printf(b, "\n%sWorth knowing%s\n", p.bold, p.off);
    p.counts = r->noted;
    put_kinds(&p, r->notes, p.yellow);
    if (r->listed_not)
        buf_printf(b, "\n  %lld more are counted but not listed\n", (long long)r->listed_not);
    if (r->duplicates_uncertain)
        buf_printf(b, "\n  %lld rows have thousands alike; not all were compared with each other\n",
                   (long long)r->duplicates_uncertain);
    if (r->checks & CHECK_PII)
        buf_z(b,
              "\nPersonal data: names and addresses without a pattern are mostly not found; look "
              "through a sample yourself.\n");
    buf_printf(b, "\n%sVerdict:%s %s%s%s\nNext: ", p.bold, p.off,
               report_is_clean(r) ? p.green : p.red, v.text, p.off);
    plain(b, str_of(v.next), false);
    buf_byte(b, '\n');
}
