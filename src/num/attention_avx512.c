/* attention_body.h for AVX512; nothing on other processors. */
#if defined __x86_64__
#define SIMD_AVX512
#define ATTN_TABLE attn_avx512
#include "num/attention_body.h"
#endif
