/* ggml's block formats, expanded to F32 with the operations and roundings of the reference
 * (ggml-quants.c, gguf-py's quants.py): bit for bit the same values. */
#ifndef WEIGHTS_DEQUANT_H
#define WEIGHTS_DEQUANT_H

#include <stddef.h>
#include <stdint.h>

#define DEQUANT_BLOCK_MAX 256

/* One type of the GGUF file format. */
struct block_type {
    uint32_t id;
    const char *name;
    uint32_t elements, bytes;                               /* of a block; 0: known by name only */
    void (*expand)(const unsigned char *block, float *out); /* NULL: cannot be expanded */
};
const struct block_type *block_type_find(uint32_t id); /* NULL: unknown */

/* `count` elements (whole blocks) to F32, or rounded to nearest even in BF16 */
void dequant_f32(const struct block_type *type, const void *blocks, size_t count, float *out);
void dequant_bf16(const struct block_type *type, const void *blocks, size_t count, uint16_t *out);

float f16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);

#endif
