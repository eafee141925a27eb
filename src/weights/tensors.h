/* A set of named tensors, however stored: one safetensors file, a sharded directory, or a GGUF
 * file. Data stays in the mapped file; tensors_get hands out pointers into it. Immutable after
 * open, so any thread may read.
 *
 *     struct tensors *t; rc = tensors_open(dir, &t, err);
 *     struct tensor w;   rc = tensors_get(t, "model.norm.weight", 1, (int64_t[]){dim}, &w, err);
 *     tensors_close(t);
 */
#ifndef WEIGHTS_TENSORS_H
#define WEIGHTS_TENSORS_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_DIMS_MAX 4

enum tensor_type { TENSOR_F32, TENSOR_BF16, TENSOR_F16 /* GGUF blocks are expanded at open */ };

struct tensor {
    const char *name; /* owned by the set */
    enum tensor_type type;
    int dims;
    int64_t shape[TENSOR_DIMS_MAX]; /* outermost first, row-major */
    const void *data;               /* aligned to the element at least */
    size_t bytes;
};

struct tensors;
/* path: a safetensors file, or a directory with model.safetensors or model.safetensors.index.json.
 */
int tensors_open(const char *path, struct tensors **ret, struct err *err);
void tensors_close(struct tensors *t);
int64_t tensors_count(const struct tensors *t);
const struct tensor *tensors_at(const struct tensors *t, int64_t i);
/* NULL: absent. A name that the metadata calls a copy of another finds that one. */
const struct tensor *tensors_find(const struct tensors *t, const char *name);
/* By name and shape; the error names file, tensor, expected and found shape. */
int tensors_get(const struct tensors *t, const char *name, int dims, const int64_t *shape,
                struct tensor *ret, struct err *err);
/* "__metadata__" of a safetensors file (borrowed) or NULL. */
const json_t *tensors_metadata(const struct tensors *t);
/* SHA-256 over names, types, shapes and data, computed once and cached beside large files by size
 * and time of change; hex, 64 digits. */
int tensors_hash(struct tensors *t, char hex[65], struct err *err);

/* Writing safetensors: header first, then data in the order given; atomic. */
struct tensor_out {
    const char *name;
    enum tensor_type type;
    int dims;
    int64_t shape[TENSOR_DIMS_MAX];
    const void *data;
};
int safetensors_write(const char *path, const struct tensor_out *list, int64_t count,
                      const json_t *metadata, struct err *err);
/* Split into shards of at most shard_bytes with an index when more than one is needed. */
int safetensors_write_dir(const char *dir, const struct tensor_out *list, int64_t count,
                          int64_t shard_bytes, struct err *err);

#endif
