/* Python's two ways of formatting: "%s" % x and "{}".format(x), with the flags, widths and types
 * that make sense for strings and numbers. */
#include "text/template_int.h"

#include "base/utf8.h"

#include <math.h>

#define WIDTH_MAX 10000

struct spec {
    struct str fill;
    char align, sign, type;
    bool alternate, zero, comma;
    int width, precision; /* precision -1: none */
};

static void put_padded(struct buf *out, struct str body, const struct spec *s, char default_align,
                       size_t sign_n) {
    int n = (int)str_chars(body), room = s->width > n ? s->width - n : 0;
    char align = s->align ? s->align : default_align;
    int left = align == '<' ? 0 : align == '^' ? room / 2 : room;
    if (align == '=') { /* zeros between sign and digits */
        buf_add(out, body.p, sign_n);
        body = str_from(body, sign_n);
    }
    for (int i = 0; i < left; i++) buf_str(out, s->fill);
    buf_str(out, body);
    for (int i = left; i < room; i++) buf_str(out, s->fill);
}

static void put_digits(struct buf *b, uint64_t v, unsigned base, bool upper) {
    char digits[72];
    size_t n = 0;
    do {
        digits[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
        v /= base;
    } while (v);
    while (n) buf_byte(b, digits[--n]);
}

static void put_sign(struct buf *b, bool negative, char sign) {
    if (negative)
        buf_byte(b, '-');
    else if (sign == '+' || sign == ' ')
        buf_byte(b, sign);
}

/* Thousands separators into the digits before a point or exponent. */
static void group_digits(struct buf *b, size_t from) {
    size_t end = from;
    while (end < b->n && b->p[end] >= '0' && b->p[end] <= '9') end++;
    struct buf grouped;
    buf_init(&grouped, b->max);
    for (size_t i = 0; i < b->n; i++) {
        if (i > from && i < end && (end - i) % 3 == 0) buf_byte(&grouped, ',');
        buf_byte(&grouped, b->p[i]);
    }
    buf_clear(b);
    buf_str(b, buf_view(&grouped));
    buf_release(&grouped);
}

static void format_int(struct run *r, int64_t v, const struct spec *s, struct buf *out) {
    struct buf b;
    buf_init(&b, 1000);
    uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    put_sign(&b, v < 0, s->sign);
    size_t sign_n = b.n;
    unsigned base = s->type == 'x' || s->type == 'X' ? 16
                    : s->type == 'o'                 ? 8
                    : s->type == 'b'                 ? 2
                                                     : 10;
    if (s->alternate && base != 10) buf_printf(&b, "0%c", s->type);
    if (s->alternate && base != 10) sign_n = b.n;
    put_digits(&b, magnitude, base, s->type == 'X');
    if (s->comma) group_digits(&b, sign_n);
    put_padded(out, buf_view(&b), s, s->zero ? '=' : '>', sign_n);
    buf_release(&b);
    (void)r;
}

static void float_body(double f, const struct spec *s, struct buf *b) {
    int precision = s->precision < 0 ? 6 : s->precision;
    double a = fabs(f);
    if (isnan(f) || isinf(f))
        buf_z(b, isnan(f) ? "nan" : "inf");
    else if (s->type == 'f' || s->type == 'F')
        buf_printf(b, "%.*f", precision, a);
    else if (s->type == 'e')
        buf_printf(b, "%.*e", precision, a);
    else if (s->type == 'E')
        buf_printf(b, "%.*E", precision, a);
    else if (s->type == '%')
        buf_printf(b, "%.*f%%", precision, a * 100);
    else if (s->type == 'G')
        buf_printf(b, "%.*G", precision ? precision : 1, a);
    else if (s->type == 'g' || s->precision >= 0)
        buf_printf(b, "%.*g", precision ? precision : 1, a);
    else
        float_repr(a, b);
}

static void format_float(double f, const struct spec *s, struct buf *out) {
    struct buf b;
    buf_init(&b, 2000);
    put_sign(&b, signbit(f) && !isnan(f), s->sign);
    size_t sign_n = b.n;
    float_body(f, s, &b);
    if (s->comma) group_digits(&b, sign_n);
    put_padded(out, buf_view(&b), s, s->zero ? '=' : '>', sign_n);
    buf_release(&b);
}

static void format_str(struct str v, const struct spec *s, struct buf *out) {
    if (s->precision >= 0) v.n = str_offset(v, (size_t)s->precision);
    put_padded(out, v, s, '<', 0);
}

static bool is_float_type(char type) { return type && strchr("eEfFgG%", type); }

/* --- "{}".format
 * ---------------------------------------------------------------------------------- */

static bool read_number(struct run *r, struct str *s, int *ret) {
    if (!s->n || s->p[0] < '0' || s->p[0] > '9') return true;
    int v = 0;
    while (s->n && s->p[0] >= '0' && s->p[0] <= '9') {
        v = v * 10 + (s->p[0] - '0');
        if (v > WIDTH_MAX) return run_fail(r, "a width or precision is too large"), false;
        *s = str_from(*s, 1);
    }
    run_spend(r, (size_t)v / 8);
    *ret = v;
    return true;
}

static bool take(struct str *s, char c) {
    if (!s->n || s->p[0] != c) return false;
    *s = str_from(*s, 1);
    return true;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool read_spec(struct run *r, struct str s, struct spec *ret) {
    *ret = (struct spec){.fill = STR_LIT(" "), .precision = -1};
    size_t first = str_offset(s, 1);
    if (s.n > first && strchr("<>^=", s.p[first]) && s.p[first]) {
        ret->fill = (struct str){s.p, first};
        ret->align = s.p[first];
        s = str_from(s, first + 1);
    } else if (s.n && strchr("<>^=", s.p[0]) && s.p[0]) {
        ret->align = s.p[0];
        s = str_from(s, 1);
    }
    if (s.n && (s.p[0] == '+' || s.p[0] == '-' || s.p[0] == ' ')) {
        ret->sign = s.p[0];
        s = str_from(s, 1);
    }
    ret->alternate = take(&s, '#');
    if (take(&s, '0')) {
        ret->zero = true;
        if (!ret->align) ret->fill = STR_LIT("0");
    }
    if (!read_number(r, &s, &ret->width)) return false;
    ret->comma = take(&s, ',');
    if (take(&s, '.')) {
        ret->precision = 0;
        if (!read_number(r, &s, &ret->precision)) return false;
    }
    if (s.n == 1) ret->type = s.p[0];
    if (s.n > 1 || (ret->type && !strchr("sdbcoxXnrieEfFgG%", ret->type)))
        return run_fail(r, "Invalid format specifier"), false;
    return true;
}

static void put_field(struct run *r, struct value v, struct str spec_text, char conversion,
                      struct buf *out) {
    struct spec s;
    run_spend(r, NUMBER_STEPS);
    if (conversion) {
        struct buf text;
        run_buf(r, &text);
        if (conversion == 'r' || conversion == 'a')
            v_repr(r, v, &text);
        else
            v_print(r, v, &text);
        v = v_take(r, &text);
    }
    if (!spec_text.n) {
        v_print(r, v, out);
        return;
    }
    if (!read_spec(r, spec_text, &s)) return;
    if (v.type == V_FLOAT || (v_is_int(v) && is_float_type(s.type)))
        format_float(v_as_double(v), &s, out);
    else if (v.type == V_INT || (v.type == V_BOOL && s.type))
        format_int(r, v_as_int(v), &s, out);
    else if (s.type && s.type != 's')
        run_fail(r, "Unknown format code '%c' for object of type '%s'", s.type, v_type_name(v));
    else if (v.type == V_STR || v.type == V_BOOL)
        format_str(v_text(r, v), &s, out);
    else
        run_fail(r, "unsupported format string passed to %s.__format__", v_type_name(v));
}

static bool all_digits(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    return s.n > 0 && s.n < 9;
}

static int64_t number_of(struct str s) {
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) v = v * 10 + (s.p[i] - '0');
    return v;
}

/* The argument a field's first name stands for: "", "0" or "name". */
static struct value field_base(struct run *r, struct str name, const struct args *a, size_t *next) {
    if (!name.n || all_digits(name)) {
        size_t i = name.n ? (size_t)number_of(name) : (*next)++;
        if (i < a->n) return a->v[i];
        return run_fail(r, "Replacement index %zu out of range for positional args tuple", i);
    }
    run_spend(r, a->named_n / 16);
    for (size_t k = 0; k < a->named_n; k++)
        if (str_eq(a->names[k], name)) return a->named[k];
    return run_fail(r, "'%.*s'", STR_ARG(name));
}

/* name.attr[key]... */
static struct value field_value(struct run *r, struct str path, const struct args *a,
                                size_t *next) {
    size_t end = 0;
    while (end < path.n && path.p[end] != '.' && path.p[end] != '[') end++;
    struct value v = field_base(r, (struct str){path.p, end}, a, next);
    path = str_from(path, end);
    while (path.n && !run_failed(r)) {
        bool item = path.p[0] == '[';
        path = str_from(path, 1);
        for (end = 0; end < path.n &&
                      (item ? path.p[end] != ']' : path.p[end] != '.' && path.p[end] != '[');)
            end++;
        struct str key = {path.p, end};
        if (!item)
            v = v_attr(r, v, key);
        else
            v = v_item(r, v, all_digits(key) ? v_int(number_of(key)) : v_str(key));
        path = str_from(path, end + item);
    }
    return v;
}

static void put_replacement(struct run *r, struct str field, const struct args *a, size_t *next,
                            struct buf *out) {
    struct str path = field, spec = {"", 0};
    char conversion = 0;
    for (size_t i = 0; i < field.n; i++)
        if (field.p[i] == ':' || field.p[i] == '!') {
            path.n = i;
            spec = str_from(field, i);
            break;
        }
    if (spec.n > 1 && spec.p[0] == '!') {
        conversion = spec.p[1];
        spec = str_from(spec, 2);
    }
    if (spec.n && spec.p[0] == ':')
        spec = str_from(spec, 1);
    else if (spec.n) {
        run_fail(r, "expected ':' after conversion specifier");
        return;
    }
    if (spec.n && memchr(spec.p, '{', spec.n)) {
        run_fail(r, "nested fields in a format are not supported");
        return;
    }
    struct value v = field_value(r, path, a, next);
    if (!run_failed(r)) put_field(r, v, spec, conversion, out);
}

struct value str_format(struct run *r, struct str f, const struct args *a) {
    struct buf out;
    size_t next = 0;
    run_buf(r, &out);
    while (f.n && run_spend(r, 1)) {
        char c = f.p[0];
        if ((c == '{' || c == '}') && f.n > 1 && f.p[1] == c) {
            buf_byte(&out, c);
            f = str_from(f, 2);
        } else if (c == '{') {
            const char *end = memchr(f.p, '}', f.n);
            if (!end)
                run_fail(r, "expected '}' before end of string");
            else {
                put_replacement(r, (struct str){f.p + 1, (size_t)(end - f.p) - 1}, a, &next, &out);
                f = str_from(f, (size_t)(end - f.p) + 1);
            }
        } else if (c == '}')
            run_fail(r, "Single '}' encountered in format string");
        else {
            size_t n = 0;
            while (n < f.n && f.p[n] != '{' && f.p[n] != '}') n++;
            buf_add(&out, f.p, n);
            f = str_from(f, n);
        }
    }
    return v_take(r, &out);
}

/* --- "%s" % x
 * ------------------------------------------------------------------------------------- */

struct percent {
    struct run *r;
    struct value args;
    size_t next;
    struct buf *out;
};

static struct value next_arg(struct percent *p) {
    if (p->args.type != V_TUPLE) {
        if (p->next++ == 0) return p->args;
    } else if (p->next < p->args.u.seq->n)
        return p->args.u.seq->v[p->next++];
    return run_fail(p->r, "not enough arguments for format string");
}

static bool percent_flags(struct percent *p, struct str *f, struct spec *s) {
    *s = (struct spec){.fill = STR_LIT(" "), .precision = -1, .align = '>'};
    for (; f->n && strchr("-+ #0", f->p[0]) && f->p[0]; *f = str_from(*f, 1)) {
        if (f->p[0] == '-')
            s->align = '<';
        else if (f->p[0] == '0')
            s->zero = true;
        else if (f->p[0] == '#')
            s->alternate = true;
        else
            s->sign = f->p[0];
    }
    if (!read_number(p->r, f, &s->width)) return false;
    if (take(f, '.')) {
        s->precision = 0;
        if (!read_number(p->r, f, &s->precision)) return false;
    }
    if (f->n) s->type = f->p[0];
    *f = str_from(*f, 1);
    return true;
}

static void put_percent(struct percent *p, struct value v, struct spec *s) {
    struct run *r = p->r;
    run_spend(r, NUMBER_STEPS);
    bool number = s->type && strchr("diuxXoeEfFgG", s->type);
    if (number && s->zero && s->align == '>') s->align = 0, s->fill = STR_LIT("0");
    if (s->type == 's' || s->type == 'r' || s->type == 'a') {
        struct buf text;
        run_buf(r, &text);
        if (s->type == 's')
            v_print(r, v, &text);
        else
            v_repr(r, v, &text);
        format_str(v_take(r, &text).u.s, s, p->out);
    } else if (number && !v_is_number(v)) {
        if (is_float_type(s->type))
            run_fail(r, "must be real number, not %s", v_type_name(v));
        else
            run_fail(r, "%%%c format: a real number is required, not %s", s->type, v_type_name(v));
    } else if (is_float_type(s->type))
        format_float(v_as_double(v), s, p->out);
    else if (number) {
        bool fits = v.type != V_FLOAT || fabs(v.u.f) < 9e18;
        if (!fits)
            run_fail(r, "integer overflow (numbers have 64 bits)");
        else
            format_int(r, v.type == V_FLOAT ? (int64_t)v.u.f : v_as_int(v), s, p->out);
    } else
        run_fail(r, "unsupported format character '%c'", s->type ? s->type : '?');
}

static void percent_one(struct percent *p, struct str *f) {
    struct spec s;
    struct value v = v_missing();
    if (take(f, '%')) {
        buf_byte(p->out, '%');
        return;
    }
    if (take(f, '(')) {
        const char *end = memchr(f->p, ')', f->n);
        struct str key = {f->p, end ? (size_t)(end - f->p) : 0};
        if (!end)
            run_fail(p->r, "incomplete format key");
        else if (p->args.type != V_DICT)
            run_fail(p->r, "format requires a mapping");
        else if (!dict_get_str(p->args.u.dict, key, &v))
            run_fail(p->r, "'%.*s'", STR_ARG(key));
        *f = str_from(*f, key.n + 1);
    }
    if (run_failed(p->r) || !percent_flags(p, f, &s)) return;
    if (!s.type) {
        run_fail(p->r, "incomplete format");
        return;
    }
    if (v.type == V_MISSING) v = next_arg(p);
    if (!run_failed(p->r)) put_percent(p, v, &s);
}

struct value str_percent(struct run *r, struct str f, struct value args) {
    struct buf out;
    run_buf(r, &out);
    struct percent p = {.r = r, .args = args, .out = &out};
    while (f.n && run_spend(r, 1)) {
        const char *at = memchr(f.p, '%', f.n);
        size_t n = at ? (size_t)(at - f.p) : f.n;
        buf_add(&out, f.p, n);
        f = str_from(f, n + (at != NULL));
        if (at) percent_one(&p, &f);
    }
    if (args.type == V_TUPLE && p.next < args.u.seq->n)
        run_fail(r, "not all arguments converted during string formatting");
    else if (args.type != V_TUPLE && args.type != V_DICT && args.type != V_LIST && p.next == 0)
        run_fail(r, "not all arguments converted during string formatting");
    return v_take(r, &out);
}
