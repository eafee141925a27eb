/* Long rounds of questions that survive being stopped: every result is a line of a file, and the
 * same command goes on from there. */
#ifndef CLI_ROUNDS_H
#define CLI_ROUNDS_H

#include "infer/asker.h"

struct rounds {
    char *path;
    int fd;
    json_t *results;   /* phase -> {"i" -> result} */
    const char *phase; /* of the present round */
    int64_t done, total;
    bool resumed; /* an earlier command left results */
};

/* params: what the results depend on; a file of other params is ERR_CONFLICT, so that nothing is
 * mixed. */
int rounds_open(const char *path, const json_t *params, struct rounds *ret, struct err *err);
/* OUT.part; ERR_CONFLICT where OUT exists */
int rounds_open_for(const char *out, const json_t *params, struct rounds *ret, struct err *err);
void rounds_close(struct rounds *r, bool finished); /* finished: the file is removed */

/* NULL: not done yet. Borrowed. */
const json_t *rounds_result(const struct rounds *r, const char *phase, int64_t i);

struct round {
    const char *phase;
    int64_t n;
    struct asker *asker;
    int concurrency;
    void *ctx;
    int (*question)(void *ctx, int64_t i, struct question *ret, struct err *err);
    /* What becomes of an answer: a new reference, to be kept as the result. */
    json_t *(*result)(void *ctx, int64_t i, const struct answer *a);
    bool keep_errors; /* what has no answer is a result too (a->rc), and never ends the round */
};
/* Asks all that are not done yet, with progress on stderr. Without keep_errors a question that got
 * no answer is left for the next time, which the error says; more than a tenth of them end it. */
int rounds_ask(struct rounds *r, const struct round *round, struct err *err);

#endif
