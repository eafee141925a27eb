/* A data set of any bytes; the first one chooses the format that is forced, or none. Every example
 * is JSON on one line, whose parts are where the file or its memory is. */
#include "data/source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void look_at(const struct example *e) {
    json_t *j = NULL;
    struct err err;
    size_t bytes = e->tools.n + e->id.n;
    assert(e->number > 0 && e->line > 0 && e->message_count > 0);
    for (size_t i = 0; i < e->message_count; i++) {
        const struct message *m = &e->messages[i];
        struct str parts[] = {m->text, m->role_name, m->name, m->tool_call_id};
        for (int k = 0; k < 4; k++)
            for (size_t c = 0; c < parts[k].n; c++) bytes += (size_t)(parts[k].p[c] == 'x');
        for (size_t k = 0; k < m->call_count; k++) bytes += m->calls[k].arguments.n;
    }
    if (bytes == SIZE_MAX || memchr(e->json.p, '\n', e->json.n)) abort();
    if (json_read(e->json, "example", &j, &err)) {
        fprintf(stderr, "%s: %.*s\n", err.msg, STR_ARG(e->json));
        abort();
    }
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    struct source_options o = {.record_max = 4096};
    struct source *s = NULL;
    struct err err;
    char path[64];
    const struct example *list;
    size_t n = 1;
    if (size == 0) return 0;
    o.format = (enum source_format)(data[0] % (SOURCE_SNIPS + 1));
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)size - 1) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct pool *pool = pool_new(1);
    struct findings *f = findings_new();
    int rc = source_open(path, &o, &s, &err);
    while (!rc && n) {
        rc = source_next(s, pool, &list, &n, f, &err);
        for (size_t i = 0; !rc && i < n; i++) look_at(&list[i]);
    }
    assert(!rc || err.msg[0]);
    findings_free(f);
    pool_free(pool);
    source_close(s);
    close(fd);
    return 0;
}
