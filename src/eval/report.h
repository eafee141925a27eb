/* From scores by model, metric and case to the report of attune eval: an estimate for each model
 * and metric, and a comparison for each pair of models, corrected for several metrics (Holm). Where
 * the scores come from is the caller's: answers given beforehand, or models that are asked. */
#ifndef EVAL_REPORT_H
#define EVAL_REPORT_H

#include "base/json.h"
#include "eval/cases.h"
#include "eval/statistics.h"

#include <stdbool.h>

struct report_input {
    const struct cases *cases;
    const struct str *models, *metrics; /* names */
    int64_t model_count, metric_count;
    double *const *scores; /* [model * metric_count + metric]: (cases.n), NAN is missing */
    struct compare_options compare;
};

struct report_pair {
    int64_t a, b, metric;
    struct comparison c; /* the verdict after correction */
};
struct report {
    struct estimate *estimates; /* (model_count * metric_count) */
    struct report_pair *pairs;  /* each model with each later one, by metric */
    int64_t pair_count;
    bool inconclusive; /* any of the pairs */
};

int eval_report_make(const struct report_input *in, struct report *ret, struct err *err);
void eval_report_release(struct report *r);
/* {"models":[...],"pairs":[...]}; the caller owns it */
json_t *eval_report_json(const struct report *r, const struct report_input *in);

#endif
