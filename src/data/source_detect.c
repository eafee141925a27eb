/* What a file is, from its beginning: how records lie in it, what its rows are, which columns ask
 * and answer. The reason is a sentence for people. */
#include "base/mem.h"
#include "base/utf8.h"
#include "data/source_int.h"

#include <string.h>
#include <strings.h>

#define SAMPLE_ROWS 20

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static struct str skip_space(struct str s) {
    while (s.n && is_space(s.p[0])) s = str_from(s, 1);
    return s;
}

static bool ends_in(const char *path, const char *ending) {
    size_t n = strlen(path), k = strlen(ending);
    return n >= k && strcasecmp(path + n - k, ending) == 0;
}

/* --- how records lie ------------------------------------------------------------------------- */

/* mended where that is needed, as the records will be */
static bool read_sample(struct str text, struct arena *a, struct json_views *views) {
    enum json_view_fault fault;
    struct err err;
    struct buf b;
    if (json_view_read(text, a, views, &fault, &err) == 0) return true;
    if (fault != JSON_VIEW_NOT_UTF8) return false;
    buf_init(&b, 4 * HEAD_BYTES);
    bool fine = bytes_mend_json(text, &b) && buf_ok(&b);
    if (fine) text = arena_str(a, buf_view(&b));
    buf_release(&b);
    return fine && json_view_read(text, a, views, &fault, &err) == 0;
}

static bool reads_as_object(struct str text, struct json_views *views, bool *ret_row) {
    static const char *const keys[] = {"messages", "conversations", "prompt",          "text",
                                       "input",    "instruction",   "chosen_messages", "question",
                                       "data"};
    enum json_view_fault fault;
    struct err err;
    struct arena a;
    arena_init(&a, (size_t)16 << 20);
    bool fine =
        json_view_read(text, &a, views, &fault, &err) == 0 && views->list[0].type == VIEW_OBJECT;
    *ret_row = false;
    for (size_t i = 0; fine && i < sizeof keys / sizeof *keys; i++)
        *ret_row |= json_view_get(views->list, keys[i]) != NULL;
    arena_release(&a);
    return fine;
}

/* {"KEY": [ where KEY is none of a row */
static bool opens_lists(struct str s) {
    static const char *const keys[] = {"messages", "conversations",    "chosen_messages",
                                       "input",    "preferred_output", "non_preferred_output",
                                       "tools"};
    s = skip_space(str_from(s, 1));
    if (!s.n || s.p[0] != '"') return false;
    const char *end = memchr(s.p + 1, '"', s.n - 1);
    if (!end) return false;
    struct str key = {s.p + 1, (size_t)(end - s.p) - 1};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (str_is(key, keys[i])) return false;
    s = skip_space(str_from(s, key.n + 2));
    if (!s.n || s.p[0] != ':') return false;
    s = skip_space(str_from(s, 1));
    return s.n && s.p[0] == '[';
}

/* s begins with '{' */
static enum layout layout_of_objects(struct str s, bool whole, const char *path) {
    struct json_views views = {0};
    enum layout ret = LAYOUT_LINES;
    bool row, found = false, only = false;
    struct str rest = s;
    for (int i = 0; i < SAMPLE_ROWS && rest.n && !found; i++) {
        const char *nl = memchr(rest.p, '\n', rest.n);
        if (!nl && !whole) break;
        struct str line = {rest.p, nl ? (size_t)(nl - rest.p) : rest.n};
        rest = str_from(rest, line.n + 1);
        found = reads_as_object(line, &views, &row);
        only = found && i == 0 && !row && skip_space(rest).n == 0;
    }
    if ((!found || only) && opens_lists(s))
        ret = LAYOUT_WRAPPED;
    else if (!found && memchr(s.p, '\n', s.n) && !ends_in(path, ".jsonl") &&
             !ends_in(path, ".ndjson"))
        ret = LAYOUT_VALUES;
    json_views_release(&views);
    return ret;
}

static bool begins_list(struct str s) {
    s = skip_space(str_from(s, 1));
    return s.n && (s.p[0] == '{' || s.p[0] == ']');
}

static bool layout_of_json(const char *path, struct str head, bool whole, enum layout *ret) {
    struct str s = skip_space(head);
    if (s.n && s.p[0] == '[' && (begins_list(s) || ends_in(path, ".json")))
        *ret = LAYOUT_ARRAY;
    else if (s.n && s.p[0] == '{')
        *ret = layout_of_objects(s, whole, path);
    else if (ends_in(path, ".jsonl") || ends_in(path, ".ndjson") || ends_in(path, ".json"))
        *ret = LAYOUT_LINES;
    else
        return false;
    return true;
}

/* --- what the rows are ----------------------------------------------------------------------- */

static bool has_parts(const struct json_view *list) {
    if (!json_view_is(list, VIEW_ARRAY)) return false;
    const struct json_view *m = json_view_first(list);
    for (uint32_t i = 0; i < list->count; i++, m = json_view_next(m)) {
        const struct json_view *content = json_view_get(m, "content");
        if (json_view_get(m, "loss_weight")) return true;
        if (json_view_is(content, VIEW_ARRAY) && content->count &&
            json_view_get(json_view_first(content), "value"))
            return true;
    }
    return false;
}

static enum source_format format_of_row(const struct json_view *row, const char **ret_keys) {
    static const struct {
        const char *key, *other; /* other: must be there too, or NULL */
        enum source_format format;
        const char *keys;
    } forms[] = {
        {"preferred_output", NULL, SOURCE_OPENAI, "\"preferred_output\""},
        {"preferred_completion", NULL, SOURCE_OPENAI, "\"preferred_completion\""},
        {"chosen_messages", NULL, SOURCE_PARTS, "\"chosen_messages\""},
        {"conversations", NULL, SOURCE_SHAREGPT, "\"conversations\""},
        {"conversation", NULL, SOURCE_SHAREGPT, "\"conversation\""},
        {"messages", NULL, SOURCE_OPENAI, "\"messages\""},
        {"prompt", "completion", SOURCE_OPENAI, "\"prompt\" and \"completion\""},
        {"instruction", NULL, SOURCE_ALPACA, "\"instruction\""},
        {"prompt", "chosen", SOURCE_ALPACA, "\"prompt\", \"chosen\" and \"rejected\""},
        {"question", "answer", SOURCE_ALPACA, "\"question\" and \"answer\""},
        {"question", "chosen", SOURCE_ALPACA, "\"question\", \"chosen\" and \"rejected\""},
        {"prompt", "response", SOURCE_ALPACA, "\"prompt\" and \"response\""},
        {"prompt", "output", SOURCE_ALPACA, "\"prompt\" and \"output\""},
        {"query", "response", SOURCE_ALPACA, "\"query\" and \"response\""},
        {"question", "response", SOURCE_ALPACA, "\"question\" and \"response\""},
        {"input", "output", SOURCE_ALPACA, "\"input\" and \"output\""},
        {"text", NULL, SOURCE_OPENAI, "\"text\""},
    };
    const struct json_view *messages = json_view_get(row, "messages");
    const struct json_view *data = json_view_get(row, "data");
    if (has_parts(messages)) {
        *ret_keys = "\"messages\" of parts";
        return SOURCE_PARTS;
    }
    if (json_view_is(messages, VIEW_ARRAY) && messages->count &&
        json_view_get(json_view_first(messages), "from")) {
        *ret_keys = "\"messages\" of \"from\" and \"value\"";
        return SOURCE_SHAREGPT;
    }
    if (json_view_is(data, VIEW_ARRAY) && data->count &&
        json_view_get(json_view_first(data), "text")) {
        *ret_keys = "\"data\", pieces of text with entities";
        return SOURCE_SNIPS;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (!json_view_get(row, forms[i].key)) continue;
        if (forms[i].other && !json_view_get(row, forms[i].other)) continue;
        *ret_keys = forms[i].keys;
        return forms[i].format;
    }
    return SOURCE_AUTO;
}

static const char *form_of(enum source_format f) {
    static const char *const names[] = {
        [SOURCE_OPENAI] = "OpenAI's form",
        [SOURCE_ALPACA] = "alpaca's form: a question and an answer become a conversation",
        [SOURCE_SHAREGPT] = "sharegpt's form",
        [SOURCE_PARTS] = "messages of parts with types",
        [SOURCE_SNIPS] =
            "the snips corpus: the command asks, JSON of intent and slots is the answer"};
    return names[f];
}

static const char *name_of_layout(enum layout layout) {
    static const char *const names[] = {"JSON Lines", "JSON values one behind another",
                                        "a JSON list", "lists in a JSON object"};
    return names[layout];
}

/* by a vote of the first rows; ties go to the first seen */
static void detect_rows(struct str head, bool whole, struct detected *d, struct buf *reason) {
    struct json_views views = {0};
    struct cutter c;
    struct piece piece;
    int votes[SOURCE_SNIPS + 1] = {0};
    const char *keys[SOURCE_SNIPS + 1] = {0};
    cutter_init(&c, d->layout, 0);
    enum source_format best = d->format;
    for (int i = 0; i < SAMPLE_ROWS && cutter_next(&c, head, whole, &piece); i++) {
        const char *key = NULL;
        struct arena a;
        struct str text = {head.p + piece.start, piece.end - piece.start};
        arena_init(&a, (size_t)64 << 20);
        if (!piece.problem && read_sample(text, &a, &views)) {
            enum source_format f = format_of_row(views.list, &key);
            if (f != SOURCE_AUTO) keys[f] = key;
            if (f != SOURCE_AUTO && ++votes[f] > votes[best] && d->format == SOURCE_AUTO) best = f;
        }
        arena_release(&a);
    }
    json_views_release(&views);
    d->format = best == SOURCE_AUTO ? SOURCE_OPENAI : best;
    buf_printf(reason, "%s", name_of_layout(d->layout));
    if (keys[d->format])
        buf_printf(reason, " whose rows have %s: %s", keys[d->format], form_of(d->format));
    else
        buf_printf(reason, "; none of the first rows has keys that are known, read as %s",
                   form_of(d->format));
}

/* --- columns --------------------------------------------------------------------------------- */

static const char *const prompt_names[] = {"prompt",  "question", "instruction", "input",
                                           "query",   "text",     "utterance",   "user",
                                           "request", "source",   NULL};
static const char *const answer_names[] = {"completion", "answer", "output", "response",  "label",
                                           "category",   "intent", "target", "assistant", "reply",
                                           "sentiment",  "class",  NULL};
static const char *const system_names[] = {"system", "system_prompt", NULL};

static bool is_name(struct str field, const char *name) {
    return field.n == strlen(name) && strncasecmp(field.p, name, field.n) == 0;
}

static int column_of(const struct str *fields, int n, const char *const *names) {
    for (; *names; names++)
        for (int i = 0; i < n; i++)
            if (is_name(fields[i], *names)) return i;
    return -1;
}

struct table {
    struct str fields[SAMPLE_ROWS][CSV_COLUMNS];
    int counts[SAMPLE_ROWS], rows;
    struct arena arena;
};

static void sample_table(struct str head, bool whole, char delim, struct table *t) {
    struct cutter c;
    struct piece piece;
    cutter_init(&c, LAYOUT_CSV, delim);
    t->rows = 0;
    while (t->rows < SAMPLE_ROWS && cutter_next(&c, head, whole, &piece)) {
        const char *problem;
        struct str text = {head.p + piece.start, piece.end - piece.start};
        int n = csv_fields(text, delim, &t->arena, t->fields[t->rows], &problem);
        if (n > CSV_COLUMNS) n = CSV_COLUMNS;
        if (!problem || t->rows == 0) t->counts[t->rows++] = n;
    }
}

/* rows that have as many fields as the first; 0 where that is one */
static int agreement(const struct table *t) {
    int same = 0;
    for (int i = 0; i < t->rows; i++) same += t->counts[i] == t->counts[0];
    return t->rows && t->counts[0] > 1 ? same : 0;
}

static char guess_delim(struct str head, bool whole, struct table *t) {
    static const char delims[] = ",\t;|";
    char best = ',';
    int most = 0;
    for (const char *d = delims; *d; d++) {
        sample_table(head, whole, *d, t);
        int score = agreement(t);
        if (score > most) {
            most = score;
            best = *d;
        }
    }
    return best;
}

static bool is_identifier(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i && ((c >= '0' && c <= '9') || c == '-' || c == ' ' || c == '.')))
            return false;
    }
    return s.n > 0 && s.n <= 32;
}

/* names in the first row: known ones, or words that do not come again below */
static bool guess_header(const struct table *t) {
    int n = t->rows ? t->counts[0] : 0;
    const struct str *first = t->fields[0];
    if (column_of(first, n, prompt_names) >= 0 || column_of(first, n, answer_names) >= 0)
        return true;
    for (int i = 0; i < n; i++) {
        if (!is_identifier(first[i])) return false;
        for (int row = 1; row < t->rows; row++)
            if (i < t->counts[row] && str_eq(t->fields[row][i], first[i])) return false;
    }
    return t->rows > 1;
}

static int named_column(const struct table *t, const char *name, int *ret, struct err *err) {
    if (!name) return 0;
    for (int i = 0; i < t->counts[0]; i++) {
        if (!str_is(t->fields[0][i], name)) continue;
        *ret = i;
        return 0;
    }
    return err_set(err, ERR_INVALID, "there is no column \"%.60s\"; the first one is \"%.*s\"",
                   name, excerpt(t->fields[0][0], 60), t->fields[0][0].p);
}

static void write_column(struct buf *b, const char *what, const struct table *t,
                         const struct columns *c, int i) {
    if (i < 0) return;
    struct str name = t->fields[0][i];
    if (c->header)
        buf_printf(b, ", \"%.*s\" %s", excerpt(name, 60), name.p, what);
    else
        buf_printf(b, ", column %d %s", i + 1, what);
}

static int choose_columns(const struct table *t, const struct source_options *o, struct columns *c,
                          struct err *err) {
    int n = c->count = t->counts[0];
    bool named = o->prompt_column || o->answer_column || o->system_column;
    c->header = named || guess_header(t);
    if (c->header) {
        c->system = column_of(t->fields[0], n, system_names);
        c->prompt = column_of(t->fields[0], n, prompt_names);
        c->answer = column_of(t->fields[0], n, answer_names);
    }
    int rc = named_column(t, o->prompt_column, &c->prompt, err);
    if (!rc) rc = named_column(t, o->answer_column, &c->answer, err);
    if (!rc) rc = named_column(t, o->system_column, &c->system, err);
    if (rc) return rc;
    if (n == 1) c->prompt = 0, c->answer = -1;
    if (n == 2 && c->prompt < 0) c->prompt = c->answer == 0 ? 1 : 0;
    if (n == 2 && c->answer < 0) c->answer = 1 - c->prompt;
    if (c->prompt < 0 || (n > 1 && c->answer < 0) || c->prompt == c->answer)
        return err_set(err, ERR_INVALID,
                       "which of the %d columns asks and which answers? the first row is "
                       "\"%.*s\", \"%.*s\", ...; name both",
                       n, excerpt(t->fields[0][0], 60), t->fields[0][0].p,
                       excerpt(t->fields[0][1], 60), t->fields[0][1].p);
    return 0;
}

static int detect_table(struct str head, bool whole, const struct source_options *o,
                        struct detected *d, struct table *t, struct buf *reason, struct err *err) {
    struct columns *c = &d->columns;
    d->layout = LAYOUT_CSV;
    *c = (struct columns){.delim = '\t', .prompt = -1, .answer = -1, .system = -1};
    if (d->format == SOURCE_CSV) c->delim = guess_delim(head, whole, t);
    sample_table(head, whole, c->delim, t);
    if (t->rows == 0) return err_set(err, ERR_INVALID, "the table has no rows");
    int rc = choose_columns(t, o, c, err);
    if (rc) return rc;
    const char *delim = c->delim == ',' ? "commas" : c->delim == '\t' ? "tabs" : "semicolons";
    if (c->delim == '|') delim = "bars";
    buf_printf(reason, "a table with %s, %s header", delim, c->header ? "with a" : "without a");
    write_column(reason, "is the system prompt", t, c, c->system);
    write_column(reason, c->answer < 0 ? "is text to learn" : "asks", t, c, c->prompt);
    write_column(reason, "answers", t, c, c->answer);
    return 0;
}

/* by its names or, where the file's name does not say, a header of names that are known */
static bool looks_like_table(struct str head, bool whole, const char *path, struct table *t,
                             enum source_format *ret) {
    if (ends_in(path, ".csv") || ends_in(path, ".tsv") || ends_in(path, ".tab")) {
        *ret = ends_in(path, ".csv") ? SOURCE_CSV : SOURCE_TSV;
        return true;
    }
    sample_table(head, whole, guess_delim(head, whole, t), t);
    *ret = SOURCE_CSV;
    return t->rows > 1 && agreement(t) == t->rows &&
           column_of(t->fields[0], t->counts[0], prompt_names) >= 0 &&
           column_of(t->fields[0], t->counts[0], answer_names) >= 0;
}

/* --- all of it ------------------------------------------------------------------------------- */

static int detect_rest(const char *path, struct str head, bool whole,
                       const struct source_options *o, struct detected *d, struct buf *reason,
                       struct err *err) {
    struct table *t = mem_zalloc(1, sizeof *t);
    int rc = 0;
    arena_init(&t->arena, (size_t)64 << 20);
    if (ends_in(path, ".md") || ends_in(path, ".markdown")) {
        d->format = SOURCE_MARKDOWN;
        d->layout = LAYOUT_MARKDOWN;
        buf_z(reason, "Markdown by its name: sections are documents");
    } else if (looks_like_table(head, whole, path, t, &d->format)) {
        rc = detect_table(head, whole, o, d, t, reason, err);
    } else {
        d->format = SOURCE_TEXT;
        d->layout = LAYOUT_TEXT;
        buf_z(reason, "neither JSON nor a table: plain text, paragraphs are documents");
    }
    arena_release(&t->arena);
    mem_free(t);
    return rc;
}

static int forced(struct str head, bool whole, const struct source_options *o, struct detected *d,
                  struct buf *reason, struct err *err) {
    d->format = o->format;
    d->layout = o->format == SOURCE_TEXT ? LAYOUT_TEXT : LAYOUT_MARKDOWN;
    buf_z(reason, "as you asked");
    if (o->format == SOURCE_TEXT || o->format == SOURCE_MARKDOWN) return 0;
    struct table *t = mem_zalloc(1, sizeof *t);
    arena_init(&t->arena, (size_t)64 << 20);
    buf_z(reason, ": ");
    int rc = detect_table(head, whole, o, d, t, reason, err);
    arena_release(&t->arena);
    mem_free(t);
    return rc;
}

int detect(const char *path, struct str head, bool whole, const struct source_options *o,
           struct detected *ret, struct buf *reason, struct err *err) {
    struct detected d = {.format = o->format};
    bool flat = o->format == SOURCE_CSV || o->format == SOURCE_TSV || o->format == SOURCE_TEXT ||
                o->format == SOURCE_MARKDOWN;
    int rc = 0;
    if (skip_space(head).n == 0 && whole)
        return err_set(err, ERR_INVALID, "there is nothing in the file");
    if (flat) {
        rc = forced(head, whole, o, &d, reason, err);
    } else if (layout_of_json(path, head, whole, &d.layout) || o->format != SOURCE_AUTO) {
        detect_rows(head, whole, &d, reason);
    } else {
        rc = detect_rest(path, head, whole, o, &d, reason, err);
    }
    if (!rc) *ret = d;
    return rc;
}
