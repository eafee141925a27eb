/* Graders: an answer to a case becomes a score. Made from OpenAI's JSON (string_check,
 * text_similarity, multi) or from ours (docs/graders.md lists both), or by a bare name:
 *
 *     rc = grader_named("exact", &g, err);            // {{sample.output_text}} against
 *     rc = grader_grade(g, &scope, &grade, err);      //     {{item.expected}}
 *
 * What needs a model (label_model, score_model, cosine by embeddings) or runs code (python) is
 * refused when the grader is made. A grader is immutable: any number of threads may grade. */
#ifndef EVAL_GRADER_H
#define EVAL_GRADER_H

#include "eval/placeholder.h"

#include <stdbool.h>

struct grader;

/* `where` begins the places in messages: "grader", "testing_criteria[0]". */
int grader_new(const json_t *config, const char *where, struct grader **ret, struct err *err);
int grader_named(struct str name, struct grader **ret, struct err *err);
void grader_free(struct grader *g);
struct str grader_name(const struct grader *g); /* its "name", else its type */

struct grade {
    double score; /* 0 to 1, but for multi */
    bool passed;  /* score >= pass_threshold: by default 1 for right and wrong, else 0.5 */
};

/* scope: item and sample {"output_text","output_json"?,"output_tools"?}. An error says why there is
 * no score, which is not a score of 0. */
int grader_grade(const struct grader *g, const struct placeholder_scope *scope, struct grade *ret,
                 struct err *err);

/* {"output_text":output}, and output_json where it is JSON; the caller owns it. */
json_t *grader_sample(struct str output);

#endif
