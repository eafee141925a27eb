/* A safetensors image: whatever is accepted must be readable to its last byte. */
#include "weights/tensors_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct err err;
    struct tensors *t = tensors_new("fuzz");
    tensors_add_source(t, "fuzz", (struct file_map){0});
    int rc = safetensors_parse(t, 0, (struct str){(const char *)data, n}, NULL, NULL, &err);
    if (!rc) rc = tensors_seal(t, &err);
    unsigned sum = 0;
    for (int64_t i = 0; !rc && i < tensors_count(t); i++) {
        const struct tensor *x = tensors_at(t, i);
        for (size_t k = 0; k < x->bytes; k++) sum += ((const unsigned char *)x->data)[k];
        if (!tensors_find(t, x->name)) abort();
    }
    volatile unsigned sink = sum; /* the reads must happen */
    (void)sink;
    tensors_close(t);
    return 0;
}
