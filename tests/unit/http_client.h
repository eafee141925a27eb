/* A small HTTP client for tests of the server: raw bytes out, one parsed answer in. Everything has
 * a time limit, so that a server that hangs fails a test instead of stopping it. */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include "unit.h"

#include "base/buf.h"
#include "base/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_WAIT_MS 120000

struct answer {
    int status;
    struct buf head, body; /* body: chunks joined */
};

static inline int client_open(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

static inline void client_send(int fd, const void *p, size_t n) {
    const char *at = p;
    while (n) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL);
        if (k <= 0) fail_msg("send: %s", strerror(errno));
        at += k;
        n -= (size_t)k;
    }
}

static inline void client_text(int fd, const char *z) { client_send(fd, z, strlen(z)); }

/* more bytes; false at the end of the connection */
static inline bool client_more(int fd, struct buf *b) {
    char piece[65536];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, CLIENT_WAIT_MS) != 1) fail_msg("no answer within the time limit");
    ssize_t n = recv(fd, piece, sizeof piece, 0);
    if (n > 0) buf_add(b, piece, (size_t)n);
    return n > 0;
}

/* value of a header, "" when absent; in memory of the thread */
static inline const char *answer_header(const struct answer *a, const char *name) {
    static _Thread_local char value[1000];
    size_t n = strlen(name);
    for (const char *at = strstr(a->head.p, "\r\n"); at; at = strstr(at, "\r\n")) {
        at += 2;
        if (strncasecmp(at, name, n) != 0 || at[n] != ':') continue;
        at += n + 1 + strspn(at + n + 1, " ");
        size_t k = strcspn(at, "\r");
        if (k >= sizeof value) k = sizeof value - 1;
        memcpy(value, at, k);
        value[k] = '\0';
        return value;
    }
    return "";
}

/* joins chunks; true when the last one is there */
static inline bool unchunk(const struct buf *raw, struct buf *out) {
    const char *at = raw->p, *end = raw->p + raw->n;
    buf_clear(out);
    while (at && at < end) {
        char *line_end;
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        if (!nl) return false;
        size_t n = strtoul(at, &line_end, 16);
        at = nl + 1;
        if (n == 0) return end - at >= 2;
        if ((size_t)(end - at) < n + 2) return false;
        buf_add(out, at, n);
        at += n + 2;
    }
    return false;
}

/* One answer; what comes behind it is an error of the test. `has_body` false: to HEAD. */
static inline void answer_read(int fd, bool has_body, struct answer *a) {
    struct buf raw, rest;
    const char *end = NULL;
    bool open = true;
    buf_init(&raw, 64 << 20);
    buf_init(&rest, 64 << 20);
    buf_init(&a->head, 1 << 20);
    buf_init(&a->body, 64 << 20);
    do {
        while (open && !(end = raw.n ? strstr(raw.p, "\r\n\r\n") : NULL))
            open = client_more(fd, &raw);
        if (!end) fail_msg("the connection ended before an answer: \"%s\"", raw.p ? raw.p : "");
        buf_clear(&a->head);
        buf_add(&a->head, raw.p, (size_t)(end - raw.p) + 2);
        a->status = (int)strtol(raw.p + 9, NULL, 10);
        buf_clear(&rest);
        buf_add(&rest, end + 4, raw.n - (size_t)(end + 4 - raw.p));
        buf_clear(&raw);
        buf_str(&raw, buf_view(&rest));
    } while (a->status == 100);
    const char *length = answer_header(a, "Content-Length");
    if (!has_body || a->status == 204) {
        assert_int_equal(rest.n, 0);
    } else if (*length) {
        size_t n = strtoul(length, NULL, 10);
        while (rest.n < n && client_more(fd, &rest)) {
        }
        assert_int_equal(rest.n, n);
        buf_str(&a->body, buf_view(&rest));
    } else if (strcmp(answer_header(a, "Transfer-Encoding"), "chunked") == 0) {
        while (!unchunk(&rest, &a->body) && client_more(fd, &rest)) {
        }
    } else {
        while (client_more(fd, &rest)) {
        }
        buf_str(&a->body, buf_view(&rest));
    }
    buf_byte(&a->body, '\0');
    a->body.n--;
    buf_release(&raw);
    buf_release(&rest);
}

static inline void answer_release(struct answer *a) {
    buf_release(&a->head);
    buf_release(&a->body);
}

/* a request on an open connection */
static inline void client_ask(int fd, const char *method, const char *target, const char *headers,
                              const char *body, struct answer *a) {
    struct buf b;
    buf_init(&b, 64 << 20);
    buf_printf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, target, headers);
    if (body) buf_printf(&b, "Content-Length: %zu\r\n", strlen(body));
    buf_z(&b, "\r\n");
    if (body) buf_z(&b, body);
    client_send(fd, b.p, b.n);
    buf_release(&b);
    answer_read(fd, strcmp(method, "HEAD") != 0, a);
}

/* a request on a connection of its own */
static inline void client_once(int port, const char *method, const char *target,
                               const char *headers, const char *body, struct answer *a) {
    int fd = client_open(port);
    client_ask(fd, method, target, headers, body, a);
    close(fd);
}

static inline json_t *answer_json(const struct answer *a) {
    struct err err;
    json_t *v = NULL;
    if (strcmp(answer_header(a, "Content-Type"), "application/json") != 0)
        fail_msg("not JSON: %s%s", a->head.p, a->body.p);
    if (json_read(buf_view(&a->body), "answer", &v, &err)) fail_msg("%s: %s", err.msg, a->body.p);
    return v;
}

/* An error answer in the one shape there is; NULL is JSON's null. */
static inline void expect_error(struct answer *a, int status, const char *code, const char *param,
                                const char *said) {
    json_t *v = answer_json(a), *e = json_object_get(v, "error");
    if (a->status != status) fail_msg("%d instead of %d: %s", a->status, status, a->body.p);
    assert_int_equal(json_object_size(v), 1);
    assert_int_equal(json_object_size(e), 4);
    const char *names[] = {"code", "param"}, *want[] = {code, param};
    for (int i = 0; i < 2; i++) {
        const json_t *got = json_object_get(e, names[i]);
        assert_non_null(got);
        if (want[i] ? !json_is_string(got) || strcmp(json_string_value(got), want[i]) != 0
                    : !json_is_null(got))
            fail_msg("%s is not %s in %s", names[i], want[i] ? want[i] : "null", a->body.p);
    }
    const char *message = json_string_value(json_object_get(e, "message"));
    if (!message || !strstr(message, said)) fail_msg("\"%s\" lacks \"%s\"", message, said);
    assert_true(json_is_string(json_object_get(e, "type")));
    json_decref(v);
    answer_release(a);
}

#endif
