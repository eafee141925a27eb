/* /v1/evals/{id}/runs: runs of evals, made in the background (eval_runner.h), and their items. */
#include "api/api.h"
#include "api/background.h"
#include "api/eval_source.h"
#include "api/fields.h"

#include "store/evals.h"

#include <stdio.h>
#include <string.h>

static json_t *or_null(const char *text) { return text ? api_json(text) : json_null(); }

/* where a person can look at it: at the address the client used */
static json_t *report_url(const struct http_request *req, const struct eval_run *r) {
    const char *host = http_header(req, "Host");
    bool plain = host && *host &&
                 strspn(host, "0123456789abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:[]") == strlen(host);
    return json_sprintf("http://%s/v1/evals/%s/runs/%s/report", plain ? host : "localhost", r->eval,
                        r->id);
}

static json_t *run_json(const struct http_request *req, const struct eval_run *r) {
    json_t *counts = json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)r->total, "errored",
                               (json_int_t)r->errored, "failed", (json_int_t)r->failed, "passed",
                               (json_int_t)r->passed);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:o}", "object", "eval.run", "id",
                  r->id, "eval_id", r->eval, "status", r->status, "model", api_text(r->model),
                  "name", api_text(r->name), "created_at", (json_int_t)r->created_at, "report_url",
                  report_url(req, r), "result_counts", counts);
    json_object_set_new(o, "per_model_usage", or_null(r->usage));
    json_object_set_new(o, "per_testing_criteria_results", or_null(r->results));
    json_object_set_new(o, "data_source", api_json(r->data_source));
    json_object_set_new(o, "metadata", r->metadata ? api_json(r->metadata) : json_object());
    json_object_set_new(o, "error", or_null(r->error));
    return o;
}

static json_t *item_json(const char *eval, const struct eval_output *i) {
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:o, s:o, s:o}", "object", "eval.run.output_item",
        "id", i->id, "run_id", i->run, "eval_id", eval, "created_at", (json_int_t)i->created_at,
        "status", i->status, "datasource_item_id", (json_int_t)i->number, "datasource_item",
        api_json(i->item), "results", api_json(i->results), "sample", api_json(i->sample));
}

/* --- what a path names --- */

static int missing(struct http_request *req, int rc, int which, struct http_response *res) {
    static const char *const what[] = {"eval", "run", "output item"};
    struct str id = req->param[which];
    if (rc != ERR_NOT_FOUND) return rc;
    return http_error(res, 404, NULL, "id", "No %s found with id '%.*s'.", what[which],
                      id.n > 200 ? 200 : (int)id.n, id.p);
}

static int get_eval(struct http_request *req, struct eval *ret, struct http_response *res,
                    struct err *err) {
    const char *id = api_param(req, 0);
    int rc = id ? evals_get(api_of(req)->catalog, id, req->arena, ret, err) : ERR_NOT_FOUND;
    return missing(req, rc, 0, res);
}

static int get_run(struct http_request *req, struct eval_run *ret, struct http_response *res,
                   struct err *err) {
    struct eval e;
    const char *id = api_param(req, 1);
    int rc = get_eval(req, &e, res, err);
    if (rc) return rc;
    rc = id ? eval_runs_get(api_of(req)->catalog, e.id, id, req->arena, ret, err) : ERR_NOT_FOUND;
    return missing(req, rc, 1, res);
}

/* one of the words of a query's parameter, or NULL */
static int query_word(struct http_request *req, const char *name, const char *const *words,
                      const char **ret, struct http_response *res) {
    const struct str *v = http_query(req, name);
    *ret = NULL;
    if (!v || v->n == 0) return 0;
    for (size_t i = 0; words[i]; i++)
        if (str_is(*v, words[i])) *ret = words[i];
    if (*ret) return 0;
    return http_error(res, 400, "invalid_value", name, "Invalid value for '%s': '%.*s'.", name,
                      v->n > 80 ? 80 : (int)v->n, v->p);
}

/* --- runs --- */

static const char *kept(struct http_request *req, const json_t *v) {
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    json_write(v, &b);
    const char *z = arena_strndup(req->arena, buf_view(&b).p, b.n);
    buf_release(&b);
    return z;
}

static int read_run(struct http_request *req, const struct eval *e, struct eval_run *new,
                    struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res), source;
    struct str name = {0};
    const json_t *metadata = NULL;
    int rc = fields_known(&f, "name metadata data_source");
    if (!rc) rc = fields_str(&f, "name", 0, 512, &name);
    if (!rc) rc = fields_metadata(&f, "metadata", &metadata);
    if (!rc) rc = fields_required(&f, "data_source");
    if (!rc) rc = fields_object(&f, "data_source", &source);
    if (rc) return rc;
    json_t *config = api_json(e->data_source);
    rc = eval_source_check(req, &source, config, &new->model, &new->picked, err);
    if (!rc) {
        new->eval = e->id;
        new->name = name.p ? arena_strndup(req->arena, name.p, name.n) : NULL;
        new->metadata = metadata ? kept(req, metadata) : NULL;
        new->data_source = kept(req, source.o);
        if (!new->data_source) rc = err_set(err, ERR_LIMIT, "the data source is too large");
    }
    json_decref(config);
    return rc;
}

static int create(struct http_request *req, struct http_response *res, struct err *err) {
    struct eval e;
    struct eval_run new = {0}, made;
    int rc = get_eval(req, &e, res, err);
    if (!rc) rc = read_run(req, &e, &new, res, err);
    if (!rc) rc = eval_runs_add(api_of(req)->catalog, &new, req->arena, &made, err);
    if (rc) return rc;
    background_wake(api_of(req)->evals);
    return http_json(res, 201, run_json(req, &made));
}

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 100, .ascending = true};
    static const char *const states[] = {"queued", "in_progress", "completed",
                                         "failed", "canceled",    NULL};
    struct eval_run_list found;
    struct page page;
    struct eval e;
    const char *status;
    int rc = api_page(req, &how, &page, res);
    if (!rc) rc = query_word(req, "status", states, &status, res);
    if (!rc) rc = get_eval(req, &e, res, err);
    if (rc) return rc;
    rc = eval_runs_list(api_of(req)->catalog, e.id, status, &page, req->arena, &found, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(data, run_json(req, &found.list[i]));
    return http_json(res, 200, api_list_json(data, found.has_more));
}

static int retrieve(struct http_request *req, struct http_response *res, struct err *err) {
    struct eval_run r;
    int rc = get_run(req, &r, res, err);
    return rc ? rc : http_json(res, 200, run_json(req, &r));
}

static int cancel(struct http_request *req, struct http_response *res, struct err *err) {
    struct eval_run r;
    int rc = get_run(req, &r, res, err);
    if (rc) return rc;
    rc = eval_runs_cancel(api_of(req)->catalog, r.eval, r.id, req->arena, &r, err);
    if (rc == ERR_CONFLICT) return http_error(res, 400, NULL, NULL, "%s", err->msg);
    return rc ? missing(req, rc, 1, res) : http_json(res, 200, run_json(req, &r));
}

static int delete (struct http_request *req, struct http_response *res, struct err *err) {
    struct eval_run r;
    int rc = get_run(req, &r, res, err);
    if (rc) return rc;
    rc = eval_runs_delete(api_of(req)->catalog, r.eval, r.id, err);
    if (rc) return missing(req, rc, 1, res);
    return http_json(
        res, 200,
        json_pack("{s:s, s:b, s:s}", "object", "eval.run.deleted", "deleted", 1, "run_id", r.id));
}

/* --- items --- */

static int list_items(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 100, .ascending = true};
    static const char *const states[] = {"pass", "fail", "error", NULL};
    struct eval_output_list found;
    struct page page;
    struct eval_run r;
    const char *status;
    int rc = api_page(req, &how, &page, res);
    if (!rc) rc = query_word(req, "status", states, &status, res);
    if (!rc) rc = get_run(req, &r, res, err);
    if (rc) return rc;
    rc = eval_items_list(api_of(req)->catalog, r.id, status, &page, req->arena, &found, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(data, item_json(r.eval, &found.list[i]));
    return http_json(res, 200, api_list_json(data, found.has_more));
}

static int get_item(struct http_request *req, struct http_response *res, struct err *err) {
    struct eval_run r;
    struct eval_output item;
    const char *id = api_param(req, 2);
    int rc = get_run(req, &r, res, err);
    if (rc) return rc;
    rc =
        id ? eval_items_get(api_of(req)->catalog, r.id, id, req->arena, &item, err) : ERR_NOT_FOUND;
    return rc ? missing(req, rc, 2, res) : http_json(res, 200, item_json(r.eval, &item));
}

/* --- the page of a run --- */

static void html(struct buf *b, struct str s) {
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

static void html_z(struct buf *b, const char *before, const char *z) {
    buf_z(b, before);
    html(b, str_of(z ? z : ""));
}

static int report(struct http_request *req, struct http_response *res, struct err *err) {
    struct eval_run r;
    int rc = get_run(req, &r, res, err);
    if (rc) return rc;
    http_json(res, 200, json_null());
    struct buf *b = &res->body;
    buf_clear(b);
    res->type = "text/html; charset=utf-8";
    html_z(b, "<!doctype html><meta charset=\"utf-8\"><title>", r.name);
    html_z(b, "</title><h1>", r.name);
    html_z(b, "</h1><p>Status: ", r.status);
    if (r.model) html_z(b, ", model: ", r.model);
    buf_printf(b,
               "</p><p>%lld rows: %lld passed, %lld failed, %lld errors</p>"
               "<table><tr><th>Criterion<th>Passed<th>Failed",
               (long long)r.total, (long long)r.passed, (long long)r.failed, (long long)r.errored);
    json_t *results = api_json(r.results);
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *x = json_array_get(results, i);
        buf_z(b, "<tr><td>");
        html(b, json_str(json_object_get(x, "testing_criteria")));
        buf_printf(b, "<td>%lld<td>%lld",
                   (long long)json_integer_value(json_object_get(x, "passed")),
                   (long long)json_integer_value(json_object_get(x, "failed")));
    }
    buf_printf(b, "</table><p><a href=\"../%s/output_items\">Items</a> as JSON</p>\n", r.id);
    json_decref(results);
    return 0;
}

#define RUNS "/v1/evals/{id}/runs"
const struct http_route eval_run_routes[] = {
    {"POST", RUNS, create, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"GET", RUNS, list, .scope = HTTP_TUNING},
    {"GET", RUNS "/{run}", retrieve, .scope = HTTP_TUNING},
    {"POST", RUNS "/{run}", cancel, .scope = HTTP_TUNING},
    {"POST", RUNS "/{run}/cancel", cancel, .scope = HTTP_TUNING}, /* as newer clients ask */
    {"DELETE", RUNS "/{run}", delete, .scope = HTTP_TUNING},
    {"GET", RUNS "/{run}/report", report, .scope = HTTP_TUNING},
    {"GET", RUNS "/{run}/output_items", list_items, .scope = HTTP_TUNING},
    {"GET", RUNS "/{run}/output_items/{item}", get_item, .scope = HTTP_TUNING},
    {0}};
