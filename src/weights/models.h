/* The models on this machine: directories $ATTUNE_HOME/models/NAME, and "starter", which is shipped
 * with the program. Functions are safe from any thread. */
#ifndef WEIGHTS_MODELS_H
#define WEIGHTS_MODELS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A path that exists stays as it is; else a known name becomes its directory. *ret: caller frees
 * (mem_free). ERR_NOT_FOUND lists the known names. */
int model_resolve(const char *name_or_path, char **ret, struct err *err);

/* The directory of a known name alone, whatever paths exist. */
int model_find(const char *name, char **ret, struct err *err);

struct model_entry {
    char *name, *path;
    char *family; /* NULL: its config.json cannot be used */
    char *source; /* where it came from; NULL: not recorded */
    int64_t params, bytes;
};
/* "starter" first where it is found, then by name. Free with models_list_free. */
int models_list(struct model_entry **ret, size_t *ret_count, struct err *err);
/* The same of those whose config.json can be used, with name, path and family alone: no weights are
 * opened, which a server that is often asked would feel. */
int models_usable(struct model_entry **ret, size_t *ret_count, struct err *err);
void models_list_free(struct model_entry *list, size_t count);

/* The files of a model directory besides config.json and weights; ends with NULL. */
extern const char *const model_asset_names[];

/* Letters, digits, '.', '_' and '-', not beginning with '.' or '-', at most 96 bytes; "starter" is
 * taken. */
int model_name_check(const char *name, struct err *err);
/* $ATTUNE_HOME/models/NAME, whether it is there or not; caller frees */
char *model_home_path(const char *name);
/* Remember where a model came from, in its directory's attune.json. */
int model_source_write(const char *dir, const char *source, struct err *err);

/* One process at a time per subject ("pull-smollm2"): a lock file under $ATTUNE_HOME/locks, let go
 * by home_unlock or by the end of the process. ERR_CONFLICT when another holds it. */
int home_lock(const char *subject, int *ret_fd, struct err *err);
void home_unlock(int fd);

#endif
