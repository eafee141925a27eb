/* Packs: where the rows of dataset versions live, one blob for what a version brought. Lines of
 * content in the order of their hashes, then an index:
 *
 *     "attune pack 1\n"  content '\n' ...  index: (hash 32, offset 8, bytes 4) ...  tail: offset of
 *     the index 8, rows 8, "attnpack"                                        all little-endian
 *
 * A row is in one pack of a home, however many versions name it. */
#ifndef DATA_PACK_H
#define DATA_PACK_H

#include "data/version.h"
#include "store/blobs.h"

/* --- writing: rows in the order of their hashes, once each --- */

struct pack_writer {
    struct blob_writer *blob; /* of the caller */
    unsigned char *index;
    size_t rows, cap;
};
int pack_begin(struct pack_writer *w, struct blob_writer *blob, struct err *err);
int pack_add(struct pack_writer *w, const unsigned char hash[ROW_HASH], struct str content,
             struct err *err);
int pack_end(struct pack_writer *w, struct err *err);
void pack_release(struct pack_writer *w); /* the blob stays the caller's */

/* --- reading; borrows the bytes; any thread --- */

struct pack {
    struct str bytes;
    const unsigned char *index;
    size_t rows;
};
/* ERR_CORRUPT: no pack, or cut. */
int pack_open(struct str bytes, struct pack *ret, struct err *err);
bool pack_find(const struct pack *p, const unsigned char hash[ROW_HASH], struct str *ret);

/* All packs of a home, mapped. */
struct pack_set {
    struct mapped_pack {
        char sha256[65];
        struct file_map map;
        struct pack pack;
    } * list;
    size_t count;
};
int pack_set_open(struct catalog *c, struct pack_set *ret, struct err *err);
void pack_set_close(struct pack_set *s);
bool pack_set_find(const struct pack_set *s, const unsigned char hash[ROW_HASH], struct str *ret);

#endif
