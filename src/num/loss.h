/* Cross-entropy of a vocabulary projection without the full logits: rows are taken in blocks,
 * logits of a block live in scratch memory only (bounded by a fixed budget), and the gradient goes
 * straight back into the hidden state. */
#ifndef NUM_LOSS_H
#define NUM_LOSS_H

#include "num/matmul.h"
#include "num/num.h"

struct loss {
    int64_t rows, dim, vocab;
    const float *hidden;   /* (rows, dim): after the final norm, only rows that are trained */
    struct mat head;       /* (vocab, dim) */
    const int32_t *target; /* (rows) */
    const float *weight;   /* (rows): multiplies loss and gradient; NULL: 1 */
    float grad_scale;      /* e.g. 1 / trained tokens of the whole step */
    float *nll;            /* (rows) out: -log p(target), unweighted; or NULL */
    float *dhidden;        /* (rows, dim) out, written; NULL: forward only */
    float *dhead;          /* (vocab, dim) +=; NULL: frozen */
    uint8_t *correct;      /* (rows) out: 1 where the target's logit is the largest (the first of
                              equal ones counts), else 0; or NULL */
};
/* With dhidden and dhead NULL no gradient is computed: log-probabilities of given tokens are -nll.
 * `nll` may be NULL. A NaN or infinite logit makes its row's nll NaN. */
void loss_run(struct num *num, const struct loss *l);

/* Rows of one block: rows·vocab floats of scratch memory, at most 64 MiB or 16 rows. */
int64_t loss_block_rows(int64_t rows, int64_t vocab);
#endif
