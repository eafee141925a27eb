#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"
#include "model/assets.h"

#include <stdio.h>

static void print_ids(const struct token_list *l) {
    putchar('[');
    for (int64_t i = 0; i < l->n; i++) printf("%s%d", i ? "," : "", l->ids[i]);
    puts("]");
}

int cmd_tokenize(int argc, char **argv) {
    const char *model = NULL;
    bool no_special = false;
    struct opt list[] = {
        {"model", "MODEL", OPT_STR, &model, "directory, GGUF file or known name", 0, NULL},
        {"no-special", NULL, OPT_FLAG, &no_special, "leave out BOS/EOS of the post-processor", 0,
         NULL},
        {0}};
    struct usage u = {.command = "tokenize",
                      .args = "--model MODEL < text",
                      .opts = list,
                      .summary = "Print the token ids of standard input as a JSON array.",
                      .example = "printf 'Hello there' | attune tokenize --model starter",
                      .required = "model"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct buf text;
    struct tokenizer *t = NULL;
    struct token_list ids = {0};
    char *path = NULL;
    int rc = cli_stdin(&text, &err);
    if (!rc) rc = cli_model_path(model, &path, &err);
    if (!rc) rc = assets_tokenizer(path, &t, &err);
    if (!rc) rc = tokenizer_encode(t, buf_view(&text), !no_special, &ids, &err);
    if (!rc) print_ids(&ids);
    token_list_release(&ids);
    tokenizer_free(t);
    mem_free(path);
    buf_release(&text);
    return rc ? cli_fail("tokenize", &err) : 0;
}
