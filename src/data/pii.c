/* The pass that finds what could begin personal data, and what is done with the finds. Most bytes
 * begin nothing and cost one look into a table. */
#include "data/pii.h"

#include "base/mem.h"
#include "data/pii_int.h"

#include <stdlib.h>

static const char *const labels[] = {
#define X(name, label, on) label,
    PII_MAP(X)
#undef X
};

const char *pii_label(enum pii_entity e) { return labels[e]; }

bool pii_entity_of(struct str label, enum pii_entity *ret) {
    for (int e = 0; e < PII_ENTITIES; e++) {
        if (!str_is(label, labels[e])) continue;
        *ret = (enum pii_entity)e;
        return true;
    }
    return false;
}

void pii_defaults(struct pii_options *o) {
    *o = (struct pii_options){.on = {
#define X(name, label, on) on,
                                  PII_MAP(X)
#undef X
                              }};
}

bool pii_found(struct pii_scan *s, enum pii_entity e, size_t start, size_t end, double score) {
    if (score < PII_LEAST) return false;
    void *p = s->found;
    mem_grow(&p, &s->cap, s->count + 1, sizeof *s->found);
    s->found = p;
    s->found[s->count++] = (struct pii_hit){e, start, end, score > 1 ? 1 : score};
    return true;
}

enum trigger {
    TRIGGER_NONE,
    TRIGGER_DIGIT,
    TRIGGER_AT,
    TRIGGER_DASH,
    TRIGGER_COLON,
    TRIGGER_KNOWN
};

#define D TRIGGER_DIGIT
static const uint8_t trigger_of[256] = {
    ['0'] = D,
    ['1'] = D,
    ['2'] = D,
    ['3'] = D,
    ['4'] = D,
    ['5'] = D,
    ['6'] = D,
    ['7'] = D,
    ['8'] = D,
    ['9'] = D,
    ['@'] = TRIGGER_AT,
    ['-'] = TRIGGER_DASH,
    ['_'] = TRIGGER_DASH,
    [':'] = TRIGGER_COLON,
    ['J'] = TRIGGER_KNOWN,
    ['K'] = TRIGGER_KNOWN,
    ['z'] = TRIGGER_KNOWN,
};
#undef D

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static size_t at_digit(struct pii_scan *s, size_t i) {
    size_t end = i + 1, on;
    while (pii_digit(pii_at(s, end))) end++;
    on = end;
    if (s->word_end <= i) on = most(on, pii_word(s, i, end));
    on = most(on, pii_crypto(s, i));
    if (s->places.ids) on = most(on, pii_ids(s, i, end));
    return most(on, pii_numbers(s, i, end));
}

static void pass(struct pii_scan *s) {
    const unsigned char *p = (const unsigned char *)s->text.p;
    size_t n = s->text.n, i = 0;
    for (;;) {
        while (i < n && !trigger_of[p[i]]) i++;
        if (i >= n) return;
        switch ((enum trigger)trigger_of[p[i]]) {
        case TRIGGER_NONE: break;
        case TRIGGER_DIGIT: i = at_digit(s, i); break;
        case TRIGGER_AT: i = pii_email(s, i); break;
        case TRIGGER_DASH: i = pii_dash(s, i); break;
        case TRIGGER_COLON: i = pii_colon(s, i); break;
        case TRIGGER_KNOWN: i = pii_known(s, i); break;
        }
    }
}

static int by_place(const void *x, const void *y) {
    const struct pii_hit *a = x, *b = y;
    if (a->start != b->start) return a->start < b->start ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (int)a->entity - (int)b->entity;
}

static bool better(const struct pii_hit *a, const struct pii_hit *b) {
    if (a->score != b->score) return a->score > b->score;
    return a->end - a->start > b->end - b->start;
}

/* Only what is wanted counts in the end, but what is not wanted still says what a place is: a card
 * number does not become a telephone number because cards are off. */
static size_t settle(struct pii_scan *s, struct pii_hit *hits, size_t max) {
    size_t kept = 0, n = 0;
    struct pii_hit *f = s->found;
    if (s->count > 1) qsort(f, s->count, sizeof *f, by_place);
    for (size_t i = 0; i < s->count; i++) {
        if (!kept || f[kept - 1].end <= f[i].start)
            f[kept++] = f[i];
        else if (better(&f[i], &f[kept - 1]))
            f[kept - 1] = f[i];
    }
    for (size_t i = 0; i < kept; i++) {
        if (!s->o->on[f[i].entity]) continue;
        if (n < max) hits[n] = f[i];
        n++;
    }
    return n;
}

size_t pii_scan_counted(struct str text, const struct pii_options *o, struct pii_hit *hits,
                        size_t max, uint64_t *ret_steps) {
    struct pii_scan s = {.text = text, .o = o};
    pii_places_of(o, &s.places);
    pass(&s);
    if (o->on[PII_PERSON]) pii_persons(&s);
    size_t n = settle(&s, hits, max);
    mem_free(s.found);
    *ret_steps = s.steps;
    return n;
}

size_t pii_scan(struct str text, const struct pii_options *o, struct pii_hit *hits, size_t max) {
    uint64_t steps;
    return pii_scan_counted(text, o, hits, max, &steps);
}
