/* GGUF v3, reading. Metadata and tensor table are checked against the file before use; tensor
 * blocks are expanded to F32 or BF16 on open, llama's q/k rows put back into Hugging Face's rotary
 * order, names translated to Hugging Face's, so that what follows sees an ordinary tensor set. */
#ifndef WEIGHTS_GGUF_H
#define WEIGHTS_GGUF_H

#include "weights/config.h"
#include "weights/tensors.h"

struct gguf;
int gguf_open(const char *path, struct gguf **ret, struct err *err); /* metadata only: cheap */
void gguf_close(struct gguf *g);
bool gguf_is(const char *path); /* a regular file that begins with the magic */

/* Metadata by key. get_*: absent leaves *ret; wrong type is an error naming file and key. */
int gguf_get_str(const struct gguf *g, const char *key, struct str *ret, struct err *err);
int gguf_get_i64(const struct gguf *g, const char *key, int64_t *ret, struct err *err);
int gguf_get_double(const struct gguf *g, const char *key, double *ret, struct err *err);
int gguf_get_bool(const struct gguf *g, const char *key, bool *ret, struct err *err);
/* Arrays: count, then elements (borrowed from the file). */
int64_t gguf_array_count(const struct gguf *g, const char *key); /* -1: absent or no array */
int gguf_array_str(const struct gguf *g, const char *key, int64_t i, struct str *ret,
                   struct err *err);
int gguf_array_i64(const struct gguf *g, const char *key, int64_t i, int64_t *ret, struct err *err);
int gguf_array_double(const struct gguf *g, const char *key, int64_t i, double *ret,
                      struct err *err);

int gguf_config(const struct gguf *g, struct model_config *ret, struct err *err);
/* Expanded tensors under Hugging Face's names; type TENSOR_F32 or TENSOR_BF16 (norms always F32).
 * The set is independent of g afterwards. */
int gguf_tensors(const struct gguf *g, enum tensor_type type, struct tensors **ret,
                 struct err *err);

#endif
