/* The words of the tables are English, with a few negations of other languages: a word that is not
 * among them counts as one that may be exchanged. */
#include "data/word_edit.h"

#include "data/words.h"

#define SLIP_BYTES 5 /* shorter words differ by a letter and mean something else */

struct word_edit word_edit_of(const uint32_t *a, size_t na, const uint32_t *b, size_t nb) {
    size_t n = na < nb ? na : nb, m = na + nb - n, head = 0, tail = 0;
    struct word_edit e = {.words = 2, .one_longer = m > n};
    if (m - n > 1) return e;
    while (head < n && a[head] == b[head]) head++;
    while (tail < n - head && a[na - 1 - tail] == b[nb - 1 - tail]) tail++;
    e.place = head;
    if (head + tail >= m) e.words = 0;
    if (head + tail + 1 == m) e.words = 1;
    return e;
}

bool word_is_negation(uint32_t hash) {
    static const char *const list[] = {
        "not",   "no",     "never", "without",  "none",    "nothing", "cannot", "cant",
        "dont",  "doesnt", "didnt", "wont",     "isnt",    "arent",   "wasnt",  "werent",
        "hasnt", "havent", "hadnt", "shouldnt", "wouldnt", "couldnt", "nicht",  "kein",
        "keine", "pas",    "ne",    "nunca",    "jamais",  "non"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (hash == word_hash(str_of(list[i]))) return true;
    return false;
}

static bool is_opposite(uint32_t x, uint32_t y) {
    static const char *const list[][2] = {{"can", "cant"},
                                          {"can", "cannot"},
                                          {"do", "dont"},
                                          {"does", "doesnt"},
                                          {"did", "didnt"},
                                          {"will", "wont"},
                                          {"is", "isnt"},
                                          {"are", "arent"},
                                          {"was", "wasnt"},
                                          {"were", "werent"},
                                          {"has", "hasnt"},
                                          {"have", "havent"},
                                          {"had", "hadnt"},
                                          {"should", "shouldnt"},
                                          {"would", "wouldnt"},
                                          {"could", "couldnt"},
                                          {"on", "off"},
                                          {"enable", "disable"},
                                          {"open", "close"},
                                          {"before", "after"},
                                          {"more", "less"},
                                          {"buy", "sell"},
                                          {"start", "stop"},
                                          {"up", "down"},
                                          {"yes", "no"},
                                          {"true", "false"},
                                          {"left", "right"},
                                          {"first", "last"},
                                          {"minimum", "maximum"},
                                          {"increase", "decrease"},
                                          {"min", "max"},
                                          {"with", "without"},
                                          {"accepted", "rejected"},
                                          {"allowed", "denied"},
                                          {"accepted", "denied"},
                                          {"always", "never"},
                                          {"accepted", "declined"},
                                          {"activate", "deactivate"},
                                          {"lock", "unlock"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        uint32_t a = word_hash(str_of(list[i][0])), b = word_hash(str_of(list[i][1]));
        if ((x == a && y == b) || (x == b && y == a)) return true;
    }
    return false;
}

bool word_is_plain(uint32_t hash) { return !word_is_negation(hash) && !word_is_number(hash); }

bool words_contrast(uint32_t a, uint32_t b) {
    return (word_is_number(a) && word_is_number(b)) || is_opposite(a, b);
}

static bool is_prefixed(struct str longer, struct str stem) {
    static const char *const list[] = {"un",  "in", "im",  "ir",   "il",
                                       "dis", "de", "non", "anti", "mis"};
    if (stem.n < 3 || !str_ends(longer, stem)) return false;
    struct str head = {longer.p, longer.n - stem.n};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (str_is(head, list[i])) return true;
    return false;
}

bool words_contrast_by_prefix(struct str a, struct str b) {
    return is_prefixed(a, b) || is_prefixed(b, a);
}

bool words_slip(struct str a, struct str b) {
    size_t head = 0, tail = 0;
    if (a.n > b.n) {
        struct str c = a;
        a = b;
        b = c;
    }
    if (a.n < SLIP_BYTES || b.n - a.n > 1) return false;
    while (head < a.n && a.p[head] == b.p[head]) head++;
    while (tail < a.n - head && a.p[a.n - 1 - tail] == b.p[b.n - 1 - tail]) tail++;
    if (head + tail + 1 >= b.n) return true;
    return a.n == b.n && head + tail + 2 == a.n && a.p[head] == b.p[head + 1] &&
           a.p[head + 1] == b.p[head];
}
