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

/* JSON Schema, the keywords of values: type enum const properties required additionalProperties
 * items minItems maxItems uniqueItems minLength maxLength pattern minimum maximum exclusiveMinimum
 * exclusiveMaximum multipleOf anyOf allOf oneOf not, $ref to #/... within the schema. Unlike
 * text/grammar.h it judges values: the order of members and white space do not matter. */
/* ERR_UNSUPPORTED names a keyword that is not judged; titles and the like are ignored. */
int schema_check(const json_t *schema, const char *where, struct err *err);
/* *ret: the value fits; ERR_LIMIT when it is too deep, ERR_INVALID for a $ref that leads nowhere */
int schema_fits(const json_t *schema, const json_t *value, bool *ret, struct err *err);

#endif
