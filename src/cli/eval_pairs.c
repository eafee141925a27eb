/* attune eval --pairs and --plan: what needs neither cases nor models. */
#include "cli/eval_forms.h"

#include "base/file.h"
#include "cli/cli.h"
#include "eval/pairs.h"

#include <stdio.h>

struct printer {
    bool json;
    int64_t lines;
};

/* undefined is a dash */
static void print_number(const json_t *o, const char *key, const char *form, int width) {
    const json_t *v = json_object_get(o, key);
    if (json_is_number(v))
        printf(form, json_number_value(v));
    else
        printf("%*s", width, "-");
}

static int print_row(struct printer *p, struct str line, struct err *err) {
    json_t *o = NULL;
    int rc = json_read(line, "result", &o, err);
    if (rc) return rc;
    if (p->lines++ == 0)
        printf("%-20s %7s %10s %9s %9s %9s  %s\n", "id", "cases", "difference", "low", "high", "p",
               "verdict");
    struct buf id;
    buf_init(&id, (size_t)1 << 20);
    const json_t *given = json_object_get(o, "id");
    if (json_is_string(given))
        buf_str(&id, json_str(given));
    else
        json_write(given, &id);
    printf("%-20.*s %7lld", STR_ARG(buf_view(&id)),
           (long long)json_integer_value(json_object_get(o, "n")));
    print_number(o, "difference", " %+10.4f", 11);
    print_number(o, "low", " %+9.4f", 10);
    print_number(o, "high", " %+9.4f", 10);
    print_number(o, "p", " %9.3g", 10);
    printf("  %s\n", json_string_value(json_object_get(o, "verdict")));
    buf_release(&id);
    json_decref(o);
    return 0;
}

static int print_line(void *ctx, struct str line, struct err *err) {
    struct printer *p = ctx;
    if (!p->json) return print_row(p, line, err);
    fwrite(line.p, 1, line.n, stdout);
    return 0;
}

int eval_pairs(const struct eval_options *o, struct err *err) {
    struct file_map map;
    struct printer printer = {.json = o->json};
    int rc = file_map_open(o->pairs, &map, err);
    if (rc) return rc;
    struct pairs_job job = {.path = o->pairs,
                            .text = {(const char *)map.p, map.n},
                            .options = o->compare,
                            .pool = pool_new(o->threads),
                            .out = print_line,
                            .ctx = &printer};
    rc = pairs_run(&job, err);
    pool_free(job.pool);
    file_map_close(&map);
    return rc;
}

int eval_plan(const struct eval_options *o, struct err *err) {
    int64_t cases = 0;
    int rc = plan_cases(&o->plan, &cases, err);
    if (rc) return rc;
    if (o->json) {
        json_t *j = json_pack("{s:I}", "cases", (json_int_t)cases);
        cli_print_json(j);
        json_decref(j);
        return 0;
    }
    printf(
        "%lld cases: a difference of %g, with %g %% of the cases answered differently, is found\n"
        "with probability %g at an error of %g on %s.\n",
        (long long)cases, o->plan.difference, 100 * o->plan.discordant, o->plan.power,
        o->plan.alpha, o->plan.sides == 1 ? "one side" : "two sides");
    return 0;
}
