/* All checks over files of any size: read batch by batch, each example checked on the pool, what
 * was found put together in the order of rows. The result does not depend on threads or batches,
 * and memory is bounded by the limits of the parts.
 *
 *     struct check_options o = {.files = &path, .file_count = 1, .checks = CHECK_ALL, .pool = p};
 *     struct check_report *r = NULL;
 *     if (check_run(&o, &r, &err)) ...
 *     report_json(r, &b);                     // data/report.h
 *     check_report_free(r);
 */
#ifndef DATA_CHECK_H
#define DATA_CHECK_H

#include "base/arena.h"
#include "base/pool.h"
#include "data/pii.h"
#include "data/source.h"
#include "data/stats.h"
#include "data/validate.h"

struct check_options {
    const char *const *files;
    size_t file_count; /* several are one set: rows are named by file */
    const char *const *against;
    size_t against_count;
    unsigned checks; /* of enum check_group; tokens need render.tokenizer */
    struct source_options source;
    bool min_feedback_given;
    double min_feedback;
    struct render_options render; /* tokenizer NULL: no model. As training takes it */
    struct pii_options pii;
    double threshold; /* of near duplicates; 0: their default */
    struct pool *pool;
    size_t findings_max; /* listed; more are counted only. 0: 1,000,000 */
    /* now and then; false: stop with ERR_CANCELLED. May be NULL */
    bool (*on_progress)(void *ctx, int64_t bytes, int64_t rows);
    void *ctx;
};

struct check_file {
    const char *path; /* borrowed from the options */
    enum source_format format;
    char *reason;         /* why this format */
    int64_t rows, before; /* records; those of the files before it */
};

struct check_tokens {
    int64_t rows, total, trained, longest, longest_row, cut; /* cut: rows longer than the limit */
    int64_t limit;
    int64_t lengths[STATS_BINS]; /* as in stats.h, in tokens */
};

/* a piece of the first example as it would be trained */
struct check_piece {
    bool trained;
    struct str text;
};

/* Rows in findings and notes are numbers over all files: check_place gives file and row. */
struct check_report {
    struct check_file *files;
    size_t file_count;
    unsigned checks;
    int64_t rows, clean;
    int64_t counts[FINDING_KINDS], noted[FINDING_KINDS]; /* findings, and notes, by kind */
    int64_t entities[PII_ENTITIES];                      /* of contains_pii */
    int64_t listed_not;                                  /* found beyond findings_max */
    struct findings *findings, *notes;
    char *excerpts[FINDING_KINDS]; /* of the first row of the kind; may be NULL */
    bool has_tokens;
    struct check_tokens tokens;
    struct check_piece *sample;
    size_t sample_count;
    struct stats_summary stats;
    int64_t duplicates_uncertain; /* rows that duplicates could not be sought for in full */
    struct arena text;            /* of excerpts, reasons and pieces */
};

int check_run(const struct check_options *o, struct check_report **ret, struct err *err);
void check_report_free(struct check_report *r);
/* row, from 1, of which file */
const struct check_file *check_place(const struct check_report *r, int64_t row, int64_t *ret_row);
/* "format,pii" → bits; tokens and notes are always on. ERR_USAGE names the word. */
int check_groups_parse(const char *list, unsigned *ret, struct err *err);

#endif
