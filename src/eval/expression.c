/* Recursive descent over a short text, bounded in depth and length. */
#include "eval/expression.h"

#include <math.h>
#include <string.h>

#define DEPTH_MAX 64
#define LENGTH_MAX 10000

struct reader {
    struct str text;
    size_t at;
    int depth;
    const struct expression_value *values;
    size_t count;
    int rc; /* the first error sticks */
    struct err *err;
};

static double fail(struct reader *r, int code, const char *what) {
    if (!r->rc)
        r->rc = err_set(r->err, code, "expression \"%.*s\": at %zu: %s",
                        r->text.n > 200 ? 200 : (int)r->text.n, r->text.p, r->at + 1, what);
    r->at = r->text.n;
    return 0;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool expression_is_name(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!is_letter(s.p[i]) && !(i > 0 && is_digit(s.p[i]))) return false;
    return s.n > 0;
}

/* the next character that is no space, 0 at the end */
static char peek(struct reader *r) {
    while (r->at < r->text.n && strchr(" \t\r\n", r->text.p[r->at])) r->at++;
    return r->at < r->text.n ? r->text.p[r->at] : 0;
}
static bool take(struct reader *r, char c) {
    if (peek(r) != c) return false;
    r->at++;
    return true;
}

static double sum(struct reader *r);

static double number(struct reader *r) {
    double value = 0, unit = 1;
    while (r->at < r->text.n && is_digit(r->text.p[r->at]))
        value = value * 10 + (r->text.p[r->at++] - '0');
    if (r->at < r->text.n && r->text.p[r->at] == '.') {
        r->at++;
        for (; r->at < r->text.n && is_digit(r->text.p[r->at]); r->at++) {
            value = value * 10 + (r->text.p[r->at] - '0');
            unit *= 10;
        }
    }
    return value / unit;
}

static double call(struct reader *r, struct str name) {
    static const struct {
        const char *name;
        double (*f)(double);
    } functions[] = {{"abs", fabs}, {"floor", floor}, {"ceil", ceil},
                     {"exp", exp},  {"sqrt", sqrt},   {"log", log}};
    bool min = str_is(name, "min"), max = str_is(name, "max");
    double value = sum(r);
    while (take(r, ',')) {
        if (!min && !max) return fail(r, ERR_INVALID, "this function takes one argument");
        double other = sum(r);
        value = min ? fmin(value, other) : fmax(value, other);
    }
    if (!take(r, ')')) return fail(r, ERR_INVALID, "\")\" is missing");
    if (min || max) return value;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (str_is(name, functions[i].name)) return functions[i].f(value);
    return fail(r, ERR_INVALID,
                "unknown function; use min, max, abs, floor, ceil, exp, sqrt or log");
}

static double named(struct reader *r) {
    struct str name = {r->text.p + r->at, 0};
    while (r->at < r->text.n && (is_letter(r->text.p[r->at]) || is_digit(r->text.p[r->at]))) {
        r->at++;
        name.n++;
    }
    if (take(r, '(')) return call(r, name);
    for (size_t i = 0; i < r->count; i++)
        if (str_eq(r->values[i].name, name)) return r->values[i].value;
    r->at -= name.n <= r->at ? name.n : 0;
    return fail(r, ERR_INVALID, "no grader of this name");
}

static double atom(struct reader *r) {
    char c = peek(r);
    if (is_digit(c) || c == '.') {
        if (c == '.' && !(r->at + 1 < r->text.n && is_digit(r->text.p[r->at + 1])))
            return fail(r, ERR_INVALID, "a number needs digits");
        return number(r);
    }
    if (is_letter(c)) return named(r);
    if (!take(r, '(')) return fail(r, ERR_INVALID, "a number, a name or \"(\" is missing");
    double value = sum(r);
    return take(r, ')') ? value : fail(r, ERR_INVALID, "\")\" is missing");
}

/* [+-] atom [^ power]: -2^2 is -4, 2^-1 is 0.5 */
static double power(struct reader *r) {
    if (r->depth == DEPTH_MAX) return fail(r, ERR_LIMIT, "too deep");
    r->depth++;
    double value;
    if (take(r, '-')) {
        value = -power(r);
    } else if (take(r, '+')) {
        value = power(r);
    } else {
        value = atom(r);
        if (take(r, '^')) value = pow(value, power(r));
    }
    r->depth--;
    return value;
}

static double product(struct reader *r) {
    double value = power(r);
    for (;;) {
        if (take(r, '*'))
            value *= power(r);
        else if (take(r, '/'))
            value /= power(r);
        else
            return value;
    }
}

static double sum(struct reader *r) {
    double value = product(r);
    for (;;) {
        if (take(r, '+'))
            value += product(r);
        else if (take(r, '-'))
            value -= product(r);
        else
            return value;
    }
}

int expression_eval(struct str text, const struct expression_value *values, size_t count,
                    double *ret, struct err *err) {
    struct reader r = {.text = text, .values = values, .count = count, .err = err};
    if (text.n > LENGTH_MAX)
        return err_set(err, ERR_LIMIT, "an expression has at most %d characters", LENGTH_MAX);
    double value = sum(&r);
    if (!r.rc && peek(&r)) fail(&r, ERR_INVALID, "an operator is missing");
    if (!r.rc && !isfinite(value)) fail(&r, ERR_INVALID, "the result is no finite number");
    if (!r.rc) *ret = value;
    return r.rc;
}
