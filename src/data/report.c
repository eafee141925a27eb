#include "data/report.h"

#include "base/json.h"

#include <stdio.h>

#define ROWS_MIN 10     /* fewer cannot be tuned on */
#define ROWS_ADVISED 50 /* fewer seldom change a model for the better */

static const char *const advice[FINDING_KINDS] = {
    [FINDING_INVALID_FORMAT] = "mend the line; the detail says where it breaks",
    [FINDING_MISSING_MESSAGES_LIST] = "give the row \"messages\", or \"prompt\" and \"completion\"",
    [FINDING_MESSAGE_MISSING_KEY] = "every message needs \"role\" and \"content\"",
    [FINDING_MESSAGE_UNRECOGNIZED_KEY] = "remove the key or correct its name",
    [FINDING_UNRECOGNIZED_ROLE] = "use system, developer, user, assistant or tool",
    [FINDING_INVALID_ROLE_ORDER] = "system first, then user and assistant in turn, assistant last",
    [FINDING_MISSING_CONTENT] = "write the text or remove the row",
    [FINDING_EXAMPLE_MISSING_ASSISTANT_MESSAGE] = "add the answer that is to be learned",
    [FINDING_INVALID_WEIGHT] = "write 1 (trained) or 0 (context), on answers only",
    [FINDING_INVALID_TOOLS] =
        "write {\"type\":\"function\",\"function\":{\"name\",\"parameters\"}}",
    [FINDING_INVALID_TOOL_ARGUMENTS] = "make the arguments what the function's schema says",
    [FINDING_SCHEMA_UNCHECKED] =
        "look at these calls yourself, or write the schema without references",
    [FINDING_UNPAIRED_TOOL_CALL] = "give every call one result with its \"tool_call_id\"",
    [FINDING_REFUSING_ANSWER] = "write a real answer, unless it is meant to refuse",
    [FINDING_INVALID_LENGTH] = "shorten or split the row, or raise --max-length",
    [FINDING_TRAINS_NOTHING] = "give the row an answer that is trained, or remove it",
    [FINDING_TEMPLATE_MISMATCH] = "bring the row into the form that the model is served with",
    [FINDING_CONTAINS_PII] = "mask it when building: attune data build NAME ... --pii mask",
    [FINDING_EXACT_DUPLICATE] = "attune data build drops the copies",
    [FINDING_NEAR_DUPLICATE] = "attune data build drops them and says which it kept",
    [FINDING_CONFLICTING_ANSWERS] = "decide which answer is right; nobody can do it for you",
    [FINDING_POTENTIAL_LEAKAGE] = "remove the row: a test that was trained on proves nothing",
    [FINDING_LOW_FEEDBACK] = "leave the row out, or correct its answer",
    [FINDING_MENDED_ENCODING] = "save the file as UTF-8",
    [FINDING_LENGTH_OUTLIER] = "look whether the row is one example",
    [FINDING_SYSTEM_PROMPT_VARIANT] = "use one wording, the one that will be served",
    [FINDING_CLASS_IMBALANCE] = "add examples of the rare answers",
    [FINDING_OTHER_LANGUAGE] = "fine if you mean to serve that language too",
    [FINDING_HELD_OUT_UNREAD] = "check the held-out file too",
};

const char *report_advice(enum finding_kind kind) { return advice[kind] ? advice[kind] : ""; }

bool report_is_clean(const struct check_report *r) { return r->clean == r->rows && r->rows > 0; }

void report_verdict(const struct check_report *r, struct report_verdict *ret) {
    long long rows = r->rows, bad = r->rows - r->clean;
    enum finding_kind worst = FINDING_INVALID_FORMAT;
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++)
        if (finding_group(k) != CHECK_NOTES && r->counts[k] > r->counts[worst]) worst = k;
    *ret = (struct report_verdict){"", ""};
    if (rows == 0) {
        snprintf(ret->text, sizeof ret->text, "there is no row in it");
        snprintf(ret->next, sizeof ret->next, "a row is a line of JSON with \"messages\"");
    } else if (bad) {
        snprintf(ret->text, sizeof ret->text, "%lld of %lld rows %s to be looked at", bad, rows,
                 bad == 1 ? "needs" : "need");
        snprintf(ret->next, sizeof ret->next, "%s first (%lld): %s", finding_label(worst),
                 (long long)r->counts[worst], report_advice(worst));
    } else if (rows < ROWS_MIN) {
        snprintf(ret->text, sizeof ret->text, "nothing is wrong, but %lld rows are too few", rows);
        snprintf(ret->next, sizeof ret->next, "write at least %d, better %d or more", ROWS_MIN,
                 ROWS_ADVISED);
    } else {
        snprintf(ret->text, sizeof ret->text, "nothing is wrong%s",
                 rows < ROWS_ADVISED ? ", though 50 rows or more are better" : "");
        snprintf(ret->next, sizeof ret->next, "attune data build NAME --from human=%.80s%s",
                 r->files[0].path, " --valid 10% --test 10%");
    }
}

/* --- JSON --- */

static void key(struct buf *b, const char *name) {
    if (b->n && b->p[b->n - 1] != '{') buf_byte(b, ',');
    json_write_str(b, str_of(name));
    buf_byte(b, ':');
}

static void put_i64(struct buf *b, const char *name, int64_t v) {
    key(b, name);
    buf_printf(b, "%lld", (long long)v);
}

static void put_str(struct buf *b, const char *name, const char *v) {
    key(b, name);
    json_write_str(b, str_of(v));
}

static void put_finding(const struct check_report *r, const struct finding *f, struct buf *b) {
    int64_t row = 0, twin = f->twin;
    const struct check_file *file = check_place(r, f->row, &row), *other = file;
    if (twin && !f->against) other = check_place(r, f->twin, &twin);
    buf_byte(b, '{');
    put_str(b, "kind", finding_label(f->kind));
    if (f->row) put_i64(b, "row", row);
    if (r->file_count > 1 && f->row) put_str(b, "file", file->path);
    if (f->message >= 0) put_i64(b, "message", f->message);
    if (f->entity) {
        put_str(b, "entity", f->entity);
        put_i64(b, "start", f->start);
        put_i64(b, "end", f->end);
    }
    if (twin) {
        put_i64(b, "twin", twin);
        if (r->file_count > 1 && !f->against) put_str(b, "twin_file", other->path);
        key(b, "similarity");
        buf_printf(b, "%.4g", f->similarity);
    }
    if (f->against) put_str(b, "against", f->against);
    if (f->detail) put_str(b, "detail", f->detail);
    buf_byte(b, '}');
}

static void put_list(const struct check_report *r, const char *name, const struct findings *list,
                     struct buf *b) {
    key(b, name);
    buf_byte(b, '[');
    for (size_t i = 0; i < findings_count(list); i++) {
        if (i) buf_byte(b, ',');
        put_finding(r, findings_at(list, i), b);
    }
    buf_byte(b, ']');
}

static void put_counts(const struct check_report *r, struct buf *b) {
    key(b, "counts");
    buf_byte(b, '{');
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++)
        if (r->counts[k]) put_i64(b, finding_label(k), r->counts[k]);
    buf_byte(b, '}');
    key(b, "noted");
    buf_byte(b, '{');
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++)
        if (r->noted[k]) put_i64(b, finding_label(k), r->noted[k]);
    buf_byte(b, '}');
    key(b, "entities");
    buf_byte(b, '{');
    for (enum pii_entity e = 0; e < PII_ENTITIES; e++)
        if (r->entities[e]) put_i64(b, pii_label(e), r->entities[e]);
    buf_byte(b, '}');
}

static void put_tokens(const struct check_report *r, struct buf *b) {
    const struct check_tokens *t = &r->tokens;
    int64_t row = 0;
    if (!r->has_tokens) return;
    key(b, "tokens");
    buf_byte(b, '{');
    put_i64(b, "total", t->total);
    put_i64(b, "trained", t->trained);
    put_i64(b, "longest", t->longest);
    if (t->longest_row) {
        check_place(r, t->longest_row, &row);
        put_i64(b, "longest_row", row);
    }
    put_i64(b, "cut", t->cut);
    put_i64(b, "limit", t->limit);
    key(b, "sample");
    buf_byte(b, '[');
    for (size_t i = 0; i < r->sample_count; i++) {
        buf_z(b, i ? ",{\"text\":" : "{\"text\":");
        json_write_str(b, r->sample[i].text);
        buf_printf(b, ",\"trained\":%s}", r->sample[i].trained ? "true" : "false");
    }
    buf_z(b, "]}");
}

static void put_stats(const struct check_report *r, struct buf *b) {
    const struct stats_summary *s = &r->stats;
    key(b, "stats");
    buf_byte(b, '{');
    put_i64(b, "messages", s->messages);
    put_i64(b, "bytes", s->bytes);
    put_i64(b, "shortest", s->shortest);
    put_i64(b, "longest", s->longest);
    put_i64(b, "system_prompts", s->system_prompts);
    key(b, "languages");
    buf_byte(b, '{');
    for (enum language l = 0; l < LANGUAGES; l++)
        if (s->languages[l]) put_i64(b, language_name(l), s->languages[l]);
    buf_byte(b, '}');
    key(b, "classes");
    buf_byte(b, '[');
    for (size_t i = 0; i < s->class_count; i++) {
        buf_z(b, i ? ",{" : "{");
        put_str(b, "answer", s->classes[i].text);
        put_i64(b, "rows", s->classes[i].count);
        buf_byte(b, '}');
    }
    buf_z(b, "]}");
}

void report_json(const struct check_report *r, struct buf *b) {
    struct report_verdict v;
    report_verdict(r, &v);
    buf_byte(b, '{');
    put_i64(b, "rows", r->rows);
    put_i64(b, "clean", r->clean);
    put_list(r, "findings", r->findings, b);
    put_list(r, "notes", r->notes, b);
    put_counts(r, b);
    if (r->listed_not) put_i64(b, "not_listed", r->listed_not);
    if (r->duplicates_uncertain) put_i64(b, "duplicates_uncertain", r->duplicates_uncertain);
    key(b, "files");
    buf_byte(b, '[');
    for (size_t i = 0; i < r->file_count; i++) {
        buf_z(b, i ? ",{" : "{");
        put_str(b, "path", r->files[i].path);
        put_str(b, "format", source_format_name(r->files[i].format));
        put_str(b, "reason", r->files[i].reason);
        put_i64(b, "rows", r->files[i].rows);
        buf_byte(b, '}');
    }
    buf_byte(b, ']');
    put_tokens(r, b);
    put_stats(r, b);
    key(b, "verdict");
    buf_printf(b, "{\"clean\":%s", report_is_clean(r) ? "true" : "false");
    put_str(b, "text", v.text);
    put_str(b, "next", v.next);
    buf_z(b, "}}\n");
}
