/* Inside of a tensor set, for the readers that fill one: safetensors.c and gguf_tensors.c.
 *
 *     t = tensors_new(); source = tensors_add_source(t, path, map); tensors_add(...);
 * tensors_seal(t)
 *
 * Invariants once sealed: names are unique, by_name and refused are sorted, nothing changes but the
 * hash. */
#ifndef WEIGHTS_TENSORS_INT_H
#define WEIGHTS_TENSORS_INT_H

#include "base/arena.h"
#include "base/file.h"
#include "weights/tensors.h"

#include <pthread.h>

/* a tensor that is in the file but cannot be used; said when it is asked for */
struct tensor_refused {
    const char *name, *reason;
    int source;
};

struct tensor_source {
    char *path;
    struct file_map map; /* empty for a set that holds its own data */
};

struct tensors {
    struct tensor *list;
    int *source_of; /* by index in list */
    size_t count, list_cap, source_of_cap;
    const struct tensor **by_name;
    struct tensor_refused *refused;
    size_t refused_count, refused_cap;
    struct tensor_source *sources;
    size_t source_count, source_cap;
    void **copies; /* data that the file holds unaligned */
    size_t copy_count, copy_cap;
    void *block; /* expanded data */
    size_t block_bytes;
    json_t *metadata;
    char *path; /* as given to the opener, for messages */
    struct arena text;
    pthread_mutex_t hash_lock; /* guards hash */
    char hash[65];
};

struct tensors *tensors_new(const char *path);
/* takes map */
int tensors_add_source(struct tensors *t, const char *path, struct file_map map);
/* x->name is copied. Data that is not aligned to its element is copied too. */
int tensors_add(struct tensors *t, int source, const struct tensor *x, struct err *err);
int tensors_refuse(struct tensors *t, int source, const char *name, const char *reason,
                   struct err *err);
int tensors_seal(struct tensors *t, struct err *err);
const struct tensor_refused *tensors_find_refused(const struct tensors *t, const char *name);

size_t tensor_type_size(enum tensor_type type);
const char *tensor_type_name(enum tensor_type type); /* as safetensors writes it */

/* Parse a safetensors image and add its tensors, whose data then lies in `image`. weight_map: the
 * index's (only tensors that it places into `file` are taken), or NULL. */
int safetensors_parse(struct tensors *t, int source, struct str image, const json_t *weight_map,
                      const char *file, struct err *err);
/* tensors_open for a path that is not a GGUF file */
int safetensors_open(const char *path, struct tensors **ret, struct err *err);

#endif
