/* Batches: files of requests that are answered one after the other.
 *
 *   validating -> in_progress -> finalizing -> completed       (the runner)
 *   validating -> failed; validating | in_progress | finalizing -> expired
 *   validating | in_progress -> cancelling -> cancelled        (cancelling: the user)
 */
#ifndef STORE_BATCHES_H
#define STORE_BATCHES_H

#include "store/files.h"

struct batch {
    const char *id, *status;
    const char *endpoint, *completion_window, *input_file, *model;
    const char *output_file, *error_file;  /* ids or NULL */
    const char *errors, *usage, *metadata; /* JSON or NULL */
    int64_t total, completed, failed;      /* requests */
    int64_t output_expires_after;          /* seconds; 0: never */
    int64_t created_at, in_progress_at, expires_at, finalizing_at, completed_at, failed_at,
        expired_at, cancelling_at, cancelled_at;
};
struct batch_list {
    struct batch *list;
    size_t count;
    bool has_more;
};

/* new: endpoint, completion_window, input_file, metadata, output_expires_after, expires_at. A file
 * that is not there: ERR_NOT_FOUND. */
int batches_add(struct catalog *c, const struct batch *new, struct arena *mem, struct batch *ret,
                struct err *err);
int batches_get(struct catalog *c, const char *id, struct arena *mem, struct batch *ret,
                struct err *err);
int batches_list(struct catalog *c, const struct page *page, struct arena *mem,
                 struct batch_list *ret, struct err *err);
/* To "cancelling"; ERR_CONFLICT where it is too late. */
int batches_cancel(struct catalog *c, const char *id, struct arena *mem, struct batch *ret,
                   struct err *err);

/* --- for the runner --- */

/* The oldest batch in this state; *ret_found false: none. */
int batches_oldest(struct catalog *c, const char *status, struct arena *mem, struct batch *ret,
                   bool *ret_found, struct err *err);
struct batch_made {
    struct stored_file file; /* as for files_add */
    struct blob_writer *w;   /* NULL: there is none; the caller frees it */
};
struct batch_update {
    const char *from, *to; /* states; the same: only the numbers change */
    int64_t total, completed, failed;
    const char *model, *errors, *usage; /* NULL: as it was */
    struct batch_made output, error;    /* files that it now has */
};
/* With the stamp of the new state and, at an end, its webhook; all of it or nothing, the files too.
 * ERR_CANCELLED: it is not in `from` (any more). */
int batches_update(struct catalog *c, const char *id, const struct batch_update *u,
                   struct err *err);

#endif
