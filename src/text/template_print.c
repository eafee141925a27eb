/* Values as text: Python's str() and repr(), JSON as json.dumps writes it, and JSON read into
 * values. */
#include "text/template_int.h"

#include "base/utf8.h"

#include <utf8proc.h>

#include <math.h>
#include <stdlib.h>

/* The shortest digits that read back as f, laid out as Python's repr does. */
void float_repr(double f, struct buf *out) {
    if (isnan(f) || isinf(f)) {
        buf_z(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    char e[40], digits[24];
    int precision = 0;
    do snprintf(e, sizeof e, "%.*e", precision, f);
    while (strtod(e, NULL) != f && ++precision < 17);
    size_t n = 0;
    const char *p = e;
    if (*p == '-') buf_byte(out, *p++);
    for (; *p != 'e'; p++)
        if (*p != '.') digits[n++] = *p;
    digits[n] = '\0';
    int exponent = (int)strtol(p + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) {
        buf_byte(out, digits[0]);
        if (n > 1) buf_printf(out, ".%s", digits + 1);
        buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        buf_z(out, "0.");
        for (int i = -1; i > exponent; i--) buf_byte(out, '0');
        buf_z(out, digits);
    } else {
        for (int i = 0; i <= exponent || i < (int)n; i++) {
            if (i == exponent + 1) buf_byte(out, '.');
            buf_byte(out, i < (int)n ? digits[i] : '0');
        }
        if ((int)n <= exponent + 1) buf_z(out, ".0");
    }
}

static bool is_printable(unsigned cp) {
    if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0)) return false;
    if (cp < 0x7F) return true;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

static void repr_char(unsigned cp, struct str raw, char quote, struct buf *out) {
    if (cp == (unsigned)quote || cp == '\\')
        buf_printf(out, "\\%c", (int)cp);
    else if (cp == '\n')
        buf_z(out, "\\n");
    else if (cp == '\r')
        buf_z(out, "\\r");
    else if (cp == '\t')
        buf_z(out, "\\t");
    else if (is_printable(cp))
        buf_str(out, raw);
    else if (cp < 0x100)
        buf_printf(out, "\\x%02x", cp);
    else if (cp < 0x10000)
        buf_printf(out, "\\u%04x", cp);
    else
        buf_printf(out, "\\U%08x", cp);
}

static void str_repr(struct run *r, struct str s, struct buf *out) {
    run_spend(r, s.n / 16);
    bool single = s.n && memchr(s.p, '\'', s.n), two = s.n && memchr(s.p, '"', s.n);
    char quote = single && !two ? '"' : '\'';
    buf_byte(out, quote);
    while (s.n && buf_ok(out)) {
        unsigned cp = 0;
        size_t n = utf8_get(s, &cp);
        if (!n) n = 1;
        repr_char(cp, (struct str){s.p, n}, quote, out);
        s = str_from(s, n);
    }
    buf_byte(out, quote);
}

static void repr_items(struct run *r, const struct seq *s, const char *open, const char *close,
                       struct buf *out) {
    buf_z(out, open);
    for (size_t i = 0; i < s->n && buf_ok(out) && run_spend(r, 1); i++) {
        if (i) buf_z(out, ", ");
        v_repr(r, s->v[i], out);
    }
    buf_z(out, close);
}

static void repr_dict(struct run *r, const struct dict *d, struct buf *out) {
    buf_byte(out, '{');
    for (size_t i = 0; i < d->n && buf_ok(out) && run_spend(r, 1); i++) {
        if (i) buf_z(out, ", ");
        v_repr(r, d->keys[i], out);
        buf_z(out, ": ");
        v_repr(r, d->values[i], out);
    }
    buf_byte(out, '}');
}

static void repr_container(struct run *r, struct value v, struct buf *out) {
    if (!run_enter(r)) return;
    run_spend(r, 1);
    const struct seq *s = v.u.seq;
    switch (v.type) {
    case V_LIST: repr_items(r, s, "[", "]", out); break;
    case V_TUPLE: repr_items(r, s, "(", s->n == 1 ? ",)" : ")", out); break;
    case V_VIEW:
        buf_z(out, s->kind);
        repr_items(r, s, "([", "])", out);
        break;
    case V_SPACE:
        buf_z(out, "<Namespace ");
        repr_dict(r, v.u.dict, out);
        buf_byte(out, '>');
        break;
    default: repr_dict(r, v.u.dict, out);
    }
    run_leave(r);
}

static void repr_range(const struct seq *s, struct buf *out) {
    buf_printf(out, "range(%lld, %lld", (long long)s->start, (long long)s->stop);
    if (s->step != 1) buf_printf(out, ", %lld", (long long)s->step);
    buf_byte(out, ')');
}

void v_repr(struct run *r, struct value v, struct buf *out) {
    switch (v.type) {
    case V_UNDEF:
    case V_MISSING: buf_z(out, "Undefined"); break;
    case V_NONE: buf_z(out, "None"); break;
    case V_BOOL: buf_z(out, v.u.b ? "True" : "False"); break;
    case V_INT: buf_printf(out, "%lld", (long long)v.u.i); break;
    case V_FLOAT:
        run_spend(r, NUMBER_STEPS);
        float_repr(v.u.f, out);
        break;
    case V_STR: str_repr(r, v.u.s, out); break;
    case V_RANGE: repr_range(v.u.seq, out); break;
    case V_LIST:
    case V_TUPLE:
    case V_VIEW:
    case V_DICT:
    case V_SPACE: repr_container(r, v, out); break;
    case V_ITER: buf_printf(out, "<%s object>", v_type_name(v)); break;
    case V_MACRO: buf_printf(out, "<Macro '%.*s'>", STR_ARG(macro_name(v.u.macro))); break;
    case V_METHOD:
        buf_printf(out, "<built-in method %.*s>", STR_ARG(method_name(v.u.method->def)));
        break;
    case V_FUNC: buf_printf(out, "<function %.*s>", STR_ARG(function_name(v.u.func))); break;
    case V_LOOP: buf_z(out, "<LoopContext>"); break;
    }
}

void v_print(struct run *r, struct value v, struct buf *out) {
    if (v.type == V_STR) {
        run_spend(r, v.u.s.n / 64);
        buf_str(out, v.u.s);
    } else if (v.type != V_UNDEF && v.type != V_MISSING)
        v_repr(r, v, out);
}

struct str v_text(struct run *r, struct value v) {
    if (v.type == V_STR) return v.u.s;
    struct buf b;
    run_buf(r, &b);
    v_print(r, v, &b);
    return v_take(r, &b).u.s;
}

/* --- JSON out
 * ------------------------------------------------------------------------------------- */

static void json_char(unsigned cp, struct str raw, bool ascii, struct buf *out) {
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *s = shorts; cp < 0x80 && *s; s += 2)
        if ((unsigned)*s == cp) {
            buf_byte(out, '\\');
            buf_byte(out, s[1]);
            return;
        }
    if (cp >= 0x20 && (!ascii || cp < 0x7F))
        buf_str(out, raw);
    else if (cp == 0x7F)
        buf_str(out, raw);
    else if (cp < 0x10000)
        buf_printf(out, "\\u%04x", cp);
    else
        buf_printf(out, "\\u%04x\\u%04x", 0xD800 + ((cp - 0x10000) >> 10),
                   0xDC00 + ((cp - 0x10000) & 0x3FF));
}

static void json_string_out(struct run *r, struct str s, bool ascii, struct buf *out) {
    run_spend(r, s.n / 16);
    buf_byte(out, '"');
    while (s.n && buf_ok(out)) {
        unsigned cp = 0;
        size_t n = utf8_get(s, &cp);
        if (!n) n = 1;
        json_char(cp, (struct str){s.p, n}, ascii, out);
        s = str_from(s, n);
    }
    buf_byte(out, '"');
}

static void json_float(struct run *r, double f, struct buf *out) {
    run_spend(r, NUMBER_STEPS);
    if (isnan(f))
        buf_z(out, "NaN");
    else if (isinf(f))
        buf_z(out, f > 0 ? "Infinity" : "-Infinity");
    else
        float_repr(f, out);
}

struct json_writer {
    struct run *r;
    const struct json_style *style;
    struct buf *out;
};

static void json_value(struct json_writer *w, struct value v, int level);

static void json_newline(struct json_writer *w, int level) {
    if (!w->style->pretty) return;
    run_spend(w->r, (size_t)level / 16);
    buf_byte(w->out, '\n');
    for (int i = 0; i < level; i++) buf_str(w->out, w->style->indent);
}

static void json_list(struct json_writer *w, const struct seq *s, int level) {
    buf_byte(w->out, '[');
    for (size_t i = 0; i < s->n && buf_ok(w->out) && !run_failed(w->r); i++) {
        if (i) buf_str(w->out, w->style->item_sep);
        json_newline(w, level + 1);
        json_value(w, s->v[i], level + 1);
    }
    if (s->n) json_newline(w, level);
    buf_byte(w->out, ']');
}

static void json_key(struct json_writer *w, struct value k) {
    struct buf text;
    if (k.type == V_STR) {
        json_string_out(w->r, k.u.s, w->style->ascii, w->out);
        return;
    }
    if (k.type != V_NONE && !v_is_number(k)) {
        run_fail(w->r, "keys must be str, int, float, bool or None, not %s", v_type_name(k));
        return;
    }
    buf_init(&text, 100);
    if (k.type == V_NONE)
        buf_z(&text, "null");
    else if (k.type == V_BOOL)
        buf_z(&text, k.u.b ? "true" : "false");
    else if (k.type == V_FLOAT)
        json_float(w->r, k.u.f, &text);
    else
        v_repr(w->r, k, &text);
    json_string_out(w->r, buf_view(&text), false, w->out);
    buf_release(&text);
}

/* The order of a dictionary's keys: as inserted, or sorted (a merge sort over positions). */
static const size_t *json_order(struct json_writer *w, const struct dict *d) {
    size_t *order = run_alloc(w->r, d->n * 2 + 1, sizeof *order), *temp;
    if (!order) return NULL;
    temp = order + d->n;
    for (size_t i = 0; i < d->n; i++) order[i] = i;
    if (!w->style->sort) return order;
    for (size_t width = 1; width < d->n; width *= 2) {
        for (size_t lo = 0; lo < d->n; lo += 2 * width) {
            size_t mid = lo + width < d->n ? lo + width : d->n,
                   hi = mid + width < d->n ? mid + width : d->n;
            size_t a = lo, b = mid;
            for (size_t k = lo; k < hi; k++) {
                bool left = a < mid && (b >= hi || v_compare(w->r, d->keys[order[b]],
                                                             d->keys[order[a]], "<") >= 0);
                temp[k] = left ? order[a++] : order[b++];
            }
        }
        memcpy(order, temp, d->n * sizeof *order);
    }
    return order;
}

static void json_dict(struct json_writer *w, const struct dict *d, int level) {
    const size_t *order = json_order(w, d);
    if (!order) return;
    buf_byte(w->out, '{');
    for (size_t i = 0; i < d->n && buf_ok(w->out) && !run_failed(w->r); i++) {
        if (i) buf_str(w->out, w->style->item_sep);
        json_newline(w, level + 1);
        json_key(w, d->keys[order[i]]);
        buf_str(w->out, w->style->key_sep);
        json_value(w, d->values[order[i]], level + 1);
    }
    if (d->n) json_newline(w, level);
    buf_byte(w->out, '}');
}

static void json_value(struct json_writer *w, struct value v, int level) {
    if (!run_enter(w->r)) return;
    run_spend(w->r, 1);
    switch (v.type) {
    case V_NONE: buf_z(w->out, "null"); break;
    case V_BOOL: buf_z(w->out, v.u.b ? "true" : "false"); break;
    case V_INT: v_repr(w->r, v, w->out); break;
    case V_FLOAT: json_float(w->r, v.u.f, w->out); break;
    case V_STR: json_string_out(w->r, v.u.s, w->style->ascii, w->out); break;
    case V_LIST:
    case V_TUPLE: json_list(w, v.u.seq, level); break;
    case V_DICT: json_dict(w, v.u.dict, level); break;
    default: run_fail(w->r, "Object of type %s is not JSON serializable", v_type_name(v));
    }
    run_leave(w->r);
}

void v_to_json(struct run *r, struct value v, const struct json_style *style, struct buf *out) {
    struct json_writer w = {r, style, out};
    json_value(&w, v, 0);
}

/* --- JSON in
 * -------------------------------------------------------------------------------------- */

static struct value from_object(struct run *r, const json_t *j) {
    struct value v = v_dict(r, json_object_size(j));
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)j, key, item) {
        if (run_failed(r)) break;
        dict_set(r, v, v_str(str_of(key)), v_from_json(r, item));
    }
    return v;
}

static struct value from_array(struct run *r, const json_t *j) {
    struct value v = v_seq(r, V_LIST, json_array_size(j));
    size_t i;
    json_t *item;
    json_array_foreach(j, i, item) {
        if (run_failed(r)) break;
        seq_add(r, v, v_from_json(r, item));
    }
    return v;
}

/* Strings and keys are borrowed from j. */
struct value v_from_json(struct run *r, const json_t *j) {
    struct value v = v_none();
    if (!run_enter(r)) return v;
    switch (json_typeof(j)) {
    case JSON_OBJECT: v = from_object(r, j); break;
    case JSON_ARRAY: v = from_array(r, j); break;
    case JSON_STRING: v = v_str(json_str(j)); break;
    case JSON_INTEGER: v = v_int(json_integer_value(j)); break;
    case JSON_REAL: v = v_float(json_real_value(j)); break;
    case JSON_TRUE: v = v_bool(true); break;
    case JSON_FALSE: v = v_bool(false); break;
    case JSON_NULL: break;
    }
    run_leave(r);
    return v;
}
