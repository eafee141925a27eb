/* Matrix products: each instruction set this CPU has (or, in the emulated build, each there is)
 * against sums in double, and the promise on bits. Gaps between rows hold NaN, so that whoever
 * reads or uses them is caught; what lies around C must stay as it was. */
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "num/matmul.h"
#include "num/num.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum op { NT, NN, TN };
static const char *const op_names[] = {"nt", "nn", "tn"};
static void (*const ops[])(struct num *, const struct matmul *) = {matmul_nt, matmul_nn, matmul_tn};

struct shape {
    enum op op;
    int64_t m, n, k[2];
    enum num_type b_type[2];
    int64_t gap; /* elements between rows beyond the width */
    float alpha;
    bool bias, accumulate;
};

struct operands {
    struct shape shape;
    struct mat a[2], b[2];
    float *bias, *c0; /* c0: what C holds before */
    int64_t ldc;
};

#define GUARD 7777.0f

static struct num *num_with(enum num_isa isa, enum num_type compute, int threads) {
    return num_new(&(struct num_options){.threads = threads, .compute = compute, .isa = isa});
}

static struct mat random_mat(struct rng *r, int64_t rows, int64_t cols, enum num_type type,
                             int64_t gap) {
    int64_t ld = cols + gap;
    char *p = mem_alloc((size_t)(rows * ld) * num_type_size(type));
    for (int64_t i = 0; i < rows * ld; i++) {
        float v = i % ld < cols ? (float)rng_normal(r) : NAN;
        num_narrow(p + (size_t)i * num_type_size(type), type, &v, 1);
    }
    return (struct mat){p, type, ld};
}

static struct operands operands_new(struct rng *r, struct shape s) {
    struct operands o = {.shape = s, .ldc = s.n + s.gap};
    for (int i = 0; i < 2; i++) {
        int64_t k = s.k[i];
        o.a[i] = random_mat(r, s.op == TN ? k : s.m, s.op == TN ? s.m : k, NUM_F32, s.gap);
        o.b[i] = random_mat(r, s.op == NT ? s.n : k, s.op == NT ? k : s.n, s.b_type[i], s.gap);
    }
    o.bias = mem_alloc((size_t)s.n * sizeof *o.bias);
    for (int64_t j = 0; j < s.n; j++) o.bias[j] = (float)rng_normal(r);
    o.c0 = mem_alloc((size_t)(s.m * o.ldc) * sizeof *o.c0);
    for (int64_t i = 0; i < s.m * o.ldc; i++)
        o.c0[i] = i % o.ldc < s.n ? s.accumulate ? (float)rng_normal(r) : NAN : GUARD;
    return o;
}

static void operands_free(struct operands *o) {
    for (int i = 0; i < 2; i++) {
        mem_free((void *)(uintptr_t)o->a[i].p);
        mem_free((void *)(uintptr_t)o->b[i].p);
    }
    mem_free(o->bias);
    mem_free(o->c0);
}

/* rows [i0, i0+m) and columns [j0, j0+n) of the product alone */
static float *product_part(struct num *num, const struct operands *o, int64_t i0, int64_t m,
                           int64_t j0, int64_t n) {
    const struct shape *s = &o->shape;
    float *c = mem_alloc((size_t)(m * o->ldc) * sizeof *c);
    memcpy(c, o->c0 + i0 * o->ldc, (size_t)(m * o->ldc) * sizeof *c);
    struct matmul mm = {.m = m,
                        .n = n,
                        .bias = s->bias ? o->bias + j0 : NULL,
                        .c = c + j0,
                        .ldc = o->ldc,
                        .alpha = s->alpha,
                        .accumulate = s->accumulate};
    for (int i = 0; i < 2; i++) {
        struct mat a = o->a[i], b = o->b[i];
        a.p = (const float *)a.p + i0 * (s->op == TN ? 1 : a.ld);
        b.p = (const char *)b.p + (size_t)(j0 * (s->op == NT ? b.ld : 1)) * num_type_size(b.type);
        mm.seg[i].a = a;
        mm.seg[i].b = b;
        mm.seg[i].k = s->k[i];
    }
    ops[s->op](num, &mm);
    return c;
}

static float *product(struct num *num, const struct operands *o) {
    return product_part(num, o, 0, o->shape.m, 0, o->shape.n);
}

static double value(const struct mat *x, int64_t i, int64_t j, enum num_type compute) {
    const char *p = (const char *)x->p + (size_t)(i * x->ld + j) * num_type_size(x->type);
    float v;
    num_widen(&v, p, x->type, 1);
    return compute == NUM_BF16 ? num_of_bf16(num_bf16_of(v)) : v;
}

static double reference(const struct operands *o, int64_t i, int64_t j, enum num_type compute,
                        double *ret_size) {
    const struct shape *s = &o->shape;
    double sum = 0, size = 0;
    for (int g = 0; g < 2; g++)
        for (int64_t k = 0; k < s->k[g]; k++) {
            double a =
                s->op == TN ? value(&o->a[g], k, i, compute) : value(&o->a[g], i, k, compute);
            double b =
                s->op == NT ? value(&o->b[g], j, k, compute) : value(&o->b[g], k, j, compute);
            sum += a * b;
            size += fabs(a * b);
        }
    double alpha = s->alpha == 0 ? 1 : s->alpha, c0 = s->accumulate ? o->c0[i * o->ldc + j] : 0;
    double bias = s->bias ? o->bias[j] : 0;
    *ret_size = fabs(alpha) * size + fabs(c0) + fabs(bias);
    return alpha * sum + c0 + bias;
}

static void describe(const struct num *num, const struct shape *s) {
    print_error(
        "%s %s m %lld n %lld k %lld+%lld types %d,%d gap %lld alpha %g bias %d add %d seed %llu\n",
        num_path_name(num), op_names[s->op], (long long)s->m, (long long)s->n, (long long)s->k[0],
        (long long)s->k[1], s->b_type[0], s->b_type[1], (long long)s->gap, (double)s->alpha,
        s->bias, s->accumulate, (unsigned long long)unit_seed());
}

static void check_against_reference(struct num *num, const struct operands *o) {
    const struct shape *s = &o->shape;
    float *c = product(num, o);
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < o->ldc; j++) {
            double size = 0, got = c[i * o->ldc + j];
            double want = j < s->n ? reference(o, i, j, num_compute(num), &size) : (double)GUARD;
            if (fabs(got - want) <= 3e-6 * size) continue;
            describe(num, s);
            fail_msg("C[%lld][%lld] is %.9g, not %.9g", (long long)i, (long long)j, got, want);
        }
    mem_free(c);
}

static void same_bits(const struct num *num, const struct shape *s, float got, float want,
                      const char *what) {
    if (memcmp(&got, &want, sizeof got) == 0) return;
    describe(num, s);
    fail_msg("%s: %.9g, not %.9g", what, (double)got, (double)want);
}

static struct shape random_shape(struct rng *r, int64_t size) {
    struct shape s = {.op = (enum op)rng_below(r, 3),
                      .m = 1 + (int64_t)rng_below(r, (uint64_t)size),
                      .n = 1 + (int64_t)rng_below(r, (uint64_t)size),
                      .gap = (int64_t)rng_below(r, 4),
                      .alpha = rng_below(r, 2) ? 0 : 0.75f,
                      .accumulate = rng_below(r, 2) == 0};
    s.k[0] = 1 + (int64_t)rng_below(r, (uint64_t)size);
    s.k[1] = rng_below(r, 2) ? 1 + (int64_t)rng_below(r, (uint64_t)size) : 0;
    s.bias = s.op == NT && rng_below(r, 2);
    for (int i = 0; i < 2; i++) s.b_type[i] = s.op == TN ? NUM_F32 : (enum num_type)rng_below(r, 3);
    return s;
}

/* fn for each instruction set there is and each arithmetic */
static void each_path(void (*fn)(struct num *), int threads) {
    static bool said[NUM_ISA_COUNT];
    for (int isa = 0; isa < NUM_ISA_COUNT; isa++) {
        if (!num_isa_available((enum num_isa)isa)) {
            if (!said[isa])
                print_message("skipped: this CPU lacks %s\n", num_isa_name((enum num_isa)isa));
            said[isa] = true;
            continue;
        }
        for (int compute = NUM_F32; compute <= NUM_BF16; compute++) {
            struct num *num = num_with((enum num_isa)isa, (enum num_type)compute, threads);
            fn(num);
            num_free(num);
        }
    }
}

static void run_random_shapes(struct num *num) {
    struct rng r;
    rng_init(&r, unit_seed());
    for (int i = 0; i < 150; i++) {
        struct operands o = operands_new(&r, random_shape(&r, i < 100 ? 20 : 70));
        check_against_reference(num, &o);
        operands_free(&o);
    }
}

static void products_equal_sums_in_double(void **state) {
    (void)state;
    each_path(run_random_shapes, 2);
}

/* past the block lengths of k and the tiles of C */
static const struct shape large_shapes[] = {
    {NT, 13, 9, {2500, 16}, {NUM_BF16, NUM_F32}, 0, 0, true, false},
    {NT, 1, 37, {1024, 128}, {NUM_F16, NUM_F32}, 1, 2, false, true},
    {NT, 7, 11, {1025, 129}, {NUM_F32, NUM_BF16}, 3, 0, true, true},
    {NT, 230, 5, {40, 0}, {NUM_BF16, NUM_F32}, 0, 0, false, false},
    {NN, 13, 33, {1100, 16}, {NUM_BF16, NUM_F32}, 0, 0.5f, false, false},
    {NN, 401, 18, {20, 0}, {NUM_BF16, NUM_F32}, 2, 0, false, false},
    {NN, 3, 1500, {17, 3}, {NUM_F32, NUM_F16}, 0, 0, false, true},
    {TN, 16, 70, {1050, 0}, {NUM_F32, NUM_F32}, 0, 0, false, true},
    {TN, 403, 16, {300, 7}, {NUM_F32, NUM_F32}, 0, 0, false, false},
    {NT, 5, 6, {0, 20}, {NUM_BF16, NUM_F32}, 0, 0, false, false},
    {NN, 5, 6, {0, 20}, {NUM_BF16, NUM_F32}, 0, 0, false, true},
    {NT, 5, 6, {0, 0}, {NUM_BF16, NUM_F32}, 0, 0, false, false},
    {NN, 5, 6, {0, 0}, {NUM_BF16, NUM_F32}, 0, 0, false, true},
};

static void run_large_shapes(struct num *num) {
    struct rng r;
    rng_init(&r, unit_seed());
    for (size_t i = 0; i < sizeof large_shapes / sizeof *large_shapes; i++) {
        struct operands o = operands_new(&r, large_shapes[i]);
        check_against_reference(num, &o);
        operands_free(&o);
    }
}

static void products_cross_blocks_and_tiles(void **state) {
    (void)state;
    each_path(run_large_shapes, 2);
}

static const struct shape bit_shapes[] = {
    {NT, 37, 19, {1200, 16}, {NUM_BF16, NUM_F32}, 0, 0, true, true},
    {NT, 110, 35, {77, 5}, {NUM_F32, NUM_F16}, 1, 3, false, false},
    {NT, 34, 83, {300, 16}, {NUM_BF16, NUM_F32}, 1, 2, true, false},
    {NT, 8, 83, {300, 0}, {NUM_F16, NUM_F32}, 0, 0, false, true},
    {NN, 29, 45, {700, 9}, {NUM_BF16, NUM_F32}, 0, 3, false, true},
    {NN, 37, 33, {60, 0}, {NUM_F32, NUM_F32}, 2, 0, false, false},
    {TN, 31, 70, {300, 0}, {NUM_F32, NUM_F32}, 0, 0, false, true},
};

static void check_parts(struct num *num, const struct operands *o) {
    const struct shape *s = &o->shape;
    float *all = product(num, o);
    for (int64_t i = 0; i < s->m; i++) {
        float *row = product_part(num, o, i, 1, 0, s->n);
        for (int64_t j = 0; j < s->n; j++)
            same_bits(num, s, row[j], all[i * o->ldc + j], "a row computed alone");
        mem_free(row);
    }
    for (int64_t j = 0; j < s->n; j += 3) {
        float *column = product_part(num, o, 0, s->m, j, 1);
        for (int64_t i = 0; i < s->m; i++)
            same_bits(num, s, column[i * o->ldc + j], all[i * o->ldc + j],
                      "a column computed alone");
        mem_free(column);
    }
    mem_free(all);
}

static void run_bit_shapes(struct num *num) {
    struct rng r;
    rng_init(&r, unit_seed());
    for (size_t i = 0; i < sizeof bit_shapes / sizeof *bit_shapes; i++) {
        struct operands o = operands_new(&r, bit_shapes[i]);
        check_parts(num, &o);
        operands_free(&o);
    }
}

static void a_row_alone_has_the_bits_of_the_batch(void **state) {
    (void)state;
    each_path(run_bit_shapes, 1);
}

static void run_thread_counts(struct num *num) {
    struct rng r;
    rng_init(&r, unit_seed());
    for (int i = 0; i < 12; i++) {
        struct shape shape = random_shape(&r, 200);
        struct operands o = operands_new(&r, shape);
        float *want = product(num, &o);
        for (int threads = 2; threads <= 3; threads++) {
            struct num *other = num_with(num_isa(num), num_compute(num), threads);
            float *got = product(other, &o);
            for (int64_t at = 0; at < shape.m * o.ldc; at++)
                same_bits(other, &shape, got[at], want[at], "other threads");
            mem_free(got);
            num_free(other);
        }
        mem_free(want);
        operands_free(&o);
    }
}

static void thread_counts_give_the_same_bits(void **state) {
    (void)state;
    each_path(run_thread_counts, 1);
}

/* Products of one x by several matrices, parts of its rows by others: in one list as one by one. */
static void run_list(struct num *num) {
    enum { M = 9, K = 300, COUNT = 6 };
    static const int64_t n[COUNT] = {70, 33, 5, 16, 0, 40}, row[COUNT] = {0, 0, 0, 2, 0, 8},
                         rows[COUNT] = {M, M, M, 5, M, 1};
    struct rng r;
    rng_init(&r, unit_seed());
    struct mat x = random_mat(&r, M, K, NUM_F32, 4), other = random_mat(&r, M, K, NUM_F32, 0);
    struct matmul list[COUNT];
    float *alone[COUNT], *together[COUNT];
    struct mat b[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const struct mat *a = i == 2 ? &other : &x;
        size_t size = (size_t)(rows[i] * n[i] + 1) * sizeof(float);
        b[i] = random_mat(&r, n[i] + 1, K, i % 2 ? NUM_BF16 : NUM_F32, 0);
        alone[i] = mem_zalloc(1, size);
        together[i] = mem_zalloc(1, size);
        list[i] = (struct matmul){
            .m = rows[i],
            .n = n[i],
            .seg[0] = {{(const float *)a->p + row[i] * a->ld, NUM_F32, a->ld}, b[i], K},
            .c = alone[i],
            .ldc = n[i]};
        matmul_nt(num, &list[i]);
        list[i].c = together[i];
    }
    matmul_nt_list(num, list, COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (memcmp(alone[i], together[i], (size_t)(rows[i] * n[i]) * sizeof(float)) != 0)
            fail_msg("%s: product %d of the list differs", num_path_name(num), i);
        mem_free(alone[i]);
        mem_free(together[i]);
        mem_free((void *)(uintptr_t)b[i].p);
    }
    mem_free((void *)(uintptr_t)x.p);
    mem_free((void *)(uintptr_t)other.p);
    matmul_nt_list(num, list, 0);
}

static void a_list_has_the_bits_of_its_products(void **state) {
    (void)state;
    each_path(run_list, 1);
    each_path(run_list, 3);
}

/* A NaN in one row of A reaches that row of C alone, wherever tails are filled up with zeros. */
static void a_nan_stays_in_its_row(struct num *num) {
    struct rng r;
    rng_init(&r, unit_seed());
    for (int op = NT; op <= TN; op++) {
        struct shape s = {.op = (enum op)op, .m = 9, .n = 11, .k = {37, 0}};
        struct operands o = operands_new(&r, s);
        float *a = (float *)(uintptr_t)o.a[0].p;
        a[op == TN ? 3 * o.a[0].ld + 4 : 4 * o.a[0].ld + 3] = NAN;
        float *c = product(num, &o);
        for (int64_t i = 0; i < s.m; i++)
            for (int64_t j = 0; j < s.n; j++)
                if ((i == 4) != (isnan(c[i * o.ldc + j]) != 0)) {
                    describe(num, &s);
                    fail_msg("C[%lld][%lld] is %g", (long long)i, (long long)j,
                             (double)c[i * o.ldc + j]);
                }
        mem_free(c);
        operands_free(&o);
    }
}

static void nan_and_empty_products(void **state) {
    (void)state;
    each_path(a_nan_stays_in_its_row, 1);
    struct num *num = num_with(NUM_SCALAR, NUM_F32, 1);
    matmul_nt(num, &(struct matmul){.m = 0, .n = 3});
    matmul_nn(num, &(struct matmul){.m = 3, .n = 0});
    num_free(num);
}

UNIT_TESTS(num_matmul, cmocka_unit_test(products_equal_sums_in_double),
           cmocka_unit_test(products_cross_blocks_and_tiles),
           cmocka_unit_test(a_row_alone_has_the_bits_of_the_batch),
           cmocka_unit_test(thread_counts_give_the_same_bits),
           cmocka_unit_test(a_list_has_the_bits_of_its_products),
           cmocka_unit_test(nan_and_empty_products))
