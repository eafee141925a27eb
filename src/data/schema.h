/* Whether a JSON value is what a JSON Schema describes: the keywords of draft 2020-12 that
 * constrain values, with the older spellings (definitions, lists of items, dependencies). What it
 * cannot decide (remote and dynamic references, unevaluated*, patterns that text/grammar.h does not
 * take) it says instead of guessing: such a schema may still refuse a value by its other keywords.
 */
#ifndef DATA_SCHEMA_H
#define DATA_SCHEMA_H

#include "base/json.h"

#define SCHEMA_WHY_MAX 200

enum schema_answer { SCHEMA_VALID, SCHEMA_INVALID, SCHEMA_UNKNOWN };

struct schema;
/* Takes a reference; the JSON must not change afterwards. Any thread may check with it. */
struct schema *schema_new(const json_t *schema);
void schema_free(struct schema *s);
/* why: the first thing that is wrong and its place ("days: 5 is more than the maximum of 4"), or
 * what could not be decided. Bounded in steps and depth; beyond them the answer is UNKNOWN. */
enum schema_answer schema_check(const struct schema *s, const json_t *value,
                                char why[SCHEMA_WHY_MAX]);

#endif
