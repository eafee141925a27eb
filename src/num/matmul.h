/* Matrix products. Row-major matrices; `ld` is the distance between rows in elements.
 *
 *   matmul_nt   C(m,n) = sum_s A_s(m,k_s) · B_s(n,k_s)ᵀ     forward: A activations, B weights
 *   matmul_nn   C(m,n) = sum_s A_s(m,k_s) · B_s(k_s,n)      gradient of the input
 *   matmul_tn   C(m,n) = sum_s A_s(k_s,m)ᵀ · B_s(k_s,n)     gradient of the weights
 *
 * Up to two segments s: the second is how a low-rank update joins its big product without touching
 * C again ([x | P] · [W | B]ᵀ). C is F32; with `accumulate` the sum is added to it. Optional bias
 * (n) is added to each row (nt only).
 *
 * Bits: an element of C depends only on its row of A, its column of B and the order of k, never on
 * m, n, the place in C or the thread count. So a row computed alone equals the same row in a batch.
 */
#ifndef NUM_MATMUL_H
#define NUM_MATMUL_H

#include "num/num.h"

struct mat {
    const void *p;
    enum num_type type;
    int64_t ld;
};

struct matmul {
    int64_t m, n;
    struct {
        struct mat a, b;
        int64_t k; /* 0: segment unused */
    } seg[2];
    const float *bias; /* (n) or NULL */
    float *c;
    int64_t ldc;
    float alpha; /* multiplies the sum (not C's old value, not the bias); 0 is taken as 1 */
    bool accumulate;
};

void matmul_nt(struct num *num, const struct matmul *mm);
/* Several products in one loop of the pool, without waiting between them; bits as one by one. None
 * may read or write what another writes. For small ones, whose time is the waiting. */
void matmul_nt_list(struct num *num, const struct matmul *list, int64_t count);
void matmul_nn(struct num *num, const struct matmul *mm);
void matmul_tn(struct num *num, const struct matmul *mm);

#endif
