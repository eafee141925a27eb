/* Text to token ids and back. Immutable after opening: any thread may use it. Encoding is linear in
 * the text. Follows Hugging Face's `tokenizers` for tokenizer.json and vocab.json + merges.txt, and
 * llama.cpp for a GGUF's own vocabulary. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct tokenizer;

/* A model directory: tokenizer.json, else vocab.json + merges.txt; tokenizer_config.json,
 * special_tokens_map.json and added_tokens.json where present. */
int tokenizer_open(const char *dir, struct tokenizer **ret, struct err *err);
/* From memory (the fuzz target's entry too). config may be empty. */
int tokenizer_from_json(struct str tokenizer_json, struct str tokenizer_config, const char *where,
                        struct tokenizer **ret, struct err *err);

/* A GGUF's vocabulary, handed over by whoever read the file. Arrays are borrowed for the call. */
struct tokenizer_vocab {
    struct str model; /* tokenizer.ggml.model: "gpt2" or "llama" */
    struct str pre;   /* tokenizer.ggml.pre: "smollm", "qwen2", "llama-bpe", "default" ... */
    const struct str *tokens;
    const float *scores;  /* or NULL */
    const int32_t *types; /* or NULL; llama.cpp's LLAMA_TOKEN_TYPE_* */
    int64_t count;
    const struct str *merges;
    int64_t merge_count;
    int32_t bos, eos, unk; /* -1: none */
    bool add_bos, add_eos, add_space_prefix;
};
int tokenizer_from_vocab(const struct tokenizer_vocab *v, const char *where, struct tokenizer **ret,
                         struct err *err);
void tokenizer_free(struct tokenizer *t);

struct token_list {
    int32_t *ids;
    int64_t n;
    size_t cap;
};
void token_list_add(struct token_list *l, int32_t id);
void token_list_release(struct token_list *l);

/* Appends to *out. Special and added tokens in the text are recognised. `specials` adds what the
 * post-processor adds (BOS, EOS). Text must be UTF-8: else ERR_INVALID with the byte offset. */
int tokenizer_encode(const struct tokenizer *t, struct str text, bool specials,
                     struct token_list *out, struct err *err);
/* The text of ids, byte for byte as `tokenizers` decodes. skip_special leaves out every special
 * token (the package keeps those that a normalizer changes). */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int64_t n, bool skip_special,
                     struct buf *out, struct err *err);
/* The raw bytes one id stands for in the middle of a text (for streaming: feed until the UTF-8 is
 * whole). Specials give their content. */
struct str tokenizer_bytes(const struct tokenizer *t, int32_t id);
struct str tokenizer_token(const struct tokenizer *t, int32_t id); /* as in the vocabulary file */

int64_t tokenizer_size(const struct tokenizer *t);                   /* highest id + 1 */
int32_t tokenizer_find(const struct tokenizer *t, struct str token); /* -1: none */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
int32_t tokenizer_bos(const struct tokenizer *t); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *t);
/* Special tokens by role ("bos_token", "eos_token", "pad_token", "unk_token") and any other string
 * of tokenizer_config.json that templates may use; an object of strings, borrowed. */
const json_t *tokenizer_special_map(const struct tokenizer *t);
/* SHA-256 of everything that decides ids; hex. */
void tokenizer_hash(const struct tokenizer *t, char hex[65]);
/* tokenizer.json of the same behaviour, for exports of models that came without one (GGUF). */
int tokenizer_write_json(const struct tokenizer *t, struct buf *out, struct err *err);

#endif
