/* The HTTP front: routes to handlers, answers in the shape of OpenAI's API. A handler gets a
 * request whose body has been read and checked, and fills a response; which library moves the bytes
 * is not its concern. docs/serve.md tells the rules of limits, slow clients and stopping.
 *
 *     static int hello(struct http_request *req, struct http_response *res, struct err *err) {
 *         (void)err;
 *         if (str_is(req->param[0], "nobody"))
 *             return http_error(res, 404, NULL, "id", "No such person: %.*s",
 *                               STR_ARG(req->param[0]));
 *         return http_json(res, 200, json_pack("{s:s}", "object", "greeting"));
 *     }
 *     const struct http_route hello_routes[] = {
 *         {"GET", "/v1/people/{id}", hello, .scope = HTTP_INFERENCE}, {0}};
 *
 * Threads: a handler runs in the thread of its connection (HTTP_STACK bytes of stack), many at the
 * same time. Request, response and what the arena holds belong to that thread, until the answer is
 * out: for a stream until its `close` has returned. */
#ifndef API_HTTP_H
#define API_HTTP_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HTTP_PARAMS_MAX 4
#define HTTP_HEADERS_MAX 8
#define HTTP_FORM_MAX 64
#define HTTP_REQUEST_ID 40

/* Which keys a route is for; a route that says nothing is for those of scope admin alone. */
enum http_scope { HTTP_ADMIN, HTTP_TUNING, HTTP_INFERENCE, HTTP_ANY_KEY, HTTP_PUBLIC };

/* What a route wants as body. HTTP_JSON: an object, or 400. HTTP_JSON_OPTIONAL: the same, or
 * nothing (json is NULL). HTTP_NO_BODY: whatever is sent is read and dropped, of any type. */
enum http_body { HTTP_NO_BODY, HTTP_JSON, HTTP_JSON_OPTIONAL, HTTP_MULTIPART };

/* a name with its value: a query parameter, a form field */
struct http_pair {
    struct str name, value;
};

struct http_exchange;
struct http_request {
    const char *method;                /* "HEAD" comes as "GET" */
    struct str path;                   /* as sent, without the query, decoded */
    struct str param[HTTP_PARAMS_MAX]; /* the {...} of the pattern, decoded; may hold any byte */
    const struct http_pair *query;     /* decoded, in the order sent, repeated ones too */
    size_t query_count;
    const json_t *json;           /* HTTP_JSON */
    struct str body;              /* its text as sent */
    const struct http_pair *form; /* HTTP_MULTIPART: fields that are not the file, in order */
    size_t form_count;
    void *file; /* what the sink's open gave, all data added; NULL: no file was sent */
    struct str filename, file_type; /* basename; Content-Type of the part */
    int64_t file_bytes;
    char id[HTTP_REQUEST_ID]; /* "req_..." */
    const char *key;          /* id of the key that was used; "" without */
    char note[200];           /* a handler's words for the log line, "model=... in=12 out=34" */
    struct arena *arena;      /* dies with the request */
    void *user;               /* of the server's options */
    struct http_exchange *exchange;
};

/* Values of the query. NULL when absent; "" when given without a value. */
const struct str *http_query(const struct http_request *req, const char *name);
/* A whole number; absent leaves *ret alone. Out of range: answered with 400, returns not 0. */
struct http_response;
int http_query_i64(const struct http_request *req, const char *name, int64_t min, int64_t max,
                   int64_t *ret, struct http_response *res);
/* A request header, any case of its name; NULL when absent. */
const char *http_header(const struct http_request *req, const char *name);
const struct str *http_form(const struct http_request *req, const char *name);
/* The client has hung up, or the server stops at once: nobody will read an answer. Cheap (one
 * poll of the socket); a handler that waits asks a few times a second. */
bool http_client_gone(const struct http_request *req);

/* --- answers --- */

/* A stream. next waits at most wait_ms for what comes next and appends it to out, whole events,
 * several at once are fine (sse_data); HTTP_WAIT: nothing yet. It is called in the connection's
 * thread. While nothing comes, `idle` is sent every 10 seconds (NULL: a comment of SSE); a JSON
 * answer that takes minutes may be a stream of type application/json with idle " ".
 * close is called once, always, also when next never was; complete: all was handed to the socket.
 */
enum http_next { HTTP_WAIT, HTTP_MORE, HTTP_END };
struct http_stream {
    enum http_next (*next)(void *ctx, int wait_ms, struct buf *out);
    void (*close)(void *ctx, bool complete);
    void *ctx;
    const char *type; /* NULL: text/event-stream; charset=utf-8 */
    const char *idle;
};

struct http_response {
    int status;       /* 0: nothing answered yet */
    const char *type; /* Content-Type of body or file; static */
    struct buf body;
    char *file; /* a path whose content is the body */
    struct http_stream stream;
    struct http_pair header[HTTP_HEADERS_MAX]; /* in the request's arena or static */
    size_t header_count;
};

/* What a handler returns: 0 or HTTP_ANSWERED with res filled, or an ERR_ code with err, which
 * becomes an error answer (ERR_INVALID 400, ERR_NOT_FOUND 404, ERR_LIMIT 413, ERR_IO 500 ...).
 * All http_... below that answer an error return HTTP_ANSWERED, so that checks can be chained:
 *     if ((rc = check(...)) != 0) return rc; */
#define HTTP_ANSWERED 1
typedef int http_handler(struct http_request *req, struct http_response *res, struct err *err);

/* Each replaces what was answered before. http_json takes over v and returns 0. */
int http_json(struct http_response *res, int status, json_t *v);
/* {"error":{"message","type","param","code"}}; code and param may be NULL. The type follows from
 * the status: 429 "requests", from 500 on "server_error", else "invalid_request_error". */
int http_error(struct http_response *res, int status, const char *code, const char *param,
               const char *fmt, ...) PRINTF_LIKE(5, 6);
int http_fail(struct http_response *res, const struct err *err);              /* as if returned */
int http_stream(struct http_response *res, const struct http_stream *stream); /* 0 */
int http_file(struct http_response *res, const char *path, const char *type, struct err *err);
/* name is static; the value is copied, and control characters in it become "?" */
void http_header_add(struct http_request *req, struct http_response *res, const char *name,
                     struct str value);

/* "data: <v>\n\n" with v as compact JSON; v is taken over. */
void sse_data(struct buf *out, json_t *v);
void sse_event(struct buf *out, const char *event, json_t *v); /* with an "event: " line before */
void sse_done(struct buf *out);                                /* "data: [DONE]\n\n" */
/* The error object of http_error, for the middle of a stream. */
json_t *http_error_object(int status, const char *code, const char *param, const char *message);

/* --- routes --- */

/* Where a multipart file goes while it arrives. open is called when the part begins (once; a
 * second file is 400), add for each piece, close once when the request ends, however it ends:
 * a handler that keeps the file says so in the file itself. */
struct http_sink {
    const char *field; /* name of the part, "file" */
    int (*open)(struct http_request *req, void **ret, struct err *err);
    int (*add)(void *file, const void *p, size_t n, struct err *err);
    void (*close)(void *file);
};

/* Pattern: segments, "{name}" for one of any content, "{name*}" at the end for all that follows
 * (one byte at least). The first row that fits wins. "/v1x" is routed as "/v1/x". `removed`: no
 * handler; the answer is removed_status (0: 400 endpoint_removed) with this sentence; method "*" is
 * any. */
struct http_route {
    const char *method, *pattern;
    http_handler *handle;
    enum http_scope scope;
    enum http_body body;
    const struct http_sink *sink;
    int64_t body_max; /* 0: the server's json_max, for HTTP_MULTIPART upload_max */
    const char *removed;
    int removed_status;
};

/* --- the server --- */

struct http_log { /* one request that has ended */
    const struct http_request *req;
    const char *client;             /* address */
    const char *route;              /* its pattern; "" for none */
    int status;                     /* 499: the client went before the answer */
    int64_t received, sent, micros; /* body bytes in and out; from the headers to the end */
};

struct metrics;
struct http_options {
    const char *host; /* NULL: 127.0.0.1 */
    int port;         /* 0: a free one */
    int connections_max, streams_max;
    int64_t header_max, json_max, upload_max; /* bytes */
    int header_seconds, idle_seconds, body_seconds, stall_seconds;
    const char *cors; /* origins that browsers may use it from, separated by spaces; "*": all */
    /* Called with the headers, before the body. 0: go on; else as a handler. May set req->key. */
    int (*authorize)(struct http_request *req, enum http_scope scope, struct http_response *res,
                     struct err *err);
    void (*log)(void *user, const struct http_log *line); /* from any thread */
    struct metrics *metrics;                              /* NULL: none */
    void *user;
};
extern const struct http_options http_defaults;

struct http_server;
/* Listens, and answers from the return on. tables: a list of tables that end with {0}, itself
 * ending with NULL; all must outlive the server. ERR_IO names address and reason. */
int http_server_open(const struct http_options *o, const struct http_route *const *tables,
                     struct http_server **ret, struct err *err);
int http_server_port(const struct http_server *s);
/* No new connection, no new request; waits at most this long for those that run, then cuts them
 * off; frees s. *hurry (may be NULL), once not 0, ends the wait. */
void http_server_stop(struct http_server *s, double seconds, const atomic_int *hurry);

#endif
