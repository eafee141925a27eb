/* AVX-512, AVX-512 BF16 and AMX in plain C, so that kernels for them are tested on any x86-64 CPU
 * with AVX2: `make check-emulate` puts this directory first on the include path. SIMDe has most of
 * AVX-512; what it lacks, and the tiles, follow Intel's description of each instruction. */
#ifndef EMULATE_IMMINTRIN_H
#define EMULATE_IMMINTRIN_H

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline __m512i emulate_cvtepu16_epi32(__m256i a) {
    uint16_t x[16];
    uint32_t y[16];
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = x[i];
    __m512i r;
    memcpy(&r, y, sizeof r);
    return r;
}
#define _mm512_cvtepu16_epi32 emulate_cvtepu16_epi32

static inline __m512 emulate_cvtph_ps(__m256i a) {
    __m128i h[2];
    memcpy(h, &a, sizeof h);
    __m256 f[2] = {_mm256_cvtph_ps(h[0]), _mm256_cvtph_ps(h[1])};
    __m512 r;
    memcpy(&r, f, sizeof r);
    return r;
}
#define _mm512_cvtph_ps emulate_cvtph_ps

/* lanes outside the mask are not read or written */
static inline __m512 emulate_maskz_loadu_ps(unsigned mask, const void *p) {
    float x[16];
    for (int i = 0; i < 16; i++) x[i] = mask >> i & 1 ? ((const float *)p)[i] : 0;
    __m512 r;
    memcpy(&r, x, sizeof r);
    return r;
}
#define _mm512_maskz_loadu_ps emulate_maskz_loadu_ps

static inline void emulate_mask_storeu_ps(void *p, unsigned mask, __m512 v) {
    float x[16];
    memcpy(x, &v, sizeof x);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) ((float *)p)[i] = x[i];
}
#define _mm512_mask_storeu_ps emulate_mask_storeu_ps

static inline __m256 emulate_extractf32x8_ps(__m512 v, int half) {
    __m256 r;
    memcpy(&r, (const char *)&v + 32 * half, sizeof r);
    return r;
}
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps emulate_extractf32x8_ps

static inline __m512 emulate_shuffle_f32x4(__m512 a, __m512 b, int control) {
    __m512 r;
    for (int i = 0; i < 4; i++) {
        int from = control >> (2 * i) & 3;
        memcpy((char *)&r + 16 * i, (const char *)(i < 2 ? &a : &b) + 16 * from, 16);
    }
    return r;
}
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 emulate_shuffle_f32x4

/* --- BF16 --- */

static inline float emulate_of_bf16(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* nearest even; subnormals to zero, as the instruction does */
static inline uint16_t emulate_to_bf16(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
    if ((u & 0x7f800000) == 0) return (uint16_t)(u >> 16 & 0x8000);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline __m256i emulate_cvtneps_pbh(__m512 v) {
    float x[16];
    uint16_t y[16];
    memcpy(x, &v, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = emulate_to_bf16(x[i]);
    __m256i r;
    memcpy(&r, y, sizeof r);
    return r;
}
#undef _mm512_cvtneps_pbh
#define _mm512_cvtneps_pbh emulate_cvtneps_pbh

static inline __m512 emulate_dpbf16_ps(__m512 sum, __m512 a, __m512 b) {
    float s[16];
    uint16_t x[32], y[32];
    memcpy(s, &sum, sizeof s);
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (int i = 0; i < 16; i++) { /* the odd element first */
        s[i] = fmaf(emulate_of_bf16(x[2 * i + 1]), emulate_of_bf16(y[2 * i + 1]), s[i]);
        s[i] = fmaf(emulate_of_bf16(x[2 * i]), emulate_of_bf16(y[2 * i]), s[i]);
    }
    __m512 r;
    memcpy(&r, s, sizeof r);
    return r;
}
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps emulate_dpbf16_ps
#undef __m512bh
#define __m512bh __m512

/* --- AMX --- */

struct emulate_tiles {
    uint8_t config[64];
    uint8_t data[8][16][64];
};
static _Thread_local struct emulate_tiles emulate_tiles;

static inline int emulate_rows(int t) {
    assert(emulate_tiles.config[0] == 1); /* else the instruction faults */
    return emulate_tiles.config[48 + t];
}

static inline int emulate_row_bytes(int t) {
    return emulate_tiles.config[16 + 2 * t] | emulate_tiles.config[17 + 2 * t] << 8;
}

static inline void emulate_tile_loadconfig(const void *p) {
    const uint8_t *c = p;
    assert(c[0] == 1 && (uintptr_t)p % 64 == 0);
    for (int i = 2; i < 16; i++) assert(c[i] == 0); /* reserved: a fault on the CPU */
    memset(&emulate_tiles, 0, sizeof emulate_tiles);
    memcpy(emulate_tiles.config, c, 64);
    for (int t = 0; t < 8; t++) assert(emulate_rows(t) <= 16 && emulate_row_bytes(t) <= 64);
}

static inline void emulate_tile_release(void) { memset(&emulate_tiles, 0, sizeof emulate_tiles); }

static inline void emulate_tile_zero(int t) {
    memset(emulate_tiles.data[t], 0, sizeof emulate_tiles.data[t]);
}

static inline void emulate_tile_load(int t, const void *p, size_t stride) {
    emulate_tile_zero(t);
    for (int i = 0; i < emulate_rows(t); i++)
        memcpy(emulate_tiles.data[t][i], (const char *)p + (size_t)i * stride,
               (size_t)emulate_row_bytes(t));
}

static inline void emulate_tile_store(int t, void *p, size_t stride) {
    for (int i = 0; i < emulate_rows(t); i++)
        memcpy((char *)p + (size_t)i * stride, emulate_tiles.data[t][i],
               (size_t)emulate_row_bytes(t));
}

static inline void emulate_tile_dpbf16(int c, int a, int b) {
    for (int i = 0; i < emulate_rows(c); i++)
        for (int k = 0; k < emulate_row_bytes(a) / 4; k++)
            for (int j = 0; j < emulate_row_bytes(c) / 4; j++) {
                float sum;
                uint16_t x[2], y[2];
                memcpy(&sum, emulate_tiles.data[c][i] + 4 * j, 4);
                memcpy(x, emulate_tiles.data[a][i] + 4 * k, 4);
                memcpy(y, emulate_tiles.data[b][k] + 4 * j, 4);
                sum = fmaf(emulate_of_bf16(x[0]), emulate_of_bf16(y[0]), sum);
                sum = fmaf(emulate_of_bf16(x[1]), emulate_of_bf16(y[1]), sum);
                memcpy(emulate_tiles.data[c][i] + 4 * j, &sum, 4);
            }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig emulate_tile_loadconfig
#define _tile_release emulate_tile_release
#define _tile_zero emulate_tile_zero
#define _tile_loadd(t, p, stride) emulate_tile_load(t, p, (size_t)(stride))
#define _tile_stored(t, p, stride) emulate_tile_store(t, p, (size_t)(stride))
#define _tile_dpbf16ps emulate_tile_dpbf16

#endif
