/* Element types to F32 and back, exactly or to nearest even. */
#include "num/num.h"

#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

uint16_t num_bf16_of(float x) {
    uint32_t u = bits_of(x);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40); /* a quiet NaN */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float num_of_f16(uint16_t x) {
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, mantissa = x & 1023;
    if (exponent == 31)
        return float_of(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
    if (exponent == 0) { /* zero or subnormal: mantissa · 2^-24, exact in F32 */
        float v = (float)mantissa * 0x1p-24f;
        return sign ? -v : v;
    }
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t num_f16_of(float x) {
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
    if (a < 0x38800000) { /* below 2^-14: adding 0.5 rounds at 2^-24, the subnormal step */
        float v = float_of(a) + 0.5f;
        return (uint16_t)(sign | (bits_of(v) - 0x3f000000));
    }
    uint32_t odd = a >> 13 & 1;
    return (uint16_t)(sign | ((a - 0x38000000 + 0xfff + odd) >> 13));
}

void num_widen(float *out, const void *p, enum num_type type, int64_t count) {
    const uint16_t *h = p;
    switch (type) {
    case NUM_F32: memcpy(out, p, (size_t)count * sizeof *out); break;
    case NUM_BF16:
        for (int64_t i = 0; i < count; i++) out[i] = num_of_bf16(h[i]);
        break;
    case NUM_F16:
        for (int64_t i = 0; i < count; i++) out[i] = num_of_f16(h[i]);
        break;
    }
}

void num_narrow(void *out, enum num_type type, const float *x, int64_t count) {
    uint16_t *h = out;
    switch (type) {
    case NUM_F32: memcpy(out, x, (size_t)count * sizeof *x); break;
    case NUM_BF16:
        for (int64_t i = 0; i < count; i++) h[i] = num_bf16_of(x[i]);
        break;
    case NUM_F16:
        for (int64_t i = 0; i < count; i++) h[i] = num_f16_of(x[i]);
        break;
    }
}
