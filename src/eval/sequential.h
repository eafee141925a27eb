/* Watching a canary: is it worse than what serves now? A test that may be looked at after every
 * observation and stopped at any moment, with at most `alpha` false alarms over all time.
 *
 * An observation is a request that went to the canary with probability `share` (known, and it may
 * change) or else to the baseline, and ended well or badly. If the canary is no different, then
 * whether a bad request was the canary's is a draw with probability `share`, whatever came before;
 * so is it for a good one. An e-process bets against that: a mixture over odds ratios, each weighed
 * by what the rates so far say. Its mean stays at most 1 without a difference, so it passes
 * 1 / alpha with probability at most alpha (Ville's inequality). Nothing else is assumed: not the
 * rates, not that they stay the same.
 *
 *     sequential_init(&s, 0.05);
 *     sequential_add(&s, &(struct sequential_event){.canary = c, .bad = b, .share = 0.05});
 *     if (sequential_alarm(&s)) roll back
 *
 * Plain data: save it and go on. One thread at a time. */
#ifndef EVAL_SEQUENTIAL_H
#define EVAL_SEQUENTIAL_H

#include <stdbool.h>
#include <stdint.h>

#define SEQUENTIAL_BETS 6

struct sequential {
    double alpha;
    double log_e[SEQUENTIAL_BETS]; /* of each odds ratio, natural */
    double log_e_max;              /* the largest of the mixture so far */
    int64_t count[2], bad[2];      /* baseline, canary */
};

struct sequential_event {
    bool canary, bad;
    double share; /* of requests that go to the canary, 0 < share < 1 */
};

void sequential_init(struct sequential *s, double alpha); /* 0 < alpha < 1 */
void sequential_add(struct sequential *s, const struct sequential_event *e);
double sequential_e(const struct sequential *s); /* evidence now: 1 is none */
double sequential_p(const struct sequential *s); /* valid at any time: 1 / the largest so far */
bool sequential_alarm(const struct sequential *s);

#endif
