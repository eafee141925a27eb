/* Kernels for AVX2 with FMA. 12 accumulators of the 16 registers in both. At 1,024 of k the four
 * rows of B that a dot kernel holds take half of a 32 KiB L1, and the horizontal sums 2-3 % of the
 * time. */
#if defined(__x86_64__)

#include "num/simd_avx2.h"

#define UNIT 1
#define DOT_ROWS 3
#define DOT_COLS 4
#define DOT_SQUARE 1
#define DOT_K 1024
#define DOT_L1 20480
#define DOT_TILE_ROWS 72
#define BC_ROWS 6
#define BC_K 256

#include "num/matmul_simd.h"

const struct mm_kernels mm_avx2 = MM_TABLE;

#endif
