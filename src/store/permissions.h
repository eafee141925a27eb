/* Permissions of checkpoints: kept and listed; on one machine they change nothing. */
#ifndef STORE_PERMISSIONS_H
#define STORE_PERMISSIONS_H

#include "store/catalog.h"

struct permission {
    const char *id, *checkpoint, *project;
    int64_t created_at;
};
struct permission_list {
    struct permission *list;
    size_t count;
    bool has_more;
};

/* One for each project, all or none. */
int permissions_add(struct catalog *c, const char *checkpoint, const char *const *projects,
                    size_t count, struct arena *mem, struct permission_list *ret, struct err *err);
/* project NULL: all */
int permissions_list(struct catalog *c, const char *checkpoint, const char *project,
                     const struct page *page, struct arena *mem, struct permission_list *ret,
                     struct err *err);
int permissions_delete(struct catalog *c, const char *checkpoint, const char *id, struct err *err);

#endif
