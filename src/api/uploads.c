/* /v1/uploads: a file in parts. */
#include "api/api.h"
#include "api/fields.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/uploads.h"

#define PART_MAX ((int64_t)64 << 20)
#define UPLOAD_MAX ((int64_t)8 << 30)

static const struct http_sink part_sink = {"data", api_blob_open, api_blob_add, api_blob_close};

static json_t *upload_json(const struct upload *u, const struct stored_file *file) {
    const char *status = u->status;
    if (strcmp(status, "pending") == 0 && u->expires_at <= clock_unix()) status = "expired";
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:o, s:I, s:o, s:s, s:I}", "id", u->id, "object", "upload", "created_at",
        (json_int_t)u->created_at, "filename", api_text(u->filename), "bytes", (json_int_t)u->bytes,
        "purpose", api_text(u->purpose), "status", status, "expires_at", (json_int_t)u->expires_at);
    if (file) json_object_set_new(o, "file", api_file_json(file));
    return o;
}

static int no_upload(struct http_request *req, int rc, struct http_response *res) {
    struct str id = req->param[0];
    if (rc != ERR_NOT_FOUND) return rc;
    return http_error(res, 404, NULL, "id", "No such Upload object: %.*s",
                      id.n > 200 ? 200 : (int)id.n, id.p);
}

static int expires_after(const struct fields *f, int64_t *ret, struct http_response *res) {
    struct fields e;
    struct str anchor = STR_LIT("");
    *ret = 0;
    int rc = fields_object(f, "expires_after", &e);
    if (rc || !e.o) return rc;
    rc = fields_known(&e, "anchor seconds");
    if (!rc) rc = fields_required(&e, "seconds");
    if (!rc) rc = fields_str(&e, "anchor", 0, 40, &anchor);
    if (!rc) rc = fields_i64(&e, "seconds", 0, INT64_MAX, ret);
    return rc ? rc : api_expires_check(&anchor, *ret, res);
}

static int create(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res);
    struct str filename = STR_LIT(""), purpose = STR_LIT(""), type = STR_LIT("");
    struct upload u, new = {0};
    int rc = fields_known(&f, "filename purpose bytes mime_type expires_after");
    if (!rc) rc = fields_required(&f, "filename");
    if (!rc) rc = fields_required(&f, "bytes");
    if (!rc) rc = fields_required(&f, "mime_type");
    if (!rc) rc = fields_str(&f, "filename", 1, 512, &filename);
    if (!rc) rc = fields_str(&f, "mime_type", 0, 200, &type);
    if (!rc) rc = fields_i64(&f, "bytes", 1, UPLOAD_MAX, &new.bytes);
    if (!rc) rc = fields_str(&f, "purpose", 0, 80, &purpose);
    if (!rc) rc = api_purpose_check(&purpose, res);
    if (!rc) rc = expires_after(&f, &new.file_expires_after, res);
    if (rc) return rc;
    for (size_t i = filename.n; i > 0; i--) /* a path's last component */
        if (filename.p[i - 1] == '/' || filename.p[i - 1] == '\\') {
            filename = str_from(filename, i);
            break;
        }
    new.filename = filename.n ? arena_strndup(req->arena, filename.p, filename.n) : "upload";
    new.purpose = arena_strndup(req->arena, purpose.p, purpose.n);
    new.mime_type = arena_strndup(req->arena, type.p, type.n);
    rc = uploads_add(api_of(req)->catalog, &new, req->arena, &u, err);
    return rc ? rc : http_json(res, 200, upload_json(&u, NULL));
}

static int add_part(struct http_request *req, struct http_response *res, struct err *err) {
    struct upload_part p;
    const char *id = api_param(req, 0);
    if (req->file_bytes > PART_MAX)
        return http_error(res, 413, NULL, "data", "A part has at most %lld bytes.",
                          (long long)PART_MAX);
    struct catalog *c = api_of(req)->catalog;
    int rc = uploads_expire(c, clock_unix(), err);
    if (!rc) rc = id ? uploads_add_part(c, id, req->file, req->arena, &p, err) : ERR_NOT_FOUND;
    if (rc) return no_upload(req, rc, res);
    return http_json(res, 200,
                     json_pack("{s:s, s:s, s:I, s:s}", "id", p.id, "object", "upload.part",
                               "created_at", (json_int_t)p.created_at, "upload_id", p.upload));
}

/* The bytes are together for the first time: do they hold what their purpose needs? */
static int check_whole(struct http_request *req, const struct stored_file *f,
                       struct http_response *res, struct err *err) {
    struct catalog *c = api_of(req)->catalog;
    char *path = blob_path(c, f->blob);
    int rc = api_file_check(f->purpose, str_of(f->filename), f->bytes, path, res, err);
    struct err ignored;
    if (rc) files_delete(c, f->id, &ignored);
    mem_free(path);
    return rc;
}

static int read_order(struct http_request *req, struct upload_order *ret,
                      struct http_response *res) {
    struct fields f = fields_of(req, res);
    struct str md5 = STR_LIT("");
    const json_t *ids;
    int rc = fields_known(&f, "part_ids md5");
    if (!rc) rc = fields_required(&f, "part_ids");
    if (!rc) rc = fields_array(&f, "part_ids", 1, UPLOAD_PARTS_MAX, &ids);
    if (!rc) rc = fields_str(&f, "md5", 0, 64, &md5);
    if (rc) return rc;
    size_t n = json_array_size(ids);
    const char **parts = arena_array(req->arena, n, sizeof *parts);
    for (size_t i = 0; parts && i < n; i++) {
        struct str id = json_str(json_array_get(ids, i));
        if (!id.p || memchr(id.p, '\0', id.n + 1) != id.p + id.n)
            return fields_wrong(&f, "part_ids", "invalid_type",
                                "Invalid type for 'part_ids[%zu]': expected a string.", i);
        parts[i] = id.p;
    }
    *ret = (struct upload_order){.parts = parts,
                                 .count = parts ? n : 0,
                                 .md5 = md5.n ? arena_strndup(req->arena, md5.p, md5.n) : NULL};
    return 0;
}

static int complete(struct http_request *req, struct http_response *res, struct err *err) {
    struct upload_order order;
    struct upload u;
    struct stored_file f;
    const char *id = api_param(req, 0);
    struct catalog *c = api_of(req)->catalog;
    int rc = read_order(req, &order, res);
    if (rc) return rc;
    rc = uploads_expire(c, clock_unix(), err);
    if (!rc) rc = id ? uploads_get(c, id, req->arena, &u, err) : ERR_NOT_FOUND;
    if (rc) return no_upload(req, rc, res);
    rc = uploads_complete(c, id, &order, req->arena, &u, &f, err);
    if (rc == ERR_NOT_FOUND || rc == ERR_INVALID)
        return http_error(res, 400, rc == ERR_INVALID ? "invalid_value" : NULL,
                          order.md5_wrong ? "md5" : "part_ids", "%s", err->msg);
    if (!rc) rc = check_whole(req, &f, res, err);
    return rc ? rc : http_json(res, 200, upload_json(&u, &f));
}

static int cancel(struct http_request *req, struct http_response *res, struct err *err) {
    struct upload u;
    const char *id = api_param(req, 0);
    struct catalog *c = api_of(req)->catalog;
    int rc = uploads_expire(c, clock_unix(), err);
    if (!rc) rc = id ? uploads_cancel(c, id, req->arena, &u, err) : ERR_NOT_FOUND;
    return rc ? no_upload(req, rc, res) : http_json(res, 200, upload_json(&u, NULL));
}

const struct http_route upload_routes[] = {
    {"POST", "/v1/uploads", create, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"POST", "/v1/uploads/{id}/parts", add_part, .scope = HTTP_TUNING, .body = HTTP_MULTIPART,
     .sink = &part_sink, .body_max = PART_MAX + (64 << 10)},
    {"POST", "/v1/uploads/{id}/complete", complete, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"POST", "/v1/uploads/{id}/cancel", cancel, .scope = HTTP_TUNING},
    {0}};
