/* Preference pairs: against TRL's DPOTrainer (tests/parity/make_dpo.py), and that the bytes depend
 * on nothing but the job. */
#include "train_jobs.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BASE "tests/fixtures/train/llama"
#define FIXTURE "tests/fixtures/train/dpo"
#define PAIRS FIXTURE "/pairs.jsonl"
#define TOLERANCE 1e-4
#define STEPS 12

static struct train_options options(const char *out) {
    return (struct train_options){.base = BASE,
                                  .data = PAIRS,
                                  .out = out,
                                  .init = BASE "/adapter",
                                  .beta = 0.3,
                                  .dropout = -1,
                                  .lr = 5e-3,
                                  .schedule = SCHEDULE_CONSTANT,
                                  .weight_decay = 0.01,
                                  .clip = 1,
                                  .epochs = 4,
                                  .holdout = 0,
                                  .batch_size = 4,
                                  .no_shuffle = true,
                                  .seed = 7,
                                  .threads = 1,
                                  .dtype = NUM_F32};
}

static void must_run(const struct train_options *o, const struct train_events *events,
                     struct train_result *ret) {
    struct err err;
    if (train_run(o, events, NULL, ret, &err)) fail_msg("%s", err.msg);
}

/* --- TRL --- */

static struct tensors *open_fixture(const char *reference) {
    char path[200];
    struct tensors *t;
    struct err err;
    snprintf(path, sizeof path, FIXTURE "/%s.safetensors", reference);
    assert_int_equal(tensors_open(path, &t, &err), 0);
    return t;
}

static double fixture_at(const struct tensors *t, const char *name, int64_t step) {
    const struct tensor *w = tensors_find(t, name);
    assert_non_null(w);
    assert_int_equal(w->shape[0], STEPS);
    return (double)((const float *)w->data)[step - 1];
}

static void expect_near(double got, double want, double scale, const char *what, int64_t step) {
    if (!(fabs(got - want) <= TOLERANCE * scale))
        fail_msg("step %d: %s is %.9g, not %.9g", (int)step, what, got, want);
}

static double worst_loss; /* largest relative difference */

static void expect_step(const struct tensors *want, int64_t step, double loss, double accuracy,
                        const struct train_rewards *r) {
    double of_loss = fixture_at(want, "losses", step);
    worst_loss = fmax(worst_loss, fabs(loss / of_loss - 1));
    expect_near(loss, of_loss, of_loss, "loss", step);
    expect_near(r->chosen, fixture_at(want, "chosen", step), 1, "reward of the preferred", step);
    expect_near(r->rejected, fixture_at(want, "rejected", step), 1, "reward of the other", step);
    expect_near(r->margin, fixture_at(want, "margins", step), 1, "margin", step);
    expect_near(accuracy, fixture_at(want, "accuracies", step), 1, "accuracy", step);
}

static void compare_step(void *ctx, const struct train_step *s) {
    double norm = fixture_at(ctx, "grad_norms", s->step);
    expect_step(ctx, s->step, s->loss, s->accuracy, &s->rewards);
    expect_near(s->grad_norm, norm, norm, "gradient's norm", s->step);
    assert_int_equal(s->rows, s->step % 3 ? 4 : 3);
}

/* with --init TRL too takes the adapter as it was for the reference */
static void a_whole_job_follows_trl(void **state) {
    (void)state;
    struct tensors *want = open_fixture("start");
    char *out = in_dir("dpo-trl");
    struct train_options o = options(out);
    struct train_events events = {.ctx = want, .step = compare_step};
    struct train_result r;
    must_run(&o, &events, &r);
    assert_int_equal(r.steps, STEPS);
    tensors_close(want);
    mem_free(out);
}

struct setting {
    const char *reference; /* "base": with the adapter off */
    enum num_isa isa;
    int threads;
    int64_t micro_tokens;
    bool recompute, alone; /* alone: no beginning is shared */
};

struct bench {
    struct model *model;
    struct adapter *adapter;
    struct num *num;
    struct params params;
    struct net *net;
    struct dataset data;
    const struct sample *rows[64];
    int64_t count; /* samples */
    struct objective objective;
};

static void b_factors(struct params *p, float factor) {
    for (int64_t i = 0; i < p->count; i++)
        for (int64_t k = 0;
             strstr(p->list[i].name, "lora_B") && k < p->list[i].shape[0] * p->list[i].shape[1];
             k++)
            p->value[p->list[i].offset + k] *= factor;
}

static void open_rows(struct bench *b) {
    struct err err;
    struct render_options render = {
        .tokenizer = model_tokenizer(b->model), .chat = model_template(b->model), .max_length = 64};
    if (dataset_load(PAIRS, &render, &b->data, &err)) fail_msg("%s", err.msg);
    assert_int_equal(b->data.count, 11);
    assert_int_equal(b->data.per_row, 2);
    assert_true(b->data.list[0].shared > 0 && b->data.list[2].shared == 0); /* both ways */
    b->count = b->data.count * b->data.per_row;
    for (int64_t i = 0; i < b->count; i++) b->rows[i] = &b->data.list[i];
}

static void set_references(struct bench *b, bool base) {
    double values[64];
    struct err err;
    if (base) b_factors(&b->params, 0);
    objective_logprobs(&b->objective, b->net, b->rows, b->count, values);
    for (int64_t i = 0; i < b->count; i++) b->data.list[i].reference = values[i];
    assert_int_equal(params_load_adapter(&b->params, b->adapter, "", &err), 0);
}

static void bench_open(struct bench *b, const struct setting *s) {
    char warning[240];
    struct err err;
    struct adapter_meta meta;
    *b = (struct bench){0};
    assert_int_equal(model_open(BASE, &(struct model_options){0}, &b->model, &err), 0);
    assert_int_equal(adapter_open(b->model, BASE "/adapter", &b->adapter, warning, &err), 0);
    assert_int_equal(adapter_config_read(b->adapter->config, "", &meta, &err), 0);
    b->num =
        num_new(&(struct num_options){.threads = s->threads, .compute = NUM_F32, .isa = s->isa});
    struct lora_shape shape = {meta.rank, b->adapter->scale, meta.targets};
    params_layout_lora(&b->model->config, &shape, &b->params);
    assert_int_equal(params_allocate(&b->params, false, &err), 0);
    assert_int_equal(params_load_adapter(&b->params, b->adapter, "", &err), 0);
    open_rows(b);
    const struct model *m = b->model;
    struct net_weights w = {&m->config, m->layers, m->embedding, m->head, m->final_norm};
    struct net_size size = {.tokens = 400,
                            .trained = 400,
                            .rows = 22,
                            .keys = 800,
                            .row_tokens = b->data.longest,
                            .recompute = s->recompute};
    assert_int_equal(net_open(b->num, &w, &b->params, &size, &b->net, &err), 0);
    b->objective =
        (struct objective){OBJECTIVE_DPO, .beta = 0.3, s->micro_tokens, .share = !s->alone};
    set_references(b, strcmp(s->reference, "base") == 0);
}

static void bench_close(struct bench *b) {
    net_close(b->net);
    params_release(&b->params);
    adapter_close(b->adapter);
    dataset_release(&b->data);
    num_free(b->num);
    model_close(b->model);
}

static struct measures step_gradient(struct bench *b, int64_t step) {
    int64_t at = (step - 1) % 3 * 8, left = b->count - at;
    return objective_run(&b->objective, b->net, b->rows + at, left < 8 ? left : 8,
                         &(struct objective_pass){.backward = true});
}

static double relative(const float *got, const float *want, int64_t n) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        difference += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(difference / (size > 0 ? size : 1));
}

static void expect_gradients(const struct bench *b, const struct tensors *want) {
    double worst = 0;
    for (int64_t i = 0; i < b->params.count; i++) {
        const struct param *p = &b->params.list[i];
        char name[160];
        snprintf(name, sizeof name, "grad.%s", p->name);
        const struct tensor *t = tensors_find(want, name);
        if (!t) fail_msg("%s is not in the fixture", name);
        double off = relative(b->params.grad + p->offset, t->data, p->shape[0] * p->shape[1]);
        if (off > worst) worst = off;
        if (!(off < TOLERANCE)) fail_msg("%s is off by %g", name, off);
    }
    printf("largest relative difference of a gradient %.2g\n", worst);
}

static void steps_and_gradients_follow_trl(void **state) {
    (void)state;
    struct setting cases[] = {
        {"base", NUM_SCALAR, 1, 1024, false, false},
        {"base", num_isa_best(), 2, 1024, false, false},
        {"base", num_isa_best(), 1, 64, true, false},
        {"base", num_isa_best(), 1, 1024, false, true},
        {"start", num_isa_best(), 1, 1024, false, false},
    };
    struct optim optim = {
        .lr = 5e-3, .weight_decay = 0.01, .clip = 1, .schedule = SCHEDULE_CONSTANT, .steps = STEPS};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        struct tensors *want = open_fixture(cases[i].reference);
        bench_open(&b, &cases[i]);
        for (int64_t step = 1; step <= STEPS; step++) {
            struct measures m = step_gradient(&b, step);
            if (step == 1) expect_gradients(&b, want);
            expect_step(want, step, m.loss, m.accuracy, &m.rewards);
            optim_step(b.num, &optim, &b.params, step);
        }
        bench_close(&b);
        tensors_close(want);
    }
    printf("largest relative difference of a loss %.2g\n", worst_loss);
}

static float *gradient_of(const struct setting *s, double *ret_loss, int64_t *ret_n) {
    struct bench b;
    bench_open(&b, s);
    *ret_loss = step_gradient(&b, 1).loss;
    *ret_n = b.params.n;
    float *copy = mem_alloc((size_t)b.params.n * sizeof *copy);
    memcpy(copy, b.params.grad, (size_t)b.params.n * sizeof *copy);
    bench_close(&b);
    return copy;
}

static void threads_and_recomputation_change_no_bit(void **state) {
    (void)state;
    struct setting s = {"base", num_isa_best(), 1, 1024, false, false};
    double loss, other_loss;
    int64_t n;
    float *want = gradient_of(&s, &loss, &n);
    for (int way = 1; way < 4; way++) {
        s.threads = way & 1 ? 3 : 1;
        s.recompute = way > 1;
        float *got = gradient_of(&s, &other_loss, &n);
        assert_true(loss == other_loss);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        mem_free(got);
    }
    mem_free(want);
}

/* --- cutting --- */

static void pairs_stay_whole(void **state) {
    (void)state;
    static const int lengths[8] = {21, 31, 16, 26, 61, 51, 11, 11};
    static const int shared[4] = {10, 0, 20, 0};
    struct sample list[8];
    const struct sample *rows[8];
    for (int i = 0; i < 8; i++) {
        list[i] = (struct sample){.n = lengths[i], .trained = 3, .shared = shared[i / 2]};
        rows[i] = &list[i];
    }
    struct micro m = micro_next_pairs(rows, 8, 1000, true);
    assert_int_equal(m.count, 8);
    assert_int_equal(m.tokens, 40 + 40 + 90 + 20);
    assert_int_equal(m.keys, 60 + 40 + 130 + 20);
    assert_int_equal(m.trained, 8 * 3);
    m = micro_next_pairs(rows, 8, 85, true);
    assert_int_equal(m.count, 4);
    m = micro_next_pairs(rows + 4, 4, 85, true);
    assert_int_equal(m.count, 2); /* longer than allowed: alone */
    m = micro_next_pairs(rows, 4, 1000, false);
    assert_int_equal(m.tokens, 50 + 40);
    assert_int_equal(m.keys, 0);
}

/* --- jobs --- */

static char *pairs_file(const char *name, int rows) {
    char *path = in_dir(name);
    struct buf b;
    struct err err;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < rows; i++)
        buf_printf(
            &b,
            "{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"%d plus %d?\"}]},"
            "\"preferred_output\":[{\"role\":\"assistant\",\"content\":\"%d\"}],"
            "\"non_preferred_output\":[{\"role\":\"assistant\",\"content\":\"maybe %d\"}]}\n",
            i, i * 7 % 11, i + i * 7 % 11, i % 5);
    assert_int_equal(file_write_atomic(path, buf_view(&b), &err), 0);
    buf_release(&b);
    return path;
}

static struct train_options job_options(const char *data, const char *out) {
    struct train_options o = options(out);
    o.data = data;
    o.init = NULL;
    o.rank = 4;
    o.holdout = -1;
    o.no_shuffle = false;
    return o;
}

static void expect_same_job(const char *a, const char *b) {
    expect_same_file(a, b, "adapter_model.safetensors");
    expect_same_file(a, b, "metrics.jsonl");
}

static struct train_plan plan_seen;
static void see_plan(void *ctx, const struct train_plan *plan) {
    (void)ctx;
    plan_seen = *plan;
}

static void a_job_learns_what_is_preferred(void **state) {
    (void)state;
    char *data = pairs_file("dpo-learn.jsonl", 40), *out = in_dir("dpo-learn"),
         *again = in_dir("dpo-again");
    struct train_options o = job_options(data, out);
    struct train_events events = {.plan = see_plan};
    struct train_result r;
    must_run(&o, &events, &r);
    assert_int_equal(plan_seen.objective, OBJECTIVE_DPO);
    assert_int_equal(plan_seen.rows, 32);
    assert_int_equal(plan_seen.held_out, 8);
    assert_int_equal(plan_seen.epoch_steps, 8);
    assert_true(plan_seen.beta == 0.3 && plan_seen.job_tokens == 4 * plan_seen.tokens);
    assert_true(fabs(r.first_loss - log(2)) < 1e-12); /* the model is its own reference */
    assert_true(r.last_loss < 0.3 && r.best_valid < 0.3);
    assert_false(there_is(out, "checkpoint/reference.json"));
    struct buf metrics = file_bytes(out, "metrics.jsonl");
    buf_byte(&metrics, 0);
    assert_non_null(strstr(metrics.p, "\"margin\":0,\"rewards/chosen\":0,\"rewards/rejected\":0}"));
    assert_non_null(strstr(metrics.p, "\"valid_rewards/rejected\":-"));
    buf_release(&metrics);
    o.out = again;
    o.threads = 2;
    must_run(&o, NULL, &r);
    expect_same_job(out, again);
    mem_free(again);
    mem_free(out);
    mem_free(data);
}

static void all_weights_can_learn_it_too(void **state) {
    (void)state;
    char *data = pairs_file("dpo-full.jsonl", 12), *out = in_dir("dpo-full");
    struct train_options o = job_options(data, out);
    struct train_result r;
    o.method = TRAIN_FULL;
    o.lr = 1e-3;
    must_run(&o, NULL, &r);
    assert_true(fabs(r.first_loss - log(2)) < 1e-12);
    assert_true(r.last_loss < 0.5);
    mem_free(out);
    mem_free(data);
}

static void killed_jobs_end_with_the_same_bytes(void **state) {
    (void)state;
    char *data = pairs_file("dpo-kill.jsonl", 40), *whole = in_dir("dpo-whole"),
         *killed = in_dir("dpo-killed"), *job = path_join(killed, "job.json");
    struct train_options o = job_options(data, whole);
    struct train_result r;
    struct rng rng;
    rng_init(&rng, unit_seed());
    o.dropout = 0.1;
    o.checkpoint_seconds = 0.01;
    must_run(&o, NULL, &r);
    unsigned whole_us = (unsigned)(r.seconds * 1e6) + 2000;
    o.out = killed;
    bool done = child_works(&o, true, (unsigned)rng_below(&rng, whole_us) + 1);
    for (int kills = 1; !done; kills++) {
        bool begin = !file_exists(job);
        unsigned us = kills < 5 ? (unsigned)rng_below(&rng, whole_us) + 1 : 0;
        done = child_works(&o, begin, us);
    }
    expect_same_job(whole, killed);
    mem_free(job);
    mem_free(killed);
    mem_free(whole);
    mem_free(data);
}

static volatile sig_atomic_t stop_flag;
static void stop_at(void *ctx, const struct train_step *s) { stop_flag = s->step == *(int *)ctx; }
static void stop_at_once(void *ctx, const char *text) {
    (void)ctx;
    if (strstr(text, "reference")) stop_flag = 1;
}

/* In the reference, after it, with it, and where it was lost: that needs the adapter of --init. Not
 * every pair's turn comes. */
static void a_stopped_job_goes_on(void **state) {
    (void)state;
    char *data = pairs_file("dpo-stop.jsonl", 30), *whole = in_dir("dpo-stop-whole"),
         *out = in_dir("dpo-stop"), *path = path_join(out, "checkpoint/reference.json");
    struct train_options o = job_options(data, whole);
    struct train_events at_once = {.note = stop_at_once}, at_step = {.ctx = &(int){3}};
    struct train_result r;
    struct err err;
    at_step.step = stop_at;
    o.epochs = 0;
    o.steps = 6;
    o.init = BASE "/adapter";
    o.rank = 0;
    must_run(&o, NULL, &r);
    o.out = out;
    stop_flag = 0;
    assert_int_equal(train_run(&o, &at_once, &stop_flag, &r, &err), 0);
    assert_true(r.interrupted && r.steps == 0);
    assert_false(file_exists(path));
    stop_flag = 0;
    assert_int_equal(train_resume(out, 2, &at_step, &stop_flag, &r, &err), 0);
    assert_true(r.interrupted && r.steps == 3);
    struct buf reference = file_bytes(out, "checkpoint/reference.json");
    buf_byte(&reference, 0);
    assert_non_null(strstr(reference.p, "null"));
    buf_release(&reference);
    at_step.ctx = &(int){4};
    stop_flag = 0;
    assert_int_equal(train_resume(out, 1, &at_step, &stop_flag, &r, &err), 0);
    assert_true(r.interrupted && r.steps == 4);
    assert_int_equal(file_remove(path, &err), 0);
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), 0);
    expect_same_job(whole, out);
    mem_free(path);
    mem_free(whole);
    mem_free(out);
    mem_free(data);
}

static void a_damaged_reference_is_named(void **state) {
    (void)state;
    static const struct str bad[] = {STR_LIT("{"), STR_LIT("{\"format\":2}"),
                                     STR_LIT("{\"format\":1,\"data\":[1],\"valid\":[]}")};
    char *data = pairs_file("dpo-damaged.jsonl", 20), *out = in_dir("dpo-damaged");
    struct train_options o = job_options(data, out);
    struct train_events at_three = {.ctx = &(int){3}, .step = stop_at};
    struct train_result r;
    struct err err;
    stop_flag = 0;
    assert_int_equal(train_run(&o, &at_three, &stop_flag, &r, &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(out, "checkpoint/reference.json", bad[i]);
        assert_true(train_resume(out, 1, NULL, NULL, &r, &err) < 0);
        assert_non_null(strstr(err.msg, "reference.json"));
    }
    mem_free(out);
    mem_free(data);
}

/* --- refusals --- */

static void expect_refusal(const struct train_options *o, const char *says) {
    struct train_result r;
    struct err err;
    assert_true(train_run(o, NULL, NULL, &r, &err) < 0);
    if (!strstr(err.msg, says)) fail_msg("\"%s\" does not say %s", err.msg, says);
}

static void what_does_not_go_with_pairs_is_named(void **state) {
    (void)state;
    char *data = pairs_file("dpo-no.jsonl", 12), *text = in_dir("dpo-text.jsonl");
    char *out = in_dir("dpo-no");
    write_file(unit_dir(), "dpo-text.jsonl", (struct str)STR_LIT("{\"text\":\"abc\"}\n"));
    struct train_options o = job_options(data, out);
    o.objective = OBJECTIVE_SFT;
    expect_refusal(&o, "the objective dpo, not sft");
    o.objective = OBJECTIVE_OF_ROWS;
    o.valid = text;
    expect_refusal(&o, "holds preference pairs and");
    o.valid = NULL;
    o.data = text;
    expect_refusal(&o, "--beta");
    o.beta = 0;
    o.objective = OBJECTIVE_DPO;
    expect_refusal(&o, "needs preference pairs");
    o.beta = 11;
    expect_refusal(&o, "--beta 11");
    mem_free(out);
    mem_free(text);
    mem_free(data);
}

static void pairs_that_say_nothing_are_left_out(void **state) {
    (void)state;
    static const char alike[] =
        "{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]},"
        "\"preferred_output\":[{\"role\":\"assistant\",\"content\":\"b\"}],"
        "\"non_preferred_output\":[{\"role\":\"assistant\",\"content\":\"b\"}]}\n";
    char *out = in_dir("dpo-alike"), *data = in_dir("dpo-alike.jsonl"),
         *some = pairs_file("dpo-some.jsonl", 4);
    struct buf both;
    struct err err;
    struct train_result r;
    buf_init(&both, 1 << 20);
    buf_z(&both, alike);
    assert_int_equal(file_read(some, &both, &err), 0);
    write_file(unit_dir(), "dpo-alike.jsonl", buf_view(&both));
    struct train_options o = job_options(data, out);
    o.epochs = 1;
    must_run(&o, &(struct train_events){.plan = see_plan}, &r);
    assert_int_equal(plan_seen.rows, 4);
    struct buf plan = file_bytes(out, "plan.json");
    buf_byte(&plan, 0);
    assert_non_null(strstr(plan.p, "\"with two equal outputs, left out\",\"rows\":[1]"));
    buf_release(&plan);
    buf_release(&both);
    mem_free(some);
    mem_free(data);
    mem_free(out);
}

UNIT_TESTS(train_dpo, cmocka_unit_test(a_whole_job_follows_trl),
           cmocka_unit_test(steps_and_gradients_follow_trl),
           cmocka_unit_test(threads_and_recomputation_change_no_bit),
           cmocka_unit_test(pairs_stay_whole), cmocka_unit_test(a_job_learns_what_is_preferred),
           cmocka_unit_test(all_weights_can_learn_it_too),
           cmocka_unit_test(killed_jobs_end_with_the_same_bytes),
           cmocka_unit_test(a_stopped_job_goes_on), cmocka_unit_test(a_damaged_reference_is_named),
           cmocka_unit_test(what_does_not_go_with_pairs_is_named),
           cmocka_unit_test(pairs_that_say_nothing_are_left_out))
