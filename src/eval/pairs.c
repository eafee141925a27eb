/* Lines of scores, compared. A round of lines is parsed and compared on the pool, each line alone,
 * and written in order: the same bytes at any number of threads. */
#include "eval/pairs.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

#define ROUND 64                      /* lines in work at a time */
#define CASES_MAX ((size_t)100 << 20) /* of one line */
#define RESULT_MAX ((size_t)1 << 20)

json_t *json_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static int scores_read(const json_t *o, const char *key, const char *where, double **ret,
                       size_t *ret_n, struct err *err) {
    const json_t *list = json_object_get(o, key);
    if (!json_is_array(list))
        return err_set(err, ERR_INVALID, "%s: \"%s\" must be an array of scores", where, key);
    size_t n = json_array_size(list);
    if (n > CASES_MAX) return err_set(err, ERR_LIMIT, "%s: too many cases", where);
    int rc = mem_try(n + 1, sizeof **ret, "scores", (void **)ret, err);
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *x = json_array_get(list, i);
        if (json_is_null(x))
            (*ret)[i] = NAN;
        else if (json_is_boolean(x))
            (*ret)[i] = json_is_true(x);
        else if (json_is_number(x))
            (*ret)[i] = json_number_value(x);
        else
            rc = err_set(err, ERR_INVALID,
                         "%s: %s[%zu] is no score; use a number, true, false or null (missing)",
                         where, key, i);
    }
    *ret_n = n;
    return rc;
}

/* numbers for the clusters' names, in order of appearance */
static int clusters_read(const json_t *o, const char *where, size_t n, int64_t **ret,
                         struct err *err) {
    const json_t *list = json_object_get(o, "cluster");
    if (!list || json_is_null(list)) return 0;
    if (!json_is_array(list) || json_array_size(list) != n)
        return err_set(err, ERR_INVALID, "%s: \"cluster\" must be an array as long as \"a\" (%zu)",
                       where, n);
    json_t *known = json_object();
    int64_t next = 0;
    int rc = mem_try(n + 1, sizeof **ret, "clusters", (void **)ret, err);
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *c = json_array_get(list, i);
        char number[64];
        struct str name = {number, 0};
        if (json_is_string(c))
            name = json_str(c);
        else if (json_is_integer(c))
            name.n =
                (size_t)snprintf(number, sizeof number, "\n%lld", (long long)json_integer_value(c));
        else if (json_is_real(c))
            name.n = (size_t)snprintf(number, sizeof number, "\n%.17g", json_real_value(c));
        else if (!json_is_null(c))
            rc = err_set(err, ERR_INVALID, "%s: cluster[%zu] is neither a string nor a number",
                         where, i);
        const json_t *seen = json_is_null(c) ? NULL : json_object_getn(known, name.p, name.n);
        (*ret)[i] = seen ? json_integer_value(seen) : next++;
        if (!seen && !json_is_null(c) && !rc)
            json_object_setn_new(known, name.p, name.n, json_integer(next - 1));
    }
    json_decref(known);
    return rc;
}

int pairs_line_read(struct str text, const char *where, struct pairs_line *ret, struct err *err) {
    struct pairs_line p = {0};
    json_t *o = NULL;
    size_t n = 0, nb = 0;
    int rc = json_read(text, where, &o, err);
    if (!rc && !json_is_object(o))
        rc = err_set(err, ERR_INVALID, "%s: must be an object with \"a\" and \"b\"", where);
    if (!rc) rc = scores_read(o, "a", where, &p.a, &n, err);
    if (!rc) rc = scores_read(o, "b", where, &p.b, &nb, err);
    if (!rc && n != nb)
        rc = err_set(err, ERR_INVALID,
                     "%s: \"a\" has %zu scores and \"b\" %zu; they must be of the same cases",
                     where, n, nb);
    if (!rc) rc = clusters_read(o, where, n, &p.cluster, err);
    if (!rc) p.id = json_incref(json_object_get(o, "id"));
    p.n = (int64_t)n;
    json_decref(o);
    if (rc)
        pairs_line_release(&p);
    else
        *ret = p;
    return rc;
}

void pairs_line_release(struct pairs_line *p) {
    json_decref(p->id);
    mem_free(p->a);
    mem_free(p->b);
    mem_free(p->cluster);
    *p = (struct pairs_line){0};
}

/* --- many --- */

struct item {
    struct str text;
    int64_t line;
    struct buf result;
    int rc;
    struct err err;
};
struct round {
    const struct pairs_job *job;
    struct item items[ROUND];
};

static int line_compare(const struct pairs_job *job, struct item *item) {
    struct pairs_line p = {0};
    struct comparison c;
    char where[400];
    snprintf(where, sizeof where, "%.300s: line %lld", job->path, (long long)item->line);
    int rc = pairs_line_read(item->text, where, &p, &item->err);
    if (rc) return rc;
    rc = compare_paired(&(struct paired){p.a, p.b, p.cluster, p.n}, &job->options, &c, &item->err);
    if (rc) {
        err_wrap(&item->err, "%s", where);
    } else {
        json_t *o = json_pack("{s:o,s:I,s:o,s:o,s:o,s:o,s:s}", "id",
                              p.id ? json_incref(p.id) : json_integer(item->line), "n",
                              (json_int_t)c.n, "difference", json_number(c.difference), "low",
                              json_number(c.low), "high", json_number(c.high), "p",
                              json_number(c.p), "verdict", verdict_name(c.verdict));
        json_write(o, &item->result);
        json_decref(o);
        buf_byte(&item->result, '\n');
    }
    pairs_line_release(&p);
    return rc;
}

static void item_run(void *ctx, int64_t i) {
    struct round *r = ctx;
    r->items[i].rc = line_compare(r->job, &r->items[i]);
}

/* the next line that is not blank; false at the end */
static bool next_line(struct str *rest, int64_t *line, struct str *ret) {
    while (rest->n) {
        const char *end = memchr(rest->p, '\n', rest->n);
        struct str s = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
        *rest = str_from(*rest, s.n + (end != NULL));
        ++*line;
        for (size_t i = 0; i < s.n; i++) {
            if (strchr(" \t\r", s.p[i])) continue;
            *ret = s;
            return true;
        }
    }
    return false;
}

int pairs_run(const struct pairs_job *job, struct err *err) {
    struct round *r = mem_zalloc(1, sizeof *r);
    struct str rest = job->text;
    int64_t line = 0, count = ROUND;
    int rc = 0;
    r->job = job;
    for (int i = 0; i < ROUND; i++) buf_init(&r->items[i].result, RESULT_MAX);
    while (!rc && count == ROUND) {
        struct str s;
        for (count = 0; count < ROUND && next_line(&rest, &line, &s); count++) {
            buf_clear(&r->items[count].result);
            r->items[count].text = s;
            r->items[count].line = line;
        }
        pool_run(job->pool, count, item_run, r);
        for (int64_t i = 0; !rc && i < count; i++) {
            rc = r->items[i].rc;
            if (rc)
                *err = r->items[i].err;
            else
                rc = job->out(job->ctx, buf_view(&r->items[i].result), err);
        }
    }
    for (int i = 0; i < ROUND; i++) buf_release(&r->items[i].result);
    mem_free(r);
    return rc;
}
