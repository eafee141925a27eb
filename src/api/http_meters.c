/* What the server counts of itself. */
#include "api/http_int.h"

#include "api/metrics.h"
#include "base/mem.h"

struct http_meters {
    struct metric *requests, *seconds, *received, *sent, *connections, *running, *streams;
};

struct http_meters *http_meters_new(struct metrics *m) {
    static const double bounds[] = {0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300};
    struct http_meters *h = mem_zalloc(1, sizeof *h);
    h->requests = metric_counter(m, "attune_http_requests_total", "requests that have ended");
    h->seconds = metric_histogram(m, "attune_http_request_seconds",
                                  "from the headers of a request to the end of its answer", bounds,
                                  sizeof bounds / sizeof *bounds);
    h->received = metric_counter(m, "attune_http_received_bytes_total", "bodies of requests");
    h->sent = metric_counter(m, "attune_http_sent_bytes_total", "bodies of answers");
    h->connections = metric_gauge(m, "attune_http_connections", "open connections");
    h->running =
        metric_gauge(m, "attune_http_requests_running", "requests that are being answered");
    h->streams = metric_gauge(m, "attune_http_streams", "open streams");
    http_meters_now(h, 0, 0, 0);
    return h;
}

void http_meters_free(struct http_meters *m) { mem_free(m); }

/* clients can send any word */
static const char *method_name(const char *method) {
    static const char *const known[] = {"GET", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(method, known[i]) == 0) return known[i];
    return "other";
}

void http_meters_request(struct http_meters *m, const struct http_log *line) {
    struct buf labels;
    char status[16];
    buf_init(&labels, 512);
    metric_label(&labels, "route", str_of(line->route));
    metric_observe(m->seconds, buf_view(&labels).p, (double)line->micros * 1e-6);
    snprintf(status, sizeof status, "%d", line->status);
    metric_label(&labels, "method", str_of(method_name(line->req->method)));
    metric_label(&labels, "status", str_of(status));
    metric_add(m->requests, buf_view(&labels).p, 1);
    metric_add(m->received, "", (double)line->received);
    metric_add(m->sent, "", (double)line->sent);
    buf_release(&labels);
}

void http_meters_now(struct http_meters *m, int connections, int running, int streams) {
    metric_set(m->connections, "", connections);
    metric_set(m->running, "", running);
    metric_set(m->streams, "", streams);
}
