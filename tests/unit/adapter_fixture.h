/* Copies of adapters that say they were trained on another model. */
#ifndef TESTS_UNIT_ADAPTER_FIXTURE_H
#define TESTS_UNIT_ADAPTER_FIXTURE_H

#include "unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#define OTHER_HASH "00000000000000000000000000000000000000000000000000000000000000ff"

static inline void adapter_copy_file(const char *from, const char *to, const char *name) {
    struct err err;
    struct file_map m;
    char *a = path_join(from, name), *b = path_join(to, name);
    int rc = file_map_open(a, &m, &err);
    if (!rc) rc = file_write_atomic(b, (struct str){(const char *)m.p, m.n}, &err);
    if (rc) fail_msg("%s", err.msg);
    file_map_close(&m);
    mem_free(a);
    mem_free(b);
}

/* The adapter `from` as the directory `to`, with `weights` as its base's hash. */
static inline void adapter_with_hashes(const char *from, const char *to, const char *weights) {
    struct err err;
    struct buf b;
    char *record = path_join(to, "attune.json");
    if (dir_make(to, &err)) fail_msg("%s", err.msg);
    adapter_copy_file(from, to, "adapter_config.json");
    adapter_copy_file(from, to, "adapter_model.safetensors");
    buf_init(&b, 4096);
    buf_printf(&b, "{\"hashes\":{\"weights\":\"%s\"}}", weights);
    if (file_write_atomic(record, buf_view(&b), &err)) fail_msg("%s", err.msg);
    buf_release(&b);
    mem_free(record);
}

#endif
