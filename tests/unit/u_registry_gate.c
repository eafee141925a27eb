/* The gate's verdicts, check by check. */
#include "unit.h"

#include "registry/gate.h"

#include <math.h>
#include <string.h>

static const struct gate_metric better = {.name = "exact",
                                          .n = 500,
                                          .difference = 0.06,
                                          .low = 0.02,
                                          .high = 0.10,
                                          .p_better = 0.002,
                                          .p_worse = 0.998,
                                          .p_not_worse = 0.0001};
static const struct gate_metric unsure = {.name = "exact",
                                          .n = 20,
                                          .difference = 0.05,
                                          .low = -0.2,
                                          .high = 0.3,
                                          .p_better = 0.3,
                                          .p_worse = 0.7,
                                          .p_not_worse = 0.3,
                                          .needed = 480};
static const struct gate_metric worse = {.name = "exact",
                                         .n = 500,
                                         .difference = -0.2,
                                         .low = -0.25,
                                         .high = -0.15,
                                         .p_better = 1,
                                         .p_worse = 1e-9,
                                         .p_not_worse = 1};
static const struct gate_metric none = {.name = "exact",
                                        .difference = NAN,
                                        .low = NAN,
                                        .high = NAN,
                                        .p_better = NAN,
                                        .p_worse = NAN,
                                        .p_not_worse = NAN,
                                        .needed = -1};

static struct gate_report decide(const struct gate_facts *f) {
    struct gate_policy p;
    struct gate_report r;
    gate_policy_default(&p);
    p.critical = "lang=de,lang=fr";
    gate_decide(f, &p, &r);
    return r;
}

static const struct gate_check *named(const struct gate_report *r, const char *name) {
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->checks[i].name, name) == 0) return &r->checks[i];
    return NULL;
}

static void the_primary_metric_decides(void **state) {
    (void)state;
    struct gate_report r = decide(&(struct gate_facts){.primary = better, .leaked = -1});
    assert_int_equal(r.result, GATE_PASS);
    assert_non_null(strstr(r.checks[0].text, "+6.0 points"));
    r = decide(&(struct gate_facts){.primary = unsure});
    assert_int_equal(r.result, GATE_OPEN);
    assert_non_null(strstr(r.checks[0].text, "480 more cases"));
    assert_int_equal(decide(&(struct gate_facts){.primary = worse}).result, GATE_FAIL);
    assert_int_equal(decide(&(struct gate_facts){.primary = none}).result, GATE_OPEN);
}

static struct gate_metric guard(double p_not_worse) {
    struct gate_metric m = better;
    m.name = "format";
    m.margin = 0.02;
    m.p_not_worse = p_not_worse;
    return m;
}

static void guards_share_their_error(void **state) {
    (void)state;
    struct gate_metric both[] = {guard(0.03), guard(0.04)};
    struct gate_facts f = {.primary = better, .guards = both, .guard_count = 1};
    assert_int_equal(decide(&f).result, GATE_PASS); /* one: 0.03 against 0.05 */
    f.guard_count = 2;                              /* two: 0.03 against 0.025 */
    assert_int_equal(decide(&f).result, GATE_OPEN);
    both[0].p_not_worse = 0.02; /* then 0.04 against 0.05 */
    assert_int_equal(decide(&f).result, GATE_PASS);
    both[1].p_not_worse = 0.9;
    both[1].p_worse = 0.001;
    both[1].difference = -0.1;
    assert_int_equal(decide(&f).result, GATE_FAIL);
}

static void must_pass_cases_must_pass(void **state) {
    (void)state;
    struct gate_facts f = {.primary = better, .must_count = 3};
    assert_int_equal(decide(&f).result, GATE_PASS);
    f.must_wrong = 1;
    f.must_first = "refund-7";
    struct gate_report r = decide(&f);
    assert_int_equal(r.result, GATE_FAIL);
    assert_non_null(strstr(named(&r, "must-pass")->text, "refund-7"));
}

static void slices_warn_and_critical_ones_refuse(void **state) {
    (void)state;
    struct gate_slice s = {.name = "lang=es", .n = 40, .difference = -0.1, .p_worse = 0.001};
    struct gate_facts f = {.primary = better, .slices = &s, .slice_count = 1};
    struct gate_report r = decide(&f);
    assert_int_equal(r.result, GATE_PASS);
    assert_int_equal(named(&r, "slice")->result, GATE_WARN);
    s.n = 29;
    r = decide(&f);
    assert_null(named(&r, "slice"));
    s.name = "lang=fr";
    assert_int_equal(decide(&f).result, GATE_FAIL);
    s.p_worse = 0.02;
    assert_int_equal(decide(&f).result, GATE_PASS);
}

static void tainted_cases_and_unproven_judges_refuse(void **state) {
    (void)state;
    assert_int_equal(decide(&(struct gate_facts){.primary = better, .leaked = 2}).result,
                     GATE_FAIL);
    struct gate_facts f = {
        .primary = better, .judged = true, .judge_kappa = 0.7, .judge_labels = 49};
    assert_int_equal(decide(&f).result, GATE_FAIL);
    f.judge_labels = 50;
    assert_int_equal(decide(&f).result, GATE_PASS);
    f.judge_kappa = 0.59;
    assert_int_equal(decide(&f).result, GATE_FAIL);
}

static void too_few_cases_are_no_proof(void **state) {
    (void)state;
    struct gate_policy p;
    struct gate_report r;
    struct gate_facts f = {.primary = better};
    gate_policy_default(&p);
    p.see = 0.02;
    gate_decide(&f, &p, &r);
    assert_int_equal(r.result, GATE_OPEN);
    p.see = 0.06;
    gate_decide(&f, &p, &r);
    assert_int_equal(r.result, GATE_PASS);
}

UNIT_TESTS(registry_gate, cmocka_unit_test(the_primary_metric_decides),
           cmocka_unit_test(guards_share_their_error), cmocka_unit_test(must_pass_cases_must_pass),
           cmocka_unit_test(slices_warn_and_critical_ones_refuse),
           cmocka_unit_test(tainted_cases_and_unproven_judges_refuse),
           cmocka_unit_test(too_few_cases_are_no_proof))
