#include "base/buf.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>

void buf_init(struct buf *b, size_t max) { *b = (struct buf){.max = max}; }

void buf_init_shared(struct buf *b, size_t max, size_t *left) {
    *b = (struct buf){.max = max, .left = left};
}

static void give_back(struct buf *b) {
    if (b->left) *b->left += b->taken;
    *b = (struct buf){.max = b->max, .left = b->left};
}

void buf_release(struct buf *b) {
    mem_free(b->p);
    give_back(b);
}

static bool take_shared(struct buf *b, size_t bytes) {
    if (!b->left || bytes <= b->taken) return true;
    if (bytes - b->taken > *b->left) return false;
    *b->left -= bytes - b->taken;
    b->taken = bytes;
    return true;
}

void buf_clear(struct buf *b) {
    b->n = 0;
    b->over = false;
    if (b->p) b->p[0] = '\0';
}

bool buf_reserve(struct buf *b, size_t more) {
    if (b->over) return false;
    if (more > b->max || b->n > b->max - more || !take_shared(b, b->n + more)) {
        b->over = true;
        return false;
    }
    mem_grow((void **)&b->p, &b->cap, b->n + more + 1, 1);
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n) {
    if (!buf_reserve(b, n)) return;
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_str(struct buf *b, struct str s) { buf_add(b, s.p, s.n); }
void buf_z(struct buf *b, const char *z) { buf_add(b, z, strlen(z)); }
void buf_byte(struct buf *b, char c) { buf_add(b, &c, 1); }

void buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !buf_reserve(b, (size_t)n)) return;
    va_start(ap, fmt);
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void buf_utf8(struct buf *b, unsigned codepoint) {
    char bytes[4];
    buf_add(b, bytes, utf8_put(codepoint, bytes));
}

char *buf_take(struct buf *b) {
    char *p = b->p ? b->p : mem_strdup("");
    give_back(b);
    return p;
}
