/* attune data build, restore, reproduce: versions of datasets. */
#include "cli/data_versions.h"

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "data/build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- words of the command line --- */

/* "10%" or "0.1" */
static int share_parse(const char *option, const char *text, double *ret, struct err *err) {
    char *end;
    double v = text ? strtod(text, &end) : 0;
    if (!text) return 0;
    if (end != text && *end == '%') {
        v /= 100;
        end++;
    }
    if (end == text || *end || !(v >= 0 && v < 1))
        return err_set(err, ERR_USAGE, "--%s is a share of the rows as 10%% or 0.1, not \"%.40s\"",
                       option, text);
    *ret = v;
    return 0;
}

/* "2026-11-01", or seconds since 1970 */
static int time_parse(const char *option, const char *text, int64_t *ret, struct err *err) {
    struct tm tm = {.tm_mday = 0};
    char *end = NULL;
    if (!text) return 0;
    char *rest = strptime(text, "%Y-%m-%d", &tm);
    if (rest && !*rest) {
        *ret = (int64_t)timegm(&tm);
        return 0;
    }
    long long seconds = strtoll(text, &end, 10);
    if (end == text || *end || seconds < 0)
        return err_set(err, ERR_USAGE,
                       "--%s is a day as 2026-11-01 or seconds since 1970, not \"%.40s\"", option,
                       text);
    *ret = seconds;
    return 0;
}

static int word_parse(const char *option, const char *text, const char *const *words, int count,
                      int *ret, struct err *err) {
    for (int i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0) {
            *ret = i;
            return 0;
        }
    return err_set(err, ERR_USAGE, "--%s does not know \"%.40s\"; see \"attune data build --help\"",
                   option, text);
}

/* human=FILE, production=FILE, production, production=stored, synthetic=FILE */
static int from_parse(const char *text, struct build_from *ret, struct err *err) {
    size_t n = strcspn(text, "=");
    for (int s = 0; s < BUILD_SOURCES; s++) {
        const char *name = build_source_name((enum build_source)s);
        if (strlen(name) != n || strncmp(name, text, n) != 0) continue;
        *ret = (struct build_from){(enum build_source)s, text[n] ? text + n + 1 : NULL};
        if (s == BUILD_PRODUCTION && ret->path && strcmp(ret->path, "stored") == 0)
            ret->path = NULL;
        return 0;
    }
    return err_set(err, ERR_USAGE,
                   "--from is human=FILE, production[=FILE] or synthetic=FILE, not \"%.80s\"",
                   text);
}

struct build_words {
    struct opt_list from, against, metadata;
    const char *valid, *test, *since, *until, *pii, *stratify, *min_feedback, *min_score;
    bool json;
    int threads;
};

struct build_plan {
    struct build_options o;
    struct build_from from[OPT_LIST_MAX];
    struct meta_filter metadata[META_FILTERS_MAX];
};

static int metadata_parse(const struct opt_list *list, struct build_plan *p, struct err *err) {
    if (list->count > META_FILTERS_MAX)
        return err_set(err, ERR_USAGE, "at most %d --metadata", META_FILTERS_MAX);
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->values[i], *eq = strchr(text, '=');
        if (!eq || eq == text)
            return err_set(err, ERR_USAGE, "--metadata is key=value, not \"%.80s\"", text);
        p->metadata[i] = (struct meta_filter){{text, (size_t)(eq - text)}, str_of(eq + 1)};
    }
    p->o.filter.metadata = p->metadata;
    p->o.filter.metadata_count = list->count;
    return 0;
}

static int score_parse(const char *text, double *ret, struct err *err) {
    char *end;
    *ret = -2;
    if (!text) return 0;
    *ret = strtod(text, &end);
    if (end == text || *end || !(*ret >= -1 && *ret <= 1))
        return err_set(err, ERR_USAGE, "--min-feedback is a score from -1 to 1, not \"%.40s\"",
                       text);
    return 0;
}

static int plan_parse(const struct build_words *w, struct build_plan *p, struct err *err) {
    static const char *const pii[] = {"drop", "mask", "pseudonym", "report"};
    static const char *const strata[] = {"auto", "label", "source", "none"};
    int how = 0, by = 0;
    int rc = share_parse("valid", w->valid, &p->o.valid, err);
    if (!rc) rc = share_parse("test", w->test, &p->o.test, err);
    if (!rc) rc = time_parse("since", w->since, &p->o.filter.since, err);
    if (!rc) rc = time_parse("until", w->until, &p->o.filter.until, err);
    if (!rc) rc = word_parse("pii", w->pii, pii, 4, &how, err);
    if (!rc) rc = word_parse("stratify", w->stratify, strata, 4, &by, err);
    if (!rc) rc = score_parse(w->min_feedback, &p->o.min_feedback, err);
    if (!rc) rc = metadata_parse(&w->metadata, p, err);
    for (size_t i = 0; !rc && i < w->from.count; i++)
        rc = from_parse(w->from.values[i], &p->from[i], err);
    p->o.pii = (enum build_pii)how;
    p->o.stratify = (enum build_stratify)by;
    p->o.from = p->from;
    p->o.from_count = w->from.count;
    p->o.against = w->against.values;
    p->o.against_count = w->against.count;
    return rc;
}

/* --- what came of it --- */

static long long number(const json_t *o, const char *key) {
    return (long long)json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key) {
    const char *z = json_string_value(json_object_get(o, key));
    return z ? z : "";
}

static void sources_print(const json_t *counts) {
    const json_t *s;
    size_t i;
    json_array_foreach(json_object_get(counts, "sources"), i, s) {
        if (strcmp(text(s, "source"), "against") == 0) {
            printf("  against     %s: %lld held-out rows\n", text(s, "name"), number(s, "read"));
            continue;
        }
        printf("  %-11s %s: %lld read, %lld kept, %lld dropped", text(s, "source"), text(s, "name"),
               number(s, "read"), number(s, "kept"), number(s, "dropped"));
        if (number(s, "edited")) printf(", %lld edited", number(s, "edited"));
        printf("\n");
        if (*text(s, "reason")) printf("              %s\n", text(s, "reason"));
    }
    if (number(counts, "left_out"))
        printf("  %lld answers in use were left out by the filter\n", number(counts, "left_out"));
}

static void kinds_print(const json_t *counts) {
    const json_t *k;
    const char *name;
    static const char *const does[] = {"dropped", "edited", "reported"};
    for (size_t d = 0; d < sizeof does / sizeof *does; d++)
        json_object_foreach(json_object_get(counts, "kinds"), name, k) {
            if (number(k, does[d])) printf("  %-9s %6lld  %s\n", does[d], number(k, does[d]), name);
        }
}

void data_counts_print(const json_t *counts) {
    const json_t *splits = json_object_get(counts, "splits");
    printf("  %lld rows: %lld train, %lld valid, %lld test\n", number(counts, "rows"),
           number(splits, "train"), number(splits, "valid"), number(splits, "test"));
    sources_print(counts);
    kinds_print(counts);
}

static void built_json(const struct built *b) {
    json_t *o = json_copy(b->counts);
    json_object_set_new(o, "version", json_string(b->version.id));
    json_object_set_new(o, "root", json_string(b->version.root));
    json_object_set_new(o, "unchanged", json_boolean(b->unchanged));
    cli_print_json(o);
    json_decref(o);
}

static void built_print(const struct built *b) {
    const char *name = b->version.dataset;
    printf("%s  %s%s\n", b->version.id, b->version.root, b->unchanged ? "  (unchanged)" : "");
    data_counts_print(b->counts);
    if (json_object_size(json_object_get(b->counts, "kinds")))
        printf("attune data rejected %s shows every one of them with its reason\n", name);
    printf("next: attune tune --base MODEL --data %s --out DIR\n", name);
}

/* Of a build that the guard stopped, what it would have dropped; then the error. */
static int end(const char *command, int rc, struct built *b, bool json, const struct err *err) {
    if (rc && b->counts) {
        fprintf(stderr, "no version was made\n");
        if (json) cli_print_json(b->counts);
        if (!json) data_counts_print(b->counts);
    }
    if (!rc && json) built_json(b);
    if (!rc && !json) built_print(b);
    int code = rc ? cli_fail(command, err) : 0;
    build_release(b);
    return code;
}

static int build(struct build_plan *p, const struct build_words *w) {
    struct catalog *c = NULL;
    struct built built = {.counts = NULL};
    struct err err;
    int rc = plan_parse(w, p, &err);
    if (!rc) rc = catalog_open(NULL, &c, &err);
    p->o.pool = pool_new(w->threads);
    if (!rc) rc = build_run(c, &p->o, &built, &err);
    pool_free(p->o.pool);
    catalog_close(c);
    return end("data build", rc, &built, w->json, &err);
}

int cmd_data_build(int argc, char **argv) {
    struct build_words w = {.pii = "drop", .stratify = "auto"};
    struct build_plan p = {.o = {.salt = 42}};
    struct opt opts[] = {
        {"from", "KIND=FILE", OPT_LIST, &w.from,
         "human=FILE, production=FILE, production (our stored completions), synthetic=FILE; again "
         "for more",
         0, NULL},
        {"valid", "SHARE", OPT_STR, &w.valid, "of the rows for validation, as 10%", 0, NULL},
        {"test", "SHARE", OPT_STR, &w.test, "of the rows for the test, as 10%", 0, NULL},
        {"against", "FILE", OPT_LIST, &w.against,
         "held-out cases: training rows that give one away are dropped; again for more", 0, NULL},
        {"pii", "HOW", OPT_STR, &w.pii,
         "rows with personal data: drop (default), mask, pseudonym or report", 0, NULL},
        {"stratify", "BY", OPT_STR, &w.stratify, "auto (default), label, source or none", 0, NULL},
        {"near", "X", OPT_DOUBLE, &p.o.near, "similarity of near duplicates (default: 0.80)", 0.7,
         NULL},
        {"since", "DAY", OPT_STR, &w.since, "production: from this day or second on", 0, NULL},
        {"until", "DAY", OPT_STR, &w.until, "production: before this day or second", 0, NULL},
        {"production-model", "NAME", OPT_STR, &p.o.filter.model, "production: of this model", 0,
         NULL},
        {"metadata", "K=V", OPT_LIST, &w.metadata, "production: with this; again for more", 0,
         NULL},
        {"min-feedback", "X", OPT_STR, &w.min_feedback,
         "production: rated X or better, from -1 to 1", 0, NULL},
        {"seed", "S", OPT_U64, &p.o.salt, "of the split (default: 42)", 0, NULL},
        {"yes", NULL, OPT_FLAG, &p.o.yes, "even where more than a fifth of a source is dropped", 0,
         NULL},
        {"json", NULL, OPT_FLAG, &w.json, "counts as JSON", 0, NULL},
        {"threads", "N", OPT_INT, &w.threads, "default: all cores; does not change the result", 1,
         NULL},
        {0}};
    struct usage u = {
        .command = "data build",
        .args = "NAME --from human=FILE [--valid 10% --test 10%]",
        .opts = opts,
        .args_min = 1,
        .args_max = 1,
        .summary = "A version of a dataset: checked, without duplicates and leaks, split so "
                   "that related rows stay together. Every dropped row keeps its reason.",
        .example = "attune data build support --from human=rows.jsonl --valid 10% --test "
                   "10%"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    p.o.name = u.positional[0];
    return build(&p, &w);
}

int cmd_data_restore(int argc, char **argv) {
    struct build_restore r = {.reason = NULL};
    int threads = 0;
    bool json = false;
    struct opt opts[] = {{"reason", "TEXT", OPT_STR, &r.reason, "why they are right", 0, NULL},
                         {"json", NULL, OPT_FLAG, &json, "counts as JSON", 0, NULL},
                         {"threads", "N", OPT_INT, &threads, "default: all cores", 1, NULL},
                         {0}};
    struct usage u = {.command = "data restore",
                      .args = "NAME ROW... --reason TEXT",
                      .opts = opts,
                      .args_min = 2,
                      .args_max = OPT_LIST_MAX,
                      .required = "reason",
                      .summary =
                          "Rejected rows, by the beginning of their hashes, come back: a new "
                          "version from the same inputs.",
                      .example = "attune data restore support 3f9a2c81 --reason \"no real name\""};
    struct catalog *c = NULL;
    struct built built = {.counts = NULL};
    struct err err;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    r.name = u.positional[0];
    r.rows = u.positional + 1;
    r.count = (size_t)u.positional_count - 1;
    r.pool = pool_new(threads);
    int rc = catalog_open(NULL, &c, &err);
    if (!rc) rc = build_restore(c, &r, &built, &err);
    pool_free(r.pool);
    catalog_close(c);
    return end("data restore", rc, &built, json, &err);
}

int cmd_data_reproduce(int argc, char **argv) {
    int threads = 0;
    struct opt opts[] = {{"threads", "N", OPT_INT, &threads, "default: all cores", 1, NULL}, {0}};
    struct usage u = {.command = "data reproduce",
                      .args = "NAME[@VERSION]",
                      .opts = opts,
                      .args_min = 1,
                      .args_max = 1,
                      .summary =
                          "Builds a version again from its recipe and the inputs kept with it, and "
                          "compares the root. Writes nothing.",
                      .example = "attune data reproduce support@3"};
    struct catalog *c = NULL;
    struct arena mem;
    struct dataset_version v;
    struct err err;
    char root[65];
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    arena_init(&mem, (size_t)256 << 20);
    struct pool *pool = pool_new(threads);
    int rc = catalog_open(NULL, &c, &err);
    if (!rc) rc = data_version_named(c, u.positional[0], &mem, &v, &err);
    if (!rc) rc = build_reproduce(c, &v, pool, root, &err);
    if (!rc && strcmp(root, v.root) != 0)
        rc = err_set(&err, ERR_CORRUPT, "%s came out as %s, not as %s", v.id, root, v.root);
    if (!rc) printf("%s  %s  the same\n", v.id, root);
    pool_free(pool);
    catalog_close(c);
    arena_release(&mem);
    return rc ? cli_fail("data reproduce", &err) : 0;
}
