/* The data source of an eval's run: checked when the run is ordered, and its rows read one by one
 * while it goes. */
#ifndef API_EVAL_SOURCE_H
#define API_EVAL_SOURCE_H

#include "api/fields.h"
#include "store/blobs.h"
#include "store/evals.h"

/* f: the data_source; config: the eval's. Answers 400 naming what is wrong. *ret_model: NULL where
 * nothing is asked; *ret_picked: the ids of the stored completions that the source means now, as
 * JSON, or NULL; in the arena. */
int eval_source_check(struct http_request *req, const struct fields *f, const json_t *config,
                      const char **ret_model, const char **ret_picked, struct err *err);

struct eval_rows {
    struct catalog *catalog;
    json_t *source;        /* the data_source; owned */
    const json_t *content; /* rows in it */
    json_t *picked;        /* ids; owned */
    struct file_map file;
    struct str *lines; /* of the file */
    size_t cap;
    int64_t count;
};
/* ERR_INVALID: it has no rows, or its file is gone; for the run's error. */
int eval_rows_open(struct catalog *c, const struct eval_run *run, struct eval_rows *ret,
                   struct err *err);
void eval_rows_close(struct eval_rows *r);

struct eval_row {
    json_t *item;             /* an object; owned */
    json_t *sample;           /* what the row gives as answer, or NULL; owned */
    json_t *request, *answer; /* of a stored completion, or NULL; owned */
};
/* Any thread. An error is this row's alone; row is to be released in any case. */
int eval_row_read(const struct eval_rows *r, int64_t i, struct arena *mem, struct eval_row *ret,
                  struct err *err);
void eval_row_release(struct eval_row *row);
/* The chat request for a row, the caller's; *ret NULL: the run asks nothing. */
int eval_row_request(const struct eval_rows *r, const struct eval_row *row, const char *model,
                     json_t **ret, struct err *err);

#endif
