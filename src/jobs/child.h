/* One command of this program as a child process: its standard output taken, what it says appended
 * to a log. */
#ifndef JOBS_CHILD_H
#define JOBS_CHILD_H

#include "base/buf.h"
#include "base/err.h"

#include <stdatomic.h>

struct child {
    const char *program; /* NULL: this one */
    const char *home;    /* its ATTUNE_HOME */
    const char *log;     /* appended to; standard error goes there */
    int nice;
    const atomic_int
        *stop; /* set: the child is asked to end, then killed after 60 s; may be NULL */
};
/* argv ends with NULL. *ret_code: its exit code, 128 + signal where one ended it. out may be NULL.
 * ERR_CANCELLED where it was stopped. */
int child_run(const struct child *c, const char *const *argv, struct buf *out, int *ret_code,
              struct err *err);

#endif
