#include "store/keys.h"

#include "base/clock.h"
#include "base/hash.h"
#include "store/store_int.h"

#include <stdio.h>

#define KEY_RANDOM 43  /* letters and digits: 256 bits */
#define USE_SECONDS 60 /* a use is not written more often than this */

static void read_key(sqlite3_stmt *st, struct arena *mem, void *row) {
    *(struct api_key *)row = (struct api_key){.id = col_z(st, 0, mem),
                                              .created_at = col_i64(st, 1),
                                              .name = col_z(st, 2, mem),
                                              .hint = col_z(st, 3, mem),
                                              .scopes = (unsigned)col_i64(st, 4),
                                              .expires_at = col_i64(st, 5),
                                              .revoked_at = col_i64(st, 6),
                                              .last_used_at = col_i64(st, 7)};
}
static const struct table keys = {
    .name = "api_key",
    .columns = "id, created_at, name, hint, scopes, expires_at, revoked_at, last_used_at",
    .what = "key",
    .row_size = sizeof(struct api_key),
    .read = read_key};

int keys_add(struct catalog *c, const struct api_key *new, char secret[KEY_SIZE], struct arena *mem,
             struct api_key *ret, struct err *err) {
    char id[ID_SIZE], hint[KEY_SIZE], hash[SHA256_HEX + 1], text[KEY_SIZE] = "sk-";
    id_new("key_", id);
    id_random(text + 3, KEY_RANDOM);
    snprintf(hint, sizeof hint, "sk-...%s", text + 3 + KEY_RANDOM - 4);
    sha256_of(str_of(text), hash);
    int rc = store_write_begin(c, err);
    if (rc) return rc;
    rc = db_run(&c->writer,
                "INSERT INTO api_key(id, created_at, name, hash, hint, scopes, expires_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                VALS(v_z(id), v_i(clock_unix()), v_z(new->name), v_z(hash), v_z(hint),
                     v_i(new->scopes), v_time(new->expires_at)),
                err);
    if (!rc) rc = table_get(&c->writer, &keys, id, mem, ret, err);
    rc = store_write_end(c, rc, err);
    if (!rc) memcpy(secret, text, sizeof text);
    return rc;
}

int keys_list(struct catalog *c, struct arena *mem, struct key_list *ret, struct err *err) {
    struct where w;
    struct list_out out;
    where_init(&w);
    int rc = store_list(c, &keys, &w, &page_all, mem, &out, err);
    if (!rc) *ret = (struct key_list){out.rows, out.count};
    return rc;
}

int keys_revoke(struct catalog *c, const char *id, struct err *err) {
    return store_change(c, &keys, id,
                        "UPDATE api_key SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?",
                        VALS(v_i(clock_unix()), v_z(id)), err);
}

int keys_required(struct catalog *c, bool *ret, struct err *err) {
    int64_t one;
    int rc = store_read_begin(c, err);
    if (rc) return rc;
    rc = db_i64(&c->reader, "SELECT 1 FROM api_key LIMIT 1", NULL, 0, &one, ret, err);
    return store_read_end(c, rc, err);
}

int keys_check(struct catalog *c, struct str secret, struct arena *mem, struct api_key *ret,
               struct err *err) {
    char hash[SHA256_HEX + 1];
    struct where w;
    struct list_out out = {0};
    int64_t now = clock_unix();
    sha256_of(secret, hash);
    where_init(&w);
    where_add(&w, "hash = ?", v_z(hash));
    where_plain(&w, "revoked_at IS NULL");
    where_add(&w, "(expires_at IS NULL OR expires_at > ?)", v_i(now));
    int rc = store_list(c, &keys, &w, &page_all, mem, &out, err);
    if (rc) return rc;
    if (out.count == 0)
        return err_set(err, ERR_NOT_FOUND, "the key is not known, has expired or was revoked");
    const struct api_key *found = out.rows;
    *ret = *found;
    if (now - found->last_used_at < USE_SECONDS) return 0;
    struct err ignored; /* a full disk is no reason to turn a good key away */
    store_change(c, &keys, found->id, "UPDATE api_key SET last_used_at = ? WHERE id = ?",
                 VALS(v_i(now), v_z(found->id)), &ignored);
    return 0;
}
