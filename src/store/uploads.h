/* Uploads: a file that comes in parts, put together at the end.
 *
 *   pending -> completed | cancelled | expired
 */
#ifndef STORE_UPLOADS_H
#define STORE_UPLOADS_H

#include "store/files.h"

struct upload {
    const char *id, *filename, *purpose, *mime_type;
    const char *status;
    const char *file; /* id of the file it became, or NULL */
    int64_t bytes;    /* that its parts must add up to */
    int64_t created_at, expires_at;
    int64_t file_expires_after; /* seconds; 0: never */
};
struct upload_part {
    const char *id, *upload, *blob;
    int64_t bytes, created_at;
};

#define UPLOAD_SECONDS 3600
#define UPLOAD_PARTS_MAX 4096

/* new: filename, purpose, mime_type, bytes, file_expires_after */
int uploads_add(struct catalog *c, const struct upload *new, struct arena *mem, struct upload *ret,
                struct err *err);
int uploads_get(struct catalog *c, const char *id, struct arena *mem, struct upload *ret,
                struct err *err);
/* ERR_CONFLICT: not pending any more; ERR_INVALID: more than was announced. Parts may come at the
 * same time. */
int uploads_add_part(struct catalog *c, const char *id, struct blob_writer *w, struct arena *mem,
                     struct upload_part *ret, struct err *err);
struct upload_order {
    const char *const *parts; /* ids, each once, in the order of the bytes */
    size_t count;
    const char *md5; /* hex of all bytes, or NULL */
    bool md5_wrong;  /* set where that is why */
};
/* ERR_INVALID: the parts do not add up, or another md5. Parts that are not named are dropped. */
int uploads_complete(struct catalog *c, const char *id, struct upload_order *o, struct arena *mem,
                     struct upload *ret, struct stored_file *ret_file, struct err *err);
int uploads_cancel(struct catalog *c, const char *id, struct arena *mem, struct upload *ret,
                   struct err *err);
/* What has not become a file by `now` loses its parts. */
int uploads_expire(struct catalog *c, int64_t now, struct err *err);

#endif
