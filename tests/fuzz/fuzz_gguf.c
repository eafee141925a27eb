/* A GGUF image: metadata through the getters, configuration, and the weights expanded. */
#include "base/mem.h"
#include "weights/gguf_int.h"

static void read_values(const struct gguf *g) {
    struct err err;
    struct str s;
    int64_t whole;
    double number;
    for (size_t i = 0; i < g->value_count; i++) {
        const struct gguf_value *v = &g->values[i];
        char *key = mem_strndup(v->key.p, v->key.n);
        gguf_get_str(g, key, &s, &err);
        gguf_get_i64(g, key, &whole, &err);
        gguf_get_double(g, key, &number, &err);
        int64_t last = gguf_array_count(g, key) - 1;
        if (last >= 0 && gguf_array_str(g, key, last, &s, &err) == 0 && s.n)
            s.n += (unsigned char)s.p[s.n - 1];
        if (last >= 0) gguf_array_i64(g, key, last, &whole, &err);
        if (last >= 0) gguf_array_double(g, key, last, &number, &err);
        mem_free(key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct err err;
    struct gguf *g = NULL;
    struct tensors *t = NULL;
    struct model_config c;
    if (gguf_parse((struct str){(const char *)data, n}, "fuzz", &g, &err) != 0) return 0;
    read_values(g);
    gguf_config(g, &c, &err);
    if (gguf_tensors(g, n % 2 ? TENSOR_F32 : TENSOR_BF16, &t, &err) == 0) tensors_close(t);
    gguf_close(g);
    return 0;
}
