/* Histograms of what the engine does, in the cumulative form that Prometheus wants made easy. */
#include "infer/engine_int.h"

const double engine_second_bounds[ENGINE_BUCKETS] = {
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60};
const double engine_batch_bounds[ENGINE_BUCKETS] = {1,  2,  3,   4,   6,   8,   12,  16,
                                                    32, 64, 128, 256, 512, 768, 1024};

void histogram_add(struct engine_histogram *h, const double *bounds, double value) {
    int i = 0;
    while (i < ENGINE_BUCKETS && value > bounds[i]) i++;
    h->count[i]++;
    h->sum += value;
}

/* before anybody learns of what is counted in it */
void stats_show(struct engine *e) {
    struct engine_stats *s = &e->stats;
    s->running = e->running_count;
    s->cached_sessions = e->cache_count;
    s->cached_bytes = e->cached_bytes;
    s->running_bytes = e->session_bytes - e->cached_bytes;
    pthread_mutex_lock(&e->lock);
    e->shown = *s;
    pthread_mutex_unlock(&e->lock);
}

void engine_stats(struct engine *e, struct engine_stats *ret) {
    pthread_mutex_lock(&e->lock);
    *ret = e->shown;
    ret->queued = e->queued;
    ret->submitted = e->submitted;
    ret->refused = e->refused;
    ret->model_bytes = e->held_bytes;
    ret->memory_bytes = e->o.memory_bytes;
    ret->models = ret->adapters = 0;
    for (const struct held_model *m = e->models; m; m = m->next) {
        ret->models += m->m != NULL;
        for (const struct held_adapter *a = m->adapters; a; a = a->next)
            ret->adapters += a->a != NULL;
    }
    pthread_mutex_unlock(&e->lock);
}
