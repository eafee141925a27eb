#include "base/rng.h"

#include <math.h>

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t rng_hash(uint64_t key, uint64_t counter) {
    return mix(mix(key + 0x9e3779b97f4a7c15u) + (counter + 1) * 0x9e3779b97f4a7c15u);
}

void rng_init(struct rng *r, uint64_t seed) {
    for (uint64_t i = 0; i < 4; i++) r->s[i] = mix(seed + (i + 1) * 0x9e3779b97f4a7c15u);
}

void rng_init_stream(struct rng *r, uint64_t seed, uint64_t stream) {
    rng_init(r, rng_hash(seed, stream));
}

static uint64_t rotl(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t rng_u64(struct rng *r) {
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n) {
    uint64_t floor = (0 - n) % n; /* 2^64 mod n: draws below it would favour small results */
    for (;;) {
        uint64_t x = rng_u64(r);
        if (x >= floor) return x % n;
    }
}

double rng_double(struct rng *r) { return (double)(rng_u64(r) >> 11) * 0x1p-53; }

double rng_normal(struct rng *r) {
    for (;;) {
        double u = 2 * rng_double(r) - 1, v = 2 * rng_double(r) - 1, q = u * u + v * v;
        if (q > 0 && q < 1) return u * sqrt(-2 * log(q) / q);
    }
}

void rng_shuffle(struct rng *r, int64_t *a, int64_t n) {
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(r, (uint64_t)i + 1), t = a[i];
        a[i] = a[j];
        a[j] = t;
    }
}
