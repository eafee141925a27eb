/* The canary's test, by simulation: false alarms with a look after every observation, and power. */
#include "unit.h"

#include "base/rng.h"
#include "eval/sequential.h"
#include "eval/special.h"

#include <math.h>

struct stream {
    double base, canary, share; /* rates of bad requests */
    int64_t length;
    int runs;
};

/* how many streams raise the alarm, and after how many requests on average */
static int alarms(const struct stream *o, double *ret_mean) {
    int count = 0;
    double sum = 0;
    for (int run = 0; run < o->runs; run++) {
        struct sequential s;
        struct rng r;
        rng_init_stream(&r, unit_seed(), (uint64_t)run);
        sequential_init(&s, 0.05);
        int64_t i = 0;
        while (i < o->length && !sequential_alarm(&s)) {
            bool canary = rng_double(&r) < o->share;
            bool bad = rng_double(&r) < (canary ? o->canary : o->base);
            sequential_add(&s, &(struct sequential_event){canary, bad, o->share});
            i++;
        }
        count += sequential_alarm(&s);
        sum += (double)i;
    }
    *ret_mean = sum / o->runs;
    return count;
}

/* Clopper and Pearson's 95 % interval */
static void binomial_interval(int k, int n, double *low, double *high) {
    double lo[2] = {0, 0}, hi[2] = {1, 1};
    for (int i = 0; i < 60; i++) {
        double m = (lo[0] + hi[0]) / 2;
        *(binomial_upper(k, n, m) < 0.025 ? &lo[0] : &hi[0]) = m;
        m = (lo[1] + hi[1]) / 2;
        *(1 - binomial_upper(k + 1, n, m) > 0.025 ? &lo[1] : &hi[1]) = m;
    }
    *low = k ? lo[0] : 0;
    *high = k < n ? lo[1] : 1;
}

static void false_alarms_stay_below_alpha(void **state) {
    (void)state;
    static const struct stream rows[] = {
        {0.02, 0.02, 0.05, 3000, 2000}, {0.2, 0.2, 0.25, 1000, 2000}, {0.5, 0.5, 0.5, 500, 2000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double mean, low, high;
        int k = alarms(&rows[i], &mean);
        binomial_interval(k, rows[i].runs, &low, &high);
        print_message("no difference, rate %.2f, share %.2f: %d false alarms in %d streams of %d, "
                      "%.4f (%.4f to %.4f)\n",
                      rows[i].base, rows[i].share, k, rows[i].runs, (int)rows[i].length,
                      (double)k / rows[i].runs, low, high);
        if (high > 0.06 || k > 0.05 * rows[i].runs) fail_msg("more than alpha");
    }
}

static void worse_canaries_are_found(void **state) {
    (void)state;
    static const struct stream rows[] = {{0.02, 0.10, 0.25, 3000, 200},
                                         {0.02, 0.06, 0.25, 3000, 200},
                                         {0.20, 0.40, 0.10, 3000, 200},
                                         {0.02, 0.10, 0.05, 5000, 200}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double mean;
        int k = alarms(&rows[i], &mean);
        print_message("rate %.2f against %.2f, share %.2f: found in %d of %d, after %.0f requests "
                      "on average\n",
                      rows[i].canary, rows[i].base, rows[i].share, k, rows[i].runs, mean);
        if (k < 0.8 * rows[i].runs) fail_msg("found in %d only", k);
    }
}

/* the mean of one step without a difference is exactly 1, for any share and rate */
static void a_step_is_a_fair_bet(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct sequential s;
        struct rng r;
        double share = 0.01 + 0.005 * (i % 190);
        rng_init_stream(&r, unit_seed(), (uint64_t)i);
        sequential_init(&s, 0.05);
        for (int k = 0; k < i; k++)
            sequential_add(&s, &(struct sequential_event){rng_double(&r) < share,
                                                          rng_double(&r) < 0.3, share});
        double before = sequential_e(&s);
        for (int bad = 0; bad < 2; bad++) {
            struct sequential with = s, without = s;
            sequential_add(&with, &(struct sequential_event){true, bad, share});
            sequential_add(&without, &(struct sequential_event){false, bad, share});
            double mean = share * sequential_e(&with) + (1 - share) * sequential_e(&without);
            if (fabs(mean - before) > 1e-9 * before) fail_msg("%g becomes %g", before, mean);
        }
    }
}

UNIT_TESTS(eval_sequential, cmocka_unit_test(false_alarms_stay_below_alpha),
           cmocka_unit_test(worse_canaries_are_found), cmocka_unit_test(a_step_is_a_fair_bet))
