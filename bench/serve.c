/* Generated tokens per second of the engine with 1, 2, 4, 8, 16 streams at a time, as CSV: without
 * adapters, and with 8 of them (random factors, rank 16, all linear layers) in one batch. Beside it
 * what the machine could do at most.
 *
 *     build/release/bench-serve MODEL [f32|bf16 weights] [threads] [prompt tokens] [new tokens]
 *         [streams [adapters]: these alone] [temperature: 0 is greedy]
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/engine.h"
#include "model/model_int.h"
#include "probe.h"
#include "weights/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS = 16, ADAPTERS = 8, RANK = 16 };

struct bench {
    const char *path;
    const struct model *m;
    struct engine *e;
    char *dirs[ADAPTERS];
    int64_t prompt, count;
    int streams, adapters; /* streams 0: all */
    double temperature;
};

static void random_floats(float *x, int64_t n, uint64_t seed, double scale) {
    struct rng r;
    rng_init(&r, seed);
    for (int64_t i = 0; i < n; i++) x[i] = (float)((rng_double(&r) - 0.5) * scale);
}

/* the two factors of every linear layer */
static int write_adapter(const struct model *m, const char *dir, uint64_t seed, struct err *err) {
    int64_t count = 2 * LIN_COUNT * m->config.layers, n = 0;
    struct tensor_out *list = mem_zalloc((size_t)count, sizeof *list);
    char(*names)[160] = mem_zalloc((size_t)count, sizeof *names);
    for (int64_t l = 0; l < m->config.layers; l++)
        for (int k = 0; k < LIN_COUNT; k++)
            for (int f = 0; f < 2; f++, n++) {
                const struct linear *lin = &m->layers[l].lin[k];
                int64_t rows = f ? lin->out : RANK, cols = f ? RANK : lin->in;
                float *x = mem_alloc((size_t)(rows * cols) * sizeof *x);
                random_floats(x, rows * cols, seed + (uint64_t)n, f ? 0.001 : 0.1);
                lora_tensor_name(names[n], sizeof names[n], l, (enum linear_kind)k, f ? 'B' : 'A');
                list[n] = (struct tensor_out){.name = names[n],
                                              .type = TENSOR_F32,
                                              .dims = 2,
                                              .shape = {rows, cols},
                                              .data = x};
            }
    struct adapter_meta meta = {.rank = RANK, .alpha = 2 * RANK, .targets = (1u << LIN_COUNT) - 1};
    char *file = path_join(dir, "adapter_model.safetensors");
    int rc = dir_make(dir, err);
    if (!rc) rc = adapter_config_save(dir, &meta, err);
    if (!rc) rc = safetensors_write(file, list, count, NULL, err);
    for (int64_t i = 0; i < n; i++) mem_free((void *)(uintptr_t)list[i].data);
    mem_free(file);
    mem_free(names);
    mem_free(list);
    return rc;
}

struct result {
    double rate, first; /* tokens per second of all; mean seconds to the first token */
    double per_cpu;     /* tokens per second of processor time, prompts included */
};

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int finish(struct engine_stream *s, struct engine_event *ev, struct err *err) {
    int rc;
    do rc = engine_next(s, -1, ev, err);
    while (!rc && ev->kind != ENGINE_END);
    engine_stream_close(s);
    return rc;
}

static int measure(struct bench *b, int streams, int adapters, struct result *ret,
                   struct err *err) {
    struct engine_stream *s[STREAMS] = {0};
    int32_t *ids = mem_alloc((size_t)b->prompt * sizeof *ids);
    static uint64_t seed;
    int rc = 0;
    double begun = cpu_seconds();
    *ret = (struct result){0};
    for (int i = 0; !rc && i < streams; i++) {
        struct rng r;
        rng_init(&r, ++seed); /* nothing in common with what is cached */
        for (int64_t k = 0; k < b->prompt; k++)
            ids[k] = (int32_t)rng_below(&r, (uint64_t)model_config(b->m)->vocab);
        struct engine_request request = {
            .model = b->path,
            .adapter = adapters ? b->dirs[i % adapters] : NULL,
            .prompt = ids,
            .prompt_count = b->prompt,
            .max_tokens = b->count,
            .sampling = {.temperature = b->temperature, .top_p = 0.9, .seed = 1},
            .ignore_stops = true};
        rc = engine_submit(b->e, &request, &s[i], err);
    }
    for (int i = 0; i < streams && s[i]; i++) {
        struct engine_event ev;
        int failed = finish(s[i], &ev, err);
        if (!rc) rc = failed;
        if (rc) continue;
        ret->rate += (double)(ev.completion_tokens - 1) / (ev.seconds - ev.first_seconds);
        ret->first += ev.first_seconds / streams;
    }
    ret->per_cpu = (double)(streams * b->count) / (cpu_seconds() - begun);
    mem_free(ids);
    return rc;
}

static int run(struct bench *b, struct pool *probe, struct err *err) {
    struct result r;
    int rc = measure(b, STREAMS, ADAPTERS, &r, err); /* touches all */
    puts("streams,adapters,new_per_s,of_one,new_per_cpu_s,first_s,decode_gb_per_s,memory_gb_per_s,"
         "gflops,"
         "peak_gflops");
    double one = 0, bytes = (double)model_weight_bytes(b->m);
    for (int adapters = 0; !rc && adapters <= ADAPTERS; adapters += ADAPTERS)
        for (int streams = 1; !rc && streams <= STREAMS; streams *= 2) {
            if (b->streams && (b->streams != streams || b->adapters != adapters)) continue;
            double memory = probe_gbytes(probe),
                   peak = probe_gflops(probe, num_isa_best(), NUM_F32);
            rc = measure(b, streams, adapters, &r, err);
            if (rc) break;
            if (one == 0) one = r.rate;
            double passes = r.rate / streams;
            printf("%d,%d,%.1f,%.2f,%.1f,%.3f,%.2f,%.2f,%.1f,%.1f\n", streams, adapters, r.rate,
                   r.rate / one, r.per_cpu, r.first, bytes * passes / 1e9, memory,
                   bytes * r.rate / 1e9, peak);
            fflush(stdout);
        }
    return rc;
}

static int make_adapters(struct bench *b, const char *dir, struct err *err) {
    int rc = 0;
    for (int i = 0; !rc && i < ADAPTERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        b->dirs[i] = path_join(dir, name);
        rc = write_adapter(b->m, b->dirs[i], (uint64_t)i * 1000, err);
    }
    return rc;
}

int main(int argc, char **argv) {
    struct err err;
    char dir[] = "/tmp/bench-serve.XXXXXX";
    struct engine_options o = {.threads = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0,
                               .weights_only = true};
    if (argc < 2 || !mkdtemp(dir)) {
        fprintf(stderr, "usage: bench-serve MODEL [f32|bf16] [threads] [prompt tokens] [new]\n");
        return 2;
    }
    struct bench b = {.path = argv[1],
                      .prompt = argc > 4 ? strtol(argv[4], NULL, 10) : 16,
                      .count = argc > 5 ? strtol(argv[5], NULL, 10) : 64,
                      .streams = argc > 6 ? (int)strtol(argv[6], NULL, 10) : 0,
                      .adapters = argc > 7 ? (int)strtol(argv[7], NULL, 10) : 0,
                      .temperature = argc > 8 ? strtod(argv[8], NULL) : 0.7};
    struct pool *probe = pool_new(o.threads);
    int rc = num_isa_choose(&o.isa, &err);
    if (argc > 2 && strcmp(argv[2], "bf16") == 0) o.compute = num_compute_default(o.isa);
    if (!rc) rc = engine_open(&o, &b.e, &err);
    if (!rc) rc = engine_model_acquire(b.e, b.path, &b.m, &err);
    if (!rc) rc = make_adapters(&b, dir, &err);
    if (!rc) rc = run(&b, probe, &err);
    if (rc) fprintf(stderr, "bench-serve: %s\n", err.msg);
    for (int i = 0; i < ADAPTERS; i++) mem_free(b.dirs[i]);
    if (b.m) engine_model_release(b.e, b.m);
    engine_close(b.e);
    pool_free(probe);
    struct err ignored;
    dir_remove_all(dir, &ignored);
    return rc ? err_exit_code(rc) : 0;
}
