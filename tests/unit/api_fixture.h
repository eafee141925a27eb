/* A server with the resources over a catalog of its own, for one test. */
#ifndef TESTS_API_FIXTURE_H
#define TESTS_API_FIXTURE_H

#include "http_client.h"

#include "api/api.h"
#include "api/metrics.h"
#include "base/file.h"

#include <stdio.h>

struct api_fixture {
    struct api api;
    struct http_server *http;
    int port;
    char home[200];
};

/* tables: as of http_server_open */
static inline void fixture_start(struct api_fixture *f, const struct http_route *const *tables) {
    struct err err;
    char name[ID_SIZE];
    struct http_options o = http_defaults;
    *f = (struct api_fixture){.api.file_max = 64 << 20};
    id_new("api-", name);
    snprintf(f->home, sizeof f->home, "%.100s/%s", unit_dir(), name);
    if (catalog_open(f->home, &f->api.catalog, &err)) fail_msg("%s", err.msg);
    f->api.metrics = metrics_new();
    atomic_store(&f->api.ready, 1);
    o.port = 0;
    o.authorize = api_authorize;
    o.user = &f->api;
    if (http_server_open(&o, tables, &f->http, &err)) fail_msg("%s", err.msg);
    f->port = http_server_port(f->http);
}

static inline void fixture_stop(struct api_fixture *f) {
    http_server_stop(f->http, 10, NULL);
    metrics_free(f->api.metrics);
    catalog_close(f->api.catalog);
}

/* One request, answered 200 with JSON; the caller owns it. */
static inline json_t *fixture_ok(struct api_fixture *f, const char *method, const char *target,
                                 const char *headers, const char *body) {
    struct answer a;
    client_once(f->port, method, target, headers, body, &a);
    if (a.status != 200) fail_msg("%s %s: %d %s", method, target, a.status, a.body.p);
    json_t *v = answer_json(&a);
    answer_release(&a);
    return v;
}

static inline void fixture_wrong(struct api_fixture *f, const char *method, const char *target,
                                 const char *body, int status, const char *code, const char *param,
                                 const char *said) {
    struct answer a;
    client_once(f->port, method, target, "", body, &a);
    expect_error(&a, status, code, param, said);
}

#define FIXTURE_FORM "Content-Type: multipart/form-data; boundary=bnd\r\n"

/* POST /v1/files; the answer, of any status */
static inline void fixture_upload(struct api_fixture *f, const char *filename, const char *purpose,
                                  const char *content, const char *more_fields, struct answer *a) {
    struct buf b;
    buf_init(&b, 64 << 20);
    buf_printf(&b,
               "--bnd\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n\r\n"
               "%s\r\n--bnd\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n%s\r\n%s"
               "--bnd--\r\n",
               filename, content, purpose, more_fields);
    client_once(f->port, "POST", "/v1/files", FIXTURE_FORM, b.p, a);
    buf_release(&b);
}

/* its id, to be freed with free */
static inline char *fixture_file(struct api_fixture *f, const char *filename, const char *purpose,
                                 const char *content) {
    struct answer a;
    fixture_upload(f, filename, purpose, content, "", &a);
    if (a.status != 200) fail_msg("%s", a.body.p);
    json_t *v = answer_json(&a);
    char *id = strdup(json_string_value(json_object_get(v, "id")));
    json_decref(v);
    answer_release(&a);
    return id;
}

/* member of an object as text, compact */
static inline void expect_member(const json_t *o, const char *key, const char *want) {
    char *text = json_dumps(json_object_get(o, key), JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text || strcmp(text, want) != 0)
        fail_msg("\"%s\" is %s, not %s", key, text ? text : "absent", want);
    free(text);
}

static inline const char *member_text(const json_t *o, const char *key) {
    const char *z = json_string_value(json_object_get(o, key));
    if (!z) fail_msg("no \"%s\"", key);
    return z;
}

/* the ids of a list, one after the other */
static inline void list_ids(const json_t *list, char *out, size_t n) {
    out[0] = '\0';
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(list, "data")); i++)
        at += (size_t)snprintf(out + at, n - at, "%s ",
                               member_text(json_array_get(json_object_get(list, "data"), i), "id"));
}

#endif
