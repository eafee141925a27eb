/* Kernels for BF16 operands: vdpbf16ps multiplies pairs that are neighbours in k. */
#if defined(__x86_64__)

#include "num/simd_avx512.h"

#define UNIT 2
#define DOT_ROWS 3
#define DOT_COLS 8
#define DOT_SQUARE 0
#define DOT_K 2048
#define DOT_L1 20480
#define DOT_TILE_ROWS 96
#define BC_ROWS 12
#define BC_K 256

#include "num/matmul_simd.h"

const struct mm_kernels mm_avx512bf16 = MM_TABLE;

#endif
