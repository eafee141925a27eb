/* The file as a whole: lengths, answers that are classes, system prompts, languages. Bounded memory
 * for files of any size. What it notices are notes: they inform and leave rows clean. */
#ifndef DATA_STATS_H
#define DATA_STATS_H

#include "data/example.h"
#include "data/findings.h"
#include "data/language.h"

#define STATS_BINS 24 /* of lengths, by powers of two */
#define STATS_CLASSES 256

/* what one row adds; computed on any thread */
struct row_facts {
    uint64_t answer, system, system_loose; /* hashes; of the system prompt 0: it has none */
    int64_t bytes;                         /* of all its texts */
    int32_t answer_bytes, messages;
    enum language language;
};

struct stats_class {
    uint64_t hash;
    int64_t count, first; /* the first row with it */
    char text[48];        /* its beginning */
};

struct stats_summary {
    int64_t rows, bytes, messages, shortest, longest; /* lengths in bytes of text */
    int64_t lengths[STATS_BINS];                      /* bin b: 2^b bytes up to under 2^(b+1) */
    int64_t languages[LANGUAGES], language_first[LANGUAGES];
    int64_t kinds[4]; /* by enum row_kind */
    /* answers, where they are few distinct ones; else class_count is 0. Most frequent first */
    struct stats_class classes[STATS_CLASSES];
    size_t class_count;
    int64_t system_prompts; /* distinct ones; at most some thousands are told apart */
};

struct stats;
struct stats *stats_new(void);
void stats_free(struct stats *s);
void stats_facts(const struct stats *s, const struct example *e, struct row_facts *ret);
/* In the order of rows; row: its number in the report. One thread. */
void stats_add(struct stats *s, int64_t row, const struct example *e, const struct row_facts *f);
/* At the end, once: the figures, and notes about them. The summary is large: not for the stack. */
int stats_finish(struct stats *s, struct stats_summary *ret, struct findings *notes,
                 struct err *err);

#endif
