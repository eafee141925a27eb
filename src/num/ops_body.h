/* The kernels of ops_kernel.h, written once against simd.h; OPS_TABLE names the table. */
#include "num/ops_kernel.h"
#include "num/simd.h"

/* for whole vectors and then the padded tail: BODY(index, lanes) */
#define V_EACH(i, n, lanes)                                                                        \
    for (int64_t i = 0, lanes = (n) < V_WIDTH ? (n) : V_WIDTH; i < (n);                            \
         i += V_WIDTH, lanes = (n)-i < V_WIDTH ? (n)-i : V_WIDTH)

SIMD_INLINE vf get(const float *p, int64_t lanes) {
    return lanes == V_WIDTH ? v_load(p) : v_load_n(p, lanes);
}
SIMD_INLINE void put(float *p, vf x, int64_t lanes) {
    if (lanes == V_WIDTH)
        v_store(p, x);
    else
        v_store_n(p, x, lanes);
}

SIMD_INLINE vf sum4(const vf *s) { return v_add(v_add(s[0], s[1]), v_add(s[2], s[3])); }

static float rms_scale(const float *x, int64_t dim, float eps) {
    vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    int64_t i = 0;
    for (; i + 4 * V_WIDTH <= dim; i += 4 * V_WIDTH)
        for (int j = 0; j < 4; j++) {
            vf a = v_load(x + i + j * V_WIDTH);
            s[j] = v_fma(a, a, s[j]);
        }
    for (; i < dim; i += V_WIDTH) {
        vf a = get(x + i, dim - i < V_WIDTH ? dim - i : V_WIDTH);
        s[0] = v_fma(a, a, s[0]);
    }
    return 1.0f / sqrtf(v_sum(sum4(s)) / (float)dim + eps);
}

static void rmsnorm(float *y, const float *x, const float *w, int64_t dim, float eps) {
    vf r = v_set1(rms_scale(x, dim, eps));
    V_EACH(i, dim, lanes) {
        put(y + i, v_mul(v_mul(get(x + i, lanes), r), get(w + i, lanes)), lanes);
    }
}

/* dx += r·w·dy - x·r³·mean(w·dy·x) ; dw += dy·x·r */
static void rmsnorm_grad(float *dx, float *dw, const float *dy, const float *x, const float *w,
                         int64_t dim, float eps) {
    float r = rms_scale(x, dim, eps);
    vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    V_EACH(i, dim, lanes) {
        vf *t = &s[i / V_WIDTH & 3];
        *t = v_fma(v_mul(get(w + i, lanes), get(dy + i, lanes)), get(x + i, lanes), *t);
    }
    vf vr = v_set1(r), back = v_set1(-r * r * r * (v_sum(sum4(s)) / (float)dim));
    V_EACH(i, dim, lanes) {
        vf a = get(x + i, lanes), d = v_mul(get(dy + i, lanes), vr);
        vf g = v_fma(a, back, v_mul(d, get(w + i, lanes)));
        put(dx + i, v_add(get(dx + i, lanes), g), lanes);
        if (dw) put(dw + i, v_fma(d, a, get(dw + i, lanes)), lanes);
    }
}

static void rope(float *x, int64_t heads, int64_t head_dim, const float *cos, const float *sin,
                 float sign) {
    int64_t half = head_dim / 2;
    vf s = v_set1(sign);
    for (int64_t h = 0; h < heads; h++, x += head_dim) {
        V_EACH(i, half, lanes) {
            vf c = get(cos + i, lanes), t = v_mul(s, get(sin + i, lanes));
            vf a = get(x + i, lanes), b = get(x + half + i, lanes);
            put(x + i, v_sub(v_mul(a, c), v_mul(b, t)), lanes);
            put(x + half + i, v_add(v_mul(b, c), v_mul(a, t)), lanes);
        }
    }
}

SIMD_INLINE vf sigmoid(vf x) {
    vf one = v_set1(1.0f);
    return v_div(one, v_add(one, v_exp(v_sub(v_zero(), x))));
}

static void swiglu(float *h, const float *gate, const float *up, int64_t n) {
    V_EACH(i, n, lanes) {
        vf g = get(gate + i, lanes);
        put(h + i, v_mul(v_mul(g, sigmoid(g)), get(up + i, lanes)), lanes);
    }
}

static void swiglu_grad(float *dgate, float *dup, const float *dh, const float *gate,
                        const float *up, int64_t n) {
    vf one = v_set1(1.0f);
    V_EACH(i, n, lanes) {
        vf g = get(gate + i, lanes), d = get(dh + i, lanes), u = get(up + i, lanes);
        vf s = sigmoid(g), slope = v_mul(s, v_fma(g, v_sub(one, s), one));
        put(dgate + i, v_mul(v_mul(d, u), slope), lanes);
        put(dup + i, v_mul(d, v_mul(g, s)), lanes);
    }
}

static void add(float *y, const float *x, int64_t n) {
    V_EACH(i, n, lanes) { put(y + i, v_add(get(y + i, lanes), get(x + i, lanes)), lanes); }
}

static void scale(float *x, float factor, int64_t n) {
    vf f = v_set1(factor);
    V_EACH(i, n, lanes) { put(x + i, v_mul(get(x + i, lanes), f), lanes); }
}

/* Products and sums are not fused here, so each instruction set gives PyTorch's rounding. */
static void adamw(const struct adamw_factors *f, float *param, float *m, float *v,
                  const float *grad, int64_t n) {
    vf grad_scale = v_set1(f->grad_scale), keep = v_set1(f->keep),
       minus_step = v_set1(f->minus_step);
    vf beta1_rest = v_set1(f->beta1_rest), beta2 = v_set1(f->beta2);
    vf beta2_rest = v_set1(f->beta2_rest), root = v_set1(f->bias2_root), eps = v_set1(f->eps);
    V_EACH(i, n, lanes) {
        vf g = v_mul(get(grad + i, lanes), grad_scale), a = get(m + i, lanes);
        a = v_add(a, v_mul(beta1_rest, v_sub(g, a)));
        vf b = v_mul(get(v + i, lanes), beta2);
        b = v_add(b, v_mul(v_mul(beta2_rest, g), g));
        vf denom = v_add(v_div(v_sqrt(b), root), eps);
        vf p = v_mul(get(param + i, lanes), keep);
        put(param + i, v_add(p, v_div(v_mul(minus_step, a), denom)), lanes);
        put(m + i, a, lanes);
        put(v + i, b, lanes);
    }
}

/* Eight running sums in plain C: the same bits for every instruction set. */
static double sum_squares(const float *x, int64_t n) {
    double s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) s[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++) s[i & 7] += (double)x[i] * (double)x[i];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

static float max(const float *x, int64_t n) {
    vf top = v_set1(-INFINITY);
    int64_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH) top = v_max(top, v_load(x + i));
    float best = v_top(top);
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

/* float within a run of 512, double between runs */
static double sum_exp(const float *x, int64_t n, float top) {
    vf m = v_set1(top);
    double sum = 0;
    for (int64_t from = 0; from < n; from += 512) {
        int64_t run = n - from < 512 ? n - from : 512, i = 0;
        vf s[2] = {v_zero(), v_zero()};
        for (; i + 2 * V_WIDTH <= run; i += 2 * V_WIDTH) {
            s[0] = v_add(s[0], v_exp(v_sub(v_load(x + from + i), m)));
            s[1] = v_add(s[1], v_exp(v_sub(v_load(x + from + i + V_WIDTH), m)));
        }
        float part = v_sum(v_add(s[0], s[1]));
        for (; i < run; i++) part += v_first(v_exp(v_sub(v_set1(x[from + i]), m)));
        sum += (double)part;
    }
    return sum;
}

static void weights(float *w, const float *x, int64_t n, float top, float factor) {
    vf m = v_set1(top), f = v_set1(factor);
    V_EACH(i, n, lanes) { put(w + i, v_exp(v_mul(v_sub(get(x + i, lanes), m), f)), lanes); }
}

static void softmax(float *x, int64_t n, float lse, float factor) {
    vf l = v_set1(lse), f = v_set1(factor);
    V_EACH(i, n, lanes) { put(x + i, v_mul(v_exp(v_sub(get(x + i, lanes), l)), f), lanes); }
}

const struct ops_kernels OPS_TABLE = {
    .rmsnorm = rmsnorm,
    .rmsnorm_grad = rmsnorm_grad,
    .rope = rope,
    .swiglu = swiglu,
    .swiglu_grad = swiglu_grad,
    .add = add,
    .scale = scale,
    .adamw = adamw,
    .sum_squares = sum_squares,
    .max = max,
    .sum_exp = sum_exp,
    .weights = weights,
    .softmax = softmax,
};
