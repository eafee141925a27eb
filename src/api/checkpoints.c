/* Permissions of checkpoints: kept and shown. On one machine they change nothing, since whoever has
 * a key may use every model. */
#include "api/api.h"
#include "api/fields.h"

#include "registry/names.h"
#include "store/permissions.h"

#define PROJECTS_MAX 100

static json_t *permission_json(const struct permission *p) {
    return json_pack("{s:s, s:o, s:I, s:o}", "object", "checkpoint.permission", "id",
                     api_text(p->id), "created_at", (json_int_t)p->created_at, "project_id",
                     api_text(p->project));
}

static json_t *list_json(const struct permission_list *l) {
    json_t *data = json_array();
    for (size_t i = 0; i < l->count; i++) json_array_append_new(data, permission_json(&l->list[i]));
    return api_list_json(data, l->has_more);
}

/* the checkpoint in the path; it must be there */
static int checkpoint(struct http_request *req, const char **ret, struct http_response *res,
                      struct err *err) {
    struct named_model m;
    *ret = api_param(req, 0);
    int rc = *ret ? names_resolve(api_of(req)->catalog, *ret, req->arena, &m, err) : ERR_NOT_FOUND;
    return rc == ERR_NOT_FOUND ? api_no_model(*ret ? *ret : "", res) : rc;
}

static int create(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res);
    struct permission_list made;
    const char *name, *projects[PROJECTS_MAX];
    const json_t *ids;
    int rc = fields_known(&f, "project_ids");
    if (!rc) rc = fields_required(&f, "project_ids");
    if (!rc) rc = fields_array(&f, "project_ids", 1, PROJECTS_MAX, &ids);
    if (!rc) rc = checkpoint(req, &name, res, err);
    if (rc) return rc;
    for (size_t i = 0; i < json_array_size(ids); i++) {
        struct str id = json_str(json_array_get(ids, i));
        if (!id.p || id.n == 0 || memchr(id.p, '\0', id.n))
            return fields_wrong(&f, "project_ids", "invalid_type",
                                "Invalid type for 'project_ids[%zu]': expected a string.", i);
        projects[i] = id.p;
    }
    rc = permissions_add(api_of(req)->catalog, name, projects, json_array_size(ids), req->arena,
                         &made, err);
    return rc ? rc : http_json(res, 200, list_json(&made));
}

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 10, .limit_max = 10000};
    const struct str *p = http_query(req, "project_id");
    struct permission_list found;
    struct page page;
    const char *name;
    int rc = api_page(req, &how, &page, res);
    if (!rc) rc = checkpoint(req, &name, res, err);
    if (rc) return rc;
    const char *project = p && p->n ? arena_strndup(req->arena, p->p, p->n) : NULL;
    rc = permissions_list(api_of(req)->catalog, name, project, &page, req->arena, &found, err);
    return rc ? api_list_failed(req, rc, res, err) : http_json(res, 200, list_json(&found));
}

static int delete (struct http_request *req, struct http_response *res, struct err *err) {
    const char *name = api_param(req, 0), *id = api_param(req, 1);
    int rc = name && id ? permissions_delete(api_of(req)->catalog, name, id, err) : ERR_NOT_FOUND;
    if (rc == ERR_NOT_FOUND)
        return http_error(res, 404, NULL, "id", "No such permission: %.200s", id ? id : "");
    if (rc) return rc;
    return http_json(
        res, 200,
        json_pack("{s:s, s:s, s:b}", "id", id, "object", "checkpoint.permission", "deleted", 1));
}

#define PERMISSIONS "/v1/fine_tuning/checkpoints/{model}/permissions"
const struct http_route checkpoint_routes[] = {
    {"POST", PERMISSIONS, create, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"GET", PERMISSIONS, list, .scope = HTTP_TUNING},
    {"DELETE", PERMISSIONS "/{id}", delete, .scope = HTTP_TUNING},
    {0}};
