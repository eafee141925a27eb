/* What can be wrong with one example by itself: order of the turns, missing text, weights, tools
 * and their calls, refusals, preference pairs. One finding for each defect, with its value and what
 * to do. A pure function of the example; any number of threads may use one validator.
 *
 * The rules and every kind: docs/data-check.md. */
#ifndef DATA_VALIDATE_H
#define DATA_VALIDATE_H

#include "data/example.h"
#include "data/findings.h"

struct validate_options {
    bool min_feedback_given;
    double min_feedback; /* rows whose "feedback" or "score" is lower get low_feedback */
    bool tokens_checked; /* row_render will say which rows train nothing */
};

struct validator; /* the options and the tools of rows seen so far */
struct validator *validator_new(const struct validate_options *o);
void validator_free(struct validator *v);

/* Adds what is wrong with the example. ERR_LIMIT of findings_add is the only error. */
int validate_example(struct validator *v, const struct example *e, struct findings *f,
                     struct err *err);

#endif
