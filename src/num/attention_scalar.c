/* attention_body.h with one lane: the reference. */
#define ATTN_TABLE attn_scalar
#include "num/attention_body.h"
