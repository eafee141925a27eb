/* Whole jobs in this process: results, errors, pauses, what goes on. */
#include "unit.h"

#include "jobs_fixture.h"
#include "registry/names.h"

#include <fcntl.h>
#include <sys/file.h>

static volatile sig_atomic_t stop;

static enum worker_end work(struct fixture *f, const char *job) {
    struct worker_options o = {.threads = 1, .stop = &stop};
    enum worker_end end = WORKER_BUSY;
    stop = 0;
    if (worker_run(f->c, job, &o, &end, &f->err)) fail_msg("%s", f->err.msg);
    return end;
}

static void a_job_becomes_a_model(void **state) {
    struct fixture *f = *state;
    struct ftjob new = {.suffix = "sums", .given = {.epochs = 5, .batch_size = 4}, .seed = 7};
    const char *id = jobs_add(f, new, 10).id;
    assert_int_equal(work(f, id), WORKER_DONE);
    struct ftjob j = jobs_get(f, id);
    if (j.error_message) fail_msg("%s", j.error_message);
    assert_string_equal(j.status, "succeeded");
    assert_int_equal(strncmp(j.fine_tuned_model, "ft:tiny:local:sums:", 19), 0);
    assert_int_equal(strlen(j.fine_tuned_model), 19 + 8);
    assert_int_equal(j.resolved.epochs, 5);
    assert_int_equal(j.steps, 15); /* ceil(10 / 4) · 5: nothing is held out */
    assert_true(j.trained_tokens > 0);
    assert_true(j.started_at && j.finished_at && !j.estimated_finish);
    jobs_expect_steps(f, id, 15);
    struct ftevent_list events = jobs_events(f, id);
    static const char *const texts[] = {"Created fine-tuning job: ftjob-",
                                        "Validating training file: file-",
                                        "Files validated, moving job to queued",
                                        "Fine-tuning job started",
                                        "Step 1/15: training loss=",
                                        "New fine-tuned model created: ft:tiny:local:sums:",
                                        "The job has successfully completed"};
    size_t t = 0;
    for (size_t i = 0; i < events.count && t < sizeof texts / sizeof *texts; i++)
        t += strncmp(events.list[i].message, texts[t], strlen(texts[t])) == 0;
    assert_int_equal(t, sizeof texts / sizeof *texts);
    struct buf csv = jobs_result(f, &j);
    assert_int_equal(count_lines(&csv), 16);
    assert_int_equal(strncmp(csv.p, "step,train_loss,train_accuracy,", 31), 0);
    buf_release(&csv);
    struct ftcheckpoint_list l;
    assert_int_equal(ftcheckpoints_list(f->c, id, &(struct page){.limit = 9}, &f->mem, &l, &f->err),
                     0);
    assert_int_equal(l.count, 3);
    assert_int_equal(l.list[0].step, 15);
    for (size_t i = 0; i < l.count; i++) { /* each is a model */
        struct named_model m;
        assert_int_equal(names_resolve(f->c, l.list[i].model, &f->mem, &m, &f->err), 0);
        char *weights = path_join(m.adapter, "adapter_model.safetensors");
        assert_true(file_exists(weights));
        mem_free(weights);
    }
    assert_int_equal(work(f, id), WORKER_BUSY); /* nothing to do any more */
}

static void a_tuned_model_is_tuned_again(void **state) {
    struct fixture *f = *state;
    struct ftjob new = {.given = {.epochs = 1, .batch_size = 5}};
    const char *first = jobs_add(f, new, 10).id;
    assert_int_equal(work(f, first), WORKER_DONE);
    new.model = jobs_get(f, first).fine_tuned_model;
    const char *second = jobs_add(f, new, 11).id;
    assert_int_equal(work(f, second), WORKER_DONE);
    struct ftjob j = jobs_get(f, second);
    if (j.error_message) fail_msg("%s", j.error_message);
    assert_string_equal(j.status, "succeeded");
    assert_int_equal(strncmp(j.fine_tuned_model, "ft:tiny:local::", 15), 0);
    struct named_model m;
    assert_int_equal(names_resolve(f->c, j.fine_tuned_model, &f->mem, &m, &f->err), 0);
    assert_string_equal(m.base, "tiny");
}

static void rows_to_judge_by_give_their_losses(void **state) {
    struct fixture *f = *state;
    struct ftjob new = {.given = {.epochs = 4, .batch_size = 5},
                        .validation_file = jobs_rows(f, 6).id};
    const char *id = jobs_add(f, new, 10).id;
    assert_int_equal(work(f, id), WORKER_DONE);
    struct ftjob j = jobs_get(f, id);
    if (j.error_message) fail_msg("%s", j.error_message);
    jobs_expect_steps(f, id, 8); /* asked for: never cut short */
    struct ftevent_list events = jobs_events(f, id);
    int full = 0;
    for (size_t i = 0; i < events.count; i++)
        full += events.list[i].data && strstr(events.list[i].data, "\"full_valid_loss\"") &&
                strstr(events.list[i].message, ", validation loss=");
    assert_int_equal(full, 4); /* at the end of each epoch */
}

static void preference_pairs_are_trained(void **state) {
    struct fixture *f = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(file_read("tests/fixtures/train/dpo/pairs.jsonl", &b, &f->err), 0);
    struct ftjob new = {.method = "dpo",
                        .training_file =
                            fixture_file(f, "pairs.jsonl", "fine-tune", buf_view(&b)).id,
                        .given = {.epochs = 2, .batch_size = 4}};
    buf_release(&b);
    const char *id = jobs_add(f, new, 0).id;
    assert_int_equal(work(f, id), WORKER_DONE);
    struct ftjob j = jobs_get(f, id);
    if (j.error_message) fail_msg("%s", j.error_message);
    assert_string_equal(j.status, "succeeded");
    assert_true(j.resolved.beta == 0.1);
    struct ftevent_list events = jobs_events(f, id);
    int rewards = 0;
    for (size_t i = 0; i < events.count; i++)
        rewards += events.list[i].data && strstr(events.list[i].data, "\"train_reward_margin\"");
    assert_int_equal(rewards, j.steps);
    new.training_file = jobs_rows(f, 12).id; /* no pairs */
    id = jobs_add(f, new, 0).id;
    assert_int_equal(work(f, id), WORKER_DONE);
    assert_string_equal(jobs_get(f, id).error_code, "invalid_training_file");
}

static void what_is_wrong_becomes_the_jobs_error(void **state) {
    struct fixture *f = *state;
    struct ftjob unknown = {.model = "nothing"}, other = {.method = "reinforcement"};
    struct {
        const char *id, *code, *param;
    } cases[] = {{jobs_add(f, (struct ftjob){0}, 9).id, "invalid_n_examples", "training_file"},
                 {jobs_add(f, unknown, 10).id, "model_not_available", "model"},
                 {jobs_add(f, other, 10).id, "unsupported_value", "method"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(work(f, cases[i].id), WORKER_DONE);
        struct ftjob j = jobs_get(f, cases[i].id);
        assert_string_equal(j.status, "failed");
        assert_string_equal(j.error_code, cases[i].code);
        assert_string_equal(j.error_param, cases[i].param);
        assert_int_equal(j.resolved.epochs, 0);
    }
}

static void validation_can_stand_alone(void **state) {
    struct fixture *f = *state;
    struct worker_options o = {.threads = 1, .stop = &stop, .only_validate = true};
    enum worker_end end = WORKER_BUSY;
    const char *id = jobs_add(f, (struct ftjob){0}, 12).id;
    assert_int_equal(worker_run(f->c, id, &o, &end, &f->err), 0);
    assert_int_equal(end, WORKER_DONE);
    struct ftjob j = jobs_get(f, id);
    assert_string_equal(j.status, "queued");
    assert_int_equal(j.resolved.epochs, 8);
    assert_int_equal(j.resolved.batch_size, 1);
}

static struct buf adapter_bytes(struct fixture *f, const char *id) {
    char below[128];
    struct buf b;
    snprintf(below, sizeof below, "jobs/%s/out/adapter_model.safetensors", id);
    char *path = catalog_path(f->c, below);
    buf_init(&b, 16 << 20);
    if (file_read(path, &b, &f->err)) fail_msg("%s", f->err.msg);
    mem_free(path);
    return b;
}

static void a_stopped_job_goes_on_to_the_same_bytes(void **state) {
    struct fixture *f = *state;
    struct ftjob new = {.given = {.epochs = 3, .batch_size = 2}, .seed = 5};
    const char *whole = jobs_add(f, new, 12).id, *cut = jobs_add(f, new, 12).id;
    assert_int_equal(work(f, whole), WORKER_DONE);
    struct worker_options o = {.threads = 1, .stop = &stop};
    enum worker_end end = WORKER_BUSY;
    stop = 1; /* before step 1, and once more by a pause */
    assert_int_equal(worker_run(f->c, cut, &o, &end, &f->err), 0);
    assert_int_equal(end, WORKER_STOPPED);
    struct ftjob j;
    assert_int_equal(ftjobs_pause(f->c, cut, &f->mem, &j, &f->err), 0);
    assert_int_equal(work(f, cut), WORKER_BUSY);
    assert_int_equal(ftjobs_resume(f->c, cut, &f->mem, &j, &f->err), 0);
    assert_int_equal(work(f, cut), WORKER_DONE);
    jobs_expect_steps(f, cut, 18);
    struct buf a = adapter_bytes(f, whole), b = adapter_bytes(f, cut);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    buf_release(&a);
    buf_release(&b);
}

static void a_job_is_one_workers(void **state) {
    struct fixture *f = *state;
    const char *id = jobs_add(f, (struct ftjob){0}, 10).id;
    char below[128];
    snprintf(below, sizeof below, "jobs/%s", id);
    char *dir = catalog_path(f->c, below), *lock = path_join(dir, "lock");
    assert_int_equal(dir_make(dir, &f->err), 0);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(work(f, id), WORKER_BUSY);
    assert_string_equal(jobs_get(f, id).status, "validating_files");
    assert_int_equal(jobs_get(f, id).claim, 0);
    close(fd);
    struct worker_options o = {.threads = 1, .stop = &stop};
    enum worker_end end;
    assert_int_equal(worker_run(f->c, "ftjob-none", &o, &end, &f->err), ERR_NOT_FOUND);
    mem_free(lock);
    mem_free(dir);
}

UNIT_TESTS(jobs_worker, WITH_JOBS(a_job_becomes_a_model), WITH_JOBS(a_tuned_model_is_tuned_again),
           WITH_JOBS(rows_to_judge_by_give_their_losses), WITH_JOBS(preference_pairs_are_trained),
           WITH_JOBS(what_is_wrong_becomes_the_jobs_error), WITH_JOBS(validation_can_stand_alone),
           WITH_JOBS(a_stopped_job_goes_on_to_the_same_bytes), WITH_JOBS(a_job_is_one_workers))
