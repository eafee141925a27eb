/* A request target through everything that routing does with it. */
#include "api/url.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const patterns[] = {"/v1/models/{model*}", "/v1/files/{id}/content",
                                           "/v1/a/{b}/c/{d}/{e}/{f}", "/v1", "/"};
    struct arena a;
    struct err err;
    struct str path, query, param[HTTP_PARAMS_MAX];
    const struct http_pair *list;
    size_t count = 0;
    arena_init(&a, (size_t)1 << 24);
    url_split((struct str){(const char *)data, size}, &path, &query);
    assert(path.n + query.n <= size);
    if (url_query(&a, query, &list, &count, &err) == 0) {
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++) bytes += list[i].name.n + list[i].value.n;
        assert(bytes <= query.n && count <= URL_QUERY_MAX);
    }
    path = url_versioned(&a, path);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        if (!url_match(&a, patterns[i], path, param)) continue;
        if (i < 2) assert(param[0].n > 0 && param[0].n <= path.n);
    }
    arena_release(&a);
    return 0;
}
