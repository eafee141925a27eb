/* Stored chat completions: what requests with "store": true asked and got. The answers themselves
 * are made, and stored, elsewhere. */
#include "api/api.h"
#include "api/fields.h"

#include "jobs/canary_watch.h"
#include "store/completions.h"

#include <stdio.h>
#include <stdlib.h>

static int no_completion(struct http_request *req, int rc, struct http_response *res) {
    struct str id = req->param[0];
    if (rc != ERR_NOT_FOUND) return rc;
    return http_error(res, 404, NULL, "id", "Completion %.*s not found",
                      id.n > 200 ? 200 : (int)id.n, id.p);
}

/* The answer, and what the request said, under the names that the service gives it. */
static json_t *completion_json(const struct stored_completion *s) {
    static const struct {
        const char *to, *from;
    } echoed[] = {{"tool_choice", "tool_choice"},
                  {"seed", "seed"},
                  {"top_p", "top_p"},
                  {"temperature", "temperature"},
                  {"presence_penalty", "presence_penalty"},
                  {"frequency_penalty", "frequency_penalty"},
                  {"input_user", "user"},
                  {"tools", "tools"},
                  {"response_format", "response_format"}};
    json_t *o = api_json(s->response), *request = api_json(s->request);
    if (!json_is_object(o)) {
        json_decref(o);
        o = json_object();
    }
    for (size_t i = 0; i < sizeof echoed / sizeof *echoed; i++) {
        json_t *v = json_object_get(request, echoed[i].from);
        if (json_object_get(o, echoed[i].to)) continue;
        json_object_set_new(o, echoed[i].to, v ? json_incref(v) : json_null());
    }
    json_object_set_new(o, "metadata", s->metadata ? api_json(s->metadata) : json_object());
    json_decref(request);
    return o;
}

static int list(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 100, .ascending = true};
    struct meta_filter filters[META_FILTERS_MAX];
    struct completion_filter filter = {.metadata = filters};
    struct completion_list found;
    struct page page;
    const struct str *model = http_query(req, "model");
    bool none;
    int rc = api_page(req, &how, &page, res);
    if (!rc) rc = api_meta_filters(req, filters, &filter.metadata_count, &none, res);
    if (rc) return rc;
    if (model && model->n) filter.model = arena_strndup(req->arena, model->p, model->n);
    rc = completions_list(api_of(req)->catalog, &filter, &page, req->arena, &found, err);
    if (rc) return api_list_failed(req, rc, res, err);
    json_t *data = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(data, completion_json(&found.list[i]));
    return http_json(res, 200, api_list_json(data, found.has_more));
}

static int get(struct http_request *req, struct stored_completion *ret, struct http_response *res,
               struct err *err) {
    const char *id = api_param(req, 0);
    int rc = id ? completions_get(api_of(req)->catalog, id, req->arena, ret, err) : ERR_NOT_FOUND;
    return no_completion(req, rc, res);
}

static int retrieve(struct http_request *req, struct http_response *res, struct err *err) {
    struct stored_completion s;
    int rc = get(req, &s, res, err);
    return rc ? rc : http_json(res, 200, completion_json(&s));
}

/* 1: low, 0: not, -1: no word of feedback */
static int feedback_of(const json_t *metadata) {
    static const char *const low[] = {"bad", "down", "low", "negative", "-1", "0", "false"};
    static const char *const good[] = {"good", "up", "high", "positive", "1", "true"};
    struct str said = json_str(json_object_get(metadata, "feedback"));
    for (size_t i = 0; i < sizeof low / sizeof *low; i++)
        if (str_is(said, low[i])) return 1;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (str_is(said, good[i])) return 0;
    return -1;
}

/* A canary that this completion was part of learns of it. That it cannot must not fail the update.
 */
static void tell_canary(struct http_request *req, const char *id, const json_t *metadata) {
    struct canary_answer a;
    struct err none;
    int bad = feedback_of(metadata);
    if (bad < 0 || canaries_answer_take(api_of(req)->catalog, id, req->arena, &a, &none)) return;
    struct canary_event e = {.canary = a.canary,
                             .sticks = a.sticks,
                             .late = true,
                             .unit = a.unit,
                             .share = a.share,
                             .bad = {-1, -1, -1, (signed char)bad},
                             .seconds = -1};
    canary_watch_note(api_of(req)->canaries, a.run, &e);
}

static int update(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res);
    const json_t *metadata = NULL;
    const char *id = api_param(req, 0);
    struct buf text;
    int rc = fields_known(&f, "metadata");
    if (!rc && !json_object_get(req->json, "metadata")) rc = fields_required(&f, "metadata");
    if (!rc) rc = fields_metadata(&f, "metadata", &metadata);
    if (rc) return rc;
    buf_init(&text, (size_t)1 << 20);
    if (metadata) json_write(metadata, &text);
    rc = id ? completions_set_metadata(api_of(req)->catalog, id,
                                       metadata ? buf_view(&text).p : NULL, err)
            : ERR_NOT_FOUND;
    buf_release(&text);
    if (!rc) tell_canary(req, id, metadata);
    return rc ? no_completion(req, rc, res) : retrieve(req, res, err);
}

static int delete (struct http_request *req, struct http_response *res, struct err *err) {
    const char *id = api_param(req, 0);
    int rc = id ? completions_delete(api_of(req)->catalog, id, err) : ERR_NOT_FOUND;
    if (rc) return no_completion(req, rc, res);
    return http_json(
        res, 200,
        json_pack("{s:s, s:s, s:b}", "object", "chat.completion.deleted", "id", id, "deleted", 1));
}

/* --- the messages of a request --- */

static json_t *message_json(const char *completion, size_t i, const json_t *m) {
    static const char *const kept[] = {"name", "tool_calls", "tool_call_id", "function_call"};
    char id[ID_SIZE + 24];
    const json_t *role = json_object_get(m, "role");
    json_t *content = json_object_get(m, "content"), *o = json_object();
    bool parts = json_is_array(content);
    snprintf(id, sizeof id, "%s-%zu", completion, i);
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "role", role ? json_incref((json_t *)role) : json_string("user"));
    json_object_set_new(o, "content", json_is_string(content) ? json_incref(content) : json_null());
    json_object_set_new(o, "refusal", json_null());
    json_object_set_new(o, "content_parts", parts ? json_incref(content) : json_null());
    for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
        json_t *v = json_object_get(m, kept[k]);
        if (v && !json_is_null(v)) json_object_set(o, kept[k], v);
    }
    return o;
}

/* "chatcmpl-x-3" of this completion: 3; -1 when it is none */
static long long message_index(const char *after, const char *completion, size_t count) {
    size_t n = strlen(completion);
    char *end;
    if (strncmp(after, completion, n) != 0 || after[n] != '-') return -1;
    long long i = strtoll(after + n + 1, &end, 10);
    return *end || end == after + n + 1 || i < 0 || i >= (long long)count ? -1 : i;
}

static int messages(struct http_request *req, struct http_response *res, struct err *err) {
    static const struct api_list how = {.limit = 20, .limit_max = 100, .ascending = true};
    struct stored_completion s;
    struct page page;
    int rc = api_page(req, &how, &page, res);
    if (!rc) rc = get(req, &s, res, err);
    if (rc) return rc;
    json_t *request = api_json(s.request);
    const json_t *all = json_object_get(request, "messages");
    long long n = (long long)json_array_size(all), step = page.ascending ? 1 : -1;
    long long at = page.ascending ? 0 : n - 1;
    if (page.after) {
        at = message_index(page.after, s.id, (size_t)n);
        if (at < 0) {
            json_decref(request);
            return http_error(res, 404, NULL, "after", "Invalid 'after': no such message: %.200s",
                              page.after);
        }
        at += step;
    }
    json_t *data = json_array();
    for (; at >= 0 && at < n && (int64_t)json_array_size(data) < page.limit; at += step)
        json_array_append_new(data,
                              message_json(s.id, (size_t)at, json_array_get(all, (size_t)at)));
    json_decref(request);
    return http_json(res, 200, api_list_json(data, at >= 0 && at < n));
}

/* --- what people say of an answer --- */

static json_t *feedback_json(const struct feedback *f) {
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:s?, s:s?}", "id", f->id, "object",
                     "chat.completion.feedback", "completion_id", f->completion, "created_at",
                     (json_int_t)f->created_at, "score",
                     f->has_score ? json_real(f->score) : json_null(), "correction", f->correction,
                     "comment", f->comment);
}

#define SAID_MAX ((size_t)1 << 20)

static int add_feedback(struct http_request *req, struct http_response *res, struct err *err) {
    struct fields f = fields_of(req, res);
    struct feedback made, new = {.completion = api_param(req, 0)};
    struct str correction = {"", 0}, comment = {"", 0};
    int rc = fields_known(&f, "score correction comment");
    if (!rc) rc = fields_double(&f, "score", -1, 1, &new.score);
    if (!rc) rc = fields_str(&f, "correction", 1, SAID_MAX, &correction);
    if (!rc) rc = fields_str(&f, "comment", 1, SAID_MAX, &comment);
    if (rc) return rc;
    new.has_score = fields_has(&f, "score");
    if (correction.n) new.correction = arena_strndup(req->arena, correction.p, correction.n);
    if (comment.n) new.comment = arena_strndup(req->arena, comment.p, comment.n);
    if (!new.has_score && !new.correction && !new.comment)
        return http_error(res, 400, NULL, "score",
                          "Give a 'score' from -1 to 1, a 'correction' or a 'comment'.");
    rc = new.completion ? feedback_add(api_of(req)->catalog, &new, req->arena, &made, err)
                        : ERR_NOT_FOUND;
    return rc ? no_completion(req, rc, res) : http_json(res, 200, feedback_json(&made));
}

static int list_feedback(struct http_request *req, struct http_response *res, struct err *err) {
    struct stored_completion s;
    struct feedback_list all;
    int rc = get(req, &s, res, err);
    if (rc) return rc;
    rc = feedback_list(api_of(req)->catalog, s.id, req->arena, &all, err);
    if (rc) return rc;
    json_t *data = json_array();
    for (size_t i = 0; i < all.count; i++) json_array_append_new(data, feedback_json(&all.list[i]));
    return http_json(res, 200, api_list_json(data, false));
}

const struct http_route completion_store_routes[] = {
    {"GET", "/v1/chat/completions", list, .scope = HTTP_TUNING},
    {"GET", "/v1/chat/completions/{id}", retrieve, .scope = HTTP_TUNING},
    {"POST", "/v1/chat/completions/{id}", update, .scope = HTTP_TUNING, .body = HTTP_JSON},
    {"DELETE", "/v1/chat/completions/{id}", delete, .scope = HTTP_TUNING},
    {"GET", "/v1/chat/completions/{id}/messages", messages, .scope = HTTP_TUNING},
    {"GET", "/v1/chat/completions/{id}/feedback", list_feedback, .scope = HTTP_TUNING},
    {"POST", "/v1/chat/completions/{id}/feedback", add_feedback, .scope = HTTP_INFERENCE,
     .body = HTTP_JSON},
    {0}};
