#include "unit.h"

#include "store_fixture.h"

#include "store/completions.h"
#include "store/outbox.h"
#include "store/requests.h"

#include <math.h>

static const struct request_limits all = {1000000, 0};

static void add(struct fixture *f, const char *model, int from, int to,
                const struct request_limits *keep) {
    for (int i = from; i < to; i++) {
        struct logged_request r = {.at_ms = 1000 * (i + 1),
                                   .model = model,
                                   .alias = "production",
                                   .key = i % 2 ? "key_b" : "",
                                   .finish = "stop",
                                   .status = i % 10 == 9 ? 500 : 200,
                                   .prompt_tokens = i,
                                   .completion_tokens = 2,
                                   .cached_tokens = 1,
                                   .first_ms = 10,
                                   .total_ms = i,
                                   .format = -1};
        if (requests_add(f->c, &r, 1, keep, &f->err)) fail_msg("%s", f->err.msg);
    }
}

static int64_t count_of(struct fixture *f, const char *model) {
    int64_t n;
    struct request_range r = {.model = model};
    if (requests_count(f->c, &r, &n, &f->err)) fail_msg("%s", f->err.msg);
    return n;
}

static void rows_come_back(void **state) {
    struct fixture *f = *state;
    struct request_rows rows;
    struct logged_request r = {.at_ms = 5000,
                               .model = "ft:m",
                               .alias = "production",
                               .key = "key_a",
                               .completion = "chatcmpl-1",
                               .finish = "length",
                               .status = 200,
                               .prompt_tokens = 7,
                               .completion_tokens = 8,
                               .cached_tokens = 3,
                               .first_ms = 1.5,
                               .total_ms = 2.5,
                               .language = 2,
                               .topic = 15,
                               .refusal = 1,
                               .format = 1,
                               .prompt = "hello"};
    struct feedback fb = {.completion = "chatcmpl-1", .score = -1, .has_score = true}, given;
    struct stored_completion done = {
        .id = "chatcmpl-1", .model = "ft:m", .request = "{}", .response = "{}"};
    assert_int_equal(requests_add(f->c, &r, 1, &all, &f->err), 0);
    assert_int_equal(completions_add(f->c, &done, &f->err), 0);
    assert_int_equal(feedback_add(f->c, &fb, &f->mem, &given, &f->err), 0);
    struct request_range range = {.model = "ft:m", .limit = 10};
    assert_int_equal(requests_list(f->c, &range, &f->mem, &rows, &f->err), 0);
    assert_int_equal(rows.count, 1);
    const struct logged_request *got = &rows.list[0];
    assert_string_equal(got->completion, "chatcmpl-1");
    assert_string_equal(got->finish, "length");
    assert_string_equal(got->prompt, "hello");
    assert_null(got->answer);
    assert_true(got->has_score && got->score == -1 && got->first_ms == 1.5);
    assert_int_equal(got->topic, 15);
    assert_int_equal(got->cached_tokens, 3);
}

static void ranges_and_sums(void **state) {
    struct fixture *f = *state;
    struct usage_list used;
    struct request_rows rows;
    double q;
    add(f, "a", 0, 20, &all);
    add(f, "b", 0, 5, &all);
    struct request_range r = {.model = "a", .from_ms = 5500, .to_ms = 15000, .skip = 2, .limit = 3};
    assert_int_equal(requests_list(f->c, &r, &f->mem, &rows, &f->err), 0);
    assert_int_equal(rows.count, 3);
    assert_int_equal(rows.list[0].at_ms, 8000);
    int64_t n;
    assert_int_equal(requests_count(f->c, &r, &n, &f->err), 0);
    assert_int_equal(n, 9); /* 6000 to 14000 */
    assert_int_equal(requests_usage(f->c, NULL, 0, &f->mem, &used, &f->err), 0);
    assert_int_equal(used.count, 4);
    assert_string_equal(used.list[1].key, "key_b");
    assert_int_equal(used.list[1].failed, 2);
    assert_int_equal(used.list[1].requests, 10);
    assert_int_equal(used.list[1].prompt_tokens, 100);
    assert_int_equal(requests_usage(f->c, "b", 3000, &f->mem, &used, &f->err), 0);
    assert_int_equal(used.count, 2);
    assert_int_equal(used.list[0].requests, 2);
    /* 18 of status 200: the 9th and the 18th */
    assert_int_equal(requests_quantile(f->c, "a", 0, REQUEST_TOTAL, 0.5, &q, &f->err), 0);
    assert_true(q == 8);
    assert_int_equal(requests_quantile(f->c, "a", 0, REQUEST_TOTAL, 1, &q, &f->err), 0);
    assert_true(q == 18);
    assert_int_equal(requests_quantile(f->c, "none", 0, REQUEST_FIRST, 0.5, &q, &f->err), 0);
    assert_true(isnan(q));
}

static void old_rows_go(void **state) {
    struct fixture *f = *state;
    add(f, "a", 0, 30, &(struct request_limits){12, 0});
    assert_int_equal(count_of(f, "a"), 12);
    assert_int_equal(requests_add(f->c, NULL, 0, &(struct request_limits){100, 25000}, &f->err), 0);
    assert_int_equal(count_of(f, "a"), 6); /* 25000 to 30000 */
}

static void an_alarm_is_told_once(void **state) {
    struct fixture *f = *state;
    struct drift_alarm now[] = {{.stream = "language", .p = 1e-5}, {.stream = "topic", .p = 1e-6}};
    struct webhook hook;
    struct outbox_list out;
    struct alarm_list stands;
    int64_t new;
    assert_int_equal(
        webhooks_add(f->c, "http://127.0.0.1:1/", "whsec_AAAA", &f->mem, &hook, &f->err), 0);
    static const struct {
        int from, count, new, sent;
    } steps[] = {{0, 1, 1, 1}, {0, 1, 0, 1}, {0, 2, 1, 2},
                 {1, 1, 0, 2}, {0, 0, 0, 2}, {1, 1, 1, 3}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_int_equal(
            alarms_set(f->c, "ft:m", now + steps[i].from, (size_t)steps[i].count, &new, &f->err),
            0);
        assert_int_equal(new, steps[i].new);
        assert_int_equal(outbox_due(f->c, NULL, INT64_MAX / 2, 10, &f->mem, &out, &f->err), 0);
        assert_int_equal(out.count, steps[i].sent);
        assert_int_equal(alarms_list(f->c, &f->mem, &stands, &f->err), 0);
        assert_int_equal(stands.count, steps[i].count);
    }
    assert_non_null(strstr(out.list[0].payload, "\"type\":\"attune.drift\""));
    assert_non_null(strstr(out.list[0].payload, "\"id\":\"ft:m\""));
}

UNIT_TESTS(store_requests, WITH_CATALOG(rows_come_back), WITH_CATALOG(ranges_and_sums),
           WITH_CATALOG(old_rows_go), WITH_CATALOG(an_alarm_is_told_once))
