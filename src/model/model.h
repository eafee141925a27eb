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
    int64_t
        positions; /* rotary tables of so many positions (0: 4096); longer sessions make theirs */
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
size_t model_kv_bytes(const struct model *m); /* keys and values of one position */
void model_touch(const struct model *m);      /* reads a byte of each page: weights into memory */
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
size_t adapter_bytes(const struct adapter *a); /* of its factors */

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
/* Room for so many positions at once and no more, so that evaluating them allocates nothing. A
 * session grows by itself, in larger steps. ERR_LIMIT past its max_tokens. */
int session_make_room(struct session *s, int64_t positions, struct err *err);
size_t session_bytes(const struct session *s); /* keys and values, as allocated */
/* The first n tokens of `from`, with their keys and values, in the place of what `to` had. Both of
 * one model; `to` gets the adapter of `from`. */
int session_copy(struct session *to, const struct session *from, int64_t n, struct err *err);
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
 * in all at a time (longer lists are taken in pieces), `outputs` rows of logits at most. Rows of
 * one adapter should be neighbours: their low-rank products are then one. */
struct workspace;
int workspace_open(const struct model *m, int64_t rows, int64_t outputs, struct workspace **ret,
                   struct err *err);
void workspace_close(struct workspace *w);

struct eval_item {
    struct session *session; /* each at most once in a list */
    const int32_t *ids;
    int64_t n;
    int64_t want_logits; /* of the last so many ids */
};
/* logits: (ids that want them, vocab), in the order of the items. All or nothing: on an error no
 * session has changed. */
int session_eval_batch(struct workspace *w, struct num *num, const struct eval_item *items,
                       int64_t count, float *logits, struct err *err);
/* The same without a look at the numbers: a caller that finds a row that is not finite gives up the
 * one session it belongs to (session_not_finite is the message), and the others go on. */
int session_eval_rows(struct workspace *w, struct num *num, const struct eval_item *items,
                      int64_t count, float *logits, struct err *err);
int session_not_finite(const struct session *s, struct err *err);
size_t workspace_bytes(const struct workspace *w);

#endif
