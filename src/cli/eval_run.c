/* From options to scores; what is shown of them is in eval_show.c and eval_html.c. */
#include "cli/eval_run.h"

#include "base/hash.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "eval/pairs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX ((size_t)16 << 20) /* of graders and schemas */

bool eval_part_next(struct str *rest, struct str *ret) {
    if (!rest->p) return false;
    const char *comma = memchr(rest->p, ',', rest->n);
    *ret = (struct str){rest->p, comma ? (size_t)(comma - rest->p) : rest->n};
    *rest = comma ? str_from(*rest, ret->n + 1) : (struct str){0};
    return true;
}

static int outputs_open(struct eval_run *r, struct err *err) {
    struct str rest = str_of(r->o->outputs), part;
    int rc = 0;
    while (!rc && eval_part_next(&rest, &part)) {
        const char *sign = memchr(part.p, '=', part.n);
        if (!sign || sign == part.p || sign + 1 == part.p + part.n)
            return err_set(err, ERR_USAGE, "--outputs is a list of NAME=FILE, not \"%.*s\"",
                           STR_ARG(part));
        if (r->models == EVAL_MODELS_MAX)
            return err_set(err, ERR_LIMIT, "at most %d outputs at a time", EVAL_MODELS_MAX);
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

static int grader_add(struct eval_run *r, struct grader *g, struct str name, struct err *err) {
    if (r->metric_count == EVAL_METRICS_MAX) {
        grader_free(g);
        return err_set(err, ERR_LIMIT, "at most %d graders at a time", EVAL_METRICS_MAX);
    }
    r->graders[r->metric_count] = g;
    r->metrics[r->metric_count++] = g ? grader_name(g) : name;
    return 0;
}

static int grader_file(struct eval_run *r, struct str part, struct err *err) {
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

static int graders_open(struct eval_run *r, struct err *err) {
    struct str rest = str_of(r->o->graders ? r->o->graders : "exact"), part;
    int rc = 0;
    while (!rc && eval_part_next(&rest, &part)) {
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

static int case_score(const struct eval_run *r, int64_t model, int64_t metric, int64_t i,
                      double *ret, struct err *err) {
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
    struct eval_run *r = ctx;
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

static int scores_make(struct eval_run *r, struct err *err) {
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

/* --- asking --- */

static int schema_open(const struct eval_run *r, json_t **ret, struct err *err) {
    return r->o->schema ? json_read_file(r->o->schema, FILE_MAX, ret, err) : 0;
}

static int models_ask(struct eval_run *r, struct err *err) {
    struct str rest = str_of(r->o->models), part;
    json_t *schema = NULL;
    struct eval_ask ask = {.cases_path = r->o->data,
                           .max_tokens = r->o->max_tokens,
                           .seed = r->o->seed,
                           .temperature = r->o->temperature,
                           .concurrency = r->o->concurrency,
                           .fresh = r->o->fresh};
    answerers_init(&r->answerers);
    r->asked = true;
    r->answerers.dtype = r->o->dtype;
    r->answerers.threads = r->o->threads;
    r->answerers.batch = r->o->concurrency;
    int rc = schema_open(r, &schema, err);
    ask.schema = schema;
    while (!rc && eval_part_next(&rest, &part)) {
        int64_t m = r->models;
        if (m == EVAL_MODELS_MAX)
            rc = err_set(err, ERR_LIMIT, "at most %d models at a time", EVAL_MODELS_MAX);
        char *name = mem_strndup(part.p, part.n);
        if (!rc)
            rc = eval_ask(&r->answerers, name, &r->cases, &ask, &r->outputs[m], &r->spending[m],
                          &r->ids[m], err);
        if (!rc) r->names[r->models++] = part;
        if (!rc && r->spending[m].failed)
            fprintf(stderr, "attune eval: warning: %s: %lld cases have no answer, the first: %s\n",
                    name, (long long)r->spending[m].failed, r->spending[m].first_failure);
        mem_free(name);
    }
    json_decref(schema);
    return rc;
}

/* --- the whole --- */

static int make_report(struct eval_run *r, struct err *err) {
    struct report_input in = {.cases = &r->cases,
                              .models = r->names,
                              .metrics = r->metrics,
                              .model_count = r->models,
                              .metric_count = r->metric_count,
                              .scores = r->scores,
                              .compare = r->o->compare};
    return eval_report_make(&in, &r->report, err);
}

int eval_run(struct eval_run *r, const struct eval_options *o, struct err *err) {
    *r = (struct eval_run){.o = o};
    int rc = graders_open(r, err);
    if (!rc) rc = cases_read(o->data, o->cluster, &r->cases, err);
    if (!rc) rc = o->models ? models_ask(r, err) : outputs_open(r, err);
    if (!rc) rc = scores_make(r, err);
    if (!rc) rc = make_report(r, err);
    return rc;
}

void eval_run_release(struct eval_run *r) {
    for (int64_t i = 0; i < r->models; i++) outputs_release(&r->outputs[i], &r->cases);
    for (int64_t i = 0; i < r->models * r->metric_count; i++) mem_free(r->scores[i]);
    for (int64_t i = 0; i < r->metric_count; i++) grader_free(r->graders[i]);
    eval_report_release(&r->report);
    cases_release(&r->cases);
    mem_free(r->errors);
    if (r->asked) answerers_close(&r->answerers);
}

void eval_run_hash(const struct eval_run *r, int64_t model, char hex[65]) {
    struct sha256 *h = sha256_new();
    for (int64_t i = 0; i < r->cases.n; i++) {
        const json_t *output = json_object_get(r->outputs[model].lines[i], "output");
        struct str text = json_is_string(output) ? json_str(output) : (struct str){"", 0};
        char sizes[64];
        int n = snprintf(sizes, sizeof sizes, "%zu %zu %d\n", r->cases.ids[i].n, text.n,
                         json_is_string(output));
        sha256_add(h, sizes, (size_t)n);
        sha256_add(h, r->cases.ids[i].p, r->cases.ids[i].n);
        sha256_add(h, text.p, text.n);
        for (int64_t k = 0; k < r->metric_count; k++) {
            n = snprintf(sizes, sizeof sizes, " %.17g", r->scores[model * r->metric_count + k][i]);
            sha256_add(h, sizes, (size_t)n);
        }
    }
    sha256_finish(h, hex);
}
