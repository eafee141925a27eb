/* attune serve: the API over HTTP, until it is told to stop. */
#include "cli/cli.h"
#include "cli/serve_config.h"

#include "api/api.h"
#include "api/keeper.h"
#include "api/batch_runner.h"
#include "api/eval_runner.h"
#include "api/grammar_cache.h"
#include "api/log.h"
#include "api/metrics.h"
#include "api/request_log.h"
#include "api/webhooks.h"
#include "base/clock.h"
#include "jobs/canary_watch.h"
#include "jobs/supervisor.h"
#include "jobs/timer.h"
#include "registry/breaker.h"
#include "store/blobs.h"
#include "store/keys.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct http_route *const tables[] = {
    health_routes,           batch_routes, chat_routes,
    completion_routes,       file_routes,  upload_routes,
    completion_store_routes, model_routes, ftjob_routes,
    checkpoint_routes,       eval_routes,  eval_run_routes,
    grader_routes,           old_routes,   NULL};

/* All that lives as long as the server. */
struct serving {
    struct serve_config config;
    struct api api;
    struct http_server *http;
    struct keeper *keeper;
    struct webhook_sender *webhooks;
    struct timer *timer;
};

/* --- who may reach it --- */

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static bool all_loopback(const char *host) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    if (getaddrinfo(host, NULL, &hints, &list) != 0) return true; /* listening will say why */
    bool all = true;
    for (const struct addrinfo *a = list; a; a = a->ai_next) all &= is_loopback(a->ai_addr);
    freeaddrinfo(list);
    return all;
}

static int check_reach(struct serving *s, struct err *err) {
    bool required = false;
    int rc = keys_required(s->api.catalog, &required, err);
    s->api.any_host = !all_loopback(s->config.http.host);
    if (rc || required || !s->api.any_host) return rc;
    return err_set(err, ERR_USAGE,
                   "anyone who reaches %s could use and change everything here; make a key first "
                   "(\"attune key create\"), or listen on 127.0.0.1",
                   s->config.http.host);
}

/* --- life --- */

static void on_request(void *api, const struct http_log *line) {
    const struct serving *s =
        (const struct serving *)((const char *)api - offsetof(struct serving, api));
    struct buf b;
    if (!s->config.log) return;
    buf_init(&b, (size_t)1 << 20);
    http_log_write(line, s->config.log_content, &b);
    if (b.n) fwrite(b.p, 1, b.n, stderr); /* one call: lines do not mix */
    buf_release(&b);
}

static void on_note(void *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "%s\n", text);
}

static void on_warning(void *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "warning: %s\n", text);
}

static int open_engine(struct serving *s, struct err *err) {
    struct engine_options o = {.threads = s->config.threads,
                               .memory_bytes = s->config.memory,
                               .batch_max = s->config.batch_max,
                               .queue_max = s->config.queue_max,
                               .context_max = s->config.tokens_max,
                               .warn = on_warning};
    int rc = num_isa_choose(&o.isa, err);
    if (rc) return rc;
    o.compute = num_compute_default(o.isa);
    rc = engine_open(&o, &s->api.engine, err);
    if (rc) return rc;
    s->api.path_name = num_isa_name(o.isa);
    s->api.grammars = grammar_cache_new(s->api.engine);
    return 0;
}

static int open_request_log(struct serving *s, struct err *err) {
    const struct serve_config *c = &s->config;
    struct request_log_options o = {.catalog = s->api.catalog,
                                    .metrics = s->api.metrics,
                                    .content = c->requests_content,
                                    .rows_max = c->requests_rows,
                                    .days = c->requests_days,
                                    .log = on_note};
    return c->requests ? request_log_start(&o, &s->api.requests, err) : 0;
}

static int start(struct serving *s, struct err *err) {
    struct http_options *h = &s->config.http;
    int rc = catalog_open(NULL, &s->api.catalog, err);
    if (!rc) rc = check_reach(s, err);
    if (!rc) rc = blobs_sweep(s->api.catalog, err);
    if (!rc) rc = open_engine(s, err);
    if (!rc) rc = keeper_start(s->api.catalog, &s->keeper, err);
    if (rc) return rc;
    s->api.metrics = metrics_new();
    s->api.breakers = breakers_new((uint64_t)clock_ns());
    s->api.default_model = s->config.default_model;
    s->api.file_max = (int64_t)s->config.upload_max;
    s->api.tokens_max = s->config.tokens_max;
    h->authorize = api_authorize;
    h->log = on_request;
    h->metrics = s->api.metrics;
    h->user = &s->api;
    atomic_store(&s->api.ready, 1);
    struct supervisor_options jobs = {.threads = s->config.job_threads, .log = on_note};
    rc = canary_watch_start(s->api.catalog, &(struct canary_watch_options){.log = on_note},
                            &s->api.canaries, err);
    if (!rc) rc = open_request_log(s, err);
    if (!rc) rc = supervisor_start(s->api.catalog, &jobs, &s->api.supervisor, err);
    if (!rc) rc = http_server_open(h, tables, &s->http, err);
    if (!rc) rc = background_start(&s->api, &batch_work, on_note, &s->api.batches, err);
    if (!rc) rc = background_start(&s->api, &eval_work, on_note, &s->api.evals, err);
    if (!rc) rc = webhook_sender_start(s->api.catalog, &s->webhooks, err);
    if (!rc)
        rc = timer_start(s->api.catalog, &(struct timer_options){.log = on_note}, &s->timer, err);
    if (rc && s->http) { /* nothing may ask what is about to go */
        http_server_stop(s->http, 0, NULL);
        engine_stop(s->api.engine);
        background_stop(s->api.batches);
        background_stop(s->api.evals);
    }
    return rc;
}

static atomic_int hurry; /* a second signal */

/* Waits for the second signal; the last one it gets is sent by stop itself. */
static void *second_signal(void *signals) {
    int which;
    sigwait(signals, &which);
    atomic_store(&hurry, 1);
    return NULL;
}

static void stop(struct serving *s, sigset_t *signals) {
    pthread_t t;
    bool watched = pthread_create(&t, NULL, second_signal, signals) == 0;
    atomic_store(&s->api.ready, 0);
    http_server_stop(s->http, s->config.stop_seconds, &hurry);
    engine_stop(s->api.engine);
    background_stop(s->api.batches);
    background_stop(s->api.evals);
    if (watched) {
        pthread_kill(t, SIGTERM);
        pthread_join(t, NULL);
    }
}

static void announce(const struct serving *s) {
    const char *host = s->config.http.host;
    bool v6 = strchr(host, ':') != NULL;
    printf("listening on http://%s%s%s:%d\n", v6 ? "[" : "", host, v6 ? "]" : "",
           http_server_port(s->http));
    fflush(stdout);
}

int cmd_serve(int argc, char **argv) {
    struct serving s = {0};
    struct err err;
    sigset_t signals;
    int code = serve_config_read(&s.config, argc, argv);
    if (code < 0) {
        /* every thread inherits this: signals wait until sigwait takes them */
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &signals, NULL);
        signal(SIGPIPE, SIG_IGN);
        int rc = start(&s, &err), which;
        if (!rc) {
            announce(&s);
            sigwait(&signals, &which);
            fprintf(stderr, "stopping; once more stops at once\n");
            stop(&s, &signals);
        }
        code = rc ? cli_fail("serve", &err) : 0;
    }
    if (s.api.supervisor) supervisor_stop(s.api.supervisor);
    timer_stop(s.timer);
    canary_watch_stop(s.api.canaries);
    request_log_stop(s.api.requests);
    webhook_sender_stop(s.webhooks);
    keeper_stop(s.keeper);
    breakers_free(s.api.breakers);
    grammar_cache_free(s.api.grammars);
    engine_close(s.api.engine);
    metrics_free(s.api.metrics);
    catalog_close(s.api.catalog);
    serve_config_release(&s.config);
    return code;
}
