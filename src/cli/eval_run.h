/* Cases, models and graders of one evaluation, and the scores that come of them. The answers are
 * given beforehand or asked now. Filled step by step; eval_run_release takes whatever is there. */
#ifndef CLI_EVAL_RUN_H
#define CLI_EVAL_RUN_H

#include "cli/eval_ask.h"
#include "cli/eval_forms.h"
#include "eval/grader.h"
#include "eval/report.h"

#define EVAL_MODELS_MAX 64
#define EVAL_METRICS_MAX 16

struct eval_run {
    const struct eval_options *o;
    struct cases cases;
    struct str names[EVAL_MODELS_MAX], metrics[EVAL_METRICS_MAX];
    struct outputs outputs[EVAL_MODELS_MAX];
    struct eval_spending spending[EVAL_MODELS_MAX]; /* of models that were asked */
    const char *ids[EVAL_MODELS_MAX];               /* what their names stood for; else NULL */
    struct grader *graders[EVAL_METRICS_MAX];       /* NULL: the score given */
    double
        *scores[EVAL_MODELS_MAX * EVAL_METRICS_MAX]; /* [model][metric]: (cases.n), NAN missing */
    struct err *errors; /* (model, metric): the first case without a score, by order of cases */
    int64_t models, metric_count;
    bool asked;
    struct answerers answerers;
    struct report report;
};

/* The whole: graders, cases, answers, scores, report. Warnings go to stderr. */
int eval_run(struct eval_run *r, const struct eval_options *o, struct err *err);
void eval_run_release(struct eval_run *r);

/* the next part of a list with commas; false at the end */
bool eval_part_next(struct str *rest, struct str *ret);

/* SHA-256 over ids, answers and scores of a model, without times: equal runs have equal ones. */
void eval_run_hash(const struct eval_run *r, int64_t model, char hex[65]);

/* --- what is shown --- */

void eval_print(const struct eval_run *r);
json_t *eval_json(const struct eval_run *r); /* the caller owns it */
void eval_html(const struct eval_run *r, struct buf *out);

/* Per slice of --slice FIELD and pair of models, by the first metric. */
struct eval_slice {
    char name[120]; /* "field=value" */
    int64_t n, a, b;
    struct comparison c;
};
/* mem_free(*ret) */
int eval_slices(const struct eval_run *r, struct eval_slice **ret, size_t *ret_count,
                struct err *err);

/* Cost of 1,000 requests in the unit of the prices; NAN where none is known. */
double eval_cost(const struct eval_run *r, int64_t model);

#endif
