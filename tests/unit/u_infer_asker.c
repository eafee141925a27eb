/* Questions to the engine and to a server of a script: answers, times, usage, and what goes wrong.
 */
#include "unit.h"

#include "base/mem.h"
#include "infer/asker.h"
#include "text/grammar.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STARTER "models/starter"
#define QUESTIONS 12

static json_t *messages_for(int i) {
    char text[128];
    snprintf(text, sizeof text, "Hello, this is Clara. A table for %d on Friday, please.", 2 + i);
    return json_pack("[{s:s, s:s}]", "role", "user", "content", text);
}

/* --- many, locally --- */

struct lot {
    json_t *messages[QUESTIONS];
    struct answer answers[QUESTIONS];
    json_t *schema;
    int calls;
    volatile sig_atomic_t *cancel;
};

static int question_of(void *ctx, int64_t i, struct question *ret, struct err *err) {
    const struct lot *l = ctx;
    (void)err;
    *ret = (struct question){
        .messages = l->messages[i], .schema = l->schema, .max_tokens = 24, .seed = 1};
    return 0;
}

static int answered(void *ctx, int64_t i, struct answer *a, struct err *err) {
    struct lot *l = ctx;
    (void)err;
    l->answers[i] = *a;
    l->calls++;
    if (l->cancel) __atomic_store_n(l->cancel, 1, __ATOMIC_RELAXED);
    return 0;
}

static struct asker *open_local(struct engine *e) {
    struct err err;
    struct asker *a = NULL;
    if (asker_open(&(struct asker_options){.engine = e, .path = STARTER}, &a, &err))
        fail_msg("%s", err.msg);
    return a;
}

static struct engine *open_engine(void) {
    struct err err;
    struct engine *e = NULL;
    struct engine_options o = {.threads = 2, .isa = num_isa_best(), .memory_bytes = 256 << 20};
    if (engine_open(&o, &e, &err)) fail_msg("%s", err.msg);
    return e;
}

static int ask_all(struct engine *e, struct lot *l, int concurrency, struct err *err) {
    struct asker *a = open_local(e);
    struct asker_events events = {.ctx = l, .question = question_of, .answered = answered};
    for (int i = 0; i < QUESTIONS; i++) l->messages[i] = messages_for(i);
    int rc = asker_all(a, QUESTIONS, concurrency, &events, l->cancel, err);
    asker_close(a);
    return rc;
}

static void lot_release(struct lot *l) {
    for (int i = 0; i < QUESTIONS; i++) {
        json_decref(l->messages[i]);
        answer_release(&l->answers[i]);
    }
    json_decref(l->schema);
}

static void answers_are_the_same_in_any_company(void **state) {
    (void)state;
    static struct lot alone, many;
    struct err err;
    struct engine *e = open_engine();
    if (ask_all(e, &alone, 1, &err)) fail_msg("%s", err.msg);
    if (ask_all(e, &many, QUESTIONS, &err)) fail_msg("%s", err.msg);
    for (int i = 0; i < QUESTIONS; i++) {
        assert_int_equal(alone.answers[i].rc, 0);
        assert_true(alone.answers[i].n > 0);
        assert_string_equal(alone.answers[i].text, many.answers[i].text);
        assert_true(alone.answers[i].prompt_tokens > 5);
        assert_true(alone.answers[i].first_seconds > 0);
        assert_true(alone.answers[i].first_seconds <= alone.answers[i].seconds);
    }
    lot_release(&alone);
    lot_release(&many);
    engine_close(e);
}

static void answers_keep_to_a_schema(void **state) {
    (void)state;
    struct lot l = {0};
    struct err err;
    struct grammar *g = NULL;
    struct engine *e = open_engine();
    l.schema = json_pack("{s:s, s:[s,s]}", "type", "string", "enum", "pass", "fail");
    assert_int_equal(
        grammar_compile(l.schema, &(struct grammar_options){.where = "s"}, &g, NULL, &err), 0);
    if (ask_all(e, &l, 4, &err)) fail_msg("%s", err.msg);
    for (int i = 0; i < QUESTIONS; i++)
        assert_true(grammar_accepts_text(g, (struct str){l.answers[i].text, l.answers[i].n}, true));
    grammar_free(g);
    lot_release(&l);
    engine_close(e);
}

static void cancelling_ends_the_rest(void **state) {
    (void)state;
    struct lot l = {0};
    volatile sig_atomic_t cancel = 0;
    struct err err;
    struct engine *e = open_engine();
    l.cancel = &cancel;
    assert_int_equal(ask_all(e, &l, 2, &err), ERR_CANCELLED);
    assert_true(l.calls < QUESTIONS);
    lot_release(&l);
    engine_close(e);
}

/* --- a server of a script --- */

struct script {
    const char *const *answers; /* one for each connection; NULL ends */
    int listener, served;
    char got[4096]; /* the last request */
    pthread_t thread;
};

/* Reads a whole request: headers, and the body they announce. */
static void read_request(int fd, char *to, size_t max) {
    size_t n = 0;
    for (;;) {
        ssize_t got = read(fd, to + n, max - 1 - n);
        if (got <= 0) return;
        n += (size_t)got;
        to[n] = '\0';
        const char *end = strstr(to, "\r\n\r\n"), *length = strstr(to, "Content-Length: ");
        if (end && length && n >= (size_t)(end + 4 - to) + strtoul(length + 16, NULL, 10)) return;
    }
}

static void *serve_script(void *ctx) {
    struct script *s = ctx;
    for (int i = 0; s->answers[i]; i++) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) return NULL;
        read_request(fd, s->got, sizeof s->got);
        size_t n = strlen(s->answers[i]);
        if (write(fd, s->answers[i], n) == (ssize_t)n) s->served++;
        close(fd);
    }
    return NULL;
}

static void script_start(struct script *s, const char *const *answers, char *url, size_t size) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    s->answers = answers;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &length), 0);
    snprintf(url, size, "http://127.0.0.1:%d/v1", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve_script, s), 0);
}

static void script_stop(struct script *s) {
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static struct answer ask_script(struct script *s, const char *const *answers) {
    struct err err;
    struct answer a;
    struct asker *asker = NULL;
    char url[64];
    script_start(s, answers, url, sizeof url);
    json_t *messages = messages_for(0);
    struct asker_options o = {.url = url, .model = "theirs", .key = "sk-x"};
    if (asker_open(&o, &asker, &err)) fail_msg("%s", err.msg);
    asker_ask(asker, &(struct question){.messages = messages, .max_tokens = 9}, &a);
    asker_close(asker);
    json_decref(messages);
    script_stop(s);
    return a;
}

#define OK "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define DELTA(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define END                                                                                        \
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"              \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n"           \
    "data: [DONE]\n\n"

static void a_server_answers(void **state) {
    (void)state;
    struct script s = {0};
    struct answer a =
        ask_script(&s, (const char *const[]){OK ": hello\n\n" DELTA("for") DELTA("ty") END, NULL});
    if (a.rc) fail_msg("%s", a.err.msg);
    assert_string_equal(a.text, "forty");
    assert_string_equal(a.finish, "stop");
    assert_int_equal(a.prompt_tokens, 7);
    assert_int_equal(a.completion_tokens, 2);
    assert_non_null(strstr(s.got, "POST /v1/chat/completions"));
    assert_non_null(strstr(s.got, "Authorization: Bearer sk-x"));
    assert_non_null(strstr(s.got, "\"model\":\"theirs\""));
    answer_release(&a);
}

static void a_busy_server_is_asked_again(void **state) {
    (void)state;
    struct script s = {0};
    struct answer a = ask_script(
        &s,
        (const char *const[]){"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                              OK DELTA("yes") END, NULL});
    if (a.rc) fail_msg("%s", a.err.msg);
    assert_string_equal(a.text, "yes");
    assert_int_equal(s.served, 2);
    answer_release(&a);
}

static void refusals_and_broken_streams_say_so(void **state) {
    (void)state;
    static const struct {
        const char *answer, *says;
        int rc;
    } cases[] = {
        {"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n{\"error\":{\"message\":\"too long\"}}",
         "400: too long", ERR_INVALID},
        {"HTTP/1.1 404 None\r\nConnection: close\r\n\r\nnothing here", "404: nothing here",
         ERR_NOT_FOUND},
        {OK DELTA("half"), "ended before", ERR_IO},
        {OK "data: {\"choices\":\n\n", "event", ERR_INVALID},
        {OK DELTA("a") "data: {\"error\":{\"message\":\"out of memory\"}}\n\n", "out of memory",
         ERR_IO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script s = {0};
        struct answer a = ask_script(&s, (const char *const[]){cases[i].answer, NULL});
        assert_int_equal(a.rc, cases[i].rc);
        if (!strstr(a.err.msg, cases[i].says)) fail_msg("%zu: %s", i, a.err.msg);
        answer_release(&a);
    }
}

UNIT_TESTS(infer_asker, cmocka_unit_test(answers_are_the_same_in_any_company),
           cmocka_unit_test(answers_keep_to_a_schema), cmocka_unit_test(cancelling_ends_the_rest),
           cmocka_unit_test(a_server_answers), cmocka_unit_test(a_busy_server_is_asked_again),
           cmocka_unit_test(refusals_and_broken_streams_say_so))
