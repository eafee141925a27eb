/* A JSON Schema on its way to a grammar; for src/text/grammar_schema.c, grammar_merge.c and
 * grammar_value.c only.
 *
 * A schema document is a tree of parts (subschemas). A value must satisfy a set of parts at once:
 * what allOf, $ref and properties of merged objects give. A set is expanded into cases, one for
 * each choice of anyOf and oneOf, and a case is plain constraints by type. Each set becomes one
 * rule of the automaton, so recursive schemas end. */
#ifndef TEXT_GRAMMAR_SCHEMA_INT_H
#define TEXT_GRAMMAR_SCHEMA_INT_H

#include "text/grammar_int.h"

struct part {
    const json_t *schema;
    uint32_t parent, next; /* NO_STATE: a document's root; next in its hash chain */
    const char *step;      /* from the parent: ".properties.a" */
    uint32_t root;         /* part of its document */
    const char *where;     /* of a root */
    bool compared;         /* its oneOf is on the list of comparisons */
};

enum { /* types, as bits */
       TYPE_NULL = 1,
       TYPE_BOOL = 2,
       TYPE_INT = 4,
       TYPE_FRACTION = 8, /* numbers that are not whole */
       TYPE_STRING = 16,
       TYPE_ARRAY = 32,
       TYPE_OBJECT = 64,
       TYPE_ALL = 127,
};

struct part_list { /* newest first */
    uint32_t part;
    const struct part_list *next;
};
struct conj { /* one case: all of it must hold */
    unsigned types;
    bool has_values;
    const json_t *const *values; /* of enum and const */
    uint32_t value_count;
    struct numbers numbers;
    uint32_t min_length, max_length, min_items, max_items, min_names, max_names;
    const struct part_list *strings, *arrays, *objects; /* parts with further keywords */
};
struct cases {
    struct conj *at;
    uint32_t count;
    size_t cap;
};

#define ITEM(part) ((part) << 1)
#define ITEM_BUT_ONE_OF(part) ((part) << 1 | 1) /* the part without its oneOf */

struct item_set {
    const uint32_t *items; /* sorted */
    uint32_t count, rule, next;
    const struct part_list *needs; /* sets without which this one has no value */
};
struct comparison { /* two alternatives of a oneOf */
    uint32_t part, set, first, second;
};

struct schemas {
    struct automaton *a;
    struct arena memory;
    struct part *parts;
    struct item_set *sets;
    struct comparison *comparisons;
    uint32_t part_count, set_count, comparison_count;
    size_t part_cap, set_cap, comparison_cap;
    uint32_t part_heads[1024], set_heads[1024];
    uint32_t checked, built;                            /* parts and sets that are done */
    uint32_t plain_string, plain_number, plain_integer; /* rules; NO_STATE: not yet made */
    uint32_t case_count;                                /* of all sets */
    uint64_t work;                                      /* spent on patterns */
    char path[GRAMMAR_PATH_MAX];
};

/* Fails with the place of a part (and a keyword of it, or NULL) before the message. */
int part_error(struct schemas *s, uint32_t part, const char *keyword, struct err *err, int code,
               const char *fmt, ...) PRINTF_LIKE(6, 7);
int part_wrap(struct schemas *s, uint32_t part, const char *keyword, struct err *err);

/* grammar_schema.c: the part of a subschema that is known to be one */
uint32_t part_of(struct schemas *s, const json_t *schema);
uint32_t part_put(struct schemas *s, const json_t *schema, uint32_t parent, const char *step);
int part_ref(struct schemas *s, uint32_t part, uint32_t *ret, struct err *err);
int parts_check(struct schemas *s, struct err *err); /* keywords of all new parts */
uint32_t part_count_of(const json_t *schema, const char *keyword, uint32_t absent);

/* grammar_merge.c */
uint32_t set_put(struct schemas *s, uint32_t *items, uint32_t count); /* sorts items */
int set_expand(struct schemas *s, uint32_t set, struct cases *ret, struct err *err);
/* the schema parts allow this value; depth limits recursion */
int set_allows(struct schemas *s, uint32_t set, const json_t *value, int depth, bool *ret,
               struct err *err);
int conj_allows(struct schemas *s, const struct conj *c, const json_t *value, int depth, bool *ret,
                struct err *err);
/* what the keywords for strings of a case allow: pattern, format and length; ERR_NOT_FOUND: any
 * string of min_length..max_length */
int conj_chars(struct schemas *s, const struct conj *c, struct chars *ret, struct err *err);
/* The sets for a member of an object and an item of an array. */
uint32_t member_set(struct schemas *s, const struct part_list *objects, struct str name);
uint32_t further_set(struct schemas *s, const struct part_list *objects);
uint32_t names_set(struct schemas *s, const struct part_list *objects);
uint32_t item_set(struct schemas *s, const struct part_list *arrays, size_t index);
unsigned value_type(const json_t *v);
bool value_equal(const json_t *a, const json_t *b);
const struct part_list *list_add(struct schemas *s, const struct part_list *l, uint32_t part);
const struct part_list *parts_reversed(struct schemas *s, const struct part_list *l);

/* grammar_value.c */
int build_set(struct schemas *s, uint32_t set, struct err *err);

#endif
