/* attune monitor: what the request log says of each model: requests, tokens, times, cost, and
 * whether what comes in and goes out has drifted. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "eval/monitor.h"
#include "registry/names.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MEM_MAX ((size_t)256 << 20)
#define PRICES_EXAMPLE "--price starter=0.5,1.5"

struct monitor {
    const char *since, *model, *baseline;
    struct opt_list prices;
    bool json;
    double alpha;
    int64_t window;

    struct catalog *c;
    struct arena mem;
    int64_t since_ms, from_ms, to_ms;
    int64_t alarms;
    json_t *models; /* with --json */
};

/* --- options --- */

/* a time, or how long ago: "90m", "24h", "7d" */
static int since_of(const char *text, int64_t *ret_ms, struct err *err) {
    long long n;
    char unit, rest;
    if (sscanf(text, "%lld%c%c", &n, &unit, &rest) == 2 && n >= 0 && n < 1000000 &&
        strchr("mhd", unit)) {
        *ret_ms = clock_unix_ms() - n * (unit == 'm' ? 60 : unit == 'h' ? 3600 : 86400) * 1000;
        return 0;
    }
    if (cli_time_parse(text, ret_ms)) return 0;
    return err_set(err, ERR_USAGE,
                   "\"%.60s\" is no time; write 2026-11-21, \"2026-11-21 18:30\" (UTC), Unix "
                   "seconds, or how long ago: 90m, 24h, 7d",
                   text);
}

/* FROM..TO */
static int baseline_of(struct monitor *m, struct err *err) {
    const char *dots = strstr(m->baseline, "..");
    if (!dots)
        return err_set(err, ERR_USAGE,
                       "--baseline is FROM..TO, for example 2026-11-01..2026-11-08, not \"%.60s\"",
                       m->baseline);
    const char *from = arena_strndup(&m->mem, m->baseline, (size_t)(dots - m->baseline));
    int rc = since_of(from ? from : "", &m->from_ms, err);
    if (!rc) rc = since_of(dots + 2, &m->to_ms, err);
    if (!rc && m->from_ms >= m->to_ms)
        rc = err_set(err, ERR_USAGE, "--baseline %s ends before it begins", m->baseline);
    return rc;
}

/* An alias stands for the model that it leads to now; any other name for itself, since the log may
 * know models that are gone. */
static int model_of(struct monitor *m, struct err *err) {
    struct named_model found;
    if (!m->model) return 0;
    int rc = names_resolve(m->c, m->model, &m->mem, &found, err);
    if (!rc) m->model = found.id;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* --- cost --- */

/* MODEL=IN,OUT, per million tokens */
static bool price_parse(const char *text, struct str *ret_model, double *ret_in, double *ret_out) {
    const char *sign = strrchr(text, '=');
    char rest;
    if (!sign || sscanf(sign + 1, "%lf,%lf%c", ret_in, ret_out, &rest) != 2) return false;
    *ret_model = (struct str){text, (size_t)(sign - text)};
    return *ret_in >= 0 && *ret_out >= 0;
}

static int check_prices(const struct monitor *m, struct err *err) {
    struct str model;
    double in, out;
    for (size_t i = 0; i < m->prices.count; i++)
        if (!price_parse(m->prices.values[i], &model, &in, &out))
            return err_set(err, ERR_USAGE,
                           "--price is MODEL=IN,OUT per million tokens, for example %s, not "
                           "\"%.100s\"",
                           PRICES_EXAMPLE, m->prices.values[i]);
    return 0;
}

/* NAN: no price is known, which is not 0 */
static double cost_of(const struct monitor *m, const struct request_usage *u) {
    struct str model;
    double in, out;
    for (size_t i = 0; i < m->prices.count; i++)
        if (price_parse(m->prices.values[i], &model, &in, &out) && str_is(model, u->model))
            return ((double)u->prompt_tokens * in + (double)u->completion_tokens * out) / 1e6;
    return NAN;
}

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static void print_number(const char *format, int width, double x) {
    if (isfinite(x))
        printf(format, width, x);
    else
        printf(" %*s", width, "-");
}

/* --- usage --- */

static json_t *usage_json(const struct monitor *m, const struct request_usage *u) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "requests", (json_int_t)u->requests,
                     "failed", (json_int_t)u->failed, "prompt_tokens", (json_int_t)u->prompt_tokens,
                     "completion_tokens", (json_int_t)u->completion_tokens, "cached_tokens",
                     (json_int_t)u->cached_tokens, "cost", number(cost_of(m, u)));
}

static void print_usage(const struct monitor *m, const char *name, const struct request_usage *u) {
    printf("%-32s %8lld %7lld %11lld %11lld %11lld", name, (long long)u->requests,
           (long long)u->failed, (long long)u->prompt_tokens, (long long)u->completion_tokens,
           (long long)u->cached_tokens);
    print_number(" %*.4f", 11, cost_of(m, u));
}

static void add_usage(struct request_usage *sum, const struct request_usage *u) {
    sum->requests += u->requests;
    sum->failed += u->failed;
    sum->prompt_tokens += u->prompt_tokens;
    sum->completion_tokens += u->completion_tokens;
    sum->cached_tokens += u->cached_tokens;
}

static int times_of(const struct monitor *m, const char *model, double t[4], struct err *err) {
    static const double q[] = {0.5, 0.95};
    int rc = 0;
    for (int i = 0; !rc && i < 4; i++)
        rc = requests_quantile(m->c, model, m->since_ms, i < 2 ? REQUEST_FIRST : REQUEST_TOTAL,
                               q[i % 2], &t[i], err);
    return rc;
}

/* --- drift --- */

static json_t *stream_json(const struct monitor_stream *s) {
    return json_pack("{s:s, s:o, s:o, s:o, s:f, s:f, s:f, s:f, s:b}", "stream", s->name, "baseline",
                     number(s->value[0]), "before", number(s->value[1]), "last",
                     number(s->value[2]), "p_before", s->before.p, "p_last", s->last.p, "statistic",
                     s->last.statistic, "psi", s->last.psi, "alarm", s->alarm);
}

static json_t *drift_json(const struct monitor_drift *d) {
    json_t *list = json_array(), *novel = json_array();
    for (int i = 0; d->tested && i < MONITOR_STREAMS; i++)
        json_array_append_new(list, stream_json(&d->stream[i]));
    for (int i = 0; i < d->novel_count; i++)
        json_array_append_new(
            novel, json_pack("{s:f, s:I, s:s?}", "bits_per_word", d->novel[i].bits, "at_ms",
                             (json_int_t)d->novel[i].at_ms, "text", d->novel[i].text));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:I, s:o, s:o}", "baseline_rows",
                     (json_int_t)d->baseline_rows, "baseline_from_ms", (json_int_t)d->from_ms,
                     "baseline_to_ms", (json_int_t)d->to_ms, "rows", (json_int_t)d->rows, "windows",
                     (json_int_t)d->windows, "tested", d->tested, "level", d->level, "alarms",
                     (json_int_t)d->alarms, "streams", list, "novel", novel);
}

static void print_stream(const struct monitor_stream *s) {
    static const char *const formats[] = {" %*.3f", " %*.1f", " %*.4f"};
    printf("    %-18s", s->name);
    for (int i = 0; i < 3; i++) print_number(formats[s->kind], 9, s->value[i]);
    printf(" %9.2g %9.2g %8.3f%s\n", s->before.p, s->last.p, s->last.psi,
           s->alarm ? "  ALARM" : "");
}

static void print_drift(const struct monitor *m, const struct monitor_drift *d) {
    char from[40], to[40];
    int64_t window = m->window ? m->window : MONITOR_WINDOW;
    if (!d->tested) {
        printf("  drift: not tested: %lld requests of a baseline, %lld after it; needed are %lld "
               "and 2 windows of %lld\n",
               (long long)d->baseline_rows, (long long)d->rows, (long long)window,
               (long long)window);
        return;
    }
    cli_time(d->from_ms / 1000, from);
    cli_time(d->to_ms / 1000, to);
    printf("  drift against %lld requests of %s to %s;", (long long)d->baseline_rows, from, to);
    cli_time(d->last_from_ms / 1000, from);
    cli_time(d->last_to_ms / 1000, to);
    printf(" last window %s to %s\n    %-18s %9s %9s %9s %9s %9s %8s\n", from, to, "", "baseline",
           "before", "last", "p before", "p last", "PSI");
    for (int i = 0; i < MONITOR_STREAMS; i++) print_stream(&d->stream[i]);
    if (d->alarms)
        printf("  %lld alarm%s: p at most %.2g in two windows in a row\n", (long long)d->alarms,
               d->alarms == 1 ? "" : "s", d->level);
    else
        printf("  no alarm: that would be p at most %.2g in two windows in a row\n", d->level);
    for (int i = 0; i < d->novel_count; i++)
        printf("    %5.1f bits a word: %s\n", d->novel[i].bits,
               d->novel[i].text ? d->novel[i].text : "");
}

/* --- one model --- */

static int show_model(struct monitor *m, const struct request_usage *list, size_t n,
                      struct err *err) {
    struct request_usage sum = {.model = list[0].model};
    struct monitor_drift d;
    double t[4];
    struct monitor_options o = {.model = sum.model,
                                .from_ms = m->from_ms,
                                .to_ms = m->to_ms,
                                .window = m->window,
                                .alpha = m->alpha};
    for (size_t i = 0; i < n; i++) add_usage(&sum, &list[i]);
    int rc = times_of(m, sum.model, t, err);
    if (!rc) rc = monitor_drift(m->c, &o, &m->mem, &d, err);
    if (rc) return rc;
    m->alarms += d.alarms;
    if (m->json) {
        json_t *v = usage_json(m, &sum), *keys = json_object();
        for (size_t i = 0; i < n; i++)
            json_object_set_new(keys, list[i].key, usage_json(m, &list[i]));
        json_object_set_new(v, "model", json_string(sum.model));
        json_object_set_new(v, "first_ms",
                            json_pack("{s:o, s:o}", "p50", number(t[0]), "p95", number(t[1])));
        json_object_set_new(v, "total_ms",
                            json_pack("{s:o, s:o}", "p50", number(t[2]), "p95", number(t[3])));
        json_object_set_new(v, "keys", keys);
        json_object_set_new(v, "drift", drift_json(&d));
        json_array_append_new(m->models, v);
        return 0;
    }
    print_usage(m, sum.model, &sum);
    for (int i = 0; i < 4; i++) print_number(" %*.0f", 7, t[i]);
    putchar('\n');
    for (size_t i = 0; i < n; i++) {
        char name[80];
        snprintf(name, sizeof name, "  key %.60s", list[i].key[0] ? list[i].key : "(none)");
        print_usage(m, name, &list[i]);
        putchar('\n');
    }
    print_drift(m, &d);
    return 0;
}

/* what the server's own looks, which take the default window and baseline, have told */
static int print_told(struct monitor *m, struct err *err) {
    struct alarm_list l;
    int rc = alarms_list(m->c, &m->mem, &l, err);
    for (size_t i = 0; !rc && i < l.count; i++) {
        char since[40];
        if (m->model && strcmp(m->model, l.list[i].model) != 0) continue;
        cli_time(l.list[i].at, since);
        printf("told by the server %s: drift of %s, %s\n", since, l.list[i].model,
               l.list[i].stream);
    }
    return rc;
}

static int show(struct monitor *m, struct err *err) {
    struct usage_list used;
    int rc = requests_usage(m->c, m->model, m->since_ms, &m->mem, &used, err);
    if (rc) return rc;
    if (!used.count && !m->json) printf("the request log has nothing of this\n");
    if (used.count && !m->json)
        printf("%-32s %8s %7s %11s %11s %11s %11s %15s %15s\n", "model", "requests", "failed",
               "tokens in", "tokens out", "cached", "cost", "first p50/p95", "ms p50/p95");
    for (size_t i = 0, n; !rc && i < used.count; i += n) {
        for (n = 1; i + n < used.count && !strcmp(used.list[i].model, used.list[i + n].model);) n++;
        rc = show_model(m, &used.list[i], n, err);
    }
    if (!rc && !m->json) rc = print_told(m, err);
    if (!rc && m->json) {
        json_t *all = json_pack("{s:I, s:O, s:I}", "since_ms", (json_int_t)m->since_ms, "models",
                                m->models, "alarms", (json_int_t)m->alarms);
        cli_print_json(all);
        json_decref(all);
    }
    return rc;
}

static int run(struct monitor *m, struct err *err) {
    int rc = check_prices(m, err);
    if (!rc && m->since) rc = since_of(m->since, &m->since_ms, err);
    if (!rc && m->baseline) rc = baseline_of(m, err);
    if (!rc) rc = catalog_open(NULL, &m->c, err);
    if (!rc) rc = model_of(m, err);
    if (!rc) rc = show(m, err);
    catalog_close(m->c);
    return rc;
}

int cmd_monitor(int argc, char **argv) {
    struct monitor m = {.window = MONITOR_WINDOW, .alpha = MONITOR_ALPHA};
    struct err err;
    struct opt opts[] = {
        {"since", "TIME", OPT_STR, &m.since,
         "count from then: a date, a time (UTC), Unix seconds, or 90m, 24h, 7d (default: all)", 0,
         NULL},
        {"model", "MODEL", OPT_STR, &m.model, "this one alone, or what an alias leads to", 0, NULL},
        {"baseline", "FROM..TO", OPT_STR, &m.baseline,
         "of drift (default: the first window after the model was promoted, else the oldest)", 0,
         NULL},
        {"window", "N", OPT_I64, &m.window, "requests of a window (default: 500)", 50, NULL},
        {"alpha", "X", OPT_DOUBLE, &m.alpha,
         "rate of false alarms over all streams of a window (default: 0.01)", 0, NULL},
        {"price", "MODEL=IN,OUT", OPT_LIST, &m.prices, "per million tokens, for the cost", 0, NULL},
        {"json", NULL, OPT_FLAG, &m.json, "one JSON object", 0, NULL},
        {0}};
    struct usage u = {.command = "monitor",
                      .args = "[OPTIONS]",
                      .opts = opts,
                      .summary =
                          "Requests, tokens, times and cost of each model and key, and whether the "
                          "last two\nwindows differ from the baseline. Exit code 3: an alarm "
                          "stands.",
                      .example = "attune monitor --since 24h " PRICES_EXAMPLE};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    arena_init(&m.mem, MEM_MAX);
    m.models = json_array();
    int rc = run(&m, &err);
    json_decref(m.models);
    arena_release(&m.mem);
    if (rc) return cli_fail("monitor", &err);
    return m.alarms ? 3 : 0;
}
