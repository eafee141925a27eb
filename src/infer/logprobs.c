/* Log-probabilities: a row's norm by the kernels, its likeliest by one pass with a short sorted
 * list, into which hardly any of the later logits come. */
#include "infer/logprobs.h"

#include "num/ops.h"

#include <math.h>

float logprobs_norm(const struct num *num, const float *logits, int64_t vocab) {
    float top = num_row_max(num, logits, vocab);
    return (float)((double)top + log(num_row_sum_exp(num, logits, vocab, top)));
}

int logprobs_top(const float *logits, int64_t vocab, float norm, int k, struct token_logprob *out) {
    int count = 0;
    float least = INFINITY;
    for (int64_t i = 0; i < vocab && k > 0; i++) {
        if (count == k && !(logits[i] > least)) continue;
        int at = count < k ? count++ : k - 1;
        for (; at > 0 && logits[i] > out[at - 1].logprob; at--) out[at] = out[at - 1];
        out[at] = (struct token_logprob){(int32_t)i, logits[i]};
        least = out[count - 1].logprob;
    }
    for (int i = 0; i < count; i++) out[i].logprob -= norm;
    return count;
}
