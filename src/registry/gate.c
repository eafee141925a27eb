#include "registry/gate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARDS_MAX 32

void gate_policy_default(struct gate_policy *p) {
    *p = (struct gate_policy){.alpha = 0.05,
                              .slice_drop = 0.05,
                              .slice_p = 0.01,
                              .slice_min = 30,
                              .judge_kappa = 0.6,
                              .judge_labels = 50};
}

const char *gate_result_name(enum gate_result r) {
    static const char *const names[] = {"pass", "warn", "open", "fail"};
    return names[r];
}

static struct gate_check *add(struct gate_report *r, const char *name, enum gate_result result) {
    struct gate_check *c = &r->checks[r->count < GATE_CHECKS_MAX ? r->count : GATE_CHECKS_MAX - 1];
    if (r->count < GATE_CHECKS_MAX) r->count++;
    if (result > r->result && result != GATE_WARN) r->result = result;
    c->name = name;
    c->result = result;
    return c;
}

/* "+5.2 points (95 %: +1.0 to +9.4), n 500" */
static void describe(const struct gate_metric *m, char *to, size_t size) {
    snprintf(to, size, "%s %+.1f points (95 %%: %+.1f to %+.1f) over %lld cases", m->name,
             100 * m->difference, 100 * m->low, 100 * m->high, (long long)m->n);
}

/* --- the checks --- */

static void check_primary(const struct gate_facts *f, const struct gate_policy *p,
                          struct gate_report *r) {
    const struct gate_metric *m = &f->primary;
    char what[160];
    enum gate_result result = m->p_better <= p->alpha  ? GATE_PASS
                              : m->p_worse <= p->alpha ? GATE_FAIL
                                                       : GATE_OPEN;
    struct gate_check *c = add(r, "primary", result);
    describe(m, what, sizeof what);
    if (result == GATE_PASS)
        snprintf(c->text, sizeof c->text, "better: %s, p %.2g", what, m->p_better);
    else if (result == GATE_FAIL)
        snprintf(c->text, sizeof c->text, "worse: %s, p %.2g", what, m->p_worse);
    else if (m->needed > 0)
        snprintf(c->text, sizeof c->text, "not shown to be better: %s; %lld more cases needed",
                 what, (long long)m->needed);
    else
        snprintf(c->text, sizeof c->text, "not shown to be better: %s", what);
}

struct ranked {
    double p;
    size_t at;
};

static int by_p(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    return x->p < y->p ? -1 : x->p > y->p ? 1 : x->at < y->at ? -1 : x->at > y->at;
}

/* Holm: the smallest p is held against alpha / count, the next against alpha / (count - 1), ...; a
 * guard that does not pass keeps those behind it from passing. */
static void check_guards(const struct gate_facts *f, const struct gate_policy *p,
                         struct gate_report *r) {
    struct ranked order[GUARDS_MAX];
    size_t n = f->guard_count < GUARDS_MAX ? f->guard_count : GUARDS_MAX;
    bool passing = true;
    for (size_t i = 0; i < n; i++) order[i] = (struct ranked){f->guards[i].p_not_worse, i};
    qsort(order, n, sizeof *order, by_p);
    for (size_t i = 0; i < n; i++) {
        const struct gate_metric *m = &f->guards[order[i].at];
        char what[160];
        passing &= m->p_not_worse <= p->alpha / (double)(n - i);
        bool worse = m->p_worse <= p->alpha / (double)n && m->difference < -m->margin;
        struct gate_check *c = add(r, "guard", passing ? GATE_PASS : worse ? GATE_FAIL : GATE_OPEN);
        describe(m, what, sizeof what);
        snprintf(c->text, sizeof c->text, "%s: %s, margin %.1f",
                 passing ? "not worse"
                 : worse ? "worse"
                         : "cannot be told yet",
                 what, 100 * m->margin);
    }
}

static void check_must(const struct gate_facts *f, struct gate_report *r) {
    if (!f->must_count) return;
    struct gate_check *c = add(r, "must-pass", f->must_wrong ? GATE_FAIL : GATE_PASS);
    if (f->must_wrong)
        snprintf(c->text, sizeof c->text, "%lld of %lld are wrong, the first is \"%.80s\"",
                 (long long)f->must_wrong, (long long)f->must_count,
                 f->must_first ? f->must_first : "");
    else
        snprintf(c->text, sizeof c->text, "all %lld are right", (long long)f->must_count);
}

static bool is_critical(const struct gate_policy *p, const char *name) {
    size_t n = strlen(name);
    for (const char *at = p->critical; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == n && memcmp(at, name, n) == 0) return true;
    return false;
}

static void check_slices(const struct gate_facts *f, const struct gate_policy *p,
                         struct gate_report *r) {
    for (size_t i = 0; i < f->slice_count; i++) {
        const struct gate_slice *s = &f->slices[i];
        bool critical = is_critical(p, s->name);
        if (s->n < p->slice_min && !critical) continue;
        if (s->difference >= -p->slice_drop || !(s->p_worse < p->slice_p)) continue;
        struct gate_check *c = add(r, "slice", critical ? GATE_FAIL : GATE_WARN);
        snprintf(c->text, sizeof c->text, "%.80s is worse by %.1f points over %lld cases, p %.2g%s",
                 s->name, -100 * s->difference, (long long)s->n, s->p_worse,
                 critical ? "; it is critical" : "");
    }
}

/* Half the width of the interval is about two standard errors; 80 % power at one-sided 5 % takes
 * 2.49 of them. */
static void check_power(const struct gate_facts *f, const struct gate_policy *p,
                        struct gate_report *r) {
    double seen = (f->primary.high - f->primary.low) / 2 / 1.96 * 2.487;
    if (p->see <= 0 || seen <= p->see) return;
    struct gate_check *c = add(r, "cases", GATE_OPEN);
    double times = seen / p->see;
    snprintf(c->text, sizeof c->text,
             "%lld cases show a difference of %.1f points, the policy wants %.1f: about %.0f more",
             (long long)f->primary.n, 100 * seen, 100 * p->see,
             ceil((double)f->primary.n * (times * times - 1)));
}

static void check_data(const struct gate_facts *f, const struct gate_policy *p,
                       struct gate_report *r) {
    if (f->leaked > 0) {
        struct gate_check *c = add(r, "leakage", GATE_FAIL);
        snprintf(c->text, sizeof c->text,
                 "%lld of the cases are in the candidate's training data; \"attune data check "
                 "--against\" names them",
                 (long long)f->leaked);
    }
    if (f->errors > 0) {
        struct gate_check *c = add(r, "errors", GATE_WARN);
        snprintf(c->text, sizeof c->text, "%lld cases have no answer of the candidate",
                 (long long)f->errors);
    }
    if (!f->judged) return;
    bool known = f->judge_labels >= p->judge_labels;
    struct gate_check *c =
        add(r, "judge", known && f->judge_kappa >= p->judge_kappa ? GATE_PASS : GATE_FAIL);
    if (known)
        snprintf(c->text, sizeof c->text, "agrees with people by kappa %.2f (%.2f wanted)",
                 f->judge_kappa, p->judge_kappa);
    else
        snprintf(c->text, sizeof c->text,
                 "held against %lld labels of people; %lld are wanted before a judge decides",
                 (long long)f->judge_labels, (long long)p->judge_labels);
}

void gate_decide(const struct gate_facts *f, const struct gate_policy *p, struct gate_report *ret) {
    *ret = (struct gate_report){.result = GATE_PASS};
    check_primary(f, p, ret);
    check_guards(f, p, ret);
    check_must(f, ret);
    check_slices(f, p, ret);
    check_power(f, p, ret);
    check_data(f, p, ret);
}

json_t *gate_report_json(const struct gate_report *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "check", r->checks[i].name,
                                              "result", gate_result_name(r->checks[i].result),
                                              "text", r->checks[i].text));
    return json_pack("{s:s, s:o}", "result", gate_result_name(r->result), "checks", list);
}
