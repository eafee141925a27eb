/* A template from outside, compiled and rendered over a small conversation. */
#include "text/template.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static const char vars_text[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
    "\"h\\u00e9 \\n 1\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","
    "\"arguments\":{\"a\":[1,2.5,null]}}}]}],"
    "\"tools\":[{\"type\":\"function\"}],\"bos_token\":\"<s>\",\"n\":3,\"x\":\"abc\"}";

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    static json_t *vars;
    struct err err;
    struct chat_template *t = NULL;
    struct buf out;
    if (!vars && json_read(str_of(vars_text), "vars", &vars, &err)) abort();
    if (template_compile((struct str){(const char *)data, size}, "fuzz", &t, &err)) return 0;
    buf_init(&out, (size_t)1 << 16);
    template_render_chat(t, vars, NULL, true, &out, &err);
    buf_release(&out);
    template_free(t);
    return 0;
}
