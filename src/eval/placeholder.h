/* {{ item.path }} and {{ sample.path }} in the texts of graders: members by dots, elements by [i].
 * Strings go in as they are, other values as JSON. Nothing else is a namespace, and a path that
 * leads nowhere is an error: a missing reference is not an empty one. */
#ifndef EVAL_PLACEHOLDER_H
#define EVAL_PLACEHOLDER_H

#include "base/json.h"

struct placeholder_scope {
    const json_t *item, *sample; /* objects; borrowed */
};

/* The value at a path, "item.messages"; borrowed. ERR_NOT_FOUND: it leads nowhere, as in filling.
 */
int placeholder_find(struct str path, const struct placeholder_scope *scope, const json_t **ret,
                     struct err *err);
/* The form alone: braces, namespaces, paths. */
int placeholder_check(struct str text, const char *where, struct err *err);
int placeholder_fill(struct str text, const struct placeholder_scope *scope, struct buf *out,
                     struct err *err);

#endif
