/* Log-probabilities of the distribution the model itself gives: before temperature, penalties, bias
 * and masks. On the calling thread, one row of logits at a time. */
#ifndef INFER_LOGPROBS_H
#define INFER_LOGPROBS_H

#include "num/num.h"

struct token_logprob {
    int32_t id;
    float logprob;
};

/* log of the sum of exp over the row: a logit less this is a log-probability */
float logprobs_norm(const struct num *num, const float *logits, int64_t vocab);
/* The k likeliest by falling log-probability, equals by rising id; returns how many there are. */
int logprobs_top(const float *logits, int64_t vocab, float norm, int k, struct token_logprob *out);

#endif
