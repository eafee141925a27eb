/* Runs of schedules, with a program of the test's own in the place of attune: which commands come
 * in which order, what becomes of their results, of failures, of a run that is stopped. */
#include "unit.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/retrain.h"
#include "registry/schedule.h"
#include "store_fixture.h"

#include <stdlib.h>
#include <sys/stat.h>

#define NOW 1795392000
#define SPEC                                                                                       \
    "{\"dataset\":\"support\",\"from\":[\"human=a.jsonl\",\"production=stored\"],"                 \
    "\"base\":\"small\",\"against\":\"production\",\"tune\":[\"--epochs\",\"2\"]%s}"

/* says what it was asked to do; "data export" makes the files that it would make */
static const char script[] =
    "#!/bin/sh\n"
    "echo \"$*\" >> \"$ATTUNE_HOME/asked\"\n"
    "case \"$1 $2\" in\n"
    "'data build') echo '{\"version\":\"v7\"}' ;;\n"
    "'data export') mkdir -p \"$5\"; echo x > \"$5/train.jsonl\"; echo x > \"$5/valid.jsonl\" ;;\n"
    "'tune --base') mkdir -p \"$7\"; [ ! -f \"$ATTUNE_HOME/fail\" ] || { echo no disk >&2; exit 1; "
    "} ;;\n"
    "'eval --data') echo '{\"pairs\":[{\"verdict\":\"inconclusive\"}]}'; exit 3 ;;\n"
    "esac\n";

static char *put(struct fixture *f, const char *name, const char *text) {
    char *path = catalog_path(f->c, name);
    if (file_write_atomic(path, str_of(text), &f->err)) fail_msg("%s", f->err.msg);
    chmod(path, 0755);
    return path;
}

static void queue(struct fixture *f, const char *more) {
    struct schedule s;
    char spec[600];
    snprintf(spec, sizeof spec, SPEC, more);
    if (schedule_add(f->c, "nightly", NULL, spec, NOW, &f->mem, &s, &f->err) ||
        schedule_run_now(f->c, s.id, "by hand", NOW, &f->err))
        fail_msg("%s", f->err.msg);
}

static int work(struct fixture *f, const char *program, const atomic_int *stop) {
    int done;
    struct retrain_options o = {.program = program, .stop = stop};
    if (retrain_work(f->c, &o, NOW + 60, &done, &f->err)) fail_msg("%s", f->err.msg);
    return done;
}

static struct schedule_run last_run(struct fixture *f) {
    struct schedule_run_list l;
    if (schedule_runs_list(f->c, NULL, 1, &f->mem, &l, &f->err)) fail_msg("%s", f->err.msg);
    assert_int_equal(l.count, 1);
    return l.list[0];
}

static char *read_all(struct fixture *f, const char *name) {
    struct buf b;
    char *path = catalog_path(f->c, name);
    buf_init(&b, 1 << 20);
    if (file_read(path, &b, &f->err)) fail_msg("%s", f->err.msg);
    mem_free(path);
    return buf_take(&b);
}

static void the_steps_come_in_order(void **state) {
    struct fixture *f = *state;
    static const char *const steps[] = {
        "data build support --from human=a.jsonl --from production=stored --json\n",
        "data export support --out ",
        "tune --base small --data ",
        "--valid ",
        "--epochs 2\n",
        "import ",
        "--base small\n",
        "eval --data ",
        "--models production,nightly-",
        "--grader exact"};
    char *program = put(f, "program", script);
    queue(f, "");
    assert_int_equal(work(f, program, NULL), 1);
    struct schedule_run run = last_run(f);
    assert_string_equal(run.status, "succeeded");
    assert_non_null(strstr(run.result, "\"candidate\":\"nightly-"));
    assert_non_null(strstr(run.result, "\"version\":\"v7\""));
    assert_non_null(strstr(run.result, "inconclusive"));
    char *asked = read_all(f, "asked");
    const char *at = asked;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        at = strstr(at, steps[i]);
        if (!at) fail_msg("no \"%s\" in its place in:\n%s", steps[i], asked);
    }
    mem_free(asked);
    mem_free(program);
}

static void a_failed_step_ends_the_run(void **state) {
    struct fixture *f = *state;
    char *program = put(f, "program", script), *fail = put(f, "fail", "");
    queue(f, "");
    assert_int_equal(work(f, program, NULL), 1);
    struct schedule_run run = last_run(f);
    assert_string_equal(run.status, "failed");
    assert_non_null(strstr(run.result, "attune tune"));
    assert_null(strstr(run.result, "candidate"));
    assert_int_equal(work(f, program, NULL), 0);
    mem_free(fail);
    mem_free(program);
}

static void a_stopped_run_goes_on_later(void **state) {
    struct fixture *f = *state;
    atomic_int stop = 0;
    char *slow = put(f, "slow", "#!/bin/sh\ntouch \"$ATTUNE_HOME/began\"\nexec sleep 600\n");
    char *program = put(f, "program", script);
    queue(f, "");
    atomic_store(&stop, 1);
    assert_int_equal(work(f, slow, &stop), 0); /* not even begun */
    assert_string_equal(last_run(f).status, "queued");
    assert_int_equal(work(f, program, NULL), 1);
    assert_string_equal(last_run(f).status, "succeeded");
    mem_free(program);
    mem_free(slow);
}

static void a_command_is_told_the_result(void **state) {
    struct fixture *f = *state;
    char more[300];
    char *program = put(f, "program", script);
    char *told = put(f, "tell", "#!/bin/sh\necho \"$1 $2\" > \"$ATTUNE_HOME/told\"\n");
    snprintf(more, sizeof more, ",\"notify\":[\"%s\",\"hello\"]", told);
    queue(f, more);
    assert_int_equal(work(f, program, NULL), 1);
    char *text = read_all(f, "told");
    assert_non_null(strstr(text, "hello {"));
    assert_non_null(strstr(text, "\"status\":\"succeeded\""));
    mem_free(text);
    mem_free(told);
    mem_free(program);
}

static void bad_specs_are_named(void **state) {
    (void)state;
    static const struct {
        const char *spec, *says;
    } cases[] = {{"{}", "dataset"},
                 {"{\"dataset\":\"a\"}", "base"},
                 {"{\"dataset\":\"a\",\"base\":\"b\"}", "from"},
                 {"{\"dataset\":\"a\",\"base\":\"b\",\"from\":\"x\"}", "from"},
                 {"{\"dataset\":\"a\",\"base\":\"b\",\"from\":[1]}", "from"},
                 {"{\"dataset\":1,\"base\":\"b\",\"from\":[\"x\"]}", "dataset"},
                 {"{\"dataset\":\"a\",\"base\":\"b\",\"from\":[\"x\"],\"notify\":[\"mail\"]}",
                  "whole path"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        json_t *spec = NULL;
        assert_int_equal(json_read(str_of(cases[i].spec), "spec", &spec, &err), 0);
        assert_int_equal(retrain_check(spec, &err), ERR_INVALID);
        if (!strstr(err.msg, cases[i].says)) fail_msg("%s: %s", cases[i].spec, err.msg);
        json_decref(spec);
    }
}

UNIT_TESTS(jobs_retrain, WITH_CATALOG(the_steps_come_in_order),
           WITH_CATALOG(a_failed_step_ends_the_run), WITH_CATALOG(a_stopped_run_goes_on_later),
           WITH_CATALOG(a_command_is_told_the_result), cmocka_unit_test(bad_specs_are_named))
