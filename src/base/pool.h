/* The compute pool: threads that run only parallel loops. pool_run calls fn(ctx, i) once for each i
 * in [0, count) and returns when all are done. Which thread takes which i is not fixed, so an item
 * must write only what is its own and must not add into what others share: then the result has the
 * same bits at any thread count. Idle threads spin for some microseconds and then sleep; a loop
 * does not wait for a thread that has not joined it, so on a busy machine the others do its part.
 * One loop at a time per pool (a second caller waits); fn must not call pool_run on the same pool.
 *
 *     struct pool *pool = pool_new(threads);
 *     pool_run(pool, tile_count, compute_tile, &job);
 *     pool_free(pool);
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdint.h>

struct pool;

/* threads >= 1 counts the caller; 0 means one for each core this process may use. */
struct pool *pool_new(int threads);
void pool_free(struct pool *pool);
int pool_threads(const struct pool *pool);
void pool_run(struct pool *pool, int64_t count, void (*fn)(void *ctx, int64_t i), void *ctx);
/* In fn: the number of the thread that runs it, 0..threads-1, to choose scratch memory by. */
int pool_thread_index(void);
int cpu_count(void); /* cores this process may use: its affinity, or a container's quota */

#endif
