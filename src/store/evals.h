/* Evals: what is graded and how, runs of them, and their items, each one graded row.
 *
 *   queued -> in_progress -> completed | failed     (the runner)
 *   queued | in_progress -> canceled                (the user)
 *
 * An item is added with what it adds to the run's counts, in one transaction: the counts are right
 * at any moment, and a run that was broken off goes on with the rows that have no item yet. */
#ifndef STORE_EVALS_H
#define STORE_EVALS_H

#include "store/catalog.h"

struct eval {
    const char *id, *name;
    const char *data_source, *criteria; /* JSON: an object, a list */
    const char *metadata;               /* JSON or NULL */
    int64_t created_at, updated_at;
};
struct eval_list {
    struct eval *list;
    size_t count;
    bool has_more;
};

/* new: name, data_source, criteria, metadata; id NULL: a new one, created_at 0: now. An id that is
 * taken: ERR_CONFLICT. */
int evals_add(struct catalog *c, const struct eval *new, struct arena *mem, struct eval *ret,
              struct err *err);
int evals_get(struct catalog *c, const char *id, struct arena *mem, struct eval *ret,
              struct err *err);
/* by_update: in the order of the last change, not of creation. */
int evals_list(struct catalog *c, const struct page *page, bool by_update, struct arena *mem,
               struct eval_list *ret, struct err *err);
int evals_update(struct catalog *c, const char *id, const char *name, const char *metadata,
                 struct err *err);
int evals_delete(struct catalog *c, const char *id, struct err *err); /* its runs and items too */

struct eval_run {
    const char *id, *eval, *status, *name;
    const char *model;       /* NULL: nothing is asked */
    const char *data_source; /* JSON */
    const char *metadata, *error;
    const char *picked; /* JSON list of the ids of stored completions it is about; NULL: none */
    const char *results, *usage; /* JSON lists, as the API gives them; not to be set */
    int64_t total, passed, failed, errored;
    int64_t created_at;
};
struct eval_run_list {
    struct eval_run *list;
    size_t count;
    bool has_more;
};

/* new: eval, name, model, data_source, metadata, picked; status NULL: queued; total, error, id and
 * created_at for one that was run elsewhere. */
int eval_runs_add(struct catalog *c, const struct eval_run *new, struct arena *mem,
                  struct eval_run *ret, struct err *err);
/* ERR_NOT_FOUND, too, for a run of another eval. */
int eval_runs_get(struct catalog *c, const char *eval, const char *id, struct arena *mem,
                  struct eval_run *ret, struct err *err);
int eval_runs_list(struct catalog *c, const char *eval, const char *status, const struct page *page,
                   struct arena *mem, struct eval_run_list *ret,
                   struct err *err); /* status NULL: all */
/* ERR_CONFLICT where it has ended. */
int eval_runs_cancel(struct catalog *c, const char *eval, const char *id, struct arena *mem,
                     struct eval_run *ret, struct err *err);
int eval_runs_delete(struct catalog *c, const char *eval, const char *id, struct err *err);

struct eval_output {
    const char *id, *run;
    const char *status;                  /* "pass", "fail", "error" */
    const char *item, *results, *sample; /* JSON: an object, a list, an object */
    int64_t number;                      /* of the row, from 0 */
    int64_t created_at;
};
struct eval_output_list {
    struct eval_output *list;
    size_t count;
    bool has_more;
};
int eval_items_get(struct catalog *c, const char *run, const char *id, struct arena *mem,
                   struct eval_output *ret, struct err *err);
int eval_items_list(struct catalog *c, const char *run, const char *status, const struct page *page,
                    struct arena *mem, struct eval_output_list *ret,
                    struct err *err); /* status NULL: all */

/* --- for the runner --- */

/* The oldest run in this state; *ret_found false: none. */
int eval_runs_oldest(struct catalog *c, const char *status, struct arena *mem, struct eval_run *ret,
                     bool *ret_found, struct err *err);
/* From one state to another, with its webhook at an end; error: JSON or NULL. ERR_CANCELLED: it is
 * not in `from` (any more), or gone. */
int eval_runs_update(struct catalog *c, const char *id, const char *from, const char *to,
                     int64_t total, const char *error, struct err *err);

struct eval_tally { /* of one criterion: 1 and 0, or 0 and 1, for one item */
    int number;     /* in the eval's list */
    const char *criterion;
    int64_t passed, failed;
};
struct eval_usage { /* of one model, for one item */
    const char *model;
    int64_t calls, prompt_tokens, completion_tokens, cached_tokens;
};
struct eval_counts {
    const struct eval_tally *tallies;
    size_t tally_count;
    const struct eval_usage *usages;
    size_t usage_count;
};
/* new: all but id and created_at. ERR_CANCELLED: the run does not go on; ERR_CONFLICT: the row has
 * an item. */
int eval_items_add(struct catalog *c, const struct eval_output *new,
                   const struct eval_counts *counts, struct err *err);
/* A run that was made elsewhere, whole or not at all, with its counts as they are told; no webhook.
 * run.status is its end. */
int eval_runs_import(struct catalog *c, const struct eval_run *run, const struct eval_output *list,
                     size_t count, const struct eval_counts *counts, struct err *err);
/* done[i] is set for each row below `total` that has an item. */
int eval_items_done(struct catalog *c, const char *run, bool *done, int64_t total, struct err *err);

#endif
