/* What answers in the place of an alias' target when that fails: names of models or aliases, tried
 * in this order. They go with the alias. */
#ifndef STORE_FALLBACKS_H
#define STORE_FALLBACKS_H

#include "store/audit.h"

#define FALLBACKS_MAX 8

/* Replaces those that were; none is fine. ERR_LIMIT: too many. Told in the audit log. */
int fallbacks_set(struct catalog *c, const char *alias, const char *const *models, size_t count,
                  const struct audit_cause *cause, struct err *err);
int fallbacks_get(struct catalog *c, const char *alias, struct arena *mem,
                  const char *ret[FALLBACKS_MAX], size_t *ret_count, struct err *err);

#endif
