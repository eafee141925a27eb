#include "cli/import_evals.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/blobs.h"
#include "store/evals.h"
#include "store/files.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 30)
#define ITEMS_MAX 1000000

static const char *text_of(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

/* JSON as text in the arena; absent or null: `none` */
static const char *json_of(struct arena *mem, const json_t *o, const char *key, const char *none) {
    const json_t *v = json_object_get(o, key);
    struct buf b;
    if (!v || json_is_null(v)) return none;
    buf_init(&b, SIZE_MAX / 2);
    json_write(v, &b);
    const char *z = arena_strndup(mem, buf_view(&b).p, b.n);
    buf_release(&b);
    return z;
}

static int64_t number_of(const json_t *o, const char *key) {
    return (int64_t)json_integer_value(json_object_get(o, key));
}

/* a list, or a page of one */
static const json_t *list_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_object(v) ? json_object_get(v, "data") : v;
}

/* --- evals and runs --- */

static int criterion_number(const json_t *criteria, const char *id) {
    for (size_t i = 0; id && i < json_array_size(criteria); i++) {
        const char *own = text_of(json_array_get(criteria, i), "id");
        const char *name = text_of(json_array_get(criteria, i), "name");
        if ((own && strcmp(own, id) == 0) || (name && strcmp(name, id) == 0)) return (int)i;
    }
    return -1;
}

static void read_counts(const json_t *eval, const json_t *run, struct arena *mem,
                        struct eval_counts *ret) {
    const json_t *results = json_object_get(run, "per_testing_criteria_results");
    const json_t *models = json_object_get(run, "per_model_usage"), *v;
    const json_t *criteria = json_object_get(eval, "testing_criteria");
    size_t i, tally_count = 0, usage_count = 0;
    struct eval_tally *tallies = arena_array(mem, json_array_size(results) + 1, sizeof *tallies);
    struct eval_usage *usages = arena_array(mem, json_array_size(models) + 1, sizeof *usages);
    *ret = (struct eval_counts){0};
    if (!tallies || !usages) return;
    json_array_foreach(results, i, v) {
        const char *id = text_of(v, "testing_criteria");
        int number = criterion_number(criteria, id);
        if (id)
            tallies[tally_count++] =
                (struct eval_tally){number < 0 ? (int)(json_array_size(criteria) + i) : number, id,
                                    number_of(v, "passed"), number_of(v, "failed")};
    }
    json_array_foreach(models, i, v) {
        if (text_of(v, "model_name"))
            usages[usage_count++] = (struct eval_usage){
                text_of(v, "model_name"), number_of(v, "invocation_count"),
                number_of(v, "prompt_tokens"), number_of(v, "completion_tokens"),
                number_of(v, "cached_tokens")};
    }
    *ret = (struct eval_counts){tallies, tally_count, usages, usage_count};
}

static int read_items(const json_t *list, struct arena *mem, struct eval_output **ret,
                      struct err *err) {
    static const char *const states[] = {"pass", "fail", "error"};
    size_t n = json_array_size(list);
    if (n > ITEMS_MAX) return err_set(err, ERR_LIMIT, "a run has more than %d items", ITEMS_MAX);
    *ret = arena_array(mem, n + 1, sizeof **ret);
    for (size_t i = 0; *ret && i < n; i++) {
        const json_t *v = json_array_get(list, i),
                     *number = json_object_get(v, "datasource_item_id");
        const char *status = text_of(v, "status");
        bool known = false;
        for (size_t s = 0; status && s < sizeof states / sizeof *states; s++)
            known = known || strcmp(status, states[s]) == 0;
        (*ret)[i] = (struct eval_output){.id = text_of(v, "id"),
                                         .status = known ? status : "error",
                                         .number = json_is_integer(number) &&
                                                           number_of(v, "datasource_item_id") >= 0
                                                       ? number_of(v, "datasource_item_id")
                                                       : (int64_t)i,
                                         .created_at = number_of(v, "created_at"),
                                         .item = json_of(mem, v, "datasource_item", "{}"),
                                         .results = json_of(mem, v, "results", "[]"),
                                         .sample = json_of(mem, v, "sample", "{}")};
    }
    return *ret && !mem->over ? 0 : err_set(err, ERR_LIMIT, "a run is larger than 1 GiB");
}

static int import_run(struct catalog *c, const json_t *eval, const char *eval_id, const json_t *v,
                      size_t *items_made, struct err *err) {
    static const char *const ends[] = {"completed", "failed", "canceled"};
    const json_t *items = list_of(v, "output_items"), *told = json_object_get(v, "result_counts");
    const char *status = text_of(v, "status");
    struct eval_counts counts;
    struct eval_output *list = NULL;
    struct arena mem;
    bool ended = false;
    for (size_t i = 0; status && i < sizeof ends / sizeof *ends; i++)
        ended = ended || strcmp(status, ends[i]) == 0;
    arena_init(&mem, FILE_MAX);
    struct eval_run run = {.id = text_of(v, "id"),
                           .eval = eval_id,
                           .status = ended ? status : "canceled", /* nobody goes on with it */
                           .name = text_of(v, "name"),
                           .model = text_of(v, "model"),
                           .data_source = json_of(&mem, v, "data_source", "{}"),
                           .metadata = json_of(&mem, v, "metadata", NULL),
                           .error = json_of(&mem, v, "error", NULL),
                           .total = number_of(told, "total"),
                           .passed = number_of(told, "passed"),
                           .failed = number_of(told, "failed"),
                           .errored = number_of(told, "errored"),
                           .created_at = number_of(v, "created_at")};
    read_counts(eval, v, &mem, &counts);
    int rc = read_items(items, &mem, &list, err);
    if (!rc) rc = eval_runs_import(c, &run, list, json_array_size(items), &counts, err);
    *items_made += rc ? 0 : json_array_size(items);
    arena_release(&mem);
    return rc;
}

static int import_eval(struct catalog *c, const json_t *v, struct err *err) {
    struct arena mem;
    struct eval made;
    const json_t *runs = list_of(v, "runs");
    size_t items = 0;
    if (!json_is_object(json_object_get(v, "data_source_config")) ||
        !json_is_array(json_object_get(v, "testing_criteria")))
        return err_set(err, ERR_INVALID,
                       "an eval has \"data_source_config\" and \"testing_criteria\"; one here has "
                       "not");
    arena_init(&mem, FILE_MAX);
    struct eval new = {.id = text_of(v, "id"),
                       .name = text_of(v, "name"),
                       .data_source = json_of(&mem, v, "data_source_config", NULL),
                       .criteria = json_of(&mem, v, "testing_criteria", NULL),
                       .metadata = json_of(&mem, v, "metadata", NULL),
                       .created_at = number_of(v, "created_at")};
    int rc = evals_add(c, &new, &mem, &made, err);
    for (size_t i = 0; !rc && i < json_array_size(runs); i++)
        rc = import_run(c, v, made.id, json_array_get(runs, i), &items, err);
    if (!rc)
        printf("imported %s \"%s\": %zu runs, %zu items\n", made.id, made.name,
               json_array_size(runs), items);
    arena_release(&mem);
    return rc;
}

static int import_json(const json_t *v, struct err *err) {
    struct catalog *c = NULL;
    const json_t *list = json_is_array(v) ? v : json_object_get(v, "data");
    if (!list) list = json_object_get(v, "evals");
    int rc = catalog_open(NULL, &c, err);
    if (!rc && !list) rc = import_eval(c, v, err);
    for (size_t i = 0; !rc && i < json_array_size(list); i++)
        rc = import_eval(c, json_array_get(list, i), err);
    if (!rc && list && json_array_size(list) == 0)
        rc = err_set(err, ERR_INVALID, "the file holds no evals");
    catalog_close(c);
    return rc;
}

/* --- rows --- */

static int keep_rows(struct str text, struct str name, int64_t rows, struct err *err) {
    struct catalog *c = NULL;
    struct blob_writer *w = NULL;
    struct stored_file made;
    struct arena mem;
    arena_init(&mem, (size_t)1 << 20);
    const char *filename = arena_strndup(&mem, name.p, name.n);
    int rc = catalog_open(NULL, &c, err);
    if (!rc) rc = blob_writer_open(c, &w, err);
    if (!rc) rc = blob_writer_add(w, text.p, text.n, err);
    if (!rc)
        rc = files_add(c, &(struct stored_file){.filename = filename, .purpose = "evals"}, w, &mem,
                       &made, err);
    if (!rc)
        printf(
            "imported %lld rows as %s; a run takes them as {\"type\":\"file_id\",\"id\":\"%s\"}\n",
            (long long)rows, made.id, made.id);
    blob_writer_free(w);
    catalog_close(c);
    arena_release(&mem);
    return rc;
}

/* {"input","ideal"} as a case */
static int case_add(const json_t *v, const char *where, int64_t number, struct buf *out,
                    struct err *err) {
    json_t *input = json_object_get(v, "input"), *ideal = json_object_get(v, "ideal");
    json_t *first = json_is_array(ideal) ? json_array_get(ideal, 0) : ideal;
    if (!json_is_array(input) && !json_is_string(input))
        return err_set(err, ERR_INVALID, "%s: \"input\" must be messages or a text", where);
    if (!json_is_string(first))
        return err_set(err, ERR_INVALID, "%s: \"ideal\" must be a text or a list of them", where);
    json_t *messages = json_is_array(input)
                           ? json_incref(input)
                           : json_pack("[{s:s, s:O}]", "role", "user", "content", input);
    json_t *row = json_pack("{s:o, s:o, s:O, s:O}", "id", json_sprintf("%lld", (long long)number),
                            "messages", messages, "expected", first, "ideal", ideal);
    json_write(row, out);
    buf_z(out, "\n");
    json_decref(row);
    return 0;
}

/* each line; samples NULL: only checked to be rows with "item" */
static int read_lines(struct str text, const char *path, bool samples, struct buf *out,
                      int64_t *ret_rows, struct err *err) {
    int rc = 0;
    for (int64_t line = 1; !rc && text.n; line++) {
        const char *end = memchr(text.p, '\n', text.n);
        struct str s = {text.p, end ? (size_t)(end - text.p) : text.n};
        char where[400];
        json_t *v = NULL;
        text = str_from(text, s.n + 1);
        while (s.n && strchr(" \t\r", s.p[s.n - 1])) s.n--;
        if (s.n == 0) continue;
        snprintf(where, sizeof where, "%.300s: line %lld", path, (long long)line);
        rc = json_read(s, where, &v, err);
        *ret_rows += 1;
        if (!rc && samples) rc = case_add(v, where, *ret_rows, out, err);
        if (!rc && !samples && !json_is_object(json_object_get(v, "item")))
            rc = err_set(err, ERR_INVALID, "%s: \"item\" must be an object", where);
        json_decref(v);
    }
    return rc;
}

static int write_cases(const char *path, const char *out, const struct buf *cases, int64_t rows,
                       struct err *err) {
    struct str base = path_base(path);
    char name[300];
    size_t n = base.n;
    if (str_ends(base, STR_LIT(".jsonl"))) n -= 6;
    snprintf(name, sizeof name, "%.*s.cases.jsonl", n > 200 ? 200 : (int)n, base.p);
    if (!out) out = name;
    if (file_exists(out))
        return err_set(err, ERR_CONFLICT, "\"%s\" is there already; choose another with --out",
                       out);
    int rc = file_write_atomic(out, buf_view(cases), err);
    if (!rc)
        printf("wrote %lld cases to %s; \"expected\" is the first of \"ideal\"\n", (long long)rows,
               out);
    return rc;
}

static int import_rows(struct str text, const char *path, const char *out, struct err *err) {
    const char *end = memchr(text.p, '\n', text.n);
    json_t *first = NULL;
    struct buf cases;
    int64_t rows = 0;
    int rc =
        json_read((struct str){text.p, end ? (size_t)(end - text.p) : text.n}, path, &first, err);
    if (rc) return rc;
    bool samples = json_object_get(first, "ideal") != NULL;
    bool known = samples || json_object_get(first, "item");
    json_decref(first);
    if (!known)
        return err_set(err, ERR_INVALID,
                       "%s: holds neither evals, nor rows with \"item\", nor samples with "
                       "\"input\" and \"ideal\"",
                       path);
    buf_init(&cases, FILE_MAX);
    rc = read_lines(text, path, samples, &cases, &rows, err);
    if (!rc && !buf_ok(&cases)) rc = err_set(err, ERR_LIMIT, "the cases are larger than 1 GiB");
    if (!rc)
        rc = samples ? write_cases(path, out, &cases, rows, err)
                     : keep_rows(text, path_base(path), rows, err);
    buf_release(&cases);
    return rc;
}

int import_evals(const char *path, const char *out, struct err *err) {
    struct file_map map = {0};
    json_t *v = NULL;
    struct err no;
    int rc = file_map_open(path, &map, err);
    if (rc) return rc;
    struct str text = {(const char *)map.p, map.n};
    if (str_starts(text, STR_LIT("\xef\xbb\xbf"))) text = str_from(text, 3);
    while (text.n && strchr(" \t\r\n", text.p[0])) text = str_from(text, 1);
    if (text.n == 0 || text.n > FILE_MAX)
        rc = err_set(err, ERR_INVALID, "\"%s\" is empty or larger than 1 GiB", path);
    else if (json_read(text, path, &v, &no) == 0 && !json_object_get(v, "item") &&
             !json_object_get(v, "ideal"))
        rc = import_json(v, err);
    else
        rc = import_rows(text, path, out, err);
    json_decref(v);
    file_map_close(&map);
    return rc;
}
