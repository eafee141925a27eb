/* A thread of the server that does what the catalog says is to be done: batches, runs of evals. Of
 * servers on one home one does work of a kind, so what is "in progress" is its own, or was left by
 * one that has ended. */
#ifndef API_BACKGROUND_H
#define API_BACKGROUND_H

#include "api/api.h"

struct background_work {
    const char *lock;  /* its name among the home's locks, "batches" */
    const char *waits; /* for the log where it failed, "a batch waits for its next try" */
    /* The next piece, to its end; *ret_found false: there is none. *stop, once set, breaks it off,
     * to be taken up again. */
    int (*next)(struct api *api, const _Atomic int *stop, bool *ret_found, struct err *err);
};

struct background;
/* log: told when work could not go on for now (a full disk); it is tried again. May be NULL. */
int background_start(struct api *api, const struct background_work *work,
                     void (*log)(void *ctx, const char *text), struct background **ret,
                     struct err *err);
void background_wake(struct background *b); /* there may be something to do; NULL is fine */
void background_stop(struct background *b); /* after engine_stop; NULL is fine */

#endif
