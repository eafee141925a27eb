/* A thin layer over one vector of floats, so that one kernel source serves each instruction set: a
 * *_body.h file is written against it and included by *_scalar.c (one lane), *_avx2.c and
 * *_avx512.c. Everything is static and small. Tails are loaded padded with zeros and stored
 * masked, and go through the same instructions as whole vectors: the bits of a value do not depend
 * on its place in a row. NaN passes through v_exp and, as second operand, through v_max.
 */
#ifndef NUM_SIMD_H
#define NUM_SIMD_H

#include <math.h>
#include <stdint.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))

#if defined SIMD_AVX512
#include <immintrin.h>

typedef __m512 vf;
enum { V_WIDTH = 16 };

SIMD_INLINE __mmask16 v_mask(int64_t n) { return (__mmask16)((1u << n) - 1u); }
SIMD_INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
SIMD_INLINE vf v_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_mask(n), p); }
SIMD_INLINE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
SIMD_INLINE void v_store_n(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, v_mask(n), x); }
SIMD_INLINE vf v_set1(float x) { return _mm512_set1_ps(x); }
SIMD_INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
SIMD_INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
SIMD_INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
SIMD_INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
SIMD_INLINE vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
SIMD_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
SIMD_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
SIMD_INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, 8); } /* to even, no exception */
SIMD_INLINE vf v_pow2(vf n) {
    __m512i bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}
/* a < b ? x : y, lane by lane */
SIMD_INLINE vf v_less(vf a, vf b, vf x, vf y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
SIMD_INLINE float v_first(vf a) { return _mm_cvtss_f32(_mm512_castps512_ps128(a)); }
SIMD_INLINE vf v_fold(vf a, int step, vf (*with)(vf, vf)) {
    vf b = step == 8   ? _mm512_shuffle_f32x4(a, a, 0x4E)
           : step == 4 ? _mm512_shuffle_f32x4(a, a, 0xB1)
           : step == 2 ? _mm512_permute_ps(a, 0x4E)
                       : _mm512_permute_ps(a, 0xB1);
    return with(a, b);
}

#elif defined SIMD_AVX2
#include <immintrin.h>

typedef __m256 vf;
enum { V_WIDTH = 8 };

SIMD_INLINE __m256i v_mask(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SIMD_INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
SIMD_INLINE vf v_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_mask(n)); }
SIMD_INLINE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
SIMD_INLINE void v_store_n(float *p, vf x, int64_t n) { _mm256_maskstore_ps(p, v_mask(n), x); }
SIMD_INLINE vf v_set1(float x) { return _mm256_set1_ps(x); }
SIMD_INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
SIMD_INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
SIMD_INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
SIMD_INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
SIMD_INLINE vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
SIMD_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
SIMD_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
SIMD_INLINE vf v_round(vf a) { return _mm256_round_ps(a, 8); } /* to even, no exception */
SIMD_INLINE vf v_pow2(vf n) {
    __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}
SIMD_INLINE vf v_less(vf a, vf b, vf x, vf y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
SIMD_INLINE float v_first(vf a) { return _mm_cvtss_f32(_mm256_castps256_ps128(a)); }
SIMD_INLINE vf v_fold(vf a, int step, vf (*with)(vf, vf)) {
    vf b = step == 4   ? _mm256_permute2f128_ps(a, a, 1)
           : step == 2 ? _mm256_permute_ps(a, 0x4E)
                       : _mm256_permute_ps(a, 0xB1);
    return with(a, b);
}

#else

typedef float vf;
enum { V_WIDTH = 1 };

SIMD_INLINE vf v_load(const float *p) { return *p; }
SIMD_INLINE vf v_load_n(const float *p, int64_t n) { return n > 0 ? *p : 0.0f; }
SIMD_INLINE void v_store(float *p, vf x) { *p = x; }
SIMD_INLINE void v_store_n(float *p, vf x, int64_t n) {
    if (n > 0) *p = x;
}
SIMD_INLINE vf v_set1(float x) { return x; }
SIMD_INLINE vf v_add(vf a, vf b) { return a + b; }
SIMD_INLINE vf v_sub(vf a, vf b) { return a - b; }
SIMD_INLINE vf v_mul(vf a, vf b) { return a * b; }
SIMD_INLINE vf v_div(vf a, vf b) { return a / b; }
SIMD_INLINE vf v_sqrt(vf a) { return sqrtf(a); }
SIMD_INLINE vf v_max(vf a, vf b) { return a > b ? a : b; }
SIMD_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
SIMD_INLINE vf v_round(vf a) { return (a + 12582912.0f) - 12582912.0f; } /* 1.5 * 2^23: to even */
SIMD_INLINE vf v_pow2(vf n) {
    union {
        uint32_t u;
        float f;
    } bits = {n > -127.0f && n < 128.0f ? (uint32_t)((int32_t)n + 127) << 23 : 0};
    return bits.f;
}
SIMD_INLINE vf v_less(vf a, vf b, vf x, vf y) { return a < b ? x : y; }
SIMD_INLINE float v_first(vf a) { return a; }
SIMD_INLINE vf v_fold(vf a, int step, vf (*with)(vf, vf)) {
    (void)step, (void)with;
    return a;
}
#endif

SIMD_INLINE vf v_zero(void) { return v_set1(0.0f); }

SIMD_INLINE float v_sum(vf a) {
    for (int step = V_WIDTH / 2; step > 0; step /= 2) a = v_fold(a, step, v_add);
    return v_first(a);
}

SIMD_INLINE float v_top(vf a) {
    for (int step = V_WIDTH / 2; step > 0; step /= 2) a = v_fold(a, step, v_max);
    return v_first(a);
}

/* e^x within 2 ulp (Cephes' expf): 0 below the smallest normal result, infinity from 88.376 on. */
SIMD_INLINE vf v_exp(vf x) {
    vf n = v_round(v_mul(x, v_set1(1.44269504088896341f)));
    vf r = v_fma(n, v_set1(-0.693359375f), x);
    r = v_fma(n, v_set1(2.12194440e-4f), r);
    vf p = v_set1(1.9875691500e-4f);
    p = v_fma(p, r, v_set1(1.3981999507e-3f));
    p = v_fma(p, r, v_set1(8.3334519073e-3f));
    p = v_fma(p, r, v_set1(4.1665795894e-2f));
    p = v_fma(p, r, v_set1(1.6666665459e-1f));
    p = v_fma(p, r, v_set1(5.0000001201e-1f));
    vf y = v_add(v_fma(p, v_mul(r, r), r), v_set1(1.0f));
    y = v_mul(y, v_pow2(n));
    y = v_less(v_set1(88.3762626f), x, v_set1(INFINITY), y);
    return v_less(x, v_set1(-87.3365447f), v_zero(), y);
}

#endif
