/* Inside a build: inputs become records in a scratch file, records are sorted by hash, sifted,
 * placed and written. Memory is 120 bytes a row beside what duplicates and leakage take. */
#ifndef DATA_BUILD_INT_H
#define DATA_BUILD_INT_H

#include "data/build.h"
#include "data/findings.h"
#include "data/manifest.h"
#include "data/pack.h"
#include "data/split.h"

#define BUILD_ROW_MAX ((size_t)256 << 20)

struct build_input {
    enum build_source source;
    bool against; /* held-out cases, not rows */
    const char *name;
    char sha256[65];
    struct blob_writer *writer; /* NULL: a blob already */
    char *path;
    struct source_options read;                  /* format resolved */
    char *reason;                                /* why this format */
    int64_t rows, kept, dropped, edited, exempt; /* exempt: dropped as was asked for */
};

struct build_settings { /* what the root vouches for beside the rows */
    double valid, test, near, min_feedback;
    uint64_t salt;
    enum build_pii pii;
    enum build_stratify stratify;
    char against[65]; /* root over the held-out rows; empty: none */
};

struct record {
    unsigned char hash[ROW_HASH];
    uint64_t at; /* in scratch: content '\n' what is known of it '\n' */
    uint32_t content, about;
    uint64_t keys[SPLIT_KEYS], label;
    int64_t number;
    int32_t input, rank;
    int8_t before, split;
    bool restored, dropped;
};

struct kind_count {
    const char *kind;
    int64_t dropped, edited, reported;
};

struct build {
    struct catalog *c;
    struct dataset dataset;
    struct pool *pool;
    struct build_settings set;
    struct build_input *inputs;
    size_t input_count;
    json_t *restored; /* {hash: reason} */
    int64_t parent;   /* number of the version it goes on from; 0: none */
    int64_t corrections, left_out;

    struct record *records; /* by hash, once sorted */
    size_t count, cap;
    struct blob_writer *scratch, *sorted;
    struct file_map scratch_map;
    uint64_t scratch_gets; /* since it was mapped */
    struct split_cuts cuts;
    struct file_map places; /* of the parent */

    struct blob_writer *pack, *manifest, *rejected, *new_places;
    int64_t new_rows, biggest_cluster;
    struct kind_count kinds[FINDING_KINDS + 4];
    size_t kind_count;
    int64_t strata_off; /* strata more than a row off their share */
    char root[65];
};

/* build_read.c: inputs into records; what cannot be a row is rejected on the way */
int build_read(struct build *b, struct err *err);
/* build_sift.c: sorted, duplicates, places, leaks */
int build_sift(struct build *b, struct err *err);
/* build_write.c: pack, manifest, places, root; counts and recipe as JSON */
int build_write(struct build *b, struct err *err);
json_t *build_counts(const struct build *b);
json_t *build_recipe(const struct build *b);
void build_settings_text(const struct build *b, struct buf *out);

/* One line of the list of rejected rows. */
enum reject_action { REJECT_DROPPED, REJECT_EDITED, REJECT_REPORTED };
struct rejection {
    const char *kind;
    enum reject_action action;
    int32_t input;
    int64_t number;
    const unsigned char *hash; /* NULL: no row could be made of it */
    struct str id, reason;
    const unsigned char *twin; /* hash of the row it is compared with; NULL: none */
    const char *against;       /* file of the twin, by number then; NULL: none */
    int64_t against_number;
    double similarity; /* 0: none */
    struct str content;
};
int build_reject(struct build *b, const struct rejection *r, struct err *err);
/* the same of a record, which is dropped where the action says so */
int build_reject_record(struct build *b, struct record *rec, struct rejection r, struct err *err);

/* A defect that training refuses a file for: such a row does not come back. */
bool build_untrainable(const char *kind);

/* Views into the scratch file, until it is mapped anew. */
struct str record_content(struct build *b, const struct record *r);
struct str record_about(struct build *b, const struct record *r);

#endif
