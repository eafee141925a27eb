/* What belongs to a model besides its weights, opened from a directory or a GGUF file alike:
 * tokenizer and chat template. Needs no config.json and no weights. */
#ifndef MODEL_ASSETS_H
#define MODEL_ASSETS_H

#include "text/template.h"
#include "text/tokenizer.h"

/* path: a model directory or a GGUF file */
int assets_tokenizer(const char *path, struct tokenizer **ret, struct err *err);
/* chat_template.jinja, else tokenizer_config.json's chat_template (a string, or a list of named
 * ones: "default", and "tool_use" when want_tools), else GGUF metadata. *ret is NULL when the model
 * has none. */
int assets_template(const char *path, bool want_tools, struct chat_template **ret, struct err *err);

/* The template of models that come without one: "User: ...", "Assistant: ..." a line each, tools
 * and calls as JSON, an answer's end marked by the tokenizer's EOS. docs/templates.md shows it. */
int assets_plain_template(struct chat_template **ret, struct err *err);

/* Render with the tokenizer's special tokens added to `vars` (not over keys that are there) and
 * add_generation_prompt as given. vars is not changed. */
int assets_render(const struct chat_template *t, const struct tokenizer *tok, const json_t *vars,
                  bool add_generation_prompt, struct buf *out, struct err *err);

#endif
