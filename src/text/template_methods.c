/* Methods of strings, lists and dictionaries: those that do not change their object. The others are
 * known by name, so that their use is refused as the sandbox refuses it. */
#include "text/template_int.h"

#include "base/utf8.h"

#include <utf8proc.h>

#define PARAMS_MAX 8

typedef struct value method_fn(struct run *r, struct value self, const struct value *p);

struct method_def {
    enum value_type of;
    const char *name, *params;
    method_fn *call;
    struct value (*call_raw)(struct run *r, struct str self, const struct args *a);
};

/* --- arguments
 * ------------------------------------------------------------------------------------ */

static struct str next_param(const char **list) {
    const char *end = strchrnul(*list, ',');
    struct str name = {*list, (size_t)(end - *list)};
    *list = *end ? end + 1 : end;
    return name;
}

static bool bind_named(struct run *r, const char *fname, const char *params, const struct args *a,
                       size_t k, struct value *ret) {
    for (size_t i = 0; *params; i++) {
        if (!str_eq(next_param(&params), a->names[k])) continue;
        if (ret[i].type != V_MISSING)
            return run_fail(r, "%s() got multiple values for argument '%.*s'", fname,
                            STR_ARG(a->names[k])),
                   false;
        ret[i] = a->named[k];
        return true;
    }
    run_fail(r, "%s() got an unexpected keyword argument '%.*s'", fname, STR_ARG(a->names[k]));
    return false;
}

bool args_bind(struct run *r, const char *fname, const char *params, const struct args *a,
               struct value *ret) {
    size_t count = 0;
    for (const char *p = params; *p; count++) next_param(&p);
    for (size_t i = 0; i < count; i++) ret[i] = i < a->n ? a->v[i] : v_missing();
    if (a->n > count) {
        run_fail(r, "%s() takes at most %zu arguments (%zu given)", fname, count, a->n);
        return false;
    }
    for (size_t k = 0; k < a->named_n; k++)
        if (!bind_named(r, fname, params, a, k, ret)) return false;
    return true;
}

static bool given(struct value v) { return v.type != V_MISSING && v.type != V_NONE; }

static int64_t int_or(struct run *r, struct value v, int64_t otherwise) {
    if (!given(v)) return otherwise;
    if (v_is_int(v)) return v_as_int(v);
    run_fail(r, "'%s' object cannot be interpreted as an integer", v_type_name(v));
    return otherwise;
}

static bool want_str(struct run *r, struct value v, struct str *ret) {
    *ret = (struct str){"", 0};
    if (v.type == V_STR) {
        *ret = v.u.s;
        return true;
    }
    if (v.type == V_UNDEF)
        run_fail_undef(r, v);
    else if (v.type == V_MISSING)
        run_fail(r, "a string argument is missing");
    else
        run_fail(r, "must be str, not %s", v_type_name(v));
    return false;
}

/* --- strings
 * -------------------------------------------------------------------------------------- */

static struct value strip(struct run *r, struct value self, const struct value *p, bool left,
                          bool right) {
    if (!given(p[0])) return str_strip(self.u.s, left, right);
    if (p[0].type != V_STR) return run_fail(r, "strip arg must be None or str");
    return str_strip_set(r, self.u.s, p[0].u.s, left, right);
}

static struct value s_strip(struct run *r, struct value s, const struct value *p) {
    return strip(r, s, p, true, true);
}
static struct value s_lstrip(struct run *r, struct value s, const struct value *p) {
    return strip(r, s, p, true, false);
}
static struct value s_rstrip(struct run *r, struct value s, const struct value *p) {
    return strip(r, s, p, false, true);
}

static struct value split_spaces(struct run *r, struct str s, int64_t max, bool from_right) {
    struct value list = v_seq(r, V_LIST, 0);
    s = str_strip(s, !from_right, from_right).u.s;
    while (s.n && run_spend(r, 1)) {
        if (max >= 0 && (int64_t)list.u.seq->n >= max) {
            seq_add(r, list, v_str(s)); /* the rest keeps its far white space */
            break;
        }
        unsigned cp;
        size_t at = from_right ? s.n : 0;
        if (!from_right) {
            for (size_t n;
                 at < s.n && (n = utf8_get(str_from(s, at), &cp)) > 0 && !cp_is_space(cp);)
                at += n;
            seq_add(r, list, v_str((struct str){s.p, at}));
            s = str_strip(str_from(s, at), true, false).u.s;
        } else {
            while (at > 0) {
                size_t b = at - 1;
                while (b > 0 && ((unsigned char)s.p[b] & 0xC0) == 0x80) b--;
                if (utf8_get(str_from(s, b), &cp) && cp_is_space(cp)) break;
                at = b;
            }
            seq_add(r, list, v_str(str_from(s, at)));
            s = str_strip((struct str){s.p, at}, false, true).u.s;
        }
    }
    return list;
}

/* A hash of n bytes that moves to the left by one: the byte at i counts HASH_STEP to the i. */
#define HASH_STEP 0x9e3779b97f4a7c15u

static uint64_t hash_at(const char *p, size_t n) {
    uint64_t h = 0;
    for (size_t i = n; i-- > 0;) h = h * HASH_STEP + (unsigned char)p[i];
    return h;
}

static uint64_t power(uint64_t x, size_t n) {
    uint64_t v = 1;
    for (; n; n >>= 1, x *= x)
        if (n & 1) v *= x;
    return v;
}

static const char *find_last(struct run *r, struct str s, struct str part) {
    if (part.n > s.n) return NULL;
    const char *at = s.p + s.n - part.n;
    uint64_t want = hash_at(part.p, part.n), have = hash_at(at, part.n);
    uint64_t top = power(HASH_STEP, part.n);
    for (;; at--) {
        if (have == want) {
            if (!run_spend(r, part.n / 64)) return NULL;
            if (memcmp(at, part.p, part.n) == 0) return at;
        }
        if (at == s.p) return NULL;
        have = have * HASH_STEP + (unsigned char)at[-1] - top * (unsigned char)at[part.n - 1];
    }
}

static struct value reversed_list(struct value list) {
    struct seq *s = list.u.seq;
    for (size_t i = 0; i < s->n / 2; i++) {
        struct value t = s->v[i];
        s->v[i] = s->v[s->n - 1 - i];
        s->v[s->n - 1 - i] = t;
    }
    return list;
}

static struct value split(struct run *r, struct str s, const struct value *p, bool from_right) {
    int64_t max = int_or(r, p[1], -1);
    struct str sep;
    struct value list;
    if (!given(p[0])) {
        list = split_spaces(r, s, max, from_right);
        return from_right ? reversed_list(list) : list;
    }
    if (!want_str(r, p[0], &sep)) return v_none();
    if (sep.n == 0) return run_fail(r, "empty separator");
    list = v_seq(r, V_LIST, 0);
    while (!run_failed(r) && (max < 0 || (int64_t)list.u.seq->n < max)) {
        const char *hit = from_right ? find_last(r, s, sep) : memmem(s.p, s.n, sep.p, sep.n);
        if (!hit) break;
        size_t at = (size_t)(hit - s.p);
        if (from_right) {
            seq_add(r, list, v_str(str_from(s, at + sep.n)));
            s.n = at;
        } else {
            seq_add(r, list, v_str((struct str){s.p, at}));
            s = str_from(s, at + sep.n);
        }
    }
    seq_add(r, list, v_str(s));
    return from_right ? reversed_list(list) : list;
}

static struct value s_split(struct run *r, struct value s, const struct value *p) {
    return split(r, s.u.s, p, false);
}
static struct value s_rsplit(struct run *r, struct value s, const struct value *p) {
    return split(r, s.u.s, p, true);
}

static struct value partition(struct run *r, struct str s, struct value sep_value, bool last) {
    struct str sep, empty = {"", 0};
    if (!want_str(r, sep_value, &sep)) return v_none();
    if (sep.n == 0) return run_fail(r, "empty separator");
    const char *hit = last ? find_last(r, s, sep) : memmem(s.p, s.n, sep.p, sep.n);
    struct value t = v_seq(r, V_TUPLE, 3);
    size_t at = hit ? (size_t)(hit - s.p) : 0;
    if (!hit && last) seq_add(r, t, v_str(empty)), seq_add(r, t, v_str(empty));
    seq_add(r, t, v_str(hit ? (struct str){s.p, at} : s));
    if (!hit && !last) seq_add(r, t, v_str(empty)), seq_add(r, t, v_str(empty));
    if (hit) seq_add(r, t, v_str(sep)), seq_add(r, t, v_str(str_from(s, at + sep.n)));
    return t;
}

static struct value s_partition(struct run *r, struct value s, const struct value *p) {
    return partition(r, s.u.s, p[0], false);
}
static struct value s_rpartition(struct run *r, struct value s, const struct value *p) {
    return partition(r, s.u.s, p[0], true);
}

static struct value s_splitlines(struct run *r, struct value s, const struct value *p) {
    return str_lines(r, s.u.s, v_truth(p[0]));
}

/* s[start:end] in code points, as find, count and startswith take it; false: start lies past the
 * end */
static bool range_of(struct run *r, struct str s, const struct value *p, struct str *ret,
                     size_t *ret_start) {
    *ret = s;
    *ret_start = 0;
    if (!given(p[0]) && !given(p[1])) return true;
    int64_t n = (int64_t)str_chars(s), start = int_or(r, p[0], 0), end = int_or(r, p[1], n);
    if (start < 0) start = start < -n ? 0 : start + n;
    if (end < 0) end = end < -n ? 0 : end + n;
    if (end > n) end = n;
    if (start > end) return false;
    size_t from = str_offset(s, (size_t)start), to = str_offset(s, (size_t)end);
    *ret = (struct str){s.p + from, to - from};
    *ret_start = from;
    return true;
}

static bool matches_end(struct run *r, struct str s, struct value part, bool start) {
    if (part.type != V_STR) {
        run_fail(r, "%s first arg must be str or a tuple of str, not %s",
                 start ? "startswith" : "endswith", v_type_name(part));
        return false;
    }
    run_spend(r, part.u.s.n / 64);
    return start ? str_starts(s, part.u.s) : str_ends(s, part.u.s);
}

static struct value starts(struct run *r, struct value self, const struct value *p, bool start) {
    struct str s;
    size_t from;
    if (!range_of(r, self.u.s, p + 1, &s, &from)) return v_bool(false);
    if (p[0].type != V_TUPLE) return v_bool(matches_end(r, s, p[0], start));
    for (size_t i = 0; i < p[0].u.seq->n && run_spend(r, 1); i++)
        if (matches_end(r, s, p[0].u.seq->v[i], start)) return v_bool(true);
    return v_bool(false);
}

static struct value s_startswith(struct run *r, struct value s, const struct value *p) {
    return starts(r, s, p, true);
}
static struct value s_endswith(struct run *r, struct value s, const struct value *p) {
    return starts(r, s, p, false);
}

static int64_t find(struct run *r, struct value self, const struct value *p, bool last) {
    struct str s, part;
    size_t from;
    if (!want_str(r, p[0], &part) || !range_of(r, self.u.s, p + 1, &s, &from)) return -1;
    const char *hit = part.n == 0 ? (last ? s.p + s.n : s.p)
                      : last      ? find_last(r, s, part)
                                  : memmem(s.p, s.n, part.p, part.n);
    return hit ? (int64_t)str_chars((struct str){self.u.s.p, (size_t)(hit - self.u.s.p)}) : -1;
}

static struct value s_find(struct run *r, struct value s, const struct value *p) {
    return v_int(find(r, s, p, false));
}
static struct value s_rfind(struct run *r, struct value s, const struct value *p) {
    return v_int(find(r, s, p, true));
}

static struct value s_index(struct run *r, struct value s, const struct value *p) {
    int64_t at = find(r, s, p, false);
    return at < 0 ? run_fail(r, "substring not found") : v_int(at);
}

static struct value s_rindex(struct run *r, struct value s, const struct value *p) {
    int64_t at = find(r, s, p, true);
    return at < 0 ? run_fail(r, "substring not found") : v_int(at);
}

static struct value s_count(struct run *r, struct value self, const struct value *p) {
    struct str s, part;
    size_t from;
    if (!want_str(r, p[0], &part) || !range_of(r, self.u.s, p + 1, &s, &from)) return v_int(0);
    if (part.n == 0) return v_int((int64_t)str_chars(s) + 1);
    int64_t n = 0;
    for (const char *hit; (hit = memmem(s.p, s.n, part.p, part.n)) != NULL; n++)
        s = str_from(s, (size_t)(hit - s.p) + part.n);
    return v_int(n);
}

static struct value s_replace(struct run *r, struct value s, const struct value *p) {
    struct str old, with;
    if (!want_str(r, p[0], &old) || !want_str(r, p[1], &with)) return v_none();
    return str_replace(r, s.u.s, old, with, int_or(r, p[2], -1));
}

static struct value s_upper(struct run *r, struct value s, const struct value *p) {
    (void)p;
    return str_case(r, s.u.s, 'u');
}
static struct value s_lower(struct run *r, struct value s, const struct value *p) {
    (void)p;
    return str_case(r, s.u.s, 'l');
}
static struct value s_title(struct run *r, struct value s, const struct value *p) {
    (void)p;
    return str_case(r, s.u.s, 't');
}
static struct value s_capitalize(struct run *r, struct value s, const struct value *p) {
    (void)p;
    return str_case(r, s.u.s, 'c');
}
static struct value s_swapcase(struct run *r, struct value s, const struct value *p) {
    (void)p;
    return str_case(r, s.u.s, 's');
}

static struct value s_join(struct run *r, struct value s, const struct value *p) {
    if (p[0].type == V_MISSING || !v_iterable(p[0]))
        return run_fail(r, "can only join an iterable");
    struct seq *items = v_items(r, p[0]);
    struct buf out;
    run_buf(r, &out);
    for (size_t i = 0; i < items->n && run_spend(r, 1); i++) {
        if (i) buf_str(&out, s.u.s);
        if (items->v[i].type != V_STR)
            run_fail(r, "sequence item %zu: expected str instance, %s found", i,
                     v_type_name(items->v[i]));
        else
            buf_str(&out, items->v[i].u.s);
    }
    return v_take(r, &out);
}

static struct value removed(struct run *r, struct value s, struct value part, bool prefix) {
    struct str t = s.u.s, x;
    if (!want_str(r, part, &x) || x.n == 0) return s;
    if (prefix && str_starts(t, x)) return v_str(str_from(t, x.n));
    if (!prefix && str_ends(t, x)) t.n -= x.n;
    return v_str(t);
}

static struct value s_removeprefix(struct run *r, struct value s, const struct value *p) {
    return removed(r, s, p[0], true);
}
static struct value s_removesuffix(struct run *r, struct value s, const struct value *p) {
    return removed(r, s, p[0], false);
}

/* how: '<' '>' '^' */
static struct value pad(struct run *r, struct value s, const struct value *p, char how) {
    int64_t width = int_or(r, p[0], 0), n = (int64_t)str_chars(s.u.s), left = 0;
    struct str fill = STR_LIT(" ");
    if (given(p[1]) && (!want_str(r, p[1], &fill) || str_chars(fill) != 1))
        return run_fail(r, "The fill character must be exactly one character long");
    if (width <= n) return s;
    if (width > (int64_t)RUN_BYTES / 16) return run_fail(r, "a padded string is too long");
    if (how == '>') left = width - n;
    if (how == '^') left = (width - n) / 2 + ((width - n) & width & 1);
    struct buf out;
    run_buf(r, &out);
    for (int64_t i = 0; i < left; i++) buf_str(&out, fill);
    buf_str(&out, s.u.s);
    for (int64_t i = left + n; i < width; i++) buf_str(&out, fill);
    return v_take(r, &out);
}

static struct value s_center(struct run *r, struct value s, const struct value *p) {
    return pad(r, s, p, '^');
}
static struct value s_ljust(struct run *r, struct value s, const struct value *p) {
    return pad(r, s, p, '<');
}
static struct value s_rjust(struct run *r, struct value s, const struct value *p) {
    return pad(r, s, p, '>');
}

static struct value s_zfill(struct run *r, struct value s, const struct value *p) {
    struct str digits = s.u.s;
    bool sign = digits.n && (digits.p[0] == '-' || digits.p[0] == '+');
    int64_t width = int_or(r, p[0], 0), n = (int64_t)str_chars(digits);
    if (width <= n) return s;
    if (width > (int64_t)RUN_BYTES / 16) return run_fail(r, "a padded string is too long");
    struct buf out;
    run_buf(r, &out);
    if (sign) buf_byte(&out, digits.p[0]);
    for (int64_t i = n; i < width; i++) buf_byte(&out, '0');
    buf_str(&out, str_from(digits, sign));
    return v_take(r, &out);
}

/* --- kinds of characters
 * -------------------------------------------------------------------------- */

static bool is_alpha(unsigned cp) {
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

static bool is_decimal(unsigned cp) {
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND;
}
static bool is_digit(unsigned cp) {
    return is_decimal(cp) || cp == 0xB2 || cp == 0xB3 || cp == 0xB9;
}

static bool is_numeric(unsigned cp) {
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

static bool is_alnum(unsigned cp) { return is_alpha(cp) || is_numeric(cp); }
static bool is_ascii(unsigned cp) { return cp < 0x80; }

static struct value all(struct run *r, struct str s, bool (*is)(unsigned), bool when_empty) {
    unsigned cp;
    run_spend(r, s.n / 16);
    if (!s.n) return v_bool(when_empty);
    for (size_t n; s.n && (n = utf8_get(s, &cp)) > 0; s = str_from(s, n))
        if (!is(cp)) return v_bool(false);
    return v_bool(true);
}

#define CHARACTERS(name, test, empty)                                                              \
    static struct value name(struct run *r, struct value s, const struct value *p) {               \
        (void)p;                                                                                   \
        return all(r, s.u.s, test, empty);                                                         \
    }
CHARACTERS(s_isspace, cp_is_space, false)
CHARACTERS(s_isalpha, is_alpha, false)
CHARACTERS(s_isdecimal, is_decimal, false)
CHARACTERS(s_isdigit, is_digit, false)
CHARACTERS(s_isnumeric, is_numeric, false)
CHARACTERS(s_isalnum, is_alnum, false)
CHARACTERS(s_isascii, is_ascii, true)

static struct value s_isupper(struct run *r, struct value s, const struct value *p) {
    (void)p;
    return v_bool(str_is_case(r, s.u.s, true));
}
static struct value s_islower(struct run *r, struct value s, const struct value *p) {
    (void)p;
    return v_bool(str_is_case(r, s.u.s, false));
}

/* --- dictionaries and lists
 * ----------------------------------------------------------------------- */

static struct value view(struct run *r, const struct value *items, size_t n, const char *kind) {
    struct value v = v_seq(r, V_VIEW, n);
    for (size_t i = 0; i < n; i++) seq_add(r, v, items[i]);
    v.u.seq->kind = kind;
    return v;
}

static struct value d_keys(struct run *r, struct value d, const struct value *p) {
    (void)p;
    return view(r, d.u.dict->keys, d.u.dict->n, "dict_keys");
}

static struct value d_values(struct run *r, struct value d, const struct value *p) {
    (void)p;
    return view(r, d.u.dict->values, d.u.dict->n, "dict_values");
}

static struct value d_items(struct run *r, struct value d, const struct value *p) {
    (void)p;
    struct value v = v_seq(r, V_VIEW, d.u.dict->n);
    v.u.seq->kind = "dict_items";
    for (size_t i = 0; i < d.u.dict->n && !run_failed(r); i++) {
        struct value pair = v_seq(r, V_TUPLE, 2);
        seq_add(r, pair, d.u.dict->keys[i]);
        seq_add(r, pair, d.u.dict->values[i]);
        seq_add(r, v, pair);
    }
    return v;
}

static struct value d_get(struct run *r, struct value d, const struct value *p) {
    struct value found;
    if (p[0].type == V_MISSING) return run_fail(r, "get expected at least 1 argument, got 0");
    if (dict_get(r, d, p[0], &found)) return found;
    return p[1].type == V_MISSING ? v_none() : p[1];
}

static struct value same(struct run *r, struct value v, const struct value *p) {
    (void)r;
    (void)p;
    return v;
}

static struct value l_count(struct run *r, struct value l, const struct value *p) {
    int64_t n = 0;
    for (size_t i = 0; i < l.u.seq->n && run_spend(r, 1); i++) n += v_equal(r, l.u.seq->v[i], p[0]);
    return v_int(n);
}

static struct value l_index(struct run *r, struct value l, const struct value *p) {
    for (size_t i = 0; i < l.u.seq->n && run_spend(r, 1); i++)
        if (v_equal(r, l.u.seq->v[i], p[0])) return v_int((int64_t)i);
    struct buf text;
    buf_init(&text, 200);
    v_repr(r, p[0], &text);
    struct value v = run_fail(r, "%s is not in %s", text.p ? text.p : "?", v_type_name(l));
    buf_release(&text);
    return v;
}

static struct value f_is_integer(struct run *r, struct value f, const struct value *p) {
    (void)r;
    (void)p;
    return v_bool(f.u.f == (double)(int64_t)(f.u.f > -9e18 && f.u.f < 9e18 ? f.u.f : 0.5));
}

/* --- the tables
 * ----------------------------------------------------------------------------------- */

static const struct method_def methods[] = {
    {V_STR, "strip", "chars", s_strip, NULL},
    {V_STR, "lstrip", "chars", s_lstrip, NULL},
    {V_STR, "rstrip", "chars", s_rstrip, NULL},
    {V_STR, "split", "sep,maxsplit", s_split, NULL},
    {V_STR, "rsplit", "sep,maxsplit", s_rsplit, NULL},
    {V_STR, "partition", "sep", s_partition, NULL},
    {V_STR, "rpartition", "sep", s_rpartition, NULL},
    {V_STR, "splitlines", "keepends", s_splitlines, NULL},
    {V_STR, "startswith", "prefix,start,end", s_startswith, NULL},
    {V_STR, "endswith", "suffix,start,end", s_endswith, NULL},
    {V_STR, "find", "sub,start,end", s_find, NULL},
    {V_STR, "rfind", "sub,start,end", s_rfind, NULL},
    {V_STR, "index", "sub,start,end", s_index, NULL},
    {V_STR, "rindex", "sub,start,end", s_rindex, NULL},
    {V_STR, "count", "sub,start,end", s_count, NULL},
    {V_STR, "replace", "old,new,count", s_replace, NULL},
    {V_STR, "upper", "", s_upper, NULL},
    {V_STR, "lower", "", s_lower, NULL},
    {V_STR, "casefold", "", s_lower, NULL},
    {V_STR, "title", "", s_title, NULL},
    {V_STR, "capitalize", "", s_capitalize, NULL},
    {V_STR, "swapcase", "", s_swapcase, NULL},
    {V_STR, "join", "iterable", s_join, NULL},
    {V_STR, "removeprefix", "prefix", s_removeprefix, NULL},
    {V_STR, "removesuffix", "suffix", s_removesuffix, NULL},
    {V_STR, "center", "width,fillchar", s_center, NULL},
    {V_STR, "ljust", "width,fillchar", s_ljust, NULL},
    {V_STR, "rjust", "width,fillchar", s_rjust, NULL},
    {V_STR, "zfill", "width", s_zfill, NULL},
    {V_STR, "isspace", "", s_isspace, NULL},
    {V_STR, "isalpha", "", s_isalpha, NULL},
    {V_STR, "isalnum", "", s_isalnum, NULL},
    {V_STR, "isdigit", "", s_isdigit, NULL},
    {V_STR, "isdecimal", "", s_isdecimal, NULL},
    {V_STR, "isnumeric", "", s_isnumeric, NULL},
    {V_STR, "isascii", "", s_isascii, NULL},
    {V_STR, "isupper", "", s_isupper, NULL},
    {V_STR, "islower", "", s_islower, NULL},
    {V_STR, "format", NULL, NULL, str_format},
    {V_DICT, "keys", "", d_keys, NULL},
    {V_DICT, "values", "", d_values, NULL},
    {V_DICT, "items", "", d_items, NULL},
    {V_DICT, "get", "key,default", d_get, NULL},
    {V_DICT, "copy", "", same, NULL},
    {V_LIST, "count", "value", l_count, NULL},
    {V_LIST, "index", "value", l_index, NULL},
    {V_LIST, "copy", "", same, NULL},
    {V_TUPLE, "count", "value", l_count, NULL},
    {V_TUPLE, "index", "value", l_index, NULL},
    {V_FLOAT, "is_integer", "", f_is_integer, NULL},
};

static const struct {
    enum value_type of;
    const char *name;
} forbidden[] = {
    {V_LIST, "append"}, {V_LIST, "clear"}, {V_LIST, "pop"},     {V_LIST, "reverse"},
    {V_LIST, "insert"}, {V_LIST, "sort"},  {V_LIST, "extend"},  {V_LIST, "remove"},
    {V_DICT, "clear"},  {V_DICT, "pop"},   {V_DICT, "popitem"}, {V_DICT, "setdefault"},
    {V_DICT, "update"},
};

const struct method_def *method_find(struct value self, struct str name, bool *ret_unsafe) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].of == self.type && str_is(name, methods[i].name)) return &methods[i];
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        if (forbidden[i].of == self.type && str_is(name, forbidden[i].name)) *ret_unsafe = true;
    if (name.n > 4 && str_starts(name, STR_LIT("__")) && str_ends(name, STR_LIT("__")))
        *ret_unsafe = true;
    return NULL;
}

struct str method_name(const struct method_def *def) {
    return str_of(def->name);
}

struct value method_call(struct run *r, const struct method *m, const struct args *a) {
    struct value p[PARAMS_MAX];
    run_spend_text(r, m->self, a);
    if (m->def->call_raw) return m->def->call_raw(r, m->self.u.s, a);
    if (!args_bind(r, m->def->name, m->def->params, a, p)) return v_none();
    return m->def->call(r, m->self, p);
}
