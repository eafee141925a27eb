/* attention_body.h for AVX2; nothing on other processors. */
#if defined __x86_64__
#define SIMD_AVX2
#define ATTN_TABLE attn_avx2
#include "num/attention_body.h"
#endif
