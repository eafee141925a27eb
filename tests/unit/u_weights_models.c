#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "weights/models.h"
#include "weights/tensors.h"

#include <stdlib.h>
#include <string.h>

static char *home;

static int use_fresh_home(void **state) {
    (void)state;
    struct err err;
    home = path_join(unit_dir(), "home");
    dir_remove_all(home, &err);
    setenv("ATTUNE_HOME", home, 1);
    setenv("ATTUNE_SHARE", "/nonexistent", 1);
    return 0;
}

static int leave_home(void **state) {
    (void)state;
    unsetenv("ATTUNE_HOME");
    unsetenv("ATTUNE_SHARE");
    mem_free(home);
    return 0;
}

/* a model of six parameters */
static void put_model(const char *dir, const char *config) {
    struct err err;
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    struct tensor_out t = {"w", TENSOR_F32, 2, {2, 3}, data};
    char *path = path_join(dir, "config.json");
    assert_int_equal(safetensors_write_dir(dir, &t, 1, 1 << 20, &err), 0);
    assert_int_equal(file_write_atomic(path, str_of(config), &err), 0);
    mem_free(path);
}

static void names_resolve_and_paths_stay(void **state) {
    (void)state;
    struct err err;
    char *dir = model_home_path("small"), *got = NULL;
    assert_int_equal(model_resolve("small", &got, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "attune pull"));
    put_model(dir, "{}");
    assert_int_equal(model_resolve("small", &got, &err), 0);
    assert_string_equal(got, dir);
    mem_free(got);
    assert_int_equal(model_resolve("smal", &got, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "small"));
    assert_int_equal(model_resolve("../models/small", &got, &err), ERR_NOT_FOUND);
    assert_int_equal(model_resolve(unit_dir(), &got, &err), 0);
    assert_string_equal(got, unit_dir());
    mem_free(got);
    assert_int_equal(model_find(unit_dir(), &got, &err), ERR_NOT_FOUND); /* names only */
    assert_int_equal(model_find("small", &got, &err), 0);
    assert_string_equal(got, dir);
    mem_free(got);
    mem_free(dir);
}

static void the_starter_is_found_in_the_share_directory(void **state) {
    (void)state;
    char *share = path_join(unit_dir(), "share"), *starter = path_join(share, "starter"),
         *got = NULL;
    struct err err;
    put_model(starter, "{}");
    setenv("ATTUNE_SHARE", share, 1);
    assert_int_equal(model_resolve("starter", &got, &err), 0);
    assert_string_equal(got, starter);
    mem_free(got);
    mem_free(starter);
    mem_free(share);
}

static void the_list_has_families_sizes_and_sources(void **state) {
    (void)state;
    struct err err;
    char *good = model_home_path("b-good"), *bad = model_home_path("a-bad");
    char *unfinished = model_home_path("x.tmp-12");
    put_model(good, "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,"
                    "\"num_attention_heads\":2,\"intermediate_size\":8,\"vocab_size\":8}");
    put_model(bad, "{");
    put_model(unfinished, "{}");
    assert_int_equal(model_source_write(good, "pypi:\"x\"", &err), 0);
    struct model_entry *list = NULL;
    size_t count = 0;
    assert_int_equal(models_list(&list, &count, &err), 0);
    size_t first = count && strcmp(list[0].name, "starter") == 0;
    assert_int_equal(count, first + 2);
    assert_string_equal(list[first].name, "a-bad");
    assert_null(list[first].family);
    assert_string_equal(list[first + 1].name, "b-good");
    assert_string_equal(list[first + 1].family, "llama");
    assert_string_equal(list[first + 1].source, "pypi:\"x\"");
    assert_int_equal(list[first + 1].params, 6);
    assert_int_equal(list[first + 1].bytes, 24);
    models_list_free(list, count);
    assert_int_equal(models_usable(&list, &count, &err), 0);
    assert_int_equal(count, first + 1);
    assert_string_equal(list[first].name, "b-good");
    assert_string_equal(list[first].family, "llama");
    assert_string_equal(list[first].path, good);
    assert_null(list[first].source);
    assert_int_equal(list[first].params, 0);
    models_list_free(list, count);
    mem_free(good);
    mem_free(bad);
    mem_free(unfinished);
}

static const char *family_of(const char *name) {
    static char family[32];
    struct model_entry *list = NULL;
    struct err err;
    size_t count = 0;
    assert_int_equal(models_usable(&list, &count, &err), 0);
    family[0] = '\0';
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0) snprintf(family, sizeof family, "%s", list[i].family);
    models_list_free(list, count);
    return family;
}

/* the list remembers what files said, and sees that they changed or went */
static void another_config_is_seen(void **state) {
    (void)state;
#define CONFIG(type)                                                                               \
    "{\"model_type\":\"" type "\",\"hidden_size\":8,\"num_hidden_layers\":1,"                      \
    "\"num_attention_heads\":2,\"intermediate_size\":8,\"num_key_value_heads\":2,\"vocab_size\":"  \
    "8}"
    struct err err;
    char *dir = model_home_path("m"), *path = path_join(dir, "config.json");
    put_model(dir, CONFIG("llama"));
    assert_string_equal(family_of("m"), "llama");
    assert_string_equal(family_of("m"), "llama");
    assert_int_equal(file_write_atomic(path, STR_LIT(CONFIG("qwen2")), &err), 0); /* as long */
    assert_string_equal(family_of("m"), "qwen2");
    assert_int_equal(file_write_atomic(path, STR_LIT("{"), &err), 0);
    assert_string_equal(family_of("m"), "");
    assert_string_equal(family_of("m"), "");
    assert_int_equal(file_write_atomic(path, STR_LIT(CONFIG("llama")), &err), 0);
    assert_string_equal(family_of("m"), "llama");
    assert_int_equal(file_remove(path, &err), 0);
    assert_string_equal(family_of("m"), "");
    mem_free(path);
    mem_free(dir);
}

static void names_are_plain(void **state) {
    (void)state;
    struct err err;
    static const char *const bad[] = {"", ".", "..", "a/b", "-x", ".x", "a b", "a\nb", "\xC3\xA9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(model_name_check(bad[i], &err), ERR_INVALID);
    assert_int_equal(model_name_check("starter", &err), ERR_CONFLICT);
    assert_int_equal(model_name_check("SmolLM2-135M_x.1", &err), 0);
}

static void a_lock_is_held_once(void **state) {
    (void)state;
    struct err err;
    int a = -1, b = -1;
    assert_int_equal(home_lock("x", &a, &err), 0);
    assert_int_equal(home_lock("x", &b, &err), ERR_CONFLICT);
    assert_int_equal(home_lock("y", &b, &err), 0);
    home_unlock(b);
    home_unlock(a);
    assert_int_equal(home_lock("x", &a, &err), 0);
    home_unlock(a);
}

#define WITH_HOME(test) cmocka_unit_test_setup_teardown(test, use_fresh_home, leave_home)
UNIT_TESTS(weights_models, WITH_HOME(names_resolve_and_paths_stay),
           WITH_HOME(the_starter_is_found_in_the_share_directory),
           WITH_HOME(the_list_has_families_sizes_and_sources), WITH_HOME(another_config_is_seen),
           WITH_HOME(a_lock_is_held_once), cmocka_unit_test(names_are_plain))
