/* Inside the HTTP front: connections, exchanges, and who does what.
 *
 *     http_server.c    listens, keeps the list of connections, cuts slow and surplus ones off
 *     http_exchange.c  one request: route, body, handler
 *     http_reply.c     one answer: headers, body, stream
 *     http_answer.c    what handlers call to fill an answer
 *
 * libmicrohttpd parses the protocol, one thread for each connection. The watch thread shuts sockets
 * of clients down that keep a connection without using it; libmicrohttpd then ends its thread. */
#ifndef API_HTTP_INT_H
#define API_HTTP_INT_H

#include "api/http.h"
#include "api/multipart.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#define HTTP_STACK ((size_t)4 << 20) /* a template may recurse for most of one */
#define HTTP_DRAIN_MAX                                                                             \
    ((int64_t)1 << 30)     /* of a body that nobody wants, so that the client reads */
#define HTTP_JSON_SHARES 4 /* all JSON bodies together hold this many times json_max */
#define HTTP_ARENA_MAX ((size_t)64 << 20)

enum conn_state {
    CONN_IDLE,   /* no request line yet */
    CONN_HEADER, /* headers are coming */
    CONN_BODY,   /* the body is */
    CONN_BUSY,   /* a handler works */
    CONN_REPLY   /* the answer is going out */
};

struct http_conn {
    struct http_conn *prev, *next;
    struct http_server *server;
    int fd;
    char client[64];
    /* under the server's lock */
    enum conn_state state;
    int64_t since_ns, progress_ns;
    uint64_t acked;   /* bytes the client has acknowledged when last looked at */
    int64_t requests; /* answered */
    bool cut;
    _Atomic int64_t received; /* body bytes of this request */
};

struct http_server {
    struct http_options o;
    const struct http_route *const *tables;
    struct MHD_Daemon *daemon;
    int listen_fd, port;
    pthread_t watch;
    bool watching;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct http_conn *conns;
    int conn_count;
    bool closing;               /* the watch thread ends */
    bool quiet;                 /* no longer listening */
    _Atomic int running;        /* requests from their headers to the end of their answer */
    _Atomic int streams;        /* open ones */
    _Atomic int64_t json_bytes; /* of bodies that are held in memory */
    _Atomic int stopping;       /* no new requests */
    _Atomic int aborting;       /* nor patience with those that run */
    struct http_meters *meters; /* NULL: none */
};

struct http_exchange {
    struct http_server *server;
    struct http_conn *conn;
    struct MHD_Connection *mhd;
    char *target; /* as sent */
    struct arena arena;
    struct http_request req;
    struct http_response res;
    const struct http_route *route;
    bool started, queued;
    bool decided; /* answered before the handler: the rest of the body is dropped */
    bool head, expects_continue;
    bool http10; /* the client speaks that */
    struct buf body;
    struct multipart multipart;
    bool multipart_open, in_file;
    struct http_pair form[HTTP_FORM_MAX];
    size_t form_count;
    struct buf field; /* the form field that is coming in */
    struct str field_name;
    int64_t received, sent, start_ns, last_sent_ns, json_bytes;
    struct buf out; /* of the stream: what next gave and is not sent */
    size_t out_sent;
    bool stream_counted, stream_ended;
};

void http_request_id(char out[HTTP_REQUEST_ID]); /* "req_..." */

/* http_exchange.c: libmicrohttpd's callbacks */
void *exchange_new(void *server, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result exchange_handle(void *server, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *n, void **exchange);
void exchange_completed(void *server, struct MHD_Connection *mhd, void **exchange,
                        enum MHD_RequestTerminationCode how);

/* http_reply.c */
/* whole: the request was read to its end, so another may follow on the connection */
enum MHD_Result reply_queue(struct http_exchange *x, bool whole);
bool cors_allows(const struct http_server *s, const char *origin);
/* Browsers ask before they send; true: the answer is in res. */
bool cors_preflight(struct http_exchange *x);

/* http_server.c */
void conn_state_set(struct http_conn *c, enum conn_state state);

/* http_meters.c: what the server counts of itself */
struct http_meters *http_meters_new(struct metrics *m);
void http_meters_free(struct http_meters *m);
void http_meters_request(struct http_meters *m, const struct http_log *line);
void http_meters_now(struct http_meters *m, int connections, int running, int streams);

#endif
