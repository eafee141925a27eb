#include "probe.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

#define ROUNDS 400000
#define REPEATS 5
#define BYTES ((size_t)64 << 20) /* of each item: far beyond any cache of one core */

struct job {
    enum num_isa isa;
    enum num_type compute;
    const char *memory;
    volatile float sink;
};

#if defined(__x86_64__)
/* 12 independent chains: latency 4 or 5 times 2 a cycle */
#define CHAINS(OP, R)                                                                              \
    "1:\n" OP " %%" R "12,%%" R "13,%%" R "0\n" OP " %%" R "12,%%" R "13,%%" R "1\n" OP " %%" R    \
    "12,%%" R "13,%%" R "2\n" OP " %%" R "12,%%" R "13,%%" R "3\n" OP " %%" R "12,%%" R "13,%%" R  \
    "4\n" OP " %%" R "12,%%" R "13,%%" R "5\n" OP " %%" R "12,%%" R "13,%%" R "6\n" OP " %%" R     \
    "12,%%" R "13,%%" R "7\n" OP " %%" R "12,%%" R "13,%%" R "8\n" OP " %%" R "12,%%" R "13,%%" R  \
    "9\n" OP " %%" R "12,%%" R "13,%%" R "10\n" OP " %%" R "12,%%" R "13,%%" R "11\n"              \
    "dec %0\njnz 1b\nvzeroupper\n"
#define CLOBBERS                                                                                   \
    "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12", "xmm13"

static double flops_run(enum num_isa isa, enum num_type compute) {
    int64_t n = ROUNDS;
    __asm__ volatile("vzeroall" ::: CLOBBERS);
    if (compute == NUM_BF16 && isa >= NUM_AVX512BF16) {
        __asm__ volatile(CHAINS("vdpbf16ps", "zmm") : "+r"(n)::CLOBBERS);
        return 12.0 * 64 * ROUNDS;
    }
    if (isa >= NUM_AVX512) {
        __asm__ volatile(CHAINS("vfmadd231ps", "zmm") : "+r"(n)::CLOBBERS);
        return 12.0 * 32 * ROUNDS;
    }
    __asm__ volatile(CHAINS("vfmadd231ps", "ymm") : "+r"(n)::CLOBBERS);
    return 12.0 * 16 * ROUNDS;
}
#endif

static void flops_item(void *ctx, int64_t i) {
    (void)i;
    struct job *job = ctx;
#if defined(__x86_64__)
    if (job->isa >= NUM_AVX2) {
        flops_run(job->isa, job->compute);
        return;
    }
#endif
    float a = 0, b = 0, c = 0, d = 0;
    for (int64_t n = 0; n < ROUNDS; n++) {
        a += a * 1.5f, b += b * 1.5f, c += c * 1.5f, d += d * 1.5f;
        __asm__ volatile("" : "+m"(a), "+m"(b));
    }
    job->sink = a + b + c + d;
}

static double item_flops(const struct job *job) {
#if defined(__x86_64__)
    if (job->isa >= NUM_AVX2) return flops_run(job->isa, job->compute);
#else
    (void)job;
#endif
    return 8.0 * ROUNDS;
}

static double best_seconds(struct pool *pool, void (*fn)(void *, int64_t), struct job *job) {
    double best = 1e9;
    for (int r = 0; r < REPEATS; r++) {
        double start = clock_seconds();
        pool_run(pool, pool_threads(pool), fn, job);
        double took = clock_seconds() - start;
        if (took < best) best = took;
    }
    return best;
}

double probe_gflops(struct pool *pool, enum num_isa isa, enum num_type compute) {
    struct job job = {.isa = isa, .compute = compute};
    double flops = item_flops(&job) * pool_threads(pool);
    return flops / best_seconds(pool, flops_item, &job) * 1e-9;
}

static void read_item(void *ctx, int64_t i) {
    struct job *job = ctx;
    const uint64_t *p = (const uint64_t *)(const void *)(job->memory + (size_t)i * BYTES);
    uint64_t s[8] = {0};
    for (size_t at = 0; at < BYTES / sizeof *p; at += 8) {
        __builtin_prefetch(p + at + 128);
        for (int j = 0; j < 8; j++) s[j] += p[at + (size_t)j];
    }
    job->sink = (float)(s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]);
}

double probe_gbytes(struct pool *pool) {
    struct err err;
    void *memory;
    size_t bytes = BYTES * (size_t)pool_threads(pool);
    if (mem_block_open(bytes, "probe", &memory, &err) != 0) return 0;
    memset(memory, 1, bytes);
    struct job job = {.memory = memory};
    double rate = (double)bytes / best_seconds(pool, read_item, &job) * 1e-9;
    mem_block_close(memory, bytes);
    return rate;
}
