/* The update: learning-rate schedule, clipping by the global norm, AdamW. */
#ifndef TRAIN_OPTIM_H
#define TRAIN_OPTIM_H

#include "train/params.h"
#include "train/train.h"

struct optim {
    double lr, weight_decay, clip; /* clip 0: off */
    enum train_schedule schedule;
    int64_t warmup_steps, steps;
};

/* of step 1..steps: lr·s/W during warm-up, then cosine or linear down to 10 % at the last step */
double optim_lr(const struct optim *o, int64_t step);
/* One update from params->grad, which is zeroed; returns the gradient's norm before clipping. */
double optim_step(struct num *num, const struct optim *o, struct params *p, int64_t step);

#endif
