#include "unit.h"

#include "api/chat_request.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define ASK "\"model\":\"m\"," HI

static json_t *body_of(const char *text) {
    json_t *body = NULL;
    struct err err;
    if (json_read(str_of(text), "test", &body, &err)) fail_msg("%s: %s", text, err.msg);
    return body;
}

static void reads_what_was_asked(void **state) {
    (void)state;
    json_t *body = body_of(
        "{" ASK ",\"temperature\":0.5,\"n\":2,\"max_tokens\":null,\"max_completion_tokens\":0,"
        "\"stop\":[\"a\",\"b\"],\"logit_bias\":{\"7\":-100,\"8\":1.5},\"seed\":-9007199254740991,"
        "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"logprobs\":true,"
        "\"top_logprobs\":20,\"store\":true,\"metadata\":{\"a\":\"b\"},\"audio\":null,"
        "\"service_tier\":\"auto\",\"something_new\":{}}");
    struct http_response res = {0};
    struct reader f;
    struct chat_request r;
    reader_init(&f, body, &res);
    assert_int_equal(chat_request_read(&f, &r), 0);
    assert_true(str_is(r.model, "m"));
    assert_int_equal(json_array_size(r.messages), 1);
    assert_true(r.sampling.temperature == 0.5 && r.sampling.top_p == 1);
    assert_int_equal(r.sampling.n, 2);
    assert_int_equal(r.sampling.max_tokens, 0);
    assert_int_equal(r.sampling.stop_count, 2);
    assert_int_equal(r.sampling.bias_count, 2);
    assert_int_equal(r.sampling.bias_id[1], 8);
    assert_true(r.sampling.has_seed && r.sampling.seed == -9007199254740991);
    assert_true(r.sampling.stream && r.sampling.include_usage && r.logprobs && r.store);
    assert_int_equal(r.top_logprobs, 20);
    assert_int_equal(json_object_size(r.metadata), 1);
    assert_int_equal(r.tool_choice, TOOLS_NONE);
    chat_request_release(&r);
    json_decref(body);
}

#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

#define ALLOWED(mode, name)                                                                        \
    "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"" mode "\",\"tools\":[{\"type\":"   \
    "\"function\",\"function\":{\"name\":\"" name "\"}}]}}"

static void reads_tools_in_both_spellings(void **state) {
    (void)state;
    static const struct {
        const char *body;
        enum tool_choice choice;
    } cases[] = {
        {"{" ASK "," TOOL "}", TOOLS_AUTO},
        {"{" ASK "," TOOL ",\"tool_choice\":\"none\"}", TOOLS_NONE},
        {"{" ASK "," TOOL ",\"tool_choice\":\"required\"}", TOOLS_REQUIRED},
        {"{" ASK "," TOOL ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}",
         TOOLS_NAMED},
        {"{" ASK "," TOOL ",\"tool_choice\":" ALLOWED("auto", "f") "}", TOOLS_AUTO},
        {"{" ASK "," TOOL ",\"tool_choice\":" ALLOWED("required", "f") "}", TOOLS_REQUIRED},
        {"{" ASK ",\"functions\":[{\"name\":\"f\"}]}", TOOLS_AUTO},
        {"{" ASK ",\"functions\":[{\"name\":\"f\"}],\"function_call\":{\"name\":\"f\"}}",
         TOOLS_NAMED},
        {"{" ASK ",\"tool_choice\":\"none\"}", TOOLS_NONE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *body = body_of(cases[i].body);
        struct http_response res = {0};
        struct reader f;
        struct chat_request r;
        reader_init(&f, body, &res);
        if (chat_request_read(&f, &r)) fail_msg("%s: %s", cases[i].body, res.body.p);
        assert_int_equal(r.tool_choice, cases[i].choice);
        if (r.tool_choice == TOOLS_NAMED) assert_true(str_is(r.tool_name, "f"));
        chat_request_release(&r);
        json_decref(body);
    }
}

#define CALL                                                                                       \
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{"  \
    "\"name\":\"f\",\"arguments\":\"{}\"}}]}"

static void expect(const json_t *error, const char *key, const char *want, const char *body) {
    const char *got = json_string_value(json_object_get(error, key));
    if (want ? !got || strcmp(got, want) != 0 : got != NULL)
        fail_msg("%s: %s is \"%s\"", body, key, got ? got : "null");
}

static void names_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *body, *param, *code;
    } cases[] = {
        {"[]", "", "invalid_type"},
        {"{" HI "}", "model", "missing_required_parameter"},
        {"{\"model\":\"m\"}", "messages", "missing_required_parameter"},
        {"{\"model\":\"m\",\"messages\":[]}", "messages", "empty_array"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"wizard\",\"content\":\"\"}]}",
         "messages[0].role", "invalid_value"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "messages[0].content",
         "invalid_type"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}"
         "]}",
         "messages[0].content[0]", "unsupported_value"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":"
         "\"\"}]}",
         "messages[0].role", NULL},
        {"{\"model\":\"m\",\"messages\":[" CALL ",{\"role\":\"tool\",\"tool_call_id\":\"c2\","
         "\"content\":\"\"}]}",
         "messages[1].tool_call_id", NULL},
        {"{\"model\":\"m\",\"messages\":[3]}", "messages[0]", "invalid_type"},
        {"{" ASK ",\"temperature\":3}", "temperature", "decimal_above_max_value"},
        {"{" ASK ",\"temperature\":\"hot\"}", "temperature", "invalid_type"},
        {"{" ASK ",\"n\":0}", "n", "integer_below_min_value"},
        {"{" ASK ",\"logit_bias\":{\"5\":101}}", "logit_bias", "invalid_value"},
        {"{" ASK ",\"logit_bias\":{\"x\":1}}", "logit_bias", "invalid_value"},
        {"{" ASK ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", "stop", "array_above_max_length"},
        {"{" ASK ",\"stop\":\"\"}", "stop", "invalid_value"},
        {"{" ASK ",\"top_logprobs\":2}", "top_logprobs", "invalid_value"},
        {"{" ASK ",\"stream_options\":{}}", "stream_options", "invalid_value"},
        {"{" ASK ",\"tool_choice\":\"auto\"}", "tool_choice", "invalid_value"},
        {"{" ASK ",\"tool_choice\":" ALLOWED("auto", "f") "}", "tool_choice", "invalid_value"},
        {"{" ASK "," TOOL ",\"tool_choice\":" ALLOWED("auto", "g") "}",
         "tool_choice.allowed_tools.tools", "invalid_value"},
        {"{" ASK "," TOOL ",\"tool_choice\":" ALLOWED("never", "f") "}",
         "tool_choice.allowed_tools.mode", "invalid_value"},
        {"{" ASK "," TOOL ",\"tool_choice\":{\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[]}}}",
         "tool_choice.allowed_tools.tools", "empty_array"},
        {"{" ASK "," TOOL ",\"tool_choice\":{\"function\":{\"name\":\"g\"}}}", "tool_choice",
         "invalid_value"},
        {"{" ASK ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]}",
         "tools[0].function.name", "invalid_value"},
        {"{" ASK ",\"response_format\":{\"type\":\"json_object\"}}", "messages", NULL},
        {"{" ASK ",\"response_format\":{\"type\":\"xml\"}}", "response_format.type",
         "invalid_value"},
        {"{" ASK
         ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}}",
         "response_format.json_schema.schema", "missing_required_parameter"},
        {"{" ASK ",\"metadata\":{\"a\":1}}", "metadata.a", "invalid_type"},
        {"{" ASK ",\"web_search_options\":{}}", "web_search_options", "unsupported_parameter"},
        {"{" ASK ",\"modalities\":[\"audio\"]}", "modalities", "unsupported_value"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *body = body_of(cases[i].body);
        struct http_response res = {0};
        struct reader f;
        struct chat_request r;
        reader_init(&f, body, &res);
        if (!chat_request_read(&f, &r)) fail_msg("accepted: %s", cases[i].body);
        json_t *answer = body_of(res.body.p), *e = json_object_get(answer, "error");
        expect(e, "param", cases[i].param[0] ? cases[i].param : NULL, cases[i].body);
        expect(e, "code", cases[i].code, cases[i].body);
        assert_int_equal(res.status, 400);
        json_decref(answer);
        buf_release(&res.body);
        json_decref(body);
    }
}

UNIT_TESTS(api_chat_request, cmocka_unit_test(reads_what_was_asked),
           cmocka_unit_test(reads_tools_in_both_spellings), cmocka_unit_test(names_what_is_wrong))
