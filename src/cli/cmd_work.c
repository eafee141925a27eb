/* attune work: one fine-tuning job of the catalog in this process. The server starts it; by hand it
 * does the same. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "jobs/worker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* A worker whose server died saves and ends; the next server goes on with the job. */
static int tie_to_parent(int64_t parent, struct err *err) {
    if (parent <= 0) return 0;
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        return err_sys(err, errno, "could not watch process %lld", (long long)parent);
    if (getppid() != (pid_t)parent) cli_interrupted = 1; /* it is gone already */
    return 0;
}

static int work(const char *job, struct worker_options *o, int nice_by, int64_t parent) {
    struct err err = {0};
    struct catalog *c = NULL;
    enum worker_end end = WORKER_DONE;
    cli_catch_interrupt();
    int rc = tie_to_parent(parent, &err);
    if (!rc && nice_by > 0 && setpriority(PRIO_PROCESS, 0, nice_by) != 0)
        rc = err_sys(&err, errno, "could not lower the priority by %d", nice_by);
    if (!rc) rc = catalog_open(NULL, &c, &err);
    o->stop = &cli_interrupted;
    if (!rc) rc = worker_run(c, job, o, &end, &err);
    catalog_close(c);
    if (rc) return cli_fail("work", &err);
    if (end == WORKER_BUSY)
        fprintf(stderr,
                "attune work: there is nothing to do for \"%s\", or another process has it\n", job);
    return end == WORKER_BUSY ? WORKER_BUSY_EXIT : end == WORKER_STOPPED ? 130 : 0;
}

int cmd_work(int argc, char **argv) {
    struct worker_options o = {0};
    int nice_by = 0;
    int64_t parent = 0;
    struct opt list[] = {
        {"validate", NULL, OPT_FLAG, &o.only_validate, "check the files and end", 0, NULL},
        {"threads", "N", OPT_INT, &o.threads, "default: all cores; does not change the result", 1,
         NULL},
        {"nice", "N", OPT_INT, &nice_by, "lower the priority by N", 0, NULL},
        {"parent", "PID", OPT_I64, &parent, "save and end when this process has ended", 1, NULL},
        {0}};
    struct usage u = {.command = "work",
                      .args = "JOB",
                      .opts = list,
                      .args_min = 1,
                      .args_max = 1,
                      .summary = "Work on a fine-tuning job of the catalog until it is done. The "
                                 "server does this by itself.",
                      .example = "attune work ftjob-abc123"};
    int code = opts_parse(&u, argc, argv);
    return code >= 0 ? code : work(u.positional[0], &o, nice_by, parent);
}
