#include "data/manifest.h"

#include "base/file.h"
#include "base/mem.h"
#include "data/pack.h"

#include <string.h>

#define LINE_MAX ((size_t)512 << 20)

int row_list_open(struct catalog *c, const char *version, enum dataset_role role,
                  struct row_list *ret, struct err *err) {
    struct arena mem;
    struct dataset_blobs blobs = {0};
    const char *sha256 = NULL;
    arena_init(&mem, (size_t)16 << 20);
    int rc = datasets_blobs(c, version, &mem, &blobs, err);
    for (size_t i = 0; !rc && i < blobs.count; i++)
        if (blobs.list[i].role == role) sha256 = blobs.list[i].sha256;
    if (!rc && !sha256)
        rc = err_set(err, ERR_CORRUPT, "version \"%.100s\" has lost one of its parts", version);
    *ret = (struct row_list){.line = 0};
    if (!rc) rc = blob_map(c, sha256, &ret->map, err);
    if (!rc) ret->left = (struct str){(const char *)ret->map.p, ret->map.n};
    arena_release(&mem);
    return rc;
}

void row_list_close(struct row_list *l) {
    file_map_close(&l->map);
    *l = (struct row_list){.line = 0};
}

int row_list_next(struct row_list *l, json_t **ret, struct err *err) {
    if (!l->left.n) return 0;
    const char *end = memchr(l->left.p, '\n', l->left.n);
    struct str line = {l->left.p, end ? (size_t)(end - l->left.p) : l->left.n};
    l->left = str_from(l->left, end ? line.n + 1 : line.n);
    l->line++;
    json_t *v = NULL;
    int rc = line.n <= LINE_MAX ? json_read(line, "line", &v, err)
                                : err_set(err, ERR_CORRUPT, "a line of %zu bytes", line.n);
    if (!rc && !json_is_object(v)) rc = err_set(err, ERR_CORRUPT, "no object");
    if (rc) {
        json_decref(v);
        return err_wrap(err, "line %lld of a list of rows", (long long)l->line);
    }
    *ret = v;
    return 1;
}

const char *line_text(const json_t *line, const char *key) {
    const char *z = json_string_value(json_object_get(line, key));
    return z ? z : "";
}

/* --- places --- */

int8_t place_find(struct str places, const unsigned char hash[ROW_HASH]) {
    size_t low = 0, n = places.n / PLACE_SIZE, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (memcmp(places.p + mid * PLACE_SIZE, hash, ROW_HASH) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    const char *at = places.p + low * PLACE_SIZE;
    if (low == n || memcmp(at, hash, ROW_HASH) != 0) return SPLIT_NEW;
    int8_t split = (int8_t)at[ROW_HASH];
    return split >= 0 && split < SPLITS ? split : SPLIT_NEW;
}

/* --- versions side by side --- */

struct side {
    struct row_list list;
    json_t *line; /* NULL: at the end */
};

static int advance(struct side *s, struct err *err) {
    json_decref(s->line);
    s->line = NULL;
    int rc = row_list_next(&s->list, &s->line, err);
    return rc < 0 ? rc : 0;
}

static bool differs(const json_t *a, const json_t *b) {
    static const char *const keys[] = {"split", "source", "quality"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(line_text(a, keys[i]), line_text(b, keys[i])) != 0) return true;
    return false;
}

/* {hash: line} of what a version dropped */
static int dropped_rows(struct catalog *c, const char *version, json_t *ret, struct err *err) {
    struct row_list l;
    json_t *line = NULL;
    int rc = row_list_open(c, version, DATASET_REJECTED, &l, err);
    while (!rc && (rc = row_list_next(&l, &line, err)) == 1) {
        const char *row = line_text(line, "row");
        rc = 0;
        json_object_del(line, "content");
        if (*row && strcmp(line_text(line, "action"), "reported") != 0)
            json_object_set(ret, row, line);
        json_decref(line);
    }
    row_list_close(&l);
    return rc;
}

int versions_diff(struct catalog *c, const char *a, const char *b,
                  int (*on_change)(void *ctx, const struct version_change *change, struct err *err),
                  void *ctx, struct err *err) {
    struct side x = {.line = NULL}, y = {.line = NULL};
    json_t *rejected = json_object();
    int rc = row_list_open(c, a, DATASET_MANIFEST, &x.list, err);
    if (!rc) rc = row_list_open(c, b, DATASET_MANIFEST, &y.list, err);
    if (!rc) rc = dropped_rows(c, b, rejected, err);
    if (!rc) rc = advance(&x, err);
    if (!rc) rc = advance(&y, err);
    while (!rc && (x.line || y.line)) {
        int order = !x.line ? 1 : !y.line ? -1 : 0;
        if (!order) order = strcmp(line_text(x.line, "row"), line_text(y.line, "row"));
        struct version_change change = {.before = order <= 0 ? x.line : NULL,
                                        .after = order >= 0 ? y.line : NULL};
        change.kind = order < 0 ? ROW_REMOVED : order > 0 ? ROW_ADDED : ROW_CHANGED;
        if (order < 0) change.rejected = json_object_get(rejected, line_text(x.line, "row"));
        if (order || differs(x.line, y.line)) rc = on_change(ctx, &change, err);
        if (!rc && order <= 0) rc = advance(&x, err);
        if (!rc && order >= 0) rc = advance(&y, err);
    }
    json_decref(x.line);
    json_decref(y.line);
    json_decref(rejected);
    row_list_close(&x.list);
    row_list_close(&y.list);
    return rc;
}

/* --- export --- */

struct outputs {
    struct file_writer split[SPLITS], manifest;
};

static int write_line(struct file_writer *w, struct str s, struct err *err) {
    int rc = file_writer_add(w, s.p, s.n, err);
    return rc ? rc : file_writer_add(w, "\n", 1, err);
}

static int export_line(const json_t *line, const struct pack_set *packs, struct outputs *out,
                       int64_t *counts, struct err *err) {
    unsigned char hash[ROW_HASH];
    struct str content;
    struct buf text;
    int split = -1;
    for (int s = 0; s < SPLITS; s++)
        if (strcmp(line_text(line, "split"), split_name((enum split)s)) == 0) split = s;
    if (split < 0 || !hash_of_hex(str_of(line_text(line, "row")), hash))
        return err_set(err, ERR_CORRUPT, "a damaged line in the list of rows");
    if (!pack_set_find(packs, hash, &content))
        return err_set(err, ERR_CORRUPT, "row %.12s is in no pack", line_text(line, "row"));
    counts[split]++;
    buf_init(&text, LINE_MAX);
    json_write(line, &text);
    int rc = write_line(&out->split[split], content, err);
    if (!rc) rc = write_line(&out->manifest, buf_view(&text), err);
    buf_release(&text);
    return rc;
}

static int out_open(const char *dir, const char *name, struct file_writer *w, struct err *err) {
    char *path = path_join(dir, name);
    int rc = file_exists(path)
                 ? err_set(err, ERR_CONFLICT,
                           "\"%s\" is there already; give --out another directory", path)
                 : file_writer_open(path, w, err);
    mem_free(path);
    return rc;
}

int version_export(struct catalog *c, const char *version, const char *dir, int64_t *counts,
                   struct err *err) {
    static const char *const names[SPLITS] = {"train.jsonl", "valid.jsonl", "test.jsonl"};
    struct outputs out;
    struct pack_set packs = {0};
    struct row_list l = {.line = 0};
    json_t *line = NULL;
    memset(counts, 0, SPLITS * sizeof *counts);
    out.manifest = (struct file_writer){.fd = -1};
    for (int s = 0; s < SPLITS; s++) out.split[s] = (struct file_writer){.fd = -1};
    int rc = row_list_open(c, version, DATASET_MANIFEST, &l, err);
    if (!rc) rc = pack_set_open(c, &packs, err);
    if (!rc) rc = dir_make(dir, err);
    for (int s = 0; !rc && s < SPLITS; s++) rc = out_open(dir, names[s], &out.split[s], err);
    if (!rc) rc = out_open(dir, "manifest.jsonl", &out.manifest, err);
    while (!rc && (rc = row_list_next(&l, &line, err)) == 1) {
        rc = export_line(line, &packs, &out, counts, err);
        json_decref(line);
    }
    for (int s = 0; !rc && s < SPLITS; s++)
        if (counts[s]) rc = file_writer_commit(&out.split[s], err);
    if (!rc) rc = file_writer_commit(&out.manifest, err);
    for (int s = 0; s < SPLITS; s++) file_writer_abort(&out.split[s]);
    file_writer_abort(&out.manifest);
    pack_set_close(&packs);
    row_list_close(&l);
    return rc;
}
