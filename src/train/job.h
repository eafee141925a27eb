/* A job as it is kept in OUT/job.json: every option resolved, hashes of what it reads, and the
 * choices its bytes depend on. Written before step 1; resume reads nothing else for its settings.
 */
#ifndef TRAIN_JOB_H
#define TRAIN_JOB_H

#include "model/model_int.h"
#include "train/train.h"

struct job {
    struct train_options o; /* resolved; strings owned; paths absolute */
    int64_t hold_out;       /* rows */
    int64_t steps, epoch_steps;
    int64_t valid_every; /* 0: no validation */
    int64_t micro_tokens;
    bool recompute;
    char data_sha256[65], valid_sha256[65], path[32];
    char config_sha256[65], init_sha256[65]; /* the model's shape; values from --init, else "" */
    struct model_hashes hashes;
};

/* Copies the options; paths become absolute. */
void job_init(struct job *j, const struct train_options *o);
void job_release(struct job *j);
/* Options as they were given: ranges and what excludes what. */
int job_check(const struct train_options *o, struct err *err);
/* Everything that follows from the model and the number of rows that train something.
 * init: what --init's adapter says, or NULL. */
int job_resolve(struct job *j, const struct model_config *c, int64_t rows,
                const struct adapter_meta *init, struct err *err);
/* What follows from the rows that are left to train on. */
void job_resolve_steps(struct job *j, int64_t train_rows);

/* Whether the rows to judge by are judged after this step: at regular ones, whose number without
 * gain ends a job early, and where the adapter of an epoch is kept. */
bool job_judges_at(const struct job *j, int64_t step);
bool job_judges_regularly_at(const struct job *j, int64_t step);
/* the best weights are kept apart */
bool job_keeps_best(const struct job *j);

/* OUT with its lock: one process at a time. Release by file_close. Where OUT was a job's before,
 * files that a killed process left half written are removed. */
int job_lock(const char *out, int *ret_fd, struct err *err);
/* ERR_CONFLICT when OUT holds a job or a model already. */
int job_refuse_used(const char *out, struct err *err);
int job_save(const struct job *j, struct err *err);
int job_load(const char *out, struct job *ret, struct err *err);

#endif
