/* attune history: what an alias led to, since when, and who moved it. attune log: every event. */
#include "cli/cli.h"
#include "cli/opts.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "registry/lifecycle.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MEM_MAX ((size_t)256 << 20)
#define EVENTS_AT_ONCE 1000
#define TIME_SIZE 32

/* --- times --- */

static void time_text(int64_t at_ms, char ret[TIME_SIZE]) {
    time_t at = (time_t)(at_ms / 1000);
    struct tm tm;
    gmtime_r(&at, &tm);
    size_t n = strftime(ret, TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(ret + n, TIME_SIZE - n, ".%03dZ", (int)(at_ms % 1000));
}

/* --- one event --- */

static void print_words(const json_t *data, const char *key, const char *before) {
    const char *value = json_string_value(json_object_get(data, key));
    if (value) printf("%s%s", before, value);
}

static void print_event(const struct audit_event *e, bool json) {
    struct err none;
    char when[TIME_SIZE];
    json_t *data = NULL;
    if (json_read(str_of(e->data), "event", &data, &none) != 0) data = json_object();
    time_text(e->at_ms, when);
    if (json) {
        json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:O, s:s}", "seq", (json_int_t)e->seq,
                              "at", when, "kind", e->kind, "subject", e->subject, "actor", e->actor,
                              "data", data, "hash", e->hash);
        cli_print_json(o);
        json_decref(o);
    } else {
        const char *to = json_string_value(json_object_get(data, "to"));
        printf("%s  %-14s %s", when, e->kind, e->subject);
        print_words(data, "from", "  from ");
        if (to) printf("  to %s", to);
        printf("  by %s", e->actor);
        print_words(data, "reason", "  because: ");
        print_words(data, "override", "  OVERRIDE: ");
        print_words(data, "evidence", "  evidence ");
        putchar('\n');
    }
    json_decref(data);
}

/* Every event of the subject (NULL: of all) whose kind begins so. */
static int print_events(struct catalog *c, const char *subject, const char *kind, bool json,
                        struct err *err) {
    int64_t after = 0;
    for (bool more = true; more;) {
        struct arena mem;
        struct audit_list l = {0};
        arena_init(&mem, MEM_MAX);
        int rc = audit_events(c, subject, after, EVENTS_AT_ONCE, &mem, &l, err);
        for (size_t i = 0; !rc && i < l.count; i++)
            if (strncmp(l.list[i].kind, kind, strlen(kind)) == 0) print_event(&l.list[i], json);
        more = !rc && l.count == EVENTS_AT_ONCE;
        if (l.count) after = l.list[l.count - 1].seq;
        arena_release(&mem);
        if (rc) return rc;
    }
    return 0;
}

/* --- versions --- */

static int print_versions(struct catalog *c, bool json, struct err *err) {
    struct arena mem;
    struct version_list l = {0};
    arena_init(&mem, MEM_MAX);
    int rc = versions_list(c, &mem, &l, err);
    for (size_t i = 0; !rc && i < l.count; i++) {
        char when[TIME_SIZE];
        time_text(l.list[i].created_at * 1000, when);
        if (!json) {
            printf("%.10s  %-12s %s\n", when, l.list[i].state, l.list[i].name);
            continue;
        }
        json_t *record = NULL;
        rc = json_read(str_of(l.list[i].record), "record", &record, err);
        json_t *o = json_pack("{s:s, s:s, s:I, s:o}", "name", l.list[i].name, "state",
                              l.list[i].state, "created_at", (json_int_t)l.list[i].created_at,
                              "record", record ? record : json_null());
        cli_print_json(o);
        json_decref(o);
    }
    arena_release(&mem);
    return rc;
}

/* --- the commands --- */

static int answer_at(struct catalog *c, const char *alias, const char *at, bool json,
                     struct err *err) {
    int64_t at_ms;
    const char *model = NULL;
    struct arena mem;
    if (!alias)
        return err_set(err, ERR_USAGE, "--at needs an alias: attune history production --at TIME");
    if (!cli_time_parse(at, &at_ms))
        return err_set(err, ERR_USAGE,
                       "\"%.60s\" is no time; write 2026-11-21, \"2026-11-21 18:30\" (UTC) or Unix "
                       "seconds",
                       at);
    arena_init(&mem, MEM_MAX);
    int rc = lifecycle_at(c, alias, at_ms, &mem, &model, err);
    if (!rc && json) {
        json_t *o = json_pack("{s:s, s:I, s:s?}", "alias", alias, "at_ms", (json_int_t)at_ms,
                              "model", model);
        cli_print_json(o);
        json_decref(o);
    } else if (!rc) {
        puts(model ? model : "nothing");
    }
    arena_release(&mem);
    return rc;
}

int cmd_history(int argc, char **argv) {
    const char *at = NULL;
    bool json = false, versions = false;
    struct opt opts[] = {{"versions", NULL, OPT_FLAG, &versions,
                          "tuned models, their states and what they were made of", 0, NULL},
                         {"at", "TIME", OPT_STR, &at,
                          "what the alias led to then: a date, date and time (UTC) or Unix seconds",
                          0, NULL},
                         {"json", NULL, OPT_FLAG, &json, "one JSON object a line", 0, NULL},
                         {0}};
    struct usage u = {.command = "history",
                      .args = "[ALIAS]",
                      .opts = opts,
                      .args_max = 1,
                      .summary = "What an alias led to, since when, who moved it and why.",
                      .example = "attune history production --at \"2026-11-21 18:30\""};
    struct err err;
    struct catalog *c = NULL;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    const char *alias = u.positional_count ? u.positional[0] : NULL;
    int rc = catalog_open(NULL, &c, &err);
    if (!rc && versions)
        rc = print_versions(c, json, &err);
    else if (!rc && at)
        rc = answer_at(c, alias, at, json, &err);
    else if (!rc)
        rc = print_events(c, alias, "route.", json, &err);
    catalog_close(c);
    return rc ? cli_fail("history", &err) : 0;
}

int cmd_log(int argc, char **argv) {
    bool json = false, verify = false;
    struct opt opts[] = {{"verify", NULL, OPT_FLAG, &verify,
                          "hold every event against its hash, and the aliases against the events",
                          0, NULL},
                         {"json", NULL, OPT_FLAG, &json, "one JSON object a line", 0, NULL},
                         {0}};
    struct usage u = {.command = "log",
                      .args = "[SUBJECT]",
                      .opts = opts,
                      .args_max = 1,
                      .summary = "Every change of aliases and versions: who, when, why. Each event "
                                 "is chained to the one before by its hash.",
                      .example = "attune log --verify"};
    struct err err;
    struct catalog *c = NULL;
    int64_t count = 0;
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;
    int rc = catalog_open(NULL, &c, &err);
    if (!rc && verify) rc = audit_verify(c, &count, &err);
    if (!rc && verify) printf("%lld events are as they were written\n", (long long)count);
    if (!rc && !verify)
        rc = print_events(c, u.positional_count ? u.positional[0] : NULL, "", json, &err);
    catalog_close(c);
    return rc ? cli_fail("log", &err) : 0;
}
