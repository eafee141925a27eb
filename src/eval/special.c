/* Normal, t and binomial distributions. Methods: the normal quantile by Acklam's rational
 * approximation and one step of Halley's; the incomplete beta function by its continued fraction
 * (Lentz's evaluation); the t quantile by bisection of its distribution function, which is quick
 * enough where one comparison asks for three of them. */
#include "eval/special.h"

#include <assert.h>
#include <math.h>

double normal_cdf(double z) { return 0.5 * erfc(-z / M_SQRT2); }

static double tail_quantile(double p) { /* p <= 0.02425: a negative number */
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                               -2.400758277161838e+00, -2.549732539343734e+00,
                               4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                               3.754408661907416e+00};
    double q = sqrt(-2 * log(p));
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
}

static double middle_quantile(double p) {
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                               -2.759285104469687e+02, 1.383577518672690e+02,
                               -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                               -1.556989798598866e+02, 6.680131188771972e+01,
                               -1.328068155288572e+01};
    double q = p - 0.5, r = q * q;
    return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
           (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

double normal_quantile(double p) {
    assert(p > 0 && p < 1);
    double z = p < 0.02425       ? tail_quantile(p)
               : p > 1 - 0.02425 ? -tail_quantile(1 - p)
                                 : middle_quantile(p);
    double e = normal_cdf(z) - p, u = e * sqrt(2 * M_PI) * exp(z * z / 2);
    return z - u / (1 + z * u / 2);
}

/* the continued fraction of I_x(a, b); converges quickly for x < (a + 1) / (a + b + 2) */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double h = d;
    for (int m = 1; m <= 20000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step = 1;
        for (int k = 0; k < 2; k++) {
            double term = k ? odd : even;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            if (fabs(c) < tiny) c = tiny;
            step = d * c;
            h *= step;
        }
        if (fabs(step - 1) < 1e-15) break;
    }
    return h;
}

static double log_gamma(double x) { /* lgamma() writes a global */
    int sign;
    return lgamma_r(x, &sign);
}

double beta_inc(double a, double b, double x) {
    assert(a > 0 && b > 0);
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double t_cdf(double t, double df) {
    double tail = 0.5 * beta_inc(df / 2, 0.5, df / (df + t * t));
    return t > 0 ? 1 - tail : tail;
}

double t_quantile(double p, double df) {
    assert(p > 0 && p < 1);
    if (p < 0.5) return -t_quantile(1 - p, df);
    double low = 0, high = 1;
    while (t_cdf(high, df) < p && high < 1e300) high *= 2;
    for (int i = 0; i < 200 && high - low > 1e-13 * high; i++) {
        double middle = (low + high) / 2;
        if (t_cdf(middle, df) < p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

double binomial_upper(int64_t k, int64_t n, double p) {
    if (k <= 0) return 1;
    if (k > n) return 0;
    return beta_inc((double)k, (double)(n - k + 1), p);
}
