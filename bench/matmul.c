/* Roofline of the matrix products at the shapes of Qwen2.5-0.5B, as CSV.
 *
 *     make bench-matmul [ARGS="threads=1 m=512 op=nt"]
 *
 * roofline: time at the probed peaks (arithmetic, or reading the operands once) over measured time;
 * the probes are taken again for each product, in the same seconds.
 */
#include "probe.h"

#include "base/clock.h"
#include "base/mem.h"
#include "num/matmul.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const type_names[] = {"f32", "bf16", "f16"};

struct filter {
    int threads;
    int64_t m, n, k; /* n and k: this shape alone */
    bool cold;
    const char *op;
    enum num_isa isa;
    enum num_type compute;
};

struct bench {
    struct num *num;
    struct filter want;
};

static void *block(size_t bytes) {
    void *p;
    struct err err;
    if (mem_block_open(bytes, "benchmark", &p, &err) != 0) {
        fprintf(stderr, "bench: %s\n", err.msg);
        exit(1);
    }
    return p;
}

static struct mat random_mat(int64_t rows, int64_t cols, enum num_type type) {
    size_t count = (size_t)(rows * cols);
    char *p = block(count * num_type_size(type));
    float row[1024];
    uint64_t state = 1;
    for (size_t at = 0; at < count; at += 1024) {
        for (int i = 0; i < 1024; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            row[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
        }
        size_t n = count - at < 1024 ? count - at : 1024;
        num_narrow(p + at * num_type_size(type), type, row, (int64_t)n);
    }
    return (struct mat){p, type, cols};
}

static void mat_close(struct mat *x, int64_t rows) {
    mem_block_close((void *)(uintptr_t)x->p, (size_t)(rows * x->ld) * num_type_size(x->type));
}

/* One thread is timed by its own clock: what neighbours take of the core does not count. */
static double seconds_of(int threads) {
    if (threads > 1) return clock_seconds();
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* In training a product finds its operands in memory, not in a cache: a walk over so many bytes of
 * copies leaves none there. */
#define COLD_BYTES ((size_t)256 << 20)

struct copies {
    void *p;
    size_t bytes, count;
};

static struct copies copies_of(const struct mat *x, int64_t rows, bool cold) {
    size_t used = (size_t)(rows * x->ld) * num_type_size(x->type), bytes = (used + 63) / 64 * 64;
    struct copies o = {.bytes = bytes, .count = cold ? COLD_BYTES / bytes + 1 : 1};
    o.p = block(o.count * bytes);
    for (size_t i = 0; i < o.count; i++) memcpy((char *)o.p + i * bytes, x->p, used);
    return o;
}

static void *copy_at(const struct copies *x, int i) {
    return (char *)x->p + (size_t)i % x->count * x->bytes;
}

static void copies_close(const struct copies *o) { mem_block_close(o->p, o->bytes * o->count); }

struct product {
    struct matmul mm;
    struct copies a, b, c;
};

static double best_of(struct num *num, void (*fn)(struct num *, const struct matmul *),
                      const struct product *p) {
    int threads = pool_threads(num_pool(num));
    double best = 1e9, begun = clock_seconds();
    for (int i = 0; i < 50 && (i < 3 || clock_seconds() - begun < 0.7); i++) {
        struct matmul mm = p->mm;
        mm.seg[0].a.p = copy_at(&p->a, i);
        mm.seg[0].b.p = copy_at(&p->b, i);
        mm.c = copy_at(&p->c, i);
        double start = seconds_of(threads);
        fn(num, &mm);
        double took = seconds_of(threads) - start;
        if (took < best) best = took;
    }
    return best;
}

static void measure(const struct bench *b, const char *op, enum num_type type, int64_t m, int64_t n,
                    int64_t k) {
    if (b->want.op && strcmp(b->want.op, op) != 0) return;
    if (b->want.m && b->want.m != m) return;
    bool nt = strcmp(op, "nt") == 0, tn = strcmp(op, "tn") == 0;
    struct mat a = random_mat(tn ? k : m, tn ? m : k, NUM_F32);
    struct mat w = random_mat(nt ? n : k, nt ? k : n, type);
    struct mat c = random_mat(m, n, NUM_F32);
    struct product p = {.mm = {.m = m, .n = n, .seg[0] = {a, w, k}, .ldc = n},
                        .a = copies_of(&a, tn ? k : m, b->want.cold),
                        .b = copies_of(&w, nt ? n : k, b->want.cold),
                        .c = copies_of(&c, m, b->want.cold)};
    struct pool *pool = num_pool(b->num);
    double peak = probe_gflops(pool, b->want.isa, b->want.compute), read = probe_gbytes(pool);
    double took = best_of(b->num, nt ? matmul_nt : tn ? matmul_tn : matmul_nn, &p);
    double peak_after = probe_gflops(pool, b->want.isa, b->want.compute);
    if (peak_after > peak) peak = peak_after;
    double flops = 2.0 * (double)m * (double)n * (double)k;
    double bytes = (double)(n * k) * (double)num_type_size(type) + 4.0 * (double)(m * k + m * n);
    double limit = flops / peak * 1e-9, by_memory = bytes / read * 1e-9;
    if (by_memory > limit) limit = by_memory;
    printf("%s,%s,%lld,%lld,%lld,%d,%s,%.6f,%.1f,%.1f,%.1f,%.1f,%.2f\n", op, type_names[type],
           (long long)m, (long long)n, (long long)k, pool_threads(pool), num_path_name(b->num),
           took, flops / took * 1e-9, bytes / took * 1e-9, peak, read, limit / took);
    fflush(stdout);
    mat_close(&a, tn ? k : m);
    mat_close(&w, nt ? n : k);
    mat_close(&c, m);
    copies_close(&p.a);
    copies_close(&p.b);
    copies_close(&p.c);
}

static const char header[] =
    "op,weights,m,n,k,threads,path,seconds,gflops,gbytes,peak_gflops,peak_gbytes,roofline";

static void measure_shape(const struct bench *b) {
    static const char *const ops[] = {"nt", "nn", "tn"};
    puts(header);
    for (int type = NUM_F32; type <= NUM_BF16; type++)
        for (int op = 0; op < 3; op++)
            measure(b, ops[op], (enum num_type)type, b->want.m, b->want.n, b->want.k);
}

static void measure_all(const struct bench *b) {
    static const int64_t shapes[][2] = {{896, 896}, {128, 896}, {4864, 896}, {896, 4864}};
    static const int64_t rows[] = {1, 4, 16, 128, 512, 1024, 2048};
    puts(header);
    for (int type = NUM_F32; type <= NUM_BF16; type++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                int64_t m = rows[r], out = shapes[s][0], in = shapes[s][1];
                measure(b, "nt", (enum num_type)type, m, out, in);
                if (m >= 128) measure(b, "nn", (enum num_type)type, m, in, out);
            }
    measure(b, "nt", NUM_BF16, 1, 151936, 896);
    measure(b, "nt", NUM_BF16, 4, 151936, 896);
    measure(b, "nt", NUM_F32, 1, 151936, 896);
    /* low-rank updates, 1,024 tokens, rank 16 */
    measure(b, "nt", NUM_F32, 1024, 16, 896);
    measure(b, "nt", NUM_F32, 1024, 16, 4864);
    measure(b, "nn", NUM_F32, 1024, 16, 896);
    measure(b, "nn", NUM_F32, 1024, 896, 16);
    measure(b, "tn", NUM_F32, 16, 896, 1024);
    measure(b, "tn", NUM_F32, 16, 4864, 1024);
    measure(b, "tn", NUM_F32, 896, 16, 1024);
    measure(b, "tn", NUM_F32, 4864, 16, 1024);
    measure(b, "tn", NUM_F32, 896, 4864, 1024);
}

static int usage(void) {
    fprintf(stderr, "usage: bench-matmul [threads=N] [m=N [n=N k=N]] [op=nt|nn|tn] [cold=1]\n"
                    "                    [compute=f32|bf16]\n");
    return 2;
}

int main(int argc, char **argv) {
    struct bench b = {.want = {.threads = 0}};
    struct err err;
    if (num_isa_choose(&b.want.isa, &err) != 0) {
        fprintf(stderr, "bench: %s\n", err.msg);
        return 2;
    }
    b.want.compute = num_compute_default(b.want.isa);
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        if (!value++) return usage();
        if (strncmp(argv[i], "threads=", 8) == 0)
            b.want.threads = (int)strtol(value, NULL, 10);
        else if (strncmp(argv[i], "m=", 2) == 0)
            b.want.m = strtol(value, NULL, 10);
        else if (strncmp(argv[i], "n=", 2) == 0)
            b.want.n = strtol(value, NULL, 10);
        else if (strncmp(argv[i], "k=", 2) == 0)
            b.want.k = strtol(value, NULL, 10);
        else if (strcmp(argv[i], "cold=1") == 0)
            b.want.cold = true;
        else if (strncmp(argv[i], "op=", 3) == 0)
            b.want.op = value;
        else if (strcmp(argv[i], "compute=f32") == 0)
            b.want.compute = NUM_F32;
        else if (strcmp(argv[i], "compute=bf16") == 0)
            b.want.compute = NUM_BF16;
        else
            return usage();
    }
    b.num = num_new(&(struct num_options){
        .threads = b.want.threads, .compute = b.want.compute, .isa = b.want.isa});
    if (b.want.m && b.want.n && b.want.k)
        measure_shape(&b);
    else
        measure_all(&b);
    num_free(b.num);
    return 0;
}
