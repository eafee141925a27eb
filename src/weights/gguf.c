/* Parsing GGUF: header, metadata, tensor table. Every length and offset is held against the file
 * before use; strings and arrays stay where they are in the map. */
#include "weights/gguf_int.h"

#include "base/mem.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VALUES_MAX ((uint64_t)1 << 20)
#define TENSORS_MAX ((uint64_t)1 << 20)
#define KEY_MAX 65535
#define NAME_MAX_BYTES 255
#define ALIGNMENT_MAX ((uint32_t)1 << 20)

static const unsigned char kind_size[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* A place in the file. Reading past the end gives zeros and sets `over`, which sticks. */
struct cursor {
    struct str image;
    size_t at;
    bool over;
    const char *path;
};

static const char *take(struct cursor *c, size_t n) {
    if (c->over || n > c->image.n - c->at) {
        c->over = true;
        return NULL;
    }
    c->at += n;
    return c->image.p + c->at - n;
}

static uint64_t load(const char *p, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = bytes; p && i-- > 0;) v = v << 8 | (unsigned char)p[i];
    return v;
}

static uint32_t take_u32(struct cursor *c) { return (uint32_t)load(take(c, 4), 4); }
static uint64_t take_u64(struct cursor *c) { return load(take(c, 8), 8); }

static struct str take_str(struct cursor *c) {
    uint64_t n = take_u64(c);
    const char *p = take(c, n);
    return p ? (struct str){p, n} : (struct str){"", 0};
}

static int cut_short(const struct cursor *c, const char *in, struct err *err) {
    return err_set(err, ERR_CORRUPT,
                   "\"%s\": %s runs past the end of the file near offset %zu; it is cut "
                   "short or damaged",
                   c->path, in, c->at);
}

static int damaged(const struct cursor *c, const char *what, struct err *err) {
    return err_set(err, ERR_CORRUPT, "\"%s\": offset %zu: %s", c->path, c->at, what);
}

/* --- metadata ------------------------------------------------------------------------------------
 */

static int take_strings(struct cursor *c, struct gguf_value *v, struct err *err) {
    void *strings = NULL;
    int rc = mem_try(v->count, sizeof *v->strings, "an array of the GGUF file", &strings, err);
    if (rc) return rc;
    v->strings = strings;
    for (size_t i = 0; i < v->count && !c->over; i++) v->strings[i] = take_str(c);
    return 0;
}

static int take_array(struct cursor *c, struct gguf_value *v, struct err *err) {
    uint32_t element = take_u32(c);
    uint64_t count = take_u64(c);
    if (element > GGUF_F64) return damaged(c, "an array of an unknown type", err);
    if (element == GGUF_ARRAY) return damaged(c, "an array of arrays, which is not supported", err);
    size_t least = element == GGUF_STR ? 8 : kind_size[element], bytes;
    if (c->over || !mul_size(count, least, &bytes) || bytes > c->image.n - c->at)
        return cut_short(c, "an array", err);
    v->element = (enum gguf_kind)element;
    v->count = count;
    v->data = c->image.p + c->at;
    if (element == GGUF_STR) return take_strings(c, v, err);
    take(c, bytes);
    return 0;
}

static int take_value(struct cursor *c, struct gguf_value *v, struct err *err) {
    v->key = take_str(c);
    uint32_t kind = take_u32(c);
    if (c->over) return cut_short(c, "the metadata", err);
    if (!v->key.n || v->key.n > KEY_MAX) return damaged(c, "a metadata key of a wrong length", err);
    if (kind > GGUF_F64) return damaged(c, "a metadata value of an unknown type", err);
    v->kind = (enum gguf_kind)kind;
    int rc = 0;
    if (kind == GGUF_ARRAY) {
        rc = take_array(c, v, err);
    } else {
        v->data = c->image.p + c->at;
        if (kind == GGUF_STR)
            take_str(c);
        else
            take(c, kind_size[kind]);
    }
    if (!rc && c->over) rc = cut_short(c, "the metadata", err);
    return rc;
}

static int key_order(const void *a, const void *b) {
    return str_cmp(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

static int take_values(struct cursor *c, struct gguf *g, uint64_t count, struct err *err) {
    g->values = mem_zalloc(count, sizeof *g->values);
    for (; g->value_count < count; g->value_count++) {
        int rc = take_value(c, &g->values[g->value_count], err);
        if (!rc) continue;
        g->value_count++; /* it may own strings */
        return rc;
    }
    if (count) qsort(g->values, count, sizeof *g->values, key_order);
    for (size_t i = 1; i < count; i++)
        if (str_eq(g->values[i - 1].key, g->values[i].key))
            return err_set(err, ERR_CORRUPT, "\"%s\": the key \"%.*s\" is there twice", g->path,
                           (int)(g->values[i].key.n < 100 ? g->values[i].key.n : 100),
                           g->values[i].key.p);
    return 0;
}

/* --- tensor table --------------------------------------------------------------------------------
 */

static int tensor_bad(const struct gguf *g, const struct gguf_tensor *t, const char *what,
                      struct err *err) {
    return err_set(err, ERR_CORRUPT, "\"%s\": tensor \"%.*s\": %s", g->path, STR_ARG(t->name),
                   what);
}

/* *ret_offset: into the data section */
static int take_tensor(struct cursor *c, const struct gguf *g, struct gguf_tensor *t,
                       uint64_t *ret_offset, struct err *err) {
    t->name = take_str(c);
    uint32_t dims = take_u32(c);
    if (c->over) return cut_short(c, "the tensor table", err);
    if (!t->name.n || t->name.n > NAME_MAX_BYTES || memchr(t->name.p, 0, t->name.n))
        return damaged(c, "a tensor name of a wrong length", err);
    if (dims > TENSOR_DIMS_MAX) return tensor_bad(g, t, "it has more than 4 dimensions", err);
    t->dims = (int)dims;
    t->elements = 1;
    for (uint32_t i = 0; i < dims; i++) {
        uint64_t n = take_u64(c);
        if (n == 0) return tensor_bad(g, t, "a dimension of its shape is 0", err);
        if (n > INT64_MAX || !mul_size(t->elements, n, &t->elements))
            return tensor_bad(g, t, "the product of its shape does not fit 64 bits", err);
        t->shape[dims - 1 - i] = (int64_t)n; /* the file has the innermost first */
    }
    t->type_id = take_u32(c);
    t->type = block_type_find(t->type_id);
    *ret_offset = take_u64(c);
    return c->over ? cut_short(c, "the tensor table", err) : 0;
}

/* Where the tensor's data is, once the end of the table is known. */
static int place_tensor(const struct gguf *g, struct gguf_tensor *t, struct str data,
                        uint64_t offset, uint32_t alignment, struct err *err) {
    if (offset % alignment || offset > data.n)
        return tensor_bad(g, t, "its offset is not in the data", err);
    t->data = data.p + offset;
    if (!t->type || !t->type->elements) return 0; /* refused when the weights are asked for */
    size_t row = t->dims ? (size_t)t->shape[t->dims - 1] : 1;
    if (row % t->type->elements)
        return tensor_bad(g, t, "its rows are no whole number of blocks of its type", err);
    if (!mul_size(t->elements / t->type->elements, t->type->bytes, &t->bytes) ||
        t->bytes > data.n - offset)
        return err_set(
            err, ERR_CORRUPT,
            "\"%s\": tensor \"%.*s\": %zu elements of %s at data offset %llu pass the end of the "
            "file's %zu bytes of data; it is cut short",
            g->path, STR_ARG(t->name), t->elements, t->type->name, (unsigned long long)offset,
            data.n);
    return 0;
}

static int place_order(const void *a, const void *b) {
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a,
                             *y = *(const struct gguf_tensor *const *)b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Data that two tensors share would be expanded once for each: a small file could fill any memory.
 * Sorts `list`, which has room for all tensors. */
static int check_apart(const struct gguf *g, const struct gguf_tensor **list, struct err *err) {
    for (size_t i = 0; i < g->tensor_count; i++) list[i] = &g->tensors[i];
    if (g->tensor_count) qsort(list, g->tensor_count, sizeof *list, place_order);
    for (size_t i = 1; i < g->tensor_count; i++)
        if (list[i - 1]->data + list[i - 1]->bytes > list[i]->data)
            return err_set(err, ERR_CORRUPT,
                           "\"%s\": tensors \"%.*s\" and \"%.*s\" lie over each other; get the "
                           "file again",
                           g->path, STR_ARG(list[i - 1]->name), STR_ARG(list[i]->name));
    return 0;
}

static int tensor_order(const void *a, const void *b) {
    return str_cmp((*(const struct gguf_tensor *const *)a)->name,
                   (*(const struct gguf_tensor *const *)b)->name);
}

static int index_tensors(struct gguf *g, struct err *err) {
    g->by_name = mem_zalloc(g->tensor_count, sizeof *g->by_name);
    int rc = check_apart(g, g->by_name, err);
    if (rc) return rc;
    for (size_t i = 0; i < g->tensor_count; i++) g->by_name[i] = &g->tensors[i];
    if (g->tensor_count) qsort(g->by_name, g->tensor_count, sizeof *g->by_name, tensor_order);
    for (size_t i = 1; i < g->tensor_count; i++)
        if (str_eq(g->by_name[i - 1]->name, g->by_name[i]->name))
            return tensor_bad(g, g->by_name[i], "it is there twice", err);
    return 0;
}

static int read_alignment(const struct gguf *g, uint32_t *ret, struct err *err) {
    int64_t alignment = 32;
    int rc = gguf_get_i64(g, "general.alignment", &alignment, err);
    if (!rc && (alignment < 1 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1))))
        rc = err_set(err, ERR_CORRUPT,
                     "\"%s\": \"general.alignment\" %lld is no power of two up to %u", g->path,
                     (long long)alignment, ALIGNMENT_MAX);
    if (!rc) *ret = (uint32_t)alignment;
    return rc;
}

static int take_tensors(struct cursor *c, struct gguf *g, uint64_t count, struct err *err) {
    uint32_t alignment = 32;
    int rc = read_alignment(g, &alignment, err);
    if (rc) return rc;
    g->tensors = mem_zalloc(count, sizeof *g->tensors);
    g->tensor_count = count;
    uint64_t *offsets = mem_zalloc(count, sizeof *offsets);
    for (size_t i = 0; !rc && i < count; i++)
        rc = take_tensor(c, g, &g->tensors[i], &offsets[i], err);
    size_t at = c->at + (alignment - c->at % alignment) % alignment;
    struct str data = str_from(c->image, at);
    for (size_t i = 0; !rc && i < count; i++)
        rc = place_tensor(g, &g->tensors[i], data, offsets[i], alignment, err);
    mem_free(offsets);
    return rc ? rc : index_tensors(g, err);
}

/* --- opening -------------------------------------------------------------------------------------
 */

static int take_header(struct cursor *c, uint64_t *ret_tensors, uint64_t *ret_values,
                       struct err *err) {
    const char *magic = take(c, 4);
    uint32_t version = take_u32(c);
    *ret_tensors = take_u64(c);
    *ret_values = take_u64(c);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return err_set(err, ERR_CORRUPT, "\"%s\" is no GGUF file: it does not begin with \"GGUF\"",
                       c->path);
    if (c->over) return cut_short(c, "the header", err);
    if (version == 0x02000000 || version == 0x03000000)
        return err_set(err, ERR_UNSUPPORTED, "\"%s\": a big-endian GGUF file is not supported",
                       c->path);
    if (version != 2 && version != 3)
        return err_set(err, ERR_UNSUPPORTED,
                       "\"%s\": GGUF version %u is not supported; 2 and 3 are", c->path, version);
    /* the smallest metadata entry has 14 bytes, the smallest tensor entry 25 */
    if (*ret_values > VALUES_MAX || *ret_values > c->image.n / 14 || *ret_tensors > TENSORS_MAX ||
        *ret_tensors > c->image.n / 25)
        return err_set(err, ERR_CORRUPT,
                       "\"%s\": %llu metadata entries and %llu tensors do not fit the file",
                       c->path, (unsigned long long)*ret_values, (unsigned long long)*ret_tensors);
    return 0;
}

int gguf_parse(struct str image, const char *path, struct gguf **ret, struct err *err) {
    struct cursor c = {.image = image, .path = path};
    uint64_t tensors = 0, values = 0;
    int rc = take_header(&c, &tensors, &values, err);
    if (rc) return rc;
    struct gguf *g = mem_zalloc(1, sizeof *g);
    g->path = mem_strdup(path);
    rc = take_values(&c, g, values, err);
    if (!rc) rc = take_tensors(&c, g, tensors, err);
    if (rc)
        gguf_close(g);
    else
        *ret = g;
    return rc;
}

int gguf_open(const char *path, struct gguf **ret, struct err *err) {
    struct file_map map = {0};
    int rc = file_map_open(path, &map, err);
    if (!rc) rc = gguf_parse((struct str){(const char *)map.p, map.n}, path, ret, err);
    if (rc)
        file_map_close(&map);
    else
        (*ret)->map = map;
    return rc;
}

void gguf_close(struct gguf *g) {
    if (!g) return;
    for (size_t i = 0; i < g->value_count; i++) mem_free(g->values[i].strings);
    mem_free(g->values);
    mem_free(g->tensors);
    mem_free(g->by_name);
    file_map_close(&g->map);
    mem_free(g->path);
    mem_free(g);
}

bool gguf_is(const char *path) {
    char magic[4];
    if (!file_exists(path)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && read(fd, magic, sizeof magic) == 4 && memcmp(magic, "GGUF", 4) == 0;
    file_close(fd);
    return is;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name) {
    struct gguf_tensor key = {.name = str_of(name)};
    const struct gguf_tensor *p = &key;
    if (!g->tensor_count) return NULL;
    const struct gguf_tensor **found =
        bsearch(&p, g->by_name, g->tensor_count, sizeof *g->by_name, tensor_order);
    return found ? *found : NULL;
}

/* --- metadata by key -----------------------------------------------------------------------------
 */

static const struct gguf_value *find_value(const struct gguf *g, const char *key) {
    struct gguf_value want = {.key = str_of(key)};
    if (!g->value_count) return NULL;
    return bsearch(&want, g->values, g->value_count, sizeof *g->values, key_order);
}

static int wrong_kind(const struct gguf *g, const char *key, const char *want, struct err *err) {
    return err_set(err, ERR_INVALID, "\"%s\": the metadata key \"%s\" is not %s", g->path, key,
                   want);
}

static bool load_i64(enum gguf_kind kind, const char *p, int64_t *ret) {
    uint64_t v = 0;
    switch (kind) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64: v = load(p, kind_size[kind]); break;
    case GGUF_I8: v = (uint64_t)(int8_t)load(p, 1); break;
    case GGUF_I16: v = (uint64_t)(int16_t)load(p, 2); break;
    case GGUF_I32: v = (uint64_t)(int32_t)load(p, 4); break;
    case GGUF_I64: *ret = (int64_t)load(p, 8); return true;
    default: return false;
    }
    if (kind == GGUF_U64 && v > INT64_MAX) return false;
    *ret = (int64_t)v;
    return true;
}

static bool load_double(enum gguf_kind kind, const char *p, double *ret) {
    uint64_t bits = kind == GGUF_F32 || kind == GGUF_F64 ? load(p, kind_size[kind]) : 0;
    uint32_t low = (uint32_t)bits;
    float f;
    int64_t whole;
    if (kind == GGUF_F64) {
        memcpy(ret, &bits, sizeof *ret);
    } else if (kind == GGUF_F32) {
        memcpy(&f, &low, sizeof f);
        *ret = (double)f;
    } else {
        if (!load_i64(kind, p, &whole)) return false;
        *ret = (double)whole;
    }
    return true;
}

int gguf_get_str(const struct gguf *g, const char *key, struct str *ret, struct err *err) {
    const struct gguf_value *v = find_value(g, key);
    if (!v) return 0;
    if (v->kind != GGUF_STR) return wrong_kind(g, key, "a string", err);
    *ret = (struct str){v->data + 8, load(v->data, 8)};
    return 0;
}

int gguf_get_i64(const struct gguf *g, const char *key, int64_t *ret, struct err *err) {
    const struct gguf_value *v = find_value(g, key);
    if (v && !load_i64(v->kind, v->data, ret)) return wrong_kind(g, key, "a whole number", err);
    return 0;
}

int gguf_get_double(const struct gguf *g, const char *key, double *ret, struct err *err) {
    const struct gguf_value *v = find_value(g, key);
    if (v && !load_double(v->kind, v->data, ret)) return wrong_kind(g, key, "a number", err);
    return 0;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *ret, struct err *err) {
    const struct gguf_value *v = find_value(g, key);
    if (!v) return 0;
    if (v->kind != GGUF_BOOL) return wrong_kind(g, key, "true or false", err);
    *ret = *v->data != 0;
    return 0;
}

int64_t gguf_array_count(const struct gguf *g, const char *key) {
    const struct gguf_value *v = find_value(g, key);
    return v && v->kind == GGUF_ARRAY ? (int64_t)v->count : -1;
}

/* The array's element i, which the caller knows to be there. */
static const struct gguf_value *element(const struct gguf *g, const char *key, int64_t i,
                                        const char **ret_data) {
    const struct gguf_value *v = find_value(g, key);
    if (!v || v->kind != GGUF_ARRAY || i < 0 || (uint64_t)i >= v->count) return NULL;
    *ret_data = v->data + (size_t)i * kind_size[v->element];
    return v;
}

int gguf_array_str(const struct gguf *g, const char *key, int64_t i, struct str *ret,
                   struct err *err) {
    const char *p;
    const struct gguf_value *v = element(g, key, i, &p);
    if (!v || v->element != GGUF_STR)
        return wrong_kind(g, key, "an array of strings with that element", err);
    *ret = v->strings[i];
    return 0;
}

int gguf_array_i64(const struct gguf *g, const char *key, int64_t i, int64_t *ret,
                   struct err *err) {
    const char *p;
    const struct gguf_value *v = element(g, key, i, &p);
    if (!v || !load_i64(v->element, p, ret))
        return wrong_kind(g, key, "an array of whole numbers with that element", err);
    return 0;
}

int gguf_array_double(const struct gguf *g, const char *key, int64_t i, double *ret,
                      struct err *err) {
    const char *p;
    const struct gguf_value *v = element(g, key, i, &p);
    if (!v || !load_double(v->element, p, ret))
        return wrong_kind(g, key, "an array of numbers with that element", err);
    return 0;
}
