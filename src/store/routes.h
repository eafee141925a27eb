/* Aliases: a name that requests may use, and the model (or alias) it stands for. */
#ifndef STORE_ROUTES_H
#define STORE_ROUTES_H

#include "store/audit.h"
#include "store/catalog.h"

struct route {
    const char *name, *target;
    int64_t created_at, updated_at;
};
struct route_list {
    struct route *list;
    size_t count;
};

/* Changes are told in the audit log, in the same transaction. */
int routes_set(struct catalog *c, const char *name, const char *target,
               const struct audit_cause *cause, struct err *err);
int routes_get(struct catalog *c, const char *name, struct arena *mem, struct route *ret,
               struct err *err);
int routes_list(struct catalog *c, struct arena *mem, struct route_list *ret, struct err *err);
int routes_delete(struct catalog *c, const char *name, const struct audit_cause *cause,
                  struct err *err);

#endif
