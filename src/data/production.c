#include "data/production.h"

#include "base/json.h"
#include "store/completions.h"

#include <string.h>

#define LINE_MAX ((size_t)64 << 20)
#define PAGE_MEM ((size_t)256 << 20)

/* --- the parts of a record --- */

/* The first of these members that is an object, and what its "body" holds. */
static json_t *part(const json_t *record, const char *const *names) {
    for (; *names; names++) {
        json_t *o = json_object_get(record, *names);
        json_t *body = json_object_get(o, "body");
        if (json_is_object(body)) return body;
        if (json_is_object(o)) return o;
    }
    return NULL;
}

static json_t *request_of(const json_t *record) {
    static const char *const names[] = {"request", "body", "input", NULL};
    json_t *o = part(record, names);
    return json_is_array(json_object_get(o, "messages")) ? o : NULL;
}

static json_t *response_of(const json_t *record) {
    static const char *const names[] = {"response", "output", NULL};
    return part(record, names);
}

/* The first choice's message, without what only answers have. */
static json_t *answer_of(const json_t *response) {
    static const char *const kept[] = {"role", "name", "tool_calls", "function_call"};
    const json_t *choice = json_array_get(json_object_get(response, "choices"), 0);
    const json_t *m = choice ? json_object_get(choice, "message") : response;
    const json_t *content = json_object_get(m, "content");
    if (!json_is_object(m) || !json_object_get(m, "role")) return NULL;
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        json_t *v = json_object_get(m, kept[i]);
        if (v && !json_is_null(v)) json_object_set(o, kept[i], v);
    }
    json_object_set(o, "content", content ? (json_t *)content : json_null());
    return o;
}

static int64_t time_of(const json_t *o) {
    static const char *const names[] = {"created_at", "created", "timestamp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *v = json_object_get(o, names[i]);
        if (json_is_number(v)) return (int64_t)json_number_value(v);
    }
    return 0;
}

/* --- rows --- */

static void take(json_t *row, const json_t *from, const char *key) {
    json_t *v = json_object_get(from, key);
    if (v && !json_is_null(v) && !json_object_get(row, key)) json_object_set(row, key, v);
}

json_t *production_row(const json_t *record) {
    static const char *const about[] = {"id",       "created_at", "model",
                                        "metadata", "feedback",   "conversation_id",
                                        "user",     "user_id",    "document_id"};
    static const char *const asked[] = {"tools", "functions", "parallel_tool_calls",
                                        "model", "metadata",  "user"};
    const json_t *request = request_of(record), *response = response_of(record);
    json_t *answer = request && response ? answer_of(response) : NULL;
    if (!answer) return NULL;
    json_t *row = json_object(), *messages = json_copy(json_object_get(request, "messages"));
    for (size_t i = 0; i < sizeof about / sizeof *about; i++) take(row, record, about[i]);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) take(row, request, asked[i]);
    take(row, response, "id");
    take(row, response, "model");
    if (!json_object_get(row, "created_at")) {
        int64_t t = time_of(record) ? time_of(record) : time_of(response);
        if (t) json_object_set_new(row, "created_at", json_integer(t));
    }
    json_array_append_new(messages, answer);
    json_object_set_new(row, "messages", messages);
    return row;
}

static bool meta_matches(const json_t *row, const struct meta_filter *f) {
    const json_t *metadata = json_object_get(row, "metadata"), *v = NULL;
    const char *key;
    json_object_foreach((json_t *)metadata, key, v) {
        if (str_is(f->key, key)) return json_is_string(v) && str_eq(json_str(v), f->value);
    }
    return false;
}

static bool wanted(const json_t *row, const struct production_filter *f) {
    int64_t t = time_of(row);
    const json_t *model = json_object_get(row, "model");
    if (f->since && t < f->since) return false;
    if (f->until && (t >= f->until || !t)) return false;
    if (f->model && !(json_is_string(model) && str_is(json_str(model), f->model))) return false;
    for (size_t i = 0; i < f->metadata_count; i++)
        if (!meta_matches(row, &f->metadata[i])) return false;
    return true;
}

static int put(struct blob_writer *w, const json_t *row, int64_t *count, struct err *err) {
    struct buf line;
    buf_init(&line, 2 * LINE_MAX);
    json_write(row, &line);
    buf_byte(&line, '\n');
    int rc = buf_ok(&line) ? blob_writer_add(w, line.p, line.n, err)
                           : err_set(err, ERR_LIMIT, "a row of more than %zu bytes", 2 * LINE_MAX);
    buf_release(&line);
    if (!rc) (*count)++;
    return rc;
}

/* The row, or with a correction in its feedback the row as it should have been. */
static int emit(json_t *row, struct production_out *out, struct err *err) {
    const json_t *correction = json_object_get(json_object_get(row, "feedback"), "correction");
    json_t *messages = json_object_get(row, "messages");
    size_t n = json_array_size(messages);
    const json_t *last = n ? json_array_get(messages, n - 1) : NULL;
    const json_t *role = json_object_get(last, "role");
    bool answered = json_is_string(role) && str_is(json_str(role), "assistant");
    if (!json_is_string(correction) || !n) return put(out->rows, row, &out->row_count, err);
    json_t *mended = json_copy(row), *turns = json_copy(messages);
    if (answered) json_array_remove(turns, n - 1);
    json_array_append_new(
        turns, json_pack("{s:s, s:O}", "role", "assistant", "content", (json_t *)correction));
    json_object_set_new(mended, "messages", turns);
    json_object_set_new(mended, "corrected", json_true());
    int rc = put(out->corrections, mended, &out->correction_count, err);
    json_decref(mended);
    return rc;
}

/* --- our own --- */

static int add_feedback(struct catalog *c, const char *id, struct arena *mem, json_t *row,
                        struct err *err) {
    struct feedback_list all;
    int rc = feedback_list(c, id, mem, &all, err);
    if (rc || !all.count) return rc;
    json_t *o = json_object();
    for (size_t i = 0; i < all.count; i++) { /* the newest counts */
        const struct feedback *f = &all.list[i];
        if (f->has_score) json_object_set_new(o, "score", json_real(f->score));
        if (f->correction) json_object_set_new(o, "correction", json_string(f->correction));
    }
    json_object_set_new(row, "feedback", o);
    return 0;
}

static json_t *parsed(const char *text) {
    struct err ignored;
    json_t *v = NULL;
    if (!text || json_read(str_of(text), "stored completion", &v, &ignored)) return json_null();
    return v;
}

static int stored_row(struct catalog *c, const struct stored_completion *s,
                      const struct production_filter *f, struct arena *mem,
                      struct production_out *out, struct err *err) {
    json_t *record =
        json_pack("{s:s, s:I, s:s, s:o, s:o, s:o}", "id", s->id, "created_at",
                  (json_int_t)s->created_at, "model", s->model, "metadata", parsed(s->metadata),
                  "request", parsed(s->request), "response", parsed(s->response));
    json_t *row = record ? production_row(record) : NULL;
    int rc = 0;
    if (row) rc = add_feedback(c, s->id, mem, row, err);
    if (!rc && row && wanted(row, f))
        rc = emit(row, out, err);
    else if (!rc)
        out->left_out++;
    json_decref(row);
    json_decref(record);
    return rc;
}

int production_stored(struct catalog *c, const struct production_filter *f,
                      struct production_out *out, struct err *err) {
    char after[ID_SIZE + 64] = "";
    struct completion_list found = {.has_more = true};
    struct completion_filter filter = {
        .model = f->model, .metadata = f->metadata, .metadata_count = f->metadata_count};
    int rc = 0;
    while (!rc && found.has_more) {
        struct arena mem;
        struct page page = {.after = *after ? after : NULL, .limit = 32, .ascending = true};
        arena_init(&mem, PAGE_MEM);
        rc = completions_list(c, &filter, &page, &mem, &found, err);
        for (size_t i = 0; !rc && i < found.count; i++)
            rc = stored_row(c, &found.list[i], f, &mem, out, err);
        if (!rc && found.count) {
            size_t n = strlen(found.list[found.count - 1].id);
            if (n < sizeof after) memcpy(after, found.list[found.count - 1].id, n + 1);
        }
        arena_release(&mem);
    }
    return rc;
}

/* --- logs --- */

static int log_line(struct str line, const struct production_filter *f, struct production_out *out,
                    struct err *err) {
    struct err ignored;
    json_t *record = NULL;
    int rc = 0;
    if (line.n > LINE_MAX || json_read(line, "log", &record, &ignored) || !json_is_object(record)) {
        rc = blob_writer_add(out->rows, line.p, line.n, err); /* the reader says what is wrong */
        if (!rc) rc = blob_writer_add(out->rows, "\n", 1, err);
        out->row_count++;
        json_decref(record);
        return rc;
    }
    json_t *row =
        json_object_get(record, "messages") ? json_incref(record) : production_row(record);
    if (!row) row = json_incref(record);
    if (wanted(row, f))
        rc = emit(row, out, err);
    else
        out->left_out++;
    json_decref(row);
    json_decref(record);
    return rc;
}

int production_log(struct str text, const struct production_filter *f, struct production_out *out,
                   struct err *err) {
    int rc = 0;
    if (str_starts(text, STR_LIT("\xef\xbb\xbf"))) text = str_from(text, 3);
    while (!rc && text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        struct str line = {text.p, n};
        while (line.n && strchr(" \t\r", line.p[line.n - 1]) && line.p[line.n - 1]) line.n--;
        if (line.n) rc = log_line(line, f, out, err);
        text = str_from(text, end ? n + 1 : n);
    }
    return rc;
}
