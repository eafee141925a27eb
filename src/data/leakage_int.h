/* Inside of leakage.h: leakage_index.c holds the held-out cases, leakage.c compares rows with them.
 */
#ifndef DATA_LEAKAGE_INT_H
#define DATA_LEAKAGE_INT_H

#include "data/leakage.h"
#include "data/words.h"

#define GRAM 8        /* words of the runs that are looked up */
#define WRITTEN_MAX 4 /* words that are written as one, at most: a longer one is several */
#define SHORT_MIN 4   /* words from which a short prompt counts where it is contained */

/* A prompt or an answer of a case. */
struct ltext {
    uint32_t at, n;  /* its words */
    uint32_t own;    /* those that are neither template nor number */
    uint32_t at_own; /* prompts: those alone, in order */
    uint32_t the_case;
    bool answer;
    uint32_t rare;  /* prompts: of its rarest words, how many a near duplicate has */
    uint32_t scale; /* 2 where most words are single characters, else 1 */
};
struct lcase {
    int64_t number;
    int32_t file;
    uint32_t prompt, answer; /* indexes of texts, 0: none */
    uint64_t answer_hash;
};

/* Open addressing: a key, and the first of a chain of places that have it. */
struct lplace {
    uint32_t text, pos, next;
};
struct lentry {
    uint64_t key;
    uint32_t first, texts; /* 0: free; how many different texts have it */
    uint32_t last_text;
};
struct ltable {
    struct lentry *list;
    size_t mask, count;
    struct lplace *places; /* from 1 */
    size_t place_count, place_cap;
};

struct leakage {
    uint32_t *words;
    size_t word_count, word_cap;
    uint8_t *template; /* of each word: part of what many cases share */
    uint8_t *joined;   /* of each word: written as one with the word before */
    size_t joined_cap;
    struct ltext *texts; /* from 1 */
    size_t text_count, text_cap;
    struct lcase *cases;
    size_t case_count, case_cap;
    struct ltable grams; /* of GRAM words */
    struct ltable whole; /* prompts of any length, and short ones where they are contained */
    struct ltable rare;  /* the rarest words of each prompt's own */
    uint32_t template_min;
    unsigned short_lengths; /* bit n: there are prompts of n words */
};

const struct lentry *ltable_get(const struct ltable *t, uint64_t key);
uint64_t words_key(const uint32_t *list, size_t n);
static inline bool is_template(const struct leakage *l, const struct lentry *e) {
    return e->texts >= l->template_min;
}
/* the words a case is made of, in order: an example's but its system prompts' */
size_t prompt_messages(const struct example *e);

#endif
