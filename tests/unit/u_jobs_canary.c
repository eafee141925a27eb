#include "unit.h"

#include "base/rng.h"
#include "jobs/canary_watch.h"
#include "registry/names.h"
#include "registry/router.h"
#include "store/routes.h"
#include "store/outbox.h"
#include "store_fixture.h"

#include <math.h>

static struct canary_plan plan(const char *steps, int64_t min) {
    struct err err;
    struct canary_plan p = {.min_requests = min, .alpha = 0.05};
    if (canary_steps_read(steps, &p, &err)) fail_msg("%s", err.msg);
    return p;
}

/* How requests end, and who asks: users = 0, nobody who sticks. A user's requests all end the same
 * way, as bad as users can be to the test. */
struct world {
    double rate[2]; /* of bad ones, baseline and canary */
    uint64_t users;
    int requests;
};

/* Runs until it ends or the requests are over; *ret_asked: how many there were. */
static enum canary_verdict live(struct rng *r, const struct canary_plan *p, const struct world *w,
                                int *ret_asked) {
    struct canary s;
    enum canary_stream which;
    enum canary_verdict v = CANARY_GO_ON;
    uint64_t salt = rng_u64(r);
    canary_init(&s, p);
    for (*ret_asked = 0; *ret_asked < w->requests; ++*ret_asked) {
        struct canary_event e = {.sticks = w->users != 0, .share = p->steps[s.step]};
        uint64_t user = w->users ? rng_u64(r) % w->users : 0;
        struct rng of_user;
        rng_init(&of_user, salt + user);
        e.unit = w->users ? rng_u64(&of_user) : rng_u64(r);
        e.canary = router_picks(e.unit, e.share);
        double u = rng_double(w->users ? &of_user : r);
        for (int i = 0; i < CANARY_STREAMS; i++) e.bad[i] = -1;
        e.bad[CANARY_ERRORS] = u < w->rate[e.canary];
        e.bad[CANARY_EMPTY] = rng_double(w->users ? &of_user : r) < w->rate[e.canary];
        canary_add(&s, &e);
        v = canary_judge(&s, 0, &which);
        if (v == CANARY_ABORT || v == CANARY_PROMOTE) break;
        if (v == CANARY_STEP) canary_advance(&s);
    }
    canary_release(&s);
    return v;
}

/* 2,000 canaries that are no worse, looked at after every request: at most alpha of them abort,
 * whether users stick or not. The bound has three standard errors of room. */
static void the_same_model_is_seldom_aborted(void **state) {
    (void)state;
    const struct world worlds[] = {{{0.1, 0.1}, 0, 1500}, {{0.1, 0.1}, 300, 1500}};
    struct canary_plan p = plan("1,5,25,50,75", 50);
    struct rng r;
    rng_init(&r, unit_seed());
    for (size_t k = 0; k < 2; k++) {
        int aborted = 0, asked;
        for (int i = 0; i < 2000; i++) aborted += live(&r, &p, &worlds[k], &asked) == CANARY_ABORT;
        double bound = 2000 * p.alpha + 3 * sqrt(2000 * p.alpha * (1 - p.alpha));
        print_message("%d of 2000 aborted, alpha allows %.0f\n", aborted, 2000 * p.alpha);
        if (aborted > bound) fail_msg("%d of 2000 aborted at alpha %g", aborted, p.alpha);
    }
}

static void a_worse_model_is_aborted_and_a_good_one_promoted(void **state) {
    (void)state;
    const struct world worse = {{0.02, 0.12}, 0, 20000}, better = {{0.02, 0.01}, 0, 40000};
    struct canary_plan p = plan("1,5,25,50,100", 200);
    struct rng r;
    int aborted = 0, promoted = 0, asked, canary_requests = 0;
    rng_init(&r, unit_seed());
    for (int i = 0; i < 50; i++) {
        aborted += live(&r, &p, &worse, &asked) == CANARY_ABORT;
        canary_requests += asked;
        promoted += live(&r, &p, &better, &asked) == CANARY_PROMOTE;
    }
    print_message("aborted %d of 50, after %d requests in the mean\n", aborted,
                  canary_requests / 50);
    assert_true(aborted >= 49);
    assert_true(promoted >= 49);
}

static void a_user_counts_once_in_a_step(void **state) {
    (void)state;
    struct canary s;
    struct canary_plan p = plan("10,50,75", 5);
    canary_init(&s, &p);
    struct canary_event e = {.sticks = true, .unit = UINT64_MAX / 10 * 3, .share = 0.1};
    for (int i = 0; i < 3; i++) canary_add(&s, &e); /* on the baseline until 30 % */
    assert_int_equal(s.requests[0], 3);
    assert_int_equal(s.stream[0].count[0], 1);
    canary_advance(&s);
    e.share = 0.5;
    e.canary = true;
    for (int i = 0; i < 3; i++) canary_add(&s, &e);
    assert_int_equal(s.stream[0].count[1], 1);
    double evidence = sequential_e(&s.stream[0]);
    canary_advance(&s);
    e.share = 0.75; /* on the canary for good: nothing is drawn any more */
    e.bad[0] = 1;
    canary_add(&s, &e);
    assert_int_equal(s.stream[0].count[1], 1);
    assert_true(sequential_e(&s.stream[0]) == evidence);
    e.share = 0.33; /* of no step */
    canary_add(&s, &e);
    assert_int_equal(s.requests[1], 4);
    e = (struct canary_event){.canary = true, .late = true, .share = 0.75, .bad = {-1, -1, -1, 1}};
    canary_add(&s, &e); /* feedback is no request */
    assert_int_equal(s.requests[1], 4);
    assert_int_equal(s.stream[CANARY_FEEDBACK].bad[1], 1);
    canary_release(&s);
}

static void plans_that_cannot_be_are_refused(void **state) {
    (void)state;
    struct err err;
    struct canary_plan p = {0};
    const char *const bad[] = {"", "100", "5,5", "5,1", "0,5", "1,101", "1,x", "1,,2", "-1,5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (canary_steps_read(bad[i], &p, &err) != ERR_INVALID) fail_msg("\"%s\"", bad[i]);
    assert_int_equal(canary_plan_read("{\"steps\":[0.5],\"alpha\":2}", &p, &err), ERR_INVALID);
}

static void latencies_have_an_interval(void **state) {
    (void)state;
    struct canary s;
    struct canary_plan p = plan("50,100", 100000);
    double p95, range[2];
    canary_init(&s, &p);
    for (int i = 1; i <= 1000; i++)
        for (int side = 0; side < 2; side++)
            canary_add(&s, &(struct canary_event){.canary = side,
                                                  .share = 0.5,
                                                  .seconds = i * (side ? 0.003 : 0.001)});
    assert_true(canary_p95(&s, false, &p95, range));
    assert_true(range[0] < 0.95 && range[1] > 0.95 && range[0] > 0.85 && range[1] < 1.05);
    assert_true(fabs(p95 - 0.95) < 0.06);
    assert_true(canary_is_slower(&s));
    canary_release(&s);
}

/* --- with a catalog --- */

static void said(void *ctx, const char *text) { strncat(ctx, text, 400); }

static struct canary_watch *watch_of(struct fixture *f, char *log) {
    struct canary_watch *w = NULL;
    if (canary_watch_start(f->c, &(struct canary_watch_options){said, log}, &w, &f->err))
        fail_msg("%s", f->err.msg);
    return w;
}

/* "starter" stands for both sides: here only what is counted matters */
static void start(struct fixture *f, const char *steps, int64_t min, char id[ID_SIZE]) {
    struct canary s;
    struct canary_plan p = plan(steps, min);
    json_t *plan_json = canary_plan_write(&p);
    canary_init(&s, &p);
    json_t *reached = canary_write(&s);
    char *a = json_dumps(plan_json, 0), *b = json_dumps(reached, 0);
    assert_int_equal(names_set_alias(f->c, "production", "starter", &by_test, &f->err), 0);
    struct canary_row row = {"", "production", "starter", "candidate", "", a, b, NULL, 0, 0};
    struct split sp = {.salt = "s", .sticky = "key", .share = p.steps[0]};
    if (canaries_start(f->c, &row, &sp, &by_test, id, &f->err)) fail_msg("%s", f->err.msg);
    canary_release(&s);
    json_decref(plan_json);
    json_decref(reached);
    free(a);
    free(b);
}

/* `n` users, of whom all that the canary gets are bad where `bad` */
static void ask(struct canary_watch *w, const char *id, double share, int n, bool bad) {
    struct rng r;
    rng_init(&r, 7);
    for (int i = 0; i < n; i++) {
        struct canary_event e = {.sticks = true, .unit = rng_u64(&r), .share = share};
        e.canary = router_picks(e.unit, share);
        e.bad[CANARY_ERRORS] = bad && e.canary;
        canary_watch_note(w, id, &e);
    }
}

static struct canary_row last(struct fixture *f) {
    struct canary_row row = {0};
    if (canaries_last(f->c, "production", &f->mem, &row, &f->err)) fail_msg("%s", f->err.msg);
    return row;
}

static void a_restart_keeps_what_was_seen(void **state) {
    struct fixture *f = *state;
    char id[ID_SIZE], log[2000] = "";
    start(f, "10,50,100", 1000, id);
    struct canary_watch *w = watch_of(f, log);
    ask(w, id, 0.1, 300, false);
    canary_watch_stop(w);
    const char *before = last(f).reached;
    w = watch_of(f, log);
    ask(w, id, 0.1, 300, false); /* the same users again */
    canary_watch_stop(w);
    const char *after = last(f).reached;
    struct canary s[2];
    struct canary_plan p = plan("10,50,100", 1000);
    const char *texts[] = {before, after};
    for (int i = 0; i < 2; i++) {
        canary_init(&s[i], &p);
        assert_int_equal(canary_read(texts[i], &s[i], &f->err), 0);
        assert_int_equal(s[i].requests[0] + s[i].requests[1], 300 * (i + 1));
        assert_int_equal(s[i].stream[0].count[0] + s[i].stream[0].count[1], 300);
        assert_true(s[i].stream[0].log_e_max == s[0].stream[0].log_e_max);
        canary_release(&s[i]);
    }
    assert_string_equal(log, "");
}

static void a_bad_one_goes_back_by_itself(void **state) {
    struct fixture *f = *state;
    char id[ID_SIZE], log[2000] = "";
    struct webhook hook;
    struct outbox_list out;
    struct audit_list events;
    struct split s;
    start(f, "10,50,100", 1000, id);
    assert_int_equal(
        webhooks_add(f->c, "http://127.0.0.1:1/", "whsec_eA==", &f->mem, &hook, &f->err), 0);
    struct canary_watch *w = watch_of(f, log);
    ask(w, id, 0.1, 300, true);
    canary_watch_stop(w);
    struct canary_row row = last(f);
    assert_string_equal(row.state, "aborted");
    assert_non_null(strstr(row.why, "more errors"));
    assert_non_null(strstr(log, "canary of production aborted"));
    assert_int_equal(splits_get(f->c, "production", &f->mem, &s, &f->err), ERR_NOT_FOUND);
    assert_int_equal(outbox_due(f->c, NULL, INT64_MAX, 10, &f->mem, &out, &f->err), 0);
    assert_int_equal(out.count, 1);
    assert_non_null(strstr(out.list[0].payload, "attune.canary.aborted"));
    assert_int_equal(audit_events(f->c, "production", 0, 100, &f->mem, &events, &f->err), 0);
    assert_string_equal(events.list[events.count - 1].kind, "canary.aborted");
    assert_non_null(strstr(events.list[events.count - 1].data, "\"bad\""));
    int64_t count;
    assert_int_equal(audit_verify(f->c, &count, &f->err), 0);
}

static void a_good_one_gets_more_and_is_promoted(void **state) {
    struct fixture *f = *state;
    char id[ID_SIZE], log[2000] = "";
    struct split s;
    struct route r;
    start(f, "10,50,100", 5, id);
    const double shares[] = {0.1, 0.5};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(splits_get(f->c, "production", &f->mem, &s, &f->err), 0);
        assert_true(s.share == shares[i]);
        struct canary_watch *w = watch_of(f, log);
        ask(w, id, shares[i], 300, false);
        canary_watch_stop(w);
    }
    assert_string_equal(last(f).state, "promoted");
    assert_int_equal(routes_get(f->c, "production", &f->mem, &r, &f->err), 0);
    assert_string_equal(r.target, "candidate");
    assert_int_equal(splits_get(f->c, "production", &f->mem, &s, &f->err), ERR_NOT_FOUND);
    assert_non_null(strstr(log, "gets 50 %"));
    assert_non_null(strstr(log, "promoted"));
}

UNIT_TESTS(jobs_canary, cmocka_unit_test(the_same_model_is_seldom_aborted),
           cmocka_unit_test(a_worse_model_is_aborted_and_a_good_one_promoted),
           cmocka_unit_test(a_user_counts_once_in_a_step),
           cmocka_unit_test(plans_that_cannot_be_are_refused),
           cmocka_unit_test(latencies_have_an_interval),
           WITH_CATALOG(a_restart_keeps_what_was_seen), WITH_CATALOG(a_bad_one_goes_back_by_itself),
           WITH_CATALOG(a_good_one_gets_more_and_is_promoted))
