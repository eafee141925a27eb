/* OUT/epochs/step-N: the adapters of the last epoch ends, each a complete PEFT directory. One is
 * written beside its name and renamed, so what bears the name is whole, and since a repeated step
 * comes to the same bytes, one that is there already stays as it is. */
#include "train/trainer.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* as job.c finds them after a kill */
static char *temp_name(const char *dir) {
    size_t n = strlen(dir) + 32;
    char *temp = mem_alloc(n);
    snprintf(temp, n, "%s.tmp-%ld", dir, (long)getpid());
    return temp;
}

static int write_beside(struct trainer *t, const char *dir, struct err *err) {
    char *temp = temp_name(dir);
    int rc = dir_make(temp, err);
    if (!rc) rc = adapter_write(t, temp, t->params.value, err);
    if (!rc) rc = file_rename(temp, dir, err);
    if (rc) dir_remove_all(temp, &(struct err){0}); /* the first error is the one to tell */
    mem_free(temp);
    return rc;
}

int epochs_keep(struct trainer *t, char **ret_dir, struct err *err) {
    char name[64];
    snprintf(name, sizeof name, "epochs/step-%lld", (long long)t->state.step);
    char *dir = trainer_path(t, name);
    int rc = check_values(t, t->params.value, err);
    if (!rc && !dir_exists(dir)) rc = write_beside(t, dir, err);
    if (rc) {
        mem_free(dir);
        return err_wrap(err, "keeping the adapter of step %lld", (long long)t->state.step);
    }
    *ret_dir = dir;
    return 0;
}

/* N of "step-N", else -1 */
static int64_t step_of(const char *name) {
    static const char prefix[] = "step-";
    size_t n = sizeof prefix - 1;
    if (strncmp(name, prefix, n) != 0 || strspn(name + n, "0123456789") != strlen(name + n))
        return -1;
    return name[n] ? strtoll(name + n, NULL, 10) : -1;
}

/* under another name first: what bears its own stays whole to the end */
static int remove_one(const char *dir, const char *name, struct err *err) {
    char *path = path_join(dir, name), *temp = temp_name(path);
    int rc = file_rename(path, temp, err);
    if (!rc) rc = dir_remove_all(temp, err);
    mem_free(temp);
    mem_free(path);
    return rc;
}

int epochs_prune(const struct trainer *t, struct err *err) {
    int64_t ends = t->state.step / t->job.epoch_steps, per_epoch = t->job.epoch_steps;
    int64_t oldest = (ends - t->job.o.keep_epochs) * per_epoch + 1;
    char *dir = trainer_path(t, "epochs"), **names = NULL;
    size_t count = 0;
    int rc = dir_exists(dir) ? dir_list(dir, &names, &count, err) : 0;
    for (size_t i = 0; !rc && i < count; i++) {
        int64_t step = step_of(names[i]);
        if (step >= 0 && step < oldest) rc = remove_one(dir, names[i], err);
    }
    dir_list_free(names, count);
    mem_free(dir);
    return rc;
}
