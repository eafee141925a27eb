/* Models asked for evals and graders: chat completions through the handler of the API, and what was
 * used, counted by model. One struct eval_calls is one item's, in one thread. */
#ifndef API_EVAL_ASK_H
#define API_EVAL_ASK_H

#include "api/api.h"
#include "eval/grader.h"
#include "store/evals.h"

#define EVAL_MODELS_MAX 64

struct eval_calls {
    struct api *api;
    struct arena *mem;       /* for the names of models */
    const _Atomic int *stop; /* may be NULL; once set, asking ends with ERR_CANCELLED */
    struct eval_usage usage[EVAL_MODELS_MAX];
    size_t usage_count;
    json_t *sample; /* of the last question that a grader asked; owned */
    bool failed;    /* a grader's model gave no answer */
};
void eval_calls_release(struct eval_calls *c);

/* One chat completion; waits while the queue is full. An answer that is not 200 is an error with
 * its message. *ret: the answer's JSON, the caller's. */
int eval_chat(struct eval_calls *c, const json_t *body, json_t **ret, struct err *err);
/* grader_asking.ask, with a struct eval_calls as ctx */
int eval_grader_ask(void *ctx, const struct grader_question *q, struct buf *answer,
                    struct err *err);

/* The sample of an output item: what was asked and what a chat completion answered. request, answer
 * and error may be NULL. */
json_t *eval_sample_json(const json_t *request, const json_t *answer, const struct err *error);
/* What templates see of an answer: {"output_text","output_json"?,"output_tools"?}. */
json_t *eval_sample_scope(const json_t *answer);

/* 400 model_not_found, naming the member, where no model has this name. */
struct fields;
int eval_model_check(struct http_request *req, const struct fields *f, const char *key,
                     struct str name, struct err *err);

#endif
