#include "api/chat_answer.h"

#include "api/http.h"
#include "base/mem.h"

#include <string.h>

#define CALL_MAX ((size_t)64 << 20) /* bytes of one call */

void answers_release(struct chat_answers *a) {
    for (int64_t i = 0; i < a->count; i++) {
        struct answer *one = &a->list[i];
        for (size_t k = 0; k < one->call_count; k++) {
            buf_release(&one->calls[k].name);
            buf_release(&one->calls[k].arguments);
        }
        choice_close(&one->choice);
        tool_parser_free(one->parser);
        buf_release(&one->content);
        json_decref(one->logprobs);
        mem_free(one->calls);
    }
    mem_free(a->list);
    *a = (struct chat_answers){0};
}

static void on_event(void *answer, const struct tool_event *e) {
    struct answer *a = answer;
    struct answer_call *call = a->call_count ? &a->calls[a->call_count - 1] : NULL;
    switch (e->kind) {
    case TOOL_CONTENT: buf_str(&a->content, e->text); break;
    case TOOL_BEGIN:
        mem_grow((void **)&a->calls, &a->call_cap, a->call_count + 1, sizeof *a->calls);
        call = &a->calls[a->call_count++];
        *call = (struct answer_call){0};
        id_new("call_", call->id);
        buf_init(&call->name, CALL_MAX);
        buf_init(&call->arguments, CALL_MAX);
        buf_str(&call->name, e->text);
        break;
    case TOOL_ARGUMENTS: buf_str(&call->arguments, e->text); break;
    case TOOL_END: break;
    }
}

void answer_reads_calls(struct answer *a, enum tool_form form, const struct str *names,
                        size_t count) {
    if (a->parser) return;
    a->parser = tool_parser_new(&(struct tool_parser_options){.form = form,
                                                              .names = names,
                                                              .name_count = count,
                                                              .eager = true,
                                                              .on_event = on_event,
                                                              .ctx = a});
}

void answer_take(struct answer *a) {
    struct str text = buf_view(&a->choice.text);
    if (a->logprobs && a->choice.logprobs) {
        json_array_extend(a->logprobs, a->choice.logprobs);
        json_array_clear(a->choice.logprobs);
    }
    if (!a->parser)
        buf_str(&a->content, text);
    else if (text.n)
        tool_parser_add(a->parser, text);
    if (a->parser && a->choice.ended && !a->parsed) {
        a->parsed = true;
        tool_parser_end(a->parser);
    }
    buf_clear(&a->choice.text);
}

const char *answer_finish(const struct chat_answers *all, const struct answer *a) {
    bool called = a->call_count > 0 && strcmp(a->choice.finish, "stop") == 0;
    if (called && all->legacy_call) return "function_call";
    return called && !all->named_call ? "tool_calls" : a->choice.finish;
}

/* --- one object --- */

static json_t *text_value(struct str s) { return json_stringn(s.n ? s.p : "", s.n); }

static json_t *call_function(const struct answer_call *c) {
    json_t *f = json_object();
    json_object_set_new(f, "name", text_value(buf_view(&c->name)));
    json_object_set_new(f, "arguments", text_value(buf_view(&c->arguments)));
    return f;
}

static json_t *calls_value(const struct answer *a) {
    json_t *list = json_array();
    for (size_t i = 0; i < a->call_count; i++) {
        json_t *call = json_object();
        json_object_set_new(call, "id", json_string(a->calls[i].id));
        json_object_set_new(call, "type", json_string("function"));
        json_object_set_new(call, "function", call_function(&a->calls[i]));
        json_array_append_new(list, call);
    }
    return list;
}

static json_t *message_value(const struct chat_answers *all, const struct answer *a) {
    json_t *m = json_object();
    bool only_calls = a->call_count > 0 && a->content.n == 0;
    json_object_set_new(m, "role", json_string("assistant"));
    json_object_set_new(m, "content", only_calls ? json_null() : text_value(buf_view(&a->content)));
    json_object_set_new(m, "refusal", json_null());
    json_object_set_new(m, "annotations", json_array());
    if (a->call_count && all->legacy_call)
        json_object_set_new(m, "function_call", call_function(&a->calls[0]));
    else if (a->call_count)
        json_object_set_new(m, "tool_calls", calls_value(a));
    return m;
}

static json_t *logprobs_value(json_t *entries) {
    json_t *v = json_object();
    json_object_set_new(v, "content", entries);
    json_object_set_new(v, "refusal", json_null());
    return v;
}

json_t *answers_usage(const struct chat_answers *a) {
    json_t *v = json_object(), *in = json_object(), *out = json_object();
    static const char *const none[] = {"reasoning_tokens", "audio_tokens",
                                       "accepted_prediction_tokens", "rejected_prediction_tokens"};
    int64_t completion = 0, prompt = a->count ? a->list[0].choice.prompt_tokens : 0;
    for (int64_t i = 0; i < a->count; i++) completion += a->list[i].choice.completion_tokens;
    json_object_set_new(v, "prompt_tokens", json_integer(prompt));
    json_object_set_new(v, "completion_tokens", json_integer(completion));
    json_object_set_new(v, "total_tokens", json_integer(prompt + completion));
    int64_t cached = a->count ? a->list[0].choice.cached_tokens : 0;
    json_object_set_new(in, "cached_tokens", json_integer(cached));
    json_object_set_new(in, "audio_tokens", json_integer(0));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        json_object_set_new(out, none[i], json_integer(0));
    json_object_set_new(v, "prompt_tokens_details", in);
    json_object_set_new(v, "completion_tokens_details", out);
    return v;
}

static json_t *head(const struct chat_answers *a, const char *object) {
    json_t *v = json_object();
    json_object_set_new(v, "id", json_string(a->id));
    json_object_set_new(v, "object", json_string(object));
    json_object_set_new(v, "created", json_integer(a->created));
    json_object_set_new(v, "model", json_string(a->model));
    return v;
}

json_t *answers_object(const struct chat_answers *all) {
    json_t *v = head(all, "chat.completion"), *choices = json_array();
    for (int64_t i = 0; i < all->count; i++) {
        const struct answer *a = &all->list[i];
        json_t *c = json_object();
        json_object_set_new(c, "index", json_integer(i));
        json_object_set_new(c, "message", message_value(all, a));
        json_object_set_new(c, "logprobs",
                            a->logprobs ? logprobs_value(json_incref(a->logprobs)) : json_null());
        json_object_set_new(c, "finish_reason", json_string(answer_finish(all, a)));
        json_array_append_new(choices, c);
    }
    json_object_set_new(v, "choices", choices);
    json_object_set_new(v, "usage", answers_usage(all));
    json_object_set_new(v, "service_tier", json_string("default"));
    json_object_set_new(v, "system_fingerprint", json_string(all->fingerprint));
    return v;
}

/* --- chunks --- */

struct chunk {
    const struct chat_answers *all;
    int64_t index;
    bool with_usage;
    struct buf *out;
};

/* delta is taken over; logprobs too, NULL: none */
static void chunk_write(const struct chunk *c, json_t *delta, json_t *logprobs,
                        const char *finish) {
    json_t *v = head(c->all, "chat.completion.chunk"), *choice = json_object();
    json_t *choices = json_array();
    json_object_set_new(choice, "index", json_integer(c->index));
    json_object_set_new(choice, "delta", delta);
    json_object_set_new(choice, "logprobs", logprobs ? logprobs_value(logprobs) : json_null());
    json_object_set_new(choice, "finish_reason", finish ? json_string(finish) : json_null());
    json_array_append_new(choices, choice);
    json_object_set_new(v, "choices", choices);
    json_object_set_new(v, "service_tier", json_string("default"));
    json_object_set_new(v, "system_fingerprint", json_string(c->all->fingerprint));
    if (c->with_usage) json_object_set_new(v, "usage", json_null());
    sse_data(c->out, v);
}

static void role_chunk(const struct chunk *c) {
    json_t *delta = json_object();
    json_object_set_new(delta, "role", json_string("assistant"));
    json_object_set_new(delta, "content", json_string(""));
    json_object_set_new(delta, "refusal", json_null());
    chunk_write(c, delta, NULL, NULL);
}

static void content_chunk(const struct chunk *c, struct answer *a) {
    json_t *delta = json_object(), *entries = NULL;
    struct str text = str_from(buf_view(&a->content), a->sent);
    size_t known = json_array_size(a->logprobs);
    if (known > a->logprobs_sent) {
        entries = json_array();
        while (a->logprobs_sent < known)
            json_array_append(entries, json_array_get(a->logprobs, a->logprobs_sent++));
    }
    if (text.n == 0 && !entries) {
        json_decref(delta);
        return;
    }
    json_object_set_new(delta, "content", text_value(text));
    a->sent = a->content.n;
    chunk_write(c, delta, entries, NULL);
}

static void legacy_call_chunk(const struct chunk *c, struct answer_call *call, struct str rest) {
    json_t *delta = json_object(), *f = json_object();
    if (!call->begun) json_object_set_new(f, "name", text_value(buf_view(&call->name)));
    json_object_set_new(f, "arguments", text_value(rest));
    json_object_set_new(delta, "function_call", f);
    chunk_write(c, delta, NULL, NULL);
}

static void call_chunk(const struct chunk *c, size_t index, const struct answer_call *call,
                       struct str arguments) {
    json_t *delta = json_object(), *list = json_array(), *v = json_object(), *f = json_object();
    json_object_set_new(v, "index", json_integer((json_int_t)index));
    if (!call->begun) {
        json_object_set_new(v, "id", json_string(call->id));
        json_object_set_new(v, "type", json_string("function"));
        json_object_set_new(f, "name", text_value(buf_view(&call->name)));
    }
    json_object_set_new(f, "arguments", text_value(arguments));
    json_object_set_new(v, "function", f);
    json_array_append_new(list, v);
    json_object_set_new(delta, "tool_calls", list);
    chunk_write(c, delta, NULL, NULL);
}

static void call_chunks(const struct chunk *c, struct answer *a) {
    for (size_t i = 0; i < a->call_count; i++) {
        struct answer_call *call = &a->calls[i];
        struct str rest = str_from(buf_view(&call->arguments), call->sent);
        if (call->begun && rest.n == 0) continue;
        if (c->all->legacy_call) {
            if (i == 0) legacy_call_chunk(c, call, rest);
        } else {
            if (!call->begun) call_chunk(c, i, call, STR_LIT(""));
            call->begun = true;
            if (rest.n) call_chunk(c, i, call, rest);
        }
        call->begun = true;
        call->sent = call->arguments.n;
    }
}

void answers_chunks(struct chat_answers *all, bool with_usage, struct buf *out) {
    for (int64_t i = 0; i < all->count; i++) {
        struct answer *a = &all->list[i];
        struct chunk c = {all, i, with_usage, out};
        if (!a->role_sent) role_chunk(&c);
        a->role_sent = true;
    }
    for (int64_t i = 0; i < all->count; i++) {
        struct answer *a = &all->list[i];
        struct chunk c = {all, i, with_usage, out};
        content_chunk(&c, a);
        call_chunks(&c, a);
        if (a->choice.ended && !a->finish_sent) {
            chunk_write(&c, json_object(), NULL, answer_finish(all, a));
            a->finish_sent = true;
        }
    }
}

void answers_usage_chunk(const struct chat_answers *a, struct buf *out) {
    json_t *v = head(a, "chat.completion.chunk");
    json_object_set_new(v, "choices", json_array());
    json_object_set_new(v, "service_tier", json_string("default"));
    json_object_set_new(v, "system_fingerprint", json_string(a->fingerprint));
    json_object_set_new(v, "usage", answers_usage(a));
    sse_data(out, v);
}
