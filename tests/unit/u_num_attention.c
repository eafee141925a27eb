#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "num/attention.h"

#include <math.h>
#include <string.h>

/* Attention against the plain definition in double, for every instruction set of this CPU. */

struct shape {
    int64_t heads, kv_heads, head_dim, window;
    int64_t rows[4]; /* spans, up to the first 0 */
    int64_t before;  /* keys of each span that come before its first query */
};

static const struct shape shapes[] = {
    {1, 1, 1, 0, {1}, 0},         {1, 1, 7, 0, {3}, 0},           {2, 1, 16, 0, {65, 1, 64}, 0},
    {6, 2, 20, 0, {130}, 0},      {4, 4, 64, 0, {97, 31}, 0},     {14, 2, 64, 0, {50, 3}, 0},
    {3, 1, 33, 5, {40, 7}, 0},    {4, 2, 64, 70, {200}, 0},       {2, 2, 80, 1, {66}, 0},
    {8, 1, 128, 64, {129, 2}, 0}, {2, 1, 256, 0, {70}, 0},        {100, 1, 8, 0, {5}, 0},
    {1, 1, 3, 1030, {2100}, 0},   {2, 1, 5, 0, {1030, 1, 90}, 0}, {6, 2, 20, 0, {30, 1, 9}, 70},
    {2, 2, 16, 20, {50, 3}, 33},  {9, 3, 64, 0, {64, 17}, 128},
};

struct problem {
    struct attn a;
    struct attn_span spans[4];
    int64_t total, keys; /* rows of q and of k */
    float *q, *k, *v, *dout, *out, *lse, *dq, *dk, *dv;
};

static float *random_floats(struct rng *r, int64_t n) {
    float *p = mem_alloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++) p[i] = (float)rng_normal(r);
    return p;
}

/* strides a little wider than needed, so that a wrong one shows */
static void problem_init(struct problem *p, const struct shape *s, uint64_t seed) {
    struct rng r;
    rng_init(&r, seed);
    *p = (struct problem){.a = {.heads = s->heads,
                                .kv_heads = s->kv_heads,
                                .head_dim = s->head_dim,
                                .q_stride = s->heads * s->head_dim + 3,
                                .out_stride = s->heads * s->head_dim + 5,
                                .kv_stride = s->kv_heads * s->head_dim + 1,
                                .scale = 1.0f / sqrtf((float)s->head_dim),
                                .window = s->window}};
    while (p->a.span_count < 4 && s->rows[p->a.span_count]) p->total += s->rows[p->a.span_count++];
    p->q = random_floats(&r, p->total * p->a.q_stride);
    p->dq = random_floats(&r, p->total * p->a.q_stride);
    p->keys = p->total + p->a.span_count * s->before;
    p->k = random_floats(&r, p->keys * p->a.kv_stride);
    p->v = random_floats(&r, p->keys * p->a.kv_stride);
    p->dk = random_floats(&r, p->keys * p->a.kv_stride);
    p->dv = random_floats(&r, p->keys * p->a.kv_stride);
    p->out = random_floats(&r, p->total * p->a.out_stride);
    p->dout = random_floats(&r, p->total * p->a.out_stride);
    p->lse = random_floats(&r, p->total * s->heads);
    for (int64_t i = 0, row = 0; i < p->a.span_count; row += s->rows[i++]) {
        int64_t offset = i * s->before, key = row + offset;
        p->spans[i] = (struct attn_span){
            row,       s->rows[i], p->k + key * p->a.kv_stride, p->v + key * p->a.kv_stride,
            s->before, offset};
    }
    p->a.spans = p->spans;
}

static void problem_release(struct problem *p) {
    float *all[] = {p->q, p->k, p->v, p->dout, p->out, p->lse, p->dq, p->dk, p->dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

static struct num *num_with(enum num_isa isa, int threads) {
    return num_new(&(struct num_options){.threads = threads, .compute = NUM_F32, .isa = isa});
}

static void run(struct problem *p, enum num_isa isa, int threads) {
    struct num *num = num_with(isa, threads);
    attention_forward(num, &p->a, p->out, p->lse, p->q);
    attention_backward(num, &p->a, p->dq, p->dk, p->dv, p->dout, p->out, p->lse, p->q);
    num_free(num);
}

static double dot(const float *a, const float *b, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (double)a[i] * (double)b[i];
    return s;
}

static void axpy(double *y, double a, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * (double)x[i];
}

struct reference {
    double *out, *lse, *dq, *dk, *dv;
};

/* one row of one head, forward and backward */
static void reference_row(const struct problem *p, const struct reference *ref, int64_t span,
                          int64_t i, int64_t head) {
    const struct attn *a = &p->a;
    const struct attn_span *s = &p->spans[span];
    int64_t d = a->head_dim, row = s->row + i, kv = head / (a->heads / a->kv_heads) * d;
    int64_t last = s->pos0 + i, lo = a->window && last + 1 > a->window ? last + 1 - a->window : 0;
    const float *q = p->q + row * a->q_stride + head * d;
    const float *dout = p->dout + row * a->out_stride + head * d;
    double *w = mem_zalloc((size_t)(2 * (last + 1)), sizeof *w), *dw = w + last + 1, top = -1e300,
           sum = 0;
    for (int64_t j = lo; j <= last; j++) {
        w[j] = dot(q, s->k + j * a->kv_stride + kv, d) * (double)a->scale;
        dw[j] = dot(dout, s->v + j * a->kv_stride + kv, d);
        if (w[j] > top) top = w[j];
    }
    for (int64_t j = lo; j <= last; j++) sum += exp(w[j] - top);
    ref->lse[row * a->heads + head] = top + log(sum);
    double mean = 0;
    for (int64_t j = lo; j <= last; j++) {
        w[j] = exp(w[j] - top) / sum;
        mean += w[j] * dw[j];
    }
    for (int64_t j = lo; j <= last; j++) {
        int64_t at = (s->row + s->key_offset + j) * a->kv_stride + kv;
        double ds = w[j] * (dw[j] - mean) * (double)a->scale;
        axpy(ref->out + row * a->out_stride + head * d, w[j], s->v + j * a->kv_stride + kv, d);
        axpy(ref->dv + at, w[j], dout, d);
        axpy(ref->dk + at, ds, q, d);
        axpy(ref->dq + row * a->q_stride + head * d, ds, s->k + j * a->kv_stride + kv, d);
    }
    mem_free(w);
}

static struct reference reference_of(const struct problem *p) {
    const struct attn *a = &p->a;
    struct reference ref = {mem_zalloc((size_t)(p->total * a->out_stride), sizeof(double)),
                            mem_zalloc((size_t)(p->total * a->heads), sizeof(double)),
                            mem_zalloc((size_t)(p->total * a->q_stride), sizeof(double)),
                            mem_zalloc((size_t)(p->keys * a->kv_stride), sizeof(double)),
                            mem_zalloc((size_t)(p->keys * a->kv_stride), sizeof(double))};
    for (int64_t s = 0; s < a->span_count; s++)
        for (int64_t i = 0; i < p->spans[s].rows; i++)
            for (int64_t h = 0; h < a->heads; h++) reference_row(p, &ref, s, i, h);
    return ref;
}

static void reference_release(struct reference *r) {
    double *all[] = {r->out, r->lse, r->dq, r->dk, r->dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

/* largest difference over the used columns, relative to the largest value (or 0.5) */
static double distance(const float *got, const double *want, int64_t rows, int64_t cols,
                       int64_t stride) {
    double worst = 0, largest = 0.5;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double g = (double)got[r * stride + c], w = want[r * stride + c];
            if (!(fabs(g - w) <= worst)) worst = fabs(g - w);
            if (fabs(w) > largest) largest = fabs(w);
        }
    return worst / largest;
}

static void check(const struct problem *p, const struct reference *ref, const char *isa, size_t i) {
    const struct attn *a = &p->a;
    int64_t wide = a->heads * a->head_dim, narrow = a->kv_heads * a->head_dim;
    double d[] = {distance(p->out, ref->out, p->total, wide, a->out_stride),
                  distance(p->lse, ref->lse, p->total, a->heads, a->heads),
                  distance(p->dq, ref->dq, p->total, wide, a->q_stride),
                  distance(p->dk, ref->dk, p->keys, narrow, a->kv_stride),
                  distance(p->dv, ref->dv, p->keys, narrow, a->kv_stride)};
    for (size_t j = 0; j < 5; j++)
        if (!(d[j] < 4e-6)) fail_msg("%s, shape %zu, result %zu: off by %g", isa, i, j, d[j]);
}

static void attention_matches_its_definition(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct problem p;
        problem_init(&p, &shapes[i], i + 1);
        struct reference ref = reference_of(&p);
        for (enum num_isa isa = NUM_SCALAR; isa <= NUM_AVX512; isa++) {
            if (!num_isa_available(isa)) continue;
            run(&p, isa, 2);
            check(&p, &ref, num_isa_name(isa), i);
        }
        reference_release(&ref);
        problem_release(&p);
    }
}

static double weighted_sum(const struct problem *p) {
    struct reference ref = reference_of(p);
    double sum = 0;
    for (int64_t r = 0; r < p->total; r++)
        for (int64_t c = 0; c < p->a.heads * p->a.head_dim; c++)
            sum += ref.out[r * p->a.out_stride + c] * (double)p->dout[r * p->a.out_stride + c];
    reference_release(&ref);
    return sum;
}

static void check_differences(const struct problem *p, float *x, const double *gradient,
                              int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float keep = x[i], up = keep + 1e-3f, down = keep - 1e-3f;
        x[i] = up;
        double high = weighted_sum(p);
        x[i] = down;
        double low = weighted_sum(p);
        x[i] = keep;
        double want = (high - low) / ((double)up - (double)down);
        if (!(fabs(gradient[i] - want) < 1e-5 * (1 + fabs(want))))
            fail_msg("[%lld]: %g, by differences %g", (long long)i, gradient[i], want);
    }
}

/* The gradients that the kernels are held against are those of the definition itself. */
static void the_definitions_gradients_are_its_differences(void **state) {
    (void)state;
    static const struct shape small[] = {{4, 2, 3, 4, {7, 5}, 0}, {2, 1, 2, 0, {4}, 3}};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        struct problem p;
        problem_init(&p, &small[i], 3);
        struct reference ref = reference_of(&p);
        check_differences(&p, p.q, ref.dq, p.total * p.a.q_stride);
        check_differences(&p, p.k, ref.dk, p.keys * p.a.kv_stride);
        check_differences(&p, p.v, ref.dv, p.keys * p.a.kv_stride);
        reference_release(&ref);
        problem_release(&p);
    }
}

static void same(const float *a, const float *b, int64_t n) {
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

static void attention_has_the_same_bits_at_any_thread_count(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct problem p, one;
        problem_init(&one, &shapes[i], 7);
        run(&one, num_isa_best(), 1);
        for (int threads = 2; threads <= 3; threads++) {
            problem_init(&p, &shapes[i], 7);
            run(&p, num_isa_best(), threads);
            same(p.out, one.out, p.total * p.a.out_stride);
            same(p.lse, one.lse, p.total * p.a.heads);
            same(p.dq, one.dq, p.total * p.a.q_stride);
            same(p.dk, one.dk, p.keys * p.a.kv_stride);
            same(p.dv, one.dv, p.keys * p.a.kv_stride);
            problem_release(&p);
        }
        problem_release(&one);
    }
}

/* Decoding in pieces of 1, 2, 3, ... rows gives the bits of one call; keys to come are poison. */
static void decoding_equals_prefill_bit_for_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct problem p;
        problem_init(&p, &shapes[i], 11);
        const struct attn *a = &p.a;
        if (shapes[i].before) {
            problem_release(&p);
            continue;
        }
        int64_t rows = p.spans[0].rows, kv = rows * a->kv_stride, at = 0, step = 1;
        struct num *num = num_with(num_isa_best(), 2);
        attention_forward(num, a, p.out, p.lse, p.q);
        float *out = mem_zalloc((size_t)(rows * a->out_stride), sizeof *out);
        float *cache = mem_alloc((size_t)(2 * kv) * sizeof *cache);
        for (int64_t j = 0; j < 2 * kv; j++) cache[j] = NAN;
        for (; at < rows; at += step, step = step % 7 * 17 + 1) {
            if (step > rows - at) step = rows - at;
            size_t bytes = (size_t)(step * a->kv_stride) * sizeof *cache;
            memcpy(cache + at * a->kv_stride, p.k + at * a->kv_stride, bytes);
            memcpy(cache + kv + at * a->kv_stride, p.v + at * a->kv_stride, bytes);
            struct attn_span span = {at, step, cache, cache + kv, at, 0};
            struct attn piece = *a;
            piece.spans = &span, piece.span_count = 1;
            attention_forward(num, &piece, out, NULL, p.q);
        }
        for (int64_t r = 0; r < rows; r++)
            same(out + r * a->out_stride, p.out + r * a->out_stride, a->heads * a->head_dim);
        mem_free(out);
        mem_free(cache);
        num_free(num);
        problem_release(&p);
    }
}

UNIT_TESTS(num_attention, cmocka_unit_test(the_definitions_gradients_are_its_differences),
           cmocka_unit_test(attention_matches_its_definition),
           cmocka_unit_test(attention_has_the_same_bits_at_any_thread_count),
           cmocka_unit_test(decoding_equals_prefill_bit_for_bit))
