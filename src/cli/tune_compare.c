#include "cli/tune_compare.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/eval_run.h"
#include "data/rows.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 30)
#define PLAN_MAX ((size_t)256 << 20)

static int read_json(const char *out, const char *name, json_t **ret, struct err *err) {
    char *path = path_join(out, name);
    int rc = json_read_file(path, PLAN_MAX, ret, err);
    mem_free(path);
    return rc;
}

/* The i-th of `count` rows that are held out, as a number from 1; all of a --valid file are. */
static int64_t held_out(const json_t *numbers, int64_t i) {
    return numbers ? json_integer_value(json_array_get(numbers, (size_t)i)) : i + 1;
}

/* Rows spread over all that are held out, with ids that name them. */
static int write_cases(const struct rows *rows, const json_t *numbers, int64_t most,
                       const char *path, int64_t *ret_count, struct err *err) {
    struct buf b;
    int64_t count = numbers ? (int64_t)json_array_size(numbers) : rows->count;
    int64_t n = count < most ? count : most;
    buf_init(&b, FILE_MAX);
    for (int64_t i = 0; i < n; i++) {
        int64_t number = held_out(numbers, i * count / n);
        if (number < 1 || number > rows->count) continue;
        char id[32];
        json_t *row = json_copy(rows->list[number - 1].json);
        snprintf(id, sizeof id, "row-%lld", (long long)number);
        json_object_set_new(row, "id", json_string(id));
        json_write(row, &b);
        buf_byte(&b, '\n');
        json_decref(row);
    }
    int rc = file_write_atomic(path, buf_view(&b), err);
    buf_release(&b);
    *ret_count = n;
    return rc;
}

static int cases_of(const char *out, int64_t most, const char *path, int64_t *ret_count,
                    struct err *err) {
    json_t *job = NULL, *plan = NULL;
    struct rows rows = {.list = NULL};
    int rc = read_json(out, "job.json", &job, err);
    if (!rc) rc = read_json(out, "plan.json", &plan, err);
    const char *valid = json_string_value(json_object_get(job, "valid"));
    const char *data = json_string_value(json_object_get(job, "data"));
    const json_t *numbers = valid ? NULL : json_object_get(plan, "held_out_rows");
    bool any = valid || json_array_size(numbers) > 0;
    if (!rc && any) rc = rows_read(valid ? valid : data, FILE_MAX, &rows, err);
    if (!rc && any && (rows.kind == ROW_CHAT || rows.kind == ROW_COMPLETION))
        rc = write_cases(&rows, numbers, most, path, ret_count, err);
    rows_release(&rows);
    json_decref(plan);
    json_decref(job);
    return rc;
}

int tune_compare(const char *base, const char *out, int64_t rows, int threads, struct err *err) {
    struct buf models;
    int64_t count = 0;
    char *path = path_join(out, "held-out.jsonl");
    int rc = cases_of(out, rows, path, &count, err);
    buf_init(&models, 1 << 16);
    buf_printf(&models, "%s,%s", base, out);
    if (!rc && count) {
        struct eval_options o = {.data = path,
                                 .models = models.p,
                                 .max_tokens = 256,
                                 .seed = 1,
                                 .concurrency = 8,
                                 .threads = threads};
        struct eval_run *r = mem_zalloc(1, sizeof *r);
        printf("\n%lld held-out rows, answered by both:\n\n", (long long)count);
        rc = eval_run(r, &o, err);
        if (!rc) eval_print(r);
        eval_run_release(r);
        mem_free(r);
    } else if (!rc) {
        printf("no held-out rows with one right answer to compare by\n");
    }
    buf_release(&models);
    mem_free(path);
    return rc;
}
