/* /v1/files: bytes with a name and a purpose. They stream to a blob while they arrive and become a
 * file when all of them are there and hold what their purpose needs. */
#include "api/api.h"
#include "api/jsonl.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/files.h"

#include <stdlib.h>

#define PURPOSES "assistants batch fine-tune vision user_data evals"
#define BATCH_MAX ((int64_t)200 << 20)
#define BATCH_SECONDS (30 * 86400)
#define EXPIRES_MIN 3600
#define EXPIRES_MAX 2592000

json_t *api_file_json(const struct stored_file *f) {
    json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:o}", "object", "file", "id", f->id,
                          "purpose", api_text(f->purpose), "filename", api_text(f->filename),
                          "bytes", (json_int_t)f->bytes, "created_at", (json_int_t)f->created_at,
                          "status", api_text(f->status));
    if (f->expires_at) json_object_set_new(o, "expires_at", api_time(f->expires_at));
    if (f->status_details) json_object_set_new(o, "status_details", api_text(f->status_details));
    return o;
}

static int no_file(struct http_request *req, int rc, struct http_response *res) {
    struct str id = req->param[0];
    if (rc != ERR_NOT_FOUND) return rc;
    return http_error(res, 404, NULL, "id", "No such File object: %.*s",
                      id.n > 200 ? 200 : (int)id.n, id.p);
}

/* --- what a purpose asks of a file --- */

/* What SDKs send where their caller gave no name: it says nothing of the content. */
static bool is_unnamed(struct str name) {
    return str_is(name, "file") || str_is(name, "upload") || str_is(name, "unknown_file");
}

int api_file_check(const char *purpose, struct str filename, int64_t bytes, const char *path,
                   struct http_response *res, struct err *err) {
    bool tune = strcmp(purpose, "fine-tune") == 0, batch = strcmp(purpose, "batch") == 0;
    if (bytes == 0)
        return http_error(res, 400, "invalid_file", "file", "The file '%.*s' is empty.",
                          filename.n > 200 ? 200 : (int)filename.n, filename.p);
    if ((tune || batch) && !str_ends(filename, STR_LIT(".jsonl")) && !is_unnamed(filename))
        return http_error(res, 400, "invalid_file_format", "file",
                          "Invalid file format for purpose '%s': the name must end in .jsonl, but "
                          "is '%.*s'.",
                          purpose, filename.n > 200 ? 200 : (int)filename.n, filename.p);
    if (batch && bytes > BATCH_MAX)
        return http_error(res, 400, "invalid_file", "file",
                          "A batch file has at most %lld bytes; this one has %lld.",
                          (long long)BATCH_MAX, (long long)bytes);
    if (!tune) return 0;
    struct file_map map;
    int rc = file_map_open(path, &map, err);
    if (rc) return rc;
    rc = jsonl_check((struct str){(const char *)map.p, map.n}, err);
    file_map_close(&map);
    if (rc != ERR_INVALID) return rc;
    return http_error(res, 400, "invalid_file_format", "file",
                      "Expected file to have JSONL format, where every line is a valid JSON "
                      "dictionary. %s.",
                      err->msg);
}

/* --- upload --- */

int api_blob_open(struct http_request *req, void **ret, struct err *err) {
    return blob_writer_open(api_of(req)->catalog, (struct blob_writer **)ret, err);
}
int api_blob_add(void *file, const void *p, size_t n, struct err *err) {
    return blob_writer_add(file, p, n, err);
}
void api_blob_close(void *file) { blob_writer_free(file); }

static const struct http_sink file_sink = {"file", api_blob_open, api_blob_add, api_blob_close};

int api_expires_check(const struct str *anchor, int64_t seconds, struct http_response *res) {
    if (!anchor || !str_is(*anchor, "created_at"))
        return http_error(res, 400, "invalid_value", "expires_after.anchor",
                          "Invalid value for 'expires_after.anchor': only 'created_at' is "
                          "supported.");
    if (seconds < EXPIRES_MIN || seconds > EXPIRES_MAX)
        return http_error(
            res, 400, seconds < EXPIRES_MIN ? "integer_below_min_value" : "integer_above_max_value",
            "expires_after.seconds",
            "Invalid 'expires_after.seconds': expected a value from %d to %d, but got "
            "%lld instead.",
            EXPIRES_MIN, EXPIRES_MAX, (long long)seconds);
    return 0;
}

/* the form's expires_after[...]; *ret: seconds, 0 for never */
static int form_expires(struct http_request *req, int64_t *ret, struct http_response *res) {
    const struct str *anchor = http_form(req, "expires_after[anchor]"),
                     *seconds = http_form(req, "expires_after[seconds]");
    *ret = 0;
    if (!anchor && !seconds) return 0;
    char text[24] = "", *end = text;
    if (seconds && seconds->n < sizeof text) memcpy(text, seconds->p, seconds->n);
    long long n = strtoll(text, &end, 10);
    if (!*text || *end)
        return http_error(res, 400, "invalid_type", "expires_after.seconds",
                          "Invalid type for 'expires_after.seconds': expected an integer.");
    *ret = n;
    return api_expires_check(anchor, n, res);
}

int api_purpose_check(const struct str *purpose, struct http_response *res) {
    if (!purpose || purpose->n == 0)
        return http_error(res, 400, "missing_required_parameter", "purpose",
                          "Missing required parameter: 'purpose'.");
    for (const char *at = PURPOSES; *at;) {
        size_t n = strcspn(at, " ");
        if (str_eq(*purpose, (struct str){at, n})) return 0;
        at += n + (at[n] == ' ');
    }
    return http_error(res, 400, "invalid_value", "purpose",
                      "'%.*s' is not one of ['assistants', 'batch', 'fine-tune', 'vision', "
                      "'user_data', 'evals'] - 'purpose'",
                      purpose->n > 80 ? 80 : (int)purpose->n, purpose->p);
}

static int form_check(struct http_request *req, struct http_response *res) {
    static const char *const known[] = {"purpose", "expires_after[anchor]",
                                        "expires_after[seconds]"};
    for (size_t i = 0; i < req->form_count; i++) {
        struct str name = req->form[i].name;
        size_t k = 0;
        while (k < 3 && !str_is(name, known[k])) k++;
        if (k < 3) continue;
        char param[81];
        snprintf(param, sizeof param, "%.*s", name.n > 80 ? 80 : (int)name.n, name.p);
        return http_error(res, 400, "unknown_parameter", param, "Unknown parameter: '%s'.", param);
    }
    return api_purpose_check(http_form(req, "purpose"), res);
}

static int create(struct http_request *req, struct http_response *res, struct err *err) {
    struct api *api = api_of(req);
    struct stored_file f;
    int64_t life = 0;
    int rc = form_check(req, res);
    if (!rc) rc = form_expires(req, &life, res);
    if (rc) return rc;
    if (req->file_bytes > api->file_max)
        return http_error(res, 413, NULL, "file",
                          "The file has %lld bytes; the server takes at most %lld (option "
                          "file-max).",
                          (long long)req->file_bytes, (long long)api->file_max);
    const struct str *p = http_form(req, "purpose");
    const char *purpose = arena_strndup(req->arena, p->p, p->n);
    rc = api_file_check(purpose, req->filename, req->file_bytes, blob_writer_path(req->file), res,
                        err);
    if (rc) return rc;
    if (!life && strcmp(purpose, "batch") == 0) life = BATCH_SECONDS;
    struct stored_file new = {.filename =
                                  arena_strndup(req->arena, req->filename.p, req->filename.n),
                              .purpose = purpose,
                              .created_at = clock_unix()};
    new.expires_at = life ? new.created_at + life : 0;
    rc = files_add(api->catalog, &new, req->file, req->arena, &f, err);
    return rc ? rc : http_json(res, 200, api_file_json(&f));
}

/* --- the others --- */

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 10000, .limit_max = 10000};
    const struct str *p = http_query(req, "purpose");
    struct page page;
    struct file_list files;
    int rc = api_page(req, &how, &page, res);
    if (rc) return rc;
    const char *purpose = p && p->n ? arena_strndup(req->arena, p->p, p->n) : NULL;
    rc = files_list(api_of(req)->catalog, purpose, &page, req->arena, &files, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < files.count; i++)
        json_array_append_new(data, api_file_json(&files.list[i]));
    return http_json(res, 200, api_list_json(data, files.has_more));
}

static int get(struct http_request *req, struct stored_file *ret, struct http_response *res,
               struct err *err) {
    const char *id = api_param(req, 0);
    int rc = id ? files_get(api_of(req)->catalog, id, req->arena, ret, err) : ERR_NOT_FOUND;
    return no_file(req, rc, res);
}

static int retrieve(struct http_request *req, struct http_response *res, struct err *err) {
    struct stored_file f;
    int rc = get(req, &f, res, err);
    return rc ? rc : http_json(res, 200, api_file_json(&f));
}

static int content(struct http_request *req, struct http_response *res, struct err *err) {
    struct stored_file f;
    int rc = get(req, &f, res, err);
    if (rc) return rc;
    char *path = blob_path(api_of(req)->catalog, f.blob);
    rc = http_file(res, path, "application/octet-stream", err);
    mem_free(path);
    return rc;
}

static int delete (struct http_request *req, struct http_response *res, struct err *err) {
    const char *id = api_param(req, 0);
    int rc = id ? files_delete(api_of(req)->catalog, id, err) : ERR_NOT_FOUND;
    if (rc) return no_file(req, rc, res);
    return http_json(res, 200,
                     json_pack("{s:s, s:s, s:b}", "id", id, "object", "file", "deleted", 1));
}

const struct http_route file_routes[] = {
    {"POST", "/v1/files", create, .scope = HTTP_TUNING, .body = HTTP_MULTIPART, .sink = &file_sink},
    {"GET", "/v1/files", list, .scope = HTTP_TUNING},
    {"GET", "/v1/files/{id}", retrieve, .scope = HTTP_TUNING},
    {"DELETE", "/v1/files/{id}", delete, .scope = HTTP_TUNING},
    {"GET", "/v1/files/{id}/content", content, .scope = HTTP_TUNING},
    {0}};
