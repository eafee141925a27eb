/* JSON over jansson: reading with limits and positions, getters whose errors name the place, and
 * writing. A json_t * is jansson's; json_decref frees it. Duplicate keys are refused. Strings may
 * hold NUL (\u0000): use json_str, not json_string_value. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <jansson.h>
#include <stdint.h>

/* One value of any type. An integer that is too big for 64 bits is read as a double, the others
 * stay integers. `where` names the source in messages ("config.json", "line 12"). */
int json_read(struct str text, const char *where, json_t **ret, struct err *err);
/* A whole file of at most max_bytes. */
int json_read_file(const char *path, size_t max_bytes, json_t **ret, struct err *err);

static inline struct str json_str(const json_t *s) {
    return (struct str){json_string_value(s), json_string_length(s)};
}

/* Members of an object. Absent or null: the getter leaves *ret alone and returns 0 (put the default
 * there first). Wrong type or out of range: ERR_INVALID naming `where`, key and value. */
int json_get_str(const json_t *o, const char *key, const char *where, struct str *ret,
                 struct err *err);
int json_get_i64(const json_t *o, const char *key, const char *where, int64_t min, int64_t max,
                 int64_t *ret, struct err *err);
int json_get_double(const json_t *o, const char *key, const char *where, double *ret,
                    struct err *err);
int json_get_bool(const json_t *o, const char *key, const char *where, bool *ret, struct err *err);

/* Compact text of any value, key order kept, non-ASCII as UTF-8, doubles with 17 digits. */
void json_write(const json_t *v, struct buf *b);
/* s as a JSON string with quotes. Bytes that are not UTF-8 become U+FFFD. */
void json_write_str(struct buf *b, struct str s);

#endif
