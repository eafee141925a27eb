/* Sampling. Costs: a pass of kernels for the weights, and with top-k or top-p one pass that counts
 * weights by their exponent, so that only the few that can be kept are put in order, in a heap. */
#include "infer/sampler.h"

#include "base/mem.h"
#include "num/ops.h"

#include <math.h>
#include <string.h>

#define BIAS_MAX 100

static int check_range(const char *name, double x, double lo, double hi, struct err *err) {
    if (x >= lo && x <= hi) return 0;
    return err_set(err, ERR_INVALID, "%s is %g; it must be between %g and %g", name, x, lo, hi);
}

int sampling_check(const struct sampling *s, struct err *err) {
    int rc = check_range("temperature", s->temperature, 0, 100, err);
    if (!rc) rc = check_range("top_p", s->top_p, 0, 1, err);
    if (!rc) rc = check_range("min_p", s->min_p, 0, 1, err);
    if (!rc) rc = check_range("presence_penalty", s->presence_penalty, -2, 2, err);
    if (!rc) rc = check_range("frequency_penalty", s->frequency_penalty, -2, 2, err);
    if (!rc && s->top_k < 0)
        rc = err_set(err, ERR_INVALID, "top_k is %lld; it must be 0 (off) or more",
                     (long long)s->top_k);
    for (int64_t i = 0; !rc && i < s->bias_count; i++)
        rc = check_range("logit_bias", s->bias[i].bias, -BIAS_MAX, BIAS_MAX, err);
    return rc;
}

static int check_ids(const struct sampling *o, int64_t vocab, struct err *err) {
    for (int64_t i = 0; i < o->bias_count; i++)
        if (o->bias[i].id < 0 || o->bias[i].id >= vocab)
            return err_set(err, ERR_INVALID,
                           "logit_bias names token %d, but the model knows ids below %lld only",
                           o->bias[i].id, (long long)vocab);
    return 0;
}

int sampler_init(struct sampler *ret, const struct num *num, const struct sampling *options,
                 int64_t vocab, struct err *err) {
    struct sampler s = {.options = *options, .num = num, .vocab = vocab};
    int rc = sampling_check(options, err);
    if (!rc) rc = check_ids(options, vocab, err);
    if (!rc && options->temperature > 0) {
        rc = mem_try((size_t)vocab, sizeof *s.weight, "sampler", (void **)&s.weight, err);
        if (!rc) rc = mem_try((size_t)vocab, sizeof *s.kept, "sampler", (void **)&s.kept, err);
    }
    size_t biases = (size_t)options->bias_count;
    if (!rc && biases) {
        rc = mem_try(biases, sizeof *s.bias, "logit_bias", (void **)&s.bias, err);
        if (!rc) memcpy(s.bias, options->bias, biases * sizeof *s.bias);
    }
    if (rc) {
        sampler_release(&s);
        return rc;
    }
    s.options.bias = s.bias;
    rng_init(&s.rng, options->seed);
    *ret = s;
    return 0;
}

void sampler_release(struct sampler *s) {
    mem_free(s->weight);
    mem_free(s->kept);
    mem_free(s->bias);
    mem_free(s->seen);
    *s = (struct sampler){0};
}

/* --- what the request changes about the logits --- */

static bool is_allowed(const uint64_t *allowed, int32_t id) {
    return !allowed || (allowed[id / 64] >> (id % 64) & 1);
}

static void add_penalties(const struct sampler *s, float *logits) {
    for (size_t i = 0; i < s->seen_count; i++)
        logits[s->seen[i].id] -=
            (float)(s->seen[i].count * s->options.frequency_penalty + s->options.presence_penalty);
}

/* Whether an id with the highest bias may come: then no other may. */
static bool add_bias(const struct sampler *s, float *logits, const uint64_t *allowed) {
    bool forced = false;
    for (int64_t i = 0; i < s->options.bias_count; i++) {
        const struct logit_bias *b = &s->bias[i];
        logits[b->id] += b->bias;
        if (b->bias <= -BIAS_MAX) logits[b->id] = -INFINITY;
        if (b->bias >= BIAS_MAX && is_allowed(allowed, b->id)) forced = true;
    }
    return forced;
}

static void keep_forced(const struct sampler *s, float *logits) {
    size_t n = (size_t)s->options.bias_count;
    float *saved = mem_alloc(n * sizeof *saved);
    for (size_t i = 0; i < n; i++) saved[i] = logits[s->bias[i].id];
    for (int64_t i = 0; i < s->vocab; i++) logits[i] = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (s->bias[i].bias >= BIAS_MAX) logits[s->bias[i].id] = saved[i];
    mem_free(saved);
}

static void mask(const struct sampler *s, float *logits, const uint64_t *allowed) {
    for (int64_t from = 0; from < s->vocab; from += 64) {
        uint64_t word = allowed[from / 64];
        int64_t n = s->vocab - from < 64 ? s->vocab - from : 64;
        if (word == UINT64_MAX) continue;
        for (int64_t i = 0; i < n; i++)
            if (!(word >> i & 1)) logits[from + i] = -INFINITY;
    }
}

/* --- drawing --- */

/* by falling weight, then by rising id, so that the order is a total one */
static bool before(const struct sampler *s, int32_t a, int32_t b) {
    return s->weight[a] > s->weight[b] || (s->weight[a] == s->weight[b] && a < b);
}

static void sift_down(struct sampler *s, int64_t at, int64_t n) {
    int32_t *h = s->kept, moved = h[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(s, h[child + 1], h[child])) child++;
        if (!before(s, h[child], moved)) break;
        h[at] = h[child];
    }
    h[at] = moved;
}

/* Weights are at most 1, so their exponents count down from it. */
static unsigned exponent(float weight) {
    uint32_t bits;
    memcpy(&bits, &weight, sizeof bits);
    return 127 - (bits >> 23);
}

/* Candidates into s->kept: all weights down to the exponent at which `count` of them, or the mass
 * `target`, is reached. */
static int64_t gather(struct sampler *s, int64_t count, double target) {
    struct {
        int64_t count;
        double mass;
    } by[128] = {0};
    for (int64_t i = 0; i < s->vocab; i++) {
        unsigned e = exponent(s->weight[i]);
        by[e].count++;
        by[e].mass += (double)s->weight[i];
    }
    unsigned last = 0;
    int64_t have = by[0].count, n = 0;
    double mass = by[0].mass;
    while (last < 126 && have < count && mass < target) {
        last++;
        have += by[last].count;
        mass += by[last].mass;
    }
    for (int64_t i = 0; i < s->vocab; i++)
        if (exponent(s->weight[i]) <= last) s->kept[n++] = (int32_t)i;
    return n;
}

static void reverse(int32_t *a, int64_t n) {
    for (int64_t i = 0; i < n / 2; i++) {
        int32_t t = a[i];
        a[i] = a[n - 1 - i];
        a[n - 1 - i] = t;
    }
}

/* The best of n candidates by falling weight to the front of s->kept, until there are `limit` of
 * them or they weigh `target`; returns how many. Those that left the heap stand behind it. */
static int64_t take_best(struct sampler *s, int64_t n, int64_t limit, double target) {
    int64_t all = n, count = 0;
    double reached = 0;
    for (int64_t i = n / 2; i-- > 0;) sift_down(s, i, n);
    while (n > 0 && count < limit && reached < target) {
        int32_t id = s->kept[0];
        s->kept[0] = s->kept[--n];
        if (n > 0) sift_down(s, 0, n);
        s->kept[n] = id;
        reached += (double)s->weight[id];
        count++;
    }
    reverse(s->kept + n, all - n);
    memmove(s->kept, s->kept + n, (size_t)count * sizeof *s->kept);
    return count;
}

/* the best `top_k`, of those the fewest that hold top_p of their sum; returns how many are kept */
static int64_t keep_best(struct sampler *s, double sum) {
    const struct sampling *o = &s->options;
    int64_t limit = o->top_k > 0 && o->top_k < s->vocab ? o->top_k : s->vocab;
    bool nucleus = o->top_p > 0 && o->top_p < 1, only_nucleus = nucleus && limit == s->vocab;
    double target = only_nucleus ? o->top_p * sum : INFINITY, reached = 0, part = 0;
    int64_t kept = take_best(s, gather(s, limit, target), limit, target), count = 0;
    if (!nucleus || only_nucleus) return kept;
    for (int64_t i = 0; i < kept; i++) reached += (double)s->weight[s->kept[i]];
    while (count < kept && part < o->top_p * reached) part += (double)s->weight[s->kept[count++]];
    return count;
}

static int32_t draw_kept(struct sampler *s, int64_t count) {
    double sum = 0, at = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++) /* the best one weighs 1 */
        if ((double)s->weight[s->kept[i]] >= s->options.min_p) s->kept[n++] = s->kept[i];
    for (int64_t i = 0; i < n; i++) sum += (double)s->weight[s->kept[i]];
    double point = rng_double(&s->rng) * sum;
    for (int64_t i = 0; i < n; i++) {
        at += (double)s->weight[s->kept[i]];
        if (point < at) return s->kept[i];
    }
    return s->kept[n - 1];
}

#define RUN 1024 /* weights whose sum is taken before the first of them is looked at */

static double run_sum(const float *w, int64_t n) {
    double s[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++) s[j] += (double)w[i + j];
    for (; i < n; i++) s[0] += (double)w[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* from all of them */
static int32_t draw_any(struct sampler *s, int32_t best) {
    float *w = s->weight, least = (float)s->options.min_p;
    double sum = 0, at = 0;
    for (int64_t i = 0; least > 0 && i < s->vocab; i++)
        if (w[i] < least) w[i] = 0;
    for (int64_t i = 0; i < s->vocab; i += RUN)
        sum += run_sum(w + i, s->vocab - i < RUN ? s->vocab - i : RUN);
    double point = rng_double(&s->rng) * sum;
    for (int64_t from = 0; from < s->vocab; from += RUN) {
        int64_t n = s->vocab - from < RUN ? s->vocab - from : RUN;
        double part = run_sum(w + from, n), within = at;
        at += part;
        if (!(point < at)) continue;
        int32_t last = best; /* where rounding leads past the end of the run */
        for (int64_t i = from; i < from + n; i++) {
            within += (double)w[i];
            if (w[i] > 0) last = (int32_t)i;
            if (point < within) return (int32_t)i;
        }
        return last;
    }
    return best;
}

static void note(struct sampler *s, int32_t id) {
    if (s->options.presence_penalty == 0 && s->options.frequency_penalty == 0) return;
    for (size_t i = 0; i < s->seen_count; i++)
        if (s->seen[i].id == id) {
            s->seen[i].count++;
            return;
        }
    mem_grow((void **)&s->seen, &s->seen_cap, s->seen_count + 1, sizeof *s->seen);
    s->seen[s->seen_count].id = id;
    s->seen[s->seen_count++].count = 1;
}

int32_t sampler_pick(struct sampler *s, float *logits, const uint64_t *allowed) {
    const struct sampling *o = &s->options;
    add_penalties(s, logits);
    bool forced = add_bias(s, logits, allowed);
    if (allowed) mask(s, logits, allowed);
    if (forced) keep_forced(s, logits);
    float top = num_row_max(s->num, logits, s->vocab);
    if (!(top > -INFINITY)) return -1;
    int32_t id = 0;
    while (logits[id] != top) id++;
    if (o->temperature > 0) {
        num_row_weights(s->num, s->weight, logits, s->vocab, top, (float)(1 / o->temperature));
        bool ordered = o->top_k > 0 || (o->top_p > 0 && o->top_p < 1);
        if (ordered)
            id = draw_kept(s, keep_best(s, run_sum(s->weight, s->vocab)));
        else
            id = draw_any(s, id);
    }
    note(s, id);
    return id;
}
