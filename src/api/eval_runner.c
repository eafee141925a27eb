#include "api/eval_runner.h"

#include "api/eval_ask.h"
#include "api/eval_source.h"
#include "base/mem.h"
#include "data/schema.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define WORKERS 8
#define ITEM_MEMORY ((size_t)256 << 20)

struct criterion {
    struct grader *grader;
    const char *id, *type; /* in `criteria` */
};

struct run {
    struct api *api;
    const _Atomic int *stop;
    struct arena mem;
    struct eval eval;
    struct eval_run run;
    json_t *criteria;
    struct criterion *list;
    size_t count;
    struct schema *schema; /* of items; NULL: any */
    struct eval_rows rows;
    bool *done;           /* (rows.count) */
    pthread_mutex_t lock; /* what follows */
    int64_t next;
    bool over; /* canceled, deleted, or broken */
    struct err err;
    int rc; /* of what broke it */
};

static bool stopped(const struct run *r) { return r->stop && atomic_load(r->stop); }

/* --- one row --- */

/* What becomes of a row, in one thread. */
struct work {
    struct run *r;
    struct arena mem;
    struct eval_calls calls;
    struct eval_row row;
    json_t *results, *sample;
    json_t *scope; /* what templates see as sample, or NULL */
    struct eval_tally *tallies;
    size_t tally_count;
    bool failed, errored;
    struct err err; /* why it is no answer */
};

static int check_schema(const struct run *r, const json_t *item, struct err *err) {
    char why[SCHEMA_WHY_MAX];
    if (!r->schema || schema_check(r->schema, item, why) != SCHEMA_INVALID) return 0;
    return err_set(err, ERR_INVALID, "the item does not fit the eval's item_schema: %s", why);
}

/* an answer that the row brings; {"output_text"} may be all of it */
static void take_given(struct work *w) {
    struct str text = json_str(json_object_get(w->row.sample, "output_text"));
    w->scope = json_deep_copy(w->row.sample);
    if (text.p) {
        json_t *plain = grader_sample(text);
        json_object_update_missing(w->scope, plain);
        json_decref(plain);
    }
    w->sample = eval_sample_json(NULL, NULL, NULL);
    if (text.p)
        json_array_append_new(
            json_object_get(w->sample, "output"),
            json_pack("{s:s, s:s%}", "role", "assistant", "content", text.p, text.n));
}

static int take_answer(struct work *w, struct err *err) {
    json_t *request = NULL, *answer = NULL;
    int rc = eval_row_request(&w->r->rows, &w->row, w->r->run.model, &request, err);
    if (!rc && request) rc = eval_chat(&w->calls, request, &answer, err);
    if (!rc && (answer || w->row.answer)) {
        const json_t *got = answer ? answer : w->row.answer;
        w->sample = eval_sample_json(request ? request : w->row.request, got, NULL);
        w->scope = eval_sample_scope(got);
    } else if (!rc && w->row.sample) {
        take_given(w);
    } else {
        w->sample = eval_sample_json(request, NULL, rc ? err : NULL);
    }
    json_decref(request);
    json_decref(answer);
    return rc;
}

static void grade_by(struct work *w, size_t i) {
    const struct criterion *c = &w->r->list[i];
    struct grader_asking asking = {.ask = eval_grader_ask, .ctx = &w->calls};
    struct placeholder_scope scope = {w->row.item, w->scope};
    struct grade grade = {0};
    struct err err;
    int rc = grader_grade_asking(c->grader, &scope, &asking, &grade, &err);
    json_t *result = json_pack("{s:s, s:s, s:f, s:b, s:o}", "name", c->id, "type", c->type, "score",
                               grade.score, "passed", grade.passed, "sample",
                               w->calls.sample ? w->calls.sample : json_null());
    w->calls.sample = NULL;
    if (rc)
        json_object_set_new(result, "error", json_string(err.msg));
    else
        w->tallies[w->tally_count++] =
            (struct eval_tally){(int)i, c->id, grade.passed, !grade.passed};
    w->errored |= rc != 0;
    w->failed |= !grade.passed;
    json_array_append_new(w->results, result);
}

static void do_row(struct work *w, int64_t i) {
    struct run *r = w->r;
    w->results = json_array();
    w->tallies = mem_zalloc(r->count + 1, sizeof *w->tallies);
    int rc = eval_row_read(&r->rows, i, &w->mem, &w->row, &w->err);
    if (!rc) rc = check_schema(r, w->row.item, &w->err);
    if (!rc) rc = take_answer(w, &w->err);
    w->errored = rc != 0;
    if (!w->sample) w->sample = eval_sample_json(NULL, NULL, rc ? &w->err : NULL);
    for (size_t k = 0; !rc && k < r->count && !stopped(r); k++) grade_by(w, k);
}

static const char *text_of(struct arena *mem, const json_t *v) {
    struct buf b;
    buf_init(&b, ITEM_MEMORY);
    json_write(v, &b);
    const char *z = arena_strndup(mem, buf_view(&b).p, b.n);
    buf_release(&b);
    return z;
}

static int keep(struct work *w, int64_t i, struct err *err) {
    json_t *none = json_object();
    struct eval_output item = {.run = w->r->run.id,
                               .status = w->errored  ? "error"
                                         : w->failed ? "fail"
                                                     : "pass",
                               .item = text_of(&w->mem, w->row.item ? w->row.item : none),
                               .results = text_of(&w->mem, w->results),
                               .sample = text_of(&w->mem, w->sample),
                               .number = i};
    struct eval_counts counts = {w->tallies, w->tally_count, w->calls.usage, w->calls.usage_count};
    json_decref(none);
    if (w->mem.over) return err_set(err, ERR_LIMIT, "an item is larger than 256 MiB");
    return eval_items_add(w->r->api->catalog, &item, &counts, err);
}

static int row(struct run *r, int64_t i, struct err *err) {
    struct work w = {.r = r, .calls = {.api = r->api, .stop = r->stop}};
    arena_init(&w.mem, ITEM_MEMORY);
    w.calls.mem = &w.mem;
    do_row(&w, i);
    int rc = stopped(r) ? 0 : keep(&w, i, err); /* broken off: made again at the next start */
    eval_calls_release(&w.calls);
    eval_row_release(&w.row);
    json_decref(w.results);
    json_decref(w.sample);
    json_decref(w.scope);
    mem_free(w.tallies);
    arena_release(&w.mem);
    return rc;
}

/* --- all rows --- */

static bool wanted(struct run *r) {
    struct eval_run now;
    struct arena mem;
    struct err err;
    if (r->over || stopped(r)) return false;
    arena_init(&mem, ITEM_MEMORY);
    int rc = eval_runs_get(r->api->catalog, r->run.eval, r->run.id, &mem, &now, &err);
    if (rc == ERR_NOT_FOUND || (!rc && strcmp(now.status, "in_progress") != 0)) r->over = true;
    arena_release(&mem);
    return !r->over;
}

static void *worker(void *run) {
    struct run *r = run;
    for (;;) {
        struct err err;
        pthread_mutex_lock(&r->lock);
        while (r->next < r->rows.count && r->done[r->next]) r->next++;
        int64_t i = r->next < r->rows.count && wanted(r) ? r->next++ : -1;
        pthread_mutex_unlock(&r->lock);
        if (i < 0) return NULL;
        int rc = row(r, i, &err);
        if (!rc) continue;
        pthread_mutex_lock(&r->lock);
        r->over = true;
        if (rc != ERR_CANCELLED) r->rc = rc, r->err = err;
        pthread_mutex_unlock(&r->lock);
    }
}

static void do_all(struct run *r) {
    pthread_t thread[WORKERS];
    int started = 0;
    while (started < WORKERS && started < r->rows.count &&
           pthread_create(&thread[started], NULL, worker, r) == 0)
        started++;
    if (started == 0) worker(r);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
}

/* --- a run --- */

static int open_criteria(struct run *r, struct err *err) {
    int rc = json_read(str_of(r->eval.criteria), "catalog", &r->criteria, err);
    size_t n = json_array_size(r->criteria);
    r->list = mem_zalloc(n + 1, sizeof *r->list);
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *config = json_array_get(r->criteria, i);
        char where[40];
        snprintf(where, sizeof where, "testing_criteria[%zu]", i);
        rc = grader_new_asking(config, where, &r->list[i].grader, err);
        if (rc) break;
        r->list[i].id = json_string_value(json_object_get(config, "id"));
        r->list[i].type = json_string_value(json_object_get(config, "type"));
        r->count = i + 1;
    }
    return rc;
}

static void open_schema(struct run *r) {
    json_t *config = api_json(r->eval.data_source);
    const json_t *schema = json_object_get(config, "schema");
    const json_t *item = json_object_get(json_object_get(schema, "properties"), "item");
    if (str_is(json_str(json_object_get(config, "type")), "custom") && json_is_object(item))
        r->schema = schema_new(item);
    json_decref(config);
}

static int fail(struct run *r, const struct err *why, struct err *err) {
    json_t *error = json_pack("{s:s, s:s}", "code", "invalid_data_source", "message", why->msg);
    int rc = eval_runs_update(r->api->catalog, r->run.id, r->run.status, "failed", 0,
                              text_of(&r->mem, error), err);
    json_decref(error);
    return rc == ERR_CANCELLED ? 0 : rc;
}

static int finish(struct run *r, struct err *err) {
    if (r->rc) {
        *err = r->err;
        return r->rc;
    }
    if (r->over || stopped(r)) return 0;
    int rc = eval_runs_update(r->api->catalog, r->run.id, "in_progress", "completed", r->rows.count,
                              NULL, err);
    return rc == ERR_CANCELLED ? 0 : rc; /* canceled at the last moment */
}

static int go(struct run *r, struct err *err) {
    struct catalog *c = r->api->catalog;
    struct err why;
    int rc = evals_get(c, r->run.eval, &r->mem, &r->eval, err);
    if (rc) return rc;
    if (open_criteria(r, &why) || eval_rows_open(c, &r->run, &r->rows, &why))
        return why.code == ERR_INVALID || why.code == ERR_UNSUPPORTED ? fail(r, &why, err)
                                                                      : (*err = why).code;
    open_schema(r);
    rc = eval_runs_update(c, r->run.id, r->run.status, "in_progress", r->rows.count, NULL, err);
    if (rc) return rc == ERR_CANCELLED ? 0 : rc;
    rc = mem_try((size_t)r->rows.count, sizeof *r->done, "rows", (void **)&r->done, err);
    if (!rc) rc = eval_items_done(c, r->run.id, r->done, r->rows.count, err);
    if (rc) return rc;
    do_all(r);
    return finish(r, err);
}

/* what a server that ended left behind comes first */
static int find(struct run *r, bool *ret_found, struct err *err) {
    static const char *const states[] = {"in_progress", "queued"};
    int rc = 0;
    *ret_found = false;
    for (size_t i = 0; !rc && !*ret_found && i < sizeof states / sizeof *states; i++)
        rc = eval_runs_oldest(r->api->catalog, states[i], &r->mem, &r->run, ret_found, err);
    return rc;
}

int eval_runs_go(struct api *api, const _Atomic int *stop, bool *ret_found, struct err *err) {
    struct run r = {.api = api, .stop = stop};
    arena_init(&r.mem, (size_t)512 << 20);
    pthread_mutex_init(&r.lock, NULL);
    int rc = find(&r, ret_found, err);
    if (!rc && *ret_found) rc = go(&r, err);
    eval_rows_close(&r.rows);
    for (size_t i = 0; i < r.count; i++) grader_free(r.list[i].grader);
    mem_free(r.list);
    mem_free(r.done);
    schema_free(r.schema);
    json_decref(r.criteria);
    pthread_mutex_destroy(&r.lock);
    arena_release(&r.mem);
    return rc;
}

const struct background_work eval_work = {
    .lock = "evals", .waits = "an eval's run waits for its next try", .next = eval_runs_go};
