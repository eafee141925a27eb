/* Kernels for AVX-512 without BF16: 24 accumulators of the 32 registers. */
#if defined(__x86_64__)

#include "num/simd_avx512.h"

#define UNIT 1
#define DOT_ROWS 3
#define DOT_COLS 8
#define DOT_SQUARE 0
#define DOT_K 1024
#define DOT_L1 20480
#define DOT_TILE_ROWS 96
#define BC_ROWS 12
#define BC_K 256

#include "num/matmul_simd.h"

const struct mm_kernels mm_avx512 = MM_TABLE;

#endif
