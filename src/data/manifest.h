/* Lists of rows in blobs: a line of JSON each.
 *
 *   manifest  {"row":HASH,"split":"train","source","quality","id"?,"created_at"?,"origin":[input,
 *             row],"edits"?,...}, in the order of the hashes
 *   rejected  {"kind","action":"dropped|edited|reported","origin":[input,row],"row"?,"id"?,
 *             "reason","twin"?,"against"?,"similarity"?,"content"?}, in the order they were found
 *   places    33 bytes for every row that was ever in the dataset: hash, split; by hash */
#ifndef DATA_MANIFEST_H
#define DATA_MANIFEST_H

#include "data/version.h"
#include "store/datasets.h"

/* --- lists of lines --- */

struct row_list {
    struct file_map map;
    struct str left;
    int64_t line;
};
/* The blob of this role of a version. */
int row_list_open(struct catalog *c, const char *version, enum dataset_role role,
                  struct row_list *ret, struct err *err);
void row_list_close(struct row_list *l);
/* 1: *ret is the next line (json_decref); 0: no more; negative: damaged */
int row_list_next(struct row_list *l, json_t **ret, struct err *err);

/* Of a line: text of a member, "" where it has none; borrowed. */
const char *line_text(const json_t *line, const char *key);

/* --- places --- */

#define PLACE_SIZE (ROW_HASH + 1)
/* enum split, or SPLIT_NEW */
int8_t place_find(struct str places, const unsigned char hash[ROW_HASH]);

/* --- versions side by side --- */

struct version_change {
    enum { ROW_ADDED, ROW_REMOVED, ROW_CHANGED } kind;
    const json_t *before, *after; /* lines of the manifests, borrowed; NULL: not there */
    const json_t *rejected;       /* of a removed row: why, where the later version says so */
};
/* Calls on_change for every row in which b differs from a, in the order of the hashes. A row is
 * changed when its split, source or quality is another; a row with an id whose content is another
 * comes as removed and added. */
int versions_diff(struct catalog *c, const char *a, const char *b,
                  int (*on_change)(void *ctx, const struct version_change *change, struct err *err),
                  void *ctx, struct err *err);

/* train.jsonl, valid.jsonl, test.jsonl with the rows' content, and manifest.jsonl into a directory
 * that is new or empty. counts (SPLITS): rows written. */
int version_export(struct catalog *c, const char *version, const char *dir, int64_t *counts,
                   struct err *err);

#endif
