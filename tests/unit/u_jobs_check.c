/* What "auto" comes to, what is wrong with files, and the reading of metrics. */
#include "unit.h"

#include "jobs/check.h"
#include "jobs/progress.h"
#include "jobs_fixture.h"

#include <math.h>

static void auto_is_the_cookbooks(void **state) {
    (void)state;
    static const struct {
        int64_t rows, epochs, batch;
    } cases[] = {{1, 25, 1},     {4, 25, 1},     {10, 10, 1},     {12, 8, 1},
                 {33, 3, 1},     {34, 3, 1},     {60, 3, 1},      {101, 3, 1},
                 {749, 3, 1},    {750, 3, 2},    {8333, 3, 17},   {8334, 2, 17},
                 {12501, 1, 25}, {25000, 1, 50}, {60000, 1, 120}, {200000, 1, 256}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ft_hyper h = ft_resolve(&(struct ft_hyper){0}, cases[i].rows, false);
        assert_int_equal(h.epochs, cases[i].epochs);
        assert_int_equal(h.batch_size, cases[i].batch);
        assert_true(h.rate_multiplier == 1 && h.beta == 0);
    }
    struct ft_hyper given = {.epochs = 7, .batch_size = 5, .rate_multiplier = 0.5, .beta = 1};
    struct ft_hyper h = ft_resolve(&given, 10, true);
    assert_memory_equal(&h, &given, sizeof h);
    assert_true(ft_resolve(&(struct ft_hyper){0}, 10, true).beta == 0.1);
}

static struct ft_problem check(struct fixture *f, struct str training, const char *validation) {
    struct ft_problem p;
    struct ft_hyper h;
    struct named_model m;
    struct ftjob new = {.training_file = fixture_file(f, "t.jsonl", "fine-tune", training).id};
    if (validation)
        new.validation_file = fixture_file(f, "v.jsonl", "fine-tune", str_of(validation)).id;
    struct ftjob j = jobs_add(f, new, 0);
    assert_int_equal(names_resolve(f->c, "tiny", &f->mem, &m, &f->err), 0);
    if (ft_check(f->c, &j, &m, &h, &p, &f->err)) fail_msg("%s", f->err.msg);
    return p;
}

#define ROW "{\"prompt\":\"a\",\"completion\":\"b\"}\n"
#define PAIR                                                                                       \
    "{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]},"                           \
    "\"preferred_output\":[{\"role\":\"assistant\",\"content\":\"b\"}],"                           \
    "\"non_preferred_output\":[{\"role\":\"assistant\",\"content\":\"c\"}]}\n"
#define TEN ROW ROW ROW ROW ROW ROW ROW ROW ROW ROW

static void problems_name_file_and_row(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *training, *validation, *code, *param, *says;
    } cases[] = {
        {TEN, NULL, "", NULL, ""},
        {TEN, ROW, "", NULL, ""},
        {ROW ROW ROW ROW ROW ROW ROW, NULL, "invalid_n_examples", "training_file",
         "Training file has 7 example(s), but must have at least 10 examples"},
        {"", NULL, "invalid_training_file", "training_file", "no rows"},
        {ROW "not json\n" TEN, NULL, "invalid_training_file", "training_file", "row 2"},
        {TEN "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n", NULL,
         "invalid_training_file", "training_file", "row 11"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n", NULL, "invalid_training_file",
         "training_file", "assistant"},
        {TEN PAIR, NULL, "invalid_training_file", "training_file", "row 11"},
        {PAIR PAIR PAIR PAIR PAIR PAIR PAIR PAIR PAIR PAIR, NULL, "invalid_training_file",
         "training_file", "use the method \"dpo\""},
        {TEN, "{}\n", "invalid_validation_file", "validation_file", "validation file file-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ft_problem p = check(f, str_of(cases[i].training), cases[i].validation);
        assert_string_equal(p.code, cases[i].code);
        if (!p.code[0]) continue;
        assert_string_equal(p.param, cases[i].param);
        if (!strstr(p.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", p.message, cases[i].says);
    }
}

/* --- metrics --- */

struct seen {
    struct step_numbers list[8];
    int count;
};
static int see(void *ctx, const struct step_numbers *s, struct err *err) {
    struct seen *seen = ctx;
    (void)err;
    seen->list[seen->count++] = *s;
    return 0;
}

static void put_metrics(const char *path, const char *text) {
    struct err err;
    assert_int_equal(file_write_atomic(path, str_of(text), &err), 0);
}

static void steps_are_told_when_they_are_complete(void **state) {
    (void)state;
    struct err err;
    struct seen seen = {.count = 0};
    char *path = path_join(unit_dir(), "metrics.jsonl");
    struct follow f = {.path = path};
    assert_int_equal(file_remove(path, &err), 0);
    assert_int_equal(follow_read(&f, true, see, &seen, &err), 0);
    assert_int_equal(seen.count, 0);
    put_metrics(path, "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.0,\"accu");
    assert_int_equal(follow_read(&f, false, see, &seen, &err), 0);
    assert_int_equal(seen.count, 0); /* step 1 may still be judged */
    put_metrics(path, "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.0,\"accuracy\":0.5}\n");
    assert_int_equal(follow_read(&f, false, see, &seen, &err), 0);
    assert_int_equal(seen.count, 1);
    assert_true(seen.list[0].train.loss == 2.5 && isnan(seen.list[0].train.accuracy));
    put_metrics(path, "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.0,\"accuracy\":0.5}\n"
                      "{\"step\":2,\"valid_loss\":3,\"valid_accuracy\":0.25}\n");
    assert_int_equal(follow_read(&f, true, see, &seen, &err), 0);
    assert_int_equal(seen.count, 2);
    assert_true(seen.list[1].valid.loss == 3 && seen.list[1].valid.accuracy == 0.25);
    assert_int_equal(follow_read(&f, true, see, &seen, &err), 0);
    assert_int_equal(seen.count, 2);
    put_metrics(path, "{\"step\":0}\n");
    f = (struct follow){.path = path};
    assert_int_equal(follow_read(&f, true, see, &seen, &err), ERR_INVALID);
    mem_free(path);
}

static void texts_are_those_that_scripts_read(void **state) {
    (void)state;
    struct step_numbers s = step_nothing(131), plain = step_nothing(1), pair = step_nothing(2);
    s.train.loss = 0.254;
    s.valid.loss = 0.366;
    s.valid.accuracy = 0.5;
    plain.train.loss = 1.52347;
    plain.train.accuracy = 0;
    pair.train = (struct step_side){0.7, 1, 0.5, 0.25, -0.25};
    struct buf b;
    buf_init(&b, 4096);
    step_message(&s, 303, &b);
    assert_string_equal(b.p, "Step 131/303: training loss=0.25, validation loss=0.37");
    buf_clear(&b);
    step_json(&s, 303, true, &b);
    assert_string_equal(b.p, "{\"step\":131,\"total_steps\":303,\"train_loss\":0.254,"
                             "\"valid_loss\":0.366,\"valid_mean_token_accuracy\":0.5,"
                             "\"full_valid_loss\":0.366,\"full_valid_mean_token_accuracy\":0.5}");
    buf_clear(&b);
    step_json(&pair, 0, false, &b);
    assert_string_equal(b.p, "{\"step\":2,\"train_loss\":0.7,\"train_reward_accuracy\":1,"
                             "\"train_reward_margin\":0.5,\"train_reward_chosen\":0.25,"
                             "\"train_reward_rejected\":-0.25}");
    buf_clear(&b);
    step_csv_header(&b);
    step_csv(&plain, &b);
    step_csv(&s, &b);
    assert_string_equal(b.p, "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
                             "1,1.52347,0.00000,,\n131,0.25400,,0.36600,0.50000\n");
    buf_release(&b);
}

UNIT_TESTS(jobs_check, cmocka_unit_test(auto_is_the_cookbooks),
           WITH_JOBS(problems_name_file_and_row),
           cmocka_unit_test(steps_are_told_when_they_are_complete),
           cmocka_unit_test(texts_are_those_that_scripts_read))
