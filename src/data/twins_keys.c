/* The keys by which rows meet. Seeds are fixed: the same row has the same keys everywhere. */
#include "data/twins_int.h"

#include "base/mem.h"
#include "base/rng.h"

#define HASHES (BANDS * BAND_ROWS)
#define SEED UINT64_C(0x617474756e65)

size_t shingle_words(size_t n) { return n < 12 ? 1 : n <= 18 ? 2 : n <= 48 ? 3 : 5; }

static uint32_t fold(uint64_t h) {
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    return (uint32_t)h ? (uint32_t)h : 1; /* 0: no key */
}

/* Of a row of n words among rows of `of`: the hash of all but each piece. */
static void piece_keys(uint64_t seed, const uint32_t *list, size_t n, size_t of, uint32_t *ret) {
    for (size_t i = 0; i < PIECES; i++) {
        size_t lo, hi;
        uint64_t h = hash_step(hash_step(seed, of), i);
        piece_bounds(n, of, i, &lo, &hi);
        /* no word of the longer row is in an empty piece */
        if (i * of / PIECES == (i + 1) * of / PIECES) continue;
        for (size_t j = 0; j < lo; j++) h = hash_step(h, list[j]);
        for (size_t j = hi; j < n; j++) h = hash_step(h, list[j]);
        ret[i] = fold(h);
    }
}

static void minima(const uint32_t *list, size_t n, uint64_t seed, uint32_t *ret) {
    uint32_t flip[HASHES], factor[HASHES];
    size_t k = shingle_words(n);
    for (size_t i = 0; i < HASHES; i++) {
        uint64_t r = rng_hash(SEED, i);
        flip[i] = (uint32_t)r;
        factor[i] = (uint32_t)(r >> 32) | 1;
        ret[i] = UINT32_MAX;
    }
    for (size_t j = 0; j + k <= n; j++) {
        uint64_t h = seed;
        for (size_t w = 0; w < k; w++) h = hash_step(h, list[j + w]);
        uint32_t x = fold(h);
        for (size_t i = 0; i < HASHES; i++) {
            uint32_t v = (x ^ flip[i]) * factor[i];
            ret[i] = v < ret[i] ? v : ret[i];
        }
    }
}

void twins_keys(const struct trow *row, const uint32_t *list, size_t n, uint32_t ret[KEYS]) {
    uint64_t seed = hash_step(SEED, row->frame);
    memset(ret, 0, KEYS * sizeof *ret);
    if (n && n <= PIECE_WORDS_MAX) {
        piece_keys(seed, list, n, n, ret);
        piece_keys(seed, list, n, n + 1, ret + PIECES);
    }
    if (n < SHINGLED_MIN) return;
    uint32_t low[HASHES];
    minima(list, n, SEED, low);
    for (size_t b = 0; b < BANDS; b++) {
        uint64_t h = hash_step(hash_step(seed, shingle_words(n)), b);
        for (size_t i = 0; i < BAND_ROWS; i++) h = hash_step(h, low[b * BAND_ROWS + i]);
        ret[PIECE_KEYS + b] = fold(h);
    }
}
