/* What every request for generated text needs: its model by name, a prompt as ids that fits, and
 * the way into the engine. Belongs to one request's thread. */
#ifndef API_GENERATION_H
#define API_GENERATION_H

#include "api/api.h"
#include "api/chat_request.h"
#include "api/choice.h"
#include "infer/engine.h"
#include "registry/router.h"
#include "text/grammar.h"

#define CONTENT_MAX ((size_t)64 << 20) /* bytes of one answer */

struct generation {
    struct api *api;
    const struct model *model;
    const char *name, *path, *adapter; /* in the request's arena; adapter NULL: the base */
    char fingerprint[24];              /* "fp_...": build, model and kernel path */
    struct token_list prompt;
    int64_t context; /* tokens of prompt and answer together */
    uint64_t owner;
    struct routed routed;
    const char *asked; /* the name that was resolved */
    int64_t begun_ns;
    int attempt;  /* 0: what the name leads to, then its fallbacks; kept by generation_model */
    bool settled; /* its end was told */
};

/* Looks the name up and loads the model where it is not loaded; where that fails, the alias'
 * fallbacks in turn. Answers 404 model_not_found. Begins at g->attempt, so g is zeroed before. */
int generation_model(struct generation *g, struct http_request *req, struct str name,
                     struct http_response *res, struct err *err);
void generation_release(struct generation *g);

/* How the request ended, once, for the canary that it may have been part of. Answers that are the
 * client's fault (or a full queue's) are not noted. */
struct generation_outcome {
    bool failed;
    signed char wrong_format, empty; /* 1, 0; -1: cannot be said */
};
void generation_note(struct generation *g, const struct generation_outcome *o);
void generation_failed(struct generation *g, int rc); /* an ERR_ code */
/* Its answer was stored: feedback of it will be the canary's. */
int generation_stored(const struct generation *g, const char *completion, struct err *err);
/* After generation_failed and before anything was sent: the attempt to begin again with, or -1. */
int generation_next(const struct generation *g, struct http_request *req, int rc);
/* No text, or words of refusal at its beginning. */
bool generation_refused(struct str text);
/* "model=... route=... in=... out=..." for the log's line */
void generation_log(const struct generation *g, struct http_request *req, int64_t in, int64_t out);

/* The conversation in vars through the model's template; replaces the prompt. */
int generation_prompt_chat(struct generation *g, const json_t *vars, struct err *err);
/* A prompt without room for an answer is answered with 400 context_length_exceeded; param names the
 * field. */
int generation_fits(const struct generation *g, const char *param, int64_t prompt_tokens,
                    int64_t max_tokens, struct http_response *res);
/* logit_bias may name the model's own tokens only, else 400. */
int generation_knows_bias(const struct generation *g, const struct sampling_request *s,
                          struct http_response *res);
/* Pumps until all has come, the client has gone (ERR_CANCELLED), or clients would soon give up
 * without headers: then *ret_done is false, and generation_later sends them and the JSON after. */
int generation_wait(struct http_request *req,
                    int (*pump)(void *ctx, int wait_ms, bool *ret_done, struct err *err), void *ctx,
                    bool *ret_done, struct err *err);
int generation_later(struct http_response *res,
                     enum http_next (*next)(void *ctx, int wait_ms, struct buf *out),
                     void (*close)(void *ctx, bool complete), void *ctx);
/* model, adapter, prompt, owner */
struct engine_request generation_request(const struct generation *g);
/* A filter over a grammar; its ctx holds what it needs and is released by the engine, or by the
 * caller where the request was not taken. */
int generation_filter(struct generation *g, struct grammar *grammar, struct engine_filter *ret,
                      struct err *err);
/* A line of the request log: what is the same for every kind of request, from its choices. `ended`:
 * of all of them the answer is complete. The caller adds id, format and texts. */
struct request_entry;
void generation_entry(const struct generation *g, const struct http_request *req,
                      struct choice_set *set, struct request_entry *ret, bool *ret_ended);

/* 429 with Retry-After */
int generation_busy(struct http_request *req, struct http_response *res);

#endif
