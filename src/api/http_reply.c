/* One answer on its way: headers, body, stream; and what browsers of other sites may do. */
#include "api/http_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT_MS 50          /* a stream asks this often whether its client is there */
#define IDLE_NS 10000000000 /* then something is sent, so that nobody between gives up */

/* --- browsers --- */

bool cors_allows(const struct http_server *s, const char *origin) {
    const char *at = s->o.cors;
    if (!at || !origin) return false;
    while (*at) {
        size_t n = strcspn(at, " ");
        if (n == 1 && *at == '*') return true;
        if (n == strlen(origin) && memcmp(at, origin, n) == 0) return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

bool cors_preflight(struct http_exchange *x) {
    const char *origin = http_header(&x->req, "Origin");
    if (strcmp(x->req.method, "OPTIONS") != 0 || !cors_allows(x->server, origin) ||
        !http_header(&x->req, "Access-Control-Request-Method"))
        return false;
    const char *wanted = http_header(&x->req, "Access-Control-Request-Headers");
    http_header_add(&x->req, &x->res, "Access-Control-Allow-Methods",
                    STR_LIT("GET, POST, DELETE, OPTIONS"));
    http_header_add(&x->req, &x->res, "Access-Control-Allow-Headers",
                    str_of(wanted ? wanted : "authorization, content-type"));
    http_header_add(&x->req, &x->res, "Access-Control-Max-Age", STR_LIT("600"));
    x->res.status = 204;
    return true;
}

/* --- headers --- */

static void put(struct MHD_Response *r, const char *name, const char *value) {
    MHD_add_response_header(r, name, value);
}

/* Will another request follow on the connection? Where not, libmicrohttpd says it. */
static bool stays(const struct http_exchange *x) {
    const char *wish = http_header(&x->req, "Connection");
    if (wish && strcasestr(wish, "close")) return false;
    return !x->http10 || (wish && strcasestr(wish, "keep-alive") && !x->res.stream.next);
}

static void put_headers(struct http_exchange *x, bool whole, struct MHD_Response *r) {
    struct http_server *s = x->server;
    const struct http_response *res = &x->res;
    const char *origin = http_header(&x->req, "Origin");
    char ms[32];
    snprintf(ms, sizeof ms, "%lld", (long long)((clock_ns() - x->start_ns) / 1000000));
    put(r, "x-request-id", x->req.id);
    put(r, "openai-processing-ms", ms);
    put(r, "openai-version", "2020-10-01");
    put(r, "openai-organization", "org-local");
    if (atomic_load(&s->stopping))
        put(r, "Connection", "close");
    else if (whole && stays(x))
        put(r, "Keep-Alive", "timeout=75");
    if (res->type && res->status != 204) put(r, "Content-Type", res->type);
    put(r, "X-Content-Type-Options", "nosniff");
    if (res->stream.next) put(r, "Cache-Control", "no-cache");
    if (res->status == 500 || res->status == 507) put(r, "x-should-retry", "false");
    if (cors_allows(s, origin)) {
        put(r, "Access-Control-Allow-Origin", origin);
        put(r, "Access-Control-Expose-Headers", "x-request-id, openai-processing-ms, retry-after");
        put(r, "Vary", "Origin");
    }
    for (size_t i = 0; i < res->header_count; i++)
        put(r, res->header[i].name.p, res->header[i].value.p);
}

/* --- bodies --- */

static bool gone(const struct http_exchange *x) { return http_client_gone(&x->req); }

/* Fills x->out with what comes next; false when nothing more will. */
static bool next_piece(struct http_exchange *x) {
    const struct http_stream *st = &x->res.stream;
    buf_clear(&x->out);
    x->out_sent = 0;
    while (!x->stream_ended && x->out.n == 0) {
        if (gone(x)) return false;
        if (st->next(st->ctx, NEXT_MS, &x->out) == HTTP_END) x->stream_ended = true;
        if (!buf_ok(&x->out)) return false;
        if (x->out.n || x->stream_ended) break;
        if (clock_ns() - x->last_sent_ns > IDLE_NS)
            buf_z(&x->out, st->idle ? st->idle : ": keepalive\n\n");
    }
    return true;
}

static ssize_t read_stream(void *exchange, uint64_t position, char *to, size_t max) {
    struct http_exchange *x = exchange;
    (void)position;
    if (x->out_sent == x->out.n) {
        if (x->stream_ended) return MHD_CONTENT_READER_END_OF_STREAM;
        if (!next_piece(x)) return MHD_CONTENT_READER_END_WITH_ERROR;
        if (x->out.n == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t n = x->out.n - x->out_sent;
    if (n > max) n = max;
    memcpy(to, x->out.p + x->out_sent, n);
    x->out_sent += n;
    x->sent += (int64_t)n;
    x->last_sent_ns = clock_ns();
    return (ssize_t)n;
}

static struct MHD_Response *stream_response(struct http_exchange *x) {
    struct http_server *s = x->server;
    if (atomic_fetch_add(&s->streams, 1) >= s->o.streams_max) {
        atomic_fetch_sub(&s->streams, 1);
        http_header_add(&x->req, &x->res, "Retry-After", STR_LIT("1"));
        http_error(&x->res, 429, "rate_limit_exceeded", NULL,
                   "%d streams are open, the most this server allows; try again later.",
                   s->o.streams_max);
        return NULL;
    }
    x->stream_counted = true;
    x->last_sent_ns = clock_ns();
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 << 10, read_stream, x, NULL);
}

static struct MHD_Response *file_response(struct http_exchange *x) {
    struct stat st;
    int fd = open(x->res.file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        if (fd >= 0) close(fd);
        http_error(&x->res, 500, NULL, NULL, "The server failed: the stored file is missing: %s",
                   strerror(e));
        return NULL;
    }
    x->sent = st.st_size;
    return MHD_create_response_from_fd64((uint64_t)st.st_size, fd);
}

/* An error of any kind may replace the answer, so the plain body comes last. */
static struct MHD_Response *make_response(struct http_exchange *x) {
    struct MHD_Response *r = NULL;
    if (x->res.stream.next && !x->head) r = stream_response(x); /* to HEAD: only headers */
    if (!r && x->res.file) r = file_response(x);
    if (r) return r;
    if (!buf_ok(&x->res.body))
        http_error(&x->res, 500, NULL, NULL, "The server failed: the answer is too large.");
    x->sent = (int64_t)x->res.body.n;
    return MHD_create_response_from_buffer(x->res.body.n, (void *)buf_view(&x->res.body).p,
                                           MHD_RESPMEM_PERSISTENT);
}

enum MHD_Result reply_queue(struct http_exchange *x, bool whole) {
    struct MHD_Response *r = make_response(x);
    if (!r) return MHD_NO;
    put_headers(x, whole, r);
    x->queued = true;
    conn_state_set(x->conn, CONN_REPLY);
    enum MHD_Result ok = MHD_queue_response(x->mhd, (unsigned)x->res.status, r);
    MHD_destroy_response(r);
    return ok;
}
