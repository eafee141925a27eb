/* Added tokens: strings that are found in the text before the model sees it. Of several at one
 * place the longest wins. Two sets: those looked for in the text as given, and those looked for
 * after normalization. */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H

#include "base/str.h"
#include "text/strmap.h"

#include <stdbool.h>
#include <stdint.h>

struct added_token {
    struct str content;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool outside; /* the model's vocabulary does not have it */
};

struct added_set {
    struct str_map map;  /* what to look for -> index into the tokens */
    uint64_t lengths[4]; /* bit n-1: some pattern has n bytes; longer ones in `rare` */
    size_t *rare;        /* other lengths, falling */
    size_t rare_count, rare_cap;
    bool first[256]; /* some pattern begins with this byte */
};

void added_set_release(struct added_set *s);
void added_set_put(struct added_set *s, struct str pattern, int32_t index);

struct added_hit {
    size_t start, end; /* with the white space that lstrip and rstrip take */
    int32_t index;
};
/* The first hit; *from is where to look, and moves behind it. `taken`: the end of the last hit. */
bool added_set_find(const struct added_set *s, const struct added_token *tokens, struct str text,
                    size_t *from, size_t taken, struct added_hit *ret);

#endif
