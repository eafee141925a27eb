/* The plain graders of text. */
#include "eval/score_text.h"

#include "base/buf.h"
#include "base/mem.h"
#include "eval/word_pair.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <utf8proc.h>

#define NUMBER_MAX 400
#define MATCH_LIMIT 1000000
#define HEAP_LIMIT_KIB 65536

struct str text_trimmed(struct str s) {
    while (s.n && strchr(" \t\r\n\f\v", s.p[0])) s = str_from(s, 1);
    while (s.n && strchr(" \t\r\n\f\v", s.p[s.n - 1])) s.n--;
    return s;
}

bool text_exact(struct str a, struct str b) { return str_eq(text_trimmed(a), text_trimmed(b)); }

int text_normalized(struct str a, struct str b, bool *ret, struct err *err) {
    struct word_pair w;
    int rc = word_pair_make(a, b, WORDS_PLAIN, &w, err);
    if (rc) return rc;
    bool equal = w.n[0] == w.n[1];
    for (int64_t i = 0; equal && i < w.n[0]; i++) equal = w.ids[0][i] == w.ids[1][i];
    *ret = equal;
    word_pair_release(&w);
    return 0;
}

bool text_contains(struct str text, struct str part) {
    return part.n == 0 || memmem(text.p, text.n, part.p, part.n);
}

static int folded(struct str s, utf8proc_uint8_t **ret, struct err *err) {
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, ret, UTF8PROC_CASEFOLD);
    if (n < 0) return err_set(err, ERR_INVALID, "a text is not UTF-8");
    return 0;
}

int text_contains_folded(struct str text, struct str part, bool *ret, struct err *err) {
    utf8proc_uint8_t *a = NULL, *b = NULL;
    int rc = folded(text, &a, err);
    if (!rc) rc = folded(part, &b, err);
    if (!rc) *ret = strstr((char *)a, (char *)b) != NULL;
    free(a);
    free(b);
    return rc;
}

/* --- numbers --- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* the number at the beginning of s, its length or 0 */
static size_t number_at(struct str s, double *ret) {
    char text[NUMBER_MAX];
    size_t i = 0, n = 0;
    bool digits = false;
    if (i < s.n && (s.p[i] == '-' || s.p[i] == '+')) text[n++] = s.p[i++];
    for (; i < s.n && n < NUMBER_MAX - 8; i++) {
        bool thousands = s.p[i] == ',' && digits && i + 3 < s.n && is_digit(s.p[i + 1]) &&
                         is_digit(s.p[i + 2]) && is_digit(s.p[i + 3]) &&
                         !(i + 4 < s.n && is_digit(s.p[i + 4]));
        if (thousands) continue;
        if (!is_digit(s.p[i])) break;
        digits = true;
        text[n++] = s.p[i];
    }
    if (i + 1 < s.n && s.p[i] == '.' && is_digit(s.p[i + 1]))
        for (text[n++] = s.p[i++]; i < s.n && n < NUMBER_MAX - 8 && is_digit(s.p[i]);)
            digits = true, text[n++] = s.p[i++];
    if (!digits) return 0;
    size_t e = i + 1 + (i + 1 < s.n && (s.p[i + 1] == '-' || s.p[i + 1] == '+'));
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E') && e < s.n && is_digit(s.p[e]))
        while (i < s.n && n < NUMBER_MAX - 1 && (i < e || is_digit(s.p[i]))) text[n++] = s.p[i++];
    text[n] = 0;
    *ret = strtod(text, NULL); /* the program never leaves the C locale */
    return i;
}

bool text_number(struct str s, bool last, double *ret) {
    bool found = false;
    s = text_trimmed(s);
    if (!last) {
        bool minus = s.n > 1 && s.p[0] == '-' && s.p[1] == '$';
        if (minus || (s.n && s.p[0] == '$')) s = str_from(s, minus ? 2 : 1);
        size_t n = number_at(s, ret);
        if (n && minus) *ret = -*ret;
        s = str_from(s, n);
        return n && (s.n == 0 || str_is(s, "%") || str_is(s, " %") || str_is(s, "."));
    }
    for (size_t i = 0; i < s.n;) {
        double x;
        bool in_word = i > 0 && (is_digit(s.p[i - 1]) || s.p[i - 1] == '.') && s.p[i] == '-';
        size_t n = in_word ? 0 : number_at(str_from(s, i), &x);
        if (n) *ret = x;
        found = found || n;
        i += n ? n : 1;
    }
    return found;
}

/* --- sets --- */

static int by_bytes(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct parts {
    utf8proc_uint8_t *text;
    struct str *list;
    size_t count, cap;
};

static int parts_of(struct str s, struct parts *p, struct err *err) {
    int rc = folded(s, &p->text, err);
    if (rc) return rc;
    struct str rest = str_of((char *)p->text);
    while (rest.n) {
        size_t n = 0;
        while (n < rest.n && !strchr(",;\n", rest.p[n])) n++;
        struct str part = text_trimmed((struct str){rest.p, n});
        rest = str_from(rest, n + 1);
        if (!part.n) continue;
        mem_grow((void **)&p->list, &p->cap, p->count + 1, sizeof *p->list);
        p->list[p->count++] = part;
    }
    if (p->count) qsort(p->list, p->count, sizeof *p->list, by_bytes);
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++)
        if (i == 0 || !str_eq(p->list[i], p->list[kept - 1])) p->list[kept++] = p->list[i];
    p->count = kept;
    return 0;
}

int text_set_f1(struct str a, struct str b, double *ret, struct err *err) {
    struct parts x = {0}, y = {0};
    size_t both = 0;
    int rc = parts_of(a, &x, err);
    if (!rc) rc = parts_of(b, &y, err);
    for (size_t i = 0, j = 0; !rc && i < x.count && j < y.count;) {
        int c = str_cmp(x.list[i], y.list[j]);
        both += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    if (!rc) *ret = x.count + y.count ? 2 * (double)both / (double)(x.count + y.count) : 1;
    free(x.text);
    free(y.text);
    mem_free(x.list);
    mem_free(y.list);
    return rc;
}

int text_edit_similarity(struct str a, struct str b, double *ret, struct err *err) {
    struct word_pair w;
    int64_t edits = 0;
    int rc = word_pair_make(a, b, WORDS_CHARACTERS, &w, err);
    if (rc) return rc;
    rc = word_pair_edits(&w, &edits, err);
    int64_t longer = w.n[0] > w.n[1] ? w.n[0] : w.n[1];
    if (!rc) *ret = longer ? 1 - (double)edits / (double)longer : 1;
    word_pair_release(&w);
    return rc;
}

/* --- regular expressions --- */

int text_regex(struct str pattern, struct str text, bool *ret, struct err *err) {
    int code = 0, rc = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *re =
        pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    if (!re) {
        char why[120];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return err_set(err, ERR_INVALID, "pattern \"%.*s\": at %zu: %s",
                       pattern.n > 100 ? 100 : (int)pattern.n, pattern.p, at, why);
    }
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(re, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(context, MATCH_LIMIT);
    pcre2_set_heap_limit(context, HEAP_LIMIT_KIB);
    int found = pcre2_match(re, (PCRE2_SPTR)text.p, text.n, 0, 0, data, context);
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
        char why[120];
        pcre2_get_error_message(found, (PCRE2_UCHAR *)why, sizeof why);
        rc = err_set(err, ERR_LIMIT, "pattern \"%.*s\": %s", pattern.n > 100 ? 100 : (int)pattern.n,
                     pattern.p, why);
    }
    *ret = found >= 0;
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    pcre2_code_free(re);
    return rc;
}
