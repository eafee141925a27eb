/* The body of a chat completion from a stranger. */
#include "api/chat_request.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    json_t *body = NULL;
    struct err err;
    struct http_response res = {0};
    struct reader f;
    struct chat_request r;
    if (json_read((struct str){(const char *)data, size}, "fuzz", &body, &err)) return 0;
    reader_init(&f, body, &res);
    if (!chat_request_read(&f, &r)) chat_request_release(&r);
    buf_release(&res.body);
    json_decref(body);
    return 0;
}
