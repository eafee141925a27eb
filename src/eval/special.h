/* Distribution functions that tests and intervals need: normal, Student's t, binomial, and the
 * regularised incomplete beta function that the last two come from. Pure functions, any thread.
 * Relative error about 1e-12 where the result is not tiny. */
#ifndef EVAL_SPECIAL_H
#define EVAL_SPECIAL_H

#include <stdint.h>

double normal_cdf(double z);
double normal_quantile(double p); /* 0 < p < 1 */
/* I_x(a, b) with a, b > 0 and x in [0, 1] */
double beta_inc(double a, double b, double x);
double t_cdf(double t, double df); /* df > 0 */
double t_quantile(double p, double df);
/* P(X >= k) of X ~ Binomial(n, p) */
double binomial_upper(int64_t k, int64_t n, double p);

#endif
