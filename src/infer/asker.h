/* Many questions to one model, whoever runs it: the engine of this process, or any server that
 * speaks OpenAI's chat completions. Evaluation, synthesis and judges ask through it.
 *
 *     rc = asker_open(&(struct asker_options){.engine = e, .path = path, .adapter = dir}, &a, err);
 *     rc = asker_all(a, n, 16, question_of, answered, ctx, &cancel, err);
 *     asker_close(a);
 *
 * asker_ask may be called from any thread. A local answer is the same whatever else is asked at the
 * time; what a server answers is its own affair. */
#ifndef INFER_ASKER_H
#define INFER_ASKER_H

#include "base/json.h"
#include "infer/engine.h"

struct asker;

struct asker_options {
    struct engine *engine; /* local: with these two; all borrowed */
    const char *path, *adapter;
    const char *url, *model; /* upstream: ".../v1" and the model's name there */
    const char *key;         /* NULL: none is sent */
    int64_t timeout_seconds; /* of one upstream answer; 0: 600 */
};
int asker_open(const struct asker_options *o, struct asker **ret, struct err *err);
void asker_close(struct asker *a);

struct question {
    const json_t *messages;    /* in any of OpenAI's spellings; NULL: `prompt` as it is */
    const json_t *tools;       /* NULL: none */
    struct str prompt;         /* of a completion, without template */
    const json_t *schema;      /* the answer is JSON of this schema; NULL: free */
    int64_t max_tokens;        /* of the answer */
    double temperature, top_p; /* top_p 0: 1 */
    uint64_t seed;
};

struct answer {
    int rc; /* 0, or why there is none */
    struct err err;
    char *text; /* NUL-terminated, length n; also what a model writes of calls */
    size_t n;
    char finish[16]; /* "stop", "length", ... */
    int64_t prompt_tokens, cached_tokens, completion_tokens;
    double first_seconds, seconds; /* to the first text, to the end */
};
void answer_release(struct answer *a);

/* Waits for the answer. What goes wrong with this question alone is in ret->rc. */
void asker_ask(struct asker *a, const struct question *q, struct answer *ret);

struct asker_events {
    void *ctx;
    /* Question i; what it points to lives until answered(i). Any thread. */
    int (*question)(void *ctx, int64_t i, struct question *ret, struct err *err);
    /* Its answer, in any order, one at a time; taken over by the callee. ERR_ stops the rest. */
    int (*answered)(void *ctx, int64_t i, struct answer *a, struct err *err);
};
/* n questions, `concurrency` at a time. cancel may be NULL; when it is set, those under way end
 * with ERR_CANCELLED and the others are not asked. */
int asker_all(struct asker *a, int64_t n, int concurrency, const struct asker_events *events,
              const volatile sig_atomic_t *cancel, struct err *err);

#endif
