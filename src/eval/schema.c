/* JSON Schema over values: a table of keywords, each a function of keyword and value. Depth is
 * bounded, and so is the work of one value, as $ref can multiply it. */
#include "eval/score_json.h"

#include "base/utf8.h"
#include "eval/score_text.h"

#include <math.h>
#include <string.h>

#define DEPTH_MAX 200
#define STEPS_MAX 1000000

struct judge {
    const json_t *root;
    int depth;
    int64_t steps;
    int rc; /* the first error sticks */
    struct err *err;
};

static bool fits(struct judge *j, const json_t *schema, const json_t *v);

static bool is_type(const char *type, const json_t *v) {
    if (strcmp(type, "integer") == 0)
        return json_is_integer(v) ||
               (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)));
    return (strcmp(type, "string") == 0 && json_is_string(v)) ||
           (strcmp(type, "number") == 0 && json_is_number(v)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(v)) ||
           (strcmp(type, "null") == 0 && json_is_null(v)) ||
           (strcmp(type, "array") == 0 && json_is_array(v)) ||
           (strcmp(type, "object") == 0 && json_is_object(v));
}

static bool same(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static bool k_type(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)j, (void)s;
    if (json_is_string(k)) return is_type(json_string_value(k), v);
    for (size_t i = 0; i < json_array_size(k); i++)
        if (is_type(json_string_value(json_array_get(k, i)), v)) return true;
    return false;
}
static bool k_enum(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)j, (void)s;
    for (size_t i = 0; i < json_array_size(k); i++)
        if (same(json_array_get(k, i), v)) return true;
    return false;
}
static bool k_const(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)j, (void)s;
    return same(k, v);
}
static bool k_properties(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    const char *key;
    size_t n;
    json_t *sub;
    if (!json_is_object(v)) return true;
    json_object_keylen_foreach((json_t *)k, key, n, sub) {
        const json_t *x = json_object_getn(v, key, n);
        if (x && !fits(j, sub, x)) return false;
    }
    return true;
}
static bool k_required(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)j, (void)s;
    if (!json_is_object(v)) return true;
    for (size_t i = 0; i < json_array_size(k); i++) {
        struct str name = json_str(json_array_get(k, i));
        if (!json_object_getn(v, name.p, name.n)) return false;
    }
    return true;
}
static bool k_additional(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    const char *key;
    size_t n;
    json_t *x;
    if (!json_is_object(v)) return true;
    json_object_keylen_foreach((json_t *)v, key, n, x) {
        if (json_object_getn(json_object_get(s, "properties"), key, n)) continue;
        if (!fits(j, k, x)) return false;
    }
    return true;
}
static bool k_items(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!fits(j, k, json_array_get(v, i))) return false;
    return true;
}
static bool k_unique(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    if (!json_is_true(k)) return true;
    for (size_t a = 0; a < json_array_size(v); a++)
        for (size_t b = 0; b < a && j->steps < STEPS_MAX; b++, j->steps++)
            if (same(json_array_get(v, a), json_array_get(v, b))) return false;
    return true;
}

/* how many characters, items, or how much: what the limits compare with; NAN: not its type */
static double size_of(const json_t *v, char kind) {
    double n = 0;
    unsigned c;
    if (kind == 'i') return json_is_array(v) ? (double)json_array_size(v) : NAN;
    if (kind == 'p') return json_is_object(v) ? (double)json_object_size(v) : NAN;
    if (kind == 'n') return json_is_number(v) ? json_number_value(v) : NAN;
    if (!json_is_string(v)) return NAN;
    for (struct str s = json_str(v); s.n; n++) {
        size_t step = utf8_get(s, &c);
        s = str_from(s, step ? step : 1);
    }
    return n;
}
#define LIMIT(name, kind, op)                                                                      \
    static bool name(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {         \
        (void)j, (void)s;                                                                          \
        double x = size_of(v, kind);                                                               \
        return isnan(x) || x op json_number_value(k);                                              \
    }
LIMIT(k_min_items, 'i', >=)
LIMIT(k_max_items, 'i', <=)
LIMIT(k_min_properties, 'p', >=)
LIMIT(k_max_properties, 'p', <=)
LIMIT(k_min_length, 's', >=)
LIMIT(k_max_length, 's', <=)
LIMIT(k_minimum, 'n', >=)
LIMIT(k_maximum, 'n', <=)
LIMIT(k_above, 'n', >)
LIMIT(k_below, 'n', <)

static bool k_multiple(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)j, (void)s;
    double q = json_number_value(v) / json_number_value(k);
    return !json_is_number(v) || fabs(q - round(q)) < 1e-9 * fmax(1, fabs(q));
}
static bool k_pattern(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    bool found = true;
    if (!json_is_string(v)) return true;
    int rc = text_regex(json_str(k), json_str(v), &found, j->err);
    if (rc && !j->rc) j->rc = rc;
    return !rc && found;
}

static size_t count_fits(struct judge *j, const json_t *k, const json_t *v) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(k); i++) n += fits(j, json_array_get(k, i), v);
    return n;
}
static bool k_any(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    return count_fits(j, k, v) > 0;
}
static bool k_all(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    return count_fits(j, k, v) == json_array_size(k);
}
static bool k_one(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    return count_fits(j, k, v) == 1;
}
static bool k_not(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    return !fits(j, k, v);
}

static bool k_ref(struct judge *j, const json_t *s, const json_t *k, const json_t *v) {
    (void)s;
    struct str path = json_str(k);
    const json_t *at = j->root;
    if (str_is(path, "#")) return fits(j, at, v);
    if (!str_starts(path, STR_LIT("#/"))) at = NULL;
    path = str_from(path, 2);
    while (at && path.n) {
        size_t n = 0;
        while (n < path.n && path.p[n] != '/') n++;
        at = json_object_getn(at, path.p, n);
        path = str_from(path, n + 1);
    }
    if (at) return fits(j, at, v);
    if (!j->rc)
        j->rc = err_set(j->err, ERR_INVALID, "schema: \"$ref\": \"%.100s\" leads nowhere",
                        json_string_value(k));
    return false;
}

enum form { TEXT, NUMBER, LIST, OBJECT, SCHEMA, SCHEMAS, FLAG, TYPES, ANYTHING };

static const struct keyword {
    const char *name;
    enum form form;
    bool (*holds)(struct judge *j, const json_t *s, const json_t *k, const json_t *v);
} keywords[] = {{"type", TYPES, k_type},
                {"enum", LIST, k_enum},
                {"const", ANYTHING, k_const},
                {"properties", OBJECT, k_properties},
                {"required", LIST, k_required},
                {"additionalProperties", SCHEMA, k_additional},
                {"items", SCHEMA, k_items},
                {"minItems", NUMBER, k_min_items},
                {"maxItems", NUMBER, k_max_items},
                {"minProperties", NUMBER, k_min_properties},
                {"maxProperties", NUMBER, k_max_properties},
                {"uniqueItems", FLAG, k_unique},
                {"minLength", NUMBER, k_min_length},
                {"maxLength", NUMBER, k_max_length},
                {"pattern", TEXT, k_pattern},
                {"minimum", NUMBER, k_minimum},
                {"maximum", NUMBER, k_maximum},
                {"exclusiveMinimum", NUMBER, k_above},
                {"exclusiveMaximum", NUMBER, k_below},
                {"multipleOf", NUMBER, k_multiple},
                {"anyOf", SCHEMAS, k_any},
                {"allOf", SCHEMAS, k_all},
                {"oneOf", SCHEMAS, k_one},
                {"not", SCHEMA, k_not},
                {"$ref", TEXT, k_ref}};
#define KEYWORD_COUNT (sizeof keywords / sizeof *keywords)

static bool fits(struct judge *j, const json_t *schema, const json_t *v) {
    bool good = true;
    if (json_is_boolean(schema)) return json_is_true(schema);
    if (j->rc) return false;
    if (j->depth == DEPTH_MAX || ++j->steps >= STEPS_MAX) {
        j->rc = err_set(j->err, ERR_LIMIT, "schema: a value is too deep or too large to be judged");
        return false;
    }
    j->depth++;
    for (size_t i = 0; good && i < KEYWORD_COUNT; i++) {
        const json_t *k = json_object_get(schema, keywords[i].name);
        if (k) good = keywords[i].holds(j, schema, k, v);
    }
    j->depth--;
    return good && !j->rc;
}

int schema_fits(const json_t *schema, const json_t *value, bool *ret, struct err *err) {
    struct judge j = {.root = schema, .err = err};
    bool good = fits(&j, schema, value);
    if (!j.rc) *ret = good;
    return j.rc;
}

/* --- the schema itself --- */

static int check_at(const json_t *schema, const char *where, int depth, struct err *err);

static int list_check(const json_t *k, const char *where, int depth, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(k); i++)
        rc = check_at(json_array_get(k, i), where, depth, err);
    return rc;
}

static bool types_known(const json_t *k) {
    static const char *const types[] = {"string", "number", "integer", "boolean",
                                        "null",   "array",  "object"};
    const char *name = json_string_value(k);
    if (json_is_array(k) && json_array_size(k)) {
        for (size_t i = 0; i < json_array_size(k); i++)
            if (!json_is_string(json_array_get(k, i)) || !types_known(json_array_get(k, i)))
                return false;
        return true;
    }
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], name) == 0) return true;
    return false;
}

static bool is_form(enum form form, const json_t *k) {
    switch (form) {
    case TEXT: return json_is_string(k);
    case NUMBER: return json_is_number(k);
    case LIST:
    case SCHEMAS: return json_is_array(k) && json_array_size(k) > 0;
    case OBJECT: return json_is_object(k);
    case SCHEMA: return json_is_object(k) || json_is_boolean(k);
    case FLAG: return json_is_boolean(k);
    case TYPES: return types_known(k);
    case ANYTHING: return true;
    }
    return false;
}

static int members_check(const json_t *members, const char *where, int depth, struct err *err) {
    const char *key;
    json_t *x;
    int rc = 0;
    json_object_foreach((json_t *)members, key, x) {
        if (!rc) rc = check_at(x, where, depth, err);
    }
    return rc;
}

static int keyword_check(const struct keyword *word, const json_t *k, const char *where, int depth,
                         struct err *err) {
    bool found;
    if (!is_form(word->form, k) &&
        !(word->form == LIST && json_is_array(k) && word->name[0] == 'r'))
        return err_set(err, ERR_INVALID, "%s: \"%s\" is of the wrong form", where, word->name);
    if (word->form == SCHEMA) return check_at(k, where, depth, err);
    if (word->form == SCHEMAS) return list_check(k, where, depth, err);
    if (word->form == OBJECT) return members_check(k, where, depth, err);
    if (word->holds == k_pattern) {
        int rc = text_regex(json_str(k), STR_LIT(""), &found, err);
        return rc ? err_wrap(err, "%s", where) : 0;
    }
    if (word->holds == k_multiple && !(json_number_value(k) > 0))
        return err_set(err, ERR_INVALID, "%s: \"multipleOf\" must be above 0", where);
    return 0;
}

static int check_at(const json_t *schema, const char *where, int depth, struct err *err) {
    static const char *const silent[] = {
        "$schema",  "$id",      "$defs",  "definitions", "title",    "description", "default",
        "examples", "$comment", "format", "deprecated",  "readOnly", "writeOnly",   "strict"};
    const char *key;
    json_t *k;
    int rc = 0;
    if (json_is_boolean(schema)) return 0;
    if (!json_is_object(schema))
        return err_set(err, ERR_INVALID, "%s: a schema is an object, true or false", where);
    if (depth == 0) return err_set(err, ERR_LIMIT, "%s: the schema is too deep", where);
    json_object_foreach((json_t *)schema, key, k) {
        size_t i = 0;
        bool known = false;
        while (i < KEYWORD_COUNT && strcmp(keywords[i].name, key) != 0) i++;
        for (size_t s = 0; s < sizeof silent / sizeof *silent; s++)
            known = known || strcmp(silent[s], key) == 0;
        if (rc) break;
        if (i < KEYWORD_COUNT)
            rc = keyword_check(&keywords[i], k, where, depth - 1, err);
        else if (!known)
            rc = err_set(err, ERR_UNSUPPORTED, "%s: the keyword \"%.60s\" is not judged here",
                         where, key);
        if (!rc && (strcmp(key, "$defs") == 0 || strcmp(key, "definitions") == 0))
            rc = members_check(k, where, depth - 1, err);
    }
    return rc;
}

int schema_check(const json_t *schema, const char *where, struct err *err) {
    return check_at(schema, where, DEPTH_MAX, err);
}
