/* One answer from one session: prompt in, tokens out, text streamed whole code points at a time. */
#ifndef INFER_GENERATE_H
#define INFER_GENERATE_H

#include "base/buf.h"
#include "infer/sampler.h"
#include "model/model.h"

#include <signal.h>

enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED };
const char *finish_reason_name(enum finish_reason r); /* "stop", "length", "cancelled" */

struct generate_options {
    const int32_t *prompt;
    int64_t prompt_count, max_tokens;
    struct sampling sampling;
    bool keep_special; /* special tokens in the text */
    /* called with each piece of text as it becomes whole; may be NULL */
    void (*on_text)(void *ctx, struct str piece);
    void *ctx;
    const volatile sig_atomic_t *cancel; /* may be NULL */
};

struct generate_result {
    int32_t *ids; /* without the stop token; generate_result_release */
    int64_t count;
    struct buf text; /* what the ids add to the decoded prompt */
    enum finish_reason finish;
    double prompt_seconds, decode_seconds;
};

/* The session keeps what it has evaluated: a longest common prefix with the prompt is reused, so a
 * chat goes on without reading its beginning again. The prompt must leave room for one token: else
 * ERR_LIMIT says how long it is and what fits. */
int generate(struct session *s, struct num *num, const struct generate_options *o,
             struct generate_result *ret, struct err *err);
void generate_result_release(struct generate_result *r);

#endif
