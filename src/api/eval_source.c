#include "api/eval_source.h"

#include "api/eval_ask.h"
#include "base/mem.h"
#include "eval/question.h"
#include "store/completions.h"
#include "store/files.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MAX 100000
#define ROW_MAX_BYTES ((size_t)16 << 20)
#define PICKED_MAX 50000
#define PICK_PAGE 100

/* --- stored completions --- */

struct picking {
    struct completion_filter filter;
    struct meta_filter metadata[META_FILTERS_MAX];
    const char *model;
    int64_t after, before, limit; /* created; 0: any */
    struct str instructions;      /* what the system's message must hold; empty: anything */
    double temperature, top_p;    /* below 0: any */
    const json_t *users, *tools;
};

static int add_filters(const struct fields *f, struct picking *p, const json_t *metadata) {
    const char *key;
    size_t n;
    json_t *v;
    json_object_keylen_foreach((json_t *)metadata, key, n, v) {
        if (p->filter.metadata_count == META_FILTERS_MAX || !json_is_string(v))
            return fields_wrong(f, "metadata", "invalid_value",
                                "Invalid 'metadata': at most %d texts to filter by.",
                                META_FILTERS_MAX);
        p->metadata[p->filter.metadata_count++] =
            (struct meta_filter){.key = {key, n}, .value = json_str(v)};
    }
    return 0;
}

static int read_picking(struct http_request *req, const struct fields *f, const json_t *config,
                        struct picking *p) {
    const json_t *metadata = NULL;
    struct str model = {0};
    *p = (struct picking){.limit = PICKED_MAX, .temperature = -1, .top_p = -1};
    int rc = fields_metadata(f, "metadata", &metadata);
    if (!rc) rc = add_filters(f, p, metadata);
    if (!rc) rc = add_filters(f, p, json_object_get(config, "metadata"));
    if (!rc) rc = fields_str(f, "model", 1, 256, &model);
    if (!rc) rc = fields_i64(f, "created_after", 0, INT64_MAX, &p->after);
    if (!rc) rc = fields_i64(f, "created_before", 0, INT64_MAX, &p->before);
    if (!rc) rc = fields_i64(f, "limit", 1, PICKED_MAX, &p->limit);
    if (!rc) rc = fields_str(f, "instructions_search", 0, 10000, &p->instructions);
    if (!rc) rc = fields_double(f, "temperature", 0, 2, &p->temperature);
    if (!rc) rc = fields_double(f, "top_p", 0, 1, &p->top_p);
    if (!rc) rc = fields_array(f, "users", 0, 1000, &p->users);
    if (!rc) rc = fields_array(f, "tools", 0, 1000, &p->tools);
    if (!rc && fields_has(f, "reasoning_effort"))
        rc = fields_wrong(f, "reasoning_effort", "unsupported_parameter",
                          "Unsupported parameter: 'reasoning_effort'. No model here has one.");
    if (!rc && model.p) p->model = arena_strndup(req->arena, model.p, model.n);
    p->filter.metadata = p->metadata;
    return rc;
}

static bool has_text(const json_t *list, const json_t *text) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), text)) return true;
    return false;
}

static bool is_number(const json_t *v, double want) {
    return want < 0 || (json_is_number(v) ? json_number_value(v) == want : want == 1);
}

/* the first message, where it is the system's, holds the words */
static bool is_instructed(const json_t *request, struct str words) {
    const json_t *m = json_array_get(json_object_get(request, "messages"), 0);
    struct str role = json_str(json_object_get(m, "role"));
    struct str text = json_str(json_object_get(m, "content"));
    if (words.n == 0) return true;
    return role.p && (str_is(role, "system") || str_is(role, "developer")) && text.p &&
           memmem(text.p, text.n, words.p, words.n);
}

static bool has_tools(const json_t *request, const json_t *names) {
    const json_t *tools = json_object_get(request, "tools");
    for (size_t i = 0; i < json_array_size(names); i++) {
        bool found = false;
        for (size_t k = 0; k < json_array_size(tools) && !found; k++) {
            const json_t *fn = json_object_get(json_array_get(tools, k), "function");
            found = json_equal(json_object_get(fn, "name"), json_array_get(names, i));
        }
        if (!found) return false;
    }
    return true;
}

static bool is_picked(const struct picking *p, const struct stored_completion *s) {
    struct err no;
    json_t *request = NULL;
    if (p->model && strcmp(p->model, s->model) != 0) return false;
    if (p->after && s->created_at < p->after) return false;
    if (p->before && s->created_at > p->before) return false;
    if (json_read(str_of(s->request), "catalog", &request, &no)) return false;
    bool yes =
        is_number(json_object_get(request, "temperature"), p->temperature) &&
        is_number(json_object_get(request, "top_p"), p->top_p) &&
        is_instructed(request, p->instructions) && has_tools(request, p->tools) &&
        (json_array_size(p->users) == 0 || has_text(p->users, json_object_get(request, "user")));
    json_decref(request);
    return yes;
}

/* the newest first */
static int pick(struct catalog *c, const struct picking *p, json_t *ids, struct err *err) {
    struct arena mem;
    struct completion_list found = {.has_more = true};
    char after[128] = "";
    int rc = 0;
    arena_init(&mem, (size_t)256 << 20);
    while (!rc && found.has_more && (int64_t)json_array_size(ids) < p->limit) {
        struct page page = {.after = after[0] ? after : NULL, .limit = PICK_PAGE};
        arena_reset(&mem);
        rc = completions_list(c, &p->filter, &page, &mem, &found, err);
        for (size_t i = 0; !rc && i < found.count; i++) {
            if ((int64_t)json_array_size(ids) < p->limit && is_picked(p, &found.list[i]))
                json_array_append_new(ids, json_string(found.list[i].id));
            snprintf(after, sizeof after, "%s", found.list[i].id);
        }
    }
    arena_release(&mem);
    return rc;
}

static int read_picked(struct http_request *req, const struct fields *f, const json_t *config,
                       const char **ret, struct err *err) {
    struct picking p;
    struct buf text;
    json_t *ids = json_array();
    int rc = read_picking(req, f, config, &p);
    if (!rc) rc = pick(api_of(req)->catalog, &p, ids, err);
    buf_init(&text, SIZE_MAX / 2);
    if (!rc) json_write(ids, &text);
    if (!rc) *ret = arena_strndup(req->arena, text.p, text.n);
    if (!rc && !*ret) rc = err_set(err, ERR_LIMIT, "the source has too many rows");
    buf_release(&text);
    json_decref(ids);
    return rc;
}

/* --- what an order says --- */

static int check_file(struct http_request *req, const struct fields *f, struct err *err) {
    struct str id = {0};
    struct stored_file file;
    int rc = fields_known(f, "type id");
    if (!rc) rc = fields_required(f, "id");
    if (!rc) rc = fields_str(f, "id", 1, 200, &id);
    if (rc) return rc;
    const char *z = arena_strndup(req->arena, id.p, id.n);
    rc = files_get(api_of(req)->catalog, z, req->arena, &file, err);
    if (rc == ERR_NOT_FOUND)
        return fields_wrong(f, "id", "invalid_file", "No such File object: %s", z);
    if (!rc && strcmp(file.purpose, "evals") != 0)
        return fields_wrong(f, "id", "invalid_file_purpose",
                            "Invalid file: its purpose is '%s', not 'evals'.", file.purpose);
    return rc;
}

static int check_content(const struct fields *f) {
    const json_t *list = NULL;
    int rc = fields_known(f, "type content");
    if (!rc) rc = fields_required(f, "content");
    if (!rc) rc = fields_array(f, "content", 1, ROWS_MAX, &list);
    for (size_t i = 0; !rc && i < json_array_size(list); i++) {
        struct fields row, item;
        rc = fields_item(f, "content", i, &row);
        if (!rc) rc = fields_known(&row, "item sample");
        if (!rc) rc = fields_required(&row, "item");
        if (!rc) rc = fields_object(&row, "item", &item);
        if (!rc) rc = fields_object(&row, "sample", &item);
    }
    return rc;
}

/* *ret_type: its number in the words */
static int check_source(struct http_request *req, const struct fields *f, bool logs,
                        const json_t *config, const char **ret_picked, struct err *err) {
    struct fields s;
    int type = 0;
    int rc = fields_required(f, "source");
    if (!rc) rc = fields_object(f, "source", &s);
    if (!rc) rc = fields_required(&s, "type");
    if (!rc)
        rc = fields_word(&s, "type",
                         logs ? "file_content file_id stored_completions responses"
                              : "file_content file_id",
                         &type);
    if (rc) return rc;
    if (type == 0) return check_content(&s);
    if (type == 1) return check_file(req, &s, err);
    rc = fields_known(&s, type == 2 ? "type metadata model created_after created_before limit"
                                    : "type metadata model created_after created_before limit "
                                      "instructions_search temperature top_p users tools "
                                      "reasoning_effort");
    return rc ? rc : read_picked(req, &s, config, ret_picked, err);
}

static int check_messages(const struct fields *f, struct err *err) {
    struct fields m;
    struct str path = {0};
    const json_t *list = NULL, *found;
    int type = 0;
    int rc = fields_object(f, "input_messages", &m);
    if (!rc) rc = fields_required(&m, "type");
    if (!rc) rc = fields_word(&m, "type", "template item_reference", &type);
    if (!rc) rc = fields_known(&m, type ? "type item_reference" : "type template");
    if (!rc) rc = fields_required(&m, type ? "item_reference" : "template");
    if (!rc && type) rc = fields_str(&m, "item_reference", 1, 1000, &path);
    if (!rc && !type) rc = fields_array(&m, "template", 1, 1000, &list);
    if (rc) return rc;
    rc = type ? placeholder_find(path, NULL, &found, err)
              : messages_check(list, "data_source.input_messages.template", err);
    return rc ? fields_wrong(&m, type ? "item_reference" : "template", "invalid_value",
                             "Invalid value: %s.", err->msg)
              : 0;
}

static int check_sampling(const struct fields *f, bool responses) {
    struct fields s, text;
    double x;
    int64_t n;
    const json_t *tools = NULL;
    int rc = fields_object(f, "sampling_params", &s);
    if (!rc)
        rc = fields_known(&s, responses ? "reasoning_effort temperature max_completion_tokens "
                                          "max_completions_tokens top_p seed tools text"
                                        : "reasoning_effort temperature max_completion_tokens "
                                          "max_completions_tokens top_p seed tools "
                                          "response_format");
    if (!rc) rc = fields_double(&s, "temperature", 0, 2, &x);
    if (!rc) rc = fields_double(&s, "top_p", 0, 1, &x);
    if (!rc) rc = fields_i64(&s, "seed", INT64_MIN, INT64_MAX, &n);
    if (!rc) rc = fields_i64(&s, "max_completion_tokens", 1, INT32_MAX, &n);
    if (!rc) rc = fields_i64(&s, "max_completions_tokens", 1, INT32_MAX, &n);
    if (!rc) rc = fields_object(&s, "response_format", &text);
    if (!rc) rc = fields_array(&s, "tools", 0, 128, &tools);
    if (!rc) rc = fields_object(&s, "text", &text);
    if (!rc) rc = fields_known(&text, "format verbosity");
    return rc;
}

int eval_source_check(struct http_request *req, const struct fields *f, const json_t *config,
                      const char **ret_model, const char **ret_picked, struct err *err) {
    struct str model = {0};
    int type = 0;
    int rc = fields_required(f, "type");
    *ret_model = *ret_picked = NULL;
    if (!rc) rc = fields_word(f, "type", "jsonl completions responses", &type);
    if (!rc)
        rc = fields_known(f, type ? "type source input_messages sampling_params model"
                                  : "type source");
    if (!rc) rc = check_source(req, f, type != 0, config, ret_picked, err);
    if (rc || type == 0) return rc;
    bool messages = fields_has(f, "input_messages"), asks = fields_has(f, "model");
    if (messages) rc = check_messages(f, err);
    if (!rc) rc = check_sampling(f, type == 2);
    if (!rc) rc = fields_str(f, "model", 1, 256, &model);
    if (!rc && asks) rc = eval_model_check(req, f, "model", model, err);
    /* rows of a file have no answers of their own here, stored completions have */
    if (!rc && !asks && (messages || !*ret_picked)) rc = fields_required(f, "model");
    if (!rc && asks && !messages && !*ret_picked) rc = fields_required(f, "input_messages");
    if (!rc && asks) *ret_model = arena_strndup(req->arena, model.p, model.n);
    return rc;
}

/* --- rows --- */

static int split_lines(struct eval_rows *r, struct err *err) {
    struct str text = {(const char *)r->file.p, r->file.n};
    if (str_starts(text, STR_LIT("\xef\xbb\xbf"))) text = str_from(text, 3);
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        struct str line = {text.p, end ? (size_t)(end - text.p) : text.n};
        text = str_from(text, line.n + 1);
        while (line.n && strchr(" \t\r", line.p[line.n - 1])) line.n--;
        if (line.n == 0) continue;
        if (r->count == ROWS_MAX)
            return err_set(err, ERR_INVALID, "the file has more than %d rows", ROWS_MAX);
        mem_grow((void **)&r->lines, &r->cap, (size_t)r->count + 1, sizeof *r->lines);
        r->lines[r->count++] = line;
    }
    return 0;
}

static int open_file(struct eval_rows *r, const json_t *source, struct err *err) {
    struct arena mem;
    struct stored_file file;
    arena_init(&mem, (size_t)1 << 20);
    struct str id = json_str(json_object_get(source, "id"));
    int rc = files_get(r->catalog, arena_strndup(&mem, id.p, id.n), &mem, &file, err);
    if (!rc) rc = blob_map(r->catalog, file.blob, &r->file, err);
    if (rc == ERR_NOT_FOUND) rc = err_set(err, ERR_INVALID, "the file does not exist any more");
    arena_release(&mem);
    return rc ? rc : split_lines(r, err);
}

int eval_rows_open(struct catalog *c, const struct eval_run *run, struct eval_rows *ret,
                   struct err *err) {
    *ret = (struct eval_rows){.catalog = c};
    int rc = json_read(str_of(run->data_source), "catalog", &ret->source, err);
    const json_t *source = json_object_get(ret->source, "source");
    ret->content = json_object_get(source, "content");
    if (!rc && run->picked) rc = json_read(str_of(run->picked), "catalog", &ret->picked, err);
    if (!rc && !run->picked && !ret->content) rc = open_file(ret, source, err);
    if (ret->picked || ret->content)
        ret->count = (int64_t)json_array_size(ret->picked ? ret->picked : ret->content);
    if (!rc && ret->count == 0)
        rc = err_set(err, ERR_INVALID,
                     run->picked ? "no stored completion fits the source; store some with "
                                   "\"store\": true"
                                 : "the source has no rows");
    return rc;
}

void eval_rows_close(struct eval_rows *r) {
    json_decref(r->source);
    json_decref(r->picked);
    file_map_close(&r->file);
    mem_free(r->lines);
    *r = (struct eval_rows){0};
}

static int read_stored(const struct eval_rows *r, int64_t i, struct arena *mem,
                       struct eval_row *ret, struct err *err) {
    struct stored_completion s;
    const char *id = json_string_value(json_array_get(r->picked, (size_t)i));
    int rc = completions_get(r->catalog, id, mem, &s, err);
    if (!rc) rc = json_read(str_of(s.request), "catalog", &ret->request, err);
    if (!rc) rc = json_read(str_of(s.response), "catalog", &ret->answer, err);
    if (rc) return rc;
    json_t *messages = json_object_get(ret->request, "messages");
    json_t *metadata = s.metadata ? api_json(s.metadata) : json_object();
    ret->item = json_pack("{s:s, s:s, s:I, s:o, s:o}", "id", s.id, "model", s.model, "created_at",
                          (json_int_t)s.created_at, "metadata", metadata, "input",
                          messages ? json_incref(messages) : json_array());
    return 0;
}

int eval_row_read(const struct eval_rows *r, int64_t i, struct arena *mem, struct eval_row *ret,
                  struct err *err) {
    json_t *v = NULL;
    char where[40];
    int rc = 0;
    *ret = (struct eval_row){0};
    if (r->picked) return read_stored(r, i, mem, ret, err);
    snprintf(where, sizeof where, "row %lld", (long long)i + 1);
    if (r->content)
        v = json_deep_copy(json_array_get(r->content, (size_t)i)); /* counted by one thread */
    else if (r->lines[i].n > ROW_MAX_BYTES)
        rc = err_set(err, ERR_LIMIT, "%s is longer than 16 MiB", where);
    else
        rc = json_read(r->lines[i], where, &v, err);
    const json_t *item = json_object_get(v, "item"), *sample = json_object_get(v, "sample");
    if (!rc && !json_is_object(item))
        rc = err_set(err, ERR_INVALID, "%s: \"item\" must be an object", where);
    if (!rc && sample && !json_is_null(sample) && !json_is_object(sample))
        rc = err_set(err, ERR_INVALID, "%s: \"sample\" must be an object", where);
    if (!rc) ret->item = json_incref((json_t *)item);
    if (!rc && json_is_object(sample)) ret->sample = json_incref((json_t *)sample);
    json_decref(v);
    return rc;
}

void eval_row_release(struct eval_row *row) {
    json_decref(row->item);
    json_decref(row->sample);
    json_decref(row->request);
    json_decref(row->answer);
    *row = (struct eval_row){0};
}

/* --- requests --- */

/* parts of the Responses form under the names that chat completions have for them */
static json_t *chat_messages(const json_t *list) {
    json_t *copy = json_deep_copy(list);
    for (size_t i = 0; i < json_array_size(copy); i++) {
        json_t *content = json_object_get(json_array_get(copy, i), "content");
        json_object_del(json_array_get(copy, i), "type");
        for (size_t k = 0; k < json_array_size(content); k++) {
            json_t *part = json_array_get(content, k);
            struct str type = json_str(json_object_get(part, "type"));
            if (type.p && (str_is(type, "input_text") || str_is(type, "output_text")))
                json_object_set_new(part, "type", json_string("text"));
        }
    }
    return copy;
}

static int referred(const json_t *reference, const struct placeholder_scope *scope, json_t **ret,
                    struct err *err) {
    const json_t *found = NULL;
    int rc = placeholder_find(json_str(reference), scope, &found, err);
    if (rc) return rc;
    if (json_is_string(found))
        *ret = json_pack("[{s:s, s:O}]", "role", "user", "content", found);
    else if (json_is_array(found))
        *ret = chat_messages(found);
    else
        return err_set(err, ERR_INVALID, "\"%s\" is neither messages nor a text",
                       json_string_value(reference));
    return 0;
}

static int row_messages(const struct eval_rows *r, const struct eval_row *row, json_t **ret,
                        struct err *err) {
    const json_t *m = json_object_get(r->source, "input_messages");
    const json_t *reference = json_object_get(m, "item_reference");
    struct placeholder_scope scope = {row->item, row->sample};
    if (!json_is_object(m)) {
        *ret = json_deep_copy(json_object_get(row->request, "messages"));
        return 0;
    }
    if (json_is_string(reference)) return referred(reference, &scope, ret, err);
    return messages_fill(json_object_get(m, "template"), &scope, ret, err);
}

/* {"type":"json_schema","name","schema","strict"} of Responses as chat completions have it */
static json_t *chat_format(const json_t *format) {
    if (!str_is(json_str(json_object_get(format, "type")), "json_schema"))
        return json_deep_copy(format);
    json_t *inner = json_deep_copy(format);
    json_object_del(inner, "type");
    return json_pack("{s:s, s:o}", "type", "json_schema", "json_schema", inner);
}

/* {"type":"function","name",...} of Responses has no "function" of its own */
static json_t *chat_tools(const json_t *tools) {
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        json_t *tool = json_deep_copy(json_array_get(tools, i));
        struct str type = json_str(json_object_get(tool, "type"));
        if (type.p && str_is(type, "function") && !json_object_get(tool, "function")) {
            json_object_del(tool, "type");
            tool = json_pack("{s:s, s:o}", "type", "function", "function", tool);
        }
        json_array_append_new(list, tool);
    }
    return list;
}

static void add_sampling(const json_t *params, json_t *body) {
    static const char *const taken[][2] = {{"temperature", "temperature"},
                                           {"top_p", "top_p"},
                                           {"seed", "seed"},
                                           {"max_completions_tokens", "max_completion_tokens"},
                                           {"max_completion_tokens", "max_completion_tokens"},
                                           {"response_format", "response_format"}};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        json_t *v = json_object_get(params, taken[i][0]);
        if (v && !json_is_null(v)) json_object_set_new(body, taken[i][1], json_deep_copy(v));
    }
    const json_t *tools = json_object_get(params, "tools");
    const json_t *format = json_object_get(json_object_get(params, "text"), "format");
    if (json_array_size(tools)) json_object_set_new(body, "tools", chat_tools(tools));
    if (json_is_object(format)) json_object_set_new(body, "response_format", chat_format(format));
}

int eval_row_request(const struct eval_rows *r, const struct eval_row *row, const char *model,
                     json_t **ret, struct err *err) {
    json_t *messages = NULL;
    *ret = NULL;
    if (!model) return 0;
    int rc = row_messages(r, row, &messages, err);
    if (rc) return rc;
    *ret = json_pack("{s:s, s:o, s:i, s:i, s:i}", "model", model, "messages",
                     messages ? messages : json_array(), "temperature", 1, "top_p", 1, "seed", 42);
    add_sampling(json_object_get(r->source, "sampling_params"), *ret);
    return 0;
}
