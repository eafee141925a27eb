/* attune schedule: retraining at given times. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/arena.h"
#include "base/clock.h"
#include "jobs/retrain.h"
#include "registry/cron.h"
#include "registry/schedule.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MEM_MAX ((size_t)64 << 20)
#define RUNS_SHOWN 20

struct request {
    const char *what, *name;
    const char *cron, *dataset, *base, *cases, *against, *grader, *notify;
    struct opt_list from;
    bool json;
    struct catalog *c;
    struct arena mem;
};

/* --- adding --- */

static json_t *spec_of(const struct request *q) {
    json_t *from = json_array();
    for (size_t i = 0; i < q->from.count; i++)
        json_array_append_new(from, json_string(q->from.values[i]));
    json_t *spec = json_pack("{s:o}", "from", from);
    const struct {
        const char *key, *value;
    } texts[] = {{"dataset", q->dataset},
                 {"base", q->base},
                 {"cases", q->cases},
                 {"against", q->against},
                 {"grader", q->grader}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].value) json_object_set_new(spec, texts[i].key, json_string(texts[i].value));
    if (q->notify) json_object_set_new(spec, "notify", json_pack("[s]", q->notify));
    return spec;
}

static void print_time(const char *before, int64_t at) {
    char text[40] = "never";
    struct tm tm;
    time_t t = (time_t)at;
    if (at && localtime_r(&t, &tm)) strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm);
    printf("%s%s", before, text);
}

static int add(struct request *q, struct err *err) {
    struct schedule s;
    struct buf text;
    json_t *spec = spec_of(q);
    buf_init(&text, 1 << 20);
    json_write(spec, &text);
    int rc = q->cron ? 0 : err_set(err, ERR_USAGE, "--cron is needed: \"30 3 * * 1-5\" or @daily");
    if (!rc) rc = retrain_check(spec, err);
    if (!rc) rc = schedule_add(q->c, q->name, q->cron, text.p, clock_unix(), &q->mem, &s, err);
    if (!rc) {
        printf("%s: \"%s\"", s.id, s.name);
        print_time(" runs next at ", s.next_at);
        printf(", while a server runs or \"attune schedule tick\" is called\n");
    }
    buf_release(&text);
    json_decref(spec);
    return rc;
}

/* --- looking --- */

static int list(struct request *q, struct err *err) {
    struct schedule_list l;
    int rc = schedules_list(q->c, &q->mem, &l, err);
    for (size_t i = 0; !rc && i < l.count; i++) {
        const struct schedule *s = &l.list[i];
        if (q->json) {
            json_t *o = json_pack("{s:s, s:s, s:s?, s:s, s:b, s:I}", "id", s->id, "name", s->name,
                                  "cron", s->cron, "spec", s->spec, "enabled", s->enabled,
                                  "next_at", (json_int_t)s->next_at);
            cli_print_json(o);
            json_decref(o);
            continue;
        }
        printf("%-20s %-20s", s->name, s->cron ? s->cron : "by hand");
        print_time(s->enabled ? " next " : " paused, next ", s->next_at);
        putchar('\n');
    }
    return rc;
}

static int runs(struct request *q, struct err *err) {
    struct schedule s = {0};
    struct schedule_run_list l = {0};
    int rc = q->name ? schedules_get(q->c, q->name, &q->mem, &s, err) : 0;
    if (!rc) rc = schedule_runs_list(q->c, s.id, RUNS_SHOWN, &q->mem, &l, err);
    for (size_t i = 0; !rc && i < l.count; i++) {
        const struct schedule_run *r = &l.list[i];
        if (q->json) {
            json_t *o =
                json_pack("{s:s, s:s, s:I, s:s, s:s, s:I, s:s?}", "id", r->id, "schedule",
                          r->schedule, "slot", (json_int_t)r->slot, "status", r->status, "cause",
                          r->cause, "missed", (json_int_t)r->missed, "result", r->result);
            cli_print_json(o);
            json_decref(o);
            continue;
        }
        printf("%s  %-10s", r->id, r->status);
        print_time(" for ", r->slot);
        printf("  %s", r->cause);
        if (r->missed) printf(", %lld earlier ones were missed", (long long)r->missed);
        putchar('\n');
    }
    return rc;
}

/* --- changing --- */

static int enable(struct request *q, bool on, struct err *err) {
    struct schedule s;
    struct cron times;
    int64_t next = 0;
    int rc = schedules_get(q->c, q->name, &q->mem, &s, err);
    if (!rc && s.cron) rc = cron_parse(str_of(s.cron), &times, err);
    if (!rc && s.cron) next = cron_next(&times, clock_unix());
    return rc ? rc : schedules_enable(q->c, s.id, on, next > 0 ? next : 0, err);
}

static int removal(struct request *q, struct err *err) {
    struct schedule s;
    int rc = schedules_get(q->c, q->name, &q->mem, &s, err);
    return rc ? rc : schedules_delete(q->c, s.id, err);
}

static int tick(struct request *q, struct err *err) {
    int done = 0;
    int rc = retrain_work(q->c, &(struct retrain_options){.stop = NULL}, clock_unix(), &done, err);
    if (!rc) printf("%d runs\n", done);
    return rc;
}

static int run_now(struct request *q, struct err *err) {
    int rc = schedule_run_now(q->c, q->name, "by hand", clock_unix(), err);
    return rc ? rc : tick(q, err);
}

static int run(struct request *q, struct err *err) {
    static const struct {
        const char *what;
        bool needs_name;
    } verbs[] = {{"add", true},   {"list", false},  {"runs", false},  {"run", true},
                 {"pause", true}, {"resume", true}, {"remove", true}, {"tick", false}};
    size_t i = 0, n = sizeof verbs / sizeof *verbs;
    while (i < n && strcmp(q->what, verbs[i].what) != 0) i++;
    if (i == n)
        return err_set(err, ERR_USAGE,
                       "add, list, runs, run, pause, resume, remove or tick, not \"%.40s\"",
                       q->what);
    if (verbs[i].needs_name && !q->name)
        return err_set(err, ERR_USAGE, "\"%s\" needs the schedule's name", q->what);
    switch (i) {
    case 0: return add(q, err);
    case 1: return list(q, err);
    case 2: return runs(q, err);
    case 3: return run_now(q, err);
    case 4: return enable(q, false, err);
    case 5: return enable(q, true, err);
    case 6: return removal(q, err);
    default: return tick(q, err);
    }
}

int cmd_schedule(int argc, char **argv) {
    struct request q = {0};
    struct opt opts[] = {
        {"cron", "TIMES", OPT_STR, &q.cron, "\"30 3 * * 1-5\", @daily, @weekly, ...", 0, NULL},
        {"dataset", "NAME", OPT_STR, &q.dataset, "built anew in each run", 0, NULL},
        {"from", "SOURCE=FILE", OPT_LIST, &q.from, "as in attune data build; may be given again", 0,
         NULL},
        {"base", "MODEL", OPT_STR, &q.base, "what is tuned", 0, NULL},
        {"cases", "FILE", OPT_STR, &q.cases, "held-out cases (default: the data set's test split)",
         0, NULL},
        {"against", "MODEL", OPT_STR, &q.against,
         "what the candidate is compared with (default: the base)", 0, NULL},
        {"grader", "G", OPT_STR, &q.grader, "as in attune eval (default: exact)", 0, NULL},
        {"notify", "PROGRAM", OPT_STR, &q.notify, "run with the result's JSON when a run has ended",
         0, NULL},
        {"json", NULL, OPT_FLAG, &q.json, "one JSON object a line", 0, NULL},
        {0}};
    struct usage u = {
        .command = "schedule",
        .args = "add NAME | list | runs [NAME] | run NAME | pause NAME | resume NAME "
                "| remove NAME | tick",
        .opts = opts,
        .args_min = 1,
        .args_max = 2,
        .summary = "Retraining at given times: build the data set anew, tune, compare "
                   "with what is live, leave a candidate. Nothing is promoted.",
        .example = "attune schedule add nightly --cron \"30 3 * * *\" --dataset support "
                   "--from human=rows.jsonl --from production=stored --base smollm2 "
                   "--against production"};
    struct err err;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    q.what = u.positional[0];
    q.name = u.positional_count > 1 ? u.positional[1] : NULL;
    arena_init(&q.mem, MEM_MAX);
    int rc = catalog_open(NULL, &q.c, &err);
    if (!rc) rc = run(&q, &err);
    catalog_close(q.c);
    arena_release(&q.mem);
    return rc ? cli_fail("schedule", &err) : 0;
}
