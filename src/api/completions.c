/* POST /completions, the legacy form: raw prompts, no template; with echo and logprobs the way
 * evaluation harnesses score text. Prompts are tokenized as `attune generate` does, with what the
 * post-processor adds; what it adds is not echoed. */
#include "api/api.h"
#include "api/choice.h"
#include "api/generation.h"
#include "api/request_log.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROMPTS_MAX 256
#define CHOICES_MAX 1024
#define BEST_MAX 20

struct prompt {
    struct token_list ids;
    int64_t hidden; /* ids at the beginning that the post-processor added */
    struct buf text;
};

struct line { /* an answer: the i-th of best_of for a prompt */
    struct choice choice;
    struct buf text; /* all of it, the prompt too where it is echoed */
    size_t sent;
    json_t *entries; /* of log-probabilities; NULL: not asked for */
    size_t entries_sent, offset;
    bool finish_sent;
};

struct completion {
    struct http_request *req;
    struct generation g;
    struct sampling_request s;
    bool echo;
    int64_t logprobs; /* -1: none */
    int64_t best_of;
    struct prompt *prompts;
    int64_t prompt_count;
    struct line *lines; /* (prompt_count · best_of) */
    struct choice_set set;
    char id[ID_SIZE];
    int64_t created;
    int status; /* of the answer where it is an error; 0: none so far */
};

static void log_completion(struct completion *c) {
    struct request_entry e;
    bool ended;
    if (!c->g.name || !c->g.api->requests) return; /* no model: nobody's traffic */
    generation_entry(&c->g, c->req, &c->set, &e, &ended);
    e.status = c->status ? c->status : ended ? 200 : 499;
    for (int64_t i = 0; i < c->prompt_count; i++) e.prompt_tokens += c->prompts[i].ids.n;
    if (c->prompt_count) e.prompt = buf_view(&c->prompts[0].text);
    if (c->set.count) {
        const struct line *l = &c->lines[0];
        e.completion = c->id;
        e.finish = l->choice.ended ? l->choice.finish : NULL;
        e.answer = str_from(buf_view(&l->text), c->echo ? c->prompts[0].text.n : 0);
    }
    request_log_add(c->g.api->requests, &e);
}

static void completion_close(void *ctx, bool complete) {
    struct completion *c = ctx;
    (void)complete;
    log_completion(c);
    for (int64_t i = 0; i < c->set.count; i++) {
        choice_close(&c->lines[i].choice);
        buf_release(&c->lines[i].text);
        json_decref(c->lines[i].entries);
    }
    for (int64_t i = 0; i < c->prompt_count; i++) {
        token_list_release(&c->prompts[i].ids);
        buf_release(&c->prompts[i].text);
    }
    mem_free(c->lines);
    mem_free(c->prompts);
    sampling_request_release(&c->s);
    generation_release(&c->g);
    mem_free(c);
}

/* --- the request --- */

static int prompt_text(struct completion *c, struct str text, struct prompt *p, struct err *err) {
    const struct tokenizer *t = model_tokenizer(c->g.model);
    struct token_list plain = {0};
    buf_str(&p->text, text);
    int rc = tokenizer_encode(t, text, true, &p->ids, err);
    if (!rc) rc = tokenizer_encode(t, text, false, &plain, err);
    while (!rc && p->hidden + plain.n < p->ids.n && tokenizer_is_special(t, p->ids.ids[p->hidden]))
        p->hidden++;
    token_list_release(&plain);
    return rc;
}

static int prompt_ids(struct completion *c, const json_t *list, struct prompt *p, struct err *err) {
    const struct tokenizer *t = model_tokenizer(c->g.model);
    size_t i;
    const json_t *id;
    json_array_foreach(list, i, id) {
        json_int_t v = json_integer_value(id);
        if (!json_is_integer(id) || v < 0 || v >= tokenizer_size(t))
            return err_set(err, ERR_INVALID, "Invalid 'prompt': element %zu is not a token id.", i);
        token_list_add(&p->ids, (int32_t)v);
    }
    return tokenizer_decode(t, p->ids.ids, p->ids.n, false, &p->text, err);
}

static int add_prompt(struct completion *c, const json_t *v, struct err *err) {
    struct prompt *p = &c->prompts[c->prompt_count++];
    buf_init(&p->text, CONTENT_MAX);
    if (json_is_string(v)) return prompt_text(c, json_str(v), p, err);
    if (json_is_array(v)) return prompt_ids(c, v, p, err);
    return err_set(err, ERR_INVALID,
                   "Invalid type for 'prompt': expected a string, an array of strings, an array "
                   "of token ids, or an array of such arrays.");
}

static int read_prompts(struct completion *c, struct err *err) {
    const json_t *v = json_object_get(c->req->json, "prompt"), *one;
    bool several = json_array_size(v) > 0 && !json_is_integer(json_array_get(v, 0));
    size_t i, count = several ? json_array_size(v) : 1;
    if (count > PROMPTS_MAX)
        return err_set(err, ERR_INVALID, "Invalid 'prompt': at most %d prompts are taken at once.",
                       PROMPTS_MAX);
    c->prompts = mem_zalloc(count, sizeof *c->prompts);
    if (!several) return add_prompt(c, v, err);
    json_array_foreach(v, i, one) {
        int rc = add_prompt(c, one, err);
        if (rc) return rc;
    }
    return 0;
}

static void read_fields(struct completion *c, struct reader *f, struct str *model) {
    reader_require(f, "model");
    reader_str(f, "model", model);
    reader_require(f, "prompt");
    c->s = (struct sampling_request){.n = 1, .max_tokens = 16};
    sampling_request_read(f, &c->s);
    c->logprobs = -1;
    reader_int(f, "logprobs", 0, 5, &c->logprobs);
    reader_bool(f, "echo", &c->echo);
    c->best_of = c->s.n;
    reader_int(f, "best_of", 1, BEST_MAX, &c->best_of);
    if (c->best_of < c->s.n)
        reader_bad(f, "best_of", "invalid_value",
                   "You requested that the server return more choices than it will generate "
                   "('n' = %lld, 'best_of' = %lld).",
                   (long long)c->s.n, (long long)c->best_of);
    if (c->best_of > c->s.n && c->s.stream)
        reader_bad(f, "best_of", "invalid_value", "Cannot stream with 'best_of' greater than 'n'.");
    struct str suffix = {0};
    if (reader_str(f, "suffix", &suffix) && suffix.n)
        reader_bad(f, "suffix", "unsupported_parameter",
                   "This model cannot fill in the middle; leave 'suffix' out.");
}

/* --- running --- */

static struct choice *line_choice(void *ctx, int64_t i) {
    struct completion *c = ctx;
    return &c->lines[i].choice;
}

static int line_open(void *ctx, int64_t i, struct err *err) {
    struct completion *c = ctx;
    const struct prompt *p = &c->prompts[i / c->best_of];
    struct choice_options o = {.engine = c->g.api->engine,
                               .model = c->g.model,
                               .sampling = &c->s,
                               .index = i % c->best_of,
                               .request = generation_request(&c->g)};
    o.request.prompt = p->ids.ids;
    o.request.prompt_count = p->ids.n;
    o.request.logprobs = c->logprobs >= 0 || c->best_of > c->s.n;
    o.request.prompt_logprobs = c->echo && c->logprobs >= 0;
    o.request.top = c->logprobs > 0 ? (int)c->logprobs : 0;
    return choice_open(&c->lines[i].choice, &o, err);
}

static void lay_out(struct completion *c) {
    int64_t count = c->prompt_count * c->best_of;
    id_new("cmpl-", c->id);
    c->created = (int64_t)time(NULL);
    c->lines = mem_zalloc((size_t)count, sizeof *c->lines);
    for (int64_t i = 0; i < count; i++) {
        buf_init(&c->lines[i].text, CONTENT_MAX);
        if (c->echo) buf_str(&c->lines[i].text, buf_view(&c->prompts[i / c->best_of].text));
        c->lines[i].entries = json_array();
    }
    c->set = (struct choice_set){.ctx = c, .at = line_choice, .open = line_open, .count = count};
}

static void line_take(const struct completion *c, struct line *l, int64_t hidden) {
    if (l->choice.prompt) { /* once, before everything else */
        size_t n = json_array_size(l->choice.prompt);
        for (size_t i = (size_t)hidden; c->echo && i < n; i++)
            json_array_append(l->entries, json_array_get(l->choice.prompt, i));
        json_decref(l->choice.prompt);
        l->choice.prompt = NULL;
    }
    if (l->choice.logprobs) {
        json_array_extend(l->entries, l->choice.logprobs);
        json_array_clear(l->choice.logprobs);
    }
    buf_str(&l->text, buf_view(&l->choice.text));
    buf_clear(&l->choice.text);
}

static int pump(void *ctx, int wait_ms, bool *ret_done, struct err *err) {
    struct completion *c = ctx;
    int rc = choices_wait(&c->set, wait_ms, ret_done, err);
    for (int64_t i = 0; !rc && i < c->set.opened; i++)
        line_take(c, &c->lines[i], c->prompts[i / c->best_of].hidden);
    return rc;
}

/* --- forms --- */

static void top_put(json_t *to, const json_t *entry) {
    const json_t *token = json_object_get(entry, "token");
    json_object_setn(to, json_string_value(token), json_string_length(token),
                     json_object_get(entry, "logprob"));
}

/* the likeliest, and the token itself */
static json_t *top_value(const json_t *entry) {
    const json_t *top = json_object_get(entry, "top_logprobs"), *one;
    json_t *v = json_object();
    size_t i;
    json_array_foreach(top, i, one) top_put(v, one);
    top_put(v, entry);
    return v;
}

/* code points, as offsets of the API are counted */
static size_t characters(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

/* entries that were not sent yet */
static json_t *logprobs_value(struct completion *c, struct line *l) {
    json_t *v = json_object(), *tokens = json_array(), *values = json_array();
    json_t *tops = json_array(), *offsets = json_array();
    for (; l->entries_sent < json_array_size(l->entries); l->entries_sent++) {
        const json_t *e = json_array_get(l->entries, l->entries_sent);
        bool first = c->echo && l->entries_sent == 0;
        json_array_append(tokens, json_object_get(e, "token"));
        json_array_append_new(values,
                              first ? json_null() : json_incref(json_object_get(e, "logprob")));
        json_array_append_new(tops, first || c->logprobs == 0 ? json_null() : top_value(e));
        json_array_append_new(offsets, json_integer((json_int_t)l->offset));
        l->offset += characters(json_str(json_object_get(e, "token")));
    }
    json_object_set_new(v, "tokens", tokens);
    json_object_set_new(v, "token_logprobs", values);
    json_object_set_new(v, "top_logprobs", tops);
    json_object_set_new(v, "text_offset", offsets);
    return v;
}

static json_t *choice_value(struct completion *c, struct line *l, int64_t index,
                            const char *finish) {
    json_t *v = json_object();
    struct str text = str_from(buf_view(&l->text), l->sent);
    json_object_set_new(v, "text", json_stringn(text.n ? text.p : "", text.n));
    l->sent = l->text.n;
    json_object_set_new(v, "index", json_integer(index));
    json_object_set_new(v, "logprobs", c->logprobs >= 0 ? logprobs_value(c, l) : json_null());
    json_object_set_new(v, "finish_reason", finish ? json_string(finish) : json_null());
    return v;
}

static json_t *usage_value(struct completion *c) {
    json_t *v = json_object();
    int64_t in = 0, out = 0;
    for (int64_t i = 0; i < c->prompt_count; i++) in += c->prompts[i].ids.n;
    for (int64_t i = 0; i < c->set.opened; i++) out += c->lines[i].choice.completion_tokens;
    json_object_set_new(v, "prompt_tokens", json_integer(in));
    json_object_set_new(v, "completion_tokens", json_integer(out));
    json_object_set_new(v, "total_tokens", json_integer(in + out));
    generation_log(&c->g, c->req, in, out);
    return v;
}

static void note_outcome(struct completion *c) {
    bool none = c->s.max_tokens == 0;
    struct generation_outcome o = {.wrong_format = -1, .empty = none ? -1 : 0};
    for (int64_t i = 0; !none && i < c->set.opened; i++) {
        const struct line *l = &c->lines[i];
        size_t prompt = c->echo ? c->prompts[i / c->best_of].text.n : 0;
        if (generation_refused(str_from(buf_view(&l->text), prompt))) o.empty = 1;
    }
    generation_note(&c->g, &o);
}

/* choices is taken over */
static json_t *object_value(const struct completion *c, json_t *choices) {
    json_t *v = json_object();
    json_object_set_new(v, "id", json_string(c->id));
    json_object_set_new(v, "object", json_string("text_completion"));
    json_object_set_new(v, "created", json_integer(c->created));
    json_object_set_new(v, "model", json_string(c->g.name));
    json_object_set_new(v, "choices", choices);
    json_object_set_new(v, "system_fingerprint", json_string(c->g.fingerprint));
    return v;
}

/* mean log-probability of a token */
static double quality(const struct line *l) {
    double sum = 0;
    size_t i, n = 0;
    const json_t *e;
    json_array_foreach(l->entries, i, e) {
        sum += json_number_value(json_object_get(e, "logprob"));
        n++;
    }
    return n ? sum / (double)n : -INFINITY;
}

static json_t *result(struct completion *c) {
    json_t *choices = json_array();
    note_outcome(c);
    for (int64_t p = 0; p < c->prompt_count; p++) {
        struct line *of = &c->lines[p * c->best_of];
        bool used[BEST_MAX + 128] = {false};
        for (int64_t k = 0; k < c->s.n; k++) {
            int64_t best = k;
            for (int64_t i = 0; c->best_of > c->s.n && i < c->best_of; i++)
                if (!used[i] && (used[best] || quality(&of[i]) > quality(&of[best]))) best = i;
            used[best] = true;
            json_array_append_new(
                choices, choice_value(c, &of[best], p * c->s.n + k, of[best].choice.finish));
        }
    }
    json_t *v = object_value(c, choices);
    json_object_set_new(v, "usage", usage_value(c));
    return v;
}

static void chunks(struct completion *c, struct buf *out) {
    for (int64_t i = 0; i < c->set.opened; i++) {
        struct line *l = &c->lines[i];
        bool more = l->text.n > l->sent || l->entries_sent < json_array_size(l->entries);
        bool ends = l->choice.ended && !l->finish_sent;
        if (!more && !ends) continue;
        json_t *list = json_array();
        json_array_append_new(list, choice_value(c, l, i, ends ? l->choice.finish : NULL));
        l->finish_sent = l->finish_sent || ends;
        json_t *v = object_value(c, list);
        if (c->s.include_usage) json_object_set_new(v, "usage", json_null());
        sse_data(out, v);
    }
}

/* --- the answer on its way --- */

static enum http_next chunks_next(void *ctx, int wait_ms, struct buf *out) {
    struct completion *c = ctx;
    struct err err;
    bool done = false;
    size_t before = out->n;
    int rc = pump(c, wait_ms, &done, &err);
    if (rc) {
        generation_failed(&c->g, rc);
        c->status = err_http_status(rc);
        sse_data(out, http_error_object(err_http_status(rc), NULL, NULL, err.msg));
        return HTTP_END;
    }
    chunks(c, out);
    if (!done) return out->n > before ? HTTP_MORE : HTTP_WAIT;
    note_outcome(c);
    json_t *usage = usage_value(c), *last = object_value(c, json_array());
    json_object_set_new(last, "usage", usage);
    if (c->s.include_usage)
        sse_data(out, last);
    else
        json_decref(last);
    sse_done(out);
    return HTTP_END;
}

static enum http_next object_next(void *ctx, int wait_ms, struct buf *out) {
    struct completion *c = ctx;
    struct err err;
    bool done = false;
    int rc = pump(c, wait_ms, &done, &err);
    if (!rc && !done) return HTTP_WAIT;
    if (rc) generation_failed(&c->g, rc);
    if (rc) c->status = err_http_status(rc);
    json_t *v = rc ? http_error_object(c->status, NULL, NULL, err.msg) : result(c);
    json_write(v, out);
    json_decref(v);
    return HTTP_END;
}

static int answer_object(struct completion *c, struct http_response *res, struct err *err) {
    bool done;
    int rc = generation_wait(c->req, pump, c, &done, err);
    if (rc) return rc;
    if (!done) return generation_later(res, object_next, completion_close, c);
    return http_json(res, 200, result(c));
}

static int fits(struct completion *c, struct http_response *res) {
    for (int64_t i = 0; i < c->prompt_count; i++) {
        int rc = generation_fits(&c->g, "prompt", c->prompts[i].ids.n, c->s.max_tokens, res);
        if (rc) return rc;
    }
    if (c->prompt_count * c->best_of > CHOICES_MAX)
        return http_error(res, 400, "invalid_value", "n",
                          "At most %d answers are generated at once.", CHOICES_MAX);
    return 0;
}

static int prepare(struct completion *c, struct http_response *res, struct err *err) {
    struct reader f;
    struct str model = {0};
    bool done;
    reader_init(&f, c->req->json, res);
    read_fields(c, &f, &model);
    if (f.rc) return f.rc;
    int rc = generation_model(&c->g, c->req, model, res, err);
    if (!rc && read_prompts(c, err))
        rc = http_error(res, 400, "invalid_value", "prompt", "%s", err->msg);
    if (!rc) rc = generation_knows_bias(&c->g, &c->s, res);
    if (!rc) rc = fits(c, res);
    if (!rc) lay_out(c);
    if (!rc) rc = pump(c, 0, &done, err);
    return rc == ERR_BUSY ? generation_busy(c->req, res) : rc;
}

/* *ret_next: the attempt to begin again with, -1: none */
static int try_once(struct http_request *req, int attempt, int *ret_next, struct http_response *res,
                    struct err *err) {
    struct completion *c = mem_zalloc(1, sizeof *c);
    c->req = req;
    c->g.attempt = attempt;
    *ret_next = -1;
    int rc = prepare(c, res, err);
    if (!rc && c->s.stream)
        return http_stream(
            res, &(struct http_stream){.next = chunks_next, .close = completion_close, .ctx = c});
    if (!rc) rc = answer_object(c, res, err);
    if (rc) generation_failed(&c->g, rc);
    if (rc) *ret_next = generation_next(&c->g, req, rc);
    if (rc < 0) c->status = rc == ERR_CANCELLED ? 499 : err_http_status(rc);
    if (rc > 0) c->status = res->status;
    if (!res->stream.next) completion_close(c, true);
    return rc;
}

/* Nothing was sent before an attempt fails, so the next one begins from the beginning. */
static int completion_create(struct http_request *req, struct http_response *res, struct err *err) {
    int attempt = 0, rc;
    size_t headers = res->header_count;
    do {
        res->header_count = headers;
        rc = try_once(req, attempt, &attempt, res, err);
    } while (attempt >= 0);
    return rc;
}

const struct http_route completion_routes[] = {
    {"POST", "/v1/completions", completion_create, .scope = HTTP_INFERENCE, .body = HTTP_JSON},
    {0}};
