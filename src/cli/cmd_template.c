#include "cli/cli.h"
#include "cli/opts.h"

#include "base/mem.h"
#include "model/assets.h"

#include <stdio.h>

#define PROMPT_MAX ((size_t)256 << 20)

static int render(const char *path, const json_t *vars, bool generation_prompt, struct buf *out,
                  struct err *err) {
    struct tokenizer *tok = NULL;
    struct chat_template *chat = NULL;
    int rc = assets_tokenizer(path, &tok, err);
    if (!rc) rc = assets_template(path, json_object_get(vars, "tools") != NULL, &chat, err);
    if (!rc && !chat)
        rc = err_set(err, ERR_NOT_FOUND,
                     "\"%s\" has no chat template; it takes prompts, not messages", path);
    if (!rc) rc = assets_render(chat, tok, vars, generation_prompt, out, err);
    template_free(chat);
    tokenizer_free(tok);
    return rc;
}

int cmd_template(int argc, char **argv) {
    const char *model = NULL;
    bool generation_prompt = false;
    struct opt list[] = {
        {"model", "MODEL", OPT_STR, &model, "directory, GGUF file or known name", 0, NULL},
        {"add-generation-prompt", NULL, OPT_FLAG, &generation_prompt,
         "end where the assistant begins", 0, NULL},
        {0}};
    struct usage u = {.command = "template",
                      .args = "--model MODEL < request.json",
                      .opts = list,
                      .summary = "Render {\"messages\":[...],\"tools\":[...]} from standard input "
                                 "through the chat template.",
                      .example = "echo '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}' | "
                                 "attune template --model starter "
                                 "--add-generation-prompt",
                      .required = "model"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct buf text, out;
    buf_init(&out, PROMPT_MAX);
    json_t *vars = NULL;
    char *path = NULL;
    int rc = cli_stdin(&text, &err);
    if (!rc) rc = json_read(buf_view(&text), "standard input", &vars, &err);
    if (!rc && !json_is_object(vars))
        rc = err_set(&err, ERR_INVALID, "standard input must be one JSON object with \"messages\"");
    if (!rc) rc = cli_model_path(model, &path, &err);
    if (!rc) rc = render(path, vars, generation_prompt, &out, &err);
    if (!rc) fwrite(out.p ? out.p : "", 1, out.n, stdout);
    json_decref(vars);
    mem_free(path);
    buf_release(&out);
    buf_release(&text);
    return rc ? cli_fail("template", &err) : 0;
}
