/* The life of tuned models: versions, states, what an alias leads to, and what it led to when.
 *
 * A version's record says what the model was made of: base, hashes of weights, tokenizer, template
 * and adapter, recipe, data. It is written once. An alias is moved in one transaction together with
 * the states and the events that tell it, so a reader sees the old or the new, and the history is
 * never behind. Any thread. */
#ifndef REGISTRY_LIFECYCLE_H
#define REGISTRY_LIFECYCLE_H

#include "store/audit.h"
#include "store/versions.h"

/* The version of a tuned or imported model, made now where there is none yet, in state
 * "evaluating". Base models have none: ret->name NULL. */
int lifecycle_version(struct catalog *c, const char *model, const struct audit_cause *cause,
                      struct arena *mem, struct version *ret, struct err *err);

/* The files of a model are still those of its record. ERR_CORRUPT names the one that is not. */
int lifecycle_verify(struct catalog *c, const char *model, struct err *err);

/* The alias leads to the model (no alias itself) from now on; its files are held against its record
 * before: ERR_CORRUPT names one that changed. ERR_CONFLICT where the alias is the name of a model.
 */
int lifecycle_promote(struct catalog *c, const char *alias, const char *model,
                      const struct audit_cause *cause, struct err *err);
/* What the alias led to before: promotions undo each other like a stack. NULL: nothing. */
int lifecycle_previous(struct catalog *c, const char *alias, struct arena *mem, const char **ret,
                       struct err *err);
/* Back to it. ERR_NOT_FOUND where there is nothing before. */
int lifecycle_rollback(struct catalog *c, const char *alias, const struct audit_cause *cause,
                       struct arena *mem, const char **ret_model, struct err *err);
/* What the alias led to at a time; NULL: it was not there. */
int lifecycle_at(struct catalog *c, const char *alias, int64_t at_ms, struct arena *mem,
                 const char **ret, struct err *err);

#endif
