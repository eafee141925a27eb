/* jinja2's filters, with tojson as transformers replaces it. Those that need HTML (xmlattr, urlize,
 * striptags) or chance (random) are not here. */
#include "text/template_int.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define PARAMS_MAX 6

static bool given(struct value v) { return v.type != V_MISSING; }

static int64_t int_arg(struct run *r, struct value v, int64_t otherwise) {
    if (!given(v) || v.type == V_NONE) return otherwise;
    if (v_is_int(v)) return v_as_int(v);
    run_fail(r, "'%s' object cannot be interpreted as an integer", v_type_name(v));
    return otherwise;
}

static struct str str_arg(struct run *r, struct value v, struct str otherwise) {
    return given(v) && v.type != V_NONE ? v_text(r, v) : otherwise;
}

/* --- attributes of items ("a.b.0")
 * ---------------------------------------------------------------- */

static struct value item_path(struct run *r, struct value v, struct value path,
                              struct value otherwise) {
    if (!given(path) || path.type == V_NONE) return v;
    if (path.type != V_STR) return v_item(r, v, path);
    struct str s = path.u.s;
    while (run_spend(r, 1)) {
        const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
        struct str part = {s.p, dot ? (size_t)(dot - s.p) : s.n};
        bool number = part.n > 0 && part.n < 10;
        for (size_t i = 0; i < part.n; i++) number = number && isdigit((unsigned char)part.p[i]);
        v = v_item(r, v, number ? v_int(strtoll(v_copy(r, part).u.s.p, NULL, 10)) : v_str(part));
        if (v.type == V_UNDEF && given(otherwise) && otherwise.type != V_NONE) v = otherwise;
        if (!dot) break;
        s = str_from(s, part.n + 1);
    }
    return v;
}

static struct value fold(struct run *r, struct value v, bool case_sensitive) {
    return v.type == V_STR && !case_sensitive ? str_case(r, v.u.s, 'l') : v;
}

/* --- sorting: stable merge over keys
 * ---------------------------------------------------------------- */

struct keyed {
    struct value key, item;
};

static bool before(struct run *r, const struct keyed *a, const struct keyed *b, bool reverse) {
    int c = v_equal(r, a->key, b->key) ? 0 : v_compare(r, a->key, b->key, "<");
    return reverse ? c > 0 : c < 0;
}

static void merge_sort(struct run *r, struct keyed *v, struct keyed *temp, size_t n, bool reverse) {
    for (size_t width = 1; width < n && !run_failed(r); width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = mid + width < n ? mid + width : n;
            size_t a = lo, b = mid;
            for (size_t k = lo; k < hi; k++)
                temp[k] =
                    a < mid && (b >= hi || !before(r, &v[b], &v[a], reverse)) ? v[a++] : v[b++];
        }
        memcpy(v, temp, n * sizeof *v);
    }
}

/* Keys of several attributes ("a,b") compare as lists do. */
static struct value sort_key(struct run *r, struct value item, struct value attribute,
                             bool case_sensitive) {
    if (attribute.type == V_STR) run_spend(r, attribute.u.s.n / 64);
    bool several =
        attribute.type == V_STR && attribute.u.s.n && memchr(attribute.u.s.p, ',', attribute.u.s.n);
    if (!several) return fold(r, item_path(r, item, attribute, v_missing()), case_sensitive);
    struct value key = v_seq(r, V_LIST, 0);
    struct str s = attribute.u.s;
    while (!run_failed(r)) {
        const char *comma = memchr(s.p, ',', s.n);
        struct str part = {s.p, comma ? (size_t)(comma - s.p) : s.n};
        seq_add(r, key, fold(r, item_path(r, item, v_str(part), v_missing()), case_sensitive));
        if (!comma) break;
        s = str_from(s, part.n + 1);
    }
    return key;
}

static struct value sorted(struct run *r, const struct seq *items, struct value attribute,
                           bool case_sensitive, bool reverse) {
    struct value list = v_seq(r, V_LIST, items->n);
    struct keyed *v = run_alloc(r, items->n * 2 + 1, sizeof *v);
    if (!v) return list;
    for (size_t i = 0; i < items->n && !run_failed(r); i++)
        v[i] = (struct keyed){sort_key(r, items->v[i], attribute, case_sensitive), items->v[i]};
    if (!run_failed(r)) merge_sort(r, v, v + items->n, items->n, reverse);
    for (size_t i = 0; i < items->n; i++) seq_add(r, list, v[i].item);
    return list;
}

static struct value f_sort(struct run *r, struct value v, const struct args *a) {
    struct value p[3];
    if (!args_bind(r, "sort", "reverse,case_sensitive,attribute", a, p)) return v_none();
    return sorted(r, v_items(r, v), p[2], v_truth(p[1]), v_truth(p[0]));
}

static struct value dict_pairs(struct run *r, const struct dict *d) {
    struct value list = v_seq(r, V_LIST, d->n);
    for (size_t i = 0; i < d->n && !run_failed(r); i++) {
        struct value pair = v_seq(r, V_TUPLE, 2);
        seq_add(r, pair, d->keys[i]);
        seq_add(r, pair, d->values[i]);
        seq_add(r, list, pair);
    }
    return list;
}

static struct value f_dictsort(struct run *r, struct value v, const struct args *a) {
    struct value p[3];
    if (!args_bind(r, "dictsort", "case_sensitive,by,reverse", a, p)) return v_none();
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    if (v.type != V_DICT)
        return run_fail(r, "'%s' object has no attribute 'items'", v_type_name(v));
    struct str by = str_arg(r, p[1], STR_LIT("key"));
    if (!str_is(by, "key") && !str_is(by, "value"))
        return run_fail(r, "You can only sort by either \"key\" or \"value\"");
    return sorted(r, dict_pairs(r, v.u.dict).u.seq, v_int(str_is(by, "value")), v_truth(p[0]),
                  v_truth(p[2]));
}

static struct value f_unique(struct run *r, struct value v, const struct args *a) {
    struct value p[2], list = v_seq(r, V_LIST, 0), seen = v_dict(r, 0);
    if (!args_bind(r, "unique", "case_sensitive,attribute", a, p)) return v_none();
    struct seq *items = v_items(r, v);
    for (size_t i = 0; i < items->n && !run_failed(r); i++) {
        struct value key = fold(r, item_path(r, items->v[i], p[1], v_missing()), v_truth(p[0])),
                     had;
        if (dict_get(r, seen, key, &had)) continue;
        dict_set(r, seen, key, v_none());
        seq_add(r, list, items->v[i]);
    }
    return v_iter(r, list, "generator");
}

static struct value extreme(struct run *r, struct value v, const struct args *a, bool largest) {
    struct value p[2], best = v_missing(), best_key = v_missing();
    if (!args_bind(r, largest ? "max" : "min", "case_sensitive,attribute", a, p)) return v_none();
    struct seq *items = v_items(r, v);
    for (size_t i = 0; i < items->n && !run_failed(r); i++) {
        struct value key = fold(r, item_path(r, items->v[i], p[1], v_missing()), v_truth(p[0]));
        if (given(best)) {
            int c = v_compare(r, key, best_key, largest ? ">" : "<");
            if (largest ? c <= 0 : c >= 0) continue;
        }
        best = items->v[i];
        best_key = key;
    }
    return given(best) ? best : v_undef_hint(r, "No aggregated item, sequence was empty.");
}

static struct value f_min(struct run *r, struct value v, const struct args *a) {
    return extreme(r, v, a, false);
}
static struct value f_max(struct run *r, struct value v, const struct args *a) {
    return extreme(r, v, a, true);
}

static struct value f_groupby(struct run *r, struct value v, const struct args *a) {
    struct value p[3], groups = v_seq(r, V_LIST, 0), last = v_missing(), members = v_none();
    if (!args_bind(r, "groupby", "attribute,default,case_sensitive", a, p)) return v_none();
    struct seq *items = sorted(r, v_items(r, v), p[0], v_truth(p[2]), false).u.seq;
    for (size_t i = 0; i < items->n && !run_failed(r); i++) {
        struct value real = item_path(r, items->v[i], p[0], p[1]),
                     key = fold(r, real, v_truth(p[2]));
        if (!given(last) || !v_equal(r, key, last)) {
            struct value pair = v_seq(r, V_TUPLE, 2);
            members = v_seq(r, V_LIST, 0);
            seq_add(r, pair, real);
            seq_add(r, pair, members);
            seq_add(r, groups, pair);
        }
        seq_add(r, members, items->v[i]);
        last = key;
    }
    return groups;
}

/* --- map, select, reject
 * -------------------------------------------------------------------------- */

static struct args args_after(const struct args *a, size_t n) {
    struct args rest = *a;
    rest.v = a->n > n ? a->v + n : NULL;
    rest.n = a->n > n ? a->n - n : 0;
    return rest;
}

struct value filter_call(struct run *r, filter_fn *filter, struct value v, const struct args *a) {
    if (!run_enter(r)) return v_none();
    run_spend_text(r, v, a);
    v = filter(r, v, a);
    run_leave(r);
    return v;
}

static struct value f_map(struct run *r, struct value v, const struct args *a) {
    struct value p[2] = {v_missing(), v_missing()}, list = v_seq(r, V_LIST, 0);
    filter_fn *filter = NULL;
    struct args rest = args_after(a, 1);
    if (!v_truth(v)) return v_iter(r, list, "generator");
    if (a->n == 0 && a->named_n) {
        if (!args_bind(r, "map", "attribute,default", a, p)) return v_none();
    } else if (a->n == 0)
        return run_fail(r, "map requires a filter argument");
    else if (a->v[0].type != V_STR || !(filter = filter_find(a->v[0].u.s)))
        return run_fail(r, "No filter named '%.*s'.", STR_ARG(v_text(r, a->v[0])));
    struct seq *items = v_items(r, v);
    for (size_t i = 0; i < items->n && !run_failed(r); i++)
        seq_add(r, list,
                filter ? filter_call(r, filter, items->v[i], &rest)
                       : item_path(r, items->v[i], p[0], p[1]));
    return v_iter(r, list, "generator");
}

static struct value choose(struct run *r, struct value v, const struct args *a, bool keep,
                           bool by_attribute) {
    struct value list = v_seq(r, V_LIST, 0);
    filter_fn *test = NULL;
    size_t off = by_attribute ? 1 : 0;
    if (!v_truth(v)) return v_iter(r, list, "generator");
    if (by_attribute && a->n == 0) return run_fail(r, "Missing parameter for attribute name");
    struct args rest = args_after(a, off + 1);
    if (a->n > off && (a->v[off].type != V_STR || !(test = test_find(a->v[off].u.s))))
        return run_fail(r, "No test named '%.*s'.", STR_ARG(v_text(r, a->v[off])));
    struct seq *items = v_items(r, v);
    for (size_t i = 0; i < items->n && !run_failed(r); i++) {
        struct value x =
            by_attribute ? item_path(r, items->v[i], a->v[0], v_missing()) : items->v[i];
        if (v_truth(test ? test(r, x, &rest) : x) == keep) seq_add(r, list, items->v[i]);
    }
    return v_iter(r, list, "generator");
}

static struct value f_select(struct run *r, struct value v, const struct args *a) {
    return choose(r, v, a, true, false);
}
static struct value f_reject(struct run *r, struct value v, const struct args *a) {
    return choose(r, v, a, false, false);
}
static struct value f_selectattr(struct run *r, struct value v, const struct args *a) {
    return choose(r, v, a, true, true);
}
static struct value f_rejectattr(struct run *r, struct value v, const struct args *a) {
    return choose(r, v, a, false, true);
}

/* --- sequences
 * ------------------------------------------------------------------------------------ */

static struct value f_length(struct run *r, struct value v, const struct args *a) {
    int64_t n;
    (void)a;
    if (v.type == V_LOOP) return loop_attr(r, v.u.loop, STR_LIT("length"));
    return v_length(v, &n) ? v_int(n)
                           : run_fail(r, "object of type '%s' has no len()", v_type_name(v));
}

static struct value f_list(struct run *r, struct value v, const struct args *a) {
    (void)a;
    struct seq *items = v_items(r, v);
    struct value list = v_seq(r, V_LIST, items->n);
    for (size_t i = 0; i < items->n; i++) seq_add(r, list, items->v[i]);
    return list;
}

static struct value f_first(struct run *r, struct value v, const struct args *a) {
    (void)a;
    if (v.type == V_ITER)
        return v.u.seq->at < v.u.seq->n ? v.u.seq->v[v.u.seq->at++]
                                        : v_undef_hint(r, "No first item, sequence was empty.");
    struct seq *items = v_items(r, v);
    return items->n ? items->v[0] : v_undef_hint(r, "No first item, sequence was empty.");
}

static struct value f_last(struct run *r, struct value v, const struct args *a) {
    (void)a;
    if (v.type == V_ITER) return run_fail(r, "'%s' object is not reversible", v_type_name(v));
    struct seq *items = v_items(r, v);
    return items->n ? items->v[items->n - 1] : v_undef_hint(r, "No last item, sequence was empty.");
}

static struct value f_reverse(struct run *r, struct value v, const struct args *a) {
    (void)a;
    struct seq *items = v_items(r, v);
    struct value list = v_seq(r, V_LIST, items->n);
    for (size_t i = items->n; i > 0; i--) seq_add(r, list, items->v[i - 1]);
    if (v.type != V_STR) return v.type == V_ITER ? list : v_iter(r, list, "list_reverseiterator");
    struct buf b;
    run_buf(r, &b);
    for (size_t i = 0; i < list.u.seq->n; i++) buf_str(&b, list.u.seq->v[i].u.s);
    return v_take(r, &b);
}

static struct value f_join(struct run *r, struct value v, const struct args *a) {
    struct value p[2];
    if (!args_bind(r, "join", "d,attribute", a, p)) return v_none();
    struct str d = given(p[0]) ? v_text(r, p[0]) : (struct str){"", 0};
    struct seq *items = v_items(r, v);
    struct buf b;
    run_buf(r, &b);
    for (size_t i = 0; i < items->n && run_spend(r, 1); i++) {
        if (i) buf_str(&b, d);
        v_print(r, item_path(r, items->v[i], p[1], v_missing()), &b);
    }
    return v_take(r, &b);
}

static struct value f_sum(struct run *r, struct value v, const struct args *a) {
    struct value p[2];
    if (!args_bind(r, "sum", "attribute,start", a, p)) return v_none();
    struct value total = given(p[1]) ? p[1] : v_int(0);
    struct seq *items = v_items(r, v);
    for (size_t i = 0; i < items->n && !run_failed(r); i++)
        total = v_arith(r, '+', total, item_path(r, items->v[i], p[0], v_missing()));
    return total;
}

static struct value f_items(struct run *r, struct value v, const struct args *a) {
    (void)a;
    if (v.type == V_UNDEF) return v_iter(r, v_seq(r, V_LIST, 0), "generator");
    if (v.type != V_DICT) return run_fail(r, "Can only get item pairs from a mapping.");
    return v_iter(r, dict_pairs(r, v.u.dict), "generator");
}

static struct value f_batch(struct run *r, struct value v, const struct args *a) {
    struct value p[2], list = v_seq(r, V_LIST, 0), part = v_none();
    if (!args_bind(r, "batch", "linecount,fill_with", a, p)) return v_none();
    int64_t size = int_arg(r, p[0], 1);
    struct seq *items = v_items(r, v);
    for (size_t i = 0; i < items->n && !run_failed(r); i++) {
        if (part.type == V_NONE || (int64_t)part.u.seq->n == size)
            seq_add(r, list, part = v_seq(r, V_LIST, 0));
        seq_add(r, part, items->v[i]);
    }
    bool fill = given(p[1]) && p[1].type != V_NONE && part.type == V_LIST;
    while (fill && !run_failed(r) && (int64_t)part.u.seq->n < size) seq_add(r, part, p[1]);
    return v_iter(r, list, "generator");
}

static struct value f_slice(struct run *r, struct value v, const struct args *a) {
    struct value p[2], list = v_seq(r, V_LIST, 0);
    if (!args_bind(r, "slice", "slices,fill_with", a, p)) return v_none();
    int64_t slices = int_arg(r, p[0], 0);
    struct seq *items = v_items(r, v);
    if (slices <= 0 || slices > RANGE_MAX) return run_fail(r, "integer division or modulo by zero");
    size_t each = items->n / (size_t)slices, extra = items->n % (size_t)slices, at = 0;
    for (size_t s = 0; s < (size_t)slices && !run_failed(r); s++) {
        struct value part = v_seq(r, V_LIST, 0);
        for (size_t k = 0; k < each + (s < extra); k++) seq_add(r, part, items->v[at++]);
        if (given(p[1]) && p[1].type != V_NONE && s >= extra) seq_add(r, part, p[1]);
        seq_add(r, list, part);
    }
    return v_iter(r, list, "generator");
}

/* --- strings
 * -------------------------------------------------------------------------------------- */

static struct value f_upper(struct run *r, struct value v, const struct args *a) {
    (void)a;
    return str_case(r, v_text(r, v), 'u');
}
static struct value f_lower(struct run *r, struct value v, const struct args *a) {
    (void)a;
    return str_case(r, v_text(r, v), 'l');
}
static struct value f_capitalize(struct run *r, struct value v, const struct args *a) {
    (void)a;
    return str_case(r, v_text(r, v), 'c');
}
static struct value f_string(struct run *r, struct value v, const struct args *a) {
    (void)a;
    return v.type == V_STR ? v : v_str(v_text(r, v));
}

/* Words begin after white space, "-" and opening brackets: jinja's own rule, not str.title's. */
static struct value f_title(struct run *r, struct value v, const struct args *a) {
    struct str s = v_text(r, v);
    struct buf b;
    (void)a;
    run_buf(r, &b);
    while (s.n && run_spend(r, 1)) {
        size_t end = 0, n;
        unsigned cp = 0;
        while (end < s.n && (n = utf8_get(str_from(s, end), &cp)) > 0 && !cp_is_space(cp) &&
               !(cp < 128 && strchr("-({[<", (int)cp)))
            end += n;
        buf_str(&b, str_case(r, (struct str){s.p, end}, 'c').u.s);
        s = str_from(s, end);
        n = str_offset(s, 1);
        buf_add(&b, s.p, n);
        s = str_from(s, n);
    }
    return v_take(r, &b);
}

static struct value f_trim(struct run *r, struct value v, const struct args *a) {
    struct value p[1];
    if (!args_bind(r, "trim", "chars", a, p)) return v_none();
    struct str s = v_text(r, v);
    if (!given(p[0]) || p[0].type == V_NONE) return str_strip(s, true, true);
    return str_strip_set(r, s, v_text(r, p[0]), true, true);
}

static struct value f_replace(struct run *r, struct value v, const struct args *a) {
    struct value p[3];
    if (!args_bind(r, "replace", "old,new,count", a, p)) return v_none();
    if (!given(p[0]) || !given(p[1]))
        return run_fail(r, "replace needs what to replace and with what");
    return str_replace(r, v_text(r, v), v_text(r, p[0]), v_text(r, p[1]), int_arg(r, p[2], -1));
}

static struct value f_indent(struct run *r, struct value v, const struct args *a) {
    struct value p[3];
    if (!args_bind(r, "indent", "width,first,blank", a, p)) return v_none();
    if (v.type != V_STR) return v_arith(r, '+', v, v_str(STR_LIT("\n")));
    struct str by = p[0].type == V_STR
                        ? p[0].u.s
                        : v_arith(r, '*', v_str(STR_LIT(" ")), v_int(int_arg(r, p[0], 4))).u.s;
    if (run_failed(r)) return v_none();
    struct seq *lines = str_lines(r, v_arith(r, '+', v, v_str(STR_LIT("\n"))).u.s, false).u.seq;
    struct buf b;
    run_buf(r, &b);
    for (size_t i = 0; i < lines->n && run_spend(r, 1); i++) {
        bool put = i == 0 ? v_truth(p[1]) : v_truth(p[2]) || lines->v[i].u.s.n > 0;
        if (i) buf_byte(&b, '\n');
        if (put) buf_str(&b, by);
        buf_str(&b, lines->v[i].u.s);
    }
    return v_take(r, &b);
}

static struct value f_wordcount(struct run *r, struct value v, const struct args *a) {
    struct str s = v_text(r, v);
    int64_t count = 0;
    bool in = false;
    (void)a;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool word = isalnum(c) || c == '_' || c >= 0x80;
        count += word && !in;
        in = word;
    }
    return v_int(count);
}

static struct value f_truncate(struct run *r, struct value v, const struct args *a) {
    struct value p[4];
    if (!args_bind(r, "truncate", "length,killwords,end,leeway", a, p)) return v_none();
    struct str s = v_text(r, v), end = str_arg(r, p[2], STR_LIT("..."));
    int64_t length = int_arg(r, p[0], 255), leeway = int_arg(r, p[3], 5);
    if (length < (int64_t)str_chars(end))
        return run_fail(r, "expected length >= %zu, got %lld", str_chars(end), (long long)length);
    if ((int64_t)str_chars(s) <= length + leeway) return v_str(s);
    s.n = str_offset(s, (size_t)length - str_chars(end));
    size_t cut = s.n;
    while (!v_truth(p[1]) && cut > 0 && s.p[cut - 1] != ' ') cut--;
    if (cut > 0 && !v_truth(p[1])) s.n = cut - 1;
    return v_arith(r, '+', v_str(s), v_str(end));
}

static struct value f_center(struct run *r, struct value v, const struct args *a) {
    bool unsafe = false;
    struct value p[1], width;
    if (!args_bind(r, "center", "width", a, p)) return v_none();
    width = given(p[0]) ? p[0] : v_int(80);
    struct method m = {v_str(v_text(r, v)), NULL};
    m.def = method_find(m.self, STR_LIT("center"), &unsafe);
    return method_call(r, &m, &(struct args){.v = &width, .n = 1});
}

static struct value f_escape(struct run *r, struct value v, const struct args *a) {
    (void)a;
    return v.markup ? v : str_escape(r, v_text(r, v));
}

static struct value f_urlencode(struct run *r, struct value v, const struct args *a) {
    struct str s = v_text(r, v);
    struct buf b;
    (void)a;
    if (v.type == V_DICT) return run_fail(r, "urlencode of a mapping is not supported");
    run_buf(r, &b);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 128 && isalnum(c)) || (c && strchr("_.-~/", c)))
            buf_byte(&b, (char)c);
        else
            buf_printf(&b, "%%%02X", c);
    }
    return v_take(r, &b);
}

static struct value f_format(struct run *r, struct value v, const struct args *a) {
    struct value args;
    if (a->n && a->named_n)
        return run_fail(r, "can't handle positional and keyword arguments at the same time");
    if (a->named_n) {
        args = v_dict(r, 0);
        for (size_t i = 0; i < a->named_n; i++) dict_set(r, args, v_str(a->names[i]), a->named[i]);
    } else {
        args = v_seq(r, V_TUPLE, 0);
        for (size_t i = 0; i < a->n; i++) seq_add(r, args, a->v[i]);
    }
    return run_failed(r) ? v_none() : str_percent(r, v_text(r, v), args);
}

/* --- numbers
 * -------------------------------------------------------------------------------------- */

/* Python's int(text, base); false when it is none. Underscores between digits are Python's too. */
static bool parse_int(struct run *r, struct str s, int64_t base, int64_t *ret) {
    char text[80], *end;
    size_t n = 0;
    if (base < 0 || base == 1 || base > 36) return false;
    s = str_strip(s, true, true).u.s;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '_' && i > 0 && i + 1 < s.n && s.p[i - 1] != '_') continue;
        if (n + 1 == sizeof text || !strchr("+-0123456789abcdefABCDEFxXoO", s.p[i]) || !s.p[i])
            return false;
        text[n++] = s.p[i];
    }
    text[n] = '\0';
    errno = 0;
    long long v = strtoll(text, &end, (int)base);
    if (n == 0 || *end) return false;
    if (errno == ERANGE) return run_fail(r, "integer overflow (numbers have 64 bits)"), true;
    *ret = v;
    return true;
}

static bool parse_float(struct str s, double *ret) {
    char text[400], *end;
    s = str_strip(s, true, true).u.s;
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 'x', s.n) || memchr(s.p, 'X', s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    *ret = strtod(text, &end);
    return *end == '\0';
}

static bool float_to_int(double f, int64_t *ret) {
    if (!(f > -9.2e18 && f < 9.2e18)) return false;
    *ret = (int64_t)f;
    return true;
}

static struct value f_int(struct run *r, struct value v, const struct args *a) {
    struct value p[2];
    int64_t i = 0;
    double f = 0;
    if (!args_bind(r, "int", "default,base", a, p)) return v_none();
    struct value otherwise = given(p[0]) ? p[0] : v_int(0);
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    if (v_is_int(v)) return v_int(v_as_int(v));
    if (v.type == V_FLOAT) return float_to_int(v.u.f, &i) ? v_int(i) : otherwise;
    if (v.type != V_STR) return otherwise;
    if (parse_int(r, v.u.s, int_arg(r, p[1], 10), &i)) return v_int(i);
    return parse_float(v.u.s, &f) && float_to_int(f, &i) ? v_int(i) : otherwise;
}

static struct value f_float(struct run *r, struct value v, const struct args *a) {
    struct value p[1];
    double f;
    if (!args_bind(r, "float", "default", a, p)) return v_none();
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    if (v_is_number(v)) return v_float(v_as_double(v));
    if (v.type == V_STR && parse_float(v.u.s, &f)) return v_float(f);
    return given(p[0]) ? p[0] : v_float(0);
}

static struct value f_abs(struct run *r, struct value v, const struct args *a) {
    (void)a;
    if (v.type == V_FLOAT) return v_float(fabs(v.u.f));
    if (v_is_int(v)) return v_as_int(v) < 0 ? v_negate(r, v, '-') : v_int(v_as_int(v));
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    return run_fail(r, "bad operand type for abs(): '%s'", v_type_name(v));
}

/* Half to even on the decimal value, as Python's round does: through the printed digits. */
static double round_digits(double f, int digits) {
    char text[400];
    if (!isfinite(f) || digits > 300) return f;
    if (digits < 0) {
        double scale = pow(10, -digits);
        return nearbyint(f / scale) * scale;
    }
    snprintf(text, sizeof text, "%.*f", digits, f);
    return strtod(text, NULL);
}

static struct value f_round(struct run *r, struct value v, const struct args *a) {
    struct value p[2];
    if (!args_bind(r, "round", "precision,method", a, p)) return v_none();
    int64_t digits = int_arg(r, p[0], 0);
    struct str how = str_arg(r, p[1], STR_LIT("common"));
    if (v.type == V_UNDEF) return run_fail_undef(r, v);
    if (!v_is_number(v))
        return run_fail(r, "type %s doesn't define __round__ method", v_type_name(v));
    if (digits > 300 || digits < -300) return run_fail(r, "round: the precision is out of range");
    if (str_is(how, "common")) {
        if (v_is_int(v))
            return digits >= 0 ? v_int(v_as_int(v))
                               : v_int((int64_t)round_digits(v_as_double(v), (int)digits));
        return v_float(round_digits(v.u.f, (int)digits));
    }
    if (!str_is(how, "ceil") && !str_is(how, "floor"))
        return run_fail(r, "method must be common, ceil or floor");
    double scale = pow(10, (double)digits), x = v_as_double(v) * scale;
    return v_float((str_is(how, "ceil") ? ceil(x) : floor(x)) / scale);
}

/* --- the rest
 * ------------------------------------------------------------------------------------- */

static struct value f_default(struct run *r, struct value v, const struct args *a) {
    struct value p[2];
    if (!args_bind(r, "default", "default_value,boolean", a, p)) return v_none();
    bool use = v.type == V_UNDEF || (v_truth(p[1]) && !v_truth(v));
    if (!use) return v;
    return given(p[0]) ? p[0] : v_str((struct str){"", 0});
}

static struct value f_safe(struct run *r, struct value v, const struct args *a) {
    (void)a;
    v = v_str(v_text(r, v));
    v.markup = true;
    return v;
}

static struct value f_attr(struct run *r, struct value v, const struct args *a) {
    struct value p[1];
    if (!args_bind(r, "attr", "name", a, p) || p[0].type != V_STR)
        return run_fail(r, "attr needs a name");
    struct value found = v_attr(r, v, p[0].u.s);
    return v.type == V_DICT && found.type != V_METHOD ? v_undef_of(r, v, p[0]) : found;
}

static bool json_style_of(struct run *r, const struct value *p, struct json_style *s) {
    *s = (struct json_style){STR_LIT(", "), STR_LIT(": "), {"", 0},
                             false,         v_truth(p[0]), v_truth(p[3])};
    if (given(p[1]) && p[1].type != V_NONE) {
        s->pretty = true;
        s->item_sep = STR_LIT(",");
        if (p[1].type == V_STR)
            s->indent = p[1].u.s;
        else if (int_arg(r, p[1], 0) > 0)
            s->indent = v_arith(r, '*', v_str(STR_LIT(" ")), p[1]).u.s;
    }
    if (!given(p[2]) || p[2].type == V_NONE) return !run_failed(r);
    struct seq *pair = v_items(r, p[2]);
    if (pair->n != 2 || pair->v[0].type != V_STR || pair->v[1].type != V_STR)
        return run_fail(r, "separators must be two strings"), false;
    s->item_sep = pair->v[0].u.s;
    s->key_sep = pair->v[1].u.s;
    return !run_failed(r);
}

static struct value f_tojson(struct run *r, struct value v, const struct args *a) {
    struct value p[4];
    struct json_style style;
    struct buf b;
    if (!args_bind(r, "tojson", "ensure_ascii,indent,separators,sort_keys", a, p)) return v_none();
    if (!json_style_of(r, p, &style)) return v_none();
    run_buf(r, &b);
    v_to_json(r, v, &style, &b);
    return v_take(r, &b);
}

static const struct {
    const char *name;
    filter_fn *f;
} filters[] = {
    {"tojson", f_tojson},
    {"length", f_length},
    {"trim", f_trim},
    {"default", f_default},
    {"string", f_string},
    {"join", f_join},
    {"items", f_items},
    {"list", f_list},
    {"d", f_default},
    {"count", f_length},
    {"first", f_first},
    {"last", f_last},
    {"int", f_int},
    {"float", f_float},
    {"upper", f_upper},
    {"lower", f_lower},
    {"title", f_title},
    {"capitalize", f_capitalize},
    {"replace", f_replace},
    {"selectattr", f_selectattr},
    {"select", f_select},
    {"reject", f_reject},
    {"rejectattr", f_rejectattr},
    {"map", f_map},
    {"sort", f_sort},
    {"dictsort", f_dictsort},
    {"unique", f_unique},
    {"reverse", f_reverse},
    {"indent", f_indent},
    {"safe", f_safe},
    {"escape", f_escape},
    {"e", f_escape},
    {"abs", f_abs},
    {"round", f_round},
    {"sum", f_sum},
    {"min", f_min},
    {"max", f_max},
    {"batch", f_batch},
    {"slice", f_slice},
    {"wordcount", f_wordcount},
    {"format", f_format},
    {"groupby", f_groupby},
    {"truncate", f_truncate},
    {"center", f_center},
    {"urlencode", f_urlencode},
    {"attr", f_attr},
    {"forceescape", f_escape},
};

filter_fn *filter_find(struct str name) {
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (str_is(name, filters[i].name)) return filters[i].f;
    return NULL;
}
