#include "api/chat_request.h"

#include "base/mem.h"
#include "data/conversation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_MAX 128
#define TOOLS_MAX 128
#define NAME_MAX_BYTES 64
#define BIAS_MAX 100.0
#define MESSAGES_MAX 16384
#define CALLS_MAX 4096

/* --- sampling --- */

static void read_stop(struct reader *f, struct sampling_request *s) {
    const json_t *v = reader_get(f, "stop"), *one;
    size_t i, count = json_array_size(v);
    if (!v) return;
    if (json_is_string(v)) {
        s->stop[s->stop_count++] = json_str(v);
    } else if (!json_is_array(v)) {
        reader_bad(f, "stop", "invalid_type",
                   "Invalid type for 'stop': expected a string or an array of strings.");
    } else if (count > STOP_MAX) {
        reader_bad(f, "stop", "array_above_max_length",
                   "Invalid 'stop': array too long. Expected at most %d elements, but got %zu.",
                   STOP_MAX, count);
    } else {
        json_array_foreach(v, i, one) {
            if (json_is_string(one))
                s->stop[s->stop_count++] = json_str(one);
            else
                reader_bad(f, "stop", "invalid_type",
                           "Invalid type for 'stop[%zu]': expected a string.", i);
        }
    }
    for (int k = 0; k < s->stop_count; k++)
        if (s->stop[k].n == 0)
            reader_bad(f, "stop", "invalid_value",
                       "Invalid 'stop': a stop sequence must not be empty.");
}

static void read_bias(struct reader *f, struct sampling_request *s) {
    const json_t *v = reader_object(f, "logit_bias"), *value;
    const char *key;
    if (json_object_size(v) == 0) return;
    s->bias_id = mem_zalloc(json_object_size(v), sizeof *s->bias_id);
    s->bias = mem_zalloc(json_object_size(v), sizeof *s->bias);
    json_object_foreach((json_t *)v, key, value) {
        char *end;
        long id = strtol(key, &end, 10);
        double bias = json_number_value(value);
        if (!*key || *end || id < 0 || id > INT32_MAX)
            reader_bad(f, "logit_bias", "invalid_value",
                       "Invalid 'logit_bias': '%.40s' is not a token id.", key);
        else if (!json_is_number(value) || !(bias >= -BIAS_MAX && bias <= BIAS_MAX))
            reader_bad(f, "logit_bias", "invalid_value",
                       "Invalid 'logit_bias': the value of token %ld must be a number from -100 "
                       "to 100.",
                       id);
        s->bias_id[s->bias_count] = (int32_t)id;
        s->bias[s->bias_count++] = (float)bias;
    }
}

void sampling_request_read(struct reader *f, struct sampling_request *s) {
    s->temperature = s->top_p = 1;
    reader_number(f, "temperature", 0, 2, &s->temperature);
    reader_number(f, "top_p", 0, 1, &s->top_p);
    reader_number(f, "presence_penalty", -2, 2, &s->presence_penalty);
    reader_number(f, "frequency_penalty", -2, 2, &s->frequency_penalty);
    reader_int(f, "n", 1, N_MAX, &s->n);
    reader_int(f, "max_tokens", 0, INT32_MAX, &s->max_tokens);
    s->has_seed = reader_int(f, "seed", INT64_MIN, INT64_MAX, &s->seed);
    reader_bool(f, "stream", &s->stream);
    read_stop(f, s);
    read_bias(f, s);
    const json_t *o = reader_object(f, "stream_options");
    if (o && !s->stream)
        reader_bad(f, "stream_options", "invalid_value",
                   "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
    struct reader options;
    if (!o) return;
    reader_enter(f, o, "stream_options", &options);
    reader_bool(&options, "include_usage", &s->include_usage);
    reader_leave(f, &options);
}

void sampling_request_release(struct sampling_request *s) {
    mem_free(s->bias_id);
    mem_free(s->bias);
    *s = (struct sampling_request){0};
}

/* --- messages --- */

/* ids of calls that have been made and not answered are not tracked one by one: an answer must name
 * a call of an earlier assistant message */
struct calls {
    struct str *id;
    size_t count, cap;
};

static void check_part(struct reader *f, const json_t *part, size_t i) {
    char path[40];
    const json_t *type = json_object_get(part, "type");
    snprintf(path, sizeof path, "content[%zu]", i);
    struct str kind = json_str(type);
    bool text = json_is_string(type) && (str_is(kind, "text") || str_is(kind, "refusal"));
    if (text && json_is_string(json_object_get(part, kind.p))) return;
    if (!text && json_is_string(type))
        reader_bad(f, path, "unsupported_value",
                   "Parts of type '%.40s' are not supported: this model reads text only.", kind.p);
    else
        reader_bad(f, path, "invalid_value",
                   "A part of 'content' must be {\"type\": \"text\", \"text\": \"...\"}.");
}

static void check_content(struct reader *f, bool may_lack) {
    const json_t *content = reader_get(f, "content"), *part;
    size_t i;
    if (!content && !may_lack)
        reader_bad(f, "content", "invalid_type",
                   "Invalid value for 'content': expected a string, got null.");
    if (!content || json_is_string(content)) return;
    if (!json_is_array(content))
        reader_bad(f, "content", "invalid_type",
                   "Invalid type for 'content': expected a string or an array of parts.");
    else
        json_array_foreach(content, i, part) check_part(f, part, i);
}

static void check_calls(struct reader *f, struct calls *calls) {
    const json_t *list = reader_array(f, "tool_calls"), *call;
    size_t i;
    json_array_foreach(list, i, call) {
        struct reader c, fn;
        struct str id = {0}, text = {0};
        char path[40];
        snprintf(path, sizeof path, "tool_calls[%zu]", i);
        reader_enter(f, call, path, &c);
        reader_require(&c, "id");
        reader_require(&c, "function");
        reader_str(&c, "id", &id);
        reader_enter(&c, json_object_get(call, "function"), "function", &fn);
        reader_require(&fn, "name");
        reader_str(&fn, "name", &text);
        reader_str(&fn, "arguments", &text);
        reader_leave(&c, &fn);
        reader_leave(f, &c);
        if (f->rc || calls->count >= CALLS_MAX) return;
        mem_grow((void **)&calls->id, &calls->cap, calls->count + 1, sizeof *calls->id);
        calls->id[calls->count++] = id;
    }
}

static void check_answer(struct reader *f, const struct calls *calls) {
    struct str id = {0};
    if (calls->count == 0)
        reader_bad(f, "role", NULL,
                   "Invalid parameter: messages with role 'tool' must be a response to a "
                   "preceeding message with 'tool_calls'.");
    reader_require(f, "tool_call_id");
    if (!reader_str(f, "tool_call_id", &id)) return;
    for (size_t i = 0; i < calls->count; i++)
        if (str_eq(calls->id[i], id)) return;
    reader_bad(f, "tool_call_id", NULL,
               "Invalid parameter: 'tool_call_id' of '%.*s' not found in 'tool_calls' of a "
               "previous message.",
               (int)(id.n < 60 ? id.n : 60), id.p);
}

static void check_message(struct reader *f, struct calls *calls) {
    static const char *const roles[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    struct str role = {0};
    bool known = false;
    reader_require(f, "role");
    reader_str(f, "role", &role);
    for (size_t i = 0; !f->rc && i < sizeof roles / sizeof *roles; i++)
        known = known || str_is(role, roles[i]);
    if (!known)
        reader_bad(f, "role", "invalid_value",
                   "Invalid value: '%.*s'. Supported values are: 'system', 'developer', 'user', "
                   "'assistant', 'tool', and 'function'.",
                   (int)(role.n < 40 ? role.n : 40), role.p ? role.p : "");
    bool assistant = str_is(role, "assistant");
    if (assistant) check_calls(f, calls);
    if (str_is(role, "tool")) check_answer(f, calls);
    check_content(f, assistant);
}

static void read_messages(struct reader *f, struct chat_request *r) {
    reader_require(f, "messages");
    const json_t *list = reader_array(f, "messages"), *m;
    struct calls calls = {0};
    size_t i, count = json_array_size(list);
    if (list && count == 0)
        reader_bad(f, "messages", "empty_array",
                   "Invalid 'messages': empty array. Expected an array with minimum length 1, but "
                   "got an empty array instead.");
    if (count > MESSAGES_MAX)
        reader_bad(f, "messages", "array_above_max_length",
                   "Invalid 'messages': at most %d are taken, but got %zu.", MESSAGES_MAX, count);
    if (f->rc) return;
    r->messages = json_array();
    json_array_foreach(list, i, m) {
        struct reader message;
        char path[40];
        snprintf(path, sizeof path, "messages[%zu]", i);
        reader_enter(f, m, path, &message);
        check_message(&message, &calls);
        reader_leave(f, &message);
        if (f->rc) break;
        json_array_append_new(r->messages, conversation_message(m));
    }
    mem_free(calls.id);
}

/* --- tools --- */

static bool name_is_good(struct str name) {
    if (name.n == 0 || name.n > NAME_MAX_BYTES) return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '_' && c != '-') return false;
    }
    return true;
}

static void check_name(struct reader *f, const char *key, struct str *ret) {
    reader_require(f, key);
    if (reader_str(f, key, ret) && !name_is_good(*ret))
        reader_bad(f, key, "invalid_value",
                   "Invalid '%s.%s': expected 1 to 64 letters, digits, '_' or '-'.", f->f.at, key);
}

static void check_tool(struct reader *f, const json_t *tool) {
    struct reader fn;
    struct str type = STR_LIT("function"), name = {0};
    reader_str(f, "type", &type);
    if (!str_is(type, "function"))
        reader_bad(f, "type", "unsupported_value",
                   "Tools of type '%.*s' are not supported here; use 'function'.",
                   (int)(type.n < 40 ? type.n : 40), type.p);
    reader_require(f, "function");
    reader_enter(f, json_object_get(tool, "function"), "function", &fn);
    check_name(&fn, "name", &name);
    reader_object(&fn, "parameters");
    reader_leave(f, &fn);
}

static void read_tools(struct reader *f, struct chat_request *r) {
    const json_t *tools = reader_array(f, "tools"), *functions = reader_array(f, "functions");
    if (json_array_size(tools) > TOOLS_MAX || json_array_size(functions) > TOOLS_MAX)
        reader_bad(f, tools ? "tools" : "functions", "array_above_max_length",
                   "Invalid 'tools': array too long. Expected at most %d elements.", TOOLS_MAX);
    if (f->rc) return;
    r->tools = conversation_tools(f->f.o);
    size_t i;
    const json_t *tool;
    json_array_foreach(r->tools, i, tool) {
        struct reader one;
        char path[40];
        snprintf(path, sizeof path, json_array_size(tools) ? "tools[%zu]" : "functions[%zu]", i);
        reader_enter(f, tool, path, &one);
        check_tool(&one, tool);
        reader_leave(f, &one);
        if (f->rc) return;
    }
    r->tool_choice = r->tools ? TOOLS_AUTO : TOOLS_NONE;
    r->parallel_tool_calls = true;
    reader_bool(f, "parallel_tool_calls", &r->parallel_tool_calls);
}

static bool has_tool(const json_t *tools, struct str name) {
    size_t i;
    const json_t *tool;
    json_array_foreach(tools, i, tool) {
        const json_t *fn = json_object_get(tool, "function");
        if (str_eq(json_str(json_object_get(fn, "name")), name)) return true;
    }
    return false;
}

static void name_choice(struct reader *f, struct chat_request *r, const char *key,
                        const json_t *function) {
    struct reader fn;
    reader_enter(f, function, key, &fn);
    reader_require(&fn, "name");
    reader_str(&fn, "name", &r->tool_name);
    reader_leave(f, &fn);
    if (!f->rc && !has_tool(r->tools, r->tool_name))
        reader_bad(f, key, "invalid_value",
                   "Invalid value for '%s': no function named '%.*s' was specified in the 'tools' "
                   "parameter.",
                   key, (int)(r->tool_name.n < 64 ? r->tool_name.n : 64), r->tool_name.p);
    r->tool_choice = TOOLS_NAMED;
}

bool chat_request_allows(const struct chat_request *r, struct str name) {
    if (r->tool_choice == TOOLS_NAMED) return str_eq(name, r->tool_name);
    return !r->tools_chosen || has_tool(r->tools_chosen, name);
}

/* {"mode": "auto" or "required", "tools": [{"type": "function", "function": {"name": ...}}]} */
static void allowed_tools(struct reader *f, struct chat_request *r, const json_t *allowed) {
    struct reader part;
    struct str mode = {0};
    const json_t *tool;
    size_t i;
    reader_enter(f, allowed, "tool_choice.allowed_tools", &part);
    reader_require(&part, "mode");
    reader_require(&part, "tools");
    reader_str(&part, "mode", &mode);
    r->tools_chosen = reader_array(&part, "tools");
    r->tool_choice = str_is(mode, "required") ? TOOLS_REQUIRED : TOOLS_AUTO;
    if (!part.rc && !str_is(mode, "required") && !str_is(mode, "auto"))
        reader_bad(&part, "mode", "invalid_value",
                   "Invalid value: '%.*s'. Supported values are: 'auto' and 'required'.",
                   (int)(mode.n < 40 ? mode.n : 40), mode.p);
    if (!part.rc && json_array_size(r->tools_chosen) == 0)
        reader_bad(&part, "tools", "empty_array",
                   "Invalid 'tool_choice.allowed_tools.tools': empty array. Expected at least one "
                   "function.");
    json_array_foreach(r->tools_chosen, i, tool) {
        struct str name = json_str(json_object_get(json_object_get(tool, "function"), "name"));
        if (part.rc || has_tool(r->tools, name)) continue;
        reader_bad(&part, "tools", "invalid_value",
                   "Invalid value for 'tool_choice.allowed_tools.tools': element %zu names no "
                   "function of the 'tools' parameter.",
                   i);
    }
    reader_leave(f, &part);
}

static void read_choice(struct reader *f, struct chat_request *r) {
    const char *key = reader_get(f, "tool_choice") ? "tool_choice" : "function_call";
    const json_t *v = reader_get(f, key);
    struct str word = json_str(v);
    if (!v) return;
    if (json_is_string(v) && str_is(word, "none"))
        r->tool_choice = TOOLS_NONE;
    else if (!r->tools)
        reader_bad(f, key, "invalid_value",
                   "Invalid value for '%s': '%s' is only allowed when 'tools' are specified.", key,
                   key);
    else if (json_is_string(v) && str_is(word, "auto"))
        r->tool_choice = TOOLS_AUTO;
    else if (json_is_string(v) && str_is(word, "required"))
        r->tool_choice = TOOLS_REQUIRED;
    else if (json_is_object(v) && json_object_get(v, "name"))
        name_choice(f, r, key, v);
    else if (json_is_object(v) && json_object_get(v, "function"))
        name_choice(f, r, key, json_object_get(v, "function"));
    else if (json_is_object(v) && json_object_get(v, "allowed_tools"))
        allowed_tools(f, r, json_object_get(v, "allowed_tools"));
    else
        reader_bad(f, key, "invalid_value",
                   "Invalid value for '%s': expected 'none', 'auto', 'required', "
                   "{\"type\": \"function\", \"function\": {\"name\": ...}} or "
                   "{\"type\": \"allowed_tools\", ...}.",
                   key);
}

/* --- the rest --- */

static bool mentions_json(const json_t *messages) {
    size_t i;
    const json_t *m;
    json_array_foreach(messages, i, m) {
        struct str text = json_str(json_object_get(m, "content"));
        for (size_t k = 0; k + 4 <= text.n; k++)
            if (strncasecmp(text.p + k, "json", 4) == 0) return true;
    }
    return false;
}

static void read_schema(struct reader *f, const json_t *format, struct chat_request *r) {
    struct reader s;
    reader_require(f, "json_schema");
    reader_enter(f, json_object_get(format, "json_schema"), "json_schema", &s);
    check_name(&s, "name", &r->schema_name);
    reader_bool(&s, "strict", &r->schema_strict);
    reader_require(&s, "schema");
    r->schema = reader_get(&s, "schema");
    reader_leave(f, &s);
}

static void read_format(struct reader *f, struct chat_request *r) {
    const json_t *v = reader_object(f, "response_format");
    struct reader format;
    struct str type = {0};
    if (!v) return;
    reader_enter(f, v, "response_format", &format);
    reader_require(&format, "type");
    reader_str(&format, "type", &type);
    if (str_is(type, "json_object")) {
        r->response = RESPONSE_JSON_OBJECT;
        if (!f->rc && !mentions_json(r->messages))
            reader_bad(f, "messages", NULL,
                       "'messages' must contain the word 'json' in some form, to use "
                       "'response_format' of type 'json_object'.");
    } else if (str_is(type, "json_schema")) {
        r->response = RESPONSE_JSON_SCHEMA;
        read_schema(&format, v, r);
    } else if (!str_is(type, "text")) {
        reader_bad(&format, "type", "invalid_value",
                   "Invalid value: '%.*s'. Supported values are: 'json_object', 'json_schema', "
                   "and 'text'.",
                   (int)(type.n < 40 ? type.n : 40), type.p ? type.p : "");
    }
    reader_leave(f, &format);
}

static void refuse_what_is_missing(struct reader *f) {
    const json_t *modalities = reader_array(f, "modalities"), *one;
    size_t i;
    json_array_foreach(modalities, i, one) {
        if (!str_is(json_str(one), "text"))
            reader_bad(f, "modalities", "unsupported_value",
                       "Only 'text' can be generated here; leave 'modalities' out.");
    }
    if (reader_get(f, "web_search_options"))
        reader_bad(f, "web_search_options", "unsupported_parameter",
                   "Web search is not available on a local server; leave 'web_search_options' "
                   "out.");
}

static void read_logprobs(struct reader *f, struct chat_request *r) {
    reader_bool(f, "logprobs", &r->logprobs);
    bool given = reader_int(f, "top_logprobs", 0, 20, &r->top_logprobs);
    if (given && r->top_logprobs > 0 && !r->logprobs)
        reader_bad(f, "top_logprobs", "invalid_value",
                   "Invalid 'top_logprobs': it needs 'logprobs' to be true.");
}

int chat_request_read(struct reader *f, struct chat_request *ret) {
    struct chat_request r = {.sampling = {.n = 1, .max_tokens = -1}};
    reader_require(f, "model");
    reader_str(f, "model", &r.model);
    read_messages(f, &r);
    sampling_request_read(f, &r.sampling);
    reader_int(f, "max_completion_tokens", 0, INT32_MAX, &r.sampling.max_tokens);
    read_tools(f, &r);
    read_choice(f, &r);
    read_format(f, &r);
    read_logprobs(f, &r);
    reader_bool(f, "store", &r.store);
    r.metadata = reader_metadata(f);
    refuse_what_is_missing(f);
    if (f->rc)
        chat_request_release(&r);
    else
        *ret = r;
    return f->rc;
}

void chat_request_release(struct chat_request *r) {
    json_decref(r->messages);
    json_decref(r->tools);
    sampling_request_release(&r->sampling);
    *r = (struct chat_request){0};
}
