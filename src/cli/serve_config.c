#include "cli/serve_config.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/opts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 20)
#define OPTIONS_MAX 64

/* Where the value of an option is from, by its place in the table. */
enum source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_COMMAND };
struct reading {
    struct serve_config *c;
    struct opt list[OPTIONS_MAX];
    enum source from[OPTIONS_MAX];
    bool seen[OPTIONS_MAX];
};

static void add(struct reading *r, struct opt o) {
    size_t i = 0;
    while (r->list[i].name) i++;
    if (i + 1 >= OPTIONS_MAX) abort();
    o.seen = &r->seen[i];
    r->list[i] = o;
}

static void options(struct reading *r) {
    struct serve_config *c = r->c;
    struct http_options *h = &c->http;
    const struct opt list[] = {
        {"host", "ADDRESS", OPT_STR, &h->host, "default: 127.0.0.1; others need a key first", 0, 0},
        {"port", "N", OPT_INT, &h->port, "default: 8080; 0: a free one", 0, NULL},
        {"default-model", "NAME", OPT_STR, &c->default_model,
         "answers for model names nobody knows (default: none, they are errors)", 0, NULL},
        {"max-tokens", "N", OPT_I64, &c->tokens_max,
         "of a request, prompt and answer (default: 0, what the model can)", 0, NULL},
        {"job-threads", "N", OPT_INT, &c->job_threads,
         "of a fine-tuning job (default: 0, all cores)", 0, NULL},
        {"threads", "N", OPT_INT, &c->threads, "of the arithmetic (default: 0, all cores)", 0,
         NULL},
        {"memory", "SIZE", OPT_SIZE, &c->memory,
         "for models and conversations (default: 0, 3/4 of what is free)", 0, NULL},
        {"batch", "N", OPT_INT, &c->batch_max, "answers generated at a time (default: 0, 16)", 0,
         0},
        {"queue", "N", OPT_INT, &c->queue_max, "requests that wait (default: 0, 64)", 0, NULL},
        {"connections", "N", OPT_INT, &h->connections_max, "open at a time (default: 512)", 1, 0},
        {"streams", "N", OPT_INT, &h->streams_max, "open at a time (default: 128)", 1, NULL},
        {"header-max", "SIZE", OPT_SIZE, &c->header_max, "of a request (default: 64K)", 4096, NULL},
        {"body-max", "SIZE", OPT_SIZE, &c->json_max, "of a JSON body (default: 16M)", 1024, NULL},
        {"file-max", "SIZE", OPT_SIZE, &c->upload_max, "of an uploaded file (default: 512M)", 1024,
         NULL},
        {"header-seconds", "N", OPT_INT, &h->header_seconds,
         "for a request's headers (default: 20)", 1, NULL},
        {"idle-seconds", "N", OPT_INT, &h->idle_seconds, "between requests (default: 80)", 1, NULL},
        {"body-seconds", "N", OPT_INT, &h->body_seconds,
         "for a body, and one more for each KiB (default: 30)", 1, NULL},
        {"stall-seconds", "N", OPT_INT, &h->stall_seconds,
         "without the client taking a byte of its answer (default: 60)", 1, NULL},
        {"stop-seconds", "N", OPT_INT, &c->stop_seconds,
         "for running answers after Ctrl-C or SIGTERM (default: 30)", 0, NULL},
        {"cors", "ORIGINS", OPT_STR, &h->cors,
         "sites whose pages may call, separated by spaces, or * (default: none)", 0, NULL},
        {"log", "0|1", OPT_BOOL, &c->log, "a line on stderr for each request (default: 1)", 0, 0},
        {"log-content", "0|1", OPT_BOOL, &c->log_content, "with the text of requests (default: 0)",
         0, NULL},
        {"requests", "0|1", OPT_BOOL, &c->requests,
         "a row for each answer in the request log, for \"attune monitor\" (default: 1)", 0, NULL},
        {"requests-content", "0|1", OPT_BOOL, &c->requests_content,
         "with prompt and answer, personal data masked (default: 0)", 0, NULL},
        {"requests-rows", "N", OPT_I64, &c->requests_rows, "kept (default: 1000000)", 1, NULL},
        {"requests-days", "N", OPT_I64, &c->requests_days, "kept (default: 90)", 1, NULL},
        {"config", "FILE", OPT_STR, &c->config,
         "key = value lines (default: serve.conf in $ATTUNE_HOME)", 0, NULL},
        {"print-config", NULL, OPT_FLAG, &c->print_config,
         "print all options as they would be, as such a file", 0, NULL}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) add(r, list[i]);
}

static bool is_special(const struct opt *o) {
    return strcmp(o->name, "config") == 0 || strcmp(o->name, "print-config") == 0;
}

/* header-seconds: ATTUNE_SERVE_HEADER_SECONDS */
static void env_name(const struct opt *o, char *out, size_t n) {
    snprintf(out, n, "ATTUNE_SERVE_%s", o->name);
    for (char *c = out; *c; c++) *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static int wrong_value(const struct opt *o, const char *where, const char *value, struct err *err) {
    return err_set(err, ERR_USAGE, "%s: %s takes %s, not \"%.100s\"", where, o->name,
                   o->arg ? o->arg : "0|1", value);
}

static int read_environment(struct reading *r, struct err *err) {
    for (size_t i = 0; r->list[i].name; i++) {
        char name[80];
        env_name(&r->list[i], name, sizeof name);
        const char *value = getenv(name);
        if (!value || strcmp(r->list[i].name, "print-config") == 0) continue;
        if (!opt_assign(&r->list[i], value)) return wrong_value(&r->list[i], name, value, err);
        r->from[i] = FROM_ENVIRONMENT;
    }
    return 0;
}

/* --- the file --- */

static char *trim(char *z) {
    z += strspn(z, " \t\r");
    size_t n = strlen(z);
    while (n && strchr(" \t\r", z[n - 1])) z[--n] = '\0';
    return z;
}

/* "key = value", in place; blank lines and those that begin with # say nothing */
static int read_line(struct reading *r, char *line, const char *where, struct err *err) {
    line = trim(line);
    if (!*line || *line == '#') return 0;
    char *eq = strchr(line, '=');
    if (!eq) return err_set(err, ERR_USAGE, "%s: no \"key = value\": \"%.100s\"", where, line);
    *eq = '\0';
    char *key = trim(line), *value = trim(eq + 1);
    for (size_t i = 0; r->list[i].name; i++) {
        if (strcmp(r->list[i].name, key) != 0 || is_special(&r->list[i])) continue;
        if (!opt_assign(&r->list[i], value)) return wrong_value(&r->list[i], where, value, err);
        r->from[i] = FROM_FILE;
        return 0;
    }
    return err_set(err, ERR_USAGE, "%s: no such option: \"%.60s\"; see \"attune serve --help\"",
                   where, key);
}

static int read_file(struct reading *r, const char *path, struct err *err) {
    struct buf b;
    buf_init(&b, FILE_MAX);
    int rc = file_read(path, &b, err), number = 0;
    if (!rc && b.n && memchr(b.p, '\0', b.n))
        rc = err_set(err, ERR_USAGE, "%s: is not a text file", path);
    buf_byte(&b, '\n');
    mem_free(r->c->file_text);
    r->c->file_text = buf_take(&b);
    for (char *at = r->c->file_text, *nl; !rc && at && (nl = strchr(at, '\n')); at = nl + 1) {
        char where[300];
        *nl = '\0';
        snprintf(where, sizeof where, "%.250s:%d", path, ++number);
        rc = read_line(r, at, where, err);
    }
    return rc;
}

/* The file that was named, or the one in the home where there is one. */
static int read_config_file(struct reading *r, struct err *err) {
    if (r->c->config) return read_file(r, r->c->config, err);
    char *home = path_home(), *path = path_join(home, "serve.conf");
    int rc = file_exists(path) ? read_file(r, path, err) : 0;
    mem_free(path);
    mem_free(home);
    return rc;
}

/* --- printing --- */

static void print_value(const struct opt *o) {
    switch (o->kind) {
    case OPT_STR: printf("%s", *(const char **)o->to ? *(const char **)o->to : ""); break;
    case OPT_I64: printf("%lld", (long long)*(int64_t *)o->to); break;
    case OPT_U64: printf("%llu", (unsigned long long)*(uint64_t *)o->to); break;
    case OPT_INT: printf("%d", *(int *)o->to); break;
    case OPT_DOUBLE: printf("%g", *(double *)o->to); break;
    case OPT_SIZE: printf("%zu", *(size_t *)o->to); break;
    case OPT_FLAG:
    case OPT_BOOL: printf("%d", *(bool *)o->to); break;
    case OPT_LIST: break; /* the server has none */
    }
}

static int print_all(const struct reading *r) {
    static const char *const sources[] = {"default", "file", "environment", "command line"};
    for (size_t i = 0; r->list[i].name; i++) {
        const struct opt *o = &r->list[i];
        char name[80];
        if (is_special(o)) continue;
        env_name(o, name, sizeof name);
        bool unset = o->kind == OPT_STR && !*(const char **)o->to;
        printf("# %s; %s; from the %s\n%s%s = ", o->help, name, sources[r->from[i]],
               unset ? "# " : "", o->name);
        print_value(o);
        printf("\n");
    }
    return 0;
}

/* --- all of it --- */

static int read_all(struct reading *r, struct usage *u, int argc, char **argv) {
    struct err err;
    int code = opts_parse(u, argc, argv); /* for help, mistakes and --config */
    if (code >= 0) return code;
    const char *config = getenv("ATTUNE_SERVE_CONFIG");
    if (!r->c->config) r->c->config = config && *config ? config : NULL;
    if (read_config_file(r, &err) || read_environment(r, &err)) return cli_fail("serve", &err);
    u->positional_count = 0;
    code = opts_parse(u, argc, argv);
    for (size_t i = 0; r->list[i].name; i++)
        if (r->seen[i]) r->from[i] = FROM_COMMAND;
    return code;
}

static int check(struct serve_config *c, struct err *err) {
    if (c->http.port > 65535)
        return err_set(err, ERR_USAGE, "port is 0 to 65535, not %d", c->http.port);
    if (c->http.cors && !*c->http.cors) c->http.cors = NULL;
    if (c->default_model && !*c->default_model) c->default_model = NULL;
    if (c->requests_days > 36500)
        return err_set(err, ERR_USAGE, "requests-days is 1 to 36500, not %lld",
                       (long long)c->requests_days);
    c->http.header_max = (int64_t)c->header_max;
    c->http.json_max = (int64_t)c->json_max;
    /* the form around the file takes some bytes too */
    c->http.upload_max = (int64_t)c->upload_max + (64 << 10);
    return 0;
}

int serve_config_read(struct serve_config *c, int argc, char **argv) {
    struct err err;
    struct reading r = {.c = c};
    *c = (struct serve_config){.http = http_defaults, .stop_seconds = 30, .log = true};
    c->requests = true;
    c->requests_rows = 1000000;
    c->requests_days = 90;
    c->header_max = (size_t)http_defaults.header_max;
    c->json_max = (size_t)http_defaults.json_max;
    c->upload_max = (size_t)http_defaults.upload_max;
    options(&r);
    struct usage u = {
        .command = "serve",
        .args = "[--host ADDRESS] [--port N]",
        .opts = r.list,
        .summary =
            "Answer over HTTP, as OpenAI's API does: files, fine-tuning jobs, models, chat.\n"
            "Each option may also be an environment variable (ATTUNE_SERVE_PORT) or a line of a "
            "file (port = 8080).",
        .example = "attune serve --port 8080"};
    int code = read_all(&r, &u, argc, argv);
    if (code < 0 && check(c, &err)) code = cli_fail("serve", &err);
    return code < 0 && c->print_config ? print_all(&r) : code;
}

void serve_config_release(struct serve_config *c) {
    mem_free(c->file_text);
    c->file_text = NULL;
}
