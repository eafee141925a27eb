/* ops_body.h for AVX2; nothing on other processors. */
#if defined __x86_64__
#define SIMD_AVX2
#define OPS_TABLE ops_avx2
#include "num/ops_body.h"
#endif
