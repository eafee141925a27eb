/* What handlers call: reading the request's small parts, filling the answer. */
#include "api/http_int.h"

#include "base/file.h"
#include "base/mem.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX ((size_t)1 << 30)

static const struct str *find(const struct http_pair *list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (str_is(list[i].name, name)) return &list[i].value;
    return NULL;
}

const struct str *http_query(const struct http_request *req, const char *name) {
    return find(req->query, req->query_count, name);
}

const struct str *http_form(const struct http_request *req, const char *name) {
    return find(req->form, req->form_count, name);
}

const char *http_header(const struct http_request *req, const char *name) {
    if (!req->exchange) return NULL;
    return MHD_lookup_connection_value(req->exchange->mhd, MHD_HEADER_KIND, name);
}

static bool whole_number(struct str s, long long *ret) {
    char text[24], *end;
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, '\0', s.n)) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (!(text[0] == '-' || (text[0] >= '0' && text[0] <= '9'))) return false;
    *ret = strtoll(text, &end, 10);
    return *end == '\0';
}

int http_query_i64(const struct http_request *req, const char *name, int64_t min, int64_t max,
                   int64_t *ret, struct http_response *res) {
    const struct str *v = http_query(req, name);
    long long x;
    if (!v || v->n == 0) return 0;
    if (!whole_number(*v, &x))
        return http_error(res, 400, "invalid_type", name,
                          "Invalid type for '%s': expected an integer, but got '%.*s' instead.",
                          name, v->n > 80 ? 80 : (int)v->n, v->p);
    if (x < min)
        return http_error(res, 400, "integer_below_min_value", name,
                          "Invalid '%s': integer below minimum value. Expected a value >= %lld, "
                          "but got %lld instead.",
                          name, (long long)min, x);
    if (x > max)
        return http_error(res, 400, "integer_above_max_value", name,
                          "Invalid '%s': integer above maximum value. Expected a value <= %lld, "
                          "but got %lld instead.",
                          name, (long long)max, x);
    *ret = x;
    return 0;
}

bool http_client_gone(const struct http_request *req) {
    if (!req->exchange) return false; /* http_call: there is no client to go */
    const struct http_conn *c = req->exchange->conn;
    if (atomic_load(&c->server->aborting)) return true;
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

/* --- answers --- */

/* forgets what was answered before; headers added stay */
static void restart(struct http_response *res, int status) {
    if (res->stream.close) res->stream.close(res->stream.ctx, false);
    res->stream = (struct http_stream){0};
    mem_free(res->file);
    res->file = NULL;
    buf_release(&res->body);
    buf_init(&res->body, BODY_MAX);
    res->type = "application/json";
    res->status = status;
}

int http_json(struct http_response *res, int status, json_t *v) {
    restart(res, status);
    json_write(v, &res->body);
    json_decref(v);
    return 0;
}

static const char *type_of(int status) {
    if (status == 429) return "requests";
    return status >= 500 ? "server_error" : "invalid_request_error";
}

/* any bytes as a JSON string: what is no UTF-8 is replaced */
static json_t *any_string(const char *z) {
    json_t *v = json_string(z), *whole = NULL;
    if (v) return v;
    struct err err;
    struct buf b;
    buf_init(&b, BODY_MAX);
    json_write_str(&b, str_of(z));
    if (json_read(buf_view(&b), "message", &whole, &err)) whole = json_string("");
    buf_release(&b);
    return whole;
}

static void put_str_or_null(json_t *o, const char *key, const char *value) {
    json_object_set_new(o, key, value ? any_string(value) : json_null());
}

json_t *http_error_object(int status, const char *code, const char *param, const char *message) {
    json_t *e = json_object(), *o = json_object();
    json_object_set_new(e, "message", any_string(message));
    json_object_set_new(e, "type", json_string(type_of(status)));
    put_str_or_null(e, "param", param);
    put_str_or_null(e, "code", code);
    json_object_set_new(o, "error", e);
    return o;
}

int http_error(struct http_response *res, int status, const char *code, const char *param,
               const char *fmt, ...) {
    char message[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    http_json(res, status, http_error_object(status, code, param, message));
    return HTTP_ANSWERED;
}

int http_fail(struct http_response *res, const struct err *err) {
    int status = err_http_status(err->code);
    if (status == 409 || status == 422 || status == 499) status = 400; /* SDKs repeat a 409 */
    return http_error(res, status, NULL, NULL, "%s%s", status >= 500 ? "The server failed: " : "",
                      err->msg);
}

int http_stream(struct http_response *res, const struct http_stream *stream) {
    restart(res, 200);
    res->stream = *stream;
    res->type = stream->type ? stream->type : "text/event-stream; charset=utf-8";
    return 0;
}

int http_file(struct http_response *res, const char *path, const char *type, struct err *err) {
    if (!file_exists(path)) return err_set(err, ERR_IO, "the stored file is missing");
    restart(res, 200);
    res->file = mem_strdup(path);
    res->type = type;
    return 0;
}

void http_header_add(struct http_request *req, struct http_response *res, const char *name,
                     struct str value) {
    if (res->header_count == HTTP_HEADERS_MAX) return;
    char *copy = arena_strndup(req->arena, value.p, value.n);
    if (!copy) return;
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)copy[i] < 0x20 || copy[i] == 0x7F) copy[i] = '?';
    res->header[res->header_count++] = (struct http_pair){str_of(name), {copy, value.n}};
}

void sse_data(struct buf *out, json_t *v) {
    buf_z(out, "data: ");
    json_write(v, out);
    buf_z(out, "\n\n");
    json_decref(v);
}

void sse_event(struct buf *out, const char *event, json_t *v) {
    buf_printf(out, "event: %s\n", event);
    sse_data(out, v);
}

void sse_done(struct buf *out) { buf_z(out, "data: [DONE]\n\n"); }
