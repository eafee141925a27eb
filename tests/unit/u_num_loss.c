#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "num/loss.h"

#include <math.h>
#include <string.h>

/* The loss against its definition in double, its gradients against central differences of that. */

struct shape {
    int64_t rows, dim, vocab;
};
static const struct shape shapes[] = {{1, 1, 1}, {3, 5, 7}, {1, 16, 33}, {7, 9, 130}, {300, 4, 21}};

struct problem {
    struct loss l;
    float *hidden, *head, *weight, *nll, *dhidden, *dhead;
    int32_t *target;
    uint8_t *correct;
};

static float *random_floats(struct rng *r, int64_t n) {
    float *p = mem_alloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++) p[i] = (float)rng_normal(r);
    return p;
}

static void problem_init(struct problem *p, const struct shape *s) {
    struct rng r;
    rng_init(&r, 5);
    p->hidden = random_floats(&r, s->rows * s->dim);
    p->head = random_floats(&r, s->vocab * s->dim);
    p->weight = random_floats(&r, s->rows);
    p->nll = random_floats(&r, s->rows);
    p->dhidden = random_floats(&r, s->rows * s->dim);
    p->dhead = random_floats(&r, s->vocab * s->dim);
    p->target = mem_alloc((size_t)s->rows * sizeof *p->target);
    for (int64_t i = 0; i < s->rows; i++) p->target[i] = (int32_t)rng_below(&r, (uint64_t)s->vocab);
    for (int64_t i = 0; i < s->vocab * s->dim; i++) p->dhead[i] = 1;
    p->weight[0] = 0;
    p->correct = mem_zalloc((size_t)s->rows, 1);
    p->l = (struct loss){.rows = s->rows,
                         .dim = s->dim,
                         .vocab = s->vocab,
                         .hidden = p->hidden,
                         .head = {p->head, NUM_F32, s->dim},
                         .target = p->target,
                         .weight = p->weight,
                         .grad_scale = 0.25f,
                         .nll = p->nll,
                         .dhidden = p->dhidden,
                         .dhead = p->dhead,
                         .correct = p->correct};
}

static void problem_release(struct problem *p) {
    float *all[] = {p->hidden, p->head, p->weight, p->nll, p->dhidden, p->dhead};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    mem_free(p->target);
    mem_free(p->correct);
}

static struct num *num_with(enum num_isa isa, int threads) {
    return num_new(&(struct num_options){.threads = threads, .compute = NUM_F32, .isa = isa});
}

static double row_nll(const struct problem *p, int64_t row, bool *ret_correct) {
    const struct loss *l = &p->l;
    double sum = 0, target = 0, top = -INFINITY;
    for (int64_t v = 0; v < l->vocab; v++) {
        double x = 0;
        for (int64_t i = 0; i < l->dim; i++)
            x += (double)p->hidden[row * l->dim + i] * (double)p->head[v * l->dim + i];
        sum += exp(x);
        if (x > top) top = x;
        if (v == l->target[row]) target = x;
    }
    if (ret_correct) *ret_correct = target == top;
    return log(sum) - target;
}

static double total(const struct problem *p, int64_t from, int64_t to) {
    double sum = 0;
    for (int64_t r = from; r < to; r++)
        sum += row_nll(p, r, NULL) * (double)p->weight[r] * (double)p->l.grad_scale;
    return sum;
}

/* the derivative of the weighted loss of rows [from, to) by *x; floats that are exactly x +- h */
static double slope(const struct problem *p, float *x, int64_t from, int64_t to) {
    float keep = *x, up = keep + 1e-3f, down = keep - 1e-3f;
    *x = up;
    double high = total(p, from, to);
    *x = down;
    double low = total(p, from, to);
    *x = keep;
    return (high - low) / ((double)up - (double)down);
}

static void check(struct problem *p, const char *isa) {
    const struct loss *l = &p->l;
    for (int64_t r = 0; r < l->rows; r++) {
        bool correct;
        double want = row_nll(p, r, &correct);
        assert_int_equal(p->correct[r], correct);
        if (!(fabs((double)p->nll[r] - want) <= 2e-6 * (1 + want)))
            fail_msg("%s: nll of row %lld is %.8g, not %.8g", isa, (long long)r, (double)p->nll[r],
                     want);
    }
    for (int64_t i = 0; i < l->rows * l->dim; i++) {
        double want = slope(p, &p->hidden[i], i / l->dim, i / l->dim + 1);
        assert_true(fabs((double)p->dhidden[i] - want) <= 2e-6);
    }
    for (int64_t i = 0; i < l->vocab * l->dim && l->rows < 50; i++) {
        double want = 1 + slope(p, &p->head[i], 0, l->rows);
        assert_true(fabs((double)p->dhead[i] - want) <= 4e-6);
    }
}

static void loss_is_its_definition(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (enum num_isa isa = NUM_SCALAR; isa < NUM_ISA_COUNT; isa++) {
            if (!num_isa_available(isa)) continue;
            struct num *num = num_with(isa, 2);
            struct problem p;
            problem_init(&p, &shapes[s]);
            loss_run(num, &p.l);
            check(&p, num_isa_name(isa));
            problem_release(&p);
            num_free(num);
        }
}

static void loss_has_the_same_bits_at_any_thread_count(void **state) {
    (void)state;
    static const struct shape shape = {270, 12, 600};
    struct problem one, more;
    problem_init(&one, &shape);
    struct num *num = num_with(num_isa_best(), 1);
    loss_run(num, &one.l);
    struct loss forward = one.l; /* without gradients, one row at a time: the same */
    float nll = 0;
    forward.dhidden = forward.dhead = NULL, forward.rows = 1, forward.nll = &nll;
    for (int64_t r = 0; r < shape.rows; r++) {
        forward.hidden = one.hidden + r * shape.dim;
        forward.target = one.target + r;
        loss_run(num, &forward);
        assert_true(nll == one.nll[r]);
    }
    num_free(num);
    for (int threads = 2; threads <= 3; threads++) {
        problem_init(&more, &shape);
        num = num_with(num_isa_best(), threads);
        loss_run(num, &more.l);
        assert_memory_equal(more.nll, one.nll, (size_t)shape.rows * sizeof(float));
        assert_memory_equal(more.correct, one.correct, (size_t)shape.rows);
        assert_memory_equal(more.dhidden, one.dhidden, (size_t)(shape.rows * shape.dim) * 4);
        assert_memory_equal(more.dhead, one.dhead, (size_t)(shape.vocab * shape.dim) * 4);
        num_free(num);
        problem_release(&more);
    }
    problem_release(&one);
}

static void a_diverged_row_is_nan_and_leaves_the_others_alone(void **state) {
    (void)state;
    static const struct shape shape = {3, 4, 40};
    struct num *num = num_with(num_isa_best(), 1);
    struct problem p;
    problem_init(&p, &shape);
    p.hidden[shape.dim] = NAN;
    loss_run(num, &p.l);
    assert_true(isnan(p.nll[1]) && isfinite(p.nll[0]) && isfinite(p.nll[2]));
    problem_release(&p);
    num_free(num);
}

/* of equal largest logits the first one is what the model would choose */
static void a_tie_goes_to_the_first_token(void **state) {
    (void)state;
    static const float hidden[4] = {1, 1, 1, 1}, head[5] = {1, 3, 2, 3, 3};
    static const int32_t target[4] = {1, 3, 4, 2};
    static const uint8_t want[4] = {1, 0, 0, 0};
    for (enum num_isa isa = NUM_SCALAR; isa < NUM_ISA_COUNT; isa++) {
        if (!num_isa_available(isa)) continue;
        struct num *num = num_with(isa, 1);
        uint8_t correct[4] = {7, 7, 7, 7};
        loss_run(num, &(struct loss){.rows = 4,
                                     .dim = 1,
                                     .vocab = 5,
                                     .hidden = hidden,
                                     .head = {head, NUM_F32, 1},
                                     .target = target,
                                     .correct = correct});
        assert_memory_equal(correct, want, sizeof want);
        num_free(num);
    }
}

static void a_block_stays_within_its_budget(void **state) {
    (void)state;
    assert_int_equal(loss_block_rows(5, 151936), 5);
    assert_int_equal(loss_block_rows(5000, 151936), 96); /* 55.6 MiB */
    assert_int_equal(loss_block_rows(5000, 10000000), 16);
    assert_int_equal(loss_block_rows(5000, 100), 256);
}

UNIT_TESTS(num_loss, cmocka_unit_test(loss_is_its_definition),
           cmocka_unit_test(loss_has_the_same_bits_at_any_thread_count),
           cmocka_unit_test(a_diverged_row_is_nan_and_leaves_the_others_alone),
           cmocka_unit_test(a_tie_goes_to_the_first_token),
           cmocka_unit_test(a_block_stays_within_its_budget))
