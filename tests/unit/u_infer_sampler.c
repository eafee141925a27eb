/* Sampling against its definition: which ids may come, how often, and the same ones for a seed. */
#include "unit.h"

#include "base/rng.h"
#include "infer/sampler.h"

#include <math.h>
#include <string.h>

enum { VOCAB = 50, DRAWS = 20000 };

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static void make_logits(float *logits, uint64_t stream) {
    struct rng r;
    rng_init_stream(&r, unit_seed(), stream);
    for (int i = 0; i < VOCAB; i++) logits[i] = (float)(2 * rng_normal(&r));
}

/* Probabilities after the filters, by sorting: the slow way that the header describes. */
static void reference(const struct sampling *o, const float *logits, double *p) {
    int order[VOCAB];
    double sum = 0, reached = 0;
    for (int i = 0; i < VOCAB; i++) {
        int at = i;
        while (at > 0 && logits[order[at - 1]] < logits[i]) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    int count = o->top_k > 0 && o->top_k < VOCAB ? (int)o->top_k : VOCAB;
    memset(p, 0, VOCAB * sizeof *p);
    for (int i = 0; i < count; i++) p[order[i]] = exp(logits[order[i]] / o->temperature);
    for (int i = 0; i < VOCAB; i++) sum += p[i];
    for (int i = 0; i < count; i++) {
        double own = p[order[i]];
        if (o->top_p > 0 && o->top_p < 1 && reached >= o->top_p * sum) p[order[i]] = 0;
        reached += own;
    }
    for (int i = 0; i < VOCAB; i++)
        if (p[i] < o->min_p * p[order[0]]) p[i] = 0;
    sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += p[i];
    for (int i = 0; i < VOCAB; i++) p[i] /= sum;
}

static void draws_follow_the_definition(void **state) {
    (void)state;
    static const struct sampling cases[] = {
        {.temperature = 1},
        {.temperature = 0.5, .top_p = 1},
        {.temperature = 1, .top_k = 5},
        {.temperature = 2, .top_k = 500},
        {.temperature = 1, .top_p = 0.7},
        {.temperature = 1, .top_p = 1e-9},
        {.temperature = 1.5, .top_k = 12, .top_p = 0.8},
        {.temperature = 1, .min_p = 0.2},
        {.temperature = 0.8, .top_k = 20, .top_p = 0.95, .min_p = 0.05},
    };
    struct err err;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct sampling o = cases[c];
        struct sampler s;
        float logits[VOCAB];
        double p[VOCAB];
        int seen[VOCAB] = {0};
        o.seed = unit_seed() + c;
        make_logits(logits, c);
        reference(&o, logits, p);
        check(sampler_init(&s, &o, VOCAB, &err), &err);
        for (int i = 0; i < DRAWS; i++) seen[sampler_pick(&s, logits)]++;
        sampler_release(&s);
        for (int i = 0; i < VOCAB; i++) {
            double deviation = sqrt(p[i] * (1 - p[i]) / DRAWS);
            double difference = fabs((double)seen[i] / DRAWS - p[i]);
            if (p[i] == 0 ? seen[i] != 0 : difference > 5 * deviation + 1e-4)
                fail_msg("case %zu, id %d: %d of %d draws at p = %f", c, i, seen[i], DRAWS, p[i]);
        }
    }
}

static void greedy_takes_the_lowest_of_equals(void **state) {
    (void)state;
    struct err err;
    struct sampler s;
    float ties[5] = {1, 3, NAN, 3, 2}, nothing[3] = {NAN, NAN, NAN}, first[3] = {NAN, -1, -2};
    check(sampler_init(&s, &(struct sampling){0}, 5, &err), &err);
    assert_int_equal(sampler_pick(&s, ties), 1);
    sampler_release(&s);
    check(sampler_init(&s, &(struct sampling){.temperature = 1}, 3, &err), &err);
    assert_int_equal(sampler_pick(&s, nothing), 0);
    for (int i = 0; i < 50; i++) assert_int_not_equal(sampler_pick(&s, first), 0);
    sampler_release(&s);
}

static void a_seed_repeats(void **state) {
    (void)state;
    struct err err;
    float logits[VOCAB];
    int32_t ids[2][40], other = 0;
    make_logits(logits, 77);
    for (int run = 0; run < 3; run++) {
        struct sampler s;
        struct sampling o = {.temperature = 1, .top_p = 0.9, .seed = run == 2 ? 6 : 5};
        check(sampler_init(&s, &o, VOCAB, &err), &err);
        for (int i = 0; i < 40; i++) {
            int32_t id = sampler_pick(&s, logits);
            if (run < 2)
                ids[run][i] = id;
            else
                other += id != ids[0][i];
        }
        sampler_release(&s);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_true(other > 0);
}

static void options_out_of_range_are_named(void **state) {
    (void)state;
    static const struct {
        struct sampling o;
        const char *said;
    } cases[] = {
        {{.temperature = -0.1}, "temperature is -0.1"},
        {{.temperature = NAN}, "temperature"},
        {{.top_p = 1.5}, "top_p is 1.5"},
        {{.min_p = -1}, "min_p is -1"},
        {{.top_k = -3}, "top_k is -3"},
    };
    struct err err;
    struct sampler s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(sampler_init(&s, &cases[i].o, VOCAB, &err), ERR_INVALID);
        if (!strstr(err.msg, cases[i].said)) fail_msg("%s", err.msg);
    }
}

UNIT_TESTS(infer_sampler, cmocka_unit_test(draws_follow_the_definition),
           cmocka_unit_test(greedy_takes_the_lowest_of_equals), cmocka_unit_test(a_seed_repeats),
           cmocka_unit_test(options_out_of_range_are_named))
