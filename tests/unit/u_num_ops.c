#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "num/ops.h"

#include <math.h>
#include <string.h>

/* Each operation against its definition in double, gradients against central differences of that
 * definition, for every instruction set of this CPU; the same bits at any thread count and for rows
 * taken together or alone. */

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct num *num_with(enum num_isa isa, int threads) {
    return num_new(&(struct num_options){.threads = threads, .compute = NUM_F32, .isa = isa});
}

static void random_fill(uint64_t seed, float *p, int64_t n) {
    struct rng r;
    rng_init(&r, seed);
    for (int64_t i = 0; i < n; i++) p[i] = (float)rng_normal(&r);
}

static void near(const char *what, enum num_isa isa, const float *got, const double *want,
                 int64_t n, double tolerance) {
    for (int64_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - want[i]) / (1.0 + fabs(want[i]));
        if (!(off <= tolerance))
            fail_msg("%s, %s: [%lld] is %.9g, not %.9g", what, num_isa_name(isa), (long long)i,
                     (double)got[i], want[i]);
    }
}

static void same(const float *a, const float *b, int64_t n) {
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

enum { N = 4096 };

/* --- gradients by central differences --- */

typedef double (*value_fn)(const double *x, int64_t n, const void *ctx);

static void differences(value_fn f, const void *ctx, double *x, int64_t n, double *ret_gradient) {
    const double h = 1e-5;
    for (int64_t i = 0; i < n; i++) {
        double keep = x[i];
        x[i] = keep + h;
        double up = f(x, n, ctx);
        x[i] = keep - h;
        ret_gradient[i] = (up - f(x, n, ctx)) / (2 * h);
        x[i] = keep;
    }
}

/* --- RMSNorm --- */

struct norm_case {
    int64_t rows, dim;
};
static const struct norm_case norm_cases[] = {{1, 1},   {3, 7},   {2, 64},
                                              {5, 131}, {90, 24}, {17, 33}};
#define EPS 1e-5

static void norm_row(double *y, const double *x, const double *w, int64_t dim) {
    double s = 0;
    for (int64_t i = 0; i < dim; i++) s += x[i] * x[i];
    for (int64_t i = 0; i < dim; i++) y[i] = x[i] / sqrt(s / (double)dim + EPS) * w[i];
}

struct norm_value {
    const float *dy;
    int64_t rows, dim;
};

/* x then w in one vector; sum of y·dy */
static double norm_value(const double *xw, int64_t n, const void *ctx) {
    const struct norm_value *v = ctx;
    double y[256], sum = 0;
    assert_int_equal(n, (v->rows + 1) * v->dim);
    for (int64_t r = 0; r < v->rows; r++) {
        norm_row(y, xw + r * v->dim, xw + v->rows * v->dim, v->dim);
        for (int64_t i = 0; i < v->dim; i++) sum += y[i] * (double)v->dy[r * v->dim + i];
    }
    return sum;
}

static void rmsnorm_is_its_definition(void **state) {
    (void)state;
    for (size_t c = 0; c < COUNT(norm_cases); c++) {
        int64_t rows = norm_cases[c].rows, dim = norm_cases[c].dim, n = rows * dim;
        static float x[N], dy[N], y[N], dx[N], w[256], dw[256];
        static double xw[N], gradient[N], want[N];
        random_fill(c, x, n);
        random_fill(c + 100, dy, n);
        random_fill(c + 200, w, dim);
        for (int64_t i = 0; i < n; i++) xw[i] = (double)x[i];
        for (int64_t i = 0; i < dim; i++) xw[n + i] = (double)w[i];
        struct norm_value v = {dy, rows, dim};
        if (n < 1000) differences(norm_value, &v, xw, n + dim, gradient);
        for (enum num_isa isa = NUM_SCALAR; isa <= NUM_AVX512; isa++) {
            if (!num_isa_available(isa)) continue;
            struct num *num = num_with(isa, 2);
            rmsnorm_forward(num, y, x, w, rows, dim, (float)EPS);
            for (int64_t r = 0; r < rows; r++) norm_row(want + r * dim, xw + r * dim, xw + n, dim);
            near("rmsnorm", isa, y, want, n, 5e-7);
            for (int64_t i = 0; i < n; i++) dx[i] = 1.0f;
            for (int64_t i = 0; i < dim; i++) dw[i] = 2.0f;
            rmsnorm_backward(num, dx, dw, dy, x, w, rows, dim, (float)EPS);
            for (int64_t i = 0; n < 1000 && i < n + dim; i++)
                want[i] = gradient[i] + (i < n ? 1.0 : 2.0);
            if (n < 1000) near("rmsnorm dx", isa, dx, want, n, 2e-6);
            if (n < 1000) near("rmsnorm dw", isa, dw, want + n, dim, 2e-6);
            num_free(num);
        }
    }
}

/* --- rotary positions --- */

static void rope_turns_pairs_and_back(void **state) {
    (void)state;
    static const struct {
        int64_t rows, heads, head_dim, stride;
    } cases[] = {{1, 1, 2, 2}, {5, 3, 10, 41}, {7, 2, 64, 130}, {3, 1, 34, 34}, {200, 4, 16, 64}};
    enum { POSITIONS = 50 };
    for (size_t c = 0; c < COUNT(cases); c++) {
        int64_t rows = cases[c].rows, stride = cases[c].stride, d = cases[c].head_dim, half = d / 2;
        float *x = mem_alloc((size_t)(rows * stride) * sizeof *x);
        float *before = mem_alloc((size_t)(rows * stride) * sizeof *x);
        double *want = mem_alloc((size_t)(rows * stride) * sizeof *want);
        static float cosines[POSITIONS * 64], sines[POSITIONS * 64];
        int32_t position[200];
        random_fill(c, before, rows * stride);
        for (int64_t i = 0; i < POSITIONS * half; i++) {
            cosines[i] = cosf((float)i);
            sines[i] = sinf((float)i);
        }
        for (int64_t r = 0; r < rows; r++) position[r] = (int32_t)(r * 7 % POSITIONS);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < stride; i++) {
                int64_t in = i % d, j = in % half, at = position[r] * half + j;
                const float *head = before + r * stride + i - in;
                double a = (double)head[in], s = (double)sines[at];
                want[r * stride + i] = a;
                if (i >= cases[c].heads * d) continue;
                want[r * stride + i] =
                    a * (double)cosines[at] +
                    (in < half ? -s * (double)head[in + half] : s * (double)head[in - half]);
            }
        for (enum num_isa isa = NUM_SCALAR; isa <= NUM_AVX512; isa++) {
            if (!num_isa_available(isa)) continue;
            struct num *num = num_with(isa, 2);
            memcpy(x, before, (size_t)(rows * stride) * sizeof *x);
            rope_apply(num, x, rows, stride, cases[c].heads, d, cosines, sines, position, false);
            near("rope", isa, x, want, rows * stride, 3e-7);
            rope_apply(num, x, rows, stride, cases[c].heads, d, cosines, sines, position, true);
            for (int64_t i = 0; i < rows * stride; i++)
                assert_true(fabsf(x[i] - before[i]) < 1e-6f * (2 + fabsf(before[i])));
            num_free(num);
        }
        mem_free(x);
        mem_free(before);
        mem_free(want);
    }
}

/* --- SwiGLU --- */

static double silu(double g) { return g / (1 + exp(-g)); }

static double swiglu_value(const double *gu, int64_t n, const void *ctx) {
    const float *dh = ctx;
    double sum = 0;
    for (int64_t i = 0; i < n / 2; i++) sum += (double)dh[i] * silu(gu[i]) * gu[n / 2 + i];
    return sum;
}

static void swiglu_is_its_definition(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 33, 200};
    for (size_t c = 0; c < COUNT(sizes); c++) {
        int64_t n = sizes[c];
        float gate[200], up[200], dh[200], h[200], dgate[200], dup[200];
        double gu[400], gradient[400], want[200];
        random_fill(c, gate, n);
        random_fill(c + 10, up, n);
        random_fill(c + 20, dh, n);
        for (int64_t i = 0; i < n; i++) gate[i] *= 4;
        for (int64_t i = 0; i < n; i++) gu[i] = (double)gate[i], gu[n + i] = (double)up[i];
        for (int64_t i = 0; i < n; i++) want[i] = silu(gu[i]) * gu[n + i];
        differences(swiglu_value, dh, gu, 2 * n, gradient);
        for (enum num_isa isa = NUM_SCALAR; isa <= NUM_AVX512; isa++) {
            if (!num_isa_available(isa)) continue;
            struct num *num = num_with(isa, 2);
            swiglu_forward(num, h, gate, up, n);
            near("swiglu", isa, h, want, n, 4e-7);
            swiglu_backward(num, dgate, dup, dh, gate, up, n);
            near("swiglu dgate", isa, dgate, gradient, n, 1e-6);
            near("swiglu dup", isa, dup, gradient + n, n, 1e-6);
            float g[200], u[200];
            memcpy(g, gate, sizeof g);
            memcpy(u, up, sizeof u);
            swiglu_backward(num, g, u, dh, g, u, n); /* in place */
            same(g, dgate, n);
            same(u, dup, n);
            num_free(num);
        }
    }
}

/* silu is the way to see the exponential: all of its range, both ends, NaN */
static void the_exponential_is_exact_to_two_ulp_and_keeps_nan(void **state) {
    (void)state;
    enum { POINTS = 20000 };
    float *gate = mem_alloc(POINTS * sizeof *gate), *h = mem_alloc(POINTS * sizeof *h);
    float *one = mem_alloc(POINTS * sizeof *one);
    for (int i = 0; i < POINTS; i++) {
        gate[i] = -87.0f + 174.0f * (float)i / POINTS;
        one[i] = 1;
    }
    for (enum num_isa isa = NUM_SCALAR; isa <= NUM_AVX512; isa++) {
        if (!num_isa_available(isa)) continue;
        struct num *num = num_with(isa, 1);
        swiglu_forward(num, h, gate, one, POINTS);
        for (int i = 0; i < POINTS; i++) {
            double want = silu((double)gate[i]);
            assert_true(fabs((double)h[i] - want) <= 4.5e-7 * fabs(want) + 1e-38);
        }
        float ends[] = {-1000, 1000, NAN, -INFINITY, 0, -89}, got[6];
        swiglu_forward(num, got, ends, one, 6);
        assert_true(got[0] == 0 && got[1] == 1000 && isnan(got[2]) && got[4] == 0 && got[5] == 0);
        num_free(num);
    }
    mem_free(gate);
    mem_free(h);
    mem_free(one);
}

/* --- sums and simple runs --- */

static void sums_are_exact_enough(void **state) {
    (void)state;
    enum { BIG = 40000, DIM = 70 };
    float *x = mem_alloc(BIG * sizeof *x), *y = mem_alloc(BIG * sizeof *y);
    for (enum num_isa isa = NUM_SCALAR; isa <= NUM_AVX512; isa++) {
        if (!num_isa_available(isa)) continue;
        struct num *num = num_with(isa, 2);
        for (int64_t n = 0; n <= BIG; n = n * 3 + 1) {
            random_fill(9, x, BIG);
            double squares = 0, exps = 0;
            for (int64_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
            for (int64_t i = 0; i < n; i++) exps += exp((double)x[i]);
            assert_true(fabs(num_sum_squares(num, x, n) - squares) <= 1e-12 * squares);
            if (n > 0) assert_true(fabs((double)num_logsumexp(num, x, n) - log(exps)) <= 1e-6);
            float top = num_row_max(num, x, n);
            for (int64_t i = 0; i < n; i++) assert_true(x[i] <= top);
            if (n > 0)
                assert_true(fabs(num_row_sum_exp(num, x, n, top) * exp((double)top) / exps - 1) <=
                            1e-5);
            num_row_weights(num, y, x, n, top, 0.5f);
            for (int64_t i = 0; i < n; i++)
                assert_true(fabs((double)y[i] - exp(((double)x[i] - (double)top) * 0.5)) <= 1e-6);
            assert_true(num_row_finite(x, n));
            for (int64_t i = 0; i < n; i += n / 7 + 1) {
                static const float bad[] = {NAN, INFINITY, -INFINITY};
                float good = x[i];
                x[i] = bad[i % 3];
                assert_false(num_row_finite(x, n));
                x[i] = good;
            }
            memcpy(y, x, BIG * sizeof *y);
            num_scale(num, y, 0.5f, n);
            num_add(num, y, x, n);
            for (int64_t i = 0; i < BIG; i++) assert_true(y[i] == (i < n ? x[i] * 1.5f : x[i]));
        }
        for (int64_t rows = 1; rows * (DIM + 2) <= BIG; rows = rows * 5 + 2) {
            float sums[DIM];
            double want[DIM];
            for (int64_t j = 0; j < DIM; j++) sums[j] = 3, want[j] = 3;
            for (int64_t r = 0; r < rows; r++)
                for (int64_t j = 0; j < DIM; j++) want[j] += (double)x[r * (DIM + 2) + j];
            num_col_sums(num, sums, x, rows, DIM, DIM + 2);
            near("column sums", isa, sums, want, DIM, 1e-5);
        }
        num_free(num);
    }
    mem_free(x);
    mem_free(y);
}

/* --- embedding --- */

static void embedding_reads_each_type_and_adds_back(void **state) {
    (void)state;
    enum { VOCAB = 11, DIM = 75, ROWS = 40 };
    static float table[VOCAB * DIM], out[ROWS * DIM], dout[ROWS * DIM], dtable[VOCAB * DIM];
    static uint16_t half[VOCAB * DIM];
    static double want[VOCAB * DIM];
    int32_t ids[ROWS];
    random_fill(1, table, VOCAB * DIM);
    random_fill(2, dout, ROWS * DIM);
    for (int i = 0; i < ROWS; i++) ids[i] = i * i % VOCAB;
    struct num *num = num_with(num_isa_best(), 2);
    for (enum num_type t = NUM_F32; t <= NUM_F16; t++) {
        num_narrow(half, t == NUM_F32 ? NUM_BF16 : t, table, VOCAB * DIM);
        struct mat m = {t == NUM_F32 ? (const void *)table : half, t, DIM};
        embedding_forward(num, out, m, ids, ROWS, DIM);
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < DIM; i++) {
                int at = ids[r] * DIM + i;
                float x = t == NUM_F32    ? table[at]
                          : t == NUM_BF16 ? num_of_bf16(half[at])
                                          : num_of_f16(half[at]);
                assert_true(out[r * DIM + i] == x);
            }
    }
    for (int i = 0; i < VOCAB * DIM; i++) want[i] = dtable[i] = 1;
    for (int i = 0; i < ROWS * DIM; i++) want[ids[i / DIM] * DIM + i % DIM] += (double)dout[i];
    embedding_backward(num, dtable, dout, ids, ROWS, DIM);
    near("embedding", num_isa_best(), dtable, want, VOCAB * DIM, 1e-6);
    num_free(num);
}

/* --- dropout --- */

static void dropout_keeps_the_expected_share_and_its_mask(void **state) {
    (void)state;
    enum { BIG = 50000 };
    float *x = mem_alloc(BIG * sizeof *x), *y = mem_alloc(BIG * sizeof *y);
    float *z = mem_alloc(BIG * sizeof *z);
    random_fill(3, x, BIG);
    struct num *num = num_with(num_isa_best(), 3);
    dropout_apply(num, y, x, BIG, 0.0f, 1);
    same(y, x, BIG);
    dropout_apply(num, y, x, BIG, 0.25f, 42);
    int kept = 0, agree = 0;
    for (int i = 0; i < BIG; i++) {
        assert_true(y[i] == 0 || y[i] == x[i] * (1.0f / 0.75f));
        kept += y[i] != 0;
    }
    assert_in_range(kept, 37100, 37900);
    memcpy(z, x, BIG * sizeof *z);
    dropout_apply(num, z, z, BIG, 0.25f, 42); /* in place, again */
    same(y, z, BIG);
    dropout_apply(num, z, x, BIG, 0.25f, 43);
    for (int i = 0; i < BIG; i++) agree += (y[i] != 0) == (z[i] != 0);
    assert_in_range(agree, 30800, 31700); /* 0.625: independent */
    num_free(num);
    mem_free(x);
    mem_free(y);
    mem_free(z);
}

/* --- AdamW --- */

static void adamw_is_pytorchs(void **state) {
    (void)state;
    struct err err;
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_int_equal(file_read("tests/fixtures/adamw/steps.f32", &b, &err), 0);
    static float f[N], param[64], m[64], v[64], first[3][64];
    assert_true(b.n <= sizeof f);
    memcpy(f, b.p, b.n);
    int64_t n = (int64_t)f[0], steps = (int64_t)f[1];
    assert_int_equal(b.n, (size_t)(2 + n * (4 + steps)) * sizeof *f);
    const float *want[] = {f + 2 + n * (1 + steps), f + 2 + n * (2 + steps),
                           f + 2 + n * (3 + steps)};
    for (enum num_isa isa = NUM_SCALAR; isa <= NUM_AVX512; isa++) {
        if (!num_isa_available(isa)) continue;
        struct num *num = num_with(isa, 2);
        struct adamw o = {
            .lr = 3e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1};
        memcpy(param, f + 2, (size_t)n * sizeof *param);
        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        for (o.step = 1; o.step <= steps; o.step++) {
            float half[64]; /* halved, and scaled back by grad_scale: exact */
            for (int64_t i = 0; i < n; i++) half[i] = f[2 + n * o.step + i] * 0.5f;
            o.grad_scale = 2.0f;
            adamw_step(num, &o, param, m, v, half, n);
        }
        const float *got[] = {param, m, v};
        for (int t = 0; t < 3; t++) {
            for (int64_t i = 0; i < n; i++)
                assert_true(fabsf(got[t][i] - want[t][i]) <= 1e-6f * fabsf(want[t][i]));
            if (isa == NUM_SCALAR) memcpy(first[t], got[t], (size_t)n * sizeof(float));
            same(got[t], first[t], n); /* this one has the same bits everywhere */
        }
        num_free(num);
    }
    buf_release(&b);
}

/* --- bits --- */

enum { ROWS = 300, DIM = 75, ALL = ROWS * DIM };

struct results {
    float norm[ALL], dx[ALL], dw[DIM], sums[DIM], rope[ALL], h[ALL], dgate[ALL], dup[ALL],
        drop[ALL];
    double squares;
};

static void run_all(int threads, struct results *r) {
    static float x[ALL], y[ALL], z[ALL], w[DIM];
    static int32_t position[ROWS];
    random_fill(1, x, ALL);
    random_fill(2, y, ALL);
    random_fill(3, z, ALL);
    random_fill(4, w, DIM);
    memset(r, 0, sizeof *r);
    struct num *num = num_with(num_isa_best(), threads);
    rmsnorm_forward(num, r->norm, x, w, ROWS, DIM, 1e-5f);
    rmsnorm_backward(num, r->dx, r->dw, y, x, w, ROWS, DIM, 1e-5f);
    num_col_sums(num, r->sums, x, ROWS, DIM, DIM);
    memcpy(r->rope, x, sizeof r->rope);
    rope_apply(num, r->rope, ROWS, DIM, 1, DIM - 1, y, z, position, false);
    swiglu_forward(num, r->h, x, y, ALL);
    swiglu_backward(num, r->dgate, r->dup, z, x, y, ALL);
    dropout_apply(num, r->drop, x, ALL, 0.1f, 5);
    r->squares = num_sum_squares(num, x, ALL);
    if (threads == 1) { /* the same rows one by one */
        static float row[DIM], up[DIM], last[DIM];
        for (int64_t i = 0; i < ROWS; i++) {
            rmsnorm_forward(num, row, x + i * DIM, w, 1, DIM, 1e-5f);
            same(row, r->norm + i * DIM, DIM);
            swiglu_forward(num, row, x + i * DIM, y + i * DIM, DIM);
            same(row, r->h + i * DIM, DIM);
            swiglu_backward(num, row, up, z + i * DIM, x + i * DIM, y + i * DIM, DIM);
            same(row, r->dgate + i * DIM, DIM);
            same(up, r->dup + i * DIM, DIM);
            memset(last, 0, sizeof last);
            rmsnorm_backward(num, last, NULL, y + i * DIM, x + i * DIM, w, 1, DIM, 1e-5f);
            same(last, r->dx + i * DIM, DIM);
        }
    }
    num_free(num);
}

static void operations_have_the_same_bits_at_any_thread_count(void **state) {
    (void)state;
    static struct results one, more;
    run_all(1, &one);
    for (int threads = 2; threads <= 4; threads++) {
        run_all(threads, &more);
        assert_memory_equal(&one, &more, sizeof one);
    }
}

UNIT_TESTS(num_ops, cmocka_unit_test(rmsnorm_is_its_definition),
           cmocka_unit_test(rope_turns_pairs_and_back), cmocka_unit_test(swiglu_is_its_definition),
           cmocka_unit_test(the_exponential_is_exact_to_two_ulp_and_keeps_nan),
           cmocka_unit_test(sums_are_exact_enough),
           cmocka_unit_test(embedding_reads_each_type_and_adds_back),
           cmocka_unit_test(dropout_keeps_the_expected_share_and_its_mask),
           cmocka_unit_test(adamw_is_pytorchs),
           cmocka_unit_test(operations_have_the_same_bits_at_any_thread_count))
