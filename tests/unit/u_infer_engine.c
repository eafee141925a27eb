/* The engine over small models: tokens as alone in any company, with cached beginnings, after
 * evictions, at one and two threads; its limits, its queue, its errors. What is expected comes from
 * one session, token by token, without the engine. */
#include "adapter_fixture.h"
#include "unit.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/engine.h"
#include "num/num.h"
#include "weights/tensors.h"

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#define LLAMA "tests/fixtures/models/llama"
#define QWEN "tests/fixtures/models/qwen3"
#define ALL LLAMA "/adapter"
#define QV LLAMA "/adapter_qv"

enum { PROMPT_MAX = 200, ANSWER_MAX = 200, VOCAB_MAX = 256 };

static void check(int rc, const struct err *err) {
    if (rc) fail_msg("%s", err->msg);
}

/* --- what is asked, and what must come --- */

struct ask {
    const char *model, *adapter;
    int32_t prompt[PROMPT_MAX];
    int64_t prompt_count, max_tokens;
    struct sampling sampling;
    int32_t answer[ANSWER_MAX]; /* expected */
    int64_t count;
};

static void random_ids(int32_t *ids, int64_t n, int64_t vocab, uint64_t stream) {
    struct rng r;
    rng_init_stream(&r, unit_seed(), stream);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)rng_below(&r, (uint64_t)vocab);
}

/* the i-th of a mixed lot */
static struct ask make_ask(int i) {
    static const char *const adapters[] = {NULL, ALL, QV, ALL};
    struct ask a = {.model = LLAMA,
                    .adapter = adapters[i % 4],
                    .prompt_count = 3 + 37 * i % 150,
                    .max_tokens = 5 + 7 * i % 40};
    a.sampling.seed = (uint64_t)i + 9;
    if (i % 3 != 0) a.sampling.temperature = 0.5 + i % 5;
    if (i % 5 == 1) a.sampling.top_p = 0.8;
    if (i % 5 == 2) a.sampling.top_k = 20;
    if (i % 4 == 3) a.sampling.presence_penalty = 1.5;
    random_ids(a.prompt, PROMPT_MAX, 60, (uint64_t)i + 100);
    return a;
}

/* from one session, a token at a time */
static void expect(struct ask *a, enum num_type compute) {
    struct err err;
    struct model *m = NULL;
    struct adapter *adapter = NULL;
    struct session *s = NULL;
    struct sampler sampler;
    float logits[VOCAB_MAX];
    char warning[240];
    struct num *num =
        num_new(&(struct num_options){.threads = 1, .compute = compute, .isa = num_isa_best()});
    check(model_open(a->model, &(struct model_options){.weights_only = true}, &m, &err), &err);
    if (a->adapter) check(adapter_open(m, a->adapter, &adapter, warning, &err), &err);
    check(session_open(m, 256, &s, &err), &err);
    session_set_adapter(s, adapter);
    check(sampler_init(&sampler, num, &a->sampling, model_config(m)->vocab, &err), &err);
    for (int64_t i = 0; i < a->prompt_count; i++)
        check(session_eval(s, num, a->prompt + i, 1, logits, &err), &err);
    for (a->count = 0; a->count < a->max_tokens;) {
        int32_t id = sampler_pick(&sampler, logits, NULL);
        if (model_is_stop(m, id)) break;
        a->answer[a->count++] = id;
        if (a->count < a->max_tokens) check(session_eval(s, num, &id, 1, logits, &err), &err);
    }
    sampler_release(&sampler);
    session_close(s);
    adapter_close(adapter);
    model_close(m);
    num_free(num);
}

/* --- the engine --- */

static struct engine *open_engine(struct engine_options o) {
    struct err err;
    struct engine *e = NULL;
    o.isa = num_isa_best();
    o.weights_only = true;
    if (!o.memory_bytes) o.memory_bytes = (size_t)256 << 20;
    check(engine_open(&o, &e, &err), &err);
    return e;
}

static struct engine_request request_of(const struct ask *a) {
    return (struct engine_request){.model = a->model,
                                   .adapter = a->adapter,
                                   .prompt = a->prompt,
                                   .prompt_count = a->prompt_count,
                                   .max_tokens = a->max_tokens,
                                   .sampling = a->sampling};
}

static struct engine_stream *submit(struct engine *e, const struct engine_request *r) {
    struct err err;
    struct engine_stream *s = NULL;
    check(engine_submit(e, r, &s, &err), &err);
    return s;
}

static struct engine_stream *ask(struct engine *e, const struct ask *a) {
    struct engine_request r = request_of(a);
    return submit(e, &r);
}

struct answer {
    struct engine_token tokens[ANSWER_MAX];
    struct token_logprob tops[ANSWER_MAX][ENGINE_TOP_MAX];
    int64_t count;
    struct engine_event end;
    int rc;
    struct err err;
};

static void add_tokens(struct answer *a, const struct engine_event *ev) {
    for (int64_t i = 0; i < ev->count; i++) {
        assert_true(a->count < ANSWER_MAX);
        a->tokens[a->count] = ev->tokens[i];
        if (ev->tokens[i].top_count)
            memcpy(a->tops[a->count], ev->tokens[i].top,
                   (size_t)ev->tokens[i].top_count * sizeof(struct token_logprob));
        a->count++;
    }
}

/* all that comes; closes the stream */
static void read_all(struct engine_stream *s, struct answer *a) {
    memset(a, 0, sizeof *a);
    do {
        a->rc = engine_next(s, -1, &a->end, &a->err);
        if (!a->rc && a->end.kind == ENGINE_TOKENS) add_tokens(a, &a->end);
    } while (!a->rc && a->end.kind != ENGINE_END);
    engine_stream_close(s);
}

static void read_and_compare(struct engine_stream *s, const struct ask *a) {
    struct answer got;
    read_all(s, &got);
    check(got.rc, &got.err);
    assert_int_equal(got.count, a->count);
    assert_int_equal(got.end.completion_tokens, a->count);
    assert_int_equal(got.end.prompt_tokens, a->prompt_count);
    assert_int_equal(got.end.finish, a->count < a->max_tokens ? FINISH_STOP : FINISH_LENGTH);
    for (int64_t i = 0; i < a->count; i++)
        if (got.tokens[i].id != a->answer[i])
            fail_msg("token %d is %d, not %d", (int)i, got.tokens[i].id, a->answer[i]);
}

/* --- the same alone and in any company --- */

enum { LOT = 16 };

static void run_lot(enum num_type compute, int threads, const struct ask *lot) {
    static const int sizes[] = {1, 2, 5, 16};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct engine *e = open_engine(
            (struct engine_options){.threads = threads, .compute = compute, .batch_max = sizes[k]});
        struct engine_stream *s[LOT], *quitters[LOT / 4];
        struct engine_event ev;
        struct err err;
        for (int i = 0; i < LOT; i++) {
            s[i] = ask(e, &lot[i]);
            if (i % 4 == 2) quitters[i / 4] = ask(e, &lot[LOT - 1 - i]);
        }
        for (int i = 0; i < LOT / 4; i++) { /* in the queue, at the start, in the middle */
            if (i > 0) check(engine_next(quitters[i], i == 1 ? 0 : -1, &ev, &err), &err);
            engine_stream_close(quitters[i]);
        }
        for (int i = 0; i < LOT; i++) read_and_compare(s[i], &lot[i]);
        engine_close(e);
    }
}

static void tokens_are_the_same_alone_and_in_any_company(void **state) {
    (void)state;
    static struct ask lot[LOT];
    for (enum num_type compute = NUM_F32; compute <= NUM_BF16; compute++) {
        for (int i = 0; i < LOT; i++) {
            lot[i] = make_ask(i);
            expect(&lot[i], compute);
        }
        run_lot(compute, 1, lot);
        run_lot(compute, 2, lot);
    }
}

static void models_share_an_engine(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 2});
    struct ask a[4];
    struct engine_stream *s[4];
    for (int i = 0; i < 4; i++) {
        a[i] = make_ask(i);
        if (i % 2) a[i].model = QWEN, a[i].adapter = NULL;
        expect(&a[i], NUM_F32);
        s[i] = ask(e, &a[i]);
    }
    for (int i = 0; i < 4; i++) read_and_compare(s[i], &a[i]);
    struct engine_stats st;
    engine_stats(e, &st);
    assert_int_equal(st.models, 2);
    engine_close(e);
}

/* --- the prefix cache --- */

static void a_cached_beginning_changes_no_token(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 2, .batch_max = 4});
    struct ask first = make_ask(1), next = first, other = first;
    struct answer got;
    struct engine_stats st;
    first.prompt_count = 120;
    first.max_tokens = 20;
    expect(&first, NUM_F32);
    read_and_compare(ask(e, &first), &first);
    next.prompt_count = 120 + first.count + 7; /* a second turn */
    memcpy(next.prompt + 120, first.answer, (size_t)first.count * sizeof *next.prompt);
    expect(&next, NUM_F32);
    struct engine_stream *s = ask(e, &next);
    read_all(s, &got);
    assert_int_equal(got.end.cached_tokens, 120 + first.count - 1); /* the last was not read */
    for (int64_t i = 0; i < got.count; i++) assert_int_equal(got.tokens[i].id, next.answer[i]);
    other.prompt_count = 90; /* a part, and another way on */
    other.prompt[80]++;
    expect(&other, NUM_F32);
    read_all(ask(e, &other), &got);
    assert_int_equal(got.end.cached_tokens, 80);
    for (int64_t i = 0; i < got.count; i++) assert_int_equal(got.tokens[i].id, other.answer[i]);
    other.adapter = NULL; /* another adapter shares nothing */
    expect(&other, NUM_F32);
    read_all(ask(e, &other), &got);
    assert_int_equal(got.end.cached_tokens, 0);
    for (int64_t i = 0; i < got.count; i++) assert_int_equal(got.tokens[i].id, other.answer[i]);
    read_and_compare(ask(e, &first), &first); /* and again */
    engine_stats(e, &st);
    assert_int_equal(st.cache_hits, 3);
    assert_int_equal(st.cache_misses, 2);
    assert_int_equal(st.running, 0);
    assert_true(st.cached_sessions >= 2 && st.cached_bytes > 0 && st.running_bytes == 0);
    engine_close(e);
}

static void choices_read_their_prompt_once(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 2});
    struct ask a[8];
    struct engine_stream *s[8];
    struct engine_stats st;
    for (int i = 0; i < 8; i++) {
        a[i] = make_ask(4);
        a[i].prompt_count = 150;
        a[i].max_tokens = 12;
        a[i].sampling = (struct sampling){.temperature = 1, .seed = (uint64_t)i};
        expect(&a[i], NUM_F32);
    }
    for (int i = 0; i < 8; i++) s[i] = ask(e, &a[i]);
    for (int i = 0; i < 8; i++) read_and_compare(s[i], &a[i]);
    engine_stats(e, &st);
    assert_int_equal(st.cached_tokens, 7 * 149);
    engine_close(e);
}

/* Bytes of a model, of the scratch memory of its passes, and of one position of a session. */
struct sizes {
    size_t weights, scratch, position;
};

static struct sizes sizes_of(const char *path, int batch_max) {
    struct err err;
    struct model *m = NULL;
    struct workspace *w = NULL;
    check(model_open(path, &(struct model_options){.weights_only = true}, &m, &err), &err);
    check(workspace_open(m, batch_max + 512, batch_max + 32, &w, &err), &err);
    struct sizes z = {.weights = model_weight_bytes(m), .position = model_kv_bytes(m)};
    z.scratch = workspace_bytes(w) +
                (size_t)(batch_max + 32) * (size_t)model_config(m)->vocab * sizeof(float);
    workspace_close(w);
    model_close(m);
    return z;
}

/* Memory for four sessions when they begin and three when they end, where six want to run: some
 * wait, some are stopped and go on later, cached ones go; all end, with their tokens. */
static void short_memory_changes_no_token(void **state) {
    (void)state;
    static struct ask a[6];
    struct engine_stream *s[6];
    struct engine_stats st;
    struct sizes z = sizes_of(LLAMA, 6);
    struct engine *e = open_engine((struct engine_options){
        .threads = 2, .batch_max = 6, .memory_bytes = z.weights + z.scratch + 700 * z.position});
    for (int i = 0; i < 6; i++) {
        a[i] = make_ask(0);
        a[i].prompt_count = 20 + i;
        a[i].prompt[0] = i; /* nothing in common */
        a[i].max_tokens = ANSWER_MAX;
        if (i % 2) a[i].sampling.temperature = 1;
        expect(&a[i], NUM_F32);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 6; i++) s[i] = ask(e, &a[i]);
        for (int i = 0; i < 6; i++) read_and_compare(s[i], &a[i]);
    }
    engine_stats(e, &st);
    assert_true(st.cache_evictions > 0);
    assert_true(st.preemptions > 0);
    assert_true(st.cached_bytes + st.running_bytes <= 700 * z.position);
    engine_close(e);
}

/* --- log-probabilities --- */

static void logprobs_are_the_models_own(void **state) {
    (void)state;
    struct err err;
    struct engine *e = open_engine((struct engine_options){.threads = 2});
    struct ask a = make_ask(1);
    struct model *m = NULL;
    struct adapter *adapter = NULL;
    struct session *session = NULL;
    struct answer got;
    struct engine_event ev;
    float scores[PROMPT_MAX], logits[VOCAB_MAX];
    char warning[240];
    struct logit_bias bias = {7, 100};
    struct num *num =
        num_new(&(struct num_options){.threads = 1, .compute = NUM_F32, .isa = num_isa_best()});
    a.prompt_count = 100;
    a.max_tokens = 3;
    struct engine_request r = request_of(&a);
    r.logprobs = r.prompt_logprobs = true;
    r.top = 3;
    r.sampling.bias = &bias;
    r.sampling.bias_count = 1;
    check(model_open(LLAMA, &(struct model_options){.weights_only = true}, &m, &err), &err);
    check(adapter_open(m, ALL, &adapter, warning, &err), &err);
    check(session_open(m, 256, &session, &err), &err);
    session_set_adapter(session, adapter);
    check(session_score(session, num, a.prompt, 99, a.prompt + 1, scores, &err), &err);
    for (int round = 0; round < 2; round++) { /* the second has the prompt cached, and reads it */
        struct engine_stream *s = submit(e, &r);
        check(engine_next(s, -1, &ev, &err), &err);
        assert_int_equal(ev.kind, ENGINE_PROMPT);
        assert_int_equal(ev.count, 100);
        assert_true(isnan(ev.tokens[0].logprob));
        for (int i = 0; i < 100; i++) {
            assert_int_equal(ev.tokens[i].id, a.prompt[i]);
            if (i == 0) continue;
            assert_true(fabsf(ev.tokens[i].logprob - scores[i - 1]) < 1e-4f);
            assert_int_equal(ev.tokens[i].top_count, 3);
            assert_true(ev.tokens[i].top[0].logprob >= ev.tokens[i].top[1].logprob);
            assert_true(ev.tokens[i].top[2].logprob >= ev.tokens[i].logprob ||
                        ev.tokens[i].top[0].id == ev.tokens[i].id ||
                        ev.tokens[i].top[1].id == ev.tokens[i].id ||
                        ev.tokens[i].top[2].id == ev.tokens[i].id);
        }
        read_all(s, &got);
        check(got.rc, &got.err);
        assert_int_equal(got.count, 3);
        assert_int_equal(got.tokens[0].id, 7); /* forced, and told as unlikely as it was */
        session_rewind(session, 99);
        check(session_eval(session, num, a.prompt + 99, 1, logits, &err), &err);
        float norm = logprobs_norm(num, logits, model_config(m)->vocab);
        assert_true(fabsf(got.tokens[0].logprob - (logits[7] - norm)) < 1e-5f);
        assert_true(got.tops[0][0].logprob > got.tokens[0].logprob);
    }
    r.max_tokens = 0; /* only the prompt */
    r.prompt_count = 1;
    struct engine_stream *s = submit(e, &r);
    check(engine_next(s, -1, &ev, &err), &err);
    assert_int_equal(ev.kind, ENGINE_PROMPT);
    assert_int_equal(ev.count, 1);
    read_all(s, &got);
    assert_int_equal(got.count, 0);
    assert_int_equal(got.end.finish, FINISH_LENGTH);
    session_close(session);
    adapter_close(adapter);
    model_close(m);
    num_free(num);
    engine_close(e);
}

/* --- filters, which also let a test hold a request where it is --- */

struct gate {
    sem_t arrived, go;
    int tokens, released;
    int hold_at;    /* token that waits; 0: none */
    int end_at;     /* token that completes the answer; 0: none */
    int fail_at;    /* token at which the mask fails; 0: never */
    uint64_t allow; /* ids below 64 that may come; 0: all */
    int *order, *clock;
};

static int gate_mask(void *ctx, uint64_t *allowed, int64_t vocab, struct err *err) {
    struct gate *g = ctx;
    if (g->fail_at && g->tokens + 1 == g->fail_at) return err_set(err, ERR_INVALID, "gate failed");
    for (int64_t i = 0; i < (vocab + 63) / 64; i++) assert_true(allowed[i] == 0);
    if (!g->allow) memset(allowed, 0xff, (size_t)(vocab + 63) / 64 * 8);
    allowed[0] |= g->allow;
    return 0;
}

static int gate_accept(void *ctx, int32_t id, struct err *err) {
    struct gate *g = ctx;
    (void)id;
    (void)err;
    g->tokens++;
    if (g->order && g->tokens == 1) *g->order = ++*g->clock;
    if (g->tokens == g->hold_at) {
        sem_post(&g->arrived);
        sem_wait(&g->go);
    }
    return g->tokens == g->end_at;
}

static void gate_release(void *ctx) { ((struct gate *)ctx)->released++; }

static void gate_init(struct gate *g) {
    *g = (struct gate){0};
    sem_init(&g->arrived, 0, 0);
    sem_init(&g->go, 0, 0);
}

static struct engine_request with_gate(const struct ask *a, struct gate *g) {
    struct engine_request r = request_of(a);
    r.ignore_stops = true;
    r.filter = (struct engine_filter){g, gate_mask, gate_accept, gate_release};
    return r;
}

static void a_filter_decides_what_comes(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 2});
    struct ask a = make_ask(0), plain = make_ask(2);
    struct gate g, failing;
    struct answer got;
    a.max_tokens = 30;
    expect(&plain, NUM_F32);
    gate_init(&g);
    gate_init(&failing);
    g.allow = 1u << 5 | 1u << 17;
    g.end_at = 12;
    failing.fail_at = 4;
    struct engine_request r = with_gate(&a, &g), bad = with_gate(&a, &failing);
    bad.adapter = QV;
    struct engine_stream *s = submit(e, &r), *f = submit(e, &bad), *p = ask(e, &plain);
    read_all(s, &got);
    check(got.rc, &got.err);
    assert_int_equal(got.count, 12);
    assert_int_equal(got.end.finish, FINISH_STOP);
    for (int i = 0; i < 12; i++) assert_true(got.tokens[i].id == 5 || got.tokens[i].id == 17);
    read_all(f, &got);
    assert_int_equal(got.rc, ERR_INVALID);
    assert_string_equal(got.err.msg, "gate failed");
    assert_int_equal(got.count, 3);
    read_and_compare(p, &plain);
    engine_close(e);
    assert_int_equal(g.released, 1);
    assert_int_equal(failing.released, 1);
}

/* --- queue, cancelling, fairness --- */

static void a_full_queue_says_so_and_cancelling_frees(void **state) {
    (void)state;
    struct engine *e =
        open_engine((struct engine_options){.threads = 1, .batch_max = 1, .queue_max = 2});
    struct ask a = make_ask(0), b = make_ask(1);
    struct gate g;
    struct err err;
    struct answer got;
    struct engine_stream *waiting[2], *refused = NULL;
    struct engine_stats st;
    gate_init(&g);
    g.hold_at = 2;
    a.max_tokens = 50;
    expect(&b, NUM_F32);
    struct engine_request r = with_gate(&a, &g), more = request_of(&b);
    struct engine_stream *s = submit(e, &r);
    sem_wait(&g.arrived); /* it has the only place and stands still */
    waiting[0] = submit(e, &more);
    waiting[1] = submit(e, &more);
    assert_int_equal(engine_submit(e, &more, &refused, &err), ERR_BUSY);
    assert_int_equal(err_http_status(ERR_BUSY), 429);
    assert_non_null(strstr(err.msg, "2 requests are waiting"));
    assert_null(refused);
    int seconds = engine_retry_after(e);
    assert_true(seconds >= 1 && seconds <= 120);
    engine_cancel(waiting[0]);
    engine_cancel(s);
    sem_post(&g.go);
    read_all(s, &got); /* the token it stood at is its last */
    assert_int_equal(got.count, 2);
    assert_int_equal(got.end.finish, FINISH_CANCELLED);
    read_all(waiting[0], &got);
    assert_int_equal(got.count, 0);
    assert_int_equal(got.end.finish, FINISH_CANCELLED);
    read_and_compare(waiting[1], &b);
    engine_stats(e, &st);
    assert_int_equal(st.refused, 1);
    assert_int_equal(st.cancelled, 2);
    assert_int_equal(st.queued, 0);
    engine_close(e);
}

static void a_flood_does_not_starve_another_owner(void **state) {
    (void)state;
    enum { FLOOD = 6 };
    struct engine *e = open_engine((struct engine_options){.threads = 1, .batch_max = 2});
    struct ask a = make_ask(0);
    struct gate gates[FLOOD + 1];
    struct engine_stream *s[FLOOD + 1];
    struct answer got;
    int order[FLOOD + 1] = {0}, clock = 0;
    a.max_tokens = 4;
    for (int i = 0; i <= FLOOD; i++) {
        gate_init(&gates[i]);
        gates[i].order = &order[i];
        gates[i].clock = &clock;
    }
    gates[0].hold_at = 1;
    for (int i = 0; i <= FLOOD; i++) {
        a.prompt[0] = i;
        struct engine_request r = with_gate(&a, &gates[i]);
        r.owner = i == FLOOD ? 2 : 1;
        s[i] = submit(e, &r);
        if (i == 0) sem_wait(&gates[0].arrived);
    }
    sem_post(&gates[0].go);
    for (int i = 0; i <= FLOOD; i++) {
        read_all(s[i], &got);
        check(got.rc, &got.err);
        assert_int_equal(got.count, 4);
    }
    assert_int_equal(order[FLOOD], 2); /* right after the one that ran already */
    engine_close(e);
}

/* of a queue of 8 one owner gets 6, the next still some, and who has a place free finds it again */
static void one_owner_does_not_fill_the_queue(void **state) {
    (void)state;
    static const uint64_t who[] = {1, 1, 1, 1, 1, 1, 2};
    enum { MINE = 6, ALL_OF = 7 };
    struct engine *e =
        open_engine((struct engine_options){.threads = 1, .batch_max = 1, .queue_max = 8});
    struct ask a = make_ask(0), b = make_ask(1);
    struct gate g;
    struct err err;
    struct answer got;
    struct engine_stream *s[ALL_OF], *refused = NULL;
    struct engine_stats st;
    gate_init(&g);
    g.hold_at = 1;
    expect(&b, NUM_F32);
    struct engine_request r = with_gate(&a, &g), more = request_of(&b);
    struct engine_stream *first = submit(e, &r);
    sem_wait(&g.arrived);
    for (int i = 0; i < ALL_OF; i++) {
        if (i == MINE) {
            assert_int_equal(engine_submit(e, &more, &refused, &err), ERR_BUSY);
            assert_non_null(strstr(err.msg, "6 of your requests"));
        }
        more.owner = who[i];
        s[i] = submit(e, &more);
    }
    assert_int_equal(engine_submit(e, &more, &refused, &err), ERR_BUSY); /* the last place */
    more.owner = 3;
    struct engine_stream *last = submit(e, &more);
    engine_cancel(last);
    engine_cancel(first);
    sem_post(&g.go);
    for (int i = 0; i < ALL_OF; i++) read_and_compare(s[i], &b);
    read_all(first, &got);
    read_all(last, &got);
    engine_stats(e, &st);
    assert_int_equal(st.refused, 2);
    assert_int_equal(st.queued, 0);
    more.owner = 1;
    read_and_compare(submit(e, &more), &b);
    engine_close(e);
}

static void stopping_ends_all(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 2, .batch_max = 2});
    struct ask a = make_ask(0);
    struct gate g;
    struct err err;
    struct answer got;
    struct engine_stream *s[4], *late = NULL;
    gate_init(&g);
    g.hold_at = 1;
    a.max_tokens = 50;
    struct engine_request r = with_gate(&a, &g), plain = request_of(&a);
    s[0] = submit(e, &r);
    sem_wait(&g.arrived);
    for (int i = 1; i < 4; i++) s[i] = submit(e, &plain);
    engine_stop(e);
    sem_post(&g.go);
    for (int i = 0; i < 4; i++) {
        read_all(s[i], &got);
        assert_int_equal(got.rc, ERR_CANCELLED);
        assert_non_null(strstr(got.err.msg, "stopped"));
    }
    assert_int_equal(engine_submit(e, &plain, &late, &err), ERR_CANCELLED);
    engine_close(e);
}

/* --- errors --- */

/* An adapter directory with one number of its factors replaced. */
static char *damaged_adapter(const char *name, float value) {
    struct err err;
    struct buf b;
    char *dir = path_join(unit_dir(), name), *from, *to;
    static const char *const files[] = {"adapter_config.json", "adapter_model.safetensors"};
    check(dir_make(dir, &err), &err);
    for (int i = 0; i < 2; i++) {
        buf_init(&b, (size_t)64 << 20);
        from = path_join(ALL, files[i]);
        to = path_join(dir, files[i]);
        check(file_read(from, &b, &err), &err);
        if (i == 1) memcpy(b.p + b.n - sizeof value, &value, sizeof value);
        check(file_write_atomic(to, buf_view(&b), &err), &err);
        buf_release(&b);
        mem_free(from);
        mem_free(to);
    }
    return dir;
}

static void a_damaged_adapter_fails_alone(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 2});
    struct ask a[3], bad = make_ask(1);
    struct engine_stream *s[3];
    struct answer got;
    struct engine_stats st;
    char *dir = damaged_adapter("damaged", NAN);
    bad.adapter = dir;
    for (int i = 0; i < 3; i++) {
        a[i] = make_ask(i);
        expect(&a[i], NUM_F32);
    }
    struct engine_stream *f = ask(e, &bad);
    for (int i = 0; i < 3; i++) s[i] = ask(e, &a[i]);
    read_all(f, &got);
    assert_int_equal(got.rc, ERR_INVALID);
    assert_non_null(strstr(got.err.msg, "not finite"));
    assert_non_null(strstr(got.err.msg, dir));
    for (int i = 0; i < 3; i++) read_and_compare(s[i], &a[i]);
    engine_stats(e, &st);
    assert_int_equal(st.failed, 1);
    engine_close(e);
    mem_free(dir);
}

static void what_is_forgotten_is_loaded_anew(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 1});
    struct ask a = make_ask(1), good = a;
    struct answer got;
    struct engine_stats st;
    char *dir = damaged_adapter("changes", INFINITY), *file;
    a.adapter = dir;
    read_all(ask(e, &a), &got);
    assert_int_equal(got.rc, ERR_INVALID);
    struct err err;
    struct buf b;
    buf_init(&b, (size_t)64 << 20);
    check(file_read(ALL "/adapter_model.safetensors", &b, &err), &err);
    file = path_join(dir, "adapter_model.safetensors");
    check(file_write_atomic(file, buf_view(&b), &err), &err);
    buf_release(&b);
    read_all(ask(e, &a), &got);
    assert_int_equal(got.rc, ERR_INVALID); /* kept */
    engine_forget(e, dir);
    good.adapter = ALL;
    expect(&good, NUM_F32);
    memcpy(a.answer, good.answer, sizeof a.answer);
    a.count = good.count;
    read_and_compare(ask(e, &a), &a);
    engine_forget(e, LLAMA);
    read_and_compare(ask(e, &a), &a); /* the old one is closed meanwhile */
    engine_stats(e, &st);
    assert_int_equal(st.models, 1);
    engine_close(e);
    mem_free(file);
    mem_free(dir);
}

/* models come and go, and nothing was ever asked */
static void an_engine_without_requests_ends(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 1});
    const struct model *m;
    struct err err;
    if (engine_model_acquire(e, LLAMA, &m, &err)) fail_msg("%s", err.msg);
    engine_model_release(e, m);
    engine_forget(e, LLAMA);
    engine_close(e);
}

static void requests_that_cannot_be_met_are_refused(void **state) {
    (void)state;
    struct engine *e = open_engine((struct engine_options){.threads = 1, .context_max = 150});
    struct ask a = make_ask(0);
    struct err err;
    struct answer got;
    struct engine_stream *s = NULL;
    struct engine_request r = request_of(&a);
    r.prompt_count = 150;
    assert_int_equal(engine_submit(e, &r, &s, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "150 tokens; 149 fit"));
    r.prompt_count = 140;
    r.max_tokens = -1;
    r.ignore_stops = true;
    read_all(submit(e, &r), &got); /* to the end of the context */
    assert_int_equal(got.count, 10);
    assert_int_equal(got.end.finish, FINISH_LENGTH);
    r.prompt_count = 0;
    assert_int_equal(engine_submit(e, &r, &s, &err), ERR_INVALID);
    r = request_of(&a);
    a.prompt[1] = 99999;
    assert_int_equal(engine_submit(e, &r, &s, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "token 1 has id 99999"));
    a = make_ask(0);
    r.sampling.temperature = -1;
    assert_int_equal(engine_submit(e, &r, &s, &err), ERR_INVALID);
    r = request_of(&a);
    r.top = 21;
    assert_int_equal(engine_submit(e, &r, &s, &err), ERR_INVALID);
    r = request_of(&a);
    r.model = unit_dir();
    assert_int_equal(engine_submit(e, &r, &s, &err), ERR_NOT_FOUND);
    r = request_of(&a);
    r.adapter = unit_dir();
    assert_true(engine_submit(e, &r, &s, &err) < 0);
    assert_null(s);
    engine_close(e);
    assert_int_equal(engine_open(&(struct engine_options){.batch_max = -1}, &e, &err), ERR_INVALID);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static void memory_bounds_models_and_requests(void **state) {
    (void)state;
    struct err err;
    struct ask a = make_ask(0), b = make_ask(2);
    const struct model *held = NULL, *second = NULL;
    struct engine_stats st;
    struct engine_stream *s = NULL;
    struct answer got;
    struct sizes l = sizes_of(LLAMA, 1), q = sizes_of(QWEN, 1);
    struct engine *e = open_engine(
        (struct engine_options){.threads = 1,
                                .batch_max = 1,
                                .memory_bytes = larger(l.weights, q.weights) + 2 * l.position});
    check(engine_model_acquire(e, LLAMA, &held, &err), &err);
    assert_non_null(model_config(held));
    assert_int_equal(engine_model_acquire(e, QWEN, &second, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "in use by models"));
    struct engine_request r = request_of(&a);
    assert_int_equal(engine_submit(e, &r, &s, &err), ERR_LIMIT); /* not a few tokens fit */
    r.prompt_count = 1;
    r.max_tokens = 1;
    read_all(submit(e, &r), &got); /* they would, but for the scratch memory */
    assert_int_equal(got.rc, ERR_LIMIT);
    assert_non_null(strstr(got.err.msg, "memory budget"));
    engine_model_release(e, held);
    engine_close(e);
    /* one of them and a request at a time: the other goes */
    size_t room =
        larger(l.weights + l.scratch, q.weights + q.scratch) + 256 * larger(l.position, q.position);
    e = open_engine((struct engine_options){.threads = 1, .batch_max = 1, .memory_bytes = room});
    b.model = QWEN;
    b.adapter = NULL;
    expect(&a, NUM_F32);
    expect(&b, NUM_F32);
    for (int i = 0; i < 2; i++) {
        read_and_compare(ask(e, &a), &a);
        read_and_compare(ask(e, &b), &b);
    }
    engine_stats(e, &st);
    assert_true(st.model_evictions >= 3);
    engine_close(e);
}

static void count_warning(void *ctx, const char *text) {
    if (strstr(text, "the weights of")) ++*(int *)ctx;
}

/* when it is loaded, not with every request */
static void an_adapter_of_another_base_is_told_once(void **state) {
    (void)state;
    int warnings = 0;
    char *dir = path_join(unit_dir(), "of_another");
    adapter_with_hashes(ALL, dir, OTHER_HASH);
    struct engine *e = open_engine(
        (struct engine_options){.threads = 1, .warn = count_warning, .warn_ctx = &warnings});
    struct ask a = make_ask(1), other = make_ask(2);
    a.adapter = dir;
    expect(&a, NUM_F32);
    expect(&other, NUM_F32);
    read_and_compare(ask(e, &other), &other);
    assert_int_equal(warnings, 0);
    read_and_compare(ask(e, &a), &a);
    read_and_compare(ask(e, &a), &a);
    assert_int_equal(warnings, 1);
    engine_close(e);
    mem_free(dir);
}

/* --- many threads --- */

struct client {
    struct engine *e;
    const struct ask *lot;
    int first;
    pthread_t thread;
    int failures;
};

/* Plain C and counters: assertions belong to the main thread. */
static void *client_run(void *arg) {
    struct client *c = arg;
    for (int i = 0; i < 6; i++) {
        const struct ask *a = &c->lot[(c->first + 5 * i) % LOT];
        struct engine_request r = request_of(a);
        struct engine_stream *s = NULL;
        struct engine_event ev;
        struct err err;
        const struct model *m = NULL;
        int64_t n = 0;
        if (engine_model_acquire(c->e, a->model, &m, &err) != 0) c->failures++;
        if (engine_submit(c->e, &r, &s, &err) != 0) {
            c->failures++;
            continue;
        }
        do {
            if (engine_next(s, 50, &ev, &err) != 0) {
                c->failures++;
                break;
            }
            for (int64_t k = 0; k < (ev.kind == ENGINE_TOKENS ? ev.count : 0); k++, n++)
                c->failures += ev.tokens[k].id != a->answer[n];
            if (i == 3 && n > 1) break; /* goes away */
        } while (ev.kind != ENGINE_END);
        engine_stream_close(s);
        if (i == 4) engine_forget(c->e, ALL);
        engine_model_release(c->e, m);
    }
    return NULL;
}

static void many_threads_get_their_own_tokens(void **state) {
    (void)state;
    static struct ask lot[LOT];
    struct client clients[8];
    for (int i = 0; i < LOT; i++) {
        lot[i] = make_ask(i);
        expect(&lot[i], NUM_F32);
    }
    struct engine *e = open_engine((struct engine_options){.threads = 2, .batch_max = 5});
    for (int i = 0; i < 8; i++) {
        clients[i] = (struct client){.e = e, .lot = lot, .first = i};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].failures, 0);
    }
    engine_close(e);
}

UNIT_TESTS(infer_engine, cmocka_unit_test(tokens_are_the_same_alone_and_in_any_company),
           cmocka_unit_test(models_share_an_engine),
           cmocka_unit_test(a_cached_beginning_changes_no_token),
           cmocka_unit_test(choices_read_their_prompt_once),
           cmocka_unit_test(short_memory_changes_no_token),
           cmocka_unit_test(logprobs_are_the_models_own),
           cmocka_unit_test(a_filter_decides_what_comes),
           cmocka_unit_test(a_full_queue_says_so_and_cancelling_frees),
           cmocka_unit_test(a_flood_does_not_starve_another_owner),
           cmocka_unit_test(one_owner_does_not_fill_the_queue),
           cmocka_unit_test(an_adapter_of_another_base_is_told_once),
           cmocka_unit_test(stopping_ends_all), cmocka_unit_test(a_damaged_adapter_fails_alone),
           cmocka_unit_test(what_is_forgotten_is_loaded_anew),
           cmocka_unit_test(an_engine_without_requests_ends),
           cmocka_unit_test(requests_that_cannot_be_met_are_refused),
           cmocka_unit_test(memory_bounds_models_and_requests),
           cmocka_unit_test(many_threads_get_their_own_tokens))
