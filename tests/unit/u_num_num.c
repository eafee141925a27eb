/* Conversions, the choice of the instruction set, and the context's scratch memory. */
#include "unit.h"

#include "base/rng.h"
#include "num/num.h"
#include "num/num_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void every_half_survives_the_way_to_f32_and_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = num_of_f16((uint16_t)h), b = num_of_bf16((uint16_t)h);
        bool f16_nan = (h & 0x7fff) > 0x7c00, bf16_nan = (h & 0x7fff) > 0x7f80;
        assert_int_equal(isnan(f) != 0, f16_nan);
        assert_int_equal(isnan(b) != 0, bf16_nan);
        if (!f16_nan) assert_int_equal(num_f16_of(f), h);
        if (!bf16_nan) assert_int_equal(num_bf16_of(b), h);
    }
    assert_true(isnan(num_of_f16(num_f16_of(NAN))) && isnan(num_of_bf16(num_bf16_of(NAN))));
    assert_true(isnan(num_of_bf16(num_bf16_of(float_of(0x7f800001))))); /* not to infinity */
}

/* the stored neighbours of x, of which the nearer is right and the even one of two equally near */
static void check_rounding(float x, enum num_type type) {
    uint16_t h;
    num_narrow(&h, type, &x, 1);
    float got, below, above;
    uint16_t under = (uint16_t)(h - 1), over = (uint16_t)(h + 1);
    num_widen(&got, &h, type, 1);
    num_widen(&below, &under, type, 1);
    num_widen(&above, &over, type, 1);
    if ((h & 0x7fff) == 0 || isinf(got) || isinf(above)) return;
    double error = fabs((double)got - x);
    bool tie = error == fabs((double)below - x) || error == fabs((double)above - x);
    if (error <= fabs((double)below - x) && error <= fabs((double)above - x) &&
        (!tie || h % 2 == 0))
        return;
    fail_msg("%.9g became %.9g (type %d, seed %llu)", (double)x, (double)got, type,
             (unsigned long long)unit_seed());
}

static void narrowing_rounds_to_nearest_even(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, unit_seed());
    for (int i = 0; i < 100000; i++) {
        check_rounding(float_of(0x33000000 + (uint32_t)rng_below(&r, 0x14000000)), NUM_F16);
        check_rounding(float_of((uint32_t)rng_below(&r, 0x7f000000)), NUM_BF16);
    }
    for (uint32_t u = 0x33000000; u < 0x48000000; u += 0x1000) /* ties among them */
        check_rounding(float_of(u), NUM_F16);
    for (uint32_t u = 0x8000; u < 0x7f000000; u += 0x8000) check_rounding(float_of(u), NUM_BF16);
    assert_int_equal(num_f16_of(65519.0f), 0x7bff);
    assert_int_equal(num_f16_of(65520.0f), 0x7c00);
    assert_int_equal(num_f16_of(-1e30f), 0xfc00);
    assert_int_equal(num_f16_of(0x1p-25f), 0);
    assert_int_equal(num_f16_of(-0.0f), 0x8000);
}

static void isa_follows_the_environment(void **state) {
    (void)state;
    const char *before = getenv("ATTUNE_ISA");
    char *kept = before ? strdup(before) : NULL;
    struct err err;
    enum num_isa isa = NUM_ISA_COUNT;
    setenv("ATTUNE_ISA", "scalar", 1);
    assert_int_equal(num_isa_choose(&isa, &err), 0);
    assert_int_equal(isa, NUM_SCALAR);
    setenv("ATTUNE_ISA", "mmx", 1);
    assert_int_equal(num_isa_choose(&isa, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "mmx"));
    assert_int_equal(isa, NUM_SCALAR); /* untouched */
    for (int i = 0; i < NUM_ISA_COUNT; i++) {
        setenv("ATTUNE_ISA", num_isa_name((enum num_isa)i), 1);
        int want = num_isa_available((enum num_isa)i) ? 0 : ERR_UNSUPPORTED;
        assert_int_equal(num_isa_choose(&isa, &err), want);
    }
    unsetenv("ATTUNE_ISA");
    assert_int_equal(num_isa_choose(&isa, &err), 0);
    assert_int_equal(isa, num_isa_best());
    if (kept) setenv("ATTUNE_ISA", kept, 1);
    free(kept);
}

static void scratch_grows_and_is_counted(void **state) {
    (void)state;
    struct num *num = num_new(&(struct num_options){.threads = 2, .compute = NUM_BF16});
    assert_string_equal(num_path_name(num), "scalar/bf16");
    assert_int_equal(num_scratch_bytes(num), 0);
    char *small = num_scratch(num, NUM_SLOT_PACK, 1000);
    assert_int_equal((uintptr_t)small % 64, 0);
    memset(small, 1, 1000);
    assert_ptr_equal(num_scratch(num, NUM_SLOT_PACK, 500), small);
    char *other = num_scratch(num, NUM_SLOT_LOSS, (size_t)3 << 20);
    memset(other, 2, (size_t)3 << 20);
    assert_int_equal(small[999], 1);
    num_thread_scratch_reserve(num, 100);
    assert_true(num_scratch_bytes(num) >= 1000 + ((size_t)3 << 20) + 200);
    memset(num_scratch(num, NUM_SLOT_PACK, 100000), 3, 100000);
    num_free(num);
    num_free(NULL);
}

UNIT_TESTS(num_num, cmocka_unit_test(every_half_survives_the_way_to_f32_and_back),
           cmocka_unit_test(narrowing_rounds_to_nearest_even),
           cmocka_unit_test(isa_follows_the_environment),
           cmocka_unit_test(scratch_grows_and_is_counted))
