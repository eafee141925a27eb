#include "store/uploads.h"

#include "base/clock.h"
#include "store/store_int.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

#define MD5_HEX 32

static void read_upload(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct upload *)row = (struct upload){.id = col_z(st, 0, mem),
                                            .created_at = col_i64(st, 1),
                                            .filename = col_z(st, 2, mem),
                                            .purpose = col_z(st, 3, mem),
                                            .mime_type = col_z(st, 4, mem),
                                            .bytes = col_i64(st, 5),
                                            .status = col_z(st, 6, mem),
                                            .expires_at = col_i64(st, 7),
                                            .file_expires_after = col_i64(st, 8),
                                            .file = col_z(st, 9, mem)};
}
static const struct table uploads = {
    .name = "upload",
    .columns = "id, created_at, filename, purpose, mime_type, bytes, "
               "iif(status = 'pending' AND expires_at <= unixepoch(), 'expired', status), "
               "expires_at, file_expires_after, file",
    .what = "upload",
    .row_size = sizeof(struct upload),
    .read = read_upload};

static void read_part(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct upload_part *)row = (struct upload_part){.id = col_z(st, 0, mem),
                                                      .created_at = col_i64(st, 1),
                                                      .upload = col_z(st, 2, mem),
                                                      .bytes = col_i64(st, 3),
                                                      .blob = col_z(st, 4, mem)};
}
static const struct table parts = {.name = "upload_part",
                                   .columns = "id, created_at, upload, bytes, blob",
                                   .what = "upload part",
                                   .row_size = sizeof(struct upload_part),
                                   .read = read_part};

int uploads_add(struct catalog *c, const struct upload *new, struct arena *mem, struct upload *ret,
                struct err *err) {
    char id[ID_SIZE];
    int64_t now = clock_unix();
    id_new("upload_", id);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "INSERT INTO upload(id, created_at, filename, purpose, mime_type, bytes, status, "
                "expires_at, file_expires_after) VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
                VALS(v_z(id), v_i(now), v_z(new->filename), v_z(new->purpose), v_z(new->mime_type),
                     v_i(new->bytes), v_i(now + UPLOAD_SECONDS), v_time(new->file_expires_after)),
                err);
    if (!rc) rc = table_get(&c->writer, &uploads, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int uploads_get(struct catalog *c, const char *id, struct arena *mem, struct upload *ret,
                struct err *err) {
    return store_get(c, &uploads, id, mem, ret, err);
}

/* in a transaction */
static int get_pending(struct catalog *c, const char *id, struct arena *mem, struct upload *ret,
                       struct err *err) {
    int rc = table_get(&c->writer, &uploads, id, mem, ret, err);
    if (rc || strcmp(ret->status, "pending") == 0) return rc;
    return err_set(err, ERR_CONFLICT, "upload \"%s\" is %s", id, ret->status);
}

static int insert_part(struct catalog *c, const char *id, const struct upload *u,
                       struct blob_writer *w, struct err *err) {
    int64_t have = 0, count = 0, bytes = blob_writer_bytes(w);
    bool found;
    struct val upload = v_z(u->id);
    int rc = db_i64(&c->writer, "SELECT sum(bytes) FROM upload_part WHERE upload = ?", VALS(upload),
                    &have, &found, err);
    if (!rc)
        rc = db_i64(&c->writer, "SELECT count(*) FROM upload_part WHERE upload = ?", VALS(upload),
                    &count, &found, err);
    if (rc) return rc;
    if (count >= UPLOAD_PARTS_MAX)
        return err_set(err, ERR_LIMIT, "an upload has at most %d parts", UPLOAD_PARTS_MAX);
    if (bytes > u->bytes - have)
        return err_set(err, ERR_INVALID,
                       "%lld bytes were announced, the parts have %lld with this one",
                       (long long)u->bytes, (long long)(have + bytes));
    rc = blob_place(c, w, err);
    if (rc) return rc;
    return db_run(&c->writer,
                  "INSERT INTO upload_part(id, created_at, upload, bytes, blob) "
                  "VALUES (?, ?, ?, ?, ?)",
                  VALS(v_z(id), v_i(clock_unix()), upload, v_i(bytes), v_z(blob_writer_sha256(w))),
                  err);
}

int uploads_add_part(struct catalog *c, const char *id, struct blob_writer *w, struct arena *mem,
                     struct upload_part *ret, struct err *err) {
    char part[ID_SIZE];
    struct upload u;
    id_new("part_", part);
    int rc = blob_writer_finish(w, err);
    if (!rc) rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = get_pending(c, id, mem, &u, err);
    if (!rc) rc = insert_part(c, part, &u, w, err);
    if (!rc) rc = table_get(&c->writer, &parts, part, mem, ret, err);
    return store_write_end(c, rc, err);
}

/* --- the end --- */

static int list_parts(struct db *db, const char *id, struct arena *mem, struct list_out *ret,
                      struct err *err) {
    struct where w;
    where_init(&w);
    where_add(&w, "upload = ?", v_z(id));
    int rc = table_list(db, &parts, &w, &page_all, mem, ret, err);
    where_release(&w);
    return rc;
}

/* Puts the parts in the order asked for; each once. */
static int order_parts(const struct list_out *have, const struct upload_order *o,
                       const struct upload_part **ret, struct err *err) {
    const struct upload_part *list = have->rows;
    for (size_t i = 0; i < o->count; i++) {
        ret[i] = NULL;
        for (size_t k = 0; k < have->count; k++)
            if (strcmp(list[k].id, o->parts[i]) == 0) ret[i] = &list[k];
        if (!ret[i]) return no_such(&parts, o->parts[i], err);
        for (size_t k = 0; k < i; k++)
            if (ret[k] == ret[i])
                return err_set(err, ERR_INVALID, "part \"%s\" is named twice", o->parts[i]);
    }
    return 0;
}

static int append_part(struct catalog *c, const struct upload_part *part, struct blob_writer *w,
                       EVP_MD_CTX *md5, struct err *err) {
    struct file_map map;
    int rc = blob_map(c, part->blob, &map, err);
    if (rc) return rc;
    rc = blob_writer_add(w, map.p ? map.p : (const void *)"", map.n, err);
    if (!rc && md5 && EVP_DigestUpdate(md5, map.p, map.n) != 1)
        rc = err_set(err, ERR_INTERNAL, "md5 failed");
    file_map_close(&map);
    return rc;
}

static int check_md5(EVP_MD_CTX *md5, struct upload_order *o, struct err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char hex[MD5_HEX + 1] = "";
    if (EVP_DigestFinal_ex(md5, digest, &n) != 1 || n * 2 != MD5_HEX)
        return err_set(err, ERR_INTERNAL, "md5 failed");
    for (unsigned i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    o->md5_wrong = strcasecmp(hex, o->md5) != 0;
    if (!o->md5_wrong) return 0;
    return err_set(err, ERR_INVALID, "the parts have the md5 %s, not %.64s", hex, o->md5);
}

static int join_parts(struct catalog *c, const struct upload *u, struct upload_order *o,
                      const struct upload_part *const *list, struct blob_writer *w,
                      struct err *err) {
    EVP_MD_CTX *md5 = o->md5 ? EVP_MD_CTX_new() : NULL;
    int rc = 0;
    if (o->md5 && (!md5 || EVP_DigestInit_ex(md5, EVP_md5(), NULL) != 1))
        rc = err_set(err, ERR_UNSUPPORTED, "this machine's libcrypto has no md5; leave it out");
    for (size_t i = 0; !rc && i < o->count; i++) rc = append_part(c, list[i], w, md5, err);
    if (!rc && blob_writer_bytes(w) != u->bytes)
        rc = err_set(err, ERR_INVALID, "%lld bytes were announced, the parts have %lld",
                     (long long)u->bytes, (long long)blob_writer_bytes(w));
    if (!rc && md5) rc = check_md5(md5, o, err);
    EVP_MD_CTX_free(md5);
    return rc ? rc : blob_writer_finish(w, err);
}

/* The parts' rows go in the transaction; their bytes after it. */
static int close_upload(struct catalog *c, const char *id, const char *status, const char *file,
                        struct err *err) {
    int rc = db_run(&c->writer, "UPDATE upload SET status = ?, file = ? WHERE id = ?",
                    VALS(v_z(status), v_z(file), v_z(id)), err);
    if (rc) return rc;
    return db_run(&c->writer, "DELETE FROM upload_part WHERE upload = ?", VALS(v_z(id)), err);
}

static void drop_parts(struct catalog *c, const struct list_out *have) {
    const struct upload_part *list = have->rows;
    for (size_t i = 0; i < have->count; i++) blob_drop(c, list[i].blob);
}

static int become_file(struct catalog *c, const char *id, struct blob_writer *w, struct arena *mem,
                       struct upload *ret, struct stored_file *ret_file, struct err *err) {
    char file[ID_SIZE];
    struct upload u;
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = get_pending(c, id, mem, &u, err);
    if (rc) return store_write_end(c, rc, err);
    int64_t life = u.file_expires_after;
    struct stored_file new = {
        .filename = u.filename, .purpose = u.purpose, .expires_at = life ? clock_unix() + life : 0};
    rc = files_insert(c, &new, w, file, err);
    if (!rc) rc = close_upload(c, id, "completed", file, err);
    if (!rc) rc = files_get_in(&c->writer, file, mem, ret_file, err);
    if (!rc) rc = table_get(&c->writer, &uploads, id, mem, ret, err);
    return store_write_end(c, rc, err);
}

int uploads_complete(struct catalog *c, const char *id, struct upload_order *o, struct arena *mem,
                     struct upload *ret, struct stored_file *ret_file, struct err *err) {
    struct upload u;
    struct list_out have = {0};
    struct blob_writer *w = NULL;
    if (o->count > UPLOAD_PARTS_MAX)
        return err_set(err, ERR_LIMIT, "an upload has at most %d parts", UPLOAD_PARTS_MAX);
    const struct upload_part **list = arena_array(mem, o->count + 1, sizeof *list);
    int rc = arena_checked(mem, err);
    if (!rc) rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = get_pending(c, id, mem, &u, err);
    if (!rc) rc = list_parts(&c->writer, id, mem, &have, err);
    rc = store_write_end(c, rc, err);
    if (!rc) rc = order_parts(&have, o, list, err);
    if (!rc) rc = blob_writer_open(c, &w, err);
    if (!rc) rc = join_parts(c, &u, o, list, w, err);
    if (!rc) rc = become_file(c, id, w, mem, ret, ret_file, err);
    if (!rc) drop_parts(c, &have);
    blob_writer_free(w);
    return rc;
}

int uploads_cancel(struct catalog *c, const char *id, struct arena *mem, struct upload *ret,
                   struct err *err) {
    struct list_out have = {0};
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = get_pending(c, id, mem, ret, err);
    if (!rc) rc = list_parts(&c->writer, id, mem, &have, err);
    if (!rc) rc = close_upload(c, id, "cancelled", NULL, err);
    if (!rc) rc = table_get(&c->writer, &uploads, id, mem, ret, err);
    rc = store_write_end(c, rc, err);
    if (!rc) drop_parts(c, &have);
    return rc;
}

static int expire_one(struct catalog *c, const char *id, struct arena *mem, struct err *err) {
    struct list_out have = {0};
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = list_parts(&c->writer, id, mem, &have, err);
    if (!rc) rc = close_upload(c, id, "expired", NULL, err);
    rc = store_write_end(c, rc, err);
    if (!rc) drop_parts(c, &have);
    return rc;
}

int uploads_expire(struct catalog *c, int64_t now, struct err *err) {
    struct list_out out = {0};
    int rc = 0;
    do {
        struct where w;
        struct arena mem;
        arena_init(&mem, 8 << 20);
        where_init(&w);
        where_plain(&w, "status = 'pending'");
        where_add(&w, "expires_at <= ?", v_i(now));
        rc = store_list(c, &uploads, &w, &(struct page){.limit = 16}, &mem, &out, err);
        const struct upload *list = out.rows;
        for (size_t i = 0; !rc && i < out.count; i++) rc = expire_one(c, list[i].id, &mem, err);
        arena_release(&mem);
    } while (!rc && out.has_more);
    return rc;
}
