#include "data/conversation.h"

#include "base/buf.h"

#include <string.h>

#define TEXT_MAX ((size_t)256 << 20)

static bool left_out(const char *key) {
    static const char *const keys[] = {"weight", "refusal", "annotations",
                                       "audio",  "parsed",  "function_call"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static const char *role_of(const char *role) {
    if (strcmp(role, "developer") == 0) return "system";
    return strcmp(role, "function") == 0 ? "tool" : role;
}

static json_t *content_text(const json_t *content) {
    if (!content || json_is_null(content)) return json_string("");
    if (!json_is_array(content)) return json_incref((json_t *)content);
    struct buf b;
    size_t i;
    const json_t *part;
    buf_init(&b, TEXT_MAX);
    json_array_foreach(content, i, part) {
        if (i) buf_z(&b, "\n");
        buf_str(&b, json_str(json_object_get(part, "text")));
    }
    json_t *text = json_stringn(b.p ? b.p : "", b.n);
    buf_release(&b);
    return text;
}

/* {"name","arguments"} with arguments as an object where they are one */
static json_t *function_form(const json_t *f) {
    json_t *copy = json_copy((json_t *)f), *value = NULL;
    struct str text = json_str(json_object_get(f, "arguments"));
    struct err ignored;
    if (!text.n || json_read(text, "arguments", &value, &ignored) != 0) return copy;
    if (json_is_object(value)) json_object_set(copy, "arguments", value);
    json_decref(value);
    return copy;
}

static json_t *calls_form(const json_t *calls) {
    json_t *list = json_array();
    size_t i;
    const json_t *call;
    json_array_foreach(calls, i, call) {
        const json_t *f = json_object_get(call, "function");
        json_t *copy = f ? json_copy((json_t *)call) : function_form(call);
        if (f) json_object_set_new(copy, "function", function_form(f));
        json_array_append_new(list, copy);
    }
    return list;
}

static json_t *call_of(const json_t *function_call) {
    json_t *call = json_object();
    json_object_set_new(call, "type", json_string("function"));
    json_object_set_new(call, "function", function_form(function_call));
    json_t *list = json_array();
    json_array_append_new(list, call);
    return list;
}

json_t *conversation_message(const json_t *message) {
    json_t *m = json_object(), *value;
    const char *key, *role = json_string_value(json_object_get(message, "role"));
    const json_t *calls = json_object_get(message, "tool_calls");
    const json_t *function_call = json_object_get(message, "function_call");
    if (role) json_object_set_new(m, "role", json_string(role_of(role)));
    json_object_set_new(m, "content", content_text(json_object_get(message, "content")));
    json_object_foreach((json_t *)message, key, value) {
        if (left_out(key) || json_object_get(m, key) || json_is_null(value)) continue;
        json_object_set(m, key, value);
    }
    if (json_array_size(calls))
        json_object_set_new(m, "tool_calls", calls_form(calls));
    else if (json_is_object(function_call))
        json_object_set_new(m, "tool_calls", call_of(function_call));
    return m;
}

json_t *conversation_tools(const json_t *row) {
    const json_t *tools = json_object_get(row, "tools"), *f;
    const json_t *functions = json_object_get(row, "functions");
    if (json_array_size(tools)) return json_incref((json_t *)tools);
    if (json_array_size(functions) == 0) return NULL;
    json_t *list = json_array();
    size_t i;
    json_array_foreach(functions, i, f) {
        json_t *tool = json_object();
        json_object_set_new(tool, "type", json_string("function"));
        json_object_set(tool, "function", (json_t *)f);
        json_array_append_new(list, tool);
    }
    return list;
}
