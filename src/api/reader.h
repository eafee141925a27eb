/* Reading a request's fields: each getter checks type and range, null counts as absent, and the
 * first thing that is wrong stays (later getters then do nothing), so that a reader is a plain list
 * of getters with one look at the end. Messages and codes are worded as OpenAI's. */
#ifndef API_READER_H
#define API_READER_H

#include "base/json.h"

struct reader {
    const json_t *object;
    char where[180];  /* path of `object`, "" at the top */
    int rc;           /* of the first problem */
    char param[200];  /* its dotted path: messages[0].role */
    const char *code; /* OpenAI's name for it, static; NULL: none */
    struct err *err;
};

void reader_init(struct reader *f, const json_t *object, struct err *err);
/* The problem of a field below f->object ("" means the object itself). Returns f->rc. */
int reader_bad(struct reader *f, const char *path, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* NULL when absent, null, or after a problem */
const json_t *reader_get(const struct reader *f, const char *key);
/* Into a member; absent leaves *ret alone. Returns whether it was there and right. */
bool reader_str(struct reader *f, const char *key, struct str *ret);
bool reader_bool(struct reader *f, const char *key, bool *ret);
bool reader_int(struct reader *f, const char *key, int64_t min, int64_t max, int64_t *ret);
bool reader_number(struct reader *f, const char *key, double min, double max, double *ret);
/* NULL when absent; a value of another type is a problem */
const json_t *reader_object(struct reader *f, const char *key);
const json_t *reader_array(struct reader *f, const char *key);
/* absent is a problem */
void reader_require(struct reader *f, const char *key);
/* what is wrong in a part of the request becomes a problem of the whole */
void reader_enter(const struct reader *f, const json_t *part, const char *path, struct reader *ret);
void reader_leave(struct reader *f, const struct reader *part);

/* At most 16 pairs of strings, keys up to 64 and values up to 512 bytes. NULL when absent. */
const json_t *reader_metadata(struct reader *f);

#endif
