/* What leaves the trainer: exports that are checked, and models trained whole. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/model_int.h"
#include "train/export.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BASE "tests/fixtures/train/llama"
#define ADAPTER BASE "/adapter"

static struct num *numerics(void) {
    return num_new(&(struct num_options){.threads = 1, .compute = NUM_F32, .isa = num_isa_best()});
}

static void a_copied_adapter_is_the_same(void **state) {
    (void)state;
    struct num *num = numerics();
    struct export_check c;
    struct err err;
    char *out = path_join(unit_dir(), "export-peft");
    if (export_peft(num, BASE, ADAPTER, out, &c, &err)) fail_msg("%s", err.msg);
    assert_true(c.logit_difference == 0);
    assert_int_equal(c.tokens_equal, c.tokens);
    assert_int_equal(export_peft(num, BASE, ADAPTER, out, &c, &err), ERR_CONFLICT);
    mem_free(out);
    num_free(num);
}

static json_t *read_config(const char *dir) {
    struct err err;
    json_t *config = NULL;
    char *path = path_join(dir, "adapter_config.json");
    if (json_read_file(path, 1 << 20, &config, &err)) fail_msg("%s", err.msg);
    mem_free(path);
    return config;
}

/* An adapter without a named base over q_proj of one layer, chosen by a pattern. */
static char *write_partial_adapter(const struct model_config *c, int64_t layer) {
    static const char config[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":2,"
                                 "\"target_modules\":\".*q_proj\"}";
    struct err err;
    int64_t out = c->heads * c->head_dim;
    float *ones = mem_zalloc((size_t)(2 * (c->dim + out)), sizeof *ones);
    for (int64_t i = 0; i < 2 * (c->dim + out); i++) ones[i] = 0.125f;
    char names[2][120], *dir = path_join(unit_dir(), "partial");
    char *file = path_join(dir, "adapter_model.safetensors"),
         *json = path_join(dir, "adapter_config.json");
    for (int f = 0; f < 2; f++)
        lora_tensor_name(names[f], sizeof names[f], layer, LIN_Q, f ? 'B' : 'A');
    const struct tensor_out list[2] = {{names[0], TENSOR_F32, 2, {2, c->dim}, ones},
                                       {names[1], TENSOR_F32, 2, {out, 2}, ones}};
    assert_int_equal(dir_make(dir, &err), 0);
    assert_int_equal(file_write_atomic(json, str_of(config), &err), 0);
    assert_int_equal(safetensors_write(file, list, 2, NULL, &err), 0);
    mem_free(json);
    mem_free(file);
    mem_free(ones);
    return dir;
}

static void layers_that_differ_are_named_one_by_one(void **state) {
    (void)state;
    struct num *num = numerics();
    struct export_check c;
    struct err err;
    struct model *m;
    char *out = path_join(unit_dir(), "partial-peft");
    if (model_open(BASE, &(struct model_options){0}, &m, &err)) fail_msg("%s", err.msg);
    char *from = write_partial_adapter(model_config(m), 1);
    if (export_peft(num, BASE, from, out, &c, &err)) fail_msg("%s", err.msg);
    json_t *config = read_config(out), *targets = json_object_get(config, "target_modules");
    assert_int_equal(json_array_size(targets), 1);
    assert_string_equal(json_string_value(json_array_get(targets, 0)),
                        "model.layers.1.self_attn.q_proj");
    assert_string_equal(json_string_value(json_object_get(config, "base_model_name_or_path")),
                        BASE);
    json_decref(config);
    model_close(m);
    mem_free(from);
    mem_free(out);
    num_free(num);
}

static void a_merged_model_answers_as_base_and_adapter(void **state) {
    (void)state;
    static const struct {
        const char *adapter, *name;
        enum num_type type;
        double most;
    } cases[] = {{ADAPTER, "merged-f32", NUM_F32, 1e-5},
                 {ADAPTER, "merged-bf16", NUM_BF16, 5e-2},
                 {NULL, "base-f32", NUM_F32, 0}};
    struct num *num = numerics();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct export_check c;
        struct err err;
        char *out = path_join(unit_dir(), cases[i].name);
        if (export_merged(num, BASE, cases[i].adapter, cases[i].type, out, &c, &err))
            fail_msg("%s", err.msg);
        assert_true(c.logit_difference <= cases[i].most);
        if (cases[i].type == NUM_F32) assert_int_equal(c.tokens_equal, c.tokens);
        mem_free(out);
    }
    num_free(num);
}

static void nothing_is_left_of_a_failed_export(void **state) {
    (void)state;
    struct num *num = numerics();
    struct export_check c;
    struct err err;
    char *out = path_join(unit_dir(), "export-failed");
    assert_true(export_peft(num, BASE, BASE, out, &c, &err) < 0); /* no adapter there */
    char **names;
    size_t count;
    assert_int_equal(dir_list(unit_dir(), &names, &count, &err), 0);
    for (size_t i = 0; i < count; i++) assert_null(strstr(names[i], "export-failed"));
    dir_list_free(names, count);
    mem_free(out);
    num_free(num);
}

/* --- whole models --- */

static void write_texts(const char *path) {
    struct buf b;
    struct err err;
    buf_init(&b, 1 << 16);
    for (int i = 0; i < 24; i++)
        buf_printf(&b, "{\"text\":\"the number %d comes before %d\"}\n", i, i + 1);
    assert_int_equal(file_write_atomic(path, buf_view(&b), &err), 0);
    buf_release(&b);
}

static void train_whole(const char *base, bool scratch, enum num_type dtype, const char *data,
                        const char *out, double *ret_first, double *ret_last) {
    struct train_options o = {.base = base,
                              .data = data,
                              .out = out,
                              .method = TRAIN_FULL,
                              .from_scratch = scratch,
                              .lr = 5e-3,
                              .steps = 12,
                              .batch_size = 8,
                              .warmup_steps = 2,
                              .weight_decay = -1,
                              .clip = -1,
                              .holdout = -1,
                              .threads = 1,
                              .dtype = dtype};
    struct train_result r;
    struct err err;
    if (train_run(&o, NULL, NULL, &r, &err)) fail_msg("%s", err.msg);
    *ret_first = r.first_loss;
    *ret_last = r.last_loss;
}

static void expect_tensor_types(const char *dir, enum tensor_type type) {
    struct tensors *t;
    struct err err;
    if (tensors_open(dir, &t, &err)) fail_msg("%s", err.msg);
    for (int64_t i = 0; i < tensors_count(t); i++) assert_int_equal(tensors_at(t, i)->type, type);
    tensors_close(t);
}

static void a_model_is_trained_from_nothing_and_further(void **state) {
    (void)state;
    char *data = path_join(unit_dir(), "texts.jsonl"), *first = path_join(unit_dir(), "scratch"),
         *second = path_join(unit_dir(), "further");
    double from, to, again, end;
    write_texts(data);
    train_whole(BASE, true, NUM_F32, data, first, &from, &to);
    assert_true(fabs(from - log(260)) < 1.5); /* random weights know nothing */
    assert_true(to < 0.8 * from);
    expect_tensor_types(first, TENSOR_F32);
    train_whole(first, false, NUM_BF16, data, second, &again, &end);
    assert_true(fabs(again - to) < 0.5); /* goes on where it was */
    assert_true(end < again);
    expect_tensor_types(second, TENSOR_BF16);
    struct model *m;
    struct err err;
    if (model_open(second, &(struct model_options){0}, &m, &err)) fail_msg("%s", err.msg);
    model_close(m);
    mem_free(data);
    mem_free(first);
    mem_free(second);
}

UNIT_TESTS(train_export, cmocka_unit_test(a_copied_adapter_is_the_same),
           cmocka_unit_test(layers_that_differ_are_named_one_by_one),
           cmocka_unit_test(a_merged_model_answers_as_base_and_adapter),
           cmocka_unit_test(nothing_is_left_of_a_failed_export),
           cmocka_unit_test(a_model_is_trained_from_nothing_and_further))
