/* API keys. The catalog knows a key's SHA-256 and its last four characters, never the key. */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "store/catalog.h"

enum key_scope { KEY_INFERENCE = 1, KEY_TUNING = 2, KEY_ADMIN = 4 }; /* admin may do all */
#define KEY_ALL (KEY_INFERENCE | KEY_TUNING | KEY_ADMIN)

struct api_key {
    const char *id, *name; /* name may be NULL */
    const char *hint;      /* "sk-...abcd" */
    unsigned scopes;
    int64_t created_at, expires_at, revoked_at, last_used_at;
};
struct key_list {
    struct api_key *list;
    size_t count;
};

#define KEY_SIZE 64
/* new: name, scopes, expires_at. secret: the key itself, to be shown this one time. */
int keys_add(struct catalog *c, const struct api_key *new, char secret[KEY_SIZE], struct arena *mem,
             struct api_key *ret, struct err *err);
int keys_list(struct catalog *c, struct arena *mem, struct key_list *ret, struct err *err);
int keys_revoke(struct catalog *c, const char *id, struct err *err);

/* Whether requests need a key: since the first one was made, revoked or not. */
int keys_required(struct catalog *c, bool *ret, struct err *err);
/* The key of a request: ERR_NOT_FOUND when it is none of ours, revoked or expired. Remembers the
 * use, to the minute. */
int keys_check(struct catalog *c, struct str secret, struct arena *mem, struct api_key *ret,
               struct err *err);

#endif
