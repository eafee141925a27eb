#include "unit.h"

#include "weights/config.h"

#include <stdio.h>
#include <string.h>

#define SIZES                                                                                      \
    "\"hidden_size\":64,\"num_hidden_layers\":4,\"num_attention_heads\":8,\"intermediate_size\":"  \
    "96,"                                                                                          \
    "\"vocab_size\":100"
#define FAMILY(type) "{\"model_type\":\"" type "\"," SIZES
#define LLAMA3_ROPE                                                                                \
    "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"                             \
    "\"original_max_position_embeddings\":8192"

static int read_config(const char *config, const char *generation, struct model_config *ret,
                       struct err *err) {
    json_t *c = NULL, *g = NULL;
    assert_int_equal(json_read(str_of(config), "test", &c, err), 0);
    if (generation) assert_int_equal(json_read(str_of(generation), "test", &g, err), 0);
    int rc = model_config_read(c, g, "config.json", ret, err);
    json_decref(c);
    json_decref(g);
    return rc;
}

static struct model_config good(const char *config) {
    struct err err = {0};
    struct model_config c = {0};
    int rc = read_config(config, NULL, &c, &err);
    if (rc) print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    return c;
}

static void families_have_transformers_defaults(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int64_t kv_heads, head_dim, max_position, window;
        bool qkv_bias, o_bias, qk_norm;
    } cases[] = {
        {FAMILY("llama") "}", 8, 8, 2048, 0, false, false, false},
        {FAMILY("llama") ",\"attention_bias\":true}", 8, 8, 2048, 0, true, true, false},
        {FAMILY("llama") ",\"head_dim\":12,\"num_key_value_heads\":2}", 2, 12, 2048, 0, false,
         false, false},
        {FAMILY("mistral") "}", 8, 8, 131072, 4096, false, false, false},
        {FAMILY("mistral") ",\"sliding_window\":null}", 8, 8, 131072, 0, false, false, false},
        {FAMILY("mistral") ",\"attention_bias\":true,\"sliding_window\":7}", 8, 8, 131072, 7, false,
         false, false},
        {FAMILY("qwen2") ",\"num_key_value_heads\":4,\"sliding_window\":9}", 4, 8, 32768, 0, true,
         false, false},
        {FAMILY("qwen2") ",\"num_key_value_heads\":null}", 8, 8, 32768, 0, true, false, false},
        {FAMILY("qwen3") ",\"num_key_value_heads\":4}", 4, 128, 32768, 0, false, false, true},
        {FAMILY("qwen3") ",\"num_key_value_heads\":4,\"attention_bias\":true}", 4, 128, 32768, 0,
         true, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_config c = good(cases[i].json);
        assert_int_equal(c.kv_heads, cases[i].kv_heads);
        assert_int_equal(c.head_dim, cases[i].head_dim);
        assert_int_equal(c.max_position, cases[i].max_position);
        assert_int_equal(c.window, cases[i].window);
        assert_int_equal(c.qkv_bias, cases[i].qkv_bias);
        assert_int_equal(c.o_bias, cases[i].o_bias);
        assert_int_equal(c.qk_norm, cases[i].qk_norm);
        assert_true(c.norm_eps == 1e-6 && c.rope.theta == 10000 && !c.tied_head && !c.mlp_bias);
    }
}

static void rope_is_read_in_both_forms(void **state) {
    (void)state;
    static const char *const forms[] = {
        FAMILY("llama") ",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":"
                        "\"llama3\"," LLAMA3_ROPE "}}",
        FAMILY("llama") ",\"rope_theta\":500000,\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3_ROPE
                        "}}",
        FAMILY("llama") ",\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":"
                        "\"llama3\"," LLAMA3_ROPE "}}",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct rope_config r = good(forms[i]).rope;
        assert_int_equal(r.kind, ROPE_LLAMA3);
        assert_true(r.theta == 500000 && r.factor == 8 && r.low_freq_factor == 1 &&
                    r.high_freq_factor == 4);
        assert_int_equal(r.original_max_position, 8192);
    }
    struct rope_config r =
        good(FAMILY("llama") ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}").rope;
    assert_int_equal(r.kind, ROPE_LINEAR);
    assert_true(r.factor == 2);
    r = good(FAMILY("llama") ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":7}}")
            .rope;
    assert_int_equal(r.kind, ROPE_DEFAULT);
    assert_true(r.theta == 7);
}

#define QWEN_WINDOW                                                                                \
    FAMILY("qwen2") ",\"num_key_value_heads\":4,\"use_sliding_window\":true,\"sliding_window\":9,"
#define FULL "\"full_attention\""
#define SLIDE "\"sliding_attention\""
static void a_window_begins_at_its_layer(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int64_t window, from;
    } cases[] = {
        {QWEN_WINDOW "\"max_window_layers\":1}", 9, 1},
        {QWEN_WINDOW "\"max_window_layers\":0}", 9, 0},
        {QWEN_WINDOW "\"max_window_layers\":4}", 0, 0},
        {QWEN_WINDOW "\"layer_types\":[" FULL "," FULL "," FULL "," SLIDE "]}", 9, 3},
        {QWEN_WINDOW "\"layer_types\":[" FULL "," FULL "," FULL "," FULL "]}", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_config c = good(cases[i].json);
        assert_int_equal(c.window, cases[i].window);
        assert_int_equal(c.window_from, cases[i].from);
    }
}

static void stops_come_from_the_generation_config(void **state) {
    (void)state;
    static const struct {
        const char *eos, *generation;
        int count, first, last, eos_id;
    } cases[] = {
        {"2", NULL, 1, 2, 2, 2},
        {"[3,4]", NULL, 2, 3, 4, 3},
        {"null", NULL, 0, 0, 0, -1},
        {"-1", NULL, 0, 0, 0, -1},
        {"2", "{\"eos_token_id\":5}", 1, 5, 5, 2},
        {"2", "{\"eos_token_id\":[5,6,7]}", 3, 5, 7, 2},
        {"2", "{\"eos_token_id\":null}", 1, 2, 2, 2},
        {"2", "{}", 1, 2, 2, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[400];
        struct err err;
        struct model_config c;
        snprintf(json, sizeof json, FAMILY("llama") ",\"bos_token_id\":1,\"eos_token_id\":%s}",
                 cases[i].eos);
        assert_int_equal(read_config(json, cases[i].generation, &c, &err), 0);
        assert_int_equal(c.bos, 1);
        assert_int_equal(c.eos, cases[i].eos_id);
        assert_int_equal(c.stop_count, cases[i].count);
        if (!c.stop_count) continue;
        assert_int_equal(c.stops[0], cases[i].first);
        assert_int_equal(c.stops[c.stop_count - 1], cases[i].last);
    }
}

static void bad_configurations_are_named(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int rc;
        const char *says;
    } cases[] = {
        {"[]", ERR_INVALID, "JSON object"},
        {"{}", ERR_INVALID, "\"model_type\" is missing"},
        {"{\"model_type\":\"gpt2\"}", ERR_UNSUPPORTED,
         "\"gpt2\" is not supported; known are llama"},
        {"{\"model_type\":\"llama\"}", ERR_INVALID, "\"hidden_size\" is missing"},
        {"{\"model_type\":\"llama\",\"hidden_size\":-1}", ERR_INVALID, "from 1 to 1048576"},
        {"{\"model_type\":\"llama\",\"hidden_size\":1.5}", ERR_INVALID, "hidden_size"},
        {FAMILY("llama") ",\"hidden_act\":\"gelu\"}", ERR_UNSUPPORTED, "\"gelu\""},
        {FAMILY("llama") ",\"num_key_value_heads\":3}", ERR_INVALID, "no multiple"},
        {FAMILY("llama") ",\"head_dim\":7}", ERR_INVALID, "odd"},
        {FAMILY("llama") ",\"rms_norm_eps\":2}", ERR_INVALID, "rms_norm_eps"},
        {FAMILY("llama") ",\"rope_theta\":0}", ERR_INVALID, "rope_theta"},
        {FAMILY("llama") ",\"rope_scaling\":7}", ERR_INVALID, "must be an object"},
        {FAMILY("llama") ",\"rope_scaling\":{\"type\":\"yarn\"}}", ERR_UNSUPPORTED, "\"yarn\""},
        {FAMILY("llama") ",\"rope_scaling\":{\"rope_type\":\"dynamic\"}}", ERR_UNSUPPORTED,
         "\"dynamic\""},
        {FAMILY("llama") ",\"rope_scaling\":{\"rope_type\":\"linear\"}}", ERR_INVALID,
         "\"factor\""},
        {FAMILY("llama") ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":1e-320}}",
         ERR_INVALID, "\"factor\""},
        {FAMILY("llama") ",\"rope_theta\":1e-320}", ERR_INVALID, "rope_theta"},
        {FAMILY("llama") ",\"partial_rotary_factor\":0.5}", ERR_UNSUPPORTED,
         "partial_rotary_factor"},
        {FAMILY("llama") ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", ERR_UNSUPPORTED,
         "gptq"},
        {FAMILY("llama") ",\"eos_token_id\":\"x\"}", ERR_INVALID, "eos_token_id"},
        {FAMILY("llama") ",\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6]}", ERR_LIMIT,
         "17 ids"},
        {QWEN_WINDOW "\"layer_types\":[" SLIDE "," FULL "," SLIDE "," FULL "]}", ERR_UNSUPPORTED,
         "at layer 1"},
        {QWEN_WINDOW "\"layer_types\":[" SLIDE "]}", ERR_INVALID, "4 entries"},
        {QWEN_WINDOW "\"layer_types\":[1,2,3,4]}", ERR_UNSUPPORTED, "entry 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        struct model_config c;
        int rc = read_config(cases[i].json, NULL, &c, &err);
        if (rc != cases[i].rc || !strstr(err.msg, cases[i].says))
            print_error("%s: %d %s\n", cases[i].json, rc, err.msg);
        assert_int_equal(rc, cases[i].rc);
        assert_non_null(strstr(err.msg, cases[i].says));
        assert_non_null(strstr(err.msg, "config.json"));
    }
}

static void what_is_written_reads_the_same(void **state) {
    (void)state;
    static const char *const configs[] = {
        FAMILY("llama") ",\"tie_word_embeddings\":true,\"mlp_bias\":true,\"eos_token_id\":[3,4],"
                        "\"rope_theta\":5e5,"
                        "\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3_ROPE "}}",
        FAMILY("llama") ",\"attention_bias\":true,\"rope_scaling\":{\"type\":\"linear\",\"factor\":"
                        "2.5}}",
        FAMILY("mistral") ",\"bos_token_id\":1,\"eos_token_id\":2}",
        FAMILY("mistral") ",\"sliding_window\":null}",
        QWEN_WINDOW "\"max_window_layers\":2,\"rms_norm_eps\":1e-5}",
        FAMILY("qwen3") ",\"num_key_value_heads\":2,\"initializer_range\":0.5}",
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct err err;
        struct model_config before = good(configs[i]), after;
        json_t *config = model_config_write(&before, "float32");
        json_t *generation = model_config_write_generation(&before);
        assert_int_equal(model_config_read(config, generation, "config.json", &after, &err), 0);
        assert_memory_equal(&before, &after, sizeof before); /* both begin as zeroed memory */
        json_decref(config);
        json_decref(generation);
    }
}

UNIT_TESTS(weights_config, cmocka_unit_test(families_have_transformers_defaults),
           cmocka_unit_test(rope_is_read_in_both_forms),
           cmocka_unit_test(a_window_begins_at_its_layer),
           cmocka_unit_test(stops_come_from_the_generation_config),
           cmocka_unit_test(bad_configurations_are_named),
           cmocka_unit_test(what_is_written_reads_the_same))
