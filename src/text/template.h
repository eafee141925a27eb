/* Chat templates: the Jinja that Hugging Face's templates are written in (sandboxed environment,
 * trim_blocks, lstrip_blocks, loop controls, tojson, raise_exception, strftime_now, namespace,
 * macros, generation blocks). Compiled once, rendered from any thread. Time, output and depth are
 * bounded. Follows jinja2 3.1 as transformers' apply_chat_template sets it up. */
#ifndef TEXT_TEMPLATE_H
#define TEXT_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

struct chat_template;

/* `where` names the template in errors, which give its line. */
int template_compile(struct str source, const char *where, struct chat_template **ret,
                     struct err *err);
void template_free(struct chat_template *t);

/* vars: a JSON object of variables ("messages", "tools", "add_generation_prompt", "bos_token"...).
 * "tools" and "documents" are None when absent. A template's raise_exception gives ERR_INVALID with
 * its message. */
int template_render(const struct chat_template *t, const json_t *vars, struct buf *out,
                    struct err *err);
/* The one call that turns a conversation into text, for training and serving alike: `vars` as
 * above, then `more` (the tokenizer's special tokens; NULL: none) for names that vars does not
 * have, and add_generation_prompt as given. The error names template and line; raise_exception's
 * message stands alone. */
int template_render_chat(const struct chat_template *t, const json_t *vars, const json_t *more,
                         bool add_generation_prompt, struct buf *out, struct err *err);
/* SHA-256 of the source; hex. */
void template_hash(const struct chat_template *t, char hex[65]);
struct str template_source(const struct chat_template *t);

#endif
