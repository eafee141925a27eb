/* What is minimised, over rows that go through the net in micro-batches:
 *
 *   sft   sum over trained tokens of weight·nll / sum of weights
 *   dpo   mean over pairs of -log sigmoid(beta·((c - c_ref) - (r - r_ref))), c and r being the
 *         log-probabilities of the preferred and the other output ("Direct Preference
 *         Optimization", Rafailov et al. 2023), c_ref and r_ref under the reference model
 *
 * Rows are samples; of pairs both sides, one after the other. Sums have a fixed order, so the bits
 * depend on the rows and micro_tokens alone.
 */
#ifndef TRAIN_OBJECTIVE_H
#define TRAIN_OBJECTIVE_H

#include "train/dataset.h"
#include "train/net.h"
#include "train/train.h"

struct objective {
    enum train_objective kind;
    double beta;
    int64_t micro_tokens;
    bool share; /* beginnings that rows have in common are computed once */
};

/* how many of `count` rows go next, at most o->micro_tokens */
struct micro objective_micro(const struct objective *o, const struct sample *const *rows,
                             int64_t count);

struct objective_pass {
    float dropout;
    uint64_t key;  /* of the dropout masks */
    bool backward; /* the gradient of the loss is added to the net's params */
};
struct measures {
    double loss, accuracy;
    struct train_rewards rewards;
};
struct measures objective_run(const struct objective *o, struct net *net,
                              const struct sample *const *rows, int64_t count,
                              const struct objective_pass *pass);

/* Log-probabilities of the rows' targets with the net's present weights. ret: (count) */
void objective_logprobs(const struct objective *o, struct net *net,
                        const struct sample *const *rows, int64_t count, double *ret);

#endif
