#include "jobs/retrain.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/child.h"
#include "registry/schedule.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define ARGS_MAX 64
#define OUTPUT_MAX ((size_t)16 << 20)
#define MEM_MAX ((size_t)16 << 20)
#define NAME_MAX_BYTES 96

/* --- the spec --- */

static int want_strings(const json_t *spec, const char *key, struct err *err) {
    const json_t *list = json_object_get(spec, key);
    if (!list) return 0;
    bool ok = json_is_array(list) && json_array_size(list) <= ARGS_MAX / 2;
    for (size_t i = 0; ok && i < json_array_size(list); i++)
        ok = json_is_string(json_array_get(list, i));
    return ok ? 0
              : err_set(err, ERR_INVALID, "\"%s\" is a list of at most %d strings", key,
                        ARGS_MAX / 2);
}

int retrain_check(const json_t *spec, struct err *err) {
    static const char *const strings[] = {"dataset", "base", "cases", "against", "grader"};
    static const char *const lists[] = {"from", "build", "tune", "eval", "notify"};
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof strings / sizeof *strings; i++) {
        struct str s = {0};
        rc = json_get_str(spec, strings[i], "the schedule", &s, err);
        if (!rc && i < 2 && !s.n)
            rc = err_set(err, ERR_INVALID, "the schedule needs \"%s\"", strings[i]);
    }
    for (size_t i = 0; !rc && i < sizeof lists / sizeof *lists; i++)
        rc = want_strings(spec, lists[i], err);
    if (!rc && !json_array_size(json_object_get(spec, "from")))
        rc = err_set(err, ERR_INVALID,
                     "the schedule needs \"from\": where rows come from, such as "
                     "[\"human=rows.jsonl\"]");
    const char *command = json_string_value(json_array_get(json_object_get(spec, "notify"), 0));
    if (!rc && command && command[0] != '/')
        rc = err_set(err, ERR_INVALID,
                     "\"notify\" names its program by its whole path, not \"%.80s\"", command);
    return rc;
}

/* --- one run --- */

struct run {
    struct catalog *c;
    const struct retrain_options *o;
    const struct schedule *schedule;
    const struct schedule_run *row;
    json_t *spec, *result;
    char *dir, *log;
    char name[NAME_MAX_BYTES]; /* of the candidate */
};

struct args {
    const char *list[ARGS_MAX + 2];
    int n;
};

static void arg(struct args *a, const char *s) {
    if (a->n < ARGS_MAX) a->list[a->n++] = s;
}

static void more_args(struct args *a, const json_t *list, const char *before) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (before) arg(a, before);
        arg(a, json_string_value(json_array_get(list, i)));
    }
}

static const char *text_of(const struct run *r, const char *key, const char *or_else) {
    const char *s = json_string_value(json_object_get(r->spec, key));
    return s ? s : or_else;
}

static void log_command(const struct run *r, const struct args *a) {
    struct buf b;
    struct err none;
    int fd = -1;
    buf_init(&b, 1 << 16);
    buf_z(&b, "$");
    for (int i = 0; i < a->n; i++) buf_printf(&b, " %s", a->list[i]);
    buf_byte(&b, '\n');
    int64_t size = 0;
    if (file_exists(r->log)) file_size(r->log, &size, &none);
    if (file_append_open(r->log, size, &fd, &none) == 0)
        file_append(fd, r->log, buf_view(&b), false, &none);
    file_close(fd);
    buf_release(&b);
}

/* A step: its standard output as JSON into the result, where it prints some. */
static int step(struct run *r, const char *what, const struct args *a, bool inconclusive_is_fine,
                struct err *err) {
    struct child child = {.program = r->o->program,
                          .home = catalog_home(r->c),
                          .log = r->log,
                          .nice = r->o->nice,
                          .stop = r->o->stop};
    struct buf out;
    struct err none;
    json_t *value = NULL;
    int code = 0;
    log_command(r, a);
    buf_init(&out, OUTPUT_MAX);
    int rc = child_run(&child, a->list, &out, &code, err);
    if (!rc && json_read(buf_view(&out), what, &value, &none) == 0)
        json_object_set_new(r->result, what, value);
    buf_release(&out);
    if (!rc && code != 0 && !(code == 3 && inconclusive_is_fine))
        rc = err_set(err, ERR_INVALID, "\"attune %s\" ended with %d; %s says why", a->list[1], code,
                     r->log);
    return rc;
}

static int build(struct run *r, struct err *err) {
    struct args a = {{"attune", "data", "build", text_of(r, "dataset", "")}, 4};
    more_args(&a, json_object_get(r->spec, "from"), "--from");
    more_args(&a, json_object_get(r->spec, "build"), NULL);
    arg(&a, "--json");
    return step(r, "build", &a, false, err);
}

static int export_rows(struct run *r, const char *to, struct err *err) {
    struct args a = {{"attune", "data", "export", text_of(r, "dataset", ""), "--out", to}, 6};
    return step(r, "export", &a, false, err);
}

static int tune(struct run *r, const char *rows, const char *out, struct err *err) {
    char *train = path_join(rows, "train.jsonl"), *valid = path_join(rows, "valid.jsonl");
    int64_t size = 0;
    struct err none;
    struct args a = {
        {"attune", "tune", "--base", text_of(r, "base", ""), "--data", train, "--out", out}, 8};
    if (file_exists(valid) && file_size(valid, &size, &none) == 0 && size > 0) {
        arg(&a, "--valid");
        arg(&a, valid);
    }
    more_args(&a, json_object_get(r->spec, "tune"), NULL);
    int rc = step(r, "tune", &a, false, err);
    mem_free(valid);
    mem_free(train);
    return rc;
}

static int take_in(struct run *r, const char *adapter, struct err *err) {
    struct args a = {
        {"attune", "import", adapter, "--name", r->name, "--base", text_of(r, "base", "")}, 7};
    int rc = step(r, "import", &a, false, err);
    if (!rc) json_object_set_new(r->result, "candidate", json_string(r->name));
    return rc;
}

static int compare(struct run *r, const char *rows, struct err *err) {
    char *test = path_join(rows, "test.jsonl"), models[2 * NAME_MAX_BYTES + 200];
    const char *against = text_of(r, "against", text_of(r, "base", ""));
    snprintf(models, sizeof models, "%.200s,%s", against, r->name);
    struct args a = {{"attune", "eval", "--data", text_of(r, "cases", test), "--models", models,
                      "--grader", text_of(r, "grader", "exact"), "--json"},
                     9};
    more_args(&a, json_object_get(r->spec, "eval"), NULL);
    int rc = step(r, "eval", &a, true, err);
    mem_free(test);
    return rc;
}

static int work(struct run *r, struct err *err) {
    char *rows = path_join(r->dir, "rows"), *adapter = path_join(r->dir, "adapter");
    struct err none;
    dir_remove_all(rows, &none); /* of an attempt that was killed */
    dir_remove_all(adapter, &none);
    int rc = build(r, err);
    if (!rc) rc = export_rows(r, rows, err);
    if (!rc) rc = tune(r, rows, adapter, err);
    if (!rc) rc = take_in(r, adapter, err);
    if (!rc) rc = compare(r, rows, err);
    mem_free(adapter);
    mem_free(rows);
    return rc;
}

/* A command of the user's; that it fails is written down and changes nothing. */
static void notify(const struct run *r, const char *result) {
    const json_t *command = json_object_get(r->spec, "notify");
    struct args a = {{0}, 0};
    struct err err;
    int code = 0;
    if (!json_array_size(command)) return;
    more_args(&a, command, NULL);
    arg(&a, result);
    struct child child = {
        .program = a.list[0], .home = catalog_home(r->c), .log = r->log, .stop = r->o->stop};
    log_command(r, &a);
    child_run(&child, a.list, NULL, &code, &err);
}

static int run_one(struct run *r, struct err *err) {
    struct err why = {0};
    struct buf b;
    int rc = dir_make(r->dir, err);
    if (rc) return rc;
    rc = json_read(str_of(r->schedule->spec), "the schedule", &r->spec, &why);
    if (!rc) rc = retrain_check(r->spec, &why);
    if (!rc) rc = work(r, &why);
    if (rc == ERR_CANCELLED) return 0; /* queued again when somebody looks the next time */
    json_object_set_new(r->result, "schedule", json_string(r->schedule->name));
    json_object_set_new(r->result, "run", json_string(r->row->id));
    json_object_set_new(r->result, "status", json_string(rc ? "failed" : "succeeded"));
    if (rc) json_object_set_new(r->result, "error", json_string(why.msg));
    buf_init(&b, OUTPUT_MAX);
    json_write(r->result, &b);
    rc = schedule_runs_finish(r->c, r->row->id, rc ? "failed" : "succeeded", b.p, err);
    if (!rc) notify(r, b.p);
    buf_release(&b);
    return rc;
}

static int run_next(struct catalog *c, const struct retrain_options *o, struct err *err) {
    struct arena mem;
    struct schedule schedule;
    struct schedule_run row;
    arena_init(&mem, MEM_MAX);
    int rc = schedule_runs_take(c, &mem, &row, err);
    if (!rc) rc = schedules_get(c, row.schedule, &mem, &schedule, err);
    if (!rc) {
        char below[ID_SIZE + 16];
        snprintf(below, sizeof below, "schedules/%s", row.id);
        struct run r = {.c = c,
                        .o = o,
                        .schedule = &schedule,
                        .row = &row,
                        .result = json_object(),
                        .dir = catalog_path(c, below)};
        snprintf(r.name, sizeof r.name, "%.40s-%.8s", schedule.name, row.id + strlen("schedrun_"));
        r.log = path_join(r.dir, "log");
        rc = run_one(&r, err);
        json_decref(r.spec);
        json_decref(r.result);
        mem_free(r.log);
        mem_free(r.dir);
    }
    arena_release(&mem);
    return rc;
}

/* --- all of them --- */

/* -1: another process works on them */
static int lock_all(struct catalog *c, int *ret_fd, struct err *err) {
    char *dir = catalog_path(c, "schedules"), *path = path_join(dir, "lock");
    int rc = dir_make(dir, err);
    *ret_fd = -1;
    if (!rc && (*ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        rc = err_sys(err, errno, "could not open \"%s\"", path);
    if (!rc && flock(*ret_fd, LOCK_EX | LOCK_NB) != 0) {
        file_close(*ret_fd);
        *ret_fd = -1;
    }
    mem_free(path);
    mem_free(dir);
    return rc;
}

int retrain_work(struct catalog *c, const struct retrain_options *o, int64_t now, int *ret_done,
                 struct err *err) {
    int fd, queued, rc = lock_all(c, &fd, err);
    *ret_done = 0;
    if (rc || fd < 0) return rc;
    rc = schedule_runs_recover(c, err);
    if (!rc) rc = schedule_tick(c, now, &queued, err);
    while (!rc && !(o->stop && atomic_load(o->stop))) {
        rc = run_next(c, o, err);
        *ret_done += !rc;
    }
    file_close(fd);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}
