/* Values of the template language, with Python's meaning. All live in the arena of one rendering
 * (strings may also point into the template or into the caller's JSON) and never change, but for
 * namespaces, loops and iterators. A failed operation sets the run's error and returns V_UNDEF with
 * no reason; whoever loops checks run_failed. */
#ifndef TEXT_TEMPLATE_VALUE_H
#define TEXT_TEMPLATE_VALUE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum value_type {
    V_UNDEF, /* jinja's Undefined: prints nothing, most uses raise */
    V_NONE,
    V_BOOL,
    V_INT,
    V_FLOAT,
    V_STR,
    V_LIST,
    V_TUPLE,
    V_RANGE,
    V_VIEW, /* dict.items() and the like: has a length, no index */
    V_ITER, /* a generator: consumed by use, always true */
    V_DICT,
    V_SPACE, /* namespace() */
    V_MACRO,
    V_METHOD, /* "abc".upper, not yet called */
    V_FUNC,   /* a global function */
    V_LOOP,
    V_MISSING /* internal: no such variable */
};

struct value {
    enum value_type type;
    bool markup; /* a string that passed |safe: what is added to it is escaped */
    union {
        bool b;
        int64_t i;
        double f;
        struct str s;
        struct seq *seq;   /* LIST TUPLE RANGE VIEW ITER */
        struct dict *dict; /* DICT SPACE */
        const struct undef *undef;
        struct macro *macro;
        struct method *method;
        const struct function *func;
        struct loop *loop;
    } u;
};

struct seq {
    struct value *v;
    size_t n, cap;
    size_t at;                 /* ITER: next to give */
    const char *kind;          /* VIEW: "dict_items"; ITER: "generator" */
    int64_t start, stop, step; /* RANGE */
};

struct dict {
    struct value *keys, *values; /* in order of insertion */
    size_t n, cap;
    uint32_t *index; /* open addressing over string keys, position + 1; NULL while small */
    size_t slots;
};

/* Why a value is undefined; the message when it is used. */
struct undef {
    struct str hint;   /* the whole message, when not empty */
    const char *of;    /* "dict object"; NULL: a variable */
    struct value name; /* of the attribute, item or variable */
    bool unsafe;       /* the sandbox forbids it: SecurityError */
};

struct run;

bool run_failed(const struct run *r);
/* Set the run's error (the first one stays); returns an undefined value to hand on. */
struct value run_fail(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void *run_alloc(struct run *r, size_t count, size_t size); /* zeroed; NULL fails the run */
bool run_spend(struct run *r, size_t steps);               /* false when the budget is gone */
bool run_enter(struct run *r); /* depth; pair with run_leave when true */
void run_leave(struct run *r);

static inline struct value v_none(void) { return (struct value){.type = V_NONE}; }
static inline struct value v_bool(bool b) { return (struct value){.type = V_BOOL, .u.b = b}; }
static inline struct value v_int(int64_t i) { return (struct value){.type = V_INT, .u.i = i}; }
static inline struct value v_float(double f) { return (struct value){.type = V_FLOAT, .u.f = f}; }
static inline struct value v_str(struct str s) { return (struct value){.type = V_STR, .u.s = s}; }
static inline struct value v_missing(void) { return (struct value){.type = V_MISSING}; }
struct value v_undef_var(struct run *r, struct str name);
struct value v_undef_hint(struct run *r, const char *hint);
struct value v_undef_of(struct run *r, struct value of, struct value name);
struct value v_undef_unsafe(struct run *r, struct value of, struct str name);
struct value run_fail_undef(struct run *r, struct value undef); /* raises its message */

struct value v_seq(struct run *r, enum value_type type, size_t cap);
void seq_add(struct run *r, struct value seq, struct value item);
struct value v_iter(struct run *r, struct value list, const char *kind);
struct value v_dict(struct run *r, size_t cap);
void dict_set(struct run *r, struct value dict, struct value key, struct value item);
bool dict_get(struct run *r, struct value dict, struct value key, struct value *ret);
bool dict_get_str(const struct dict *d, struct str key, struct value *ret);
struct value v_copy(struct run *r, struct str s); /* a string copied into the run */
struct value v_take(struct run *r,
                    struct buf *b); /* the buffer's content as a string; releases it */
struct value v_printf(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

bool v_truth(struct value v);
static inline bool v_is_number(struct value v) {
    return v.type == V_BOOL || v.type == V_INT || v.type == V_FLOAT;
}
static inline bool v_is_int(struct value v) { return v.type == V_BOOL || v.type == V_INT; }
static inline int64_t v_as_int(struct value v) { return v.type == V_BOOL ? v.u.b : v.u.i; }
double v_as_double(struct value v);
const char *v_type_name(struct value v); /* Python's: "str", "NoneType" */
bool v_equal(struct run *r, struct value a, struct value b);
/* -1, 0, 1; op is for the message of values without order ("<") */
int v_compare(struct run *r, struct value a, struct value b, const char *op);
bool v_contains(struct run *r, struct value item, struct value in);
/* The items as a list value's seq (borrowed for lists, fresh otherwise). None, numbers: an error.
 */
struct seq *v_items(struct run *r, struct value v);
bool v_iterable(struct value v);
bool v_length(struct value v, int64_t *ret); /* false: no len() */
size_t str_chars(struct str s);              /* code points */
size_t str_offset(struct str s, size_t chars);

void v_print(struct run *r, struct value v, struct buf *out); /* str() */
void v_repr(struct run *r, struct value v, struct buf *out);  /* repr() */
struct str v_text(struct run *r, struct value v);             /* str() as a string of the run */
void float_repr(double f, struct buf *out);

/* + - * / // % ** by their first character; "//" is '|', "**" is '^' */
struct value v_arith(struct run *r, char op, struct value a, struct value b);
struct value v_negate(struct run *r, struct value v, char sign);
struct value v_attr(struct run *r, struct value v, struct str name);  /* v.name */
struct value v_item(struct run *r, struct value v, struct value key); /* v[key] */
struct value v_slice(struct run *r, struct value v, const struct value bounds[3]);

struct value v_from_json(struct run *r, const json_t *j);
struct json_style {
    struct str item_sep, key_sep, indent;
    bool pretty, ascii, sort;
};
void v_to_json(struct run *r, struct value v, const struct json_style *style, struct buf *out);

/* Arguments of a call, a filter or a test. */
struct args {
    struct value *v;
    size_t n;
    struct str *names; /* keyword arguments */
    struct value *named;
    size_t named_n;
};
/* Bind to parameters: "old,new,count" (all optional here; absent ones stay V_MISSING in ret).
 * Too many, unknown or double arguments fail the run. */
bool args_bind(struct run *r, const char *fname, const char *params, const struct args *a,
               struct value *ret);

struct method {
    struct value self;
    const struct method_def *def;
};
const struct method_def *method_find(struct value self, struct str name, bool *ret_unsafe);
struct str method_name(const struct method_def *def);
struct value method_call(struct run *r, const struct method *m, const struct args *a);

struct value str_format(struct run *r, struct str format, const struct args *a); /* "{}".format */
struct value str_percent(struct run *r, struct str format, struct value args);   /* "%s" % x */
struct value str_escape(struct run *r, struct str s);        /* for HTML; the result is markup */
struct value str_strip(struct str s, bool left, bool right); /* white space */
struct value str_strip_set(struct run *r, struct str s, struct str chars, bool left, bool right);
struct value str_replace(struct run *r, struct str s, struct str old, struct str with,
                         int64_t count);
/* how: 'u' 'l' 't'itle 'c'apitalize 's'wap */
struct value str_case(struct run *r, struct str s, char how);
struct value str_lines(struct run *r, struct str s, bool keep_ends);
bool cp_is_space(unsigned cp);
bool str_is_case(struct run *r, struct str s, bool upper);

typedef struct value filter_fn(struct run *r, struct value v, const struct args *a);
filter_fn *filter_find(struct str name);
filter_fn *test_find(struct str name);
struct value call_value(struct run *r, struct value callee, const struct args *a);
const struct function *function_find(struct str name);
struct str function_name(const struct function *f);
struct value function_call(struct run *r, const struct function *f, const struct args *a);
struct value loop_attr(struct run *r, struct loop *l, struct str name);
struct value loop_method(struct run *r, struct loop *l, struct str name, const struct args *a);
struct value loop_recurse(struct run *r, struct loop *l, const struct args *a);
struct value macro_call(struct run *r, const struct macro *m, const struct args *a);
struct str macro_name(const struct macro *m);

#endif
