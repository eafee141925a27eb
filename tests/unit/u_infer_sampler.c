/* Sampling against its definition: which ids may come, how often, and the same ones for a seed. */
#include "unit.h"

#include "base/rng.h"
#include "infer/logprobs.h"
#include "infer/sampler.h"

#include <math.h>
#include <string.h>

enum { VOCAB = 50, DRAWS = 20000 };

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static struct num *open_num(void) {
    return num_new(&(struct num_options){.threads = 1, .compute = NUM_F32, .isa = num_isa_best()});
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
    struct num *num = open_num();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct sampling o = cases[c];
        struct sampler s;
        float logits[VOCAB];
        double p[VOCAB];
        int seen[VOCAB] = {0};
        o.seed = unit_seed() + c;
        make_logits(logits, c);
        reference(&o, logits, p);
        check(sampler_init(&s, num, &o, VOCAB, &err), &err);
        for (int i = 0; i < DRAWS; i++) seen[sampler_pick(&s, logits, NULL)]++;
        sampler_release(&s);
        for (int i = 0; i < VOCAB; i++) {
            double deviation = sqrt(p[i] * (1 - p[i]) / DRAWS);
            double difference = fabs((double)seen[i] / DRAWS - p[i]);
            if (p[i] == 0 ? seen[i] != 0 : difference > 5 * deviation + 1e-4)
                fail_msg("case %zu, id %d: %d of %d draws at p = %f", c, i, seen[i], DRAWS, p[i]);
        }
    }
    num_free(num);
}

static void greedy_takes_the_lowest_of_equals(void **state) {
    (void)state;
    struct err err;
    struct sampler s;
    struct num *num = open_num();
    float ties[19] = {1, 3, -INFINITY, 3, 2, [18] = 3},
          nothing[3] = {-INFINITY, -INFINITY, -INFINITY};
    check(sampler_init(&s, num, &(struct sampling){0}, 19, &err), &err);
    assert_int_equal(sampler_pick(&s, ties, NULL), 1);
    sampler_release(&s);
    check(sampler_init(&s, num, &(struct sampling){.temperature = 1}, 3, &err), &err);
    assert_int_equal(sampler_pick(&s, nothing, NULL), -1);
    sampler_release(&s);
    num_free(num);
}

static void a_seed_repeats(void **state) {
    (void)state;
    struct err err;
    struct num *num = open_num();
    float logits[VOCAB];
    int32_t ids[2][40], other = 0;
    make_logits(logits, 77);
    for (int run = 0; run < 3; run++) {
        struct sampler s;
        struct sampling o = {.temperature = 1, .top_p = 0.9, .seed = run == 2 ? 6 : 5};
        check(sampler_init(&s, num, &o, VOCAB, &err), &err);
        for (int i = 0; i < 40; i++) {
            int32_t id = sampler_pick(&s, logits, NULL);
            if (run < 2)
                ids[run][i] = id;
            else
                other += id != ids[0][i];
        }
        sampler_release(&s);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_true(other > 0);
    num_free(num);
}

/* Many ids, more than a run of the sums, some all but impossible: each filter against sorting. */
static void a_large_vocabulary_is_filtered_alike(void **state) {
    (void)state;
    enum { MANY = 5003 };
    static float logits[MANY], row[MANY];
    static const struct sampling cases[] = {
        {.temperature = 1},
        {.temperature = 1, .top_k = 3},
        {.temperature = 1, .top_p = 0.5},
        {.temperature = 3, .top_p = 0.9},
        {.temperature = 0.3, .min_p = 0.5},
        {.temperature = 1, .top_k = 100, .top_p = 0.3},
    };
    struct err err;
    struct rng r;
    struct num *num = open_num();
    rng_init_stream(&r, unit_seed(), 31);
    for (int i = 0; i < MANY; i++) logits[i] = (float)(5 * rng_normal(&r));
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct sampling o = cases[c];
        struct sampler s;
        double top = -INFINITY, sum = 0;
        o.seed = unit_seed() + c;
        for (int i = 0; i < MANY; i++) top = fmax(top, (double)logits[i]);
        for (int i = 0; i < MANY; i++) sum += exp((logits[i] - top) / o.temperature);
        check(sampler_init(&s, num, &o, MANY, &err), &err);
        for (int d = 0; d < 200; d++) {
            memcpy(row, logits, sizeof row);
            int32_t id = sampler_pick(&s, row, NULL);
            assert_in_range(id, 0, MANY - 1);
            double mine = exp((logits[id] - top) / o.temperature), above = 0;
            int better = 0;
            for (int i = 0; i < MANY; i++)
                if (logits[i] > logits[id]) {
                    above += exp((logits[i] - top) / o.temperature);
                    better++;
                }
            if (o.top_k) assert_true(better < o.top_k);
            if (o.top_p > 0) assert_true(above < o.top_p * sum * (1 + 1e-5));
            assert_true(mine >= o.min_p * (1 - 1e-5));
        }
        sampler_release(&s);
    }
    num_free(num);
}

static int32_t pick_with(struct num *num, const struct sampling *o, const float *logits,
                         const uint64_t *allowed, int times) {
    struct err err;
    struct sampler s;
    int32_t id = -2;
    check(sampler_init(&s, num, o, VOCAB, &err), &err);
    for (int i = 0; i < times; i++) {
        float row[VOCAB];
        memcpy(row, logits, sizeof row);
        id = sampler_pick(&s, row, allowed);
    }
    sampler_release(&s);
    return id;
}

static void biases_and_masks_decide(void **state) {
    (void)state;
    struct num *num = open_num();
    float logits[VOCAB] = {[3] = 5, [7] = 4, [9] = 3, [11] = -500};
    struct logit_bias up = {9, 1.5f}, most[2] = {{11, 100}, {12, 3}}, never = {3, -100};
    struct logit_bias both[2] = {{11, 100}, {7, 100}};
    const double hot = 1;
    uint64_t only_9 = 1u << 9, none = 0;
    assert_int_equal(pick_with(num, &(struct sampling){0}, logits, NULL, 1), 3);
    assert_int_equal(
        pick_with(num, &(struct sampling){.bias = &never, .bias_count = 1}, logits, NULL, 1), 7);
    assert_int_equal(
        pick_with(num, &(struct sampling){.bias = &up, .bias_count = 1}, logits, NULL, 1), 3);
    for (int i = 0; i < 20; i++) /* however unlikely, and at any temperature */
        assert_int_equal(
            pick_with(num,
                      &(struct sampling){
                          .temperature = hot, .seed = (uint64_t)i, .bias = most, .bias_count = 2},
                      logits, NULL, 1),
            11);
    assert_int_equal(
        pick_with(num, &(struct sampling){.bias = both, .bias_count = 2}, logits, NULL, 1), 7);
    assert_int_equal(pick_with(num, &(struct sampling){0}, logits, &only_9, 1), 9);
    assert_int_equal(/* what is not allowed is not forced */
                     pick_with(num, &(struct sampling){.bias = most, .bias_count = 2}, logits,
                               &only_9, 1),
                     9);
    assert_int_equal(pick_with(num, &(struct sampling){0}, logits, &none, 1), -1);
    num_free(num);
}

static void penalties_follow_the_count(void **state) {
    (void)state;
    struct num *num = open_num();
    float logits[VOCAB] = {[3] = 5, [7] = 4.2f};
    struct sampling presence = {.presence_penalty = 1}, frequency = {.frequency_penalty = 0.5};
    assert_int_equal(pick_with(num, &presence, logits, NULL, 1), 3);
    assert_int_equal(pick_with(num, &presence, logits, NULL, 2), 7);
    assert_int_equal(pick_with(num, &presence, logits, NULL, 3), 3); /* both by the same */
    assert_int_equal(pick_with(num, &frequency, logits, NULL, 2), 3);
    assert_int_equal(pick_with(num, &frequency, logits, NULL, 3), 7); /* 5 - 2 · 0.5 */
    num_free(num);
}

static void logprobs_are_those_of_softmax(void **state) {
    (void)state;
    struct num *num = open_num();
    float logits[VOCAB];
    struct token_logprob top[8];
    double sum = 0;
    make_logits(logits, 5);
    logits[20] = logits[30] = 9; /* equals: the lower id first */
    for (int i = 0; i < VOCAB; i++) sum += exp(logits[i]);
    float norm = logprobs_norm(num, logits, VOCAB);
    assert_true(fabs(norm - log(sum)) < 1e-5);
    assert_int_equal(logprobs_top(logits, VOCAB, norm, 8, top), 8);
    assert_int_equal(top[0].id, 20);
    assert_int_equal(top[1].id, 30);
    for (int i = 0; i < 8; i++) {
        int better = 0;
        for (int j = 0; j < VOCAB; j++) better += logits[j] > logits[top[i].id];
        assert_int_equal(better, i == 1 ? 0 : i);
        assert_true(top[i].logprob == logits[top[i].id] - norm);
    }
    assert_int_equal(logprobs_top(logits, 3, norm, 8, top), 3);
    assert_int_equal(logprobs_top(logits, 3, norm, 0, top), 0);
    num_free(num);
}

static void options_out_of_range_are_named(void **state) {
    (void)state;
    static const struct logit_bias far = {1, 101}, unknown = {VOCAB, 1};
    static const struct {
        struct sampling o;
        const char *said;
    } cases[] = {
        {{.temperature = -0.1}, "temperature is -0.1"},
        {{.temperature = NAN}, "temperature"},
        {{.top_p = 1.5}, "top_p is 1.5"},
        {{.min_p = -1}, "min_p is -1"},
        {{.top_k = -3}, "top_k is -3"},
        {{.presence_penalty = 2.5}, "presence_penalty is 2.5"},
        {{.frequency_penalty = -3}, "frequency_penalty is -3"},
        {{.bias = &far, .bias_count = 1}, "logit_bias is 101"},
        {{.bias = &unknown, .bias_count = 1}, "logit_bias names token 50"},
    };
    struct err err;
    struct sampler s;
    struct num *num = open_num();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(sampler_init(&s, num, &cases[i].o, VOCAB, &err), ERR_INVALID);
        if (!strstr(err.msg, cases[i].said)) fail_msg("%s", err.msg);
    }
    num_free(num);
}

UNIT_TESTS(infer_sampler, cmocka_unit_test(draws_follow_the_definition),
           cmocka_unit_test(greedy_takes_the_lowest_of_equals), cmocka_unit_test(a_seed_repeats),
           cmocka_unit_test(a_large_vocabulary_is_filtered_alike),
           cmocka_unit_test(biases_and_masks_decide), cmocka_unit_test(penalties_follow_the_count),
           cmocka_unit_test(logprobs_are_those_of_softmax),
           cmocka_unit_test(options_out_of_range_are_named))
