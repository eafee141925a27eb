/* The operations beside the matrix products, against the roofline of this machine, as CSV.
 *
 *     make bench-ops [ARGS="threads=1 op=attention"]
 *
 * Attention counts the pairs that causality leaves. roofline: the probed peak (arithmetic or
 * memory) over what was reached.
 */
#include "probe.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "num/attention.h"
#include "num/loss.h"
#include "num/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
    struct num *num;
    enum num_isa isa;
    const char *op; /* only those that begin like this; NULL: all */
};

static float *floats(int64_t count) {
    void *p;
    struct err err;
    if (mem_block_open((size_t)count * sizeof(float), "benchmark", &p, &err) != 0) {
        fprintf(stderr, "bench: %s\n", err.msg);
        exit(1);
    }
    float *f = p;
    for (int64_t i = 0; i < count; i++)
        f[i] = (float)(int32_t)(rng_hash(1, (uint64_t)i) >> 32) * 0x1p-31f;
    return f;
}

static void floats_free(float *p, int64_t count) {
    mem_block_close(p, (size_t)count * sizeof(float));
}

/* One thread is timed by its own clock: what neighbours take of the core does not count. */
static double now(const struct bench *b) {
    if (pool_threads(num_pool(b->num)) > 1) return clock_seconds();
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double best_of(const struct bench *b, void (*fn)(struct num *, void *), void *ctx) {
    double best = 1e9, begun = clock_seconds();
    for (int i = 0; i < 200 && (i < 3 || clock_seconds() - begun < 0.7); i++) {
        double start = now(b);
        fn(b->num, ctx);
        double took = now(b) - start;
        if (took < best) best = took;
    }
    return best;
}

/* work: flops, or bytes where `memory` */
static void measure(const struct bench *b, const char *op, const char *shape, double work,
                    bool memory, void (*fn)(struct num *, void *), void *ctx) {
    struct pool *pool = num_pool(b->num);
    double peak = memory ? probe_gbytes(pool) : probe_gflops(pool, b->isa, NUM_F32);
    double took = best_of(b, fn, ctx);
    double again = memory ? probe_gbytes(pool) : probe_gflops(pool, b->isa, NUM_F32);
    if (again > peak) peak = again;
    double rate = work / took * 1e-9;
    printf("%s,%s,%d,%s,%.6f,%.1f,%s,%.1f,%.2f\n", op, shape, pool_threads(pool),
           num_path_name(b->num), took, rate, memory ? "gbytes" : "gflops", peak, rate / peak);
    fflush(stdout);
}

static bool wanted(const struct bench *b, const char *op) {
    return !b->op || strncmp(op, b->op, strlen(b->op)) == 0;
}

/* --- attention --- */

struct attention {
    struct attn a;
    float *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv;
};

static void forward(struct num *num, void *ctx) {
    struct attention *t = ctx;
    attention_forward(num, &t->a, t->out, t->lse, t->q);
}

static void backward(struct num *num, void *ctx) {
    struct attention *t = ctx;
    attention_backward(num, &t->a, t->dq, t->dk, t->dv, t->dout, t->out, t->lse, t->q);
}

/* `rows` queries behind `past` keys in each of `count` spans */
static void attention(const struct bench *b, int64_t count, int64_t rows, int64_t past,
                      int64_t heads, int64_t kv_heads, int64_t dim) {
    if (!wanted(b, "attention")) return;
    int64_t wide = count * rows * heads * dim, keys = rows + past;
    int64_t narrow = count * keys * kv_heads * dim;
    struct attn_span spans[64];
    struct attention t = {.a = {.heads = heads,
                                .kv_heads = kv_heads,
                                .head_dim = dim,
                                .q_stride = heads * dim,
                                .out_stride = heads * dim,
                                .kv_stride = kv_heads * dim,
                                .scale = 0.125f,
                                .spans = spans,
                                .span_count = count}};
    float **each[] = {&t.q, &t.out, &t.dout, &t.dq, &t.lse, &t.k, &t.v, &t.dk, &t.dv};
    for (int i = 0; i < 9; i++) *each[i] = floats(i < 5 ? wide : narrow);
    for (int64_t s = 0; s < count; s++) {
        int64_t at = s * keys * kv_heads * dim;
        spans[s] = (struct attn_span){s * rows, rows, t.k + at, t.v + at, past, 0};
    }
    char shape[100];
    snprintf(shape, sizeof shape, "%lldx%lld+%lld heads %lld/%lld dim %lld", (long long)count,
             (long long)rows, (long long)past, (long long)heads, (long long)kv_heads,
             (long long)dim);
    double pairs =
        (double)(count * heads) * ((double)rows * (double)past + 0.5 * (double)(rows * rows));
    measure(b, "attention_forward", shape, 4 * pairs * (double)dim, false, forward, &t);
    if (past == 0)
        measure(b, "attention_backward", shape, 10 * pairs * (double)dim, false, backward, &t);
    for (int i = 0; i < 9; i++) floats_free(*each[i], i < 5 ? wide : narrow);
}

/* --- element by element --- */

struct run {
    float *a, *b, *c, *d, *e;
    int32_t *position;
    int64_t rows, dim;
};

static void run_rmsnorm(struct num *num, void *ctx) {
    struct run *r = ctx;
    rmsnorm_forward(num, r->a, r->b, r->c, r->rows, r->dim, 1e-5f);
}
static void run_rmsnorm_backward(struct num *num, void *ctx) {
    struct run *r = ctx;
    rmsnorm_backward(num, r->a, NULL, r->b, r->d, r->c, r->rows, r->dim, 1e-5f);
}
static void run_rmsnorm_weights(struct num *num, void *ctx) {
    struct run *r = ctx;
    rmsnorm_backward(num, r->a, r->e, r->b, r->d, r->c, r->rows, r->dim, 1e-5f);
}
static void run_rope(struct num *num, void *ctx) {
    struct run *r = ctx;
    rope_apply(num, r->a, r->rows, r->dim, r->dim / 64, 64, r->b, r->c, r->position, false);
}
static void run_swiglu(struct num *num, void *ctx) {
    struct run *r = ctx;
    swiglu_forward(num, r->a, r->b, r->c, r->rows * r->dim);
}
static void run_swiglu_backward(struct num *num, void *ctx) {
    struct run *r = ctx;
    swiglu_backward(num, r->a, r->b, r->c, r->d, r->e, r->rows * r->dim);
}
static void run_add(struct num *num, void *ctx) {
    struct run *r = ctx;
    num_add(num, r->a, r->b, r->rows * r->dim);
}
static void run_sum_squares(struct num *num, void *ctx) {
    struct run *r = ctx;
    r->e[0] = (float)num_sum_squares(num, r->a, r->rows * r->dim);
}
static void run_dropout(struct num *num, void *ctx) {
    struct run *r = ctx;
    dropout_apply(num, r->a, r->b, r->rows * r->dim, 0.1f, 3);
}
static void run_adamw(struct num *num, void *ctx) {
    struct run *r = ctx;
    struct adamw o = {1e-4, 0.9, 0.999, 1e-8, 0.01, 1.0f, 3};
    adamw_step(num, &o, r->a, r->b, r->c, r->d, r->rows * r->dim);
}

static void runs(const struct bench *b, int64_t rows, int64_t dim) {
    static const struct {
        const char *op;
        void (*fn)(struct num *, void *);
        double floats; /* read or written per element */
    } all[] = {
        {"rmsnorm_forward", run_rmsnorm, 2},
        {"rmsnorm_backward", run_rmsnorm_backward, 4},
        {"rmsnorm_backward_dw", run_rmsnorm_weights, 4},
        {"rope", run_rope, 2},
        {"swiglu_forward", run_swiglu, 3},
        {"swiglu_backward", run_swiglu_backward, 5},
        {"add", run_add, 3},
        {"sum_squares", run_sum_squares, 1},
        {"dropout", run_dropout, 2},
        {"adamw", run_adamw, 7},
    };
    bool any = false;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) any |= wanted(b, all[i].op);
    if (!any) return;
    int64_t n = rows * dim;
    struct run r = {floats(n), floats(n), floats(n), floats(n), floats(n), NULL, rows, dim};
    r.position = mem_zalloc((size_t)rows, sizeof *r.position);
    for (int64_t i = 0; i < n; i++) r.c[i] = r.c[i] * r.c[i];
    for (int64_t i = 0; i < rows; i++) r.position[i] = (int32_t)i % 512;
    char shape[60];
    snprintf(shape, sizeof shape, "%lldx%lld", (long long)rows, (long long)dim);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (wanted(b, all[i].op))
            measure(b, all[i].op, shape, all[i].floats * 4 * (double)n, true, all[i].fn, &r);
    float *each[] = {r.a, r.b, r.c, r.d, r.e};
    for (int i = 0; i < 5; i++) floats_free(each[i], n);
    mem_free(r.position);
}

/* --- loss --- */

static void run_loss(struct num *num, void *ctx) { loss_run(num, ctx); }

static void loss(const struct bench *b, int64_t rows, int64_t dim, int64_t vocab) {
    if (!wanted(b, "loss")) return;
    float *hidden = floats(rows * dim), *dhidden = floats(rows * dim), *nll = floats(rows);
    float *head = floats(vocab * dim);
    int32_t *target = mem_zalloc((size_t)rows, sizeof *target);
    for (int64_t i = 0; i < rows; i++) target[i] = (int32_t)(i * 7919 % vocab);
    struct loss l = {rows, dim, vocab,   hidden, {head, NUM_F32, dim}, target, NULL,
                     1,    nll, dhidden, NULL};
    char shape[60];
    snprintf(shape, sizeof shape, "%lldx%lld vocab %lld", (long long)rows, (long long)dim,
             (long long)vocab);
    double one = 2.0 * (double)rows * (double)dim * (double)vocab;
    measure(b, "loss_with_gradient", shape, 2 * one, false, run_loss, &l);
    l.dhidden = NULL;
    measure(b, "loss_forward", shape, one, false, run_loss, &l);
    floats_free(hidden, rows * dim);
    floats_free(dhidden, rows * dim);
    floats_free(nll, rows);
    floats_free(head, vocab * dim);
    mem_free(target);
}

int main(int argc, char **argv) {
    struct bench b = {0};
    struct err err;
    int threads = 0;
    if (num_isa_choose(&b.isa, &err) != 0) {
        fprintf(stderr, "bench: %s\n", err.msg);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "threads=", 8) == 0)
            threads = (int)strtol(argv[i] + 8, NULL, 10);
        else if (strncmp(argv[i], "op=", 3) == 0)
            b.op = argv[i] + 3;
        else {
            fprintf(stderr, "usage: bench-ops [threads=N] [op=attention|loss|rmsnorm|...]\n");
            return 2;
        }
    }
    b.num = num_new(&(struct num_options){.threads = threads, .compute = NUM_F32, .isa = b.isa});
    puts("op,shape,threads,path,seconds,rate,unit,peak,roofline");
    attention(&b, 1, 512, 0, 14, 2, 64);
    attention(&b, 1, 2048, 0, 14, 2, 64);
    attention(&b, 8, 64, 0, 14, 2, 64);
    attention(&b, 1, 512, 0, 9, 3, 64);
    attention(&b, 1, 512, 0, 32, 8, 128);
    attention(&b, 1, 1, 4095, 14, 2, 64);
    attention(&b, 1, 1, 4095, 9, 9, 64);
    attention(&b, 16, 1, 511, 14, 2, 64);
    runs(&b, 1024, 4864);
    runs(&b, 256, 896);
    loss(&b, 256, 576, 49152);
    num_free(b.num);
    return 0;
}
