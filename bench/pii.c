/* Speed of the scanner for personal data over the lines of files, in processor time of one thread,
 * as CSV; with "hits" first, what it finds instead.
 *
 *     build/release/bench-pii [hits] FILE...
 */
#include "base/file.h"
#include "base/mem.h"
#include "data/pii.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define HITS_MAX 256
#define LEAST_SECONDS 1.0

/* of this thread: other work on the machine does not count */
static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct counts {
    size_t lines, with, hits;
};

static void show(const char *file, size_t line, struct str text, const struct pii_hit *h) {
    size_t from = h->start > 40 ? h->start - 40 : 0;
    size_t to = text.n - h->end > 30 ? h->end + 30 : text.n;
    printf("%s:%zu: %s %.2f %.*s[%.*s]%.*s\n", file, line, pii_label(h->entity), h->score,
           (int)(h->start - from), text.p + from, (int)(h->end - h->start), text.p + h->start,
           (int)(to - h->end), text.p + h->end);
}

static struct counts scan_lines(struct str all, const char *show_as) {
    struct pii_options o;
    struct pii_hit hits[HITS_MAX];
    struct counts c = {0};
    pii_defaults(&o);
    while (all.n) {
        const char *end = memchr(all.p, '\n', all.n);
        struct str line = {all.p, end ? (size_t)(end - all.p) : all.n};
        size_t n = pii_scan(line, &o, hits, HITS_MAX);
        c.lines++;
        c.with += n > 0;
        c.hits += n;
        for (size_t i = 0; show_as && i < n && i < HITS_MAX; i++)
            show(show_as, c.lines, line, &hits[i]);
        all = str_from(all, line.n + 1);
    }
    return c;
}

int main(int argc, char **argv) {
    bool hits = argc > 1 && !strcmp(argv[1], "hits");
    struct err err;
    if (argc < 2 + hits) {
        fprintf(stderr, "usage: bench-pii [hits] FILE...\n");
        return 2;
    }
    if (!hits) printf("file,bytes,lines,lines_with,hits,mb_per_second\n");
    for (int i = 1 + hits; i < argc; i++) {
        struct buf b;
        buf_init(&b, (size_t)1 << 31);
        if (file_read(argv[i], &b, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        struct counts c = {0};
        double start = cpu_seconds(), spent = 0;
        int rounds = 0;
        for (; rounds == 0 || (!hits && spent < LEAST_SECONDS); rounds++) {
            c = scan_lines(buf_view(&b), hits ? argv[i] : NULL);
            spent = cpu_seconds() - start;
        }
        if (!hits)
            printf("%s,%zu,%zu,%zu,%zu,%.0f\n", argv[i], b.n, c.lines, c.with, c.hits,
                   (double)b.n * rounds / spent / 1e6);
        buf_release(&b);
    }
    return 0;
}
