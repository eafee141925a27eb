/* Downloads from a server on the loopback that plays a script: each connection gets the next reply,
 * however wrong, and is closed. */
#include "unit.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "weights/fetch.h"
#include "weights/models.h"
#include "weights/pull.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTENT 100000
#define STEPS_MAX 12

static unsigned char content[CONTENT];
static char content_sha[65];

struct step {
    const char *request; /* must be in the request; with '!' in front must not; NULL: anything */
    const char *head;    /* status line and headers; PORT becomes the port */
    size_t from, n;      /* of the content, as body */
    const char *body;    /* instead of it; of n bytes where n is given */
};

struct server {
    int listener, port;
    const struct step *steps;
    int count, served, unexpected;
    pthread_t thread;
};

static void send_all(int fd, const void *data, size_t n) {
    const char *p = data;
    while (n > 0) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0) return;
        p += done;
        n -= (size_t)done;
    }
}

static void send_head(int fd, const char *head, int port) {
    char text[2048];
    const char *mark = strstr(head, "PORT");
    if (mark)
        snprintf(text, sizeof text, "%.*s%d%s", (int)(mark - head), head, port, mark + 4);
    else
        snprintf(text, sizeof text, "%s", head);
    send_all(fd, text, strlen(text));
    send_all(fd, "\r\nConnection: close\r\n\r\n", 23);
}

static bool as_expected(const char *want, const char *request) {
    if (!want) return true;
    if (want[0] == '!') return !strstr(request, want + 1);
    return strstr(request, want) != NULL;
}

static void serve_one(struct server *s, int fd, const struct step *step) {
    char request[4096] = "";
    size_t n = 0;
    while (n + 1 < sizeof request && !strstr(request, "\r\n\r\n")) {
        ssize_t got = recv(fd, request + n, sizeof request - 1 - n, 0);
        if (got <= 0) break;
        n += (size_t)got;
        request[n] = '\0';
    }
    if (!as_expected(step->request, request)) {
        s->unexpected++;
        print_error("expected %s in:\n%s", step->request, request);
    }
    send_head(fd, step->head, s->port);
    if (step->body)
        send_all(fd, step->body, step->n ? step->n : strlen(step->body));
    else
        send_all(fd, content + step->from, step->n);
}

static void *serve(void *ctx) {
    struct server *s = ctx;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) return NULL;
        if (s->served < s->count) serve_one(s, fd, &s->steps[s->served]);
        s->served++;
        close(fd);
    }
}

static void server_start(struct server *s, const struct step *steps, int count) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *s = (struct server){.steps = steps, .count = count};
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &size), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* every scripted reply was asked for, and nothing else */
static void server_stop(struct server *s) {
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    assert_int_equal(s->unexpected, 0);
    assert_int_equal(s->served, s->count);
}

static int make_content(void **state) {
    (void)state;
    for (size_t i = 0; i < CONTENT; i++) content[i] = (unsigned char)(i * 7 + i / 251);
    sha256_of((struct str){(const char *)content, CONTENT}, content_sha);
    setenv("no_proxy", "*", 1);
    return 0;
}

static void check_file(const char *path, size_t bytes) {
    struct err err;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(file_read(path, &b, &err), 0);
    assert_int_equal(b.n, bytes);
    if (bytes) assert_memory_equal(b.p, content, bytes);
    buf_release(&b);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 100000"
#define SHA_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct script {
    const char *name;
    struct step steps[STEPS_MAX];
    int rc;           /* of fetch_file */
    const char *says; /* in the error */
    const char *token, *sha256;
    int64_t bytes, max_bytes;
    bool own_sha; /* sha256 is the content's */
    size_t size;  /* of the file; 0: the whole content */
};

static const struct script scripts[] = {
    {.name = "at once",
     .steps = {{"GET /file HTTP/1.1", OK_HEAD, 0, CONTENT, NULL}},
     .own_sha = true,
     .bytes = CONTENT},
    {.name = "breaks and goes on",
     .steps =
         {{"!Range:", OK_HEAD, 0, 5000, NULL},
          {"Range: bytes=5000-\r\nIf-Range: \"v1\"",
           "HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 5000-99999/100000\r\n"
           "Content-Length: 95000",
           5000, 20000, NULL},
          {"Range: bytes=25000-",
           "HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 25000-99999/100000\r\n"
           "Content-Length: 75000",
           25000, 75000, NULL}}},
    {.name = "Range ignored",
     .steps = {{NULL, OK_HEAD, 0, 5000, NULL}, {"Range: bytes=5000-", OK_HEAD, 0, CONTENT, NULL}}},
    {.name = "no ETag, so from the start",
     .steps = {{NULL, "HTTP/1.1 200 OK\r\nContent-Length: 100000", 0, 5000, NULL},
               {"!Range:", "HTTP/1.1 200 OK\r\nContent-Length: 100000", 0, CONTENT, NULL}}},
    {.name = "no ETag but a checksum",
     .steps = {{NULL, "HTTP/1.1 200 OK\r\nContent-Length: 100000", 0, 5000, NULL},
               {"Range: bytes=5000-",
                "HTTP/1.1 206 P\r\nContent-Range: bytes 5000-9/*\r\nContent-Length: 95000", 5000,
                95000, NULL}},
     .own_sha = true},
    {.name = "the wrong range",
     .steps = {{NULL, OK_HEAD, 0, 5000, NULL},
               {NULL,
                "HTTP/1.1 206 P\r\nContent-Range: bytes 4000-99999/100000\r\nContent-Length: 96000",
                4000, 96000, NULL}},
     .rc = ERR_CORRUPT,
     .says = "from 4000 on, not from 5000"},
    {.name = "range past the end",
     .steps = {{NULL, OK_HEAD, 0, 5000, NULL},
               {"Range:", "HTTP/1.1 416 Range\r\nContent-Length: 0", 0, 0, NULL},
               {"!Range:", OK_HEAD, 0, CONTENT, NULL}}},
    {.name = "fewer bytes than promised, always",
     .steps = {{NULL, OK_HEAD, 0, 0, NULL},
               {NULL, OK_HEAD, 0, 0, NULL},
               {NULL, OK_HEAD, 0, 0, NULL}},
     .rc = ERR_IO,
     .says = "fetching"},
    {.name = "offers another length",
     .steps = {{NULL, "HTTP/1.1 200 OK\r\nContent-Length: 90", 0, 90, NULL}},
     .rc = ERR_CORRUPT,
     .says = "offers 90 bytes where 100 are expected",
     .bytes = 100},
    {.name = "no length, too short",
     .steps = {{NULL, "HTTP/1.1 200 OK", 0, 90, NULL}},
     .rc = ERR_CORRUPT,
     .says = "90 bytes where 100 are expected",
     .bytes = 100},
    {.name = "no length, too long",
     .steps = {{NULL, "HTTP/1.1 200 OK", 0, 101, NULL}},
     .rc = ERR_LIMIT,
     .says = "more than 100 bytes",
     .bytes = 100},
    {.name = "over the limit",
     .steps = {{NULL, "HTTP/1.1 200 OK", 0, 2000, NULL}},
     .rc = ERR_LIMIT,
     .says = "more than 1000 bytes",
     .max_bytes = 1000},
    {.name = "more than its Content-Length",
     .steps = {{NULL, "HTTP/1.1 200 OK\r\nContent-Length: 10", 0, 500, NULL}},
     .size = 10},
    {.name = "another checksum",
     .steps = {{NULL, OK_HEAD, 0, CONTENT, NULL}},
     .rc = ERR_CORRUPT,
     .says = "SHA-256",
     .sha256 = SHA_OF_NOTHING},
    {.name = "checksum from the hub's redirect",
     .steps = {{NULL,
                "HTTP/1.1 302 F\r\nLocation: /store\r\nContent-Length: 0\r\nX-Linked-Etag: "
                "\"" SHA_OF_NOTHING "\"",
                0, 0, NULL},
               {"GET /store", OK_HEAD, 0, CONTENT, NULL}},
     .rc = ERR_CORRUPT,
     .says = "SHA-256"},
    {.name = "length from the hub's redirect",
     .steps = {{NULL, "HTTP/1.1 302 F\r\nLocation: /store\r\nContent-Length: 0\r\nX-Linked-Size: 7",
                0, 0, NULL},
               {"GET /store", OK_HEAD, 0, CONTENT, NULL}},
     .rc = ERR_CORRUPT,
     .says = "where 7 are expected"},
    {.name = "an empty file",
     .steps = {{NULL, "HTTP/1.1 200 OK\r\nContent-Length: 0", 0, 0, NULL}},
     .sha256 = SHA_OF_NOTHING,
     .size = SIZE_MAX},
    {.name = "the token stays with its host",
     .steps = {{"Authorization: Bearer secret\r\n",
                "HTTP/1.1 302 F\r\nLocation: http://localhost:PORT/file2\r\nContent-Length: 0", 0,
                0, NULL},
               {"!Authorization", OK_HEAD, 0, CONTENT, NULL}},
     .token = "secret"},
    {.name = "redirect to a file",
     .steps = {{NULL, "HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\nContent-Length: 0", 0, 0,
                NULL}},
     .rc = ERR_INVALID,
     .says = "no valid address"},
    {.name = "redirect to plain http",
     .steps = {{NULL, "HTTP/1.1 302 F\r\nLocation: http://example.com/\r\nContent-Length: 0", 0, 0,
                NULL}},
     .rc = ERR_INVALID,
     .says = "use https"},
#define LOOP                                                                                       \
    { "GET /file", "HTTP/1.1 302 F\r\nLocation: /file\r\nContent-Length: 0", 0, 0, NULL }
    {.name = "redirect in a circle",
     .steps = {LOOP, LOOP, LOOP, LOOP, LOOP, LOOP},
     .rc = ERR_IO,
     .says = "more than 5 times"},
    {.name = "busy, then well",
     .steps = {{NULL, "HTTP/1.1 503 Busy\r\nContent-Length: 4", 0, 4, NULL},
               {NULL, "HTTP/1.1 429 Slow\r\nContent-Length: 4", 0, 4, NULL},
               {NULL, OK_HEAD, 0, CONTENT, NULL}}},
    {.name = "absent",
     .steps = {{NULL, "HTTP/1.1 404 No\r\nContent-Length: 4", 0, 4, NULL}},
     .rc = ERR_NOT_FOUND,
     .says = "404"},
    {.name = "forbidden",
     .steps = {{NULL, "HTTP/1.1 403 No\r\nContent-Length: 0", 0, 0, NULL}},
     .rc = ERR_IO,
     .says = "HF_TOKEN"},
    {.name = "no HTTP at all",
     .steps = {{NULL, "hello", 0, 0, NULL},
               {NULL, "hello", 0, 0, NULL},
               {NULL, "hello", 0, 0, NULL}},
     .rc = ERR_IO,
     .says = "fetching"},
};

static void run_script(const struct script *s) {
    struct server server;
    struct err err = {0};
    char url[80];
    int steps = 0;
    while (steps < STEPS_MAX && s->steps[steps].head) steps++;
    char *dir = path_join(unit_dir(), "fetch"), *path = path_join(dir, "file");
    assert_int_equal(dir_remove_all(dir, &err), 0);
    assert_int_equal(dir_make(dir, &err), 0);
    server_start(&server, s->steps, steps);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/file", server.port);
    int rc = fetch_file(&(struct fetch){.url = url,
                                        .path = path,
                                        .token = s->token,
                                        .bytes = s->bytes,
                                        .sha256 = s->own_sha ? content_sha : s->sha256,
                                        .max_bytes = s->max_bytes,
                                        .attempts = 3,
                                        .backoff_ms = 1},
                        &err);
    if (rc != s->rc) print_error("%s: %d %s\n", s->name, rc, err.msg);
    assert_int_equal(rc, s->rc);
    server_stop(&server);
    if (rc) {
        if (!strstr(err.msg, s->says)) print_error("%s: %s\n", s->name, err.msg);
        assert_non_null(strstr(err.msg, s->says));
        assert_false(file_exists(path));
    } else {
        check_file(path, s->size == SIZE_MAX ? 0 : s->size ? s->size : CONTENT);
    }
    mem_free(path);
    mem_free(dir);
}

static void every_way_a_server_can_behave(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) run_script(&scripts[i]);
}

static void addresses_that_are_not_safe_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "file:///etc/passwd", "http://example.com/x",           "ftp://127.0.0.1/x", "",
        "https://",           "http://127.0.0.1.example.com/x", "/etc/passwd"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err;
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(fetch_text(&(struct fetch){.url = bad[i]}, &b, &err), ERR_INVALID);
        buf_release(&b);
    }
}

static bool refuse_to_go_on(void *ctx, int64_t done, int64_t total) {
    (void)ctx, (void)total;
    return done < 1;
}

static void a_cancel_keeps_the_part_for_another_try(void **state) {
    (void)state;
    static const struct step steps[] = {
        {NULL, OK_HEAD, 0, 60000, NULL},
        {"If-Range: \"v1\"", OK_HEAD, 0, CONTENT, NULL},
    };
    struct server server;
    struct err err;
    char url[80];
    char *path = path_join(unit_dir(), "cancelled"),
         *part = path_join(unit_dir(), "cancelled.part");
    server_start(&server, steps, 2);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/file", server.port);
    struct fetch f = {.url = url, .path = path, .backoff_ms = 1, .progress = refuse_to_go_on};
    assert_int_equal(fetch_file(&f, &err), ERR_CANCELLED);
    assert_true(file_exists(part));
    f.progress = NULL;
    assert_int_equal(fetch_file(&f, &err), 0);
    assert_false(file_exists(part));
    check_file(path, CONTENT);
    server_stop(&server);
    mem_free(part);
    mem_free(path);
}

static void text_has_a_limit(void **state) {
    (void)state;
    static const struct step steps[] = {
        {NULL, "HTTP/1.1 200 OK\r\nContent-Length: 5", 0, 0, "hello"},
        {NULL, OK_HEAD, 0, CONTENT, NULL},
    };
    struct server server;
    struct err err;
    struct buf b;
    char url[80];
    buf_init(&b, 10);
    server_start(&server, steps, 2);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", server.port);
    assert_int_equal(fetch_text(&(struct fetch){.url = url}, &b, &err), 0);
    assert_true(str_is(buf_view(&b), "hello"));
    assert_int_equal(fetch_text(&(struct fetch){.url = url}, &b, &err), ERR_LIMIT);
    server_stop(&server);
    buf_release(&b);
}

/* --- pull ----------------------------------------------------------------------------------------
 */

static char *home;

static int use_fresh_home(void **state) {
    struct err err;
    make_content(state);
    home = path_join(unit_dir(), "pull-home");
    dir_remove_all(home, &err);
    setenv("ATTUNE_HOME", home, 1);
    return 0;
}

static int leave_home(void **state) {
    (void)state;
    unsetenv("ATTUNE_HOME");
    unsetenv("HF_ENDPOINT");
    mem_free(home);
    return 0;
}

#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json"
#define COMMIT "0123456789012345678901234567890123456789"

static void use_endpoint(const struct server *s) {
    char url[80];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", s->port);
    setenv("HF_ENDPOINT", url, 1);
}

static void the_hub_gives_a_model_directory(void **state) {
    (void)state;
    static const char list[] =
        "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"../evil.json\"},"
        "{\"rfilename\":\"notes.txt\"},{\"rfilename\":\"config.json\"},"
        "{\"rfilename\":\"chat_template.json\"},"
        "{\"rfilename\":\"onnx/model.safetensors\"},{\"rfilename\":7},"
        "{\"rfilename\":\"model.safetensors\"}]}";
    static const struct step steps[] = {
        {"GET /api/models/org/small ", JSON_HEAD, 0, 0, list},
        {"GET /org/small/resolve/" COMMIT "/config.json ", JSON_HEAD, 0, 0, "{}"},
        {"GET /org/small/resolve/" COMMIT "/chat_template.json ", JSON_HEAD, 0, 0, "{}"},
        {"GET /org/small/resolve/" COMMIT "/model.safetensors ", "HTTP/1.1 500 Oh", 0, 0, ""},
        {"GET /org/small/resolve/" COMMIT "/model.safetensors ", "HTTP/1.1 404 No", 0, 0, ""},
        /* another try goes on with what is missing */
        {"GET /api/models/org/small ", JSON_HEAD, 0, 0, list},
        {"GET /org/small/resolve/" COMMIT "/model.safetensors ", OK_HEAD, 0, CONTENT, NULL},
    };
    struct server server;
    struct err err;
    struct pulled p;
    char *path = NULL, *model = model_home_path("small");
    const struct pull_options o = {.backoff_ms = 1};
    server_start(&server, steps, 7);
    use_endpoint(&server);
    assert_int_equal(pull_fetch("hf:org/small", NULL, &o, &p, &err), ERR_NOT_FOUND);
    assert_false(dir_exists(model));
    int rc = pull_fetch("hf:org/small", NULL, &o, &p, &err);
    if (rc) print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    server_stop(&server);
    assert_true(p.is_dir);
    assert_string_equal(p.name, "small");
    assert_int_equal(pull_install(&p, &path, &err), 0);
    assert_string_equal(path, model);
    assert_false(dir_exists(p.staging));
    pull_release(&p);
    char **names;
    size_t count;
    assert_int_equal(dir_list(model, &names, &count, &err), 0);
    assert_int_equal(count, 4); /* attune.json, chat_template.json, config.json, weights */
    dir_list_free(names, count);
    assert_int_equal(pull_fetch("hf:org/small", NULL, &o, &p, &err), ERR_CONFLICT);
    mem_free(path);
    mem_free(model);
}

static void a_repository_without_weights_is_explained(void **state) {
    (void)state;
    static const struct step steps[] = {
        {NULL, JSON_HEAD, 0, 0, "{\"siblings\":[{\"rfilename\":\"m.Q4_0.gguf\"}]}"},
        {NULL, JSON_HEAD, 0, 0, "{\"siblings\":[{\"rfilename\":\"config.json\"}]}"},
        {NULL, JSON_HEAD, 0, 0, "<html>"},
    };
    static const char *const says[] = {"/resolve/main/m.Q4_0.gguf", "has no safetensors weights",
                                       "not valid JSON"};
    struct server server;
    struct err err;
    struct pulled p;
    server_start(&server, steps, 3);
    use_endpoint(&server);
    for (int i = 0; i < 3; i++) {
        assert_true(pull_fetch("hf:org/x", NULL, NULL, &p, &err) < 0);
        assert_non_null(strstr(err.msg, says[i]));
    }
    server_stop(&server);
}

/* no metadata and no tensors */
#define EMPTY_GGUF "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define EMPTY_HEAD "HTTP/1.1 200 OK\r\nContent-Length: 24"

static void a_single_file_comes_by_its_address(void **state) {
    (void)state;
    static const struct step steps[] = {
        {"GET /a/tiny.gguf?download=true ", EMPTY_HEAD, 0, 24, EMPTY_GGUF},
    };
    struct server server;
    struct err err;
    struct pulled p, other;
    char url[100];
    server_start(&server, steps, 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/a/tiny.gguf?download=true", server.port);
    assert_int_equal(pull_fetch(url, NULL, NULL, &p, &err), 0);
    server_stop(&server);
    assert_string_equal(p.name, "tiny");
    assert_false(p.is_dir);
    assert_true(file_exists(p.path));
    assert_int_equal(pull_fetch(url, NULL, NULL, &other, &err), ERR_CONFLICT); /* one at a time */
    pull_discard(&p);
    assert_false(file_exists(p.path));
    pull_release(&p);
}

static void what_is_no_model_is_discarded_and_fetched_again(void **state) {
    (void)state;
    static const struct step steps[] = {
        {NULL, "HTTP/1.1 200 OK\r\nContent-Length: 6", 0, 0, "<html>"},
        {"!Range", EMPTY_HEAD, 0, 24, EMPTY_GGUF},
    };
    struct server server;
    struct err err;
    struct pulled p;
    char url[100];
    server_start(&server, steps, 2);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/tiny.gguf", server.port);
    assert_int_equal(pull_fetch(url, NULL, NULL, &p, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "tiny.gguf\" gives is no model that can be used, and was "
                                    "discarded: "));
    assert_non_null(strstr(err.msg, "does not begin with \"GGUF\""));
    assert_int_equal(pull_fetch(url, NULL, NULL, &p, &err), 0);
    server_stop(&server);
    pull_discard(&p);
    pull_release(&p);
}

static void specs_are_checked_before_anything_happens(void **state) {
    (void)state;
    static const char *const bad[] = {"smollm2",
                                      "hf:",
                                      "hf:name",
                                      "hf:a/b/c",
                                      "hf:../x",
                                      "hf:a/..",
                                      "pypi:",
                                      "pypi:-r",
                                      "pypi:a b",
                                      "pypi:a;b",
                                      "pypi:../x",
                                      "file:///x.gguf",
                                      "https://x.org/model.bin",
                                      "https://x.org/model.safetensors",
                                      "https://x.org/",
                                      "http://x.org/..gguf/"};
    struct err err;
    struct pulled p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pull_fetch(bad[i], NULL, NULL, &p, &err), ERR_USAGE);
    assert_int_equal(pull_fetch("hf:a/starter", NULL, NULL, &p, &err), ERR_CONFLICT);
    assert_false(dir_exists(home));
}

#define WITH_HOME(test) cmocka_unit_test_setup_teardown(test, use_fresh_home, leave_home)
UNIT_TESTS(weights_fetch, cmocka_unit_test_setup(every_way_a_server_can_behave, make_content),
           cmocka_unit_test(addresses_that_are_not_safe_are_refused),
           cmocka_unit_test_setup(a_cancel_keeps_the_part_for_another_try, make_content),
           cmocka_unit_test_setup(text_has_a_limit, make_content),
           WITH_HOME(the_hub_gives_a_model_directory),
           WITH_HOME(a_repository_without_weights_is_explained),
           WITH_HOME(a_single_file_comes_by_its_address),
           WITH_HOME(what_is_no_model_is_discarded_and_fetched_again),
           WITH_HOME(specs_are_checked_before_anything_happens))
