/* Templates of graders: a text with places to fill, no language. */
#include "eval/placeholder.h"

#include <string.h>

#define STEPS_MAX 64

static struct str trimmed(struct str s) {
    while (s.n && strchr(" \t\r\n", s.p[0])) s = str_from(s, 1);
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1])) s.n--;
    return s;
}

static int bad_path(struct str path, const char *why, struct err *err) {
    return err_set(err, ERR_INVALID, "{{%.*s}}: %s", path.n > 100 ? 100 : (int)path.n, path.p, why);
}

/* one step of a path: a name up to '.' or '[', or an index in brackets */
static int step_next(struct str path, struct str *rest, struct str *name, size_t *index,
                     struct err *err) {
    size_t i = 0;
    if (rest->p[0] == '[') {
        *index = 0;
        for (i = 1; i < rest->n && rest->p[i] >= '0' && rest->p[i] <= '9' && i < 10; i++)
            *index = *index * 10 + (size_t)(rest->p[i] - '0');
        if (i == 1 || i == rest->n || rest->p[i] != ']')
            return bad_path(path, "an index is a number in [ ]", err);
        *name = (struct str){0};
        *rest = str_from(*rest, i + 1);
        return 0;
    }
    if (rest->p[0] == '.') *rest = str_from(*rest, 1);
    while (i < rest->n && rest->p[i] != '.' && rest->p[i] != '[') i++;
    if (i == 0) return bad_path(path, "a name is missing", err);
    *name = (struct str){rest->p, i};
    *rest = str_from(*rest, i);
    return 0;
}

/* scope NULL: only the form */
static int path_find(struct str path, const struct placeholder_scope *scope, const json_t **ret,
                     struct err *err) {
    struct str rest = path, name = {0};
    size_t index = 0;
    const json_t *at = NULL;
    if (path.n == 0) return bad_path(path, "it is empty", err);
    int rc = step_next(path, &rest, &name, &index, err);
    if (rc) return rc;
    if (!str_is(name, "item") && !str_is(name, "sample"))
        return bad_path(path, "begin with item or sample", err);
    if (scope) at = str_is(name, "item") ? scope->item : scope->sample;
    for (int steps = 0; rest.n; steps++) {
        if (steps == STEPS_MAX) return bad_path(path, "it has too many steps", err);
        rc = step_next(path, &rest, &name, &index, err);
        if (rc) return rc;
        at = name.p ? json_object_getn(at, name.p, name.n) : json_array_get(at, index);
    }
    if (scope && !at) {
        bad_path(path, "there is no such value in this case", err);
        return err->code = ERR_NOT_FOUND;
    }
    *ret = at;
    return 0;
}

int placeholder_find(struct str path, const struct placeholder_scope *scope, const json_t **ret,
                     struct err *err) {
    return path_find(trimmed(path), scope, ret, err);
}

static void value_add(const json_t *v, struct buf *out) {
    if (json_is_string(v))
        buf_str(out, json_str(v));
    else
        json_write(v, out);
}

int placeholder_fill(struct str text, const struct placeholder_scope *scope, struct buf *out,
                     struct err *err) {
    while (text.n) {
        const char *open = memmem(text.p, text.n, "{{", 2);
        if (!open) break;
        struct str after = str_from(text, (size_t)(open - text.p) + 2);
        const char *close = memmem(after.p, after.n, "}}", 2);
        const json_t *value = NULL;
        if (!close) return err_set(err, ERR_INVALID, "\"{{\" without \"}}\"");
        if (out) buf_add(out, text.p, (size_t)(open - text.p));
        int rc = path_find(trimmed((struct str){after.p, (size_t)(close - after.p)}), scope, &value,
                           err);
        if (rc) return rc;
        if (out) value_add(value, out);
        text = str_from(after, (size_t)(close - after.p) + 2);
    }
    if (!out) return 0;
    buf_str(out, text);
    return buf_ok(out)
               ? 0
               : err_set(err, ERR_LIMIT, "a filled text is larger than %zu bytes", out->max);
}

int placeholder_check(struct str text, const char *where, struct err *err) {
    int rc = placeholder_fill(text, NULL, NULL, err);
    return rc ? err_wrap(err, "%s", where) : 0;
}
