#include "unit.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "weights/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A safetensors image on disk from a header and a number of data bytes; returns its path. */
static char *image(const char *name, const char *header, size_t data_bytes) {
    struct buf b;
    buf_init(&b, 1 << 26);
    uint64_t n = strlen(header);
    for (int i = 0; i < 8; i++) buf_byte(&b, (char)(n >> 8 * i));
    buf_z(&b, header);
    for (size_t i = 0; i < data_bytes; i++) buf_byte(&b, (char)i);
    char *path = path_join(unit_dir(), name);
    FILE *f = fopen(path, "wb"); /* file_write_atomic would sync each of the many */
    assert_non_null(f);
    assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
    assert_int_equal(fclose(f), 0);
    buf_release(&b);
    return path;
}

static void reads_types_shapes_and_scalars_in_place(void **state) {
    (void)state;
    struct err err;
    char *path = image("types.safetensors",
                       "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                       "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]},"
                       "\"c\":{\"dtype\":\"F16\",\"shape\":[1,3],\"data_offsets\":[10,16]},"
                       "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[16,16]},"
                       "\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[16,24]}}  ",
                       24);
    struct tensors *t = NULL;
    struct tensor x;
    assert_int_equal(tensors_open(path, &t, &err), 0);
    assert_int_equal(tensors_count(t), 4);
    assert_int_equal(tensors_get(t, "a", 2, (int64_t[]){2, 1}, &x, &err), 0);
    assert_int_equal(x.type, TENSOR_F32);
    assert_int_equal(x.bytes, 8);
    assert_int_equal(((const unsigned char *)x.data)[5], 5);
    assert_int_equal(tensors_get(t, "b", 0, NULL, &x, &err), 0);
    assert_int_equal(x.type, TENSOR_BF16);
    assert_int_equal(tensors_get(t, "c", 2, (int64_t[]){1, 3}, &x, &err), 0);
    assert_int_equal(x.type, TENSOR_F16);
    assert_int_equal(tensors_find(t, "none")->bytes, 0);
    assert_null(tensors_find(t, "ids"));
    tensors_close(t);
    mem_free(path);
}

static void says_what_is_wrong_when_a_tensor_is_asked_for(void **state) {
    (void)state;
    struct err err;
    char *path =
        image("ask.safetensors",
              "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
              "\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]},"
              "\"odd\":{\"dtype\":\"X9\",\"shape\":[1],\"data_offsets\":[16,17]},"
              "\"deep\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1],\"data_offsets\":[17,19]}}",
              19);
    struct tensors *t = NULL;
    struct tensor x;
    assert_int_equal(tensors_open(path, &t, &err), 0);
    assert_int_equal(tensors_get(t, "a", 2, (int64_t[]){1, 2}, &x, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "ask.safetensors\": tensor \"a\" has shape [2, 1], the "
                                    "configuration asks for [1, 2]"));
    assert_int_equal(tensors_get(t, "a", 1, (int64_t[]){2}, &x, &err), ERR_INVALID);
    assert_int_equal(tensors_get(t, "b", 0, NULL, &x, &err), ERR_NOT_FOUND);
    assert_int_equal(tensors_get(t, "ids", 1, (int64_t[]){1}, &x, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "tensor \"ids\" has type I64"));
    assert_int_equal(tensors_get(t, "odd", 1, (int64_t[]){1}, &x, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "X9"));
    assert_int_equal(tensors_get(t, "deep", 1, (int64_t[]){1}, &x, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "5 dimensions"));
    tensors_close(t);
    mem_free(path);
}

#define A(rest) "{\"a\":{\"dtype\":\"F32\"," rest "}}"
static void refuses_every_header_that_does_not_fit_the_file(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } cases[] = {
        {A("\"shape\":[2],\"data_offsets\":[0,8]"), 7, "offset 62; the file may be cut short"},
        {A("\"shape\":[2],\"data_offsets\":[0,8]"), 9, "take 8 bytes of the 9"},
        {A("\"shape\":[2],\"data_offsets\":[4,12]"), 12, "begins at data offset 4"},
        {A("\"shape\":[3],\"data_offsets\":[0,8]"), 8, "3 elements of F32 do not fill the 8 bytes"},
        {A("\"shape\":[2],\"data_offsets\":[8,0]"), 8, "[8, 0)"},
        {A("\"shape\":[2],\"data_offsets\":[-8,0]"), 8, "[-8, 0)"},
        {A("\"shape\":[2],\"data_offsets\":[0]"), 8, "two whole numbers"},
        {A("\"shape\":[2],\"data_offsets\":[0,8.5]"), 8, "two whole numbers"},
        {A("\"shape\":[2]"), 8, "two whole numbers"},
        {A("\"shape\":2,\"data_offsets\":[0,8]"), 8, "\"shape\" must be an array"},
        {A("\"shape\":[-2],\"data_offsets\":[0,8]"), 8, "must hold whole numbers"},
        {A("\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,8]"), 8, "fits 64 bits"},
        {A("\"shape\":[4611686018427387905],\"data_offsets\":[0,8]"), 8, "do not fill"},
        {"{\"a\":3}", 0, "its entry is no object"},
        {"{\"__metadata__\":{\"format\":1}}", 0, "object of strings"},
        {"{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,4]}}", 4,
         "\"dtype\" must be a string"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "NUL"},
        {"[]", 0, "no JSON object"},
        {"{\"a\":", 0, "header at offset 8: "},
        {"{\"a\":{},\"a\":{}}", 0, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "\"b\" begins at data offset 4, the one before it ends at 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        struct tensors *t = NULL;
        char *path = image("bad.safetensors", cases[i].header, cases[i].data);
        int rc = tensors_open(path, &t, &err);
        if (rc >= 0 || !strstr(err.msg, cases[i].says))
            print_error("%s: %d %s\n", cases[i].says, rc, err.msg);
        assert_true(rc < 0);
        assert_non_null(strstr(err.msg, cases[i].says));
        assert_non_null(strstr(err.msg, "bad.safetensors"));
        mem_free(path);
    }
}

static void refuses_lengths_beyond_the_file(void **state) {
    (void)state;
    static const char *const raw[] = {"", "\2\0\0\0\0\0\0", "\3\0\0\0\0\0\0\0{}",
                                      "\377\377\377\377\377\377\377\377{}",
                                      "\0\341\365\5\0\0\0\0{}"};
    static const size_t sizes[] = {0, 7, 10, 10, 10};
    for (size_t i = 0; i < 5; i++) {
        struct err err;
        struct tensors *t = NULL;
        char *path = path_join(unit_dir(), "short.safetensors");
        assert_int_equal(file_write_atomic(path, (struct str){raw[i], sizes[i]}, &err), 0);
        assert_int_equal(tensors_open(path, &t, &err), ERR_CORRUPT);
        mem_free(path);
    }
}

static void copies_data_that_is_not_aligned(void **state) {
    (void)state;
    struct err err;
    for (int pad = 0; pad < 4; pad++) {
        char header[120];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}%*s", pad, "");
        char *path = image("odd.safetensors", header, 8);
        struct tensors *t = NULL;
        assert_int_equal(tensors_open(path, &t, &err), 0);
        const struct tensor *x = tensors_find(t, "a");
        assert_int_equal((uintptr_t)x->data % 4, 0);
        for (int i = 0; i < 8; i++) assert_int_equal(((const unsigned char *)x->data)[i], i);
        tensors_close(t);
        mem_free(path);
    }
}

/* --- writing -------------------------------------------------------------------------------------
 */

static const float values[6] = {1, 2, 3, 4, 5, 6};
static const uint16_t halves[3] = {7, 8, 9};
static const struct tensor_out written[] = {
    {"half", TENSOR_BF16, 1, {3}, halves},
    {"model.full", TENSOR_F32, 2, {2, 3}, values},
    {"tail \"quoted\"", TENSOR_F16, 1, {3}, halves},
};

static void check_written(const struct tensors *t) {
    struct err err;
    struct tensor x;
    assert_int_equal(tensors_count(t), 3);
    assert_int_equal(tensors_get(t, "model.full", 2, (int64_t[]){2, 3}, &x, &err), 0);
    assert_memory_equal(x.data, values, sizeof values);
    assert_int_equal(tensors_get(t, "half", 1, (int64_t[]){3}, &x, &err), 0);
    assert_int_equal(x.type, TENSOR_BF16);
    assert_memory_equal(x.data, halves, sizeof halves);
    assert_int_equal(tensors_get(t, "tail \"quoted\"", 1, (int64_t[]){3}, &x, &err), 0);
    assert_int_equal(x.type, TENSOR_F16);
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    struct err err;
    char *path = path_join(unit_dir(), "back.safetensors");
    json_t *meta = json_pack("{s:s}", "base", "x");
    struct tensors *t = NULL;
    assert_int_equal(safetensors_write(path, written, 3, meta, &err), 0);
    assert_int_equal(tensors_open(path, &t, &err), 0);
    check_written(t);
    assert_string_equal(json_string_value(json_object_get(tensors_metadata(t), "format")), "pt");
    assert_string_equal(json_string_value(json_object_get(tensors_metadata(t), "base")), "x");
    for (int64_t i = 0; i < 3; i++) /* aligned in the file, so nothing was copied */
        assert_int_equal(
            (uintptr_t)tensors_at(t, i)->data % (tensors_at(t, i)->type == TENSOR_F32 ? 4 : 2), 0);
    tensors_close(t);
    json_decref(meta);
    mem_free(path);
}

static void hash_and_content_do_not_depend_on_sharding(void **state) {
    (void)state;
    struct err err;
    char first[65] = "", hex[65];
    static const int64_t limits[] = {1 << 20, 30, 1};
    static const size_t files[] = {1, 3, 4};
    char *dir = path_join(unit_dir(), "sharded");
    for (int i = 0; i < 3; i++) {
        struct tensors *t = NULL;
        char **names;
        size_t count;
        assert_int_equal(dir_remove_all(dir, &err), 0);
        assert_int_equal(safetensors_write_dir(dir, written, 3, limits[i], &err), 0);
        assert_int_equal(dir_list(dir, &names, &count, &err), 0);
        assert_int_equal(count, files[i]);
        dir_list_free(names, count);
        assert_int_equal(tensors_open(dir, &t, &err), 0);
        check_written(t);
        assert_int_equal(tensors_hash(t, hex, &err), 0);
        assert_int_equal(strlen(hex), 64);
        if (!i) memcpy(first, hex, sizeof first);
        assert_string_equal(hex, first);
        tensors_close(t);
    }
    mem_free(dir);
}

static void a_new_form_replaces_the_old_one(void **state) {
    (void)state;
    struct err err;
    char *dir = path_join(unit_dir(), "forms");
    struct tensors *t = NULL;
    assert_int_equal(safetensors_write_dir(dir, written, 1, 100, &err), 0);
    assert_int_equal(safetensors_write_dir(dir, written, 3, 1, &err), 0);
    assert_int_equal(tensors_open(dir, &t, &err), 0);
    assert_int_equal(tensors_count(t), 3);
    tensors_close(t);
    assert_int_equal(safetensors_write_dir(dir, written, 2, 100, &err), 0);
    assert_int_equal(tensors_open(dir, &t, &err), 0);
    assert_int_equal(tensors_count(t), 2);
    tensors_close(t);
    mem_free(dir);
}

static void index_errors_name_the_file_and_tensor(void **state) {
    (void)state;
    static const struct {
        const char *index, *says;
    } cases[] = {
        {"{}", "\"weight_map\" must be an object"},
        {"{\"weight_map\":{\"half\":\"../x.safetensors\"}}", "no plain file name"},
        {"{\"weight_map\":{\"half\":7}}", "no plain file name"},
        {"{\"weight_map\":{\"half\":\"gone.safetensors\"}}", "names a file that is missing"},
        {"{\"weight_map\":{\"other\":\"s.safetensors\"}}",
         "tensor \"other\" is not in \"s.safetensors\""},
    };
    struct err err;
    char *dir = path_join(unit_dir(), "index"), *shard = path_join(dir, "s.safetensors");
    char *index = path_join(dir, "model.safetensors.index.json");
    assert_int_equal(dir_make(dir, &err), 0);
    assert_int_equal(safetensors_write(shard, written, 2, NULL, &err), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensors *t = NULL;
        assert_int_equal(file_write_atomic(index, str_of(cases[i].index), &err), 0);
        assert_true(tensors_open(dir, &t, &err) < 0);
        assert_non_null(strstr(err.msg, cases[i].says));
    }
    mem_free(index);
    mem_free(shard);
    mem_free(dir);
}

/* hundreds of thousands of tensors of a type that is not read, and one that is missing */
static void a_missing_name_is_found_among_many_refused(void **state) {
    (void)state;
    enum { MANY = 100000 };
    struct err err;
    struct buf header, index;
    char *dir = path_join(unit_dir(), "many");
    buf_init(&header, 1 << 26);
    buf_init(&index, 1 << 26);
    for (int i = 0; i < MANY; i++) {
        buf_printf(&header, "%c\"%d\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                   i ? ',' : '{', i);
        buf_printf(&index, "%s\"%d\":\"s\"", i ? "," : "{\"weight_map\":{", i);
    }
    buf_z(&header, "}");
    buf_z(&index, ",\"gone\":\"s\"}}");
    assert_int_equal(dir_make(dir, &err), 0);
    mem_free(image("many/s", header.p, 0));
    char *path = path_join(dir, "model.safetensors.index.json");
    assert_int_equal(file_write_atomic(path, buf_view(&index), &err), 0);
    struct tensors *t = NULL;
    clock_t start = clock();
    assert_int_equal(tensors_open(dir, &t, &err), ERR_CORRUPT);
    assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
    assert_non_null(strstr(err.msg, "tensor \"gone\" is not in \"s\""));
    mem_free(path);
    mem_free(dir);
    buf_release(&index);
    buf_release(&header);
}

static void the_shared_model_opens(void **state) {
    (void)state;
    struct err err;
    struct tensors *t = NULL;
    struct tensor x;
    const char *shared = getenv("ATTUNE_SHARED");
    char *dir = path_join(shared ? shared : "../shared", "data/models/tinystories-656k");
    if (!dir_exists(dir)) {
        print_message("skipped: no %s\n", dir);
        mem_free(dir);
        skip();
    }
    assert_int_equal(tensors_open(dir, &t, &err), 0);
    assert_int_equal(
        tensors_get(t, "model.embed_tokens.weight", 2, (int64_t[]){2048, 128}, &x, &err), 0);
    tensors_close(t);
    mem_free(dir);
}

UNIT_TESTS(weights_safetensors, cmocka_unit_test(reads_types_shapes_and_scalars_in_place),
           cmocka_unit_test(says_what_is_wrong_when_a_tensor_is_asked_for),
           cmocka_unit_test(refuses_every_header_that_does_not_fit_the_file),
           cmocka_unit_test(refuses_lengths_beyond_the_file),
           cmocka_unit_test(copies_data_that_is_not_aligned),
           cmocka_unit_test(what_is_written_is_read_back),
           cmocka_unit_test(hash_and_content_do_not_depend_on_sharding),
           cmocka_unit_test(a_new_form_replaces_the_old_one),
           cmocka_unit_test(index_errors_name_the_file_and_tensor),
           cmocka_unit_test(a_missing_name_is_found_among_many_refused),
           cmocka_unit_test(the_shared_model_opens))
