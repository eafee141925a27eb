/* One request: its route, its body, its handler. */
#include "api/http_int.h"

#include "api/url.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define DEPTH_MAX 256 /* levels of a JSON body */
#define FORM_BYTES_MAX ((size_t)1 << 20)

void http_request_id(char out[HTTP_REQUEST_ID]) {
    unsigned char raw[16];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw) abort();
    memcpy(out, "req_", 5);
    for (size_t i = 0; i < sizeof raw; i++) snprintf(out + 4 + 2 * i, 3, "%02x", raw[i]);
}

/* The request line is there; the headers are not. */
void *exchange_new(void *server, const char *uri, struct MHD_Connection *mhd) {
    struct http_server *s = server;
    struct http_exchange *x = mem_zalloc(1, sizeof *x);
    x->server = s;
    x->mhd = mhd;
    x->conn = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    x->target = mem_strdup(uri);
    arena_init(&x->arena, HTTP_ARENA_MAX);
    buf_init(&x->res.body, 0);
    buf_init(&x->body, 0);
    buf_init(&x->field, FORM_BYTES_MAX);
    buf_init(&x->out, (size_t)64 << 20);
    x->req.arena = &x->arena;
    x->req.user = s->o.user;
    x->req.exchange = x;
    x->req.key = "";
    http_request_id(x->req.id);
    conn_state_set(x->conn, CONN_HEADER);
    return x;
}

/* --- routing --- */

/* the first route whose pattern fits; `method` NULL: of any method */
static const struct http_route *find(struct http_exchange *x, struct str path, const char *method) {
    for (const struct http_route *const *t = x->server->tables; *t; t++)
        for (const struct http_route *r = *t; r->pattern; r++) {
            if (method && strcmp(r->method, method) != 0 && strcmp(r->method, "*") != 0) continue;
            if (url_match(x->req.arena, r->pattern, path, x->req.param)) return r;
        }
    return NULL;
}

static int unknown_path(struct http_exchange *x, struct str path) {
    struct buf with;
    const struct http_request *q = &x->req;
    int shown = q->path.n > 300 ? 300 : (int)q->path.n;
    buf_init(&with, q->path.n + 4);
    buf_z(&with, "/v1");
    buf_str(&with, path);
    bool elsewhere = find(x, buf_view(&with), NULL) != NULL;
    buf_release(&with);
    if (elsewhere)
        return http_error(&x->res, 404, "unknown_url", NULL,
                          "Invalid URL (%s %.*s); the base URL ends in /v1: /v1%.*s", q->method,
                          shown, q->path.p, shown, q->path.p);
    return http_error(&x->res, 404, "unknown_url", NULL, "Invalid URL (%s %.*s)", q->method, shown,
                      q->path.p);
}

static int removed(struct http_exchange *x, const struct http_route *r) {
    int status = r->removed_status ? r->removed_status : 400;
    return http_error(&x->res, status, status == 400 ? "endpoint_removed" : "unknown_url", NULL,
                      "%s", r->removed);
}

/* Below /v1 even what is not there needs a key where there are keys. */
static int authorize(struct http_exchange *x, struct str path, struct err *err) {
    const struct http_options *o = &x->server->o;
    enum http_scope scope = str_starts(path, STR_LIT("/v1")) ? HTTP_ANY_KEY : HTTP_PUBLIC;
    if (x->route && !x->route->removed) scope = x->route->scope;
    if (!o->authorize || scope == HTTP_PUBLIC) return 0;
    return o->authorize(&x->req, scope, &x->res, err);
}

static int route(struct http_exchange *x, struct str path, struct err *err) {
    path = url_versioned(x->req.arena, path);
    x->route = find(x, path, x->req.method);
    int rc = authorize(x, path, err);
    if (rc) return rc;
    if (x->route && x->route->removed) return removed(x, x->route);
    if (x->route) return 0;
    const struct http_route *other = find(x, path, NULL);
    if (!other) return unknown_path(x, path);
    http_header_add(&x->req, &x->res, "Allow", str_of(other->method));
    return http_error(&x->res, 405, "method_not_supported", NULL,
                      "Not allowed to %s on %.*s. (HINT: Perhaps you meant to use a different HTTP "
                      "method?)",
                      x->req.method, x->req.path.n > 300 ? 300 : (int)x->req.path.n, x->req.path.p);
}

static int check_load(struct http_exchange *x) {
    if (atomic_fetch_add(&x->server->running, 1) < x->server->o.connections_max) return 0;
    http_header_add(&x->req, &x->res, "Retry-After", STR_LIT("1"));
    return http_error(&x->res, 503, NULL, NULL,
                      "The server is busy with %d requests, the most it takes; try again later.",
                      x->server->o.connections_max);
}

/* A page of another site must not act through its visitor's browser. */
static int check_origin(struct http_exchange *x) {
    const char *origin = http_header(&x->req, "Origin"), *host = http_header(&x->req, "Host");
    if (!origin || strcmp(x->req.method, "GET") == 0 || cors_allows(x->server, origin)) return 0;
    const char *at = strstr(origin, "://");
    if (at && host && strcmp(at + 3, host) == 0) return 0;
    return http_error(&x->res, 403, "origin_not_allowed", NULL,
                      "Requests from the origin \"%.100s\" are not allowed; the server's option "
                      "cors names those that are.",
                      origin);
}

/* --- the body --- */

static int64_t body_max(const struct http_exchange *x) {
    const struct http_route *r = x->route;
    if (r->body_max) return r->body_max;
    return r->body == HTTP_MULTIPART ? x->server->o.upload_max : x->server->o.json_max;
}

static int too_large(struct http_exchange *x, int64_t bytes) {
    return http_error(&x->res, 413, NULL, NULL,
                      "Maximum content size limit (%lld) exceeded (%lld bytes read)",
                      (long long)body_max(x), (long long)bytes);
}

static int on_part(void *ctx, const struct multipart_part *p, struct err *err) {
    struct http_exchange *x = ctx;
    const struct http_sink *sink = x->route->sink;
    x->in_file = str_is(p->name, sink->field);
    if (x->in_file) {
        if (x->req.file)
            return err_set(err, ERR_INVALID, "'%s' was sent more than once", sink->field);
        struct str name = p->filename.n ? p->filename : STR_LIT("upload");
        x->req.filename = arena_str(x->req.arena, name);
        x->req.file_type = arena_str(x->req.arena, p->type);
        return sink->open(&x->req, &x->req.file, err);
    }
    if (x->form_count == HTTP_FORM_MAX)
        return err_set(err, ERR_LIMIT, "the form has more than %d fields", HTTP_FORM_MAX);
    struct http_pair *field = &x->form[x->form_count++];
    field->name = arena_str(x->req.arena, p->name);
    field->value = STR_LIT("");
    buf_clear(&x->field);
    return 0;
}

static int on_data(void *ctx, const char *p, size_t n, struct err *err) {
    struct http_exchange *x = ctx;
    if (x->in_file) {
        x->req.file_bytes += (int64_t)n;
        return x->route->sink->add(x->req.file, p, n, err);
    }
    struct http_pair *field = &x->form[x->form_count - 1];
    buf_add(&x->field, p, n);
    if (!buf_ok(&x->field))
        return err_set(err, ERR_LIMIT, "the form field '%.*s' is longer than %zu bytes",
                       STR_ARG(field->name), FORM_BYTES_MAX);
    char *copy = arena_alloc(x->req.arena, x->field.n + 1);
    if (!copy) return err_set(err, ERR_LIMIT, "the form is too large");
    memcpy(copy, x->field.p, x->field.n);
    field->value = (struct str){copy, x->field.n};
    return 0;
}

static const struct multipart_events multipart_events = {on_part, on_data};

static int body_begin(struct http_exchange *x, struct err *err) {
    const char *length = http_header(&x->req, "Content-Length");
    long long n = length ? strtoll(length, NULL, 10) : 0;
    if (x->route->body == HTTP_NO_BODY) return 0;
    if (n > body_max(x)) return too_large(x, n);
    const char *type = http_header(&x->req, "Content-Type");
    if (x->route->body == HTTP_MULTIPART) {
        x->multipart_open = true;
        return multipart_init(&x->multipart, type, &multipart_events, x, err);
    }
    buf_init(&x->body, (size_t)body_max(x));
    if (type && strncmp(type, "multipart/", 10) == 0)
        return http_error(&x->res, 400, NULL, NULL,
                          "The body must be JSON (Content-Type: application/json), not \"%.80s\"",
                          type);
    return 0;
}

static int body_add(struct http_exchange *x, const char *p, size_t n, struct err *err) {
    enum http_body kind = x->route->body;
    if (kind == HTTP_NO_BODY) return 0;
    if (x->received > body_max(x)) return too_large(x, x->received);
    if (kind == HTTP_MULTIPART) return multipart_feed(&x->multipart, p, n, err);
    buf_add(&x->body, p, n);
    int64_t all = atomic_fetch_add(&x->server->json_bytes, (int64_t)n) + (int64_t)n;
    x->json_bytes += (int64_t)n;
    if (all <= HTTP_JSON_SHARES * x->server->o.json_max) return 0;
    buf_release(&x->body);
    buf_init(&x->body, 0);
    http_header_add(&x->req, &x->res, "Retry-After", STR_LIT("1"));
    return http_error(&x->res, 503, NULL, NULL,
                      "The server holds as much of request bodies as it takes; try again later.");
}

/* What reads and writes JSON calls itself for each level, and handlers have small stacks. */
static bool too_deep(struct str text) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '"') quoted = !quoted;
        if (quoted && c == '\\') i++;
        if (quoted) continue;
        if (c == '[' || c == '{') depth++;
        if (c == ']' || c == '}') depth--;
        if (depth > DEPTH_MAX) return true;
    }
    return false;
}

static int read_json(struct http_exchange *x) {
    struct err err;
    json_t *v = NULL;
    x->req.body = buf_view(&x->body);
    if (x->body.n == 0 && x->route->body == HTTP_JSON_OPTIONAL) return 0;
    if (x->body.n == 0)
        return http_error(&x->res, 400, NULL, NULL,
                          "We could not parse the JSON body of your request: the body is empty.");
    if (too_deep(buf_view(&x->body)))
        return http_error(&x->res, 400, "invalid_json", NULL,
                          "We could not parse the JSON body of your request: it is nested deeper "
                          "than %d levels.",
                          DEPTH_MAX);
    if (json_read(buf_view(&x->body), "request body", &v, &err))
        return http_error(&x->res, 400, "invalid_json", NULL,
                          "We could not parse the JSON body of your request: %s", err.msg);
    x->req.json = v;
    if (!json_is_object(v))
        return http_error(&x->res, 400, "invalid_type", NULL,
                          "We could not use the JSON body of your request: it must be an object.");
    return 0;
}

static int body_end(struct http_exchange *x, struct err *err) {
    if (x->route->body == HTTP_NO_BODY) return 0;
    if (x->route->body != HTTP_MULTIPART) return read_json(x);
    x->req.form = x->form;
    x->req.form_count = x->form_count;
    int rc = multipart_finish(&x->multipart, err);
    if (rc || x->req.file) return rc;
    return http_error(&x->res, 400, "missing_required_parameter", x->route->sink->field,
                      "Missing required parameter: '%s'.", x->route->sink->field);
}

/* --- the order of things --- */

/* rc of a step: true when the request is answered by it */
static bool settle(struct http_exchange *x, int rc, const struct err *err) {
    if (rc < 0) http_fail(&x->res, err);
    if (rc) x->decided = true;
    return rc != 0;
}

static void begin(struct http_exchange *x, const char *method) {
    struct err err;
    struct str path, query;
    struct http_request *q = &x->req;
    x->started = true;
    x->start_ns = clock_ns();
    atomic_store(&x->conn->received, 0);
    conn_state_set(x->conn, CONN_BODY);
    x->head = strcmp(method, "HEAD") == 0;
    q->method = x->head ? "GET" : arena_strndup(&x->arena, method, strlen(method));
    const char *expect = http_header(q, "Expect");
    x->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
    url_split(str_of(x->target), &path, &query);
    q->path = url_decode(q->arena, path, false);
    if (settle(x, check_load(x), &err)) return;
    if (cors_preflight(x)) {
        x->decided = true;
        return;
    }
    if (settle(x, url_query(q->arena, query, &q->query, &q->query_count, &err), &err)) return;
    if (settle(x, check_origin(x), &err) || settle(x, route(x, path, &err), &err)) return;
    settle(x, body_begin(x, &err), &err);
}

static void finish(struct http_exchange *x) {
    struct err err;
    conn_state_set(x->conn, CONN_BUSY);
    if (x->decided || settle(x, body_end(x, &err), &err)) return;
    int rc = x->route->handle(&x->req, &x->res, &err);
    if (rc < 0) http_fail(&x->res, &err);
    if (x->res.status == 0)
        http_error(&x->res, 500, NULL, NULL, "The server failed: no answer was made.");
}

enum MHD_Result exchange_handle(void *server, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *n, void **exchange) {
    struct http_exchange *x = *exchange;
    struct err err;
    (void)server, (void)mhd, (void)url;
    if (!x->started) {
        x->http10 = strcmp(version, "HTTP/1.1") != 0;
        begin(x, method);
        /* who asks first is told first; others send their body before they read an answer */
        return x->decided && x->expects_continue ? reply_queue(x, false) : MHD_YES;
    }
    if (*n) {
        x->received += (int64_t)*n;
        atomic_store(&x->conn->received, x->received);
        if (!x->decided) settle(x, body_add(x, data, *n, &err), &err);
        *n = 0;
        return x->received > HTTP_DRAIN_MAX && x->decided ? MHD_NO : MHD_YES;
    }
    if (x->queued) return MHD_YES;
    finish(x);
    return reply_queue(x, true);
}

static void log_request(struct http_exchange *x, bool complete) {
    const struct http_server *s = x->server;
    struct http_log line = {.req = &x->req,
                            .client = x->conn->client,
                            .route = x->route ? x->route->pattern : "",
                            .status = complete ? x->res.status : 499,
                            .received = x->received,
                            .sent = x->sent,
                            .micros = (clock_ns() - x->start_ns) / 1000};
    if (s->meters) http_meters_request(s->meters, &line);
    if (s->o.log) s->o.log(s->o.user, &line);
}

void exchange_completed(void *server, struct MHD_Connection *mhd, void **exchange,
                        enum MHD_RequestTerminationCode how) {
    struct http_exchange *x = *exchange;
    struct http_server *s = server;
    (void)mhd;
    *exchange = NULL;
    if (!x) return;
    bool complete = how == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (x->res.stream.close) x->res.stream.close(x->res.stream.ctx, complete);
    atomic_fetch_sub(&s->json_bytes, x->json_bytes);
    if (x->stream_counted) atomic_fetch_sub(&s->streams, 1);
    if (x->started) log_request(x, complete && x->queued);
    if (x->req.file) x->route->sink->close(x->req.file);
    if (x->multipart_open) multipart_release(&x->multipart);
    json_decref((json_t *)x->req.json);
    mem_free(x->res.file);
    buf_release(&x->res.body);
    buf_release(&x->body);
    buf_release(&x->field);
    buf_release(&x->out);
    arena_release(&x->arena);
    mem_free(x->target);
    conn_state_set(x->conn, CONN_IDLE);
    if (x->started) atomic_fetch_sub(&s->running, 1);
    mem_free(x);
}
