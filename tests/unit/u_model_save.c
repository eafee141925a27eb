/* Writing model directories. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/model_int.h"
#include "model/save.h"

#include <string.h>

#define LLAMA "tests/fixtures/models/llama"

static struct model *open_model(const char *path) {
    struct err err;
    struct model *m = NULL;
    if (model_open(path, &(struct model_options){.weights_only = true}, &m, &err))
        fail_msg("%s", err.msg);
    return m;
}

static void widen(const struct tensor *t, enum num_type through, float **ret, int64_t *ret_n) {
    *ret_n = 1;
    for (int i = 0; i < t->dims; i++) *ret_n *= t->shape[i];
    void *narrow = mem_zalloc((size_t)*ret_n, sizeof(float));
    *ret = mem_zalloc((size_t)*ret_n, sizeof(float));
    num_widen(*ret, t->data, (enum num_type)t->type, *ret_n);
    num_narrow(narrow, through, *ret, *ret_n);
    num_widen(*ret, narrow, through, *ret_n);
    mem_free(narrow);
}

static void a_saved_model_has_the_weights_in_the_type_asked_for(void **state) {
    (void)state;
    static const enum tensor_type types[] = {TENSOR_F32, TENSOR_BF16, TENSOR_F16};
    struct model *m = open_model(LLAMA);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        struct err err;
        char *dir = path_join(unit_dir(), (const char *[]){"f32", "bf16", "f16"}[k]);
        if (model_save(m, types[k], NULL, 0, dir, &err)) fail_msg("%s", err.msg);
        struct model *again = open_model(dir);
        for (int64_t i = 0; i < tensors_count(m->tensors); i++) {
            const struct tensor *t = tensors_at(m->tensors, i),
                                *got = tensors_find(again->tensors, t->name);
            float *x, *y;
            int64_t n, count;
            assert_int_equal(got->type, types[k]);
            widen(t, (enum num_type)types[k], &x, &n);
            widen(got, NUM_F32, &y, &count);
            assert_int_equal(n, count);
            assert_memory_equal(x, y, (size_t)n * sizeof *x);
            mem_free(x);
            mem_free(y);
        }
        model_close(again);
        mem_free(dir);
    }
    model_close(m);
}

UNIT_TESTS(model_save, cmocka_unit_test(a_saved_model_has_the_weights_in_the_type_asked_for))
