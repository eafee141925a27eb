/* What a tokenizer is made of; for src/text/tokenizer*.c and decode.c only. */
#ifndef TEXT_TOKENIZER_INT_H
#define TEXT_TOKENIZER_INT_H

#include "base/arena.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/decode.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

#define TOKENIZER_MAX_ID (1 << 22)
#define TOKENIZER_FILE_MAX ((size_t)512 << 20)
#define TOKENIZER_TEXT_MAX ((size_t)1 << 30)

struct merge_pair {
    int32_t left, right;
};

struct tokenizer {
    struct arena strings;
    json_t *spec; /* tokenizer.json without its vocabulary, merges and added tokens */

    struct str *tokens; /* by id, as in the file; p NULL where there is none */
    struct str *raw;    /* by id: the bytes a token stands for inside a text */
    struct str *shown;  /* by id: what the decoder gets: of some added tokens the normal form */
    bool *special;      /* by id */
    int64_t size;
    struct str_map ids; /* of `tokens` */

    struct merge_pair *merges; /* by rank */
    int64_t merge_count;

    struct added_token *added;
    size_t added_count, added_cap;
    struct added_set in_text, in_normal_form;

    struct normalizer normalizer;
    struct pretokenizer pre;
    struct bpe bpe;
    struct decoder decoder;
    struct token_list before, after; /* what the post-processor puts around a text */

    bool ties; /* merges of different tokens share a rank: no tokenizer.json says that */
    json_t *special_map;
};

/* Steps of building one; tokenizer_free releases whatever is there. */
struct tokenizer *tokenizer_new(void);
int tokenizer_reserve(struct tokenizer *t, int64_t size, struct err *err);
int tokenizer_put(struct tokenizer *t, struct str token, int64_t id, const char *where,
                  struct err *err);
int tokenizer_add(struct tokenizer *t, struct added_token token, const char *where,
                  struct err *err);
void tokenizer_trim(struct tokenizer *t); /* size becomes the highest id + 1 */
/* After vocabulary, merges, options, normalizer, pre-tokenizer, decoder: derives the tables. */
int tokenizer_finish(struct tokenizer *t, struct err *err);
/* Fills special_map from tokenizer_config.json (or another object of the same form), keeping what
 * is there. */
void tokenizer_note_roles(struct tokenizer *t, const json_t *config);

/* tokenizer.json as parsed. scored: the vocabulary whose scores rank the merges, or NULL. */
int tokenizer_from_spec(json_t *spec, const struct tokenizer_vocab *scored, const char *where,
                        struct tokenizer **ret, struct err *err);
int tokenizer_rank_by_score(struct tokenizer *t, const struct tokenizer_vocab *v, const char *where,
                            struct err *err);

#endif
