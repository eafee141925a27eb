/* What one machine can do at most, measured beside a benchmark: arithmetic of one path and reading
 * of memory, with the threads of a pool. */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include "base/pool.h"
#include "num/num.h"

struct probe {
    double gflops; /* multiply and add counted as two */
    double gbytes; /* read per second from memory */
};
double probe_gflops(struct pool *pool, enum num_isa isa, enum num_type compute);
double probe_gbytes(struct pool *pool);

#endif
