/* attune import openai-evals FILE: what people exported from OpenAI's evals. */
#ifndef CLI_IMPORT_EVALS_H
#define CLI_IMPORT_EVALS_H

#include "base/err.h"

/* FILE: JSON of evals with their runs and items, which go to the catalog; JSONL rows with "item",
 * which become a file for runs; or older samples, {"input","ideal"}, which become cases for
 * `attune eval` in out (NULL: beside, by name). Prints what was made. */
int import_evals(const char *path, const char *out, struct err *err);

#endif
