#include "store/ftjobs.h"

#include "base/clock.h"
#include "store/files.h"
#include "store/store_int.h"
#include "store/tuned.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct ft_hyper read_hyper(sqlite3_stmt *st, int at) {
    return (struct ft_hyper){.epochs = col_i64(st, at),
                             .batch_size = col_i64(st, at + 1),
                             .rate_multiplier = sqlite3_column_double(st, at + 2),
                             .beta = sqlite3_column_double(st, at + 3)};
}

static void read_job(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct ftjob *)row = (struct ftjob){.id = col_z(st, 0, mem),
                                          .status = col_z(st, 1, mem),
                                          .model = col_z(st, 2, mem),
                                          .fine_tuned_model = col_z(st, 3, mem),
                                          .training_file = col_z(st, 4, mem),
                                          .validation_file = col_z(st, 5, mem),
                                          .training_blob = col_z(st, 6, mem),
                                          .validation_blob = col_z(st, 7, mem),
                                          .method = col_z(st, 8, mem),
                                          .method_json = col_z(st, 9, mem),
                                          .metadata = col_z(st, 10, mem),
                                          .integrations = col_z(st, 11, mem),
                                          .suffix = col_z(st, 12, mem),
                                          .result_file = col_z(st, 13, mem),
                                          .error_code = col_z(st, 14, mem),
                                          .error_message = col_z(st, 15, mem),
                                          .error_param = col_z(st, 16, mem),
                                          .given = read_hyper(st, 17),
                                          .resolved = read_hyper(st, 21),
                                          .seed = col_i64(st, 25),
                                          .trained_tokens = col_i64(st, 26),
                                          .created_at = col_i64(st, 27),
                                          .started_at = col_i64(st, 28),
                                          .finished_at = col_i64(st, 29),
                                          .estimated_finish = col_i64(st, 30),
                                          .step = col_i64(st, 31),
                                          .steps = col_i64(st, 32),
                                          .claim = col_i64(st, 33),
                                          .crashes = col_i64(st, 34),
                                          .worker_pid = col_i64(st, 35),
                                          .planned_tokens = col_i64(st, 36)};
}
static const struct table ftjobs = {
    .name = "ftjob",
    .columns = "id, status, model, fine_tuned_model, training_file, validation_file, "
               "training_blob, validation_blob, method, method_json, metadata, integrations, "
               "suffix, result_file, error_code, error_message, error_param, "
               "given_epochs, given_batch, given_rate, given_beta, epochs, batch, rate, beta, "
               "seed, trained_tokens, created_at, started_at, finished_at, estimated_finish, "
               "step, steps, claim, crashes, worker_pid, planned_tokens",
    .what = "fine-tuning job",
    .row_size = sizeof(struct ftjob),
    .read = read_job};

static struct val v_auto(int64_t i) { return v_time(i); } /* 0 is NULL is "auto" */
static struct val v_rate(double d) { return d > 0 ? v_d(d) : (struct val){.kind = VAL_NULL}; }

/* --- events, in a transaction --- */

static int event_insert(struct catalog *c, const char *job, const struct ftevent *e,
                        struct err *err) {
    char id[ID_SIZE];
    id_new("ftevent-", id);
    return db_run(&c->writer,
                  "INSERT INTO ftevent(id, created_at, job, level, type, message, data, once) "
                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(job, once) DO NOTHING",
                  VALS(v_z(id), v_i(e->created_at ? e->created_at : clock_unix()), v_z(job),
                       v_z(e->level ? e->level : "info"), v_z(e->type ? e->type : "message"),
                       v_z(e->message), v_z(e->data), v_z(e->once)),
                  err);
}

static int say(struct catalog *c, const char *job, const char *level, const char *fmt,
               const char *what, struct err *err) PRINTF_LIKE(4, 0);
static int say(struct catalog *c, const char *job, const char *level, const char *fmt,
               const char *what, struct err *err) {
    char text[1024];
    snprintf(text, sizeof text, fmt, what);
    return event_insert(c, job, &(struct ftevent){.level = level, .message = text}, err);
}

/* --- what the user does --- */

static int insert_job(struct catalog *c, const char *id, const struct ftjob *new,
                      const char *training_blob, const char *validation_blob, struct err *err) {
    const struct ft_hyper *h = &new->given;
    return db_run(&c->writer,
                  "INSERT INTO ftjob(id, created_at, status, model, training_file, "
                  "validation_file, training_blob, validation_blob, method, method_json, "
                  "given_epochs, given_batch, given_rate, given_beta, seed, suffix, metadata, "
                  "integrations) VALUES (?, ?, 'validating_files', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                  "?, ?, ?, ?, ?)",
                  VALS(v_z(id), v_i(clock_unix()), v_z(new->model), v_z(new->training_file),
                       v_z(new->validation_file), v_z(training_blob), v_z(validation_blob),
                       v_z(new->method), v_z(new->method_json), v_auto(h->epochs),
                       v_auto(h->batch_size), v_rate(h->rate_multiplier), v_rate(h->beta),
                       v_i(new->seed), v_z(new->suffix), v_z(new->metadata),
                       v_z(new->integrations)),
                  err);
}

static int add_in(struct catalog *c, const char *id, const struct ftjob *new, struct arena *mem,
                  struct err *err) {
    struct stored_file training = {0}, validation = {0};
    int rc = files_get_in(&c->writer, new->training_file, mem, &training, err);
    if (!rc && new->validation_file)
        rc = files_get_in(&c->writer, new->validation_file, mem, &validation, err);
    if (!rc) rc = insert_job(c, id, new, training.blob, validation.blob, err);
    if (!rc) rc = say(c, id, "info", "Created fine-tuning job: %s", id, err);
    if (!rc) rc = say(c, id, "info", "Validating training file: %s", training.id, err);
    if (!rc && new->validation_file)
        rc = say(c, id, "info", "Validating validation file: %s", validation.id, err);
    return rc;
}

int ftjobs_add(struct catalog *c, const struct ftjob *new, struct arena *mem, struct ftjob *ret,
               struct err *err) {
    char id[ID_SIZE];
    id_new("ftjob-", id);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = add_in(c, id, new, mem, err);
    if (!rc) rc = table_get(&c->writer, &ftjobs, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int ftjobs_get(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
               struct err *err) {
    return store_get(c, &ftjobs, id, mem, ret, err);
}

int ftjobs_list(struct catalog *c, const struct ftjob_filter *filter, const struct page *page,
                struct arena *mem, struct ftjob_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_meta(&w, filter->metadata, filter->metadata_count);
    if (filter->without_metadata) where_plain(&w, "coalesce(metadata, '{}') = '{}'");
    int rc = store_list(c, &ftjobs, &w, page, mem, &out, err);
    if (!rc) *ret = (struct ftjob_list){out.rows, out.count, out.has_more};
    return rc;
}

const char *const ftjob_states[FTJOB_STATES] = {"validating_files", "queued", "running",  "paused",
                                                "succeeded",        "failed", "cancelled"};

int ftjobs_count(struct catalog *c, int64_t ret[FTJOB_STATES], struct err *err) {
    int64_t counts[FTJOB_STATES] = {0};
    bool found;
    int rc = store_read_begin(c, err);
    if (rc) return rc;
    for (int i = 0; !rc && i < FTJOB_STATES; i++)
        rc = db_i64(&c->reader, "SELECT count(*) FROM ftjob WHERE status = ?",
                    VALS(v_z(ftjob_states[i])), &counts[i], &found, err);
    rc = store_read_end(c, rc, err);
    if (!rc) memcpy(ret, counts, sizeof counts);
    return rc;
}

#define ACTIVE "validating_files queued running"

static bool is_one_of(const char *status, const char *list) {
    size_t n = strlen(status);
    for (const char *at = list; (at = strstr(at, status)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

struct change { /* what a user may do to a job */
    const char *from, *to, *verb, *event;
};

static int change_in(struct catalog *c, const char *id, const struct change *how, struct arena *mem,
                     struct ftjob *ret, struct err *err) {
    bool ends = strcmp(how->to, "cancelled") == 0;
    int rc = table_get(&c->writer, &ftjobs, id, mem, ret, err);
    if (!rc && !is_one_of(ret->status, how->from))
        rc = err_set(err, ERR_CONFLICT, "job \"%s\" is %s, so it cannot be %s", id, ret->status,
                     how->verb);
    if (!rc)
        rc = db_run(&c->writer,
                    "UPDATE ftjob SET status = ?, finished_at = ?, estimated_finish = NULL "
                    "WHERE id = ?",
                    VALS(v_z(how->to), v_time(ends ? clock_unix() : 0), v_z(id)), err);
    if (!rc) rc = say(c, id, "info", "%s", how->event, err);
    if (!rc && ends) rc = outbox_emit(c, "fine_tuning.job.cancelled", id, err);
    return rc ? rc : table_get(&c->writer, &ftjobs, id, mem, ret, err);
}

static void drop_blobs(struct catalog *c, const struct ftjob *j) {
    blob_drop(c, j->training_blob);
    blob_drop(c, j->validation_blob);
}

static int change(struct catalog *c, const char *id, const struct change *how, struct arena *mem,
                  struct ftjob *ret, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = store_write_end(c, change_in(c, id, how, mem, ret, err), err);
    if (!rc && ret->finished_at) drop_blobs(c, ret);
    return rc;
}

int ftjobs_cancel(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                  struct err *err) {
    static const struct change cancel = {ACTIVE " paused", "cancelled", "cancelled",
                                         "Fine-tuning job cancelled"};
    return change(c, id, &cancel, mem, ret, err);
}

int ftjobs_pause(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                 struct err *err) {
    static const struct change pause = {ACTIVE, "paused", "paused", "Fine-tuning job paused"};
    return change(c, id, &pause, mem, ret, err);
}

int ftjobs_resume(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                  struct err *err) {
    static const struct change resume = {"paused", "queued", "resumed", "Fine-tuning job resumed"};
    /* one that was paused before its files were read has no numbers yet */
    static const struct change again = {"paused", "validating_files", "resumed",
                                        "Fine-tuning job resumed"};
    int rc = ftjobs_get(c, id, mem, ret, err);
    return rc ? rc : change(c, id, ret->resolved.epochs ? &resume : &again, mem, ret, err);
}

/* --- what workers do --- */

int ftjobs_oldest(struct catalog *c, const char *status, struct arena *mem, struct ftjob *ret,
                  bool *ret_found, struct err *err) {
    struct where w;
    struct list_out out = {0};
    where_init(&w);
    where_add(&w, "status = ?", v_z(status));
    int rc =
        store_list(c, &ftjobs, &w, &(struct page){.limit = 1, .ascending = true}, mem, &out, err);
    *ret_found = !rc && out.count == 1;
    if (*ret_found) *ret = *(const struct ftjob *)out.rows;
    return rc;
}

int ftjobs_claim(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                 struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = table_get(&c->writer, &ftjobs, id, mem, ret, err);
    if (!rc && !is_one_of(ret->status, ACTIVE))
        rc =
            err_set(err, ERR_CONFLICT, "job \"%s\" is %s; there is nothing to do", id, ret->status);
    if (!rc)
        rc = db_run(&c->writer, "UPDATE ftjob SET claim = claim + 1, worker_pid = ? WHERE id = ?",
                    VALS(v_i(getpid()), v_z(id)), err);
    if (!rc) rc = table_get(&c->writer, &ftjobs, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int ftjobs_crashed(struct catalog *c, const char *id, int64_t *ret_crashes, struct err *err) {
    bool found;
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_i64(&c->writer,
                "UPDATE ftjob SET crashes = iif(step > crash_step, 1, crashes + 1), "
                "crash_step = step, worker_pid = NULL WHERE id = ? RETURNING crashes",
                VALS(v_z(id)), ret_crashes, &found, err);
    if (!rc && !found) rc = no_such(&ftjobs, id, err);
    return store_write_end(c, rc, err);
}

/* The job is still this worker's and in this state; in a transaction. */
static int still(struct catalog *c, const struct ftjob *j, const char *status, struct err *err) {
    int64_t one;
    bool yes;
    int rc = db_i64(&c->writer, "SELECT 1 FROM ftjob WHERE id = ? AND claim = ? AND status = ?",
                    VALS(v_z(j->id), v_i(j->claim), v_z(status)), &one, &yes, err);
    if (rc || yes) return rc;
    return err_set(err, ERR_CANCELLED, "job \"%s\" is no longer %s by this worker", j->id, status);
}

static int fail_in(struct catalog *c, const char *id, int64_t claim, const struct ft_failure *why,
                   struct err *err) {
    int rc = db_run(&c->writer,
                    "UPDATE ftjob SET status = 'failed', error_code = ?, error_message = ?, "
                    "error_param = ?, finished_at = ?, estimated_finish = NULL, worker_pid = NULL "
                    "WHERE id = ? AND finished_at IS NULL AND status <> 'paused' "
                    "AND ? IN (0, claim)",
                    VALS(v_z(why->code), v_z(why->message), v_z(why->param), v_i(clock_unix()),
                         v_z(id), v_i(claim)),
                    err);
    if (!rc && db_changes(&c->writer) == 0)
        rc = err_set(err, ERR_CANCELLED, "job \"%s\" is not this worker's any more", id);
    if (!rc) rc = say(c, id, "error", "The job failed: %s", why->message, err);
    return rc ? rc : outbox_emit(c, "fine_tuning.job.failed", id, err);
}

int ftjobs_fail(struct catalog *c, const char *id, int64_t claim, const struct ft_failure *why,
                struct err *err) {
    struct ftjob j;
    struct arena mem;
    arena_init(&mem, 1 << 20);
    int rc = store_write_begin(c, err);
    if (!rc) {
        rc = table_get(&c->writer, &ftjobs, id, &mem, &j, err);
        if (!rc) rc = fail_in(c, id, claim, why, err);
        rc = store_write_end(c, rc, err);
    }
    if (!rc) drop_blobs(c, &j);
    arena_release(&mem);
    return rc;
}

int ftjobs_validated(struct catalog *c, const struct ftjob *j, const struct ft_hyper *h,
                     struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = still(c, j, "validating_files", err);
    if (!rc)
        rc = db_run(&c->writer,
                    "UPDATE ftjob SET status = 'queued', epochs = ?, batch = ?, rate = ?, "
                    "beta = ? WHERE id = ?",
                    VALS(v_auto(h->epochs), v_auto(h->batch_size), v_rate(h->rate_multiplier),
                         v_rate(h->beta), v_z(j->id)),
                    err);
    if (!rc) rc = say(c, j->id, "info", "%s", "Files validated, moving job to queued state", err);
    return store_write_end(c, rc, err);
}

int ftjobs_started(struct catalog *c, const struct ftjob *j, const struct ft_start *s,
                   struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "UPDATE ftjob SET status = 'running', started_at = coalesce(started_at, ?), "
                "steps = ?, planned_tokens = ? "
                "WHERE id = ? AND claim = ? AND status IN ('queued', 'running')",
                VALS(v_i(clock_unix()), v_i(s->steps), v_i(s->tokens), v_z(j->id), v_i(j->claim)),
                err);
    if (!rc) rc = still(c, j, "running", err);
    if (!rc)
        rc = event_insert(
            c, j->id, &(struct ftevent){.message = "Fine-tuning job started", .once = "started"},
            err);
    return store_write_end(c, rc, err);
}

int ftjobs_progress(struct catalog *c, const struct ftjob *j, const struct ft_progress *p,
                    struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = still(c, j, "running", err);
    if (!rc)
        rc = db_run(&c->writer, "UPDATE ftjob SET step = ?, estimated_finish = ? WHERE id = ?",
                    VALS(v_i(p->step), v_time(p->estimated_finish), v_z(j->id)), err);
    for (size_t i = 0; !rc && i < p->event_count; i++)
        rc = event_insert(c, j->id, &p->events[i], err);
    return store_write_end(c, rc, err);
}

/* --- models --- */

static int checkpoint_in(struct catalog *c, const struct ftjob *j, const struct ft_model *m,
                         const char *parent, struct err *err) {
    char id[ID_SIZE], once[64], text[96];
    int64_t one;
    bool known;
    int rc = db_i64(&c->writer, "SELECT 1 FROM ftcheckpoint WHERE job = ? AND step = ?",
                    VALS(v_z(j->id), v_i(m->step)), &one, &known, err);
    if (rc || known) return rc;
    id_new("ftckpt_", id);
    rc = db_run(
        &c->writer,
        "INSERT INTO ftcheckpoint(id, created_at, job, model, step, metrics) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        VALS(v_z(id), v_i(clock_unix()), v_z(j->id), v_z(m->name), v_i(m->step), v_z(m->metrics)),
        err);
    if (!rc)
        rc = tuned_insert(c,
                          &(struct tuned_model){.name = m->name,
                                                .kind = "checkpoint",
                                                .base = m->base,
                                                .adapter = m->adapter,
                                                .job = j->id,
                                                .parent = parent,
                                                .step = m->step},
                          err);
    snprintf(once, sizeof once, "checkpoint:%lld", (long long)m->step);
    snprintf(text, sizeof text, "Checkpoint created at step %lld", (long long)m->step);
    if (rc) return rc;
    return event_insert(c, j->id, &(struct ftevent){.message = text, .once = once}, err);
}

/* Checkpoints of a job are made in the order of their steps. */
static int forget_older(struct catalog *c, const struct ftjob *j, int64_t keep, struct err *err) {
    static const char older[] =
        "DELETE FROM model WHERE kind = 'checkpoint' AND job = ? AND id IN "
        "(SELECT model FROM ftcheckpoint WHERE job = ? ORDER BY step DESC LIMIT -1 OFFSET ?)";
    struct val job = v_z(j->id);
    int rc = db_run(&c->writer, older, VALS(job, job, v_i(keep)), err);
    if (rc) return rc;
    return db_run(&c->writer,
                  "DELETE FROM ftcheckpoint WHERE id IN (SELECT id FROM ftcheckpoint "
                  "WHERE job = ? ORDER BY step DESC LIMIT -1 OFFSET ?)",
                  VALS(job, v_i(keep)), err);
}

int ftjobs_add_checkpoint(struct catalog *c, const struct ftjob *j, const struct ft_epoch *e,
                          struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = still(c, j, "running", err);
    if (!rc) rc = checkpoint_in(c, j, &e->model, e->parent, err);
    if (!rc) rc = forget_older(c, j, e->keep, err);
    return store_write_end(c, rc, err);
}

static int finish_row(struct catalog *c, const struct ftjob *j, const struct ft_success *s,
                      const char *result_file, struct err *err) {
    return db_run(&c->writer,
                  "UPDATE ftjob SET status = 'succeeded', fine_tuned_model = ?, result_file = ?, "
                  "trained_tokens = ?, finished_at = ?, estimated_finish = NULL, "
                  "worker_pid = NULL, step = ?, steps = ? WHERE id = ?",
                  VALS(v_z(s->last.name), v_z(result_file), v_i(s->trained_tokens),
                       v_i(clock_unix()), v_i(s->last.step), v_i(s->last.step), v_z(j->id)),
                  err);
}

static int succeed_in(struct catalog *c, const struct ftjob *j, const struct ft_success *s,
                      struct err *err) {
    char file[ID_SIZE];
    struct ft_model checkpoint = s->last;
    checkpoint.name = s->checkpoint;
    struct stored_file results = {.filename = s->results_name, .purpose = "fine-tune-results"};
    struct tuned_model model = {.name = s->last.name,
                                .kind = "tuned",
                                .base = s->last.base,
                                .adapter = s->last.adapter,
                                .job = j->id,
                                .step = s->last.step};
    int rc = still(c, j, "running", err);
    if (!rc) rc = files_insert(c, &results, s->results, file, err);
    if (!rc) rc = tuned_insert(c, &model, err);
    if (!rc) rc = checkpoint_in(c, j, &checkpoint, s->last.name, err);
    if (!rc) rc = finish_row(c, j, s, file, err);
    if (!rc) rc = say(c, j->id, "info", "New fine-tuned model created: %s", s->last.name, err);
    if (!rc) rc = say(c, j->id, "info", "%s", "The job has successfully completed", err);
    return rc ? rc : outbox_emit(c, "fine_tuning.job.succeeded", j->id, err);
}

int ftjobs_succeed(struct catalog *c, const struct ftjob *j, const struct ft_success *s,
                   struct err *err) {
    int rc = blob_writer_finish(s->results, err);
    if (!rc) rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = store_write_end(c, succeed_in(c, j, s, err), err);
    if (!rc) drop_blobs(c, j);
    return rc;
}

/* --- events and checkpoints --- */

static void read_event(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct ftevent *)row = (struct ftevent){.id = col_z(st, 0, mem),
                                              .created_at = col_i64(st, 1),
                                              .level = col_z(st, 2, mem),
                                              .type = col_z(st, 3, mem),
                                              .message = col_z(st, 4, mem),
                                              .data = col_z(st, 5, mem),
                                              .once = col_z(st, 6, mem)};
}
static const struct table ftevents = {.name = "ftevent",
                                      .columns = "id, created_at, level, type, message, data, once",
                                      .what = "event",
                                      .row_size = sizeof(struct ftevent),
                                      .read = read_event};

static void read_checkpoint(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct ftcheckpoint *)row = (struct ftcheckpoint){.id = col_z(st, 0, mem),
                                                        .created_at = col_i64(st, 1),
                                                        .job = col_z(st, 2, mem),
                                                        .model = col_z(st, 3, mem),
                                                        .step = col_i64(st, 4),
                                                        .metrics = col_z(st, 5, mem)};
}
static const struct table ftcheckpoints = {.name = "ftcheckpoint",
                                           .columns = "id, created_at, job, model, step, metrics",
                                           .what = "checkpoint",
                                           .row_size = sizeof(struct ftcheckpoint),
                                           .read = read_checkpoint};

int ftevents_add(struct catalog *c, const char *job, const struct ftevent *new, struct err *err) {
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = event_insert(c, job, new, err);
    if (rc == ERR_CONFLICT) rc = no_such(&ftjobs, job, err);
    return store_write_end(c, rc, err);
}

/* rows that belong to a job, which must be there */
static int list_of_job(struct catalog *c, const struct table *t, const char *job,
                       const struct page *page, struct arena *mem, struct list_out *ret,
                       struct err *err) {
    struct ftjob j;
    struct where w;
    where_init(&w);
    where_add(&w, "job = ?", v_z(job));
    int rc = ftjobs_get(c, job, mem, &j, err);
    if (!rc) return store_list(c, t, &w, page, mem, ret, err);
    where_release(&w);
    return rc;
}

int ftevents_list(struct catalog *c, const char *job, const struct page *page, struct arena *mem,
                  struct ftevent_list *ret, struct err *err) {
    struct list_out out;
    int rc = list_of_job(c, &ftevents, job, page, mem, &out, err);
    if (!rc) *ret = (struct ftevent_list){out.rows, out.count, out.has_more};
    return rc;
}

int ftcheckpoints_list(struct catalog *c, const char *job, const struct page *page,
                       struct arena *mem, struct ftcheckpoint_list *ret, struct err *err) {
    struct list_out out;
    int rc = list_of_job(c, &ftcheckpoints, job, page, mem, &out, err);
    if (!rc) *ret = (struct ftcheckpoint_list){out.rows, out.count, out.has_more};
    return rc;
}
