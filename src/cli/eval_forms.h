/* The forms of attune eval. Each prints its result and returns the exit code, or sets err. */
#ifndef CLI_EVAL_FORMS_H
#define CLI_EVAL_FORMS_H

#include "base/err.h"
#include "base/pool.h"
#include "eval/statistics.h"

#include <stdbool.h>

struct eval_options {
    const char *data, *models, *outputs, *graders, *cluster; /* scoring cases */
    const char *pairs;                                       /* a file of comparisons */
    struct plan plan;
    struct compare_options compare;
    bool json, is_plan;
    int threads;
};

/* 3 when a pair of models is inconclusive */
int eval_outputs(const struct eval_options *o, struct err *err);
int eval_pairs(const struct eval_options *o, struct err *err);
int eval_plan(const struct eval_options *o, struct err *err);

#endif
