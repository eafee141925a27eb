/* Personal data and secrets in text: hand-written scanners with validators and context words,
 * linear in the text, no backtracking. What it cannot find (most names and addresses) it says. */
#ifndef DATA_PII_H
#define DATA_PII_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, label for scripts, on by default */
#define PII_MAP(X)                                                                                 \
    X(EMAIL, "email", true)                                                                        \
    X(PHONE, "phone", true)                                                                        \
    X(CREDIT_CARD, "credit_card", true)                                                            \
    X(IBAN, "iban", true)                                                                          \
    X(SSN, "ssn", true)                                                                            \
    X(IP, "ip", true)                                                                              \
    X(MAC, "mac", true)                                                                            \
    X(SECRET, "secret", true)                                                                      \
    X(CRYPTO, "crypto", true)                                                                      \
    X(ROUTING, "routing_number", true)                                                             \
    X(NATIONAL_ID, "national_id", false)                                                           \
    X(PERSON, "person", false)

enum pii_entity {
#define X(name, label, on) PII_##name,
    PII_MAP(X)
#undef X
        PII_ENTITIES
};

const char *pii_label(enum pii_entity e);
bool pii_entity_of(struct str label, enum pii_entity *ret);

struct pii_options {
    bool on[PII_ENTITIES];
    /* two-letter codes whose national ids and phone shapes count, separated by commas; NULL:
     * phones of every country, no national ids */
    const char *countries;
};
void pii_defaults(struct pii_options *o);
/* Whether all codes of a list for `countries` are known; *ret_unknown is the first that is not. */
bool pii_countries_known(struct str list, struct str *ret_unknown);

struct pii_hit {
    enum pii_entity entity;
    size_t start, end; /* bytes of the text */
    double score;      /* 0..1; those under 0.4 are not reported */
};

/* Hits in order, never overlapping (the surer one stays, then the longer). At most max are
 * written; returns how many there are. text is UTF-8. Any thread. */
size_t pii_scan(struct str text, const struct pii_options *o, struct pii_hit *hits, size_t max);

enum pii_action { PII_MASK, PII_PSEUDONYM };
/* The text with its hits replaced: <EMAIL_1>, numbered by distinct value in this text, or with a
 * key <EMAIL_3f9a2c...>, the same for the same value wherever that key is used (HMAC-SHA256). */
void pii_replace(struct str text, const struct pii_hit *hits, size_t n, enum pii_action action,
                 struct str key, struct buf *out);

#endif
