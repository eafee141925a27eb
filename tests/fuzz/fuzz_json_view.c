/* The reader of views against jansson: the same texts accepted, the same values. What it writes
 * reads as the same again. */
#include "../json_same.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = {(const char *)data, size};
    struct arena a;
    struct json_views views = {0};
    struct err err;
    enum json_view_fault fault;
    const char *difference = json_difference(text);
    if (difference) {
        fprintf(stderr, "%s: %.*s\n", difference, (int)size, text.p);
        abort();
    }
    arena_init(&a, (size_t)64 << 20);
    if (json_view_read(text, &a, &views, &fault, &err) == 0) {
        struct buf b;
        json_t *j = NULL;
        buf_init(&b, SIZE_MAX / 2);
        json_view_write(&b, views.list);
        assert(!memchr(b.p, '\n', b.n));
        if (json_read(buf_view(&b), "written", &j, &err)) abort();
        assert(json_same(views.list, j));
        json_decref(j);
        buf_release(&b);
    } else {
        assert(fault != JSON_VIEW_FINE && err.msg[0]);
    }
    json_views_release(&views);
    arena_release(&a);
    return 0;
}
