/* One step of LoRA training, part by part, against the machine's limits, as CSV.
 *
 *     build/release/bench-step MODEL [rows] [tokens of a row] [trained tokens of a row] [threads]
 *
 * Forward, loss and backward against the probed arithmetic, the optimiser against memory. Parts are
 * differences of whole passes (each the best of many): forward is a pass without gradients less its
 * loss, backward a pass with gradients less forward and loss.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "num/loss.h"
#include "probe.h"
#include "train/net.h"
#include "train/optim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_EACH 6.0

struct step {
    const struct model *m;
    struct num *num;
    struct net *net;
    struct params params;
    struct net_size size;
    struct sample *rows;
    const struct sample **list;
    struct loss loss;
    bool backward;
};

static void rows_make(struct step *s, int64_t rows, int64_t tokens, int64_t trained) {
    struct rng r;
    rng_init(&r, 1);
    s->rows = mem_zalloc((size_t)rows, sizeof *s->rows);
    s->list = mem_zalloc((size_t)rows, sizeof *s->list);
    for (int64_t i = 0; i < rows; i++) {
        int32_t *ids = mem_zalloc((size_t)tokens + 1, sizeof *ids);
        float *train = mem_zalloc((size_t)tokens + 1, sizeof *train);
        for (int64_t j = 0; j <= tokens; j++) {
            ids[j] = (int32_t)rng_below(&r, (uint64_t)s->m->config.vocab);
            train[j] = j > tokens - trained ? 1.0f : 0.0f;
        }
        s->rows[i] = (struct sample){.ids = ids,
                                     .train = train,
                                     .n = tokens + 1,
                                     .trained = trained,
                                     .weight = (double)trained};
        s->list[i] = &s->rows[i];
    }
    s->size = (struct net_size){
        .tokens = rows * tokens, .trained = rows * trained, .rows = rows, .row_tokens = tokens};
}

/* the loss alone: same rows, same head */
static void loss_make(struct step *s) {
    int64_t n = s->size.trained, dim = s->m->config.dim;
    float *hidden = mem_zalloc((size_t)(n * dim), sizeof *hidden);
    int32_t *target = mem_zalloc((size_t)n, sizeof *target);
    for (int64_t i = 0; i < n * dim; i++)
        hidden[i] = (float)(int32_t)(rng_hash(2, (uint64_t)i) >> 32) * 0x1p-31f;
    s->loss = (struct loss){.rows = n,
                            .dim = dim,
                            .vocab = s->m->config.vocab,
                            .hidden = hidden,
                            .head = s->m->head,
                            .target = target,
                            .grad_scale = 1.0f};
}

static void pass(struct step *s) {
    struct net_sums sums = {0};
    net_run(
        s->net,
        &(struct net_batch){
            .rows = s->list, .count = s->size.rows, .grad_scale = 1e-3f, .backward = s->backward},
        &sums);
}

static void loss_alone(struct step *s) { loss_run(s->num, &s->loss); }

static void optimise(struct step *s) {
    struct optim o = {.lr = 1e-9, .clip = 1.0, .schedule = SCHEDULE_CONSTANT, .steps = 1};
    optim_step(s->num, &o, &s->params, 1);
}

static double best_of(struct step *s, void (*part)(struct step *)) {
    double best = 1e9, begun = clock_seconds();
    part(s);
    for (int i = 0; i < 200 && (i < 3 || clock_seconds() - begun < SECONDS_EACH); i++) {
        double start = clock_seconds();
        part(s);
        double took = clock_seconds() - start;
        if (took < best) best = took;
    }
    return best;
}

static void report(struct step *s, double gflops, double gbytes) {
    const struct model_config *c = &s->m->config;
    double forward_flops = 0, flops = 0;
    double head = 2.0 * (double)s->size.trained * (double)c->vocab * (double)c->dim;
    for (int64_t i = 0; i < s->size.rows; i++) {
        forward_flops += net_flops(c, &s->params, &s->rows[i], 0, false, false);
        flops += net_flops(c, &s->params, &s->rows[i], 0, true, false);
    }
    double loss_forward = best_of(s, loss_alone);
    s->loss.dhidden = mem_zalloc((size_t)(s->size.trained * c->dim), sizeof(float));
    double loss = best_of(s, loss_alone);
    s->backward = false;
    double forward = best_of(s, pass) - loss_forward;
    s->backward = true;
    double all = best_of(s, pass), backward = all - forward - loss,
           optimiser = best_of(s, optimise);
    double moved = 9.0 * (double)s->params.n * sizeof(float);
    printf("part,ms,share,gflop,gflop_per_s,of_probe\n");
    const char *name[] = {"forward", "loss", "backward", "whole pass"};
    double ms[] = {forward, loss, backward, all};
    double gf[] = {forward_flops - head, 2 * head, flops - forward_flops - head, flops};
    for (int i = 0; i < 4; i++)
        printf("%s,%.1f,%.3f,%.1f,%.1f,%.2f\n", name[i], ms[i] * 1e3, ms[i] / (all + optimiser),
               gf[i] * 1e-9, gf[i] * 1e-9 / ms[i], gf[i] * 1e-9 / ms[i] / gflops);
    printf("optimiser,%.1f,%.3f,,,%.2f\n", optimiser * 1e3, optimiser / (all + optimiser),
           moved * 1e-9 / optimiser / gbytes);
    printf("# probe %.0f GFLOP/s, %.1f GB/s; the optimiser's share is of memory\n", gflops, gbytes);
}

static int measure(struct step *s, enum num_isa isa, struct err *err) {
    const struct model *m = s->m;
    struct net_weights w = {&m->config, m->layers, m->embedding, m->head, m->final_norm};
    struct lora_shape shape = {.rank = 16, .scale = 2.0f, .targets = (1u << LIN_COUNT) - 1};
    params_layout_lora(&m->config, &shape, &s->params);
    int rc = params_allocate(&s->params, false, err);
    if (rc) return rc;
    params_init_lora(&s->params, 1);
    params_touch(&s->params);
    rc = net_open(s->num, &w, &s->params, &s->size, &s->net, err);
    if (rc) return rc;
    struct pool *pool = num_pool(s->num);
    report(s, probe_gflops(pool, isa, NUM_F32), probe_gbytes(pool));
    return 0;
}

int main(int argc, char **argv) {
    struct err err;
    struct model *m = NULL;
    long rows = argc > 2 ? strtol(argv[2], NULL, 10) : 8,
         tokens = argc > 3 ? strtol(argv[3], NULL, 10) : 64,
         trained = argc > 4 ? strtol(argv[4], NULL, 10) : tokens;
    struct num_options o = {.threads = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 2,
                            .compute = NUM_F32};
    if (argc < 2 || rows < 1 || tokens < 1 || trained < 1 || trained > tokens) {
        fprintf(stderr, "usage: bench-step MODEL [rows] [tokens] [trained] [threads]\n");
        return 2;
    }
    int rc = num_isa_choose(&o.isa, &err);
    if (!rc) rc = model_open(argv[1], &(struct model_options){.weights_only = true}, &m, &err);
    if (!rc) {
        struct step s = {.m = m, .num = num_new(&o)};
        rows_make(&s, rows, tokens, trained);
        loss_make(&s);
        rc = measure(&s, o.isa, &err);
        net_close(s.net);
        params_release(&s.params);
        num_free(s.num);
    }
    if (rc) fprintf(stderr, "bench-step: %s\n", err.msg);
    model_close(m);
    return rc ? err_exit_code(rc) : 0;
}
