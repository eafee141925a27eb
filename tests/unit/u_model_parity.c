/* Logits and greedy tokens of small random models of every family against transformers and PEFT
 * (tests/parity/make_models.py), on every instruction set here and with one and two threads. */
#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/model.h"
#include "num/num.h"
#include "weights/tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXTURES "tests/fixtures/models/"
#define GREEDY 64
#define GREEDY_PROMPT 16
#define ROWS_MAX 16
#define IDS_MAX 256

static const struct {
    const char *model, *adapter; /* directories; NULL: the model alone */
} cases[] = {
    {"llama", NULL},      {"llama", "adapter"},   {"llama", "adapter_qv"}, {"llama2", NULL},
    {"llama3", NULL},     {"llama_linear", NULL}, {"mistral", NULL},       {"qwen2", NULL},
    {"qwen2", "adapter"}, {"qwen2_window", NULL}, {"qwen3", NULL},
};
#define CASE_COUNT (sizeof cases / sizeof *cases)

struct expected {
    int32_t ids[IDS_MAX], greedy[GREEDY];
    int64_t n, rows[ROWS_MAX], row_count, vocab;
    float *logits; /* (row_count, vocab) */
};

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static const float *find(struct tensors *t, const char *name, int64_t *ret_count) {
    const struct tensor *found = tensors_find(t, name);
    assert_non_null(found);
    *ret_count = found->shape[0];
    return found->data;
}

static void expected_open(const char *dir, int64_t vocab, struct expected *ret) {
    struct err err;
    struct tensors *t = NULL;
    int64_t n;
    char *path = path_join(dir, "expected.safetensors");
    check(tensors_open(path, &t, &err), &err);
    const float *ids = find(t, "ids", &ret->n);
    assert_true(ret->n <= IDS_MAX);
    for (int64_t i = 0; i < ret->n; i++) ret->ids[i] = (int32_t)ids[i];
    const float *rows = find(t, "rows", &ret->row_count);
    assert_true(ret->row_count <= ROWS_MAX);
    for (int64_t i = 0; i < ret->row_count; i++) ret->rows[i] = (int64_t)rows[i];
    const float *greedy = find(t, "greedy", &n);
    assert_int_equal(n, GREEDY);
    for (int64_t i = 0; i < n; i++) ret->greedy[i] = (int32_t)greedy[i];
    const float *logits = find(t, "logits", &n);
    assert_int_equal(n, ret->row_count);
    ret->vocab = vocab;
    ret->logits = mem_alloc((size_t)(n * vocab) * sizeof *ret->logits);
    memcpy(ret->logits, logits, (size_t)(n * vocab) * sizeof *ret->logits);
    tensors_close(t);
    mem_free(path);
}

static double largest_difference(const float *a, const float *b, int64_t n) {
    double difference = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs((double)a[i] - b[i]));
        largest = fmax(largest, fabs((double)b[i]));
    }
    return difference / largest;
}

static int32_t argmax(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

struct bench {
    struct model *m;
    struct adapter *a;
    struct num *num, *two; /* with one and two threads */
    struct expected e;
    const char *name;
};

/* token by token against the expected logits; then all at once, in pieces, with two threads: the
 * same bits */
static void compare_logits(const struct bench *b) {
    struct err err;
    struct session *s = NULL;
    int64_t vocab = b->e.vocab, row = 0;
    float *one = mem_zalloc((size_t)vocab, sizeof *one),
          *all = mem_zalloc((size_t)vocab, sizeof *all);
    double worst = 0;
    check(session_open(b->m, IDS_MAX, &s, &err), &err);
    session_set_adapter(s, b->a);
    for (int64_t i = 0; i < b->e.n; i++) {
        check(session_eval(s, b->num, b->e.ids + i, 1, one, &err), &err);
        if (row < b->e.row_count && b->e.rows[row] == i)
            worst = fmax(worst, largest_difference(one, b->e.logits + row++ * vocab, vocab));
    }
    assert_int_equal(row, b->e.row_count);
    if (worst > 1e-4) fail_msg("%s: logits differ by %.2e of the largest", b->name, worst);
    session_rewind(s, 0);
    check(session_eval(s, b->num, b->e.ids, b->e.n, all, &err), &err);
    assert_memory_equal(all, one, (size_t)vocab * sizeof *all);
    session_rewind(s, 3);
    check(session_eval(s, b->two, b->e.ids + 3, 10, NULL, &err), &err);
    check(session_eval(s, b->two, b->e.ids + 13, b->e.n - 14, NULL, &err), &err);
    check(session_eval(s, b->two, b->e.ids + b->e.n - 1, 1, all, &err), &err);
    assert_memory_equal(all, one, (size_t)vocab * sizeof *all);
    session_close(s);
    mem_free(one);
    mem_free(all);
}

static void compare_greedy(const struct bench *b) {
    struct err err;
    struct session *s = NULL;
    float *logits = mem_zalloc((size_t)b->e.vocab, sizeof *logits);
    check(session_open(b->m, GREEDY_PROMPT + GREEDY, &s, &err), &err);
    session_set_adapter(s, b->a);
    check(session_eval(s, b->num, b->e.ids, GREEDY_PROMPT, logits, &err), &err);
    for (int i = 0; i < GREEDY; i++) {
        int32_t id = argmax(logits, b->e.vocab);
        if (id != b->e.greedy[i])
            fail_msg("%s: greedy token %d is %d, not %d", b->name, i, id, b->e.greedy[i]);
        check(session_eval(s, b->num, &id, 1, logits, &err), &err);
    }
    session_close(s);
    mem_free(logits);
}

static void compare_scores(const struct bench *b) {
    struct err err;
    struct session *s = NULL;
    float scores[IDS_MAX];
    check(session_open(b->m, IDS_MAX, &s, &err), &err);
    session_set_adapter(s, b->a);
    check(session_score(s, b->num, b->e.ids, b->e.n - 1, b->e.ids + 1, scores, &err), &err);
    for (int64_t r = 0; r + 1 < b->e.row_count; r++) {
        const float *logits = b->e.logits + r * b->e.vocab;
        double sum = 0;
        for (int64_t i = 0; i < b->e.vocab; i++) sum += exp((double)logits[i]);
        double want = logits[b->e.ids[b->e.rows[r] + 1]] - log(sum);
        if (fabs(want - scores[b->e.rows[r]]) > 1e-3) /* logits reach 10 */
            fail_msg("%s: row %lld scores %f, not %f", b->name, (long long)b->e.rows[r],
                     scores[b->e.rows[r]], want);
    }
    session_close(s);
}

static void run_case(size_t index, struct num *one, struct num *two) {
    struct err err;
    struct bench b = {.num = one, .two = two};
    char *dir = path_join(FIXTURES, cases[index].model), name[120], warning[240];
    char *adapter = cases[index].adapter ? path_join(dir, cases[index].adapter) : NULL;
    snprintf(name, sizeof name, "%s on %s", adapter ? adapter : dir, num_path_name(one));
    b.name = name;
    check(model_open(dir, &(struct model_options){.weights_only = true}, &b.m, &err), &err);
    if (adapter) {
        check(adapter_open(b.m, adapter, &b.a, warning, &err), &err);
        assert_string_equal(warning, "");
    }
    expected_open(adapter ? adapter : dir, model_config(b.m)->vocab, &b.e);
    compare_logits(&b);
    compare_greedy(&b);
    compare_scores(&b);
    mem_free(b.e.logits);
    adapter_close(b.a);
    model_close(b.m);
    mem_free(adapter);
    mem_free(dir);
}

static void every_family_agrees_with_transformers(void **state) {
    (void)state;
    for (int isa = 0; isa < NUM_ISA_COUNT; isa++) {
        if (!num_isa_available((enum num_isa)isa)) continue;
        struct num_options o = {.threads = 1, .compute = NUM_F32, .isa = (enum num_isa)isa};
        struct num *one = num_new(&o);
        o.threads = 2;
        struct num *two = num_new(&o);
        for (size_t i = 0; i < CASE_COUNT; i++) run_case(i, one, two);
        num_free(two);
        num_free(one);
    }
}

UNIT_TESTS(model_parity, cmocka_unit_test(every_family_agrees_with_transformers))
