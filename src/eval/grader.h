/* Graders: an answer to a case becomes a score. Made from OpenAI's JSON (string_check,
 * text_similarity, multi, label_model, score_model) or from ours (docs/graders.md lists both), or
 * by a bare name:
 *
 *     rc = grader_named("exact", &g, err);            // {{sample.output_text}} against
 *     rc = grader_grade(g, &scope, &grade, err);      //     {{item.expected}}
 *
 * What runs code (python) or needs embeddings (cosine) is refused when the grader is made; what
 * asks a model (label_model, score_model), too, where the caller has none to ask. A grader is
 * immutable: any number of threads may grade. */
#ifndef EVAL_GRADER_H
#define EVAL_GRADER_H

#include "eval/placeholder.h"

#include <stdbool.h>

struct grader;

/* `where` begins the places in messages: "grader", "testing_criteria[0]". */
int grader_new(const json_t *config, const char *where, struct grader **ret, struct err *err);
/* The same, for a caller that grades with grader_grade_asking. */
int grader_new_asking(const json_t *config, const char *where, struct grader **ret,
                      struct err *err);
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

/* How a grader's model is asked: what it needs comes from the caller, who knows the engine. */
struct grader_question {
    struct str model;
    const json_t *messages; /* [{"role","content"}], texts */
    const json_t *schema;   /* of the answer, an object; members come in its order */
    const json_t *sampling; /* the grader's sampling_params, or NULL */
};
struct grader_asking {
    /* Appends the answer's text; in the threads that grade. */
    int (*ask)(void *ctx, const struct grader_question *q, struct buf *answer, struct err *err);
    /* Told what each grader of a multi said; may be NULL. */
    void (*part)(void *ctx, struct str key, double score);
    void *ctx;
};
/* An answer of the model that is no number scores 0 (score_model), one out of range its bound. */
int grader_grade_asking(const struct grader *g, const struct placeholder_scope *scope,
                        const struct grader_asking *asking, struct grade *ret, struct err *err);
/* The model it asks, or empty; a multi's i-th of them (0 on). */
struct str grader_model(const struct grader *g, size_t i);

/* {"output_text":output}, and output_json where it is JSON; the caller owns it. */
json_t *grader_sample(struct str output);

#endif
