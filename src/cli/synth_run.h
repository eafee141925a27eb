/* A long round of questions that survives being stopped: every result is a line of OUT.part, and
 * the same command goes on from there. */
#ifndef CLI_SYNTH_RUN_H
#define CLI_SYNTH_RUN_H

#include "infer/asker.h"

struct synth_run {
    char *path; /* OUT.part */
    int fd;
    json_t *results;   /* phase -> {"i" -> result} */
    const char *phase; /* of the present round */
    int64_t done, total;
    bool quiet;
};

/* params: what the results depend on; those of other params are ERR_CONFLICT, so that nothing is
 * mixed. ERR_CONFLICT too where OUT exists. */
int synth_run_open(const char *out, const json_t *params, struct synth_run *ret, struct err *err);
void synth_run_close(struct synth_run *r, bool finished); /* finished: OUT.part is removed */

/* NULL: not done yet. Borrowed. */
const json_t *synth_run_result(const struct synth_run *r, const char *phase, int64_t i);

struct synth_round {
    const char *phase;
    int64_t n;
    struct asker *teacher;
    int concurrency;
    void *ctx;
    int (*question)(void *ctx, int64_t i, struct question *ret, struct err *err);
    /* What becomes of an answer: a new reference, to be kept as the result. */
    json_t *(*result)(void *ctx, int64_t i, const struct answer *a);
};
/* Asks all that are not done yet, with progress on stderr. A question the teacher did not answer is
 * left for the next time; more than a tenth of them end it. */
int synth_run_round(struct synth_run *r, const struct synth_round *round, struct err *err);

#endif
