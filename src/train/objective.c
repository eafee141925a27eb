#include "train/objective.h"

#include <math.h>

struct micro objective_micro(const struct objective *o, const struct sample *const *rows,
                             int64_t count) {
    return o->kind == OBJECTIVE_DPO ? micro_next_pairs(rows, count, o->micro_tokens, o->share)
                                    : micro_next(rows, count, o->micro_tokens, o->share);
}

/* the next micro-batch of rows[at..count) */
static struct net_batch batch_at(const struct objective *o, const struct sample *const *rows,
                                 int64_t at, int64_t count) {
    struct micro m = objective_micro(o, rows + at, count - at);
    return (struct net_batch){.rows = rows + at,
                              .first_row = at,
                              .count = m.count,
                              .shared = m.shared,
                              .pairs = o->kind == OBJECTIVE_DPO && o->share};
}

/* --- tokens --- */

static struct measures run_tokens(const struct objective *o, struct net *net,
                                  const struct sample *const *rows, int64_t count,
                                  const struct objective_pass *pass) {
    struct net_sums sums = {0};
    double weight = 0;
    int64_t trained = 0;
    for (int64_t i = 0; i < count; i++) {
        weight += rows[i]->weight;
        trained += rows[i]->trained;
    }
    for (int64_t at = 0; at < count;) {
        struct net_batch b = batch_at(o, rows, at, count);
        b.grad_scale = (float)(1.0 / weight);
        b.dropout = pass->dropout;
        b.key = pass->key;
        b.backward = pass->backward;
        net_run(net, &b, &sums);
        at += b.count;
    }
    return (struct measures){.loss = sums.loss / weight,
                             .accuracy = (double)sums.correct / (double)trained,
                             .rewards = {NAN, NAN, NAN}};
}

/* --- pairs --- */

struct pair_sums {
    double loss, chosen, rejected;
    int64_t right;
};

/* One pair into the sums; the factors of both sides for the gradient of the mean over `pairs`. */
static void judge_pair(double beta, int64_t pairs, const struct sample *const *rows,
                       struct net_row *sides, struct pair_sums *sums) {
    double chosen = beta * (-sides[0].loss - rows[0]->reference);
    double rejected = beta * (-sides[1].loss - rows[1]->reference);
    double margin = chosen - rejected, small = exp(-fabs(margin));
    /* -log sigmoid(margin), and its slope: both without overflow */
    sums->loss += log1p(small) + (margin < 0 ? -margin : 0);
    double slope = margin < 0 ? 1 / (1 + small) : small / (1 + small);
    sums->chosen += chosen;
    sums->rejected += rejected;
    sums->right += margin > 0;
    sides[0].factor = (float)(beta * slope / (double)pairs);
    sides[1].factor = -sides[0].factor;
}

static struct measures run_pairs(const struct objective *o, struct net *net,
                                 const struct sample *const *rows, int64_t count,
                                 const struct objective_pass *pass) {
    struct pair_sums sums = {0};
    int64_t pairs = count / 2;
    for (int64_t at = 0; at < count;) {
        struct net_batch b = batch_at(o, rows, at, count);
        b.dropout = pass->dropout;
        b.key = pass->key;
        struct net_row *row = net_forward(net, &b);
        for (int64_t i = 0; i < b.count; i += 2)
            judge_pair(o->beta, pairs, b.rows + i, row + i, &sums);
        if (pass->backward) net_backward(net);
        at += b.count;
    }
    double n = (double)pairs;
    return (struct measures){
        .loss = sums.loss / n,
        .accuracy = (double)sums.right / n,
        .rewards = {sums.chosen / n, sums.rejected / n, (sums.chosen - sums.rejected) / n}};
}

struct measures objective_run(const struct objective *o, struct net *net,
                              const struct sample *const *rows, int64_t count,
                              const struct objective_pass *pass) {
    return o->kind == OBJECTIVE_DPO ? run_pairs(o, net, rows, count, pass)
                                    : run_tokens(o, net, rows, count, pass);
}

void objective_logprobs(const struct objective *o, struct net *net,
                        const struct sample *const *rows, int64_t count, double *ret) {
    for (int64_t at = 0; at < count;) {
        struct net_batch b = batch_at(o, rows, at, count);
        const struct net_row *row = net_forward(net, &b);
        for (int64_t i = 0; i < b.count; i++) ret[at + i] = -row[i].loss;
        at += b.count;
    }
}
