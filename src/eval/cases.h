/* Cases of an evaluation, and answers given beforehand. Both are JSONL; bad lines are errors that
 * name file and line.
 *
 *   cases    a row with "id" (else its number, from 1) and an expected answer: chat rows' last
 *            assistant message, else "completion" or "expected". What graders see as item
 *            is the row with "expected"
 *   outputs  {"id","output"} or {"id","score"}: null is missing, and so is an id that is not there
 *
 * Read once, then only looked at by any number of threads. */
#ifndef EVAL_CASES_H
#define EVAL_CASES_H

#include "base/json.h"

struct cases {
    json_t **items;   /* (n) objects with "id" and "expected"; owned */
    struct str *ids;  /* (n) as text, in the items or in `index` */
    int64_t *cluster; /* (n), or NULL without a cluster field */
    int64_t n;
    json_t *index; /* id to number */
};

/* cluster_field may be NULL; a case without it is a cluster of its own, but one must have it. */
int cases_read(const char *path, const char *cluster_field, struct cases *ret, struct err *err);
void cases_release(struct cases *c);

struct outputs {
    json_t **lines;  /* (cases.n) the object of each case, NULL when absent; owned */
    int64_t unknown; /* lines whose id is no case's */
    char first_unknown[80];
};
int outputs_read(const char *path, const struct cases *cases, struct outputs *ret, struct err *err);
void outputs_release(struct outputs *o, const struct cases *cases);

/* The parsers, for texts in memory. */
int cases_from_text(struct str text, const char *where, const char *cluster_field,
                    struct cases *ret, struct err *err);
int outputs_from_text(struct str text, const char *where, const struct cases *cases,
                      struct outputs *ret, struct err *err);

#endif
