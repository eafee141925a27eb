/* Stored chat completions: what a request with "store": true asked and got. */
#ifndef STORE_COMPLETIONS_H
#define STORE_COMPLETIONS_H

#include "store/catalog.h"

struct stored_completion {
    const char *id, *model;
    const char *request, *response; /* JSON */
    const char *metadata;           /* JSON object of strings; NULL: none */
    int64_t created_at;
};
struct completion_list {
    struct stored_completion *list;
    size_t count;
    bool has_more;
};
struct completion_filter {
    const char *model; /* NULL: all */
    const struct meta_filter *metadata;
    size_t metadata_count;
};

/* id, model, request, response, metadata; created_at 0: now */
int completions_add(struct catalog *c, const struct stored_completion *new, struct err *err);
int completions_get(struct catalog *c, const char *id, struct arena *mem,
                    struct stored_completion *ret, struct err *err);
int completions_list(struct catalog *c, const struct completion_filter *filter,
                     const struct page *page, struct arena *mem, struct completion_list *ret,
                     struct err *err);
int completions_set_metadata(struct catalog *c, const char *id, const char *metadata,
                             struct err *err);
int completions_delete(struct catalog *c, const char *id, struct err *err);

/* What people say of a completion. The newest score and the newest correction count. */
struct feedback {
    const char *id, *completion;
    double score; /* -1 (bad) to 1 (good) */
    bool has_score;
    const char *correction; /* the answer as it should have been; NULL: none */
    const char *comment;
    int64_t created_at;
};
struct feedback_list {
    struct feedback *list;
    size_t count;
};
/* ERR_NOT_FOUND: no such completion. */
int feedback_add(struct catalog *c, const struct feedback *new, struct arena *mem,
                 struct feedback *ret, struct err *err);
/* Oldest first. Goes with its completion. */
int feedback_list(struct catalog *c, const char *completion, struct arena *mem,
                  struct feedback_list *ret, struct err *err);

#endif
