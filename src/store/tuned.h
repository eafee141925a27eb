/* Models that are a base and an adapter: tuned ones (ft:...), their checkpoints, and imported
 * adapters. Base models are directories (weights/models.h) and have no row. Aliases are routes.h.
 */
#ifndef STORE_TUNED_H
#define STORE_TUNED_H

#include "store/catalog.h"

struct tuned_model {
    const char *name, *kind;    /* "tuned", "checkpoint", "imported" */
    const char *base, *adapter; /* name of the base; directory, below home or absolute */
    const char *job, *parent;   /* NULL: none; of a checkpoint the tuned model's name */
    int64_t step, created_at;
};
struct tuned_list {
    struct tuned_model *list;
    size_t count;
};

/* name, kind, base, adapter, and what else there is. ERR_CONFLICT: the name is taken. */
int tuned_add(struct catalog *c, const struct tuned_model *new, struct err *err);
int tuned_get(struct catalog *c, const char *name, struct arena *mem, struct tuned_model *ret,
              struct err *err);
/* all, oldest first */
int tuned_list(struct catalog *c, struct arena *mem, struct tuned_list *ret, struct err *err);
/* With its checkpoints; *ret: what was removed, directories still there. */
int tuned_delete(struct catalog *c, const char *name, struct arena *mem, struct tuned_list *ret,
                 struct err *err);

#endif
