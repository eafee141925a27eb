/* M. F. Porter, An algorithm for suffix stripping, 1980, in nltk's variant (irregular forms, -ied,
 * y after a consonant, -alli again, -fulli, -logi). Bytes past ASCII count as consonants. */
#include "eval/porter.h"

struct stem {
    char *p;
    size_t n;
};

enum condition { ALWAYS, M0, M1, M1_ST, LOGI }; /* measure over 0, over 1, ... */

struct rule {
    const char *from, *to;
    enum condition when;
};

static bool is_vowel(char c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u'; }

static bool is_consonant(const char *p, size_t i) {
    bool flip = false;
    if (p[i] != 'y') return !is_vowel(p[i]);
    while (i > 0 && p[i] == 'y') {
        flip = !flip;
        i--;
    }
    return !is_vowel(p[i]) != flip;
}

/* vowels followed by consonants */
static int measure(const char *p, size_t n) {
    int count = 0;
    bool before = true; /* the letter before was a consonant */
    for (size_t i = 0; i < n; i++) {
        bool consonant = p[i] == 'y' ? i == 0 || !before : !is_vowel(p[i]);
        if (i > 0 && consonant && !before) count++;
        before = consonant;
    }
    return count;
}

static bool has_vowel(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!is_consonant(p, i)) return true;
    return false;
}

static bool ends_cvc(const char *p, size_t n) {
    if (n == 2) return !is_consonant(p, 0) && is_consonant(p, 1);
    return n >= 3 && is_consonant(p, n - 3) && !is_consonant(p, n - 2) && is_consonant(p, n - 1) &&
           !strchr("wxy", p[n - 1]);
}

static bool ends(const struct stem *s, const char *z) {
    size_t n = strlen(z);
    return s->n >= n && memcmp(s->p + s->n - n, z, n) == 0;
}

static void put(struct stem *s, size_t keep, const char *z) {
    size_t n = strlen(z);
    memcpy(s->p + keep, z, n);
    s->n = keep + n;
}

static bool holds(enum condition c, const struct stem *s, size_t keep) {
    switch (c) {
    case ALWAYS: return true;
    case M0: return measure(s->p, keep) > 0;
    case M1: return measure(s->p, keep) > 1;
    case M1_ST: return measure(s->p, keep) > 1 && strchr("st", s->p[keep - 1]);
    case LOGI: return measure(s->p, s->n - 3) > 0;
    }
    return false;
}

/* the first rule whose ending is there decides, even when its condition fails */
static void apply(struct stem *s, const struct rule *rules) {
    for (; rules->from; rules++) {
        if (!ends(s, rules->from)) continue;
        size_t keep = s->n - strlen(rules->from);
        if (holds(rules->when, s, keep)) put(s, keep, rules->to);
        return;
    }
}

static void step1a(struct stem *s) {
    static const struct rule rules[] = {
        {"sses", "ss", ALWAYS}, {"ies", "i", ALWAYS}, {"ss", "ss", ALWAYS}, {"s", "", ALWAYS}, {0}};
    if (s->n == 4 && ends(s, "ies"))
        put(s, 1, "ie");
    else
        apply(s, rules);
}

static void tidy_ending(struct stem *s) {
    char last = s->p[s->n - 1];
    if (ends(s, "at") || ends(s, "bl") || ends(s, "iz")) {
        put(s, s->n, "e");
    } else if (s->n >= 2 && last == s->p[s->n - 2] && is_consonant(s->p, s->n - 1)) {
        if (!strchr("lsz", last)) s->n--;
    } else if (measure(s->p, s->n) == 1 && ends_cvc(s->p, s->n)) {
        put(s, s->n, "e");
    }
}

static void step1b(struct stem *s) {
    if (ends(s, "ied")) {
        put(s, s->n - 3, s->n == 4 ? "ie" : "i");
        return;
    }
    if (ends(s, "eed")) {
        if (measure(s->p, s->n - 3) > 0) s->n--;
        return;
    }
    size_t cut = ends(s, "ed") ? 2 : ends(s, "ing") ? 3 : 0;
    if (!cut || !has_vowel(s->p, s->n - cut)) return;
    s->n -= cut;
    tidy_ending(s);
}

static void step1c(struct stem *s) {
    if (s->n > 2 && ends(s, "y") && is_consonant(s->p, s->n - 2)) s->p[s->n - 1] = 'i';
}

static void step2(struct stem *s) {
    static const struct rule rules[] = {{"ational", "ate", M0},
                                        {"tional", "tion", M0},
                                        {"enci", "ence", M0},
                                        {"anci", "ance", M0},
                                        {"izer", "ize", M0},
                                        {"bli", "ble", M0},
                                        {"alli", "al", M0},
                                        {"entli", "ent", M0},
                                        {"eli", "e", M0},
                                        {"ousli", "ous", M0},
                                        {"ization", "ize", M0},
                                        {"ation", "ate", M0},
                                        {"ator", "ate", M0},
                                        {"alism", "al", M0},
                                        {"iveness", "ive", M0},
                                        {"fulness", "ful", M0},
                                        {"ousness", "ous", M0},
                                        {"aliti", "al", M0},
                                        {"iviti", "ive", M0},
                                        {"biliti", "ble", M0},
                                        {"fulli", "ful", M0},
                                        {"logi", "log", LOGI},
                                        {0}};
    while (ends(s, "alli") && measure(s->p, s->n - 4) > 0) put(s, s->n - 4, "al");
    apply(s, rules);
}

static void step3(struct stem *s) {
    static const struct rule rules[] = {
        {"icate", "ic", M0}, {"ative", "", M0}, {"alize", "al", M0}, {"iciti", "ic", M0},
        {"ical", "ic", M0},  {"ful", "", M0},   {"ness", "", M0},    {0}};
    apply(s, rules);
}

static void step4(struct stem *s) {
    static const struct rule rules[] = {
        {"al", "", M1},   {"ance", "", M1},   {"ence", "", M1}, {"er", "", M1},    {"ic", "", M1},
        {"able", "", M1}, {"ible", "", M1},   {"ant", "", M1},  {"ement", "", M1}, {"ment", "", M1},
        {"ent", "", M1},  {"ion", "", M1_ST}, {"ou", "", M1},   {"ism", "", M1},   {"ate", "", M1},
        {"iti", "", M1},  {"ous", "", M1},    {"ive", "", M1},  {"ize", "", M1},   {0}};
    apply(s, rules);
}

static void step5(struct stem *s) {
    if (ends(s, "e")) {
        int m = measure(s->p, s->n - 1);
        if (m > 1 || (m == 1 && !ends_cvc(s->p, s->n - 1))) s->n--;
    }
    if (ends(s, "ll") && measure(s->p, s->n - 1) > 1) s->n--;
}

size_t porter_stem(struct str word, char *out) {
    static const char *const irregular[][2] = {
        {"sky", "sky"},        {"skies", "sky"},        {"dying", "die"},
        {"lying", "lie"},      {"tying", "tie"},        {"news", "news"},
        {"innings", "inning"}, {"inning", "inning"},    {"outings", "outing"},
        {"outing", "outing"},  {"cannings", "canning"}, {"canning", "canning"},
        {"howe", "howe"},      {"proceed", "proceed"},  {"exceed", "exceed"},
        {"succeed", "succeed"}};
    struct stem s = {out, word.n};
    if (word.n) memcpy(out, word.p, word.n);
    for (size_t i = 0; i < sizeof irregular / sizeof *irregular; i++) {
        if (!str_is(word, irregular[i][0])) continue;
        put(&s, 0, irregular[i][1]);
        return s.n;
    }
    if (word.n <= 2) return word.n;
    step1a(&s);
    step1b(&s);
    step1c(&s);
    step2(&s);
    step3(&s);
    step4(&s);
    step5(&s);
    return s.n;
}
