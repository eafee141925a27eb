/* The server's resources: what their handlers share (the request's `user`), and their routes. A
 * resource is one file; docs/serve.md has the rules that all keep to. */
#ifndef API_API_H
#define API_API_H

#include "api/http.h"
#include "store/catalog.h"

#include <stdatomic.h>

struct metrics;
struct supervisor;
struct engine;
struct grammar_cache;
struct canary_watch;
struct breakers;
struct background;
struct request_log;
struct api {
    struct catalog *catalog;
    struct metrics *metrics;
    struct supervisor *supervisor; /* of fine-tuning jobs; NULL: none works on them here */
    struct engine *engine;
    struct grammar_cache *grammars;
    struct canary_watch *canaries; /* told how requests of split aliases ended; NULL: nobody is */
    struct breakers *breakers;     /* of models that have a fallback; NULL: none */
    struct background *batches, *evals; /* NULL: they wait */
    struct request_log *requests; /* NULL: none is kept */
    const char *path_name;     /* of the kernels */
    const char *default_model; /* answers for names nobody knows; NULL: they are errors */
    int64_t file_max;          /* bytes of one file */
    int64_t tokens_max;        /* of one request, prompt and answer; 0: what the model can */
    bool any_host;             /* the address is not loopback: requests come under any name */
    _Atomic int ready;         /* 0: starting or stopping */
};

static inline struct api *api_of(const struct http_request *req) { return req->user; }

extern const struct http_route batch_routes[], chat_routes[], completion_routes[], health_routes[],
    file_routes[], upload_routes[], model_routes[], ftjob_routes[], checkpoint_routes[],
    completion_store_routes[], eval_routes[], eval_run_routes[], grader_routes[], old_routes[];

/* The keys of docs/serve.md: for http_options.authorize, with a struct api as user. */
int api_authorize(struct http_request *req, enum http_scope scope, struct http_response *res,
                  struct err *err);

/* --- what resources share --- */

/* A path parameter as text for the catalog; NULL when it holds a NUL, which names nothing. */
const char *api_param(const struct http_request *req, int i);
/* after, limit and order of a list. `limit_max` 0: none but 10000. order's words are asc and desc
 * (also in full); absent: `ascending`. */
struct api_list {
    int64_t limit, limit_max;
    bool ascending;
};
int api_page(struct http_request *req, const struct api_list *how, struct page *ret,
             struct http_response *res);
/* The metadata[key]=value of the query. *ret_none: "metadata=null" or "metadata=". */
int api_meta_filters(struct http_request *req, struct meta_filter ret[META_FILTERS_MAX],
                     size_t *ret_count, bool *ret_none, struct http_response *res);
/* {"object":"list","data":...,"first_id","last_id","has_more"}; takes over data. */
json_t *api_list_json(json_t *data, bool has_more);
/* An id as `after` that names no row: 404 naming it. Other errors pass. */
int api_list_failed(struct http_request *req, int rc, struct http_response *res,
                    const struct err *err);
/* text of the catalog as JSON; NULL: null */
json_t *api_text(const char *z);
json_t *api_time(int64_t seconds); /* 0: null */
/* JSON kept as text; NULL: null */
json_t *api_json(const char *z);

/* --- files --- */

struct stored_file;
json_t *api_file_json(const struct stored_file *f);
/* of a http_sink whose file is a struct blob_writer */
int api_blob_open(struct http_request *req, void **ret, struct err *err);
int api_blob_add(void *file, const void *p, size_t n, struct err *err);
void api_blob_close(void *file);
/* Does a file hold what its purpose needs? path: its bytes. Answers 400 where not. */
int api_file_check(const char *purpose, struct str filename, int64_t bytes, const char *path,
                   struct http_response *res, struct err *err);
int api_purpose_check(const struct str *purpose, struct http_response *res);
int api_expires_check(const struct str *anchor, int64_t seconds, struct http_response *res);

/* --- models and jobs --- */

int api_no_model(const char *name, struct http_response *res); /* 404 model_not_found */
struct ftevent;
json_t *api_event_json(const struct ftevent *e);
/* Events behind `after` (NULL: all), the oldest first, until the job has ended. */
int api_event_stream(struct http_request *req, const char *job, const char *after,
                     struct http_response *res);

#endif
