/* The log of what was changed, by whom and why: append-only, each event chained to the one before
 * by its hash, so that an edited, lost or inserted event shows. An event is written in the
 * transaction of the change that it tells.
 *
 *   hash = SHA-256 of "attune-audit-1" seq at kind subject actor data previous-hash, a line each
 *
 * Times are Unix milliseconds and never go back, whatever the clock does. */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include "store/catalog.h"

#include <stdbool.h>

/* who and why; goes into the event */
struct audit_cause {
    const char *actor;    /* "cli:USER", "key:NAME", "schedule:ID" */
    const char *reason;   /* in words, or NULL */
    const char *evidence; /* id of what allows it (an evaluation), or NULL */
    const char *override; /* why a refusal was set aside, or NULL */
};

struct audit_event {
    int64_t seq, at_ms;
    const char *kind, *subject, *actor; /* "route.set", the alias, ... */
    const char *data;                   /* JSON object */
    const char *hash;                   /* 64 hex digits */
};
struct audit_list {
    struct audit_event *list;
    size_t count;
};

/* Oldest first, of one subject or of all (NULL), at most `limit` from behind event `after`. */
int audit_events(struct catalog *c, const char *subject, int64_t after, int64_t limit,
                 struct arena *mem, struct audit_list *ret, struct err *err);
/* Every hash again, from the first to the last, and the aliases against what the events say of
 * them. ERR_CORRUPT names the first event that is not as it was written. */
int audit_verify(struct catalog *c, int64_t *ret_count, struct err *err);

#endif
