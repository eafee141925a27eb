/* Which model answers a request for a name: a model's own name is that model (pinned); an alias is
 * what it leads to, or while it is split (store/splits.h) the candidate for a share of requests.
 *
 * The choice is a pure function of the split's salt and who asks: a hash below the share is the
 * canary. So a user stays on one side, another salt deals anew, and a larger share moves users to
 * the canary only, a smaller one only back. Any thread. */
#ifndef REGISTRY_ROUTER_H
#define REGISTRY_ROUTER_H

#include "registry/names.h"
#include "store/splits.h"

/* What sticks to its side: the user, else the key, else nothing (each request is dealt anew);
 * ROUTER_USER: the user, else nothing. */
enum router_sticky { ROUTER_KEY, ROUTER_USER, ROUTER_NONE };
int router_sticky_read(const char *text, enum router_sticky *ret, struct err *err);

struct router_who {
    struct str user;     /* `safety_identifier` or `user` of the request; empty: none */
    const char *key;     /* of the API; "" or NULL: none */
    const char *request; /* its id */
};
/* One draw: a user's, a key's or (*ret_sticks false) a request's; uniform over 64 bits. */
uint64_t router_unit(const char *salt, enum router_sticky sticky, const struct router_who *who,
                     bool *ret_sticks);
/* Is it the canary's at this share? */
bool router_picks(uint64_t unit, double share);

struct routed {
    struct named_model model;
    const char *alias; /* the one that is split, else the one asked for; NULL: pinned */
    const char *run;   /* the canary; NULL: not split */
    bool canary, sticks;
    uint64_t unit;
    double share;
};
/* names_resolve with splits. ERR_NOT_FOUND as there. */
int router_resolve(struct catalog *c, const char *name, const struct router_who *who,
                   struct arena *mem, struct routed *ret, struct err *err);

/* The n-th fallback (from 0 on) of the first alias on the name's way that has any, in the place of
 * ret->model. ERR_NOT_FOUND: there are not so many, or it is gone. */
int router_fallback(struct catalog *c, const char *name, size_t n, struct arena *mem,
                    struct routed *ret, struct err *err);

#endif
