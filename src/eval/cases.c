/* JSONL of cases and of answers, joined by id. */
#include "eval/cases.h"

#include "base/file.h"
#include "base/mem.h"
#include "data/conversation.h"

#include <stdio.h>
#include <string.h>

#define PLACE_MAX 400

/* --- lines --- */

struct lines {
    struct str rest;
    const char *path;
    int64_t line;
    char where[PLACE_MAX];
};

/* the next object; *ret NULL at the end */
static int line_next(struct lines *l, json_t **ret, struct err *err) {
    *ret = NULL;
    while (l->rest.n) {
        const char *end = memchr(l->rest.p, '\n', l->rest.n);
        struct str s = {l->rest.p, end ? (size_t)(end - l->rest.p) : l->rest.n};
        size_t blank = 0;
        l->rest = str_from(l->rest, s.n + (end != NULL));
        l->line++;
        if (l->line == 1 && str_starts(s, STR_LIT("\xef\xbb\xbf"))) s = str_from(s, 3);
        while (blank < s.n && strchr(" \t\r", s.p[blank])) blank++;
        if (blank == s.n) continue;
        snprintf(l->where, sizeof l->where, "%.300s: line %lld", l->path, (long long)l->line);
        int rc = json_read(s, l->where, ret, err);
        if (rc || json_is_object(*ret)) return rc;
        json_decref(*ret);
        *ret = NULL;
        return err_set(err, ERR_INVALID, "%s: must be a JSON object", l->where);
    }
    return 0;
}

/* an id may be a number; then it is its digits */
static int id_read(json_t *o, const char *where, struct err *err) {
    const json_t *id = json_object_get(o, "id");
    char digits[32];
    if (json_is_string(id) && json_string_length(id)) return 0;
    if (!json_is_integer(id))
        return err_set(err, ERR_INVALID, "%s: \"id\" must be a string or a whole number", where);
    snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(id));
    json_object_set_new(o, "id", json_string(digits));
    return 0;
}

static struct str id_of(const json_t *o) { return json_str(json_object_get(o, "id")); }

/* --- cases --- */

static int expected_read(json_t *row, const char *where, struct err *err) {
    const json_t *messages = json_object_get(row, "messages");
    json_t *expected = NULL;
    if (json_object_get(row, "expected")) return 0;
    for (size_t i = json_array_size(messages); i > 0 && !expected; i--) {
        const json_t *m = json_array_get(messages, i - 1);
        struct str role = json_str(json_object_get(m, "role"));
        if (!role.p || !str_is(role, "assistant")) continue;
        json_t *plain = conversation_message(m);
        expected = json_incref(json_object_get(plain, "content"));
        json_decref(plain);
    }
    if (!expected) expected = json_incref(json_object_get(row, "completion"));
    if (json_is_string(expected)) {
        json_object_set_new(row, "expected", expected);
        return 0;
    }
    json_decref(expected);
    return err_set(err, ERR_INVALID,
                   "%s: no expected answer; end \"messages\" with an assistant message, or give "
                   "\"completion\" or \"expected\"",
                   where);
}

/* A case without an id is called by its place, so that a plain file of rows will do. */
static int case_add(struct cases *c, size_t *cap, json_t *row, const char *where, struct err *err) {
    if (!json_object_get(row, "id")) json_object_set_new(row, "id", json_integer(c->n + 1));
    int rc = id_read(row, where, err);
    if (!rc) rc = expected_read(row, where, err);
    if (rc) return rc;
    struct str id = id_of(row);
    if (json_object_getn(c->index, id.p, id.n))
        return err_set(err, ERR_INVALID, "%s: the id \"%.*s\" was there before", where,
                       id.n > 60 ? 60 : (int)id.n, id.p);
    json_object_setn_new(c->index, id.p, id.n, json_integer(c->n));
    mem_grow((void **)&c->items, cap, (size_t)c->n + 1, sizeof *c->items);
    c->items[c->n++] = json_incref(row);
    return 0;
}

static int clusters_make(struct cases *c, const char *field, const char *where, struct err *err) {
    json_t *known = json_object();
    int64_t next = 0;
    bool any = false;
    int rc = mem_try((size_t)c->n + 1, sizeof *c->cluster, "clusters", (void **)&c->cluster, err);
    for (int64_t i = 0; !rc && i < c->n; i++) {
        const json_t *v = json_object_get(c->items[i], field);
        struct buf name;
        c->cluster[i] = next++;
        if (!v || json_is_null(v)) continue;
        any = true;
        buf_init(&name, (size_t)1 << 20);
        json_write(v, &name);
        const json_t *seen = json_object_getn(known, name.p, name.n);
        if (seen)
            c->cluster[i] = json_integer_value(seen);
        else
            json_object_setn_new(known, name.p, name.n, json_integer(c->cluster[i]));
        buf_release(&name);
    }
    json_decref(known);
    if (!rc && !any && c->n)
        rc = err_set(err, ERR_INVALID, "%s: no case has the field \"%s\" to cluster by", where,
                     field);
    return rc;
}

int cases_from_text(struct str text, const char *where, const char *cluster_field,
                    struct cases *ret, struct err *err) {
    struct cases c = {.index = json_object()};
    struct lines l = {.rest = text, .path = where};
    size_t cap = 0;
    json_t *row = NULL;
    int rc = line_next(&l, &row, err);
    while (!rc && row) {
        rc = case_add(&c, &cap, row, l.where, err);
        json_decref(row);
        row = NULL;
        if (!rc) rc = line_next(&l, &row, err);
    }
    if (!rc && !c.n) rc = err_set(err, ERR_INVALID, "%s: holds no cases", where);
    if (!rc) rc = mem_try((size_t)c.n, sizeof *c.ids, "cases", (void **)&c.ids, err);
    for (int64_t i = 0; !rc && i < c.n; i++) c.ids[i] = id_of(c.items[i]);
    if (!rc && cluster_field) rc = clusters_make(&c, cluster_field, where, err);
    if (rc)
        cases_release(&c);
    else
        *ret = c;
    return rc;
}

void cases_release(struct cases *c) {
    for (int64_t i = 0; i < c->n; i++) json_decref(c->items[i]);
    mem_free(c->items);
    mem_free(c->ids);
    mem_free(c->cluster);
    json_decref(c->index);
    *c = (struct cases){0};
}

int cases_read(const char *path, const char *cluster_field, struct cases *ret, struct err *err) {
    struct file_map map;
    int rc = file_map_open(path, &map, err);
    if (rc) return rc;
    rc = cases_from_text((struct str){(const char *)map.p, map.n}, path, cluster_field, ret, err);
    file_map_close(&map);
    return rc;
}

/* --- outputs --- */

static int output_add(struct outputs *o, const struct cases *cases, json_t *line, const char *where,
                      struct err *err) {
    int rc = id_read(line, where, err);
    if (rc) return rc;
    struct str id = id_of(line);
    const json_t *output = json_object_get(line, "output"), *score = json_object_get(line, "score");
    if (!output && !score)
        return err_set(err, ERR_INVALID, "%s: neither \"output\" nor \"score\"", where);
    if (output && !json_is_string(output) && !json_is_null(output))
        return err_set(err, ERR_INVALID, "%s: \"output\" must be a string, or null for missing",
                       where);
    if (score && !json_is_null(score) && !json_is_boolean(score) &&
        !(json_is_number(score) && json_number_value(score) >= 0 && json_number_value(score) <= 1))
        return err_set(err, ERR_INVALID,
                       "%s: \"score\" must be a number from 0 to 1, or null for missing", where);
    const json_t *at = json_object_getn(cases->index, id.p, id.n);
    if (!at) {
        if (!o->unknown++) snprintf(o->first_unknown, sizeof o->first_unknown, "%.*s", STR_ARG(id));
        return 0;
    }
    json_t **slot = &o->lines[json_integer_value(at)];
    if (*slot)
        return err_set(err, ERR_INVALID, "%s: the id \"%.*s\" was there before", where,
                       id.n > 60 ? 60 : (int)id.n, id.p);
    *slot = json_incref(line);
    return 0;
}

int outputs_from_text(struct str text, const char *where, const struct cases *cases,
                      struct outputs *ret, struct err *err) {
    struct outputs o = {0};
    struct lines l = {.rest = text, .path = where};
    json_t *line = NULL;
    int rc = mem_try((size_t)cases->n + 1, sizeof *o.lines, "outputs", (void **)&o.lines, err);
    if (!rc) rc = line_next(&l, &line, err);
    while (!rc && line) {
        rc = output_add(&o, cases, line, l.where, err);
        json_decref(line);
        line = NULL;
        if (!rc) rc = line_next(&l, &line, err);
    }
    if (rc)
        outputs_release(&o, cases);
    else
        *ret = o;
    return rc;
}

int outputs_read(const char *path, const struct cases *cases, struct outputs *ret,
                 struct err *err) {
    struct file_map map;
    int rc = file_map_open(path, &map, err);
    if (rc) return rc;
    rc = outputs_from_text((struct str){(const char *)map.p, map.n}, path, cases, ret, err);
    file_map_close(&map);
    return rc;
}

void outputs_release(struct outputs *o, const struct cases *cases) {
    for (int64_t i = 0; o->lines && i < cases->n; i++) json_decref(o->lines[i]);
    mem_free(o->lines);
    *o = (struct outputs){0};
}
