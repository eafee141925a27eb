#include "api/reader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define METADATA_PAIRS 16
#define METADATA_KEY 64
#define METADATA_VALUE 512

void reader_init(struct reader *f, const json_t *object, struct err *err) {
    *f = (struct reader){.object = object, .err = err};
    if (!json_is_object(object))
        reader_bad(f, "", "invalid_type", "The body must be a JSON object.");
}

static void join(const struct reader *f, const char *path, char *ret, size_t size) {
    const char *dot = f->where[0] && path[0] && path[0] != '[' ? "." : "";
    snprintf(ret, size, "%.80s%s%.80s", f->where, dot, path);
}

int reader_bad(struct reader *f, const char *path, const char *code, const char *fmt, ...) {
    char text[400];
    va_list ap;
    if (f->rc) return f->rc;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    join(f, path, f->param, sizeof f->param);
    f->code = code;
    return f->rc = err_set(f->err, ERR_INVALID, "%s", text);
}

const json_t *reader_get(const struct reader *f, const char *key) {
    const json_t *v = f->rc ? NULL : json_object_get(f->object, key);
    return json_is_null(v) ? NULL : v;
}

static const char *type_name(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a decimal number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "something else";
}

static bool wrong_type(struct reader *f, const char *key, const char *want, const json_t *got) {
    char path[200];
    join(f, key, path, sizeof path);
    reader_bad(f, key, "invalid_type", "Invalid type for '%s': expected %s, but got %s instead.",
               path, want, type_name(got));
    return false;
}

bool reader_str(struct reader *f, const char *key, struct str *ret) {
    const json_t *v = reader_get(f, key);
    if (!v) return false;
    if (!json_is_string(v)) return wrong_type(f, key, "a string", v);
    *ret = json_str(v);
    return true;
}

bool reader_bool(struct reader *f, const char *key, bool *ret) {
    const json_t *v = reader_get(f, key);
    if (!v) return false;
    if (!json_is_boolean(v)) return wrong_type(f, key, "a boolean", v);
    *ret = json_is_true(v);
    return true;
}

bool reader_int(struct reader *f, const char *key, int64_t min, int64_t max, int64_t *ret) {
    const json_t *v = reader_get(f, key);
    char path[200];
    if (!v) return false;
    if (!json_is_integer(v)) return wrong_type(f, key, "an integer", v);
    int64_t x = json_integer_value(v);
    join(f, key, path, sizeof path);
    if (x < min)
        reader_bad(f, key, "integer_below_min_value",
                   "Invalid '%s': integer below minimum value. Expected a value >= %lld, but got "
                   "%lld instead.",
                   path, (long long)min, (long long)x);
    else if (x > max)
        reader_bad(f, key, "integer_above_max_value",
                   "Invalid '%s': integer above maximum value. Expected a value <= %lld, but got "
                   "%lld instead.",
                   path, (long long)max, (long long)x);
    else
        *ret = x;
    return f->rc == 0;
}

bool reader_number(struct reader *f, const char *key, double min, double max, double *ret) {
    const json_t *v = reader_get(f, key);
    char path[200];
    if (!v) return false;
    if (!json_is_number(v)) return wrong_type(f, key, "a decimal number", v);
    double x = json_number_value(v);
    join(f, key, path, sizeof path);
    if (!(x >= min))
        reader_bad(f, key, "decimal_below_min_value",
                   "Invalid '%s': decimal below minimum value. Expected a value >= %g, but got %g "
                   "instead.",
                   path, min, x);
    else if (!(x <= max))
        reader_bad(f, key, "decimal_above_max_value",
                   "Invalid '%s': decimal above maximum value. Expected a value <= %g, but got %g "
                   "instead.",
                   path, max, x);
    else
        *ret = x;
    return f->rc == 0;
}

const json_t *reader_object(struct reader *f, const char *key) {
    const json_t *v = reader_get(f, key);
    if (!v || json_is_object(v)) return v;
    wrong_type(f, key, "an object", v);
    return NULL;
}

const json_t *reader_array(struct reader *f, const char *key) {
    const json_t *v = reader_get(f, key);
    if (!v || json_is_array(v)) return v;
    wrong_type(f, key, "an array", v);
    return NULL;
}

void reader_require(struct reader *f, const char *key) {
    char path[200];
    if (f->rc || reader_get(f, key)) return;
    join(f, key, path, sizeof path);
    reader_bad(f, key, "missing_required_parameter", "Missing required parameter: '%s'.", path);
}

void reader_enter(const struct reader *f, const json_t *part, const char *path,
                  struct reader *ret) {
    *ret = (struct reader){.object = part, .rc = f->rc, .err = f->err};
    join(f, path, ret->where, sizeof ret->where);
    if (ret->rc || json_is_object(part)) return;
    reader_bad(ret, "", "invalid_type",
               "Invalid type for '%s': expected an object, but got %s instead.", ret->where,
               part ? type_name(part) : "nothing");
}

void reader_leave(struct reader *f, const struct reader *part) {
    if (f->rc || !part->rc) return;
    f->rc = part->rc;
    f->code = part->code;
    memcpy(f->param, part->param, sizeof f->param);
}

const json_t *reader_metadata(struct reader *f) {
    const json_t *m = reader_object(f, "metadata"), *value;
    const char *key;
    if (json_object_size(m) > METADATA_PAIRS)
        reader_bad(f, "metadata", "object_above_max_properties",
                   "Invalid 'metadata': too many properties. Expected at most %d, but got %zu.",
                   METADATA_PAIRS, json_object_size(m));
    json_object_foreach((json_t *)m, key, value) {
        char path[120];
        snprintf(path, sizeof path, "metadata.%.100s", key);
        if (strlen(key) > METADATA_KEY)
            reader_bad(f, path, "string_above_max_length",
                       "Invalid 'metadata': a key has more than %d bytes.", METADATA_KEY);
        else if (!json_is_string(value))
            wrong_type(f, path, "a string", value);
        else if (json_string_length(value) > METADATA_VALUE)
            reader_bad(f, path, "string_above_max_length",
                       "Invalid '%s': the value has more than %d bytes.", path, METADATA_VALUE);
    }
    return f->rc ? NULL : m;
}
