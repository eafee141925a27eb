#include "base/mem.h"

#include "base/cgroup.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic size_t budget_bytes;

static void *must(void *p, size_t bytes) {
    if (!p) {
        fprintf(stderr, "attune: out of memory for %zu bytes\n", bytes);
        abort();
    }
    return p;
}

void *mem_alloc(size_t bytes) { return must(malloc(bytes ? bytes : 1), bytes); }

void *mem_zalloc(size_t count, size_t size) {
    return must(calloc(count ? count : 1, size ? size : 1), count);
}

void *mem_realloc(void *p, size_t count, size_t size) {
    size_t bytes;
    if (!mul_size(count, size, &bytes)) must(NULL, count);
    return must(realloc(p, bytes ? bytes : 1), bytes);
}

char *mem_strndup(const char *p, size_t n) {
    char *z = mem_alloc(n + 1);
    if (n) memcpy(z, p, n);
    z[n] = '\0';
    return z;
}

char *mem_strdup(const char *z) { return mem_strndup(z, strlen(z)); }

void mem_free(void *p) { free(p); }

void mem_grow(void **p, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return;
    size_t grown = *cap < 16 ? 16 : *cap + *cap / 2;
    if (grown < need) grown = need;
    *p = mem_realloc(*p, grown, size);
    *cap = grown;
}

bool mul_size(size_t a, size_t b, size_t *ret) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *ret = product;
    return true;
}

bool add_size(size_t a, size_t b, size_t *ret) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *ret = sum;
    return true;
}

void mem_budget_set(size_t bytes) { budget_bytes = bytes; }

size_t mem_budget(void) {
    size_t set = budget_bytes;
    return set ? set : mem_physical();
}

static int budget_check(size_t bytes, const char *what, struct err *err) {
    size_t budget = mem_budget(), used = mem_rss_anon();
    if (bytes <= budget && used <= budget - bytes) return 0;
    return err_set(err, ERR_LIMIT,
                   "%s needs %.1f MiB with %.1f MiB in use, over the memory budget of %.1f MiB",
                   what, (double)bytes / 1048576.0, (double)used / 1048576.0,
                   (double)budget / 1048576.0);
}

int mem_try(size_t count, size_t size, const char *what, void **ret, struct err *err) {
    size_t bytes;
    if (!mul_size(count, size, &bytes))
        return err_set(err, ERR_LIMIT, "%s: a size of %zu x %zu bytes overflows", what, count,
                       size);
    if (bytes > (size_t)1 << 20) { /* reading the resident size costs more than a small request */
        int rc = budget_check(bytes, what, err);
        if (rc) return rc;
    }
    void *p = calloc(bytes ? bytes : 1, 1);
    if (!p) return err_set(err, ERR_LIMIT, "%s: the system refused %zu bytes", what, bytes);
    *ret = p;
    return 0;
}

#define HUGE_PAGE ((size_t)2 << 20)

static size_t round_to_page(size_t bytes) { return (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1); }

int mem_block_open(size_t bytes, const char *what, void **ret, struct err *err) {
    if (bytes > SIZE_MAX / 2) return err_set(err, ERR_LIMIT, "%s: %zu bytes", what, bytes);
    int rc = budget_check(bytes, what, err);
    if (rc) return rc;
    size_t size = round_to_page(bytes ? bytes : 1), span = size + HUGE_PAGE;
    char *raw = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return err_set(err, ERR_LIMIT, "%s: the system refused %zu bytes", what, bytes);
    char *p = (char *)round_to_page((size_t)raw);
    if (p > raw) munmap(raw, (size_t)(p - raw));
    munmap(p + size, (size_t)(raw + span - (p + size)));
    madvise(p, size, MADV_HUGEPAGE);
    *ret = p;
    return 0;
}

void mem_block_close(void *p, size_t bytes) {
    if (p) munmap(p, round_to_page(bytes ? bytes : 1));
}

void mem_pages_drop(const void *p, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), begin = ((size_t)p + page - 1) & ~(page - 1);
    size_t end = ((size_t)p + bytes) & ~(page - 1);
    if (begin < end) madvise((char *)begin, end - begin, MADV_DONTNEED);
}

/* the number after `key` in a /proc file of "key: value kB" lines, in bytes; 0 when absent */
static size_t proc_kib(const char *path, const char *key) {
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    char line[256];
    size_t n = strlen(key), kib = 0;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n) == 0 && line[n] == ':') {
            kib = strtoull(line + n + 1, NULL, 10);
            break;
        }
    }
    fclose(f);
    return kib * 1024;
}

size_t mem_physical(void) {
    size_t ram = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    struct cgroup c;
    cgroup_read(CGROUP_ROOT, &c);
    return c.memory_limit < ram ? c.memory_limit : ram;
}

size_t mem_available(void) {
    size_t free_bytes = proc_kib("/proc/meminfo", "MemAvailable");
    struct cgroup c;
    cgroup_read(CGROUP_ROOT, &c);
    size_t left = c.memory_limit > c.memory_used ? c.memory_limit - c.memory_used : 0;
    return left < free_bytes ? left : free_bytes;
}

size_t mem_rss(void) { return proc_kib("/proc/self/status", "VmRSS"); }
size_t mem_rss_peak(void) { return proc_kib("/proc/self/status", "VmHWM"); }
size_t mem_rss_anon(void) { return proc_kib("/proc/self/status", "RssAnon"); }

void mem_rss_peak_reset(void) {
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}
