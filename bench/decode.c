/* Tokens per second of reading a prompt and of generating, as CSV, in wall and in processor time:
 * on a busy machine the second says what the code costs.
 *
 *     build/release/bench-decode MODEL [f32|bf16 weights of a GGUF] [threads] [prompt tokens] [new
 * tokens]
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int measure(const struct model *m, struct num *num, int64_t prompt, int64_t count,
                   struct err *err) {
    struct session *s = NULL;
    struct rng r;
    int64_t vocab = model_config(m)->vocab;
    int32_t *ids = mem_zalloc((size_t)(prompt + count), sizeof *ids);
    float *logits = mem_zalloc((size_t)vocab, sizeof *logits);
    double wall[3], cpu[3];
    rng_init(&r, 1);
    for (int64_t i = 0; i < prompt + count; i++) ids[i] = (int32_t)rng_below(&r, (uint64_t)vocab);
    int rc = session_open(m, prompt + count, &s, err);
    if (!rc) rc = session_eval(s, num, ids, prompt, logits, err); /* touches the weights */
    if (!rc) session_rewind(s, 0);
    wall[0] = clock_seconds(), cpu[0] = cpu_seconds();
    if (!rc) rc = session_eval(s, num, ids, prompt, logits, err);
    wall[1] = clock_seconds(), cpu[1] = cpu_seconds();
    for (int64_t i = 0; !rc && i < count; i++)
        rc = session_eval(s, num, ids + prompt + i, 1, logits, err);
    wall[2] = clock_seconds(), cpu[2] = cpu_seconds();
    if (!rc) {
        double bytes = (double)model_weight_bytes(m) * (double)count;
        printf("path,threads,weights_mib,prompt_per_s,prompt_per_cpu_s,new_per_s,new_per_cpu_s,"
               "decode_gb_per_s,decode_gb_per_cpu_s,memory_gb_per_s\n");
        printf("%s,%d,%.0f,%.1f,%.1f,%.2f,%.2f,%.2f,%.2f,%.2f\n", num_path_name(num),
               pool_threads(num_pool(num)), (double)model_weight_bytes(m) / 1048576,
               (double)prompt / (wall[1] - wall[0]), (double)prompt / (cpu[1] - cpu[0]),
               (double)count / (wall[2] - wall[1]), (double)count / (cpu[2] - cpu[1]),
               bytes / (wall[2] - wall[1]) / 1e9, bytes / (cpu[2] - cpu[1]) / 1e9,
               probe_gbytes(num_pool(num)));
    }
    session_close(s);
    mem_free(logits);
    mem_free(ids);
    return rc;
}

int main(int argc, char **argv) {
    struct err err;
    struct model *m = NULL;
    struct num_options o = {.threads = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 1,
                            .compute = NUM_F32};
    struct model_options mo = {.weights_only = true,
                               .expand_f32 = argc > 2 && strcmp(argv[2], "f32") == 0};
    if (argc < 2) {
        fprintf(stderr,
                "usage: bench-decode MODEL [f32|bf16] [threads] [prompt tokens] [new tokens]\n");
        return 2;
    }
    int rc = num_isa_choose(&o.isa, &err);
    if (!rc) rc = model_open(argv[1], &mo, &m, &err);
    if (!rc) {
        struct num *num = num_new(&o);
        rc = measure(m, num, argc > 4 ? strtol(argv[4], NULL, 10) : 256,
                     argc > 5 ? strtol(argv[5], NULL, 10) : 32, &err);
        num_free(num);
    }
    if (rc) fprintf(stderr, "bench-decode: %s\n", err.msg);
    model_close(m);
    return rc ? err_exit_code(rc) : 0;
}
