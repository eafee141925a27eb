/* The set of tensors: what is common to every format. Adding, lookup by name, and the hash. */
#include "weights/tensors_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include "weights/hash_cache.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX ((size_t)256 << 20) /* names: a header has at most 100 MB */

size_t tensor_type_size(enum tensor_type type) { return type == TENSOR_F32 ? 4 : 2; }

const char *tensor_type_name(enum tensor_type type) {
    static const char *const names[] = {"F32", "BF16", "F16"};
    return names[type];
}

struct tensors *tensors_new(const char *path) {
    struct tensors *t = mem_zalloc(1, sizeof *t);
    arena_init(&t->text, TEXT_MAX);
    pthread_mutex_init(&t->hash_lock, NULL);
    t->path = mem_strdup(path);
    return t;
}

void tensors_close(struct tensors *t) {
    if (!t) return;
    for (size_t i = 0; i < t->source_count; i++) {
        file_map_close(&t->sources[i].map);
        mem_free(t->sources[i].path);
    }
    for (size_t i = 0; i < t->copy_count; i++) mem_free(t->copies[i]);
    mem_block_close(t->block, t->block_bytes);
    json_decref(t->metadata);
    pthread_mutex_destroy(&t->hash_lock);
    arena_release(&t->text);
    mem_free(t->list);
    mem_free(t->source_of);
    mem_free(t->by_name);
    mem_free(t->refused);
    mem_free(t->sources);
    mem_free(t->copies);
    mem_free(t->path);
    mem_free(t);
}

int tensors_add_source(struct tensors *t, const char *path, struct file_map map) {
    mem_grow((void **)&t->sources, &t->source_cap, t->source_count + 1, sizeof *t->sources);
    t->sources[t->source_count] = (struct tensor_source){mem_strdup(path), map};
    return (int)t->source_count++;
}

static int copy_data(struct tensors *t, struct tensor *x, struct err *err) {
    void *copy = NULL;
    int rc = mem_try(x->bytes, 1, x->name, &copy, err);
    if (rc) return rc;
    if (x->bytes) memcpy(copy, x->data, x->bytes);
    mem_grow((void **)&t->copies, &t->copy_cap, t->copy_count + 1, sizeof *t->copies);
    t->copies[t->copy_count++] = copy;
    x->data = copy;
    return 0;
}

static int text_full(const struct tensors *t, struct err *err) {
    return err_set(err, ERR_LIMIT, "\"%s\": the tensor names take more than %zu bytes", t->path,
                   TEXT_MAX);
}

int tensors_add(struct tensors *t, int source, const struct tensor *given, struct err *err) {
    struct tensor x = *given;
    x.name = arena_strndup(&t->text, given->name, strlen(given->name));
    if (!x.name) return text_full(t, err);
    if ((uintptr_t)x.data % tensor_type_size(x.type) != 0) {
        int rc = copy_data(t, &x, err);
        if (rc) return rc;
    }
    mem_grow((void **)&t->list, &t->list_cap, t->count + 1, sizeof *t->list);
    mem_grow((void **)&t->source_of, &t->source_of_cap, t->count + 1, sizeof *t->source_of);
    t->list[t->count] = x;
    t->source_of[t->count++] = source;
    return 0;
}

int tensors_refuse(struct tensors *t, int source, const char *name, const char *reason,
                   struct err *err) {
    mem_grow((void **)&t->refused, &t->refused_cap, t->refused_count + 1, sizeof *t->refused);
    struct tensor_refused r = {arena_strndup(&t->text, name, strlen(name)),
                               arena_strndup(&t->text, reason, strlen(reason)), source};
    if (!r.name || !r.reason) return text_full(t, err);
    t->refused[t->refused_count++] = r;
    return 0;
}

static int name_order(const void *a, const void *b) {
    return strcmp((*(const struct tensor *const *)a)->name,
                  (*(const struct tensor *const *)b)->name);
}

static int refused_order(const void *a, const void *b) {
    return strcmp(((const struct tensor_refused *)a)->name,
                  ((const struct tensor_refused *)b)->name);
}

int tensors_seal(struct tensors *t, struct err *err) {
    if (t->refused_count) qsort(t->refused, t->refused_count, sizeof *t->refused, refused_order);
    t->by_name = mem_zalloc(t->count, sizeof *t->by_name);
    for (size_t i = 0; i < t->count; i++) t->by_name[i] = &t->list[i];
    if (t->count) qsort(t->by_name, t->count, sizeof *t->by_name, name_order);
    for (size_t i = 1; i < t->count; i++)
        if (strcmp(t->by_name[i - 1]->name, t->by_name[i]->name) == 0)
            return err_set(err, ERR_CORRUPT, "\"%s\": tensor \"%.200s\" is there twice", t->path,
                           t->by_name[i]->name);
    return 0;
}

int64_t tensors_count(const struct tensors *t) { return (int64_t)t->count; }

const struct tensor *tensors_at(const struct tensors *t, int64_t i) {
    assert(i >= 0 && (size_t)i < t->count);
    return &t->list[i];
}

static const struct tensor *find_by_name(const struct tensors *t, const char *name) {
    struct tensor key = {.name = name};
    const struct tensor *p = &key;
    if (!t->count) return NULL;
    const struct tensor **found = bsearch(&p, t->by_name, t->count, sizeof *t->by_name, name_order);
    return found ? *found : NULL;
}

/* Of tensors that share data safetensors' save_model keeps one; the metadata then has
 * {"left out": "kept"}. A tied head comes that way. */
const struct tensor *tensors_find(const struct tensors *t, const char *name) {
    const struct tensor *found = find_by_name(t, name);
    if (found) return found;
    const char *kept = json_string_value(json_object_get(t->metadata, name));
    return kept ? find_by_name(t, kept) : NULL;
}

const struct tensor_refused *tensors_find_refused(const struct tensors *t, const char *name) {
    struct tensor_refused key = {.name = name};
    if (!t->refused_count) return NULL;
    return bsearch(&key, t->refused, t->refused_count, sizeof key, refused_order);
}

static int absent(const struct tensors *t, const char *name, struct err *err) {
    const struct tensor_refused *r = tensors_find_refused(t, name);
    if (r)
        return err_set(err, ERR_UNSUPPORTED, "\"%s\": tensor \"%.200s\" %s",
                       t->sources[r->source].path, name, r->reason);
    return err_set(err, ERR_NOT_FOUND, "\"%s\": there is no tensor \"%.200s\"", t->path, name);
}

static void shape_text(int dims, const int64_t *shape, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < dims && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (n < size) snprintf(out + n, size - n, "]");
}

int tensors_get(const struct tensors *t, const char *name, int dims, const int64_t *shape,
                struct tensor *ret, struct err *err) {
    const struct tensor *x = tensors_find(t, name);
    if (!x) return absent(t, name, err);
    bool same = x->dims == dims;
    for (int i = 0; same && i < dims; i++) same = x->shape[i] == shape[i];
    if (!same) {
        char want[96], have[96];
        shape_text(dims, shape, want, sizeof want);
        shape_text(x->dims, x->shape, have, sizeof have);
        return err_set(err, ERR_INVALID,
                       "\"%s\": tensor \"%.200s\" has shape %s, the configuration asks for %s",
                       t->sources[t->source_of[x - t->list]].path, name, have, want);
    }
    *ret = *x;
    return 0;
}

const json_t *tensors_metadata(const struct tensors *t) { return t->metadata; }

int tensors_open(const char *path, struct tensors **ret, struct err *err) {
    return safetensors_open(path, ret, err);
}

/* --- the hash ------------------------------------------------------------------------------------
 */

/* By name, so that the same tensors hash the same however they are split into files. */
static void hash_now(const struct tensors *t, char hex[65]) {
    struct sha256 *h = sha256_new();
    for (size_t i = 0; i < t->count; i++) {
        const struct tensor *x = t->by_name[i];
        char shape[96], head[160];
        shape_text(x->dims, x->shape, shape, sizeof shape);
        int n = snprintf(head, sizeof head, " %s %s\n", tensor_type_name(x->type), shape);
        sha256_add(h, x->name, strlen(x->name));
        sha256_add(h, head, (size_t)n);
        sha256_add(h, x->data, x->bytes);
    }
    sha256_finish(h, hex);
}

static size_t data_bytes(const struct tensors *t) {
    size_t sum = 0;
    for (size_t i = 0; i < t->count; i++) sum += t->list[i].bytes;
    return sum;
}

static void hash_through_cache(const struct tensors *t, char hex[65]) {
    char kind[40]; /* a GGUF file expands to one of two sizes */
    snprintf(kind, sizeof kind, "tensors %zu", data_bytes(t));
    struct hash_cache_key key;
    hash_cache_begin(&key, kind);
    for (size_t i = 0; i < t->source_count; i++) hash_cache_add(&key, t->sources[i].path);
    if (hash_cache_find(&key, hex)) return;
    hash_now(t, hex);
    hash_cache_put(&key, hex);
}

#define WORTH_CACHING ((size_t)64 << 20) /* below it hashing takes less than 0.1 s */

int tensors_hash(struct tensors *t, char hex[65], struct err *err) {
    (void)err; /* data is mapped: nothing here can fail, but a reader that streams could */
    pthread_mutex_lock(&t->hash_lock);
    if (!t->hash[0]) {
        if (data_bytes(t) < WORTH_CACHING)
            hash_now(t, t->hash);
        else
            hash_through_cache(t, t->hash);
    }
    memcpy(hex, t->hash, sizeof t->hash);
    pthread_mutex_unlock(&t->hash_lock);
    return 0;
}
