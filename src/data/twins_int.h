/* Inside of twins.h: twins.c takes rows in, twins_near.c compares two of them, twins_groups.c
 * proposes pairs, twins.c's twins_find decides. */
#ifndef DATA_TWINS_INT_H
#define DATA_TWINS_INT_H

#include "data/twins.h"
#include "data/words.h"

/* Candidates. A row of n words that differs from another in one of them agrees with it in three of
 * four quarters: four keys for rows of its length, four for those of one word more. */
#define PIECES 4
#define PIECE_KEYS (2 * PIECES)
#define PIECE_WORDS_MAX 100 /* longer rows: one word is less than a fifth of their shingles */
#define BANDS 20
#define BAND_ROWS 5
#define KEYS (PIECE_KEYS + BANDS)

#define SHINGLED_MIN 12   /* words from which on shingles are compared */
#define TEXT_WORDS_MAX 24 /* rows below that keep their words' text, for slips of the pen */
#define ROW_WORDS_MAX ((size_t)1 << 18) /* what lies beyond is compared exactly only */
#define SEGMENT_WORDS ((size_t)1 << 20)

struct trow {
    uint64_t exact[2], raw;    /* content as normalised, as written */
    uint64_t question, answer; /* hashes of words; question 0: this kind has none */
    uint64_t at;               /* in the store */
    uint32_t frame;            /* hash of roles, system prompts and tools */
    uint32_t prompt_n, answer_n, wide, text_units;
    uint32_t answer_bytes;
    int32_t rank;
    bool common_answer; /* says nothing: many rows have it */
};

/* Words of all rows: in memory up to a limit, then in a file. */
struct word_store {
    uint32_t **segments;          /* NULL: in the file */
    size_t count, cap, used;      /* used: of the last one */
    size_t in_memory, memory_max; /* segments */
    int fd;
};

struct twins {
    double threshold;
    size_t memory_max;
    struct word_store store;
    struct trow *rows;
    size_t count, cap, keys_cap;
    uint32_t (*keys)[KEYS];
    struct twin *found;
    size_t found_count, found_cap;
    int64_t cut;
};

/* The words of a row: in the store's memory, or in `scratch`. */
struct row_words {
    const uint32_t *list;
    size_t n;
    struct str text; /* words with a space between, or empty */
};
struct row_scratch {
    uint32_t *p;
    size_t cap;
};
int word_store_add(struct word_store *s, const uint32_t *list, size_t n, uint64_t *ret_at,
                   struct err *err);
int word_store_get(const struct word_store *s, uint64_t at, size_t n, struct row_scratch *scratch,
                   const uint32_t **ret, struct err *err);
void word_store_release(struct word_store *s);
int twins_words(const struct twins *t, size_t row, struct row_scratch *scratch,
                struct row_words *ret, struct err *err);

/* The bounds of piece i of a row of n words among rows of `of` words (n, or one more). */
static inline void piece_bounds(size_t n, size_t of, size_t i, size_t *ret_lo, size_t *ret_hi) {
    *ret_lo = i * of / PIECES;
    *ret_hi = (i + 1) * of / PIECES - (of - n);
}
static inline uint64_t hash_step(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}
void twins_keys(const struct trow *row, const uint32_t *list, size_t n, uint32_t ret[KEYS]);
size_t shingle_words(size_t n); /* 1, 2, 3 or 5 */

/* Compares rows; one per thread. */
struct nearness;
struct nearness *nearness_new(const struct twins *t);
void nearness_free(struct nearness *x);
/* the row that others are compared with next */
int nearness_set(struct nearness *x, size_t row, struct err *err);
/* some rows were not looked at in full since nearness_set */
bool nearness_cut(const struct nearness *x);
enum nearness_kind { NEAR_NOT, NEAR_REVIEW, NEAR_ALIKE, NEAR_SAME };
int nearness_of(struct nearness *x, size_t row, enum nearness_kind *ret, double *ret_similarity,
                struct err *err);

/* Groups of rows that share a key. `order` lists rows, the better first; places are indexes into
 * it. */
struct groups;
int groups_new(struct twins *t, const uint32_t *order, size_t n, struct pool *pool,
               struct groups **ret, struct err *err);
void groups_free(struct groups *g);
/* The groups of a place; returns how many. In ascending order of places, or again from 0. */
size_t groups_of(struct groups *g, size_t place, const uint32_t **ret);
/* Places put into a group so far, of rows that are kept or of those that are not; and one more. */
size_t group_members(const struct groups *g, uint32_t group, bool kept, const uint32_t **ret);
void group_put(struct groups *g, uint32_t group, bool kept, uint32_t place);

#endif
