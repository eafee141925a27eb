#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "weights/gguf_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXTURES "tests/fixtures/weights/"
#define BLOCK_TYPES 12 /* in types.gguf */

static struct tensors *open_gguf(const char *path, enum tensor_type type) {
    struct err err = {0};
    struct gguf *g = NULL;
    struct tensors *t = NULL;
    if (gguf_open(path, &g, &err) || gguf_tensors(g, type, &t, &err)) print_error("%s\n", err.msg);
    assert_non_null(t);
    gguf_close(g);
    return t;
}

static void every_block_type_expands_to_the_reference_bits(void **state) {
    (void)state;
    struct err err;
    struct tensors *f32 = open_gguf(FIXTURES "types.gguf", TENSOR_F32);
    struct tensors *bf16 = open_gguf(FIXTURES "types.gguf", TENSOR_BF16), *want = NULL;
    assert_int_equal(tensors_open(FIXTURES "types.safetensors", &want, &err), 0);
    for (int i = 0; i < BLOCK_TYPES; i++) {
        char name[64], half[32];
        struct tensor got, ref;
        const int64_t shape[] = {3, 512};
        snprintf(name, sizeof name, "model.layers.%d.mlp.up_proj.weight", i);
        snprintf(half, sizeof half, "bf16.%d", i);
        assert_int_equal(tensors_get(f32, name, 2, shape, &got, &err), 0);
        assert_int_equal(tensors_get(want, name, 2, shape, &ref, &err), 0);
        assert_int_equal(got.type, TENSOR_F32);
        if (memcmp(got.data, ref.data, ref.bytes) != 0) print_error("type %d differs\n", i);
        assert_memory_equal(got.data, ref.data, ref.bytes);
        assert_int_equal(tensors_get(bf16, name, 2, shape, &got, &err), 0);
        assert_int_equal(tensors_get(want, half, 2, shape, &ref, &err), 0);
        assert_int_equal(got.type, TENSOR_BF16);
        assert_memory_equal(got.data, ref.data, ref.bytes);
    }
    tensors_close(f32);
    tensors_close(bf16);
    tensors_close(want);
}

static void llama_gets_its_names_and_row_order_back(void **state) {
    (void)state;
    struct err err;
    struct tensors *t = open_gguf(FIXTURES "llama.gguf", TENSOR_F32), *want = NULL;
    assert_int_equal(tensors_open(FIXTURES "llama.safetensors", &want, &err), 0);
    assert_int_equal(tensors_count(t), tensors_count(want));
    for (int64_t i = 0; i < tensors_count(want); i++) {
        const struct tensor *ref = tensors_at(want, i);
        struct tensor got;
        assert_int_equal(tensors_get(t, ref->name, ref->dims, ref->shape, &got, &err), 0);
        assert_memory_equal(got.data, ref->data, ref->bytes);
    }
    tensors_close(t);
    tensors_close(want);
}

static void metadata_gives_the_configuration(void **state) {
    (void)state;
    struct err err = {0};
    struct gguf *g = NULL;
    struct model_config c;
    assert_int_equal(gguf_open(FIXTURES "llama.gguf", &g, &err), 0);
    int rc = gguf_config(g, &c, &err);
    if (rc) print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    assert_string_equal(c.family, "llama");
    const int64_t got[] = {c.dim,      c.layers, c.heads, c.kv_heads,
                           c.head_dim, c.ff,     c.vocab, c.max_position};
    const int64_t want[] = {32, 2, 4, 2, 8, 48, 40, 131072};
    assert_memory_equal(got, want, sizeof want);
    assert_true(c.norm_eps == 1e-5); /* not the nearest F32 */
    assert_int_equal(c.rope.kind, ROPE_LLAMA3);
    assert_true(c.rope.theta == 500000 && c.rope.factor == 8);
    assert_int_equal(c.rope.original_max_position, 8192);
    assert_false(c.tied_head);
    assert_false(c.qkv_bias);
    assert_int_equal(c.bos, 1);
    assert_int_equal(c.eos, 2);
    assert_int_equal(c.stop_count, 2);
    assert_int_equal(c.stops[1], 7);
    gguf_close(g);
}

static void getters_check_kind_and_range(void **state) {
    (void)state;
    struct err err;
    struct gguf *g = NULL;
    struct str s = {"kept", 4};
    int64_t n = -5;
    double d = 0;
    bool flag = true;
    assert_true(gguf_is(FIXTURES "llama.gguf"));
    assert_false(gguf_is(FIXTURES "llama.safetensors"));
    assert_false(gguf_is(FIXTURES));
    assert_int_equal(gguf_open(FIXTURES "llama.gguf", &g, &err), 0);
    assert_int_equal(gguf_get_str(g, "absent", &s, &err), 0);
    assert_true(str_is(s, "kept"));
    assert_int_equal(gguf_get_str(g, "general.architecture", &s, &err), 0);
    assert_true(str_is(s, "llama"));
    assert_int_equal(gguf_get_i64(g, "llama.block_count", &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(gguf_get_i64(g, "general.architecture", &n, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "llama.gguf"));
    assert_non_null(strstr(err.msg, "general.architecture"));
    assert_int_equal(gguf_get_bool(g, "llama.block_count", &flag, &err), ERR_INVALID);
    assert_int_equal(gguf_get_double(g, "llama.block_count", &d, &err), 0);
    assert_true(d == 2);
    assert_int_equal(gguf_array_count(g, "tokenizer.ggml.tokens"), 40);
    assert_int_equal(gguf_array_count(g, "llama.block_count"), -1);
    assert_int_equal(gguf_array_str(g, "tokenizer.ggml.tokens", 39, &s, &err), 0);
    assert_true(str_is(s, "t39"));
    assert_int_equal(gguf_array_str(g, "tokenizer.ggml.tokens", 40, &s, &err), ERR_INVALID);
    assert_int_equal(gguf_array_double(g, "tokenizer.ggml.scores", 3, &d, &err), 0);
    assert_true(d == -1.5);
    assert_int_equal(gguf_array_i64(g, "tokenizer.ggml.scores", 3, &n, &err), ERR_INVALID);
    gguf_close(g);
}

/* The image is a copy of its exact size, so that the address sanitizer sees a read past its end. */
static void every_cut_is_an_error(void **state) {
    (void)state;
    struct err err;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(file_read(FIXTURES "llama.gguf", &b, &err), 0);
    for (size_t n = 0; n < b.n; n += n < 6000 ? 1 : 997) {
        struct gguf *g = NULL;
        char *image = mem_alloc(n);
        if (n) memcpy(image, b.p, n);
        assert_int_equal(gguf_parse((struct str){image, n}, "cut.gguf", &g, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.msg, "cut.gguf"));
        mem_free(image);
    }
    buf_release(&b);
}

static void headers_that_lie_are_named(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } cases[] = {
        {"GGML\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "no GGUF file"},
        {"GGUF\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "version 1"},
        {"GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "big-endian"},
        {"GGUF\3\0\0\0\377\377\377\377\377\377\377\377\0\0\0\0\0\0\0\0", 24, "do not fit"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377kkkk\0\0\0\0"
         "\0\0",
         42, "past the end"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0k\15\0\0\0\0\0\0\0", 41,
         "unknown type"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0k\11\0\0\0\11\0\0\0\1\0\0\0\0"
         "\0\0\0",
         49, "array of arrays"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0k\11\0\0\0\12\0\0\0"
         "\0\0\0\0\0\0\0\40",
         49, "past the end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        struct gguf *g = NULL;
        struct str image = {cases[i].bytes, cases[i].n};
        assert_true(gguf_parse(image, "lie.gguf", &g, &err) < 0);
        if (!strstr(err.msg, cases[i].says)) print_error("%s: %s\n", cases[i].says, err.msg);
        assert_non_null(strstr(err.msg, cases[i].says));
    }
}

/* A GGUF of F32 vectors of 8 elements, each at its offset in the data. */
static void put_vectors(struct buf *b, int count, const int *offsets) {
    static const char zeros[96];
    buf_init(b, 1 << 20);
    buf_add(b, "GGUF\3\0\0", 8);
    buf_add(b, (const char[16]){(char)count}, 16);
    for (int i = 0; i < count; i++) {
        buf_add(b, (const char[8]){2}, 8);
        buf_printf(b, "t%d", i);
        buf_add(b, (const char[16]){1, 0, 0, 0, 8}, 16);
        buf_byte(b, (char)offsets[i]);
        buf_add(b, zeros, 7);
    }
    buf_add(b, zeros, (32 - b->n % 32) % 32);
    buf_add(b, zeros, sizeof zeros);
}

static void tensors_that_share_data_are_refused(void **state) {
    (void)state;
    static const struct {
        int offsets[3];
        bool apart;
    } cases[] = {
        {{0, 32, 64}, true}, {{64, 0, 32}, true}, {{0, 32, 32}, false}, {{32, 64, 32}, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        struct gguf *g = NULL;
        struct buf b;
        put_vectors(&b, 3, cases[i].offsets);
        int rc = gguf_parse(buf_view(&b), "shared.gguf", &g, &err);
        assert_int_equal(rc, cases[i].apart ? 0 : ERR_CORRUPT);
        if (rc) assert_non_null(strstr(err.msg, "\"shared.gguf\": tensors \"t"));
        gguf_close(g);
        buf_release(&b);
    }
}

/* under a budget that would let it pass */
static void weights_larger_than_free_memory_are_refused(void **state) {
    (void)state;
    struct err err;
    struct gguf *g = NULL;
    struct tensors *t = NULL;
    assert_int_equal(gguf_open(FIXTURES "llama.gguf", &g, &err), 0);
    g->tensors[0].elements = mem_physical();
    mem_budget_set(SIZE_MAX / 2);
    assert_int_equal(gguf_tensors(g, TENSOR_F32, &t, &err), ERR_LIMIT);
    mem_budget_set(0);
    assert_non_null(strstr(err.msg, "llama.gguf\": its weights expand to"));
    gguf_close(g);
}

static double relative_difference(const struct tensor *a, const struct tensor *b) {
    const float *x = a->data, *y = b->data;
    double apart = 0, size = 0;
    for (size_t i = 0; i < a->bytes / 4; i++) {
        apart += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)y[i] * (double)y[i];
    }
    return sqrt(apart / size);
}

/* The same model in 4 bits: rounding moves a tensor by less than 10 %, rows out of place by 140 %.
 */
static void the_quantised_twin_is_near_its_f32_original(void **state) {
    (void)state;
    struct err err;
    const char *shared = getenv("ATTUNE_SHARED");
    char *models = path_join(shared ? shared : "../shared", "data/models");
    char *file = path_join(models, "tinystories-656k-gguf/tinystories-656k.gguf");
    char *dir = path_join(models, "tinystories-656k");
    if (!file_exists(file)) {
        print_message("skipped: no %s\n", file);
        mem_free(models);
        mem_free(file);
        mem_free(dir);
        skip();
    }
    struct tensors *t = open_gguf(file, TENSOR_F32), *want = NULL;
    assert_int_equal(tensors_open(dir, &want, &err), 0);
    assert_int_equal(tensors_count(t), 20);
    for (int64_t i = 0; i < tensors_count(t); i++) {
        struct tensor ref;
        const struct tensor *got = tensors_at(t, i);
        assert_int_equal(tensors_get(want, got->name, got->dims, got->shape, &ref, &err), 0);
        assert_true(relative_difference(got, &ref) < 0.1);
    }
    tensors_close(t);
    tensors_close(want);
    mem_free(models);
    mem_free(file);
    mem_free(dir);
}

UNIT_TESTS(weights_gguf, cmocka_unit_test(every_block_type_expands_to_the_reference_bits),
           cmocka_unit_test(llama_gets_its_names_and_row_order_back),
           cmocka_unit_test(metadata_gives_the_configuration),
           cmocka_unit_test(getters_check_kind_and_range), cmocka_unit_test(every_cut_is_an_error),
           cmocka_unit_test(headers_that_lie_are_named),
           cmocka_unit_test(tensors_that_share_data_are_refused),
           cmocka_unit_test(weights_larger_than_free_memory_are_refused),
           cmocka_unit_test(the_quantised_twin_is_near_its_f32_original))
