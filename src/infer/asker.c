#include "infer/asker.h"

#include "base/mem.h"
#include "data/conversation.h"
#include "infer/grammar_filter.h"
#include "infer/text_stream.h"
#include "infer/upstream.h"
#include "model/assets.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)64 << 20)
#define LOOK_MS 100 /* between two looks whether to stop */
#define THREADS_MAX 64

struct asker {
    struct asker_options o;
    const struct model *model; /* NULL: upstream */
    pthread_mutex_t lock;      /* guards vocab */
    struct grammar_vocab *vocab;
    const volatile sig_atomic_t *cancel;
};

int asker_open(const struct asker_options *o, struct asker **ret, struct err *err) {
    struct asker *a = mem_zalloc(1, sizeof *a);
    a->o = *o;
    pthread_mutex_init(&a->lock, NULL);
    int rc = o->url ? 0 : engine_model_acquire(o->engine, o->path, &a->model, err);
    if (rc)
        asker_close(a);
    else
        *ret = a;
    return rc;
}

void asker_close(struct asker *a) {
    if (!a) return;
    grammar_vocab_free(a->vocab);
    if (a->model) engine_model_release(a->o.engine, a->model);
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}

void answer_release(struct answer *a) {
    mem_free(a->text);
    *a = (struct answer){0};
}

/* --- local: the prompt --- */

static int prompt_ids(const struct asker *a, const struct question *q, struct token_list *ids,
                      struct err *err) {
    const struct tokenizer *t = model_tokenizer(a->model);
    if (!q->messages) return tokenizer_encode(t, q->prompt, true, ids, err);
    struct buf text;
    json_t *vars = json_object(), *list = json_array();
    for (size_t i = 0; i < json_array_size(q->messages); i++)
        json_array_append_new(list, conversation_message(json_array_get(q->messages, i)));
    json_object_set_new(vars, "messages", list);
    if (q->tools) json_object_set(vars, "tools", (json_t *)q->tools);
    buf_init(&text, TEXT_MAX);
    int rc = assets_render(model_template(a->model), t, vars, true, &text, err);
    if (!rc) rc = tokenizer_encode(t, buf_view(&text), false, ids, err);
    buf_release(&text);
    json_decref(vars);
    return rc;
}

/* --- local: JSON of a schema --- */

static int filter_of(struct asker *a, const json_t *schema, struct engine_filter *ret,
                     struct err *err) {
    const struct model_config *config = model_config(a->model);
    struct grammar *g = NULL;
    int rc = grammar_compile(schema, &(struct grammar_options){.where = "schema"}, &g, NULL, err);
    if (rc) return rc;
    pthread_mutex_lock(&a->lock);
    if (!a->vocab)
        rc = grammar_vocab_new(model_tokenizer(a->model), config->stops, config->stop_count,
                               &a->vocab, err);
    pthread_mutex_unlock(&a->lock);
    if (!rc) rc = grammar_filter(g, a->vocab, ret, err);
    grammar_free(g);
    return rc;
}

/* --- local: the answer --- */

/* Set by a signal's handler or another thread. */
static bool is_cancelled(const struct asker *a) {
    return a->cancel && __atomic_load_n(a->cancel, __ATOMIC_RELAXED);
}

static int take_tokens(struct text_stream *stream, const struct engine_event *e, struct buf *text,
                       struct err *err) {
    int rc = 0;
    for (int64_t i = 0; !rc && i < e->count; i++) {
        struct str piece;
        rc = text_stream_add(stream, e->tokens[i].id, &piece, err);
        if (!rc) buf_str(text, piece);
    }
    return rc;
}

static int read_stream(const struct asker *a, struct engine_stream *s, struct text_stream *stream,
                       struct buf *text, struct answer *ret, struct err *err) {
    struct engine_event e = {0};
    struct str piece;
    int rc = 0;
    while (!rc && e.kind != ENGINE_END) {
        rc = engine_next(s, LOOK_MS, &e, err);
        if (!rc && e.kind == ENGINE_TOKENS) rc = take_tokens(stream, &e, text, err);
        if (is_cancelled(a)) engine_cancel(s);
    }
    if (!rc) rc = text_stream_end(stream, &piece, err);
    if (rc) return rc;
    buf_str(text, piece);
    if (e.finish == FINISH_CANCELLED) return err_set(err, ERR_CANCELLED, "cancelled");
    if (!buf_ok(text)) return err_set(err, ERR_LIMIT, "the answer is longer than 64 MiB");
    snprintf(ret->finish, sizeof ret->finish, "%s", finish_reason_name(e.finish));
    ret->prompt_tokens = e.prompt_tokens;
    ret->cached_tokens = e.cached_tokens;
    ret->completion_tokens = e.completion_tokens;
    ret->first_seconds = e.first_seconds;
    ret->seconds = e.seconds;
    return 0;
}

static int ask_engine(struct asker *a, const struct question *q, const struct token_list *ids,
                      struct buf *text, struct answer *ret, struct err *err) {
    struct engine_stream *s = NULL;
    struct text_stream stream;
    struct engine_request r = {.model = a->o.path,
                               .adapter = a->o.adapter,
                               .prompt = ids->ids,
                               .prompt_count = ids->n,
                               .max_tokens = q->max_tokens,
                               .sampling = {.temperature = q->temperature,
                                            .top_p = q->top_p > 0 ? q->top_p : 1,
                                            .seed = q->seed}};
    int rc = q->schema ? filter_of(a, q->schema, &r.filter, err) : 0;
    if (rc) return rc;
    rc = text_stream_init(&stream, model_tokenizer(a->model), true, ids->ids, ids->n, err);
    if (!rc) rc = engine_submit(a->o.engine, &r, &s, err);
    if (rc) grammar_filter_release(&r.filter);
    if (!rc) rc = read_stream(a, s, &stream, text, ret, err);
    engine_stream_close(s);
    text_stream_release(&stream);
    return rc;
}

static void ask_local(struct asker *a, const struct question *q, struct answer *ret) {
    struct token_list ids = {0};
    struct buf text;
    struct err err = {0};
    *ret = (struct answer){0};
    buf_init(&text, TEXT_MAX);
    int rc = prompt_ids(a, q, &ids, &err);
    if (!rc) rc = ask_engine(a, q, &ids, &text, ret, &err);
    ret->rc = rc;
    ret->err = err;
    if (!rc) {
        ret->n = text.n;
        ret->text = text.p ? buf_take(&text) : mem_strdup("");
    }
    buf_release(&text);
    token_list_release(&ids);
}

void asker_ask(struct asker *a, const struct question *q, struct answer *ret) {
    if (a->model) {
        ask_local(a, q, ret);
        return;
    }
    struct upstream u = {.url = a->o.url,
                         .model = a->o.model,
                         .key = a->o.key,
                         .timeout_seconds = a->o.timeout_seconds};
    upstream_ask(&u, q, a->cancel, ret);
}

/* --- many --- */

struct round {
    struct asker *a;
    const struct asker_events *events;
    pthread_mutex_t lock; /* guards next, rc, err, and calls of answered */
    int64_t next, n;
    int rc;
    struct err err;
};

static bool take(struct round *r, int64_t *ret) {
    pthread_mutex_lock(&r->lock);
    bool cancelled = is_cancelled(r->a);
    if (cancelled && !r->rc) r->rc = err_set(&r->err, ERR_CANCELLED, "cancelled");
    bool ok = !r->rc && r->next < r->n;
    if (ok) *ret = r->next++;
    pthread_mutex_unlock(&r->lock);
    return ok;
}

static void *ask_some(void *ctx) {
    struct round *r = ctx;
    int64_t i;
    while (take(r, &i)) {
        struct question q = {0};
        struct answer a = {0};
        struct err err = {0};
        int rc = r->events->question(r->events->ctx, i, &q, &err);
        if (!rc) asker_ask(r->a, &q, &a);
        pthread_mutex_lock(&r->lock);
        bool stopped = r->rc != 0 || (!rc && a.rc == ERR_CANCELLED);
        if (!rc && !stopped)
            rc = r->events->answered(r->events->ctx, i, &a, &err);
        else
            answer_release(&a);
        if (rc && !r->rc) {
            r->rc = rc;
            r->err = err;
        }
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

int asker_all(struct asker *a, int64_t n, int concurrency, const struct asker_events *events,
              const volatile sig_atomic_t *cancel, struct err *err) {
    struct round r = {.a = a, .events = events, .n = n};
    pthread_t threads[THREADS_MAX];
    int started = 0, want = concurrency < THREADS_MAX ? concurrency : THREADS_MAX;
    if (want > n) want = (int)n;
    a->cancel = cancel;
    pthread_mutex_init(&r.lock, NULL);
    while (started < want - 1 && pthread_create(&threads[started], NULL, ask_some, &r) == 0)
        started++;
    ask_some(&r);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&r.lock);
    a->cancel = NULL;
    if (r.rc) *err = r.err;
    return r.rc;
}
