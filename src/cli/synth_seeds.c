#include "cli/synth_seeds.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/source.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)4 << 20)

static void skip(struct seed_list *l, const char *why) {
    if (!l->skipped++) snprintf(l->first_skip, sizeof l->first_skip, "%s", why);
}

static void take(struct seed_list *l, const struct example *e) {
    struct err err;
    struct synth_seed seed;
    if (synth_seed_of(e, &seed, &err)) {
        skip(l, err.msg);
        return;
    }
    mem_grow((void **)&l->list, &l->cap, l->count + 1, sizeof *l->list);
    l->list[l->count++] = seed;
}

static int read_all(struct source *s, int64_t limit, struct pool *pool, struct seed_list *l,
                    struct err *err) {
    struct findings *f = findings_new();
    const struct example *list = NULL;
    size_t n = 1;
    int rc = 0;
    while (!rc && n && (!limit || (int64_t)l->count < limit)) {
        rc = source_next(s, pool, &list, &n, f, err);
        for (size_t i = 0; !rc && i < n && (!limit || (int64_t)l->count < limit); i++)
            take(l, &list[i]);
    }
    for (size_t i = 0; i < findings_count(f); i++) {
        const struct finding *one = findings_at(f, i);
        char why[200];
        if (finding_group(one->kind) == CHECK_NOTES) continue;
        snprintf(why, sizeof why, "row %lld: %s: %.120s", (long long)one->row,
                 finding_label(one->kind), one->detail ? one->detail : finding_text(one->kind));
        skip(l, why);
    }
    findings_free(f);
    return rc;
}

int seeds_read(const char *path, int64_t limit, struct seed_list *ret, struct err *err) {
    struct source *s = NULL;
    struct source_options o = {0};
    struct pool *pool = pool_new(0);
    *ret = (struct seed_list){0};
    int rc = sha256_file(path, ret->sha256, err);
    if (!rc) rc = source_open(path, &o, &s, err);
    if (!rc) rc = read_all(s, limit, pool, ret, err);
    source_close(s);
    pool_free(pool);
    if (!rc && !ret->count)
        rc = err_set(err, ERR_INVALID, "\"%s\" has no row with a question of a user%s%s", path,
                     ret->skipped ? "; " : "", ret->first_skip);
    return rc;
}

void seeds_release(struct seed_list *l) {
    for (size_t i = 0; i < l->count; i++) synth_seed_release(&l->list[i]);
    mem_free(l->list);
    *l = (struct seed_list){0};
}

int text_option(const char *value, char **owned, struct err *err) {
    struct buf b;
    if (value[0] != '@') {
        *owned = mem_strdup(value);
        return 0;
    }
    buf_init(&b, TEXT_MAX);
    int rc = file_read(value + 1, &b, err);
    if (!rc) *owned = b.p ? buf_take(&b) : mem_strdup("");
    buf_release(&b);
    return rc;
}
