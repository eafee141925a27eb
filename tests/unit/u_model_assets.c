#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/assets.h"
#include "model/model.h"

static void put(const char *dir, const char *name, struct str text) {
    struct err err;
    char *path = path_join(dir, name);
    if (file_write_atomic(path, text, &err)) fail_msg("%s", err.msg);
    mem_free(path);
}

static void a_model_without_a_template_takes_the_plain_one(void **state) {
    (void)state;
    struct err err;
    struct buf tokenizer, out;
    struct model *m = NULL;
    json_t *vars = NULL;
    buf_init(&tokenizer, 1 << 24);
    buf_init(&out, 1 << 16);
    assert_int_equal(file_read("models/starter/tokenizer.json", &tokenizer, &err), 0);
    put(unit_dir(), "tokenizer.json", buf_view(&tokenizer));
    put(unit_dir(), "tokenizer_config.json", STR_LIT("{\"eos_token\":\"<|im_end|>\"}"));
    assert_int_equal(model_open(unit_dir(), &(struct model_options){.text_only = true}, &m, &err),
                     0);
    assert_true(model_has_plain_template(m));
    struct str text = STR_LIT(
        "{\"tools\":[{\"name\":\"f\"}],\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{"
        "\"role\":"
        "\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"yo\",\"tool_calls\":[{"
        "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]}]}");
    assert_int_equal(json_read(text, "test", &vars, &err), 0);
    if (assets_render(model_template(m), model_tokenizer(m), vars, true, &out, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(out.p,
                        "Tools: [{\"name\": \"f\"}]\nSystem: S\nUser: hi\nAssistant: "
                        "yo{\"name\": \"f\", \"arguments\": {\"a\": 1}}<|im_end|>\nAssistant:");
    json_decref(vars);
    model_close(m);
    buf_release(&out);
    buf_release(&tokenizer);
}

UNIT_TESTS(model_assets, cmocka_unit_test(a_model_without_a_template_takes_the_plain_one))
