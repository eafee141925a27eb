/* Reading data sets: megabytes per second and peak memory as CSV, beside what jansson alone needs
 * for the same lines on one thread.
 *
 *     build/release/bench-source [FILE or rows to make] [threads]
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JANSSON_ROWS 20000

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void add_text(struct buf *b, struct rng *r, int words) {
    static const char *const list[] = {
        "the",     "account", "transfer",    "\\\"quoted\\\"", "of",     "balance", "why is",
        "working", "payment", "caf\xC3\xA9", "please\\n",      "number", "and",     "information"};
    for (int i = 0; i < words; i++) {
        if (i) buf_byte(b, ' ');
        buf_z(b, list[rng_below(r, sizeof list / sizeof *list)]);
    }
}

/* chat rows of about 1 kB */
static int make_rows(const char *path, int64_t rows, struct err *err) {
    struct file_writer w;
    struct rng r;
    struct buf b;
    rng_init(&r, 7);
    buf_init(&b, 1 << 20);
    int rc = file_writer_open(path, &w, err);
    if (rc) return rc;
    for (int64_t i = 0; i < rows && !rc; i++) {
        buf_clear(&b);
        buf_printf(&b, "{\"id\":%lld,\"messages\":[{\"role\":\"system\",\"content\":\"",
                   (long long)i);
        add_text(&b, &r, 20);
        buf_z(&b, "\"},{\"role\":\"user\",\"content\":\"");
        add_text(&b, &r, 40);
        buf_z(&b, "\"},{\"role\":\"assistant\",\"content\":\"");
        add_text(&b, &r, 60);
        buf_z(&b, "\"}]}\n");
        rc = file_writer_add(&w, b.p, b.n, err);
    }
    buf_release(&b);
    if (!rc) rc = file_writer_commit(&w, err);
    file_writer_abort(&w);
    return rc;
}

static int read_all(const char *path, int threads, struct err *err) {
    struct source_options o = {0};
    struct source *s = NULL;
    struct pool *pool = pool_new(threads);
    struct findings *f = findings_new();
    const struct example *list;
    size_t n = 1;
    int64_t examples = 0;
    double wall = clock_seconds(), cpu = cpu_seconds();
    int rc = source_open(path, &o, &s, err);
    while (!rc && n) {
        rc = source_next(s, pool, &list, &n, f, err);
        if (!rc) examples += (int64_t)n;
    }
    if (!rc) {
        double mb = (double)source_bytes(s) / 1e6;
        wall = clock_seconds() - wall;
        cpu = cpu_seconds() - cpu;
        printf("reader,threads,mb,examples,findings,mb_per_s,mb_per_cpu_s,peak_mib\n");
        printf("%s,%d,%.0f,%lld,%zu,%.0f,%.0f,%.0f\n", source_format_name(source_format_of(s)),
               pool_threads(pool), mb, (long long)examples, findings_count(f), mb / wall, mb / cpu,
               (double)mem_rss_peak() / 1048576);
    }
    findings_free(f);
    pool_free(pool);
    source_close(s);
    return rc;
}

static void read_with_jansson(const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0, bytes = 0;
    ssize_t n;
    double seconds = 0;
    for (int i = 0; file && i < JANSSON_ROWS && (n = getline(&line, &cap, file)) > 0; i++) {
        json_t *v = NULL;
        struct err err;
        double from = cpu_seconds();
        int rc = json_read((struct str){line, (size_t)n}, "row", &v, &err);
        if (!rc) json_decref(v);
        seconds += cpu_seconds() - from;
        bytes += (size_t)n;
    }
    if (file) fclose(file);
    free(line);
    printf("jansson,1,%.0f,,,,%.0f,\n", (double)bytes / 1e6, (double)bytes / 1e6 / seconds);
}

int main(int argc, char **argv) {
    struct err err;
    char temp[64];
    const char *path = argc > 1 ? argv[1] : "100000";
    int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0, rc = 0;
    bool made = strspn(path, "0123456789") == strlen(path);
    if (made) {
        snprintf(temp, sizeof temp, "/tmp/bench-source-%ld.jsonl", (long)getpid());
        rc = make_rows(temp, strtoll(path, NULL, 10), &err);
        path = temp;
    }
    if (!rc) rc = read_all(path, threads, &err);
    if (!rc) read_with_jansson(path);
    if (made) unlink(temp);
    if (rc) fprintf(stderr, "bench-source: %s\n", err.msg);
    return rc ? err_exit_code(rc) : 0;
}
