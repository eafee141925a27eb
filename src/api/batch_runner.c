#include "api/batch_runner.h"

#include "api/http_call.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/batches.h"
#include "store/files.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINES_MAX 50000
#define ERRORS_MAX 100
#define WORKERS 8
#define BUSY_MS 500 /* before a line that found the queue full is tried again */
#define PROGRESS 50 /* lines between two notes of how far it is */
#define LINE_MAX_BYTES ((size_t)64 << 20)

struct line {
    struct str text;
    int64_t number; /* in the file, from 1 */
    json_t *json;   /* an object with a custom_id; NULL: it has been answered */
};

struct run {
    struct api *api;
    struct arena mem;
    struct batch batch;
    const struct http_route *endpoint;
    struct file_map input;
    struct line *lines;
    int64_t count;
    size_t cap;
    const _Atomic int *stop;
    pthread_mutex_t lock; /* what follows */
    struct blob_writer *output, *errors;
    int64_t next, completed, failed, since_noted;
    int64_t prompt_tokens, completion_tokens, cached_tokens;
    bool cancelled, expired, broken;
    struct err err; /* where broken */
};

const struct http_route *batch_endpoint(struct str path) {
    const struct http_route *const tables[] = {chat_routes, completion_routes};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct http_route *r = tables[t]; r->method; r++)
            if (str_is(path, r->pattern) && strcmp(r->method, "POST") == 0) return r;
    return NULL;
}

/* --- reading --- */

static void add_error(json_t *errors, int64_t line, const char *code, const char *message) {
    if (json_array_size(errors) >= ERRORS_MAX) return;
    json_t *e = json_object();
    json_object_set_new(e, "code", json_string(code));
    json_object_set_new(e, "message", json_string(message));
    json_object_set_new(e, "param", json_null());
    json_object_set_new(e, "line", json_integer(line));
    json_array_append_new(errors, e);
}

static void read_line(struct run *r, struct str text, int64_t number, json_t *errors) {
    struct line line = {.text = text, .number = number};
    struct err err;
    int rc = text.n > LINE_MAX_BYTES ? err_set(&err, ERR_LIMIT, "the line is longer than 64 MiB")
                                     : json_read(text, "line", &line.json, &err);
    if (!rc && !json_is_string(json_object_get(line.json, "custom_id")))
        rc = err_set(&err, ERR_INVALID, "the line has no \"custom_id\" that is a string");
    if (rc) {
        add_error(errors, number, "invalid_json_line", err.msg);
        json_decref(line.json);
        return;
    }
    mem_grow((void **)&r->lines, &r->cap, (size_t)r->count + 1, sizeof *r->lines);
    r->lines[r->count++] = line;
}

static int by_id(const void *a, const void *b) {
    const struct line *x = *(const struct line *const *)a, *y = *(const struct line *const *)b;
    int c = str_cmp(json_str(json_object_get(x->json, "custom_id")),
                    json_str(json_object_get(y->json, "custom_id")));
    return c ? c : x->number < y->number ? -1 : x->number > y->number;
}

static void find_repeated(struct run *r, json_t *errors) {
    const struct line **sorted = mem_zalloc((size_t)r->count + 1, sizeof *sorted);
    for (int64_t i = 0; i < r->count; i++) sorted[i] = &r->lines[i];
    qsort(sorted, (size_t)r->count, sizeof *sorted, by_id);
    for (int64_t i = 1; i < r->count; i++) {
        struct str id = json_str(json_object_get(sorted[i]->json, "custom_id"));
        char message[200];
        if (!str_eq(id, json_str(json_object_get(sorted[i - 1]->json, "custom_id")))) continue;
        snprintf(message, sizeof message,
                 "The custom_id for this request is a duplicate of another request: '%.*s'.",
                 (int)(id.n < 80 ? id.n : 80), id.p);
        add_error(errors, sorted[i]->number, "duplicate_custom_id", message);
    }
    mem_free(sorted);
}

/* the whole file; *ret_errors: why it cannot be a batch, or an empty list */
static int read_input(struct run *r, json_t **ret_errors, struct err *err) {
    struct stored_file file;
    int rc = files_get(r->api->catalog, r->batch.input_file, &r->mem, &file, err);
    if (!rc) rc = blob_map(r->api->catalog, file.blob, &r->input, err);
    json_t *errors = *ret_errors = json_array();
    if (rc == ERR_NOT_FOUND) {
        add_error(errors, 0, "invalid_file", "The input file does not exist any more.");
        return 0;
    }
    if (rc) return rc;
    struct str text = {(const char *)r->input.p, r->input.n};
    for (int64_t number = 1; text.n && r->count <= LINES_MAX; number++) {
        const char *end = memchr(text.p, '\n', text.n);
        struct str line = {text.p, end ? (size_t)(end - text.p) : text.n};
        text = str_from(text, line.n + 1);
        if (line.n && line.p[line.n - 1] == '\r') line.n--;
        if (line.n) read_line(r, line, number, errors);
    }
    if (r->count > LINES_MAX)
        add_error(errors, LINES_MAX + 1, "too_many_requests",
                  "A batch has at most 50,000 requests.");
    if (r->count == 0 && json_array_size(errors) == 0)
        add_error(errors, 0, "empty_file", "The input file is empty.");
    find_repeated(r, errors);
    return 0;
}

/* --- a line --- */

static json_t *problem(const char *param, const char *message) {
    return http_error_object(400, "invalid_value", param, message);
}

static bool takes(const struct run *r, const json_t *line, struct http_called *ret) {
    struct str method = json_str(json_object_get(line, "method"));
    struct str url = json_str(json_object_get(line, "url"));
    *ret = (struct http_called){.status = 400};
    if (!str_is(method, "POST"))
        ret->body = problem("method", "Invalid 'method': it must be 'POST'.");
    else if (!str_is(url, r->batch.endpoint))
        ret->body = problem("url", "Invalid 'url': it must be the endpoint of the batch.");
    else if (!json_is_object(json_object_get(line, "body")))
        ret->body = problem("body", "Invalid 'body': it must be an object.");
    else if (json_is_true(json_object_get(json_object_get(line, "body"), "stream")))
        ret->body = problem("body.stream", "Requests of a batch cannot stream.");
    return ret->body == NULL;
}

static bool stopped(const struct run *r) { return r->stop && atomic_load(r->stop); }

static void answer(struct run *r, const json_t *line, struct http_called *ret) {
    if (!takes(r, line, ret)) return;
    for (;;) {
        http_call(r->endpoint->handle, json_object_get(line, "body"), r->api, ret);
        if (ret->status != 429 || stopped(r)) return;
        json_decref(ret->body);
        nanosleep(&(struct timespec){.tv_nsec = BUSY_MS * 1000000L}, NULL);
    }
}

static void write_answer(struct run *r, const struct line *line, struct http_called *got) {
    char id[ID_SIZE];
    struct buf b;
    json_t *v = json_object(), *response = json_object();
    bool good = got->status / 100 == 2;
    id_new("batch_req_", id);
    json_object_set_new(v, "id", json_string(id));
    json_object_set(v, "custom_id", json_object_get(line->json, "custom_id"));
    json_object_set_new(response, "status_code", json_integer(got->status));
    json_object_set_new(response, "request_id", json_string(got->request_id));
    json_object_set(response, "body", got->body);
    json_object_set_new(v, "response", response);
    json_object_set_new(v, "error", json_null());
    buf_init(&b, SIZE_MAX / 2);
    json_write(v, &b);
    buf_z(&b, "\n");
    if (blob_writer_add(good ? r->output : r->errors, b.p, b.n, &r->err)) r->broken = true;
    const json_t *usage = json_object_get(got->body, "usage");
    r->prompt_tokens += json_integer_value(json_object_get(usage, "prompt_tokens"));
    r->completion_tokens += json_integer_value(json_object_get(usage, "completion_tokens"));
    const json_t *details = json_object_get(usage, "prompt_tokens_details");
    r->cached_tokens += json_integer_value(json_object_get(details, "cached_tokens"));
    *(good ? &r->completed : &r->failed) += 1;
    buf_release(&b);
    json_decref(v);
}

/* How far it is. Where it is not in progress any more, `wanted` finds that before the next line. */
static void note(struct run *r) {
    struct batch_update u = {.from = "in_progress",
                             .to = "in_progress",
                             .total = r->count,
                             .completed = r->completed,
                             .failed = r->failed};
    r->since_noted = 0;
    int rc = batches_update(r->api->catalog, r->batch.id, &u, &r->err);
    if (rc && rc != ERR_CANCELLED) r->broken = true;
}

static bool wanted(struct run *r) {
    struct batch now;
    struct arena mem;
    struct err err;
    arena_init(&mem, (size_t)1 << 20);
    if (!batches_get(r->api->catalog, r->batch.id, &mem, &now, &err) &&
        strcmp(now.status, "cancelling") == 0)
        r->cancelled = true;
    arena_release(&mem);
    if (r->batch.expires_at && clock_unix() >= r->batch.expires_at) r->expired = true;
    return !r->broken && !r->cancelled && !r->expired && !stopped(r);
}

static void *worker(void *run) {
    struct run *r = run;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        struct line *line = r->next < r->count && wanted(r) ? &r->lines[r->next++] : NULL;
        pthread_mutex_unlock(&r->lock);
        if (!line) return NULL;
        struct http_called got;
        answer(r, line->json, &got);
        pthread_mutex_lock(&r->lock);
        if (!stopped(r)) { /* a server that ends breaks answers off: they are made again */
            write_answer(r, line, &got);
            if (++r->since_noted >= PROGRESS) note(r);
        }
        pthread_mutex_unlock(&r->lock);
        json_decref(got.body);
        json_decref(line->json);
        line->json = NULL;
    }
}

static void answer_all(struct run *r) {
    pthread_t thread[WORKERS];
    int started = 0;
    while (started < WORKERS && started < r->count &&
           pthread_create(&thread[started], NULL, worker, r) == 0)
        started++;
    if (started == 0) worker(r);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
}

/* --- its end --- */

static struct batch_made made(const struct run *r, struct blob_writer *w, const char *name) {
    int64_t after = r->batch.output_expires_after;
    if (blob_writer_bytes(w) == 0) return (struct batch_made){.w = NULL};
    return (struct batch_made){.file = {.filename = name,
                                        .purpose = "batch_output",
                                        .expires_at = after ? clock_unix() + after : 0},
                               .w = w};
}

static int finish(struct run *r, struct err *err) {
    char output[ID_SIZE + 16], errors[ID_SIZE + 16], usage[256];
    snprintf(output, sizeof output, "%s_output.jsonl", r->batch.id);
    snprintf(errors, sizeof errors, "%s_error.jsonl", r->batch.id);
    /* nothing here reasons */
    snprintf(usage, sizeof usage,
             "{\"input_tokens\":%lld,\"input_tokens_details\":{\"cached_tokens\":%lld},"
             "\"output_tokens\":%lld,\"output_tokens_details\":{\"reasoning_tokens\":0},"
             "\"total_tokens\":%lld}",
             (long long)r->prompt_tokens, (long long)r->cached_tokens,
             (long long)r->completion_tokens, (long long)(r->prompt_tokens + r->completion_tokens));
    struct batch_update u = {.from = "in_progress",
                             .to = r->expired ? "expired" : "finalizing",
                             .total = r->count,
                             .completed = r->completed,
                             .failed = r->failed,
                             .usage = usage,
                             .output = made(r, r->output, output),
                             .error = made(r, r->errors, errors)};
    if (r->cancelled) u.from = "cancelling", u.to = "cancelled";
    int rc = batches_update(r->api->catalog, r->batch.id, &u, err);
    if (rc == ERR_CANCELLED && !r->cancelled) { /* cancelled at the last moment */
        u.from = "cancelling", u.to = "cancelled";
        return batches_update(r->api->catalog, r->batch.id, &u, err);
    }
    if (rc || r->cancelled || r->expired) return rc;
    u = (struct batch_update){.from = "finalizing",
                              .to = "completed",
                              .total = r->count,
                              .completed = r->completed,
                              .failed = r->failed};
    return batches_update(r->api->catalog, r->batch.id, &u, err);
}

static int fail(struct run *r, const json_t *errors, struct err *err) {
    json_t *list = json_object();
    struct buf b;
    json_object_set_new(list, "object", json_string("list"));
    json_object_set(list, "data", (json_t *)errors);
    buf_init(&b, SIZE_MAX / 2);
    json_write(list, &b);
    struct batch_update u = {.from = r->batch.status, .to = "failed", .errors = b.p};
    int rc = batches_update(r->api->catalog, r->batch.id, &u, err);
    buf_release(&b);
    json_decref(list);
    return rc;
}

/* --- a batch --- */

static int begin(struct run *r, bool *ret_go, struct err *err) {
    json_t *errors = NULL;
    int rc = read_input(r, &errors, err);
    *ret_go = false;
    if (!rc && json_array_size(errors))
        rc = fail(r, errors, err);
    else if (!rc) {
        struct batch_update u = {.from = r->batch.status, .to = "in_progress", .total = r->count};
        rc = batches_update(r->api->catalog, r->batch.id, &u, err);
        *ret_go = rc == 0;
        if (rc == ERR_CANCELLED) rc = 0; /* the next look finds it cancelling */
    }
    json_decref(errors);
    return rc;
}

static int run_batch(struct run *r, struct err *err) {
    bool go = false;
    int rc = begin(r, &go, err);
    if (!rc && go) rc = blob_writer_open(r->api->catalog, &r->output, err);
    if (!rc && go) rc = blob_writer_open(r->api->catalog, &r->errors, err);
    if (rc || !go) return rc;
    answer_all(r);
    if (stopped(r)) return 0;
    if (r->broken) {
        *err = r->err;
        return err->code;
    }
    return finish(r, err);
}

/* what a server that ended left behind comes first */
static int find_batch(struct run *r, bool *ret_found, struct err *err) {
    static const char *const states[] = {"in_progress", "validating"};
    int rc = 0;
    *ret_found = false;
    for (size_t i = 0; !rc && !*ret_found && i < sizeof states / sizeof *states; i++)
        rc = batches_oldest(r->api->catalog, states[i], &r->mem, &r->batch, ret_found, err);
    return rc;
}

/* What only lacks its last step: cancelled before it began or while nobody ran it; or all is saved,
 * and the server ended just before it could say so. */
static int end_all(struct api *api, const char *from, const char *to, struct err *err) {
    struct arena mem;
    struct batch b;
    bool found = true;
    int rc = 0;
    arena_init(&mem, (size_t)16 << 20);
    while (!rc && found) {
        rc = batches_oldest(api->catalog, from, &mem, &b, &found, err);
        struct batch_update u = {
            .from = from, .to = to, .total = b.total, .completed = b.completed, .failed = b.failed};
        if (!rc && found) rc = batches_update(api->catalog, b.id, &u, err);
    }
    arena_release(&mem);
    return rc;
}

int batches_run(struct api *api, const _Atomic int *stop, bool *ret_found, struct err *err) {
    struct run r = {.api = api, .stop = stop};
    arena_init(&r.mem, (size_t)64 << 20);
    pthread_mutex_init(&r.lock, NULL);
    int rc = end_all(api, "cancelling", "cancelled", err);
    if (!rc) rc = end_all(api, "finalizing", "completed", err);
    if (!rc) rc = find_batch(&r, ret_found, err);
    if (!rc && *ret_found) {
        r.endpoint = batch_endpoint(str_of(r.batch.endpoint));
        rc = r.endpoint ? run_batch(&r, err)
                        : err_set(err, ERR_INTERNAL, "batch \"%s\" is for \"%s\"", r.batch.id,
                                  r.batch.endpoint);
    }
    for (int64_t i = 0; i < r.count; i++) json_decref(r.lines[i].json);
    mem_free(r.lines);
    blob_writer_free(r.output);
    blob_writer_free(r.errors);
    file_map_close(&r.input);
    pthread_mutex_destroy(&r.lock);
    arena_release(&r.mem);
    return rc;
}

const struct background_work batch_work = {
    .lock = "batches", .waits = "a batch waits for its next try", .next = batches_run};
