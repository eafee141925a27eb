/* Strict JSON read into a flat list of values that view the text: no tree, no copy but of strings
 * with escapes. For data sets, where base/json.h is too slow: rows of about 1 kB go through jansson
 * at 43 MB/s and through this reader at some 250 MB/s (one thread each, `make bench-source`).
 *
 * Accepts and refuses what base/json.h does, and yields the same values, but for its limits: 100
 * levels of nesting, JSON_VIEW_VALUES_MAX values. U+0000 inside strings is fine, in keys it is not.
 *
 *     struct json_views all = {0};
 *     if (json_view_read(text, &arena, &all, &fault, err)) ...
 *     const struct json_view *m = json_view_get(all.list, "messages");
 *     const struct json_view *v = json_view_first(m);
 *     for (uint32_t i = 0; i < m->count; i++, v = json_view_next(v)) ...
 *     json_views_release(&all);
 *
 * Values stay where they are until the list is used for the next text; their texts live as long as
 * the text and the arena. Any thread, each with a list of its own. */
#ifndef TEXT_JSON_VIEW_H
#define TEXT_JSON_VIEW_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

#define JSON_VIEW_DEPTH 100
#define JSON_VIEW_VALUES_MAX ((size_t)1 << 20)

enum json_view_type {
    VIEW_NULL,
    VIEW_FALSE,
    VIEW_TRUE,
    VIEW_NUMBER,
    VIEW_STRING,
    VIEW_ARRAY,
    VIEW_OBJECT
};

struct json_view {
    struct str text; /* of a string its characters, of all else the JSON as written */
    uint32_t count;  /* members of an object, elements of an array */
    uint32_t size;   /* values in it, with itself and keys */
    enum json_view_type type;
};

struct json_views {
    struct json_view *list; /* the whole value is list[0]; an object's key precedes its value */
    size_t count, cap;
    struct str *keys; /* scratch */
    size_t keys_cap;
};

/* why a text was refused, for those who can do something about it */
enum json_view_fault { JSON_VIEW_FINE, JSON_VIEW_SYNTAX, JSON_VIEW_NOT_UTF8, JSON_VIEW_LIMIT };

/* ERR_INVALID says what and at which byte from 1. */
int json_view_read(struct str text, struct arena *a, struct json_views *ret,
                   enum json_view_fault *ret_fault, struct err *err);
void json_views_release(struct json_views *v);

/* the first element of an array, the first key of an object */
static inline const struct json_view *json_view_first(const struct json_view *v) { return v + 1; }
/* the value behind v in an array; of a key, its value */
static inline const struct json_view *json_view_next(const struct json_view *v) {
    return v + v->size;
}
/* the member, NULL where there is none or o is NULL or no object */
const struct json_view *json_view_get(const struct json_view *o, const char *key);
static inline bool json_view_is(const struct json_view *v, enum json_view_type type) {
    return v && v->type == type;
}
const char *json_view_type_name(const struct json_view *v); /* "a list"; of NULL "absent" */
double json_view_number(const struct json_view *v);         /* of a number */

/* s, which is UTF-8, as a JSON string with quotes; runs of plain characters at once */
void json_view_quote(struct buf *b, struct str s);
/* the value as compact JSON */
void json_view_write(struct buf *b, const struct json_view *v);

#endif
