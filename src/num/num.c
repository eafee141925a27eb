/* The context that all maths takes: see num.h. */
#include "num/num.h"

#include "base/mem.h"
#include "num/num_int.h"

#include <assert.h>

#define ALIGN ((size_t)64)
#define BLOCK_MIN ((size_t)1 << 20) /* from here on scratch memory lives in huge pages */

struct scratch {
    void *p;      /* aligned */
    void *raw;    /* of mem_alloc; NULL: p is a block */
    size_t bytes; /* usable from p */
};

struct num {
    struct pool *pool;
    enum num_isa isa;
    enum num_type compute;
    struct scratch slots[NUM_SLOT_COUNT];
    struct scratch threads; /* one piece of thread_bytes for each thread */
    size_t thread_bytes;
};

static void scratch_release(struct scratch *s) {
    if (s->raw)
        mem_free(s->raw);
    else
        mem_block_close(s->p, s->bytes);
    *s = (struct scratch){0};
}

static void *scratch_get(struct scratch *s, size_t bytes) {
    if (bytes <= s->bytes && s->p) return s->p;
    scratch_release(s);
    struct err err;
    if (bytes < BLOCK_MIN || mem_block_open(bytes, "scratch memory", &s->p, &err) != 0) {
        s->raw = mem_alloc(bytes + ALIGN);
        s->p = (void *)(((uintptr_t)s->raw + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
    }
    s->bytes = bytes;
    return s->p;
}

struct num *num_new(const struct num_options *options) {
    assert(options->compute == NUM_F32 || options->compute == NUM_BF16);
    assert(num_isa_available(options->isa)); /* this also asks the system for the tiles */
    struct num *num = mem_zalloc(1, sizeof *num);
    num->isa = options->isa;
    num->compute = options->compute;
    num->pool = pool_new(options->threads);
    return num;
}

void num_free(struct num *num) {
    if (!num) return;
    pool_free(num->pool);
    for (int i = 0; i < NUM_SLOT_COUNT; i++) scratch_release(&num->slots[i]);
    scratch_release(&num->threads);
    mem_free(num);
}

struct pool *num_pool(struct num *num) {
    return num->pool;
}
enum num_isa num_isa(const struct num *num) { return num->isa; }
enum num_type num_compute(const struct num *num) { return num->compute; }

enum num_type num_compute_default(enum num_isa isa) {
    return isa == NUM_AVX512BF16 || isa == NUM_AMX ? NUM_BF16 : NUM_F32;
}

const char *num_path_name(const struct num *num) {
    static const char *const names[NUM_ISA_COUNT][2] = {
        {"scalar/f32", "scalar/bf16"}, {"avx2/f32", "avx2/bf16"},
        {"avx512/f32", "avx512/bf16"}, {"avx512bf16/f32", "avx512bf16/bf16"},
        {"amx/f32", "amx/bf16"},
    };
    return names[num->isa][num->compute == NUM_BF16];
}

void *num_scratch(struct num *num, enum num_slot slot, size_t bytes) {
    return scratch_get(&num->slots[slot], bytes);
}

size_t num_scratch_bytes(const struct num *num) {
    size_t sum = num->threads.bytes;
    for (int i = 0; i < NUM_SLOT_COUNT; i++) sum += num->slots[i].bytes;
    return sum;
}

void num_thread_scratch_reserve(struct num *num, size_t bytes_per_thread) {
    size_t piece = (bytes_per_thread + 4095) & ~(size_t)4095;
    if (piece <= num->thread_bytes) return;
    num->thread_bytes = piece;
    scratch_get(&num->threads, piece * (size_t)pool_threads(num->pool));
}

void *num_thread_scratch(struct num *num) {
    return (char *)num->threads.p + num->thread_bytes * (size_t)pool_thread_index();
}
