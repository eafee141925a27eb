/* Files: a name, a purpose and the hash of the bytes (blobs.h). */
#ifndef STORE_FILES_H
#define STORE_FILES_H

#include "store/blobs.h"

struct stored_file {
    const char *id, *filename, *purpose;
    const char *status, *status_details; /* "processed"; details: NULL */
    const char *blob;                    /* SHA-256 of its bytes */
    int64_t bytes, created_at, expires_at;
};
struct file_list {
    struct stored_file *list;
    size_t count;
    bool has_more;
};

/* new: filename, purpose, expires_at; status NULL: "processed". w: all bytes were added; it is
 * placed, to be freed by the caller. */
int files_add(struct catalog *c, const struct stored_file *new, struct blob_writer *w,
              struct arena *mem, struct stored_file *ret, struct err *err);
int files_get(struct catalog *c, const char *id, struct arena *mem, struct stored_file *ret,
              struct err *err);
/* purpose NULL: all. Expired files are neither got nor listed. */
int files_list(struct catalog *c, const char *purpose, const struct page *page, struct arena *mem,
               struct file_list *ret, struct err *err);
int files_delete(struct catalog *c, const char *id, struct err *err);
/* Deletes what has expired by `now`. */
int files_expire(struct catalog *c, int64_t now, struct err *err);

#endif
