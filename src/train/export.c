/* Export and its proof. What is written goes to a directory beside the target, is opened as a
 * stranger would open it, and must give the logits of base + adapter; only then it is renamed to
 * its name. */
#include "train/export.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/model_int.h"
#include "model/save.h"
#include "weights/tensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GREEDY_TOKENS 32
#define PROMPT_TOKENS_MAX 256
/* largest logit difference over largest logit that still counts as the same model */
#define TOLERANCE_COPY 1e-6
#define TOLERANCE_F32 1e-3
#define TOLERANCE_BF16 5e-2 /* each merged weight is rounded to 8 bits of precision once more */

static const char *const prompts[] = {
    "The first thing to know is",
    "Question: What is 7 + 5?\nAnswer:",
    "{\"name\": \"",
    "Once upon a time there was",
};

/* --- comparing --- */

struct run { /* one side: a model, perhaps with an adapter */
    const struct model *model;
    const struct adapter *adapter;
    struct num *num;
    float *logits;
    int32_t next[GREEDY_TOKENS];
};

static int32_t largest(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

/* logits after the prompt, and the tokens that follow greedily */
static int run_prompt(struct run *r, const struct token_list *ids, struct err *err) {
    struct session *s = NULL;
    int64_t vocab = model_config(r->model)->vocab;
    float *logits = mem_alloc((size_t)vocab * sizeof *logits);
    int rc = session_open(r->model, ids->n + GREEDY_TOKENS, &s, err);
    if (!rc) session_set_adapter(s, r->adapter);
    if (!rc) rc = session_eval(s, r->num, ids->ids, ids->n, r->logits, err);
    if (!rc) r->next[0] = largest(r->logits, vocab);
    for (int i = 1; !rc && i < GREEDY_TOKENS; i++) {
        rc = session_eval(s, r->num, &r->next[i - 1], 1, logits, err);
        r->next[i] = largest(logits, vocab);
    }
    session_close(s);
    mem_free(logits);
    return rc;
}

static void compare_runs(const struct run *a, const struct run *b, struct export_check *check) {
    int64_t vocab = model_config(a->model)->vocab;
    double difference = 0, size = 0;
    for (int64_t i = 0; i < vocab; i++) {
        double d = fabs((double)a->logits[i] - (double)b->logits[i]);
        if (!(d <= difference)) difference = d; /* NaN sticks */
        size = fmax(size, fabs((double)a->logits[i]));
    }
    double relative = difference / (size > 0 ? size : 1);
    if (!(relative <= check->logit_difference)) check->logit_difference = relative;
    int equal = 0; /* after the first difference the texts are different ones */
    while (equal < GREEDY_TOKENS && a->next[equal] == b->next[equal]) equal++;
    check->tokens_equal += equal;
    check->tokens += GREEDY_TOKENS;
}

static int encode(const struct model *m, const char *text, struct token_list *ids,
                  struct err *err) {
    ids->n = 0;
    int rc = tokenizer_encode(model_tokenizer(m), str_of(text), true, ids, err);
    int64_t most = model_config(m)->max_position - GREEDY_TOKENS;
    if (most > PROMPT_TOKENS_MAX) most = PROMPT_TOKENS_MAX;
    if (!rc && ids->n > most) ids->n = most;
    if (!rc && ids->n < 1)
        rc = err_set(err, ERR_UNSUPPORTED, "the model has too few positions to be compared");
    return rc;
}

static int compare(struct run *a, struct run *b, struct export_check *ret, struct err *err) {
    struct token_list ids = {0};
    size_t vocab = (size_t)model_config(a->model)->vocab;
    int rc = 0;
    a->logits = mem_alloc(vocab * sizeof *a->logits);
    b->logits = mem_alloc(vocab * sizeof *b->logits);
    for (size_t i = 0; !rc && i < sizeof prompts / sizeof *prompts; i++) {
        rc = encode(a->model, prompts[i], &ids, err);
        if (!rc) rc = run_prompt(a, &ids, err);
        if (!rc) rc = run_prompt(b, &ids, err);
        if (!rc) compare_runs(a, b, ret);
    }
    mem_free(a->logits);
    mem_free(b->logits);
    token_list_release(&ids);
    return rc;
}

static int judge(const struct export_check *c, double tolerance, struct err *err) {
    if (c->logit_difference <= tolerance) return 0;
    return err_set(
        err, ERR_INTERNAL,
        "what was written does not give the same answers: logits differ by %.3g of the largest, "
        "%.3g is allowed; nothing was kept",
        c->logit_difference, tolerance);
}

/* --- both forms --- */

static int refuse_present(const char *out, struct err *err) {
    if (!dir_exists(out) && !file_exists(out)) return 0;
    return err_set(err, ERR_CONFLICT, "\"%s\" exists already; remove it or choose another name",
                   out);
}

static char *staging_path(const char *out) {
    size_t n = strlen(out), size = n + 40;
    char *path = mem_alloc(size);
    while (n > 1 && out[n - 1] == '/') n--;
    snprintf(path, size, "%.*s.checking-%ld", (int)n, out, (long)getpid());
    return path;
}

/* keeps or discards what lies in `staging` */
static int settle(const char *staging, const char *out, int rc, struct err *err) {
    struct err ignored;
    if (!rc) rc = file_rename(staging, out, err);
    if (rc) dir_remove_all(staging, &ignored);
    return rc;
}

/* --- PEFT --- */

static int write_factors(const struct model *m, const struct adapter *a, const char *dir,
                         struct err *err) {
    int64_t most = a->layer_count * LIN_COUNT * 2, count = 0;
    struct tensor_out *list = mem_zalloc((size_t)most, sizeof *list);
    char(*names)[120] = mem_zalloc((size_t)most, sizeof *names);
    for (int64_t l = 0; l < a->layer_count; l++) {
        for (int k = 0; k < LIN_COUNT; k++) {
            const struct lora *f = &a->lora[l][k];
            const struct linear *lin = &m->layers[l].lin[k];
            if (!f->a) continue;
            lora_tensor_name(names[count], sizeof *names, l, (enum linear_kind)k, 'A');
            list[count] =
                (struct tensor_out){names[count], TENSOR_F32, 2, {a->rank, lin->in}, f->a};
            count++;
            lora_tensor_name(names[count], sizeof *names, l, (enum linear_kind)k, 'B');
            list[count] =
                (struct tensor_out){names[count], TENSOR_F32, 2, {lin->out, a->rank}, f->b};
            count++;
        }
    }
    char *path = path_join(dir, "adapter_model.safetensors");
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    int rc = safetensors_write(path, list, count, metadata, err);
    json_decref(metadata);
    mem_free(path);
    mem_free(names);
    mem_free(list);
    return rc;
}

static unsigned targets_of_layer(const struct adapter *a, int64_t layer) {
    unsigned targets = 0;
    for (int k = 0; k < LIN_COUNT; k++)
        if (a->lora[layer][k].a) targets |= 1u << k;
    return targets;
}

/* every adapted layer by its whole name, which is what PEFT takes where layers differ */
static json_t *module_list(const struct adapter *a) {
    json_t *list = json_array();
    for (int64_t l = 0; l < a->layer_count; l++)
        for (int k = 0; k < LIN_COUNT; k++)
            if (a->lora[l][k].a)
                json_array_append_new(list, json_sprintf("model.layers.%lld.%s", (long long)l,
                                                         linear_module((enum linear_kind)k)));
    return list;
}

static int write_peft(const struct model *m, const struct adapter *a, const char *from,
                      const char *dir, struct err *err) {
    struct adapter_meta meta;
    json_t *config = NULL;
    int rc = adapter_config_load(from, &meta, &config, err);
    if (rc) return rc;
    if (!meta.base_path || !meta.base_path[0]) meta.base_path = m->path;
    meta.targets = targets_of_layer(a, 0);
    for (int64_t l = 1; !meta.modules && l < a->layer_count; l++)
        if (targets_of_layer(a, l) != meta.targets) meta.modules = module_list(a);
    rc = dir_make(dir, err);
    if (!rc) rc = adapter_config_save(dir, &meta, err);
    if (!rc) rc = write_factors(m, a, dir, err);
    json_decref(meta.modules);
    json_decref(config);
    return rc;
}

int export_peft(struct num *num, const char *base, const char *adapter, const char *out,
                struct export_check *ret, struct err *err) {
    struct model *m = NULL;
    struct adapter *a = NULL, *again = NULL;
    struct export_check check = {0};
    char *staging = staging_path(out);
    int rc = refuse_present(out, err);
    if (rc) goto out;
    rc = model_open(base, &(struct model_options){0}, &m, err);
    if (!rc) rc = adapter_open(m, adapter, &a, check.warning, err);
    if (!rc) rc = write_peft(m, a, adapter, staging, err);
    char same[sizeof check.warning]; /* of a copy: what the original says */
    if (!rc) rc = adapter_open(m, staging, &again, same, err);
    if (!rc)
        rc = compare(&(struct run){.model = m, .adapter = a, .num = num},
                     &(struct run){.model = m, .adapter = again, .num = num}, &check, err);
    if (!rc) rc = judge(&check, TOLERANCE_COPY, err);
    rc = settle(staging, out, rc, err);
    if (!rc) *ret = check;
out:
    adapter_close(again);
    adapter_close(a);
    model_close(m);
    mem_free(staging);
    return rc;
}

/* --- merging --- */

struct merge {
    const struct model *m;
    const struct adapter *a; /* NULL: the base alone */
    struct num *num;         /* F32: the update is added once and rounded once */
    enum num_type type;
    struct tensor_out *list;
    void *block;
    size_t block_bytes, used;
};

static int64_t elements(const struct tensor *t) {
    int64_t n = 1;
    for (int d = 0; d < t->dims; d++) n *= t->shape[d];
    return n;
}

/* the factors that belong to a tensor of this name, or NULL */
static const struct lora *factors_of(const struct merge *g, const char *name) {
    long long layer = -1;
    int used = 0;
    if (!g->a || sscanf(name, "model.layers.%lld.%n", &layer, &used) != 1 || !used) return NULL;
    if (layer < 0 || layer >= g->a->layer_count) return NULL;
    for (int k = 0; k < LIN_COUNT; k++) {
        const char *module = linear_module((enum linear_kind)k);
        size_t n = strlen(module);
        const struct lora *f = &g->a->lora[layer][k];
        if (strncmp(name + used, module, n) == 0 && strcmp(name + used + n, ".weight") == 0)
            return f->a ? f : NULL;
    }
    return NULL;
}

static int merge_tensor(struct merge *g, const struct tensor *t, struct tensor_out *to,
                        struct err *err) {
    const struct lora *f = factors_of(g, t->name);
    int64_t n = elements(t);
    *to = (struct tensor_out){
        .name = t->name, .type = (enum tensor_type)g->type, .dims = t->dims, .data = t->data};
    memcpy(to->shape, t->shape, sizeof to->shape);
    if (!f && t->type == to->type) return 0;
    void *wide = NULL;
    int rc = mem_try((size_t)n, sizeof(float), t->name, &wide, err);
    if (rc) return rc;
    num_widen(wide, t->data, (enum num_type)t->type, n);
    if (f) {
        struct matmul mm = {.m = t->shape[0],
                            .n = t->shape[1],
                            .c = wide,
                            .ldc = t->shape[1],
                            .alpha = g->a->scale,
                            .accumulate = true};
        mm.seg[0].a = (struct mat){f->b, NUM_F32, g->a->rank};
        mm.seg[0].b = (struct mat){f->a, NUM_F32, t->shape[1]};
        mm.seg[0].k = g->a->rank;
        matmul_nn(g->num, &mm);
    }
    char *at = (char *)g->block + g->used;
    num_narrow(at, g->type, wide, n);
    g->used += ((size_t)n * num_type_size(g->type) + 63) & ~(size_t)63;
    to->data = at;
    mem_free(wide);
    return 0;
}

static int merge_all(struct merge *g, struct err *err) {
    int64_t count = tensors_count(g->m->tensors);
    for (int64_t i = 0; i < count; i++) {
        const struct tensor *t = tensors_at(g->m->tensors, i);
        if (factors_of(g, t->name) || t->type != (enum tensor_type)g->type)
            g->block_bytes += ((size_t)elements(t) * num_type_size(g->type) + 63) & ~(size_t)63;
    }
    int rc = mem_block_open(g->block_bytes, "the merged weights", &g->block, err);
    g->list = mem_zalloc((size_t)count, sizeof *g->list);
    for (int64_t i = 0; !rc && i < count; i++)
        rc = merge_tensor(g, tensors_at(g->m->tensors, i), &g->list[i], err);
    return rc;
}

static int write_merged(const struct model *m, const struct adapter *a, struct num *num,
                        enum num_type type, const char *dir, struct err *err) {
    struct merge g = {.m = m, .a = a, .type = type};
    g.num = num_new(&(struct num_options){
        .threads = pool_threads(num_pool(num)), .compute = NUM_F32, .isa = num_isa(num)});
    int rc = merge_all(&g, err);
    if (!rc)
        rc = model_save(m, (enum tensor_type)type, g.list, tensors_count(m->tensors), dir, err);
    mem_block_close(g.block, g.block_bytes);
    mem_free(g.list);
    num_free(g.num);
    return rc;
}

int export_merged(struct num *num, const char *base, const char *adapter, enum num_type type,
                  const char *out, struct export_check *ret, struct err *err) {
    struct model *m = NULL, *again = NULL;
    struct adapter *a = NULL;
    struct export_check check = {0};
    char *staging = staging_path(out);
    int rc = refuse_present(out, err);
    if (rc) goto out;
    rc = model_open(base, &(struct model_options){0}, &m, err);
    if (!rc && adapter) rc = adapter_open(m, adapter, &a, check.warning, err);
    if (!rc) rc = write_merged(m, a, num, type, staging, err);
    if (!rc) rc = model_open(staging, &(struct model_options){0}, &again, err);
    if (!rc)
        rc = compare(&(struct run){.model = m, .adapter = a, .num = num},
                     &(struct run){.model = again, .num = num}, &check, err);
    if (!rc) rc = judge(&check, type == NUM_F32 ? TOLERANCE_F32 : TOLERANCE_BF16, err);
    rc = settle(staging, out, rc, err);
    if (!rc) *ret = check;
out:
    model_close(again);
    adapter_close(a);
    model_close(m);
    mem_free(staging);
    return rc;
}
