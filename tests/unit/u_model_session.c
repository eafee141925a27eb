/* Sessions: batches of several with different adapters, growth, limits, bad ids. */
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/model_int.h"
#include "num/num.h"

#include <math.h>
#include <string.h>

#define LLAMA "tests/fixtures/models/llama"
#define LINEAR "tests/fixtures/models/llama_linear"

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

static struct model *open_model(const char *path) {
    struct err err;
    struct model *m = NULL;
    check(model_open(path, &(struct model_options){.weights_only = true}, &m, &err), &err);
    return m;
}

static struct num *open_num(int threads) {
    return num_new(
        &(struct num_options){.threads = threads, .compute = NUM_F32, .isa = num_isa_best()});
}

static void random_ids(int32_t *ids, int64_t n, int64_t vocab, uint64_t stream) {
    struct rng r;
    rng_init_stream(&r, unit_seed(), stream);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)rng_below(&r, (uint64_t)vocab);
}

enum { SESSIONS = 5, PROMPT = 40, STEPS = 6, VOCAB_MAX = 128 };

struct party {
    struct model *m;
    struct adapter *adapters[3]; /* NULL, all layers, q and v */
    struct session *s[SESSIONS];
    int32_t ids[SESSIONS][PROMPT + STEPS];
    int64_t prompt[SESSIONS]; /* lengths */
};

static void party_open(struct party *p) {
    struct err err;
    char warning[240];
    *p = (struct party){.m = open_model(LLAMA)};
    check(adapter_open(p->m, LLAMA "/adapter", &p->adapters[1], warning, &err), &err);
    check(adapter_open(p->m, LLAMA "/adapter_qv", &p->adapters[2], warning, &err), &err);
    for (int i = 0; i < SESSIONS; i++) {
        check(session_open(p->m, PROMPT + STEPS, &p->s[i], &err), &err);
        session_set_adapter(p->s[i], p->adapters[i % 3]);
        p->prompt[i] = PROMPT - 7 * i;
        random_ids(p->ids[i], PROMPT + STEPS, model_config(p->m)->vocab, (uint64_t)i);
    }
}

static void party_close(struct party *p) {
    for (int i = 0; i < SESSIONS; i++) session_close(p->s[i]);
    for (int i = 0; i < 3; i++) adapter_close(p->adapters[i]);
    model_close(p->m);
}

/* step 0 takes the prompts, the others a token each */
static void eval_together(struct party *p, struct workspace *w, struct num *num, int step,
                          float *logits) {
    struct err err;
    struct eval_item items[SESSIONS];
    for (int i = 0; i < SESSIONS; i++)
        items[i] = (struct eval_item){.session = p->s[i],
                                      .ids = p->ids[i] + (step ? p->prompt[i] + step - 1 : 0),
                                      .n = step ? 1 : p->prompt[i],
                                      .want_logits = i != 1 || step};
    check(session_eval_batch(w, num, items, SESSIONS, logits, &err), &err);
}

static void a_batch_has_the_bits_of_each_alone(void **state) {
    (void)state;
    static float together[STEPS][SESSIONS][VOCAB_MAX], alone[VOCAB_MAX];
    struct err err;
    struct party p;
    struct workspace *w = NULL;
    struct num *num = open_num(2), *single = open_num(1);
    party_open(&p);
    size_t vocab = (size_t)model_config(p.m)->vocab;
    check(workspace_open(p.m, 33, SESSIONS, &w, &err), &err); /* prompts are cut in odd places */
    for (int step = 0; step < STEPS; step++) {
        float *flat = mem_zalloc(SESSIONS * vocab, sizeof *flat), *at = flat;
        eval_together(&p, w, num, step, flat);
        for (int i = 0; i < SESSIONS; i++) {
            if (i == 1 && !step) continue;
            memcpy(together[step][i], at, vocab * sizeof *at);
            at += vocab;
        }
        mem_free(flat);
    }
    for (int i = 0; i < SESSIONS; i++) {
        session_rewind(p.s[i], 0);
        for (int step = 0; step < STEPS; step++) {
            const int32_t *ids = p.ids[i] + (step ? p.prompt[i] + step - 1 : 0);
            check(session_eval(p.s[i], single, ids, step ? 1 : p.prompt[i], alone, &err), &err);
            if (i != 1 || step)
                assert_memory_equal(together[step][i], alone, vocab * sizeof *alone);
        }
    }
    workspace_close(w);
    num_free(single);
    num_free(num);
    party_close(&p);
}

static void an_adapter_changes_the_answer_and_clears_the_session(void **state) {
    (void)state;
    float logits[3][VOCAB_MAX];
    struct err err;
    struct party p;
    struct num *num = open_num(1);
    party_open(&p);
    for (int i = 0; i < 3; i++) {
        session_set_adapter(p.s[0], p.adapters[i]);
        assert_int_equal(session_length(p.s[0]), 0);
        check(session_eval(p.s[0], num, p.ids[0], 9, logits[i], &err), &err);
    }
    assert_true(memcmp(logits[0], logits[1], sizeof *logits) != 0);
    assert_true(memcmp(logits[1], logits[2], sizeof *logits) != 0);
    num_free(num);
    party_close(&p);
}

static void a_session_grows_and_keeps_what_it_has(void **state) {
    (void)state;
    float stepped[VOCAB_MAX], whole[VOCAB_MAX];
    int32_t ids[256];
    struct err err;
    struct num *num = open_num(1);
    struct model *m = open_model("tests/fixtures/models/llama3"); /* up to 512 positions */
    struct session *a = NULL, *b = NULL;
    int64_t vocab = model_config(m)->vocab;
    check(session_open(m, 512, &a, &err), &err);
    check(session_open(m, 512, &b, &err), &err);
    int32_t all[512];
    random_ids(all, 512, vocab, 9);
    for (int at = 0; at < 512; at += 64)
        check(session_eval(a, num, all + at, 64, stepped, &err), &err);
    check(session_eval(b, num, all, 512, whole, &err), &err);
    assert_memory_equal(stepped, whole, (size_t)vocab * sizeof *whole);
    assert_memory_equal(session_ids(a), all, sizeof all);
    memcpy(ids, all, sizeof ids);
    assert_int_equal(session_eval(a, num, ids, 1, NULL, &err), ERR_LIMIT);
    assert_int_equal(session_length(a), 512);
    session_close(a);
    session_close(b);
    model_close(m);
    num_free(num);
}

/* A copied beginning goes on with the bits of the original; logits of several rows at once are
 * those of each row. */
static void a_copied_beginning_is_as_good(void **state) {
    (void)state;
    enum { N = 30, KEEP = 17 };
    struct err err;
    struct party p;
    struct workspace *w = NULL;
    struct num *num = open_num(2);
    party_open(&p);
    size_t vocab = (size_t)model_config(p.m)->vocab;
    float *rows = mem_zalloc(N * vocab, sizeof *rows), *again = mem_zalloc(N * vocab, sizeof *rows);
    check(workspace_open(p.m, 11, N, &w, &err), &err);
    struct eval_item all = {p.s[1], p.ids[1], N, N - KEEP};
    check(session_eval_batch(w, num, &all, 1, rows, &err), &err);
    struct session *copy = NULL;
    check(session_open(p.m, N, &copy, &err), &err);
    assert_int_equal(session_bytes(copy), 0);
    check(session_make_room(copy, KEEP + 2, &err), &err);
    assert_int_equal(session_bytes(copy), (KEEP + 2) * model_kv_bytes(p.m));
    check(session_copy(copy, p.s[1], KEEP, &err), &err);
    assert_int_equal(session_length(copy), KEEP);
    assert_memory_equal(session_ids(copy), p.ids[1], KEEP * sizeof(int32_t));
    for (int i = KEEP; i < N; i++) {
        struct eval_item one = {copy, p.ids[1] + i, 1, 1};
        check(session_eval_rows(w, num, &one, 1, again + (size_t)(i - KEEP) * vocab, &err), &err);
    }
    assert_memory_equal(rows, again, (N - KEEP) * vocab * sizeof *rows);
    all = (struct eval_item){copy, p.ids[1], 0, 1};
    assert_int_equal(session_eval_batch(w, num, &all, 1, rows, &err), ERR_INVALID);
    assert_int_equal(session_make_room(copy, N + 1, &err), ERR_LIMIT);
    session_close(copy);
    workspace_close(w);
    mem_free(rows);
    mem_free(again);
    num_free(num);
    party_close(&p);
}

static void bad_ids_change_nothing(void **state) {
    (void)state;
    struct err err;
    struct num *num = open_num(1);
    struct model *m = open_model(LINEAR);
    struct session *s = NULL;
    float logits[VOCAB_MAX], scores[3];
    check(session_open(m, 8, &s, &err), &err);
    int32_t vocab = (int32_t)model_config(m)->vocab;
    int32_t good[3] = {1, 2, 3}, high[3] = {1, 2, vocab}, low[3] = {1, -1, 2};
    check(session_eval(s, num, good, 3, logits, &err), &err);
    assert_int_equal(session_eval(s, num, high, 3, logits, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "token 2 has id 71"));
    assert_int_equal(session_eval(s, num, low, 3, logits, &err), ERR_INVALID);
    assert_int_equal(session_score(s, num, good, 3, high, scores, &err), ERR_INVALID);
    assert_int_equal(session_eval(s, num, good, 0, logits, &err), ERR_INVALID);
    assert_int_equal(session_length(s), 3);
    assert_int_equal(session_open(m, 0, &s, &err), ERR_INVALID);
    assert_int_equal(session_open(m, 257, &s, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "made for 256"));
    session_close(s);
    model_close(m);
    num_free(num);
}

static void a_missing_model_is_named(void **state) {
    (void)state;
    struct err err;
    struct model *m = NULL;
    int rc = model_open(unit_dir(), &(struct model_options){.weights_only = true}, &m, &err);
    assert_int_equal(rc, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "config.json"));
    assert_null(m);
}

static void numbers_that_are_not_finite_are_an_error(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const int32_t ids[] = {1, 2, 3, 4};
    struct err err;
    struct num *num = open_num(1);
    struct model *m = open_model(LLAMA);
    struct session *s = NULL;
    struct adapter *a = NULL;
    char warning[240];
    size_t vocab = (size_t)m->config.vocab, dim = (size_t)m->config.dim;
    float *logits = mem_zalloc(vocab, sizeof *logits), logprob[3];
    float *head = mem_zalloc(vocab * dim, sizeof *head);
    check(session_open(m, 8, &s, &err), &err);
    check(adapter_open(m, LLAMA "/adapter", &a, warning, &err), &err);
    num_widen(head, m->head.p, m->head.type, (int64_t)(vocab * dim));
    m->head = (struct mat){head, NUM_F32, (int64_t)dim};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        session_set_adapter(s, i ? a : NULL);
        check(session_eval(s, num, ids, 1, logits, &err), &err);
        float good = head[(vocab - 1) * dim];
        head[(vocab - 1) * dim] = bad[i];
        assert_int_equal(session_eval(s, num, ids + 1, 2, logits, &err), ERR_INVALID);
        assert_non_null(strstr(err.msg, "\"" LLAMA "\""));
        assert_true(!i == !strstr(err.msg, "adapter \"" LLAMA "/adapter\""));
        assert_int_equal(session_length(s), 1);
        assert_int_equal(session_score(s, num, ids, 3, ids + 1, logprob, &err), ERR_INVALID);
        head[(vocab - 1) * dim] = good;
        session_rewind(s, 0);
    }
    session_close(s);
    adapter_close(a);
    model_close(m);
    num_free(num);
    mem_free(head);
    mem_free(logits);
}

UNIT_TESTS(model_session, cmocka_unit_test(a_batch_has_the_bits_of_each_alone),
           cmocka_unit_test(an_adapter_changes_the_answer_and_clears_the_session),
           cmocka_unit_test(a_session_grows_and_keeps_what_it_has),
           cmocka_unit_test(numbers_that_are_not_finite_are_an_error),
           cmocka_unit_test(a_copied_beginning_is_as_good),
           cmocka_unit_test(bad_ids_change_nothing), cmocka_unit_test(a_missing_model_is_named))
