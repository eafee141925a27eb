#include "cli/rounds.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PART_MAX ((size_t)4 << 30)
#define LINE_MAX_BYTES ((size_t)64 << 20)

/* --- the file --- */

static void keep(struct rounds *r, const char *phase, int64_t i, json_t *result) {
    char key[24];
    json_t *of_phase = json_object_get(r->results, phase);
    if (!of_phase) {
        of_phase = json_object();
        json_object_set_new(r->results, phase, of_phase);
    }
    snprintf(key, sizeof key, "%" PRId64, i);
    json_object_set_new(of_phase, key, result);
}

const json_t *rounds_result(const struct rounds *r, const char *phase, int64_t i) {
    char key[24];
    snprintf(key, sizeof key, "%" PRId64, i);
    return json_object_get(json_object_get(r->results, phase), key);
}

/* A last line without its end was torn by a kill: it is asked again. */
static int take_lines(struct rounds *r, struct str text, const json_t *params, int64_t *ret_end,
                      struct err *err) {
    int rc = 0;
    for (size_t at = 0, line = 1; !rc && at < text.n; line++) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        if (!end) break;
        json_t *o = NULL;
        struct str one = {text.p + at, (size_t)(end - text.p) - at};
        rc = json_read(one, r->path, &o, err);
        if (!rc && line == 1 && !json_equal(json_object_get(o, "params"), (json_t *)params))
            rc = err_set(err, ERR_CONFLICT,
                         "\"%s\" is of another command; remove it, or choose another --out",
                         r->path);
        const char *phase = json_string_value(json_object_get(o, "phase"));
        if (!rc && phase)
            keep(r, phase, json_integer_value(json_object_get(o, "i")),
                 json_incref(json_object_get(o, "result")));
        json_decref(o);
        at = (size_t)(end - text.p) + 1;
        *ret_end = (int64_t)at;
    }
    return rc;
}

static int add_line(struct rounds *r, json_t *line, struct err *err) {
    struct buf b;
    buf_init(&b, LINE_MAX_BYTES);
    json_write(line, &b);
    buf_byte(&b, '\n');
    int rc = buf_ok(&b) ? file_append(r->fd, r->path, buf_view(&b), false, err)
                        : err_set(err, ERR_LIMIT, "a result is longer than 64 MiB");
    buf_release(&b);
    json_decref(line);
    return rc;
}

int rounds_open(const char *path, const json_t *params, struct rounds *ret, struct err *err) {
    struct buf text;
    int64_t end = 0;
    *ret = (struct rounds){.fd = -1, .path = mem_strdup(path), .results = json_object()};
    buf_init(&text, PART_MAX);
    int rc = file_exists(path) ? file_read(path, &text, err) : 0;
    if (!rc) rc = take_lines(ret, buf_view(&text), params, &end, err);
    buf_release(&text);
    ret->resumed = json_object_size(ret->results) > 0;
    if (!rc) rc = file_append_open(path, end, &ret->fd, err);
    if (!rc && end == 0) rc = add_line(ret, json_pack("{s:O}", "params", params), err);
    if (rc) rounds_close(ret, false);
    return rc;
}

int rounds_open_for(const char *out, const json_t *params, struct rounds *ret, struct err *err) {
    struct buf path;
    if (file_exists(out))
        return err_set(err, ERR_CONFLICT, "\"%s\" exists already; choose another --out", out);
    buf_init(&path, 1 << 16);
    buf_printf(&path, "%s.part", out);
    int rc = rounds_open(path.p, params, ret, err);
    buf_release(&path);
    return rc;
}

void rounds_close(struct rounds *r, bool finished) {
    struct err none;
    file_close(r->fd);
    if (finished) file_remove(r->path, &none);
    mem_free(r->path);
    json_decref(r->results);
    *r = (struct rounds){.fd = -1};
}

/* --- a round --- */

struct asking {
    struct rounds *run;
    const struct round *round;
    int64_t *todo; /* numbers of those not done yet */
    int64_t failed;
    struct err first; /* why the first failed */
};

static int question_of(void *ctx, int64_t i, struct question *ret, struct err *err) {
    const struct asking *a = ctx;
    return a->round->question(a->round->ctx, a->todo[i], ret, err);
}

static void show_progress(const struct rounds *r) {
    if (cli_is_terminal(STDERR_FILENO))
        fprintf(stderr, "\r%s %lld of %lld ", r->phase, (long long)r->done, (long long)r->total);
}

static int answered(void *ctx, int64_t i, struct answer *answer, struct err *err) {
    struct asking *a = ctx;
    struct rounds *r = a->run;
    int rc = 0;
    if (answer->rc && !a->round->keep_errors) {
        if (!a->failed++) a->first = answer->err;
        if (a->failed > 3 && a->failed * 10 > r->total)
            rc = err_set(err, answer->rc, "%lld questions have no answer, the first: %.300s",
                         (long long)a->failed, a->first.msg);
    } else {
        json_t *result = a->round->result(a->round->ctx, a->todo[i], answer);
        rc = add_line(r,
                      json_pack("{s:s, s:I, s:O}", "phase", r->phase, "i", (json_int_t)a->todo[i],
                                "result", result),
                      err);
        keep(r, r->phase, a->todo[i], result);
        r->done++;
        show_progress(r);
    }
    answer_release(answer);
    return rc;
}

int rounds_ask(struct rounds *r, const struct round *round, struct err *err) {
    struct asking a = {.run = r, .round = round};
    struct asker_events events = {.ctx = &a, .question = question_of, .answered = answered};
    int64_t left = 0;
    r->phase = round->phase;
    r->total = round->n;
    a.todo = mem_zalloc((size_t)round->n + 1, sizeof *a.todo);
    for (int64_t i = 0; i < round->n; i++)
        if (!rounds_result(r, round->phase, i)) a.todo[left++] = i;
    r->done = round->n - left;
    if (r->done && r->resumed)
        fprintf(stderr, "going on: %lld of %lld are done\n", (long long)r->done,
                (long long)r->total);
    r->resumed = r->resumed && left == 0; /* what comes after that is new */
    int rc = asker_all(round->asker, left, round->concurrency, &events, &cli_interrupted, err);
    if (cli_is_terminal(STDERR_FILENO)) fputc('\n', stderr);
    if (rc == ERR_CANCELLED)
        err_set(err, rc, "stopped; the same command goes on from \"%s\"", r->path);
    if (!rc && a.failed)
        rc = err_set(err, a.first.code,
                     "%lld of %lld questions have no answer, the first: %.200s; the same command "
                     "asks them again",
                     (long long)a.failed, (long long)round->n, a.first.msg);
    mem_free(a.todo);
    return rc;
}
