/* Models on this machine: directories under $ATTUNE_HOME/models/NAME, and the shipped starter. */
#ifndef WEIGHTS_MODELS_H
#define WEIGHTS_MODELS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* An existing path wins, then a name under the home, then "starter". *ret: caller frees (mem_free).
 * ERR_NOT_FOUND lists the known names and how to get more. */
int model_resolve(const char *name_or_path, char **ret, struct err *err);

struct model_entry {
    char *name, *path, *family, *source;
    int64_t params;
    int64_t bytes;
};
int models_list(struct model_entry **ret, size_t *ret_count, struct err *err);
void models_list_free(struct model_entry *list, size_t count);

#endif
