/* Names of people where the words before say that one follows: a title, "my name is". Any other
 * name is not found; that would need a list of names or a model. */
#include "data/pii_int.h"

#define NAME_BYTES 40
#define NAME_WORDS 4

/* What a name follows. Those with a capital are titles and must be written so. */
static const char *const leads[] = {
    "my name is", "my name's",     "name is",      "I am called",  "mein Name ist", "ich heiße",
    "Ich heiße",  "Mein Name ist", "je m'appelle", "Je m'appelle", "me llamo",      "Me llamo",
    "mi chiamo",  "Mi chiamo",     "meu nome é",   "mijn naam is", "Mijn naam is",  "меня зовут",
    "Меня зовут", "Mr.",           "Mr",           "Mrs.",         "Mrs",           "Ms.",
    "Ms",         "Dr.",           "Dr",           "Prof.",        "Herr",          "Herrn",
    "Frau",       "Mme",           "Monsieur",     "Madame",       "Señor",         "Señora",
    "Sra.",       "Sr.",           "Signor",       "Signora",      "Mevrouw",       "Sir",
};

static bool name_byte(unsigned char c) { return pii_letter(c) || c >= 0xC3 || (c & 0xC0) == 0x80; }

/* A capital: of ASCII, or Latin with accents, Greek, Cyrillic. */
static bool capital(const struct pii_scan *s, size_t i) {
    unsigned char a = pii_at(s, i), b = pii_at(s, i + 1);
    if (pii_upper(a) || (a == 0xC3 && b <= 0x9E)) return true;
    return a == 0xC4 || a == 0xC5 || a == 0xCE || (a == 0xD0 && b >= 0x90 && b <= 0xAF);
}

/* The capitalised words from i on, a hyphen, an apostrophe or an initial's full stop inside. */
static size_t name_end(struct pii_scan *s, size_t i) {
    size_t end = 0, at = i;
    for (int k = 0; k < NAME_WORDS && capital(s, at); k++) {
        size_t start = at;
        while (at - start < NAME_BYTES &&
               (name_byte(pii_at(s, at)) || pii_at(s, at) == '-' || pii_at(s, at) == '\''))
            at++;
        while (at > start && !name_byte(pii_before(s, at))) at--;
        if (at - start == NAME_BYTES) return 0;
        if (at - start > 1) end = at;
        if (at - start == 1 && pii_at(s, at) == '.') at++;
        if (pii_at(s, at) != ' ') break;
        at++;
    }
    s->steps += at - i;
    return end;
}

static size_t lead_end(struct pii_scan *s, size_t i) {
    struct str rest = str_from(s->text, i);
    size_t best = 0;
    for (size_t k = 0; k < sizeof leads / sizeof *leads; k++) {
        struct str lead = str_of(leads[k]);
        bool same = str_starts(rest, lead);
        if (!same && k < 2 && rest.n > lead.n && *rest.p == 'M')
            same = !memcmp(rest.p + 1, lead.p + 1, lead.n - 1);
        if (same && lead.n > best && pii_at(s, i + lead.n) == ' ') best = lead.n;
    }
    s->steps++;
    return best ? i + best + 1 : 0;
}

void pii_persons(struct pii_scan *s) {
    bool starts = true; /* of a word */
    for (size_t i = 0; i < s->text.n; i++) {
        unsigned char c = pii_at(s, i);
        size_t name = starts && name_byte(c) ? lead_end(s, i) : 0;
        size_t end = name ? name_end(s, name) : 0;
        if (end) {
            pii_found(s, PII_PERSON, name, end, 0.6);
            i = end - 1;
            c = pii_at(s, i);
        }
        starts = !name_byte(c) && c != '\'';
    }
}
