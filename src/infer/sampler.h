/* From logits to one token id. Order as in transformers: bias and penalties, mask, temperature,
 * top-k, top-p, min-p. The same seed and logits give the same ids, whatever else runs: every
 * sampler has a random stream of its own. Belongs to one thread at a time; may run inside a pool's
 * loop.
 *
 *     struct sampler s;
 *     rc = sampler_init(&s, num, &(struct sampling){.temperature = 0.7, .seed = 1}, vocab, err);
 *     id = sampler_pick(&s, logits, NULL);
 *     sampler_release(&s);
 */
#ifndef INFER_SAMPLER_H
#define INFER_SAMPLER_H

#include "base/err.h"
#include "base/rng.h"
#include "num/num.h"

struct logit_bias {
    int32_t id;
    float bias; /* -100..100; 100: beats every token without it; -100: never comes */
};

struct sampling {
    double temperature;  /* 0: greedy, ties to the lowest id */
    double top_p, min_p; /* 0 or 1 / 0: off */
    int64_t top_k;       /* 0: off */
    uint64_t seed;
    /* OpenAI's: logit -= count · frequency + (count > 0) · presence, counted over what was
     * generated; -2..2 */
    double presence_penalty, frequency_penalty;
    const struct logit_bias *bias; /* copied by sampler_init */
    int64_t bias_count;
};

/* ERR_INVALID names the option and the value that is out of range. */
int sampling_check(const struct sampling *s, struct err *err);

struct sampler {
    struct sampling options;
    const struct num *num;
    struct rng rng;
    int64_t vocab;
    float *weight;           /* (vocab) exp((logit - max) / temperature) */
    int32_t *kept;           /* (vocab) ids that may be drawn */
    struct logit_bias *bias; /* options.bias_count */
    struct {
        int32_t id, count;
    } * seen; /* generated ids, where a penalty asks for them */
    size_t seen_count, seen_cap;
};

/* num: borrowed; its kernels are used, never its pool */
int sampler_init(struct sampler *ret, const struct num *num, const struct sampling *options,
                 int64_t vocab, struct err *err);
void sampler_release(struct sampler *s);
/* logits: (vocab) finite, as evaluation gives them; changed by bias, penalties and mask. allowed: a
 * bit for each id that may come, or NULL: all. -1: none may. What is picked counts as generated. */
int32_t sampler_pick(struct sampler *s, float *logits, const uint64_t *allowed);

#endif
