/* Rules of values: each set of schema parts becomes the automaton of the JSON that satisfies it. */
#include "text/grammar_schema_int.h"

#define ITEMS_MAX 10000
#define NAMES_MAX 5000
#define GRID_MAX 20000
#define VALUE_DEPTH_MAX 64

struct builder {
    struct schemas *s;
    struct automaton *a;
    uint32_t set, start, end;
    struct err *err;
};

/* --- given values --------------------------------------------------------------------------------
 */

static uint32_t branch_text(struct automaton *a, uint32_t at, struct str text) {
    for (size_t i = 0; i < text.n; i++) at = build_branch(a, at, (unsigned char)text.p[i]);
    return at;
}

static uint32_t branch_string(struct automaton *a, uint32_t at, struct str text) {
    struct buf b;
    buf_init(&b, SIZE_MAX);
    buf_byte(&b, '"');
    chars_spell(&b, text);
    buf_byte(&b, '"');
    at = branch_text(a, at, buf_view(&b));
    buf_release(&b);
    return at;
}

static uint32_t branch_value(struct automaton *a, uint32_t at, const json_t *v);

static uint32_t branch_container(struct automaton *a, uint32_t at, const json_t *v) {
    bool first = true, array = json_is_array(v);
    const char *name;
    json_t *e;
    at = build_branch(a, at, array ? '[' : '{');
    for (size_t i = 0; array && i < json_array_size(v); i++, first = false) {
        if (!first) at = build_space(a, build_branch(a, at, ','));
        at = branch_value(a, at, json_array_get(v, i));
    }
    if (!array) {
        json_object_foreach((json_t *)v, name, e) {
            if (!first) at = build_space(a, build_branch(a, at, ','));
            first = false;
            at = branch_string(a, at, str_of(name));
            at = build_space(a, build_branch(a, at, ':'));
            at = branch_value(a, at, e);
        }
    }
    return build_branch(a, at, array ? ']' : '}');
}

/* the text of a value as a branch of the tree from `at` on */
static uint32_t branch_value(struct automaton *a, uint32_t at, const json_t *v) {
    struct buf b;
    if (a->over) return 0;
    if (json_is_string(v)) return branch_string(a, at, json_str(v));
    if (json_is_array(v) || json_is_object(v)) return branch_container(a, at, v);
    buf_init(&b, 1024);
    if (json_is_number(v))
        number_spell(&b, v);
    else
        buf_z(&b, json_is_null(v) ? "null" : json_is_true(v) ? "true" : "false");
    at = branch_text(a, at, buf_view(&b));
    buf_release(&b);
    return at;
}

static void put_value(struct builder *b, const json_t *v) {
    build_empty(b->a, branch_value(b->a, b->start, v), b->end);
}

static bool is_deep(const json_t *v, int depth) {
    const char *name;
    json_t *e;
    bool deep = depth > VALUE_DEPTH_MAX;
    for (size_t i = 0; i < json_array_size(v) && !deep; i++)
        deep = is_deep(json_array_get(v, i), depth + 1);
    json_object_foreach((json_t *)v, name, e) if (!deep) deep = is_deep(e, depth + 1);
    return deep;
}

/* Of the listed values those that the other keywords allow. */
static int put_values(struct builder *b, const struct conj *c) {
    int rc = 0;
    for (uint32_t i = 0; !rc && i < c->value_count; i++) {
        bool ok = true;
        struct conj others = *c;
        others.has_values = false;
        if (is_deep(c->values[i], 0))
            return err_set(b->err, ERR_LIMIT,
                           "a value of enum or const is nested more than %d deep", VALUE_DEPTH_MAX);
        rc = conj_allows(b->s, &others, c->values[i], 0, &ok, b->err);
        if (!rc && ok) put_value(b, c->values[i]);
    }
    return rc;
}

/* --- strings and numbers -------------------------------------------------------------------------
 */

static uint32_t plain_string(struct schemas *s, uint32_t min, uint32_t max) {
    if (min || max != COUNT_MAX) return build_string(s->a, min, max);
    if (s->plain_string == NO_STATE) s->plain_string = build_string(s->a, 0, COUNT_MAX);
    return s->plain_string;
}

/* the string from behind its first quote, which leads from `at` */
static int put_string(struct builder *b, const struct conj *c, uint32_t at, uint32_t end) {
    struct chars language;
    if (c->min_length > c->max_length) return 0;
    int rc = conj_chars(b->s, c, &language, b->err);
    if (rc == ERR_NOT_FOUND) {
        build_call(b->a, at, plain_string(b->s, c->min_length, c->max_length), end);
        return 0;
    }
    if (rc) return rc;
    uint32_t inside = build_state(b->a);
    build_empty(b->a, at, inside);
    if (!b->a->over) build_chars(b->a, inside, &language, end);
    chars_release(&language);
    return 0;
}

static int put_number(struct builder *b, const struct conj *c) {
    struct schemas *s = b->s;
    struct numbers n = c->numbers;
    uint32_t rule, *known = NULL;
    n.integer = !(c->types & TYPE_FRACTION);
    if (!n.has_lo && !n.has_hi && !n.step) known = n.integer ? &s->plain_integer : &s->plain_number;
    if (known && *known != NO_STATE) {
        rule = *known;
    } else {
        int rc = build_number(b->a, &n, &rule, b->err);
        if (rc) return rc;
    }
    if (known) *known = rule;
    build_call(b->a, b->start, rule, b->end);
    return 0;
}

/* --- arrays --------------------------------------------------------------------------------------
 */

static size_t prefix_length(struct schemas *s, const struct part_list *l) {
    size_t most = 0;
    for (; l; l = l->next) {
        size_t n = json_array_size(json_object_get(s->parts[l->part].schema, "prefixItems"));
        if (n > most) most = n;
    }
    return most;
}

static void need(struct builder *b, uint32_t set) {
    struct item_set *own = &b->s->sets[b->set];
    if (b->s->a->over || (own->needs && own->needs->part == set)) return;
    own->needs = list_add(b->s, own->needs, set);
}

static void call_set(struct builder *b, uint32_t from, uint32_t set, uint32_t to) {
    if (!b->a->over) build_call(b->a, from, b->s->sets[set].rule, to);
}

static int put_array(struct builder *b, const struct conj *c) {
    struct automaton *a = b->a;
    uint32_t rule = build_rule(a), end = build_state(a), prefix, last;
    if (a->over || c->min_items > c->max_items) return 0;
    build_accept(a, end);
    build_call(a, build_branch(a, b->start, '['), rule, b->end);
    prefix = (uint32_t)prefix_length(b->s, c->arrays);
    /* from item `last` on all are alike and any number of them may come */
    last = c->max_items != COUNT_MAX ? c->max_items : prefix > c->min_items ? prefix : c->min_items;
    if (last > ITEMS_MAX)
        return err_set(b->err, ERR_LIMIT,
                       "arrays with a minimum or maximum of %u items; at most %d", last, ITEMS_MAX);
    uint32_t at = a->starts[rule]; /* behind `[` or an item */
    for (uint32_t i = 0; !a->over; i++) {
        if (i >= c->min_items) build_byte(a, at, ']', ']', end);
        if (i == c->max_items) break;
        uint32_t item = at, next = build_state(a);
        if (i) {
            item = build_state(a);
            build_byte(a, at, ',', ',', item);
            item = build_space(a, item);
        }
        uint32_t set = item_set(b->s, c->arrays, i);
        if (i < c->min_items) need(b, set);
        if (i > last && c->max_items == COUNT_MAX) {
            call_set(b, item, set, at); /* the loop */
            break;
        }
        call_set(b, item, set, next);
        at = next;
    }
    return 0;
}

/* --- objects -------------------------------------------------------------------------------------
 */

struct name {
    struct str text;
    uint32_t set;
    bool required;
};
struct names {
    struct name *at;
    uint32_t count;
    size_t cap;
    bool over;
};

static struct name *find_name(struct names *n, struct str text) {
    for (uint32_t i = 0; i < n->count; i++)
        if (str_eq(n->at[i].text, text)) return &n->at[i];
    return NULL;
}

static struct name *add_name(struct names *n, struct str text) {
    struct name *have = find_name(n, text);
    if (have) return have;
    if (n->count >= NAMES_MAX) n->over = true;
    if (n->over) return NULL;
    mem_grow((void **)&n->at, &n->cap, n->count + 1, sizeof *n->at);
    n->at[n->count] = (struct name){.text = text};
    return &n->at[n->count++];
}

/* properties of all parts in their order, then names that are only required */
static void collect_names(struct schemas *s, const struct part_list *objects, struct names *ret) {
    const char *text;
    json_t *v;
    for (const struct part_list *l = objects; l; l = l->next) {
        json_object_foreach(json_object_get(s->parts[l->part].schema, "properties"), text, v)
            add_name(ret, str_of(text));
    }
    for (const struct part_list *l = objects; l; l = l->next) {
        const json_t *required = json_object_get(s->parts[l->part].schema, "required");
        for (size_t i = 0; i < json_array_size(required); i++) {
            struct name *n = add_name(ret, json_str(json_array_get(required, i)));
            if (n) n->required = true;
        }
    }
    for (uint32_t i = 0; i < ret->count; i++)
        ret->at[i].set = member_set(s, objects, ret->at[i].text);
}

/* Names that propertyNames forbids get a set that nothing satisfies. */
static int check_names(struct builder *b, uint32_t allowed, struct names *n) {
    int rc = 0;
    if (!b->s->sets[allowed].count) return 0;
    for (uint32_t i = 0; !rc && i < n->count; i++) {
        bool ok;
        json_t *text = json_stringn(n->at[i].text.p, n->at[i].text.n);
        rc = set_allows(b->s, allowed, text, 0, &ok, b->err);
        json_decref(text);
        if (rc || ok) continue;
        uint32_t item = ITEM(part_put(b->s, json_false(), b->s->parts[0].root, ".false"));
        n->at[i].set = set_put(b->s, &item, 1);
    }
    return rc;
}

/* The inside of any further name, which is none of n, and its quote. */
static int put_further_case(struct builder *b, const struct conj *c, const struct chars *others,
                            uint32_t at, uint32_t end) {
    struct chars language, both;
    if (!(c->types & TYPE_STRING) || c->min_length > c->max_length) return 0;
    int rc = conj_chars(b->s, c, &language, b->err);
    if (c->has_values) {
        struct str *list = mem_zalloc(c->value_count + 1u, sizeof *list);
        uint32_t n = 0;
        if (!rc) chars_release(&language);
        rc = rc == ERR_NOT_FOUND ? 0 : rc;
        for (uint32_t i = 0; !rc && i < c->value_count; i++) {
            bool ok = json_is_string(c->values[i]);
            if (ok) rc = conj_allows(b->s, c, c->values[i], 0, &ok, b->err);
            if (!rc && ok) list[n++] = json_str(c->values[i]);
        }
        if (!rc) chars_names(list, n, &language);
        mem_free(list);
    } else if (rc == ERR_NOT_FOUND) {
        uint32_t last = c->max_length == COUNT_MAX ? c->min_length : c->max_length;
        rc = 0;
        if (last >= CHARS_ROWS_MAX)
            return err_set(b->err, ERR_LIMIT, "propertyNames: a length of %u; at most %d", last,
                           CHARS_ROWS_MAX - 1);
        chars_length(c->min_length, c->max_length, &language);
    }
    if (!rc) rc = chars_both(&language, others, &both, b->err);
    if (rc) return rc;
    uint32_t inside = build_state(b->a);
    build_empty(b->a, at, inside);
    if (!b->a->over) build_chars(b->a, inside, &both, end);
    chars_release(&language);
    chars_release(&both);
    return 0;
}

static int put_further_name(struct builder *b, uint32_t allowed, const struct names *n, uint32_t at,
                            uint32_t end) {
    if (!n->count && !b->s->sets[allowed].count) {
        build_call(b->a, at, plain_string(b->s, 0, COUNT_MAX), end);
        return 0;
    }
    struct cases cases = {0};
    struct chars names, others;
    struct str *list = mem_zalloc(n->count + 1u, sizeof *list);
    for (uint32_t i = 0; i < n->count; i++) list[i] = n->at[i].text;
    chars_names(list, n->count, &names);
    chars_not(&names, &others);
    int rc = set_expand(b->s, allowed, &cases, b->err);
    for (uint32_t i = 0; !rc && i < cases.count; i++)
        rc = put_further_case(b, &cases.at[i], &others, at, end);
    mem_free(cases.at);
    mem_free(list);
    chars_release(&names);
    chars_release(&others);
    return rc;
}

/* States of an object's rule, by the next name that may come and by how many came (where that
 * matters): choose: behind `{` or `,`; after: behind a member. */
struct grid {
    struct builder *b;
    const struct conj *c;
    struct names names;
    uint32_t rule, end, counts, *choose, *after;
    uint32_t further, allowed; /* sets */
    bool open;                 /* further names may come */
};

static uint32_t next_count(const struct grid *g, uint32_t count) {
    return count + 1 < g->counts ? count + 1 : g->counts - 1;
}

static void put_name(struct grid *g, uint32_t i, uint32_t count) {
    struct automaton *a = g->b->a;
    const struct name *n = &g->names.at[i];
    uint32_t from = g->choose[i * g->counts + count];
    if (!n->required) build_empty(a, from, g->choose[(i + 1) * g->counts + count]);
    if (g->c->max_names != COUNT_MAX && count >= g->c->max_names) return;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    buf_byte(&text, '"');
    chars_spell(&text, n->text);
    buf_z(&text, "\":");
    uint32_t at = build_space(a, build_text(a, from, buf_view(&text)));
    buf_release(&text);
    call_set(g->b, at, n->set, g->after[(i + 1) * g->counts + next_count(g, count)]);
}

static int put_further(struct grid *g, uint32_t count) {
    struct automaton *a = g->b->a;
    uint32_t i = g->names.count, from = g->choose[i * g->counts + count];
    if (!g->open || (g->c->max_names != COUNT_MAX && count >= g->c->max_names)) return 0;
    uint32_t name = build_state(a), after = build_state(a), colon = build_state(a);
    build_byte(a, from, '"', '"', name);
    int rc = put_further_name(g->b, g->allowed, &g->names, name, after);
    build_byte(a, after, ':', ':', colon);
    call_set(g->b, build_space(a, colon), g->further,
             g->after[i * g->counts + next_count(g, count)]);
    return rc;
}

static int put_grid(struct grid *g) {
    struct automaton *a = g->b->a;
    uint32_t n = g->names.count;
    int rc = 0;
    for (uint32_t i = 0; i < (n + 1) * g->counts; i++) {
        g->choose[i] = build_state(a);
        g->after[i] = build_state(a);
    }
    uint32_t start = a->starts[g->rule];
    bool closes = true; /* nothing required follows */
    if (!a->over) build_empty(a, start, g->choose[0]);
    for (uint32_t i = n + 1; i-- > 0 && !rc && !a->over;) {
        if (i < n && g->names.at[i].required) closes = false;
        for (uint32_t k = 0; k < g->counts && !rc && !a->over; k++) {
            uint32_t after = g->after[i * g->counts + k], comma = build_state(a);
            if (closes && k >= g->c->min_names) build_byte(a, after, '}', '}', g->end);
            build_byte(a, after, ',', ',', comma);
            build_empty(a, build_space(a, comma), g->choose[i * g->counts + k]);
            if (i < n)
                put_name(g, i, k);
            else
                rc = put_further(g, k);
        }
    }
    if (closes && !g->c->min_names) build_byte(a, start, '}', '}', g->end);
    return rc;
}

/* How many states by count are needed; fails where names that may repeat would be counted. */
static int count_states(struct grid *g, struct conj *c) {
    uint32_t required = 0;
    for (uint32_t i = 0; i < g->names.count; i++) required += g->names.at[i].required;
    if (c->min_names <= required) c->min_names = 0;
    if (c->min_names > 1 && g->open)
        return err_set(g->b->err, ERR_UNSUPPORTED,
                       "minProperties above 1 is supported only with \"additionalProperties\": "
                       "false or that many required ones");
    uint32_t most = c->max_names;
    if (most == COUNT_MAX) most = c->min_names;
    if ((uint64_t)(most + 1) * (g->names.count + 1) > GRID_MAX)
        return err_set(g->b->err, ERR_LIMIT, "minProperties or maxProperties is too large");
    g->counts = most + 1;
    if (!c->min_names && c->max_names == COUNT_MAX) g->counts = 1;
    return 0;
}

static bool set_is_false(const struct schemas *s, uint32_t set) {
    for (uint32_t i = 0; i < s->sets[set].count; i++)
        if (json_is_false(s->parts[s->sets[set].items[i] >> 1].schema)) return true;
    return false;
}

static int put_object(struct builder *b, const struct conj *c) {
    struct automaton *a = b->a;
    struct conj own = *c;
    struct grid g = {.b = b, .c = &own, .rule = build_rule(a), .end = build_state(a)};
    const struct part_list *objects = parts_reversed(b->s, c->objects);
    if (a->over || c->min_names > c->max_names) return 0;
    build_accept(a, g.end);
    build_call(a, build_branch(a, b->start, '{'), g.rule, b->end);
    collect_names(b->s, objects, &g.names);
    g.allowed = names_set(b->s, objects);
    g.further = further_set(b->s, objects);
    g.open = !set_is_false(b->s, g.further) && !set_is_false(b->s, g.allowed);
    int rc = g.names.over
                 ? err_set(b->err, ERR_LIMIT, "an object with more than %d properties", NAMES_MAX)
                 : check_names(b, g.allowed, &g.names);
    if (!rc) rc = count_states(&g, &own);
    for (uint32_t i = 0; i < g.names.count; i++)
        if (g.names.at[i].required) need(b, g.names.at[i].set);
    if (!rc) {
        size_t n = (size_t)(g.names.count + 1) * g.counts;
        g.choose = mem_zalloc(n, sizeof *g.choose);
        g.after = mem_zalloc(n, sizeof *g.after);
        rc = put_grid(&g);
    }
    mem_free(g.choose);
    mem_free(g.after);
    mem_free(g.names.at);
    return rc;
}

/* -------------------------------------------------------------------------------------------------
 */

static int put_case(struct builder *b, const struct conj *c) {
    int rc = 0;
    if (c->has_values) return put_values(b, c);
    if (c->types & TYPE_NULL) put_value(b, json_null());
    if (c->types & TYPE_BOOL) {
        put_value(b, json_true());
        put_value(b, json_false());
    }
    if (c->types & TYPE_INT) rc = put_number(b, c);
    if (!rc && c->types & TYPE_STRING)
        rc = put_string(b, c, build_branch(b->a, b->start, '"'), b->end);
    if (!rc && c->types & TYPE_ARRAY) rc = put_array(b, c);
    if (!rc && c->types & TYPE_OBJECT) rc = put_object(b, c);
    return rc;
}

int build_set(struct schemas *s, uint32_t set, struct err *err) {
    struct cases cases = {0};
    struct builder b = {.s = s, .a = s->a, .set = set, .err = err};
    b.start = s->a->starts[s->sets[set].rule];
    b.end = build_state(s->a);
    if (s->a->over) return 0; /* build_finish says so */
    build_accept(s->a, b.end);
    int rc = set_expand(s, set, &cases, err);
    for (uint32_t i = 0; !rc && i < cases.count && !s->a->over; i++)
        rc = put_case(&b, &cases.at[i]);
    if (cases.count > 1) s->sets[set].needs = NULL;
    mem_free(cases.at);
    if (rc && !s->path[0] && s->sets[set].count)
        rc = part_wrap(s, s->sets[set].items[0] >> 1, NULL, err);
    return rc;
}
