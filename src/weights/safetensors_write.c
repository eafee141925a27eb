/* Writing safetensors: the header padded with spaces to 8 bytes, the widest types first so that
 * every tensor is aligned. A file appears whole or not at all; of a sharded directory the index
 * appears last. */
#include "weights/tensors_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define HEADER_MAX ((size_t)100 * 1000 * 1000)

static size_t out_bytes(const struct tensor_out *x) {
    size_t bytes = tensor_type_size(x->type);
    for (int i = 0; i < x->dims; i++) {
        bool fits = mul_size(bytes, (size_t)x->shape[i], &bytes);
        if (!fits) abort(); /* it describes data in memory */
    }
    return bytes;
}

/* stable: F32 first, then the 2-byte types */
static const struct tensor_out **by_width(const struct tensor_out *list, int64_t count) {
    const struct tensor_out **order = mem_zalloc((size_t)count, sizeof *order);
    int64_t n = 0;
    for (size_t width = 4; width >= 2; width -= 2)
        for (int64_t i = 0; i < count; i++)
            if (tensor_type_size(list[i].type) == width) order[n++] = &list[i];
    return order;
}

static void header_entry(struct buf *b, const struct tensor_out *x, size_t at) {
    json_write_str(b, str_of(x->name));
    buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", tensor_type_name(x->type));
    for (int i = 0; i < x->dims; i++) buf_printf(b, "%s%lld", i ? "," : "", (long long)x->shape[i]);
    buf_printf(b, "],\"data_offsets\":[%zu,%zu]}", at, at + out_bytes(x));
}

static void header_metadata(struct buf *b, const json_t *metadata) {
    json_t *all = metadata ? json_deep_copy(metadata) : json_object();
    if (!json_object_get(all, "format")) json_object_set_new(all, "format", json_string("pt"));
    buf_z(b, "{\"__metadata__\":");
    json_write(all, b);
    json_decref(all);
}

static int write_header(struct file_writer *w, const struct tensor_out **order, int64_t count,
                        const json_t *metadata, struct err *err) {
    struct buf b;
    buf_init(&b, HEADER_MAX);
    header_metadata(&b, metadata);
    size_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        buf_byte(&b, ',');
        header_entry(&b, order[i], at);
        at += out_bytes(order[i]);
    }
    buf_byte(&b, '}');
    while (b.n % 8 && buf_ok(&b)) buf_byte(&b, ' ');
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)b.n >> 8 * i);
    int rc = 0;
    if (!buf_ok(&b))
        rc = err_set(err, ERR_LIMIT, "\"%s\": the header passes %zu bytes", w->path, HEADER_MAX);
    if (!rc) rc = file_writer_add(w, size, sizeof size, err);
    if (!rc) rc = file_writer_add(w, b.p, b.n, err);
    buf_release(&b);
    return rc;
}

int safetensors_write(const char *path, const struct tensor_out *list, int64_t count,
                      const json_t *metadata, struct err *err) {
    struct file_writer w;
    int rc = file_writer_open(path, &w, err);
    if (rc) return rc;
    const struct tensor_out **order = by_width(list, count);
    rc = write_header(&w, order, count, metadata, err);
    for (int64_t i = 0; !rc && i < count; i++)
        rc = file_writer_add(&w, order[i]->data, out_bytes(order[i]), err);
    mem_free(order);
    if (!rc) return file_writer_commit(&w, err);
    file_writer_abort(&w);
    return rc;
}

/* the number of the shard of each tensor, filled in the order given; returns how many there are */
static int64_t assign_shards(const struct tensor_out *list, int64_t count, int64_t shard_bytes,
                             int64_t *shard_of) {
    int64_t shard = 0;
    size_t used = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t bytes = out_bytes(&list[i]);
        if (used && used + bytes > (size_t)shard_bytes) {
            shard++;
            used = 0;
        }
        used += bytes;
        shard_of[i] = shard;
    }
    return shard + 1;
}

static void shard_name(char out[64], int64_t shard, int64_t shards) {
    snprintf(out, 64, "model-%05lld-of-%05lld.safetensors", (long long)shard + 1,
             (long long)shards);
}

static int write_shards(const char *dir, const struct tensor_out *list, int64_t count,
                        const int64_t *shard_of, int64_t shards, struct err *err) {
    int rc = 0;
    for (int64_t s = 0, from = 0; !rc && s < shards; s++) {
        int64_t to = from;
        while (to < count && shard_of[to] == s) to++;
        char name[64];
        shard_name(name, s, shards);
        char *path = path_join(dir, name);
        rc = safetensors_write(path, list + from, to - from, NULL, err);
        mem_free(path);
        from = to;
    }
    return rc;
}

static int write_index(const char *path, const struct tensor_out *list, int64_t count,
                       const int64_t *shard_of, int64_t shards, struct err *err) {
    size_t total = 0;
    struct buf b;
    buf_init(&b, HEADER_MAX);
    for (int64_t i = 0; i < count; i++) total += out_bytes(&list[i]);
    buf_printf(&b, "{\n  \"metadata\": {\"total_size\": %zu},\n  \"weight_map\": {", total);
    for (int64_t i = 0; i < count; i++) {
        char name[64];
        shard_name(name, shard_of[i], shards);
        buf_z(&b, i ? ",\n    " : "\n    ");
        json_write_str(&b, str_of(list[i].name));
        buf_printf(&b, ": \"%s\"", name);
    }
    buf_z(&b, "\n  }\n}\n");
    int rc = 0;
    if (!buf_ok(&b)) rc = err_set(err, ERR_LIMIT, "\"%s\" would pass %zu bytes", path, HEADER_MAX);
    if (!rc) rc = file_write_atomic(path, buf_view(&b), err);
    buf_release(&b);
    return rc;
}

int safetensors_write_dir(const char *dir, const struct tensor_out *list, int64_t count,
                          int64_t shard_bytes, struct err *err) {
    int64_t *shard_of = mem_zalloc((size_t)count, sizeof *shard_of);
    int64_t shards = assign_shards(list, count, shard_bytes, shard_of);
    char *single = path_join(dir, "model.safetensors");
    char *index = path_join(dir, "model.safetensors.index.json");
    int rc = dir_make(dir, err);
    if (!rc && shards == 1) {
        rc = safetensors_write(single, list, count, NULL, err);
        if (!rc) rc = file_remove(index, err); /* of an earlier model here */
    } else if (!rc) {
        rc = write_shards(dir, list, count, shard_of, shards, err);
        if (!rc) rc = write_index(index, list, count, shard_of, shards, err);
        if (!rc) rc = file_remove(single, err); /* it would be read first */
    }
    mem_free(single);
    mem_free(index);
    mem_free(shard_of);
    return rc;
}
