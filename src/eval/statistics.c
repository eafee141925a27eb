/* Paired comparisons. Three ways, by what the scores are:
 *
 *   exact    right/wrong, no clusters, fewer than 25 discordant cases: McNemar's test by the
 *            binomial distribution
 *   score    right/wrong, no clusters: Tango's score test, which at a difference of 0 is McNemar's.
 *            Its interval is used for the exact way too, as it does not fail at zero discordant
 *   cluster  all else: paired t over clusters (df = clusters - 1) and a bootstrap over clusters;
 *            a claim needs both
 *
 * The bootstrap asks one question, whether the resampled mean lies beyond a bound, so it keeps
 * counts and no list; it stops early where more draws could not change the answer. */
#include "eval/statistics.h"

#include "base/mem.h"
#include "base/rng.h"
#include "eval/special.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE_TAIL 0.025 /* of each side of a reported interval */
#define EXACT_BELOW 25        /* discordant cases */
#define BOOTSTRAP_SEED 0x61747475ull
#define CHUNK 500 /* draws of one random stream */

const char *verdict_name(enum verdict v) {
    static const char *const names[] = {"inconclusive", "better", "not worse", "worse"};
    return names[v];
}

const char *comparison_method_name(enum method m) {
    static const char *const names[] = {"none", "exact McNemar", "score (Tango)",
                                        "paired t and bootstrap"};
    return names[m];
}

enum verdict verdict_of(double p_better, double p_worse, double p_not_worse, double alpha) {
    if (p_better <= alpha) return VERDICT_BETTER;
    if (p_worse <= alpha) return VERDICT_WORSE;
    return p_not_worse <= alpha ? VERDICT_NOT_WORSE : VERDICT_INCONCLUSIVE;
}

/* --- clusters --- */

struct unit { /* a cluster: sum and number of its cases */
    double sum;
    int64_t size;
};
struct units {
    struct unit *list;
    int64_t count, cases;
    double mean, se; /* of the mean over cases; se by the variation between clusters */
    double worst[2]; /* lowest and highest that a cluster not yet seen could be */
};

struct member {
    int64_t cluster, index;
    double x;
};

static int by_cluster(const void *pa, const void *pb) {
    const struct member *a = pa, *b = pb;
    if (a->cluster != b->cluster) return a->cluster < b->cluster ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* members in the order of cases; takes nothing */
static int units_make(struct member *m, int64_t n, bool clustered, struct units *ret,
                      struct err *err) {
    struct units u = {.cases = n, .worst = {-1, 1}};
    int rc = mem_try((size_t)n + 1, sizeof *u.list, "clusters", (void **)&u.list, err);
    if (rc) return rc;
    if (clustered) qsort(m, (size_t)n, sizeof *m, by_cluster);
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || !clustered || m[i].cluster != m[i - 1].cluster) u.count++;
        u.list[u.count - 1].sum += m[i].x;
        u.list[u.count - 1].size++;
        u.mean += m[i].x;
    }
    u.mean /= (double)n;
    double squares = 0;
    for (int64_t i = 0; i < u.count; i++) {
        double r = u.list[i].sum - u.mean * (double)u.list[i].size;
        squares += r * r;
    }
    double c = (double)u.count;
    u.se = u.count > 1 ? sqrt(c / (c - 1) * squares) / (double)n : NAN;
    if (u.se < 1e-14) u.se = 0; /* rounding of equal differences */
    *ret = u;
    return 0;
}

/* One-sided p of mean <= bound. With no variation at all t would be sure of itself after two
 * clusters; then the bound is that of the share q of clusters not yet seen, which could lie at the
 * worst end: (1 - q) ^ clusters. */
static double t_p_above(const struct units *u, double bound) {
    if (u->se > 0) return t_cdf((bound - u->mean) / u->se, (double)(u->count - 1));
    double q = (u->mean - bound) / (u->mean - u->worst[0]);
    return q > 0 ? pow(1 - fmin(q, 1), (double)u->count) : 1;
}
static double t_p_below(const struct units *u, double bound) {
    struct units mirrored = *u;
    mirrored.mean = -u->mean;
    mirrored.worst[0] = -u->worst[1];
    mirrored.worst[1] = -u->worst[0];
    return t_p_above(&mirrored, -bound);
}

static void t_interval(const struct units *u, double *low, double *high) {
    if (u->se > 0) {
        double t = t_quantile(1 - CONFIDENCE_TAIL, (double)(u->count - 1));
        *low = u->mean - t * u->se;
        *high = u->mean + t * u->se;
        return;
    }
    double q = 1 - pow(CONFIDENCE_TAIL, 1 / (double)u->count);
    *low = u->mean - q * (u->mean - u->worst[0]);
    *high = u->mean + q * (u->worst[1] - u->mean);
}

/* --- bootstrap over clusters --- */

/* Indices from 32 random bits each: off by less than count / 2^32. */
static double resample(struct rng *r, const double *x, int64_t count) {
    double sum = 0;
    int64_t i = 0;
    for (; i + 1 < count; i += 2) {
        uint64_t bits = rng_u64(r);
        sum += x[(bits & 0xffffffff) * (uint64_t)count >> 32];
        sum += x[(bits >> 32) * (uint64_t)count >> 32];
    }
    if (i < count) sum += x[(rng_u64(r) >> 32) * (uint64_t)count >> 32];
    return sum;
}

/* The share of resampled means that are not above the bound (sign 1) or not below it (sign -1). It
 * stops where the answer is plain: none in 2,000, or far more than alpha allows in all. */
static int bootstrap_p(const struct units *u, double bound, int sign,
                       const struct compare_options *o, double *ret, struct err *err) {
    double *x = NULL, scale = 0;
    int rc = mem_try((size_t)u->count, sizeof *x, "bootstrap", (void **)&x, err);
    if (rc) return rc;
    for (int64_t i = 0; i < u->count; i++) {
        x[i] = sign * (u->list[i].sum - bound * (double)u->list[i].size);
        scale += fabs(x[i]);
    }
    int64_t hits = 0, done = 0;
    double most = o->alpha * (double)o->draws;
    for (uint64_t chunk = 0; done < o->draws; chunk++) {
        struct rng r;
        rng_init_stream(&r, BOOTSTRAP_SEED, chunk);
        for (int i = 0; i < CHUNK && done < o->draws; i++, done++)
            hits += resample(&r, x, u->count) <= 1e-12 * scale;
        if ((double)hits > most || (done >= 2000 && hits == 0)) break;
    }
    mem_free(x);
    *ret = (double)(hits ? hits : 1) / (double)done;
    return 0;
}

/* a claim needs t and bootstrap: the larger p; no bootstrap where t has refused */
static int both_p(const struct units *u, double bound, int sign, const struct compare_options *o,
                  double *ret, struct err *err) {
    double p = sign > 0 ? t_p_above(u, bound) : t_p_below(u, bound), again = 0;
    if (p <= o->alpha) {
        int rc = bootstrap_p(u, bound, sign, o, &again, err);
        if (rc) return rc;
        /* without variation every draw is the same: t_p_above has said all */
        if (u->se > 0 && again > p) p = again;
    }
    *ret = p;
    return 0;
}

/* --- right and wrong --- */

struct table { /* of two answers to each case */
    double n, gained, lost;
};

/* Tango's statistic (Statistics in Medicine 17, 1998): how far the observed difference lies above
 * `delta`, in standard errors under a true difference of delta. Falls with delta. */
static double tango(const struct table *t, double delta) {
    double a = 2 * t->n;
    double b = -t->gained - t->lost + (2 * t->n - t->gained + t->lost) * delta;
    double c = -t->lost * delta * (1 - delta);
    double root = b * b - 4 * a * c;
    double q = (sqrt(root > 0 ? root : 0) - b) / (2 * a);
    double variance = t->n * (2 * q + delta * (1 - delta));
    double above = t->gained - t->lost - t->n * delta;
    if (variance <= 1e-12 * t->n) return above > 0 ? INFINITY : above < 0 ? -INFINITY : 0;
    return above / sqrt(variance);
}

/* where the statistic is z */
static double tango_limit(const struct table *t, double z) {
    double low = -1, high = 1;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (tango(t, middle) > z)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

static void compare_binary(const struct compare_options *o, struct comparison *c) {
    struct table t = {(double)c->n, (double)c->gained, (double)c->lost};
    int64_t discordant = c->gained + c->lost;
    double z = normal_quantile(1 - CONFIDENCE_TAIL);
    c->low = tango_limit(&t, z);
    c->high = tango_limit(&t, -z);
    c->p_not_worse = normal_cdf(-tango(&t, -o->margin));
    if (discordant < EXACT_BELOW) {
        c->method = METHOD_EXACT;
        c->p_better = binomial_upper(c->gained, discordant, 0.5);
        c->p_worse = binomial_upper(c->lost, discordant, 0.5);
    } else {
        c->method = METHOD_SCORE;
        c->p_better = normal_cdf(-tango(&t, 0));
        c->p_worse = normal_cdf(tango(&t, 0));
    }
    c->p = fmin(1, 2 * fmin(c->p_better, c->p_worse));
}

static int compare_clusters(const struct units *u, const struct compare_options *o,
                            struct comparison *c, struct err *err) {
    if (u->count < 2) return 0;
    c->method = METHOD_CLUSTER;
    t_interval(u, &c->low, &c->high);
    c->p = fmin(1, 2 * fmin(t_p_above(u, 0), t_p_below(u, 0)));
    int rc = both_p(u, 0, 1, o, &c->p_better, err);
    if (!rc) rc = both_p(u, 0, -1, o, &c->p_worse, err);
    if (!rc) rc = both_p(u, -o->margin, 1, o, &c->p_not_worse, err);
    return rc;
}

/* --- how many more --- */

static double cases_binary(double difference, double discordant, double z_alpha, double z_power) {
    double rest = discordant - difference * difference;
    double s = z_alpha * sqrt(discordant) + z_power * sqrt(rest > 0 ? rest : 0);
    return s * s / (difference * difference);
}

/* At the declared or observed difference; where none was seen, until "not worse" could be said. */
static int64_t more_cases(const struct units *u, const struct compare_options *o,
                          const struct comparison *c) {
    double za = normal_quantile(1 - o->alpha), zb = normal_quantile(o->power), n = (double)c->n;
    double d = o->difference != 0 ? fabs(o->difference) : fabs(c->difference), want;
    bool binary = c->method != METHOD_CLUSTER;
    double q = (double)(c->gained + c->lost) / n;
    if (c->method == METHOD_NONE) return -1;
    if (d > 1e-12) {
        want =
            binary ? cases_binary(d, fmax(q, d), za, zb) : pow((za + zb) * u->se * sqrt(n) / d, 2);
    } else {
        if (o->margin <= 0) return -1;
        double variance = binary ? q : u->se * u->se * n;
        want = fmax((za + zb) * (za + zb) * variance / (o->margin * o->margin),
                    za * za * (1 - o->margin) / o->margin);
    }
    want = ceil(want - n);
    return want < 1 ? 1 : want > 1e15 ? -1 : (int64_t)want;
}

/* --- the comparison --- */

static int options_check(const struct compare_options *given, struct compare_options *o,
                         struct err *err) {
    *o = *given;
    if (o->alpha == 0) o->alpha = 0.05;
    if (o->power == 0) o->power = 0.8;
    if (o->draws == 0) o->draws = 10000;
    if (o->margin == 0) o->margin = 0.02;
    if (o->margin < 0) o->margin = 0;
    if (!(o->alpha > 0 && o->alpha < 0.5))
        return err_set(err, ERR_INVALID, "alpha is %g; it must lie between 0 and 0.5", o->alpha);
    if (!(o->power > 0 && o->power < 1))
        return err_set(err, ERR_INVALID, "power is %g; it must lie between 0 and 1", o->power);
    if (!(o->margin < 1) || !(fabs(o->difference) < INFINITY))
        return err_set(err, ERR_INVALID, "margin %g or difference %g is out of range", o->margin,
                       o->difference);
    return 0;
}

static bool is_binary(double x) { return x == 0 || x == 1; }

/* the differences of the cases that both have */
static int pairs_collect(const struct paired *p, struct member *m, struct comparison *c,
                         double *ret_range, bool *ret_binary, struct err *err) {
    double low = INFINITY, high = -INFINITY;
    bool binary = true;
    for (int64_t i = 0; i < p->n; i++) {
        double a = p->a[i], b = p->b[i];
        if (isinf(a) || isinf(b))
            return err_set(err, ERR_INVALID, "score %lld is infinite", (long long)i + 1);
        if (isnan(a) || isnan(b)) continue;
        m[c->n++] = (struct member){p->cluster ? p->cluster[i] : i, i, b - a};
        c->gained += b > a;
        c->lost += b < a;
        binary = binary && is_binary(a) && is_binary(b);
        low = fmin(low, fmin(a, b));
        high = fmax(high, fmax(a, b));
    }
    *ret_range = fmax(1, high - low);
    *ret_binary = binary;
    return 0;
}

int compare_paired(const struct paired *p, const struct compare_options *given,
                   struct comparison *ret, struct err *err) {
    struct compare_options o;
    struct comparison c = {.difference = NAN, .low = NAN, .high = NAN, .p = NAN, .needed = -1};
    struct member *m = NULL;
    struct units u = {0};
    double range = 1;
    bool binary = true;
    c.p_better = c.p_worse = c.p_not_worse = NAN;
    int rc = options_check(given, &o, err);
    if (!rc) rc = mem_try((size_t)p->n + 1, sizeof *m, "comparison", (void **)&m, err);
    if (!rc) rc = pairs_collect(p, m, &c, &range, &binary, err);
    if (!rc && c.n > 0) {
        rc = units_make(m, c.n, p->cluster != NULL, &u, err);
        u.worst[0] = -range;
        u.worst[1] = range;
        c.clusters = u.count;
        c.difference = u.mean;
    }
    if (!rc && c.n > 0) {
        if (binary && u.count == c.n)
            compare_binary(&o, &c);
        else
            rc = compare_clusters(&u, &o, &c, err);
        c.verdict = verdict_of(c.p_better, c.p_worse, c.p_not_worse, o.alpha);
        c.needed = c.verdict == VERDICT_INCONCLUSIVE ? more_cases(&u, &o, &c) : 0;
    }
    mem_free(u.list);
    mem_free(m);
    if (!rc) *ret = c;
    return rc;
}

/* --- one model --- */

static void wilson(double right, double n, double *low, double *high) {
    double z = normal_quantile(1 - CONFIDENCE_TAIL), share = right / n, zz = z * z / n;
    double middle = (share + zz / 2) / (1 + zz);
    double half = z * sqrt(share * (1 - share) / n + zz / (4 * n)) / (1 + zz);
    *low = fmax(0, middle - half);
    *high = fmin(1, middle + half);
}

int estimate_mean(const double *x, const int64_t *cluster, int64_t n, struct estimate *ret,
                  struct err *err) {
    struct estimate e = {.value = NAN, .low = NAN, .high = NAN};
    struct member *m = NULL;
    struct units u = {0};
    bool binary = true, share = true;
    double low = INFINITY, high = -INFINITY;
    int rc = mem_try((size_t)n + 1, sizeof *m, "scores", (void **)&m, err);
    for (int64_t i = 0; !rc && i < n; i++) {
        if (isinf(x[i])) rc = err_set(err, ERR_INVALID, "score %lld is infinite", (long long)i + 1);
        if (isnan(x[i])) {
            e.missing++;
            continue;
        }
        m[e.n++] = (struct member){cluster ? cluster[i] : i, i, x[i]};
        binary = binary && is_binary(x[i]);
        share = share && x[i] >= 0 && x[i] <= 1;
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    if (!rc && e.n > 0) {
        rc = units_make(m, e.n, cluster != NULL, &u, err);
        u.worst[0] = share ? 0 : low - fmax(1, high - low);
        u.worst[1] = share ? 1 : high + fmax(1, high - low);
        e.clusters = u.count;
        e.value = u.mean;
    }
    if (!rc && e.n > 0 && binary && u.count == e.n)
        wilson(round(u.mean * (double)e.n), (double)e.n, &e.low, &e.high);
    else if (!rc && u.count > 1) {
        t_interval(&u, &e.low, &e.high);
        if (share) e.low = fmax(0, e.low), e.high = fmin(1, e.high);
    }
    mem_free(u.list);
    mem_free(m);
    if (!rc) *ret = e;
    return rc;
}

/* --- several metrics, and plans --- */

void holm_adjust(const double *p, int64_t n, double *adjusted) {
    /* few metrics: the rank of each by counting */
    for (int64_t i = 0; i < n; i++) {
        double most = 0;
        for (int64_t j = 0; j < n; j++) {
            if (p[j] > p[i] || isnan(p[j])) continue;
            int64_t before = 0;
            for (int64_t k = 0; k < n; k++) before += p[k] < p[j] || (p[k] == p[j] && k < j);
            most = fmax(most, fmin(1, p[j] * (double)(n - before)));
        }
        adjusted[i] = isnan(p[i]) ? NAN : most;
    }
}

int plan_cases(const struct plan *p, int64_t *ret, struct err *err) {
    double d = fabs(p->difference);
    if (!(d > 0 && d <= 1))
        return err_set(err, ERR_INVALID,
                       "difference is %g; it must lie between 0 and 1, such as 0.05", d);
    if (!(p->discordant >= d && p->discordant <= 1))
        return err_set(err, ERR_INVALID,
                       "discordant is %g; the share of cases where the two differ lies between "
                       "the difference (%g) and 1",
                       p->discordant, d);
    if (p->sides != 1 && p->sides != 2)
        return err_set(err, ERR_INVALID, "sides is %d; it is 1 or 2", p->sides);
    if (!(p->alpha > 0 && p->alpha < 0.5) || !(p->power > 0 && p->power < 1))
        return err_set(err, ERR_INVALID,
                       "alpha is %g and power %g; alpha lies between 0 and 0.5, power between "
                       "0 and 1",
                       p->alpha, p->power);
    double za = normal_quantile(1 - p->alpha / p->sides), zb = normal_quantile(p->power);
    double cases = ceil(cases_binary(d, p->discordant, za, fmax(zb, -za)) - 1e-9);
    if (cases > 1e15) return err_set(err, ERR_LIMIT, "difference %g is too small to plan for", d);
    *ret = (int64_t)cases;
    return 0;
}
