/* OpenAI's rules for strict schemas, with their messages. They are about portability: what passes
 * still goes through grammar_compile, which alone decides what can be enforced. */
#include "text/grammar.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#define LEVELS_MAX 10
#define PROPERTIES_MAX 5000
#define VALUES_MAX 1000
#define LONG_ENUM 250
#define LONG_ENUM_CHARS 15000
#define CHARS_MAX 120000
#define RECURSION_MAX 200

struct place {
    const struct place *up;
    const char *keyword, *name; /* 'properties', 'a' */
    int index;                  /* of anyOf: -1 none */
};

struct strict {
    const char *kind;
    struct str name;
    const char *where;
    char *path; /* or NULL */
    size_t properties, values, chars;
    struct err *err;
};

static void write_context(const struct place *p, struct buf *b, bool *first) {
    if (!p) return;
    write_context(p->up, b, first);
    buf_printf(b, "%s'%s'", *first ? "" : ", ", p->keyword);
    *first = false;
    if (p->name) buf_printf(b, ", '%s'", p->name);
    if (p->index >= 0) buf_printf(b, ", '%d'", p->index);
}

static void write_path(const struct place *p, struct buf *b) {
    if (!p) return;
    write_path(p->up, b);
    buf_printf(b, ".%s", p->keyword);
    if (p->name) buf_printf(b, ".%s", p->name);
    if (p->index >= 0) buf_printf(b, "[%d]", p->index);
}

static int fail(struct strict *s, const struct place *p, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* fmt NULL has no context: the rule is about the whole */
static int fail(struct strict *s, const struct place *p, const char *fmt, ...) {
    struct buf context;
    char text[200];
    bool first = true;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_init(&context, 1 << 16);
    write_path(p, &context);
    if (s->path) snprintf(s->path, GRAMMAR_PATH_MAX, "%s%s", s->where, buf_view(&context).p);
    buf_clear(&context);
    write_context(p, &context, &first);
    err_set(s->err, ERR_INVALID, "Invalid schema for %s '%.*s': In context=(%.200s), %s", s->kind,
            (int)(s->name.n < 64 ? s->name.n : 64), s->name.p, buf_view(&context).p, text);
    buf_release(&context);
    return ERR_INVALID;
}

static int fail_whole(struct strict *s, const char *text) {
    if (s->path) snprintf(s->path, GRAMMAR_PATH_MAX, "%s", s->where);
    return err_set(s->err, ERR_INVALID, "Invalid schema for %s '%.*s': %s", s->kind,
                   (int)(s->name.n < 64 ? s->name.n : 64), s->name.p, text);
}

static int check(struct strict *s, const json_t *v, const struct place *p, int level, int depth);

static bool has_type(const json_t *v, const char *name) {
    const json_t *type = json_object_get(v, "type");
    if (json_is_string(type)) return !strcmp(json_string_value(type), name);
    for (size_t i = 0; i < json_array_size(type); i++) {
        const json_t *t = json_array_get(type, i);
        if (json_is_string(t) && !strcmp(json_string_value(t), name)) return true;
    }
    return false;
}

static int check_required(struct strict *s, const json_t *v, const struct place *p) {
    static const char rule[] = "'required' is required to be supplied and to be an array "
                               "including every key in properties.";
    const json_t *properties = json_object_get(v, "properties");
    const json_t *required = json_object_get(v, "required");
    const char *name;
    json_t *e;
    if (json_object_size(properties) && !json_is_array(required)) required = NULL;
    json_object_foreach((json_t *)properties, name, e) {
        bool in = false;
        for (size_t i = 0; i < json_array_size(required) && !in; i++) {
            const json_t *r = json_array_get(required, i);
            in = json_is_string(r) && !strcmp(json_string_value(r), name);
        }
        if (!in) return fail(s, p, "%s Missing '%.60s'.", rule, name);
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *r = json_string_value(json_array_get(required, i));
        if (!r || !json_object_get(properties, r))
            return fail(s, p, "%s Extra required key '%.60s' supplied.", rule, r ? r : "?");
    }
    return 0;
}

static int check_object(struct strict *s, const json_t *v, const struct place *p, int level,
                        int depth) {
    const json_t *properties = json_object_get(v, "properties");
    const char *name;
    json_t *e;
    if (!json_is_false(json_object_get(v, "additionalProperties")))
        return fail(s, p, "'additionalProperties' is required to be supplied and to be false.");
    int rc = check_required(s, v, p);
    json_object_foreach((json_t *)properties, name, e) {
        struct place in = {p, "properties", name, -1};
        s->properties++;
        s->chars += strlen(name);
        if (!rc) rc = check(s, e, &in, level + 1, depth + 1);
    }
    return rc;
}

static int check_values(struct strict *s, const json_t *v, const struct place *p) {
    const json_t *list = json_object_get(v, "enum"), *one = json_object_get(v, "const");
    size_t chars = 0, n = json_array_size(list);
    for (size_t i = 0; i < n; i++) chars += json_string_length(json_array_get(list, i));
    s->values += n;
    s->chars += chars + json_string_length(one);
    if (n > LONG_ENUM && chars > LONG_ENUM_CHARS)
        return fail(s, p, "'enum' of more than %d values has more than %d characters.", LONG_ENUM,
                    LONG_ENUM_CHARS);
    return 0;
}

static int check_keywords(struct strict *s, const json_t *v, const struct place *p) {
    static const char *const no[] = {
        "allOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
    };
    static const char *const instead[] = {"type", "$ref", "anyOf", "enum", "const"};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (json_object_get(v, no[i])) return fail(s, p, "'%s' is not permitted.", no[i]);
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++)
        if (json_object_get(v, instead[i])) return 0;
    return fail(s, p, "schema must have a 'type' key.");
}

static int check_parts(struct strict *s, const json_t *v, const struct place *p, int level,
                       int depth) {
    static const char *const maps[] = {"$defs", "definitions"};
    const json_t *list = json_object_get(v, "anyOf"), *items = json_object_get(v, "items");
    int rc = 0;
    const char *name;
    json_t *e;
    if (has_type(v, "array") && !items) return fail(s, p, "array schema missing items.");
    if (items) {
        struct place in = {p, "items", NULL, -1};
        rc = check(s, items, &in, level + 1, depth + 1);
    }
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        struct place in = {p, "anyOf", NULL, (int)i};
        rc = check(s, json_array_get(list, i), &in, level, depth + 1);
    }
    for (int m = 0; m < 2; m++) json_object_foreach(json_object_get(v, maps[m]), name, e) {
            struct place in = {p, maps[m], name, -1};
            if (!rc) rc = check(s, e, &in, 0, depth + 1);
            s->chars += strlen(name);
        }
    return rc;
}

static int check(struct strict *s, const json_t *v, const struct place *p, int level, int depth) {
    if (!json_is_object(v)) return fail(s, p, "a schema must be an object.");
    if (level > LEVELS_MAX || depth > RECURSION_MAX)
        return fail(s, p, "the schema exceeds %d levels of nesting.", LEVELS_MAX);
    int rc = check_keywords(s, v, p);
    bool object = has_type(v, "object") || json_object_get(v, "properties");
    if (!rc && object) rc = check_object(s, v, p, level, depth);
    if (!rc) rc = check_values(s, v, p);
    if (!rc) rc = check_parts(s, v, p, level, depth);
    return rc;
}

int grammar_check_strict(const json_t *schema, const char *kind, struct str name,
                         const struct grammar_options *options, char path[GRAMMAR_PATH_MAX],
                         struct err *err) {
    struct strict s = {.kind = kind, .name = name, .path = path, .err = err};
    s.where = options && options->where ? options->where : "schema";
    const json_t *type = json_object_get(schema, "type");
    if (json_object_get(schema, "anyOf"))
        return fail_whole(&s, "schema must not have 'anyOf' at the top level.");
    bool object = json_is_string(type) && !strcmp(json_string_value(type), "object");
    if (!object && !(json_object_get(schema, "$ref") && !type)) {
        char text[160];
        snprintf(text, sizeof text,
                 "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"%.40s\"'.",
                 json_is_string(type) ? json_string_value(type) : "None");
        return fail_whole(&s, text);
    }
    int rc = check(&s, schema, NULL, 0, 0);
    if (rc) return rc;
    if (s.properties > PROPERTIES_MAX)
        return fail_whole(&s, "the schema has more than 5000 properties.");
    if (s.values > VALUES_MAX) return fail_whole(&s, "the schema has more than 1000 enum values.");
    if (s.chars > CHARS_MAX)
        return fail_whole(&s, "names and enum values have more than 120000 characters.");
    return 0;
}
