/* Sessions, workspaces, and evaluation: lists of tokens cut into pieces that fit the workspace. */
#include "model/session_int.h"

#include "base/mem.h"
#include "num/loss.h"
#include "num/ops.h"

#include <assert.h>
#include <math.h>

#define PIECE_ROWS 512     /* rows of a session's own workspace: enough to keep the products busy */
#define CAPACITY_FIRST 256 /* positions a session has room for at once */

/* --- sessions ----------------------------------------------------------------------------------
 */

int64_t session_kv_dim(const struct session *s) {
    return s->model->config.kv_heads * s->model->config.head_dim;
}

float *session_keys(const struct session *s, int64_t layer) {
    return s->kv + layer * s->capacity * session_kv_dim(s);
}

float *session_values(const struct session *s, int64_t layer) {
    return s->kv + (s->model->config.layers + layer) * s->capacity * session_kv_dim(s);
}

static bool kv_floats(const struct model_config *c, int64_t positions, size_t *ret) {
    size_t n = (size_t)(2 * c->layers);
    return mul_size(n, (size_t)(c->kv_heads * c->head_dim), &n) &&
           mul_size(n, (size_t)positions, ret) && *ret <= SIZE_MAX / sizeof(float);
}

static int check_size(const struct model *m, int64_t max_tokens, struct err *err) {
    const struct model_config *c = &m->config;
    size_t floats;
    if (!m->layers) return err_set(err, ERR_USAGE, "\"%s\" was opened without weights", m->path);
    if (max_tokens < 1)
        return err_set(err, ERR_INVALID, "a session of %lld tokens", (long long)max_tokens);
    if (max_tokens > c->max_position)
        return err_set(
            err, ERR_LIMIT,
            "%lld tokens, but \"%s\" was made for %lld; shorten the text or ask for fewer",
            (long long)max_tokens, m->path, (long long)c->max_position);
    if (!kv_floats(c, max_tokens, &floats) || floats * sizeof(float) > mem_budget())
        return err_set(err, ERR_LIMIT,
                       "the keys and values of %lld tokens do not fit the %zu MiB there are",
                       (long long)max_tokens, mem_budget() >> 20);
    return 0;
}

static int make_rope(struct session *s, struct err *err) {
    const struct model *m = s->model;
    s->rope_cos = m->rope_cos;
    s->rope_sin = m->rope_sin;
    if (s->max_tokens <= m->rope_positions) return 0;
    size_t n = (size_t)(s->max_tokens * (m->config.head_dim / 2));
    int rc = mem_try(2 * n, sizeof(float), "rotary tables", (void **)&s->own_rope, err);
    if (rc) return rc;
    s->rope_cos = s->own_rope;
    s->rope_sin = s->own_rope + n;
    rope_tables(&m->config, s->max_tokens, s->rope_cos, s->rope_sin);
    return 0;
}

int session_open(const struct model *m, int64_t max_tokens, struct session **ret, struct err *err) {
    int rc = check_size(m, max_tokens, err);
    if (rc) return rc;
    struct session *s = mem_zalloc(1, sizeof *s);
    s->model = m;
    s->max_tokens = max_tokens;
    rc = mem_try((size_t)max_tokens, sizeof *s->ids, "session", (void **)&s->ids, err);
    if (!rc) rc = make_rope(s, err);
    if (rc) {
        session_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void session_close(struct session *s) {
    if (!s) return;
    workspace_close(s->own_work);
    mem_free(s->own_rope);
    mem_free(s->ids);
    mem_free(s->kv);
    mem_free(s);
}

static int set_capacity(struct session *s, int64_t capacity, struct err *err) {
    struct session grown = *s;
    size_t floats;
    if (!kv_floats(&s->model->config, capacity, &floats))
        return err_set(err, ERR_LIMIT, "keys and values of %lld tokens", (long long)capacity);
    int rc = mem_try(floats, sizeof(float), "keys and values", (void **)&grown.kv, err);
    if (rc) return rc;
    grown.capacity = capacity;
    size_t bytes = (size_t)(s->length * session_kv_dim(s)) * sizeof(float);
    for (int64_t i = 0; bytes && i < s->model->config.layers; i++) {
        memcpy(session_keys(&grown, i), session_keys(s, i), bytes);
        memcpy(session_values(&grown, i), session_values(s, i), bytes);
    }
    mem_free(s->kv);
    *s = grown;
    return 0;
}

int session_reserve(struct session *s, int64_t length, struct err *err) {
    if (length <= s->capacity) return 0;
    int64_t capacity = s->capacity ? s->capacity : CAPACITY_FIRST;
    while (capacity < length) capacity *= 2;
    return set_capacity(s, capacity < s->max_tokens ? capacity : s->max_tokens, err);
}

int session_make_room(struct session *s, int64_t positions, struct err *err) {
    if (positions <= s->capacity) return 0;
    if (positions > s->max_tokens)
        return err_set(err, ERR_LIMIT, "%lld positions in a session made for %lld",
                       (long long)positions, (long long)s->max_tokens);
    return set_capacity(s, positions, err);
}

size_t session_bytes(const struct session *s) {
    return (size_t)s->capacity * model_kv_bytes(s->model);
}

int session_copy(struct session *to, const struct session *from, int64_t n, struct err *err) {
    assert(to->model == from->model && n >= 0 && n <= from->length && to != from);
    to->length = 0;
    int rc = session_make_room(to, n, err);
    if (rc) return rc;
    size_t bytes = (size_t)(n * session_kv_dim(to)) * sizeof(float);
    for (int64_t i = 0; bytes && i < to->model->config.layers; i++) {
        memcpy(session_keys(to, i), session_keys(from, i), bytes);
        memcpy(session_values(to, i), session_values(from, i), bytes);
    }
    memcpy(to->ids, from->ids, (size_t)n * sizeof *to->ids);
    to->adapter = from->adapter;
    to->length = n;
    return 0;
}

void session_set_adapter(struct session *s, const struct adapter *a) {
    if (s->adapter == a) return;
    s->adapter = a;
    s->length = 0;
}

int64_t session_length(const struct session *s) { return s->length; }
int64_t session_max(const struct session *s) { return s->max_tokens; }
const int32_t *session_ids(const struct session *s) { return s->ids; }
const struct model *session_model(const struct session *s) { return s->model; }

void session_rewind(struct session *s, int64_t length) {
    assert(length >= 0 && length <= s->length);
    s->length = length;
}

/* --- workspaces --------------------------------------------------------------------------------
 */

static size_t row_floats(const struct model_config *c) {
    return (size_t)(2 * c->dim + 2 * c->heads * c->head_dim + 2 * c->kv_heads * c->head_dim +
                    2 * c->ff);
}

static float *take(char **at, int64_t count, int64_t width) {
    float *p = (float *)(void *)*at;
    *at += ((size_t)(count * width) * sizeof(float) + 63) & ~(size_t)63;
    return p;
}

static void lay_out(struct workspace *w) {
    const struct model_config *c = &w->model->config;
    char *at = w->block;
    w->x = take(&at, w->rows, c->dim);
    w->h = take(&at, w->rows, c->dim);
    w->q = take(&at, w->rows, c->heads * c->head_dim);
    w->att = take(&at, w->rows, c->heads * c->head_dim);
    w->k = take(&at, w->rows, c->kv_heads * c->head_dim);
    w->v = take(&at, w->rows, c->kv_heads * c->head_dim);
    w->gate = take(&at, w->rows, c->ff);
    w->up = take(&at, w->rows, c->ff);
    w->out = take(&at, w->outputs, c->dim);
    assert((size_t)(at - (char *)w->block) <= w->block_bytes);
}

int workspace_open(const struct model *m, int64_t rows, int64_t outputs, struct workspace **ret,
                   struct err *err) {
    const struct model_config *c = &m->config;
    size_t floats, last, bytes;
    if (rows < 1 || outputs < 1 || !mul_size((size_t)rows, row_floats(c), &floats) ||
        !mul_size((size_t)outputs, (size_t)c->dim, &last) || !add_size(floats, last, &floats) ||
        !mul_size(floats, sizeof(float), &bytes) || !add_size(bytes, 9 * 64, &bytes))
        return err_set(err, ERR_LIMIT, "a batch of %lld tokens", (long long)rows);
    struct workspace *w = mem_zalloc(1, sizeof *w);
    w->model = m;
    w->rows = rows;
    w->outputs = outputs;
    w->block_bytes = bytes;
    int rc = mem_try((size_t)rows, sizeof *w->pieces, "batch", (void **)&w->pieces, err);
    if (!rc) rc = mem_try((size_t)rows, sizeof *w->spans, "batch", (void **)&w->spans, err);
    if (!rc) rc = mem_try((size_t)rows, sizeof *w->position, "batch", (void **)&w->position, err);
    if (!rc)
        rc = mem_try((size_t)(PRODUCTS * (rows + 1)), sizeof *w->products, "batch",
                     (void **)&w->products, err);
    if (!rc) rc = mem_block_open(bytes, "activations", &w->block, err);
    if (rc) {
        workspace_close(w);
        return rc;
    }
    lay_out(w);
    *ret = w;
    return 0;
}

size_t workspace_bytes(const struct workspace *w) {
    return w->block_bytes + (size_t)(PRODUCTS * w->rows * w->low_rank) * sizeof(float);
}

void workspace_close(struct workspace *w) {
    if (!w) return;
    if (w->block) mem_block_close(w->block, w->block_bytes);
    mem_free(w->low);
    mem_free(w->products);
    mem_free(w->position);
    mem_free(w->spans);
    mem_free(w->pieces);
    mem_free(w);
}

/* --- evaluation --------------------------------------------------------------------------------
 */

static int check_ids(const struct session *s, const int32_t *ids, int64_t n, struct err *err) {
    int64_t vocab = s->model->config.vocab;
    if (n < 0 || n > s->max_tokens - s->length)
        return err_set(err, ERR_LIMIT, "%lld tokens after %lld, but the session has room for %lld",
                       (long long)n, (long long)s->length, (long long)s->max_tokens);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return err_set(err, ERR_INVALID,
                           "token %lld has id %d, but the model knows ids below %lld only",
                           (long long)i, ids[i], (long long)vocab);
    return 0;
}

static int reserve_low_rank(struct workspace *w, const struct adapter *a, struct err *err) {
    if (!a || a->rank <= w->low_rank) return 0;
    float *low = NULL;
    int rc = mem_try((size_t)(PRODUCTS * w->rows * a->rank), sizeof *low, "low-rank scratch",
                     (void **)&low, err);
    if (rc) return rc;
    mem_free(w->low);
    w->low = low;
    w->low_rank = a->rank;
    return 0;
}

/* room for everything, before anything changes */
static int prepare(struct workspace *w, const struct eval_item *items, int64_t count,
                   struct err *err) {
    int64_t outputs = 0;
    int rc = 0;
    for (int64_t i = 0; !rc && i < count; i++) {
        assert(items[i].session->model == w->model);
        rc = check_ids(items[i].session, items[i].ids, items[i].n, err);
        if (!rc && (items[i].want_logits < 0 || items[i].want_logits > items[i].n))
            rc = err_set(err, ERR_INVALID, "logits of %lld rows, but there are %lld tokens",
                         (long long)items[i].want_logits, (long long)items[i].n);
        outputs += items[i].want_logits;
    }
    if (!rc && outputs > w->outputs)
        rc = err_set(err, ERR_LIMIT, "%lld outputs in a batch made for %lld", (long long)outputs,
                     (long long)w->outputs);
    for (int64_t i = 0; !rc && i < count; i++) {
        rc = session_reserve(items[i].session, items[i].session->length + items[i].n, err);
        if (!rc) rc = reserve_low_rank(w, items[i].session->adapter, err);
    }
    return rc;
}

/* the next pieces from item *item, offset *at on; as many as fit */
static int64_t cut_pieces(struct workspace *w, const struct eval_item *items, int64_t count,
                          int64_t *item, int64_t *at) {
    int64_t pieces = 0, room = w->rows;
    while (*item < count && room > 0) {
        const struct eval_item *it = &items[*item];
        int64_t left = it->n - *at, n = left < room ? left : room;
        int64_t want = it->want_logits - (left - n); /* of what is wanted, rows in this piece */
        if (want > n) want = n;
        if (n > 0)
            w->pieces[pieces++] = (struct piece){
                .session = it->session, .ids = it->ids + *at, .n = n, .want = want > 0 ? want : 0};
        room -= n;
        *at += n;
        if (n < left) break;
        *at = 0;
        ++*item;
    }
    return pieces;
}

static bool all_finite(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

int session_not_finite(const struct session *s, struct err *err) {
    const struct adapter *a = s->adapter;
    return err_set(err, ERR_INVALID,
                   "\"%s\"%s%s%s gives numbers that are not finite: its weights are damaged or too "
                   "large; fetch or train it again",
                   s->model->path, a ? " with adapter \"" : "", a ? a->path : "", a ? "\"" : "");
}

static int check_logits(const struct eval_item *items, int64_t count, const float *logits,
                        struct err *err) {
    int rc = 0;
    for (int64_t i = 0; !rc && i < count; i++) {
        int64_t vocab = items[i].session->model->config.vocab, n = items[i].want_logits * vocab;
        if (!all_finite(logits, n)) rc = session_not_finite(items[i].session, err);
        logits += n;
    }
    for (int64_t i = 0; rc && i < count; i++) items[i].session->length -= items[i].n;
    return rc;
}

int session_eval_rows(struct workspace *w, struct num *num, const struct eval_item *items,
                      int64_t count, float *logits, struct err *err) {
    int64_t dim = w->model->config.dim, item = 0, at = 0, outputs = 0;
    int rc = prepare(w, items, count, err);
    if (rc) return rc;
    while (item < count) {
        int64_t pieces = cut_pieces(w, items, count, &item, &at);
        forward_layers(w, num, pieces);
        for (int64_t i = 0; i < pieces; i++) {
            const struct piece *p = &w->pieces[i];
            memcpy(w->out + outputs * dim, w->x + (p->row + p->n - p->want) * dim,
                   (size_t)(p->want * dim) * sizeof(float));
            outputs += p->want;
        }
    }
    if (!outputs) return 0;
    forward_norm(w, num, w->out, w->out, outputs);
    forward_head(w, num, logits, w->out, outputs);
    return 0;
}

int session_eval_batch(struct workspace *w, struct num *num, const struct eval_item *items,
                       int64_t count, float *logits, struct err *err) {
    int rc = session_eval_rows(w, num, items, count, logits, err);
    return rc ? rc : check_logits(items, count, logits, err);
}

static int own_workspace(struct session *s, struct err *err) {
    if (s->own_work) return 0;
    int64_t rows = s->max_tokens < PIECE_ROWS ? s->max_tokens : PIECE_ROWS;
    return workspace_open(s->model, rows, 1, &s->own_work, err);
}

int session_eval(struct session *s, struct num *num, const int32_t *ids, int64_t n, float *logits,
                 struct err *err) {
    struct eval_item item = {.session = s, .ids = ids, .n = n, .want_logits = logits != NULL};
    int rc = own_workspace(s, err);
    if (rc) return rc;
    return session_eval_batch(s->own_work, num, &item, 1, logits, err);
}

int session_score(struct session *s, struct num *num, const int32_t *ids, int64_t n,
                  const int32_t *next, float *logprob, struct err *err) {
    struct eval_item item = {.session = s, .ids = ids, .n = n};
    int64_t at = 0, index = 0, vocab = s->model->config.vocab;
    int rc = own_workspace(s, err);
    struct workspace *w = s->own_work;
    if (!rc) rc = prepare(w, &item, 1, err);
    for (int64_t i = 0; !rc && i < n; i++)
        if (next[i] < 0 || next[i] >= vocab)
            rc = err_set(err, ERR_INVALID, "id %d is outside the vocabulary of %lld", next[i],
                         (long long)vocab);
    while (!rc && index < 1) {
        int64_t from = at;
        if (!cut_pieces(w, &item, 1, &index, &at)) break;
        int64_t rows = w->pieces[0].n;
        forward_layers(w, num, 1);
        forward_norm(w, num, w->h, w->x, rows);
        struct loss loss = {.rows = rows,
                            .dim = w->model->config.dim,
                            .vocab = vocab,
                            .hidden = w->h,
                            .head = w->model->head,
                            .target = next + from,
                            .nll = logprob + from};
        loss_run(num, &loss);
        for (int64_t i = 0; i < rows; i++) logprob[from + i] = -logprob[from + i];
        if (!all_finite(logprob + from, rows)) rc = session_not_finite(s, err);
    }
    return rc;
}
