#include "train/optim.h"

#include "num/ops.h"

#include <math.h>
#include <string.h>

#define FLOOR 0.1 /* of the learning rate, at the last step */

double optim_lr(const struct optim *o, int64_t step) {
    if (step <= o->warmup_steps) return o->lr * (double)step / (double)o->warmup_steps;
    double left = (double)(o->steps - o->warmup_steps);
    double done = left > 0 ? (double)(step - o->warmup_steps) / left : 1.0;
    if (o->schedule == SCHEDULE_CONSTANT) return o->lr;
    double fall = o->schedule == SCHEDULE_LINEAR ? 1.0 - done
                                                 : 0.5 * (1.0 + cos(3.14159265358979323846 * done));
    return o->lr * (FLOOR + (1.0 - FLOOR) * fall);
}

double optim_step(struct num *num, const struct optim *o, struct params *p, int64_t step) {
    double norm = sqrt(num_sum_squares(num, p->grad, p->n));
    double scale = o->clip > 0 && norm > o->clip ? o->clip / (norm + 1e-6) : 1.0;
    struct adamw adamw = {.lr = optim_lr(o, step),
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = o->weight_decay,
                          .grad_scale = (float)scale,
                          .step = step};
    adamw_step(num, &adamw, p->value, p->m, p->v, p->grad, p->n);
    memset(p->grad, 0, (size_t)p->n * sizeof *p->grad);
    return norm;
}
