/* Fields of a request where many are read one after the other: the getters of fields.h, and the
 * first thing that is wrong stays (later getters then do nothing), so that a reader is a plain list
 * of getters with one look at the end. What is wrong has been answered then. */
#ifndef API_READER_H
#define API_READER_H

#include "api/fields.h"

struct reader {
    struct fields f;
    int rc; /* of the first problem */
};

void reader_init(struct reader *r, const json_t *object, struct http_response *res);
/* The problem of a member ("" means the object itself). Returns r->rc. */
int reader_bad(struct reader *r, const char *key, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* NULL when absent, null, or after a problem */
const json_t *reader_get(const struct reader *r, const char *key);
/* Into a member; absent leaves *ret alone. Returns whether it was there and right. */
bool reader_str(struct reader *r, const char *key, struct str *ret);
bool reader_bool(struct reader *r, const char *key, bool *ret);
bool reader_int(struct reader *r, const char *key, int64_t min, int64_t max, int64_t *ret);
bool reader_number(struct reader *r, const char *key, double min, double max, double *ret);
/* NULL when absent; a value of another type is a problem */
const json_t *reader_object(struct reader *r, const char *key);
const json_t *reader_array(struct reader *r, const char *key);
void reader_require(struct reader *r, const char *key); /* absent is a problem */
const json_t *reader_metadata(struct reader *r);
/* A part of the request, "messages[3]"; what is wrong there becomes a problem of the whole. */
void reader_enter(const struct reader *r, const json_t *part, const char *path, struct reader *ret);
void reader_leave(struct reader *r, const struct reader *part);

#endif
