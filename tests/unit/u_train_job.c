/* Whole jobs on a tiny model: the same bytes whatever happens on the way, and clear refusals. */
#include "train_jobs.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/trainer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE "tests/fixtures/train/llama"

/* additions, as prompt and completion */
static char *data_file(const char *name, int rows) {
    char *path = in_dir(name);
    struct buf b;
    struct err err;
    struct rng rng;
    rng_init(&rng, 5);
    buf_init(&b, 1 << 20);
    for (int i = 0; i < rows; i++) {
        int x = (int)rng_below(&rng, 50), y = (int)rng_below(&rng, 50);
        buf_printf(&b, "{\"prompt\":\"%d+%d=\",\"completion\":\"%d\"}\n", x, y, x + y);
    }
    assert_int_equal(file_write_atomic(path, buf_view(&b), &err), 0);
    buf_release(&b);
    return path;
}

static char *texts(const char *name, int rows) {
    char *path = in_dir(name);
    struct buf b;
    struct err err;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < rows; i++) buf_printf(&b, "{\"text\":\"%d-and-so-on\"}\n", 10 + i);
    assert_int_equal(file_write_atomic(path, buf_view(&b), &err), 0);
    buf_release(&b);
    return path;
}

static struct train_options options(const char *data, const char *out) {
    return (struct train_options){.base = BASE,
                                  .data = data,
                                  .out = out,
                                  .rank = 4,
                                  .dropout = -1,
                                  .warmup_steps = -1,
                                  .weight_decay = -1,
                                  .clip = -1,
                                  .holdout = -1,
                                  .batch_size = 4,
                                  .epochs = 2,
                                  .seed = 7,
                                  .threads = 1,
                                  .dtype = NUM_F32};
}

static void expect_same_job(const char *a, const char *b) {
    expect_same_file(a, b, "adapter_model.safetensors");
    expect_same_file(a, b, "metrics.jsonl");
}

static void must_run(const struct train_options *o, struct train_result *ret) {
    struct err err;
    if (train_run(o, NULL, NULL, ret, &err)) fail_msg("%s", err.msg);
}

/* every line has one, of its trained tokens */
static void expect_accuracies(const struct buf *metrics) {
    for (size_t at = 0; at < metrics->n;) {
        json_t *line;
        struct err err;
        size_t n = (size_t)((const char *)memchr(metrics->p + at, '\n', metrics->n - at) -
                            (metrics->p + at));
        assert_int_equal(json_read((struct str){metrics->p + at, n}, "line", &line, &err), 0);
        bool step = json_object_get(line, "loss") != NULL;
        const json_t *share = json_object_get(line, step ? "accuracy" : "valid_accuracy");
        double x = json_number_value(share);
        assert_true(json_is_number(share) && x >= 0 && x <= 1);
        if (step) {
            double correct = x * json_number_value(json_object_get(line, "tokens"));
            assert_true(fabs(correct - round(correct)) < 1e-6);
        }
        json_decref(line);
        at += n + 1;
    }
}

static void a_job_learns_and_leaves_its_files(void **state) {
    (void)state;
    char *data = data_file("learn.jsonl", 40), *out = in_dir("learn");
    struct train_options o = options(data, out);
    struct train_result r;
    o.epochs = 6;
    o.lr = 2e-3;
    must_run(&o, &r);
    assert_int_equal(r.steps, 6 * 8); /* 8 of 40 rows are held out */
    assert_true(r.last_loss < 0.8 * r.first_loss);
    assert_true(r.best_valid > 0 && r.best_step > 0);
    struct buf metrics = file_bytes(out, "metrics.jsonl"), svg = file_bytes(out, "loss.svg");
    assert_int_equal(lines(&metrics), 48 + 10);
    expect_accuracies(&metrics);
    assert_non_null(strstr(svg.p, "held-out loss"));
    char *checkpoint = path_join(out, "checkpoint");
    assert_false(dir_exists(checkpoint));
    buf_release(&metrics);
    buf_release(&svg);
    mem_free(checkpoint);
    mem_free(out);
    mem_free(data);
}

static void threads_and_runs_give_the_same_bytes(void **state) {
    (void)state;
    char *data = data_file("same.jsonl", 30), *a = in_dir("same-a"), *b = in_dir("same-b");
    struct train_options o = options(data, a);
    struct train_result r;
    o.dropout = 0.1;
    must_run(&o, &r);
    o.out = b;
    o.threads = 2;
    must_run(&o, &r);
    expect_same_job(a, b);
    mem_free(a);
    mem_free(b);
    mem_free(data);
}

/* --- which weights are kept --- */

static void the_last_weights_are_kept_where_asked(void **state) {
    (void)state;
    char *data = data_file("last.jsonl", 30), *other = texts("last-valid.jsonl", 15);
    char *judged = in_dir("last-judged"), *plain = in_dir("last-plain"),
         *best = in_dir("last-best");
    struct train_options o = options(data, best);
    struct train_result r;
    o.epochs = 6;
    o.lr = 0.3; /* the loss of other rows soon rises */
    o.valid = other;
    must_run(&o, &r);
    assert_true(r.stopped_early && r.kept_best);
    o.out = judged;
    o.keep_last = true;
    must_run(&o, &r);
    assert_false(r.stopped_early || r.kept_best);
    assert_int_equal(r.steps, 6 * 8);
    assert_true(r.best_valid > 0 && r.best_step < r.steps);
    o.out = plain;
    o.valid = NULL;
    o.holdout = 0;
    must_run(&o, &r);
    assert_int_equal(r.steps, 6 * 8);
    expect_same_file(judged, plain, "adapter_model.safetensors");
    mem_free(best);
    mem_free(plain);
    mem_free(judged);
    mem_free(other);
    mem_free(data);
}

static struct train_plan plan_seen;
static void see_plan(void *ctx, const struct train_plan *plan) {
    (void)ctx;
    plan_seen = *plan;
}

static struct {
    int64_t count, epoch, step;
    double loss, valid_loss;
} epochs_seen;

static void see_epoch(void *ctx, const struct train_epoch *e) {
    const char *out = ctx;
    char name[64];
    snprintf(name, sizeof name, "epochs/step-%d", (int)e->step);
    char *dir = path_join(out, name);
    assert_string_equal(e->dir, dir);
    assert_true(e->accuracy >= 0 && e->accuracy <= 1);
    assert_true(e->valid_accuracy >= 0 && e->valid_accuracy <= 1);
    mem_free(dir);
    epochs_seen.count++;
    epochs_seen.epoch = e->epoch;
    epochs_seen.step = e->step;
    epochs_seen.loss = e->loss;
    epochs_seen.valid_loss = e->valid_loss;
}

static const char *const adapter_files[] = {"adapter_config.json", "adapter_model.safetensors",
                                            "attune.json"};

/* 30 rows, 6 of them held out: epochs of 6 steps */
static void the_last_epochs_stay_as_adapters(void **state) {
    (void)state;
    static const char *const kept[] = {"step-12", "step-18"};
    char *data = data_file("epochs.jsonl", 30), *out = in_dir("epochs"), *one = in_dir("epochs-1");
    char *dir = path_join(out, "epochs"), *last = path_join(dir, "step-18"),
         *before = path_join(dir, "step-12");
    struct train_options o = options(data, out);
    struct train_events events = {.ctx = out, .epoch = see_epoch, .plan = see_plan};
    struct train_result r;
    struct err err;
    o.epochs = 3;
    o.schedule = SCHEDULE_CONSTANT;
    o.keep_last = true;
    o.keep_epochs = 2;
    memset(&epochs_seen, 0, sizeof epochs_seen);
    if (train_run(&o, &events, NULL, &r, &err)) fail_msg("%s", err.msg);
    assert_int_equal(plan_seen.epoch_steps, 6);
    assert_int_equal(plan_seen.job_tokens, 3 * plan_seen.tokens);
    assert_int_equal(epochs_seen.count, 3);
    assert_int_equal(epochs_seen.epoch, 3);
    assert_int_equal(epochs_seen.step, 18);
    assert_true(epochs_seen.loss == r.last_loss && epochs_seen.valid_loss >= r.best_valid);
    expect_names(dir, kept, 2);
    expect_names(last, adapter_files, 3);
    for (size_t i = 0; i < 3; i++) expect_same_file(last, out, adapter_files[i]);
    o.out = one; /* at a constant rate the beginning of a job is a job of its own */
    o.warmup_steps = plan_seen.warmup_steps;
    o.epochs = 2;
    must_run(&o, &r);
    expect_same_file(before, one, "adapter_model.safetensors");
    o.method = TRAIN_FULL;
    assert_int_equal(train_run(&o, NULL, NULL, &r, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "--keep-epochs"));
    mem_free(before);
    mem_free(last);
    mem_free(dir);
    mem_free(one);
    mem_free(out);
    mem_free(data);
}

static void expect_same_epochs(const char *a, const char *b) {
    char *in_a = path_join(a, "epochs"), *in_b = path_join(b, "epochs"), **names;
    size_t count;
    struct err err;
    assert_int_equal(dir_list(in_a, &names, &count, &err), 0);
    expect_names(in_b, (const char *const *)names, count);
    for (size_t i = 0; i < count; i++) {
        char *x = path_join(in_a, names[i]), *y = path_join(in_b, names[i]);
        for (size_t k = 0; k < 3; k++) expect_same_file(x, y, adapter_files[k]);
        expect_names(y, adapter_files, 3);
        mem_free(x);
        mem_free(y);
    }
    dir_list_free(names, count);
    mem_free(in_a);
    mem_free(in_b);
}

/* --- kills --- */

static void killed_jobs_end_with_the_same_bytes(void **state) {
    (void)state;
    char *data = data_file("kill.jsonl", 40), *whole = in_dir("kill-whole"),
         *killed = in_dir("kill-killed");
    char *job = path_join(killed, "job.json");
    struct train_options o = options(data, whole);
    struct train_result r;
    struct rng rng;
    rng_init(&rng, unit_seed());
    o.dropout = 0.1;
    o.checkpoint_seconds = 0.01;
    o.epochs = 4;
    o.keep_last = true;
    o.keep_epochs = 2;
    must_run(&o, &r);
    unsigned whole_us = (unsigned)(r.seconds * 1e6) + 2000;
    o.out = killed;
    bool done = child_works(&o, true, (unsigned)rng_below(&rng, whole_us));
    for (int kills = 1; !done; kills++) {
        bool begin = !file_exists(job);
        unsigned us = kills < 6 ? (unsigned)rng_below(&rng, whole_us) + 1 : 0;
        done = child_works(&o, begin, us);
    }
    expect_same_job(whole, killed);
    expect_same_epochs(whole, killed);
    mem_free(job);
    mem_free(whole);
    mem_free(killed);
    mem_free(data);
}

static volatile sig_atomic_t stop_flag;
static void stop_at_five(void *ctx, const struct train_step *s) {
    (void)ctx;
    if (s->step == 5) stop_flag = 1;
}

static void an_interrupted_job_goes_on(void **state) {
    (void)state;
    char *data = data_file("stop.jsonl", 30), *whole = in_dir("stop-whole"),
         *stopped = in_dir("stop-stopped");
    char *user = in_dir("stop-metrics.jsonl");
    struct train_options o = options(data, whole);
    struct train_result r;
    struct err err;
    struct train_events events = {.step = stop_at_five};
    o.epochs = 4;
    o.keep_last = true;
    o.keep_epochs = 3;
    must_run(&o, &r);
    o.out = stopped;
    o.metrics = user;
    stop_flag = 0;
    assert_int_equal(train_run(&o, &events, &stop_flag, &r, &err), 0);
    assert_true(r.interrupted);
    assert_int_equal(r.steps, 5);
    assert_int_equal(train_run(&o, NULL, NULL, &r, &err),
                     ERR_CONFLICT); /* not twice into the same place */
    assert_non_null(strstr(err.msg, "attune resume"));
    events = (struct train_events){.plan = see_plan};
    assert_int_equal(train_resume(stopped, 2, &events, NULL, &r, &err), 0);
    assert_true(plan_seen.resumed && plan_seen.epochs == 4 && plan_seen.job_tokens > 0);
    expect_same_job(whole, stopped);
    expect_same_epochs(whole, stopped);
    struct buf ours = file_bytes(stopped, "metrics.jsonl"),
               theirs = file_bytes(unit_dir(), "stop-metrics.jsonl");
    assert_int_equal(ours.n, theirs.n);
    assert_memory_equal(ours.p, theirs.p, ours.n);
    struct train_result again;
    assert_int_equal(train_resume(stopped, 1, NULL, NULL, &again, &err),
                     0); /* done: says the same */
    assert_int_equal(again.steps, r.steps);
    assert_true(again.last_loss == r.last_loss);
    buf_release(&ours);
    buf_release(&theirs);
    mem_free(user);
    mem_free(whole);
    mem_free(stopped);
    mem_free(data);
}

/* --- micro-batches --- */

static char *long_rows(const char *name) {
    char *path = in_dir(name);
    struct buf b;
    struct err err;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 24; i++) {
        buf_z(&b, "{\"prompt\":\"1 2 3 4 5 6 7 8 9 ");
        for (int k = 0; k < i % 5 * 5; k++) buf_printf(&b, "%d+", i * k);
        buf_printf(&b, "=\",\"completion\":\"%d %d %d\"}\n", i, i * i, i % 7);
    }
    assert_int_equal(file_write_atomic(path, buf_view(&b), &err), 0);
    buf_release(&b);
    return path;
}

static void open_trainer(struct trainer *t, const struct train_options *o) {
    struct err err;
    *t = (struct trainer){.lock = -1};
    job_init(&t->job, o);
    int rc = trainer_open(t, 1, &err);
    if (!rc) rc = job_resolve(&t->job, &t->config, t->data.count, NULL, &err);
    if (!rc) rc = trainer_split(t, &err);
    if (rc) fail_msg("%s", err.msg);
    job_resolve_steps(&t->job, t->split.train_count);
}

static void try_micro_batches(const struct train_options *o, bool recompute) {
    struct err err;
    for (int64_t micro = 1024; micro >= 64; micro /= 2) {
        struct trainer t;
        open_trainer(&t, o);
        trainer_lay_out(&t);
        t.job.micro_tokens = micro;
        t.job.recompute = recompute;
        plan_sizes(&t);
        assert_int_equal(trainer_allocate(&t, &err), 0);
        assert_int_equal(plan_calibrate(&t, &err), 0);
        assert_true(t.plan.seconds > 0 && t.plan.peak_bytes > 0);
        trainer_close(&t);
    }
}

static void every_micro_batch_is_tried_and_run(void **state) {
    (void)state;
    char *data = long_rows("micro.jsonl"), *out = in_dir("micro");
    const char *const files[] = {data, "tests/fixtures/train/dpo/pairs.jsonl"};
    for (int way = 0; way < 8; way++) {
        struct train_options o = options(files[way / 4], out);
        o.batch_size = 16;
        o.dropout = way & 2 ? 0.1 : 0;
        try_micro_batches(&o, way & 1);
    }
    mem_free(out);
    mem_free(data);
}

/* --- memory --- */

static void expect_peak_as_planned(const char *when) {
    double peak = (double)mem_rss_peak(), planned = (double)plan_seen.peak_bytes;
    if (peak > planned * 1.15)
        fail_msg("%s: peak of %.0f MiB, planned were %.0f", when, peak / 1048576,
                 planned / 1048576);
}

static void a_large_adapter_keeps_to_the_plan(void **state) {
    (void)state;
    if (!UNIT_MEASURES_MEMORY) skip();
    char *data = data_file("large.jsonl", 30), *out = in_dir("large");
    struct train_options o = options(data, out);
    struct train_events events = {.plan = see_plan, .step = stop_at_five};
    struct train_result r;
    struct err err;
    o.rank = 1024;
    mem_rss_peak_reset();
    if (mem_rss_peak() > mem_rss() + (4 << 20)) skip(); /* the system does not let it be reset */
    stop_flag = 0;
    if (train_run(&o, &events, &stop_flag, &r, &err)) fail_msg("%s", err.msg);
    assert_true(r.interrupted);
    mem_rss_peak_reset();
    if (train_resume(out, 1, NULL, NULL, &r, &err)) fail_msg("%s", err.msg);
    expect_peak_as_planned("resumed");
    mem_free(out);
    mem_free(data);
}

/* --- the plan --- */

static void expect_found(const json_t *plan, size_t at, const char *file, size_t rows) {
    const json_t *found = json_array_get(json_object_get(plan, "found"), at);
    const json_t *list = json_object_get(found, "rows");
    assert_non_null(strstr(json_string_value(json_object_get(found, "file")), file));
    assert_string_equal(json_string_value(json_object_get(found, "reason")),
                        train_finding_text(FOUND_CUT));
    assert_int_equal(json_array_size(list), rows);
    assert_int_equal(json_integer_value(json_array_get(list, rows - 1)), rows);
}

static void the_plan_counts_and_names_rows(void **state) {
    (void)state;
    char *data = texts("plan.jsonl", 20), *valid = texts("plan-valid.jsonl", 15);
    char *out = in_dir("plan"), *held = in_dir("plan-held"), *path = path_join(out, "plan.json");
    struct train_options o = options(data, out);
    struct train_events events = {.plan = see_plan};
    struct train_result r;
    struct err err;
    json_t *plan = NULL;
    o.max_length = 6;
    o.valid = valid;
    assert_int_equal(train_run(&o, &events, NULL, &r, &err), 0);
    assert_int_equal(json_read_file(path, 1 << 16, &plan, &err), 0);
    expect_found(plan, 0, "plan.jsonl", 20);
    expect_found(plan, 1, "plan-valid.jsonl", 15);
    assert_int_equal(plan_seen.rows, 20);
    assert_int_equal(plan_seen.tokens, 20 * 6);
    o.valid = NULL;
    o.out = held;
    assert_int_equal(train_run(&o, &events, NULL, &r, &err), 0);
    assert_int_equal(plan_seen.held_out, 5);
    assert_int_equal(plan_seen.tokens, 15 * 6);
    assert_int_equal(plan_seen.trained_tokens, 15 * 5);
    json_decref(plan);
    mem_free(path);
    mem_free(held);
    mem_free(out);
    mem_free(valid);
    mem_free(data);
}

/* --- refusals --- */

static void interrupted_at_five(const struct train_options *o) {
    struct train_events events = {.step = stop_at_five};
    struct train_result r;
    struct err err;
    stop_flag = 0;
    if (train_run(o, &events, &stop_flag, &r, &err)) fail_msg("%s", err.msg);
    assert_true(r.interrupted);
}

static void resume_refuses_changed_data(void **state) {
    (void)state;
    char *data = data_file("changed.jsonl", 30), *out = in_dir("changed");
    struct train_options o = options(data, out);
    struct train_result r;
    struct err err;
    interrupted_at_five(&o);
    mem_free(data_file("changed.jsonl", 31));
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "changed.jsonl"));
    mem_free(out);
    mem_free(data);
}

static void copy_file(const char *from, const char *to, const char *name) {
    struct buf b = file_bytes(from, name);
    struct err err;
    char *path = path_join(to, name);
    assert_int_equal(dir_make(to, &err), 0);
    assert_int_equal(file_write_atomic(path, buf_view(&b), &err), 0);
    mem_free(path);
    buf_release(&b);
}

static void resume_refuses_a_changed_configuration(void **state) {
    (void)state;
    static const char *const files[] = {"config.json", "generation_config.json",
                                        "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json"};
    char *data = data_file("config.jsonl", 30), *out = in_dir("config"), *base = in_dir("base");
    struct train_options o = options(data, out);
    struct train_result r;
    struct err err;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) copy_file(BASE, base, files[i]);
    o.base = base;
    interrupted_at_five(&o);
    struct buf config = file_bytes(base, "config.json");
    buf_byte(&config, 0);
    char *theta = strstr(config.p, "10000.0");
    assert_non_null(theta);
    theta[0] = '2';
    write_file(base, "config.json", (struct str){config.p, config.n - 1});
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "configuration"));
    theta[0] = '1';
    write_file(base, "config.json", (struct str){config.p, config.n - 1});
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), 0);
    buf_release(&config);
    mem_free(base);
    mem_free(out);
    mem_free(data);
}

/* The adapter is needed until there is a checkpoint, and the same one. */
static void resume_refuses_a_changed_init(void **state) {
    (void)state;
    char *data = data_file("init.jsonl", 30), *out = in_dir("init"), *whole = in_dir("init-whole");
    char *init = in_dir("init-from"), *other = in_dir("init-other");
    char *checkpoint = path_join(out, "checkpoint");
    struct train_options o = options(data, init);
    struct train_result r;
    struct err err;
    must_run(&o, &r);
    o.out = other;
    o.seed = 8;
    must_run(&o, &r);
    o.init = init;
    o.out = whole;
    must_run(&o, &r);
    o.out = out;
    interrupted_at_five(&o);
    struct buf kept = file_bytes(init, "adapter_model.safetensors");
    copy_file(other, init, "adapter_model.safetensors");
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), 0);
    expect_same_job(whole, out);
    assert_int_equal(dir_remove_all(out, &err), 0);
    write_file(init, "adapter_model.safetensors", buf_view(&kept));
    interrupted_at_five(&o);
    assert_int_equal(dir_remove_all(checkpoint, &err), 0);
    copy_file(other, init, "adapter_model.safetensors");
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "--init"));
    write_file(init, "adapter_model.safetensors", buf_view(&kept));
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), 0);
    expect_same_job(whole, out);
    buf_release(&kept);
    mem_free(checkpoint);
    mem_free(other);
    mem_free(init);
    mem_free(whole);
    mem_free(out);
    mem_free(data);
}

static void half_written_files_are_removed(void **state) {
    (void)state;
    static const struct str text = STR_LIT("half");
    char *data = data_file("left.jsonl", 30), *out = in_dir("left-over");
    char *half = path_join(out, "epochs/step-4.tmp-6");
    struct train_options o = options(data, out);
    struct train_result r;
    struct err err;
    interrupted_at_five(&o);
    write_file(out, "checkpoint/state.safetensors.tmp-123", text);
    write_file(out, "adapter_model.safetensors.tmp-45", text);
    write_file(out, "notes.tmp-mine", text);
    assert_int_equal(dir_make(half, &err), 0);
    write_file(half, "adapter_config.json", text);
    assert_int_equal(train_run(&o, NULL, NULL, &r, &err), ERR_CONFLICT);
    assert_false(there_is(out, "checkpoint/state.safetensors.tmp-123"));
    assert_false(dir_exists(half));
    assert_false(there_is(out, "adapter_model.safetensors.tmp-45"));
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), 0);
    write_file(out, "adapter_model.safetensors.tmp-45", text);
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), 0);
    assert_false(there_is(out, "adapter_model.safetensors.tmp-45"));
    assert_true(there_is(out, "notes.tmp-mine"));
    mem_free(half);
    mem_free(out);
    mem_free(data);
}

static void the_files_of_a_directory_that_was_no_job_stay(void **state) {
    (void)state;
    char *data = data_file("stay.jsonl", 30), *out = in_dir("stay");
    struct train_options o = options(data, out);
    struct train_result r;
    struct err err;
    assert_int_equal(dir_make(out, &err), 0);
    write_file(out, "mine.tmp-7", (struct str)STR_LIT("mine"));
    must_run(&o, &r);
    assert_true(there_is(out, "mine.tmp-7"));
    mem_free(out);
    mem_free(data);
}

static void a_damaged_checkpoint_is_named(void **state) {
    (void)state;
    char *data = data_file("damaged.jsonl", 30), *out = in_dir("damaged-checkpoint");
    char *path = path_join(out, "checkpoint/state.safetensors");
    struct train_options o = options(data, out);
    struct train_result r;
    struct err err;
    interrupted_at_five(&o);
    int64_t size;
    assert_int_equal(file_size(path, &size, &err), 0);
    assert_int_equal(truncate(path, size / 2), 0);
    assert_true(train_resume(out, 1, NULL, NULL, &r, &err) < 0);
    assert_non_null(strstr(err.msg, "state.safetensors"));
    mem_free(path);
    mem_free(out);
    mem_free(data);
}

static ssize_t disk_is_full(int fd, const void *p, size_t n) {
    if (n > 4096) { /* the checkpoint's data; metrics lines still fit */
        errno = ENOSPC;
        return -1;
    }
    return write(fd, p, n);
}
static int sync_nothing(int fd) {
    (void)fd;
    return 0;
}
static int plain_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }
static const struct file_ops full_disk = {plain_open, disk_is_full, sync_nothing, rename,
                                          ftruncate};

static void fill_disk_at_eight(void *ctx, const struct train_step *s) {
    (void)ctx;
    if (s->step == 8) file_ops_set(&full_disk);
}

static void a_full_disk_leaves_the_last_checkpoint(void **state) {
    (void)state;
    char *data = data_file("full.jsonl", 40), *whole = in_dir("full-whole"), *out = in_dir("full");
    struct train_options o = options(data, whole);
    struct train_result r;
    struct err err;
    struct train_events events = {.step = fill_disk_at_eight};
    o.checkpoint_seconds = 1e-9;
    must_run(&o, &r);
    o.out = out;
    int rc = train_run(&o, &events, NULL, &r, &err);
    file_ops_set(NULL);
    assert_int_equal(rc, ERR_FULL);
    assert_non_null(strstr(err.msg, "checkpoint of step 8"));
    assert_int_equal(train_resume(out, 1, NULL, NULL, &r, &err), 0);
    expect_same_job(whole, out);
    mem_free(whole);
    mem_free(out);
    mem_free(data);
}

static void a_small_budget_is_refused_before_step_1(void **state) {
    (void)state;
    char *data = data_file("budget.jsonl", 30), *out = in_dir("budget");
    struct train_options o = options(data, out);
    struct train_result r;
    struct err err;
    o.memory_bytes = 1 << 20;
    assert_int_equal(train_run(&o, NULL, NULL, &r, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "--memory"));
    mem_free(out);
    mem_free(data);
}

/* more than the plan could know of, before the trial */
static void raise_peak(size_t bytes) {
    void *p;
    struct err err;
    assert_int_equal(mem_block_open(bytes, "test", &p, &err), 0);
    memset(p, 1, bytes);
    mem_block_close(p, bytes);
}

static void a_budget_is_held_against_the_trial(void **state) {
    (void)state;
    char *data = data_file("trial.jsonl", 30), *out = in_dir("trial");
    char *job = path_join(out, "job.json");
    struct train_options o = options(data, out);
    struct train_result r;
    struct err err;
    raise_peak((size_t)64 << 20);
    o.memory_bytes = mem_rss_peak() - 1;
    assert_int_equal(train_run(&o, NULL, NULL, &r, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "--memory"));
    assert_false(file_exists(job));
    o.memory_bytes = 0;
    must_run(&o, &r);
    mem_free(job);
    mem_free(out);
    mem_free(data);
}

static void weights_that_are_no_numbers_are_refused(void **state) {
    (void)state;
    char *data = data_file("nan.jsonl", 30), *out = in_dir("nan"), *judged = in_dir("nan-judged");
    struct train_options o = options(data, judged);
    struct train_result r;
    struct err err;
    o.epochs = 0;
    o.steps = 1;
    o.lr = 1;
    o.weight_decay = 1e38;
    o.valid = data;
    assert_int_equal(train_run(&o, NULL, NULL, &r, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "step 1: the held-out loss is no longer a number"));
    assert_int_equal(train_resume(judged, 1, NULL, NULL, &r, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "held-out loss is no longer a number"));
    struct buf metrics = file_bytes(judged, "metrics.jsonl");
    assert_int_equal(lines(&metrics), 1);
    o.valid = NULL;
    o.weight_decay = 1e300;
    o.out = out;
    assert_int_equal(train_run(&o, NULL, NULL, &r, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "weight is no longer a number"));
    buf_release(&metrics);
    mem_free(out);
    mem_free(judged);
    mem_free(data);
}

static void wrong_options_are_named(void **state) {
    (void)state;
    static const struct {
        struct train_options o;
        const char *says;
    } cases[] = {
        {{.base = BASE, .data = "x", .out = "y", .epochs = 1, .steps = 1}, "--epochs and --steps"},
        {{.base = BASE, .data = "x", .out = "y", .dropout = 1}, "--dropout 1"},
        {{.base = BASE, .data = "x", .out = "y", .holdout = 1.5}, "--holdout 1.5"},
        {{.base = BASE, .data = "x", .out = "y", .method = TRAIN_FULL, .init = "z"}, "--init"},
        {{.base = BASE, .data = "x", .out = "y", .from_scratch = true}, "--method full"},
        {{.data = "x", .out = "y"}, "--base"},
        {{.base = BASE, .data = "x", .out = "y", .holdout = 0.1, .steps = 1}, "--steps"},
        {{.base = BASE, .data = "x", .out = "y", .holdout = 0.1, .valid = "v"}, "--valid"},
    };
    struct train_result r;
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(train_run(&cases[i].o, NULL, NULL, &r, &err), ERR_USAGE);
        if (!strstr(err.msg, cases[i].says))
            fail_msg("\"%s\" does not say %s", err.msg, cases[i].says);
    }
}

UNIT_TESTS(train_job, cmocka_unit_test(a_job_learns_and_leaves_its_files),
           cmocka_unit_test(threads_and_runs_give_the_same_bytes),
           cmocka_unit_test(the_last_weights_are_kept_where_asked),
           cmocka_unit_test(the_last_epochs_stay_as_adapters),
           cmocka_unit_test(killed_jobs_end_with_the_same_bytes),
           cmocka_unit_test(an_interrupted_job_goes_on),
           cmocka_unit_test(every_micro_batch_is_tried_and_run),
           cmocka_unit_test(a_large_adapter_keeps_to_the_plan),
           cmocka_unit_test(the_plan_counts_and_names_rows),
           cmocka_unit_test(resume_refuses_changed_data),
           cmocka_unit_test(resume_refuses_a_changed_configuration),
           cmocka_unit_test(resume_refuses_a_changed_init),
           cmocka_unit_test(half_written_files_are_removed),
           cmocka_unit_test(the_files_of_a_directory_that_was_no_job_stay),
           cmocka_unit_test(a_damaged_checkpoint_is_named),
           cmocka_unit_test(a_full_disk_leaves_the_last_checkpoint),
           cmocka_unit_test(a_small_budget_is_refused_before_step_1),
           cmocka_unit_test(a_budget_is_held_against_the_trial),
           cmocka_unit_test(weights_that_are_no_numbers_are_refused),
           cmocka_unit_test(wrong_options_are_named))
