/* Datasets and their versions: a name, and for each version its root, recipe and the blobs it is
 * made of (blobs.h). Versions are never changed and never removed; a version and its blobs appear
 * together or not at all. What is in the blobs is data/'s business (data/pack.h, manifest.h). */
#ifndef STORE_DATASETS_H
#define STORE_DATASETS_H

#include "store/blobs.h"

struct dataset {
    const char *id;     /* its name */
    const char *secret; /* hex, keys what must be stable in it and not guessed outside */
    int64_t created_at, versions;
};
struct dataset_list {
    struct dataset *list;
    size_t count;
};

struct dataset_version {
    const char *id, *dataset; /* "support@3", "support" */
    int64_t number;           /* from 1 */
    const char *root;         /* hex */
    const char *recipe;       /* JSON: settings, inputs */
    const char *counts;       /* JSON */
    int64_t created_at;
};
struct version_list {
    struct dataset_version *list;
    size_t count;
};

/* Roles of blobs: what a version was made from, the rows that it brought, which rows it has, those
 * rejected, where every row of the dataset has ever been. */
#define DATASET_ROLES(X)                                                                           \
    X(INPUT, "input")                                                                              \
    X(PACK, "pack") X(MANIFEST, "manifest") X(REJECTED, "rejected") X(PLACES, "places")
enum dataset_role {
#define X(name, text) DATASET_##name,
    DATASET_ROLES(X)
#undef X
        DATASET_ROLE_COUNT
};

struct dataset_blob {
    enum dataset_role role;
    const char *sha256;
    struct blob_writer *writer; /* adding: bytes to be placed; NULL: there already, by sha256 */
};
struct dataset_blobs {
    struct dataset_blob *list;
    size_t count;
};

/* The dataset, made where there is none. ERR_INVALID: no name for one (letters, digits, ".-_"). */
int datasets_ensure(struct catalog *c, const char *name, struct arena *mem, struct dataset *ret,
                    struct err *err);
int datasets_get(struct catalog *c, const char *name, struct arena *mem, struct dataset *ret,
                 struct err *err);
int datasets_list(struct catalog *c, struct arena *mem, struct dataset_list *ret, struct err *err);

/* new: dataset, number, root, recipe, counts; created_at 0: now. ERR_CONFLICT: that number is not
 * the next one, since somebody else has built meanwhile. Writers stay the caller's to free. */
int datasets_add_version(struct catalog *c, const struct dataset_version *new,
                         const struct dataset_blobs *blobs, struct arena *mem,
                         struct dataset_version *ret, struct err *err);
/* number 0: the newest */
int datasets_version(struct catalog *c, const char *name, int64_t number, struct arena *mem,
                     struct dataset_version *ret, struct err *err);
/* oldest first */
int datasets_versions(struct catalog *c, const char *name, struct arena *mem,
                      struct version_list *ret, struct err *err);
/* Of one version, in the order in which they were added. */
int datasets_blobs(struct catalog *c, const char *version, struct arena *mem,
                   struct dataset_blobs *ret, struct err *err);
/* The packs of all datasets, once each. */
int datasets_packs(struct catalog *c, struct arena *mem, struct dataset_blobs *ret,
                   struct err *err);

#endif
