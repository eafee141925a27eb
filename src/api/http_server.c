/* The listening socket, the list of connections, and the watch over slow clients. */
#include "api/http_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* netinet/tcp.h has no tcpi_bytes_acked, linux/tcp.h clashes with it */
#define TCP_INFO_BYTES_ACKED 120
#define SIO_OUTQ 0x5411
#define WATCH_MS 250

const struct http_options http_defaults = {
    .host = "127.0.0.1",
    .port = 8080,
    .connections_max = 512,
    .streams_max = 128,
    .header_max = 64 << 10,
    .json_max = 16 << 20,
    .upload_max = (int64_t)512 << 20,
    .header_seconds = 20,
    .idle_seconds = 80,
    .body_seconds = 30,
    .stall_seconds = 60,
};

/* --- the watch --- */

void conn_state_set(struct http_conn *c, enum conn_state state) {
    struct http_server *s = c->server;
    pthread_mutex_lock(&s->lock);
    if (state == CONN_IDLE) c->requests++;
    c->state = state;
    c->since_ns = c->progress_ns = clock_ns();
    if (state == CONN_IDLE) pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

/* Bytes on their way that the client does not take? Then how long has it taken none? */
static double stalled_seconds(struct http_conn *c, int64_t now) {
    int waiting = 0;
    unsigned char info[256];
    uint64_t acked = 0;
    socklen_t n = sizeof info;
    if (ioctl(c->fd, SIO_OUTQ, &waiting) == 0 &&
        getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &n) == 0 &&
        n >= TCP_INFO_BYTES_ACKED + sizeof acked)
        memcpy(&acked, info + TCP_INFO_BYTES_ACKED, sizeof acked);
    if (waiting == 0 || acked != c->acked) c->progress_ns = now;
    c->acked = acked;
    return (double)(now - c->progress_ns) * 1e-9;
}

static bool overdue(struct http_conn *c, const struct http_options *o, int64_t now) {
    double age = (double)(now - c->since_ns) * 1e-9;
    switch (c->state) {
    case CONN_IDLE: return age > (c->requests ? o->idle_seconds : o->header_seconds);
    case CONN_HEADER: return age > o->header_seconds;
    case CONN_BODY: /* and 1 KiB a second on average */
        return age > o->body_seconds + (double)atomic_load(&c->received) / 1024;
    case CONN_BUSY: return false;
    case CONN_REPLY: return stalled_seconds(c, now) > o->stall_seconds;
    }
    return false;
}

static void cut_off(struct http_conn *c) {
    c->cut = true;
    shutdown(c->fd, SHUT_RDWR); /* its thread sees the end and closes it */
}

static void *watch(void *arg) {
    struct http_server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        int64_t now = clock_ns();
        for (struct http_conn *c = s->conns; c; c = c->next)
            if (!c->cut && overdue(c, &s->o, now)) cut_off(c);
        if (s->meters)
            http_meters_now(s->meters, s->conn_count, atomic_load(&s->running),
                            atomic_load(&s->streams));
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WATCH_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&s->change, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* The one that waits longest for a request: first of those that never sent one, then of all. */
static void make_room(struct http_server *s) {
    struct http_conn *oldest = NULL;
    for (int round = 0; round < 2 && !oldest; round++)
        for (struct http_conn *c = s->conns; c; c = c->next) {
            if (c->cut || c->state > CONN_HEADER || (round == 0 && c->requests)) continue;
            if (!oldest || c->since_ns < oldest->since_ns) oldest = c;
        }
    if (oldest) cut_off(oldest);
}

/* --- connections, as libmicrohttpd reports them --- */

static void client_name(struct MHD_Connection *mhd, char *out, size_t n) {
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    out[0] = '\0';
    if (!i || !i->client_addr) return;
    socklen_t size = i->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                           : sizeof(struct sockaddr_in);
    getnameinfo(i->client_addr, size, out, (socklen_t)n, NULL, 0, NI_NUMERICHOST);
}

static void conn_open(struct http_server *s, struct MHD_Connection *mhd, void **context) {
    struct http_conn *c = mem_zalloc(1, sizeof *c);
    c->server = s;
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    client_name(mhd, c->client, sizeof c->client);
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->since_ns = clock_ns();
    pthread_mutex_lock(&s->lock);
    c->next = s->conns;
    if (c->next) c->next->prev = c;
    s->conns = c;
    s->conn_count++;
    if (s->conn_count > s->o.connections_max) make_room(s);
    pthread_mutex_unlock(&s->lock);
    *context = c;
}

static void conn_close(struct http_server *s, struct http_conn *c) {
    if (!c) return;
    pthread_mutex_lock(&s->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next) c->next->prev = c->prev;
    s->conn_count--;
    pthread_mutex_unlock(&s->lock);
    mem_free(c);
}

static void on_connection(void *server, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_open(server, mhd, context);
    } else {
        conn_close(server, *context);
        *context = NULL;
    }
}

static void ignore_message(void *server, const char *fmt, va_list args) {
    (void)server, (void)fmt, (void)args;
}

/* --- listening --- */

static int listen_on(const struct addrinfo *a, int *ret_fd) {
    int on = 1, fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 1024) != 0) {
        int e = errno;
        close(fd);
        return e;
    }
    *ret_fd = fd;
    return 0;
}

static int bound_port(int fd) {
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) != 0) return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

static int listen_open(struct http_server *s, struct err *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", s->o.port);
    int rc = getaddrinfo(s->o.host, port, &hints, &list);
    if (rc)
        return err_set(err, ERR_USAGE, "no such address: \"%s\": %s", s->o.host, gai_strerror(rc));
    int e = 0;
    for (struct addrinfo *a = list; a && s->listen_fd < 0; a = a->ai_next)
        e = listen_on(a, &s->listen_fd);
    freeaddrinfo(list);
    if (s->listen_fd < 0)
        return err_sys(err, e, "cannot listen on %s port %d", s->o.host, s->o.port);
    s->port = bound_port(s->listen_fd);
    return 0;
}

static int daemon_start(struct http_server *s, struct err *err) {
    /* Those over connections_max are cut off, or told that the server is busy. libmicrohttpd closes
     * what is over its own limit unheard, so that is far away. */
    unsigned limit = 2 * (unsigned)s->o.connections_max + 16;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, exchange_handle, s, MHD_OPTION_EXTERNAL_LOGGER, ignore_message, s,
        MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)s->o.header_max, MHD_OPTION_THREAD_STACK_SIZE, HTTP_STACK,
        MHD_OPTION_NOTIFY_COMPLETED, exchange_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_URI_LOG_CALLBACK, exchange_new, s, MHD_OPTION_END);
    if (!s->daemon) return err_set(err, ERR_INTERNAL, "the HTTP server could not be started");
    if (pthread_create(&s->watch, NULL, watch, s) != 0)
        return err_set(err, ERR_INTERNAL, "no thread for the HTTP server");
    s->watching = true;
    return 0;
}

/* The listening socket is ours from then on; new clients are turned away. */
static void quiesce(struct http_server *s) {
    if (!s->daemon || s->quiet) return;
    s->quiet = true;
    s->listen_fd = MHD_quiesce_daemon(s->daemon);
    if (s->listen_fd < 0) return;
    close(s->listen_fd);
    s->listen_fd = -1;
}

static void server_free(struct http_server *s) {
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    if (s->watching) pthread_join(s->watch, NULL);
    quiesce(s);
    if (s->daemon) MHD_stop_daemon(s->daemon);
    if (s->listen_fd >= 0) close(s->listen_fd);
    http_meters_free(s->meters);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

int http_server_open(const struct http_options *o, const struct http_route *const *tables,
                     struct http_server **ret, struct err *err) {
    struct http_server *s = mem_zalloc(1, sizeof *s);
    s->o = *o;
    if (!s->o.host) s->o.host = http_defaults.host;
    s->tables = tables;
    s->listen_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->change, NULL);
    if (o->metrics) s->meters = http_meters_new(o->metrics);
    int rc = listen_open(s, err);
    if (!rc) rc = daemon_start(s, err);
    if (rc)
        server_free(s);
    else
        *ret = s;
    return rc;
}

int http_server_port(const struct http_server *s) { return s->port; }

void http_server_stop(struct http_server *s, double seconds, const atomic_int *hurry) {
    if (!s) return;
    atomic_store(&s->stopping, 1);
    quiesce(s);
    double end = clock_seconds() + seconds;
    struct timespec pause = {.tv_nsec = 20 * 1000000L};
    while (atomic_load(&s->running) > 0 && clock_seconds() < end && !(hurry && atomic_load(hurry)))
        nanosleep(&pause, NULL);
    atomic_store(&s->aborting, 1);
    server_free(s);
}
