/* The bytes of files, by content: $ATTUNE_HOME/blobs/aa/<sha256>. Written beside as they come,
 * hashed on the way, synced, and renamed in the transaction that adds the row which refers to
 * them; removed when no row does any more. Equal content is stored once.
 *
 *     rc = blob_writer_open(c, &w, err);
 *     rc = blob_writer_add(w, p, n, err);                  // any number of times
 *     rc = files_add(c, &new_file, w, mem, &file, err);    // the bytes and the row, or neither
 *     blob_writer_free(w);                                 // in any case
 *
 * A writer belongs to one thread. A blob that is open or mapped stays readable when it is removed.
 */
#ifndef STORE_BLOBS_H
#define STORE_BLOBS_H

#include "base/file.h"
#include "store/catalog.h"

struct blob_writer;

int blob_writer_open(struct catalog *c, struct blob_writer **ret, struct err *err);
int blob_writer_add(struct blob_writer *w, const void *p, size_t n, struct err *err);
int64_t blob_writer_bytes(const struct blob_writer *w);
/* What has been added so far, readable under this path until the writer is placed or freed. */
const char *blob_writer_path(const struct blob_writer *w);
/* Syncs what was written and says its hash, before it is placed; nothing is added afterwards. */
int blob_writer_finish(struct blob_writer *w, struct err *err);
const char *blob_writer_sha256(const struct blob_writer *w); /* once finished */
void blob_writer_free(struct blob_writer *w); /* NULL is fine; forgets what was not placed */

char *blob_path(const struct catalog *c, const char *sha256); /* caller frees */
int blob_map(const struct catalog *c, const char *sha256, struct file_map *ret, struct err *err);

/* Removes blobs without a row and what killed writers left. For the start of the server; safe
 * beside other processes. */
int blobs_sweep(struct catalog *c, struct err *err);

#endif
