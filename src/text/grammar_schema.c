/* Reading a JSON Schema: its parts, their keywords, references. A keyword that is not known to be
 * enforced exactly is refused here. */
#include "text/grammar_schema_int.h"

#include "base/hash.h"

#include <stdarg.h>
#include <stdio.h>

#define PARTS_MAX 20000
#define MEMORY_MAX ((size_t)256 << 20)

/* --- places --------------------------------------------------------------------------------------
 */

static void write_path(const struct schemas *s, uint32_t part, struct buf *b) {
    uint32_t chain[64], n = 0;
    for (; s->parts[part].parent != NO_STATE && n < 64; part = s->parts[part].parent)
        chain[n++] = part;
    while (s->parts[part].parent != NO_STATE) part = s->parts[part].parent;
    buf_z(b, s->parts[part].where);
    if (n == 64) buf_z(b, "...");
    while (n) buf_z(b, s->parts[chain[--n]].step);
}

static void set_path(struct schemas *s, uint32_t part, const char *keyword) {
    struct buf b;
    buf_init(&b, 1 << 16);
    write_path(s, part, &b);
    if (keyword) buf_printf(&b, "%s%s", b.n ? "." : "", keyword);
    snprintf(s->path, sizeof s->path, "%s", buf_view(&b).p);
    buf_release(&b);
}

int part_wrap(struct schemas *s, uint32_t part, const char *keyword, struct err *err) {
    set_path(s, part, keyword);
    return err_wrap(err, "%.200s", s->path);
}

int part_error(struct schemas *s, uint32_t part, const char *keyword, struct err *err, int code,
               const char *fmt, ...) {
    char text[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(err, code, "%s", text);
    return part_wrap(s, part, keyword, err);
}

const char *schemas_path(const struct schemas *s) { return s->path; }

/* --- parts ---------------------------------------------------------------------------------------
 */

static uint32_t part_hash(const json_t *schema) {
    return (uint32_t)(hash_bytes(&schema, sizeof(void *)) & 1023);
}

uint32_t part_of(struct schemas *s, const json_t *schema) {
    for (uint32_t i = s->part_heads[part_hash(schema)]; i != NO_STATE; i = s->parts[i].next)
        if (s->parts[i].schema == schema) return i;
    return NO_STATE;
}

/* true and false are one json_t each in jansson, so each is one part, whatever its place */
uint32_t part_put(struct schemas *s, const json_t *schema, uint32_t parent, const char *step) {
    uint32_t have = part_of(s, schema);
    if (have != NO_STATE) return have;
    struct part p = {.schema = schema, .parent = parent, .root = s->part_count};
    if (parent != NO_STATE) p.root = s->parts[parent].root;
    p.step = arena_strndup(&s->memory, step, strlen(step));
    if (!p.step) p.step = "";
    uint32_t *head = &s->part_heads[part_hash(schema)];
    p.next = *head;
    mem_grow((void **)&s->parts, &s->part_cap, s->part_count + 1, sizeof *s->parts);
    s->parts[s->part_count] = p;
    *head = s->part_count;
    return s->part_count++;
}

/* --- references ----------------------------------------------------------------------------------
 */

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* one step of a JSON pointer in a URI fragment, decoded */
static struct str pointer_step(struct str *rest, struct buf *b) {
    buf_clear(b);
    size_t i = 1;
    for (; i < rest->n && rest->p[i] != '/'; i++) {
        char c = rest->p[i];
        bool coded = c == '%' && i + 2 < rest->n && hex_value(rest->p[i + 1]) >= 0 &&
                     hex_value(rest->p[i + 2]) >= 0;
        if (coded) {
            c = (char)(hex_value(rest->p[i + 1]) * 16 + hex_value(rest->p[i + 2]));
            i += 2;
        }
        buf_byte(b, c);
    }
    *rest = str_from(*rest, i);
    size_t out = 0;
    for (size_t k = 0; k < b->n; k++) {
        char c = b->p[k];
        if (c == '~' && k + 1 < b->n && (b->p[k + 1] == '0' || b->p[k + 1] == '1'))
            c = b->p[++k] == '0' ? '~' : '/';
        b->p[out++] = c;
    }
    b->n = out;
    return buf_view(b);
}

static const json_t *pointer_next(const json_t *v, struct str step) {
    if (json_is_object(v)) return json_object_getn(v, step.p, step.n);
    if (!json_is_array(v) || !step.n || step.n > 6) return NULL;
    size_t index = 0;
    for (size_t i = 0; i < step.n; i++) {
        if (step.p[i] < '0' || step.p[i] > '9') return NULL;
        index = index * 10 + (size_t)(step.p[i] - '0');
    }
    return json_array_get(v, index);
}

int part_ref(struct schemas *s, uint32_t part, uint32_t *ret, struct err *err) {
    const json_t *ref = json_object_get(s->parts[part].schema, "$ref");
    struct str text = json_is_string(ref) ? json_str(ref) : STR_LIT("?"), rest = text;
    uint32_t root = s->parts[part].root;
    const json_t *v = s->parts[root].schema;
    struct buf step, path;
    if (!str_starts(rest, STR_LIT("#")) || (rest.n > 1 && rest.p[1] != '/'))
        return part_error(s, part, "$ref", err, ERR_UNSUPPORTED,
                          "\"%.*s\": only references within the schema, \"#\" and \"#/...\", are "
                          "supported",
                          (int)(text.n < 100 ? text.n : 100), text.p);
    rest = str_from(rest, 1);
    buf_init(&step, 1 << 16);
    buf_init(&path, 1 << 16);
    while (rest.n && v) {
        struct str name = pointer_step(&rest, &step);
        v = pointer_next(v, name);
        buf_byte(&path, '.');
        buf_str(&path, name);
    }
    bool ok = v && (json_is_object(v) || json_is_boolean(v));
    if (ok) *ret = part_put(s, v, root, buf_view(&path).p);
    buf_release(&step);
    buf_release(&path);
    if (ok) return 0;
    return part_error(s, part, "$ref", err, ERR_INVALID, "\"%.*s\" leads to no schema",
                      (int)(text.n < 100 ? text.n : 100), text.p);
}

/* --- keywords ------------------------------------------------------------------------------------
 */

enum form {
    F_IGNORE,
    F_REF,
    F_TYPE,
    F_ENUM,
    F_ANY,  /* const */
    F_ONE,  /* a schema */
    F_LIST, /* of schemas, not empty */
    F_MAP,  /* of schemas by name */
    F_NUMBER,
    F_COUNT,
    F_STRING,
    F_NAMES,
    F_ROOT,  /* ignored, but only at the root */
    F_FALSE, /* only false, which says nothing */
};
static const struct {
    const char *name;
    enum form form;
} keywords[] = {
    {"type", F_TYPE},
    {"enum", F_ENUM},
    {"const", F_ANY},
    {"$ref", F_REF},
    {"$defs", F_MAP},
    {"definitions", F_MAP},
    {"anyOf", F_LIST},
    {"oneOf", F_LIST},
    {"allOf", F_LIST},
    {"properties", F_MAP},
    {"required", F_NAMES},
    {"additionalProperties", F_ONE},
    {"propertyNames", F_ONE},
    {"minProperties", F_COUNT},
    {"maxProperties", F_COUNT},
    {"items", F_ONE},
    {"prefixItems", F_LIST},
    {"minItems", F_COUNT},
    {"maxItems", F_COUNT},
    {"uniqueItems", F_FALSE},
    {"minLength", F_COUNT},
    {"maxLength", F_COUNT},
    {"pattern", F_STRING},
    {"format", F_STRING},
    {"minimum", F_NUMBER},
    {"maximum", F_NUMBER},
    {"exclusiveMinimum", F_NUMBER},
    {"exclusiveMaximum", F_NUMBER},
    {"multipleOf", F_NUMBER},
    {"$schema", F_IGNORE},
    {"$id", F_ROOT},
    {"$anchor", F_IGNORE},
    {"$comment", F_IGNORE},
    {"title", F_IGNORE},
    {"description", F_IGNORE},
    {"default", F_IGNORE},
    {"examples", F_IGNORE},
    {"example", F_IGNORE},
    {"deprecated", F_IGNORE},
    {"readOnly", F_IGNORE},
    {"writeOnly", F_IGNORE},
    {"contentEncoding", F_IGNORE},
    {"contentMediaType", F_IGNORE},
    {"contentSchema", F_IGNORE},
    {"discriminator", F_IGNORE}, /* OpenAPI's hint beside oneOf */
};

static const char *const type_names[] = {"null",   "boolean", "integer", "number",
                                         "string", "array",   "object"};

static bool is_type(const json_t *v) {
    for (size_t i = 0; json_is_string(v) && i < sizeof type_names / sizeof *type_names; i++)
        if (str_is(json_str(v), type_names[i])) return true;
    return false;
}

static bool is_whole(const json_t *v) {
    double x = json_is_real(v) ? json_real_value(v) : 0.5;
    if (json_is_integer(v)) return json_integer_value(v) >= 0;
    return x >= 0 && x < 0x1p53 && x == (double)(json_int_t)x;
}

uint32_t part_count_of(const json_t *schema, const char *keyword, uint32_t absent) {
    const json_t *v = json_object_get(schema, keyword);
    if (!v) return absent;
    double x = json_number_value(v);
    return x < 4e9 ? (uint32_t)x : 4000000000u;
}

static bool all_strings(const json_t *v) {
    size_t i;
    json_t *e;
    json_array_foreach((json_t *)v, i, e) if (!json_is_string(e)) return false;
    return json_is_array(v);
}

static bool is_schema(const json_t *v) { return json_is_object(v) || json_is_boolean(v); }

static int bad(struct schemas *s, uint32_t part, const char *keyword, const char *want,
               struct err *err) {
    return part_error(s, part, keyword, err, ERR_INVALID, "must be %s", want);
}

static int put_sub(struct schemas *s, uint32_t part, const char *keyword, const char *name,
                   size_t index, const json_t *v, struct err *err) {
    struct buf step;
    buf_init(&step, 1 << 16);
    buf_printf(&step, ".%s", keyword);
    if (name)
        buf_printf(&step, ".%s", name);
    else if (index != SIZE_MAX)
        buf_printf(&step, "[%zu]", index);
    int rc = 0;
    if (!is_schema(v))
        rc = bad(s, part, buf_view(&step).p + 1, "a schema (an object or a boolean)", err);
    else
        part_put(s, v, part, buf_view(&step).p);
    buf_release(&step);
    return rc;
}

static int check_subs(struct schemas *s, uint32_t part, const char *keyword, enum form form,
                      const json_t *v, struct err *err) {
    int rc = 0;
    size_t i;
    const char *name;
    json_t *e;
    if (form == F_ONE) return put_sub(s, part, keyword, NULL, SIZE_MAX, v, err);
    if (form == F_LIST && (!json_is_array(v) || !json_array_size(v)))
        return bad(s, part, keyword, "a list of schemas that is not empty", err);
    if (form == F_MAP && !json_is_object(v))
        return bad(s, part, keyword, "an object whose members are schemas", err);
    if (form == F_LIST) {
        json_array_foreach((json_t *)v, i, e) {
            if (!rc) rc = put_sub(s, part, keyword, NULL, i, e, err);
        }
    } else {
        json_object_foreach((json_t *)v, name, e) {
            if (!rc) rc = put_sub(s, part, keyword, name, 0, e, err);
        }
    }
    return rc;
}

static int check_type(struct schemas *s, uint32_t part, const json_t *v, struct err *err) {
    size_t i;
    json_t *e;
    bool ok = is_type(v) || (json_is_array(v) && json_array_size(v));
    if (json_is_array(v)) {
        json_array_foreach((json_t *)v, i, e) ok &= is_type(e);
    }
    if (ok) return 0;
    return bad(s, part, "type",
               "one of null, boolean, integer, number, string, array, object, or a list of them",
               err);
}

static int check_keyword(struct schemas *s, uint32_t part, const char *name, const json_t *v,
                         struct err *err) {
    size_t i = 0;
    while (i < sizeof keywords / sizeof *keywords && strcmp(keywords[i].name, name)) i++;
    if (i == sizeof keywords / sizeof *keywords) {
        if (str_starts(str_of(name), STR_LIT("x-"))) return 0;
        return part_error(s, part, name, err, ERR_UNSUPPORTED,
                          "the keyword \"%.60s\" is not supported", name);
    }
    uint32_t target;
    switch (keywords[i].form) {
    case F_IGNORE:
    case F_ANY: return 0;
    case F_REF: return part_ref(s, part, &target, err);
    case F_TYPE: return check_type(s, part, v, err);
    case F_ENUM: return json_is_array(v) ? 0 : bad(s, part, name, "a list", err);
    case F_ONE:
    case F_LIST:
    case F_MAP: return check_subs(s, part, name, keywords[i].form, v, err);
    case F_NUMBER: return json_is_number(v) ? 0 : bad(s, part, name, "a number", err);
    case F_COUNT: return is_whole(v) ? 0 : bad(s, part, name, "a whole number, 0 or more", err);
    case F_STRING: return json_is_string(v) ? 0 : bad(s, part, name, "a string", err);
    case F_NAMES: return all_strings(v) ? 0 : bad(s, part, name, "a list of strings", err);
    case F_ROOT:
        if (s->parts[part].parent == NO_STATE) return 0;
        return part_error(s, part, name, err, ERR_UNSUPPORTED,
                          "\"%s\" is supported at the root of the schema only", name);
    case F_FALSE:
        if (json_is_false(v)) return 0;
        return part_error(s, part, name, err, ERR_UNSUPPORTED,
                          "the keyword \"%s\" is not supported", name);
    }
    return 0;
}

int parts_check(struct schemas *s, struct err *err) {
    int rc = 0;
    for (; !rc && s->checked < s->part_count; s->checked++) {
        const json_t *schema = s->parts[s->checked].schema;
        const char *name;
        json_t *v;
        if (s->part_count > PARTS_MAX)
            return err_set(err, ERR_LIMIT, "a schema of more than %d parts", PARTS_MAX);
        json_object_foreach((json_t *)schema, name, v) {
            if (!rc) rc = check_keyword(s, s->checked, name, v, err);
        }
    }
    return rc;
}

/* --- the whole -----------------------------------------------------------------------------------
 */

struct schemas *schemas_new(struct automaton *a) {
    struct schemas *s = mem_zalloc(1, sizeof *s);
    s->a = a;
    arena_init(&s->memory, MEMORY_MAX);
    memset(s->part_heads, 0xFF, sizeof s->part_heads);
    memset(s->set_heads, 0xFF, sizeof s->set_heads);
    s->plain_string = s->plain_number = s->plain_integer = NO_STATE;
    return s;
}

void schemas_free(struct schemas *s) {
    if (!s) return;
    arena_release(&s->memory);
    mem_free(s->parts);
    mem_free(s->sets);
    mem_free(s->comparisons);
    mem_free(s);
}

int schemas_add(struct schemas *s, const json_t *schema, const char *where, uint32_t *ret_rule,
                struct err *err) {
    if (!is_schema(schema)) {
        snprintf(s->path, sizeof s->path, "%s", where);
        return err_set(err, ERR_INVALID, "%s: a schema is an object or a boolean", where);
    }
    uint32_t root = part_put(s, schema, NO_STATE, "");
    s->parts[root].where = arena_strndup(&s->memory, where, strlen(where));
    int rc = parts_check(s, err);
    if (rc) return rc;
    uint32_t item = ITEM(root), set = set_put(s, &item, 1);
    *ret_rule = s->a->over ? 0 : s->sets[set].rule;
    return 0;
}

int schemas_finish(struct schemas *s, struct err *err) {
    int rc = 0;
    for (; !rc && s->built < s->set_count; s->built++) rc = build_set(s, s->built, err);
    return rc;
}

static bool has_value(const struct schemas *s, uint32_t set, const uint16_t *heights) {
    return heights[s->a->starts[s->sets[set].rule]] != NO_HEIGHT;
}

/* The innermost set without a value, from `set` on along what it needs. */
static uint32_t culprit(const struct schemas *s, uint32_t set, const uint16_t *heights) {
    for (int steps = 0; steps < 1000; steps++) {
        const struct part_list *l = s->sets[set].needs;
        while (l && (has_value(s, l->part, heights) || l->part == set)) l = l->next;
        if (!l) break;
        set = l->part;
    }
    return set;
}

int schemas_check(struct schemas *s, const uint16_t *heights, struct err *err) {
    for (uint32_t i = 0; i < s->comparison_count; i++) {
        const struct comparison *c = &s->comparisons[i];
        if (!has_value(s, c->set, heights)) continue;
        return part_error(s, c->part, "oneOf", err, ERR_UNSUPPORTED,
                          "alternatives %u and %u of \"oneOf\" have values in common, which cannot "
                          "be left out; use \"anyOf\"",
                          c->first, c->second);
    }
    for (uint32_t i = 0; i < s->set_count; i++) {
        if (s->sets[i].count != 1 || has_value(s, i, heights)) continue;
        uint32_t part = s->sets[i].items[0] >> 1;
        if (s->parts[part].parent != NO_STATE) continue;
        uint32_t set = culprit(s, i, heights);
        if (s->sets[set].count) part = s->sets[set].items[0] >> 1;
        return part_error(s, part, NULL, err, ERR_INVALID, "no value satisfies this schema");
    }
    return 0;
}
