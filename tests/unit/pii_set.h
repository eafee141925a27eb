/* Labelled texts for the scanner of personal data: templates in several languages and forms, filled
 * with entities drawn from a seed and with what looks like them and is none. It shares no code with
 * the scanner: its check digits are its own. */
#ifndef TESTS_PII_SET_H
#define TESTS_PII_SET_H

#include "base/buf.h"
#include "data/pii.h"

#define PII_SPANS 8

struct pii_sample {
    struct buf text; /* buf_release it */
    size_t form;     /* which template */
    bool held_out;   /* its template belongs to the test part */
    size_t count;
    struct {
        enum pii_entity entity;
        size_t start, end;
    } span[PII_SPANS];
};

/* The sample `number` of the set with that seed; templates take turns. */
void pii_sample(uint64_t seed, size_t number, struct pii_sample *ret);

#endif
