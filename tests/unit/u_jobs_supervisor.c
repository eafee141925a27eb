/* The supervisor with real worker processes: this program again, with "work" as its argument. */
#include "unit.h"

#include "base/clock.h"
#include "jobs/supervisor.h"
#include "jobs_fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define DEADLINE_SECONDS 90 /* with sanitizers on a busy machine; as a rule far less */

/* --- the worker --- */

static volatile sig_atomic_t stop;
static void on_term(int sig) {
    (void)sig;
    stop = 1;
}

static int worker_main(int argc, char **argv) {
    struct worker_options o = {.threads = 1, .stop = &stop};
    struct catalog *c = NULL;
    struct err err;
    enum worker_end end = WORKER_DONE;
    signal(SIGTERM, on_term);
    for (int i = 3; i < argc; i++) {
        o.only_validate |= strcmp(argv[i], "--validate") == 0;
        if (strcmp(argv[i], "--parent") == 0 && i + 1 < argc) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (getppid() != (pid_t)strtol(argv[i + 1], NULL, 10)) stop = 1;
        }
    }
    if (getenv("UNIT_WORKER_DIES")) {
        fputs("cannot go on: as the test wants it\n", stderr);
        return 3;
    }
    int rc = catalog_open(NULL, &c, &err);
    if (!rc) rc = worker_run(c, argv[2], &o, &end, &err);
    if (rc) fprintf(stderr, "%s\n", err.msg);
    catalog_close(c);
    return rc ? 1 : end == WORKER_BUSY ? WORKER_BUSY_EXIT : end == WORKER_STOPPED ? 130 : 0;
}

__attribute__((constructor)) static void maybe_worker(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "work") == 0) exit(worker_main(argc, argv));
}

/* --- waiting --- */

static void log_line(void *ctx, const char *text) {
    (void)ctx;
    if (getenv("UNIT_VERBOSE")) fprintf(stderr, "supervisor: %s\n", text);
}

static struct supervisor *start(struct fixture *f) {
    struct supervisor *s = NULL;
    struct supervisor_options o = {
        .threads = 1, .nice = 1, .stop_seconds = 60, .retry_seconds = 0.01, .log = log_line};
    if (supervisor_start(f->c, &o, &s, &f->err)) fail_msg("%s", f->err.msg);
    return s;
}

static void breathe(void) { nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); }

static struct ftjob wait_status(struct fixture *f, const char *id, const char *status) {
    double until = clock_seconds() + DEADLINE_SECONDS;
    for (;;) {
        struct ftjob j = jobs_get(f, id);
        if (strcmp(j.status, status) == 0) return j;
        if (j.error_message) fail_msg("%s", j.error_message);
        if (clock_seconds() > until) fail_msg("still %s, not %s", j.status, status);
        breathe();
    }
}

static struct ftjob wait_step(struct fixture *f, const char *id, int64_t step) {
    double until = clock_seconds() + DEADLINE_SECONDS;
    for (;;) {
        struct ftjob j = jobs_get(f, id);
        if (j.step >= step) return j;
        if (clock_seconds() > until) fail_msg("%s at step %d", j.status, (int)j.step);
        breathe();
    }
}

/* not there, or dead and only not yet collected by whoever inherited it */
static bool is_gone(pid_t pid) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *in = fopen(path, "re");
    if (!in) return true;
    bool read = fgets(text, sizeof text, in) != NULL;
    fclose(in);
    const char *name_end = read ? strrchr(text, ')') : NULL;
    return !name_end || name_end[2] == 'Z';
}

static void wait_gone(pid_t pid) {
    double until = clock_seconds() + DEADLINE_SECONDS;
    while (!is_gone(pid)) {
        if (clock_seconds() > until) fail_msg("process %d is still there", (int)pid);
        breathe();
    }
}

static const struct ftjob quick = {.given = {.epochs = 2, .batch_size = 5}};
/* long enough to be met on the way */
#define LENGTHY_ROWS 200
static const struct ftjob lengthy = {.given = {.epochs = 3, .batch_size = 1}};

/* --- tests --- */

static void jobs_are_run_one_after_the_other(void **state) {
    struct fixture *f = *state;
    const char *a = jobs_add(f, quick, 10).id;
    struct supervisor *s = start(f);
    const char *b = jobs_add(f, quick, 11).id;
    const char *bad = jobs_add(f, quick, 3).id;
    supervisor_wake(s);
    struct ftjob first = wait_status(f, a, "succeeded");
    struct ftjob second = wait_status(f, b, "succeeded");
    supervisor_stop(s);
    assert_true(second.started_at >= first.started_at);
    assert_true(second.finished_at >= first.finished_at);
    assert_string_equal(jobs_get(f, bad).error_code, "invalid_n_examples");
    jobs_expect_steps(f, a, 4);
}

static void a_killed_worker_is_followed_by_another(void **state) {
    struct fixture *f = *state;
    const char *id = jobs_add(f, lengthy, LENGTHY_ROWS).id;
    struct supervisor *s = start(f);
    struct ftjob j = wait_step(f, id, 5);
    kill((pid_t)j.worker_pid, SIGKILL);
    j = wait_status(f, id, "succeeded");
    supervisor_stop(s);
    assert_true(j.claim >= 3); /* validated, trained, trained on */
    jobs_expect_steps(f, id, 3 * LENGTHY_ROWS);
    struct buf csv = jobs_result(f, &j);
    assert_int_equal(count_lines(&csv), 3 * LENGTHY_ROWS + 1);
    buf_release(&csv);
}

static void paused_jobs_stop_and_go_on(void **state) {
    struct fixture *f = *state;
    const char *id = jobs_add(f, lengthy, LENGTHY_ROWS).id, *next = jobs_add(f, quick, 10).id;
    struct supervisor *s = start(f);
    struct ftjob j = wait_step(f, id, 3);
    pid_t pid = (pid_t)j.worker_pid;
    assert_int_equal(ftjobs_pause(f->c, id, &f->mem, &j, &f->err), 0);
    supervisor_wake(s);
    wait_gone(pid);
    wait_status(f, next, "succeeded"); /* the way is free */
    int64_t step = jobs_get(f, id).step;
    assert_string_equal(jobs_get(f, id).status, "paused");
    assert_true(step < 3 * LENGTHY_ROWS);
    assert_int_equal(ftjobs_resume(f->c, id, &f->mem, &j, &f->err), 0);
    supervisor_wake(s);
    wait_status(f, id, "succeeded");
    supervisor_stop(s);
    jobs_expect_steps(f, id, 3 * LENGTHY_ROWS);
}

static void cancelled_jobs_end_their_process(void **state) {
    struct fixture *f = *state;
    const char *id = jobs_add(f, lengthy, LENGTHY_ROWS).id;
    struct supervisor *s = start(f);
    struct ftjob j = wait_step(f, id, 3);
    pid_t pid = (pid_t)j.worker_pid;
    assert_int_equal(ftjobs_cancel(f->c, id, &f->mem, &j, &f->err), 0);
    supervisor_wake(s);
    wait_gone(pid);
    supervisor_stop(s);
    assert_string_equal(jobs_get(f, id).status, "cancelled");
    char below[128];
    snprintf(below, sizeof below, "jobs/%s/out/checkpoint", id);
    char *checkpoint = catalog_path(f->c, below);
    assert_false(dir_exists(checkpoint)); /* nobody goes on from it */
    mem_free(checkpoint);
}

static void a_stop_leaves_no_process(void **state) {
    struct fixture *f = *state;
    const char *id = jobs_add(f, lengthy, LENGTHY_ROWS).id;
    struct supervisor *s = start(f);
    pid_t pid = (pid_t)wait_step(f, id, 3).worker_pid;
    supervisor_stop(s);
    assert_true(is_gone(pid));
    assert_string_equal(jobs_get(f, id).status, "running");
    assert_int_equal(jobs_get(f, id).crashes, 0);
    s = start(f); /* the next server */
    wait_status(f, id, "succeeded");
    supervisor_stop(s);
    jobs_expect_steps(f, id, 3 * LENGTHY_ROWS);
}

/* a server in a process of its own, to be killed */
static pid_t server_process(struct fixture *f) {
    pid_t child = fork();
    if (child) return child;
    struct catalog *c = NULL;
    struct supervisor *s = NULL;
    struct err err;
    struct supervisor_options o = {.threads = 1, .nice = 1};
    if (catalog_open(f->home, &c, &err) || supervisor_start(c, &o, &s, &err)) _exit(1);
    for (;;) pause();
}

static void a_killed_servers_worker_ends_and_its_job_goes_on(void **state) {
    struct fixture *f = *state;
    const char *id = jobs_add(f, lengthy, LENGTHY_ROWS).id;
    pid_t server = server_process(f);
    pid_t worker = (pid_t)wait_step(f, id, 3).worker_pid;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    struct supervisor *s = start(f); /* may meet the old worker's lock */
    struct ftjob j = wait_status(f, id, "succeeded");
    assert_true(is_gone(worker));
    supervisor_stop(s);
    assert_int_equal(j.crashes, 0);
    jobs_expect_steps(f, id, 3 * LENGTHY_ROWS);
}

static void a_worker_that_always_dies_fails_the_job(void **state) {
    struct fixture *f = *state;
    const char *id = jobs_add(f, quick, 10).id;
    int64_t deaths = 0;
    for (int i = 0; i < SUPERVISOR_RETRIES; i++) /* the waits in between are not the test's */
        assert_int_equal(ftjobs_crashed(f->c, id, &deaths, &f->err), 0);
    setenv("UNIT_WORKER_DIES", "1", 1);
    struct supervisor *s = start(f);
    double until = clock_seconds() + DEADLINE_SECONDS;
    while (strcmp(jobs_get(f, id).status, "failed") != 0 && clock_seconds() < until) breathe();
    supervisor_stop(s);
    unsetenv("UNIT_WORKER_DIES");
    struct ftjob j = jobs_get(f, id);
    assert_string_equal(j.status, "failed");
    assert_string_equal(j.error_code, "worker_died");
    assert_non_null(strstr(j.error_message, "ended with code 3"));
    assert_non_null(strstr(j.error_message, "as the test wants it"));
}

UNIT_TESTS(jobs_supervisor, WITH_JOBS(jobs_are_run_one_after_the_other),
           WITH_JOBS(a_killed_worker_is_followed_by_another), WITH_JOBS(paused_jobs_stop_and_go_on),
           WITH_JOBS(cancelled_jobs_end_their_process), WITH_JOBS(a_stop_leaves_no_process),
           WITH_JOBS(a_killed_servers_worker_ends_and_its_job_goes_on),
           WITH_JOBS(a_worker_that_always_dies_fails_the_job))
