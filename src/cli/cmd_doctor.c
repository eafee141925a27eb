/* attune doctor: what this machine can do, and what fits. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/tune_view.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "num/matmul.h"

#include <stdio.h>
#include <string.h>

struct findings {
    enum num_isa isa;
    const char *path;
    int cores;
    size_t memory, available;
    double gflops, read_gbs;
    char *home;
};

/* Sizes people ask about: parameters in the layers and in the embedding, as of the known models. */
static const struct {
    const char *name;
    double params, layers, dim, ff;
} sizes[] = {{"SmolLM2-135M", 135e6, 30, 576, 1536},   {"SmolLM2-360M", 362e6, 32, 960, 2560},
             {"Qwen2.5-0.5B", 494e6, 24, 896, 4864},   {"Llama-3.2-1B", 1236e6, 16, 2048, 8192},
             {"Qwen2.5-1.5B", 1544e6, 28, 1536, 8960}, {"Llama-3.2-3B", 3213e6, 28, 3072, 8192},
             {"Llama-3.1-8B", 8030e6, 32, 4096, 14336}};
#define SIZE_COUNT (sizeof sizes / sizeof *sizes)
#define MICRO_TOKENS 1024.0

static double best_of(double a, double b) { return a > b ? a : b; }

static double product_gflops(struct num *num, float *block, int64_t dim) {
    float *a = block, *b = block + dim * dim, *c = block + 2 * dim * dim;
    struct matmul mm = {.m = dim, .n = dim, .c = c, .ldc = dim};
    mm.seg[0].a = (struct mat){a, NUM_F32, dim};
    mm.seg[0].b = (struct mat){b, NUM_F32, dim};
    mm.seg[0].k = dim;
    double best = 0, flop = 2.0 * (double)dim * (double)dim * (double)dim;
    matmul_nt(num, &mm);
    for (int i = 0; i < 5; i++) {
        double start = clock_seconds();
        matmul_nt(num, &mm);
        best = best_of(best, flop / (clock_seconds() - start) * 1e-9);
    }
    return best;
}

/* one row times a matrix larger than the caches: bound by reading memory */
static double stream_gbs(struct num *num, float *block, int64_t rows, int64_t dim) {
    struct matmul mm = {.m = 1, .n = rows, .c = block, .ldc = rows};
    mm.seg[0].a = (struct mat){block + rows, NUM_F32, dim};
    mm.seg[0].b = (struct mat){block + 2 * rows, NUM_F32, dim};
    mm.seg[0].k = dim;
    double best = 0;
    for (int i = 0; i < 4; i++) {
        double start = clock_seconds();
        matmul_nt(num, &mm);
        best = best_of(best, 4.0 * (double)rows * (double)dim / (clock_seconds() - start) * 1e-9);
    }
    return best;
}

static int measure(struct findings *f, int threads, struct err *err) {
    enum { ROWS = 32768, DIM = 1024 };
    size_t count = (size_t)ROWS * DIM + 2 * ROWS + DIM;
    void *block = NULL;
    struct num *num = NULL;
    int rc = cli_num(NULL, threads, &num, err);
    if (!rc) rc = mem_block_open(count * sizeof(float), "the speed probe", &block, err);
    if (!rc) {
        memset(block, 0, count * sizeof(float)); /* zero pages would all be one page in the cache */
        f->gflops = product_gflops(num, block, DIM);
        f->read_gbs = stream_gbs(num, block, ROWS, DIM);
        f->isa = num_isa(num);
        f->path = num_path_name(num);
        f->cores = pool_threads(num_pool(num));
        mem_block_close(block, count * sizeof(float));
    }
    num_free(num);
    return rc;
}

/* bytes to answer with: BF16 weights and 2,048 positions of keys and values */
static double chat_bytes(size_t i) {
    return sizes[i].params * 2 + sizes[i].layers * sizes[i].dim * 2048 * 4;
}

/* bytes to tune with: weights, what the backward pass keeps of each token, adapter and its moments
 */
static double tune_bytes(size_t i) {
    double per_token = sizes[i].layers * (6 * sizes[i].dim + 2 * sizes[i].ff) * 4;
    double adapter = sizes[i].layers * 16 * (10 * sizes[i].dim + 3 * sizes[i].ff) * 16;
    return sizes[i].params * 2 + per_token * MICRO_TOKENS + adapter + 200e6;
}

static void print_table(const struct findings *f) {
    printf("\n%-14s %10s %10s %16s %14s\n", "what fits", "chat", "tune", "tuning", "answering");
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        char chat[32], tune[32];
        format_bytes(chat_bytes(i), chat, sizeof chat);
        format_bytes(tune_bytes(i), tune, sizeof tune);
        bool fits = chat_bytes(i) < (double)f->available,
             tunes = tune_bytes(i) < (double)f->available;
        printf("%-14s %10s %10s", sizes[i].name, fits ? chat : "too large",
               tunes ? tune : "too large");
        if (tunes)
            printf(" %8.0f tokens/s", f->gflops * 1e9 * 0.75 / (4.3 * sizes[i].params));
        else
            printf(" %17s", "-");
        if (fits)
            printf(" %5.0f tokens/s", f->read_gbs * 1e9 / (sizes[i].params * 2));
        else
            printf(" %14s", "-");
        putchar('\n');
    }
    printf("\nEstimates from the speed just measured; \"attune tune\" plans exactly before it "
           "starts.\n");
}

static void print_text(const struct findings *f) {
    char memory[32], available[32];
    format_bytes((double)f->memory, memory, sizeof memory);
    format_bytes((double)f->available, available, sizeof available);
    printf("%-14s", "instructions");
    for (enum num_isa i = NUM_SCALAR; i < NUM_ISA_COUNT; i++)
        printf(" %s%s", num_isa_name(i),
               num_isa_available(i) ? (i == f->isa ? " (used)" : "") : " (no)");
    printf("\n%-14s %s\n", "arithmetic", f->path);
    printf("%-14s %d\n", "cores", f->cores);
    printf("%-14s %s, %s free\n", "memory", memory, available);
    printf("%-14s %.0f GFLOP/s in matrix products, %.1f GB/s reading weights\n", "speed", f->gflops,
           f->read_gbs);
    printf("%-14s %s\n", "models in", f->home);
    print_table(f);
}

static void print_json(const struct findings *f) {
    json_t *isas = json_array(), *fits = json_array();
    for (enum num_isa i = NUM_SCALAR; i < NUM_ISA_COUNT; i++)
        if (num_isa_available(i)) json_array_append_new(isas, json_string(num_isa_name(i)));
    for (size_t i = 0; i < SIZE_COUNT; i++)
        json_array_append_new(fits,
                              json_pack("{s:s,s:f,s:f,s:b,s:b}", "model", sizes[i].name,
                                        "chat_bytes", chat_bytes(i), "tune_bytes", tune_bytes(i),
                                        "chat", chat_bytes(i) < (double)f->available, "tune",
                                        tune_bytes(i) < (double)f->available));
    json_t *o =
        json_pack("{s:o,s:s,s:s,s:i,s:I,s:I,s:f,s:f,s:s,s:o}", "isas", isas, "isa",
                  num_isa_name(f->isa), "path", f->path, "cores", f->cores, "memory_bytes",
                  (json_int_t)f->memory, "available_bytes", (json_int_t)f->available, "gflops",
                  f->gflops, "read_gb_per_s", f->read_gbs, "home", f->home, "models", fits);
    cli_print_json(o);
    json_decref(o);
}

int cmd_doctor(int argc, char **argv) {
    bool json = false;
    int threads = 0;
    struct opt list[] = {{"json", NULL, OPT_FLAG, &json, "for scripts", 0, NULL},
                         {"threads", "N", OPT_INT, &threads, "default: all cores", 1, NULL},
                         {0}};
    struct usage u = {
        .command = "doctor",
        .opts = list,
        .summary = "Show instruction sets, cores, memory and speed of this machine, and what fits.",
        .example = "attune doctor"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct findings f = {
        .memory = mem_physical(), .available = mem_available(), .home = path_home()};
    int rc = measure(&f, threads, &err);
    if (!rc && json)
        print_json(&f);
    else if (!rc)
        print_text(&f);
    mem_free(f.home);
    return rc ? cli_fail("doctor", &err) : 0;
}
