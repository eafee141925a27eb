/* Seeded randomness, the same on every machine. xoshiro256** (Blackman, Vigna 2018) seeded by
 * splitmix64. The state is plain data: save it and go on from it. Never for secrets. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
/* An independent stream for (seed, stream), e.g. one per epoch or per tensor. */
void rng_init_stream(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* uniform in [0, n), n > 0, no bias */
double rng_double(struct rng *r);              /* [0, 1), 53 bits */
double rng_normal(struct rng *r); /* mean 0, variance 1; polar method, two draws at least */
void rng_shuffle(struct rng *r, int64_t *a, int64_t n);
/* Counter-based (splitmix64 finaliser): the same bits for (key, counter) in any order or thread. */
uint64_t rng_hash(uint64_t key, uint64_t counter);

#endif
