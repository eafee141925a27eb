#include "api/url.h"

void url_split(struct str target, struct str *ret_path, struct str *ret_query) {
    const char *end = target.n ? memchr(target.p, '#', target.n) : NULL;
    if (end) target.n = (size_t)(end - target.p);
    const char *q = target.n ? memchr(target.p, '?', target.n) : NULL;
    *ret_path = (struct str){target.p, q ? (size_t)(q - target.p) : target.n};
    *ret_query = q ? str_from(target, ret_path->n + 1) : STR_LIT("");
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct str url_decode(struct arena *a, struct str raw, bool plus) {
    char *out = arena_alloc(a, raw.n + 1);
    if (!out) return STR_LIT("");
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        int high = c == '%' && i + 2 < raw.n ? hex(raw.p[i + 1]) : -1;
        int low = high >= 0 ? hex(raw.p[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[n++] = c;
    }
    return (struct str){out, n};
}

/* cuts the part before `sep` off *rest */
static struct str cut(struct str *rest, char sep) {
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    struct str part = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
    *rest = str_from(*rest, part.n + (at != NULL));
    return part;
}

int url_query(struct arena *a, struct str raw, const struct http_pair **ret, size_t *ret_count,
              struct err *err) {
    struct http_pair list[URL_QUERY_MAX];
    size_t n = 0;
    while (raw.n) {
        struct str value = cut(&raw, '&');
        if (!value.n) continue;
        if (n == URL_QUERY_MAX)
            return err_set(err, ERR_INVALID, "the URL has more than %d query parameters",
                           URL_QUERY_MAX);
        struct str name = cut(&value, '=');
        list[n++] = (struct http_pair){url_decode(a, name, true), url_decode(a, value, true)};
    }
    struct http_pair *copy = arena_array(a, n + 1, sizeof *copy);
    if (!copy) return err_set(err, ERR_LIMIT, "the URL is too long");
    memcpy(copy, list, n * sizeof *copy);
    *ret = copy;
    *ret_count = n;
    return 0;
}

struct str url_versioned(struct arena *a, struct str path) {
    if (!str_starts(path, STR_LIT("/v1")) || path.n == 3 || path.p[3] == '/') return path;
    char *out = arena_alloc(a, path.n + 1);
    if (!out) return path;
    memcpy(out, "/v1/", 4);
    memcpy(out + 4, path.p + 3, path.n - 3);
    return (struct str){out, path.n + 1};
}

bool url_match(struct arena *a, const char *pattern, struct str path,
               struct str param[HTTP_PARAMS_MAX]) {
    struct str want = str_of(pattern);
    size_t count = 0;
    for (;;) {
        while (want.n && want.p[0] == '/') want = str_from(want, 1);
        while (path.n && path.p[0] == '/') path = str_from(path, 1);
        if (!want.n || !path.n) return !want.n && !path.n;
        struct str expected = cut(&want, '/');
        bool is_param = expected.p[0] == '{';
        if (is_param && count == HTTP_PARAMS_MAX) return false;
        if (is_param && str_ends(expected, STR_LIT("*}"))) {
            param[count] = url_decode(a, path, false);
            return true;
        }
        struct str part = cut(&path, '/');
        if (is_param)
            param[count++] = url_decode(a, part, false);
        else if (!str_eq(expected, part))
            return false;
    }
}
