/* What a model has answered in use, as rows: our own stored completions, and logs of requests and
 * answers in OpenAI's form. Rows come out as JSONL:
 *
 *     {"id","created_at","model","metadata"?,"feedback":{"score"}?,"messages":[...],"tools"?}
 *
 * A correction (what the answer should have been) makes a row of its own kind: a human's, and the
 * answer it corrects is left out. Lines that are no pair of request and answer pass unchanged: the
 * reader judges them. */
#ifndef DATA_PRODUCTION_H
#define DATA_PRODUCTION_H

#include "base/json.h"
#include "store/blobs.h"

struct production_filter {
    int64_t since, until; /* Unix seconds, since <= t < until; 0: any */
    const char *model;    /* NULL: any */
    const struct meta_filter *metadata;
    size_t metadata_count;
};

struct production_out {
    struct blob_writer *rows, *corrections;
    int64_t row_count, correction_count;
    int64_t left_out; /* by the filter, or without an answer */
};

int production_stored(struct catalog *c, const struct production_filter *f,
                      struct production_out *out, struct err *err);
/* Lines of a log: rows of chat, {"request","response"} (with or without "body" inside),
 * {"body","response"} as batches have it, {"input","output"}. */
int production_log(struct str text, const struct production_filter *f, struct production_out *out,
                   struct err *err);

/* A record of a request and its answer as a row (the caller's); NULL where it is none. */
json_t *production_row(const json_t *record);

#endif
