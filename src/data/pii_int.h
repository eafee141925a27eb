/* Inside of the scanner for personal data: what its detectors share. pii.c drives them from one
 * pass over the text; each looks a bounded number of bytes around the place that called it, or
 * moves the pass behind what it has read, so that the whole stays linear. */
#ifndef DATA_PII_INT_H
#define DATA_PII_INT_H

#include "data/pii.h"

#define PII_LEAST 0.4 /* scores below are not reported */
#define PII_BOOST 0.35

/* What words near a candidate speak of; a word may speak of several. */
enum pii_topic {
    TOPIC_PHONE,
    TOPIC_CARD,
    TOPIC_BANK,
    TOPIC_SSN,
    TOPIC_ROUTING,
    TOPIC_IP,
    TOPIC_MAC,
    TOPIC_SECRET,
    TOPIC_PASSWORD,
    TOPIC_EMAIL,
    TOPIC_CRYPTO,
    TOPIC_ID,
    TOPIC_COUNTED, /* order, invoice, version: numbers that name things, not people */
    TOPIC_VERSION, /* version, section: what has dots like an address */
    TOPIC_IS,      /* is, was: between a name and its value */
    PII_TOPICS
};

/* 0: nothing near speaks of it; else how many words away, those after count 6 and up */
struct pii_context {
    uint8_t near[PII_TOPICS];
};

/* What the list of countries in the options comes to, read once. */
struct pii_places {
    bool america, france, britain; /* their shapes of telephone numbers count */
    uint32_t lengths;              /* bit n: a number of n digits may be one of a telephone */
    uint32_t ids;                  /* bit k: the k-th kind of national identity numbers counts */
};

struct pii_scan {
    struct str text;
    const struct pii_options *o;
    struct pii_places places;
    struct pii_hit *found;
    size_t count, cap;
    size_t word_end;  /* words up to here have been looked at for secrets */
    size_t block_end; /* where the next "-----END" begins, once one was looked for */
    bool block_known;
    uint64_t steps; /* bytes looked at beyond the pass itself; tests hold it against the length */
};

/* pii_scan, and the steps it took */
size_t pii_scan_counted(struct str text, const struct pii_options *o, struct pii_hit *hits,
                        size_t max, uint64_t *ret_steps);

static inline unsigned char pii_at(const struct pii_scan *s, size_t i) {
    return i < s->text.n ? (unsigned char)s->text.p[i] : 0;
}
/* the byte before i, or 0 */
static inline unsigned char pii_before(const struct pii_scan *s, size_t i) {
    return i ? (unsigned char)s->text.p[i - 1] : 0;
}
static inline bool pii_digit(unsigned c) { return c - '0' < 10; }
static inline bool pii_upper(unsigned c) { return c - 'A' < 26; }
static inline bool pii_letter(unsigned c) { return (c | 32) - 'a' < 26; }
static inline bool pii_alnum(unsigned c) { return pii_digit(c) || pii_letter(c); }
static inline bool pii_hex(unsigned c) { return pii_digit(c) || (c | 32) - 'a' < 6; }
static inline struct str pii_part(const struct pii_scan *s, size_t start, size_t end) {
    return (struct str){s->text.p + start, end - start};
}

/* Notes a candidate if its score suffices; returns whether it does. */
bool pii_found(struct pii_scan *s, enum pii_entity e, size_t start, size_t end, double score);

/* --- pii_context.c */
void pii_context_of(struct pii_scan *s, size_t start, size_t end, struct pii_context *ret);
/* base, more where a word for it is near, less where one against it is nearer */
double pii_score(double base, unsigned near, unsigned against);
/* The topics of the word that ends at `end` (letters and digits), as bits; *ret_start where it
 * begins. */
uint32_t pii_word_before(struct pii_scan *s, size_t end, size_t *ret_start);
/* the table of words, for the test that holds it in order */
const char *pii_word_at(size_t i);

/* --- pii_numbers.c */

/* Digits with separators between their groups: at most this much is read from one start. */
#define PII_GROUPS 8
#define PII_DIGITS 24

struct pii_number {
    size_t start, end;
    char digit[PII_DIGITS]; /* '0'..'9', those of all groups */
    unsigned n, groups;
    struct {
        size_t start, end;
        unsigned n;  /* digits of this group */
        unsigned to; /* digits up to and with it */
        char sep;    /* what follows it before the next: ' ', '-', '.', '/', ')'; 0 at the end */
    } g[PII_GROUPS];
};

/* What begins at the digit run [i, end): reports what it finds; returns where to go on. */
size_t pii_numbers(struct pii_scan *s, size_t i, size_t end);
bool pii_luhn(const char *digit, unsigned n);

/* --- pii_phone.c */
size_t pii_phone(struct pii_scan *s, const struct pii_number *d, const struct pii_context *c);
/* a code as written in the options is that of the table, two capitals */
bool pii_same_code(struct str code, const char *iso);
void pii_places_of(const struct pii_options *o, struct pii_places *ret);

/* --- pii_ids.c: national identity numbers, of the countries in the options */
size_t pii_ids(struct pii_scan *s, size_t i, size_t end);
uint32_t pii_ids_of(struct str code); /* the kinds of a country, as bits */

/* --- pii_net.c: each takes the place of its trigger and returns where to go on */
size_t pii_email(struct pii_scan *s, size_t at);
size_t pii_colon(struct pii_scan *s, size_t at);
size_t pii_mac_dashed(struct pii_scan *s, size_t at);
size_t pii_ipv4(struct pii_scan *s, const struct pii_number *d, const struct pii_context *c);

/* --- pii_secrets.c */
size_t pii_dash(struct pii_scan *s, size_t at);  /* '-' and '_': known prefixes, key blocks */
size_t pii_known(struct pii_scan *s, size_t at); /* 'J', 'K', 'z' of eyJ, AKIA, AIza */
/* The word around a digit: a secret by its entropy and the words before. */
size_t pii_word(struct pii_scan *s, size_t i, size_t end);

/* --- pii_crypto.c: what begins at, or just before, the digit at i */
size_t pii_crypto(struct pii_scan *s, size_t i);

/* --- pii_person.c: a pass of its own */
void pii_persons(struct pii_scan *s);

#endif
