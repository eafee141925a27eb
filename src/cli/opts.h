/* Command lines: options from a table, help from the same table.
 *
 *     const char *model = NULL;
 *     struct opt list[] = {{"model", "MODEL", OPT_STR, &model, "directory, GGUF file or known
 * name"}, {0}}; struct usage u = {.command = "tokenize", .args = "< text", .summary = "...",
 * .example = "...", .opts = list}; int rc = opts_parse(&u, argc, argv); if (rc >= 0) return rc; //
 * help was printed (0) or the use was wrong (2)
 */
#ifndef CLI_OPTS_H
#define CLI_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opt_kind {
    OPT_FLAG,   /* bool *: set to true */
    OPT_STR,    /* const char ** */
    OPT_I64,    /* int64_t *, at least `min` */
    OPT_U64,    /* uint64_t * */
    OPT_INT,    /* int *, at least `min` */
    OPT_DOUBLE, /* double *, at least `min` */
    OPT_BOOL,   /* bool *: 0 or 1 */
    OPT_SIZE,   /* size_t *: bytes, with an optional K, M, G; at least `min` */
    OPT_LIST    /* struct opt_list *: may be given again, each value is added */
};

#define OPT_LIST_MAX 32
struct opt_list {
    const char *values[OPT_LIST_MAX];
    size_t count;
};

struct opt {
    const char *name; /* without the dashes */
    const char *arg;  /* word for its value in the help; NULL for flags */
    enum opt_kind kind;
    void *to;
    const char *help; /* NULL: an alias not shown */
    double min;
    bool *seen; /* set when the option was given; may be NULL */
};

struct usage {
    const char *command, *args, *summary, *example;
    const struct opt *opts; /* ends with {0} */
    const char
        *required; /* names of options that must be given, separated by spaces; may be NULL */
    int args_min, args_max;               /* positional arguments */
    const char *positional[OPT_LIST_MAX]; /* args_max is no more than this */
    int positional_count;
};

/* -1: go on. 0: help was printed. 2: wrong use, said on stderr. */
int opts_parse(struct usage *u, int argc, char **argv);
/* A value as if given on the command line; false when it is none for this option. Flags take 0 and
 * 1. */
bool opt_assign(const struct opt *o, const char *value);
/* "3G" → bytes; false when it is no size */
bool size_parse(const char *text, size_t *ret);

#endif
