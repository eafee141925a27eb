/* What attune eval shows: tables for people, JSON for scripts. */
#include "base/mem.h"
#include "cli/eval_run.h"
#include "eval/pairs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 10 /* rows that changed */

/* --- for people --- */

static void print_number(double x, const char *form) {
    if (isnan(x))
        printf("%9s", "-");
    else
        printf(form, x);
}

static void print_changed(const struct eval_run *r, const struct report_pair *p, int sign) {
    const double *a = r->scores[p->a * r->metric_count + p->metric];
    const double *b = r->scores[p->b * r->metric_count + p->metric];
    int64_t count = 0;
    for (int64_t i = 0; i < r->cases.n; i++) {
        if (!(sign * (b[i] - a[i]) > 0)) continue;
        if (count == 0) printf("  %s:", sign > 0 ? "gained" : "lost");
        if (count < SHOWN) printf(" %.*s", STR_ARG(r->cases.ids[i]));
        count++;
    }
    if (count > SHOWN) printf(" and %lld more", (long long)(count - SHOWN));
    if (count) putchar('\n');
}

static void print_scores(const struct eval_run *r) {
    const struct report *report = &r->report;
    printf("%-16s %-16s %7s %8s %9s %9s %9s\n", "model", "metric", "cases", "missing", "value",
           "low", "high");
    for (int64_t i = 0; i < r->models * r->metric_count; i++) {
        const struct estimate *e = &report->estimates[i];
        printf("%-16.*s %-16.*s %7lld %8lld ", STR_ARG(r->names[i / r->metric_count]),
               STR_ARG(r->metrics[i % r->metric_count]), (long long)e->n, (long long)e->missing);
        print_number(e->value, "%9.4f");
        print_number(e->low, " %9.4f");
        print_number(e->high, " %9.4f");
        putchar('\n');
    }
}

static void print_pairs(const struct eval_run *r) {
    const struct report *report = &r->report;
    for (int64_t i = 0; i < report->pair_count; i++) {
        const struct report_pair *p = &report->pairs[i];
        printf("\n%.*s against %.*s, %.*s: %s\n  difference ", STR_ARG(r->names[p->b]),
               STR_ARG(r->names[p->a]), STR_ARG(r->metrics[p->metric]), verdict_name(p->c.verdict));
        print_number(p->c.difference, "%+.4f");
        printf(" (");
        print_number(p->c.low, "%+.4f");
        printf(" to ");
        print_number(p->c.high, "%+.4f");
        printf("), p ");
        print_number(p->c.p, "%.3g");
        printf(", %lld cases, %lld clusters, %s\n", (long long)p->c.n, (long long)p->c.clusters,
               comparison_method_name(p->c.method));
        if (p->c.needed > 0) printf("  about %lld more cases needed\n", (long long)p->c.needed);
        print_changed(r, p, 1);
        print_changed(r, p, -1);
    }
}

/* --- what it took --- */

/* --price MODEL=IN,OUT: per million tokens; --machine-price X: an hour of this machine, which is
 * shared out over the answers by the time that all of them took. */
double eval_cost(const struct eval_run *r, int64_t model) {
    const struct eval_spending *s = &r->spending[model];
    for (size_t i = 0; i < r->o->prices.count; i++) {
        const char *price = r->o->prices.values[i], *sign = strrchr(price, '=');
        double in, out;
        struct str name = {price, sign ? (size_t)(sign - price) : 0};
        if (!sign || !str_eq(name, r->names[model]) || sscanf(sign + 1, "%lf,%lf", &in, &out) != 2)
            continue;
        return s->answered ? ((double)s->prompt_tokens * in + (double)s->completion_tokens * out) /
                                 1e6 / (double)s->answered * 1000
                           : NAN;
    }
    bool local = !memchr(r->names[model].p, '#', r->names[model].n);
    if (r->o->machine_price > 0 && local && s->answered)
        return s->seconds / 3600 * r->o->machine_price / (double)s->answered * 1000;
    return NAN;
}

static void print_spending(const struct eval_run *r) {
    if (!r->asked) return;
    printf("\n%-16s %8s %8s %10s %10s %10s %10s %12s\n", "model", "answers", "failed", "tokens in",
           "tokens out", "first p50", "total p50", "1,000 cost");
    for (int64_t m = 0; m < r->models; m++) {
        const struct eval_spending *s = &r->spending[m];
        printf("%-16.*s %8lld %8lld %10lld %10lld %8.3f s %8.3f s ", STR_ARG(r->names[m]),
               (long long)s->answered, (long long)s->failed, (long long)s->prompt_tokens,
               (long long)s->completion_tokens, s->first_p50, s->total_p50);
        double cost = eval_cost(r, m);
        if (isnan(cost))
            printf("%12s", "-");
        else
            printf("%12.4f", cost);
        printf("   (p95: %.3f, %.3f s)\n", s->first_p95, s->total_p95);
    }
    printf("%d at a time, the first question of each model not counted in its times\n",
           r->o->concurrency);
}

/* --- slices --- */

/* The value of a field of the case as text: its own, or of its metadata. */
static bool slice_of(const json_t *item, const char *field, struct buf *ret) {
    const json_t *v = json_object_get(item, field);
    if (!v) v = json_object_get(json_object_get(item, "metadata"), field);
    buf_clear(ret);
    if (!v) return false;
    if (json_is_string(v))
        buf_str(ret, json_str(v));
    else
        json_write(v, ret);
    return true;
}

/* number of each case's value in `names` (an object name -> number), -1: it has none */
static void number_slices(const struct eval_run *r, const char *field, json_t *names,
                          int64_t *number) {
    struct buf value;
    buf_init(&value, 1 << 20);
    for (int64_t i = 0; i < r->cases.n; i++) {
        number[i] = -1;
        if (!slice_of(r->cases.items[i], field, &value)) continue;
        const json_t *known = json_object_getn(names, value.p ? value.p : "", value.n);
        number[i] = known ? json_integer_value(known) : (int64_t)json_object_size(names);
        if (!known)
            json_object_setn_new(names, value.p ? value.p : "", value.n, json_integer(number[i]));
    }
    buf_release(&value);
}

struct slices {
    struct eval_slice *list;
    size_t count, cap;
    double *a, *b; /* (cases.n) scratch */
    int64_t *cluster, *number;
};

static int add_slice(const struct eval_run *r, struct slices *s, const char *name, int64_t number,
                     struct err *err) {
    for (int64_t a = 0; a < r->models; a++)
        for (int64_t b = a + 1; b < r->models; b++) {
            struct eval_slice one = {.a = a, .b = b};
            for (int64_t i = 0; i < r->cases.n; i++) {
                if (s->number[i] != number) continue;
                s->a[one.n] = r->scores[a * r->metric_count][i];
                s->b[one.n] = r->scores[b * r->metric_count][i];
                if (r->cases.cluster) s->cluster[one.n] = r->cases.cluster[i];
                one.n++;
            }
            snprintf(one.name, sizeof one.name, "%s", name);
            struct paired p = {s->a, s->b, r->cases.cluster ? s->cluster : NULL, one.n};
            int rc = compare_paired(&p, &r->o->compare, &one.c, err);
            if (rc) return rc;
            mem_grow((void **)&s->list, &s->cap, s->count + 1, sizeof *s->list);
            s->list[s->count++] = one;
        }
    return 0;
}

static int add_field(const struct eval_run *r, struct slices *s, const char *field,
                     struct err *err) {
    json_t *names = json_object();
    const char *value;
    json_t *number;
    int rc = 0;
    number_slices(r, field, names, s->number);
    json_object_foreach(names, value, number) {
        char name[120];
        snprintf(name, sizeof name, "%.40s=%.70s", field, value);
        if (!rc) rc = add_slice(r, s, name, json_integer_value(number), err);
    }
    json_decref(names);
    return rc;
}

int eval_slices(const struct eval_run *r, struct eval_slice **ret, size_t *ret_count,
                struct err *err) {
    size_t n = (size_t)r->cases.n + 1;
    struct slices s = {.a = mem_zalloc(n, sizeof *s.a),
                       .b = mem_zalloc(n, sizeof *s.b),
                       .cluster = mem_zalloc(n, sizeof *s.cluster),
                       .number = mem_zalloc(n, sizeof *s.number)};
    int rc = 0;
    for (size_t i = 0; !rc && i < r->o->slices.count; i++)
        rc = add_field(r, &s, r->o->slices.values[i], err);
    mem_free(s.a);
    mem_free(s.b);
    mem_free(s.cluster);
    mem_free(s.number);
    if (rc) mem_free(s.list);
    *ret = rc ? NULL : s.list;
    *ret_count = rc ? 0 : s.count;
    return rc;
}

static void print_slices(const struct eval_run *r) {
    struct eval_slice *list;
    size_t n;
    struct err err;
    if (!r->o->slices.count || eval_slices(r, &list, &n, &err)) return;
    printf("\n%-28s %-30s %7s %10s %9s %9s  %s\n", "slice", "models", "cases", "difference", "low",
           "high", "verdict");
    for (size_t i = 0; i < n; i++) {
        char pair[64];
        snprintf(pair, sizeof pair, "%.*s, %.*s", STR_ARG(r->names[list[i].a]),
                 STR_ARG(r->names[list[i].b]));
        printf("%-28s %-30s %7lld ", list[i].name, pair, (long long)list[i].c.n);
        print_number(list[i].c.difference, "%+10.4f");
        print_number(list[i].c.low, " %+9.4f");
        print_number(list[i].c.high, " %+9.4f");
        printf("  %s\n", verdict_name(list[i].c.verdict));
    }
    mem_free(list);
}

void eval_print(const struct eval_run *r) {
    print_scores(r);
    print_pairs(r);
    print_slices(r);
    print_spending(r);
}

/* --- for scripts --- */

static json_t *name_json(struct str s) { return json_stringn(s.p, s.n); }

static json_t *changed_json(const struct eval_run *r, const struct report_pair *p, int sign) {
    const double *a = r->scores[p->a * r->metric_count + p->metric];
    const double *b = r->scores[p->b * r->metric_count + p->metric];
    json_t *list = json_array();
    for (int64_t i = 0; i < r->cases.n; i++)
        if (sign * (b[i] - a[i]) > 0) json_array_append_new(list, name_json(r->cases.ids[i]));
    return list;
}

static json_t *spending_json(const struct eval_run *r, int64_t m) {
    const struct eval_spending *s = &r->spending[m];
    char hex[65];
    eval_run_hash(r, m, hex);
    json_t *o = json_pack("{s:o, s:s}", "model", name_json(r->names[m]), "outputs_sha256", hex);
    if (!r->asked) return o;
    json_t *more =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:i, s:o}", "stands_for",
                  r->ids[m], "answered", (json_int_t)s->answered, "failed", (json_int_t)s->failed,
                  "prompt_tokens", (json_int_t)s->prompt_tokens, "completion_tokens",
                  (json_int_t)s->completion_tokens, "first_p50_s", s->first_p50, "first_p95_s",
                  s->first_p95, "total_p50_s", s->total_p50, "total_p95_s", s->total_p95,
                  "concurrency", r->o->concurrency, "cost_per_1000", json_number(eval_cost(r, m)));
    json_object_update_new(o, more);
    return o;
}

static json_t *slices_json(const struct eval_run *r) {
    struct eval_slice *list;
    size_t n;
    struct err err;
    json_t *all = json_array();
    if (eval_slices(r, &list, &n, &err)) return all;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            all, json_pack("{s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:s}", "slice", list[i].name, "a",
                           name_json(r->names[list[i].a]), "b", name_json(r->names[list[i].b]), "n",
                           (json_int_t)list[i].c.n, "difference", json_number(list[i].c.difference),
                           "low", json_number(list[i].c.low), "high", json_number(list[i].c.high),
                           "verdict", verdict_name(list[i].c.verdict)));
    mem_free(list);
    return all;
}

json_t *eval_json(const struct eval_run *r) {
    struct report_input in = {.cases = &r->cases,
                              .models = r->names,
                              .metrics = r->metrics,
                              .model_count = r->models,
                              .metric_count = r->metric_count,
                              .scores = r->scores,
                              .compare = r->o->compare};
    json_t *o = eval_report_json(&r->report, &in), *changed = json_array(), *runs = json_array();
    for (int64_t i = 0; i < r->report.pair_count; i++) {
        const struct report_pair *p = &r->report.pairs[i];
        json_array_append_new(changed,
                              json_pack("{s:o, s:o, s:o, s:o, s:o}", "a", name_json(r->names[p->a]),
                                        "b", name_json(r->names[p->b]), "metric",
                                        name_json(r->metrics[p->metric]), "gained",
                                        changed_json(r, p, 1), "lost", changed_json(r, p, -1)));
    }
    for (int64_t m = 0; m < r->models; m++) json_array_append_new(runs, spending_json(r, m));
    json_object_set_new(o, "changed", changed);
    json_object_set_new(o, "runs", runs);
    if (r->o->slices.count) json_object_set_new(o, "slices", slices_json(r));
    return o;
}
