/* Model names: bases, tuned models, checkpoints, imported adapters, aliases. */
#include "adapter_fixture.h"
#include "unit.h"

#include "base/json.h"
#include "registry/names.h"
#include "store/routes.h"
#include "store/tuned.h"
#include "store_fixture.h"
#include "weights/models.h"

#include <stdlib.h>
#include <unistd.h>

static int open_home(void **state) {
    int rc = fixture_open(state);
    struct fixture *f = *state;
    setenv("ATTUNE_HOME", f->home, 1);
    setenv("ATTUNE_SHARE", "/nonexistent", 1);
    return rc;
}

static int close_home(void **state) {
    unsetenv("ATTUNE_HOME");
    unsetenv("ATTUNE_SHARE");
    return fixture_close(state);
}

static void put_file(struct fixture *f, const char *dir, const char *name, struct str text) {
    char *path = path_join(dir, name);
    int rc = dir_make(dir, &f->err);
    if (!rc) rc = file_write_atomic(path, text, &f->err);
    if (rc) fail_msg("%s", f->err.msg);
    mem_free(path);
}

static void put_base(struct fixture *f, const char *name) {
    char *dir = model_home_path(name);
    put_file(f, dir, "config.json",
             STR_LIT("{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,"
                     "\"num_attention_heads\":2,\"intermediate_size\":8,\"vocab_size\":8}"));
    mem_free(dir);
}

static void put_tuned(struct fixture *f, const char *name, const char *kind, const char *parent,
                      const char *adapter) {
    struct tuned_model m = {.name = name,
                            .kind = kind,
                            .base = "small",
                            .adapter = adapter,
                            .parent = parent,
                            .job = "ftjob-1"};
    char *dir = catalog_path(f->c, adapter);
    put_file(f, dir, "adapter_config.json", STR_LIT("{}"));
    if (tuned_add(f->c, &m, &f->err)) fail_msg("%s", f->err.msg);
    mem_free(dir);
}

#define TUNED "ft:small:local:mine:abcdefgh"

static void a_home_with_models(struct fixture *f) {
    put_base(f, "small");
    put_tuned(f, TUNED, "tuned", NULL, "jobs/1/out");
    put_tuned(f, TUNED ":ckpt-step-4", "checkpoint", TUNED, "jobs/1/out/epochs/4");
    put_tuned(f, TUNED ":ckpt-step-8", "checkpoint", TUNED, "jobs/1/out");
}

static struct named_model resolve(struct fixture *f, const char *name) {
    struct named_model m = {0};
    if (names_resolve(f->c, name, &f->mem, &m, &f->err)) fail_msg("%s: %s", name, f->err.msg);
    return m;
}

static bool ends_with(const char *text, const char *end) {
    return str_ends(str_of(text), str_of(end));
}

static void each_name_is_a_base_and_an_adapter(void **state) {
    struct fixture *f = *state;
    a_home_with_models(f);
    struct named_model m = resolve(f, "small");
    assert_int_equal(m.kind, NAME_BASE);
    assert_true(ends_with(m.path, "/models/small"));
    assert_null(m.adapter);
    assert_string_equal(m.owned_by, "system");
    assert_true(m.created > 0);
    m = resolve(f, TUNED);
    assert_int_equal(m.kind, NAME_TUNED);
    assert_string_equal(m.base, "small");
    assert_true(ends_with(m.path, "/models/small"));
    assert_true(ends_with(m.adapter, "/jobs/1/out") && m.adapter[0] == '/');
    assert_string_equal(m.owned_by, "local");
    m = resolve(f, TUNED ":ckpt-step-4");
    assert_int_equal(m.kind, NAME_CHECKPOINT);
    assert_true(ends_with(m.adapter, "/epochs/4"));
}

static void names_are_never_paths(void **state) {
    struct fixture *f = *state;
    put_base(f, "small");
    char *dir = model_home_path("small");
    const char *const bad[] = {dir, ".", "..", "/", "tests", "../models/small", "", "ft:small"};
    struct named_model m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(names_resolve(f->c, bad[i], &f->mem, &m, &f->err), ERR_NOT_FOUND);
    mem_free(dir);
}

static void a_tuned_model_without_its_base_says_so(void **state) {
    struct fixture *f = *state;
    struct named_model m;
    put_tuned(f, TUNED, "tuned", NULL, "jobs/1/out");
    assert_int_equal(names_resolve(f->c, TUNED, &f->mem, &m, &f->err), ERR_NOT_FOUND);
    assert_non_null(strstr(f->err.msg, "the base of"));
}

static void aliases_lead_to_models(void **state) {
    struct fixture *f = *state;
    struct named_model m;
    struct err *err = &f->err;
    a_home_with_models(f);
    assert_int_equal(names_set_alias(f->c, "production", TUNED, &by_test, err), 0);
    assert_int_equal(names_set_alias(f->c, "gpt-4o-mini", "production", &by_test, err), 0);
    assert_string_equal(resolve(f, "gpt-4o-mini").id, TUNED);
    assert_int_equal(names_set_alias(f->c, "production", "gpt-4o-mini", &by_test, err),
                     ERR_CONFLICT);
    assert_int_equal(names_set_alias(f->c, "production", "production", &by_test, err),
                     ERR_CONFLICT);
    assert_int_equal(names_set_alias(f->c, "small", TUNED, &by_test, err), ERR_CONFLICT);
    assert_int_equal(names_set_alias(f->c, "x", "nothing", &by_test, err), ERR_NOT_FOUND);
    assert_int_equal(names_set_alias(f->c, "a b", TUNED, &by_test, err), ERR_INVALID);
    assert_int_equal(names_set_alias(f->c, "", TUNED, &by_test, err), ERR_INVALID);
    assert_int_equal(names_set_alias(f->c, "production", "small", &by_test, err), 0); /* moved */
    assert_string_equal(resolve(f, "gpt-4o-mini").id, "small");
    /* what only a hand in the catalog could make */
    assert_int_equal(routes_set(f->c, "a", "b", &by_test, err), 0);
    assert_int_equal(routes_set(f->c, "b", "a", &by_test, err), 0);
    assert_int_equal(names_resolve(f->c, "a", &f->mem, &m, err), ERR_NOT_FOUND);
    assert_int_equal(routes_set(f->c, "lost", "gone", &by_test, err), 0);
    assert_int_equal(names_resolve(f->c, "lost", &f->mem, &m, err), ERR_NOT_FOUND);
    assert_non_null(strstr(err->msg, "leads to \"gone\""));
}

static void the_list_has_them_all(void **state) {
    struct fixture *f = *state;
    struct named_list l;
    a_home_with_models(f);
    assert_int_equal(names_set_alias(f->c, "production", TUNED, &by_test, &f->err), 0);
    assert_int_equal(names_list(f->c, &f->mem, &l, &f->err), 0);
    size_t first = strcmp(l.list[0].id, "starter") == 0; /* where the tests run in the tree */
    assert_int_equal(l.count, first + 5);
    assert_string_equal(l.list[first].id, "small");
    assert_string_equal(l.list[first + 1].id, TUNED);
    assert_int_equal(l.list[first + 3].kind, NAME_CHECKPOINT);
    assert_int_equal(l.list[first + 4].kind, NAME_ALIAS);
    assert_string_equal(l.list[first + 4].target, TUNED);
}

static void deleting_takes_checkpoints_and_files(void **state) {
    struct fixture *f = *state;
    struct err *err = &f->err;
    struct named_model m;
    a_home_with_models(f);
    char *out = catalog_path(f->c, "jobs/1/out");
    assert_int_equal(names_delete(f->c, "small", err), ERR_INVALID);
    assert_int_equal(names_delete(f->c, "nothing", err), ERR_NOT_FOUND);
    assert_int_equal(names_set_alias(f->c, "production", TUNED, &by_test, err), 0);
    assert_int_equal(names_delete(f->c, "production", err), ERR_INVALID);
    assert_int_equal(names_delete(f->c, TUNED, err), ERR_CONFLICT);
    assert_non_null(strstr(err->msg, "production"));
    assert_int_equal(routes_delete(f->c, "production", &by_test, err), 0);
    /* the last checkpoint shares its files with the model */
    assert_int_equal(names_delete(f->c, TUNED ":ckpt-step-8", err), 0);
    assert_true(dir_exists(out));
    assert_int_equal(names_delete(f->c, TUNED, err), 0);
    assert_false(dir_exists(out));
    assert_int_equal(names_resolve(f->c, TUNED ":ckpt-step-4", &f->mem, &m, err), ERR_NOT_FOUND);
    mem_free(out);
}

static void composed_names_have_five_parts(void **state) {
    (void)state;
    static const struct {
        struct tuned_name n;
        const char *want;
    } cases[] = {
        {{"starter", "local", "mine", "abcdefgh"}, "ft:starter:local:mine:abcdefgh"},
        {{"starter", "local", NULL, "abcdefgh"}, "ft:starter:local::abcdefgh"},
        {{"qwen2.5:0.5b", "my org", "a:b  c\xC3\xA9", "abcdefgh12"},
         "ft:qwen2.5-0.5b:my-org:a-b-c-:abcdefgh"},
        {{"b", "o", "0123456789012345678901234567890123456789012345678901234567890123456789",
          "abcdefgh"},
         "ft:b:o:0123456789012345678901234567890123456789012345678901234567890123:abcdefgh"},
    };
    char name[NAME_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        names_compose(&cases[i].n, name);
        assert_string_equal(name, cases[i].want);
    }
    names_checkpoint(TUNED, 12, name);
    assert_string_equal(name, TUNED ":ckpt-step-12");
}

/* --- importing --- */

#define FIXTURE "tests/fixtures/train/llama"

static void link_base(struct fixture *f, const char *name) {
    char *models = path_join(f->home, "models"), *at = path_join(models, name);
    char *from = realpath(FIXTURE, NULL);
    assert_int_equal(dir_make(models, &f->err), 0);
    assert_int_equal(symlink(from, at), 0);
    free(from);
    mem_free(at);
    mem_free(models);
}

static void an_adapter_is_taken_in(void **state) {
    struct fixture *f = *state;
    struct err *err = &f->err;
    char warning[240];
    struct name_import i = {.dir = FIXTURE "/adapter", .name = "mine", .base = "tiny"};
    assert_int_equal(names_import(f->c, &i, warning, err), ERR_NOT_FOUND); /* no such base */
    link_base(f, "tiny");
    assert_int_equal(names_import(f->c, &i, warning, err), 0);
    struct named_model m = resolve(f, "mine");
    assert_int_equal(m.kind, NAME_IMPORTED);
    assert_string_equal(m.base, "tiny");
    assert_string_equal(warning, "");
    char *weights = path_join(m.adapter, "adapter_model.safetensors");
    assert_true(file_exists(weights));
    assert_int_equal(names_import(f->c, &i, warning, err), ERR_CONFLICT);
    i.name = "tiny";
    assert_int_equal(names_import(f->c, &i, warning, err), ERR_CONFLICT);
    i.name = "../x";
    assert_int_equal(names_import(f->c, &i, warning, err), ERR_INVALID);
    assert_int_equal(names_delete(f->c, "mine", err), 0);
    assert_false(file_exists(weights));
    mem_free(weights);
}

static void an_adapter_of_another_base_is_told(void **state) {
    struct fixture *f = *state;
    char warning[240], *dir = path_join(unit_dir(), "other");
    link_base(f, "tiny");
    adapter_with_hashes(FIXTURE "/adapter", dir, OTHER_HASH);
    struct name_import i = {.dir = dir, .name = "mine", .base = "tiny"};
    if (names_import(f->c, &i, warning, &f->err)) fail_msg("%s", f->err.msg);
    assert_non_null(strstr(warning, "the weights of"));
    mem_free(dir);
}

static void what_does_not_open_is_not_taken_in(void **state) {
    struct fixture *f = *state;
    struct named_model m;
    char warning[240];
    link_base(f, "tiny");
    put_base(f, "small"); /* without weights */
    struct name_import i = {.dir = FIXTURE "/adapter", .name = "mine", .base = "small"};
    assert_int_not_equal(names_import(f->c, &i, warning, &f->err), 0);
    i = (struct name_import){.dir = unit_dir(), .name = "mine", .base = "tiny"};
    assert_int_not_equal(names_import(f->c, &i, warning, &f->err), 0);
    assert_int_equal(names_resolve(f->c, "mine", &f->mem, &m, &f->err), ERR_NOT_FOUND);
    char *adapters = path_join(f->home, "adapters"), **names = NULL;
    size_t count = 1;
    assert_int_equal(dir_list(adapters, &names, &count, &f->err), 0);
    assert_int_equal(count, 0); /* nothing half done stays */
    dir_list_free(names, count);
    mem_free(adapters);
}

static void the_adapter_says_its_base(void **state) {
    struct fixture *f = *state;
    struct name_import i = {.dir = FIXTURE "/adapter", .name = "mine"};
    char warning[240];
    struct buf b;
    json_t *config = NULL;
    link_base(f, "tiny");
    assert_int_equal(names_import(f->c, &i, warning, &f->err), ERR_NOT_FOUND);
    assert_non_null(strstr(f->err.msg, "--base"));
    char *dir = path_join(unit_dir(), "said"), *to = path_join(dir, "adapter_model.safetensors");
    char *from = realpath(FIXTURE "/adapter/adapter_model.safetensors", NULL);
    assert_int_equal(
        json_read_file(FIXTURE "/adapter/adapter_config.json", 1 << 16, &config, &f->err), 0);
    json_object_set_new(config, "base_model_name_or_path", json_string("tiny"));
    buf_init(&b, 1 << 16);
    json_write(config, &b);
    put_file(f, dir, "adapter_config.json", buf_view(&b));
    assert_int_equal(symlink(from, to), 0);
    i.dir = dir;
    assert_int_equal(names_import(f->c, &i, warning, &f->err), 0);
    assert_string_equal(resolve(f, "mine").base, "tiny");
    buf_release(&b);
    json_decref(config);
    free(from);
    mem_free(to);
    mem_free(dir);
}

#define WITH_HOME(test) cmocka_unit_test_setup_teardown(test, open_home, close_home)
UNIT_TESTS(registry_names, WITH_HOME(each_name_is_a_base_and_an_adapter),
           WITH_HOME(names_are_never_paths), WITH_HOME(a_tuned_model_without_its_base_says_so),
           WITH_HOME(aliases_lead_to_models), WITH_HOME(the_list_has_them_all),
           WITH_HOME(deleting_takes_checkpoints_and_files), WITH_HOME(an_adapter_is_taken_in),
           WITH_HOME(an_adapter_of_another_base_is_told),
           WITH_HOME(what_does_not_open_is_not_taken_in), WITH_HOME(the_adapter_says_its_base),
           cmocka_unit_test(composed_names_have_five_parts))
