#include "api/http_call.h"

#include "api/http_int.h"
#include "base/mem.h"

#include <stdio.h>

#define BODY_MAX ((size_t)1 << 30)
#define ARENA_MAX ((size_t)256 << 20)
#define NEXT_MS 200

/* a handler may have answered with a stream that is still to come */
static void read_stream(struct http_response *res, struct buf *out) {
    struct http_stream *s = &res->stream;
    while (s->next(s->ctx, NEXT_MS, out) != HTTP_END && buf_ok(out)) {
    }
    s->close(s->ctx, true);
    *s = (struct http_stream){0};
}

void http_call(http_handler *handle, const json_t *body, void *user, struct http_called *ret) {
    struct arena arena;
    struct http_request req = {
        .method = "POST", .json = body, .key = "batch", .arena = &arena, .user = user};
    struct http_response res = {0};
    struct buf streamed;
    struct err err = {0};
    arena_init(&arena, ARENA_MAX);
    buf_init(&streamed, BODY_MAX);
    http_request_id(req.id);
    int rc = handle(&req, &res, &err);
    if (rc < 0) http_fail(&res, &err);
    if (res.stream.next) read_stream(&res, &streamed);
    struct str text = buf_view(streamed.n ? &streamed : &res.body);
    *ret = (struct http_called){.status = res.status};
    snprintf(ret->request_id, sizeof ret->request_id, "%s", req.id);
    if (json_read(text, "answer", &ret->body, &err)) ret->body = json_null();
    mem_free(res.file);
    buf_release(&res.body);
    buf_release(&streamed);
    arena_release(&arena);
}
