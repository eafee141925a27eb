/* /v1/batches: files of requests that are answered in the background (batch_runner.h). */
#include "api/api.h"
#include "api/batch_runner.h"
#include "api/fields.h"

#include "base/clock.h"
#include "store/batches.h"
#include "store/files.h"

#include <string.h>

#define DAY 86400

static json_t *json_or_null(const char *text) { return text ? api_json(text) : json_null(); }

static json_t *batch_json(const struct batch *b) {
    const struct {
        const char *name;
        int64_t at;
    } stamps[] = {{"in_progress_at", b->in_progress_at}, {"expires_at", b->expires_at},
                  {"finalizing_at", b->finalizing_at},   {"completed_at", b->completed_at},
                  {"failed_at", b->failed_at},           {"expired_at", b->expired_at},
                  {"cancelling_at", b->cancelling_at},   {"cancelled_at", b->cancelled_at}};
    json_t *o = json_object(), *counts = json_object();
    json_object_set_new(o, "id", api_text(b->id));
    json_object_set_new(o, "object", json_string("batch"));
    json_object_set_new(o, "endpoint", api_text(b->endpoint));
    if (b->model) json_object_set_new(o, "model", api_text(b->model));
    json_object_set_new(o, "errors", json_or_null(b->errors));
    json_object_set_new(o, "input_file_id", api_text(b->input_file));
    json_object_set_new(o, "completion_window", api_text(b->completion_window));
    json_object_set_new(o, "status", api_text(b->status));
    json_object_set_new(o, "output_file_id", api_text(b->output_file));
    json_object_set_new(o, "error_file_id", api_text(b->error_file));
    json_object_set_new(o, "created_at", json_integer(b->created_at));
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++)
        json_object_set_new(o, stamps[i].name, api_time(stamps[i].at));
    json_object_set_new(counts, "total", json_integer(b->total));
    json_object_set_new(counts, "completed", json_integer(b->completed));
    json_object_set_new(counts, "failed", json_integer(b->failed));
    json_object_set_new(o, "request_counts", counts);
    if (b->usage) json_object_set_new(o, "usage", api_json(b->usage));
    json_object_set_new(o, "metadata", json_or_null(b->metadata));
    return o;
}

static int no_batch(struct http_request *req, int rc, struct http_response *res) {
    struct str id = req->param[0];
    if (rc != ERR_NOT_FOUND) return rc;
    return http_error(res, 404, NULL, "id", "No batch found with id '%.*s'.",
                      id.n > 200 ? 200 : (int)id.n, id.p);
}

/* --- create --- */

static int read_file(struct http_request *req, const struct fields *f, struct batch *new,
                     struct http_response *res, struct err *err) {
    struct str id = {0};
    struct stored_file file;
    int rc = fields_required(f, "input_file_id");
    if (!rc) rc = fields_str(f, "input_file_id", 1, 200, &id);
    if (rc) return rc;
    new->input_file = arena_strndup(req->arena, id.p, id.n);
    rc = files_get(api_of(req)->catalog, new->input_file, req->arena, &file, err);
    if (rc == ERR_NOT_FOUND)
        return fields_wrong(f, "input_file_id", NULL, "No such File object: %s", new->input_file);
    if (!rc && strcmp(file.purpose, "batch") != 0)
        return http_error(res, 400, "invalid_value", "input_file_id",
                          "Invalid 'input_file_id': the file's purpose is '%s', not 'batch'.",
                          file.purpose);
    return rc;
}

static int read_expiry(const struct fields *f, struct batch *new, struct http_response *res) {
    struct fields e;
    struct str anchor = {0};
    int64_t seconds = 0;
    if (!fields_has(f, "output_expires_after")) return 0;
    int rc = fields_object(f, "output_expires_after", &e);
    if (!rc) rc = fields_known(&e, "anchor seconds");
    if (!rc) rc = fields_str(&e, "anchor", 1, 40, &anchor);
    if (!rc) rc = fields_i64(&e, "seconds", INT64_MIN, INT64_MAX, &seconds);
    if (!rc) rc = api_expires_check(anchor.n ? &anchor : NULL, seconds, res);
    new->output_expires_after = seconds;
    return rc;
}

static int read_batch(struct http_request *req, struct batch *new, struct http_response *res,
                      struct err *err) {
    struct fields f = fields_of(req, res);
    struct str endpoint = {0}, window = {0};
    const json_t *metadata = NULL;
    int rc =
        fields_known(&f, "input_file_id endpoint completion_window metadata output_expires_after");
    if (!rc) rc = read_file(req, &f, new, res, err);
    if (!rc) rc = fields_required(&f, "endpoint");
    if (!rc) rc = fields_str(&f, "endpoint", 1, 100, &endpoint);
    if (!rc && !batch_endpoint(endpoint))
        rc = fields_wrong(&f, "endpoint", "invalid_value",
                          "Invalid value: '%.*s'. Supported values are: '/v1/chat/completions' "
                          "and '/v1/completions'.",
                          STR_ARG(endpoint));
    if (!rc) rc = fields_required(&f, "completion_window");
    if (!rc) rc = fields_str(&f, "completion_window", 1, 20, &window);
    if (!rc && !str_is(window, "24h"))
        rc = fields_wrong(&f, "completion_window", "invalid_value",
                          "Invalid value: '%.*s'. Supported values are: '24h'.", STR_ARG(window));
    if (!rc) rc = fields_metadata(&f, "metadata", &metadata);
    if (!rc) rc = read_expiry(&f, new, res);
    if (rc) return rc;
    struct buf b;
    buf_init(&b, (size_t)1 << 20);
    if (metadata) json_write(metadata, &b);
    new->metadata = metadata ? arena_strndup(req->arena, b.p, b.n) : NULL;
    buf_release(&b);
    new->endpoint = arena_strndup(req->arena, endpoint.p, endpoint.n);
    new->completion_window = "24h";
    new->expires_at = clock_unix() + DAY;
    return 0;
}

static int create(struct http_request *req, struct http_response *res, struct err *err) {
    struct batch new = {0}, made;
    int rc = read_batch(req, &new, res, err);
    if (!rc) rc = batches_add(api_of(req)->catalog, &new, req->arena, &made, err);
    if (rc) return rc;
    background_wake(api_of(req)->batches);
    return http_json(res, 200, batch_json(&made));
}

/* --- the rest --- */

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 100};
    struct batch_list found;
    struct page page;
    int rc = api_page(req, &how, &page, res);
    if (rc) return rc;
    rc = batches_list(api_of(req)->catalog, &page, req->arena, &found, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(data, batch_json(&found.list[i]));
    return http_json(res, 200, api_list_json(data, found.has_more));
}

static int get(struct http_request *req, struct http_response *res, struct err *err) {
    const char *id = api_param(req, 0);
    struct batch b;
    int rc = id ? batches_get(api_of(req)->catalog, id, req->arena, &b, err) : ERR_NOT_FOUND;
    return rc ? no_batch(req, rc, res) : http_json(res, 200, batch_json(&b));
}

static int cancel(struct http_request *req, struct http_response *res, struct err *err) {
    const char *id = api_param(req, 0);
    struct batch b;
    int rc = id ? batches_cancel(api_of(req)->catalog, id, req->arena, &b, err) : ERR_NOT_FOUND;
    if (rc == ERR_CONFLICT) return http_error(res, 400, NULL, NULL, "%s", err->msg);
    if (rc) return no_batch(req, rc, res);
    background_wake(api_of(req)->batches);
    return http_json(res, 200, batch_json(&b));
}

const struct http_route batch_routes[] = {
    {"POST", "/v1/batches", create, .scope = HTTP_INFERENCE, .body = HTTP_JSON},
    {"GET", "/v1/batches", list, .scope = HTTP_INFERENCE},
    {"GET", "/v1/batches/{id}", get, .scope = HTTP_INFERENCE},
    {"POST", "/v1/batches/{id}/cancel", cancel, .scope = HTTP_INFERENCE},
    {0}};
