/* /v1/fine_tuning/jobs: ordered, shown, cancelled, paused and resumed. They are worked on by
 * processes of their own (jobs/); what is shown is what the catalog knows. */
#include "api/api.h"
#include "api/fields.h"

#include "jobs/supervisor.h"
#include "registry/names.h"
#include "store/files.h"
#include "store/ftjobs.h"

#include <stdlib.h>
#include <sys/random.h>

#define SEED_MAX 2147483647

/* --- as JSON --- */

/* what was worked out, else what was asked for, else "auto" */
static json_t *number_or_auto(int64_t resolved, int64_t given) {
    int64_t n = resolved ? resolved : given;
    return n ? json_integer((json_int_t)n) : json_string("auto");
}

static json_t *real_or_auto(double resolved, double given) {
    double x = resolved > 0 ? resolved : given;
    return x > 0 ? json_real(x) : json_string("auto");
}

static json_t *hyper_json(const struct ftjob *j, bool with_beta) {
    const struct ft_hyper *r = &j->resolved, *g = &j->given;
    json_t *o = json_object();
    json_object_set_new(o, "n_epochs", number_or_auto(r->epochs, g->epochs));
    json_object_set_new(o, "batch_size", number_or_auto(r->batch_size, g->batch_size));
    json_object_set_new(o, "learning_rate_multiplier",
                        real_or_auto(r->rate_multiplier, g->rate_multiplier));
    if (with_beta) json_object_set_new(o, "beta", real_or_auto(r->beta, g->beta));
    return o;
}

static json_t *method_json(const struct ftjob *j) {
    bool dpo = strcmp(j->method, "dpo") == 0;
    return json_pack("{s:s, s:{s:o}}", "type", j->method, j->method, "hyperparameters",
                     hyper_json(j, dpo));
}

static json_t *error_json(const struct ftjob *j) {
    if (!j->error_code) return json_null();
    return json_pack("{s:s, s:o, s:o}", "code", j->error_code, "message",
                     api_text(j->error_message ? j->error_message : ""), "param",
                     api_text(j->error_param));
}

static json_t *job_json(const struct ftjob *j) {
    bool running = strcmp(j->status, "running") == 0;
    json_t *results = json_array(), *o = json_object();
    if (j->result_file) json_array_append_new(results, json_string(j->result_file));
    const struct {
        const char *key;
        json_t *value;
    } members[] = {
        {"object", json_string("fine_tuning.job")},
        {"id", json_string(j->id)},
        {"model", api_text(j->model)},
        {"created_at", json_integer((json_int_t)j->created_at)},
        {"finished_at", api_time(j->finished_at)},
        {"fine_tuned_model", api_text(j->fine_tuned_model)},
        {"organization_id", json_string("org-" NAMES_ORG)},
        {"result_files", results},
        {"status", json_string(j->status)},
        {"validation_file", api_text(j->validation_file)},
        {"training_file", api_text(j->training_file)},
        {"hyperparameters", hyper_json(j, false)},
        {"trained_tokens", api_time(j->finished_at ? j->trained_tokens : 0)},
        {"error", error_json(j)},
        {"user_provided_suffix", api_text(j->suffix)},
        {"seed", json_integer((json_int_t)j->seed)},
        {"estimated_finish", api_time(running ? j->estimated_finish : 0)},
        {"integrations", j->integrations ? api_json(j->integrations) : json_array()},
        {"method", method_json(j)},
        {"metadata", api_json(j->metadata)},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        json_object_set_new(o, members[i].key, members[i].value);
    return o;
}

json_t *api_event_json(const struct ftevent *e) {
    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o}", "object", "fine_tuning.job.event", "id",
                     api_text(e->id), "created_at", (json_int_t)e->created_at, "level",
                     api_text(e->level), "message", api_text(e->message), "type", api_text(e->type),
                     "data", e->data ? api_json(e->data) : json_object());
}

static json_t *checkpoint_json(const struct ftcheckpoint *k) {
    json_t *metrics = api_json(k->metrics);
    if (!json_is_object(metrics)) {
        json_decref(metrics);
        metrics = json_object();
    }
    return json_pack("{s:s, s:o, s:I, s:o, s:I, s:o, s:o}", "object", "fine_tuning.job.checkpoint",
                     "id", api_text(k->id), "created_at", (json_int_t)k->created_at,
                     "fine_tuned_model_checkpoint", api_text(k->model), "step_number",
                     (json_int_t)k->step, "fine_tuning_job_id", api_text(k->job), "metrics",
                     metrics);
}

/* --- ordering one --- */

struct order {
    struct http_request *req;
    struct http_response *res;
    struct err *err;
    struct fields f;
    struct ftjob job;
};

static const char *keep(struct order *o, struct str s) {
    return s.n ? arena_strndup(o->req->arena, s.p, s.n) : NULL;
}

static const char *keep_json(struct order *o, const json_t *v) {
    struct buf b;
    buf_init(&b, (size_t)1 << 20);
    if (v) json_write(v, &b);
    const char *kept = keep(o, buf_view(&b));
    buf_release(&b);
    return kept;
}

static bool is_auto(const struct fields *f, const char *key) {
    const json_t *v = f->o ? json_object_get(f->o, key) : NULL;
    return json_is_string(v) && str_is(json_str(v), "auto");
}

/* Numbers that may be "auto", which stays 0. */
static int hyper_read(const struct fields *f, bool with_beta, struct ft_hyper *h) {
    int rc = fields_known(f, with_beta ? "n_epochs batch_size learning_rate_multiplier beta"
                                       : "n_epochs batch_size learning_rate_multiplier");
    if (!rc && !is_auto(f, "n_epochs")) rc = fields_i64(f, "n_epochs", 1, 50, &h->epochs);
    if (!rc && !is_auto(f, "batch_size")) rc = fields_i64(f, "batch_size", 1, 256, &h->batch_size);
    if (!rc && !is_auto(f, "learning_rate_multiplier"))
        rc = fields_double_above(f, "learning_rate_multiplier", 0, 1e6, &h->rate_multiplier);
    if (!rc && with_beta && !is_auto(f, "beta"))
        rc = fields_double_above(f, "beta", 0, 2, &h->beta);
    return rc;
}

static int method_read(struct order *o) {
    enum { SUPERVISED, DPO, REINFORCEMENT };
    struct fields method, block, hyper;
    int kind = SUPERVISED, rc = fields_object(&o->f, "hyperparameters", &hyper);
    if (!rc) rc = hyper_read(&hyper, false, &o->job.given);
    if (!rc) rc = fields_object(&o->f, "method", &method);
    o->job.method = "supervised";
    if (rc || !method.o) return rc;
    rc = fields_known(&method, "type supervised dpo reinforcement");
    if (!rc) rc = fields_required(&method, "type");
    if (!rc) rc = fields_word(&method, "type", "supervised dpo reinforcement", &kind);
    if (rc) return rc;
    if (kind == REINFORCEMENT)
        return fields_wrong(&method, "type", "unsupported_value",
                            "The method 'reinforcement' is not supported; use 'supervised' or "
                            "'dpo'.");
    o->job.method = kind == DPO ? "dpo" : "supervised";
    o->job.method_json = keep_json(o, method.o);
    rc = fields_object(&method, o->job.method, &block); /* those of other types may be there too */
    if (!rc) rc = fields_known(&block, "hyperparameters");
    if (!rc) rc = fields_object(&block, "hyperparameters", &hyper);
    return rc ? rc : hyper_read(&hyper, kind == DPO, &o->job.given);
}

static int file_read_id(struct order *o, const char *key, const char **ret) {
    struct str id = STR_LIT("");
    struct stored_file f;
    int rc = fields_str(&o->f, key, 1, 200, &id);
    *ret = keep(o, id);
    if (rc || !*ret) return rc;
    rc = files_get(api_of(o->req)->catalog, *ret, o->req->arena, &f, o->err);
    if (rc == ERR_NOT_FOUND)
        return fields_wrong(&o->f, key, "invalid_file", "invalid %s: %s", key, *ret);
    if (rc) return rc;
    if (strcmp(f.purpose, "fine-tune") != 0)
        return fields_wrong(&o->f, key, "invalid_file_purpose",
                            "invalid %s: the file %s has the purpose '%s', not 'fine-tune'.", key,
                            *ret, f.purpose);
    if (strcmp(f.status, "processed") != 0)
        return fields_wrong(&o->f, key, "file_not_ready",
                            "File %s is still being processed and is not ready to be used for "
                            "fine-tuning. Please try again later.",
                            *ret);
    return 0;
}

static int model_read(struct order *o) {
    struct str name = STR_LIT("");
    struct named_model m;
    int rc = fields_str(&o->f, "model", 1, 500, &name);
    if (rc) return rc;
    rc = names_resolve(api_of(o->req)->catalog, keep(o, name), o->req->arena, &m, o->err);
    if (rc == ERR_NOT_FOUND)
        return fields_wrong(&o->f, "model", "model_not_available",
                            "The model `%.*s` is not available for fine-tuning or does not exist; "
                            "GET /v1/models lists those that are.",
                            STR_ARG(name));
    o->job.model = m.id;
    return rc;
}

static int integrations_read(struct order *o) {
    const json_t *list;
    int kind = 0, rc = fields_array(&o->f, "integrations", 0, 8, &list);
    for (size_t i = 0; !rc && list && i < json_array_size(list); i++) {
        struct fields one, wandb;
        struct str project;
        rc = fields_item(&o->f, "integrations", i, &one);
        if (!rc) rc = fields_known(&one, "type wandb");
        if (!rc) rc = fields_required(&one, "type");
        if (!rc) rc = fields_word(&one, "type", "wandb", &kind);
        if (!rc) rc = fields_required(&one, "wandb");
        if (!rc) rc = fields_object(&one, "wandb", &wandb);
        if (!rc) rc = fields_known(&wandb, "project name entity tags");
        if (!rc) rc = fields_required(&wandb, "project");
        if (!rc) rc = fields_str(&wandb, "project", 1, 500, &project);
    }
    if (!rc && list && json_array_size(list)) o->job.integrations = keep_json(o, list);
    return rc;
}

static int64_t any_seed(void) {
    uint32_t x;
    if (getrandom(&x, sizeof x, 0) != (ssize_t)sizeof x) abort();
    return x & SEED_MAX;
}

static int order_read(struct order *o) {
    static const char *const required[] = {"model", "training_file"};
    const json_t *metadata = NULL;
    struct str suffix = STR_LIT("");
    int rc = fields_known(&o->f, "model training_file validation_file suffix seed method "
                                 "hyperparameters integrations metadata");
    for (size_t i = 0; !rc && i < 2; i++) rc = fields_required(&o->f, required[i]);
    o->job.seed = any_seed();
    if (!rc) rc = fields_i64(&o->f, "seed", 0, SEED_MAX, &o->job.seed);
    if (!rc) rc = fields_str(&o->f, "suffix", 1, 64, &suffix);
    if (!rc) rc = fields_metadata(&o->f, "metadata", &metadata);
    if (!rc) rc = method_read(o);
    if (!rc) rc = integrations_read(o);
    if (!rc) rc = model_read(o);
    if (!rc) rc = file_read_id(o, "training_file", &o->job.training_file);
    if (!rc) rc = file_read_id(o, "validation_file", &o->job.validation_file);
    o->job.suffix = keep(o, suffix);
    o->job.metadata = keep_json(o, metadata);
    return rc;
}

/* The supervisor need not find out by itself that there is something to do. */
static void changed(struct http_request *req) {
    struct supervisor *s = api_of(req)->supervisor;
    if (s) supervisor_wake(s);
}

static int create(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct ftevent integration = {
        .level = "warn",
        .message = "The integration wandb is recorded with the job; nothing is sent to it."};
    struct order o = {.req = req, .res = res, .err = err, .f = fields_of(req, res)};
    struct catalog *c = api_of(req)->catalog;
    struct ftjob job;
    int rc = order_read(&o);
    if (!rc) rc = ftjobs_add(c, &o.job, req->arena, &job, err);
    if (!rc && job.integrations) rc = ftevents_add(c, job.id, &integration, err);
    if (rc) return rc;
    changed(req);
    return http_json(res, 200, job_json(&job));
}

/* --- those that are there --- */

static int no_job(struct http_request *req, int rc, struct http_response *res) {
    struct str id = req->param[0];
    if (rc != ERR_NOT_FOUND) return rc;
    return http_error(res, 404, "fine_tune_not_found", "fine_tune_id",
                      "Could not find fine tune: %.*s", id.n > 200 ? 200 : (int)id.n, id.p);
}

typedef int job_function(struct catalog *c, const char *id, struct arena *mem, struct ftjob *ret,
                         struct err *err);

static int one_job(struct http_request *req, job_function *act, struct http_response *res,
                   struct err *err) {
    struct ftjob job;
    const char *id = api_param(req, 0);
    int rc = id ? act(api_of(req)->catalog, id, req->arena, &job, err) : ERR_NOT_FOUND;
    if (rc) return no_job(req, rc, res);
    if (act != ftjobs_get) changed(req);
    return http_json(res, 200, job_json(&job));
}

static int retrieve(struct http_request *req, struct http_response *res, struct err *err) {
    return one_job(req, ftjobs_get, res, err);
}
static int cancel(struct http_request *req, struct http_response *res, struct err *err) {
    return one_job(req, ftjobs_cancel, res, err);
}
static int pause(struct http_request *req, struct http_response *res, struct err *err) {
    return one_job(req, ftjobs_pause, res, err);
}
static int resume(struct http_request *req, struct http_response *res, struct err *err) {
    return one_job(req, ftjobs_resume, res, err);
}

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 10000};
    struct meta_filter filters[META_FILTERS_MAX];
    struct ftjob_filter filter = {.metadata = filters};
    struct ftjob_list jobs;
    struct page page;
    int rc = api_page(req, &how, &page, res);
    if (!rc)
        rc = api_meta_filters(req, filters, &filter.metadata_count, &filter.without_metadata, res);
    if (rc) return rc;
    rc = ftjobs_list(api_of(req)->catalog, &filter, &page, req->arena, &jobs, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < jobs.count; i++) json_array_append_new(data, job_json(&jobs.list[i]));
    return http_json(res, 200, api_list_json(data, jobs.has_more));
}

static int list_checkpoints(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 10, .limit_max = 10000};
    struct catalog *c = api_of(req)->catalog;
    const char *id = api_param(req, 0);
    struct ftcheckpoint_list found;
    struct ftjob job;
    struct page page;
    int rc = api_page(req, &how, &page, res);
    if (rc) return rc;
    rc = id ? ftjobs_get(c, id, req->arena, &job, err) : ERR_NOT_FOUND;
    if (rc) return no_job(req, rc, res);
    rc = ftcheckpoints_list(c, id, &page, req->arena, &found, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(data, checkpoint_json(&found.list[i]));
    return http_json(res, 200, api_list_json(data, found.has_more));
}

static int list_events(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 10000};
    struct catalog *c = api_of(req)->catalog;
    const char *id = api_param(req, 0);
    const struct str *stream = http_query(req, "stream");
    struct ftevent_list found;
    struct ftjob job;
    struct page page;
    int rc = api_page(req, &how, &page, res);
    if (rc) return rc;
    rc = id ? ftjobs_get(c, id, req->arena, &job, err) : ERR_NOT_FOUND;
    if (rc) return no_job(req, rc, res);
    if (stream && str_is(*stream, "true")) return api_event_stream(req, id, page.after, res);
    rc = ftevents_list(c, id, &page, req->arena, &found, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(data, api_event_json(&found.list[i]));
    return http_json(res, 200, api_list_json(data, found.has_more));
}

const struct http_route ftjob_routes[] = {
    {"POST", "/v1/fine_tuning/jobs", create, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"GET", "/v1/fine_tuning/jobs", list, .scope = HTTP_TUNING},
    {"GET", "/v1/fine_tuning/jobs/{id}", retrieve, .scope = HTTP_TUNING},
    {"POST", "/v1/fine_tuning/jobs/{id}/cancel", cancel, .scope = HTTP_TUNING},
    {"POST", "/v1/fine_tuning/jobs/{id}/pause", pause, .scope = HTTP_TUNING},
    {"POST", "/v1/fine_tuning/jobs/{id}/resume", resume, .scope = HTTP_TUNING},
    {"GET", "/v1/fine_tuning/jobs/{id}/events", list_events, .scope = HTTP_TUNING},
    {"GET", "/v1/fine_tuning/jobs/{id}/checkpoints", list_checkpoints, .scope = HTTP_TUNING},
    {0}};
