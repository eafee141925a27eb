/* The rows that a teacher is to answer or to learn from, all in memory. */
#ifndef CLI_SYNTH_SEEDS_H
#define CLI_SYNTH_SEEDS_H

#include "data/synth.h"

struct seed_list {
    struct synth_seed *list;
    size_t count, cap;
    int64_t skipped;      /* rows without a question, and those that cannot be read */
    char first_skip[480]; /* why the first was */
    char sha256[65];      /* of the file */
};
/* limit 0: all */
int seeds_read(const char *path, int64_t limit, struct seed_list *ret, struct err *err);
void seeds_release(struct seed_list *l);

/* A text option: the text itself, or @FILE; *owned is to be freed with mem_free. */
int text_option(const char *value, char **owned, struct err *err);

#endif
