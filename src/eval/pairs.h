/* Comparisons given as lines of JSON, many at once:
 *
 *     {"id":"x","a":[1,0,null],"b":[1,1,0],"cluster":["p","p","q"]}
 *
 * Scores are numbers, true and false; null is missing. "cluster" may be absent; its values are
 * strings or numbers, and null is a case by itself. */
#ifndef EVAL_PAIRS_H
#define EVAL_PAIRS_H

#include "base/json.h"
#include "base/pool.h"
#include "eval/statistics.h"

struct pairs_line {
    json_t *id; /* NULL when absent; owned */
    double *a, *b;
    int64_t *cluster; /* NULL when absent */
    int64_t n;
};

/* `where` names the line in messages. */
int pairs_line_read(struct str text, const char *where, struct pairs_line *ret, struct err *err);
void pairs_line_release(struct pairs_line *p);

/* Every line of a text in order; blank ones are skipped. A result is one line of JSON, handed to
 * `out` in the order of the lines; the first line that cannot be read ends it with an error that
 * names it, after the results before it. The work is spread over the pool. */
struct pairs_job {
    const char *path; /* for messages */
    struct str text;
    struct compare_options options;
    struct pool *pool;
    int (*out)(void *ctx, struct str line, struct err *err);
    void *ctx;
};
int pairs_run(const struct pairs_job *job, struct err *err);

/* x where it is a number, null where undefined */
json_t *json_number(double x);

#endif
