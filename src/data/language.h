/* Which language a text seems to be in: by script, and by short common words where the script is
 * Latin. Modest: short texts are often of no known language, which is said and never guessed. */
#ifndef DATA_LANGUAGE_H
#define DATA_LANGUAGE_H

#include "base/str.h"

#define LANGUAGE_MAP(X)                                                                            \
    X(UNKNOWN, "unknown")                                                                          \
    X(EN, "English")                                                                               \
    X(DE, "German")                                                                                \
    X(FR, "French") X(ES, "Spanish") X(IT, "Italian") X(PT, "Portuguese") X(NL, "Dutch")           \
        X(ZH, "Chinese") X(JA, "Japanese") X(KO, "Korean") X(CYRILLIC, "a language in Cyrillic")   \
            X(ARABIC, "a language in Arabic script") X(HEBREW, "Hebrew")                           \
                X(HINDI, "a language in Devanagari") X(GREEK, "Greek") X(THAI, "Thai")

enum language {
#define X(name, word) LANGUAGE_##name,
    LANGUAGE_MAP(X)
#undef X
        LANGUAGES
};
const char *language_name(enum language l);

struct language_words; /* the common words, ready to be looked up; read-only, any thread */
struct language_words *language_words_new(void);
void language_words_free(struct language_words *w);
/* Looks at the beginning of the text only. */
enum language language_of(const struct language_words *w, struct str text);

#endif
