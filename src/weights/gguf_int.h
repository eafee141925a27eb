/* Inside of a GGUF file, for gguf.c (parsing, metadata) and gguf_tensors.c (weights,
 * configuration). */
#ifndef WEIGHTS_GGUF_INT_H
#define WEIGHTS_GGUF_INT_H

#include "base/file.h"
#include "weights/dequant.h"
#include "weights/gguf.h"

enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf_value {
    struct str key;               /* in the file */
    enum gguf_kind kind, element; /* element: of an array */
    const char *data;             /* of a scalar or of an array's first element */
    size_t count;                 /* of an array */
    struct str *strings;          /* elements of an array of strings */
};

struct gguf_tensor {
    struct str name;               /* in the file */
    const struct block_type *type; /* NULL: not even the name is known */
    uint32_t type_id;
    int dims;
    int64_t shape[TENSOR_DIMS_MAX]; /* outermost first */
    size_t elements;
    const char *data; /* inside the file for every type whose size is known */
    size_t bytes;     /* 0 for the others */
};

struct gguf {
    char *path;
    struct file_map map;
    struct gguf_value *values; /* sorted by key */
    size_t value_count;
    struct gguf_tensor *tensors; /* in file order */
    const struct gguf_tensor **by_name;
    size_t tensor_count;
};

/* A file image that outlives *ret: what gguf_open does after mapping. */
int gguf_parse(struct str image, const char *path, struct gguf **ret, struct err *err);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

#endif
