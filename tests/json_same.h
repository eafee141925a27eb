/* Whether a list of views says what jansson's tree does. For tests and fuzzing. */
#ifndef TESTS_JSON_SAME_H
#define TESTS_JSON_SAME_H

#include "base/json.h"
#include "text/json_view.h"

#include <errno.h>
#include <stdlib.h>

static inline double double_of(struct str s) {
    char *z = strndup(s.p, s.n);
    double x = strtod(z, NULL);
    free(z);
    return x;
}

static inline bool same_number(const struct json_view *v, const json_t *j) {
    if (v->type != VIEW_NUMBER) return false;
    double a = double_of(v->text), b = json_number_value(j);
    if (!json_is_integer(j)) return !(a < b) && !(a > b);
    char *z = strndup(v->text.p, v->text.n), *end;
    errno = 0;
    bool same = strtoll(z, &end, 10) == json_integer_value(j) && !*end && !errno;
    free(z);
    return same;
}

static inline bool json_same(const struct json_view *v, const json_t *j) {
    const struct json_view *at = v + 1;
    switch (json_typeof(j)) {
    case JSON_NULL: return v->type == VIEW_NULL;
    case JSON_TRUE: return v->type == VIEW_TRUE;
    case JSON_FALSE: return v->type == VIEW_FALSE;
    case JSON_STRING: return v->type == VIEW_STRING && str_eq(v->text, json_str(j));
    case JSON_INTEGER:
    case JSON_REAL: return same_number(v, j);
    case JSON_ARRAY:
        if (v->type != VIEW_ARRAY || v->count != json_array_size(j)) return false;
        for (size_t i = 0; i < v->count; i++, at = json_view_next(at))
            if (!json_same(at, json_array_get(j, i))) return false;
        return at == v + v->size;
    case JSON_OBJECT:
        if (v->type != VIEW_OBJECT || v->count != json_object_size(j)) return false;
        for (size_t i = 0; i < v->count; i++, at += 1 + at[1].size) {
            const json_t *member = json_object_getn(j, at->text.p, at->text.n);
            if (!member || !json_same(at + 1, member)) return false;
        }
        return at == v + v->size;
    }
    return false;
}

/* NULL, or what differs: both read it and mean the same, or both refuse it. Where the views stop
 * at a limit of theirs alone there is nothing to compare. */
static inline const char *json_difference(struct str text) {
    struct arena a;
    struct json_views views = {0};
    struct err mine = {0}, other = {0};
    enum json_view_fault fault;
    json_t *j = NULL;
    const char *ret = NULL;
    arena_init(&a, (size_t)256 << 20);
    int rc = json_view_read(text, &a, &views, &fault, &mine);
    int rc_other = json_read(text, "jansson", &j, &other);
    bool deep = rc && strstr(mine.msg, "levels deep");
    if (!rc != !rc_other && fault != JSON_VIEW_LIMIT && !deep)
        ret = rc ? "refused, but jansson reads it" : "read, but jansson refuses it";
    else if (!rc && !rc_other && !json_same(views.list, j))
        ret = "other values than jansson's";
    json_decref(j);
    json_views_release(&views);
    arena_release(&a);
    return ret;
}

#endif
