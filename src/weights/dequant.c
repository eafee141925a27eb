#include "weights/dequant.h"

#include <assert.h>
#include <string.h>

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3FF;
    if (exponent == 31) return float_of(sign | 0x7F800000 | fraction << 13);
    if (exponent) return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* subnormal: exact */
    return sign ? -small : small;
}

uint16_t f32_to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, quiet_nan = bits >> 16 | 64;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet_nan : rounded);
}

static float half_at(const unsigned char *p) { return f16_to_f32((uint16_t)(p[0] | p[1] << 8)); }

static uint32_t u32_at(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* --- single values -------------------------------------------------------------------------------
 */

static void expand_f32(const unsigned char *b, float *out) { *out = float_of(u32_at(b)); }
static void expand_f16(const unsigned char *b, float *out) { *out = half_at(b); }
static void expand_bf16(const unsigned char *b, float *out) {
    *out = float_of((uint32_t)b[0] << 16 | (uint32_t)b[1] << 24);
}

/* --- blocks of 32: a scale, for _1 types a minimum; low nibbles are the first 16 elements --------
 */

static void expand_q4_0(const unsigned char *b, float *out) {
    float d = half_at(b);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)((b[2 + i] & 15) - 8);
        out[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

static void expand_q4_1(const unsigned char *b, float *out) {
    float d = half_at(b), m = half_at(b + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)(b[4 + i] & 15) + m;
        out[i + 16] = d * (float)(b[4 + i] >> 4) + m;
    }
}

/* the fifth bits of the 32 elements are in one word */
static void expand_q5_0(const unsigned char *b, float *out) {
    float d = half_at(b);
    uint32_t high = u32_at(b + 2);
    for (int i = 0; i < 16; i++) {
        int low = (b[6 + i] & 15) | (int)(high >> i & 1) << 4;
        int top = b[6 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        out[i] = d * (float)(low - 16);
        out[i + 16] = d * (float)(top - 16);
    }
}

static void expand_q5_1(const unsigned char *b, float *out) {
    float d = half_at(b), m = half_at(b + 2);
    uint32_t high = u32_at(b + 4);
    for (int i = 0; i < 16; i++) {
        int low = (b[8 + i] & 15) | (int)(high >> i & 1) << 4;
        int top = b[8 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        out[i] = d * (float)low + m;
        out[i + 16] = d * (float)top + m;
    }
}

static void expand_q8_0(const unsigned char *b, float *out) {
    float d = half_at(b);
    for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)b[2 + i] * d;
}

static void expand_iq4_nl(const unsigned char *b, float *out) {
    static const int8_t values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
    float d = half_at(b);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)values[b[2 + i] & 15];
        out[i + 16] = d * (float)values[b[2 + i] >> 4];
    }
}

/* --- blocks of 256: eight groups of 32 with 6-bit scales and minimums in 12 bytes ----------------
 */

static void group_scale(const unsigned char *s, int group, float *ret_scale, float *ret_min) {
    int scale, min;
    if (group < 4) {
        scale = s[group] & 63;
        min = s[group + 4] & 63;
    } else {
        scale = (s[group + 4] & 15) | (s[group - 4] >> 6) << 4;
        min = s[group + 4] >> 4 | (s[group] >> 6) << 4;
    }
    *ret_scale = (float)scale;
    *ret_min = (float)min;
}

static void expand_q4_k(const unsigned char *b, float *out) {
    float d = half_at(b), dmin = half_at(b + 2);
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = b + 16 + g / 2 * 32;
        int shift = g % 2 * 4;
        float scale, min;
        group_scale(b + 4, g, &scale, &min);
        scale *= d;
        min *= dmin;
        for (int i = 0; i < 32; i++) out[g * 32 + i] = scale * (float)(q[i] >> shift & 15) - min;
    }
}

static void expand_q5_k(const unsigned char *b, float *out) {
    float d = half_at(b), dmin = half_at(b + 2);
    const unsigned char *high = b + 16;
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = b + 48 + g / 2 * 32;
        int shift = g % 2 * 4;
        float scale, min;
        group_scale(b + 4, g, &scale, &min);
        scale *= d;
        min *= dmin;
        for (int i = 0; i < 32; i++) {
            int v = (q[i] >> shift & 15) | (high[i] >> g & 1) << 4;
            out[g * 32 + i] = scale * (float)v - min;
        }
    }
}

/* two halves of 128: 64 bytes of low nibbles, 32 bytes of two high bits, 8 scales of 16 elements */
static void expand_q6_k(const unsigned char *b, float *out) {
    float d = half_at(b + 208);
    for (int g = 0; g < 8; g++) {
        const unsigned char *low = b + g / 4 * 64 + g % 2 * 32, *high = b + 128 + g / 4 * 32;
        int low_shift = g % 4 / 2 * 4, high_shift = g % 4 * 2;
        for (int i = 0; i < 32; i++) {
            float scale = d * (float)(int8_t)b[192 + g * 2 + i / 16];
            int v = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
            out[g * 32 + i] = scale * (float)(v - 32);
        }
    }
}

static const struct block_type types[] = {
    {0, "F32", 1, 4, expand_f32},
    {1, "F16", 1, 2, expand_f16},
    {2, "Q4_0", 32, 18, expand_q4_0},
    {3, "Q4_1", 32, 20, expand_q4_1},
    {6, "Q5_0", 32, 22, expand_q5_0},
    {7, "Q5_1", 32, 24, expand_q5_1},
    {8, "Q8_0", 32, 34, expand_q8_0},
    {9, "Q8_1", 32, 36, NULL},
    {10, "Q2_K", 256, 84, NULL},
    {11, "Q3_K", 256, 110, NULL},
    {12, "Q4_K", 256, 144, expand_q4_k},
    {13, "Q5_K", 256, 176, expand_q5_k},
    {14, "Q6_K", 256, 210, expand_q6_k},
    {15, "Q8_K", 256, 292, NULL},
    {16, "IQ2_XXS", 0, 0, NULL},
    {17, "IQ2_XS", 0, 0, NULL},
    {18, "IQ3_XXS", 0, 0, NULL},
    {19, "IQ1_S", 0, 0, NULL},
    {20, "IQ4_NL", 32, 18, expand_iq4_nl},
    {21, "IQ3_S", 0, 0, NULL},
    {22, "IQ2_S", 0, 0, NULL},
    {23, "IQ4_XS", 0, 0, NULL},
    {24, "I8", 1, 1, NULL},
    {25, "I16", 1, 2, NULL},
    {26, "I32", 1, 4, NULL},
    {27, "I64", 1, 8, NULL},
    {28, "F64", 1, 8, NULL},
    {29, "IQ1_M", 0, 0, NULL},
    {30, "BF16", 1, 2, expand_bf16},
    {34, "TQ1_0", 0, 0, NULL},
    {35, "TQ2_0", 0, 0, NULL},
    {39, "MXFP4", 0, 0, NULL},
};

const struct block_type *block_type_find(uint32_t id) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

void dequant_f32(const struct block_type *type, const void *blocks, size_t count, float *out) {
    const unsigned char *b = blocks;
    assert(type->expand && count % type->elements == 0);
    for (size_t i = 0; i < count; i += type->elements, b += type->bytes) type->expand(b, out + i);
}

/* a fixed count, so that the compiler makes vectors of it */
static void round_32(const float *restrict in, uint16_t *restrict out) {
    for (int i = 0; i < 32; i++) out[i] = f32_to_bf16(in[i]);
}

void dequant_bf16(const struct block_type *type, const void *blocks, size_t count, uint16_t *out) {
    const unsigned char *b = blocks;
    float values[DEQUANT_BLOCK_MAX];
    assert(type->expand && count % type->elements == 0);
    for (size_t i = 0; i < count; i += type->elements, b += type->bytes) {
        type->expand(b, values);
        if (type->elements == 1) out[i] = f32_to_bf16(values[0]);
        for (size_t k = 0; k + 32 <= type->elements; k += 32) round_32(values + k, out + i + k);
    }
}
