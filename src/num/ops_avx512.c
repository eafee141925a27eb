/* ops_body.h for AVX512; nothing on other processors. */
#if defined __x86_64__
#define SIMD_AVX512
#define OPS_TABLE ops_avx512
#include "num/ops_body.h"
#endif
