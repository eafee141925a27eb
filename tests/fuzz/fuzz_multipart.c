/* A multipart body, whole and in pieces of the first byte's size: the same parts, the same bytes,
 * the same verdict. The boundary is what the input's first line says. */
#include "api/multipart.h"

#include "base/hash.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

struct got {
    uint64_t sum;
    size_t bytes, parts;
};

static void mix(struct got *g, const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) g->sum = g->sum * 1099511628211u + (unsigned char)p[i] + 1;
}

static int on_part(void *ctx, const struct multipart_part *p, struct err *err) {
    struct got *g = ctx;
    (void)err;
    g->parts++;
    mix(g, p->name.p, p->name.n);
    mix(g, p->filename.p, p->filename.n);
    mix(g, p->type.p, p->type.n);
    for (size_t i = 0; i < p->filename.n; i++)
        assert((unsigned char)p->filename.p[i] >= 0x20 && p->filename.p[i] != '/' &&
               p->filename.p[i] != '\\');
    return 0;
}

static int on_data(void *ctx, const char *p, size_t n, struct err *err) {
    struct got *g = ctx;
    (void)err;
    assert(g->parts > 0 && n > 0);
    g->bytes += n;
    mix(g, p, n);
    return 0;
}

static int parse(const char *type, const char *p, size_t n, size_t step, struct got *g) {
    static const struct multipart_events events = {on_part, on_data};
    struct multipart m;
    struct err err;
    *g = (struct got){0};
    int rc = multipart_init(&m, type, &events, g, &err);
    for (size_t at = 0; !rc && at < n; at += step)
        rc = multipart_feed(&m, p + at, n - at < step ? n - at : step, &err);
    if (!rc) rc = multipart_finish(&m, &err);
    multipart_release(&m);
    assert(g->bytes <= n);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    size_t step = data[0] % 40 + 1u;
    const char *p = (const char *)data + 1, *nl = memchr(p, '\n', size - 1);
    if (!nl) return 0;
    char type[300];
    snprintf(type, sizeof type, "multipart/form-data; %.*s", (int)(nl - p), p);
    size_t n = size - 1 - (size_t)(nl + 1 - p);
    struct got whole, pieces;
    int rc = parse(type, nl + 1, n, n ? n : 1, &whole);
    int again = parse(type, nl + 1, n, step, &pieces);
    assert(rc == again && whole.parts == pieces.parts);
    assert(rc || (whole.bytes == pieces.bytes && whole.sum == pieces.sum));
    return 0;
}
