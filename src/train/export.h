/* Writing a tuned model for other programs. Each export is opened again and compared with what it
 * came from (largest logit difference, greedy tokens) before it appears under its name. */
#ifndef TRAIN_EXPORT_H
#define TRAIN_EXPORT_H

#include "num/num.h"

struct export_check {
    double logit_difference;      /* largest, relative to the largest logit */
    int64_t tokens_equal, tokens; /* greedy tokens that agree, of how many */
    char warning[240];            /* the adapter was trained on another base; "": it was not */
};

/* A PEFT directory from an adapter of ours (or any PEFT adapter). base: model path it belongs to.
 */
int export_peft(struct num *num, const char *base, const char *adapter, const char *out,
                struct export_check *ret, struct err *err);
/* Merged model directory (safetensors, config, tokenizer); adapter NULL: the base alone (e.g. a
 * GGUF as safetensors). type: NUM_F32 or NUM_BF16 of the matrices written. */
int export_merged(struct num *num, const char *base, const char *adapter, enum num_type type,
                  const char *out, struct export_check *ret, struct err *err);

#endif
