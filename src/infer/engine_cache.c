/* Memory of sessions, and the beginnings that are kept.
 *
 * A session of a request that ended stays, under its model and adapter. A new request takes the one
 * with the longest common beginning: whole, when all of it is wanted (the next turn of a chat),
 * else a copy of the beginning (a system prompt shared by many), which may also come from a session
 * that still runs. Copying a position moves kilobytes; computing it reads all weights.
 *
 * Bits do not depend on any of this: a row's keys and values are the same however many rows came
 * with it, and on the worker's one arithmetic path.
 *
 * When memory is short: cached sessions go, the longest unused first, then adapters and models
 * without requests. What then does not fit is for engine_step.c to decide.
 */
#include "infer/engine_int.h"

#include "base/mem.h"

#include <string.h>

#define AHEAD 128 /* positions a session has room for beyond its tokens */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static size_t bytes_used(struct engine *e) {
    pthread_mutex_lock(&e->lock);
    size_t held = e->held_bytes;
    pthread_mutex_unlock(&e->lock);
    return held + e->session_bytes + e->scratch_bytes;
}

/* --- entries --- */

static void remove_at(struct engine *e, int i) {
    e->cached_bytes -= session_bytes(e->cache[i].session);
    e->cache[i] = e->cache[--e->cache_count];
}

static void drop_session(struct engine *e, struct session *s) {
    e->session_bytes -= session_bytes(s);
    session_close(s);
}

static bool evict(struct engine *e, const struct session *keep) {
    int oldest = -1;
    for (int i = 0; i < e->cache_count; i++)
        if (e->cache[i].session != keep && (oldest < 0 || e->cache[i].used < e->cache[oldest].used))
            oldest = i;
    if (oldest < 0) return false;
    struct session *s = e->cache[oldest].session;
    remove_at(e, oldest);
    drop_session(e, s);
    e->stats.cache_evictions++;
    return true;
}

bool cache_make_room(struct engine *e, size_t bytes, const struct session *keep) {
    while (bytes_used(e) + bytes > e->o.memory_bytes)
        if (!evict(e, keep) && !models_sweep(e, true)) return false;
    return true;
}

void cache_drop(struct engine *e, const struct held_model *m, const struct held_adapter *a) {
    for (int i = e->cache_count - 1; i >= 0; i--) {
        struct cached *c = &e->cache[i];
        if (c->model != m || (a && c->adapter != a)) continue;
        struct session *s = c->session;
        remove_at(e, i);
        drop_session(e, s);
    }
}

static int64_t common(const int32_t *a, int64_t n, const int32_t *b, int64_t m) {
    int64_t at = 0, end = min64(n, m);
    while (at < end && a[at] == b[at]) at++;
    return at;
}

static bool same_key(const struct engine_stream *s, const struct held_model *m,
                     const struct held_adapter *a) {
    return s->model == m && s->adapter == a;
}

void cache_put(struct engine *e, struct engine_stream *s, bool keep) {
    struct session *session = s->session;
    s->session = NULL;
    if (!session) return;
    int64_t n = session_length(session);
    if (n < CACHE_MIN || s->model->stale || (s->adapter && s->adapter->stale)) keep = false;
    for (int i = e->cache_count - 1; keep && i >= 0; i--) {
        struct cached *c = &e->cache[i];
        if (!same_key(s, c->model, c->adapter)) continue;
        int64_t have = session_length(c->session);
        if (common(session_ids(session), n, session_ids(c->session), have) < min64(n, have))
            continue;
        if (n <= have) { /* the cached one is longer, or the same */
            c->used = ++e->cache_clock;
            keep = false;
        } else {
            struct session *shorter = c->session;
            remove_at(e, i);
            drop_session(e, shorter);
        }
    }
    if (!keep) {
        drop_session(e, session);
        return;
    }
    if (e->cache_count == CACHE_MAX) evict(e, NULL);
    e->cache[e->cache_count++] = (struct cached){session, s->model, s->adapter, ++e->cache_clock};
    e->cached_bytes += session_bytes(session);
}

/* --- a beginning for a stream --- */

struct source {
    struct session *session; /* NULL: none worth it */
    int64_t length;
    int entry; /* of the cache; -1: runs */
};

/* How much of a beginning is of use: the last token is always computed, for its logits, and so is
 * every row whose log-probabilities are yet to be told. */
static int64_t usable(const struct engine_stream *s) {
    bool scoring = s->prompt_logprobs && s->scored < s->prompt_count - 1;
    return scoring ? min64(s->scored, s->count - 1) : s->count - 1;
}

static struct source find(const struct engine *e, const struct engine_stream *s) {
    struct source best = {.entry = -1};
    int64_t most = usable(s);
    for (int i = 0; i < e->cache_count + e->running_count; i++) {
        bool runs = i >= e->cache_count;
        const struct cached *c = &e->cache[i];
        const struct engine_stream *r = runs ? e->running[i - e->cache_count] : NULL;
        if (!same_key(s, runs ? r->model : c->model, runs ? r->adapter : c->adapter)) continue;
        struct session *from = runs ? r->session : c->session;
        int64_t n = common(session_ids(from), session_length(from), s->ids, most);
        if (n > best.length) best = (struct source){from, n, runs ? -1 : i};
    }
    if (best.length < CACHE_MIN) best = (struct source){.entry = -1};
    return best;
}

bool cache_worth_waiting(const struct engine *e, const struct engine_stream *s) {
    for (int i = 0; i < e->running_count; i++) {
        const struct engine_stream *r = e->running[i];
        if (!same_key(s, r->model, r->adapter)) continue;
        int64_t n = common(r->ids, r->count, s->ids, usable(s));
        if (n >= session_length(r->session) + CACHE_MIN) return true;
    }
    return false;
}

static int64_t wanted_room(const struct engine_stream *s) {
    return min64(s->limit, s->count + AHEAD);
}

static size_t missing_bytes(const struct engine_stream *s, const struct session *from) {
    size_t all = (size_t)wanted_room(s) * model_kv_bytes(s->model->m);
    size_t has = from ? session_bytes(from) : 0;
    return all > has ? all - has : 0;
}

static int enlarge(struct engine *e, struct session *s, int64_t positions, struct err *err) {
    size_t before = session_bytes(s);
    int rc = session_make_room(s, positions, err);
    e->session_bytes += session_bytes(s) - before;
    return rc;
}

static int take_whole(struct engine *e, struct engine_stream *s, const struct source *from,
                      struct err *err) {
    int i = 0;
    while (e->cache[i].session != from->session) i++; /* others may have gone meanwhile */
    remove_at(e, i);
    s->session = from->session;
    session_rewind(s->session, from->length);
    return enlarge(e, s->session, wanted_room(s), err);
}

static int take_copy(struct engine *e, struct engine_stream *s, const struct source *from,
                     struct err *err) {
    int rc = session_open(s->model->m, s->model->context, &s->session, err);
    if (rc) return rc;
    session_set_adapter(s->session, s->adapter ? s->adapter->a : NULL);
    rc = enlarge(e, s->session, wanted_room(s), err);
    if (!rc && from->session) rc = session_copy(s->session, from->session, from->length, err);
    return rc;
}

static void count_use(struct engine *e, struct engine_stream *s, const struct source *from) {
    if (from->entry >= 0)
        for (int i = 0; i < e->cache_count; i++)
            if (e->cache[i].session == from->session) e->cache[i].used = ++e->cache_clock;
    if (s->admitted) return;
    s->cached = min64(from->length, s->prompt_count);
    e->stats.cached_tokens += (uint64_t)s->cached;
    if (from->session)
        e->stats.cache_hits++;
    else
        e->stats.cache_misses++;
}

bool cache_start(struct engine *e, struct engine_stream *s, int *rc, struct err *err) {
    struct source from = find(e, s);
    bool cached = from.entry >= 0;
    bool whole = cached && from.length == session_length(from.session);
    if (!whole && !cache_make_room(e, missing_bytes(s, NULL), from.session)) {
        if (!cached) return false;
        whole = true; /* no room for a copy beside it */
    }
    if (whole && !cache_make_room(e, missing_bytes(s, from.session), from.session)) return false;
    count_use(e, s, &from);
    *rc = whole ? take_whole(e, s, &from, err) : take_copy(e, s, &from, err);
    if (*rc) cache_put(e, s, false);
    return true;
}

bool cache_grow(struct engine *e, struct engine_stream *s, int64_t positions, int *rc,
                struct err *err) {
    size_t one = model_kv_bytes(s->model->m);
    int64_t has = (int64_t)(session_bytes(s->session) / one);
    *rc = 0;
    if (positions <= has) return true;
    int64_t more = has / 2 > AHEAD ? has / 2 : AHEAD, room = min64(s->limit, has + more);
    if (room < positions) room = positions;
    if (!cache_make_room(e, (size_t)(room - has) * one, NULL)) return false;
    *rc = enlarge(e, s->session, room, err);
    return true;
}
