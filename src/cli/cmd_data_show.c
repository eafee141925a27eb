/* attune data show, diff, log, export, rejected: what versions hold. */
#include "cli/data_versions.h"

#include "cli/cli.h"
#include "cli/opts.h"
#include "data/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEM_MAX ((size_t)256 << 20)

/* NAME, or NAME@NUMBER */
int data_version_named(struct catalog *c, const char *text, struct arena *mem,
                       struct dataset_version *ret, struct err *err) {
    const char *at = strrchr(text, '@');
    char *end = NULL;
    long long number = at ? strtoll(at + 1, &end, 10) : 0;
    if (at && (end == at + 1 || *end || number < 1))
        return err_set(err, ERR_USAGE, "a version is NAME@NUMBER, not \"%.100s\"", text);
    size_t n = at ? (size_t)(at - text) : strlen(text);
    return datasets_version(c, arena_strndup(mem, text, n), number, mem, ret, err);
}

/* A command over one catalog: opened, run, closed. */
struct job {
    struct catalog *c;
    struct arena mem;
    struct err err;
};

static int job_open(struct job *j) {
    j->c = NULL;
    arena_init(&j->mem, MEM_MAX);
    return catalog_open(NULL, &j->c, &j->err);
}

static int job_end(struct job *j, const char *command, int rc) {
    catalog_close(j->c);
    arena_release(&j->mem);
    return rc ? cli_fail(command, &j->err) : 0;
}

static const char *date(int64_t t, char text[40]) {
    struct tm tm;
    time_t when = (time_t)t;
    if (!gmtime_r(&when, &tm) || !strftime(text, 40, "%Y-%m-%d %H:%M", &tm))
        snprintf(text, 40, "-");
    return text;
}

static int parsed(const char *text, const char *what, json_t **ret, struct err *err) {
    return json_read(str_of(text), what, ret, err);
}

/* --- show --- */

static int datasets_print(struct job *j) {
    struct dataset_list all;
    char text[40];
    int rc = datasets_list(j->c, &j->mem, &all, &j->err);
    for (size_t i = 0; !rc && i < all.count; i++)
        printf("%-24s %4lld versions  %s\n", all.list[i].id, (long long)all.list[i].versions,
               date(all.list[i].created_at, text));
    return rc;
}

static int show(struct job *j, const char *name, bool json) {
    struct dataset_version v;
    json_t *counts = NULL, *recipe = NULL;
    char text[40];
    int rc = data_version_named(j->c, name, &j->mem, &v, &j->err);
    if (!rc) rc = parsed(v.counts, v.id, &counts, &j->err);
    if (!rc) rc = parsed(v.recipe, v.id, &recipe, &j->err);
    if (!rc && json) {
        json_object_set_new(counts, "version", json_string(v.id));
        json_object_set_new(counts, "root", json_string(v.root));
        json_object_set_new(counts, "created_at", json_integer(v.created_at));
        json_object_set(counts, "recipe", recipe);
        cli_print_json(counts);
    } else if (!rc) {
        printf("%s  %s  %s\n", v.id, v.root, date(v.created_at, text));
        data_counts_print(counts);
    }
    json_decref(counts);
    json_decref(recipe);
    return rc;
}

int cmd_data_show(int argc, char **argv) {
    bool json = false;
    struct opt opts[] = {{"json", NULL, OPT_FLAG, &json, "counts and recipe as JSON", 0, NULL},
                         {0}};
    struct usage u = {.command = "data show",
                      .args = "[NAME[@VERSION]]",
                      .opts = opts,
                      .args_max = 1,
                      .summary = "What a version holds: rows, splits, sources, what was dropped. "
                                 "Without a name: all datasets.",
                      .example = "attune data show support"};
    struct job j;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    int rc = job_open(&j);
    if (!rc) rc = u.positional_count ? show(&j, u.positional[0], json) : datasets_print(&j);
    return job_end(&j, "data show", rc);
}

/* --- log --- */

static int log_line(const struct dataset_version *v, bool json, struct err *err) {
    json_t *counts = NULL, *recipe = NULL;
    char text[40];
    int rc = parsed(v->counts, v->id, &counts, err);
    if (!rc) rc = parsed(v->recipe, v->id, &recipe, err);
    const json_t *splits = json_object_get(counts, "splits");
    if (!rc && json) {
        json_t *o =
            json_pack("{s:s, s:s, s:I, s:O, s:O}", "version", v->id, "root", v->root, "created_at",
                      (json_int_t)v->created_at, "splits", splits, "recipe", recipe);
        cli_print_json(o);
        json_decref(o);
    } else if (!rc) {
        printf("%-16s %s  %.12s  %lld train, %lld valid, %lld test", v->id,
               date(v->created_at, text), v->root,
               (long long)json_integer_value(json_object_get(splits, "train")),
               (long long)json_integer_value(json_object_get(splits, "valid")),
               (long long)json_integer_value(json_object_get(splits, "test")));
        const json_t *in;
        size_t i;
        json_array_foreach(json_object_get(recipe, "inputs"), i, in)
            printf("%s %s=%s", i ? "," : "  from", line_text(in, "source"), line_text(in, "name"));
        size_t back = json_object_size(json_object_get(recipe, "restored"));
        if (back) printf("  %zu put back", back);
        printf("\n");
    }
    json_decref(counts);
    json_decref(recipe);
    return rc;
}

int cmd_data_log(int argc, char **argv) {
    bool json = false;
    struct opt opts[] = {{"json", NULL, OPT_FLAG, &json, "a JSON line each", 0, NULL}, {0}};
    struct usage u = {.command = "data log",
                      .args = "NAME",
                      .opts = opts,
                      .args_min = 1,
                      .args_max = 1,
                      .summary = "The versions of a dataset, oldest first.",
                      .example = "attune data log support"};
    struct job j;
    struct version_list all = {.count = 0};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    int rc = job_open(&j);
    if (!rc) rc = datasets_versions(j.c, u.positional[0], &j.mem, &all, &j.err);
    for (size_t i = 0; !rc && i < all.count; i++) rc = log_line(&all.list[i], json, &j.err);
    return job_end(&j, "data log", rc);
}

/* --- diff --- */

struct diffing {
    bool json;
    int64_t counts[3];
};

static int diff_line(void *ctx, const struct version_change *change, struct err *err) {
    static const char *const words[] = {"added", "removed", "changed"};
    struct diffing *d = ctx;
    const json_t *row = change->after ? change->after : change->before;
    (void)err;
    d->counts[change->kind]++;
    const char *why = change->rejected ? line_text(change->rejected, "reason") : "";
    const char *kind = change->rejected ? line_text(change->rejected, "kind") : "";
    if (change->kind == ROW_REMOVED && !change->rejected) why = "no longer in the sources";
    if (d->json) {
        json_t *o = json_pack("{s:s, s:O}", "change", words[change->kind], "row",
                              json_object_get(row, "row"));
        if (change->before) json_object_set(o, "before", (json_t *)change->before);
        if (change->after) json_object_set(o, "after", (json_t *)change->after);
        if (*kind) json_object_set_new(o, "kind", json_string(kind));
        if (*why) json_object_set_new(o, "reason", json_string(why));
        cli_print_json(o);
        json_decref(o);
        return 0;
    }
    printf("%c %.12s  %-5s %-10s %s", "+-~"[change->kind], line_text(row, "row"),
           line_text(row, "split"), line_text(row, "source"), line_text(row, "id"));
    if (change->kind == ROW_CHANGED)
        printf("  was %s, %s, %s", line_text(change->before, "split"),
               line_text(change->before, "source"), line_text(change->before, "quality"));
    if (*kind) printf("  %s:", kind);
    if (*why) printf("  %s", why);
    printf("\n");
    return 0;
}

int cmd_data_diff(int argc, char **argv) {
    struct diffing d = {.json = false};
    struct opt opts[] = {{"json", NULL, OPT_FLAG, &d.json, "a JSON line each", 0, NULL}, {0}};
    struct usage u = {.command = "data diff",
                      .args = "NAME@A NAME@B",
                      .opts = opts,
                      .args_min = 2,
                      .args_max = 2,
                      .summary = "Rows that the second version has and the first has not, the "
                                 "reverse, and those that changed, with reasons.",
                      .example = "attune data diff support@2 support@3"};
    struct job j;
    struct dataset_version a, b;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    int rc = job_open(&j);
    if (!rc) rc = data_version_named(j.c, u.positional[0], &j.mem, &a, &j.err);
    if (!rc) rc = data_version_named(j.c, u.positional[1], &j.mem, &b, &j.err);
    if (!rc) rc = versions_diff(j.c, a.id, b.id, diff_line, &d, &j.err);
    if (!rc && !d.json)
        printf("%lld added, %lld removed, %lld changed\n", (long long)d.counts[ROW_ADDED],
               (long long)d.counts[ROW_REMOVED], (long long)d.counts[ROW_CHANGED]);
    return job_end(&j, "data diff", rc);
}

/* --- export --- */

int cmd_data_export(int argc, char **argv) {
    const char *out = NULL;
    struct opt opts[] = {{"out", "DIR", OPT_STR, &out, "where the files go", 0, NULL}, {0}};
    struct usage u = {.command = "data export",
                      .args = "NAME[@VERSION] --out DIR",
                      .opts = opts,
                      .args_min = 1,
                      .args_max = 1,
                      .required = "out",
                      .summary = "train.jsonl, valid.jsonl and test.jsonl in OpenAI's form, and "
                                 "manifest.jsonl with what is known of each row.",
                      .example = "attune data export support@3 --out rows"};
    struct job j;
    struct dataset_version v;
    int64_t counts[SPLITS];
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    int rc = job_open(&j);
    if (!rc) rc = data_version_named(j.c, u.positional[0], &j.mem, &v, &j.err);
    if (!rc) rc = version_export(j.c, v.id, out, counts, &j.err);
    for (int s = 0; !rc && s < SPLITS; s++)
        if (counts[s])
            printf("%s/%s.jsonl  %lld rows\n", out, split_name((enum split)s),
                   (long long)counts[s]);
    return job_end(&j, "data export", rc);
}

/* --- rejected --- */

static void rejected_print(const json_t *line) {
    const json_t *origin = json_object_get(line, "origin");
    double similarity = json_number_value(json_object_get(line, "similarity"));
    printf("%-12.12s  %-8s %-22s row %lld  %s", line_text(line, "row"), line_text(line, "action"),
           line_text(line, "kind"), (long long)json_integer_value(json_array_get(origin, 1)),
           line_text(line, "reason"));
    if (similarity > 0 && similarity < 1) printf("  %.2f", similarity);
    if (*line_text(line, "twin") && strcmp(line_text(line, "twin"), line_text(line, "row")) != 0)
        printf("  (%.12s)", line_text(line, "twin"));
    printf("\n");
}

static int rejected(struct job *j, const char *name, const char *kind, bool json) {
    struct dataset_version v;
    struct row_list l = {.line = 0};
    json_t *line = NULL;
    int rc = data_version_named(j->c, name, &j->mem, &v, &j->err);
    if (!rc) rc = row_list_open(j->c, v.id, DATASET_REJECTED, &l, &j->err);
    while (!rc && (rc = row_list_next(&l, &line, &j->err)) == 1) {
        bool wanted = !kind || strcmp(line_text(line, "kind"), kind) == 0;
        if (wanted && json) cli_print_json(line);
        if (wanted && !json) rejected_print(line);
        json_decref(line);
        rc = 0;
    }
    row_list_close(&l);
    return rc;
}

int cmd_data_rejected(int argc, char **argv) {
    bool json = false;
    const char *kind = NULL;
    struct opt opts[] = {
        {"kind", "K", OPT_STR, &kind, "of this kind only, as near_duplicate", 0, NULL},
        {"json", NULL, OPT_FLAG, &json, "a JSON line each, with the row's content", 0, NULL},
        {0}};
    struct usage u = {.command = "data rejected",
                      .args = "NAME[@VERSION]",
                      .opts = opts,
                      .args_min = 1,
                      .args_max = 1,
                      .summary = "Rows that were dropped, changed or only remarked on, each with "
                                 "its reason. \"attune data restore\" puts dropped ones back.",
                      .example = "attune data rejected support --kind near_duplicate"};
    struct job j;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    int rc = job_open(&j);
    if (!rc) rc = rejected(&j, u.positional[0], kind, json);
    return job_end(&j, "data rejected", rc);
}
