/* The numeric context: instruction set, threads, arithmetic type and scratch memory.
 *
 * All maths takes a struct num. Kernels exist per instruction set and are chosen once, by cpuid or
 * by $ATTUNE_ISA (scalar, avx2, avx512, avx512bf16, amx). Work is split into fixed items and no
 * item adds into memory of another, so results have the same bits at any thread count. Across
 * instruction sets and arithmetic types bits differ.
 *
 * A struct num may be used by one thread at a time (it owns scratch memory); the pool below it runs
 * the loops.
 */
#ifndef NUM_NUM_H
#define NUM_NUM_H

#include "base/err.h"
#include "base/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum num_isa { NUM_SCALAR, NUM_AVX2, NUM_AVX512, NUM_AVX512BF16, NUM_AMX, NUM_ISA_COUNT };

const char *num_isa_name(enum num_isa isa);
bool num_isa_available(enum num_isa isa); /* this CPU and this system can run it */
enum num_isa num_isa_best(void);
/* From $ATTUNE_ISA when set; ERR_USAGE for an unknown name, ERR_UNSUPPORTED when not available. */
int num_isa_choose(enum num_isa *ret, struct err *err);

/* Element types of stored matrices. */
enum num_type { NUM_F32, NUM_BF16, NUM_F16 };
static inline size_t num_type_size(enum num_type t) { return t == NUM_F32 ? 4 : 2; }

/* Arithmetic of matrix products: NUM_F32 keeps activations in F32 (BF16 and F16 weights are widened
 * exactly); NUM_BF16 rounds both operands to BF16 (nearest even). Sums are always F32. */
struct num_options {
    int threads;           /* 0: all cores */
    enum num_type compute; /* NUM_F32 or NUM_BF16 */
    enum num_isa isa;      /* as num_isa_choose gave */
};

struct num;
struct num *num_new(const struct num_options *options);
void num_free(struct num *num);
struct pool *num_pool(struct num *num);
enum num_isa num_isa(const struct num *num);
enum num_type num_compute(const struct num *num);
/* NUM_BF16 where the instruction set multiplies it faster (avx512bf16, amx), else NUM_F32. */
enum num_type num_compute_default(enum num_isa isa);
/* "amx/bf16": what equal bits are promised within; recorded with adapters. Static storage. */
const char *num_path_name(const struct num *num);

/* Scratch memory that lives until num_free or the next request of the same slot that is larger.
 * Slots keep nested users apart. */
enum num_slot {
    NUM_SLOT_PACK,
    NUM_SLOT_PACK_A,
    NUM_SLOT_LIST,
    NUM_SLOT_OPS,
    NUM_SLOT_ATTENTION,
    NUM_SLOT_LOSS,
    NUM_SLOT_COUNT
};
/* 64-byte aligned, not zeroed */
void *num_scratch(struct num *num, enum num_slot slot, size_t bytes);
size_t num_scratch_bytes(const struct num *num); /* held now, for the memory plan */

uint16_t num_bf16_of(float x); /* round to nearest even; NaN stays NaN */
static inline float num_of_bf16(uint16_t x) {
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)x << 16};
    return v.f;
}
float num_of_f16(uint16_t x);
uint16_t num_f16_of(float x);
/* count elements of `type` at p to F32 and back (rounding to nearest even) */
void num_widen(float *out, const void *p, enum num_type type, int64_t count);
void num_narrow(void *out, enum num_type type, const float *x, int64_t count);

#endif
