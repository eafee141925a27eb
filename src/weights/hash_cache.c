#include "weights/hash_cache.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

/* A file changed this recently may change again within one tick of its file system's clock. */
#define SETTLED_SECONDS 2

void hash_cache_begin(struct hash_cache_key *k, const char *kind) {
    *k = (struct hash_cache_key){.hash = sha256_new(), .usable = true};
    sha256_add(k->hash, kind, strlen(kind) + 1);
}

void hash_cache_add(struct hash_cache_key *k, const char *path) {
    struct stat st;
    char *full = realpath(path, NULL);
    if (!full || stat(full, &st) != 0 || time(NULL) - st.st_mtime < SETTLED_SECONDS) {
        k->usable = false;
    } else {
        char line[160];
        int n = snprintf(line, sizeof line, " %lld %lld %lld %lld.%09ld %lld.%09ld\n",
                         (long long)st.st_dev, (long long)st.st_ino, (long long)st.st_size,
                         (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                         (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
        sha256_add(k->hash, full, strlen(full));
        sha256_add(k->hash, line, (size_t)n);
    }
    free(full);
}

static char *entry_path(const struct hash_cache_key *k) {
    char *home = path_home(), *dir = path_join(home, "hashes"), *path = path_join(dir, k->hex);
    mem_free(home);
    mem_free(dir);
    return path;
}

static bool is_hash(struct str s) {
    if (s.n != SHA256_HEX) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'))) return false;
    return true;
}

bool hash_cache_find(struct hash_cache_key *k, char hex[SHA256_HEX + 1]) {
    sha256_finish(k->hash, k->hex);
    k->hash = NULL;
    if (!k->usable) return false;
    char *path = entry_path(k);
    struct buf b;
    struct err err;
    buf_init(&b, SHA256_HEX);
    bool found = file_read(path, &b, &err) == 0 && is_hash(buf_view(&b));
    if (found) memcpy(hex, b.p, SHA256_HEX + 1);
    buf_release(&b);
    mem_free(path);
    return found;
}

void hash_cache_put(const struct hash_cache_key *k, const char hex[SHA256_HEX + 1]) {
    if (!k->usable) return;
    struct err err; /* a cache that cannot be written is no error */
    char *home = path_home(), *dir = path_join(home, "hashes"), *path = path_join(dir, k->hex);
    if (dir_make(dir, &err) == 0) file_write_atomic(path, str_of(hex), &err);
    mem_free(path);
    mem_free(dir);
    mem_free(home);
}
