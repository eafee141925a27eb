#include "data/pack.h"

#include "base/mem.h"
#include "store/datasets.h"

#include <string.h>

static const char head[] = "attune pack 1\n", tail[] = "attnpack";
#define HEAD (sizeof head - 1)
#define ENTRY (ROW_HASH + 8 + 4)
#define TAIL (8 + 8 + 8)

static void put(unsigned char *to, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get(const unsigned char *p, int bytes) {
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;) v = v << 8 | p[i];
    return v;
}

/* --- writing --- */

int pack_begin(struct pack_writer *w, struct blob_writer *blob, struct err *err) {
    *w = (struct pack_writer){.blob = blob};
    return blob_writer_add(blob, head, HEAD, err);
}

static int index_grow(struct pack_writer *w, struct err *err) {
    unsigned char *grown = NULL;
    size_t cap = w->cap ? 2 * w->cap : 1024;
    int rc = mem_try(cap, ENTRY, "index of a pack", (void **)&grown, err);
    if (rc) return rc;
    if (w->rows) memcpy(grown, w->index, w->rows * ENTRY);
    mem_free(w->index);
    w->index = grown;
    w->cap = cap;
    return 0;
}

int pack_add(struct pack_writer *w, const unsigned char hash[ROW_HASH], struct str content,
             struct err *err) {
    if (content.n > UINT32_MAX) return err_set(err, ERR_LIMIT, "a row of %zu bytes", content.n);
    int rc = w->rows == w->cap ? index_grow(w, err) : 0;
    if (rc) return rc;
    unsigned char *e = w->index + w->rows * ENTRY;
    memcpy(e, hash, ROW_HASH);
    put(e + ROW_HASH, (uint64_t)blob_writer_bytes(w->blob), 8);
    put(e + ROW_HASH + 8, content.n, 4);
    w->rows++;
    rc = blob_writer_add(w->blob, content.p, content.n, err);
    return rc ? rc : blob_writer_add(w->blob, "\n", 1, err);
}

int pack_end(struct pack_writer *w, struct err *err) {
    unsigned char end[TAIL];
    put(end, (uint64_t)blob_writer_bytes(w->blob), 8);
    put(end + 8, w->rows, 8);
    memcpy(end + 16, tail, 8);
    int rc = w->rows ? blob_writer_add(w->blob, w->index, w->rows * ENTRY, err) : 0;
    return rc ? rc : blob_writer_add(w->blob, end, TAIL, err);
}

void pack_release(struct pack_writer *w) {
    mem_free(w->index);
    *w = (struct pack_writer){0};
}

/* --- reading --- */

int pack_open(struct str bytes, struct pack *ret, struct err *err) {
    const unsigned char *p = (const unsigned char *)bytes.p;
    if (bytes.n < HEAD + TAIL || memcmp(p, head, HEAD) != 0 ||
        memcmp(p + bytes.n - 8, tail, 8) != 0)
        return err_set(err, ERR_CORRUPT, "not a pack of rows, or cut");
    uint64_t at = get(p + bytes.n - TAIL, 8), rows = get(p + bytes.n - TAIL + 8, 8);
    if (at < HEAD || at > bytes.n - TAIL || rows != (bytes.n - TAIL - at) / ENTRY ||
        rows * ENTRY != bytes.n - TAIL - at)
        return err_set(err, ERR_CORRUPT, "a pack of rows whose index does not fit");
    *ret = (struct pack){.bytes = {bytes.p, (size_t)at}, .index = p + at, .rows = (size_t)rows};
    return 0;
}

bool pack_find(const struct pack *p, const unsigned char hash[ROW_HASH], struct str *ret) {
    size_t low = 0, high = p->rows;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (memcmp(p->index + mid * ENTRY, hash, ROW_HASH) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    const unsigned char *e = p->index + low * ENTRY;
    if (low == p->rows || memcmp(e, hash, ROW_HASH) != 0) return false;
    uint64_t at = get(e + ROW_HASH, 8), n = get(e + ROW_HASH + 8, 4);
    if (at > p->bytes.n || n > p->bytes.n - at) return false; /* damaged */
    *ret = (struct str){p->bytes.p + at, (size_t)n};
    return true;
}

/* --- all of a home --- */

int pack_set_open(struct catalog *c, struct pack_set *ret, struct err *err) {
    struct arena mem;
    struct dataset_blobs packs = {0};
    struct pack_set s = {0};
    arena_init(&mem, (size_t)64 << 20);
    int rc = datasets_packs(c, &mem, &packs, err);
    if (!rc && packs.count) s.list = mem_zalloc(packs.count, sizeof *s.list);
    for (size_t i = 0; !rc && i < packs.count; i++) {
        struct mapped_pack *p = &s.list[s.count];
        rc = blob_map(c, packs.list[i].sha256, &p->map, err);
        if (rc) break;
        s.count++;
        memcpy(p->sha256, packs.list[i].sha256, sizeof p->sha256);
        rc = pack_open((struct str){(const char *)p->map.p, p->map.n}, &p->pack, err);
        if (rc) err_wrap(err, "pack %.12s", p->sha256);
    }
    arena_release(&mem);
    if (rc)
        pack_set_close(&s);
    else
        *ret = s;
    return rc;
}

void pack_set_close(struct pack_set *s) {
    for (size_t i = 0; i < s->count; i++) file_map_close(&s->list[i].map);
    mem_free(s->list);
    *s = (struct pack_set){0};
}

bool pack_set_find(const struct pack_set *s, const unsigned char hash[ROW_HASH], struct str *ret) {
    for (size_t i = s->count; i-- > 0;)
        if (pack_find(&s->list[i].pack, hash, ret)) return true;
    return false;
}
