/* A job's files before anything is trained, and what its "auto" comes to. */
#ifndef JOBS_CHECK_H
#define JOBS_CHECK_H

#include "registry/names.h"
#include "store/ftjobs.h"

#define FT_EXAMPLES_MIN 10

/* What the job's `error` will say. */
struct ft_problem {
    char code[40]; /* "": no problem */
    char message[480];
    const char *param; /* a literal or NULL */
};

/* Reads both files, renders every row with the model's own template, resolves the hyperparameters.
 * What is wrong with the job is *ret_problem and 0; an error is this machine's. */
int ft_check(struct catalog *c, const struct ftjob *j, const struct named_model *m,
             struct ft_hyper *ret, struct ft_problem *ret_problem, struct err *err);

/* Whether the method takes preference pairs. */
bool ft_is_preference(const struct ftjob *j);

/* Epochs: 3, more for few rows and fewer for very many, as OpenAI's cookbook counts. Batch: 0.2 %
 * of the rows. Rate: once the model's default. beta (preference pairs only): 0.1. */
struct ft_hyper ft_resolve(const struct ft_hyper *given, int64_t rows, bool preference);

#endif
