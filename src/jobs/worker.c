#include "jobs/worker.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/check.h"
#include "jobs/progress.h"
#include "registry/lifecycle.h"
#include "train/train.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define TELL_SECONDS 0.25 /* steps are told at most this often */
#define TELL_EVENTS 64    /* in one transaction */
#define KEEP_EPOCHS 3
#define MEMORY_MAX ((size_t)64 << 20)
#define CSV_NAME "step_metrics.csv"

struct run {
    struct catalog *c;
    const struct worker_options *o;
    struct arena mem; /* what belongs to the job's row */
    struct ftjob j;
    struct named_model model;
    char name[NAME_SIZE]; /* of the tuned model */
    char *dir, *out, *metrics;
    struct follow follow;
    int64_t steps, epoch_steps, told; /* told: last step that the catalog has */
    double seconds_left, told_at;
    bool started;
    struct err err; /* of a callback; code 0: none */
};

/* --- the row --- */

static int lock_job(const char *dir, int *ret_fd, bool *ret_busy, struct err *err) {
    char *path = path_join(dir, "lock");
    int rc = dir_make(dir, err), fd = -1;
    if (!rc && (fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0)
        rc = err_sys(err, errno, "could not open \"%s\"", path);
    if (!rc && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *ret_busy = errno == EWOULDBLOCK;
        if (!*ret_busy) rc = err_sys(err, errno, "could not lock \"%s\"", path);
    }
    mem_free(path);
    *ret_fd = fd;
    return rc;
}

static int fail_job(struct run *r, const char *code, const char *message, const char *param,
                    struct err *err) {
    struct ft_failure why = {code, message, param};
    return ftjobs_fail(r->c, r->j.id, r->j.claim, &why, err);
}

/* *ret_ok false: the job failed for this */
static int find_model(struct run *r, bool *ret_ok, struct err *err) {
    struct err bad;
    int rc = names_resolve(r->c, r->j.model, &r->mem, &r->model, &bad);
    *ret_ok = !rc;
    if (rc == ERR_NOT_FOUND) return fail_job(r, "model_not_available", bad.msg, "model", err);
    if (rc) return err_set(err, rc, "%s", bad.msg);
    size_t n = strlen(r->j.id);
    names_compose(&(struct tuned_name){.base = r->model.base,
                                       .org = NAMES_ORG,
                                       .suffix = r->j.suffix,
                                       .unique = r->j.id + (n > 8 ? n - 8 : 0)},
                  r->name);
    return 0;
}

static int validate_files(struct run *r, bool *ret_ok, struct err *err) {
    struct ft_hyper hyper;
    struct ft_problem problem;
    int rc = ft_check(r->c, &r->j, &r->model, &hyper, &problem, err);
    if (rc) return rc;
    *ret_ok = !problem.code[0];
    if (!*ret_ok) return fail_job(r, problem.code, problem.message, problem.param, err);
    rc = ftjobs_validated(r->c, &r->j, &hyper, err);
    r->j.resolved = hyper;
    return rc;
}

/* --- telling --- */

static void callback_failed(struct run *r, const struct err *err) {
    if (!r->err.code) r->err = *err;
    *r->o->stop = 1;
}

struct tell {
    struct run *r;
    struct arena mem;
    struct ftevent events[TELL_EVENTS];
    size_t count;
};

static int send_events(struct tell *t, struct err *err) {
    struct run *r = t->r;
    double left = r->seconds_left;
    struct ft_progress p = {.step = r->told,
                            .estimated_finish = left > 0 ? clock_unix() + (int64_t)left : 0,
                            .events = t->events,
                            .event_count = t->count};
    int rc = ftjobs_progress(r->c, &r->j, &p, err);
    t->count = 0;
    arena_reset(&t->mem);
    return rc;
}

static const char *taken(struct tell *t, struct buf *b) {
    const char *text = arena_strndup(&t->mem, buf_view(b).p, b->n);
    buf_clear(b);
    return text;
}

static int tell_step(void *ctx, const struct step_numbers *s, struct err *err) {
    struct tell *t = ctx;
    struct run *r = t->r;
    if (s->step <= r->told) return 0; /* before a kill */
    struct buf b;
    buf_init(&b, 1 << 12);
    struct ftevent *e = &t->events[t->count++];
    *e = (struct ftevent){.type = "metrics"};
    step_message(s, r->steps, &b);
    e->message = taken(t, &b);
    step_json(s, r->steps, r->epoch_steps && s->step % r->epoch_steps == 0, &b);
    e->data = taken(t, &b);
    buf_printf(&b, "step:%lld", (long long)s->step);
    e->once = taken(t, &b);
    buf_release(&b);
    r->told = s->step;
    return t->count == TELL_EVENTS ? send_events(t, err) : 0;
}

/* Brings the catalog up to the metrics file, and learns whether the job is still wanted. */
static void tell(struct run *r, bool flush) {
    struct err err;
    struct tell t = {.r = r};
    if (r->err.code) return;
    arena_init(&t.mem, MEMORY_MAX);
    int rc = follow_read(&r->follow, flush, tell_step, &t, &err);
    if (!rc) rc = send_events(&t, &err);
    if (rc) callback_failed(r, &err);
    arena_release(&t.mem);
    r->told_at = clock_seconds();
}

static void say(struct run *r, const char *level, const char *text, const char *once) {
    struct err err;
    struct ftevent e = {.level = level, .message = text, .once = once};
    if (!r->err.code && ftevents_add(r->c, r->j.id, &e, &err)) callback_failed(r, &err);
}

static void say_rows(struct run *r, const char *file, const struct row_numbers *found,
                     enum train_finding f) {
    struct buf b;
    char once[80];
    if (!found || found[f].count == 0) return;
    buf_init(&b, 1 << 12);
    buf_printf(&b, "%lld row(s) of the %s file %s:", (long long)found[f].count, file,
               train_finding_text(f));
    for (int64_t i = 0; i < found[f].count && i < 20; i++)
        buf_printf(&b, "%s %lld", i ? "," : "", (long long)found[f].list[i]);
    if (found[f].count > 20) buf_z(&b, ", ...");
    snprintf(once, sizeof once, "found:%s:%d", file, (int)f);
    say(r, "warn", b.p, once);
    buf_release(&b);
}

static void say_plan(struct run *r, const struct train_plan *p) {
    char text[300];
    bool may_stop = r->j.validation_file && !r->j.given.epochs;
    snprintf(text, sizeof text,
             "Will train on %lld tokens in %lld steps: %lld epoch(s), batch size %lld, learning "
             "rate %g (%g times the default of this model), adapter of rank %lld",
             (long long)p->job_tokens, (long long)p->steps, (long long)p->epochs,
             (long long)p->batch_size, p->lr, r->j.resolved.rate_multiplier, (long long)p->rank);
    say(r, "info", text, "plan");
    if (may_stop)
        say(r, "info",
            "n_epochs is \"auto\" and there is a validation file: training may stop early, and "
            "keeps the weights with the lowest validation loss",
            "may-stop");
    if (r->j.integrations && strcmp(r->j.integrations, "[]") != 0)
        say(r, "info", "Integrations are recorded; nothing is sent anywhere", "integrations");
    for (enum train_finding f = 0; f < FOUND_COUNT; f++) {
        say_rows(r, "training", p->found, f);
        if (r->j.validation_file) say_rows(r, "validation", p->valid_found, f);
    }
}

/* --- what training reports --- */

static void on_plan(void *ctx, const struct train_plan *p) {
    struct run *r = ctx;
    struct err err;
    struct ft_start start = {.steps = p->steps, .tokens = p->job_tokens};
    r->steps = p->steps;
    r->epoch_steps = p->epoch_steps;
    r->j.planned_tokens = p->job_tokens;
    if (ftjobs_started(r->c, &r->j, &start, &err)) {
        callback_failed(r, &err);
        return;
    }
    r->started = true;
    say_plan(r, p);
}

static void on_step(void *ctx, const struct train_step *s) {
    struct run *r = ctx;
    r->seconds_left = s->seconds_left;
    if (clock_seconds() - r->told_at >= TELL_SECONDS) tell(r, false);
}

/* "jobs/ftjob-x/out" or what lies in it */
static void below_home(const struct run *r, const char *name, char ret[NAME_SIZE]) {
    snprintf(ret, NAME_SIZE, "jobs/%.96s/out%s%s", r->j.id, name[0] ? "/" : "", name);
}

/* the numbers of one step, in the metrics file */
struct pick_step {
    int64_t step;
    struct step_numbers found;
};
static int pick_step(void *ctx, const struct step_numbers *s, struct err *err) {
    struct pick_step *p = ctx;
    (void)err;
    if (s->step == p->step) p->found = *s;
    return 0;
}

static void on_epoch(void *ctx, const struct train_epoch *e) {
    struct run *r = ctx;
    char checkpoint[NAME_SIZE], below[NAME_SIZE], step[64];
    struct err err;
    struct buf json;
    struct follow all = {.path = r->metrics};
    struct pick_step at = {.step = e->step, .found = step_nothing(e->step)};
    tell(r, true);
    if (r->err.code) return;
    if (follow_read(&all, true, pick_step, &at, &err)) {
        callback_failed(r, &err);
        return;
    }
    snprintf(step, sizeof step, "epochs/%.48s", path_base(e->dir).p);
    below_home(r, step, below);
    names_checkpoint(r->name, e->step, checkpoint);
    buf_init(&json, 1 << 12);
    step_json(&at.found, 0, true, &json);
    struct ft_epoch epoch = {.model = {.name = checkpoint,
                                       .base = r->model.base,
                                       .adapter = below,
                                       .metrics = json.p,
                                       .step = e->step},
                             .parent = r->name,
                             .keep = KEEP_EPOCHS};
    if (ftjobs_add_checkpoint(r->c, &r->j, &epoch, &err)) callback_failed(r, &err);
    buf_release(&json);
}

static void on_note(void *ctx, const char *text) { say(ctx, "info", text, NULL); }

/* --- training --- */

static struct train_options options(const struct run *r, const char *data, const char *valid) {
    const struct ft_hyper *h = &r->j.resolved;
    bool pairs = ft_is_preference(&r->j);
    return (struct train_options){.base = r->model.path,
                                  .objective = pairs ? OBJECTIVE_DPO : OBJECTIVE_SFT,
                                  .beta = h->beta,
                                  .data = data,
                                  .valid = valid,
                                  .out = r->out,
                                  .init = r->model.adapter,
                                  .dropout = -1,
                                  .warmup_steps = -1,
                                  .weight_decay = -1,
                                  .clip = -1,
                                  .lr_factor = h->rate_multiplier,
                                  .epochs = h->epochs,
                                  .batch_size = h->batch_size,
                                  /* all rows are trained; epochs that were asked for are run */
                                  .holdout = valid ? -1 : 0,
                                  .keep_last = valid && r->j.given.epochs > 0,
                                  .keep_epochs = KEEP_EPOCHS,
                                  .seed = (uint64_t)r->j.seed,
                                  .threads = r->o->threads,
                                  .dtype_auto = true};
}

static int train(struct run *r, struct train_result *ret, struct err *err) {
    struct train_events events = {
        .ctx = r, .plan = on_plan, .step = on_step, .epoch = on_epoch, .note = on_note};
    char *began = path_join(r->out, "job.json");
    bool resume = file_exists(began);
    mem_free(began);
    if (resume) return train_resume(r->out, r->o->threads, &events, r->o->stop, ret, err);
    char *data = blob_path(r->c, r->j.training_blob);
    char *valid = r->j.validation_blob ? blob_path(r->c, r->j.validation_blob) : NULL;
    struct train_options o = options(r, data, valid);
    int rc = train_run(&o, &events, r->o->stop, ret, err);
    mem_free(valid);
    mem_free(data);
    return rc;
}

static int csv_step(void *ctx, const struct step_numbers *s, struct err *err) {
    struct blob_writer *w = ctx;
    struct buf line;
    buf_init(&line, 512);
    step_csv(s, &line);
    int rc = blob_writer_add(w, line.p, line.n, err);
    buf_release(&line);
    return rc;
}

static int write_csv(struct run *r, struct blob_writer *w, struct err *err) {
    struct follow all = {.path = r->metrics};
    struct buf header;
    buf_init(&header, 512);
    step_csv_header(&header);
    int rc = blob_writer_add(w, header.p, header.n, err);
    buf_release(&header);
    return rc ? rc : follow_read(&all, true, csv_step, w, err);
}

static int succeed(struct run *r, const struct train_result *result, struct blob_writer *w,
                   struct err *err) {
    char checkpoint[NAME_SIZE], below[NAME_SIZE];
    struct follow all = {.path = r->metrics};
    struct pick_step last = {.step = result->kept_best ? result->best_step : result->steps};
    last.found = step_nothing(last.step);
    int rc = write_csv(r, w, err);
    if (!rc) rc = follow_read(&all, true, pick_step, &last, err);
    if (rc) return rc;
    below_home(r, "", below);
    names_checkpoint(r->name, last.step, checkpoint);
    struct buf json;
    buf_init(&json, 1 << 12);
    step_json(&last.found, 0, true, &json);
    double share = r->steps > 0 ? (double)result->steps / (double)r->steps : 1;
    struct ft_success s = {.last = {.name = r->name,
                                    .base = r->model.base,
                                    .adapter = below,
                                    .metrics = json.p,
                                    .step = last.step},
                           .checkpoint = checkpoint,
                           .results = w,
                           .results_name = CSV_NAME,
                           .trained_tokens = (int64_t)llround(share * (double)r->j.planned_tokens)};
    rc = ftjobs_succeed(r->c, &r->j, &s, err);
    buf_release(&json);
    return rc;
}

/* training was over before this worker began */
static int start_late(struct run *r, struct err *err) {
    struct ft_start start = {.steps = r->j.steps, .tokens = r->j.planned_tokens};
    return r->started ? 0 : ftjobs_started(r->c, &r->j, &start, err);
}

/* What the model was made of; where it cannot be written now, promoting writes it. */
static void record_version(struct run *r) {
    struct version v;
    struct err none;
    char actor[ID_SIZE + 8];
    snprintf(actor, sizeof actor, "job:%s", r->j.id);
    struct audit_cause cause = {.actor = actor, .reason = "training has ended"};
    if (lifecycle_version(r->c, r->name, &cause, &r->mem, &v, &none))
        say(r, "warn", none.msg, NULL);
}

static int finish(struct run *r, const struct train_result *result, struct err *err) {
    struct blob_writer *w = NULL;
    int rc = start_late(r, err);
    if (rc) return rc;
    tell(r, true);
    if (r->err.code) {
        *err = r->err;
        return err->code;
    }
    rc = blob_writer_open(r->c, &w, err);
    if (!rc) rc = succeed(r, result, w, err);
    blob_writer_free(w);
    if (!rc) record_version(r);
    return rc;
}

/* A full or failing disk may be better the next time; anything else would fail again. */
static bool is_the_machines(int code) {
    return code == ERR_IO || code == ERR_FULL || code == ERR_INTERNAL;
}

static int run_training(struct run *r, enum worker_end *ret, struct err *err) {
    struct train_result result = {0};
    struct err bad = {0};
    int rc = train(r, &result, &bad);
    if (r->err.code) { /* a callback's: the catalog's, or the job is not wanted any more */
        *err = r->err;
        return r->err.code;
    }
    if (rc && is_the_machines(rc)) {
        *err = bad;
        return rc;
    }
    if (rc)
        return fail_job(r, rc == ERR_LIMIT ? "insufficient_memory" : "training_failed", bad.msg,
                        NULL, err);
    if (!result.interrupted) return finish(r, &result, err);
    tell(r, true);
    *ret = WORKER_STOPPED;
    return r->err.code ? (*err = r->err).code : 0;
}

static int run_claimed(struct run *r, enum worker_end *ret, struct err *err) {
    bool ok = false, validated = strcmp(r->j.status, "validating_files") != 0;
    int rc = find_model(r, &ok, err);
    if (!rc && ok && !validated) rc = validate_files(r, &ok, err);
    if (rc || !ok || r->o->only_validate) return rc;
    if (*r->o->stop) {
        *ret = WORKER_STOPPED;
        return 0;
    }
    r->steps = r->j.steps;
    r->told = r->j.step;
    r->follow.path = r->metrics;
    return run_training(r, ret, err);
}

int worker_run(struct catalog *c, const char *job, const struct worker_options *o,
               enum worker_end *ret, struct err *err) {
    struct run r = {.c = c, .o = o};
    char below[ID_SIZE + 16];
    int lock = -1;
    bool busy = false;
    snprintf(below, sizeof below, "jobs/%.*s", ID_SIZE, job);
    r.dir = catalog_path(c, below);
    r.out = path_join(r.dir, "out");
    r.metrics = path_join(r.out, "metrics.jsonl");
    arena_init(&r.mem, MEMORY_MAX);
    *ret = WORKER_DONE;
    int rc = ftjobs_get(c, job, &r.mem, &r.j, err);
    if (!rc) rc = lock_job(r.dir, &lock, &busy, err);
    if (!rc && !busy) rc = ftjobs_claim(c, job, &r.mem, &r.j, err);
    if (rc == ERR_CONFLICT) busy = true;
    if (busy) {
        *ret = WORKER_BUSY;
        rc = 0;
    } else if (!rc) {
        rc = run_claimed(&r, ret, err);
    }
    if (rc == ERR_CANCELLED) {
        *ret = WORKER_STOPPED;
        rc = 0;
    }
    file_close(lock);
    arena_release(&r.mem);
    mem_free(r.metrics);
    mem_free(r.out);
    mem_free(r.dir);
    return rc;
}
