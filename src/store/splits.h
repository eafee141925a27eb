/* Split aliases and the canaries that split them: a share of an alias' requests goes to a candidate
 * instead of the model that the alias leads to. A canary is a row with what was planned and how far
 * it is, as JSON whose meaning is its writer's (jobs/canary.h); while it is "running" there is a
 * split. Moving the alias by any other way stops it. Starting, steps and ends are events of the
 * audit log, in the same transaction. */
#ifndef STORE_SPLITS_H
#define STORE_SPLITS_H

#include "store/audit.h"

struct split {
    const char *alias, *candidate;
    const char *run;    /* id of the canary */
    const char *salt;   /* of the hash that chooses; fixed for the life of the split */
    const char *sticky; /* "key", "user" or "none": registry/router.h */
    double share;       /* 0 < share < 1 */
};
/* ERR_NOT_FOUND: the alias is not split. As cheap as routes_get. */
int splits_get(struct catalog *c, const char *alias, struct arena *mem, struct split *ret,
               struct err *err);
/* The model is the candidate of some alias: ERR_CONFLICT names it. */
int splits_refuse_candidate(struct catalog *c, const char *model, struct err *err);

struct canary_row {
    const char *id, *alias, *baseline, *candidate;
    const char *state;          /* "running", "stopped", "aborted", "promoted" */
    const char *plan, *reached; /* JSON objects */
    const char *why;            /* of its end, or NULL */
    int64_t created_at, updated_at;
};
struct canary_list {
    struct canary_row *list;
    size_t count;
};
/* alias, baseline, candidate, plan, reached; salt, sticky and share of the split. ERR_CONFLICT: one
 * runs already, or the alias no longer leads to the baseline. */
int canaries_start(struct catalog *c, const struct canary_row *new, const struct split *s,
                   const struct audit_cause *cause, char ret_id[ID_SIZE], struct err *err);
int canaries_get(struct catalog *c, const char *id, struct arena *mem, struct canary_row *ret,
                 struct err *err);
int canaries_running(struct catalog *c, struct arena *mem, struct canary_list *ret,
                     struct err *err);
/* The last one of an alias, in any state. */
int canaries_last(struct catalog *c, const char *alias, struct arena *mem, struct canary_row *ret,
                  struct err *err);

/* What was seen of one user or key: see jobs/canary.h. */
struct canary_unit {
    uint64_t unit;
    uint32_t seen;
};
int canaries_units(struct catalog *c, const char *id, struct arena *mem, struct canary_unit **ret,
                   size_t *ret_count, struct err *err);

/* How a stored completion was routed, for the feedback that may come later. */
struct canary_answer {
    const char *completion, *run;
    bool canary, sticks;
    uint64_t unit;
    double share;
};
/* Nothing where the canary has ended meanwhile. */
int canaries_answer_add(struct catalog *c, const struct canary_answer *a, struct err *err);
/* Reads it and forgets it: feedback counts once. ERR_NOT_FOUND: no canary's, or its run is over. */
int canaries_answer_take(struct catalog *c, const char *completion, struct arena *mem,
                         struct canary_answer *ret, struct err *err);

/* How far it is now. share 0: as before; else a step, told in the log. ERR_CONFLICT: it has ended.
 */
struct canary_save {
    const char *id, *reached;
    const struct canary_unit *units; /* new or changed */
    size_t unit_count;
    double share;
};
int canaries_save(struct catalog *c, const struct canary_save *s, const struct audit_cause *cause,
                  struct err *err);
/* The end: no split any more, the log and the webhook event "attune.canary.<state>" tell it. state
 * "promoted": the alias leads to the candidate (versions_promote). ERR_CONFLICT: it has ended. */
int canaries_end(struct catalog *c, const struct canary_save *last, const char *state,
                 const struct audit_cause *cause, struct err *err);

#endif
