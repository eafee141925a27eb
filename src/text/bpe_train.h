/* Trains the vocabulary of a byte-level BPE tokenizer: the 256 bytes, then the pair of neighbours
 * that is most frequent, again and again. Deterministic: of equally frequent pairs the one with the
 * smaller ids. Special tokens in the text are cut out, so that they do not shape the vocabulary.
 *
 *     struct bpe_train_options o = {.vocab_size = 4096, .specials = names, .special_count = 3,
 *                                   .split_digits = true};
 *     rc = bpe_train(text, &o, &json, &err);            // json: a whole tokenizer.json
 *     rc = bpe_train_save(dir, buf_view(&json), &config, &err);
 *
 * Memory: some ten times the distinct words of the text. 20 MB of English take seconds. */
#ifndef TEXT_BPE_TRAIN_H
#define TEXT_BPE_TRAIN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct bpe_train_options {
    int32_t vocab_size; /* specials and bytes included; fewer when the text has no more to merge */
    const struct str *specials;
    size_t special_count;
    bool specials_last; /* after the merged tokens, else they have the first ids */
    bool split_digits;  /* every digit a word of its own, before GPT-2's pattern */
    int64_t min_count;  /* a pair rarer than this is not merged; 0: 2 */
};
int bpe_train(struct str text, const struct bpe_train_options *o, struct buf *ret_json,
              struct err *err);

/* tokenizer_config.json. Empty strings are left out. */
struct tokenizer_roles {
    struct str bos, eos, pad, unk, chat_template;
    int64_t max_length;
};
/* Writes DIR/tokenizer.json and DIR/tokenizer_config.json; the directory is made. */
int bpe_train_save(const char *dir, struct str json, const struct tokenizer_roles *roles,
                   struct err *err);

#endif
