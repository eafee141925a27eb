/* Operators, attributes, items and slices. */
#include "text/template_int.h"

#include "base/mem.h"

#include <math.h>

/* --- arithmetic
 * ----------------------------------------------------------------------------------- */

static const char *op_name(char op) {
    switch (op) {
    case '+': return "+";
    case '-': return "-";
    case '*': return "*";
    case '/': return "/";
    case '|': return "//";
    case '%': return "%";
    default: return "** or pow()";
    }
}

static struct value unsupported(struct run *r, char op, struct value a, struct value b) {
    if (a.type == V_UNDEF) return run_fail_undef(r, a);
    if (b.type == V_UNDEF) return run_fail_undef(r, b);
    const char *x = v_type_name(a), *y = v_type_name(b);
    if (op == '+' && (a.type == V_STR || a.type == V_LIST || a.type == V_TUPLE))
        return run_fail(r, "can only concatenate %s (not \"%s\") to %s", x, y, x);
    return run_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'", op_name(op), x, y);
}

static struct value overflow(struct run *r) {
    return run_fail(r, "integer overflow (numbers have 64 bits)");
}

static int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static struct value int_power(struct run *r, int64_t a, int64_t n) {
    if (n < 0) {
        if (a == 0) return run_fail(r, "0.0 cannot be raised to a negative power");
        return v_float(pow((double)a, (double)n));
    }
    int64_t v = 1;
    for (; n > 0; n >>= 1) {
        if ((n & 1) && __builtin_mul_overflow(v, a, &v)) return overflow(r);
        if (n > 1 && __builtin_mul_overflow(a, a, &a)) return overflow(r);
    }
    return v_int(v);
}

static struct value int_arith(struct run *r, char op, int64_t a, int64_t b) {
    int64_t v = 0;
    bool over = false;
    switch (op) {
    case '+': over = __builtin_add_overflow(a, b, &v); break;
    case '-': over = __builtin_sub_overflow(a, b, &v); break;
    case '*': over = __builtin_mul_overflow(a, b, &v); break;
    case '^': return int_power(r, a, b);
    default:
        if (b == 0)
            return run_fail(r,
                            op == '/' ? "division by zero" : "integer division or modulo by zero");
        if (op == '/') return v_float((double)a / (double)b);
        over = a == INT64_MIN && b == -1;
        if (!over) v = op == '|' ? floor_div(a, b) : a - floor_div(a, b) * b;
    }
    return over ? overflow(r) : v_int(v);
}

static struct value float_arith(struct run *r, char op, double a, double b) {
    switch (op) {
    case '+': return v_float(a + b);
    case '-': return v_float(a - b);
    case '*': return v_float(a * b);
    case '^': return v_float(pow(a, b));
    default: break;
    }
    if (b == 0)
        return run_fail(r, op == '/' ? "float division by zero" : "float floor division by zero");
    if (op == '/') return v_float(a / b);
    if (op == '|') return v_float(floor(a / b));
    double m = fmod(a, b);
    return v_float(m != 0 && (m < 0) != (b < 0) ? m + b : m);
}

static struct value str_add(struct run *r, struct value a, struct value b) {
    bool markup = a.markup || b.markup;
    if (markup && !a.markup) a = str_escape(r, a.u.s);
    if (markup && !b.markup) b = str_escape(r, b.u.s);
    struct buf out;
    run_buf(r, &out);
    buf_str(&out, a.u.s);
    buf_str(&out, b.u.s);
    struct value v = v_take(r, &out);
    v.markup = markup;
    return v;
}

static struct value seq_join(struct run *r, struct value a, struct value b) {
    struct value v = v_seq(r, a.type, a.u.seq->n + b.u.seq->n);
    for (size_t i = 0; i < a.u.seq->n; i++) seq_add(r, v, a.u.seq->v[i]);
    for (size_t i = 0; i < b.u.seq->n; i++) seq_add(r, v, b.u.seq->v[i]);
    return v;
}

static struct value repeat(struct run *r, struct value v, int64_t times) {
    size_t n = v.type == V_STR ? v.u.s.n : v.u.seq->n, total, count = times > 0 ? (size_t)times : 0;
    if (!mul_size(n, count, &total) || total > RUN_BYTES / 16)
        return run_fail(r, "a repeated value is too long");
    if (n == 0) count = 0;
    if (v.type == V_STR) {
        struct buf out;
        run_buf(r, &out);
        for (size_t i = 0; i < count && run_spend(r, 1); i++) buf_str(&out, v.u.s);
        return v_take(r, &out);
    }
    struct value list = v_seq(r, v.type, total);
    for (size_t i = 0; i < count && !run_failed(r); i++)
        for (size_t k = 0; k < n; k++) seq_add(r, list, v.u.seq->v[k]);
    return list;
}

static bool repeatable(struct value v) {
    return v.type == V_STR || v.type == V_LIST || v.type == V_TUPLE;
}

struct value v_arith(struct run *r, char op, struct value a, struct value b) {
    if (run_failed(r)) return v_none();
    if (v_is_int(a) && v_is_int(b)) return int_arith(r, op, v_as_int(a), v_as_int(b));
    if (v_is_number(a) && v_is_number(b)) return float_arith(r, op, v_as_double(a), v_as_double(b));
    if (op == '+' && a.type == V_STR && b.type == V_STR) return str_add(r, a, b);
    if (op == '+' && a.type == b.type && (a.type == V_LIST || a.type == V_TUPLE))
        return seq_join(r, a, b);
    if (op == '*' && repeatable(a) && v_is_int(b)) return repeat(r, a, v_as_int(b));
    if (op == '*' && repeatable(b) && v_is_int(a)) return repeat(r, b, v_as_int(a));
    if (op == '%' && a.type == V_STR) return str_percent(r, a.u.s, b);
    return unsupported(r, op, a, b);
}

struct value v_negate(struct run *r, struct value v, char sign) {
    if (v.type == V_FLOAT) return sign == '-' ? v_float(-v.u.f) : v;
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    if (!v_is_int(v))
        return run_fail(r, "bad operand type for unary %c: '%s'", sign, v_type_name(v));
    if (sign == '+') return v_int(v_as_int(v));
    return v_as_int(v) == INT64_MIN ? overflow(r) : v_int(-v_as_int(v));
}

/* --- attributes and items
 * ------------------------------------------------------------------------- */

static struct value method_value(struct run *r, struct value self, const struct method_def *def) {
    struct method *m = run_alloc(r, 1, sizeof *m);
    if (!m) return v_none();
    m->self = self;
    m->def = def;
    return (struct value){.type = V_METHOD, .u.method = m};
}

/* What Python's getattr gives; V_MISSING for none. */
static struct value attribute(struct run *r, struct value v, struct str name) {
    struct value found = v_missing();
    if (v.type == V_LOOP) return loop_attr(r, v.u.loop, name);
    if (v.type == V_SPACE) return dict_get_str(v.u.dict, name, &found) ? found : v_missing();
    if (v.type == V_MACRO && str_is(name, "name")) return v_str(macro_name(v.u.macro));
    bool unsafe = false;
    const struct method_def *def = method_find(v, name, &unsafe);
    if (unsafe) return v_undef_unsafe(r, v, name);
    if (def) return method_value(r, v, def);
    return found;
}

static bool index_value(struct run *r, struct value v, int64_t i, struct value *ret) {
    if (v.type == V_STR) {
        int64_t n = (int64_t)str_chars(v.u.s);
        run_spend(r, v.u.s.n / 64);
        if (i < 0) i += n;
        if (i < 0 || i >= n) return false;
        size_t from = str_offset(v.u.s, (size_t)i);
        struct str tail = str_from(v.u.s, from);
        *ret = v_str((struct str){tail.p, str_offset(tail, 1)});
        return true;
    }
    const struct seq *s = v.u.seq;
    if (i < 0) i += (int64_t)s->n;
    if (i < 0 || (size_t)i >= s->n) return false;
    *ret = s->v[i];
    return true;
}

static bool indexable(struct value v) {
    return v.type == V_STR || v.type == V_LIST || v.type == V_TUPLE || v.type == V_RANGE;
}

/* v[key] as Python has it, without the fall back to attributes. */
static bool item_of(struct run *r, struct value v, struct value key, struct value *ret) {
    if (v.type == V_DICT) {
        if (key.type == V_LIST || key.type == V_DICT) return false;
        return dict_get(r, v, key, ret);
    }
    return indexable(v) && v_is_int(key) && index_value(r, v, v_as_int(key), ret);
}

struct value v_attr(struct run *r, struct value v, struct str name) {
    if (run_failed(r)) return v_none();
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    struct value found = attribute(r, v, name);
    if (found.type != V_MISSING) return found;
    if (item_of(r, v, v_str(name), &found)) return found;
    return v_undef_of(r, v, v_str(name));
}

struct value v_item(struct run *r, struct value v, struct value key) {
    struct value found;
    if (run_failed(r)) return v_none();
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    if (item_of(r, v, key, &found)) return found;
    if (key.type == V_STR) {
        run_spend(r, key.u.s.n / 64);
        found = attribute(r, v, key.u.s);
        if (found.type != V_MISSING) return found;
    }
    return v_undef_of(r, v, key);
}

/* --- slices
 * --------------------------------------------------------------------------------------- */

static int64_t clamp(int64_t x, int64_t n, bool forward) {
    int64_t low = forward ? 0 : -1, high = forward ? n : n - 1;
    if (x < 0) x = x < -n ? low : x + n;
    if (x < low) x = low;
    return x > high ? high : x;
}

static bool bound(struct run *r, struct value v, int64_t *ret) {
    if (v.type == V_NONE) return true;
    if (v_is_int(v)) {
        *ret = v_as_int(v);
        return true;
    }
    run_fail(r, "slice indices must be integers or None or have an __index__ method");
    return false;
}

static struct value str_slice(struct run *r, struct str s, int64_t start, int64_t stop,
                              int64_t step) {
    if (step == 1) {
        size_t from = str_offset(s, (size_t)start);
        struct str tail = str_from(s, from);
        return v_str(
            (struct str){tail.p, stop > start ? str_offset(tail, (size_t)(stop - start)) : 0});
    }
    struct seq *chars = v_items(r, v_str(s));
    struct buf out;
    run_buf(r, &out);
    for (int64_t i = start; !run_failed(r) && (step > 0 ? i < stop : i > stop); i += step)
        buf_str(&out, chars->v[i].u.s);
    return v_take(r, &out);
}

struct value v_slice(struct run *r, struct value v, const struct value bounds[3]) {
    int64_t step = 1, n = 0;
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    if (!indexable(v)) return v_undef_of(r, v, v_str(STR_LIT("slice")));
    if (!bound(r, bounds[2], &step)) return v_none();
    if (step == 0) return run_fail(r, "slice step cannot be zero");
    v_length(v, &n);
    run_spend(r, (v.type == V_STR ? v.u.s.n : (size_t)n) / 64);
    if (step > n + 1) step = n + 1;
    if (step < -n - 1) step = -n - 1;
    int64_t start = step > 0 ? 0 : n - 1, stop = step > 0 ? n : -1, x = 0;
    if (!bound(r, bounds[0], &x)) return v_none();
    if (bounds[0].type != V_NONE) start = clamp(x, n, step > 0);
    if (!bound(r, bounds[1], &x)) return v_none();
    if (bounds[1].type != V_NONE) stop = clamp(x, n, step > 0);
    if (v.type == V_STR) return str_slice(r, v.u.s, start, stop, step);
    struct value part = v_seq(r, v.type == V_TUPLE ? V_TUPLE : V_LIST, 0);
    for (int64_t i = start; !run_failed(r) && (step > 0 ? i < stop : i > stop); i += step)
        seq_add(r, part, v.u.seq->v[i]);
    return part;
}
