/* Sampling. Costs: one exp per vocabulary entry, and with top-k or top-p a heap instead of a sort,
 * so that only what is kept is put in order. */
#include "infer/sampler.h"

#include "base/mem.h"

#include <math.h>

int sampling_check(const struct sampling *s, struct err *err) {
    static const char *const text = "%s is %g; it must be %s";
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return err_set(err, ERR_INVALID, text, "temperature", s->temperature, "between 0 and 100");
    if (!(s->top_p >= 0 && s->top_p <= 1))
        return err_set(err, ERR_INVALID, text, "top_p", s->top_p, "between 0 and 1");
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return err_set(err, ERR_INVALID, text, "min_p", s->min_p, "between 0 and 1");
    if (s->top_k < 0)
        return err_set(err, ERR_INVALID, text, "top_k", (double)s->top_k, "0 (off) or more");
    return 0;
}

int sampler_init(struct sampler *ret, const struct sampling *options, int64_t vocab,
                 struct err *err) {
    struct sampler s = {.options = *options, .vocab = vocab};
    int rc = sampling_check(options, err);
    if (!rc && options->temperature > 0) {
        rc = mem_try((size_t)vocab, sizeof *s.weight, "sampler", (void **)&s.weight, err);
        if (!rc) rc = mem_try((size_t)vocab, sizeof *s.heap, "sampler", (void **)&s.heap, err);
        if (!rc) rc = mem_try((size_t)vocab, sizeof *s.kept, "sampler", (void **)&s.kept, err);
    }
    if (rc) {
        sampler_release(&s);
        return rc;
    }
    rng_init(&s.rng, options->seed);
    *ret = s;
    return 0;
}

void sampler_release(struct sampler *s) {
    mem_free(s->weight);
    mem_free(s->heap);
    mem_free(s->kept);
    *s = (struct sampler){0};
}

/* a NaN never wins */
static int32_t argmax(const float *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i]))) best = i;
    return (int32_t)best;
}

/* by falling weight, then by rising id, so that the order is a total one */
static bool before(const struct sampler *s, int32_t a, int32_t b) {
    return s->weight[a] > s->weight[b] || (s->weight[a] == s->weight[b] && a < b);
}

static void sift_down(struct sampler *s, int64_t at, int64_t n) {
    int32_t *h = s->heap, moved = h[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(s, h[child + 1], h[child])) child++;
        if (!before(s, h[child], moved)) break;
        h[at] = h[child];
    }
    h[at] = moved;
}

static double weigh(struct sampler *s, const float *logits, int32_t best) {
    double sum = 0, scale = 1 / s->options.temperature, top = logits[best];
    for (int64_t i = 0; i < s->vocab; i++) {
        double w = exp((logits[i] - top) * scale);
        s->weight[i] = isnan(w) ? 0 : w;
        sum += s->weight[i];
    }
    return sum;
}

/* the best `top_k`, of those the fewest that hold top_p of their sum; returns how many are kept */
static int64_t keep_best(struct sampler *s, double sum) {
    int64_t n = s->vocab, kept = 0;
    int64_t limit = s->options.top_k > 0 && s->options.top_k < n ? s->options.top_k : n;
    bool nucleus = s->options.top_p > 0 && s->options.top_p < 1;
    for (int64_t i = 0; i < n; i++) s->heap[i] = (int32_t)i;
    for (int64_t i = n / 2; i-- > 0;) sift_down(s, i, n);
    double reached = 0, target = nucleus && limit == n ? s->options.top_p * sum : INFINITY;
    while (kept < limit && reached < target) {
        int32_t id = s->heap[0];
        s->heap[0] = s->heap[--n];
        if (n > 0) sift_down(s, 0, n);
        s->kept[kept++] = id;
        reached += s->weight[id];
    }
    if (!nucleus || target < INFINITY) return kept;
    target = s->options.top_p * reached;
    double part = 0;
    int64_t count = 0;
    while (count < kept && part < target) part += s->weight[s->kept[count++]];
    return count;
}

static int64_t keep_all(struct sampler *s) {
    for (int64_t i = 0; i < s->vocab; i++) s->kept[i] = (int32_t)i;
    return s->vocab;
}

static int64_t drop_below(struct sampler *s, int64_t count, double least) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++)
        if (s->weight[s->kept[i]] >= least) s->kept[kept++] = s->kept[i];
    return kept;
}

static int32_t draw(struct sampler *s, int64_t count) {
    double sum = 0, at = 0;
    for (int64_t i = 0; i < count; i++) sum += s->weight[s->kept[i]];
    double point = rng_double(&s->rng) * sum;
    for (int64_t i = 0; i < count; i++) {
        at += s->weight[s->kept[i]];
        if (point < at) return s->kept[i];
    }
    return s->kept[count - 1];
}

int32_t sampler_pick(struct sampler *s, const float *logits) {
    const struct sampling *o = &s->options;
    int32_t best = argmax(logits, s->vocab);
    if (o->temperature == 0 || !isfinite(logits[best])) return best;
    double sum = weigh(s, logits, best);
    bool ordered = o->top_k > 0 || (o->top_p > 0 && o->top_p < 1);
    int64_t count = ordered ? keep_best(s, sum) : keep_all(s);
    if (o->min_p > 0) count = drop_below(s, count, o->min_p); /* the best one weighs 1 */
    return count > 0 ? draw(s, count) : best;
}
