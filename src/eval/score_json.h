/* Scores of answers that should be JSON. Pure functions, any thread. */
#ifndef EVAL_SCORE_JSON_H
#define EVAL_SCORE_JSON_H

#include "base/json.h"

bool json_is_valid(struct str text);
/* equal values; the order of members does not matter. False when either is no JSON. */
bool json_texts_equal(struct str a, struct str b);
/* F1 of the leaves: pairs of path and value that both have. The order in arrays does not matter.
 * 0 when the answer is no JSON, ERR_INVALID when the reference is none. */
int json_fields_f1(struct str answer, struct str reference, double *ret, struct err *err);

#endif
