/* Three-valued: what could not be decided stays apart from what is refused, through "not" and
 * "anyOf" too. Patterns are compiled once, when the schema is taken. */
#include "data/schema.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/grammar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 200
#define STEPS_MAX 100000
#define PATTERNS_MAX 200
#define STRING_MAX ((size_t)64 << 20)

struct pattern {
    struct str text;         /* in the schema's JSON */
    struct grammar *grammar; /* NULL: could not be compiled */
};

struct schema {
    json_t *root;
    struct pattern *patterns;
    size_t count, cap;
    bool inner_id; /* references may have another base */
};

/* a place inside the value, from the inside out */
struct place {
    const struct place *up;
    const char *key; /* NULL: index */
    size_t index;
};

struct run {
    const struct schema *s;
    char *why;      /* NULL: nobody asks */
    bool undecided; /* what `why` says is no more than that; a refusal replaces it */
    int64_t steps;
    int depth;
};

/* --- taking a schema --- */

static void add_pattern(struct schema *s, struct str text) {
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(s->patterns[i].text, text)) return;
    if (s->count == PATTERNS_MAX) return;
    struct err ignored;
    struct pattern p = {.text = text};
    json_t *one = json_pack("{s:s,s:s%}", "type", "string", "pattern", text.p, text.n);
    struct grammar_options o = {.where = "schema"};
    if (one && grammar_compile(one, &o, &p.grammar, NULL, &ignored)) p.grammar = NULL;
    json_decref(one);
    mem_grow((void **)&s->patterns, &s->cap, s->count + 1, sizeof *s->patterns);
    s->patterns[s->count++] = p;
}

static void survey(struct schema *s, const json_t *v, int depth) {
    const char *key;
    size_t i;
    json_t *it;
    if (depth > DEPTH_MAX) return;
    if (json_is_object(v)) {
        const json_t *p = json_object_get(v, "pattern"), *many;
        if (json_is_string(p)) add_pattern(s, json_str(p));
        many = json_object_get(v, "patternProperties");
        json_object_foreach((json_t *)many, key, it) add_pattern(s, str_of(key));
        if (depth && json_is_string(json_object_get(v, "$id"))) s->inner_id = true;
        json_object_foreach((json_t *)v, key, it) survey(s, it, depth + 1);
    }
    if (json_is_array(v)) json_array_foreach(v, i, it) survey(s, it, depth + 1);
}

struct schema *schema_new(const json_t *schema) {
    struct schema *s = mem_zalloc(1, sizeof *s);
    s->root = json_incref((json_t *)schema);
    survey(s, schema, 0);
    return s;
}

void schema_free(struct schema *s) {
    if (!s) return;
    for (size_t i = 0; i < s->count; i++) grammar_free(s->patterns[i].grammar);
    mem_free(s->patterns);
    json_decref(s->root);
    mem_free(s);
}

/* --- saying what is wrong --- */

static void put_place(struct buf *b, const struct place *at) {
    if (!at->up) return;
    put_place(b, at->up);
    if (!at->key)
        buf_printf(b, "[%zu]", at->index);
    else
        buf_printf(b, "%s%.40s", b->n ? "." : "", at->key);
}

static enum schema_answer say(struct run *r, enum schema_answer a, const struct place *at,
                              const char *fmt, ...) PRINTF_LIKE(4, 5);
static enum schema_answer say(struct run *r, enum schema_answer a, const struct place *at,
                              const char *fmt, ...) {
    if (!r->why || (r->why[0] && !(r->undecided && a == SCHEMA_INVALID))) return a;
    r->undecided = a == SCHEMA_UNKNOWN;
    struct buf b;
    char text[SCHEMA_WHY_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_init(&b, 1 << 16);
    put_place(&b, at);
    if (b.n) buf_z(&b, ": ");
    buf_z(&b, text);
    size_t n = b.n < SCHEMA_WHY_MAX - 1 ? b.n : SCHEMA_WHY_MAX - 1;
    n = utf8_valid_prefix((struct str){b.p, n});
    memcpy(r->why, b.p, n);
    r->why[n] = 0;
    buf_release(&b);
    return a;
}

static const char *type_of(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "object";
    case JSON_ARRAY: return "array";
    case JSON_STRING: return "string";
    case JSON_INTEGER: return "integer";
    case JSON_REAL: return "number";
    case JSON_TRUE:
    case JSON_FALSE: return "boolean";
    case JSON_NULL: return "null";
    }
    return "unknown";
}

/* --- values --- */

static bool is_whole(const json_t *v) {
    return json_is_integer(v) ||
           (json_is_real(v) && floor(json_real_value(v)) == json_real_value(v));
}

static bool same(struct run *r, const json_t *a, const json_t *b) {
    const char *key;
    size_t i;
    json_t *it;
    if (++r->steps > STEPS_MAX) return false;
    if (json_is_number(a) && json_is_number(b)) {
        if (json_is_integer(a) && json_is_integer(b))
            return json_integer_value(a) == json_integer_value(b);
        return json_number_value(a) == json_number_value(b);
    }
    if (json_typeof(a) != json_typeof(b)) return false;
    if (json_is_string(a)) return str_eq(json_str(a), json_str(b));
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b)) return false;
        json_array_foreach(a, i, it) if (!same(r, it, json_array_get(b, i))) return false;
    }
    if (json_is_object(a)) {
        if (json_object_size(a) != json_object_size(b)) return false;
        json_object_foreach((json_t *)a, key, it) {
            const json_t *other = json_object_get(b, key);
            if (!other || !same(r, it, other)) return false;
        }
    }
    return true;
}

static size_t characters(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static bool has_type(const json_t *v, struct str type) {
    if (str_is(type, "integer")) return is_whole(v);
    if (str_is(type, "number")) return json_is_number(v);
    return str_is(type, type_of(v));
}

static enum schema_answer check(struct run *r, const json_t *schema, const json_t *v,
                                const struct place *at);

/* INVALID wins, then UNKNOWN */
static enum schema_answer both(enum schema_answer a, enum schema_answer b) {
    if (a == SCHEMA_INVALID || b == SCHEMA_INVALID) return SCHEMA_INVALID;
    return a == SCHEMA_UNKNOWN ? a : b;
}

/* without a word about why */
static enum schema_answer quietly(struct run *r, const json_t *schema, const json_t *v,
                                  const struct place *at) {
    char *why = r->why;
    r->why = NULL;
    enum schema_answer a = check(r, schema, v, at);
    r->why = why;
    return a;
}

static enum schema_answer matches(struct run *r, struct str pattern, struct str text) {
    for (size_t i = 0; i < r->s->count; i++) {
        const struct pattern *p = &r->s->patterns[i];
        if (!str_eq(p->text, pattern)) continue;
        if (!p->grammar) break;
        struct buf b;
        buf_init(&b, STRING_MAX);
        json_write_str(&b, text);
        bool yes = buf_ok(&b) && grammar_accepts_text(p->grammar, buf_view(&b), true);
        buf_release(&b);
        return yes ? SCHEMA_VALID : SCHEMA_INVALID;
    }
    return SCHEMA_UNKNOWN;
}

/* --- keywords by type --- */

static enum schema_answer check_type(struct run *r, const json_t *schema, const json_t *v,
                                     const struct place *at) {
    const json_t *type = json_object_get(schema, "type"), *one = json_object_get(schema, "const");
    const json_t *list = json_object_get(schema, "enum"), *it;
    size_t i;
    if (one && !same(r, one, v)) return say(r, SCHEMA_INVALID, at, "is not the one value allowed");
    bool found = !json_is_array(list);
    json_array_foreach(list, i, it) found = found || same(r, it, v);
    if (!found) {
        struct str s = json_str(v);
        return json_is_string(v)
                   ? say(r, SCHEMA_INVALID, at, "\"%.*s\" is none of the values in \"enum\"",
                         s.n > 40 ? 40 : (int)s.n, s.p)
                   : say(r, SCHEMA_INVALID, at, "is none of the values in \"enum\"");
    }
    if (json_is_string(type) && !has_type(v, json_str(type)))
        return say(r, SCHEMA_INVALID, at, "must be of type %.20s, not %s", json_string_value(type),
                   type_of(v));
    found = !json_is_array(type);
    json_array_foreach(type, i, it) found =
        found || (json_is_string(it) && has_type(v, json_str(it)));
    return found ? SCHEMA_VALID
                 : say(r, SCHEMA_INVALID, at, "is of type %s, none of those allowed", type_of(v));
}

static bool is_multiple(const json_t *v, const json_t *of) {
    if (json_is_integer(v) && json_is_integer(of))
        return json_integer_value(v) % json_integer_value(of) == 0;
    double x = json_number_value(v), q = x / json_number_value(of);
    if (!isfinite(q)) return fmod(x, json_number_value(of)) == 0;
    double near = round(q);
    return fabs(q - near) <= 1e-9 * fmax(1, fabs(q)) && near * json_number_value(of) - x < 1e-9;
}

static enum schema_answer check_number(struct run *r, const json_t *schema, const json_t *v,
                                       const struct place *at) {
    const json_t *min = json_object_get(schema, "minimum"), *of;
    const json_t *max = json_object_get(schema, "maximum");
    const json_t *over = json_object_get(schema, "exclusiveMinimum");
    const json_t *under = json_object_get(schema, "exclusiveMaximum");
    double x = json_number_value(v);
    of = json_object_get(schema, "multipleOf");
    if (json_is_number(min) && x < json_number_value(min))
        return say(r, SCHEMA_INVALID, at, "%g is less than the minimum of %g", x,
                   json_number_value(min));
    if (json_is_number(max) && x > json_number_value(max))
        return say(r, SCHEMA_INVALID, at, "%g is more than the maximum of %g", x,
                   json_number_value(max));
    if (json_is_number(over) && x <= json_number_value(over))
        return say(r, SCHEMA_INVALID, at, "%g must be more than %g", x, json_number_value(over));
    if (json_is_number(under) && x >= json_number_value(under))
        return say(r, SCHEMA_INVALID, at, "%g must be less than %g", x, json_number_value(under));
    if (json_is_number(of) && json_number_value(of) > 0 && !is_multiple(v, of))
        return say(r, SCHEMA_INVALID, at, "%g is no multiple of %g", x, json_number_value(of));
    return SCHEMA_VALID;
}

/* a count against a pair of keywords */
static enum schema_answer check_count(struct run *r, const json_t *schema, const char *const key[2],
                                      size_t n, const struct place *at) {
    const json_t *min = json_object_get(schema, key[0]), *max = json_object_get(schema, key[1]);
    if (json_is_number(min) && (double)n < json_number_value(min))
        return say(r, SCHEMA_INVALID, at, "%zu is less than \"%s\", %g", n, key[0],
                   json_number_value(min));
    if (json_is_number(max) && (double)n > json_number_value(max))
        return say(r, SCHEMA_INVALID, at, "%zu is more than \"%s\", %g", n, key[1],
                   json_number_value(max));
    return SCHEMA_VALID;
}

static enum schema_answer check_string(struct run *r, const json_t *schema, const json_t *v,
                                       const struct place *at) {
    static const char *const keys[] = {"minLength", "maxLength"};
    const json_t *pattern = json_object_get(schema, "pattern");
    enum schema_answer a = check_count(r, schema, keys, characters(json_str(v)), at);
    if (a || !json_is_string(pattern)) return a;
    a = matches(r, json_str(pattern), json_str(v));
    if (a == SCHEMA_UNKNOWN)
        say(r, a, at, "the pattern \"%.60s\" cannot be tried", json_string_value(pattern));
    if (a == SCHEMA_INVALID)
        say(r, a, at, "does not match the pattern \"%.60s\"", json_string_value(pattern));
    return a;
}

static enum schema_answer check_unique(struct run *r, const json_t *v, const struct place *at) {
    for (size_t i = 0; i < json_array_size(v); i++)
        for (size_t j = 0; j < i; j++) {
            if (same(r, json_array_get(v, i), json_array_get(v, j)))
                return say(r, SCHEMA_INVALID, at, "items %zu and %zu are equal", j, i);
            if (r->steps > STEPS_MAX) return SCHEMA_UNKNOWN;
        }
    return SCHEMA_VALID;
}

static enum schema_answer check_contains(struct run *r, const json_t *schema, const json_t *v,
                                         const struct place *at) {
    const json_t *contains = json_object_get(schema, "contains"), *it;
    const json_t *min = json_object_get(schema, "minContains");
    const json_t *max = json_object_get(schema, "maxContains");
    size_t i, sure = 0, maybe = 0;
    if (!contains) return SCHEMA_VALID;
    json_array_foreach(v, i, it) {
        enum schema_answer a = quietly(r, contains, it, at);
        sure += a == SCHEMA_VALID;
        maybe += a != SCHEMA_INVALID;
    }
    double least = json_is_number(min) ? json_number_value(min) : 1;
    if ((double)maybe < least || (json_is_number(max) && (double)sure > json_number_value(max)))
        return say(r, SCHEMA_INVALID, at, "%zu items are as \"contains\" says", maybe);
    bool decided =
        (double)sure >= least && !(json_is_number(max) && (double)maybe > json_number_value(max));
    return decided ? SCHEMA_VALID : SCHEMA_UNKNOWN;
}

static enum schema_answer check_array(struct run *r, const json_t *schema, const json_t *v,
                                      const struct place *at) {
    static const char *const keys[] = {"minItems", "maxItems"};
    const json_t *first = json_object_get(schema, "prefixItems"), *it;
    const json_t *rest = json_object_get(schema, "items");
    enum schema_answer a = check_count(r, schema, keys, json_array_size(v), at);
    size_t i;
    if (json_is_array(rest)) { /* before 2020 */
        first = rest;
        rest = json_object_get(schema, "additionalItems");
    }
    json_array_foreach(v, i, it) {
        const json_t *its = i < json_array_size(first) ? json_array_get(first, i) : rest;
        struct place here = {at, NULL, i};
        if (a == SCHEMA_INVALID) return a;
        if (its) a = both(a, check(r, its, it, &here));
    }
    a = both(a, check_contains(r, schema, v, at));
    if (a != SCHEMA_INVALID && json_is_true(json_object_get(schema, "uniqueItems")))
        a = both(a, check_unique(r, v, at));
    return a;
}

/* one member against properties, patternProperties, additionalProperties */
static enum schema_answer check_member(struct run *r, const json_t *schema, const char *name,
                                       const json_t *v, const struct place *at) {
    const json_t *its = json_object_get(json_object_get(schema, "properties"), name);
    const json_t *patterns = json_object_get(schema, "patternProperties");
    const json_t *others = json_object_get(schema, "additionalProperties");
    const char *pattern;
    json_t *under;
    struct place here = {at, name, 0};
    enum schema_answer a = its ? check(r, its, v, &here) : SCHEMA_VALID, m;
    bool known = its != NULL, unsure = false;
    json_object_foreach((json_t *)patterns, pattern, under) {
        m = matches(r, str_of(pattern), str_of(name));
        known = known || m == SCHEMA_VALID;
        unsure = unsure || m == SCHEMA_UNKNOWN;
        if (m == SCHEMA_VALID) a = both(a, check(r, under, v, &here));
    }
    if (unsure) return both(a, say(r, SCHEMA_UNKNOWN, &here, "a pattern of names cannot be tried"));
    if (known || !others) return a;
    if (json_is_false(others))
        return say(r, SCHEMA_INVALID, at, "\"%.60s\" is not among the properties", name);
    return both(a, check(r, others, v, &here));
}

static enum schema_answer check_dependent(struct run *r, const json_t *list, const json_t *v,
                                          const struct place *at) {
    const char *key;
    size_t i;
    json_t *need, *name;
    enum schema_answer a = SCHEMA_VALID;
    json_object_foreach((json_t *)list, key, need) {
        if (!json_object_get(v, key)) continue;
        if (!json_is_array(need)) {
            a = both(a, check(r, need, v, at));
            continue;
        }
        json_array_foreach(need, i, name) {
            if (json_is_string(name) && !json_object_get(v, json_string_value(name)))
                return say(r, SCHEMA_INVALID, at, "\"%.60s\" is missing, which \"%.60s\" needs",
                           json_string_value(name), key);
        }
    }
    return a;
}

static enum schema_answer check_object(struct run *r, const json_t *schema, const json_t *v,
                                       const struct place *at) {
    static const char *const keys[] = {"minProperties", "maxProperties"};
    static const char *const dependent[] = {"dependentRequired", "dependentSchemas",
                                            "dependencies"};
    const json_t *names = json_object_get(schema, "propertyNames"), *name;
    const char *key;
    size_t i;
    json_t *it;
    enum schema_answer a = SCHEMA_VALID;
    json_array_foreach(json_object_get(schema, "required"), i, name) {
        if (json_is_string(name) && !json_object_get(v, json_string_value(name)))
            return say(r, SCHEMA_INVALID, at, "\"%.60s\" is missing", json_string_value(name));
    }
    a = check_count(r, schema, keys, json_object_size(v), at);
    json_object_foreach((json_t *)v, key, it) {
        if (a == SCHEMA_INVALID) return a;
        a = both(a, check_member(r, schema, key, it, at));
        if (!names) continue;
        json_t *text = json_string(key);
        struct place here = {at, key, 0};
        a = both(a, check(r, names, text, &here));
        json_decref(text);
    }
    for (i = 0; i < sizeof dependent / sizeof *dependent && a != SCHEMA_INVALID; i++)
        a = both(a, check_dependent(r, json_object_get(schema, dependent[i]), v, at));
    return a;
}

/* --- keywords that join schemas --- */

static const json_t *step_into(const json_t *at, const char *p, size_t n) {
    char key[256];
    size_t k = 0;
    if (n >= sizeof key) return NULL;
    for (size_t i = 0; i < n; i++, k++) {
        key[k] = p[i];
        if (p[i] == '~' && i + 1 < n) key[k] = p[++i] == '1' ? '/' : '~';
        if (p[i] == '%') {
            char hex[3] = {i + 2 < n ? p[i + 1] : 0, i + 2 < n ? p[i + 2] : 0, 0};
            if (!hex[0] || strspn(hex, "0123456789abcdefABCDEF") != 2) return NULL;
            key[k] = (char)strtol(hex, NULL, 16);
            i += 2;
        }
    }
    key[k] = 0;
    if (json_is_object(at)) return json_object_get(at, key);
    if (json_is_array(at) && k && strspn(key, "0123456789") == k)
        return json_array_get(at, strtoull(key, NULL, 10));
    return NULL;
}

/* "#", "#/$defs/x"; NULL: not inside this schema */
static const json_t *resolve(const struct schema *s, const char *ref) {
    const json_t *at = s->root;
    if (s->inner_id || *ref != '#' || (ref[1] && ref[1] != '/')) return NULL;
    const char *p = ref[1] ? ref + 2 : NULL;
    while (at && p) {
        size_t n = strcspn(p, "/");
        at = step_into(at, p, n);
        p = p[n] ? p + n + 1 : NULL;
    }
    return at;
}

static enum schema_answer check_refs(struct run *r, const json_t *schema, const json_t *v,
                                     const struct place *at) {
    const json_t *ref = json_object_get(schema, "$ref");
    static const char *const no[] = {"$dynamicRef", "$recursiveRef", "unevaluatedProperties",
                                     "unevaluatedItems"};
    enum schema_answer a = SCHEMA_VALID;
    if (json_is_string(ref)) {
        const json_t *to = resolve(r->s, json_string_value(ref));
        a = to ? check(r, to, v, at)
               : say(r, SCHEMA_UNKNOWN, at, "\"$ref\" to \"%.60s\" is not inside the schema",
                     json_string_value(ref));
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (json_object_get(schema, no[i]))
            a = both(a, say(r, SCHEMA_UNKNOWN, at, "\"%s\" cannot be tried", no[i]));
    return a;
}

static enum schema_answer check_any(struct run *r, const json_t *list, const json_t *v, bool one,
                                    const struct place *at) {
    size_t i, yes = 0, maybe = 0;
    const json_t *s;
    json_array_foreach(list, i, s) {
        enum schema_answer a = quietly(r, s, v, at);
        yes += a == SCHEMA_VALID;
        maybe += a == SCHEMA_UNKNOWN;
    }
    if (one && yes > 1) return say(r, SCHEMA_INVALID, at, "fits more than one of \"oneOf\"");
    if (yes && !(one && maybe)) return SCHEMA_VALID;
    if (maybe) return say(r, SCHEMA_UNKNOWN, at, "a branch cannot be tried");
    return say(r, SCHEMA_INVALID, at, "fits none of \"%s\"", one ? "oneOf" : "anyOf");
}

static enum schema_answer check_if(struct run *r, const json_t *schema, const json_t *v,
                                   const struct place *at) {
    const json_t *test = json_object_get(schema, "if");
    const json_t *yes = json_object_get(schema, "then"), *no = json_object_get(schema, "else");
    if (!test) return SCHEMA_VALID;
    enum schema_answer a = quietly(r, test, v, at);
    if (a == SCHEMA_VALID) return yes ? check(r, yes, v, at) : SCHEMA_VALID;
    if (a == SCHEMA_INVALID) return no ? check(r, no, v, at) : SCHEMA_VALID;
    return yes || no ? say(r, a, at, "\"if\" cannot be tried") : SCHEMA_VALID;
}

static enum schema_answer check_joins(struct run *r, const json_t *schema, const json_t *v,
                                      const struct place *at) {
    const json_t *all = json_object_get(schema, "allOf"), *any = json_object_get(schema, "anyOf");
    const json_t *one = json_object_get(schema, "oneOf"), *no = json_object_get(schema, "not"), *s;
    enum schema_answer a = check_refs(r, schema, v, at);
    size_t i;
    json_array_foreach(all, i, s) if (a != SCHEMA_INVALID) a = both(a, check(r, s, v, at));
    if (a != SCHEMA_INVALID && json_is_array(any)) a = both(a, check_any(r, any, v, false, at));
    if (a != SCHEMA_INVALID && json_is_array(one)) a = both(a, check_any(r, one, v, true, at));
    if (a != SCHEMA_INVALID) a = both(a, check_if(r, schema, v, at));
    if (a == SCHEMA_INVALID || !no) return a;
    enum schema_answer n = quietly(r, no, v, at);
    if (n == SCHEMA_VALID) return say(r, SCHEMA_INVALID, at, "is what \"not\" excludes");
    return n == SCHEMA_UNKNOWN ? n : a;
}

static enum schema_answer check(struct run *r, const json_t *schema, const json_t *v,
                                const struct place *at) {
    if (json_is_true(schema)) return SCHEMA_VALID;
    if (json_is_false(schema)) return say(r, SCHEMA_INVALID, at, "nothing is allowed here");
    if (!json_is_object(schema))
        return say(r, SCHEMA_UNKNOWN, at, "a schema is an object, true or false");
    if (++r->steps > STEPS_MAX || r->depth >= DEPTH_MAX)
        return say(r, SCHEMA_UNKNOWN, at, "the schema is too deep or too much work");
    r->depth++;
    enum schema_answer a = check_type(r, schema, v, at);
    if (a != SCHEMA_INVALID && json_is_number(v)) a = both(a, check_number(r, schema, v, at));
    if (a != SCHEMA_INVALID && json_is_string(v)) a = both(a, check_string(r, schema, v, at));
    if (a != SCHEMA_INVALID && json_is_array(v)) a = both(a, check_array(r, schema, v, at));
    if (a != SCHEMA_INVALID && json_is_object(v)) a = both(a, check_object(r, schema, v, at));
    if (a != SCHEMA_INVALID) a = both(a, check_joins(r, schema, v, at));
    r->depth--;
    return a;
}

enum schema_answer schema_check(const struct schema *s, const json_t *value,
                                char why[SCHEMA_WHY_MAX]) {
    struct run r = {.s = s, .why = why};
    struct place root = {0};
    why[0] = 0;
    enum schema_answer a = check(&r, s->root, value, &root);
    if (a == SCHEMA_VALID) why[0] = 0;
    if (r.steps <= STEPS_MAX) return a;
    snprintf(why, SCHEMA_WHY_MAX, "the schema is too much work");
    return SCHEMA_UNKNOWN;
}
