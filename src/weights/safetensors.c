/* Reading safetensors: 8 bytes of header length, a JSON header, the data. Everything the header
 * says is held against the file before a pointer is made from it. As the format's own reader does,
 * tensors must cover the data from its first byte to its last without holes or overlap. */
#include "weights/tensors_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define HEADER_MAX ((size_t)100 * 1000 * 1000) /* the format's own limit */
#define INDEX_MAX ((size_t)64 << 20)

static const struct {
    const char *name;
    unsigned bits;
    int type; /* -1: known, not used here */
} dtypes[] = {
    {"F32", 32, TENSOR_F32}, {"BF16", 16, TENSOR_BF16}, {"F16", 16, TENSOR_F16}, {"F64", 64, -1},
    {"I64", 64, -1},         {"U64", 64, -1},           {"C64", 64, -1},         {"I32", 32, -1},
    {"U32", 32, -1},         {"I16", 16, -1},           {"U16", 16, -1},         {"I8", 8, -1},
    {"U8", 8, -1},           {"BOOL", 8, -1},           {"F8_E4M3", 8, -1},      {"F8_E5M2", 8, -1},
    {"F8_E8M0", 8, -1},      {"F6_E2M3", 6, -1},        {"F6_E3M2", 6, -1},      {"F4", 4, -1},
};

/* one tensor of the header while it is checked */
struct span {
    const char *name;
    size_t begin, end; /* in the data */
};

struct parse {
    struct tensors *t;
    int source;
    const char *path;
    struct str data;
    size_t data_at; /* offset in the file */
    struct span *spans;
    size_t count;
};

static int bad(const struct parse *p, const char *name, const char *what, struct err *err) {
    return err_set(err, ERR_CORRUPT, "\"%s\": tensor \"%.120s\": %s", p->path, name, what);
}

static int read_offsets(const struct parse *p, const char *name, const json_t *entry,
                        struct span *ret, struct err *err) {
    const json_t *pair = json_object_get(entry, "data_offsets");
    const json_t *a = json_array_get(pair, 0), *b = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return bad(p, name, "\"data_offsets\" must be two whole numbers", err);
    json_int_t begin = json_integer_value(a), end = json_integer_value(b);
    if (begin >= 0 && end >= begin && (uint64_t)end <= p->data.n) {
        *ret = (struct span){name, (size_t)begin, (size_t)end};
        return 0;
    }
    return err_set(
        err, ERR_CORRUPT,
        "\"%s\": tensor \"%.120s\": data at [%lld, %lld) does not lie in the %zu bytes of data "
        "that begin at offset %zu; the file may be cut short",
        p->path, name, (long long)begin, (long long)end, p->data.n, p->data_at);
}

/* The product of the shape into *ret_elements; the first TENSOR_DIMS_MAX sizes into x. */
static int read_shape(const struct parse *p, const char *name, const json_t *entry,
                      struct tensor *x, size_t *ret_elements, struct err *err) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return bad(p, name, "\"shape\" must be an array", err);
    size_t elements = 1, dims = json_array_size(shape);
    if (dims > 64) return bad(p, name, "it has more than 64 dimensions", err);
    for (size_t i = 0; i < dims; i++) {
        const json_t *v = json_array_get(shape, i);
        json_int_t d = json_integer_value(v);
        if (!json_is_integer(v) || d < 0 || !mul_size(elements, (size_t)d, &elements))
            return bad(p, name, "\"shape\" must hold whole numbers whose product fits 64 bits",
                       err);
        if (i < TENSOR_DIMS_MAX) x->shape[i] = d;
    }
    x->dims = (int)dims;
    *ret_elements = elements;
    return 0;
}

static int check_size(const struct parse *p, const struct span *s, size_t elements, unsigned bits,
                      const char *dtype, struct err *err) {
    size_t need;
    if (mul_size(elements, bits, &need) && need % 8 == 0 && need / 8 == s->end - s->begin) return 0;
    return err_set(
        err, ERR_CORRUPT,
        "\"%s\": tensor \"%.120s\": %zu elements of %s do not fill the %zu bytes at data "
        "offset %zu",
        p->path, s->name, elements, dtype, s->end - s->begin, s->begin);
}

static int add_entry(struct parse *p, const char *name, const json_t *entry, bool wanted,
                     struct err *err) {
    struct str dtype = {"", 0};
    struct tensor x = {.name = name};
    struct span *s = &p->spans[p->count];
    size_t elements = 0;
    char reason[120];
    if (!json_is_object(entry)) return bad(p, name, "its entry is no object", err);
    int rc = json_get_str(entry, "dtype", p->path, &dtype, err);
    if (!rc) rc = read_shape(p, name, entry, &x, &elements, err);
    if (!rc) rc = read_offsets(p, name, entry, s, err);
    if (rc) return rc;
    p->count++;
    int type = -1;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (!str_is(dtype, dtypes[i].name)) continue;
        type = dtypes[i].type;
        rc = check_size(p, s, elements, dtypes[i].bits, dtypes[i].name, err);
        if (rc) return rc;
    }
    if (!wanted) return 0;
    if (type < 0) {
        snprintf(reason, sizeof reason, "has type %.20s; F32, BF16 and F16 can be used",
                 dtype.n ? dtype.p : "(none)");
        return tensors_refuse(p->t, p->source, name, reason, err);
    }
    if (x.dims > TENSOR_DIMS_MAX) {
        snprintf(reason, sizeof reason, "has %d dimensions; at most %d can be used", x.dims,
                 TENSOR_DIMS_MAX);
        return tensors_refuse(p->t, p->source, name, reason, err);
    }
    x.type = (enum tensor_type)type;
    x.data = p->data.p + s->begin;
    x.bytes = s->end - s->begin;
    return tensors_add(p->t, p->source, &x, err);
}

static int set_metadata(struct parse *p, json_t *metadata, struct err *err) {
    const char *key;
    json_t *v;
    bool ok = json_is_object(metadata);
    json_object_foreach(metadata, key, v) ok = ok && json_is_string(v);
    if (!ok) return bad(p, "__metadata__", "must be an object of strings", err);
    if (!p->t->metadata) p->t->metadata = json_incref(metadata);
    return 0;
}

static int span_order(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int check_cover(const struct parse *p, struct err *err) {
    if (p->count) qsort(p->spans, p->count, sizeof *p->spans, span_order);
    size_t at = 0;
    for (size_t i = 0; i < p->count; at = p->spans[i++].end) {
        if (p->spans[i].begin == at) continue;
        return err_set(
            err, ERR_CORRUPT,
            "\"%s\": tensor \"%.120s\" begins at data offset %zu, the one before it ends at %zu",
            p->path, p->spans[i].name, p->spans[i].begin, at);
    }
    if (at == p->data.n) return 0;
    return err_set(err, ERR_CORRUPT, "\"%s\": the tensors take %zu bytes of the %zu bytes of data",
                   p->path, at, p->data.n);
}

static int parse_entries(struct parse *p, json_t *header, const json_t *weight_map,
                         const char *file, struct err *err) {
    const char *name;
    size_t name_bytes;
    json_t *entry;
    int rc = 0;
    p->spans = mem_zalloc(json_object_size(header), sizeof *p->spans);
    json_object_keylen_foreach(header, name, name_bytes, entry) {
        const json_t *place = json_object_get(weight_map, name);
        bool wanted = !weight_map || (place && str_is(json_str(place), file));
        if (strlen(name) != name_bytes)
            rc = bad(p, name, "its name holds a NUL", err);
        else if (strcmp(name, "__metadata__") == 0)
            rc = set_metadata(p, entry, err);
        else
            rc = add_entry(p, name, entry, wanted, err);
        if (rc) return rc;
    }
    return check_cover(p, err);
}

static uint64_t load_u64(const char *p) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | (unsigned char)p[i];
    return v;
}

int safetensors_parse(struct tensors *t, int source, struct str image, const json_t *weight_map,
                      const char *file, struct err *err) {
    const char *path = t->sources[source].path;
    if (image.n < 8)
        return err_set(err, ERR_CORRUPT, "\"%s\": %zu bytes are too few for a safetensors file",
                       path, image.n);
    uint64_t size = load_u64(image.p);
    if (size > HEADER_MAX || size > image.n - 8)
        return err_set(
            err, ERR_CORRUPT,
            "\"%s\": a header of %llu bytes at offset 8 does not fit the file's %zu bytes (at "
            "most %zu are allowed); it is cut short or no safetensors file",
            path, (unsigned long long)size, image.n, HEADER_MAX);
    struct str text = {image.p + 8, (size_t)size};
    json_t *header = NULL;
    int rc = json_read(text, path, &header, err);
    if (rc) return err_wrap(err, "reading the safetensors header at offset 8");
    struct parse p = {.t = t,
                      .source = source,
                      .path = path,
                      .data = str_from(image, 8 + text.n),
                      .data_at = 8 + text.n};
    if (json_is_object(header))
        rc = parse_entries(&p, header, weight_map, file, err);
    else
        rc = err_set(err, ERR_CORRUPT, "\"%s\": the header at offset 8 is no JSON object", path);
    mem_free(p.spans);
    json_decref(header);
    return rc;
}

/* --- files and directories -----------------------------------------------------------------------
 */

static int add_file(struct tensors *t, const char *path, const json_t *weight_map, const char *file,
                    struct err *err) {
    struct file_map map = {0};
    int rc = file_map_open(path, &map, err);
    if (rc) return rc;
    int source = tensors_add_source(t, path, map);
    return safetensors_parse(t, source, (struct str){(const char *)map.p, map.n}, weight_map, file,
                             err);
}

static bool shard_seen(const struct tensors *t, struct str file) {
    for (size_t i = 0; i < t->source_count; i++)
        if (str_eq(path_base(t->sources[i].path), file)) return true;
    return false;
}

static int add_shard(struct tensors *t, const char *dir, const char *index, const char *name,
                     const json_t *place, const json_t *weight_map, struct err *err) {
    struct str file = json_is_string(place) ? json_str(place) : (struct str){"", 0};
    if (!file.n || strlen(file.p) != file.n || strchr(file.p, '/') || file.p[0] == '.')
        return err_set(err, ERR_CORRUPT,
                       "\"%s\": tensor \"%.120s\" is placed in no plain file name", index, name);
    if (shard_seen(t, file)) return 0;
    char *path = path_join(dir, file.p);
    int rc = add_file(t, path, weight_map, file.p, err);
    if (rc && !file_exists(path))
        err_wrap(err, "\"%s\" names a file that is missing; fetch the model again", index);
    mem_free(path);
    return rc;
}

static int check_all_found(const struct tensors *t, const json_t *weight_map, const char *index,
                           struct err *err) {
    if (t->count + t->refused_count == json_object_size(weight_map)) return 0;
    const char *name;
    json_t *place;
    json_object_foreach((json_t *)weight_map, name, place) {
        if (!tensors_find(t, name) && !tensors_find_refused(t, name))
            return err_set(err, ERR_CORRUPT, "\"%s\": tensor \"%.120s\" is not in \"%.120s\"",
                           index, name, json_string_value(place));
    }
    return 0;
}

static int open_sharded(struct tensors *t, const char *dir, const char *index, struct err *err) {
    json_t *root = NULL;
    int rc = json_read_file(index, INDEX_MAX, &root, err);
    if (rc) return rc;
    const json_t *weight_map = json_object_get(root, "weight_map");
    if (!json_is_object(weight_map))
        rc = err_set(err, ERR_CORRUPT, "\"%s\": \"weight_map\" must be an object", index);
    const char *name;
    json_t *place;
    json_object_foreach((json_t *)weight_map, name, place) {
        if (!rc) rc = add_shard(t, dir, index, name, place, weight_map, err);
    }
    if (!rc) rc = tensors_seal(t, err);
    if (!rc) rc = check_all_found(t, weight_map, index, err);
    json_decref(root);
    return rc;
}

static int open_dir(struct tensors *t, const char *dir, struct err *err) {
    char *single = path_join(dir, "model.safetensors");
    char *index = path_join(dir, "model.safetensors.index.json");
    int rc;
    if (file_exists(single)) {
        rc = add_file(t, single, NULL, NULL, err);
        if (!rc) rc = tensors_seal(t, err);
    } else if (file_exists(index)) {
        rc = open_sharded(t, dir, index, err);
    } else {
        rc = err_set(err, ERR_NOT_FOUND,
                     "\"%s\" has neither model.safetensors nor model.safetensors.index.json", dir);
    }
    mem_free(single);
    mem_free(index);
    return rc;
}

int safetensors_open(const char *path, struct tensors **ret, struct err *err) {
    struct tensors *t = tensors_new(path);
    int rc;
    if (dir_exists(path)) {
        rc = open_dir(t, path, err);
    } else {
        rc = add_file(t, path, NULL, NULL, err);
        if (!rc) rc = tensors_seal(t, err);
    }
    if (rc)
        tensors_close(t);
    else
        *ret = t;
    return rc;
}
