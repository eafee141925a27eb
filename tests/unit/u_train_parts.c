/* The parts of a job that are arithmetic: defaults, schedule, split, order, micro-batches, plot. */
#include "unit.h"

#include "base/mem.h"
#include "train/dataset.h"
#include "train/job.h"
#include "train/optim.h"
#include "train/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct train_options automatic(void) {
    return (struct train_options){.base = "b",
                                  .data = "d",
                                  .out = "o",
                                  .dropout = -1,
                                  .warmup_steps = -1,
                                  .weight_decay = -1,
                                  .clip = -1,
                                  .holdout = -1};
}

static void defaults_follow_the_row_count(void **state) {
    (void)state;
    static const struct {
        int64_t rows, rank, alpha, batch, epochs, held;
    } cases[] = {{6, 8, 16, 4, 8, 0},         {10, 8, 16, 4, 8, 5},       {99, 8, 16, 4, 8, 19},
                 {100, 16, 32, 8, 3, 10},     {600, 16, 32, 8, 3, 60},    {1000, 32, 32, 16, 2, 50},
                 {15000, 32, 32, 16, 2, 500}, {50000, 64, 64, 16, 1, 500}};
    struct model_config smol = {.dim = 576};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job j = {.o = automatic()};
        struct err err;
        assert_int_equal(job_resolve(&j, &smol, cases[i].rows, NULL, &err), 0);
        assert_int_equal(j.o.rank, cases[i].rank);
        assert_int_equal(j.o.batch_size, cases[i].batch);
        assert_int_equal(j.o.epochs, cases[i].epochs);
        assert_int_equal(j.hold_out, cases[i].held);
        assert_true(j.o.alpha == (double)cases[i].alpha);
        assert_true(fabs(j.o.lr - 5e-4) < 1e-9);
    }
}

static void learning_rate_follows_the_width(void **state) {
    (void)state;
    static const struct {
        int64_t dim;
        double lr;
        const char *family;
    } cases[] = {{128, 1e-3, "llama"},      {256, 1e-3, "llama"},      {576, 5e-4, "llama"},
                 {2048, 4.908e-4, "llama"}, {4096, 2.856e-4, "llama"}, {65536, 1e-4, "llama"},
                 {896, 5e-4, "qwen2"},      {2560, 4.905e-4, "qwen3"}, {5120, 4.649e-4, "qwen2"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job j = {.o = automatic()};
        struct model_config c = {.dim = cases[i].dim};
        struct err err;
        memcpy(c.family, cases[i].family, strlen(cases[i].family) + 1);
        assert_int_equal(job_resolve(&j, &c, 500, NULL, &err), 0);
        if (fabs(j.o.lr / cases[i].lr - 1) > 1e-3)
            fail_msg("dim %d: lr %g", (int)cases[i].dim, j.o.lr);
    }
}

static void pairs_train_slower_and_shorter(void **state) {
    (void)state;
    struct model_config c = {.dim = 576};
    struct err err;
    struct job j = {.o = automatic()};
    j.o.objective = OBJECTIVE_DPO;
    assert_int_equal(job_resolve(&j, &c, 50, NULL, &err), 0);
    assert_true(fabs(j.o.lr - 5e-5) < 1e-10);
    assert_int_equal(j.o.epochs, 3);
    j.o = automatic();
    j.o.objective = OBJECTIVE_DPO;
    j.o.lr_factor = 2;
    assert_int_equal(job_resolve(&j, &c, 50000, NULL, &err), 0);
    assert_true(fabs(j.o.lr - 1e-4) < 1e-10);
    assert_int_equal(j.o.epochs, 1);
}

static void steps_hold_nothing_out(void **state) {
    (void)state;
    struct job j = {.o = automatic()};
    struct model_config c = {.dim = 64};
    struct err err;
    j.o.steps = 20;
    j.o.batch_size = 8;
    assert_int_equal(job_resolve(&j, &c, 50, NULL, &err), 0);
    job_resolve_steps(&j, 50);
    assert_int_equal(j.hold_out, 0);
    assert_int_equal(j.valid_every, 0);
    assert_int_equal(j.steps, 20);
    assert_int_equal(j.epoch_steps, 7);
}

static void a_given_rank_has_twice_its_alpha(void **state) {
    (void)state;
    struct job j = {.o = automatic()};
    struct model_config c = {.dim = 64};
    struct err err;
    j.o.rank = 24;
    assert_int_equal(job_resolve(&j, &c, 5000, NULL, &err), 0);
    assert_true(j.o.alpha == 48);
}

static void init_decides_rank_and_targets(void **state) {
    (void)state;
    struct adapter_meta init = {.rank = 4, .alpha = 6, .targets = 5};
    struct model_config c = {.dim = 64};
    struct err err;
    struct job j = {.o = automatic()};
    assert_int_equal(job_resolve(&j, &c, 50, &init, &err), 0);
    assert_int_equal(j.o.rank, 4);
    assert_int_equal(j.o.targets, 5);
    j.o = automatic();
    j.o.rank = 8;
    assert_int_equal(job_resolve(&j, &c, 50, &init, &err), ERR_USAGE);
    j.o = automatic();
    j.o.targets = (1u << LIN_COUNT) - 1;
    assert_int_equal(job_resolve(&j, &c, 50, &init, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "--targets"));
    j.o = automatic();
    j.o.rslora = true;
    assert_int_equal(job_resolve(&j, &c, 50, &init, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "--rslora"));
}

static void a_warm_up_may_be_longer_than_the_job(void **state) {
    (void)state;
    struct job j = {.o = automatic()};
    struct model_config c = {.dim = 64};
    struct err err;
    j.o.steps = 4;
    j.o.warmup_steps = 100;
    j.o.lr = 1e-3;
    assert_int_equal(job_resolve(&j, &c, 50, NULL, &err), 0);
    job_resolve_steps(&j, 50);
    struct optim o = {.lr = j.o.lr, .warmup_steps = j.o.warmup_steps, .steps = j.steps};
    assert_true(fabs(optim_lr(&o, 1) - 1e-5) < 1e-15);
    assert_true(fabs(optim_lr(&o, 4) - 4e-5) < 1e-15);
}

static void schedule_warms_up_and_ends_at_a_tenth(void **state) {
    (void)state;
    struct optim o = {.lr = 1, .warmup_steps = 4, .steps = 24};
    static const struct {
        enum train_schedule schedule;
        int64_t step;
        double lr;
    } cases[] = {
        {SCHEDULE_COSINE, 1, 0.25}, {SCHEDULE_COSINE, 4, 1},      {SCHEDULE_COSINE, 14, 0.55},
        {SCHEDULE_COSINE, 24, 0.1}, {SCHEDULE_LINEAR, 2, 0.5},    {SCHEDULE_LINEAR, 14, 0.55},
        {SCHEDULE_LINEAR, 24, 0.1}, {SCHEDULE_CONSTANT, 3, 0.75}, {SCHEDULE_CONSTANT, 24, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.schedule = cases[i].schedule;
        assert_true(fabs(optim_lr(&o, cases[i].step) - cases[i].lr) < 1e-12);
    }
}

/* rows of the given lengths; equal contents where `same` repeats */
static struct dataset make_rows(const int *lengths, const int *same, int64_t count, int32_t *ids) {
    struct dataset d = {
        .count = count, .per_row = 1, .list = mem_zalloc((size_t)count, sizeof *d.list)};
    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < lengths[i]; k++) ids[i * 64 + k] = same[i] * 1000 + k;
        d.list[i] = (struct sample){.ids = ids + i * 64, .n = lengths[i]};
    }
    return d;
}

static void equal_rows_are_never_on_both_sides(void **state) {
    (void)state;
    int lengths[40], same[40];
    int32_t ids[40 * 64];
    for (int i = 0; i < 40; i++) lengths[i] = 10, same[i] = i / 4;
    struct dataset d = make_rows(lengths, same, 40, ids);
    struct split s;
    split_make(&d, 3, 5, &s);
    assert_int_equal(s.valid_count, 8); /* whole families of four */
    bool held[10] = {false};
    for (int64_t i = 0; i < s.valid_count; i++) held[s.valid[i] / 4] = true;
    for (int64_t i = 0; i < s.train_count; i++) assert_false(held[s.train[i] / 4]);
    split_release(&s);
    mem_free(d.list);
}

static void an_epoch_has_every_row_once(void **state) {
    (void)state;
    int64_t rows[7] = {0, 1, 2, 4, 5, 6, 9}, a[7], b[7], again[7], sum = 0;
    struct split s = {.train = rows, .train_count = 7};
    epoch_order(&s, 1, 0, true, a);
    epoch_order(&s, 1, 1, true, b);
    epoch_order(&s, 1, 0, true, again);
    assert_memory_equal(a, again, sizeof a);
    assert_memory_not_equal(a, b, sizeof a);
    for (int i = 0; i < 7; i++) sum += 1 << a[i];
    assert_int_equal(sum, 1 + 2 + 4 + 16 + 32 + 64 + 512);
    epoch_order(&s, 1, 5, false, a);
    assert_memory_equal(a, rows, sizeof a);
}

static void micro_batches_stay_within_their_tokens(void **state) {
    (void)state;
    static const int lengths[8] = {11, 31, 51, 6, 21, 61, 9, 30};
    static const int64_t expect[] = {2, 1, 2, 1, 2}; /* 40; 50, an even share; 25; 60 alone; 37 */
    const struct sample *rows[8];
    struct sample list[8];
    for (int i = 0; i < 8; i++) list[i] = (struct sample){.n = lengths[i]}, rows[i] = &list[i];
    int64_t at = 0;
    for (size_t k = 0; k < sizeof expect / sizeof *expect; k++) {
        struct micro m = micro_next(rows + at, 8 - at, 56, false);
        assert_int_equal(m.count, expect[k]);
        at += m.count;
    }
    assert_int_equal(at, 8);
    assert_int_equal(micro_next(rows + 5, 1, 10, false).count, 1); /* a long row goes alone */
}

static void plot_draws_what_it_gets(void **state) {
    (void)state;
    struct plot_point steps[] = {{1, 4}, {2, 3}, {3, NAN}, {4, 0.1}},
                      valid[] = {{2, 3.2}, {4, 0.3}};
    struct buf b;
    buf_init(&b, 1 << 16);
    plot_svg(&(struct plot){.steps = steps,
                            .step_count = 4,
                            .valid = valid,
                            .valid_count = 2,
                            .best_step = 4,
                            .title = "a<b"},
             &b);
    assert_true(buf_ok(&b));
    assert_non_null(strstr(b.p, "a&lt;b"));
    assert_non_null(strstr(b.p, "class=\"best\""));
    assert_null(strstr(b.p, "nan"));
    buf_clear(&b);
    plot_svg(&(struct plot){.title = "nothing yet"}, &b);
    assert_null(strstr(b.p, "inf"));
    buf_release(&b);
}

UNIT_TESTS(train_parts, cmocka_unit_test(defaults_follow_the_row_count),
           cmocka_unit_test(learning_rate_follows_the_width),
           cmocka_unit_test(pairs_train_slower_and_shorter),
           cmocka_unit_test(steps_hold_nothing_out),
           cmocka_unit_test(a_given_rank_has_twice_its_alpha),
           cmocka_unit_test(init_decides_rank_and_targets),
           cmocka_unit_test(a_warm_up_may_be_longer_than_the_job),
           cmocka_unit_test(schedule_warms_up_and_ends_at_a_tenth),
           cmocka_unit_test(equal_rows_are_never_on_both_sides),
           cmocka_unit_test(an_epoch_has_every_row_once),
           cmocka_unit_test(micro_batches_stay_within_their_tokens),
           cmocka_unit_test(plot_draws_what_it_gets))
