#include "unit.h"

#include "api/http.h"
#include "api/webhooks.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/hash.h"
#include "store/batches.h"
#include "store/outbox.h"
#include "store_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- an endpoint --- */

static struct {
    int status, asked;
    char id[80], timestamp[40], signature[100], body[400];
} endpoint;

static void keep(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from ? from : "");
}

static int receive(struct http_request *req, struct http_response *res, struct err *err) {
    (void)err;
    endpoint.asked++;
    keep(endpoint.id, sizeof endpoint.id, http_header(req, "webhook-id"));
    keep(endpoint.timestamp, sizeof endpoint.timestamp, http_header(req, "webhook-timestamp"));
    keep(endpoint.signature, sizeof endpoint.signature, http_header(req, "webhook-signature"));
    snprintf(endpoint.body, sizeof endpoint.body, "%.*s", STR_ARG(req->body));
    return http_json(res, endpoint.status, json_object());
}

static struct http_server *endpoint_open(int status) {
    static const struct http_route routes[] = {
        {"POST", "/v1/hook", receive, .scope = HTTP_PUBLIC, .body = HTTP_JSON}, {0}};
    static const struct http_route *const tables[] = {routes, NULL};
    struct http_options o = http_defaults;
    struct http_server *server = NULL;
    struct err err;
    o.port = 0;
    memset(&endpoint, 0, sizeof endpoint);
    endpoint.status = status;
    if (http_server_open(&o, tables, &server, &err)) fail_msg("%s", err.msg);
    return server;
}

static void add_hook(struct fixture *f, const struct http_server *server) {
    char url[80];
    struct webhook made;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/hook", http_server_port(server));
    assert_int_equal(webhooks_add(f->c, url, "whsec_c2VjcmV0", &f->mem, &made, &f->err), 0);
    struct stored_file file = fixture_file(f, "b.jsonl", "batch", STR_LIT("{}\n"));
    struct batch b;
    int rc = batches_add(f->c,
                         &(struct batch){.endpoint = "/v1/completions",
                                         .completion_window = "24h",
                                         .input_file = file.id},
                         &f->mem, &b, &f->err);
    struct batch_update ends = {.from = "validating", .to = "failed"};
    if (!rc) rc = batches_update(f->c, b.id, &ends, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
}

static struct outbox_list due(struct fixture *f, int64_t now) {
    struct outbox_list l;
    assert_int_equal(outbox_due(f->c, NULL, now, 10, &f->mem, &l, &f->err), 0);
    return l;
}

/* --- tests --- */

/* RFC 4231, case 2; RFC 4648, section 10 */
static void codes_are_the_standards(void **state) {
    (void)state;
    static const char want[] = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    static const char *const coded[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {"Zg=", "Zg", "Zm8=Zm8=", "Zm 8", "Zm9\n", "=Zm9", "Z*=="};
    unsigned char digest[32];
    char hex[65];
    hmac_sha256(STR_LIT("Jefe"), STR_LIT("what do ya want for nothing?"), digest);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, want);
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < sizeof coded / sizeof *coded; i++) {
        buf_clear(&b);
        base64_encode(str_of(coded[i][0]), &b);
        assert_true(str_is(buf_view(&b), coded[i][1]));
        buf_clear(&b);
        assert_true(base64_decode(str_of(coded[i][1]), &b));
        assert_true(str_is(buf_view(&b), coded[i][0]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_clear(&b);
        if (base64_decode(str_of(bad[i]), &b)) fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(b.n, 0);
    }
    buf_release(&b);
}

/* the example of the libraries of Standard Webhooks */
static void signatures_are_the_standards(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    webhook_signature(STR_LIT("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
                      "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, STR_LIT("{\"test\": 2432232314}"),
                      &b);
    assert_string_equal(b.p, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    buf_release(&b);
}

static void messages_come_signed_and_once(void **state) {
    struct fixture *f = *state;
    struct http_server *server = endpoint_open(200);
    struct buf want;
    add_hook(f, server);
    int64_t now = clock_unix();
    assert_int_equal(webhooks_deliver(f->c, now, NULL, &f->err), 0);
    assert_int_equal(endpoint.asked, 1);
    assert_non_null(strstr(endpoint.body, "\"type\":\"batch.failed\""));
    buf_init(&want, 200);
    webhook_signature(STR_LIT("secret"), endpoint.id, now, str_of(endpoint.body), &want);
    assert_string_equal(endpoint.signature, want.p);
    assert_int_equal(strtol(endpoint.timestamp, NULL, 10), now);
    assert_int_equal(due(f, now + 1000000).count, 0);
    assert_int_equal(webhooks_deliver(f->c, now + 1000000, NULL, &f->err), 0);
    assert_int_equal(endpoint.asked, 1);
    buf_release(&want);
    http_server_stop(server, 1, NULL);
}

static void failures_are_tried_again_and_logged(void **state) {
    struct fixture *f = *state;
    struct http_server *server = endpoint_open(500);
    struct delivery_list log;
    char first[80];
    add_hook(f, server);
    int64_t now = clock_unix();
    const char *id = due(f, now).list[0].id;
    for (int i = 0; i < 9; i++) {
        assert_int_equal(due(f, now).count, 1);
        assert_int_equal(webhooks_deliver(f->c, now, NULL, &f->err), 0);
        assert_int_equal(due(f, now).count, 0);
        assert_int_equal(endpoint.asked, i + 1);
        if (i == 0) keep(first, sizeof first, endpoint.id);
        assert_string_equal(endpoint.id, first);
        now += 86400;
    }
    assert_int_equal(due(f, now + 1000000).count, 0); /* given up */
    assert_int_equal(deliveries_list(f->c, id, &f->mem, &log, &f->err), 0);
    assert_int_equal(log.count, 9);
    assert_int_equal(log.list[8].http_status, 500);
    http_server_stop(server, 1, NULL);
}

static void nobody_there_is_a_failure(void **state) {
    struct fixture *f = *state;
    struct http_server *server = endpoint_open(200);
    struct delivery_list log;
    add_hook(f, server);
    http_server_stop(server, 1, NULL);
    int64_t now = clock_unix();
    const char *id = due(f, now).list[0].id;
    assert_int_equal(webhooks_deliver(f->c, now, NULL, &f->err), 0);
    assert_int_equal(due(f, now).count, 0);
    assert_int_equal(due(f, now + 5).count, 1);
    assert_int_equal(deliveries_list(f->c, id, &f->mem, &log, &f->err), 0);
    assert_int_equal(log.count, 1);
    assert_int_equal(log.list[0].http_status, 0);
    assert_non_null(log.list[0].message);
}

/* a socket that takes connections and says nothing */
static int mute_open(char *url, size_t size) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(url, size, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    return fd;
}

/* An endpoint that hangs holds up neither the server's end nor, for long, another endpoint. */
static void a_mute_endpoint_is_left(void **state) {
    struct fixture *f = *state;
    struct webhook made;
    struct webhook_sender *sender = NULL;
    char url[80];
    int mute = mute_open(url, sizeof url);
    assert_int_equal(webhooks_add(f->c, url, "s", &f->mem, &made, &f->err), 0);
    struct http_server *server = endpoint_open(200);
    add_hook(f, server); /* its message goes to both */
    if (webhook_sender_start(f->c, &sender, &f->err)) fail_msg("%s", f->err.msg);
    int peer = accept4(mute, NULL, NULL, SOCK_CLOEXEC); /* now it waits for an answer */
    assert_true(peer >= 0);
    int64_t begun = clock_ns();
    webhook_sender_stop(sender);
    assert_true(clock_ns() - begun < (int64_t)5 * 1000000000);
    assert_int_equal(due(f, clock_unix()).count, 2); /* not counted as an attempt */
    close(peer);
    close(mute); /* refuses at once from now on */
    assert_int_equal(webhooks_deliver(f->c, clock_unix(), NULL, &f->err), 0);
    assert_int_equal(endpoint.asked, 1);
    http_server_stop(server, 1, NULL);
}

UNIT_TESTS(api_webhooks, cmocka_unit_test(codes_are_the_standards),
           cmocka_unit_test(signatures_are_the_standards),
           WITH_CATALOG(messages_come_signed_and_once),
           WITH_CATALOG(failures_are_tried_again_and_logged),
           WITH_CATALOG(nobody_there_is_a_failure), WITH_CATALOG(a_mute_endpoint_is_left))
