/* What the resources share: parameters, pages, lists. */
#include "api/api.h"

#include <stdio.h>

const char *api_param(const struct http_request *req, int i) {
    struct str s = req->param[i];
    if (s.n && memchr(s.p, '\0', s.n)) return NULL;
    return arena_strndup(req->arena, s.p, s.n);
}

static int query_text(struct http_request *req, const char *name, const char **ret,
                      struct http_response *res) {
    const struct str *v = http_query(req, name);
    *ret = NULL;
    if (!v || v->n == 0) return 0;
    if (memchr(v->p, '\0', v->n))
        return http_error(res, 400, "invalid_value", name, "Invalid '%s': it holds a NUL.", name);
    *ret = arena_strndup(req->arena, v->p, v->n);
    return 0;
}

int api_page(struct http_request *req, const struct api_list *how, struct page *ret,
             struct http_response *res) {
    const char *order;
    *ret = (struct page){.limit = how->limit, .ascending = how->ascending};
    int rc =
        http_query_i64(req, "limit", 1, how->limit_max ? how->limit_max : 10000, &ret->limit, res);
    if (!rc) rc = query_text(req, "after", &ret->after, res);
    if (!rc) rc = query_text(req, "order", &order, res);
    if (rc || !order) return rc;
    ret->ascending = strcmp(order, "asc") == 0 || strcmp(order, "ascending") == 0;
    if (ret->ascending || strcmp(order, "desc") == 0 || strcmp(order, "descending") == 0) return 0;
    return http_error(res, 400, "invalid_value", "order",
                      "Invalid value: '%.80s'. Supported values are: 'asc' and 'desc'.", order);
}

int api_meta_filters(struct http_request *req, struct meta_filter ret[META_FILTERS_MAX],
                     size_t *ret_count, bool *ret_none, struct http_response *res) {
    *ret_count = 0;
    *ret_none = false;
    for (size_t i = 0; i < req->query_count; i++) {
        struct str name = req->query[i].name, value = req->query[i].value;
        if (str_is(name, "metadata")) {
            if (value.n && !str_is(value, "null"))
                return http_error(res, 400, "invalid_value", "metadata",
                                  "Invalid 'metadata': write metadata[key]=value, or "
                                  "metadata=null.");
            *ret_none = true;
            continue;
        }
        if (!str_starts(name, STR_LIT("metadata[")) || !str_ends(name, STR_LIT("]"))) continue;
        if (*ret_count == META_FILTERS_MAX)
            return http_error(res, 400, "invalid_value", "metadata",
                              "At most %d metadata filters can be given.", META_FILTERS_MAX);
        struct str key = {name.p + 9, name.n - 10};
        ret[(*ret_count)++] = (struct meta_filter){key, value};
    }
    return 0;
}

static json_t *id_of(const json_t *item) {
    json_t *id = json_object_get(item, "id");
    return id ? json_incref(id) : json_null();
}

json_t *api_list_json(json_t *data, bool has_more) {
    size_t n = json_array_size(data);
    json_t *first = id_of(json_array_get(data, 0));
    json_t *last = id_of(n ? json_array_get(data, n - 1) : NULL);
    return json_pack("{s:s, s:o, s:o, s:o, s:b}", "object", "list", "data", data, "first_id", first,
                     "last_id", last, "has_more", has_more);
}

int api_list_failed(struct http_request *req, int rc, struct http_response *res,
                    const struct err *err) {
    const struct str *after = http_query(req, "after");
    if (rc != ERR_NOT_FOUND || !after) return rc;
    return http_error(res, 404, NULL, "after", "Invalid 'after': %s.", err->msg);
}

json_t *api_text(const char *z) {
    json_t *v = z ? json_string(z) : json_null();
    return v ? v : json_string("");
}

json_t *api_time(int64_t seconds) {
    return seconds ? json_integer((json_int_t)seconds) : json_null();
}

json_t *api_json(const char *z) {
    struct err err;
    json_t *v = NULL;
    return z && json_read(str_of(z), "catalog", &v, &err) == 0 ? v : json_null();
}
