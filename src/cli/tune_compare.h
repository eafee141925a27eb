/* Base and tuned model on rows that training held out, as attune eval shows them. */
#ifndef CLI_TUNE_COMPARE_H
#define CLI_TUNE_COMPARE_H

#include "base/err.h"

#include <stdint.h>

#define TUNE_COMPARE_ROWS 30

/* Writes OUT/held-out.jsonl, at most `rows` of them, and asks both. Where nothing was held out, or
 * the rows have no single right answer (plain text, pairs), it says so and is done. */
int tune_compare(const char *base, const char *out, int64_t rows, int threads, struct err *err);

#endif
