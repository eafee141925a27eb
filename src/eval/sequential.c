/* The e-process. For an odds ratio r and a baseline rate q, estimated from what came before, the
 * canary's rate is q' = r q / (1 - q + r q). Given a bad request the odds that it is the canary's
 * grow by q' / q, given a good one by (1 - q') / (1 - q): the factor of one observation is the
 * ratio of its probability under that to its probability under no difference. As q only looks back,
 * any estimate is allowed; a poor one costs power, never the error. */
#include "eval/sequential.h"

#include <assert.h>
#include <math.h>

static const double odds[SEQUENTIAL_BETS] = {1.25, 1.5, 2, 3, 5, 10};

void sequential_init(struct sequential *s, double alpha) {
    assert(alpha > 0 && alpha < 1);
    *s = (struct sequential){.alpha = alpha};
}

static double log_mixture(const struct sequential *s) {
    double most = s->log_e[0], sum = 0;
    for (int k = 1; k < SEQUENTIAL_BETS; k++) most = fmax(most, s->log_e[k]);
    for (int k = 0; k < SEQUENTIAL_BETS; k++) sum += exp(s->log_e[k] - most);
    return most + log(sum / SEQUENTIAL_BETS);
}

void sequential_add(struct sequential *s, const struct sequential_event *e) {
    assert(e->share > 0 && e->share < 1);
    double n = (double)(s->count[0] + s->count[1]), bad = (double)(s->bad[0] + s->bad[1]);
    double q = (bad + 0.5) / (n + 1);
    for (int k = 0; k < SEQUENTIAL_BETS; k++) {
        double worse = odds[k] * q / (1 - q + odds[k] * q);
        double ratio = e->bad ? worse / q : (1 - worse) / (1 - q);
        s->log_e[k] += (e->canary ? log(ratio) : 0) - log(e->share * ratio + 1 - e->share);
    }
    s->count[e->canary]++;
    s->bad[e->canary] += e->bad;
    s->log_e_max = fmax(s->log_e_max, log_mixture(s));
}

double sequential_e(const struct sequential *s) { return exp(log_mixture(s)); }
double sequential_p(const struct sequential *s) { return exp(-s->log_e_max); }
bool sequential_alarm(const struct sequential *s) { return sequential_p(s) <= s->alpha; }
