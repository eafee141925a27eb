/* A growable byte buffer with a maximum. Going over the maximum is an error that sticks: further
 * appends do nothing, and buf_ok says so once at the end. The content is always NUL-terminated, so
 * b.p may go to libc; b.n does not count that NUL. Zero-initialised with a max by buf_init; those
 * of buf_init_shared take what they hold from one allowance together.
 *
 *     struct buf b; buf_init(&b, 1 << 20);
 *     buf_str(&b, STR_LIT("x = ")); buf_printf(&b, "%d", x);
 *     if (!buf_ok(&b)) ...
 *     buf_release(&b);
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

struct buf {
    char *p;
    size_t n, cap, max;
    size_t *left, taken; /* NULL, or what all may still take; this one's part */
    bool over;           /* something did not fit */
};

void buf_init(struct buf *b, size_t max);
void buf_init_shared(struct buf *b, size_t max, size_t *left);
void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory and the maximum; forgets `over` */
bool buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_z(struct buf *b, const char *z);
void buf_byte(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_utf8(struct buf *b, unsigned codepoint);
static inline bool buf_ok(const struct buf *b) { return !b->over; }
static inline struct str buf_view(const struct buf *b) {
    return (struct str){b->p ? b->p : "", b->n};
}
/* The bytes, NUL-terminated, now the caller's (mem_free); the buffer is empty afterwards. */
char *buf_take(struct buf *b);

#endif
