/* The training loop: train_run and train_resume.
 *
 * A step: its rows in micro-batches through the net, gradients added up with 1/(trained weight of
 * the whole step), one update, one metrics line. Everything a step does follows from the job and
 * the state before it. Checkpoints are written by the clock, which changes no bit. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

#define PATIENCE 3              /* validations without gain before stopping */
#define CHECKPOINT_SECONDS 30.0 /* between checkpoints */
#define CONFIG_MAX ((size_t)1 << 20)
#define CHECKPOINT_SHARE 50.0 /* and at least this many times what one took */

struct loop {
    struct trainer *t;
    double began, seconds_before; /* of earlier runs of this job */
    int64_t first_step, inputs;   /* tokens through the net since `began` */
    double saved_at, save_seconds;
    struct measures step, valid; /* of the last step and judgement */
};

/* --- one step --- */

static void report_step(struct loop *l, const struct metrics_step *m) {
    const struct trainer *t = l->t;
    if (!t->events || !t->events->step) return;
    double spent = clock_seconds() - l->began;
    int64_t done = m->step - l->first_step + 1;
    struct train_step s = {.step = m->step,
                           .steps = t->job.steps,
                           .tokens = m->tokens,
                           .rows = m->rows,
                           .loss = m->loss,
                           .accuracy = m->accuracy,
                           .rewards = m->rewards,
                           .lr = m->lr,
                           .grad_norm = m->grad_norm,
                           .seconds_left = spent / (double)done * (double)(t->job.steps - m->step),
                           .tokens_per_second = (double)l->inputs / (spent > 0 ? spent : 1e-9)};
    t->events->step(t->events->ctx, &s);
}

static int diverged(const struct trainer *t, int64_t step, const char *what, double loss,
                    struct err *err) {
    return err_set(err, ERR_INVALID,
                   "step %lld: the %s is no longer a number (%g); a smaller --lr than %g helps as "
                   "a rule",
                   (long long)step, what, loss, t->job.o.lr);
}

static int train_step(struct loop *l, int64_t step, struct err *err) {
    struct trainer *t = l->t;
    int64_t count = trainer_step_rows(t, step), trained = 0;
    for (int64_t i = 0; i < count; i++) {
        trained += t->step_rows[i]->trained;
        l->inputs += sample_inputs(t->step_rows[i]);
    }
    struct objective o = trainer_objective(t);
    struct objective_pass pass = {.dropout = (float)t->job.o.dropout,
                                  .key = rng_hash(t->job.o.seed, (uint64_t)step),
                                  .backward = true};
    l->step = objective_run(&o, t->net, t->step_rows, count, &pass);
    double loss = l->step.loss;
    struct metrics_step m = {.step = step,
                             .tokens = trained,
                             .rows = count / t->data.per_row,
                             .loss = loss,
                             .accuracy = l->step.accuracy,
                             .rewards = l->step.rewards,
                             .lr = optim_lr(&t->optim, step)};
    m.grad_norm = optim_step(t->num, &t->optim, &t->params, step);
    if (!isfinite(loss)) return diverged(t, step, "loss", loss, err);
    if (!isfinite(m.grad_norm)) return diverged(t, step, "gradient's norm", m.grad_norm, err);
    if (step == 1) t->state.first_loss = loss;
    t->state.last_loss = loss;
    t->state.step = step;
    int rc = metrics_add_step(&t->metrics, &m, err);
    if (!rc) report_step(l, &m);
    return rc;
}

/* Keeps the best weights; says when to stop. */
static int judge(struct loop *l, struct err *err) {
    struct trainer *t = l->t;
    struct train_state *s = &t->state;
    struct objective o = trainer_objective(t);
    l->valid = objective_run(&o, t->net, t->valid, t->valid_count, &(struct objective_pass){0});
    struct train_valid v = {.step = s->step,
                            .loss = l->valid.loss,
                            .accuracy = l->valid.accuracy,
                            .rewards = l->valid.rewards};
    if (!isfinite(v.loss)) return diverged(t, s->step, "held-out loss", v.loss, err);
    v.best = isnan(s->best_valid) || v.loss < s->best_valid;
    int rc = metrics_add_valid(&t->metrics, &v, err);
    if (rc) return rc;
    if (v.best) {
        s->best_valid = v.loss;
        s->best_step = s->step;
        if (t->params.best)
            memcpy(t->params.best, t->params.value, (size_t)t->params.n * sizeof *t->params.best);
        s->validations_without_gain = 0;
    } else if (job_judges_regularly_at(&t->job, s->step)) {
        s->validations_without_gain++;
    }
    if (t->events && t->events->valid) t->events->valid(t->events->ctx, &v);
    if (t->job.o.keep_last) return 0;
    if (s->validations_without_gain < PATIENCE || s->step == t->job.steps) return 0;
    s->stopped_early = true;
    trainer_note(t, "stopped early at step %lld: no gain on held-out rows since step %lld",
                 (long long)s->step, (long long)s->best_step);
    return 0;
}

/* --- the loop --- */

static int save(struct loop *l, struct err *err) {
    double from = clock_seconds();
    l->t->state.seconds = l->seconds_before + from - l->began;
    int rc = checkpoint_save(l->t, err);
    l->saved_at = clock_seconds();
    l->save_seconds = l->saved_at - from;
    return rc;
}

static bool save_is_due(const struct loop *l) {
    double asked = l->t->job.o.checkpoint_seconds;
    double least = asked > 0 ? asked : fmax(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * l->save_seconds);
    return clock_seconds() - l->saved_at >= least;
}

/* Reported before the checkpoint that counts it as done: rather twice than never. */
static int keep_epoch(struct loop *l, struct err *err) {
    struct trainer *t = l->t;
    char *dir = NULL;
    int rc = epochs_keep(t, &dir, err);
    bool judged = t->job.valid_every > 0;
    if (!rc && t->events && t->events->epoch)
        t->events->epoch(t->events->ctx,
                         &(struct train_epoch){.epoch = t->state.step / t->job.epoch_steps,
                                               .step = t->state.step,
                                               .dir = dir,
                                               .loss = l->step.loss,
                                               .accuracy = l->step.accuracy,
                                               .valid_loss = judged ? l->valid.loss : NAN,
                                               .valid_accuracy = judged ? l->valid.accuracy : NAN});
    mem_free(dir);
    return rc;
}

static int run_steps(struct loop *l, bool *ret_interrupted, struct err *err) {
    struct trainer *t = l->t;
    struct train_state *s = &t->state;
    int rc = 0;
    while (!rc && s->step < t->job.steps && !s->stopped_early) {
        if (t->stop && *t->stop) {
            *ret_interrupted = true;
            return save(l, err);
        }
        rc = train_step(l, s->step + 1, err);
        bool kept = t->job.o.keep_epochs > 0 && s->step % t->job.epoch_steps == 0;
        if (!rc && job_judges_at(&t->job, s->step)) rc = judge(l, err);
        if (!rc && kept) rc = keep_epoch(l, err);
        if (rc || s->step == t->job.steps || s->stopped_early) break;
        if (kept || save_is_due(l)) rc = save(l, err);
        if (!rc && kept) rc = epochs_prune(t, err);
    }
    return rc ? rc : save(l, err); /* writing the result may fail, on a full disk for one */
}

static int run_loop(struct trainer *t, struct train_result *ret, struct err *err) {
    struct loop l = {.t = t,
                     .began = clock_seconds(),
                     .seconds_before = t->state.seconds,
                     .first_step = t->state.step + 1};
    bool interrupted = t->interrupted;
    l.saved_at = l.began;
    int rc = interrupted ? 0 : run_steps(&l, &interrupted, err);
    t->state.seconds = l.seconds_before + clock_seconds() - l.began;
    if (!rc && !interrupted) rc = finish_job(t, err);
    const struct train_state *s = &t->state;
    if (!rc)
        *ret = (struct train_result){.steps = s->step,
                                     .best_step = s->best_step,
                                     .first_loss = s->first_loss,
                                     .last_loss = s->last_loss,
                                     .best_valid = s->best_valid,
                                     .peak_bytes = mem_rss_peak(),
                                     .seconds = s->seconds,
                                     .kept_best = t->params.best != NULL && s->best_step > 0,
                                     .stopped_early = s->stopped_early,
                                     .interrupted = interrupted};
    return rc;
}

/* --- a new job --- */

static int64_t job_tokens(struct trainer *t) {
    const struct job *j = &t->job;
    int64_t whole = j->steps / j->epoch_steps, tokens = whole * t->plan.tokens;
    for (int64_t step = whole * j->epoch_steps + 1; step <= j->steps; step++)
        for (int64_t i = trainer_step_rows(t, step); i > 0; i--) tokens += t->step_rows[i - 1]->n;
    return tokens;
}

static void fill_plan(struct trainer *t) {
    const struct job *j = &t->job;
    struct train_plan *p = &t->plan;
    p->rows = t->split.train_count;
    p->held_out = t->valid_count / t->data.per_row;
    for (int64_t i = 0; i < t->split.train_count; i++) {
        const struct sample *row = dataset_row(&t->data, t->split.train[i]);
        for (int k = 0; k < t->data.per_row; k++) {
            p->tokens += row[k].n;
            p->trained_tokens += row[k].trained;
        }
    }
    p->objective = j->o.objective;
    p->beta = j->o.objective == OBJECTIVE_DPO ? j->o.beta : 0;
    p->steps = j->steps;
    p->epoch_steps = j->epoch_steps;
    p->job_tokens = job_tokens(t);
    p->epochs = j->o.epochs;
    p->batch_size = j->o.batch_size;
    p->rank = j->o.rank;
    p->found = t->data.found;
    p->valid_found = t->valid_data.found;
    p->micro_tokens = j->micro_tokens;
    p->recompute = j->recompute;
    p->lr = j->o.lr;
    p->alpha = j->o.alpha;
    p->dropout = j->o.dropout;
    p->warmup_steps = j->o.warmup_steps;
    memcpy(p->path, j->path, sizeof p->path);
}

static int read_hashes(const struct trainer *t, struct model_hashes *ret, struct err *err) {
    if (!t->job.o.from_scratch) return model_hashes(t->model, ret, err);
    tokenizer_hash(model_tokenizer(t->model), ret->tokenizer);
    if (model_template(t->model)) template_hash(model_template(t->model), ret->chat_template);
    return 0;
}

static void config_hash(const struct model_config *c, char hex[65]) {
    json_t *both = json_pack("[o,o]", model_config_write(c, ""), model_config_write_generation(c));
    struct buf text;
    buf_init(&text, CONFIG_MAX);
    json_write(both, &text);
    sha256_of(buf_view(&text), hex);
    buf_release(&text);
    json_decref(both);
}

static int open_metrics(struct trainer *t, struct err *err) {
    char *path = trainer_path(t, "metrics.jsonl");
    int rc = metrics_open(path, t->job.o.metrics, t->state.metrics_bytes, &t->metrics, err);
    mem_free(path);
    return rc;
}

static int open_out(struct trainer *t, struct err *err) {
    int rc = dir_make(t->job.o.out, err);
    return rc ? rc : job_lock(t->job.o.out, &t->lock, err);
}

static void report_plan(const struct trainer *t) {
    if (t->events && t->events->plan) t->events->plan(t->events->ctx, &t->plan);
}

static int start_job(struct trainer *t, int threads, struct err *err) {
    struct job *j = &t->job;
    int rc = open_out(t, err);
    if (!rc) rc = job_refuse_used(j->o.out, err);
    if (!rc) rc = trainer_open(t, threads, err);
    if (!rc) rc = job_resolve(j, &t->config, t->data.count, t->init ? &t->init_meta : NULL, err);
    if (!rc) rc = trainer_split(t, err);
    if (rc) return rc;
    job_resolve_steps(j, t->split.train_count);
    rc = plan_choose(t, err);
    if (!rc) rc = read_hashes(t, &j->hashes, err);
    if (rc) return rc;
    memcpy(j->data_sha256, t->data.sha256, sizeof j->data_sha256);
    memcpy(j->valid_sha256, t->valid_data.sha256, sizeof j->valid_sha256);
    strncpy(j->path, num_path_name(t->num), sizeof j->path - 1);
    config_hash(&t->config, j->config_sha256);
    rc = trainer_allocate(t, err);
    memcpy(j->init_sha256, t->init_sha256, sizeof j->init_sha256);
    if (!rc) rc = plan_calibrate(t, err);
    if (rc) return rc;
    fill_plan(t);
    rc = plan_save(t, err);
    if (!rc) rc = open_metrics(t, err);
    if (!rc) rc = job_save(j, err);
    if (rc) return rc;
    report_plan(t);
    return reference_prepare(t, err);
}

int train_run(const struct train_options *o, const struct train_events *events,
              const volatile sig_atomic_t *stop, struct train_result *ret, struct err *err) {
    struct trainer t = {.lock = -1, .events = events, .stop = stop};
    int rc = job_check(o, err);
    if (rc) return rc;
    job_init(&t.job, o);
    rc = start_job(&t, o->threads, err);
    if (!rc) rc = run_loop(&t, ret, err);
    trainer_close(&t);
    return rc;
}

/* --- going on --- */

static int must_equal(const char *now, const char *then, const char *what, struct err *err) {
    if (strcmp(now, then) == 0) return 0;
    return err_set(err, ERR_CONFLICT,
                   "%s changed since the job began, so it cannot go on to the same result; "
                   "put it back or start again with attune tune",
                   what);
}

static int check_unchanged(const struct trainer *t, struct err *err) {
    const struct job *j = &t->job;
    struct model_hashes now = {0};
    char config[65];
    config_hash(&t->config, config);
    if (strcmp(num_path_name(t->num), j->path) != 0)
        return err_set(err, ERR_CONFLICT,
                       "the job began on the kernels \"%s\" and this machine would go on with "
                       "\"%s\", to other "
                       "bits; set ATTUNE_ISA=%.*s where this machine has it, or start again",
                       j->path, num_path_name(t->num), (int)strcspn(j->path, "/"), j->path);
    int rc = must_equal(config, j->config_sha256, "the base model's configuration", err);
    if (!rc) rc = must_equal(t->data.sha256, j->data_sha256, j->o.data, err);
    if (!rc && j->o.valid) rc = must_equal(t->valid_data.sha256, j->valid_sha256, j->o.valid, err);
    if (!rc) rc = read_hashes(t, &now, err);
    if (!rc) rc = must_equal(now.weights, j->hashes.weights, "the base model's weights", err);
    if (!rc) rc = must_equal(now.tokenizer, j->hashes.tokenizer, "the base model's tokenizer", err);
    return rc ? rc
              : must_equal(now.chat_template, j->hashes.chat_template,
                           "the base model's chat template", err);
}

static int reopen_job(struct trainer *t, int threads, struct err *err) {
    bool found = false;
    int rc = trainer_open(t, threads, err);
    if (!rc) rc = check_unchanged(t, err);
    if (!rc) rc = trainer_split(t, err);
    if (rc) return rc;
    trainer_lay_out(t);
    plan_sizes(t);
    rc = trainer_allocate(t, err);
    if (!rc && t->init_sha256[0])
        rc = must_equal(t->init_sha256, t->job.init_sha256, "the adapter in --init", err);
    if (rc) return rc;
    fill_plan(t);
    t->plan.resumed = true;
    report_plan(t);
    rc = reference_prepare(t, err);
    if (rc || t->interrupted) return rc;
    rc = checkpoint_load(t, &found, err);
    if (!rc) rc = open_metrics(t, err);
    if (rc) return rc;
    trainer_note(t, "going on after step %lld of %lld", (long long)t->state.step,
                 (long long)t->job.steps);
    return 0;
}

int train_resume(const char *out, int threads, const struct train_events *events,
                 const volatile sig_atomic_t *stop, struct train_result *ret, struct err *err) {
    struct trainer t = {.lock = -1, .events = events, .stop = stop};
    bool done = false;
    int rc = job_load(out, &t.job, err);
    if (!rc) rc = job_lock(out, &t.lock, err);
    if (!rc) rc = finish_read(out, ret, &done, err);
    if (!rc && done) {
        ret->kept_best = ret->best_step > 0 && !t.job.o.keep_last;
        trainer_note(&t, "the job is done already");
    }
    if (!rc && !done) rc = reopen_job(&t, threads, err);
    if (!rc && !done) rc = run_loop(&t, ret, err);
    trainer_close(&t);
    return rc;
}
