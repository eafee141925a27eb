/* The merging half of byte pair encoding: one word (or, for vocabularies without a pre-tokenizer, a
 * whole text) to ids. A word starts as symbols: its bytes, or its characters with a fallback to
 * bytes or an unknown token. Then the neighbouring pair of lowest rank is merged, the leftmost of
 * equals first, until no pair has a rank.
 *
 * Cost: short words by scanning, long ones through a heap: O(n log n). A word that is a token and
 * encodes to itself is found by one lookup; whether it does is learnt at first use (one relaxed
 * atomic byte per token, so any thread may encode). A long text of characters is first cut where
 * no merge can reach across, which changes nothing and makes most of its words such tokens. */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "text/strmap.h"
#include "text/tokenizer.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct merge {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank;
    int32_t id;
};
struct merge_map {
    struct merge *slots; /* pair UINT64_MAX: free */
    size_t count, cap;
};

struct pair_set {
    uint64_t *slots; /* UINT64_MAX: free */
    size_t count, cap;
};

#define BPE_NEAR 129 /* ASCII, and one more for U+2581 */

struct bpe {
    bool bytes;         /* symbols are raw bytes: the vocabulary's forms are byte strings */
    bool ignore_merges; /* a word that is a token is that token */
    bool byte_fallback, fuse_unk;
    int32_t unk;               /* -1: unknown characters vanish */
    struct str prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix */

    struct str_map words; /* form -> id */
    int32_t size;
    atomic_uchar *whole; /* by id: WHOLE_* */
    struct merge_map merges;

    int32_t byte_ids[256];  /* symbol of a byte, or its fallback token; -1: none */
    int32_t ascii_ids[128]; /* symbol of an ASCII character */

    /* symbols that are no tokens (a GGUF's vocabulary may merge characters it lacks alone): ids
     * from `size` on; at the end they become their bytes */
    struct str *pseudo;
    int32_t pseudo_count;

    bool vanish;                            /* an unknown character may leave no symbol */
    bool cuts;                              /* the next two are filled */
    unsigned char near[BPE_NEAR][BPE_NEAR]; /* [left][right]: a merge may join them */
    struct pair_set joins;                  /* the same for other characters: left << 32 | right */
};

struct bpe_symbol {
    int32_t id, prev, next; /* next -1: last; id -1: merged away */
};
struct bpe_heap_item {
    uint64_t order; /* rank << 32 | position */
    int32_t right, id;
};
struct bpe_scratch {
    int32_t *ids;
    struct bpe_symbol *symbols;
    struct bpe_heap_item *heap;
    size_t id_cap, symbol_cap, heap_cap, heap_count;
};
void bpe_scratch_release(struct bpe_scratch *s);

void bpe_release(struct bpe *b);
/* A pair given twice keeps the later rank. */
void bpe_add_merge(struct bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id);
const struct merge *bpe_find_merge(const struct bpe *b, int32_t left, int32_t right);
/* Once words, merges and options are complete: derives the tables. forms: by id. */
void bpe_finish(struct bpe *b, const struct str *forms);
void bpe_encode(const struct bpe *b, struct bpe_scratch *s, struct str text,
                struct token_list *out);

#endif
