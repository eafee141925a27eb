#include "api/engine_metrics.h"

#include <stddef.h>

struct number {
    const char *name, *type, *help;
    double value;
};

static void write_number(struct buf *out, const struct number *n) {
    buf_printf(out, "# HELP attune_%s %s\n# TYPE attune_%s %s\nattune_%s %.17g\n", n->name, n->help,
               n->name, n->type, n->name, n->value);
}

static void write_histogram(struct buf *out, const char *name, const char *help,
                            const double *bounds, const struct engine_histogram *h) {
    uint64_t below = 0;
    buf_printf(out, "# HELP attune_%s %s\n# TYPE attune_%s histogram\n", name, help, name);
    for (int i = 0; i < ENGINE_BUCKETS; i++) {
        below += h->count[i];
        buf_printf(out, "attune_%s_bucket{le=\"%g\"} %llu\n", name, bounds[i],
                   (unsigned long long)below);
    }
    below += h->count[ENGINE_BUCKETS];
    buf_printf(out,
               "attune_%s_bucket{le=\"+Inf\"} %llu\nattune_%s_sum %.17g\nattune_%s_count %llu\n",
               name, (unsigned long long)below, name, h->sum, name, (unsigned long long)below);
}

void engine_metrics_write(struct engine *e, struct buf *out) {
    struct engine_stats s;
    engine_stats(e, &s);
    const struct number list[] = {
        {"queue_length", "gauge", "requests that wait for a place", (double)s.queued},
        {"running", "gauge", "requests being answered", (double)s.running},
        {"models_loaded", "gauge", "base models in memory", (double)s.models},
        {"adapters_loaded", "gauge", "adapters in memory", (double)s.adapters},
        {"model_bytes", "gauge", "memory of weights and adapters", (double)s.model_bytes},
        {"running_bytes", "gauge", "keys and values of running requests", (double)s.running_bytes},
        {"cached_bytes", "gauge", "keys and values kept of ended ones", (double)s.cached_bytes},
        {"memory_budget_bytes", "gauge", "the most all of them may take", (double)s.memory_bytes},
        {"submitted_total", "counter", "requests taken", (double)s.submitted},
        {"refused_total", "counter", "requests refused because the queue was full",
         (double)s.refused},
        {"finished_total", "counter", "requests answered to their end", (double)s.finished},
        {"cancelled_total", "counter", "requests broken off", (double)s.cancelled},
        {"failed_total", "counter", "requests ended by an error", (double)s.failed},
        {"steps_total", "counter", "passes over the weights", (double)s.steps},
        {"prompt_tokens_total", "counter", "tokens of prompts", (double)s.prompt_tokens},
        {"cached_tokens_total", "counter", "tokens of prompts that were not read again",
         (double)s.cached_tokens},
        {"completion_tokens_total", "counter", "tokens generated", (double)s.completion_tokens},
        {"cache_hits_total", "counter", "requests that found a cached beginning",
         (double)s.cache_hits},
        {"cache_misses_total", "counter", "requests that found none", (double)s.cache_misses},
        {"cache_evictions_total", "counter", "cached beginnings given up",
         (double)s.cache_evictions},
        {"model_evictions_total", "counter", "models given up", (double)s.model_evictions}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) write_number(out, &list[i]);
    write_histogram(out, "batch_rows", "tokens of a pass", engine_batch_bounds, &s.batch);
    write_histogram(out, "queue_seconds", "until a place was free", engine_second_bounds,
                    &s.queue_seconds);
    write_histogram(out, "time_to_first_token_seconds", "from the request to the first token",
                    engine_second_bounds, &s.first_seconds);
    write_histogram(out, "time_per_token_seconds", "between two tokens of an answer",
                    engine_second_bounds, &s.token_seconds);
    write_histogram(out, "answer_seconds", "from the request to its end", engine_second_bounds,
                    &s.finish_seconds);
}
