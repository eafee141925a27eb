/* Allocation. Small bounded needs use mem_alloc and friends, which abort on exhaustion. Whatever
 * takes its size from a user or a file uses mem_try, which asks the process budget first and
 * returns ERR_LIMIT before the system is asked. All functions are safe from any thread.
 *
 *     float *w; rc = mem_try(n, sizeof *w, "tensor", (void **)&w, err);
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t bytes);               /* abort on failure; free with mem_free */
void *mem_zalloc(size_t count, size_t size); /* zeroed, product checked */
void *mem_realloc(void *p, size_t count, size_t size);
char *mem_strdup(const char *z);
char *mem_strndup(const char *p, size_t n); /* NUL-terminated copy */
void mem_free(void *p);                     /* NULL is fine */

/* Grow *p (element size `size`) so that `need` elements fit; *cap is updated. */
void mem_grow(void **p, size_t *cap, size_t need, size_t size);

/* a*b or a+b into *ret; false on overflow (then *ret is untouched). */
bool mul_size(size_t a, size_t b, size_t *ret);
bool add_size(size_t a, size_t b, size_t *ret);

/* Budgeted, zeroed, for sizes from outside; free with mem_free. `what` goes into the message. */
int mem_try(size_t count, size_t size, const char *what, void **ret, struct err *err);

/* One large block in huge pages where the system grants them, zeroed, 2 MiB aligned. */
int mem_block_open(size_t bytes, const char *what, void **ret, struct err *err);
void mem_block_close(void *p, size_t bytes);
/* Gives back the whole pages of [p, p + bytes): those of a block become zero, those of a mapped
 * file are read again when touched. */
void mem_pages_drop(const void *p, size_t bytes);

/* Budget in bytes for single mem_try/mem_block_open requests plus the present resident size;
 * 0 means physical memory. */
void mem_budget_set(size_t bytes);
size_t mem_budget(void);

size_t mem_physical(void);  /* bytes of RAM, or the cgroup's limit where that is smaller */
size_t mem_available(void); /* bytes that could be taken without swapping */
size_t mem_rss(void);       /* resident now */
size_t mem_rss_peak(void);  /* largest since start or the last reset */
size_t mem_rss_anon(void);  /* resident, private and not backed by a file */
void mem_rss_peak_reset(void);

#endif
