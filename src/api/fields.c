#include "api/fields.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>

struct fields fields_of(const struct http_request *req, struct http_response *res) {
    return (struct fields){.o = req->json, .res = res};
}

void fields_path(const struct fields *f, const char *key, char out[FIELDS_PATH]) {
    bool dot = f->at[0] && key && key[0];
    snprintf(out, FIELDS_PATH, "%.80s%s%.36s", f->at, dot ? "." : "", key ? key : "");
}

int fields_wrong(const struct fields *f, const char *key, const char *code, const char *fmt, ...) {
    char path[FIELDS_PATH], message[1024];
    va_list args;
    fields_path(f, key, path);
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return http_error(f->res, 400, code, path[0] ? path : NULL, "%s", message);
}

static const json_t *member(const struct fields *f, const char *key) {
    const json_t *v = f->o ? json_object_get(f->o, key) : NULL;
    return v && !json_is_null(v) ? v : NULL;
}

bool fields_has(const struct fields *f, const char *key) { return member(f, key) != NULL; }

static const char *kind(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return json_array_size(v) ? "an array" : "an empty array";
    case JSON_STRING: return json_string_length(v) ? "a string" : "an empty string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a decimal number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "something else";
}

static int wrong_type(const struct fields *f, const char *key, const json_t *v, const char *want) {
    char path[FIELDS_PATH];
    fields_path(f, key, path);
    return fields_wrong(f, key, "invalid_type",
                        "Invalid type for '%s': expected %s, but got %s instead.", path, want,
                        kind(v));
}

int fields_required(const struct fields *f, const char *key) {
    char path[FIELDS_PATH];
    if (member(f, key)) return 0;
    fields_path(f, key, path);
    return fields_wrong(f, key, "missing_required_parameter", "Missing required parameter: '%s'.",
                        path);
}

/* is the word, of n bytes, in the list? its number, or -1 */
static int word_index(const char *names, const char *word, size_t n) {
    int i = 0;
    for (const char *at = names; *at; i++) {
        size_t k = strcspn(at, " ");
        if (k == n && memcmp(at, word, n) == 0) return i;
        at += k + strspn(at + k, " ");
    }
    return -1;
}

int fields_known(const struct fields *f, const char *names) {
    const char *key;
    json_t *v;
    if (!f->o) return 0;
    json_object_foreach((json_t *)f->o, key, v) {
        char path[FIELDS_PATH];
        if (word_index(names, key, strlen(key)) >= 0) continue;
        fields_path(f, key, path);
        return fields_wrong(f, key, "unknown_parameter", "Unknown parameter: '%s'.", path);
    }
    return 0;
}

int fields_object(const struct fields *f, const char *key, struct fields *ret) {
    const json_t *v = member(f, key);
    if (v && !json_is_object(v)) return wrong_type(f, key, v, "an object");
    *ret = (struct fields){.o = v, .res = f->res};
    fields_path(f, key, ret->at);
    return 0;
}

int fields_array(const struct fields *f, const char *key, size_t min, size_t max,
                 const json_t **ret) {
    const json_t *v = member(f, key);
    char path[FIELDS_PATH];
    *ret = NULL;
    if (!v) return 0;
    if (!json_is_array(v)) return wrong_type(f, key, v, "an array");
    size_t n = json_array_size(v);
    fields_path(f, key, path);
    if (n < min && n == 0)
        return fields_wrong(f, key, "empty_array",
                            "Invalid '%s': empty array. Expected an array with minimum length %zu, "
                            "but got an empty array instead.",
                            path, min);
    if (n < min)
        return fields_wrong(f, key, "array_below_min_length",
                            "Invalid '%s': array too short. Expected an array with minimum length "
                            "%zu, but got an array with length %zu instead.",
                            path, min, n);
    if (n > max)
        return fields_wrong(f, key, "array_above_max_length",
                            "Invalid '%s': array too long. Expected an array with maximum length "
                            "%zu, but got an array with length %zu instead.",
                            path, max, n);
    *ret = v;
    return 0;
}

int fields_item(const struct fields *f, const char *key, size_t i, struct fields *ret) {
    char path[FIELDS_PATH], item[FIELDS_PATH];
    const json_t *v = json_array_get(member(f, key), i);
    fields_path(f, key, path);
    snprintf(item, sizeof item, "%.90s[%zu]", path, i);
    *ret = (struct fields){.o = v, .res = f->res};
    memcpy(ret->at, item, sizeof item);
    if (json_is_object(v)) return 0;
    ret->o = NULL;
    return fields_wrong(ret, NULL, "invalid_type",
                        "Invalid type for '%s': expected an object, but got %s instead.", item,
                        v ? kind(v) : "nothing");
}

/* code points of what jansson has checked to be UTF-8 */
static size_t characters(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

int fields_str(const struct fields *f, const char *key, size_t min, size_t max, struct str *ret) {
    const json_t *v = member(f, key);
    char path[FIELDS_PATH];
    if (!v) return 0;
    if (!json_is_string(v)) return wrong_type(f, key, v, "a string");
    struct str s = json_str(v);
    size_t n = characters(s);
    fields_path(f, key, path);
    if (n < min)
        return fields_wrong(f, key, "string_below_min_length",
                            "Invalid '%s': string too short. Expected a string with minimum length "
                            "%zu, but got a string with length %zu instead.",
                            path, min, n);
    if (n > max)
        return fields_wrong(f, key, "string_above_max_length",
                            "Invalid '%s': string too long. Expected a string with maximum length "
                            "%zu, but got a string with length %zu instead.",
                            path, max, n);
    if (s.n && memchr(s.p, '\0', s.n))
        return fields_wrong(f, key, "invalid_value", "Invalid '%s': it holds a NUL character.",
                            path);
    *ret = s;
    return 0;
}

int fields_i64(const struct fields *f, const char *key, int64_t min, int64_t max, int64_t *ret) {
    const json_t *v = member(f, key);
    char path[FIELDS_PATH];
    if (!v) return 0;
    double real = json_is_real(v) ? json_real_value(v) : 0.5;
    bool whole = fabs(real) <= 0x1p53 && real == floor(real);
    if (!json_is_integer(v) && !whole) return wrong_type(f, key, v, "an integer");
    json_int_t x = whole ? (json_int_t)real : json_integer_value(v);
    fields_path(f, key, path);
    if (x < min)
        return fields_wrong(f, key, "integer_below_min_value",
                            "Invalid '%s': integer below minimum value. Expected a value >= %lld, "
                            "but got %lld instead.",
                            path, (long long)min, (long long)x);
    if (x > max)
        return fields_wrong(f, key, "integer_above_max_value",
                            "Invalid '%s': integer above maximum value. Expected a value <= %lld, "
                            "but got %lld instead.",
                            path, (long long)max, (long long)x);
    *ret = x;
    return 0;
}

static int get_double(const struct fields *f, const char *key, double min, bool above, double max,
                      double *ret) {
    const json_t *v = member(f, key);
    char path[FIELDS_PATH];
    if (!v) return 0;
    if (!json_is_number(v)) return wrong_type(f, key, v, "a decimal");
    double x = json_number_value(v);
    fields_path(f, key, path);
    if (!(above ? x > min : x >= min))
        return fields_wrong(
            f, key, "decimal_below_min_value",
            "Invalid '%s': decimal below minimum value. Expected a value %s %g, but "
            "got %g instead.",
            path, above ? ">" : ">=", min, x);
    if (!(x <= max))
        return fields_wrong(
            f, key, "decimal_above_max_value",
            "Invalid '%s': decimal above maximum value. Expected a value <= %g, but "
            "got %g instead.",
            path, max, x);
    *ret = x;
    return 0;
}

int fields_double(const struct fields *f, const char *key, double min, double max, double *ret) {
    return get_double(f, key, min, false, max, ret);
}

int fields_double_above(const struct fields *f, const char *key, double min, double max,
                        double *ret) {
    return get_double(f, key, min, true, max, ret);
}

int fields_bool(const struct fields *f, const char *key, bool *ret) {
    const json_t *v = member(f, key);
    if (!v) return 0;
    if (!json_is_boolean(v)) return wrong_type(f, key, v, "a boolean");
    *ret = json_is_true(v);
    return 0;
}

/* 'a', 'b', and 'c' */
static void list_words(const char *names, struct buf *out) {
    int count = 0, i = 0;
    for (const char *at = names; *at; at += strcspn(at, " "), at += strspn(at, " ")) count++;
    for (const char *at = names; *at; i++) {
        size_t n = strcspn(at, " ");
        const char *sep = i == 0 ? "" : count == 2 ? " and " : i == count - 1 ? ", and " : ", ";
        buf_printf(out, "%s'%.*s'", sep, (int)n, at);
        at += n + strspn(at + n, " ");
    }
}

int fields_word(const struct fields *f, const char *key, const char *names, int *ret) {
    const json_t *v = member(f, key);
    if (!v) return 0;
    if (!json_is_string(v)) return wrong_type(f, key, v, "a string");
    struct str s = json_str(v);
    int i = word_index(names, s.p, s.n);
    if (i >= 0 && s.n) {
        *ret = i;
        return 0;
    }
    struct buf words;
    buf_init(&words, 4096);
    list_words(names, &words);
    int rc =
        fields_wrong(f, key, "invalid_value", "Invalid value: '%.*s'. Supported values are: %s.",
                     s.n > 100 ? 100 : (int)s.n, s.p, buf_view(&words).p);
    buf_release(&words);
    return rc;
}

int fields_metadata(const struct fields *f, const char *key, const json_t **ret) {
    struct fields m;
    const char *name;
    json_t *v;
    struct str s;
    *ret = NULL;
    int rc = fields_object(f, key, &m);
    if (rc || !m.o) return rc;
    if (json_object_size(m.o) > 16)
        return fields_wrong(f, key, "object_above_max_properties",
                            "Invalid '%s': too many properties. Expected an object with at most 16 "
                            "properties, but got an object with %zu properties instead.",
                            m.at, json_object_size(m.o));
    json_object_foreach((json_t *)m.o, name, v) {
        if (characters(str_of(name)) > 64)
            return fields_wrong(f, key, "string_above_max_length",
                                "Invalid '%s': the key '%.80s...' is longer than 64 characters.",
                                m.at, name);
        if (!json_is_string(v)) return wrong_type(&m, name, v, "a string");
        if ((rc = fields_str(&m, name, 0, 512, &s)) != 0) return rc;
    }
    *ret = m.o;
    return 0;
}
