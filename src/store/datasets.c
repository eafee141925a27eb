#include "store/datasets.h"

#include "base/clock.h"
#include "store/store_int.h"

#include <stdio.h>

static void read_dataset(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct dataset *)row = (struct dataset){.id = col_z(st, 0, mem),
                                              .created_at = col_i64(st, 1),
                                              .secret = col_z(st, 2, mem),
                                              .versions = col_i64(st, 3)};
}
static const struct table datasets = {
    .name = "dataset",
    .columns = "id, created_at, secret, (SELECT count(*) FROM dataset_version v "
               "WHERE v.dataset = dataset.id)",
    .what = "dataset",
    .row_size = sizeof(struct dataset),
    .read = read_dataset};

static void read_version(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct dataset_version *)row = (struct dataset_version){.id = col_z(st, 0, mem),
                                                              .created_at = col_i64(st, 1),
                                                              .dataset = col_z(st, 2, mem),
                                                              .number = col_i64(st, 3),
                                                              .root = col_z(st, 4, mem),
                                                              .recipe = col_z(st, 5, mem),
                                                              .counts = col_z(st, 6, mem)};
}
static const struct table versions = {.name = "dataset_version",
                                      .columns =
                                          "id, created_at, dataset, number, root, recipe, counts",
                                      .what = "version of a dataset",
                                      .row_size = sizeof(struct dataset_version),
                                      .read = read_version};

/* --- datasets --- */

#define NAME_MAX_BYTES 64

static bool is_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
    return n > 0 && n <= NAME_MAX_BYTES && !name[n] && name[0] != '.' && name[0] != '-';
}

int datasets_ensure(struct catalog *c, const char *name, struct arena *mem, struct dataset *ret,
                    struct err *err) {
    char secret[ID_SIZE];
    if (!is_name(name))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" is no name for a dataset; take up to %d letters, digits, '.', "
                       "'-' and '_'",
                       name, NAME_MAX_BYTES);
    id_random(secret, 40);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "INSERT INTO dataset(id, created_at, secret) VALUES (?, ?, ?) "
                "ON CONFLICT(id) DO NOTHING",
                VALS(v_z(name), v_i(clock_unix()), v_z(secret)), err);
    if (!rc) rc = table_get(&c->writer, &datasets, name, mem, ret, err);
    return store_write_end(c, rc, err);
}

int datasets_get(struct catalog *c, const char *name, struct arena *mem, struct dataset *ret,
                 struct err *err) {
    return store_get(c, &datasets, name, mem, ret, err);
}

int datasets_list(struct catalog *c, struct arena *mem, struct dataset_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &datasets, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct dataset_list){out.rows, out.count};
    return rc;
}

/* --- versions --- */

static const char *const roles[] = {
#define X(name, text) text,
    DATASET_ROLES(X)
#undef X
};

static int add_blob(struct catalog *c, const char *version, const struct dataset_blob *b,
                    struct err *err) {
    const char *sha256 = b->writer ? blob_writer_sha256(b->writer) : b->sha256;
    int rc = b->writer ? blob_place(c, b->writer, err) : 0;
    if (rc) return rc;
    return db_run(&c->writer, "INSERT INTO dataset_blob(version, role, blob) VALUES (?, ?, ?)",
                  VALS(v_z(version), v_z(roles[b->role]), v_z(sha256)), err);
}

static int add_in(struct catalog *c, const struct dataset_version *new,
                  const struct dataset_blobs *blobs, const char *id, struct err *err) {
    int64_t last = 0;
    bool found;
    int rc = db_i64(&c->writer, "SELECT max(number) FROM dataset_version WHERE dataset = ?",
                    VALS(v_z(new->dataset)), &last, &found, err);
    if (!rc && new->number != last + 1)
        rc = err_set(err, ERR_CONFLICT,
                     "\"%.80s\" has got version %lld meanwhile; build again, on top of it",
                     new->dataset, (long long)last);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "INSERT INTO dataset_version(id, created_at, dataset, number, root, recipe, "
                "counts) VALUES (?, ?, ?, ?, ?, ?, ?)",
                VALS(v_z(id), v_i(new->created_at ? new->created_at : clock_unix()),
                     v_z(new->dataset), v_i(new->number), v_z(new->root), v_z(new->recipe),
                     v_z(new->counts)),
                err);
    for (size_t i = 0; !rc && i < blobs->count; i++) rc = add_blob(c, id, &blobs->list[i], err);
    return rc;
}

int datasets_add_version(struct catalog *c, const struct dataset_version *new,
                         const struct dataset_blobs *blobs, struct arena *mem,
                         struct dataset_version *ret, struct err *err) {
    char id[NAME_MAX_BYTES + 32];
    int rc = 0;
    snprintf(id, sizeof id, "%s@%lld", new->dataset, (long long)new->number);
    for (size_t i = 0; !rc && i < blobs->count; i++)
        if (blobs->list[i].writer) rc = blob_writer_finish(blobs->list[i].writer, err);
    if (!rc) rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = add_in(c, new, blobs, id, err);
    if (!rc) rc = table_get(&c->writer, &versions, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int datasets_version(struct catalog *c, const char *name, int64_t number, struct arena *mem,
                     struct dataset_version *ret, struct err *err) {
    char id[NAME_MAX_BYTES + 32];
    struct dataset d;
    int rc = datasets_get(c, name, mem, &d, err);
    if (rc) return rc;
    if (!d.versions)
        return err_set(err, ERR_NOT_FOUND, "dataset \"%.80s\" has no version yet", name);
    snprintf(id, sizeof id, "%.64s@%lld", name, (long long)(number ? number : d.versions));
    return store_get(c, &versions, id, mem, ret, err);
}

int datasets_versions(struct catalog *c, const char *name, struct arena *mem,
                      struct version_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    struct dataset d;
    int rc = datasets_get(c, name, mem, &d, err);
    if (rc) return rc;
    where_init(&w);
    where_add(&w, "dataset = ?", v_z(name));
    rc = store_list(c, &versions, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct version_list){out.rows, out.count};
    return rc;
}

/* --- their blobs --- */

static void read_blob(sqlite3_stmt *st, struct arena *mem, void *row) {
    const char *role = col_z(st, 0, mem);
    struct dataset_blob *b = row;
    *b = (struct dataset_blob){.sha256 = col_z(st, 1, mem)};
    for (int i = 0; role && i < DATASET_ROLE_COUNT; i++)
        if (strcmp(role, roles[i]) == 0) b->role = (enum dataset_role)i;
}
static const struct table blobs_table = {.name = "dataset_blob",
                                         .columns = "role, blob",
                                         .what = "blob of a dataset",
                                         .row_size = sizeof(struct dataset_blob),
                                         .read = read_blob};

int datasets_blobs(struct catalog *c, const char *version, struct arena *mem,
                   struct dataset_blobs *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_add(&w, "version = ?", v_z(version));
    int rc = store_list(c, &blobs_table, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct dataset_blobs){out.rows, out.count};
    return rc;
}

int datasets_packs(struct catalog *c, struct arena *mem, struct dataset_blobs *ret,
                   struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    where_plain(&w, "role = 'pack' AND seq IN (SELECT min(seq) FROM dataset_blob "
                    "WHERE role = 'pack' GROUP BY blob)");
    int rc = store_list(c, &blobs_table, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct dataset_blobs){out.rows, out.count};
    return rc;
}
