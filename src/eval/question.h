/* What label_model and score_model ask: messages with templates, the form of the answer as a JSON
 * Schema, and the score that an answer is. Whoever grades does the asking (grader.h). */
#ifndef EVAL_QUESTION_H
#define EVAL_QUESTION_H

#include "eval/grader.h"

struct question;
/* config is the grader's and outlives the question. */
int question_new_label(const json_t *config, const char *where, struct question **ret,
                       struct err *err);
int question_new_score(const json_t *config, const char *where, struct question **ret,
                       struct err *err);
void question_free(struct question *q); /* NULL is fine */
struct str question_model(const struct question *q);
double question_middle(const struct question *q); /* of its range */
int question_score(const struct question *q, const struct placeholder_scope *scope,
                   const struct grader_asking *asking, double *ret, struct err *err);

/* Messages with templates, as evals have them in several places: the content of each a text, a part
 * {"type":"input_text"|"output_text"|"text","text"}, or a list of these. */
int messages_check(const json_t *list, const char *where, struct err *err);
/* [{"role","content"}] with texts filled; the caller owns it. */
int messages_fill(const json_t *list, const struct placeholder_scope *scope, json_t **ret,
                  struct err *err);

#endif
