/* multipart/form-data (RFC 7578) as it arrives: parts go to callbacks piece by piece, nothing is
 * kept but a line of headers. Parts hold any bytes, in any order. Limits: boundary of 70 bytes,
 * 8 KiB of headers a part, 1000 parts. One thread. */
#ifndef API_MULTIPART_H
#define API_MULTIPART_H

#include "base/buf.h"
#include "base/err.h"

#define MULTIPART_BOUNDARY_MAX 70
#define MULTIPART_HEADERS_MAX 8192
#define MULTIPART_PARTS_MAX 1000

struct multipart_part {
    struct str name;
    bool has_filename;
    struct str filename; /* last component, valid UTF-8 without control characters; may be empty */
    struct str type;     /* Content-Type, "" when absent */
};

/* Each returns 0 or an ERR_ code with err, which ends the parsing. The part lives during its call.
 */
struct multipart_events {
    int (*part)(void *ctx, const struct multipart_part *p, struct err *err);
    int (*data)(void *ctx, const char *p, size_t n, struct err *err);
};

struct multipart {
    char mark[MULTIPART_BOUNDARY_MAX + 8]; /* "\r\n--" and the boundary */
    size_t mark_n, matched;
    int state, parts;
    char after[8]; /* what followed a mark so far */
    size_t after_n;
    struct buf headers;
    const struct multipart_events *events;
    void *ctx;
};

/* From the Content-Type header of the request. ERR_INVALID when it is not multipart/form-data or
 * has no usable boundary. Release also after a failure. */
int multipart_init(struct multipart *m, const char *content_type,
                   const struct multipart_events *events, void *ctx, struct err *err);
int multipart_feed(struct multipart *m, const char *p, size_t n, struct err *err);
/* ERR_INVALID when the closing boundary has not come. */
int multipart_finish(const struct multipart *m, struct err *err);
void multipart_release(struct multipart *m);

#endif
