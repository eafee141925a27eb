/* Everything a running job holds. Opened the same way by run and resume, so that both see the same
 * rows, split and micro-batches. */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "train/dataset.h"
#include "train/job.h"
#include "train/metrics.h"
#include "train/net.h"
#include "train/objective.h"
#include "train/optim.h"

struct train_state { /* what a checkpoint holds besides weights and moments */
    int64_t step;    /* done */
    int64_t best_step, validations_without_gain;
    double best_valid; /* NaN: none yet */
    double first_loss, last_loss, seconds;
    int64_t metrics_bytes;
    bool stopped_early;
};

struct trainer {
    struct job job;
    int lock;
    struct num *num;
    struct model *model; /* from scratch: tokenizer and template only */
    struct model_config config;
    struct layer *layers; /* full training: pointers into params */
    struct net_weights weights;
    struct adapter *init; /* --init, closed once its values are copied */
    struct adapter_meta init_meta;
    char init_sha256[65]; /* of its values; "" where they were not read */
    struct dataset data, valid_data;
    struct split split;
    struct params params;
    struct net_size size;
    struct {
        int64_t step, at; /* where the largest micro-batch is */
    } largest;
    struct net *net;
    struct optim optim;
    const struct sample **valid; /* rows to judge by, as samples */
    int64_t valid_count;
    int64_t *order; /* of epoch `order_epoch` */
    int64_t order_epoch;
    const struct sample **step_rows;
    bool interrupted; /* *stop was set before step 1 */
    struct train_state state;
    struct metrics metrics;
    struct train_plan plan;
    size_t shared_bytes; /* resident before the model: program and libraries */
    const struct train_events *events;
    const volatile sig_atomic_t *stop;
};

/* numerics, model, rows. threads 0: all cores */
int trainer_open(struct trainer *t, int threads, struct err *err);
/* the rows to train on and to judge by, once the job is resolved */
int trainer_split(struct trainer *t, struct err *err);
/* trained weights with their first values, and the net, once micro_tokens is chosen */
void trainer_lay_out(struct trainer *t);
int trainer_allocate(struct trainer *t, struct err *err);
void trainer_close(struct trainer *t);

/* Rows of step 1, 2, ...: t->step_rows; returns how many samples they are. */
int64_t trainer_step_rows(struct trainer *t, int64_t step);
void trainer_note(const struct trainer *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
char *trainer_path(const struct trainer *t, const char *name); /* in OUT; caller frees */

/* once micro-batches are chosen */
static inline struct objective trainer_objective(const struct trainer *t) {
    return (struct objective){.kind = t->job.o.objective,
                              .beta = t->job.o.beta,
                              .micro_tokens = t->job.micro_tokens,
                              .share = !t->size.dropout};
}

/* reference.c: of preference pairs, sample.reference of all rows that the job comes to; before the
 * checkpoint is loaded. Sets t->interrupted. */
int reference_prepare(struct trainer *t, struct err *err);
bool reference_exists(const struct trainer *t);

/* plan.c: micro-batch and recomputation that fit the memory; fills t->size and the plan */
int plan_choose(struct trainer *t, struct err *err);
void plan_sizes(struct trainer *t); /* t->size from job.micro_tokens */
/* Time and memory by a short trial on real rows; leaves no trace in what is trained. ERR_LIMIT
 * where --memory was not enough. */
int plan_calibrate(struct trainer *t, struct err *err);
/* OUT/plan.json */
int plan_save(const struct trainer *t, struct err *err);

/* checkpoint.c */
int checkpoint_save(struct trainer *t, struct err *err);
bool checkpoint_exists(const struct trainer *t);
int checkpoint_load(struct trainer *t, bool *ret_found, struct err *err);
int checkpoint_remove(struct trainer *t, struct err *err);

/* epochs.c: OUT/epochs/step-N. keep: *ret_dir is the directory, caller frees. prune: all but the
 * last keep_epochs go; only once a checkpoint is there that is newer than they are. */
int epochs_keep(struct trainer *t, char **ret_dir, struct err *err);
int epochs_prune(const struct trainer *t, struct err *err);

/* finish.c: the result's files, the plot, result.json last */
int finish_job(struct trainer *t, struct err *err);
/* adapter_model.safetensors, adapter_config.json and attune.json into `dir`, which exists */
int adapter_write(const struct trainer *t, const char *dir, const float *values, struct err *err);
/* ERR_INVALID where a trained weight is not finite */
int check_values(const struct trainer *t, const float *values, struct err *err);
/* result.json of a job that is done; *ret_found false when there is none */
int finish_read(const char *out, struct train_result *ret, bool *ret_found, struct err *err);

#endif
