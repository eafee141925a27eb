/* The promotion gate: what must hold before a candidate takes the place of what is live. It decides
 * over numbers that an evaluation has made; every check says its own in words.
 *
 *   primary   better, by the lower bound of a one-sided interval (p_better <= alpha)
 *   guards    each not worse than its margin, Holm's correction over all of them
 *   must      named cases that have to be right, all of them
 *   slices    no declared critical slice worse; others with 30 cases or more warn
 *   cases     enough of them to see the difference that the policy wants to see
 *   data      the candidate was not trained on the cases; a judge agrees with people
 *
 * One failed check refuses. Where none failed but one cannot be told yet, more cases are needed. */
#ifndef REGISTRY_GATE_H
#define REGISTRY_GATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

/* Candidate minus incumbent over the same cases; p one-sided. */
struct gate_metric {
    const char *name;
    int64_t n;
    double difference, low, high, p_better, p_worse, p_not_worse;
    double margin;  /* of p_not_worse, for the words */
    int64_t needed; /* more cases, 0: enough, -1: cannot be said */
};

struct gate_slice {
    const char *name; /* "lang=de" */
    int64_t n;
    double difference, p_worse;
};

struct gate_facts {
    const char *candidate, *incumbent; /* incumbent NULL: the alias leads nowhere yet */
    struct gate_metric primary;
    const struct gate_metric *guards;
    size_t guard_count;
    const struct gate_slice *slices;
    size_t slice_count;
    int64_t must_count, must_wrong;
    const char *must_first; /* id of the first wrong one */
    int64_t errors;         /* cases that ended in an error, of the candidate */
    int64_t leaked;         /* cases found in the candidate's training data; -1: not known */
    bool judged;            /* the primary metric is a judge's */
    double judge_kappa;     /* its agreement with people's labels */
    int64_t judge_labels;
};

struct gate_policy {
    double alpha;         /* 0.05 */
    double see;           /* difference that the cases must be able to show; 0: any */
    double slice_drop;    /* 0.05 */
    double slice_p;       /* 0.01 */
    int64_t slice_min;    /* 30 */
    double judge_kappa;   /* 0.6 */
    int64_t judge_labels; /* 50 */
    const char *critical; /* slices separated by commas, or NULL */
};
void gate_policy_default(struct gate_policy *p);

enum gate_result { GATE_PASS, GATE_WARN, GATE_OPEN, GATE_FAIL };
const char *gate_result_name(enum gate_result r); /* "pass", "warn", "open", "fail" */

#define GATE_CHECKS_MAX 64
struct gate_check {
    const char *name; /* "primary", "guard", "must-pass", ... */
    enum gate_result result;
    char text[240];
};
struct gate_report {
    struct gate_check checks[GATE_CHECKS_MAX];
    size_t count;
    enum gate_result result; /* GATE_PASS: promote; GATE_OPEN: inconclusive; GATE_FAIL: refuse */
};
/* Pure. */
void gate_decide(const struct gate_facts *f, const struct gate_policy *p, struct gate_report *ret);
json_t *gate_report_json(const struct gate_report *r);

#endif
