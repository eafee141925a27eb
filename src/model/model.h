/* The engine's boundary: a model, adapters over it, sessions in it. No tensor leaks out.
 *
 *   struct model    weights (mapped, never changed), configuration, tokenizer, template; shared
 *   struct adapter  a low-rank update of a model; several may be open; chosen per evaluation
 *   struct session  one timeline of tokens with its keys and values; owned by one thread
 *
 *     rc = model_open(path, &(struct model_options){.num = num}, &m, err);
 *     rc = session_open(m, 2048, &s, err);
 *     rc = session_eval(s, num, ids, n, logits, err);   // logits after the last id
 *     ...
 *     session_close(s); model_close(m);
 *
 * A row's logits have the same bits whether its tokens came one by one or all at once.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/err.h"
#include "num/num.h"
#include "text/template.h"
#include "text/tokenizer.h"
#include "weights/config.h"

struct model;
struct adapter;
struct session;

struct model_options {
    bool text_only;    /* tokenizer and template only */
    bool weights_only; /* no tokenizer, no template: model_tokenizer and model_template are NULL */
    bool expand_f32;   /* a GGUF's blocks become F32 instead of BF16 */
};

/* path: a model directory or a GGUF file. */
int model_open(const char *path, const struct model_options *o, struct model **ret,
               struct err *err);
void model_close(struct model *m);
const struct model_config *model_config(const struct model *m);
const struct tokenizer *model_tokenizer(const struct model *m);
/* The model's own, or the plain one of model/assets.h; NULL with weights_only. */
const struct chat_template *model_template(const struct model *m);
bool model_has_plain_template(const struct model *m); /* it came without one */
size_t model_weight_bytes(const struct model *m);
bool model_is_stop(const struct model *m, int32_t id);
/* hashes recorded with adapters: weights, tokenizer, template ("" when none) */
struct model_hashes {
    char weights[65], tokenizer[65], chat_template[65];
};
int model_hashes(const struct model *m, struct model_hashes *ret, struct err *err);

/* A PEFT directory (adapter_config.json + adapter_model.safetensors). Shapes and targets are
 * checked against the model. A mismatch with recorded hashes is written to `warning` ("" when
 * none). */
int adapter_open(const struct model *m, const char *dir, struct adapter **ret, char warning[240],
                 struct err *err);
void adapter_close(struct adapter *a);

/* Room for max_tokens positions; keys and values in F32. */
int session_open(const struct model *m, int64_t max_tokens, struct session **ret, struct err *err);
void session_close(struct session *s);
/* The adapter for what is evaluated from now on; clears the session when it changes. NULL: base. */
void session_set_adapter(struct session *s, const struct adapter *a);
int64_t session_length(const struct session *s);
int64_t session_max(const struct session *s);        /* max_tokens as opened */
const int32_t *session_ids(const struct session *s); /* (session_length) */
const struct model *session_model(const struct session *s);
void session_rewind(struct session *s, int64_t length); /* keep the first `length` tokens */
/* Append n tokens. logits: (vocab) after the last one, or NULL. ERR_LIMIT when the session is full,
 * ERR_INVALID for an id outside the vocabulary and when the logits are not all finite. */
int session_eval(struct session *s, struct num *num, const int32_t *ids, int64_t n, float *logits,
                 struct err *err);
/* The same, with the log-probability of each following token: logprob[i] of next[i] after ids[i].
 * Logits of all rows are never held at once. */
int session_score(struct session *s, struct num *num, const int32_t *ids, int64_t n,
                  const int32_t *next, float *logprob, struct err *err);

/* Several sessions of one model in one pass, each with its own adapter: what a scheduler runs. Bits
 * are those of evaluating each item alone. Scratch memory belongs to the workspace: `rows` tokens
 * in all at a time (longer lists are taken in pieces), `outputs` items with logits at most. */
struct workspace;
int workspace_open(const struct model *m, int64_t rows, int64_t outputs, struct workspace **ret,
                   struct err *err);
void workspace_close(struct workspace *w);

struct eval_item {
    struct session *session; /* each at most once in a list */
    const int32_t *ids;
    int64_t n;
    bool want_logits; /* of the last id */
};
/* logits: (items that want them, vocab), in the order of the items. All or nothing: on an error no
 * session has changed. */
int session_eval_batch(struct workspace *w, struct num *num, const struct eval_item *items,
                       int64_t count, float *logits, struct err *err);

#endif
