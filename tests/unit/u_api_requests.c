/* The request log: what handlers put there, what does not fit, what is kept of texts, drift. */
#include "unit.h"

#include "api/grammar_cache.h"
#include "api/request_log.h"
#include "api_fixture.h"
#include "base/mem.h"
#include "store/requests.h"
#include "store/routes.h"

#include <sqlite3.h>

#define ASK "\"messages\":[{\"role\":\"user\",\"content\":\"A cat. Mail me: ann@example.org\"}]"
#define SHORT ASK ",\"temperature\":0,\"max_tokens\":6"

struct served {
    struct api_fixture f;
    struct arena mem;
};

static struct request_log *open_log(struct api_fixture *f, const struct request_log_options *how) {
    struct request_log_options o = *how;
    struct request_log *l = NULL;
    struct err err;
    o.catalog = f->api.catalog;
    o.metrics = f->api.metrics;
    if (request_log_start(&o, &l, &err)) fail_msg("%s", err.msg);
    return l;
}

static void start(struct served *s, bool content) {
    static const struct http_route *const tables[] = {chat_routes, completion_routes, NULL};
    struct engine_options o = {.threads = 2, .queue_max = 8};
    struct err err;
    if (num_isa_choose(&o.isa, &err)) fail_msg("%s", err.msg);
    fixture_start(&s->f, tables);
    if (engine_open(&o, &s->f.api.engine, &err)) fail_msg("%s", err.msg);
    s->f.api.grammars = grammar_cache_new(s->f.api.engine);
    s->f.api.path_name = "test";
    s->f.api.requests = open_log(&s->f, &(struct request_log_options){.content = content});
    arena_init(&s->mem, 64 << 20);
}

/* The rows of the model, once they are written; the server answers no more. */
static struct request_rows stop(struct served *s, const char *model) {
    struct request_rows rows;
    struct request_range r = {.model = model, .limit = 100};
    struct err err;
    http_server_stop(s->f.http, 10, NULL);
    request_log_stop(s->f.api.requests);
    if (requests_list(s->f.api.catalog, &r, &s->mem, &rows, &err)) fail_msg("%s", err.msg);
    grammar_cache_free(s->f.api.grammars);
    engine_close(s->f.api.engine);
    metrics_free(s->f.api.metrics);
    catalog_close(s->f.api.catalog);
    return rows;
}

static int64_t usage(const json_t *answer, const char *key) {
    return json_integer_value(json_object_get(json_object_get(answer, "usage"), key));
}

static void requests_show_up(void **state) {
    (void)state;
    struct served s;
    struct err err;
    struct answer a;
    start(&s, false);
    struct audit_cause cause = {.actor = "test"};
    if (routes_set(s.f.api.catalog, "production", "starter", &cause, &err)) fail_msg("%s", err.msg);
    json_t *chat = fixture_ok(&s.f, "POST", "/v1/chat/completions", "",
                              "{\"model\":\"production\"," SHORT "}");
    client_once(s.f.port, "POST", "/v1/chat/completions", "",
                "{\"model\":\"starter\",\"stream\":true," SHORT "}", &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    json_t *plain = fixture_ok(&s.f, "POST", "/v1/completions", "",
                               "{\"model\":\"starter\",\"prompt\":[\"One\",\"Two of them\"],"
                               "\"max_tokens\":3,\"temperature\":0}");
    fixture_wrong(&s.f, "POST", "/v1/chat/completions", "{\"model\":\"nobody\"," SHORT "}", 404,
                  "model_not_found", "model", "nobody");
    client_once(s.f.port, "POST", "/v1/chat/completions", "",
                "{\"model\":\"starter\",\"logit_bias\":{\"99999999\":1}," SHORT "}", &a);
    assert_int_equal(a.status, 400);
    answer_release(&a);
    struct request_rows rows = stop(&s, "starter");
    assert_int_equal(rows.count, 4);
    const struct logged_request *r = rows.list;
    assert_string_equal(r[0].alias, "production");
    assert_string_equal(r[0].completion, member_text(chat, "id"));
    assert_int_equal(r[0].prompt_tokens, usage(chat, "prompt_tokens"));
    assert_int_equal(r[0].completion_tokens, usage(chat, "completion_tokens"));
    assert_int_equal(r[0].status, 200);
    assert_true(r[0].first_ms > 0 && r[0].total_ms >= r[0].first_ms);
    assert_null(r[0].prompt); /* content is off */
    assert_null(r[0].answer);
    assert_string_equal(r[1].alias, "starter");
    assert_int_equal(r[1].completion_tokens, r[0].completion_tokens);
    assert_string_equal(r[1].finish, r[0].finish);
    assert_int_equal(r[2].prompt_tokens, usage(plain, "prompt_tokens"));
    assert_int_equal(r[2].completion_tokens, usage(plain, "completion_tokens"));
    assert_int_equal(r[3].status, 400);
    assert_true(request_failed(&r[3]) && r[3].finish[0] == '\0');
    json_decref(plain);
    json_decref(chat);
    arena_release(&s.mem);
}

static void kept_texts_are_masked(void **state) {
    (void)state;
    struct served s;
    start(&s, true);
    json_decref(
        fixture_ok(&s.f, "POST", "/v1/chat/completions", "", "{\"model\":\"starter\"," SHORT "}"));
    struct request_rows rows = stop(&s, "starter");
    assert_int_equal(rows.count, 1);
    assert_string_equal(rows.list[0].prompt, "A cat. Mail me: <EMAIL_1>");
    assert_non_null(rows.list[0].answer);
    arena_release(&s.mem);
}

/* --- without a server --- */

#define RING 4
#define SENT 100

/* While another connection writes, the log's thread waits; the ring fills, and nobody else does. */
static void what_does_not_fit_is_counted(void **state) {
    (void)state;
    static const struct http_route *const none[] = {NULL};
    struct api_fixture f;
    struct err err;
    struct buf text;
    sqlite3 *other = NULL;
    int64_t rows = 0, dropped = 0;
    fixture_start(&f, none);
    struct request_log *l = open_log(&f, &(struct request_log_options){.ring = RING});
    char *path = path_join(f.home, "catalog.db");
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < SENT; i++)
        request_log_add(l, &(struct request_entry){.model = "m", .key = "", .status = 200});
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    dropped = request_log_flush(l);
    struct request_range r = {.model = "m"};
    if (requests_count(f.api.catalog, &r, &rows, &err)) fail_msg("%s", err.msg);
    assert_int_equal(rows + dropped, SENT);
    assert_in_range(rows, RING, 2 * RING);
    buf_init(&text, 1 << 20);
    metrics_write(f.api.metrics, &text);
    char want[100];
    snprintf(want, sizeof want, "attune_request_log_dropped_total %lld\n", (long long)dropped);
    assert_non_null(strstr(text.p, want));
    buf_release(&text);
    mem_free(path);
    request_log_stop(l);
    fixture_stop(&f);
}

static void drift_is_seen_and_told_once(void **state) {
    (void)state;
    static const struct http_route *const none[] = {NULL};
    static const char *const prompts[] = {
        "Where is my order and when will it come to my house?",
        "Wo ist meine Bestellung und wann kommt sie bei mir an? Das ist nicht gut."};
    struct api_fixture f;
    struct err err;
    int64_t new;
    fixture_start(&f, none);
    struct request_log *l = open_log(&f, &(struct request_log_options){0});
    for (int i = 0; i < 1500; i++) {
        request_log_add(l, &(struct request_entry){.model = "m",
                                                   .key = "",
                                                   .finish = "stop",
                                                   .status = 200,
                                                   .format = -1,
                                                   .prompt_tokens = 10,
                                                   .prompt = str_of(prompts[i >= 500])});
        if (i % 500 != 499) continue;
        assert_int_equal(request_log_flush(l), 0);
        if (request_log_look(l, &new, &err)) fail_msg("%s", err.msg);
        /* language and topic, with the second window behind the baseline */
        assert_int_equal(new, i == 1499 ? 2 : 0);
    }
    if (request_log_look(l, &new, &err)) fail_msg("%s", err.msg);
    assert_int_equal(new, 0);
    request_log_stop(l);
    fixture_stop(&f);
}

UNIT_TESTS(api_requests, cmocka_unit_test(requests_show_up),
           cmocka_unit_test(kept_texts_are_masked), cmocka_unit_test(what_does_not_fit_is_counted),
           cmocka_unit_test(drift_is_seen_and_told_once))
