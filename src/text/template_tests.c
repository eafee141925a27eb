/* What may stand after "is", and the global functions. */
#include "text/template_int.h"

#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

/* --- tests
 * ---------------------------------------------------------------------------------------- */

static struct value arg0(struct run *r, const struct args *a) {
    return a->n ? a->v[0] : run_fail(r, "the test needs an argument");
}

#define TEST(name, expression)                                                                     \
    static struct value name(struct run *r, struct value v, const struct args *a) {                \
        (void)r;                                                                                   \
        (void)v;                                                                                   \
        (void)a;                                                                                   \
        return v_bool(expression);                                                                 \
    }
TEST(t_defined, v.type != V_UNDEF)
TEST(t_undefined, v.type == V_UNDEF)
TEST(t_none, v.type == V_NONE)
TEST(t_boolean, v.type == V_BOOL)
TEST(t_true, v.type == V_BOOL && v.u.b)
TEST(t_false, v.type == V_BOOL && !v.u.b)
TEST(t_integer, v.type == V_INT)
TEST(t_float, v.type == V_FLOAT)
TEST(t_number, v_is_number(v))
TEST(t_string, v.type == V_STR)
TEST(t_mapping, v.type == V_DICT)
TEST(t_iterable, v_iterable(v))
TEST(t_sequence, v.type == V_STR || v.type == V_LIST || v.type == V_TUPLE || v.type == V_RANGE ||
                     v.type == V_DICT || v.type == V_UNDEF)
TEST(t_callable, v.type == V_MACRO || v.type == V_METHOD || v.type == V_FUNC || v.type == V_LOOP ||
                     v.type == V_UNDEF)
TEST(t_lower, str_is_case(r, v_text(r, v), false))
TEST(t_upper, str_is_case(r, v_text(r, v), true))
TEST(t_escaped, false)
TEST(t_in, v_contains(r, v, arg0(r, a)))
TEST(t_eq, v_equal(r, v, arg0(r, a)))
TEST(t_ne, !v_equal(r, v, arg0(r, a)))
TEST(t_filter, v.type == V_STR && filter_find(v.u.s) != NULL)
TEST(t_test, v.type == V_STR && test_find(v.u.s) != NULL)

static bool ordered(struct run *r, struct value v, const struct args *a, const char *op) {
    int c = v_compare(r, v, arg0(r, a), op);
    if (c == 2) return false;
    return op[0] == '<' ? c < 0 || (op[1] && c == 0) : c > 0 || (op[1] && c == 0);
}
TEST(t_lt, ordered(r, v, a, "<"))
TEST(t_le, ordered(r, v, a, "<="))
TEST(t_gt, ordered(r, v, a, ">"))
TEST(t_ge, ordered(r, v, a, ">="))

static bool remainder_is(struct run *r, struct value v, struct value by, int64_t want) {
    struct value m = v_arith(r, '%', v, by);
    return !run_failed(r) && v_equal(r, m, v_int(want));
}
TEST(t_odd, remainder_is(r, v, v_int(2), 1))
TEST(t_even, remainder_is(r, v, v_int(2), 0))
TEST(t_divisibleby, remainder_is(r, v, arg0(r, a), 0))

/* Identity: containers by place, everything else by type and value. */
static bool same(struct run *r, struct value a, struct value b) {
    if (a.type != b.type) return false;
    if (a.type >= V_LIST && a.type <= V_SPACE) return a.u.seq == b.u.seq;
    return v_equal(r, a, b);
}
TEST(t_sameas, same(r, v, arg0(r, a)))

static const struct {
    const char *name;
    filter_fn *f;
} tests[] = {
    {"defined", t_defined},
    {"undefined", t_undefined},
    {"none", t_none},
    {"string", t_string},
    {"mapping", t_mapping},
    {"iterable", t_iterable},
    {"sequence", t_sequence},
    {"number", t_number},
    {"integer", t_integer},
    {"float", t_float},
    {"boolean", t_boolean},
    {"true", t_true},
    {"false", t_false},
    {"even", t_even},
    {"odd", t_odd},
    {"divisibleby", t_divisibleby},
    {"in", t_in},
    {"sameas", t_sameas},
    {"callable", t_callable},
    {"lower", t_lower},
    {"upper", t_upper},
    {"escaped", t_escaped},
    {"filter", t_filter},
    {"test", t_test},
    {"eq", t_eq},
    {"==", t_eq},
    {"equalto", t_eq},
    {"ne", t_ne},
    {"!=", t_ne},
    {"lt", t_lt},
    {"<", t_lt},
    {"lessthan", t_lt},
    {"le", t_le},
    {"<=", t_le},
    {"gt", t_gt},
    {">", t_gt},
    {"greaterthan", t_gt},
    {"ge", t_ge},
    {">=", t_ge},
};

filter_fn *test_find(struct str name) {
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (str_is(name, tests[i].name)) return tests[i].f;
    return NULL;
}

/* --- functions
 * ------------------------------------------------------------------------------------ */

struct function {
    const char *name;
    struct value (*call)(struct run *r, const struct args *a);
};

static struct value g_range(struct run *r, const struct args *a) {
    int64_t v[3] = {0, 0, 1};
    if (a->n < 1 || a->n > 3 || a->named_n)
        return run_fail(r, "range expected 1 to 3 arguments, got %zu", a->n);
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i].type == V_UNDEF) return run_fail_undef(r, a->v[i]);
        if (!v_is_int(a->v[i]))
            return run_fail(r, "'%s' object cannot be interpreted as an integer",
                            v_type_name(a->v[i]));
        v[a->n == 1 ? 1 : i] = v_as_int(a->v[i]);
    }
    if (v[2] == 0) return run_fail(r, "range() arg 3 must not be zero");
    struct value list = v_seq(r, V_RANGE, 0);
    if (run_failed(r)) return list;
    list.u.seq->start = v[0];
    list.u.seq->stop = v[1];
    list.u.seq->step = v[2];
    for (int64_t i = v[0]; (v[2] > 0 ? i < v[1] : i > v[1]) && !run_failed(r);) {
        if (list.u.seq->n == RANGE_MAX)
            return run_fail(r,
                            "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                            RANGE_MAX);
        seq_add(r, list, v_int(i));
        if (__builtin_add_overflow(i, v[2], &i)) break;
    }
    return list;
}

static void add_pairs(struct run *r, struct value d, struct value from) {
    if (from.type == V_DICT) {
        for (size_t i = 0; i < from.u.dict->n && !run_failed(r); i++)
            dict_set(r, d, from.u.dict->keys[i], from.u.dict->values[i]);
        return;
    }
    struct seq *pairs = v_items(r, from);
    for (size_t i = 0; i < pairs->n && !run_failed(r); i++) {
        struct seq *pair = v_items(r, pairs->v[i]);
        if (run_failed(r)) return;
        if (pair->n != 2)
            run_fail(r, "dictionary update sequence element #%zu has length %zu; 2 is required", i,
                     pair->n);
        else
            dict_set(r, d, pair->v[0], pair->v[1]);
    }
}

static struct value g_dict(struct run *r, const struct args *a) {
    struct value d = v_dict(r, a->named_n);
    if (a->n > 1) return run_fail(r, "dict expected at most 1 argument, got %zu", a->n);
    if (a->n) add_pairs(r, d, a->v[0]);
    for (size_t i = 0; i < a->named_n && !run_failed(r); i++)
        dict_set(r, d, v_str(a->names[i]), a->named[i]);
    return d;
}

static struct value g_namespace(struct run *r, const struct args *a) {
    struct value d = g_dict(r, a);
    if (run_failed(r)) return d;
    for (size_t i = 0; i < d.u.dict->n; i++)
        if (d.u.dict->keys[i].type == V_STR && str_starts(d.u.dict->keys[i].u.s, STR_LIT("_")))
            return run_fail(r,
                            "Chat templates cannot store underscore-prefixed attributes on a "
                            "namespace, but got "
                            "'%.*s'. Please rename the attribute.",
                            STR_ARG(d.u.dict->keys[i].u.s));
    d.type = V_SPACE;
    return d;
}

/* The template's own words, alone. */
static struct value g_raise(struct run *r, const struct args *a) {
    struct value v = a->n ? a->v[0] : a->named_n ? a->named[0] : v_none();
    struct str text = v_text(r, v);
    if (!r->failed) err_set(r->err, ERR_INVALID, "%.*s", STR_ARG(text));
    r->failed = true;
    return v_none();
}

/* $SOURCE_DATE_EPOCH, in UTC, else the local time now */
static void now(struct tm *ret) {
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    time_t t = fixed ? (time_t)strtoll(fixed, NULL, 10) : (time_t)clock_unix();
    if (fixed)
        gmtime_r(&t, ret);
    else
        localtime_r(&t, ret);
}

static struct value g_strftime(struct run *r, const struct args *a) {
    char text[512];
    struct tm tm;
    if (a->n != 1 || a->v[0].type != V_STR) return run_fail(r, "strftime_now needs a format");
    now(&tm);
    struct str format = v_copy(r, a->v[0].u.s).u.s;
    if (format.n > 200) return run_fail(r, "a date format is too long");
    size_t n = format.n ? strftime(text, sizeof text, format.p, &tm)
                        : 0; /* NOLINT: the template's format */
    return v_copy(r, (struct str){text, n});
}

static const struct function functions[] = {
    {"range", g_range},           {"dict", g_dict},
    {"namespace", g_namespace},   {"raise_exception", g_raise},
    {"strftime_now", g_strftime},
};

const struct function *function_find(struct str name) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (str_is(name, functions[i].name)) return &functions[i];
    return NULL;
}

struct str function_name(const struct function *f) {
    return str_of(f->name);
}

struct value function_call(struct run *r, const struct function *f, const struct args *a) {
    return f->call(r, a);
}
