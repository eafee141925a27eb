/* The tests of drift: known values, and by simulation how often they are wrong. */
#include "unit.h"

#include "base/rng.h"
#include "eval/drift.h"
#include "eval/special.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* D times 25 of the five whose bit is set against the other five */
static int gap_of(const int *v, int set) {
    int gap = 0;
    for (int at = 0; at < 4; at++) {
        int a = 0, b = 0;
        for (int i = 0; i < 10; i++) *(set >> i & 1 ? &a : &b) += v[i] <= at;
        if (abs(5 * a - 5 * b) > gap) gap = abs(5 * a - 5 * b);
    }
    return gap;
}

/* all 252 labellings of ten tied numbers, counted one by one */
static void exact_with_ties(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, unit_seed());
    for (int run = 0; run < 50; run++) {
        int v[10], reached = 0, all = 0, mine = 0x1F;
        double a[5], b[5];
        for (int i = 0; i < 10; i++) {
            v[i] = (int)rng_below(&r, 4);
            *(i < 5 ? &a[i] : &b[i - 5]) = v[i];
        }
        for (int set = 0; set < 1024; set++) {
            if (__builtin_popcount((unsigned)set) != 5) continue;
            all++;
            reached += gap_of(v, set) >= gap_of(v, mine);
        }
        struct drift_result got = drift_numbers(a, 5, b, 5);
        assert_int_equal(all, 252);
        if (fabs(got.statistic * 25 - gap_of(v, mine)) > 1e-9 ||
            fabs(got.p - reached / 252.0) > 1e-9)
            fail_msg("D %g p %g, counted %d / 25 and %d / 252", got.statistic, got.p,
                     gap_of(v, mine), reached);
    }
}

static void exact_counts(void **state) {
    (void)state;
    /* without ties, all of 3 below all of 3: 2 of the 20 labellings reach D = 1 */
    double a[] = {1, 2, 3}, b[] = {4, 5, 6};
    struct drift_result r = drift_numbers(a, 3, b, 3);
    assert_true(fabs(r.statistic - 1) < 1e-12 && fabs(r.p - 0.1) < 1e-12);
    /* with ties 0 0 1 | 1 1 1: D = 2/3 needs both zeros on one side, 2 * 4 of 20 */
    double c[] = {0, 0, 1}, d[] = {1, 1, 1};
    r = drift_numbers(c, 3, d, 3);
    assert_true(fabs(r.statistic - 2.0 / 3) < 1e-12 && fabs(r.p - 0.4) < 1e-12);
    /* the tea test: 3 of 4 against 1 of 4 is 34 of 70 */
    r = drift_rates((struct drift_rate){3, 4}, (struct drift_rate){1, 4});
    assert_true(fabs(r.p - 34.0 / 70) < 1e-9 && fabs(r.statistic + 0.5) < 1e-12);
    /* chi-square of 60:40 against 40:60 is 8; its tail with one degree is erfc(2) */
    r = drift_shares((int64_t[]){60, 40}, (int64_t[]){40, 60}, 2, 1);
    assert_true(fabs(r.statistic - 8) < 1e-9 && fabs(r.p - erfc(2)) < 1e-12);
    /* three categories: exp(-x / 2) */
    r = drift_shares((int64_t[]){50, 30, 20}, (int64_t[]){30, 30, 40}, 3, 1);
    assert_true(fabs(r.p - exp(-r.statistic / 2)) < 1e-12);
}

static void nothing_to_compare(void **state) {
    (void)state;
    double one[] = {1};
    assert_true(drift_numbers(one, 0, one, 1).p == 1);
    assert_true(drift_shares((int64_t[]){5, 0}, (int64_t[]){9, 0}, 2, 1).p == 1);
    assert_true(drift_shares((int64_t[]){0, 0}, (int64_t[]){9, 1}, 2, 1).p == 1);
    assert_true(drift_rates((struct drift_rate){0, 0}, (struct drift_rate){1, 2}).p == 1);
    assert_true(drift_rates((struct drift_rate){0, 9}, (struct drift_rate){0, 5}).p == 1);
}

/* few rows in a category: permutations agree with Fisher's exact test where there are two */
static void small_counts_are_permuted(void **state) {
    (void)state;
    double exact = drift_rates((struct drift_rate){0, 50}, (struct drift_rate){6, 50}).p;
    double drawn = drift_shares((int64_t[]){0, 50}, (int64_t[]){6, 44}, 2, 7).p;
    print_message("Fisher %.4f, permutations %.4f\n", exact, drawn);
    assert_true(exact > 0.02 && exact < 0.03 && fabs(drawn - exact) < 0.01);
    assert_true(drawn == drift_shares((int64_t[]){0, 50}, (int64_t[]){6, 44}, 2, 7).p);
}

/* --- simulated traffic --- */

#define ROWS 500
#define STREAMS 8
#define RUNS 2000
#define ALPHA 0.01

struct world {
    double length, language, refusal, finish; /* shifts; 0: none */
};
struct sample {
    double in[ROWS], out[ROWS], ms[ROWS];
    int64_t language[4], topic[DRIFT_TOPICS], finish[3];
    struct drift_rate refused, format;
};

static int pick(struct rng *r, const double *share, int n) {
    double x = rng_double(r);
    int i = 0;
    while (i < n - 1 && x >= share[i]) x -= share[i++];
    return i;
}

static void draw(struct rng *r, const struct world *w, struct sample *s) {
    const double language[] = {0.8 - w->language, 0.15 + w->language, 0.045, 0.005};
    const double finish[] = {0.9 - w->finish, 0.098 + w->finish, 0.002};
    memset(s, 0, sizeof *s);
    for (int i = 0; i < ROWS; i++) {
        s->in[i] = floor(exp(4 + 0.8 * rng_normal(r) + w->length));
        s->out[i] = floor(exp(3 + rng_normal(r)));
        s->ms[i] = exp(5 + 0.5 * rng_normal(r));
        s->language[pick(r, language, 4)]++;
        s->topic[rng_below(r, DRIFT_TOPICS)]++;
        s->finish[pick(r, finish, 3)]++;
        s->refused.hits += rng_double(r) < 0.04 + w->refusal;
        s->format.hits += rng_double(r) < 0.01;
    }
    s->refused.count = s->format.count = ROWS;
}

/* the p-values of a window against the baseline */
static void test_all(const struct sample *base, struct sample *s, uint64_t seed,
                     double p[STREAMS]) {
    struct sample b = *base;
    p[0] = drift_numbers(b.in, ROWS, s->in, ROWS).p;
    p[1] = drift_numbers(b.out, ROWS, s->out, ROWS).p;
    p[2] = drift_numbers(b.ms, ROWS, s->ms, ROWS).p;
    p[3] = drift_shares(b.language, s->language, 4, seed).p;
    p[4] = drift_shares(b.topic, s->topic, DRIFT_TOPICS, seed).p;
    p[5] = drift_shares(b.finish, s->finish, 3, seed).p;
    p[6] = drift_rates(b.refused, s->refused).p;
    p[7] = drift_rates(b.format, s->format).p;
}

struct counted {
    double alpha;
    int one, both; /* runs with an alarm of the last window, of both */
};

static void count(struct counted *c, double p[2][STREAMS]) {
    bool one = false, both = false;
    for (int i = 0; i < STREAMS; i++) {
        bool last = p[1][i] <= c->alpha / STREAMS;
        one |= last;
        both |= last && p[0][i] <= c->alpha / STREAMS;
    }
    c->one += one;
    c->both += both;
}

/* runs of a baseline and two windows */
static void simulate(const struct world *w, int runs, struct counted *ret, int alphas) {
    static struct sample base, window[2];
    static const struct world same = {0};
    for (int run = 0; run < runs; run++) {
        struct rng r;
        double p[2][STREAMS];
        rng_init_stream(&r, unit_seed(), (uint64_t)run);
        draw(&r, &same, &base);
        for (int k = 0; k < 2; k++) {
            draw(&r, w, &window[k]);
            test_all(&base, &window[k], rng_u64(&r), p[k]);
        }
        for (int i = 0; i < alphas; i++) count(&ret[i], p);
    }
}

static void false_alarms_stay_below_the_rate(void **state) {
    (void)state;
    static const struct world same = {0};
    struct counted c[2] = {{.alpha = ALPHA}, {.alpha = 0.05}};
    simulate(&same, RUNS, c, 2);
    for (int i = 0; i < 2; i++) {
        print_message("no drift, declared %.2f: one window %d, two in a row %d of %d\n", c[i].alpha,
                      c[i].one, c[i].both, RUNS);
        /* as many or more would come with probability under 0.001 at the declared rate */
        assert_true(binomial_upper(c[i].one, RUNS, c[i].alpha) > 0.001);
        assert_true(c[i].both <= c[i].alpha * RUNS);
    }
}

static void shifts_are_found(void **state) {
    (void)state;
    static const struct {
        const char *what;
        struct world w;
    } rows[] = {{"prompts 22 % longer", {.length = 0.2}},
                {"prompts 35 % longer", {.length = 0.3}},
                {"a language 15 % to 25 %", {.language = 0.10}},
                {"a language 15 % to 30 %", {.language = 0.15}},
                {"refusals 4 % to 9 %", {.refusal = 0.05}},
                {"refusals 4 % to 12 %", {.refusal = 0.08}},
                {"cut answers 10 % to 20 %", {.finish = 0.10}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct counted c = {.alpha = ALPHA};
        simulate(&rows[i].w, 50, &c, 1);
        print_message("%s: one window %d, two in a row %d of 50\n", rows[i].what, c.one, c.both);
        if (i == 1 || i == 3 || i == 5) assert_true(c.both >= 35);
    }
}

/* --- texts --- */

static void unknown_words_are_novel(void **state) {
    (void)state;
    struct novelty *n = novelty_new();
    char text[200];
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "please tell me the balance of account number %d", i);
        novelty_learn(n, str_of(text));
    }
    double known = novelty_of(n, STR_LIT("Tell me the balance of account 17, please"));
    double new = novelty_of(n, STR_LIT("quantum chromodynamics on hexagonal lattices"));
    assert_true(new > known + 3);
    assert_true(novelty_of(n, STR_LIT("two words")) == 0);
    novelty_free(n);
}

static void topics_follow_the_words(void **state) {
    (void)state;
    struct str a = STR_LIT("The account balance and the account statement of my savings account");
    struct str b =
        STR_LIT("the  ACCOUNT balance, and the account statement of my savings account!");
    int seen = 0;
    assert_int_equal(drift_topic(a), drift_topic(b));
    for (int i = 0; i < 200; i++) {
        char text[100];
        snprintf(text, sizeof text, "wordy%d thing%d other%d matter%d", i, i, i, i);
        seen |= 1 << drift_topic(str_of(text));
    }
    assert_int_equal(seen, 0xFFFF);
    assert_in_range(drift_topic(STR_LIT("")), 0, DRIFT_TOPICS - 1);
}

UNIT_TESTS(eval_drift, cmocka_unit_test(exact_with_ties), cmocka_unit_test(exact_counts),
           cmocka_unit_test(nothing_to_compare), cmocka_unit_test(small_counts_are_permuted),
           cmocka_unit_test(false_alarms_stay_below_the_rate), cmocka_unit_test(shifts_are_found),
           cmocka_unit_test(unknown_words_are_novel), cmocka_unit_test(topics_follow_the_words))
