/* Sets of schema parts, expanded into cases of plain constraints. */
#include "text/grammar_schema_int.h"

#include "base/hash.h"

#include <math.h>
#include <stdlib.h>

#define SETS_MAX 20000
#define STEPS_MAX 20000 /* parts looked at for one set */
#define CASES_MAX 2000  /* of one set */
#define CASES_ALL_MAX 50000
#define CHOICES_MAX 100 /* anyOf in anyOf in ... */
#define COMPARISONS_MAX 2000
#define VALUE_DEPTH_MAX 64
#define WORK_MAX 200000000 /* steps for the patterns of one schema */

/* --- sets ----------------------------------------------------------------------------------------
 */

static int compare_items(const void *x, const void *y) {
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

uint32_t set_put(struct schemas *s, uint32_t *items, uint32_t count) {
    uint32_t n = 0;
    if (count > 1) qsort(items, count, sizeof *items, compare_items);
    for (uint32_t i = 0; i < count; i++)
        if (!i || items[i] != items[n - 1]) items[n++] = items[i];
    uint32_t *head = &s->set_heads[n ? hash_bytes(items, n * sizeof *items) & 1023 : 0];
    for (uint32_t i = *head; i != NO_STATE; i = s->sets[i].next)
        if (s->sets[i].count == n && (!n || !memcmp(s->sets[i].items, items, n * sizeof *items)))
            return i;
    uint32_t *copy = arena_array(&s->memory, n + 1u, sizeof *copy);
    if (!copy || s->set_count >= SETS_MAX) {
        s->a->over = true;
        return 0;
    }
    if (n) memcpy(copy, items, n * sizeof *items);
    mem_grow((void **)&s->sets, &s->set_cap, s->set_count + 1, sizeof *s->sets);
    s->sets[s->set_count] = (struct item_set){copy, n, build_rule(s->a), *head, NULL};
    *head = s->set_count;
    return s->set_count++;
}

/* --- values --------------------------------------------------------------------------------------
 */

unsigned value_type(const json_t *v) {
    double x = json_is_real(v) ? json_real_value(v) : 0;
    switch (json_typeof(v)) {
    case JSON_NULL: return TYPE_NULL;
    case JSON_TRUE:
    case JSON_FALSE: return TYPE_BOOL;
    case JSON_INTEGER: return TYPE_INT;
    case JSON_REAL: return x == floor(x) ? TYPE_INT : TYPE_FRACTION;
    case JSON_STRING: return TYPE_STRING;
    case JSON_ARRAY: return TYPE_ARRAY;
    case JSON_OBJECT: return TYPE_OBJECT;
    }
    return 0;
}

bool value_equal(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) {
        struct decimal x, y;
        decimal_of(a, &x);
        decimal_of(b, &y);
        return decimal_cmp(&x, &y) == 0;
    }
    if (json_typeof(a) != json_typeof(b)) return false;
    if (json_is_string(a)) return str_eq(json_str(a), json_str(b));
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b)) return false;
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!value_equal(json_array_get(a, i), json_array_get(b, i))) return false;
        return true;
    }
    if (!json_is_object(a)) return true;
    if (json_object_size(a) != json_object_size(b)) return false;
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)a, name, v) {
        const json_t *other = json_object_get(b, name);
        if (!other || !value_equal(v, other)) return false;
    }
    return true;
}

/* --- one part's keywords -------------------------------------------------------------------------
 */

/* Parts that are being expanded, to see those that lead to themselves. */
struct chain {
    uint32_t item;
    const struct chain *up;
};
struct task {
    uint32_t item;         /* or, of a choice, whose it is */
    const json_t *choices; /* NULL: a part */
    const struct chain *why;
    const struct task *next;
};
struct work { /* of one case; copied at a choice */
    const struct task *parts, *choices;
    const struct part_list *applied;
    struct conj c;
};
struct expander {
    struct schemas *s;
    struct cases *out;
    int steps, depth;
    struct err *err;
};

const struct part_list *list_add(struct schemas *s, const struct part_list *l, uint32_t part) {
    struct part_list *n = arena_alloc(&s->memory, sizeof *n);
    if (!n) return l;
    *n = (struct part_list){part, l};
    return n;
}

const struct part_list *parts_reversed(struct schemas *s, const struct part_list *l) {
    const struct part_list *r = NULL;
    for (; l; l = l->next) r = list_add(s, r, l->part);
    return r;
}

static const struct task *task_add(struct expander *x, const struct task *l, uint32_t item,
                                   const json_t *choices, const struct chain *why) {
    struct task *t = arena_alloc(&x->s->memory, sizeof *t);
    if (!t) return l;
    *t = (struct task){item, choices, why, l};
    return t;
}

static unsigned type_bits(const json_t *name) {
    static const struct {
        const char *name;
        unsigned bits;
    } types[] = {
        {"null", TYPE_NULL},
        {"boolean", TYPE_BOOL},
        {"integer", TYPE_INT},
        {"string", TYPE_STRING},
        {"array", TYPE_ARRAY},
        {"object", TYPE_OBJECT},
        {"number", TYPE_INT | TYPE_FRACTION},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_is(json_str(name), types[i].name)) return types[i].bits;
    return 0;
}

static void apply_type(const json_t *schema, struct conj *c) {
    const json_t *type = json_object_get(schema, "type");
    unsigned bits = 0;
    if (!type) return;
    if (json_is_string(type)) bits = type_bits(type);
    for (size_t i = 0; i < json_array_size(type); i++) bits |= type_bits(json_array_get(type, i));
    c->types &= bits;
}

/* the values that are in both lists */
static void apply_values(struct schemas *s, const json_t *const *list, uint32_t count,
                         struct conj *c) {
    const json_t **both = arena_array(&s->memory, count + 1u, sizeof *both);
    uint32_t n = 0;
    for (uint32_t i = 0; both && i < count; i++) {
        bool in = !c->has_values;
        for (uint32_t k = 0; !in && k < c->value_count; k++)
            in = value_equal(c->values[k], list[i]);
        if (in) both[n++] = list[i];
    }
    c->has_values = true;
    c->values = both;
    c->value_count = n;
}

static void apply_enum(struct schemas *s, const json_t *schema, struct conj *c) {
    const json_t *one = json_object_get(schema, "const"), *some = json_object_get(schema, "enum");
    if (one) apply_values(s, &one, 1, c);
    if (!some) return;
    uint32_t n = (uint32_t)json_array_size(some);
    const json_t **list = arena_array(&s->memory, n + 1u, sizeof *list);
    for (uint32_t i = 0; list && i < n; i++) list[i] = json_array_get(some, i);
    apply_values(s, list, list ? n : 0, c);
}

static void lower_bound(struct numbers *n, const json_t *v, bool open) {
    struct decimal d;
    if (!v) return;
    decimal_of(v, &d);
    int cmp = n->has_lo ? decimal_cmp(&d, &n->lo) : 1;
    if (cmp > 0) {
        n->lo = d;
        n->lo_open = open;
    } else if (cmp == 0) {
        n->lo_open |= open;
    }
    n->has_lo = true;
}

static void upper_bound(struct numbers *n, const json_t *v, bool open) {
    struct decimal d;
    if (!v) return;
    decimal_of(v, &d);
    int cmp = n->has_hi ? decimal_cmp(&d, &n->hi) : -1;
    if (cmp < 0) {
        n->hi = d;
        n->hi_open = open;
    } else if (cmp == 0) {
        n->hi_open |= open;
    }
    n->has_hi = true;
}

static int apply_numbers(struct schemas *s, uint32_t part, struct numbers *n, struct err *err) {
    const json_t *schema = s->parts[part].schema, *step = json_object_get(schema, "multipleOf");
    lower_bound(n, json_object_get(schema, "minimum"), false);
    lower_bound(n, json_object_get(schema, "exclusiveMinimum"), true);
    upper_bound(n, json_object_get(schema, "maximum"), false);
    upper_bound(n, json_object_get(schema, "exclusiveMaximum"), true);
    if (step && numbers_step(n, step, err)) return part_wrap(s, part, "multipleOf", err);
    return 0;
}

static void at_least(uint32_t *x, uint32_t y) {
    if (y > *x) *x = y;
}

static void at_most(uint32_t *x, uint32_t y) {
    if (y < *x) *x = y;
}

static bool has_any(const json_t *schema, const char *const *names) {
    for (; *names; names++)
        if (json_object_get(schema, *names)) return true;
    return false;
}

static int apply(struct expander *x, uint32_t part, struct conj *c) {
    static const char *const strings[] = {"pattern", "format", NULL};
    static const char *const arrays[] = {"items", "prefixItems", NULL};
    static const char *const objects[] = {"properties", "required", "additionalProperties",
                                          "propertyNames", NULL};
    struct schemas *s = x->s;
    const json_t *schema = s->parts[part].schema;
    apply_type(schema, c);
    apply_enum(s, schema, c);
    at_least(&c->min_length, part_count_of(schema, "minLength", 0));
    at_most(&c->max_length, part_count_of(schema, "maxLength", COUNT_MAX));
    at_least(&c->min_items, part_count_of(schema, "minItems", 0));
    at_most(&c->max_items, part_count_of(schema, "maxItems", COUNT_MAX));
    at_least(&c->min_names, part_count_of(schema, "minProperties", 0));
    at_most(&c->max_names, part_count_of(schema, "maxProperties", COUNT_MAX));
    if (has_any(schema, strings)) c->strings = list_add(s, c->strings, part);
    if (has_any(schema, arrays)) c->arrays = list_add(s, c->arrays, part);
    if (has_any(schema, objects)) c->objects = list_add(s, c->objects, part);
    return apply_numbers(s, part, &c->numbers, x->err);
}

/* --- expanding -----------------------------------------------------------------------------------
 */

/* oneOf may be read as anyOf only where no two alternatives share a value: noted, and looked at
 * when the automaton is complete. */
static int compare_later(struct schemas *s, uint32_t part, const json_t *list, struct err *err) {
    uint32_t n = (uint32_t)json_array_size(list);
    if (s->parts[part].compared) return 0;
    s->parts[part].compared = true;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = i + 1; k < n; k++) {
            uint32_t items[3] = {ITEM_BUT_ONE_OF(part), ITEM(part_of(s, json_array_get(list, i))),
                                 ITEM(part_of(s, json_array_get(list, k)))};
            if (s->comparison_count >= COMPARISONS_MAX)
                return part_error(s, part, "oneOf", err, ERR_LIMIT,
                                  "too many alternatives to compare; use \"anyOf\"");
            mem_grow((void **)&s->comparisons, &s->comparison_cap, s->comparison_count + 1,
                     sizeof *s->comparisons);
            s->comparisons[s->comparison_count++] =
                (struct comparison){part, set_put(s, items, 3), i, k};
        }
    return 0;
}

static const struct chain *chain_add(struct expander *x, const struct chain *up, uint32_t item) {
    struct chain *c = arena_alloc(&x->s->memory, sizeof *c);
    if (!c) return up;
    *c = (struct chain){item, up};
    return c;
}

static int expand_part(struct expander *x, const struct task *t, struct work *w) {
    struct schemas *s = x->s;
    uint32_t part = t->item >> 1, target;
    const json_t *schema = s->parts[part].schema, *list;
    const struct chain *why = chain_add(x, t->why, t->item);
    int rc = apply(x, part, &w->c);
    if (rc) return rc;
    if (json_object_get(schema, "$ref")) {
        if ((rc = part_ref(s, part, &target, x->err))) return rc;
        w->parts = task_add(x, w->parts, ITEM(target), NULL, why);
    }
    list = json_object_get(schema, "allOf");
    for (size_t i = json_array_size(list); i-- > 0;)
        w->parts = task_add(x, w->parts, ITEM(part_of(s, json_array_get(list, i))), NULL, why);
    if ((list = json_object_get(schema, "anyOf")))
        w->choices = task_add(x, w->choices, t->item, list, why);
    list = json_object_get(schema, "oneOf");
    if (list && !(t->item & 1)) {
        if ((rc = compare_later(s, part, list, x->err))) return rc;
        w->choices = task_add(x, w->choices, t->item, list, why);
    }
    return 0;
}

static bool in_chain(const struct chain *c, uint32_t item) {
    for (; c; c = c->up)
        if (c->item >> 1 == item >> 1) return true;
    return false;
}

static bool was_applied(const struct part_list *l, uint32_t item) {
    for (; l; l = l->next)
        if (l->part == item) return true;
    return false;
}

/* All parts of a case; *ok is false when nothing satisfies it. */
static int expand_parts(struct expander *x, struct work *w, bool *ok) {
    *ok = true;
    while (w->parts && *ok) {
        const struct task *t = w->parts;
        const json_t *schema = x->s->parts[t->item >> 1].schema;
        w->parts = t->next;
        if (++x->steps > STEPS_MAX || x->s->memory.over)
            return part_error(x->s, t->item >> 1, NULL, x->err, ERR_LIMIT,
                              "anyOf, oneOf and allOf together give too many combinations");
        /* a schema that is defined by itself alone allows nothing */
        *ok = !json_is_false(schema) && !in_chain(t->why, t->item);
        if (!*ok || json_is_true(schema) || was_applied(w->applied, t->item)) continue;
        w->applied = list_add(x->s, w->applied, t->item);
        int rc = expand_part(x, t, w);
        if (rc) return rc;
        *ok = w->c.types && (!w->c.has_values || w->c.value_count);
    }
    return 0;
}

static int expand(struct expander *x, struct work *w) {
    bool ok;
    int rc = expand_parts(x, w, &ok);
    if (rc || !ok) return rc;
    if (!w->choices) {
        struct cases *out = x->out;
        mem_grow((void **)&out->at, &out->cap, out->count + 1, sizeof *out->at);
        out->at[out->count++] = w->c;
        if (out->count > CASES_MAX || ++x->s->case_count > CASES_ALL_MAX)
            return err_set(x->err, ERR_LIMIT,
                           "anyOf, oneOf and allOf together give too many combinations");
        return 0;
    }
    const struct task *choice = w->choices;
    if (++x->depth > CHOICES_MAX)
        return part_error(x->s, choice->item >> 1, NULL, x->err, ERR_LIMIT,
                          "anyOf and oneOf are nested too deeply");
    for (size_t i = 0; !rc && i < json_array_size(choice->choices); i++) {
        struct work next = *w;
        uint32_t part = part_of(x->s, json_array_get(choice->choices, i));
        next.choices = choice->next;
        next.parts = task_add(x, NULL, ITEM(part), NULL, choice->why);
        rc = expand(x, &next);
    }
    x->depth--;
    return rc;
}

int set_expand(struct schemas *s, uint32_t set, struct cases *ret, struct err *err) {
    struct expander x = {.s = s, .out = ret, .err = err};
    struct work w = {.c = {.types = TYPE_ALL,
                           .max_length = COUNT_MAX,
                           .max_items = COUNT_MAX,
                           .max_names = COUNT_MAX}};
    ret->count = 0;
    for (uint32_t i = s->sets[set].count; i-- > 0;)
        w.parts = task_add(&x, w.parts, s->sets[set].items[i], NULL, NULL);
    return expand(&x, &w);
}

/* --- members, items, strings ---------------------------------------------------------------------
 */

struct picking {
    uint32_t *items, count;
    size_t cap;
};

static void pick(struct schemas *s, struct picking *p, const json_t *schema) {
    if (!schema || json_is_true(schema)) return;
    mem_grow((void **)&p->items, &p->cap, p->count + 1, sizeof *p->items);
    p->items[p->count++] = ITEM(part_of(s, schema));
}

static uint32_t picked(struct schemas *s, struct picking *p) {
    uint32_t set = set_put(s, p->items, p->count);
    mem_free(p->items);
    return set;
}

uint32_t member_set(struct schemas *s, const struct part_list *objects, struct str name) {
    struct picking p = {0};
    for (; objects; objects = objects->next) {
        const json_t *schema = s->parts[objects->part].schema;
        const json_t *own = json_object_getn(json_object_get(schema, "properties"), name.p, name.n);
        pick(s, &p, own ? own : json_object_get(schema, "additionalProperties"));
    }
    return picked(s, &p);
}

uint32_t further_set(struct schemas *s, const struct part_list *objects) {
    struct picking p = {0};
    for (; objects; objects = objects->next)
        pick(s, &p, json_object_get(s->parts[objects->part].schema, "additionalProperties"));
    return picked(s, &p);
}

uint32_t names_set(struct schemas *s, const struct part_list *objects) {
    struct picking p = {0};
    for (; objects; objects = objects->next)
        pick(s, &p, json_object_get(s->parts[objects->part].schema, "propertyNames"));
    return picked(s, &p);
}

uint32_t item_set(struct schemas *s, const struct part_list *arrays, size_t index) {
    struct picking p = {0};
    for (; arrays; arrays = arrays->next) {
        const json_t *schema = s->parts[arrays->part].schema;
        const json_t *own = json_array_get(json_object_get(schema, "prefixItems"), index);
        pick(s, &p, own ? own : json_object_get(schema, "items"));
    }
    return picked(s, &p);
}

static int narrow(struct schemas *s, uint32_t part, const char *keyword, struct chars *ret,
                  bool *any, struct err *err) {
    const json_t *v = json_object_get(s->parts[part].schema, keyword);
    struct chars one, both;
    if (!v) return 0;
    if (s->work > WORK_MAX)
        return part_error(s, part, keyword, err, ERR_LIMIT, "the schema's patterns need too long");
    int rc = *keyword == 'p' ? chars_pattern(json_str(v), &one, err)
                             : chars_format(json_str(v), &one, err);
    if (rc == ERR_NOT_FOUND) rc = err->code = ERR_UNSUPPORTED;
    if (rc) return part_wrap(s, part, keyword, err);
    s->work += one.work + 1000 + 10 * (uint64_t)one.edge_count;
    if (!*any) {
        *ret = one;
        *any = true;
        return 0;
    }
    rc = chars_both(ret, &one, &both, err);
    chars_release(&one);
    if (rc) return part_wrap(s, part, keyword, err);
    chars_release(ret);
    *ret = both;
    return 0;
}

int conj_chars(struct schemas *s, const struct conj *c, struct chars *ret, struct err *err) {
    bool any = false;
    int rc = 0;
    for (const struct part_list *l = c->strings; l && !rc; l = l->next) {
        rc = narrow(s, l->part, "pattern", ret, &any, err);
        if (!rc) rc = narrow(s, l->part, "format", ret, &any, err);
    }
    if (!rc && !any) return ERR_NOT_FOUND;
    uint32_t last = c->max_length == COUNT_MAX ? c->min_length : c->max_length;
    if (!rc && last) {
        struct chars length, both;
        if (last >= CHARS_ROWS_MAX)
            rc = part_error(s, c->strings->part, NULL, err, ERR_LIMIT,
                            "a length of %u beside a pattern or format; at most %d", last,
                            CHARS_ROWS_MAX - 1);
        if (!rc) {
            chars_length(c->min_length, c->max_length, &length);
            rc = chars_both(ret, &length, &both, err);
            chars_release(&length);
            if (rc) part_wrap(s, c->strings->part, NULL, err);
        }
        if (!rc) {
            chars_release(ret);
            *ret = both;
        }
    }
    if (rc && any) chars_release(ret);
    return rc;
}

/* --- given values --------------------------------------------------------------------------------
 */

static size_t characters(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static int string_allowed(struct schemas *s, const struct conj *c, const json_t *v, bool *ret,
                          struct err *err) {
    struct chars language;
    size_t n = characters(json_str(v));
    *ret = n >= c->min_length && n <= c->max_length;
    if (!*ret || !c->strings) return 0;
    int rc = conj_chars(s, c, &language, err);
    if (rc == ERR_NOT_FOUND) return 0;
    if (rc) return rc;
    *ret = chars_match(&language, json_str(v));
    chars_release(&language);
    return 0;
}

static int array_allowed(struct schemas *s, const struct conj *c, const json_t *v, int depth,
                         bool *ret, struct err *err) {
    size_t n = json_array_size(v);
    int rc = 0;
    *ret = n >= c->min_items && n <= c->max_items;
    for (size_t i = 0; *ret && !rc && c->arrays && i < n; i++)
        rc = set_allows(s, item_set(s, c->arrays, i), json_array_get(v, i), depth + 1, ret, err);
    return rc;
}

static int object_allowed(struct schemas *s, const struct conj *c, const json_t *v, int depth,
                          bool *ret, struct err *err) {
    const char *name;
    json_t *member;
    int rc = 0;
    *ret = json_object_size(v) >= c->min_names && json_object_size(v) <= c->max_names;
    for (const struct part_list *l = c->objects; l && *ret; l = l->next) {
        const json_t *required = json_object_get(s->parts[l->part].schema, "required");
        for (size_t i = 0; i < json_array_size(required); i++)
            if (!json_object_get(v, json_string_value(json_array_get(required, i)))) *ret = false;
    }
    if (!c->objects || !*ret) return 0;
    uint32_t names = names_set(s, c->objects);
    json_object_foreach((json_t *)v, name, member) {
        if (!*ret || rc) break;
        rc = set_allows(s, member_set(s, c->objects, str_of(name)), member, depth + 1, ret, err);
        if (rc || !*ret) break;
        json_t *key = json_string(name);
        rc = set_allows(s, names, key, depth + 1, ret, err);
        json_decref(key);
    }
    return rc;
}

int conj_allows(struct schemas *s, const struct conj *c, const json_t *v, int depth, bool *ret,
                struct err *err) {
    *ret = (c->types & value_type(v)) != 0;
    if (c->has_values) {
        bool in = false;
        for (uint32_t i = 0; !in && i < c->value_count; i++) in = value_equal(c->values[i], v);
        *ret &= in;
    }
    if (!*ret) return 0;
    if (json_is_number(v)) *ret = numbers_allow(&c->numbers, v);
    if (json_is_string(v)) return string_allowed(s, c, v, ret, err);
    if (json_is_array(v)) return array_allowed(s, c, v, depth, ret, err);
    if (json_is_object(v)) return object_allowed(s, c, v, depth, ret, err);
    return 0;
}

int set_allows(struct schemas *s, uint32_t set, const json_t *value, int depth, bool *ret,
               struct err *err) {
    struct cases cases = {0};
    *ret = true;
    if (!s->sets[set].count) return 0;
    if (depth > VALUE_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "a value of enum or const is nested too deeply");
    int rc = set_expand(s, set, &cases, err);
    *ret = false;
    for (uint32_t i = 0; !rc && !*ret && i < cases.count; i++)
        rc = conj_allows(s, &cases.at[i], value, depth, ret, err);
    mem_free(cases.at);
    return rc;
}
