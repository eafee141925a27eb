/* Versions of tuned models: what each was made of, which never changes, and its state, which moves
 * along the edges of the table version_edge: training, evaluating, staging, production, deprecated,
 * failed, archived. Where traffic goes is another matter: routes.h. Every change is an event of the
 * audit log. */
#ifndef STORE_VERSIONS_H
#define STORE_VERSIONS_H

#include "store/audit.h"

struct version {
    const char *name, *state;
    const char *record; /* JSON object: base, hashes, recipe, job, data; never changed */
    int64_t created_at;
};
struct version_list {
    struct version *list;
    size_t count;
};

/* Nothing happens where there is one of this name. */
int versions_add(struct catalog *c, const struct version *new, const struct audit_cause *cause,
                 struct err *err);
int versions_get(struct catalog *c, const char *name, struct arena *mem, struct version *ret,
                 struct err *err);
/* oldest first */
int versions_list(struct catalog *c, struct arena *mem, struct version_list *ret, struct err *err);
/* ERR_CONFLICT: no way leads there from its state. The same state is fine. */
int versions_move(struct catalog *c, const char *name, const char *state,
                  const struct audit_cause *cause, struct err *err);
/* All at once: the alias leads to `target`, whose version (where it has one) is in production;
 * the one it led to before is deprecated unless another alias leads there. back: a rollback. */
int versions_promote(struct catalog *c, const char *alias, const char *target, bool back,
                     const struct audit_cause *cause, struct err *err);

#endif
