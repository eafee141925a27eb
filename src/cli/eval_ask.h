/* The answers of a model to the cases of an evaluation, asked now. What is asked is kept line by
 * line in a file of $ATTUNE_HOME/evals, so that the same command goes on after a stop; a case
 * without an answer is missing and ends nothing. */
#ifndef CLI_EVAL_ASK_H
#define CLI_EVAL_ASK_H

#include "cli/answerers.h"
#include "eval/cases.h"

struct eval_ask {
    const char *cases_path; /* for its hash */
    int64_t max_tokens, seed;
    double temperature;
    int concurrency;
    const json_t *schema; /* answers keep to it; NULL: free */
    bool fresh;           /* ask again what is there */
};

/* Of one model over all its answers; times in seconds. */
struct eval_spending {
    int64_t answered, failed, prompt_tokens, completion_tokens;
    double first_p50, first_p95, total_p50, total_p95; /* by order of the sorted times */
    double seconds; /* from the first question to the last answer */
    char first_failure[200];
};

/* *ret: {"id","output","finish_reason","prompt_tokens","completion_tokens","first_s","total_s"} or
 * {"id","error"} for each case. *ret_id: what the name stood for, in a->mem. */
int eval_ask(struct answerers *a, const char *model, const struct cases *cases,
             const struct eval_ask *o, struct outputs *ret, struct eval_spending *spending,
             const char **ret_id, struct err *err);

#endif
