/* attune data check: exit 0 clean, 3 findings, 1 failed, 2 wrong use. */
#include "cli/cli.h"
#include "cli/cmd_data.h"
#include "cli/opts.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_FINDINGS 3
#define LENGTH_MAX 4096 /* tokens, as tuning takes it */
#define REPORT_MAX ((size_t)2 << 30)
#define PROGRESS_MS 200

struct asked {
    struct opt_list against;
    const char *model, *checks, *html, *format, *entities, *countries;
    const char *prompt_column, *answer_column, *system_column;
    bool json, feedback_given;
    double min_feedback, threshold;
    int64_t max_length;
    int threads;
    struct check_options o;
    struct model *m;
};

/* --- options --- */

static int format_parse(const char *name, enum source_format *ret, struct err *err) {
    for (enum source_format f = SOURCE_AUTO; f <= SOURCE_SNIPS; f++)
        if (strcmp(name, source_format_name(f)) == 0) {
            *ret = f;
            return 0;
        }
    struct buf b;
    buf_init(&b, 400);
    for (enum source_format f = SOURCE_AUTO; f <= SOURCE_SNIPS; f++)
        buf_printf(&b, "%s%s", f ? ", " : "", source_format_name(f));
    int rc = err_set(err, ERR_USAGE, "--format is one of %s, not \"%.40s\"", b.p, name);
    buf_release(&b);
    return rc;
}

/* "email,phone": only these; "+person": these too */
static int entities_parse(const char *list, struct pii_options *o, struct err *err) {
    bool more = *list == '+';
    if (!more) memset(o->on, 0, sizeof o->on);
    for (const char *at = list + more; *at;) {
        size_t n = strcspn(at, ",");
        enum pii_entity e;
        if (!pii_entity_of((struct str){at, n}, &e)) {
            struct buf b;
            buf_init(&b, 400);
            for (e = 0; e < PII_ENTITIES; e++) buf_printf(&b, "%s%s", e ? ", " : "", pii_label(e));
            int rc =
                err_set(err, ERR_USAGE, "--pii-entities is a list of %s, not \"%.40s\"", b.p, at);
            buf_release(&b);
            return rc;
        }
        o->on[e] = true;
        at += n + (at[n] == ',');
    }
    return 0;
}

static int countries_check(const char *list, struct pii_options *o, struct err *err) {
    struct str unknown;
    if (!pii_countries_known(str_of(list), &unknown))
        return err_set(err, ERR_USAGE,
                       "--countries takes two-letter codes such as US,DE; \"%.*s\" is not known",
                       unknown.n > 20 ? 20 : (int)unknown.n, unknown.p);
    o->countries = list;
    o->on[PII_NATIONAL_ID] = true; /* that is what countries are given for */
    return 0;
}

/* tokenizer, template and the length that tuning would take */
static int open_model(struct asked *a, struct err *err) {
    char *path = NULL;
    int64_t most = 0;
    struct err ignored;
    int rc = cli_model_path(a->model, &path, err);
    if (!rc && model_open(path, &(struct model_options){0}, &a->m, &ignored) == 0)
        most = model_config(a->m)->max_position;
    else if (!rc) /* text needs neither weights nor configuration */
        rc = model_open(path, &(struct model_options){.text_only = true}, &a->m, err);
    mem_free(path);
    if (rc) return rc;
    if (most && a->max_length > most)
        return err_set(err, ERR_USAGE, "--max-length %lld is more than the model's %lld positions",
                       (long long)a->max_length, (long long)most);
    a->o.render = (struct render_options){.tokenizer = model_tokenizer(a->m),
                                          .chat = model_template(a->m),
                                          .max_length = a->max_length               ? a->max_length
                                                        : most && most < LENGTH_MAX ? most
                                                                                    : LENGTH_MAX};
    return 0;
}

static int resolve(struct asked *a, struct err *err) {
    struct check_options *o = &a->o;
    int rc = 0;
    o->checks = CHECK_ALL;
    pii_defaults(&o->pii);
    o->against = a->against.values;
    o->against_count = a->against.count;
    o->min_feedback_given = a->feedback_given;
    o->min_feedback = a->min_feedback;
    o->threshold = a->threshold;
    o->source.prompt_column = a->prompt_column;
    o->source.answer_column = a->answer_column;
    o->source.system_column = a->system_column;
    if (a->checks) rc = check_groups_parse(a->checks, &o->checks, err);
    if (!rc && a->model) o->checks |= CHECK_TOKENS;
    if (!rc && a->checks && (o->checks & CHECK_TOKENS) && !a->model)
        rc = err_set(err, ERR_USAGE, "--checks tokens needs --model");
    if (!rc && a->checks && (o->checks & CHECK_LEAKAGE) && !a->against.count)
        rc = err_set(err, ERR_USAGE, "--checks leakage needs a held-out file: --against FILE");
    if (!rc && a->threshold > 1) rc = err_set(err, ERR_USAGE, "--similarity is from 0 to 1");
    if (!rc && a->max_length && !a->model)
        rc = err_set(err, ERR_USAGE, "--max-length counts tokens and needs --model");
    if (!rc && a->format) rc = format_parse(a->format, &o->source.format, err);
    if (!rc && a->entities) rc = entities_parse(a->entities, &o->pii, err);
    if (!rc && a->countries) rc = countries_check(a->countries, &o->pii, err);
    return rc;
}

/* --- running --- */

struct progress {
    bool live;
    int64_t total, last_ms;
};

static bool on_progress(void *ctx, int64_t bytes, int64_t rows) {
    struct progress *p = ctx;
    int64_t now = clock_ns() / 1000000;
    if (p->live && now - p->last_ms >= PROGRESS_MS) {
        p->last_ms = now;
        double part = p->total > 0 ? 100.0 * (double)bytes / (double)p->total : 0;
        fprintf(stderr, "\r%lld rows, %.0f %% \x1b[K", (long long)rows, part > 100 ? 100 : part);
    }
    return !cli_interrupted;
}

static int sizes(const struct check_options *o, int64_t *ret, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < o->file_count; i++) {
        int64_t n = 0;
        rc = file_size(o->files[i], &n, err);
        *ret += n;
    }
    return rc;
}

static int show(const struct asked *a, const struct check_report *r, struct err *err) {
    struct buf b;
    int rc = 0;
    buf_init(&b, REPORT_MAX);
    if (a->html) {
        report_html(r, &b);
        rc = buf_ok(&b) ? file_write_atomic(a->html, buf_view(&b), err) : 0;
        buf_clear(&b);
    }
    if (a->json)
        report_json(r, &b);
    else
        report_text(r, cli_is_terminal(STDOUT_FILENO), &b);
    if (!rc && !buf_ok(&b)) rc = err_set(err, ERR_LIMIT, "the report is too large");
    if (!rc) fwrite(b.p, 1, b.n, stdout);
    if (!rc && a->html && !a->json) printf("Page: %s\n", a->html);
    buf_release(&b);
    return rc;
}

static int run(struct asked *a, bool *ret_clean, struct err *err) {
    struct progress p = {.live = cli_is_terminal(STDERR_FILENO)};
    struct check_report *r = NULL;
    int rc = resolve(a, err);
    if (!rc) rc = sizes(&a->o, &p.total, err);
    if (!rc && a->model) rc = open_model(a, err);
    if (rc) return rc;
    cli_catch_interrupt();
    a->o.pool = pool_new(a->threads);
    a->o.on_progress = on_progress;
    a->o.ctx = &p;
    rc = check_run(&a->o, &r, err);
    if (p.live && p.last_ms) fprintf(stderr, "\r\x1b[K");
    pool_free(a->o.pool);
    if (!rc) rc = show(a, r, err);
    if (!rc) *ret_clean = report_is_clean(r);
    check_report_free(r);
    return rc;
}

int cmd_data_check(int argc, char **argv) {
    struct asked a = {.json = false};
    struct opt list[] = {
        {"against", "FILE", OPT_LIST, &a.against,
         "held-out cases that must not be in the data; may be given again", 0, NULL},
        {"model", "MODEL", OPT_STR, &a.model,
         "count tokens and render rows as tuning this model would", 0, NULL},
        {"max-length", "L", OPT_I64, &a.max_length, "tokens of a row (default: as tune)", 2, NULL},
        {"checks", "LIST", OPT_STR, &a.checks,
         "of format, pii, duplicates, conflicts, leakage, tokens (default: all that can be run)", 0,
         NULL},
        {"format", "NAME", OPT_STR, &a.format, "how to read the file (default: seen from it)", 0,
         NULL},
        {"prompt-column", "NAME", OPT_STR, &a.prompt_column, "column of a CSV or TSV file", 0,
         NULL},
        {"answer-column", "NAME", OPT_STR, &a.answer_column, "the same for the answer", 0, NULL},
        {"system-column", "NAME", OPT_STR, &a.system_column, "the same for the system prompt", 0,
         NULL},
        {"min-feedback", "X", OPT_DOUBLE, &a.min_feedback,
         "rows whose \"feedback\" or \"score\" is lower are findings", -1e9, &a.feedback_given},
        {"similarity", "X", OPT_DOUBLE, &a.threshold, "of near duplicates (default 0.8)", 0, NULL},
        {"pii-entities", "LIST", OPT_STR, &a.entities,
         "look for these alone, or with a + before the list for these too", 0, NULL},
        {"countries", "LIST", OPT_STR, &a.countries, "national ids and phones of, such as US,DE", 0,
         NULL},
        {"json", NULL, OPT_FLAG, &a.json, "the whole report as one JSON object", 0, NULL},
        {"html", "FILE", OPT_STR, &a.html, "also write the report as a page", 0, NULL},
        {"threads", "N", OPT_INT, &a.threads, "default: all cores; the report is the same", 1,
         NULL},
        {0}};
    struct usage u = {.command = "data check",
                      .args = "FILE...",
                      .opts = list,
                      .args_min = 1,
                      .args_max = OPT_LIST_MAX,
                      .summary =
                          "What is wrong with a file of examples, row by row, and what to do "
                          "about it. Exit 0: clean, 3: findings.",
                      .example = "attune data check support.jsonl --against test.jsonl --model "
                                 "starter --html report.html"};
    struct err err;
    bool clean = false;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    a.o.files = u.positional;
    a.o.file_count = (size_t)u.positional_count;
    int rc = run(&a, &clean, &err);
    model_close(a.m);
    if (rc) return cli_fail("data check", &err);
    return clean ? 0 : EXIT_FINDINGS;
}
