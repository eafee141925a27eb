/* Fine-tuning jobs: states, claims, events, checkpoints, the models they leave, webhooks. */
#include "unit.h"

#include "store/outbox.h"
#include "store/store_int.h"
#include "store/tuned.h"
#include "store_fixture.h"

#include <unistd.h>

static struct ftjob claim(struct fixture *f) {
    struct ftjob j = {0};
    if (ftjobs_claim(f->c, f->job, &f->mem, &j, &f->err)) fail_msg("%s", f->err.msg);
    return j;
}

static const char *status(struct fixture *f) {
    struct ftjob j;
    assert_int_equal(ftjobs_get(f->c, f->job, &f->mem, &j, &f->err), 0);
    return j.status;
}

static const struct ft_hyper hyper = {.epochs = 3, .batch_size = 4, .rate_multiplier = 1};

static const struct ft_start thirty = {.steps = 30, .tokens = 123};

static struct ftjob running(struct fixture *f) {
    fixture_job(f);
    struct ftjob j = claim(f);
    assert_int_equal(ftjobs_validated(f->c, &j, &hyper, &f->err), 0);
    assert_int_equal(ftjobs_started(f->c, &j, &thirty, &f->err), 0);
    return j;
}

static void everything_given_comes_back(void **state) {
    struct fixture *f = *state;
    struct stored_file file = fixture_file(f, "t.jsonl", "fine-tune", STR_LIT("{}"));
    struct ftjob got, new = {.model = "starter",
                             .training_file = file.id,
                             .validation_file = file.id,
                             .method = "dpo",
                             .method_json = "{\"type\":\"dpo\"}",
                             .metadata = "{\"a\":\"b\"}",
                             .integrations = "[]",
                             .suffix = "mine",
                             .given = {.epochs = 2, .beta = 0.5},
                             .seed = 2147483647};
    assert_int_equal(ftjobs_add(f->c, &new, &f->mem, &got, &f->err), 0);
    assert_string_equal(got.status, "validating_files");
    assert_string_equal(got.method_json, new.method_json);
    assert_string_equal(got.metadata, new.metadata);
    assert_string_equal(got.integrations, "[]");
    assert_string_equal(got.suffix, "mine");
    assert_string_equal(got.validation_blob, file.blob);
    assert_int_equal(got.given.epochs, 2);
    assert_int_equal(got.given.batch_size, 0);
    assert_true(got.given.beta == 0.5 && got.given.rate_multiplier == 0);
    assert_int_equal(got.seed, 2147483647);
    assert_int_equal(got.resolved.epochs, 0);
    assert_null(got.error_code);
    assert_true(got.created_at > 0 && got.finished_at == 0);
    new.training_file = "file-none";
    assert_int_equal(ftjobs_add(f->c, &new, &f->mem, &got, &f->err), ERR_NOT_FOUND);
    assert_non_null(strstr(f->err.msg, "file-none"));
}

static void a_job_keeps_its_bytes(void **state) {
    struct fixture *f = *state;
    struct ftjob j = fixture_job(f);
    char *path = blob_path(f->c, j.training_blob);
    assert_int_equal(files_delete(f->c, j.training_file, &f->err), 0);
    assert_true(file_exists(path));
    assert_int_equal(blobs_sweep(f->c, &f->err), 0);
    assert_true(file_exists(path));
    assert_int_equal(ftjobs_cancel(f->c, j.id, &f->mem, &j, &f->err), 0);
    assert_false(file_exists(path)); /* nobody needs them any more */
    mem_free(path);
}

static void states_change_as_they_may(void **state) {
    struct fixture *f = *state;
    struct ftjob j;
    fixture_job(f);
    assert_int_equal(ftjobs_resume(f->c, f->job, &f->mem, &j, &f->err), ERR_CONFLICT);
    assert_int_equal(ftjobs_pause(f->c, f->job, &f->mem, &j, &f->err), 0);
    assert_string_equal(j.status, "paused");
    assert_int_equal(ftjobs_pause(f->c, f->job, &f->mem, &j, &f->err), ERR_CONFLICT);
    assert_non_null(strstr(f->err.msg, "paused"));
    assert_int_equal(ftjobs_claim(f->c, f->job, &f->mem, &j, &f->err), ERR_CONFLICT);
    assert_int_equal(ftjobs_resume(f->c, f->job, &f->mem, &j, &f->err), 0);
    assert_string_equal(j.status, "validating_files"); /* its files were not read yet */
    j = claim(f);
    assert_int_equal(ftjobs_validated(f->c, &j, &hyper, &f->err), 0);
    assert_int_equal(ftjobs_pause(f->c, f->job, &f->mem, &j, &f->err), 0);
    assert_int_equal(ftjobs_resume(f->c, f->job, &f->mem, &j, &f->err), 0);
    assert_string_equal(j.status, "queued");
    assert_int_equal(ftjobs_cancel(f->c, f->job, &f->mem, &j, &f->err), 0);
    assert_string_equal(j.status, "cancelled");
    assert_true(j.finished_at > 0);
    assert_int_equal(ftjobs_cancel(f->c, f->job, &f->mem, &j, &f->err), ERR_CONFLICT);
    assert_int_equal(ftjobs_cancel(f->c, "ftjob-none", &f->mem, &j, &f->err), ERR_NOT_FOUND);
}

static void an_old_claim_writes_nothing(void **state) {
    struct fixture *f = *state;
    struct ftjob old = running(f), now = claim(f);
    struct ft_progress p = {.step = 3};
    struct ft_failure why = {"x", "y", NULL};
    assert_true(now.claim > old.claim);
    assert_int_equal(now.worker_pid, getpid());
    assert_int_equal(ftjobs_progress(f->c, &old, &p, &f->err), ERR_CANCELLED);
    assert_int_equal(ftjobs_fail(f->c, old.id, old.claim, &why, &f->err), ERR_CANCELLED);
    assert_int_equal(ftjobs_started(f->c, &old, &thirty, &f->err), ERR_CANCELLED);
    assert_int_equal(ftjobs_progress(f->c, &now, &p, &f->err), 0);
}

static void a_cancelled_job_takes_no_progress(void **state) {
    struct fixture *f = *state;
    struct ftjob j = running(f), now;
    struct ft_progress p = {.step = 3};
    struct ft_failure why = {"x", "y", NULL};
    assert_int_equal(ftjobs_cancel(f->c, j.id, &f->mem, &now, &f->err), 0);
    assert_int_equal(ftjobs_progress(f->c, &j, &p, &f->err), ERR_CANCELLED);
    assert_int_equal(ftjobs_fail(f->c, j.id, j.claim, &why, &f->err), ERR_CANCELLED);
    assert_string_equal(status(f), "cancelled");
}

static void a_failed_job_says_why(void **state) {
    struct fixture *f = *state;
    fixture_job(f);
    struct ftjob j = claim(f);
    struct ft_failure why = {"invalid_n_examples", "Training file has 7 example(s)",
                             "training_file"};
    assert_int_equal(ftjobs_fail(f->c, j.id, j.claim, &why, &f->err), 0);
    assert_int_equal(ftjobs_get(f->c, j.id, &f->mem, &j, &f->err), 0);
    assert_string_equal(j.status, "failed");
    assert_string_equal(j.error_code, "invalid_n_examples");
    assert_string_equal(j.error_message, why.message);
    assert_string_equal(j.error_param, "training_file");
    assert_int_equal(j.resolved.epochs, 0); /* "auto" stays */
    assert_true(j.finished_at > 0);
    struct ftevent_list l;
    assert_int_equal(ftevents_list(f->c, j.id, &(struct page){.limit = 1}, &f->mem, &l, &f->err),
                     0);
    assert_string_equal(l.list[0].level, "error");
}

static void a_step_is_told_once(void **state) {
    struct fixture *f = *state;
    struct ftjob j = running(f);
    struct ftevent steps[] = {{.type = "metrics", .message = "Step 1/30", .once = "step:1"},
                              {.type = "metrics", .message = "Step 2/30", .once = "step:2"}};
    struct ft_progress p = {.step = 2, .events = steps, .event_count = 2};
    struct ftevent_list l;
    assert_int_equal(ftjobs_progress(f->c, &j, &p, &f->err), 0);
    j = claim(f); /* after a crash */
    assert_int_equal(ftjobs_started(f->c, &j, &thirty, &f->err), 0);
    assert_int_equal(ftjobs_progress(f->c, &j, &p, &f->err), 0);
    assert_int_equal(ftevents_list(f->c, j.id, &(struct page){.limit = 99}, &f->mem, &l, &f->err),
                     0);
    assert_int_equal(l.count, 2 + 1 + 1 + 2); /* created, validating; validated; started; steps */
    assert_string_equal(l.list[0].message, "Step 2/30");
    assert_string_equal(l.list[l.count - 1].message + strlen("Created fine-tuning job: "), j.id);
    assert_int_equal(
        ftevents_list(f->c, "ftjob-none", &(struct page){.limit = 1}, &f->mem, &l, &f->err),
        ERR_NOT_FOUND);
}

static struct blob_writer *results(struct fixture *f) {
    struct blob_writer *w = NULL;
    assert_int_equal(blob_writer_open(f->c, &w, &f->err), 0);
    assert_int_equal(blob_writer_add(w, "step\n", 5, &f->err), 0);
    return w;
}

static struct ft_success success(struct blob_writer *w) {
    return (struct ft_success){.last = {.name = "ft:starter:org::abc",
                                        .base = "starter",
                                        .adapter = "jobs/x/out",
                                        .metrics = "{\"step\":30}",
                                        .step = 30},
                               .checkpoint = "ft:starter:org::abc:ckpt-step-30",
                               .results = w,
                               .results_name = "step_metrics.csv",
                               .trained_tokens = 123};
}

static void success_is_all_of_it(void **state) {
    struct fixture *f = *state;
    struct ftjob j = running(f);
    struct blob_writer *w = results(f);
    struct ft_success s = success(w);
    struct ft_epoch epoch = {.parent = s.last.name, .keep = 2};
    struct stored_file file;
    struct tuned_list models;
    struct ftcheckpoint_list l;
    static const int64_t steps[] = {5, 10, 10, 20};
    for (int i = 0; i < 4; i++) { /* one again, as after a kill */
        char name[80];
        snprintf(name, sizeof name, "%s:ckpt-step-%d", s.last.name, (int)steps[i]);
        epoch.model = (struct ft_model){name, "starter", "jobs/x/e", "{}", steps[i]};
        assert_int_equal(ftjobs_add_checkpoint(f->c, &j, &epoch, &f->err), 0);
    }
    assert_int_equal(ftjobs_succeed(f->c, &j, &s, &f->err), 0);
    blob_writer_free(w);
    assert_int_equal(ftjobs_get(f->c, j.id, &f->mem, &j, &f->err), 0);
    assert_string_equal(j.status, "succeeded");
    assert_string_equal(j.fine_tuned_model, s.last.name);
    assert_int_equal(j.trained_tokens, 123);
    assert_int_equal(files_get(f->c, j.result_file, &f->mem, &file, &f->err), 0);
    assert_string_equal(file.purpose, "fine-tune-results");
    assert_int_equal(file.bytes, 5);
    assert_int_equal(
        ftcheckpoints_list(f->c, j.id, &(struct page){.limit = 10}, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 3);
    assert_string_equal(l.list[0].model, s.checkpoint);
    assert_int_equal(l.list[2].step, 10); /* the one of step 5 went */
    assert_int_equal(tuned_list(f->c, &f->mem, &models, &f->err), 0);
    assert_int_equal(models.count, 4);
    assert_int_equal(tuned_delete(f->c, s.last.name, &f->mem, &models, &f->err), 0);
    assert_int_equal(models.count, 4); /* with its checkpoints */
    assert_int_equal(tuned_delete(f->c, s.last.name, &f->mem, &models, &f->err), ERR_NOT_FOUND);
}

static void half_a_success_is_none(void **state) {
    struct fixture *f = *state;
    struct ftjob j = running(f);
    struct blob_writer *w = results(f);
    struct ft_success s = success(w);
    struct tuned_model taken = {
        .name = s.last.name, .kind = "imported", .base = "starter", .adapter = "x"};
    struct file_list files;
    assert_int_equal(tuned_add(f->c, &taken, &f->err), 0);
    assert_int_equal(tuned_add(f->c, &taken, &f->err), ERR_CONFLICT);
    assert_int_not_equal(ftjobs_succeed(f->c, &j, &s, &f->err), 0);
    blob_writer_free(w);
    assert_string_equal(status(f), "running");
    assert_int_equal(
        files_list(f->c, "fine-tune-results", &(struct page){.limit = 9}, &f->mem, &files, &f->err),
        0);
    assert_int_equal(files.count, 0);
}

static void lists_filter_by_metadata(void **state) {
    struct fixture *f = *state;
    struct stored_file file = fixture_file(f, "t.jsonl", "fine-tune", STR_LIT("{}"));
    static const char *const metadata[] = {"{\"a\":\"1\"}", NULL, "{}", "{\"a\":\"2\"}"};
    struct ftjob j;
    struct ftjob_list l;
    for (int i = 0; i < 4; i++)
        assert_int_equal(ftjobs_add(f->c,
                                    &(struct ftjob){.model = "m",
                                                    .training_file = file.id,
                                                    .method = "supervised",
                                                    .metadata = metadata[i]},
                                    &f->mem, &j, &f->err),
                         0);
    struct meta_filter a = {STR_LIT("a"), STR_LIT("2")};
    struct ftjob_filter filter = {.metadata = &a, .metadata_count = 1};
    struct page page = {.limit = 20};
    assert_int_equal(ftjobs_list(f->c, &filter, &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 1);
    filter = (struct ftjob_filter){.without_metadata = true};
    assert_int_equal(ftjobs_list(f->c, &filter, &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 2);
    filter = (struct ftjob_filter){0};
    assert_int_equal(ftjobs_list(f->c, &filter, &page, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 4);
    assert_string_equal(l.list[0].metadata, metadata[3]); /* newest first */
}

static void crashes_are_counted(void **state) {
    struct fixture *f = *state;
    struct ftjob j = running(f);
    int64_t n = 0;
    assert_int_equal(ftjobs_crashed(f->c, j.id, &n, &f->err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(ftjobs_crashed(f->c, j.id, &n, &f->err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ftjobs_progress(f->c, &j, &(struct ft_progress){.step = 9}, &f->err), 0);
    assert_int_equal(ftjobs_crashed(f->c, j.id, &n, &f->err), 0);
    assert_int_equal(n, 1); /* it came further */
    assert_int_equal(ftjobs_crashed(f->c, "x", &n, &f->err), ERR_NOT_FOUND);
    bool found = false;
    assert_int_equal(ftjobs_oldest(f->c, "running", &f->mem, &j, &found, &f->err), 0);
    assert_true(found);
    assert_int_equal(ftjobs_oldest(f->c, "queued", &f->mem, &j, &found, &f->err), 0);
    assert_false(found);
}

/* --- webhooks --- */

static void a_finished_job_is_told_to_every_endpoint(void **state) {
    struct fixture *f = *state;
    struct webhook a, b;
    struct outbox_list l;
    struct delivery_list log;
    struct webhook_list hooks;
    struct ftjob j;
    assert_int_equal(webhooks_add(f->c, "http://a/", "whsec_a", &f->mem, &a, &f->err), 0);
    assert_int_equal(webhooks_add(f->c, "http://b/", "whsec_b", &f->mem, &b, &f->err), 0);
    fixture_job(f);
    assert_int_equal(ftjobs_cancel(f->c, f->job, &f->mem, &j, &f->err), 0);
    assert_int_equal(outbox_due(f->c, NULL, INT64_MAX, 10, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.list[0].event, l.list[1].event);
    assert_non_null(strstr(l.list[0].payload, "\"type\":\"fine_tuning.job.cancelled\""));
    assert_non_null(strstr(l.list[0].payload, f->job));
    struct outbox_attempt failed = {.message = "refused", .next_attempt_at = INT64_MAX};
    struct outbox_attempt done = {.http_status = 204, .delivered = true};
    assert_int_equal(outbox_attempted(f->c, l.list[0].id, &failed, &f->err), 0);
    assert_int_equal(outbox_attempted(f->c, l.list[1].id, &done, &f->err), 0);
    const char *first = l.list[0].id, *second_to = l.list[1].endpoint;
    assert_int_equal(outbox_due(f->c, NULL, INT64_MAX - 1, 10, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 0);
    assert_int_equal(outbox_due(f->c, NULL, INT64_MAX, 10, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 1);
    assert_int_equal(l.list[0].attempts, 1);
    assert_int_equal(deliveries_list(f->c, first, &f->mem, &log, &f->err), 0);
    assert_int_equal(log.count, 1);
    assert_string_equal(log.list[0].message, "refused");
    assert_int_equal(deliveries_recent(f->c, 1, &f->mem, &log, &f->err), 0);
    assert_int_equal(log.count, 1); /* the newest */
    assert_int_equal(log.list[0].http_status, 204);
    assert_null(log.list[0].message);
    assert_string_equal(log.list[0].endpoint, second_to);
    assert_string_equal(log.list[0].event, l.list[0].event);
    assert_string_equal(log.list[0].type, "fine_tuning.job.cancelled");
    assert_int_equal(webhooks_list(f->c, &f->mem, &hooks, &f->err), 0);
    assert_int_equal(hooks.count, 2);
    assert_string_equal(hooks.list[1].secret, "whsec_b");
    assert_int_equal(webhooks_delete(f->c, l.list[0].endpoint, &f->err), 0);
    assert_int_equal(outbox_due(f->c, NULL, INT64_MAX, 10, &f->mem, &l, &f->err), 0);
    assert_int_equal(l.count, 0);
}

UNIT_TESTS(store_ftjobs, WITH_CATALOG(everything_given_comes_back),
           WITH_CATALOG(a_job_keeps_its_bytes), WITH_CATALOG(states_change_as_they_may),
           WITH_CATALOG(an_old_claim_writes_nothing),
           WITH_CATALOG(a_cancelled_job_takes_no_progress), WITH_CATALOG(a_failed_job_says_why),
           WITH_CATALOG(a_step_is_told_once), WITH_CATALOG(success_is_all_of_it),
           WITH_CATALOG(half_a_success_is_none), WITH_CATALOG(lists_filter_by_metadata),
           WITH_CATALOG(crashes_are_counted),
           WITH_CATALOG(a_finished_job_is_told_to_every_endpoint))
