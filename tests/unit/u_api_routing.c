/* Aliases under way: promoted, split, broken and mended while requests come. */
#include "unit.h"

#include "api/grammar_cache.h"
#include "api/http_call.h"
#include "api_fixture.h"
#include "base/clock.h"
#include "base/mem.h"
#include "jobs/canary_watch.h"
#include "registry/breaker.h"
#include "registry/lifecycle.h"
#include "registry/names.h"
#include "store/fallbacks.h"
#include "store/routes.h"
#include "weights/models.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static const struct audit_cause by_test = {.actor = "test"};
static char old_home[4096];

/* "second" is the starter under another name, "broken" has no weights */
static void add_models(void) {
    struct err err;
    char *starter = NULL, whole[4096];
    if (model_find("starter", &starter, &err) || !realpath(starter, whole))
        fail_msg("no starter model");
    char *second = model_home_path("second"), *broken = model_home_path("broken");
    char *models = path_join(getenv("ATTUNE_HOME"), "models"),
         *config = path_join(whole, "config.json");
    char *to = path_join(broken, "config.json");
    if (dir_make(models, &err) || dir_make(broken, &err)) fail_msg("%s", err.msg);
    if (symlink(whole, second) || symlink(config, to)) fail_msg("no link");
    mem_free(to);
    mem_free(config);
    mem_free(models);
    mem_free(broken);
    mem_free(second);
    mem_free(starter);
}

static void start(struct api_fixture *f) {
    static const struct http_route *const tables[] = {chat_routes, completion_routes,
                                                      completion_store_routes, NULL};
    struct engine_options o = {.threads = 1, .queue_max = 64};
    struct err err;
    if (num_isa_choose(&o.isa, &err)) fail_msg("%s", err.msg);
    fixture_start(f, tables);
    snprintf(old_home, sizeof old_home, "%s", getenv("ATTUNE_HOME") ? getenv("ATTUNE_HOME") : "");
    setenv("ATTUNE_HOME", f->home, 1);
    add_models();
    int rc = engine_open(&o, &f->api.engine, &err);
    if (!rc)
        rc = canary_watch_start(f->api.catalog, &(struct canary_watch_options){.log = NULL},
                                &f->api.canaries, &err);
    if (!rc) rc = names_set_alias(f->api.catalog, "production", "starter", &by_test, &err);
    if (rc) fail_msg("%s", err.msg);
    f->api.grammars = grammar_cache_new(f->api.engine);
    f->api.breakers = breakers_new(1);
    f->api.path_name = "test";
}

static void stop(struct api_fixture *f) {
    struct engine *e = f->api.engine;
    struct grammar_cache *g = f->api.grammars;
    struct canary_watch *w = f->api.canaries;
    struct breakers *b = f->api.breakers;
    http_server_stop(f->http, 10, NULL);
    canary_watch_stop(w);
    metrics_free(f->api.metrics);
    catalog_close(f->api.catalog);
    breakers_free(b);
    grammar_cache_free(g);
    engine_close(e);
    if (old_home[0])
        setenv("ATTUNE_HOME", old_home, 1);
    else
        unsetenv("ATTUNE_HOME");
}

/* One token; the model that answered, and the header where route is not NULL. The status else. */
static int ask(int port, const char *model, const char *user, char said[64], char route[64]) {
    struct answer a;
    char body[300];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"user\":\"%s\",\"max_tokens\":1,\"temperature\":0,"
             "\"messages\":[{\"role\":\"user\",\"content\":\"A cat.\"}]}",
             model, user);
    client_once(port, "POST", "/v1/chat/completions", "", body, &a);
    const char *at = strstr(a.body.p, "\"model\":\"");
    snprintf(said, 64, "%.*s", at ? (int)strcspn(at + 9, "\"") : 0, at ? at + 9 : "");
    if (route) snprintf(route, 64, "%.63s", answer_header(&a, "x-attune-route"));
    int status = a.status;
    answer_release(&a);
    return status;
}

/* --- switching under load --- */

#define CLIENTS 4
#define SWITCHES 30
#define RATE 200 /* requests a second, of all clients together */
#define ANSWERS_MAX 4000

struct asked {
    int64_t from, to; /* ns */
    int status;
    bool second;
};
struct load {
    int port;
    atomic_int stop;
    atomic_int next;
    int64_t begun;
    struct asked list[ANSWERS_MAX];
};

static void *client(void *arg) {
    struct load *l = arg;
    while (!atomic_load(&l->stop)) {
        int i = atomic_fetch_add(&l->next, 1);
        if (i >= ANSWERS_MAX) break;
        struct asked *a = &l->list[i];
        int64_t due = l->begun + (int64_t)i * 1000000000 / RATE;
        while (clock_ns() < due) poll(NULL, 0, 1); /* the pace of the load, no waiting for luck */
        char said[64];
        a->from = clock_ns();
        a->status = ask(l->port, "production", "u", said, NULL);
        a->to = clock_ns();
        a->second = strcmp(said, "second") == 0;
        if (!a->second && strcmp(said, "starter") != 0) a->status = -1;
    }
    return NULL;
}

/* the alias led to `second` (or to the starter) in [from, to] at most */
struct period {
    int64_t from, to;
    bool second;
};

static int compare_i64(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void check_answers(const struct load *l, const struct period *p, int periods) {
    int seen[2] = {0};
    for (int i = 0; i < atomic_load(&l->next) && i < ANSWERS_MAX; i++) {
        const struct asked *a = &l->list[i];
        bool live = false;
        if (!a->to) continue; /* it was numbered, and the end came first */
        if (a->status != 200) fail_msg("request %d: %d", i, a->status);
        for (int k = 0; k < periods; k++)
            live = live || (p[k].second == a->second && p[k].from <= a->to && p[k].to >= a->from);
        if (!live) fail_msg("request %d was answered by a model that was not live", i);
        seen[a->second]++;
    }
    print_message("%d answers by the one, %d by the other\n", seen[0], seen[1]);
    assert_true(seen[0] > 0 && seen[1] > 0);
}

static void a_switch_drops_and_misroutes_nothing(void **state) {
    (void)state;
    static struct load l;
    struct api_fixture f;
    struct err err;
    struct period p[SWITCHES + 1] = {{0, INT64_MAX, false}};
    int64_t took[SWITCHES];
    char said[64];
    pthread_t t[CLIENTS];
    start(&f);
    assert_int_equal(ask(f.port, "second", "u", said, NULL), 200); /* both are loaded */
    assert_int_equal(ask(f.port, "starter", "u", said, NULL), 200);
    memset(&l, 0, sizeof l);
    l.port = f.port;
    l.begun = clock_ns();
    for (int i = 0; i < CLIENTS; i++) pthread_create(&t[i], NULL, client, &l);
    for (int i = 0; i < SWITCHES; i++) {
        struct arena mem;
        const char *model;
        while (clock_ns() < l.begun + (int64_t)(i + 1) * 60000000) poll(NULL, 0, 1);
        arena_init(&mem, 1 << 20);
        int64_t from = clock_ns();
        int rc =
            i % 2 == 0
                ? lifecycle_promote(f.api.catalog, "production", "second", &by_test, &err)
                : lifecycle_rollback(f.api.catalog, "production", &by_test, &mem, &model, &err);
        int64_t to = clock_ns();
        if (rc) fail_msg("%s", err.msg);
        took[i] = to - from;
        p[i].to = to;
        p[i + 1] = (struct period){from, INT64_MAX, i % 2 == 0};
        arena_release(&mem);
    }
    atomic_store(&l.stop, 1);
    for (int i = 0; i < CLIENTS; i++) pthread_join(t[i], NULL);
    double seconds = (double)(clock_ns() - l.begun) * 1e-9;
    check_answers(&l, p, SWITCHES + 1);
    qsort(took, SWITCHES, sizeof *took, compare_i64);
    print_message("%.0f requests/s, %d switches: %.2f ms in the median, %.2f ms at most\n",
                  atomic_load(&l.next) / seconds, SWITCHES, (double)took[SWITCHES / 2] * 1e-6,
                  (double)took[SWITCHES - 1] * 1e-6);
    stop(&f);
}

/* --- a canary --- */

static void begin(struct api_fixture *f, const char *candidate, const char *steps,
                  int64_t requests) {
    struct err err;
    struct canary s;
    struct canary_plan p = {.min_requests = requests, .alpha = 0.01};
    char id[ID_SIZE];
    if (canary_steps_read(steps, &p, &err)) fail_msg("%s", err.msg);
    canary_init(&s, &p);
    json_t *plan = canary_plan_write(&p), *reached = canary_write(&s);
    char *a = json_dumps(plan, 0), *b = json_dumps(reached, 0);
    struct canary_row row = {.alias = "production",
                             .baseline = "starter",
                             .candidate = candidate,
                             .plan = a,
                             .reached = b};
    struct split split = {.salt = "salt", .sticky = "key", .share = p.steps[0]};
    if (canaries_start(f->api.catalog, &row, &split, &by_test, id, &err)) fail_msg("%s", err.msg);
    canary_release(&s);
    json_decref(plan);
    json_decref(reached);
    free(a);
    free(b);
}

/* its state now; frees nothing that the caller keeps */
static bool is_state(struct api_fixture *f, const char *want) {
    struct canary_row row;
    struct arena mem;
    struct err err;
    arena_init(&mem, 4 << 20);
    if (canaries_last(f->api.catalog, "production", &mem, &row, &err)) fail_msg("%s", err.msg);
    bool same = strcmp(row.state, want) == 0;
    arena_release(&mem);
    return same;
}

static void users_stay_on_their_side(void **state) {
    (void)state;
    struct api_fixture f;
    char user[20], said[64], again[64], route[64];
    int second = 0;
    start(&f);
    begin(&f, "second", "50,100", 100000);
    for (int i = 0; i < 20; i++) {
        snprintf(user, sizeof user, "user-%d", i);
        assert_int_equal(ask(f.port, "production", user, said, route), 200);
        bool canary = strcmp(said, "second") == 0;
        assert_string_equal(route, canary ? "production canary" : "production baseline");
        assert_int_equal(ask(f.port, "production", user, again, NULL), 200);
        assert_string_equal(said, again);
        second += canary;
    }
    assert_true(second > 2 && second < 18);
    assert_int_equal(ask(f.port, "starter", "user-1", said, route), 200); /* pinned */
    assert_string_equal(said, "starter");
    assert_string_equal(route, "");
    stop(&f);
}

/* called as the batch runner does */
static void lines_of_a_batch_are_dealt_one_by_one(void **state) {
    (void)state;
    struct api_fixture f;
    int second = 0;
    start(&f);
    begin(&f, "second", "50,100", 100000);
    for (int i = 0; i < 20; i++) {
        struct http_called called;
        json_t *body = json_pack("{s:s, s:i, s:[{s:s, s:s}]}", "model", "production", "max_tokens",
                                 1, "messages", "role", "user", "content", "A cat.");
        http_call(chat_routes[0].handle, body, &f.api, &called);
        assert_int_equal(called.status, 200);
        second += strcmp(member_text(called.body, "model"), "second") == 0;
        json_decref(called.body);
        json_decref(body);
    }
    assert_true(second > 1 && second < 19);
    stop(&f);
}

static void a_canary_that_fails_is_taken_back(void **state) {
    (void)state;
    struct api_fixture f;
    char user[20], said[64], route[64];
    int failed = 0, i = 0;
    start(&f);
    begin(&f, "broken", "25,100", 100000);
    for (; i < 400 && !is_state(&f, "aborted"); i++) {
        snprintf(user, sizeof user, "user-%d", i);
        failed += ask(f.port, "production", user, said, NULL) != 200;
    }
    print_message("aborted after %d requests, %d of them failed\n", i, failed);
    assert_true(is_state(&f, "aborted"));
    assert_true(failed > 0 && failed < 100);
    for (i = 0; i < 20; i++) {
        snprintf(user, sizeof user, "user-%d", i);
        assert_int_equal(ask(f.port, "production", user, said, route), 200);
        assert_string_equal(route, "production");
    }
    stop(&f);
}

/* Users of the canary are unhappy, each of them once. */
static void low_feedback_takes_a_canary_back(void **state) {
    (void)state;
    struct api_fixture f;
    char body[300], path[200], user[20];
    int i = 0;
    start(&f);
    begin(&f, "second", "50,100", 100000);
    for (; i < 300 && !is_state(&f, "aborted"); i++) {
        snprintf(user, sizeof user, "user-%d", i);
        snprintf(body, sizeof body,
                 "{\"model\":\"production\",\"user\":\"%s\",\"max_tokens\":1,\"store\":true,"
                 "\"messages\":[{\"role\":\"user\",\"content\":\"A cat.\"}]}",
                 user);
        json_t *a = fixture_ok(&f, "POST", "/v1/chat/completions", "", body);
        bool second = strcmp(member_text(a, "model"), "second") == 0;
        snprintf(path, sizeof path, "/v1/chat/completions/%s", member_text(a, "id"));
        snprintf(body, sizeof body, "{\"metadata\":{\"feedback\":\"%s\"}}",
                 second ? "bad" : "good");
        json_decref(fixture_ok(&f, "POST", path, "", body));
        json_decref(fixture_ok(&f, "POST", path, "", body)); /* counts once */
        json_decref(a);
    }
    print_message("aborted after feedback of %d users\n", i);
    assert_true(is_state(&f, "aborted"));
    stop(&f);
}

static void a_good_canary_is_promoted_while_requests_come(void **state) {
    (void)state;
    struct api_fixture f;
    char user[20], said[64];
    int i = 0;
    start(&f);
    begin(&f, "second", "50,100", 5);
    for (int64_t begun = clock_ns(); !is_state(&f, "promoted"); i++) {
        if (clock_ns() - begun > 30000000000) fail_msg("it was not promoted");
        snprintf(user, sizeof user, "user-%d", i);
        assert_int_equal(ask(f.port, "production", user, said, NULL), 200);
    }
    assert_int_equal(ask(f.port, "production", "user-0", said, NULL), 200);
    assert_string_equal(said, "second");
    stop(&f);
}

/* --- fallbacks --- */

static void a_target_that_fails_is_replaced(void **state) {
    (void)state;
    struct api_fixture f;
    struct err err;
    char said[64], route[64];
    const char *const list[] = {"broken", "second"};
    start(&f);
    int rc = names_set_alias(f.api.catalog, "production", "broken", &by_test, &err);
    if (rc) fail_msg("%s", err.msg);
    assert_true(ask(f.port, "production", "u", said, NULL) >= 400);
    rc = fallbacks_set(f.api.catalog, "production", list, 2, &by_test, &err);
    if (rc) fail_msg("%s", err.msg);
    for (int i = 0; i < 6; i++) { /* more than the breaker takes */
        assert_int_equal(ask(f.port, "production", "u", said, route), 200);
        assert_string_equal(said, "second");
        assert_string_equal(route, "production fallback");
    }
    assert_int_equal(ask(f.port, "starter", "u", said, NULL), 200); /* nobody else is blocked */
    assert_true(ask(f.port, "broken", "u", said, NULL) >= 400);
    rc = routes_delete(f.api.catalog, "production", &by_test, &err);
    if (!rc) rc = names_set_alias(f.api.catalog, "production", "broken", &by_test, &err);
    if (rc) fail_msg("%s", err.msg);
    assert_true(ask(f.port, "production", "u", said, NULL) >= 400); /* they went with it */
    stop(&f);
}

static void a_breaker_opens_and_closes(void **state) {
    (void)state;
    struct breakers *b = breakers_new(3);
    int64_t now = 0, pauses[8];
    for (int i = 0; i < 3; i++) {
        assert_true(breaker_allows(b, "x", now));
        breaker_ended(b, "x", true, now);
    }
    assert_true(breaker_allows(b, "y", now));
    for (int i = 0; i < 8; i++) {
        int64_t from = now;
        while (!breaker_allows(b, "x", now)) now++;
        pauses[i] = now - from;
        assert_false(breaker_allows(b, "x", now)); /* one asks */
        breaker_ended(b, "x", true, now);
    }
    assert_in_range(pauses[0], 750, 1250);
    assert_in_range(pauses[1], 1500, 2500);
    assert_in_range(pauses[7], 45000, 75000);
    while (!breaker_allows(b, "x", now)) now++;
    breaker_ended(b, "x", false, now);
    for (int i = 0; i < 3; i++) assert_true(breaker_allows(b, "x", now));
    breakers_free(b);
}

UNIT_TESTS(api_routing, cmocka_unit_test(a_switch_drops_and_misroutes_nothing),
           cmocka_unit_test(users_stay_on_their_side),
           cmocka_unit_test(lines_of_a_batch_are_dealt_one_by_one),
           cmocka_unit_test(a_canary_that_fails_is_taken_back),
           cmocka_unit_test(low_feedback_takes_a_canary_back),
           cmocka_unit_test(a_good_canary_is_promoted_while_requests_come),
           cmocka_unit_test(a_target_that_fails_is_replaced),
           cmocka_unit_test(a_breaker_opens_and_closes))
