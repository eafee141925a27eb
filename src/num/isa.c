/* Which instruction sets this CPU and this system run, and which one is used. */
#include "num/num.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[NUM_ISA_COUNT] = {
    [NUM_SCALAR] = "scalar",         [NUM_AVX2] = "avx2", [NUM_AVX512] = "avx512",
    [NUM_AVX512BF16] = "avx512bf16", [NUM_AMX] = "amx",
};

const char *num_isa_name(enum num_isa isa) { return names[isa]; }

#if defined(NUM_EMULATE) /* tests of kernels for other CPUs */

bool num_isa_available(enum num_isa isa) { return isa < NUM_ISA_COUNT; }

#elif defined(__x86_64__)

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

/* State that the system saves and restores (XCR0): YMM 1-2, ZMM 5-7, tiles 17-18. */
static bool system_keeps(uint64_t mask) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((((uint64_t)high << 32) | low) & mask) == mask;
}

static bool has_avx2(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    if (!(c & bit_FMA) || !(c & bit_F16C) || !system_keeps(0x6)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static bool has_avx512(void) {
    unsigned a, b, c, d;
    unsigned need = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if (!has_avx2() || !system_keeps(0xe6)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & need) == need;
}

static bool has_avx512bf16(void) {
    unsigned a, b, c, d;
    return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
}

/* Linux gives tiles only to a process that asked for them; threads made later inherit the right. */
static bool has_amx(void) {
    unsigned a, b, c, d;
    unsigned need = (1u << 22) | (1u << 24); /* AMX-BF16, AMX-TILE */
    if (!has_avx512bf16() || !system_keeps(0x600e6)) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & need) != need) return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

bool num_isa_available(enum num_isa isa) {
    switch (isa) {
    case NUM_SCALAR: return true;
    case NUM_AVX2: return has_avx2();
    case NUM_AVX512: return has_avx512();
    case NUM_AVX512BF16: return has_avx512bf16();
    case NUM_AMX: return has_amx();
    case NUM_ISA_COUNT: break;
    }
    return false;
}

#else

bool num_isa_available(enum num_isa isa) { return isa == NUM_SCALAR; }

#endif

enum num_isa num_isa_best(void) {
    int isa = NUM_ISA_COUNT - 1;
    while (isa > NUM_SCALAR && !num_isa_available((enum num_isa)isa)) isa--;
    return (enum num_isa)isa;
}

int num_isa_choose(enum num_isa *ret, struct err *err) {
    const char *name = getenv("ATTUNE_ISA");
    if (!name || !*name) {
        *ret = num_isa_best();
        return 0;
    }
    for (int i = 0; i < NUM_ISA_COUNT; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        if (!num_isa_available((enum num_isa)i))
            return err_set(
                err, ERR_UNSUPPORTED,
                "ATTUNE_ISA=%s: this CPU or system does not have it; the best here is %s", name,
                names[num_isa_best()]);
        *ret = (enum num_isa)i;
        return 0;
    }
    return err_set(err, ERR_USAGE,
                   "ATTUNE_ISA=%s: unknown; choose scalar, avx2, avx512, avx512bf16 or amx", name);
}
