/* attune canary: a new model gets a small share of an alias' requests, then more, and goes back by
 * itself when it is worse. The server does the watching (jobs/canary_watch.h). */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/clock.h"
#include "base/mem.h"
#include "jobs/canary.h"
#include "registry/lifecycle.h"
#include "registry/router.h"
#include "store/routes.h"

#include <stdio.h>
#include <string.h>

#define MEM_MAX ((size_t)64 << 20)

struct request {
    const char *alias, *model, *steps, *sticky;
    int64_t min_requests;
    double alpha, max_hours;
    bool json;
    const struct audit_cause *cause;
    struct catalog *c;
    struct arena mem;
};

/* --- starting --- */

static int check_candidate(struct request *q, const char *target, const char **ret_id,
                           struct err *err) {
    struct named_model live, new;
    struct version v;
    int rc = names_resolve(q->c, target, &q->mem, &live, err);
    if (!rc) rc = names_resolve(q->c, q->model, &q->mem, &new, err);
    if (!rc && strcmp(live.id, new.id) == 0)
        rc = err_set(err, ERR_INVALID, "\"%.100s\" leads to \"%.100s\" already", q->alias, live.id);
    if (!rc) rc = lifecycle_version(q->c, new.id, q->cause, &q->mem, &v, err);
    if (!rc && v.name && (strcmp(v.state, "failed") == 0 || strcmp(v.state, "training") == 0))
        rc = err_set(err, ERR_CONFLICT, "\"%.100s\" is %s and cannot be promoted", new.id, v.state);
    if (!rc) rc = lifecycle_verify(q->c, new.id, err);
    *ret_id = new.id;
    return rc;
}

static int plan_of(const struct request *q, struct canary_plan *p, struct err *err) {
    *p = (struct canary_plan){.min_requests = q->min_requests, .alpha = q->alpha};
    if (q->max_hours > 0) p->hold_at = clock_unix() + (int64_t)(3600 * q->max_hours);
    int rc = canary_steps_read(q->steps, p, err);
    if (!rc && !(q->alpha > 0 && q->alpha < 1))
        rc = err_set(err, ERR_INVALID, "--alpha lies between 0 and 1, like 0.01");
    return rc;
}

static char *text_of(json_t *v) {
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write(v, &b);
    json_decref(v);
    return buf_take(&b);
}

static int start(struct request *q, struct err *err) {
    struct route r;
    struct canary_plan p;
    struct canary s;
    enum router_sticky sticky;
    char salt[17] = "", id[ID_SIZE];
    const char *candidate = NULL;
    int rc = plan_of(q, &p, err);
    if (!rc) rc = router_sticky_read(q->sticky, &sticky, err);
    if (!rc) rc = routes_get(q->c, q->alias, &q->mem, &r, err);
    if (!rc) rc = check_candidate(q, r.target, &candidate, err);
    if (rc) return rc;
    id_random(salt, 16);
    canary_init(&s, &p);
    char *plan = text_of(canary_plan_write(&p)), *reached = text_of(canary_write(&s));
    struct canary_row row = {.alias = q->alias,
                             .baseline = r.target,
                             .candidate = candidate,
                             .plan = plan,
                             .reached = reached};
    rc = canaries_start(q->c, &row,
                        &(struct split){.salt = salt, .sticky = q->sticky, .share = p.steps[0]},
                        q->cause, id, err);
    if (!rc)
        printf("%s: %g %% of %s goes to %s now; the rest to %s\n", id, 100 * p.steps[0], q->alias,
               candidate, r.target);
    canary_release(&s);
    mem_free(reached);
    mem_free(plan);
    return rc;
}

/* --- looking --- */

static void print_latency(const struct canary *s) {
    double p95, range[2];
    for (int side = 0; side < 2; side++) {
        if (!canary_p95(s, side, &p95, range)) continue;
        printf("  p95 %-9s %.3f s (%.3f to %.3f)\n", side ? "canary" : "baseline", p95, range[0],
               range[1]);
    }
    if (canary_is_slower(s)) printf("  warning: the canary is slower\n");
}

static void print_state(const struct canary_row *row, const struct canary *s) {
    printf("%s: %s\n  %s against %s\n", row->alias, row->state, row->candidate, row->baseline);
    if (row->why) printf("  %s\n", row->why);
    printf("  step %d of %d: %g %%; requests in it: %lld of %lld to the canary, %lld to the "
           "baseline\n",
           s->step + 1, s->plan.step_count, 100 * s->plan.steps[s->step],
           (long long)s->step_requests[1], (long long)s->plan.min_requests,
           (long long)s->step_requests[0]);
    for (int i = 0; i < CANARY_STREAMS; i++) {
        const struct sequential *q = &s->stream[i];
        printf("  %-8s canary %lld of %lld, baseline %lld of %lld, p %.3g (alarm at %.3g)\n",
               canary_stream_names[i], (long long)q->bad[1], (long long)q->count[1],
               (long long)q->bad[0], (long long)q->count[0], sequential_p(q), q->alpha);
    }
    print_latency(s);
}

static void print_json(const struct canary_row *row, const struct canary *s) {
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:I, s:o, s:o}", "id", row->id, "alias",
                  row->alias, "baseline", row->baseline, "candidate", row->candidate, "state",
                  row->state, "why", row->why, "created_at", (json_int_t)row->created_at, "plan",
                  canary_plan_write(&s->plan), "reached", canary_write(s));
    cli_print_json(o);
    json_decref(o);
}

static int status(struct request *q, struct err *err) {
    struct canary_row row;
    struct canary_plan p;
    struct canary s = {0};
    int rc = canaries_last(q->c, q->alias, &q->mem, &row, err);
    if (!rc) rc = canary_plan_read(row.plan, &p, err);
    if (rc) return rc;
    canary_init(&s, &p);
    rc = canary_read(row.reached, &s, err);
    if (!rc && q->json)
        print_json(&row, &s);
    else if (!rc)
        print_state(&row, &s);
    canary_release(&s);
    return rc;
}

/* --- ending --- */

static int end(struct request *q, const char *state, struct err *err) {
    struct canary_row row;
    int rc = canaries_last(q->c, q->alias, &q->mem, &row, err);
    bool promote = strcmp(state, "promoted") == 0;
    if (!rc && promote) rc = lifecycle_verify(q->c, row.candidate, err);
    if (!rc)
        rc = canaries_end(q->c, &(struct canary_save){.id = row.id, .reached = row.reached}, state,
                          q->cause, err);
    if (!rc) printf("%s leads to %s\n", q->alias, promote ? row.candidate : row.baseline);
    return rc;
}

static int run(struct request *q, const struct usage *u, struct err *err) {
    const char *what = u->positional[0];
    bool starts = strcmp(what, "start") == 0;
    q->alias = u->positional[1];
    q->model = starts ? u->positional[2] : NULL;
    if (u->positional_count != (starts ? 3 : 2))
        return err_set(err, ERR_USAGE, "%.20s takes %s", what, starts ? "ALIAS MODEL" : "ALIAS");
    if (starts) return start(q, err);
    if (strcmp(what, "status") == 0) return status(q, err);
    if (strcmp(what, "stop") == 0) return end(q, "stopped", err);
    if (strcmp(what, "promote") == 0) return end(q, "promoted", err);
    return err_set(err, ERR_USAGE, "start, status, stop or promote, not \"%.40s\"", what);
}

int cmd_canary(int argc, char **argv) {
    const char *reason = NULL;
    char actor[ACTOR_SIZE];
    struct request q = {
        .steps = "1,5,25,50,100", .sticky = "key", .min_requests = 200, .alpha = 0.01};
    struct opt opts[] = {
        {"steps", "LIST", OPT_STR, &q.steps, "percentages; 100 promotes (1,5,25,50,100)", 0, NULL},
        {"min-requests", "N", OPT_I64, &q.min_requests, "of the canary in each step (200)", 1,
         NULL},
        {"alpha", "P", OPT_DOUBLE, &q.alpha, "false alarms, over all time (0.01)", 0, NULL},
        {"max-hours", "H", OPT_DOUBLE, &q.max_hours, "no further step after this time", 0, NULL},
        {"sticky", "WHO", OPT_STR, &q.sticky,
         "key: users, else keys, stay on one side (default); user: users only; none", 0, NULL},
        {"json", NULL, OPT_FLAG, &q.json, "status as JSON", 0, NULL},
        {"reason", "TEXT", OPT_STR, &reason, "why; kept in the log", 0, NULL},
        {0}};
    struct usage u = {.command = "canary",
                      .args = "start ALIAS MODEL | status ALIAS | stop ALIAS | promote ALIAS",
                      .opts = opts,
                      .args_min = 2,
                      .args_max = 3,
                      .summary =
                          "A share of an alias' requests goes to a new model. The server "
                          "raises it step by step and takes it back when the model is worse.",
                      .example = "attune canary start production ft:starter:local:b:Ab3dE9xY"};
    struct err err;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    arena_init(&q.mem, MEM_MAX);
    struct audit_cause cause = {.actor = cli_actor(actor), .reason = reason};
    q.cause = &cause;
    int rc = catalog_open(NULL, &q.c, &err);
    if (!rc) rc = run(&q, &u, &err);
    catalog_close(q.c);
    arena_release(&q.mem);
    return rc ? cli_fail("canary", &err) : 0;
}
