/* From logits to one token id. Order as in transformers: temperature, top-k, top-p, min-p. The same
 * seed and logits give the same ids. Belongs to one thread.
 *
 *     struct sampler s;
 *     rc = sampler_init(&s, &(struct sampling){.temperature = 0.7, .seed = 1}, vocab, err);
 *     id = sampler_pick(&s, logits);
 *     sampler_release(&s);
 */
#ifndef INFER_SAMPLER_H
#define INFER_SAMPLER_H

#include "base/err.h"
#include "base/rng.h"

struct sampling {
    double temperature;  /* 0: greedy, ties to the lowest id */
    double top_p, min_p; /* 0 or 1 / 0: off */
    int64_t top_k;       /* 0: off */
    uint64_t seed;
};

/* ERR_INVALID names the option and the value that is out of range. */
int sampling_check(const struct sampling *s, struct err *err);

struct sampler {
    struct sampling options;
    struct rng rng;
    int64_t vocab;
    double *weight; /* (vocab) exp((logit - max) / temperature) */
    int32_t *heap;  /* (vocab) ids, largest weight first out */
    int32_t *kept;  /* (vocab) ids that may be drawn, by falling weight or by id */
};

int sampler_init(struct sampler *ret, const struct sampling *options, int64_t vocab,
                 struct err *err);
void sampler_release(struct sampler *s);
/* logits: finite, as evaluation gives them */
int32_t sampler_pick(struct sampler *s, const float *logits);

#endif
