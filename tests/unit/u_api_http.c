/* The HTTP front over loopback, with clients of every kind: correct, wrong, slow and gone. */
#include "http_client.h"

#include "api/http.h"
#include "api/metrics.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

/* --- a server with a route of each kind --- */

static struct {
    _Atomic int closed, complete, handled, waiting;
    _Atomic int hold; /* handlers that wait go on when this is 0 */
    struct buf log;
    pthread_mutex_t lock;
} seen;

static int echo(struct http_request *req, struct http_response *res, struct err *err) {
    (void)err;
    atomic_fetch_add(&seen.handled, 1);
    json_t *query = json_array();
    for (size_t i = 0; i < req->query_count; i++)
        json_array_append_new(query, json_pack("[s%s%]", req->query[i].name.p, req->query[i].name.n,
                                               req->query[i].value.p, req->query[i].value.n));
    return http_json(res, 200,
                     json_pack("{s:s%, s:o, s:O?, s:I}", "param",
                               req->param[0].p ? req->param[0].p : "", req->param[0].n, "query",
                               query, "json", req->json, "bytes", (json_int_t)req->body.n));
}

static int limited(struct http_request *req, struct http_response *res, struct err *err) {
    int64_t limit = 20;
    (void)err;
    int rc = http_query_i64(req, "limit", 1, 100, &limit, res);
    return rc ? rc : http_json(res, 200, json_pack("{s:I}", "limit", (json_int_t)limit));
}

static int failing(struct http_request *req, struct http_response *res, struct err *err) {
    (void)res;
    snprintf(req->note, sizeof req->note, "why=\"a test\"");
    if (str_is(req->param[0], "invalid")) return err_set(err, ERR_INVALID, "row 3 is bad \xff!");
    if (str_is(req->param[0], "conflict")) return err_set(err, ERR_CONFLICT, "it runs already");
    if (str_is(req->param[0], "io")) return err_set(err, ERR_IO, "disk");
    return 0; /* no answer */
}

/* the sink counts and sums up what comes */
struct sum {
    uint64_t sum;
};
static int sum_open(struct http_request *req, void **ret, struct err *err) {
    (void)err, (void)req;
    *ret = mem_zalloc(1, sizeof(struct sum));
    return 0;
}
static int sum_add(void *file, const void *p, size_t n, struct err *err) {
    struct sum *s = file;
    const unsigned char *b = p;
    if (n >= 4 && memcmp(b, "FULL", 4) == 0) return err_set(err, ERR_FULL, "no room");
    for (size_t i = 0; i < n; i++) s->sum = s->sum * 31 + b[i];
    return 0;
}
static void sum_close(void *file) {
    atomic_fetch_add(&seen.closed, 1);
    mem_free(file);
}
static const struct http_sink sum_sink = {"file", sum_open, sum_add, sum_close};

static int upload(struct http_request *req, struct http_response *res, struct err *err) {
    (void)err;
    const struct sum *s = req->file;
    const struct str *purpose = http_form(req, "purpose");
    json_t *o =
        json_pack("{s:I, s:s%, s:s%, s:I, s:i}", "bytes", (json_int_t)req->file_bytes, "filename",
                  req->filename.p, req->filename.n, "type", req->file_type.p, req->file_type.n,
                  "sum", (json_int_t)s->sum, "fields", (int)req->form_count);
    if (purpose) json_object_set_new(o, "purpose", json_stringn(purpose->p, purpose->n));
    return http_json(res, 200, o);
}

/* waits until its client has gone or the test lets it go */
static int waiting(struct http_request *req, struct http_response *res, struct err *err) {
    (void)err;
    struct timespec pause = {.tv_nsec = 5000000};
    atomic_fetch_add(&seen.waiting, 1);
    while (atomic_load(&seen.hold) && !http_client_gone(req)) nanosleep(&pause, NULL);
    atomic_fetch_sub(&seen.waiting, 1);
    return http_json(res, 200, json_pack("{s:b}", "gone", http_client_gone(req)));
}

struct counting {
    int n, count;
};
static enum http_next count_next(void *ctx, int wait_ms, struct buf *out) {
    struct counting *c = ctx;
    struct timespec pause = {.tv_nsec = wait_ms * 100000L};
    if (c->n == c->count && atomic_load(&seen.hold)) {
        nanosleep(&pause, NULL);
        return HTTP_WAIT;
    }
    if (c->n == c->count) {
        sse_done(out);
        return HTTP_END;
    }
    sse_data(out, json_pack("{s:i}", "n", c->n++));
    return HTTP_MORE;
}
static void count_close(void *ctx, bool complete) {
    atomic_fetch_add(&seen.closed, 1);
    if (complete) atomic_fetch_add(&seen.complete, 1);
    mem_free(ctx);
}
static int counted(struct http_request *req, struct http_response *res, struct err *err) {
    (void)err;
    int64_t count = 3;
    struct counting *c = mem_zalloc(1, sizeof *c);
    http_query_i64(req, "count", 0, 1000000, &count, res);
    c->count = (int)count;
    return http_stream(res,
                       &(struct http_stream){.next = count_next, .close = count_close, .ctx = c});
}

static int own_file(struct http_request *req, struct http_response *res, struct err *err) {
    char path[200];
    (void)req;
    snprintf(path, sizeof path, "%s/content.jsonl", unit_dir());
    return http_file(res, path, "application/octet-stream", err);
}

static const struct http_route first_routes[] = {
    {"GET", "/v1/models/{model*}", echo, .scope = HTTP_INFERENCE},
    {"GET", "/v1/models", echo, .scope = HTTP_INFERENCE},
    {"POST", "/v1/things/{id}/cancel", echo, .scope = HTTP_TUNING},
    {"POST", "/v1/things", echo, .scope = HTTP_TUNING, .body = HTTP_JSON, .body_max = 1000},
    {"POST", "/v1/optional", echo, .scope = HTTP_PUBLIC, .body = HTTP_JSON_OPTIONAL},
    {"GET", "/v1/limited", limited, .scope = HTTP_PUBLIC},
    {0}};
static const struct http_route second_routes[] = {
    {"GET", "/v1/fail/{how}", failing, .scope = HTTP_PUBLIC},
    {"POST", "/v1/files", upload, .scope = HTTP_PUBLIC, .body = HTTP_MULTIPART, .sink = &sum_sink,
     .body_max = 40 << 20},
    {"GET", "/v1/file", own_file, .scope = HTTP_PUBLIC},
    {"POST", "/v1/wait", waiting, .scope = HTTP_PUBLIC, .body = HTTP_JSON_OPTIONAL},
    {"GET", "/v1/count", counted, .scope = HTTP_PUBLIC},
    {"*", "/v1/fine-tunes/{rest*}", .removed = "Use /v1/fine_tuning/jobs."},
    {"*", "/v1/engines", .removed = "Use GET /v1/models.", .removed_status = 404},
    {0}};
static const struct http_route *const tables[] = {first_routes, second_routes, NULL};

static int need_key(struct http_request *req, enum http_scope scope, struct http_response *res,
                    struct err *err) {
    (void)err;
    const char *auth = http_header(req, "Authorization");
    if (scope != HTTP_ADMIN && auth && strcmp(auth, "Bearer good") == 0) {
        req->key = "key_1";
        return 0;
    }
    return http_error(res, 401, "invalid_api_key", NULL, "Incorrect API key provided.");
}

static void on_log(void *user, const struct http_log *line) {
    (void)user;
    pthread_mutex_lock(&seen.lock);
    buf_printf(&seen.log, "%s %s %s %d %s %lld\n", line->req->method, line->route, line->req->id,
               line->status, line->req->note, (long long)line->received);
    pthread_mutex_unlock(&seen.lock);
}

static struct http_server *server;
static int port;

static void start(const struct http_options *more) {
    struct err err;
    struct http_options o = more ? *more : http_defaults;
    o.port = 0;
    o.log = on_log;
    atomic_store(&seen.hold, 0);
    atomic_store(&seen.closed, 0);
    atomic_store(&seen.complete, 0);
    atomic_store(&seen.handled, 0);
    pthread_mutex_init(&seen.lock, NULL);
    buf_init(&seen.log, 1 << 20);
    if (http_server_open(&o, tables, &server, &err)) fail_msg("%s", err.msg);
    port = http_server_port(server);
}

static void stop(void) {
    http_server_stop(server, 10, NULL);
    buf_release(&seen.log);
}

/* waits for what another thread does, with an end */
static void wait_for(_Atomic int *value, int want) {
    struct timespec pause = {.tv_nsec = 2000000};
    for (int i = 0; i < 5000 && atomic_load(value) != want; i++) nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(value), want);
}

/* --- requests as they should be --- */

static void expect_echo(const char *target, const char *param, const char *query) {
    struct answer a;
    client_once(port, "GET", target, "", NULL, &a);
    if (a.status != 200) fail_msg("%s: %s", target, a.body.p);
    json_t *v = answer_json(&a);
    assert_string_equal(json_string_value(json_object_get(v, "param")), param);
    char *text = json_dumps(json_object_get(v, "query"), JSON_COMPACT);
    assert_string_equal(text, query);
    free(text);
    json_decref(v);
    answer_release(&a);
}

static void paths_and_queries_arrive_decoded(void **state) {
    (void)state;
    start(NULL);
    expect_echo("/v1/models", "", "[]");
    expect_echo("/v1models", "", "[]");
    expect_echo("/v1/models/", "", "[]");
    expect_echo("//v1//models?", "", "[]");
    expect_echo("/v1/models/ft:a:b::c", "ft:a:b::c", "[]");
    expect_echo("/v1models/ft%3Aa%3ab", "ft:a:b", "[]");
    expect_echo("/v1/models/org/name:x", "org/name:x", "[]");
    expect_echo("/v1/models/org%2Fname%zz%4", "org/name%zz%4", "[]");
    expect_echo("/v1/models/..%2f../etc/passwd", "../../etc/passwd", "[]");
    expect_echo("/v1/models?metadata%5Ba%5D=b%20c+d&include[]=1&include%5B%5D=2&x&y=", "",
                "[[\"metadata[a]\",\"b c d\"],[\"include[]\",\"1\"],[\"include[]\",\"2\"],"
                "[\"x\",\"\"],[\"y\",\"\"]]");
    stop();
}

static void answers_carry_their_headers(void **state) {
    (void)state;
    struct answer a;
    start(NULL);
    client_once(port, "GET", "/v1/models", "", NULL, &a);
    assert_string_equal(answer_header(&a, "Content-Type"), "application/json");
    assert_string_equal(answer_header(&a, "openai-version"), "2020-10-01");
    assert_string_equal(answer_header(&a, "Keep-Alive"), "timeout=75");
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"), "");
    assert_int_equal(strlen(answer_header(&a, "x-request-id")), 36);
    assert_int_equal(strncmp(answer_header(&a, "x-request-id"), "req_", 4), 0);
    assert_true(strlen(answer_header(&a, "openai-processing-ms")) > 0);
    answer_release(&a);
    client_once(port, "HEAD", "/v1/models", "", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    stop();
}

/* never both a promise to stay and an end */
static void only_connections_that_stay_say_how_long(void **state) {
    (void)state;
    static const struct {
        const char *request;
        bool stays;
    } cases[] = {{"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", true},
                 {"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", false},
                 {"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: te, close\r\n\r\n", false},
                 {"GET /v1/models HTTP/1.0\r\n\r\n", false},
                 {"GET /v1/models HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
                 {"POST /v1/nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  "Content-Length: 9\r\n\r\n",
                  false}};
    struct answer a;
    start(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = client_open(port);
        client_text(fd, cases[i].request);
        answer_read(fd, true, &a);
        bool ends = strcasecmp(answer_header(&a, "Connection"), "close") == 0;
        assert_string_equal(answer_header(&a, "Keep-Alive"), cases[i].stays ? "timeout=75" : "");
        assert_int_equal(ends, !cases[i].stays);
        answer_release(&a);
        close(fd);
    }
    stop();
}

static void one_connection_serves_many(void **state) {
    (void)state;
    struct answer a;
    start(NULL);
    int fd = client_open(port);
    for (int i = 0; i < 1000; i++) {
        client_ask(fd, "GET", "/v1/models", "", NULL, &a);
        assert_int_equal(a.status, 200);
        answer_release(&a);
    }
    client_ask(fd, "POST", "/v1/things", "", "{\"a\":1}", &a); /* and after an error too */
    assert_int_equal(a.status, 200);
    answer_release(&a);
    client_ask(fd, "POST", "/v1/things", "", "{\"a\":", &a);
    expect_error(&a, 400, "invalid_json", NULL, "We could not parse the JSON body");
    client_ask(fd, "POST", "/v1/nowhere", "", "{}", &a);
    expect_error(&a, 404, "unknown_url", NULL, "Invalid URL (POST /v1/nowhere)");
    client_ask(fd, "GET", "/v1/models", "", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    close(fd);
    stop();
}

static void bodies_come_in_every_form(void **state) {
    (void)state;
    struct answer a;
    start(NULL);
    int fd = client_open(port);
    client_text(fd, "POST /v1/things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "3\r\n{\"a\r\n4;x=y\r\n\":[1\r\n3\r\n,2]\r\n1\r\n}\r\n0\r\n\r\n");
    answer_read(fd, true, &a);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body.p, "\"json\":{\"a\":[1,2]},\"bytes\":11"));
    answer_release(&a);
    client_text(fd, "POST /v1/things HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                    "Content-Length: 2\r\n\r\n");
    struct buf b;
    buf_init(&b, 1000);
    assert_true(client_more(fd, &b));
    assert_int_equal(strncmp(b.p, "HTTP/1.1 100 ", 13), 0);
    buf_release(&b);
    client_text(fd, "{}");
    answer_read(fd, true, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    close(fd);
    /* no body where none is needed, of any type */
    static const char *const headers[] = {"", "Content-Length: 0\r\n",
                                          ("Content-Type: application/x-www-form-urlencoded\r\n"
                                           "Content-Length: 0\r\n")};
    for (size_t i = 0; i < 3; i++) {
        client_once(port, "POST", "/v1/things/x/cancel", headers[i], NULL, &a);
        assert_int_equal(a.status, 200);
        answer_release(&a);
        client_once(port, "POST", "/v1/optional", headers[i], NULL, &a);
        assert_int_equal(a.status, 200);
        answer_release(&a);
    }
    stop();
}

/* --- requests as they should not be --- */

static void wrong_requests_are_named(void **state) {
    (void)state;
    struct answer a;
    char big[1200];
    start(NULL);
    memset(big, ' ', sizeof big);
    memcpy(big, "{}", 2);
    big[sizeof big - 1] = '\0';
    client_once(port, "POST", "/v1/things", "", "[1]", &a);
    expect_error(&a, 400, "invalid_type", NULL, "must be an object");
    client_once(port, "POST", "/v1/things", "", "", &a);
    expect_error(&a, 400, NULL, NULL, "the body is empty");
    client_once(port, "POST", "/v1/things", "", big, &a);
    expect_error(&a, 413, NULL, NULL, "size limit (1000) exceeded (1199 bytes read)");
    client_once(port, "POST", "/v1/things", "Content-Type: multipart/form-data; boundary=x\r\n",
                "{}", &a);
    expect_error(&a, 400, NULL, NULL, "must be JSON");
    client_once(port, "POST", "/v1/models", "", "{}", &a);
    assert_string_equal(answer_header(&a, "Allow"), "GET");
    expect_error(&a, 405, "method_not_supported", NULL, "Not allowed to POST on /v1/models.");
    client_once(port, "GET", "/models", "", NULL, &a);
    expect_error(&a, 404, "unknown_url", NULL, "base URL ends in /v1: /v1/models");
    client_once(port, "POST", "/v1/fine-tunes/ft-1/cancel", "", "", &a);
    expect_error(&a, 400, "endpoint_removed", NULL, "Use /v1/fine_tuning/jobs.");
    client_once(port, "GET", "/v1/engines", "", NULL, &a);
    expect_error(&a, 404, "unknown_url", NULL, "Use GET /v1/models.");
    client_once(port, "GET", "/v1/limited?limit=0", "", NULL, &a);
    expect_error(&a, 400, "integer_below_min_value", "limit", "Expected a value >= 1, but got 0");
    client_once(port, "GET", "/v1/limited?limit=101", "", NULL, &a);
    expect_error(&a, 400, "integer_above_max_value", "limit", "<= 100");
    client_once(port, "GET", "/v1/limited?limit=1e3", "", NULL, &a);
    expect_error(&a, 400, "invalid_type", "limit", "expected an integer, but got '1e3'");
    stop();
}

static void deep_bodies_are_refused(void **state) {
    (void)state;
    static const int levels[] = {255, 256, 100000}; /* in an object, which is one more */
    struct answer a;
    start(NULL);
    for (size_t k = 0; k < 3; k++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        buf_z(&b, "{\"[[\\\"[\":\"]{[\",\"a\":");
        for (int i = 0; i < levels[k]; i++) buf_byte(&b, '[');
        for (int i = 0; i < levels[k]; i++) buf_byte(&b, ']');
        buf_byte(&b, '}');
        client_once(port, "POST", "/v1/optional", "", b.p, &a);
        if (k == 0) {
            assert_int_equal(a.status, 200);
            answer_release(&a);
        } else {
            expect_error(&a, 400, "invalid_json", NULL, "nested deeper than 256");
        }
        buf_release(&b);
    }
    stop();
}

/* One body may be as large as json_max; all together not four times that. */
static void bodies_share_memory(void **state) {
    (void)state;
    enum { SIZE = 100000, BODIES = 4 };
    struct http_options o = http_defaults;
    struct answer a;
    struct buf body;
    int fd[BODIES];
    char head[100];
    o.json_max = SIZE;
    start(&o);
    buf_init(&body, 1 << 20);
    buf_z(&body, "{\"a\":1");
    while (body.n < SIZE - 1) buf_byte(&body, ' ');
    buf_byte(&body, '}');
    snprintf(head, sizeof head,
             "POST /v1/optional HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", SIZE);
    for (int i = 0; i < BODIES; i++) { /* all but the last byte */
        fd[i] = client_open(port);
        client_text(fd[i], head);
        client_send(fd[i], body.p, SIZE - 1);
    }
    struct timespec pause = {.tv_nsec = 2000000};
    int busy = 0;
    for (int i = 0; i < 5000 && !busy; i++) { /* until the server has read them */
        client_once(port, "POST", "/v1/optional", "", body.p, &a);
        busy = a.status == 503;
        if (!busy) assert_int_equal(a.status, 200);
        if (busy) assert_string_equal(answer_header(&a, "Retry-After"), "1");
        answer_release(&a);
        nanosleep(&pause, NULL);
    }
    assert_true(busy);
    int refused = 0; /* the one whose last bytes met one of the bodies above */
    for (int i = 0; i < BODIES; i++) {
        client_text(fd[i], "}");
        answer_read(fd[i], true, &a);
        refused += a.status == 503;
        if (a.status != 503) assert_int_equal(a.status, 200);
        answer_release(&a);
        close(fd[i]);
    }
    assert_true(refused <= 1);
    for (int i = 0; i < 5000 && busy; i++) { /* until what they held is free again */
        client_once(port, "POST", "/v1/optional", "", body.p, &a);
        busy = a.status == 503;
        answer_release(&a);
        if (busy) nanosleep(&pause, NULL);
    }
    assert_false(busy);
    buf_release(&body);
    stop();
}

static void errors_of_handlers_become_answers(void **state) {
    (void)state;
    struct answer a;
    start(NULL);
    client_once(port, "GET", "/v1/fail/invalid", "", NULL, &a);
    expect_error(&a, 400, NULL, NULL, "row 3 is bad \xEF\xBF\xBD!");
    client_once(port, "GET", "/v1/fail/conflict", "", NULL, &a);
    expect_error(&a, 400, NULL, NULL, "it runs already");
    client_once(port, "GET", "/v1/fail/io", "", NULL, &a);
    expect_error(&a, 500, NULL, NULL, "The server failed: disk");
    client_once(port, "GET", "/v1/fail/nothing", "", NULL, &a);
    expect_error(&a, 500, NULL, NULL, "no answer");
    stop();
}

/* libmicrohttpd answers what is no HTTP; whatever it says, the server goes on and no handler ran */
static void noise_does_no_harm(void **state) {
    (void)state;
    static const char *const noise[] = {
        "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        "POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /v1/things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /v1/things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        "POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{}",
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "\r\n\r\n\r\n",
        "\0\0\0"};
    struct answer a;
    start(NULL);
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++) {
        int fd = client_open(port);
        struct buf b;
        buf_init(&b, 1 << 20);
        client_text(fd, noise[i]);
        shutdown(fd, SHUT_WR);
        while (client_more(fd, &b)) {
        }
        if (b.n && strncmp(b.p, "HTTP/1.1 2", 10) == 0 && i != 8)
            fail_msg("noise %zu was answered: %s", i, b.p);
        buf_release(&b);
        close(fd);
    }
    struct buf huge; /* headers beyond the limit */
    buf_init(&huge, 1 << 20);
    buf_z(&huge, "GET /v1/models HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 3000; i++) buf_printf(&huge, "X-Filler-%d: %080d\r\n", i, i);
    int fd = client_open(port);
    send(fd, huge.p, huge.n, MSG_NOSIGNAL);
    buf_clear(&huge);
    while (client_more(fd, &huge)) {
    }
    if (huge.n) assert_int_equal(strncmp(huge.p, "HTTP/1.1 4", 10), 0);
    close(fd);
    buf_release(&huge);
    assert_int_equal(atomic_load(&seen.handled), 0);
    client_once(port, "GET", "/v1/models", "", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    stop();
}

static void keys_are_asked_before_bodies(void **state) {
    (void)state;
    struct http_options o = http_defaults;
    struct answer a;
    o.authorize = need_key;
    start(&o);
    client_once(port, "GET", "/v1/models", "", NULL, &a);
    expect_error(&a, 401, "invalid_api_key", NULL, "Incorrect API key");
    client_once(port, "GET", "/v1/models", "authorization: Bearer good\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    client_once(port, "GET", "/v1/limited", "", NULL, &a); /* public */
    assert_int_equal(a.status, 200);
    answer_release(&a);
    int fd = client_open(port); /* no 100 Continue for a body that nobody will read */
    client_text(fd, "POST /v1/things HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                    "Content-Length: 900\r\n\r\n");
    answer_read(fd, true, &a);
    assert_null(strstr(a.head.p, "100 Continue"));
    expect_error(&a, 401, "invalid_api_key", NULL, "Incorrect API key");
    close(fd);
    assert_int_equal(atomic_load(&seen.handled), 1);
    stop();
}

static void other_sites_are_kept_out(void **state) {
    (void)state;
    static const char evil[] = "Origin: http://evil.example\r\n",
                      ask[] = "Origin: http://app.example\r\n"
                              "Access-Control-Request-Method: POST\r\n"
                              "Access-Control-Request-Headers: authorization,x-stainless-os\r\n";
    struct http_options o = http_defaults;
    struct answer a;
    start(NULL);
    client_once(port, "POST", "/v1/things", evil, "{}", &a);
    expect_error(&a, 403, "origin_not_allowed", NULL, "http://evil.example");
    client_once(port, "POST", "/v1/things", "Origin: http://localhost\r\n", "{}", &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    client_once(port, "OPTIONS", "/v1/things", ask, NULL, &a);
    assert_int_equal(a.status, 403);
    answer_release(&a);
    stop();
    o.cors = "http://other.example http://app.example";
    start(&o);
    client_once(port, "OPTIONS", "/v1/things", ask, NULL, &a);
    assert_int_equal(a.status, 204);
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"), "http://app.example");
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Headers"),
                        "authorization,x-stainless-os");
    answer_release(&a);
    client_once(port, "POST", "/v1/things", "Origin: http://app.example\r\n", "{}", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"), "http://app.example");
    answer_release(&a);
    client_once(port, "GET", "/v1/models", evil, NULL, &a);
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"), "");
    answer_release(&a);
    stop();
}

/* --- files --- */

#define FORM "Content-Type: multipart/form-data; boundary=---b-1\r\n"
#define FILE_PART                                                                                  \
    "-----b-1\r\nContent-Disposition: form-data; name=\"file\"; "                                  \
    "filename=\"/x/tr%22ain.jsonl\"\r\n"                                                           \
    "Content-Type: application/octet-stream\r\n\r\n"
#define PURPOSE_PART                                                                               \
    "-----b-1\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n"

static void files_arrive_before_and_after_fields(void **state) {
    (void)state;
    static const char *const bodies[] = {FILE_PART "{\"a\":1}\r\n" PURPOSE_PART "-----b-1--\r\n",
                                         PURPOSE_PART FILE_PART "{\"a\":1}\r\n-----b-1--"};
    struct answer a;
    start(NULL);
    for (size_t i = 0; i < 2; i++) {
        client_once(port, "POST", "/v1/files", FORM, bodies[i], &a);
        json_t *v = answer_json(&a);
        assert_int_equal(json_integer_value(json_object_get(v, "bytes")), 7);
        assert_string_equal(json_string_value(json_object_get(v, "filename")), "tr\"ain.jsonl");
        assert_string_equal(json_string_value(json_object_get(v, "purpose")), "fine-tune");
        assert_int_equal(json_integer_value(json_object_get(v, "fields")), 1);
        json_decref(v);
        answer_release(&a);
    }
    client_once(port, "POST", "/v1/files", FORM, PURPOSE_PART "-----b-1--\r\n", &a);
    expect_error(&a, 400, "missing_required_parameter", "file", "'file'");
    client_once(port, "POST", "/v1/files", FORM, FILE_PART "x\r\n" FILE_PART "y\r\n-----b-1--", &a);
    expect_error(&a, 400, NULL, NULL, "more than once");
    client_once(port, "POST", "/v1/files", FORM, FILE_PART "never ends", &a);
    expect_error(&a, 400, NULL, NULL, "closing boundary");
    client_once(port, "POST", "/v1/files", "", "{}", &a);
    expect_error(&a, 400, NULL, NULL, "multipart/form-data");
    client_once(port, "POST", "/v1/files", FORM, FILE_PART "FULL\r\n-----b-1--", &a);
    assert_int_equal(a.status, 507);
    answer_release(&a);
    stop(); /* every sink that was opened is closed */
    assert_int_equal(atomic_load(&seen.closed), 5);
}

static void large_files_stream_through(void **state) {
    (void)state;
    enum { SIZE = 20 << 20 };
    struct answer a;
    struct buf body;
    uint64_t sum = 0;
    start(NULL);
    buf_init(&body, 64 << 20);
    buf_z(&body, FILE_PART);
    for (int i = 0; i < SIZE; i++) {
        unsigned char c = (unsigned char)(i % 7 == 0 ? '\r' : i % 11 == 0 ? '\n' : i * 31 >> 3);
        buf_byte(&body, (char)c);
        sum = sum * 31 + c;
    }
    buf_z(&body, "\r\n-----b-1--\r\n");
    int fd = client_open(port);
    client_text(fd,
                "POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" FORM "\r\n");
    for (size_t at = 0; at < body.n;) {
        char head[32];
        size_t n = body.n - at < 70001 ? body.n - at : 70001;
        snprintf(head, sizeof head, "%zx\r\n", n);
        client_text(fd, head);
        client_send(fd, body.p + at, n);
        client_text(fd, "\r\n");
        at += n;
    }
    client_text(fd, "0\r\n\r\n");
    answer_read(fd, true, &a);
    json_t *v = answer_json(&a);
    assert_int_equal(json_integer_value(json_object_get(v, "bytes")), SIZE);
    assert_true(json_integer_value(json_object_get(v, "sum")) == (json_int_t)sum);
    json_decref(v);
    answer_release(&a);
    /* beyond the limit, without a length said before: 413, and the connection lives on */
    client_text(fd,
                "POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" FORM "\r\n");
    for (int i = 0; i < 3; i++) {
        char head[32];
        snprintf(head, sizeof head, "%zx\r\n", body.n);
        client_text(fd, head);
        client_send(fd, body.p, body.n);
        client_text(fd, "\r\n");
    }
    client_text(fd, "0\r\n\r\n");
    answer_read(fd, true, &a);
    expect_error(&a, 413, NULL, NULL, "size limit");
    client_ask(fd, "GET", "/v1/models", "", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    buf_release(&body);
    close(fd);
    stop();
}

static void stored_files_are_sent_whole(void **state) {
    (void)state;
    struct answer a;
    struct err err;
    char path[200];
    struct buf content;
    start(NULL);
    snprintf(path, sizeof path, "%s/content.jsonl", unit_dir());
    buf_init(&content, 8 << 20);
    for (int i = 0; i < 3 << 20; i++) buf_byte(&content, (char)(i * 7 >> 2));
    assert_int_equal(file_write_atomic(path, buf_view(&content), &err), 0);
    client_once(port, "GET", "/v1/file", "", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.n, content.n);
    assert_memory_equal(a.body.p, content.p, content.n);
    assert_string_equal(answer_header(&a, "Content-Type"), "application/octet-stream");
    answer_release(&a);
    assert_int_equal(file_remove(path, &err), 0);
    client_once(port, "GET", "/v1/file", "", NULL, &a);
    expect_error(&a, 500, NULL, NULL, "missing");
    buf_release(&content);
    stop();
}

/* --- streams and clients that go --- */

static void streams_come_as_events(void **state) {
    (void)state;
    struct answer a;
    start(NULL);
    int fd = client_open(port);
    client_ask(fd, "GET", "/v1/count?count=2", "", NULL, &a);
    assert_string_equal(answer_header(&a, "Content-Type"), "text/event-stream; charset=utf-8");
    assert_string_equal(a.body.p, "data: {\"n\":0}\n\ndata: {\"n\":1}\n\ndata: [DONE]\n\n");
    answer_release(&a);
    client_ask(fd, "GET", "/v1/count?count=20000", "", NULL, &a); /* and the connection goes on */
    assert_non_null(strstr(a.body.p, "data: {\"n\":19999}\n\ndata: [DONE]\n\n"));
    answer_release(&a);
    client_ask(fd, "HEAD", "/v1/count", "", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    close(fd);
    wait_for(&seen.closed, 3);
    fd = client_open(port); /* HTTP/1.0: ends with the connection */
    client_text(fd, "GET /v1/count?count=1 HTTP/1.0\r\n\r\n");
    answer_read(fd, true, &a);
    assert_string_equal(a.body.p, "data: {\"n\":0}\n\ndata: [DONE]\n\n");
    answer_release(&a);
    close(fd);
    stop();
}

static void a_client_that_goes_is_noticed(void **state) {
    (void)state;
    start(NULL);
    atomic_store(&seen.hold, 1);
    int fd = client_open(port), other = client_open(port);
    struct buf b;
    buf_init(&b, 1 << 20);
    client_text(fd, "GET /v1/count?count=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!(b.n && strstr(b.p, "\"n\":0"))) assert_true(client_more(fd, &b));
    client_text(other, "POST /v1/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    wait_for(&seen.waiting, 1);
    assert_int_equal(atomic_load(&seen.closed), 0);
    close(fd);
    close(other);
    wait_for(&seen.closed, 1);
    wait_for(&seen.waiting, 0);
    assert_int_equal(atomic_load(&seen.complete), 0);
    buf_release(&b);
    http_server_stop(server, 10, NULL); /* joins all: the log is complete */
    assert_non_null(strstr(seen.log.p, "POST /v1/wait "));
    assert_non_null(strstr(seen.log.p, " 499 "));
    buf_release(&seen.log);
}

static void too_many_streams_are_told_to_wait(void **state) {
    (void)state;
    struct http_options o = http_defaults;
    struct answer a;
    o.streams_max = 2;
    start(&o);
    atomic_store(&seen.hold, 1);
    int fd[2];
    for (int i = 0; i < 2; i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        fd[i] = client_open(port);
        client_text(fd[i], "GET /v1/count?count=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        while (!(b.n && strstr(b.p, "\"n\":0"))) assert_true(client_more(fd[i], &b));
        buf_release(&b);
    }
    client_once(port, "GET", "/v1/count", "", NULL, &a);
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    expect_error(&a, 429, "rate_limit_exceeded", NULL, "2 streams are open");
    atomic_store(&seen.hold, 0);
    for (int i = 0; i < 2; i++) close(fd[i]);
    stop();
    assert_int_equal(atomic_load(&seen.closed), 3);
}

/* --- slow clients --- */

/* the connection is closed without a byte more */
static void client_expect_end(int fd) {
    struct buf b;
    buf_init(&b, 1 << 20);
    while (client_more(fd, &b)) {
    }
    assert_int_equal(b.n, 0);
    buf_release(&b);
}

static void slow_clients_are_cut_off(void **state) {
    (void)state;
    struct http_options o = http_defaults;
    o.header_seconds = o.idle_seconds = o.body_seconds = o.stall_seconds = 1;
    start(&o);
    struct answer a;
    static const char *const begun[] = {"", "GET /v1/mod",
                                        "GET /v1/models HTTP/1.1\r\nHost: x\r\nX",
                                        ("POST /v1/things HTTP/1.1\r\nHost: x\r\n"
                                         "Content-Length: 10\r\n\r\n{")};
    int fd[4], idle = client_open(port);
    client_ask(idle, "GET", "/v1/models", "", NULL, &a);
    answer_release(&a);
    for (int i = 0; i < 4; i++) {
        fd[i] = client_open(port);
        client_text(fd[i], begun[i]);
    }
    int reader = client_open(port); /* asks for much and reads nothing */
    int small = 4096;
    setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_text(reader, "GET /v1/count?count=1000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 4; i++) {
        client_expect_end(fd[i]);
        close(fd[i]);
    }
    client_expect_end(idle);
    close(idle);
    wait_for(&seen.closed, 1);
    close(reader);
    assert_int_equal(atomic_load(&seen.complete), 0);
    assert_int_equal(atomic_load(&seen.handled), 1);
    stop();
}

/* More clients that send nothing than the server has room for; others are served at once. */
static void idle_crowds_stop_nobody(void **state) {
    (void)state;
    enum { CROWD = 200 };
    struct http_options o = http_defaults;
    struct answer a;
    int fd[CROWD];
    o.connections_max = 40;
    start(&o);
    int64_t begin = clock_ns();
    for (int i = 0; i < CROWD; i++) {
        fd[i] = client_open(port);
        send(fd[i], "GET /v1/models HTTP/1.1\r\nX-", 27, MSG_NOSIGNAL);
        if (i % 20 != 19) continue;
        client_once(port, "GET", "/v1/models", "", NULL, &a);
        assert_int_equal(a.status, 200);
        answer_release(&a);
    }
    /* not after the crowd's time limit, which is 20 s */
    assert_true(clock_ns() - begin < 15000000000);
    for (int i = 0; i < CROWD; i++) close(fd[i]);
    stop();
}

/* --- stopping --- */

static void *stop_thread(void *hurry) {
    http_server_stop(server, 15, hurry);
    return NULL;
}

static void a_stop_lets_answers_finish(void **state) {
    (void)state;
    pthread_t t;
    struct answer a;
    start(NULL);
    atomic_store(&seen.hold, 1);
    int fd = client_open(port);
    client_text(fd, "POST /v1/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    wait_for(&seen.waiting, 1);
    assert_int_equal(pthread_create(&t, NULL, stop_thread, NULL), 0);
    atomic_store(&seen.hold, 0);
    answer_read(fd, true, &a);
    assert_non_null(strstr(a.body.p, "\"gone\":false"));
    answer_release(&a);
    pthread_join(t, NULL);
    close(fd);
    buf_release(&seen.log);
}

static void a_hurried_stop_cuts_off(void **state) {
    (void)state;
    atomic_int hurry = 1;
    start(NULL);
    atomic_store(&seen.hold, 1);
    int fd = client_open(port), idle = client_open(port);
    client_text(fd, "GET /v1/count?count=0 HTTP/1.1\r\nHost: x\r\n\r\n");
    struct buf b;
    buf_init(&b, 1 << 20);
    while (!(b.n && strstr(b.p, "\r\n\r\n"))) assert_true(client_more(fd, &b));
    http_server_stop(server, 1000, &hurry);
    assert_int_equal(atomic_load(&seen.closed), 1);
    assert_int_equal(atomic_load(&seen.complete), 0);
    while (client_more(fd, &b)) {
    }
    close(fd);
    close(idle);
    buf_release(&b);
    buf_release(&seen.log);
}

static void addresses_that_cannot_be_are_named(void **state) {
    (void)state;
    struct err err;
    struct http_server *second = NULL;
    struct http_options o = http_defaults;
    start(NULL);
    o.port = port;
    assert_int_equal(http_server_open(&o, tables, &second, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "cannot listen on 127.0.0.1 port"));
    o.host = "no such host";
    assert_int_equal(http_server_open(&o, tables, &second, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "no such host"));
    stop();
}

static void requests_are_counted(void **state) {
    (void)state;
    struct http_options o = http_defaults;
    struct answer a;
    struct buf text;
    o.metrics = metrics_new();
    start(&o);
    for (int i = 0; i < 3; i++) {
        client_once(port, "GET", "/v1/models/x", "", NULL, &a);
        answer_release(&a);
    }
    client_once(port, "POST", "/v1/things", "", "{\"a\":", &a);
    answer_release(&a);
    client_once(port, "BREW", "/coffee", "", NULL, &a);
    answer_release(&a);
    stop();
    buf_init(&text, 1 << 20);
    metrics_write(o.metrics, &text);
    static const char *const lines[] = {
        ("attune_http_requests_total{route=\"/v1/models/{model*}\",method=\"GET\",status=\"200\"} "
         "3\n"),
        "attune_http_requests_total{route=\"/v1/things\",method=\"POST\",status=\"400\"} 1\n",
        "attune_http_requests_total{route=\"\",method=\"other\",status=\"404\"} 1\n",
        "attune_http_request_seconds_count{route=\"/v1/models/{model*}\"} 3\n",
        "attune_http_received_bytes_total 5\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text.p, lines[i])) fail_msg("no %s in\n%s", lines[i], text.p);
    buf_release(&text);
    metrics_free((struct metrics *)o.metrics);
}

UNIT_TESTS(api_http, cmocka_unit_test(paths_and_queries_arrive_decoded),
           cmocka_unit_test(answers_carry_their_headers),
           cmocka_unit_test(only_connections_that_stay_say_how_long),
           cmocka_unit_test(one_connection_serves_many),
           cmocka_unit_test(bodies_come_in_every_form), cmocka_unit_test(wrong_requests_are_named),
           cmocka_unit_test(deep_bodies_are_refused), cmocka_unit_test(bodies_share_memory),
           cmocka_unit_test(errors_of_handlers_become_answers),
           cmocka_unit_test(noise_does_no_harm), cmocka_unit_test(keys_are_asked_before_bodies),
           cmocka_unit_test(other_sites_are_kept_out),
           cmocka_unit_test(files_arrive_before_and_after_fields),
           cmocka_unit_test(large_files_stream_through),
           cmocka_unit_test(stored_files_are_sent_whole), cmocka_unit_test(streams_come_as_events),
           cmocka_unit_test(a_client_that_goes_is_noticed),
           cmocka_unit_test(too_many_streams_are_told_to_wait),
           cmocka_unit_test(slow_clients_are_cut_off), cmocka_unit_test(idle_crowds_stop_nobody),
           cmocka_unit_test(a_stop_lets_answers_finish), cmocka_unit_test(a_hurried_stop_cuts_off),
           cmocka_unit_test(addresses_that_cannot_be_are_named),
           cmocka_unit_test(requests_are_counted))
