/* Files over HTTP(S). A download goes to PATH.part and becomes PATH once its length and checksum
 * are right; one that breaks goes on where it stopped, if the server's file is still the same
 * (Range with If-Range). Plain http is for loopback alone; every redirect is checked again.
 *
 *     rc = fetch_file(&(struct fetch){.url = url, .path = path, .sha256 = hex}, err);
 */
#ifndef WEIGHTS_FETCH_H
#define WEIGHTS_FETCH_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct fetch {
    const char *url;
    const char *path;  /* fetch_file's; its directory exists */
    const char *token; /* "Authorization: Bearer", for the first host alone; or NULL */
    const char
        *sha256;   /* 64 hex digits, or NULL: what the server says about a large file, if it does */
    int64_t bytes; /* the expected length; 0: not known */
    int64_t max_bytes; /* more is an error; 0: no limit */
    int attempts;      /* in a row without a new byte; 0: 5 */
    int backoff_ms;    /* before the second one, doubled each time; 0: 500 */
    int stall_seconds; /* slower than 100 bytes a second for so long breaks; 0: 30 */
    /* called often while bytes arrive; total 0: not known. Returning false cancels. */
    bool (*progress)(void *ctx, int64_t done, int64_t total);
    void *ctx;
};

int fetch_file(const struct fetch *f, struct err *err);
/* A small answer into b, whose maximum is the limit. */
int fetch_text(const struct fetch *f, struct buf *b, struct err *err);

#endif
