/* GET /healthz: the process answers. GET /readyz: it can work. GET /metrics. */
#include "api/api.h"

#include "api/engine_metrics.h"
#include "api/metrics.h"
#include "store/ftjobs.h"
#include "store/keys.h"

static int healthz(struct http_request *req, struct http_response *res, struct err *err) {
    (void)req, (void)err;
    return http_json(res, 200, json_pack("{s:s}", "status", "ok"));
}

static int readyz(struct http_request *req, struct http_response *res, struct err *err) {
    struct api *api = api_of(req);
    bool required;
    if (!atomic_load(&api->ready))
        return http_json(res, 503, json_pack("{s:s}", "status", "starting or stopping"));
    if (keys_required(api->catalog, &required, err)) /* any small reading */
        return http_json(res, 503,
                         json_pack("{s:s, s:o}", "status", "the catalog does not answer", "reason",
                                   api_text(err->msg)));
    return http_json(res, 200, json_pack("{s:s}", "status", "ready"));
}

static void job_metrics_write(struct catalog *c, struct buf *out) {
    int64_t count[FTJOB_STATES];
    struct err err;
    if (ftjobs_count(c, count, &err)) return; /* a gap; /readyz tells of it */
    buf_z(out, "# HELP attune_jobs fine-tuning jobs of the catalog\n# TYPE attune_jobs gauge\n");
    for (int i = 0; i < FTJOB_STATES; i++)
        buf_printf(out, "attune_jobs{status=\"%s\"} %lld\n", ftjob_states[i], (long long)count[i]);
}

static int metrics(struct http_request *req, struct http_response *res, struct err *err) {
    (void)err;
    http_json(res, 200, json_null());
    buf_clear(&res->body);
    metrics_write(api_of(req)->metrics, &res->body);
    if (api_of(req)->engine) engine_metrics_write(api_of(req)->engine, &res->body);
    job_metrics_write(api_of(req)->catalog, &res->body);
    res->type = "text/plain; version=0.0.4; charset=utf-8";
    return 0;
}

const struct http_route health_routes[] = {{"GET", "/healthz", healthz, .scope = HTTP_PUBLIC},
                                           {"GET", "/readyz", readyz, .scope = HTTP_PUBLIC},
                                           {"GET", "/metrics", metrics, .scope = HTTP_PUBLIC},
                                           {0}};
