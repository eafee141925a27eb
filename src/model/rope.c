/* Rotary angles (Su et al. 2021) with the scalings of transformers' modeling_rope_utils. The
 * arithmetic is F32 where transformers' is F32: an angle of thousands of radians keeps few digits,
 * and a better-rounded one would be a different model. */
#include "model/model_int.h"

#include <math.h>

static const double tau = 6.283185307179586;

/* "By parts" of Llama 3.1: high frequencies stay, low ones are divided, those between are blended.
 */
static float llama3_scale(const struct rope_config *r, float freq) {
    double wavelen = tau / freq;
    double low_wavelen = (double)r->original_max_position / r->low_freq_factor;
    double high_wavelen = (double)r->original_max_position / r->high_freq_factor;
    if (wavelen < high_wavelen) return freq;
    if (wavelen > low_wavelen) return (float)(freq / r->factor);
    double smooth = ((double)r->original_max_position / wavelen - r->low_freq_factor) /
                    (r->high_freq_factor - r->low_freq_factor);
    return (float)((1 - smooth) * freq / r->factor + smooth * freq);
}

static float rope_frequency(const struct model_config *c, int64_t i) {
    float exponent = (float)(2 * i) / (float)c->head_dim;
    float freq = 1.0f / powf((float)c->rope.theta, exponent);
    switch (c->rope.kind) {
    case ROPE_LINEAR: return (float)(freq / c->rope.factor);
    case ROPE_LLAMA3: return llama3_scale(&c->rope, freq);
    case ROPE_DEFAULT: break;
    }
    return freq;
}

void rope_tables(const struct model_config *c, int64_t positions, float *cos, float *sin) {
    int64_t half = c->head_dim / 2;
    for (int64_t i = 0; i < half; i++) {
        float freq = rope_frequency(c, i);
        for (int64_t p = 0; p < positions; p++) {
            float angle = (float)p * freq;
            cos[p * half + i] = cosf(angle);
            sin[p * half + i] = sinf(angle);
        }
    }
}
