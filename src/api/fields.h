/* Fields of a request's JSON, checked, with the messages that OpenAI's API gives. A struct fields
 * is one object of the body and its place in it. Absent and null are the same: the getter leaves
 * *ret alone (put the default there first) and returns 0. What is wrong is answered with 400, code
 * and the dotted path as param, and the getter returns HTTP_ANSWERED.
 *
 *     struct fields f = fields_of(req, res);
 *     double temperature = 1;
 *     struct str model;
 *     int rc = fields_known(&f, "model messages temperature");
 *     if (!rc) rc = fields_required(&f, "model");
 *     if (!rc) rc = fields_str(&f, "model", 1, 256, &model);
 *     if (!rc) rc = fields_double(&f, "temperature", 0, 2, &temperature);
 */
#ifndef API_FIELDS_H
#define API_FIELDS_H

#include "api/http.h"

#define FIELDS_PATH 120

struct fields {
    const json_t *o;      /* NULL: an object that is absent; all its fields are */
    char at[FIELDS_PATH]; /* "" for the body, "method.dpo", "messages[3]" */
    struct http_response *res;
};

struct fields fields_of(const struct http_request *req, struct http_response *res);
/* The member that is an object (at.key), or absent. */
int fields_object(const struct fields *f, const char *key, struct fields *ret);
/* The member that is an array of min..max items; *ret NULL when absent. */
int fields_array(const struct fields *f, const char *key, size_t min, size_t max,
                 const json_t **ret);
/* Item i of an array member, which must be an object (at.key[i]). */
int fields_item(const struct fields *f, const char *key, size_t i, struct fields *ret);

bool fields_has(const struct fields *f, const char *key); /* present and not null */
int fields_required(const struct fields *f, const char *key);
/* Refuses members that are not in the list, names separated by spaces. */
int fields_known(const struct fields *f, const char *names);
/* min and max count characters (code points). A NUL in it is refused. */
int fields_str(const struct fields *f, const char *key, size_t min, size_t max, struct str *ret);
int fields_i64(const struct fields *f, const char *key, int64_t min, int64_t max, int64_t *ret);
/* `above`: min itself is not allowed. */
int fields_double(const struct fields *f, const char *key, double min, double max, double *ret);
int fields_double_above(const struct fields *f, const char *key, double min, double max,
                        double *ret);
int fields_bool(const struct fields *f, const char *key, bool *ret);
/* One of the words of `names`, separated by spaces; *ret is its number from 0. */
int fields_word(const struct fields *f, const char *key, const char *names, int *ret);
/* Up to 16 pairs, keys of 64 and string values of 512 characters; *ret NULL when absent. */
int fields_metadata(const struct fields *f, const char *key, const json_t **ret);

/* 400 with the path of the member (key NULL: the object itself) as param. */
int fields_wrong(const struct fields *f, const char *key, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* "messages[3].role" */
void fields_path(const struct fields *f, const char *key, char out[FIELDS_PATH]);

#endif
