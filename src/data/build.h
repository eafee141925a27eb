/* A version of a dataset out of sources: read, check, mask, drop what says the same twice or gives
 * a held-out case away, split, write. Every row that is dropped or changed is kept with the reason.
 *
 * The version is a function of the settings, the rows and the dataset's earlier versions: not of
 * threads, batches or the order of rows. Inputs are kept as blobs, so that it can be rebuilt.
 *
 *     rc = build_run(c, &options, &built, err);     // built.version.id: "support@3"
 *     build_release(&built);
 */
#ifndef DATA_BUILD_H
#define DATA_BUILD_H

#include "base/json.h"
#include "base/pool.h"
#include "data/production.h"
#include "data/source.h"
#include "store/datasets.h"

enum build_source { BUILD_HUMAN, BUILD_PRODUCTION, BUILD_SYNTHETIC, BUILD_SOURCES };
const char *build_source_name(enum build_source s); /* "human", ... */

/* What becomes of rows with personal data. Nothing is masked unasked: a mask changes what the
 * model learns, and no detector finds everything. */
enum build_pii { BUILD_PII_DROP, BUILD_PII_MASK, BUILD_PII_PSEUDONYM, BUILD_PII_REPORT };

/* By label where the answers are few and short, else by source. */
enum build_stratify { BUILD_BY_AUTO, BUILD_BY_LABEL, BUILD_BY_SOURCE, BUILD_BY_NOTHING };

struct build_from {
    enum build_source source;
    const char *path; /* NULL: our own stored completions */
};

struct build_options {
    const char *name;
    const struct build_from *from;
    size_t from_count;
    const char *const *against; /* files of held-out cases */
    size_t against_count;
    struct source_options read; /* how all files are read */
    struct production_filter filter;
    double min_feedback; /* of production; below -1: none asked for */
    double valid, test;  /* shares */
    double near;         /* similarity of near duplicates; 0: 0.80 */
    uint64_t salt;
    enum build_pii pii;
    enum build_stratify stratify;
    bool yes; /* drop however much there is to drop */
    struct pool *pool;
};

/* counts: {"rows","splits":{"train","valid","test"},"sources":[{"source","name","format","reason",
 * "read","kept","dropped","edited"}],"kinds":{KIND:{"dropped","edited","reported"}},
 * "strata":[...],"corrections","left_out"} */
struct built {
    struct dataset_version version;
    bool unchanged; /* nothing new: version is the newest there was */
    json_t *counts;
    struct arena mem;
};
void build_release(struct built *b);

/* ERR_CONFLICT: it would drop more than a fifth of a source, or a cluster of more than a thousand
 * rows (built->counts says what), or another build was first. No version is left then. */
int build_run(struct catalog *c, const struct build_options *o, struct built *ret, struct err *err);

/* Rows that the newest version rejected, by the beginning of their hashes, come back for a reason:
 * a new version from the same inputs. */
struct build_restore {
    const char *name, *reason;
    const char *const *rows;
    size_t count;
    struct pool *pool;
};
int build_restore(struct catalog *c, const struct build_restore *r, struct built *ret,
                  struct err *err);

/* Again from the recipe and the kept inputs; root: what it came to, 64 hex digits. */
int build_reproduce(struct catalog *c, const struct dataset_version *v, struct pool *pool,
                    char root[65], struct err *err);

#endif
