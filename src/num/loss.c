/* Cross-entropy in blocks of rows: the logits of one block are the only ones that exist, and they
 * turn into their own gradient in place. */
#include "num/loss.h"

#include "num/ops_kernel.h"

#include <assert.h>
#include <math.h>

#define LOGITS_BYTES ((int64_t)64 << 20) /* of one block, where its rows allow */
enum { ROWS_MIN = 16, ROWS_MAX = 256 };

int64_t loss_block_rows(int64_t rows, int64_t vocab) {
    int64_t fit = LOGITS_BYTES / (vocab * (int64_t)sizeof(float)) / ROWS_MIN * ROWS_MIN;
    fit = fit < ROWS_MIN ? ROWS_MIN : fit > ROWS_MAX ? ROWS_MAX : fit;
    return rows < fit ? rows : fit;
}

struct block {
    const struct loss *l;
    int64_t first;
    float *logits;
    bool gradient;
    const struct ops_kernels *k;
};

static bool is_first_largest(const float *x, int64_t at, float top) {
    if (!(x[at] == top)) return false;
    for (int64_t i = 0; i < at; i++)
        if (x[i] == top) return false;
    return true;
}

static void loss_row(void *ctx, int64_t i) {
    const struct block *b = ctx;
    const struct loss *l = b->l;
    int64_t row = b->first + i, target = l->target[row];
    assert(target >= 0 && target < l->vocab);
    float *x = b->logits + i * l->vocab, top = b->k->max(x, l->vocab);
    double lse = (double)top + log(b->k->sum_exp(x, l->vocab, top));
    if (l->nll) l->nll[row] = (float)(lse - (double)x[target]);
    if (l->correct) l->correct[row] = is_first_largest(x, target, top);
    if (!b->gradient) return;
    float factor = (l->weight ? l->weight[row] : 1.0f) * l->grad_scale;
    b->k->softmax(x, l->vocab, (float)lse, factor);
    x[target] -= factor;
}

static void block_run(struct num *num, const struct loss *l, struct block *b, int64_t rows) {
    struct mat hidden = {l->hidden + b->first * l->dim, NUM_F32, l->dim};
    struct mat logits = {b->logits, NUM_F32, l->vocab};
    struct matmul forward = {.m = rows,
                             .n = l->vocab,
                             .seg = {{.a = hidden, .b = l->head, .k = l->dim}},
                             .c = b->logits,
                             .ldc = l->vocab};
    matmul_nt(num, &forward);
    pool_run(num_pool(num), rows, loss_row, b);
    if (l->dhidden) {
        struct matmul back = {.m = rows,
                              .n = l->dim,
                              .seg = {{.a = logits, .b = l->head, .k = l->vocab}},
                              .c = l->dhidden + b->first * l->dim,
                              .ldc = l->dim};
        matmul_nn(num, &back);
    }
    if (l->dhead) {
        struct matmul back = {.m = l->vocab,
                              .n = l->dim,
                              .seg = {{.a = logits, .b = hidden, .k = rows}},
                              .c = l->dhead,
                              .ldc = l->dim,
                              .accumulate = true};
        matmul_tn(num, &back);
    }
}

void loss_run(struct num *num, const struct loss *l) {
    if (l->rows == 0) return;
    int64_t step = loss_block_rows(l->rows, l->vocab);
    struct block b = {.l = l, .gradient = l->dhidden || l->dhead, .k = ops_kernels_of(num)};
    b.logits = num_scratch(num, NUM_SLOT_LOSS, (size_t)(step * l->vocab) * sizeof(float));
    for (; b.first < l->rows; b.first += step)
        block_run(num, l, &b, l->rows - b.first < step ? l->rows - b.first : step);
}
