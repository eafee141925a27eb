/* Fine-tuning: plan, run, resume. One job is one directory:
 *
 *   OUT/job.json                 the whole job as given and as planned, written before step 1
 *   OUT/plan.json                what is known before step 1, with the numbers of all rows found
 *   OUT/checkpoint/              last complete checkpoint (weights, optimiser, cursor, best ones)
 *   OUT/epochs/step-N/           adapters of the last epoch ends, where asked for
 *   OUT/adapter_config.json, adapter_model.safetensors, attune.json
 *                                the result (PEFT), or a model directory
 *   OUT/loss.svg, OUT/metrics.jsonl
 *
 * The result's bytes depend on the job alone (data, seed, options, kernel path), not on threads,
 * kills or time. `train` never prints: progress goes through the callback.
 */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include "base/err.h"
#include "base/json.h"
#include "num/num.h"

#include <signal.h>

enum train_method { TRAIN_LORA, TRAIN_FULL };
enum train_objective { OBJECTIVE_OF_ROWS, OBJECTIVE_SFT, OBJECTIVE_DPO };
enum train_schedule { SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT };

/* Zero or negative in a field marked (auto) means: choose from the data. */
struct train_options {
    const char *base, *data, *valid, *out, *metrics, *init;
    const char *dataset; /* the version that data is of, recorded with the adapter; may be NULL */
    enum train_method method;
    enum train_objective objective; /* of rows: pairs dpo, all others sft; else they must agree */
    double beta;                    /* (auto) of dpo, 0.1 */
    int64_t rank;                   /* (auto) */
    double alpha;                   /* (auto) 2·rank where that is given */
    bool rslora;
    double dropout;   /* negative: auto */
    unsigned targets; /* bit per linear_kind; 0: all */
    double lr;        /* (auto) */
    double lr_factor; /* of the rate that auto chooses; 0: 1 */
    enum train_schedule schedule;
    int64_t warmup_steps;  /* negative: auto */
    double weight_decay;   /* negative: auto, 0.01 */
    double clip;           /* negative: auto, 1.0; 0: off */
    int64_t epochs, steps; /* (auto); steps > 0: exactly that many on all rows */
    double holdout;        /* negative: auto; 0: nothing held out */
    bool keep_last;        /* judge, but never stop early, and keep the last step's weights */
    int64_t keep_epochs;   /* adapters of so many last epoch ends stay in OUT/epochs; lora only */
    int64_t batch_size;    /* rows per step (auto) */
    bool no_shuffle;
    int64_t max_length; /* (auto) the model's, at most 4096 */
    uint64_t seed;
    size_t memory_bytes; /* 0: what is available */
    bool from_scratch;   /* full: random weights from config.json */
    int threads;
    enum num_type dtype;
    bool dtype_auto;
    double checkpoint_seconds; /* at most this much work is done again after a crash; 0: 30 */
};

/* What there is to say of rows; a row may be in several lists. */
enum train_finding {
    FOUND_CUT,
    FOUND_NOTHING,
    FOUND_TOOLS,
    FOUND_CALLS,
    FOUND_ALIKE,
    FOUND_OTHERWISE,
    FOUND_COUNT
};
const char *train_finding_text(enum train_finding f); /* "longer than the limit, cut" */
struct row_numbers {
    int64_t *list; /* from 1, in file order */
    int64_t count;
    size_t cap;
};

/* What is known before step 1. Printed by the caller, kept in plan.json. */
struct train_plan {
    int64_t rows, held_out, steps, epoch_steps, epochs, batch_size, rank;
    int64_t tokens, trained_tokens;                /* of an epoch: all of them, targets alone */
    int64_t job_tokens;                            /* as tokens, over all steps */
    const struct row_numbers *found, *valid_found; /* (FOUND_COUNT) in --data, --valid; borrowed */
    int64_t micro_tokens;                          /* tokens in one forward/backward */
    bool recompute;    /* layer activations are computed again in the backward pass */
    bool resumed;      /* from train_resume: nothing was predicted, the next two are 0 */
    size_t peak_bytes; /* predicted resident peak, mapped weights included */
    double seconds;    /* predicted, after calibration */
    double lr, alpha, dropout;
    enum train_objective objective; /* resolved */
    double beta;                    /* of dpo, else 0 */
    int64_t warmup_steps;
    char path[32]; /* kernel path */
};

/* Of preference pairs: beta times the log-probability that an output gained over the reference,
 * means over the pairs; margin = chosen - rejected. NaN where rows are no pairs. */
struct train_rewards {
    double chosen, rejected, margin;
};

struct train_step {
    int64_t step, steps, tokens, rows;
    double loss, lr, grad_norm, seconds_left, tokens_per_second;
    /* sft: share of the trained tokens that the model would have chosen itself, each after the true
     * ones before it; dpo: share of the pairs whose preferred output has the larger reward. Before
     * this step's update, as the loss. */
    double accuracy;
    struct train_rewards rewards;
};

struct train_valid { /* of all rows to judge by */
    int64_t step;
    double loss, accuracy;
    struct train_rewards rewards;
    bool best; /* the lowest loss so far */
};

/* The adapter at the end of an epoch: `dir` is complete and stays until keep_epochs newer ones are
 * there. Reported at least once: a job that goes on after a kill may repeat the last one. */
struct train_epoch {
    int64_t epoch, step;
    const char *dir;
    double loss, accuracy;             /* of its last step */
    double valid_loss, valid_accuracy; /* NaN without rows to judge by */
};

struct train_events {
    void *ctx;
    void (*plan)(void *ctx, const struct train_plan *plan); /* before the first step of a run */
    void (*step)(void *ctx, const struct train_step *step);
    void (*valid)(void *ctx, const struct train_valid *valid);
    void (*epoch)(void *ctx, const struct train_epoch *epoch);
    void (*note)(void *ctx, const char *text); /* early stop, resumed at, calibrating ... */
};

struct train_result {
    int64_t steps, best_step;
    double first_loss, last_loss, best_valid; /* best_valid: NaN when nothing was held out */
    size_t peak_bytes;
    double seconds;
    bool kept_best;                  /* the weights are those of best_step, else of the last */
    bool stopped_early, interrupted; /* interrupted: *stop was set; resume goes on */
};

/* *stop may be set by a signal handler: the present step ends, a checkpoint is written. */
int train_run(const struct train_options *o, const struct train_events *events,
              const volatile sig_atomic_t *stop, struct train_result *ret, struct err *err);
int train_resume(const char *out, int threads, const struct train_events *events,
                 const volatile sig_atomic_t *stop, struct train_result *ret, struct err *err);

#endif
