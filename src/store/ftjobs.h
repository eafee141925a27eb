/* Fine-tuning jobs with their events and checkpoints.
 *
 *   validating_files -> queued -> running -> succeeded | failed        (the worker)
 *         any of the three <-> paused, and -> cancelled                (the user)
 *
 * The user's changes hold at once. A worker holds the lock of the job's directory (jobs/worker.h)
 * and claims the job, which gives a number; each of its writes names that number and the state that
 * it believes in, and is ERR_CANCELLED where the job has gone another way. What belongs together
 * is one transaction: a succeeded job has its model, its result file and its last event. */
#ifndef STORE_FTJOBS_H
#define STORE_FTJOBS_H

#include "store/blobs.h"

struct ft_hyper { /* 0: "auto" */
    int64_t epochs, batch_size;
    double rate_multiplier, beta;
};

struct ftjob {
    const char *id, *status;
    const char *model;                                 /* resolved name of what it begins from */
    const char *fine_tuned_model;                      /* NULL until it succeeded */
    const char *training_file, *validation_file;       /* ids; files may be gone by now */
    const char *training_blob, *validation_blob;       /* kept until the job is finished */
    const char *method;                                /* "supervised", "dpo" */
    const char *method_json, *metadata, *integrations; /* as given; NULL: absent */
    const char *suffix, *result_file;
    const char *error_code, *error_message, *error_param;
    struct ft_hyper given, resolved; /* resolved: 0 until it is validated */
    int64_t seed, trained_tokens;    /* 0: not known yet */
    int64_t created_at, started_at, finished_at, estimated_finish;
    int64_t step, steps;
    int64_t claim, crashes, worker_pid;
    int64_t planned_tokens; /* what trained_tokens will be */
};
struct ftjob_list {
    struct ftjob *list;
    size_t count;
    bool has_more;
};

/* new: model, training_file, validation_file, method, method_json, metadata, integrations, suffix,
 * given, seed. ERR_NOT_FOUND where a file is not there. */
int ftjobs_add(struct catalog *c, const struct ftjob *new, struct arena *mem, struct ftjob *ret,
               struct err *err);
int ftjobs_get(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
               struct err *err);
struct ftjob_filter {
    const struct meta_filter *metadata;
    size_t metadata_count;
    bool without_metadata;
};
int ftjobs_list(struct catalog *c, const struct ftjob_filter *filter, const struct page *page,
                struct arena *mem, struct ftjob_list *ret, struct err *err);
#define FTJOB_STATES 7
extern const char *const ftjob_states[FTJOB_STATES];
/* how many are in each */
int ftjobs_count(struct catalog *c, int64_t ret[FTJOB_STATES], struct err *err);
/* ERR_CONFLICT where its state does not allow it. *ret: as it is now. */
int ftjobs_cancel(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                  struct err *err);
int ftjobs_pause(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                 struct err *err);
int ftjobs_resume(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                  struct err *err);

/* --- for workers --- */

/* The oldest job in this state; *ret_found false: none. */
int ftjobs_oldest(struct catalog *c, const char *status, struct arena *mem, struct ftjob *ret,
                  bool *ret_found, struct err *err);
/* Whoever holds the directory's lock. ERR_CONFLICT: there is nothing to work on. */
int ftjobs_claim(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                 struct err *err);
/* A worker died without a word: counts it, and returns how often since the last step that was
 * new. */
int ftjobs_crashed(struct catalog *c, const char *id, int64_t *ret_crashes, struct err *err);
struct ft_failure {
    const char *code, *message, *param; /* param NULL: none */
};
/* claim 0: whoever has it */
int ftjobs_fail(struct catalog *c, const char *id, int64_t claim, const struct ft_failure *why,
                struct err *err);
int ftjobs_validated(struct catalog *c, const struct ftjob *j, const struct ft_hyper *resolved,
                     struct err *err);
struct ft_start {
    int64_t steps, tokens; /* of the whole job */
};
int ftjobs_started(struct catalog *c, const struct ftjob *j, const struct ft_start *s,
                   struct err *err);

struct ftevent {
    const char *id, *level, *type; /* "info", "warn", "error"; "message", "metrics" */
    const char *message, *data;    /* data: JSON or NULL */
    const char *once; /* NULL, or a name: of several with this name the job keeps the first */
    int64_t created_at;
};
/* Where the job is, and what there is to say of it. */
struct ft_progress {
    int64_t step, estimated_finish;
    const struct ftevent *events;
    size_t event_count;
};
int ftjobs_progress(struct catalog *c, const struct ftjob *j, const struct ft_progress *p,
                    struct err *err);

struct ftcheckpoint {
    const char *id, *model, *metrics; /* the model's name; JSON */
    const char *job;
    int64_t step, created_at;
};
/* The adapter of a finished step or job: a model at once. Directories are below home. */
struct ft_model {
    const char *name, *base, *adapter;
    const char *metrics; /* JSON */
    int64_t step;
};
/* Of an epoch's end; again for the same step: nothing changes. Of its checkpoints the job keeps
 * the newest `keep`. */
struct ft_epoch {
    struct ft_model model;
    const char *parent; /* name of the tuned model to be */
    int64_t keep;
};
int ftjobs_add_checkpoint(struct catalog *c, const struct ftjob *j, const struct ft_epoch *e,
                          struct err *err);
/* `last` is the model's name and place, `checkpoint` the same weights under their checkpoint name,
 * `results` the CSV (placed). */
struct ft_success {
    struct ft_model last;
    const char *checkpoint;
    struct blob_writer *results;
    const char *results_name;
    int64_t trained_tokens;
};
int ftjobs_succeed(struct catalog *c, const struct ftjob *j, const struct ft_success *s,
                   struct err *err);

/* --- events and checkpoints, newest first by custom --- */

struct ftevent_list {
    struct ftevent *list;
    size_t count;
    bool has_more;
};
int ftevents_add(struct catalog *c, const char *job, const struct ftevent *new, struct err *err);
int ftevents_list(struct catalog *c, const char *job, const struct page *page, struct arena *mem,
                  struct ftevent_list *ret, struct err *err);
struct ftcheckpoint_list {
    struct ftcheckpoint *list;
    size_t count;
    bool has_more;
};
int ftcheckpoints_list(struct catalog *c, const char *job, const struct page *page,
                       struct arena *mem, struct ftcheckpoint_list *ret, struct err *err);

#endif
