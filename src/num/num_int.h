/* What the files of num/ share about the context. */
#ifndef NUM_NUM_INT_H
#define NUM_NUM_INT_H

#include "num/num.h"

/* Per-thread scratch: reserve before a loop, take inside it. 64-byte aligned, not zeroed. */
void num_thread_scratch_reserve(struct num *num, size_t bytes_per_thread);
void *num_thread_scratch(struct num *num);

#endif
