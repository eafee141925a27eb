/* The evaluation as one page that can be sent around: no scripts, everything escaped. */
#include "base/utf8.h"
#include "cli/eval_run.h"

#include <math.h>
#include <stdio.h>

#define ROWS_MAX 500 /* of changed rows */
#define TEXT_MAX 400 /* bytes of a text shown */

static const char head[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Evaluation</title><style>"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse;margin:1rem 0;width:100%}td,th{padding:.3rem .6rem;"
    "border-bottom:1px solid #ddd;text-align:left;vertical-align:top}td.n,th.n{text-align:right;"
    "font-variant-numeric:tabular-nums}.better{color:#16794c}.worse{color:#b3261e}"
    ".inconclusive{color:#8a6100}pre{white-space:pre-wrap;margin:0;font-size:13px}</style>"
    "<h1>Evaluation</h1>";

static void escaped(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '<': buf_z(b, "&lt;"); break;
        case '>': buf_z(b, "&gt;"); break;
        case '&': buf_z(b, "&amp;"); break;
        case '"': buf_z(b, "&quot;"); break;
        default: buf_byte(b, s.p[i]);
        }
    }
}

static void number(struct buf *b, const char *form, double x) {
    buf_z(b, "<td class=\"n\">");
    if (isnan(x))
        buf_z(b, "-");
    else
        buf_printf(b, form, x); /* NOLINT: the forms are this file's */
}

/* An interval from -1 to 1 as a bar around zero. */
static void bar(struct buf *b, double low, double high) {
    if (isnan(low) || isnan(high)) return;
    double from = 100 + 100 * fmax(-1, low), to = 100 + 100 * fmin(1, high);
    buf_printf(b,
               "<svg width=\"200\" height=\"14\" role=\"img\" aria-label=\"%+.3f to %+.3f\"><line "
               "x1=\"100\" y1=\"0\" x2=\"100\" y2=\"14\" stroke=\"#999\"/><rect x=\"%.1f\" "
               "y=\"4\" width=\"%.1f\" height=\"6\" fill=\"%s\"/></svg>",
               low, high, from, fmax(1, to - from),
               low > 0    ? "#16794c"
               : high < 0 ? "#b3261e"
                          : "#8a6100");
}

static void scores(const struct eval_run *r, struct buf *b) {
    buf_z(b, "<table><tr><th>model<th>metric<th class=\"n\">cases<th class=\"n\">missing<th "
             "class=\"n\">value<th class=\"n\">low<th class=\"n\">high");
    for (int64_t i = 0; i < r->models * r->metric_count; i++) {
        const struct estimate *e = &r->report.estimates[i];
        buf_z(b, "<tr><td>");
        escaped(b, r->names[i / r->metric_count]);
        buf_z(b, "<td>");
        escaped(b, r->metrics[i % r->metric_count]);
        buf_printf(b, "<td class=\"n\">%lld<td class=\"n\">%lld", (long long)e->n,
                   (long long)e->missing);
        number(b, "%.4f", e->value);
        number(b, "%.4f", e->low);
        number(b, "%.4f", e->high);
    }
    buf_z(b, "</table>");
}

static void pairs(const struct eval_run *r, struct buf *b) {
    buf_z(b, "<h2>Comparisons</h2><table><tr><th>models<th>metric<th>verdict<th class=\"n\">"
             "difference<th>95 % interval<th class=\"n\">p<th class=\"n\">cases<th class=\"n\">"
             "more needed");
    for (int64_t i = 0; i < r->report.pair_count; i++) {
        const struct report_pair *p = &r->report.pairs[i];
        const char *verdict = verdict_name(p->c.verdict);
        buf_z(b, "<tr><td>");
        escaped(b, r->names[p->b]);
        buf_z(b, " against ");
        escaped(b, r->names[p->a]);
        buf_z(b, "<td>");
        escaped(b, r->metrics[p->metric]);
        buf_printf(b, "<td class=\"%s\">%s", verdict, verdict);
        number(b, "%+.4f", p->c.difference);
        buf_z(b, "<td>");
        bar(b, p->c.low, p->c.high);
        number(b, "%.3g", p->c.p);
        buf_printf(b, "<td class=\"n\">%lld<td class=\"n\">", (long long)p->c.n);
        if (p->c.needed > 0) buf_printf(b, "%lld", (long long)p->c.needed);
    }
    buf_z(b, "</table>");
}

static void spending(const struct eval_run *r, struct buf *b) {
    if (!r->asked) return;
    buf_printf(b,
               "<h2>Time and cost</h2><p>%d questions at a time.<table><tr><th>model<th "
               "class=\"n\">answers<th class=\"n\">failed<th class=\"n\">tokens in<th "
               "class=\"n\">tokens out<th class=\"n\">first text p50, s<th class=\"n\">p95<th "
               "class=\"n\">total p50, s<th class=\"n\">p95<th class=\"n\">cost of 1,000",
               r->o->concurrency);
    for (int64_t m = 0; m < r->models; m++) {
        const struct eval_spending *s = &r->spending[m];
        buf_z(b, "<tr><td>");
        escaped(b, r->names[m]);
        buf_printf(b,
                   "<td class=\"n\">%lld<td class=\"n\">%lld<td class=\"n\">%lld<td "
                   "class=\"n\">%lld",
                   (long long)s->answered, (long long)s->failed, (long long)s->prompt_tokens,
                   (long long)s->completion_tokens);
        number(b, "%.3f", s->first_p50);
        number(b, "%.3f", s->first_p95);
        number(b, "%.3f", s->total_p50);
        number(b, "%.3f", s->total_p95);
        number(b, "%.4f", eval_cost(r, m));
    }
    buf_z(b, "</table>");
}

static void cell(struct buf *b, const json_t *text) {
    struct str s = json_is_string(text) ? json_str(text) : (struct str){"-", 1};
    buf_z(b, "<td><pre>");
    if (s.n > TEXT_MAX) s.n -= utf8_incomplete_tail((struct str){s.p, TEXT_MAX}) + s.n - TEXT_MAX;
    escaped(b, s);
    buf_z(b, "</pre>");
}

/* Rows that went right to wrong, or the reverse, by the first metric of the first pair of models.
 */
static void changed(const struct eval_run *r, struct buf *b, int sign) {
    const double *from = r->scores[0], *to = r->scores[r->metric_count];
    int64_t count = 0;
    buf_printf(b, "<h2>%s</h2><table><tr><th>case<th>expected<th>",
               sign > 0 ? "Better answers" : "Worse answers");
    escaped(b, r->names[0]);
    buf_z(b, "<th>");
    escaped(b, r->names[1]);
    for (int64_t i = 0; i < r->cases.n; i++) {
        if (!(sign * (to[i] - from[i]) > 0) || count++ >= ROWS_MAX) continue;
        buf_z(b, "<tr><td>");
        escaped(b, r->cases.ids[i]);
        cell(b, json_object_get(r->cases.items[i], "expected"));
        cell(b, json_object_get(r->outputs[0].lines[i], "output"));
        cell(b, json_object_get(r->outputs[1].lines[i], "output"));
    }
    buf_z(b, "</table>");
    if (count > ROWS_MAX) buf_printf(b, "<p>and %lld more", (long long)(count - ROWS_MAX));
}

void eval_html(const struct eval_run *r, struct buf *out) {
    buf_z(out, head);
    scores(r, out);
    if (r->report.pair_count) pairs(r, out);
    spending(r, out);
    if (r->models < 2) return;
    changed(r, out, -1);
    changed(r, out, 1);
}
