/* One answer that is being generated: tokens of a stream of the engine become text without stop
 * sequences and entries of log-probabilities, as much as is certain at a time. Shared by chat and
 * legacy completions. Belongs to one thread.
 *
 *     rc = choice_open(&c, &options, err);
 *     while (!rc && !c.ended) { rc = choice_wait(&c, 100, err); ... take c.text, c.logprobs ... }
 *     choice_close(&c);
 */
#ifndef API_CHOICE_H
#define API_CHOICE_H

#include "api/chat_request.h"
#include "infer/engine.h"
#include "infer/stop_text.h"
#include "infer/text_stream.h"

struct choice_options {
    struct engine *engine;
    const struct model *model;
    struct engine_request request; /* model, adapter, prompt, logprobs, filter, owner; the rest is
                                      filled in from: */
    const struct sampling_request *sampling;
    int64_t index;     /* of n: each choice has a seed of its own */
    bool keep_special; /* special tokens are text: tool calls may be spelled in them */
};

/* a token whose text is held back */
struct choice_pending {
    json_t *entry;
    size_t end; /* bytes of the answer up to and with it */
};

struct choice {
    struct engine_stream *stream;
    const struct tokenizer *tokenizer;
    struct text_stream text_stream;
    struct stop_text stop;
    struct buf text;  /* new text; the caller takes it (buf_clear) */
    json_t *logprobs; /* new entries {"token","logprob","bytes","top_logprobs"}; the caller takes
                         them (json_array_clear); NULL: not asked for */
    json_t *prompt;   /* entries of the prompt's tokens, where asked for */
    struct choice_pending *pending;
    size_t pending_count, pending_cap, raw_bytes, text_bytes;
    bool ended;
    const char *finish; /* "stop", "length" */
    int64_t prompt_tokens, cached_tokens, completion_tokens;
    int64_t opened_ns, first_ns; /* clock_ns; of the first token, 0: none yet */
};

/* ERR_BUSY: the engine's queue is full. */
int choice_open(struct choice *c, const struct choice_options *o, struct err *err);
/* Waits at most this long for what comes next. */
int choice_wait(struct choice *c, int timeout_ms, struct err *err);
void choice_close(struct choice *c);

/* Several answers of one request. A few run at a time, so that one request never fills the engine's
 * queue by itself; the next is opened when one has ended. */
struct choice_set {
    void *ctx;
    struct choice *(*at)(void *ctx, int64_t i);
    int (*open)(void *ctx, int64_t i, struct err *err); /* choice_open of the i-th */
    int64_t count, opened;
};
/* Opens what may be opened and waits at most wait_ms until something has come; *ret_done: all have
 * ended. ERR_BUSY only when none of this request's runs. */
int choices_wait(struct choice_set *s, int wait_ms, bool *ret_done, struct err *err);

/* {"token","logprob","bytes","top_logprobs"} of the API */
json_t *choice_token_entry(const struct tokenizer *t, const struct engine_token *token);
/* The engine's sampling of choice `index`: its own random stream, the same for the same seed. */
struct sampling choice_sampling(const struct sampling_request *r, int64_t index,
                                struct logit_bias *bias);

#endif
