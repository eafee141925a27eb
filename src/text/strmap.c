#include "text/strmap.h"

#include "base/hash.h"
#include "base/mem.h"

void str_map_release(struct str_map *m) {
    mem_free(m->slots);
    *m = (struct str_map){0};
}

static struct str_slot *slot_of(const struct str_map *m, struct str key, uint32_t hash) {
    size_t i = hash & (m->cap - 1);
    for (;; i = (i + 1) & (m->cap - 1)) {
        struct str_slot *s = &m->slots[i];
        if (!s->p) return s;
        if (s->hash == hash && s->n == key.n && memcmp(s->p, key.p, key.n) == 0) return s;
    }
}

static void rehash(struct str_map *m) {
    struct str_map bigger = {.count = m->count, .longest = m->longest};
    bigger.cap = m->cap ? m->cap * 2 : 64;
    bigger.slots = mem_zalloc(bigger.cap, sizeof *bigger.slots);
    for (size_t i = 0; i < m->cap; i++) {
        struct str_slot s = m->slots[i];
        if (s.p) *slot_of(&bigger, (struct str){s.p, s.n}, s.hash) = s;
    }
    mem_free(m->slots);
    *m = bigger;
}

void str_map_put(struct str_map *m, struct str key, int32_t id) {
    if (m->count * 2 >= m->cap) rehash(m);
    uint32_t hash = (uint32_t)hash_bytes(key.p, key.n);
    struct str_slot *s = slot_of(m, key, hash);
    if (!s->p) m->count++;
    *s = (struct str_slot){key.p, (uint32_t)key.n, hash, id};
    if (key.n > m->longest) m->longest = key.n;
}

int32_t str_map_find(const struct str_map *m, struct str key) {
    if (key.n > m->longest || !m->cap) return -1;
    const struct str_slot *s = slot_of(m, key, (uint32_t)hash_bytes(key.p, key.n));
    return s->p ? s->id : -1;
}
