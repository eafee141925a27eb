/* Paired statistics against known values; the command that gave each is beside it. */
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "eval/pairs.h"
#include "eval/special.h"
#include "eval/statistics.h"

#include <math.h>
#include <string.h>

#define CHECK_NEAR(a, b, eps) check_near((a), (b), (eps), #a, __LINE__)

static void check_near(double a, double b, double eps, const char *what, int line) {
    if (!(fabs(a - b) <= eps)) fail_msg("line %d: %s is %.15g, not %.15g", line, what, a, b);
}

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static void distributions_agree_with_scipy(void **state) {
    (void)state;
    CHECK_NEAR(normal_cdf(1.959963984540054), 0.975, 1e-15);      /* norm.cdf */
    CHECK_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-14); /* norm.ppf(.975) */
    CHECK_NEAR(normal_quantile(1e-10), -6.361340902404056, 1e-12);
    CHECK_NEAR(beta_inc(2.5, 0.5, 0.3), 0.018927124071945658, 1e-14);    /* betainc(2.5,.5,.3) */
    CHECK_NEAR(beta_inc(300, 700, 0.31), 0.7564186827315443, 1e-11);     /* betainc(300,700,.31) */
    CHECK_NEAR(t_cdf(2.228138851986274, 10), 0.975, 1e-13);              /* t.cdf */
    CHECK_NEAR(t_quantile(0.975, 10), 2.228138851986274, 1e-9);          /* t.ppf(.975,10) */
    CHECK_NEAR(t_quantile(0.975, 1), 12.706204736174698, 1e-9);          /* t.ppf(.975,1) */
    CHECK_NEAR(t_quantile(0.05, 99), -1.660391156016991, 1e-9);          /* t.ppf(.05,99) */
    CHECK_NEAR(binomial_upper(17, 25, 0.5), 0.05387607216835022, 1e-14); /* binom.sf(16,25,.5) */
    CHECK_NEAR(binomial_upper(0, 0, 0.5), 1, 0);
}

enum { CASES_MAX = 20000 };
static double a[CASES_MAX], b[CASES_MAX];
static int64_t cluster[CASES_MAX];

/* n cases: `gained` of B alone, `lost` of A alone, the rest both right */
static struct paired table(int64_t n, int64_t gained, int64_t lost) {
    for (int64_t i = 0; i < n; i++) {
        a[i] = i >= gained;
        b[i] = i < gained || i >= gained + lost;
    }
    return (struct paired){.a = a, .b = b, .n = n};
}

static struct comparison compared(const struct paired *p) {
    struct err err;
    struct comparison c;
    check(compare_paired(p, &(struct compare_options){0}, &c, &err), &err);
    return c;
}

static void right_and_wrong_agrees_with_the_literature(void **state) {
    (void)state;
    /* Tango 1998, example 2: 44 patients, 1 and 0 discordant; the limits solve his score equation
     * with the constrained maximum found by scipy's minimize_scalar and brentq */
    struct paired p = table(44, 1, 0);
    struct comparison c = compared(&p);
    assert_int_equal(c.method, METHOD_EXACT);
    CHECK_NEAR(c.difference, 1.0 / 44, 1e-15);
    CHECK_NEAR(c.p, 1, 0);
    CHECK_NEAR(c.low, -0.059393231, 1e-8);
    CHECK_NEAR(c.high, 0.118077097, 1e-8);
    p = table(100, 20, 5);
    c = compared(&p);
    assert_int_equal(c.method, METHOD_SCORE);
    CHECK_NEAR(c.difference, 0.15, 1e-15);
    CHECK_NEAR(c.p, 0.0026997960632601866, 1e-12); /* 2*norm.sf(15/5) */
    CHECK_NEAR(c.low, 0.056168556, 1e-8);
    CHECK_NEAR(c.high, 0.248823925, 1e-8);
    assert_int_equal(c.verdict, VERDICT_BETTER);
    assert_int_equal(c.gained, 20);
    assert_int_equal(c.lost, 5);
    p = table(100, 10, 4);
    c = compared(&p);
    CHECK_NEAR(c.p, 0.1795654296875, 1e-14); /* binomtest(10, 14).pvalue */
    assert_int_equal(c.verdict, VERDICT_NOT_WORSE);
    p = table(1000, 20, 80);
    assert_int_equal(compared(&p).verdict, VERDICT_WORSE);
    p = table(1000, 10, 10);
    assert_int_equal(compared(&p).verdict, VERDICT_NOT_WORSE);
}

static void few_cases_are_inconclusive(void **state) {
    (void)state;
    struct paired p = table(20, 0, 0);
    struct comparison c = compared(&p);
    assert_int_equal(c.verdict, VERDICT_INCONCLUSIVE);
    assert_true(c.low < -0.1 && c.high > 0.1);
    assert_in_range(c.needed, 100, 130); /* z^2 (1 - m) / m = 132.6 at m = 0.02, less 20 */
    p = table(20, 3, 1);
    assert_int_equal(compared(&p).verdict, VERDICT_INCONCLUSIVE);
    for (int i = 0; i < 20; i++) cluster[i] = i / 5; /* four clusters that agree in all */
    p = table(20, 0, 0);
    p.cluster = cluster;
    c = compared(&p);
    assert_int_equal(c.verdict, VERDICT_INCONCLUSIVE);
    assert_true(c.low < -0.3 && c.high > 0.3);
    p = table(0, 0, 0);
    c = compared(&p);
    assert_true(isnan(c.difference) && isnan(c.p) && c.needed == -1);
    assert_int_equal(c.verdict, VERDICT_INCONCLUSIVE);
}

static void missing_is_not_zero(void **state) {
    (void)state;
    struct paired p = table(100, 20, 5);
    struct comparison all = compared(&p), c;
    for (int i = 0; i < 10; i++) a[100 + i] = 1, b[100 + i] = NAN;
    p.n = 110;
    c = compared(&p);
    assert_int_equal(c.n, 100);
    CHECK_NEAR(c.low, all.low, 0);
    CHECK_NEAR(c.p, all.p, 0);
    struct estimate e;
    struct err err;
    check(estimate_mean(b, NULL, 110, &e, &err), &err);
    assert_int_equal(e.n, 100);
    assert_int_equal(e.missing, 10);
    CHECK_NEAR(e.value, 0.95, 1e-15);
    CHECK_NEAR(e.low, 0.8882495307680808, 1e-9); /* binomtest(95,100).proportion_ci(.95,'wilson') */
    CHECK_NEAR(e.high, 0.978456320845632, 1e-9);
    b[3] = INFINITY;
    assert_int_equal(compare_paired(&p, &(struct compare_options){0}, &c, &err), ERR_INVALID);
}

static void graded_is_a_paired_t(void **state) {
    (void)state;
    /* x=[.1,.4,.35,.8,.2,.55,.9,.15]; y=[.2,.5,.3,.9,.45,.7,.95,.3]; stats.ttest_rel(y,x) and its
     * confidence_interval(.95) */
    static const double x[] = {.1, .4, .35, .8, .2, .55, .9, .15};
    static const double y[] = {.2, .5, .3, .9, .45, .7, .95, .3};
    struct comparison c = compared(&(struct paired){.a = x, .b = y, .n = 8});
    assert_int_equal(c.method, METHOD_CLUSTER);
    assert_int_equal(c.clusters, 8);
    CHECK_NEAR(c.p, 0.010259549564501707, 1e-12);
    CHECK_NEAR(c.low, 0.03406426675191304, 1e-9);
    CHECK_NEAR(c.high, 0.17843573324808693, 1e-9);
    assert_int_equal(c.verdict, VERDICT_BETTER);
}

/* clusters of equal size: the t test of their means; the order of cases says nothing */
static void clusters_are_the_units(void **state) {
    (void)state;
    double ma[20], mb[20];
    struct rng r;
    rng_init(&r, unit_seed());
    for (int c = 0; c < 20; c++) {
        double luck = 0.2 * rng_normal(&r);
        ma[c] = mb[c] = 0;
        for (int i = 0; i < 5; i++) {
            int at = i * 20 + c;
            a[at] = rng_double(&r);
            b[at] = a[at] + 0.05 + luck + 0.01 * rng_normal(&r);
            cluster[at] = 1000 - c;
            ma[c] += a[at] / 5;
            mb[c] += b[at] / 5;
        }
    }
    struct comparison c = compared(&(struct paired){a, b, cluster, 100});
    struct comparison means = compared(&(struct paired){.a = ma, .b = mb, .n = 20});
    struct comparison naive = compared(&(struct paired){.a = a, .b = b, .n = 100});
    assert_int_equal(c.clusters, 20);
    CHECK_NEAR(c.low, means.low, 1e-12);
    CHECK_NEAR(c.high, means.high, 1e-12);
    CHECK_NEAR(c.p, means.p, 1e-12);
    assert_true(c.high - c.low > 1.5 * (naive.high - naive.low));
}

static void one_verdict_needs_both_tests(void **state) {
    (void)state;
    /* t and bootstrap both see this */
    for (int i = 0; i < 200; i++) a[i] = 0.5, b[i] = 0.5 + (i % 3 ? 0.1 : -0.05);
    struct comparison c = compared(&(struct paired){.a = a, .b = b, .n = 200});
    assert_int_equal(c.verdict, VERDICT_BETTER);
    for (int i = 0; i < 200; i++) b[i] = 1 - b[i];
    assert_int_equal(compared(&(struct paired){.a = a, .b = b, .n = 200}).verdict, VERDICT_WORSE);
    for (int i = 0; i < 200; i++) b[i] = 0.5 + (i % 2 ? 0.02 : -0.02);
    assert_int_equal(compared(&(struct paired){.a = a, .b = b, .n = 200}).verdict,
                     VERDICT_NOT_WORSE);
}

/* how often the interval holds the truth and a worse candidate is promoted;
 * tests/gate_simulation.py is the long form */
static void intervals_cover_and_gate_holds(void **state) {
    (void)state;
    enum { RUNS = 400, N = 200, GROUP = 10 };
    for (int clustered = 0; clustered < 2; clustered++) {
        int covered = 0, promoted = 0;
        for (uint64_t run = 0; run < RUNS; run++) {
            struct rng r;
            double common = 0;
            rng_init_stream(&r, unit_seed(), run);
            for (int i = 0; i < N; i++) {
                if (i % GROUP == 0) common = rng_double(&r);
                double x = clustered && rng_double(&r) < 0.5 ? common : rng_double(&r);
                a[i] = x >= 0.09; /* 9 % gained, 11 % lost */
                b[i] = x < 0.09 || x >= 0.20;
                cluster[i] = i / GROUP;
            }
            struct comparison c = compared(&(struct paired){a, b, clustered ? cluster : NULL, N});
            covered += c.low <= -0.02 && c.high >= -0.02;
            promoted += c.verdict == VERDICT_BETTER;
        }
        /* 95 % of 400 is 380, and three deviations of it are 13 */
        if (covered < 360 || promoted > 20)
            fail_msg("clustered %d: covered %d, promoted %d of %d", clustered, covered, promoted,
                     RUNS);
    }
}

static void plans_agree_with_the_formula(void **state) {
    (void)state;
    static const struct {
        double difference, discordant;
        int sides;
        int64_t cases;
    } rows[] = {{0.01, 0.1, 2, 7847}, {0.01, 0.2, 2, 15696}, {0.02, 0.2, 2, 3923},
                {0.03, 0.3, 2, 2614}, {0.05, 0.2, 2, 626},   {0.1, 0.2, 2, 155},
                {0.1, 0.3, 2, 234},   {0.01, 0.2, 1, 12365}, {0.05, 0.2, 1, 493},
                {0.1, 0.2, 1, 122}};
    struct err err;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t cases = 0;
        struct plan p = {rows[i].difference, rows[i].discordant, rows[i].sides, 0.05, 0.8};
        check(plan_cases(&p, &cases, &err), &err);
        assert_in_range(cases, rows[i].cases - 2, rows[i].cases + 2);
    }
    int64_t cases;
    assert_int_equal(plan_cases(&(struct plan){0.3, 0.2, 2, 0.05, 0.8}, &cases, &err), ERR_INVALID);
    assert_int_equal(plan_cases(&(struct plan){0, 0.2, 2, 0.05, 0.8}, &cases, &err), ERR_INVALID);
}

static void holm_corrects(void **state) {
    (void)state;
    /* statsmodels multipletests([.01,.04,.03,.005], method='holm')[1] */
    static const double p[] = {.01, .04, .03, .005}, want[] = {.03, .06, .06, .02};
    double got[4];
    holm_adjust(p, 4, got);
    for (int i = 0; i < 4; i++) CHECK_NEAR(got[i], want[i], 1e-15);
}

static int collect(void *ctx, struct str line, struct err *err) {
    (void)err;
    buf_str(ctx, line);
    return 0;
}

static int run_pairs(struct str text, int threads, struct buf *out, struct err *err) {
    struct pairs_job job = {
        .path = "f", .text = text, .pool = pool_new(threads), .out = collect, .ctx = out};
    int rc = pairs_run(&job, err);
    pool_free(job.pool);
    return rc;
}

static void lines_give_the_same_bytes_at_any_thread_count(void **state) {
    (void)state;
    struct buf text, one, two;
    struct err err;
    struct rng r;
    buf_init(&text, 1 << 20);
    buf_init(&one, 1 << 20);
    buf_init(&two, 1 << 20);
    rng_init(&r, unit_seed());
    for (int i = 0; i < 150; i++) {
        buf_printf(&text, "{\"id\":%d,\"a\":[0.5", i);
        for (int k = 0; k < 30; k++) buf_printf(&text, ",%.3f", rng_double(&r));
        buf_printf(&text, "],\"b\":[null");
        for (int k = 0; k < 30; k++) buf_printf(&text, ",%.3f", 0.2 + rng_double(&r));
        buf_printf(&text, "]}\n\n");
    }
    check(run_pairs(buf_view(&text), 1, &one, &err), &err);
    check(run_pairs(buf_view(&text), 3, &two, &err), &err);
    assert_true(one.n > 1000 && str_eq(buf_view(&one), buf_view(&two)));
    buf_release(&text);
    buf_release(&one);
    buf_release(&two);
}

static void bad_lines_are_named(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"{\"a\":[1],\"b\":[1]}\n\n[1]\n", "f: line 3: must be an object"},
        {"{\"a\":[1],\"b\":[1,0]}", "f: line 1: \"a\" has 1 scores and \"b\" 2"},
        {"{\"a\":[\"x\"],\"b\":[1]}", "a[0] is no score"},
        {"{\"a\":[1],\"b\":[1],\"cluster\":[]}", "\"cluster\" must be an array as long"},
        {"{\"a\":[1],\"b\":[1],\"cluster\":[{}]}", "cluster[0] is neither"},
        {"{\"b\":[1]}", "\"a\" must be an array"},
        {"{\"a\":[1],", "f: line 1"}};
    struct err err;
    struct buf out;
    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(run_pairs(str_of(rows[i][0]), 1, &out, &err), ERR_INVALID);
        if (!strstr(err.msg, rows[i][1])) fail_msg("%s is not in %s", rows[i][1], err.msg);
    }
    buf_release(&out);
}

UNIT_TESTS(eval_statistics, cmocka_unit_test(distributions_agree_with_scipy),
           cmocka_unit_test(right_and_wrong_agrees_with_the_literature),
           cmocka_unit_test(few_cases_are_inconclusive), cmocka_unit_test(missing_is_not_zero),
           cmocka_unit_test(graded_is_a_paired_t), cmocka_unit_test(clusters_are_the_units),
           cmocka_unit_test(one_verdict_needs_both_tests),
           cmocka_unit_test(intervals_cover_and_gate_holds),
           cmocka_unit_test(plans_agree_with_the_formula), cmocka_unit_test(holm_corrects),
           cmocka_unit_test(lines_give_the_same_bytes_at_any_thread_count),
           cmocka_unit_test(bad_lines_are_named))
