/* attune eval --data CASES --outputs A=a.jsonl,B=b.jsonl: answers or scores given beforehand. */
#include "cli/eval_forms.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "eval/grader.h"
#include "eval/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MODELS_MAX 64
#define METRICS_MAX 16
#define FILE_MAX ((size_t)16 << 20) /* of graders */
#define SHOWN 10                    /* rows that changed */

struct run {
    const struct eval_options *o;
    struct cases cases;
    struct str names[MODELS_MAX], metrics[METRICS_MAX];
    struct outputs outputs[MODELS_MAX];
    struct grader *graders[METRICS_MAX]; /* NULL: the score given */
    double *scores[MODELS_MAX * METRICS_MAX];
    struct err *errors; /* (model, metric): the first case without a score, by order of cases */
    int64_t models, metric_count;
};

/* the next part of a list with commas; false at the end */
static bool part_next(struct str *rest, struct str *ret) {
    if (!rest->p) return false;
    const char *comma = memchr(rest->p, ',', rest->n);
    *ret = (struct str){rest->p, comma ? (size_t)(comma - rest->p) : rest->n};
    *rest = comma ? str_from(*rest, ret->n + 1) : (struct str){0};
    return true;
}

static int outputs_open(struct run *r, struct err *err) {
    struct str rest = str_of(r->o->outputs), part;
    int rc = 0;
    while (!rc && part_next(&rest, &part)) {
        const char *sign = memchr(part.p, '=', part.n);
        if (!sign || sign == part.p || sign + 1 == part.p + part.n)
            return err_set(err, ERR_USAGE, "--outputs is a list of NAME=FILE, not \"%.*s\"",
                           STR_ARG(part));
        if (r->models == MODELS_MAX)
            return err_set(err, ERR_LIMIT, "at most %d outputs at a time", MODELS_MAX);
        struct str name = {part.p, (size_t)(sign - part.p)};
        for (int64_t i = 0; i < r->models; i++)
            if (str_eq(r->names[i], name))
                return err_set(err, ERR_USAGE, "--outputs has the name \"%.*s\" twice",
                               STR_ARG(name));
        char *path = mem_strndup(sign + 1, part.n - name.n - 1);
        struct outputs *o = &r->outputs[r->models];
        rc = outputs_read(path, &r->cases, o, err);
        if (!rc) r->names[r->models++] = name;
        if (!rc && o->unknown)
            fprintf(stderr,
                    "attune eval: warning: %s: %lld ids are not among the cases and are left out, "
                    "the first \"%s\"\n",
                    path, (long long)o->unknown, o->first_unknown);
        mem_free(path);
    }
    return rc;
}

static int grader_add(struct run *r, struct grader *g, struct str name, struct err *err) {
    if (r->metric_count == METRICS_MAX) {
        grader_free(g);
        return err_set(err, ERR_LIMIT, "at most %d graders at a time", METRICS_MAX);
    }
    r->graders[r->metric_count] = g;
    r->metrics[r->metric_count++] = g ? grader_name(g) : name;
    return 0;
}

static int grader_file(struct run *r, struct str part, struct err *err) {
    json_t *v = NULL;
    char *path = mem_strndup(part.p, part.n);
    int rc = json_read_file(path, FILE_MAX, &v, err);
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    for (size_t i = 0; !rc && i < n; i++) {
        struct grader *g = NULL;
        rc = grader_new(json_is_array(v) ? json_array_get(v, i) : v, path, &g, err);
        if (!rc) rc = grader_add(r, g, (struct str){0}, err);
    }
    json_decref(v);
    mem_free(path);
    return rc;
}

static int graders_open(struct run *r, struct err *err) {
    struct str rest = str_of(r->o->graders ? r->o->graders : "exact"), part;
    int rc = 0;
    while (!rc && part_next(&rest, &part)) {
        struct grader *g = NULL;
        if (str_is(part, "given")) {
            rc = grader_add(r, NULL, part, err);
        } else if (str_ends(part, STR_LIT(".json"))) {
            rc = grader_file(r, part, err);
        } else {
            rc = grader_named(part, &g, err);
            if (!rc) rc = grader_add(r, g, part, err);
        }
    }
    return rc;
}

/* --- scores --- */

static int case_score(const struct run *r, int64_t model, int64_t metric, int64_t i, double *ret,
                      struct err *err) {
    const json_t *line = r->outputs[model].lines[i];
    const json_t *output = json_object_get(line, "output"), *score = json_object_get(line, "score");
    struct grade grade;
    *ret = NAN;
    if (!r->graders[metric]) {
        if (line && !score) return err_set(err, ERR_INVALID, "the line has no \"score\"");
        if (json_is_number(score)) *ret = json_number_value(score);
        if (json_is_boolean(score)) *ret = json_is_true(score);
        return 0;
    }
    if (line && !output) return err_set(err, ERR_INVALID, "the line has no \"output\"");
    if (!json_is_string(output)) return 0;
    json_t *sample = grader_sample(json_str(output));
    int rc = grader_grade(r->graders[metric],
                          &(struct placeholder_scope){r->cases.items[i], sample}, &grade, err);
    if (!rc) *ret = grade.score;
    json_decref(sample);
    return rc;
}

/* one model and one metric; the first error in the order of cases is kept */
static void score_all(void *ctx, int64_t at) {
    struct run *r = ctx;
    int64_t model = at / r->metric_count, metric = at % r->metric_count;
    for (int64_t i = 0; i < r->cases.n; i++) {
        struct err err = {0};
        double *to = &r->scores[at][i];
        if (!case_score(r, model, metric, i, to, &err)) continue;
        *to = NAN;
        if (r->errors[at].code) continue;
        r->errors[at] = err;
        err_wrap(&r->errors[at], "case \"%.60s\"",
                 json_string_value(json_object_get(r->cases.items[i], "id")));
    }
}

static int scores_make(struct run *r, struct err *err) {
    int64_t count = r->models * r->metric_count;
    int rc = 0;
    r->errors = mem_zalloc((size_t)count + 1, sizeof *r->errors);
    for (int64_t i = 0; !rc && i < count; i++)
        rc = mem_try((size_t)r->cases.n, sizeof **r->scores, "scores", (void **)&r->scores[i], err);
    if (rc) return rc;
    struct pool *pool = pool_new(r->o->threads);
    pool_run(pool, count, score_all, r);
    pool_free(pool);
    for (int64_t i = 0; i < count; i++)
        if (r->errors[i].code)
            fprintf(stderr, "attune eval: warning: %.*s, %.*s: cases without a score, first %s\n",
                    STR_ARG(r->names[i / r->metric_count]),
                    STR_ARG(r->metrics[i % r->metric_count]), r->errors[i].msg);
    return 0;
}

/* --- for people --- */

static void print_number(double x, const char *form) {
    if (isnan(x))
        printf("%9s", "-");
    else
        printf(form, x);
}

static void print_changed(const struct run *r, const struct report_pair *p, int sign) {
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

static void print_report(const struct run *r, const struct report *report) {
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

static int report_print(struct run *r, struct err *err) {
    struct report report;
    struct report_input in = {.cases = &r->cases,
                              .models = r->names,
                              .metrics = r->metrics,
                              .model_count = r->models,
                              .metric_count = r->metric_count,
                              .scores = r->scores,
                              .compare = r->o->compare};
    int rc = report_make(&in, &report, err);
    if (rc) return rc;
    if (r->o->json) {
        json_t *o = report_json(&report, &in);
        cli_print_json(o);
        json_decref(o);
    } else {
        print_report(r, &report);
    }
    int code = report.inconclusive ? 3 : 0;
    report_release(&report);
    return code;
}

int eval_outputs(const struct eval_options *o, struct err *err) {
    struct run *r = mem_zalloc(1, sizeof *r);
    r->o = o;
    int rc = graders_open(r, err);
    if (!rc) rc = cases_read(o->data, o->cluster, &r->cases, err);
    if (!rc) rc = outputs_open(r, err);
    if (!rc) rc = scores_make(r, err);
    if (!rc) rc = report_print(r, err);
    for (int64_t i = 0; i < r->models; i++) outputs_release(&r->outputs[i], &r->cases);
    for (int64_t i = 0; i < r->models * r->metric_count; i++) mem_free(r->scores[i]);
    for (int64_t i = 0; i < r->metric_count; i++) grader_free(r->graders[i]);
    cases_release(&r->cases);
    mem_free(r->errors);
    mem_free(r);
    return rc;
}
