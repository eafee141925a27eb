/* Fields of JSON: an object as the list of its leaves. */
#include "eval/score_json.h"

#include "base/mem.h"

#include <stdlib.h>

#define DEPTH_MAX 64 /* deeper values are leaves as they stand */
#define LEAVES_MAX ((size_t)64 << 20)

bool json_is_valid(struct str text) {
    struct err err;
    json_t *v = NULL;
    if (json_read(text, "answer", &v, &err)) return false;
    json_decref(v);
    return true;
}

/* numbers by value: 1 and 1.0 are the same */
static bool equal(const json_t *a, const json_t *b, int depth) {
    const char *key;
    size_t length;
    json_t *x;
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b)
                   ? json_integer_value(a) == json_integer_value(b)
                   : json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b) || depth == 0) return json_equal(a, b);
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b)) return false;
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!equal(json_array_get(a, i), json_array_get(b, i), depth - 1)) return false;
        return true;
    }
    if (!json_is_object(a)) return json_equal(a, b);
    if (json_object_size(a) != json_object_size(b)) return false;
    json_object_keylen_foreach((json_t *)a, key, length, x) {
        const json_t *y = json_object_getn(b, key, length);
        if (!y || !equal(x, y, depth - 1)) return false;
    }
    return true;
}

bool json_texts_equal(struct str a, struct str b) {
    struct err err;
    json_t *x = NULL, *y = NULL;
    bool same = !json_read(a, "answer", &x, &err) && !json_read(b, "reference", &y, &err) &&
                equal(x, y, DEPTH_MAX);
    json_decref(x);
    json_decref(y);
    return same;
}

/* --- leaves --- */

struct leaves {
    struct buf text; /* each: path, line end, value */
    size_t *start, count, cap;
    struct str *list;
};

static void leaf_add(struct leaves *l, struct str path, const json_t *v) {
    mem_grow((void **)&l->start, &l->cap, l->count + 1, sizeof *l->start);
    l->start[l->count++] = l->text.n;
    buf_str(&l->text, path);
    buf_byte(&l->text, '\n');
    double x = json_number_value(v);
    if (json_is_real(v) && x > -1e15 && x < 1e15 && x == (double)(int64_t)x)
        buf_printf(&l->text, "%lld", (long long)x); /* 1.0 is 1 */
    else
        json_write(v, &l->text);
}

static void leaves_walk(struct leaves *l, struct buf *path, const json_t *v, int depth) {
    const char *key;
    size_t length, n = path->n;
    json_t *x;
    bool inner =
        (json_is_object(v) && json_object_size(v)) || (json_is_array(v) && json_array_size(v));
    if (!inner || depth == 0) {
        leaf_add(l, buf_view(path), v);
        return;
    }
    if (json_is_array(v)) {
        buf_z(path, "[]");
        for (size_t i = 0; i < json_array_size(v); i++)
            leaves_walk(l, path, json_array_get(v, i), depth - 1);
    } else {
        json_object_keylen_foreach((json_t *)v, key, length, x) {
            path->n = n;
            buf_byte(path, '.');
            json_write_str(path, (struct str){key, length});
            leaves_walk(l, path, x, depth - 1);
        }
    }
    path->n = n;
}

static int by_bytes(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void leaves_of(const json_t *v, struct leaves *l) {
    struct buf path;
    *l = (struct leaves){0};
    buf_init(&l->text, LEAVES_MAX);
    buf_init(&path, LEAVES_MAX);
    leaves_walk(l, &path, v, DEPTH_MAX);
    buf_release(&path);
    l->list = mem_zalloc(l->count + 1, sizeof *l->list);
    for (size_t i = 0; i < l->count; i++) {
        size_t end = i + 1 < l->count ? l->start[i + 1] : l->text.n;
        l->list[i] = (struct str){l->text.p + l->start[i], end - l->start[i]};
    }
    qsort(l->list, l->count, sizeof *l->list, by_bytes);
}

static void leaves_release(struct leaves *l) {
    buf_release(&l->text);
    mem_free(l->start);
    mem_free(l->list);
}

int json_fields_f1(struct str answer, struct str reference, double *ret, struct err *err) {
    struct err no;
    json_t *a = NULL, *b = NULL;
    struct leaves x, y;
    size_t both = 0;
    int rc = json_read(reference, "reference", &b, err);
    if (rc) return rc;
    if (json_read(answer, "answer", &a, &no)) {
        json_decref(b);
        *ret = 0;
        return 0;
    }
    leaves_of(a, &x);
    leaves_of(b, &y);
    for (size_t i = 0, j = 0; i < x.count && j < y.count;) {
        int c = str_cmp(x.list[i], y.list[j]);
        both += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    *ret = 2 * (double)both / (double)(x.count + y.count);
    if (!buf_ok(&x.text) || !buf_ok(&y.text))
        rc = err_set(err, ERR_LIMIT, "an answer has too many fields to compare");
    leaves_release(&x);
    leaves_release(&y);
    json_decref(a);
    json_decref(b);
    return rc;
}
