/* The catalog: everything the server and the commands must not forget, in $ATTUNE_HOME/catalog.db
 * (SQLite, WAL, synchronous=FULL, foreign keys) with the bytes of files beside it (blobs.h). A
 * function that returned 0 has its change on disk; a transaction is all or nothing.
 *
 * Threads: one struct catalog serves all threads of a process. It has two connections, one for
 * writing and one for reading, each behind a lock of its own, so readers do not wait for a
 * writer's fsync. Other processes (`attune work`, the commands) open the same file; SQLite's locks
 * hold them apart, waiting up to 30 s. A struct catalog is not used across fork: exec, or open.
 *
 * Rows: what a function reads goes to the caller's arena (a request's), so nothing is freed one by
 * one; strings are NUL-terminated, NULL where the catalog has none. JSON is kept as text.
 * Times are Unix seconds, 0: none. Lists are in the order in which rows were made, and a page
 * begins behind `after` wherever that row stands, whether it matches the filters or not.
 *
 *     rc = catalog_open(NULL, &c, err);
 *     rc = files_get(c, id, &request->mem, &file, err);      // ERR_NOT_FOUND: no such file: "x"
 *     catalog_close(c);
 */
#ifndef STORE_CATALOG_H
#define STORE_CATALOG_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct catalog;

/* home NULL: path_home(). Makes the directory and the catalog, brings an older catalog up to date.
 * ERR_UNSUPPORTED: it belongs to a newer attune; ERR_CORRUPT: no catalog, or damaged. */
int catalog_open(const char *home, struct catalog **ret, struct err *err);
void catalog_close(struct catalog *c);
const char *catalog_home(const struct catalog *c);
/* A path below home ("jobs/ftjob-x"); caller frees. An absolute one stays. */
char *catalog_path(const struct catalog *c, const char *below);

/* `limit` rows from behind the row `after` (NULL: from the beginning), newest first or oldest
 * first. An id that names no row is ERR_NOT_FOUND. */
struct page {
    const char *after;
    int64_t limit;
    bool ascending;
};

/* one metadata[key]=value of a query */
struct meta_filter {
    struct str key, value;
};
#define META_FILTERS_MAX 16

/* "file-" + 24 letters and digits from the system's randomness */
#define ID_RANDOM 24
#define ID_SIZE 64
void id_new(const char *prefix, char ret[ID_SIZE]);
/* n random letters and digits and NUL */
void id_random(char *to, int n);

#endif
