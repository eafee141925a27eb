/* The report: estimates and corrected comparisons. */
#include "eval/report.h"

#include "base/mem.h"
#include "eval/pairs.h"

#include <math.h>

/* Each claim is corrected over the metrics; what turns inconclusive by it needs as many cases as a
 * share of alpha asks for. */
static int pair_correct(struct report_pair *pairs, const struct report_input *in, struct err *err) {
    int64_t m = in->metric_count;
    double alpha = in->compare.alpha > 0 ? in->compare.alpha : 0.05;
    double *p = mem_zalloc((size_t)m * 6, sizeof *p);
    int rc = 0;
    for (int64_t i = 0; i < m; i++) {
        p[i] = pairs[i].c.p_better;
        p[m + i] = pairs[i].c.p_worse;
        p[2 * m + i] = pairs[i].c.p_not_worse;
    }
    for (int64_t k = 0; k < 3; k++) holm_adjust(p + k * m, m, p + (3 + k) * m);
    for (int64_t i = 0; !rc && i < m; i++) {
        struct comparison *c = &pairs[i].c;
        enum verdict v = verdict_of(p[3 * m + i], p[4 * m + i], p[5 * m + i], alpha);
        if (v == c->verdict) continue;
        c->verdict = v;
        if (v != VERDICT_INCONCLUSIVE) continue;
        struct compare_options strict = in->compare;
        struct comparison again;
        strict.alpha = alpha / (double)m;
        rc = compare_paired(&(struct paired){in->scores[pairs[i].a * m + i],
                                             in->scores[pairs[i].b * m + i], in->cases->cluster,
                                             in->cases->n},
                            &strict, &again, err);
        if (!rc) c->needed = again.needed > 0 ? again.needed : 1;
    }
    mem_free(p);
    return rc;
}

int eval_report_make(const struct report_input *in, struct report *ret, struct err *err) {
    int64_t m = in->metric_count, k = in->model_count, n = in->cases->n;
    struct report r = {0};
    r.estimates = mem_zalloc((size_t)(m * k) + 1, sizeof *r.estimates);
    r.pairs = mem_zalloc((size_t)(k * k * m) + 1, sizeof *r.pairs);
    int rc = 0;
    for (int64_t i = 0; !rc && i < m * k; i++)
        rc = estimate_mean(in->scores[i], in->cases->cluster, n, &r.estimates[i], err);
    for (int64_t a = 0; !rc && a < k; a++) {
        for (int64_t b = a + 1; !rc && b < k; b++) {
            struct report_pair *first = r.pairs + r.pair_count;
            for (int64_t i = 0; !rc && i < m; i++) {
                struct report_pair *p = &r.pairs[r.pair_count++];
                *p = (struct report_pair){.a = a, .b = b, .metric = i};
                rc = compare_paired(&(struct paired){in->scores[a * m + i], in->scores[b * m + i],
                                                     in->cases->cluster, n},
                                    &in->compare, &p->c, err);
            }
            if (!rc) rc = pair_correct(first, in, err);
        }
    }
    for (int64_t i = 0; i < r.pair_count; i++)
        r.inconclusive = r.inconclusive || r.pairs[i].c.verdict == VERDICT_INCONCLUSIVE;
    if (rc)
        eval_report_release(&r);
    else
        *ret = r;
    return rc;
}

void eval_report_release(struct report *r) {
    mem_free(r->estimates);
    mem_free(r->pairs);
    *r = (struct report){0};
}

static json_t *text(struct str s) {
    json_t *v = json_stringn(s.p, s.n);
    return v ? v : json_string("?");
}

json_t *eval_report_json(const struct report *r, const struct report_input *in) {
    json_t *models = json_array(), *pairs = json_array();
    for (int64_t i = 0; i < in->model_count * in->metric_count; i++) {
        const struct estimate *e = &r->estimates[i];
        json_array_append_new(models, json_pack("{s:o,s:o,s:I,s:I,s:o,s:o,s:o}", "model",
                                                text(in->models[i / in->metric_count]), "metric",
                                                text(in->metrics[i % in->metric_count]), "n",
                                                (json_int_t)e->n, "missing", (json_int_t)e->missing,
                                                "value", json_number(e->value), "low",
                                                json_number(e->low), "high", json_number(e->high)));
    }
    for (int64_t i = 0; i < r->pair_count; i++) {
        const struct report_pair *p = &r->pairs[i];
        const struct comparison *c = &p->c;
        json_t *o = json_pack("{s:o,s:o,s:o,s:I,s:I,s:o,s:o,s:o,s:o,s:s,s:o}", "a",
                              text(in->models[p->a]), "b", text(in->models[p->b]), "metric",
                              text(in->metrics[p->metric]), "n", (json_int_t)c->n, "clusters",
                              (json_int_t)c->clusters, "difference", json_number(c->difference),
                              "low", json_number(c->low), "high", json_number(c->high), "p",
                              json_number(c->p), "verdict", verdict_name(c->verdict), "needed",
                              c->needed < 0 ? json_null() : json_integer(c->needed));
        json_array_append_new(pairs, o);
    }
    return json_pack("{s:o,s:o}", "models", models, "pairs", pairs);
}
