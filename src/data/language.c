#include "data/language.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>

#define LOOK_BYTES 1000
#define SLOTS 512 /* a power of two, well over the words there are */
#define HITS_MIN 3

static const char *const names[] = {
#define X(name, word) word,
    LANGUAGE_MAP(X)
#undef X
};

/* at most 8 bytes each; a word of two languages stands with neither */
static const struct {
    enum language l;
    const char *words;
} lists[] = {
    {LANGUAGE_EN, "the and is of to you that it for with this my what how have i are can your not "
                  "do be if was from which when there would please"},
    {LANGUAGE_DE, "der und ist das ich nicht ein eine sie mit auf für den dem zu wie kann wird von "
                  "auch bei werden meine haben wir bitte"},
    {LANGUAGE_FR, "le les et est des je vous pas une dans pour que qui au avec sur ce mon votre "
                  "nous être cette du"},
    {LANGUAGE_ES, "el los y es las por para con una del mi cómo qué su más está puedo pero lo al "
                  "tiene muy"},
    {LANGUAGE_IT, "il di che non gli è per sono della mia come ho del questo puoi dei nel si alla "
                  "anche più"},
    {LANGUAGE_PT, "o os não que um uma do da em meu você são com mais isso dos ao como está pelo "
                  "também"},
    {LANGUAGE_NL, "de het een van ik niet en op dat voor mijn zijn met hoe kan wat er ook naar je "
                  "maar"},
};

struct language_words {
    uint64_t keys[SLOTS]; /* 0: free */
    uint32_t in[SLOTS];   /* bit l: a word of language l */
};

const char *language_name(enum language l) { return names[l]; }

static uint64_t key_of(const char *p, size_t n) {
    uint64_t k = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c >= 'A' && c <= 'Z') c = (unsigned char)(c + 32);
        k = k << 8 | c;
    }
    return k;
}

static size_t slot_of(const struct language_words *w, uint64_t key) {
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 40) & (SLOTS - 1);
    while (w->keys[at] && w->keys[at] != key) at = (at + 1) & (SLOTS - 1);
    return at;
}

struct language_words *language_words_new(void) {
    struct language_words *w = mem_zalloc(1, sizeof *w);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const char *p = lists[i].words; *p;) {
            size_t n = strcspn(p, " ");
            uint64_t key = key_of(p, n);
            size_t at = slot_of(w, key);
            w->keys[at] = key;
            w->in[at] |= 1u << lists[i].l;
            p += n + (p[n] == ' ');
        }
    return w;
}

void language_words_free(struct language_words *w) { mem_free(w); }

static enum language script_of(unsigned cp) {
    if (cp < 0x370) return LANGUAGE_UNKNOWN;
    if (cp < 0x400) return LANGUAGE_GREEK;
    if (cp < 0x530) return LANGUAGE_CYRILLIC;
    if (cp >= 0x590 && cp < 0x600) return LANGUAGE_HEBREW;
    if (cp >= 0x600 && cp < 0x780) return LANGUAGE_ARABIC;
    if (cp >= 0x900 && cp < 0x980) return LANGUAGE_HINDI;
    if (cp >= 0xE00 && cp < 0xE80) return LANGUAGE_THAI;
    if (cp >= 0x3040 && cp < 0x3100) return LANGUAGE_JA;
    if (cp >= 0x4E00 && cp < 0xA000) return LANGUAGE_ZH;
    if (cp >= 0xAC00 && cp < 0xD7B0) return LANGUAGE_KO;
    return LANGUAGE_UNKNOWN;
}

/* a script that a third of the letters are of; Japanese writes Chinese characters between its own
 */
static enum language by_script(const int *count, int letters) {
    if (count[LANGUAGE_JA] * 10 > letters) return LANGUAGE_JA;
    for (int l = LANGUAGE_ZH; l < LANGUAGES; l++)
        if (count[l] * 3 > letters) return (enum language)l;
    return LANGUAGE_UNKNOWN;
}

static enum language by_words(const int *hits) {
    int best = 0, second = 0;
    for (int l = LANGUAGE_EN; l <= LANGUAGE_NL; l++) {
        if (!best || hits[l] > hits[best]) {
            second = best;
            best = l;
        } else if (!second || hits[l] > hits[second]) {
            second = l;
        }
    }
    bool sure = hits[best] >= HITS_MIN && hits[best] >= 2 * hits[second];
    return sure ? (enum language)best : LANGUAGE_UNKNOWN;
}

static bool is_letter(unsigned char c) {
    unsigned char low = c | 32;
    return (low >= 'a' && low <= 'z') || c >= 0x80;
}

enum language language_of(const struct language_words *w, struct str text) {
    int scripts[LANGUAGES] = {0}, hits[LANGUAGES] = {0}, letters = 0, foreign = 0;
    size_t n = text.n < LOOK_BYTES ? text.n : LOOK_BYTES;
    for (size_t i = 0; i < n;) {
        if (!is_letter((unsigned char)text.p[i])) {
            i++;
            continue;
        }
        size_t start = i;
        while (i < n && is_letter((unsigned char)text.p[i])) {
            unsigned cp = (unsigned char)text.p[i];
            size_t step = cp < 0x80 ? 1 : utf8_get(str_from(text, i), &cp);
            if (!step) step = 1;
            enum language s = script_of(cp);
            scripts[s]++, letters++;
            foreign += s != LANGUAGE_UNKNOWN;
            i += step;
        }
        if (i - start > 8) continue;
        size_t at = slot_of(w, key_of(text.p + start, i - start));
        for (unsigned l = LANGUAGE_EN; w->in[at] && l <= LANGUAGE_NL; l++)
            hits[l] += (w->in[at] >> l & 1) != 0;
    }
    enum language l = foreign ? by_script(scripts, letters) : LANGUAGE_UNKNOWN;
    return l ? l : by_words(hits);
}
