/* /v1/models: what names stand for a model here. */
#include "api/api.h"

#include "infer/engine.h"
#include "registry/names.h"

static const char *kind_name(enum name_kind kind) {
    switch (kind) {
    case NAME_BASE: return "base";
    case NAME_TUNED: return "tuned";
    case NAME_CHECKPOINT: return "checkpoint";
    case NAME_IMPORTED: return "imported";
    case NAME_ALIAS: return "alias";
    }
    return "other";
}

static void put_known(json_t *o, const char *key, const char *value) {
    if (value) json_object_set_new(o, key, api_text(value));
}

static json_t *model_json(const struct named_model *m) {
    json_t *more = json_pack("{s:s}", "kind", kind_name(m->kind));
    if (m->kind != NAME_BASE) put_known(more, "base", m->base);
    put_known(more, "job", m->job);
    put_known(more, "target", m->target);
    if (m->kind == NAME_CHECKPOINT) json_object_set_new(more, "step", json_integer(m->step));
    return json_pack("{s:o, s:s, s:I, s:o, s:o}", "id", api_text(m->id), "object", "model",
                     "created", (json_int_t)m->created, "owned_by", api_text(m->owned_by), "attune",
                     more);
}

int api_no_model(const char *name, struct http_response *res) {
    return http_error(res, 404, "model_not_found", "model",
                      "The model `%.200s` does not exist or you do not have access to it.", name);
}

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    struct named_list names;
    int rc = names_list(api_of(req)->catalog, req->arena, &names, err);
    if (rc) return rc;
    json_t *data = json_array();
    for (size_t i = 0; i < names.count; i++)
        json_array_append_new(data, model_json(&names.list[i]));
    return http_json(res, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static int retrieve(struct http_request *req, struct http_response *res, struct err *err) {
    const char *name = api_param(req, 0);
    struct named_model m;
    int rc = name ? names_resolve(api_of(req)->catalog, name, req->arena, &m, err) : ERR_NOT_FOUND;
    if (rc == ERR_NOT_FOUND) return api_no_model(name ? name : "", res);
    return rc ? rc : http_json(res, 200, model_json(&m));
}

static int delete (struct http_request *req, struct http_response *res, struct err *err) {
    const char *name = api_param(req, 0);
    struct api *api = api_of(req);
    struct named_model m = {0};
    int rc = name ? names_resolve(api->catalog, name, req->arena, &m, err) : ERR_NOT_FOUND;
    if (!rc) rc = names_delete(api->catalog, name, err);
    if (!rc && m.adapter && api->engine) engine_forget(api->engine, m.adapter);
    if (rc == ERR_NOT_FOUND) return api_no_model(name ? name : "", res);
    if (rc == ERR_INVALID) return http_error(res, 403, NULL, "model", "%s", err->msg);
    if (rc) return rc;
    return http_json(res, 200,
                     json_pack("{s:s, s:s, s:b}", "id", name, "object", "model", "deleted", 1));
}

const struct http_route model_routes[] = {
    {"GET", "/v1/models", list, .scope = HTTP_ANY_KEY},
    {"GET", "/v1/models/{model*}", retrieve, .scope = HTTP_ANY_KEY},
    {"DELETE", "/v1/models/{model*}", delete, .scope = HTTP_TUNING},
    {0}};
