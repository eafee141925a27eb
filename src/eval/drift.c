#include "eval/drift.h"

#include "base/mem.h"
#include "base/rng.h"
#include "data/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- effect size --- */

/* counts of the same bins; half a row more in each, so that none is empty */
static double psi_of(const int64_t *a, const int64_t *b, int n) {
    double a_sum = 0, b_sum = 0, psi = 0;
    int used = 0;
    for (int i = 0; i < n; i++) {
        a_sum += (double)a[i];
        b_sum += (double)b[i];
        used += a[i] || b[i];
    }
    if (a_sum == 0 || b_sum == 0) return 0;
    for (int i = 0; i < n; i++) {
        if (!a[i] && !b[i]) continue;
        double p = ((double)a[i] + 0.5) / (a_sum + 0.5 * used);
        double q = ((double)b[i] + 0.5) / (b_sum + 0.5 * used);
        psi += (q - p) * log(q / p);
    }
    return psi;
}

/* --- shares --- */

#define DRAWS_MAX 10000
#define DRAWS_ENOUGH 20 /* draws at least as extreme, after which p is known well enough */
#define EXPECTED_MIN 5
#define TERMS_MAX 2000

/* The upper tail of the gamma distribution, Q(s, x): a series below s + 1, else a continued
 * fraction (Lentz). */
static double gamma_tail(double s, double x) {
    double scale = exp(-x + s * log(x) - lgamma(s));
    if (x <= 0) return 1;
    if (x < s + 1) {
        double term = 1 / s, sum = term;
        for (int i = 1; i < TERMS_MAX && term > sum * 1e-16; i++) sum += term *= x / (s + i);
        return 1 - sum * scale;
    }
    double b = x + 1 - s, c = 1e300, d = 1 / b, h = d;
    for (int i = 1; i < TERMS_MAX; i++) {
        double an = -i * (i - s);
        b += 2;
        d = 1 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-15) break;
    }
    return scale * h;
}

/* of a table of two rows whose sums are given */
static double chi_square(const int64_t *a, const int64_t *total, int n, double share) {
    double x = 0;
    for (int i = 0; i < n; i++) {
        double expected = share * (double)total[i], d = (double)a[i] - expected;
        x += d * d / (expected * (1 - share));
    }
    return x;
}

/* How the rows of a random table with these sums fall to the first row: one draw for each row that
 * is not of the largest category, which gets the rest. */
static void draw_table(struct rng *r, const int64_t *total, int n, int largest, int64_t rows,
                       int64_t mine, int64_t *drawn) {
    for (int i = 0; i < n; i++) {
        drawn[i] = 0;
        if (i == largest) continue;
        for (int64_t k = 0; k < total[i]; k++, rows--)
            drawn[i] += rng_below(r, (uint64_t)rows) < (uint64_t)(mine - drawn[i]);
        mine -= drawn[i];
    }
    drawn[largest] = mine;
}

/* Sequential Monte Carlo: valid p-values although it stops early where p is plainly large. */
static double permuted(const int64_t *a, const int64_t *total, int n, double x, uint64_t seed) {
    int64_t rows = 0, mine = 0, extreme = 0, draws = 0, drawn[DRIFT_CATEGORIES_MAX];
    int largest = 0;
    for (int i = 0; i < n; i++) {
        rows += total[i];
        mine += a[i];
        if (total[i] > total[largest]) largest = i;
    }
    double share = (double)mine / (double)rows;
    struct rng r;
    rng_init(&r, seed);
    while (draws < DRAWS_MAX && extreme < DRAWS_ENOUGH) {
        draw_table(&r, total, n, largest, rows, mine, drawn);
        extreme += chi_square(drawn, total, n, share) >= x * (1 - 1e-12);
        draws++;
    }
    if (extreme == DRAWS_ENOUGH) return (double)extreme / (double)draws;
    return (double)(extreme + 1) / (double)(draws + 1);
}

struct drift_result drift_shares(const int64_t *a, const int64_t *b, int n, uint64_t seed) {
    int64_t mine[DRIFT_CATEGORIES_MAX], total[DRIFT_CATEGORIES_MAX], least = INT64_MAX;
    double a_sum = 0, b_sum = 0;
    int used = 0;
    for (int i = 0; i < n && used < DRIFT_CATEGORIES_MAX; i++) {
        a_sum += (double)a[i];
        b_sum += (double)b[i];
        if (!a[i] && !b[i]) continue;
        mine[used] = a[i];
        total[used] = a[i] + b[i];
        if (total[used] < least) least = total[used];
        used++;
    }
    struct drift_result ret = {.p = 1};
    if (used < 2 || a_sum == 0 || b_sum == 0) return ret;
    double share = a_sum / (a_sum + b_sum);
    ret.psi = psi_of(a, b, n);
    ret.statistic = chi_square(mine, total, used, share);
    if ((double)least * fmin(share, 1 - share) >= EXPECTED_MIN)
        ret.p = gamma_tail((used - 1) / 2.0, ret.statistic / 2);
    else
        ret.p = permuted(mine, total, used, ret.statistic, seed);
    return ret;
}

/* --- numbers --- */

#define EXACT_BELOW 0.2
#define PSI_BINS 10

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* The largest |i m - j n| over the ends of runs of equal values; ends[k]: a run ends behind k. */
static int64_t largest_gap(const double *a, int64_t n, const double *b, int64_t m, bool *ends) {
    int64_t i = 0, j = 0, gap = 0;
    while (i < n || j < m) {
        double v = j == m || (i < n && a[i] <= b[j]) ? a[i] : b[j];
        while (i < n && a[i] == v) i++;
        while (j < m && b[j] == v) j++;
        ends[i + j] = true;
        int64_t g = llabs(i * m - j * n);
        if (g > gap) gap = g;
    }
    return gap;
}

/* Kolmogorov's limit distribution with Stephens' correction of the argument */
static double ks_limit(double d, double n, double m) {
    double root = sqrt(n * m / (n + m)), x = (root + 0.12 + 0.11 / root) * d, p = 0;
    if (x < 0.2) return 1; /* 1 to more digits than the series gives */
    for (int k = 1; k <= 100; k++) {
        double term = 2 * exp(-2.0 * k * k * x * x);
        p += k % 2 ? term : -term;
        if (term < 1e-300) break;
    }
    return fmin(1, fmax(0, p));
}

/* The probability that a random labelling of the pooled numbers reaches the gap: mass that leaves
 * the band, step by step. q[i]: of having seen i of the n without leaving. */
static double ks_exact(int64_t n, int64_t m, int64_t gap, const bool *ends) {
    double *q = mem_zalloc((size_t)n + 2, sizeof *q), p = 0;
    int64_t low = 0, high = 0;
    q[0] = 1;
    for (int64_t k = 1; k <= n + m; k++) {
        double left = (double)(n + m - k + 1);
        high = high < n ? high + 1 : n;
        for (int64_t i = high; i >= low; i--) {
            double same = i < k ? q[i] * (double)(m - (k - 1 - i)) / left : 0;
            double more = i > low ? q[i - 1] * (double)(n - i + 1) / left : 0;
            q[i] = same + more;
            if (!ends[k] || llabs(i * m - (k - i) * n) < gap) continue;
            p += q[i];
            q[i] = 0;
        }
        while (low < high && q[low] == 0) low++;
        while (high > low && q[high] == 0) high--;
    }
    mem_free(q);
    return fmin(1, p);
}

/* over the deciles of a */
static double psi_of_numbers(const double *a, int64_t n, const double *b, int64_t m) {
    int64_t in_a[PSI_BINS] = {0}, in_b[PSI_BINS] = {0};
    for (int64_t i = 0, bin = 0; i < n; i++) {
        while (bin < PSI_BINS - 1 && a[i] > a[(bin + 1) * n / PSI_BINS]) bin++;
        in_a[bin]++;
    }
    for (int64_t i = 0, bin = 0; i < m; i++) {
        while (bin < PSI_BINS - 1 && b[i] > a[(bin + 1) * n / PSI_BINS]) bin++;
        in_b[bin]++;
    }
    return psi_of(in_a, in_b, PSI_BINS);
}

struct drift_result drift_numbers(double *a, int64_t a_count, double *b, int64_t b_count) {
    struct drift_result ret = {.p = 1};
    if (a_count < 1 || b_count < 1) return ret;
    qsort(a, (size_t)a_count, sizeof *a, by_value);
    qsort(b, (size_t)b_count, sizeof *b, by_value);
    bool *ends = mem_zalloc((size_t)(a_count + b_count) + 1, sizeof *ends);
    int64_t gap = largest_gap(a, a_count, b, b_count, ends);
    ret.statistic = (double)gap / ((double)a_count * (double)b_count);
    ret.psi = psi_of_numbers(a, a_count, b, b_count);
    ret.p = ks_limit(ret.statistic, (double)a_count, (double)b_count);
    bool small = a_count <= DRIFT_EXACT_MAX / b_count;
    if (gap && small && (ret.p < EXACT_BELOW || a_count < 50 || b_count < 50))
        ret.p = ks_exact(a_count, b_count, gap, ends);
    mem_free(ends);
    return ret;
}

/* --- rates --- */

static double log_choose(int64_t n, int64_t k) {
    return lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1);
}

struct drift_result drift_rates(struct drift_rate a, struct drift_rate b) {
    struct drift_result ret = {.p = 1};
    if (a.count < 1 || b.count < 1) return ret;
    int64_t hits = a.hits + b.hits, rows = a.count + b.count;
    int64_t low = hits > b.count ? hits - b.count : 0, high = hits < a.count ? hits : a.count;
    double all = log_choose(rows, hits), p = 0;
    double seen = log_choose(a.count, a.hits) + log_choose(b.count, b.hits) - all;
    for (int64_t i = low; i <= high; i++) {
        double one = log_choose(a.count, i) + log_choose(b.count, hits - i) - all;
        if (one <= seen + 1e-7) p += exp(one);
    }
    const int64_t in_a[2] = {a.hits, a.count - a.hits}, in_b[2] = {b.hits, b.count - b.hits};
    ret.p = fmin(1, p);
    ret.statistic = (double)b.hits / (double)b.count - (double)a.hits / (double)a.count;
    ret.psi = psi_of(in_a, in_b, 2);
    return ret;
}

/* --- texts --- */

#define TEXT_MAX ((size_t)64 << 10)
#define TOPIC_WORD_MIN 5 /* bytes; shorter words are mostly grammar */
#define TOPIC_KEY 0x746f706963u

static void words_of(struct str text, struct buf *normal, struct words *w) {
    if (text.n > TEXT_MAX) text.n = TEXT_MAX;
    buf_init(normal, 8 * TEXT_MAX);
    text_normalise(text, normal);
    words_add(w, buf_view(normal));
}

int drift_topic(struct str text) {
    struct words w = {0};
    struct buf normal;
    int64_t sum[4] = {0};
    int topic = 0;
    words_of(text, &normal, &w);
    for (size_t i = 0; i < w.n; i++) {
        if (w.at[i].bytes < TOPIC_WORD_MIN && !w.wide) continue;
        uint64_t h = rng_hash(TOPIC_KEY, w.list[i]);
        for (int k = 0; k < 4; k++) sum[k] += (h >> (16 * k) & 0xFFFF) < 0x8000 ? -1 : 1;
    }
    for (int k = 0; k < 4; k++) topic |= (sum[k] > 0) << k;
    words_release(&w);
    buf_release(&normal);
    return topic;
}

#define SLOTS ((size_t)1 << 18)
#define SLOTS_USED_MAX (SLOTS / 4 * 3)

struct novelty {
    struct {
        uint32_t word, count; /* count 0: empty */
    } * slot;                 /* (SLOTS), open addressing */
    size_t used;
    double total;
};

struct novelty *novelty_new(void) {
    struct novelty *n = mem_zalloc(1, sizeof *n);
    n->slot = mem_zalloc(SLOTS, sizeof *n->slot);
    return n;
}

void novelty_free(struct novelty *n) {
    if (!n) return;
    mem_free(n->slot);
    mem_free(n);
}

static size_t slot_of(const struct novelty *n, uint32_t word) {
    size_t i = (size_t)rng_hash(1, word) % SLOTS;
    while (n->slot[i].count && n->slot[i].word != word) i = (i + 1) % SLOTS;
    return i;
}

void novelty_learn(struct novelty *n, struct str text) {
    struct words w = {0};
    struct buf normal;
    words_of(text, &normal, &w);
    for (size_t i = 0; i < w.n; i++) {
        size_t at = slot_of(n, w.list[i]);
        if (!n->slot[at].count && n->used == SLOTS_USED_MAX) continue;
        n->used += !n->slot[at].count;
        n->slot[at].word = w.list[i];
        n->slot[at].count += n->slot[at].count < UINT32_MAX;
        n->total++;
    }
    words_release(&w);
    buf_release(&normal);
}

double novelty_of(struct novelty *n, struct str text) {
    struct words w = {0};
    struct buf normal;
    double bits = 0, all = n->total + (double)n->used + 1;
    words_of(text, &normal, &w);
    for (size_t i = 0; i < w.n; i++)
        bits += log2(all / ((double)n->slot[slot_of(n, w.list[i])].count + 1));
    double mean = w.n < 3 ? 0 : bits / (double)w.n;
    words_release(&w);
    buf_release(&normal);
    return mean;
}
