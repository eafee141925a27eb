/* The forms of attune eval. Each prints its result and returns the exit code, or sets err. */
#ifndef CLI_EVAL_FORMS_H
#define CLI_EVAL_FORMS_H

#include "base/err.h"
#include "base/pool.h"
#include "cli/opts.h"
#include "eval/statistics.h"

#include <stdbool.h>

struct eval_options {
    const char *data, *models, *outputs, *graders, *cluster; /* scoring cases */
    const char *pairs;                                       /* a file of comparisons */
    struct plan plan;
    struct compare_options compare;
    /* models that are asked */
    const char *schema, *dtype, *html;
    int64_t max_tokens, seed;
    double temperature, machine_price;
    int concurrency;
    struct opt_list slices, prices;
    bool fresh;
    bool json, is_plan;
    int threads;
};

/* 3 when a pair of models is inconclusive */
int eval_cases(const struct eval_options *o, struct err *err);
int eval_pairs(const struct eval_options *o, struct err *err);
int eval_plan(const struct eval_options *o, struct err *err);

#endif
