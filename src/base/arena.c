#include "base/arena.h"

#include "base/mem.h"

#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define RED_ZONE 16
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#define RED_ZONE 0
#endif

#define CHUNK_BYTES ((size_t)64 << 10)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used; /* of data */
    _Alignas(16) char data[];
};

void arena_init(struct arena *a, size_t max_bytes) { *a = (struct arena){.max = max_bytes}; }

void arena_reset(struct arena *a) {
    while (a->head) {
        struct arena_chunk *c = a->head;
        a->head = c->next;
        UNPOISON(c->data, c->size);
        mem_free(c);
    }
    a->used = 0;
    a->over = false;
}

void arena_release(struct arena *a) { arena_reset(a); }

static struct arena_chunk *chunk_push(struct arena *a, size_t need) {
    size_t size = need > CHUNK_BYTES ? need : CHUNK_BYTES;
    struct arena_chunk *c = mem_zalloc(1, sizeof *c + size);
    c->size = size;
    POISON(c->data, size);
    if (need > CHUNK_BYTES && a->head) { /* keep filling the present chunk */
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
    }
    return c;
}

void *arena_alloc(struct arena *a, size_t bytes) {
    if (bytes > a->max || a->used > a->max - bytes) {
        a->over = true;
        return NULL;
    }
    size_t need = ((bytes ? bytes : 1) + 15 + RED_ZONE) & ~(size_t)15;
    struct arena_chunk *c = a->head;
    if (!c || c->size - c->used < need) c = chunk_push(a, need);
    void *p = c->data + c->used;
    UNPOISON(p, bytes);
    c->used += need;
    a->used += bytes;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size) {
    size_t bytes;
    if (!mul_size(count, size, &bytes)) {
        a->over = true;
        return NULL;
    }
    return arena_alloc(a, bytes);
}

char *arena_strndup(struct arena *a, const char *p, size_t n) {
    char *z = arena_alloc(a, n + 1);
    if (z && n) memcpy(z, p, n);
    return z;
}

struct str arena_str(struct arena *a, struct str s) {
    char *z = arena_strndup(a, s.p, s.n);
    return z ? (struct str){z, s.n} : (struct str){"", 0};
}
