/* /v1/evals: what is graded and how. Runs of it are in eval_runs.c. */
#include "api/api.h"
#include "api/eval_ask.h"
#include "api/fields.h"

#include "store/evals.h"

#include <stdio.h>
#include <string.h>

#define CRITERIA_MAX 64

static json_t *eval_json(const struct eval *e) {
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:o}", "id", e->id, "object", "eval", "name",
                     api_text(e->name), "data_source_config", api_json(e->data_source),
                     "testing_criteria", api_json(e->criteria), "created_at",
                     (json_int_t)e->created_at, "metadata",
                     e->metadata ? api_json(e->metadata) : json_object());
}

static int no_eval(struct http_request *req, int rc, struct http_response *res) {
    struct str id = req->param[0];
    if (rc != ERR_NOT_FOUND) return rc;
    return http_error(res, 404, NULL, "id", "No eval found with id '%.*s'.",
                      id.n > 200 ? 200 : (int)id.n, id.p);
}

/* JSON as text in the request's arena; takes over v */
static const char *kept(struct http_request *req, json_t *v) {
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    json_write(v, &b);
    const char *z = arena_strndup(req->arena, buf_view(&b).p, b.n);
    buf_release(&b);
    json_decref(v);
    return z;
}

/* --- create --- */

/* of logs: messages asked and what was answered */
static json_t *sample_schema(void) {
    return json_pack("{s:s, s:{s:{s:s}, s:{}, s:{s:s}}, s:[s]}", "type", "object", "properties",
                     "output_text", "type", "string", "output_json", "output_tools", "type",
                     "array", "required", "output_text");
}

static json_t *whole_schema(json_t *item, bool sample) {
    json_t *s = json_pack("{s:s, s:{s:o}, s:[s]}", "type", "object", "properties", "item", item,
                          "required", "item");
    if (sample) {
        json_object_set_new(json_object_get(s, "properties"), "sample", sample_schema());
        json_array_append_new(json_object_get(s, "required"), json_string("sample"));
    }
    return s;
}

static int read_config(struct http_request *req, const struct fields *f, const char **ret) {
    struct fields c, schema;
    const json_t *metadata = NULL;
    bool sample = false;
    int type = 0;
    int rc = fields_required(f, "data_source_config");
    if (!rc) rc = fields_object(f, "data_source_config", &c);
    if (!rc) rc = fields_required(&c, "type");
    if (!rc) rc = fields_word(&c, "type", "custom logs stored_completions", &type);
    if (!rc)
        rc = fields_known(&c, type ? "type metadata" : "type item_schema include_sample_schema");
    if (!rc && !type) rc = fields_required(&c, "item_schema");
    if (!rc) rc = fields_object(&c, "item_schema", &schema);
    if (!rc) rc = fields_bool(&c, "include_sample_schema", &sample);
    if (!rc) rc = fields_metadata(&c, "metadata", &metadata);
    if (rc) return rc;
    json_t *config = json_pack("{s:O}", "type", json_object_get(c.o, "type"));
    if (type)
        json_object_set_new(config, "metadata",
                            metadata ? json_deep_copy(metadata) : json_object());
    json_t *item = type ? json_pack("{s:s, s:{s:{s:s}}}", "type", "object", "properties", "input",
                                    "type", "array")
                        : json_deep_copy(schema.o);
    json_object_set_new(config, "schema", whole_schema(item, type || sample));
    *ret = kept(req, config);
    return 0;
}

/* a criterion with an id of its own, its name and what makes it unlike others */
static json_t *criterion(const json_t *given) {
    char suffix[32];
    json_t *c = json_deep_copy(given), *id;
    id_random(suffix, 24);
    id = json_sprintf("%s-%s", json_string_value(json_object_get(c, "name")), suffix);
    json_object_set_new(c, "id", id);
    return c;
}

static int read_criterion(struct http_request *req, const struct fields *f, size_t i, json_t *all,
                          struct err *err) {
    struct fields c;
    struct str name = {0};
    struct grader *g = NULL;
    int rc = fields_item(f, "testing_criteria", i, &c);
    if (!rc) rc = fields_required(&c, "type");
    if (!rc) rc = fields_required(&c, "name");
    if (!rc) rc = fields_str(&c, "name", 1, 256, &name);
    if (rc) return rc;
    rc = grader_new_asking(c.o, c.at, &g, err);
    if (rc)
        return fields_wrong(&c, NULL, rc == ERR_UNSUPPORTED ? "unsupported_value" : "invalid_value",
                            "Invalid grader: %s.", err->msg);
    if (str_is(json_str(json_object_get(c.o, "type")), "text_similarity"))
        rc = fields_required(&c, "pass_threshold");
    struct str model;
    for (size_t k = 0; !rc && (model = grader_model(g, k)).n; k++)
        rc = eval_model_check(req, &c, "model", model, err);
    grader_free(g);
    if (!rc) json_array_append_new(all, criterion(c.o));
    return rc;
}

static int read_criteria(struct http_request *req, const struct fields *f, const char **ret,
                         struct err *err) {
    const json_t *list = NULL;
    int rc = fields_required(f, "testing_criteria");
    if (!rc) rc = fields_array(f, "testing_criteria", 1, CRITERIA_MAX, &list);
    if (rc) return rc;
    json_t *all = json_array();
    for (size_t i = 0; !rc && i < json_array_size(list); i++)
        rc = read_criterion(req, f, i, all, err);
    if (rc) {
        json_decref(all);
        return rc;
    }
    *ret = kept(req, all);
    return 0;
}

static int read_naming(struct http_request *req, const struct fields *f, const char **name,
                       const char **metadata) {
    struct str s = {0};
    const json_t *m = NULL;
    int rc = fields_str(f, "name", 0, 512, &s);
    if (!rc) rc = fields_metadata(f, "metadata", &m);
    if (!rc && s.p) *name = arena_strndup(req->arena, s.p, s.n);
    if (!rc && m) *metadata = kept(req, json_deep_copy(m));
    return rc;
}

static int create(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res);
    struct eval new = {0}, made;
    int rc = fields_known(&f, "name metadata data_source_config testing_criteria");
    if (!rc) rc = read_naming(req, &f, &new.name, &new.metadata);
    if (!rc) rc = read_config(req, &f, &new.data_source);
    if (!rc) rc = read_criteria(req, &f, &new.criteria, err);
    if (!rc) rc = evals_add(api_of(req)->catalog, &new, req->arena, &made, err);
    return rc ? rc : http_json(res, 201, eval_json(&made));
}

/* --- the rest --- */

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 100, .ascending = true};
    struct eval_list found;
    struct page page;
    const struct str *by = http_query(req, "order_by");
    int rc = api_page(req, &how, &page, res);
    if (rc) return rc;
    if (by && by->n && !str_is(*by, "created_at") && !str_is(*by, "updated_at"))
        return http_error(res, 400, "invalid_value", "order_by",
                          "Invalid value for 'order_by'. Supported values are: 'created_at' and "
                          "'updated_at'.");
    bool by_update = by && str_is(*by, "updated_at");
    rc = evals_list(api_of(req)->catalog, &page, by_update, req->arena, &found, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < found.count; i++) json_array_append_new(data, eval_json(&found.list[i]));
    return http_json(res, 200, api_list_json(data, found.has_more));
}

static int get(struct http_request *req, struct eval *ret, struct http_response *res,
               struct err *err) {
    const char *id = api_param(req, 0);
    int rc = id ? evals_get(api_of(req)->catalog, id, req->arena, ret, err) : ERR_NOT_FOUND;
    return no_eval(req, rc, res);
}

static int retrieve(struct http_request *req, struct http_response *res, struct err *err) {
    struct eval e;
    int rc = get(req, &e, res, err);
    return rc ? rc : http_json(res, 200, eval_json(&e));
}

static int update(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res);
    struct eval e;
    int rc = get(req, &e, res, err);
    if (!rc) rc = fields_known(&f, "name metadata");
    if (!rc) rc = read_naming(req, &f, &e.name, &e.metadata);
    if (!rc) rc = evals_update(api_of(req)->catalog, e.id, e.name, e.metadata, err);
    return rc ? no_eval(req, rc, res) : retrieve(req, res, err);
}

static int delete (struct http_request *req, struct http_response *res, struct err *err) {
    const char *id = api_param(req, 0);
    int rc = id ? evals_delete(api_of(req)->catalog, id, err) : ERR_NOT_FOUND;
    if (rc) return no_eval(req, rc, res);
    return http_json(
        res, 200,
        json_pack("{s:s, s:b, s:s}", "object", "eval.deleted", "deleted", 1, "eval_id", id));
}

const struct http_route eval_routes[] = {
    {"POST", "/v1/evals", create, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"GET", "/v1/evals", list, .scope = HTTP_TUNING},
    {"GET", "/v1/evals/{id}", retrieve, .scope = HTTP_TUNING},
    {"POST", "/v1/evals/{id}", update, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"DELETE", "/v1/evals/{id}", delete, .scope = HTTP_TUNING},
    {0}};
