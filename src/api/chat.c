/* POST /chat/completions: a conversation in, answers out. The prompt is what training renders for
 * the same conversation (data/conversation.h, the model's template, no BOS or EOS of the
 * post-processor). */
#include "api/api.h"
#include "api/chat_answer.h"
#include "api/generation.h"
#include "api/grammar_cache.h"
#include "api/request_log.h"

#include "base/mem.h"
#include "store/completions.h"
#include "text/tool_calls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define WHERE_MAX 64

struct chat {
    struct http_request *req;
    struct api *api;
    struct chat_request r;
    struct generation g;
    struct chat_answers answers;
    struct choice_set set;
    struct grammar *grammar;
    enum tool_form form;
    json_t *no_parameters; /* the schema of a function that names none */
    struct str *names;     /* of functions; in the request's arena */
    size_t name_count;
    bool opened;
    int status; /* of the answer where it is an error; 0: none so far */
};

static struct str last_of_user(const json_t *messages) {
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *m = json_array_get(messages, i);
        if (str_is(json_str(json_object_get(m, "role")), "user"))
            return json_str(json_object_get(m, "content"));
    }
    return (struct str){0};
}

static void log_chat(struct chat *c) {
    struct request_entry e;
    bool ended;
    if (!c->g.name || !c->api->requests) return; /* no model: nobody's traffic */
    generation_entry(&c->g, c->req, &c->set, &e, &ended);
    e.status = c->status ? c->status : ended ? 200 : 499;
    e.prompt = last_of_user(c->r.messages);
    if (c->answers.count) {
        e.completion = c->answers.id;
        e.answer = buf_view(&c->answers.list[0].content);
        if (c->answers.list[0].choice.ended)
            e.finish = answer_finish(&c->answers, &c->answers.list[0]);
    }
    /* a grammar cannot be broken, but cut off before its end */
    if (ended && c->grammar && c->r.tool_choice != TOOLS_AUTO)
        e.format = strcmp(c->answers.list[0].choice.finish, "length") == 0;
    request_log_add(c->api->requests, &e);
}

static void chat_close(void *ctx, bool complete) {
    struct chat *c = ctx;
    (void)complete;
    log_chat(c);
    answers_release(&c->answers);
    grammar_free(c->grammar);
    json_decref(c->no_parameters);
    generation_release(&c->g);
    chat_request_release(&c->r);
    mem_free(c);
}

/* --- the prompt --- */

static int render(struct chat *c, struct err *err) {
    json_t *vars = json_object();
    json_object_set(vars, "messages", c->r.messages);
    if (c->r.tools && c->r.tool_choice != TOOLS_NONE) json_object_set(vars, "tools", c->r.tools);
    int rc = generation_prompt_chat(&c->g, vars, err);
    json_decref(vars);
    return rc;
}

/* --- what may come --- */

static bool uses_tools(const struct chat *c) {
    return c->r.tools && c->r.tool_choice != TOOLS_NONE;
}

static const struct grammar_options schema_place = {"response_format.json_schema.schema"};

static int check_strict_schema(const struct chat *c, char *path, struct err *err) {
    if (c->r.response != RESPONSE_JSON_SCHEMA || !c->r.schema_strict) return 0;
    return grammar_check_strict(c->r.schema, "response_format", c->r.schema_name, &schema_place,
                                path, err);
}

static int compile_schema(struct chat *c, struct http_response *res, struct err *err) {
    char path[GRAMMAR_PATH_MAX] = "";
    int rc = check_strict_schema(c, path, err);
    if (!rc) rc = grammar_compile(c->r.schema, &schema_place, &c->grammar, path, err);
    return rc ? http_error(res, 400, "invalid_value", path[0] ? path : "response_format", "%s",
                           err->msg)
              : 0;
}

/* The functions of the request as the grammar and the parser want them; in the request's arena. */
static size_t functions_of(const struct chat *c, struct tool_function **ret) {
    size_t i, n = 0, count = json_array_size(c->r.tools);
    const json_t *tool;
    bool old = json_array_size(json_object_get(c->req->json, "tools")) == 0;
    struct tool_function *list = arena_array(c->req->arena, count, sizeof *list);
    char *where = arena_alloc(c->req->arena, count * WHERE_MAX);
    if (!list || !where) return 0;
    json_array_foreach(c->r.tools, i, tool) {
        const json_t *f = json_object_get(tool, "function");
        struct str name = json_str(json_object_get(f, "name"));
        if (!chat_request_allows(&c->r, name)) continue;
        const json_t *parameters = json_object_get(f, "parameters");
        snprintf(where, WHERE_MAX,
                 old ? "functions[%zu].parameters" : "tools[%zu].function.parameters", i);
        list[n++] = (struct tool_function){
            name, json_is_object(parameters) ? parameters : c->no_parameters, where};
        where += WHERE_MAX;
    }
    *ret = list;
    return n;
}

static int check_strict_tools(const struct chat *c, const struct tool_function *list, size_t n,
                              char *path, struct err *err) {
    size_t i, k = 0;
    const json_t *tool;
    int rc = 0;
    json_array_foreach(c->r.tools, i, tool) {
        const json_t *f = json_object_get(tool, "function");
        if (k == n || !str_eq(json_str(json_object_get(f, "name")), list[k].name)) continue;
        struct grammar_options place = {list[k].where};
        if (!rc && json_is_true(json_object_get(f, "strict")) && list[k].parameters)
            rc = grammar_check_strict(list[k].parameters, "function", list[k].name, &place, path,
                                      err);
        k++;
    }
    return rc;
}

static int compile_tools(struct chat *c, struct http_response *res, struct err *err) {
    struct tool_grammar_options o = {.form = c->form,
                                     .required = c->r.tool_choice != TOOLS_AUTO,
                                     .parallel = c->r.parallel_tool_calls,
                                     .content_where = schema_place.where};
    struct tool_function *list = NULL;
    char path[GRAMMAR_PATH_MAX] = "";
    o.count = functions_of(c, &list);
    o.functions = list;
    json_t *object = json_pack("{s:s}", "type", "object");
    if (c->r.response == RESPONSE_JSON_SCHEMA) o.content = c->r.schema;
    if (c->r.response == RESPONSE_JSON_OBJECT) o.content = object;
    int rc = check_strict_tools(c, list, o.count, path, err);
    if (!rc) rc = check_strict_schema(c, path, err);
    if (!rc) rc = tool_grammar_compile(&o, &c->grammar, path, err);
    json_decref(object);
    return rc ? http_error(res, 400, "invalid_value", path[0] ? path : "tools", "%s", err->msg) : 0;
}

/* what the grammar depends on; "": there is none */
static void grammar_key(const struct chat *c, struct buf *key) {
    if (uses_tools(c)) {
        buf_printf(key, "tools %d %d %d %.*s ", (int)c->form, (int)c->r.tool_choice,
                   (int)c->r.parallel_tool_calls, STR_ARG(c->r.tool_name));
        json_write(c->r.tools, key);
        if (c->r.tools_chosen) json_write(c->r.tools_chosen, key);
    }
    if (c->r.response == RESPONSE_JSON_SCHEMA) {
        buf_printf(key, "schema %d %.*s ", (int)c->r.schema_strict, STR_ARG(c->r.schema_name));
        json_write(c->r.schema, key);
    } else if (c->r.response == RESPONSE_JSON_OBJECT) {
        buf_z(key, "object");
    }
}

static int compile(struct chat *c, struct http_response *res, struct err *err) {
    struct buf key;
    int rc = 0;
    if (uses_tools(c)) c->form = tool_form_of_template(template_source(model_template(c->g.model)));
    buf_init(&key, CONTENT_MAX);
    grammar_key(c, &key);
    if (key.n) c->grammar = grammar_cache_find(c->api->grammars, buf_view(&key));
    if (key.n && !c->grammar) {
        if (uses_tools(c))
            rc = compile_tools(c, res, err);
        else if (c->r.response == RESPONSE_JSON_SCHEMA)
            rc = compile_schema(c, res, err);
        else
            rc = grammar_json_object(&c->grammar, err);
        if (!rc && c->grammar) grammar_cache_put(c->api->grammars, buf_view(&key), c->grammar);
    }
    buf_release(&key);
    return rc;
}

static int open_answer(void *ctx, int64_t index, struct err *err) {
    struct chat *c = ctx;
    struct answer *a = &c->answers.list[index];
    struct choice_options o = {.engine = c->api->engine,
                               .model = c->g.model,
                               .sampling = &c->r.sampling,
                               .index = index,
                               .keep_special = uses_tools(c),
                               .request = generation_request(&c->g)};
    o.request.logprobs = c->r.logprobs;
    o.request.top = (int)c->r.top_logprobs;
    if (uses_tools(c)) answer_reads_calls(a, c->form, c->names, c->name_count);
    int rc = 0;
    if (c->grammar) rc = generation_filter(&c->g, c->grammar, &o.request.filter, err);
    if (!rc) rc = choice_open(&a->choice, &o, err);
    if (rc && o.request.filter.release) o.request.filter.release(o.request.filter.ctx);
    return rc;
}

static struct choice *answer_choice(void *ctx, int64_t i) {
    struct chat *c = ctx;
    return &c->answers.list[i].choice;
}

static void list_names(struct chat *c) {
    struct tool_function *list = NULL;
    if (!uses_tools(c)) return;
    c->name_count = functions_of(c, &list);
    c->names = arena_array(c->req->arena, c->name_count, sizeof *c->names);
    if (!c->names) c->name_count = 0;
    for (size_t i = 0; i < c->name_count; i++) c->names[i] = list[i].name;
}

static void lay_out_answers(struct chat *c) {
    struct chat_answers *all = &c->answers;
    list_names(c);
    id_new("chatcmpl-", all->id);
    all->created = (int64_t)time(NULL);
    all->model = c->g.name;
    all->fingerprint = c->g.fingerprint;
    all->named_call = c->r.tool_choice == TOOLS_NAMED;
    all->legacy_call = json_object_get(c->req->json, "functions") != NULL;
    all->count = c->r.sampling.n;
    all->list = mem_zalloc((size_t)all->count, sizeof *all->list);
    for (int64_t i = 0; i < all->count; i++) {
        buf_init(&all->list[i].content, CONTENT_MAX);
        if (c->r.logprobs) all->list[i].logprobs = json_array();
    }
    c->set = (struct choice_set){
        .ctx = c, .at = answer_choice, .open = open_answer, .count = all->count};
}

/* --- waiting --- */

/* What has come within wait_ms; *ret_done: all of it has. */
static int pump(void *ctx, int wait_ms, bool *ret_done, struct err *err) {
    struct chat *c = ctx;
    int rc = choices_wait(&c->set, wait_ms, ret_done, err);
    for (int64_t i = 0; !rc && i < c->set.opened; i++) answer_take(&c->answers.list[i]);
    return rc;
}

static void note(const struct chat *c) {
    int64_t out = 0;
    for (int64_t i = 0; i < c->answers.count; i++)
        out += c->answers.list[i].choice.completion_tokens;
    generation_log(&c->g, c->req, c->answers.list[0].choice.prompt_tokens, out);
}

/* Constrained answers can still be cut off in the middle. */
static bool is_json(struct str text) {
    struct err none;
    json_t *v = NULL;
    int rc = json_read(text, "answer", &v, &none);
    json_decref(v);
    return rc == 0;
}

static bool wrong_format(const struct chat *c, const struct answer *a) {
    for (size_t i = 0; i < a->call_count; i++)
        if (!is_json(buf_view(&a->calls[i].arguments))) return true;
    if (a->call_count) return false;
    if (uses_tools(c) && c->r.tool_choice != TOOLS_AUTO) return true;
    return c->r.response != RESPONSE_TEXT && !is_json(buf_view(&a->content));
}

static void note_outcome(struct chat *c) {
    bool asked = uses_tools(c) || c->r.response != RESPONSE_TEXT, none = !c->r.sampling.max_tokens;
    struct generation_outcome o = {.wrong_format = asked && !none ? 0 : -1, .empty = none ? -1 : 0};
    for (int64_t i = 0; i < c->answers.count && !none; i++) {
        const struct answer *a = &c->answers.list[i];
        if (asked && wrong_format(c, a)) o.wrong_format = 1;
        if (!a->call_count && generation_refused(buf_view(&a->content))) o.empty = 1;
    }
    generation_note(&c->g, &o);
}

static int store(const struct chat *c, const json_t *answer, struct err *err) {
    struct buf request, response, metadata;
    if (!c->r.store) return 0;
    buf_init(&request, SIZE_MAX / 2);
    buf_init(&response, SIZE_MAX / 2);
    buf_init(&metadata, SIZE_MAX / 2);
    json_write(c->req->json, &request);
    json_write(answer, &response);
    if (c->r.metadata) json_write(c->r.metadata, &metadata);
    struct stored_completion row = {.id = c->answers.id,
                                    .model = c->g.name,
                                    .request = request.p,
                                    .response = response.p,
                                    .metadata = metadata.p,
                                    .created_at = c->answers.created};
    int rc = completions_add(c->api->catalog, &row, err);
    if (!rc) rc = generation_stored(&c->g, row.id, err);
    buf_release(&metadata);
    buf_release(&response);
    buf_release(&request);
    return rc;
}

static int finish(struct chat *c, json_t **ret, struct err *err) {
    note(c);
    note_outcome(c);
    *ret = answers_object(&c->answers);
    int rc = store(c, *ret, err);
    if (rc) json_decref(*ret);
    return rc;
}

/* --- the answer on its way --- */

static enum http_next chunks_next(void *ctx, int wait_ms, struct buf *out) {
    struct chat *c = ctx;
    struct err err;
    json_t *object = NULL;
    bool done = false, first = !c->opened;
    c->opened = true;
    int rc = first ? 0 : pump(c, wait_ms, &done, &err);
    size_t before = out->n;
    if (!rc) answers_chunks(&c->answers, c->r.sampling.include_usage, out);
    if (!rc && done) rc = finish(c, &object, &err);
    if (rc) {
        generation_failed(&c->g, rc);
        c->status = err_http_status(rc);
        sse_data(out, http_error_object(err_http_status(rc), NULL, NULL, err.msg));
        return HTTP_END;
    }
    if (!done) return out->n > before ? HTTP_MORE : HTTP_WAIT;
    json_decref(object);
    if (c->r.sampling.include_usage) answers_usage_chunk(&c->answers, out);
    sse_done(out);
    return HTTP_END;
}

static enum http_next object_next(void *ctx, int wait_ms, struct buf *out) {
    struct chat *c = ctx;
    struct err err;
    json_t *object = NULL;
    bool done = false;
    int rc = pump(c, wait_ms, &done, &err);
    if (!rc && !done) return HTTP_WAIT;
    if (!rc) rc = finish(c, &object, &err);
    if (rc) generation_failed(&c->g, rc);
    if (rc) c->status = err_http_status(rc);
    if (rc) object = http_error_object(c->status, NULL, NULL, err.msg);
    json_write(object, out);
    json_decref(object);
    return HTTP_END;
}

static int answer_object(struct chat *c, struct http_response *res, struct err *err) {
    bool done;
    json_t *object;
    int rc = generation_wait(c->req, pump, c, &done, err);
    if (rc) return rc;
    if (!done) return generation_later(res, object_next, chat_close, c);
    rc = finish(c, &object, err);
    return rc ? rc : http_json(res, 200, object);
}

/* --- the handler --- */

static int prepare(struct chat *c, struct http_response *res, struct err *err) {
    struct reader f;
    reader_init(&f, c->req->json, res);
    if (chat_request_read(&f, &c->r)) return f.rc;
    int rc = generation_model(&c->g, c->req, c->r.model, res, err);
    if (!rc) rc = generation_knows_bias(&c->g, &c->r.sampling, res);
    if (!rc) rc = render(c, err);
    if (!rc) rc = generation_fits(&c->g, "messages", c->g.prompt.n, c->r.sampling.max_tokens, res);
    if (!rc) rc = compile(c, res, err);
    if (!rc) lay_out_answers(c);
    bool done = false;
    if (!rc) rc = pump(c, 0, &done, err); /* a full queue shows before headers are out */
    return rc == ERR_BUSY ? generation_busy(c->req, res) : rc;
}

/* *ret_next: the attempt to begin again with, -1: none */
static int try_once(struct http_request *req, int attempt, int *ret_next, struct http_response *res,
                    struct err *err) {
    struct chat *c = mem_zalloc(1, sizeof *c);
    c->req = req;
    c->g.attempt = attempt;
    *ret_next = -1;
    c->api = api_of(req);
    c->no_parameters = json_pack("{s:s, s:{}, s:[], s:b}", "type", "object", "properties",
                                 "required", "additionalProperties", 0);
    int rc = prepare(c, res, err);
    if (!rc && c->r.sampling.stream)
        return http_stream(
            res, &(struct http_stream){.next = chunks_next, .close = chat_close, .ctx = c});
    if (!rc) rc = answer_object(c, res, err);
    if (rc) generation_failed(&c->g, rc);
    if (rc) *ret_next = generation_next(&c->g, req, rc);
    if (rc < 0) c->status = rc == ERR_CANCELLED ? 499 : err_http_status(rc);
    if (rc > 0) c->status = res->status;
    if (!res->stream.next) chat_close(c, true);
    return rc;
}

/* Nothing was sent before an attempt fails, so the next one begins from the beginning. */
static int chat_create(struct http_request *req, struct http_response *res, struct err *err) {
    int attempt = 0, rc;
    size_t headers = res->header_count;
    do {
        res->header_count = headers;
        rc = try_once(req, attempt, &attempt, res, err);
    } while (attempt >= 0);
    return rc;
}

const struct http_route chat_routes[] = {
    {"POST", "/v1/chat/completions", chat_create, .scope = HTTP_INFERENCE, .body = HTTP_JSON}, {0}};
