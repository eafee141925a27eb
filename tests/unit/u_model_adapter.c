/* PEFT directories: what is read, what is refused, what is written. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/model_int.h"
#include "weights/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LLAMA "tests/fixtures/models/llama"

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static struct model *open_model(void) {
    struct err err;
    struct model *m = NULL;
    check(model_open(LLAMA, &(struct model_options){.weights_only = true}, &m, &err), &err);
    return m;
}

static int read_config(const char *members, struct adapter_meta *ret, struct err *err) {
    char text[400];
    json_t *config = NULL;
    snprintf(text, sizeof text,
             "{\"peft_type\":\"LORA\",\"r\":4,\"target_modules\":[\"q_proj\"]%s%s}",
             members[0] ? "," : "", members);
    check(json_read(str_of(text), "test", &config, err), err);
    int rc = adapter_config_read(config, "test", ret, err);
    json_decref(config);
    return rc;
}

static void what_cannot_be_followed_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *members, *named;
    } cases[] = {
        {"\"use_dora\":true", "use_dora"},
        {"\"bias\":\"all\"", "bias"},
        {"\"fan_in_fan_out\":true", "fan_in_fan_out"},
        {"\"modules_to_save\":[\"lm_head\"]", "modules_to_save"},
        {"\"layers_to_transform\":[0,1]", "layers_to_transform"},
        {"\"rank_pattern\":{\"q_proj\":8}", "rank_pattern"},
        {"\"alpha_pattern\":{\"q_proj\":8}", "alpha_pattern"},
        {"\"init_lora_weights\":\"pissa\"", "init_lora_weights"},
    };
    static const char *const no_scale[] = {"\"lora_alpha\":0", "\"lora_alpha\":1e300",
                                           "\"lora_alpha\":1e-60"};
    struct err err;
    struct adapter_meta meta;
    check(read_config("", &meta, &err), &err);
    assert_int_equal(meta.rank, 4);
    assert_int_equal(meta.targets, 1 << LIN_Q);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_config(cases[i].members, &meta, &err), ERR_UNSUPPORTED);
        if (!strstr(err.msg, cases[i].named))
            fail_msg("%s is not named: %s", cases[i].named, err.msg);
    }
    for (size_t i = 0; i < sizeof no_scale / sizeof *no_scale; i++) {
        assert_int_equal(read_config(no_scale[i], &meta, &err), ERR_INVALID);
        assert_non_null(strstr(err.msg, "lora_alpha"));
    }
    assert_int_equal(read_config("\"use_rslora\":3", &meta, &err), ERR_INVALID);
}

static void targets_are_lists_patterns_or_all(void **state) {
    (void)state;
    static const struct {
        const char *value;
        unsigned targets;
        int rc;
    } cases[] = {
        {"[\"q_proj\",\"mlp.down_proj\"]", 1 << LIN_Q | 1 << LIN_DOWN, 0},
        {"[\"model.layers.0.self_attn.v_proj\"]", 1 << LIN_V, 0},
        {"\"all-linear\"", (1 << LIN_COUNT) - 1, 0},
        {"\".*q_proj\"", 0, 0},
        {"[\"lm_head\"]", 0, ERR_UNSUPPORTED},
        {"[\"xq_proj\"]", 0, ERR_UNSUPPORTED},
        {"[3]", 0, ERR_UNSUPPORTED},
    };
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct adapter_meta meta = {0};
        char text[200];
        json_t *config = NULL;
        snprintf(text, sizeof text, "{\"peft_type\":\"LORA\",\"target_modules\":%s}",
                 cases[i].value);
        check(json_read(str_of(text), "test", &config, &err), &err);
        assert_int_equal(adapter_config_read(config, "test", &meta, &err), cases[i].rc);
        assert_int_equal(meta.targets, cases[i].targets);
        json_decref(config);
    }
}

static void a_written_configuration_reads_back(void **state) {
    (void)state;
    struct err err;
    struct adapter_meta meta = {.rank = 16,
                                .alpha = 32.5,
                                .dropout = 0.1,
                                .rslora = true,
                                .targets = 1 << LIN_K | 1 << LIN_UP,
                                .base_path = "some/model"};
    struct adapter_meta back;
    json_t *config = NULL;
    memset(meta.hashes.weights, 'a', 64);
    memset(meta.hashes.tokenizer, 'b', 64);
    check(adapter_config_save(unit_dir(), &meta, &err), &err);
    check(adapter_config_load(unit_dir(), &back, &config, &err), &err);
    assert_int_equal(back.rank, 16);
    assert_true(back.alpha == 32.5 && back.dropout == 0.1 && back.rslora);
    assert_int_equal(back.targets, meta.targets);
    assert_string_equal(back.base_path, "some/model");
    assert_string_equal(back.hashes.weights, meta.hashes.weights);
    assert_string_equal(back.hashes.chat_template, "");
    assert_string_equal(json_string_value(json_object_get(config, "task_type")), "CAUSAL_LM");
    json_decref(config);
}

/* An adapter of rank 2 over q_proj of layer 0 with the given tensor names, and its directory. */
static char *write_adapter(const char *name, const char *a_name, const char *b_name,
                           int64_t b_rows) {
    struct err err;
    static float a[2 * 60], b[2 * 64];
    struct adapter_meta meta = {.rank = 2, .alpha = 2, .targets = 1 << LIN_Q};
    for (int i = 0; i < 120; i++) a[i] = b[i] = (float)(i % 7) * 0.125f;
    char *dir = path_join(unit_dir(), name), *file = path_join(dir, "adapter_model.safetensors");
    struct tensor_out list[2] = {{a_name, TENSOR_F32, 2, {2, 60}, a},
                                 {b_name, TENSOR_F32, 2, {b_rows, 2}, b}};
    check(dir_make(dir, &err), &err);
    check(adapter_config_save(dir, &meta, &err), &err);
    check(safetensors_write(file, list, b_name ? 2 : 1, NULL, &err), &err);
    mem_free(file);
    return dir;
}

#define Q0 "base_model.model.model.layers.0.self_attn.q_proj."

static void both_forms_of_names_are_read(void **state) {
    (void)state;
    struct err err;
    struct model *m = open_model();
    char warning[240];
    struct adapter *plain = NULL, *named = NULL;
    char *one = write_adapter("plain", Q0 "lora_A.weight", Q0 "lora_B.weight", 60);
    char *two = write_adapter("named", Q0 "lora_A.default.weight", Q0 "lora_B.default.weight", 60);
    check(adapter_open(m, one, &plain, warning, &err), &err);
    check(adapter_open(m, two, &named, warning, &err), &err);
    assert_memory_equal(plain->lora[0][LIN_Q].a, named->lora[0][LIN_Q].a, 120 * sizeof(float));
    assert_memory_equal(plain->lora[0][LIN_Q].b, named->lora[0][LIN_Q].b, 120 * sizeof(float));
    assert_null(plain->lora[1][LIN_Q].a);
    adapter_close(plain);
    adapter_close(named);
    mem_free(one);
    mem_free(two);
    model_close(m);
}

static void damaged_adapters_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *a, *b;
        int64_t b_rows;
        const char *said;
    } cases[] = {
        {"half", Q0 "lora_A.weight", NULL, 60, "without its other factor"},
        {"shape", Q0 "lora_A.weight", Q0 "lora_B.weight", 59, "lora_B"},
        {"stranger", "base_model.model.lm_head.lora_A.weight",
         "base_model.model.lm_head.lora_B.weight", 60, "adapts no linear layer"},
        {"deep", "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", NULL, 60,
         "adapts no linear layer"},
    };
    struct err err;
    struct model *m = open_model();
    char warning[240];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct adapter *a = NULL;
        char *dir = write_adapter(cases[i].name, cases[i].a, cases[i].b, cases[i].b_rows);
        assert_true(adapter_open(m, dir, &a, warning, &err) < 0);
        if (!strstr(err.msg, cases[i].said)) fail_msg("%s: %s", cases[i].name, err.msg);
        mem_free(dir);
    }
    struct adapter *a = NULL;
    assert_int_equal(adapter_open(m, LLAMA, &a, warning, &err), ERR_NOT_FOUND);
    model_close(m);
}

static void another_base_is_a_warning(void **state) {
    (void)state;
    struct err err;
    struct model *m = open_model();
    struct adapter *a = NULL;
    char warning[240];
    struct adapter_meta meta = {.rank = 2, .alpha = 2, .targets = 1 << LIN_Q};
    char *dir = write_adapter("other", Q0 "lora_A.weight", Q0 "lora_B.weight", 60);
    struct model_hashes now;
    check(model_hashes(m, &now, &err), &err);
    memcpy(meta.hashes.weights, now.weights, sizeof now.weights);
    check(adapter_config_save(dir, &meta, &err), &err);
    check(adapter_open(m, dir, &a, warning, &err), &err);
    assert_string_equal(warning, "");
    adapter_close(a);
    meta.hashes.weights[0] = meta.hashes.weights[0] == '0' ? '1' : '0';
    check(adapter_config_save(dir, &meta, &err), &err);
    check(adapter_open(m, dir, &a, warning, &err), &err);
    assert_non_null(strstr(warning, "weights"));
    adapter_close(a);
    mem_free(dir);
    model_close(m);
}

UNIT_TESTS(model_adapter, cmocka_unit_test(what_cannot_be_followed_is_refused),
           cmocka_unit_test(targets_are_lists_patterns_or_all),
           cmocka_unit_test(a_written_configuration_reads_back),
           cmocka_unit_test(both_forms_of_names_are_read),
           cmocka_unit_test(damaged_adapters_are_refused),
           cmocka_unit_test(another_base_is_a_warning))
