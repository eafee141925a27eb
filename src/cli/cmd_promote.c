/* attune promote: the gate runs, and an alias is moved or not. */
#include "cli/cli.h"
#include "cli/eval_run.h"
#include "cli/opts.h"

#include "base/file.h"
#include "base/mem.h"
#include "registry/gate.h"
#include "registry/lifecycle.h"
#include "registry/names.h"
#include "store/routes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define POLICY_MAX ((size_t)1 << 20)
#define MEM_MAX ((size_t)64 << 20)
#define EXIT_INCONCLUSIVE 3

struct promotion {
    struct eval_options eval;
    struct gate_policy policy;
    const char *model, *alias, *policy_path, *must, *override;
    bool json;
    struct catalog *c;
    struct arena mem;
    json_t *file; /* the policy file's part for this alias; strings point into it */
    struct named_model candidate;
    const char *incumbent;  /* a model's own name */
    bool incumbent_is_base; /* the alias led nowhere: the candidate's base stands in */
};

/* --- the policy --- */

/* {"production":{"data":"cases.jsonl","grader":"json_equal,json","cluster":..,"must":..,
 * "slices":[..],"critical":"lang=de","alpha":..,"margin":..,"see":..}} What the command line says
 * goes before it. */
static int policy_read(struct promotion *p, struct err *err) {
    char *home = path_home(), *path = path_join(home, "promotion.json");
    const char *from = p->policy_path ? p->policy_path : path;
    json_t *all = NULL;
    int rc = 0;
    if (p->policy_path || file_exists(from)) rc = json_read_file(from, POLICY_MAX, &all, err);
    if (!rc) p->file = json_incref(json_object_get(all, p->alias));
    if (!rc && p->file && !json_is_object(p->file))
        rc = err_set(err, ERR_INVALID, "%s: \"%s\" must be an object", from, p->alias);
    json_decref(all);
    mem_free(path);
    mem_free(home);
    return rc;
}

static int from_file(const json_t *file, const char *key, const char **to, struct err *err) {
    struct str s = {0};
    int rc = *to ? 0 : json_get_str(file, key, "the promotion policy", &s, err);
    if (!rc && s.n) *to = s.p;
    return rc;
}

static int policy_apply(struct promotion *p, struct err *err) {
    const json_t *f = p->file;
    const char *where = "the promotion policy";
    int rc = from_file(f, "data", &p->eval.data, err);
    if (!rc) rc = from_file(f, "grader", &p->eval.graders, err);
    if (!rc) rc = from_file(f, "cluster", &p->eval.cluster, err);
    if (!rc) rc = from_file(f, "must", &p->must, err);
    if (!rc) rc = from_file(f, "critical", &p->policy.critical, err);
    if (!rc) rc = json_get_double(f, "alpha", where, &p->policy.alpha, err);
    if (!rc) rc = json_get_double(f, "margin", where, &p->eval.compare.margin, err);
    if (!rc) rc = json_get_double(f, "see", where, &p->policy.see, err);
    const json_t *slices = json_object_get(f, "slices");
    for (size_t i = 0; !p->eval.slices.count && i < json_array_size(slices) && i < OPT_LIST_MAX;
         i++)
        if (json_is_string(json_array_get(slices, i)))
            p->eval.slices.values[p->eval.slices.count++] =
                json_string_value(json_array_get(slices, i));
    return rc;
}

/* --- the models --- */

static int models_find(struct promotion *p, struct err *err) {
    struct route r;
    struct named_model m;
    int rc = names_resolve(p->c, p->model, &p->mem, &p->candidate, err);
    if (rc == ERR_NOT_FOUND && dir_exists(p->model))
        return err_set(err, rc,
                       "\"%s\" is a directory; give it a name first: attune import %s --name NAME",
                       p->model, p->model);
    if (rc) return rc;
    rc = routes_get(p->c, p->alias, &p->mem, &r, err);
    p->incumbent_is_base = rc == ERR_NOT_FOUND;
    p->incumbent = p->candidate.base;
    if (rc && rc != ERR_NOT_FOUND) return rc;
    if (p->incumbent_is_base) return 0;
    rc = names_resolve(p->c, p->alias, &p->mem, &m, err);
    if (!rc) p->incumbent = m.id;
    return rc;
}

/* --- what the gate is told --- */

static struct gate_metric metric_of(const struct eval_run *r, int64_t metric, double margin) {
    const struct comparison *c = &r->report.pairs[metric].c; /* of the only pair of models */
    return (struct gate_metric){.name = arena_strndup((struct arena *)&r->answerers.mem,
                                                      r->metrics[metric].p, r->metrics[metric].n),
                                .n = c->n,
                                .difference = c->difference,
                                .low = c->low,
                                .high = c->high,
                                .p_better = c->p_better,
                                .p_worse = c->p_worse,
                                .p_not_worse = c->p_not_worse,
                                .margin = margin,
                                .needed = c->needed};
}

static void count_must(const struct promotion *p, const struct eval_run *r, struct gate_facts *f) {
    for (int64_t i = 0; p->must && i < r->cases.n; i++) {
        const json_t *v = json_object_get(r->cases.items[i], p->must);
        if (!v || json_is_false(v) || json_is_null(v)) continue;
        f->must_count++;
        if (r->scores[r->metric_count][i] >= 1) continue;
        if (!f->must_wrong++) f->must_first = r->cases.ids[i].p;
    }
}

struct told {
    struct gate_metric guards[EVAL_METRICS_MAX];
    struct gate_slice *slices;
    struct eval_slice *of;
    size_t count;
};

static int facts_make(struct promotion *p, struct eval_run *r, struct told *t, struct gate_facts *f,
                      struct err *err) {
    double margin = p->eval.compare.margin > 0 ? p->eval.compare.margin : 0.02;
    *f = (struct gate_facts){.candidate = p->candidate.id, .incumbent = p->incumbent, .leaked = -1};
    f->primary = metric_of(r, 0, margin);
    for (int64_t i = 1; i < r->metric_count; i++) t->guards[i - 1] = metric_of(r, i, margin);
    f->guards = t->guards;
    f->guard_count = (size_t)r->metric_count - 1;
    f->errors = r->spending[1].failed;
    count_must(p, r, f);
    int rc = eval_slices(r, &t->of, &t->count, err);
    t->slices = mem_zalloc(t->count + 1, sizeof *t->slices);
    for (size_t i = 0; !rc && i < t->count; i++)
        t->slices[i] = (struct gate_slice){.name = t->of[i].name,
                                           .n = t->of[i].c.n,
                                           .difference = t->of[i].c.difference,
                                           .p_worse = t->of[i].c.p_worse};
    f->slices = t->slices;
    f->slice_count = t->count;
    return rc;
}

/* --- the decision --- */

/* What it rests on, in $ATTUNE_HOME/evals/eval_ID.json; *id is the evidence of the log. */
static int keep_evidence(const struct eval_run *r, const struct gate_report *gate, char id[ID_SIZE],
                         struct err *err) {
    char name[ID_SIZE + 8];
    struct buf b;
    char *home = path_home(), *dir = path_join(home, "evals");
    json_t *o = eval_json(r);
    json_object_set_new(o, "gate", gate_report_json(gate));
    id_new("eval_", id);
    snprintf(name, sizeof name, "%s.json", id);
    char *path = path_join(dir, name);
    buf_init(&b, (size_t)256 << 20);
    json_write(o, &b);
    int rc = dir_make(dir, err);
    if (!rc) rc = file_write_atomic(path, buf_view(&b), err);
    buf_release(&b);
    json_decref(o);
    mem_free(path);
    mem_free(dir);
    mem_free(home);
    return rc;
}

static void show(const struct promotion *p, const struct eval_run *r,
                 const struct gate_report *gate, const char *evidence, bool moved) {
    if (p->json) {
        json_t *o = eval_json(r);
        json_object_set_new(o, "gate", gate_report_json(gate));
        json_object_set_new(o, "alias", json_string(p->alias));
        json_object_set_new(o, "candidate", json_string(p->candidate.id));
        json_object_set_new(o, "incumbent", json_string(p->incumbent));
        json_object_set_new(o, "promoted", json_boolean(moved));
        json_object_set_new(o, "evidence", json_string(evidence));
        cli_print_json(o);
        json_decref(o);
        return;
    }
    eval_print(r);
    printf("\nthe gate, %s against %s%s:\n", p->candidate.id, p->incumbent,
           p->incumbent_is_base ? " (the alias leads nowhere yet: its base)" : "");
    for (size_t i = 0; i < gate->count; i++)
        printf("  %-4s  %-10s %s\n", gate_result_name(gate->checks[i].result), gate->checks[i].name,
               gate->checks[i].text);
    if (moved)
        printf("%s leads to %s now%s\n", p->alias, p->candidate.id,
               p->override ? ", by override" : "");
    else
        printf("%s stays with %s: %s\n", p->alias, p->incumbent,
               gate->result == GATE_OPEN
                   ? "more cases are needed to tell"
                   : "the candidate is not good enough; --override REASON would promote it all the "
                     "same, and be written to the log");
}

static int decide(struct promotion *p, struct eval_run *r, struct err *err) {
    struct told t = {0};
    struct gate_facts facts;
    struct gate_report gate;
    char actor[ACTOR_SIZE], evidence[ID_SIZE];
    bool moved = false;
    int rc = facts_make(p, r, &t, &facts, err);
    if (!rc) {
        gate_decide(&facts, &p->policy, &gate);
        rc = keep_evidence(r, &gate, evidence, err);
    }
    if (!rc && (gate.result == GATE_PASS || p->override)) {
        struct audit_cause cause = {.actor = cli_actor(actor),
                                    .reason =
                                        gate.result == GATE_PASS ? "the gate passed it" : NULL,
                                    .evidence = evidence,
                                    .override = gate.result == GATE_PASS ? NULL : p->override};
        rc = lifecycle_promote(p->c, p->alias, p->candidate.id, &cause, err);
        moved = !rc;
    }
    if (!rc) show(p, r, &gate, evidence, moved);
    mem_free(t.slices);
    mem_free(t.of);
    if (rc || moved) return rc;
    return gate.result == GATE_OPEN ? EXIT_INCONCLUSIVE : 1;
}

static int run(struct promotion *p, struct err *err) {
    char models[2 * NAME_SIZE + 2];
    int rc = catalog_open(NULL, &p->c, err);
    if (!rc) rc = policy_read(p, err);
    if (!rc) rc = policy_apply(p, err);
    if (!rc) rc = models_find(p, err);
    if (!rc && !p->eval.data)
        rc = err_set(err, ERR_USAGE,
                     "the gate needs cases: --data CASES, or \"data\" in %s's policy "
                     "(docs/promotion.md)",
                     p->alias);
    if (!rc && p->incumbent_is_base && !p->candidate.adapter)
        rc = err_set(err, ERR_CONFLICT,
                     "\"%s\" leads nowhere yet and %s is a base model, so there is nothing to "
                     "compare it with; begin with: attune route set %s %s",
                     p->alias, p->candidate.id, p->alias, p->candidate.id);
    if (!rc && strcmp(p->incumbent, p->candidate.id) == 0)
        rc = err_set(err, ERR_CONFLICT, "\"%s\" leads to %s already", p->alias, p->candidate.id);
    if (rc) return rc;
    snprintf(models, sizeof models, "%.*s,%.*s", NAME_SIZE - 1, p->incumbent, NAME_SIZE - 1,
             p->candidate.id);
    p->eval.models = models;
    struct eval_run *r = mem_zalloc(1, sizeof *r);
    rc = eval_run(r, &p->eval, err);
    if (!rc) rc = decide(p, r, err);
    eval_run_release(r);
    mem_free(r);
    return rc;
}

static int finish(struct promotion *p, const struct usage *u) {
    struct err err = {0};
    p->model = u->positional[0];
    p->alias = u->positional_count > 1 ? u->positional[1] : "production";
    arena_init(&p->mem, MEM_MAX);
    cli_catch_interrupt();
    int rc = run(p, &err);
    catalog_close(p->c);
    arena_release(&p->mem);
    json_decref(p->file);
    return rc < 0 ? cli_fail("promote", &err) : rc;
}

int cmd_promote(int argc, char **argv) {
    struct promotion p = {.eval = {.max_tokens = 512, .seed = 1, .concurrency = 8}};
    gate_policy_default(&p.policy);
    struct opt list[] = {
        {"data", "CASES", OPT_STR, &p.eval.data, "held-out cases, as in attune eval", 0, NULL},
        {"grader", "G", OPT_STR, &p.eval.graders,
         "the first decides, others by commas are guards that must not be worse", 0, NULL},
        {"cluster", "FIELD", OPT_STR, &p.eval.cluster, "cases that belong together", 0, NULL},
        {"slice", "FIELD", OPT_LIST, &p.eval.slices, "warn where a value of it got worse", 0, NULL},
        {"critical", "LIST", OPT_STR, &p.policy.critical, "slices that must not: lang=de,...", 0,
         NULL},
        {"must", "FIELD", OPT_STR, &p.must, "cases with this field have to be right", 0, NULL},
        {"margin", "D", OPT_DOUBLE, &p.eval.compare.margin, "what a guard may lose (default: 0.02)",
         0, NULL},
        {"see", "D", OPT_DOUBLE, &p.policy.see, "difference that the cases must be able to show", 0,
         NULL},
        {"policy", "FILE", OPT_STR, &p.policy_path,
         "these options for each alias (default: promotion.json of the home)", 0, NULL},
        {"override", "REASON", OPT_STR, &p.override,
         "promote whatever the gate says; kept in the log", 0, NULL},
        {"max-tokens", "N", OPT_I64, &p.eval.max_tokens, "of an answer (default: 512)", 1, NULL},
        {"concurrency", "N", OPT_INT, &p.eval.concurrency, "questions at a time (default: 8)", 1,
         NULL},
        {"dtype", "f32|bf16", OPT_STR, &p.eval.dtype, "arithmetic (default: the machine's best)", 0,
         NULL},
        {"threads", "N", OPT_INT, &p.eval.threads, "default: all cores", 1, NULL},
        {"json", NULL, OPT_FLAG, &p.json, "the result as JSON", 0, NULL},
        {0}};
    struct usage u = {.command = "promote",
                      .args = "MODEL [ALIAS] --data CASES",
                      .opts = list,
                      .args_min = 1,
                      .args_max = 2,
                      .summary = "Compare a model with what an alias (production, unless named) "
                                 "leads to, and move the alias where it is better. Exit 0: moved, "
                                 "1: refused, 3: more cases are needed.",
                      .example = "attune promote ft:starter:local:support:Ab3dE9xY production "
                                 "--data cases.jsonl --grader json_equal"};
    int code = opts_parse(&u, argc, argv);
    return code >= 0 ? code : finish(&p, &u);
}
