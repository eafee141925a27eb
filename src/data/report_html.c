/* The report as one page: no scripts, nothing loaded, every text escaped. */
#include "data/report.h"

#include <stdio.h>

#define ROWS_SHOWN 200
#define CLASSES_SHOWN 40

static void text(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '<': buf_z(b, "&lt;"); break;
        case '>': buf_z(b, "&gt;"); break;
        case '&': buf_z(b, "&amp;"); break;
        case '"': buf_z(b, "&quot;"); break;
        case '\'': buf_z(b, "&#39;"); break;
        case '\0': break;
        default: buf_byte(b, s.p[i]);
        }
    }
}

static void textz(struct buf *b, const char *z) { text(b, str_of(z)); }

static const char HEAD[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
    "content=\"width=device-width\"><title>Data check</title><style>"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;"
    "border-bottom:1px solid #d8dee4;vertical-align:top}th{font-weight:600}"
    "code,pre{font:13px/1.4 ui-monospace,monospace;background:#f3f5f7;overflow-wrap:anywhere}"
    "pre{padding:.6rem;white-space:pre-wrap}.good{color:#116329}.bad{color:#a40e26}"
    "mark{background:#c9efd0;color:inherit}.dim{color:#59636e}svg text{font:11px system-ui}"
    "@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}"
    "code,pre{background:#161b22}td,th{border-color:#30363d}.good{color:#3fb950}.bad{color:#f85149}"
    "mark{background:#1f4d2b}.dim{color:#9198a1}svg text{fill:#e6edf3}}</style></head><body>";

/* --- pictures --- */

static void bars_open(struct buf *b, int rows, const char *label) {
    buf_printf(b, "<svg viewBox=\"0 0 640 %d\" width=\"640\" role=\"img\" aria-label=\"%s\">",
               rows * 20 + 4, label);
}

static void bar(struct buf *b, int at, struct str name, int64_t n, int64_t most) {
    int width = most ? (int)(360 * n / most) : 0;
    buf_printf(b, "<text x=\"170\" y=\"%d\" text-anchor=\"end\">", at * 20 + 15);
    text(b, name);
    buf_printf(b,
               "</text><rect x=\"178\" y=\"%d\" width=\"%d\" height=\"14\" fill=\"#4c8dd6\"/><text "
               "x=\"%d\" y=\"%d\">%lld</text>",
               at * 20 + 4, width > 0 ? width : 1, 184 + width, at * 20 + 15, (long long)n);
}

static void lengths(struct buf *b, const int64_t *bins, const char *unit) {
    int first = 0, last = STATS_BINS - 1;
    int64_t most = 0;
    while (first < last && !bins[first]) first++;
    while (last > first && !bins[last]) last--;
    for (int i = first; i <= last; i++) most = bins[i] > most ? bins[i] : most;
    if (!most) return;
    buf_printf(b, "<h2>Lengths of rows in %s</h2>", unit);
    bars_open(b, last - first + 1, "lengths of rows");
    for (int i = first; i <= last; i++) {
        char name[60];
        snprintf(name, sizeof name, "%lld to %lld", i ? 1LL << i : 0LL, (1LL << (i + 1)) - 1);
        bar(b, i - first, str_of(name), bins[i], most);
    }
    buf_z(b, "</svg>");
}

static void classes(const struct check_report *r, struct buf *b) {
    size_t n = r->stats.class_count < CLASSES_SHOWN ? r->stats.class_count : CLASSES_SHOWN;
    if (!n) return;
    buf_printf(b, "<h2>Answers</h2><p>%zu different ones%s.</p>", r->stats.class_count,
               n < r->stats.class_count ? ", the most frequent of them" : "");
    bars_open(b, (int)n, "rows by answer");
    for (size_t i = 0; i < n; i++)
        bar(b, (int)i, str_of(r->stats.classes[i].text), r->stats.classes[i].count,
            r->stats.classes[0].count);
    buf_z(b, "</svg>");
}

/* --- tables --- */

static void place(const struct check_report *r, int64_t row, struct buf *b) {
    int64_t n = 0;
    const struct check_file *file = check_place(r, row, &n);
    if (r->file_count > 1) {
        textz(b, file->path);
        buf_byte(b, ':');
    }
    buf_printf(b, "%lld", (long long)n);
}

static void finding(const struct check_report *r, const struct finding *f, struct buf *b) {
    buf_z(b, "<tr><td>");
    if (f->row) place(r, f->row, b);
    buf_z(b, "</td><td>");
    if (f->entity)
        buf_printf(b, "%s in message %d, bytes %lld to %lld", f->entity, f->message,
                   (long long)f->start, (long long)f->end);
    if (f->twin) {
        buf_z(b, "with ");
        if (f->against) {
            textz(b, f->against);
            buf_printf(b, ":%lld", (long long)f->twin);
        } else {
            buf_z(b, "row ");
            place(r, f->twin, b);
        }
        buf_printf(b, " (%.2f) ", f->similarity);
    }
    if (f->detail) textz(b, f->detail);
    buf_z(b, "</td></tr>");
}

static void kind(const struct check_report *r, const struct findings *list, enum finding_kind k,
                 struct buf *b) {
    int64_t count = list == r->notes ? r->noted[k] : r->counts[k];
    int shown = 0;
    for (size_t i = 0; i < findings_count(list) && shown < ROWS_SHOWN; i++) {
        const struct finding *f = findings_at(list, i);
        if (f->kind != k) continue;
        if (!shown++) {
            buf_printf(b, "<h3><code>%s</code> %lld: ", finding_label(k), (long long)count);
            textz(b, finding_text(k));
            buf_z(b, "</h3><p>");
            textz(b, report_advice(k));
            buf_z(b, "</p>");
            if (r->excerpts[k]) {
                buf_z(b, "<pre>");
                textz(b, r->excerpts[k]);
                buf_z(b, "</pre>");
            }
            buf_z(b, "<table><tr><th>row</th><th>what</th></tr>");
        }
        finding(r, f, b);
    }
    if (!shown) return;
    buf_z(b, "</table>");
    if (count > shown)
        buf_printf(b, "<p class=\"dim\">and %lld more</p>", (long long)count - shown);
}

static void sample(const struct check_report *r, struct buf *b) {
    if (!r->sample_count) return;
    buf_z(b, "<h2>The first row as training sees it</h2><p>Marked text is trained, the rest is "
             "context.</p><pre>");
    for (size_t i = 0; i < r->sample_count; i++) {
        buf_z(b, r->sample[i].trained ? "<mark>" : "<span class=\"dim\">");
        text(b, r->sample[i].text);
        buf_z(b, r->sample[i].trained ? "</mark>" : "</span>");
    }
    buf_z(b, "</pre>");
}

static void figures(const struct check_report *r, struct buf *b) {
    buf_z(b, "<table><tr><th>file</th><th>rows</th><th>format</th></tr>");
    for (size_t i = 0; i < r->file_count; i++) {
        buf_z(b, "<tr><td>");
        textz(b, r->files[i].path);
        buf_printf(b, "</td><td>%lld</td><td>%s: ", (long long)r->files[i].rows,
                   source_format_name(r->files[i].format));
        textz(b, r->files[i].reason);
        buf_z(b, "</td></tr>");
    }
    buf_printf(b, "</table><p>%lld rows, %lld clean. %lld messages, %lld bytes of text.",
               (long long)r->rows, (long long)r->clean, (long long)r->stats.messages,
               (long long)r->stats.bytes);
    if (r->has_tokens)
        buf_printf(b, " %lld tokens, of which %lld are trained; the limit for a row is %lld.",
                   (long long)r->tokens.total, (long long)r->tokens.trained,
                   (long long)r->tokens.limit);
    buf_z(b, "</p>");
}

void report_html(const struct check_report *r, struct buf *b) {
    struct report_verdict v;
    report_verdict(r, &v);
    buf_z(b, HEAD);
    buf_printf(b, "<h1>Data check</h1><p class=\"%s\"><strong>",
               report_is_clean(r) ? "good" : "bad");
    textz(b, v.text);
    buf_z(b, "</strong></p><p>Next: ");
    textz(b, v.next);
    buf_z(b, "</p>");
    figures(r, b);
    sample(r, b);
    if (findings_count(r->findings)) buf_z(b, "<h2>Problems</h2>");
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++) kind(r, r->findings, k, b);
    if (findings_count(r->notes)) buf_z(b, "<h2>Worth knowing</h2>");
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++) kind(r, r->notes, k, b);
    if (r->checks & CHECK_PII)
        buf_z(b, "<p class=\"dim\">Personal data: names and addresses without a pattern are mostly "
                 "not found; look through a sample yourself.</p>");
    lengths(b, r->has_tokens ? r->tokens.lengths : r->stats.lengths,
            r->has_tokens ? "tokens" : "bytes");
    classes(r, b);
    buf_z(b, "</body></html>\n");
}
