#include "api/reader.h"

#include <stdarg.h>
#include <stdio.h>

#define TEXT_MAX ((size_t)1 << 30) /* the body has its own limit */

void reader_init(struct reader *r, const json_t *object, struct http_response *res) {
    *r = (struct reader){.f = {.o = object, .res = res}};
    if (!json_is_object(object))
        reader_bad(r, "", "invalid_type", "The body must be a JSON object.");
}

int reader_bad(struct reader *r, const char *key, const char *code, const char *fmt, ...) {
    char text[400];
    va_list ap;
    if (r->rc) return r->rc;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return r->rc = fields_wrong(&r->f, key[0] ? key : NULL, code, "%s", text);
}

static bool is_there(const struct reader *r, const char *key) {
    return !r->rc && fields_has(&r->f, key);
}

const json_t *reader_get(const struct reader *r, const char *key) {
    return is_there(r, key) ? json_object_get(r->f.o, key) : NULL;
}

bool reader_str(struct reader *r, const char *key, struct str *ret) {
    if (!is_there(r, key)) return false;
    r->rc = fields_str(&r->f, key, 0, TEXT_MAX, ret);
    return r->rc == 0;
}

bool reader_bool(struct reader *r, const char *key, bool *ret) {
    if (!is_there(r, key)) return false;
    r->rc = fields_bool(&r->f, key, ret);
    return r->rc == 0;
}

bool reader_int(struct reader *r, const char *key, int64_t min, int64_t max, int64_t *ret) {
    if (!is_there(r, key)) return false;
    r->rc = fields_i64(&r->f, key, min, max, ret);
    return r->rc == 0;
}

bool reader_number(struct reader *r, const char *key, double min, double max, double *ret) {
    if (!is_there(r, key)) return false;
    r->rc = fields_double(&r->f, key, min, max, ret);
    return r->rc == 0;
}

const json_t *reader_object(struct reader *r, const char *key) {
    struct fields part = {0};
    if (is_there(r, key)) r->rc = fields_object(&r->f, key, &part);
    return r->rc ? NULL : part.o;
}

const json_t *reader_array(struct reader *r, const char *key) {
    const json_t *list = NULL;
    if (is_there(r, key)) r->rc = fields_array(&r->f, key, 0, SIZE_MAX, &list);
    return r->rc ? NULL : list;
}

void reader_require(struct reader *r, const char *key) {
    if (!r->rc) r->rc = fields_required(&r->f, key);
}

const json_t *reader_metadata(struct reader *r) {
    const json_t *m = NULL;
    if (!r->rc) r->rc = fields_metadata(&r->f, "metadata", &m);
    return r->rc ? NULL : m;
}

void reader_enter(const struct reader *r, const json_t *part, const char *path,
                  struct reader *ret) {
    *ret = (struct reader){.f = {.o = part, .res = r->f.res}, .rc = r->rc};
    fields_path(&r->f, path, ret->f.at);
    if (ret->rc || json_is_object(part)) return;
    ret->f.o = NULL;
    reader_bad(ret, "", "invalid_type", "Invalid type for '%s': expected an object.", ret->f.at);
}

void reader_leave(struct reader *r, const struct reader *part) {
    if (!r->rc) r->rc = part->rc;
}
