/* Matrix products, scalar. */
#include "num/matmul.h"

enum form { NT, NN, TN };

struct job {
    const struct matmul *mm;
    enum form form;
    bool round; /* operands to BF16 */
};

static float element(const struct mat *x, int64_t i, int64_t j, bool round) {
    const char *p = (const char *)x->p + (size_t)(i * x->ld + j) * num_type_size(x->type);
    float v;
    num_widen(&v, p, x->type, 1);
    return round ? num_of_bf16(num_bf16_of(v)) : v;
}

static void row_compute(void *ctx, int64_t i) {
    const struct job *job = ctx;
    const struct matmul *mm = job->mm;
    float alpha = mm->alpha == 0 ? 1 : mm->alpha;
    for (int64_t j = 0; j < mm->n; j++) {
        float *c = mm->c + i * mm->ldc + j, sum = 0;
        for (int s = 0; s < 2; s++) {
            const struct mat *a = &mm->seg[s].a, *b = &mm->seg[s].b;
            for (int64_t k = 0; k < mm->seg[s].k; k++) {
                float x =
                    job->form == TN ? element(a, k, i, job->round) : element(a, i, k, job->round);
                float y =
                    job->form == NT ? element(b, j, k, job->round) : element(b, k, j, job->round);
                sum += x * y;
            }
        }
        float start = (mm->accumulate ? *c : 0) + (mm->bias ? mm->bias[j] : 0);
        *c = start + alpha * sum;
    }
}

static void run(struct num *num, const struct matmul *mm, enum form form) {
    struct job job = {mm, form, num_compute(num) == NUM_BF16};
    pool_run(num_pool(num), mm->m, row_compute, &job);
}

void matmul_nt(struct num *num, const struct matmul *mm) { run(num, mm, NT); }
void matmul_nn(struct num *num, const struct matmul *mm) { run(num, mm, NN); }
void matmul_tn(struct num *num, const struct matmul *mm) { run(num, mm, TN); }
