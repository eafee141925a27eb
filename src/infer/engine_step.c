/* One step of the worker: who gets a place, which rows go into the pass over the weights, and what
 * becomes of the logits.
 *
 * A pass holds one row for every request that is generating, and of prompts as many rows as keep it
 * short: PASS_SECONDS when others wait for their next token, IDLE_SECONDS when none does (so that a
 * cancelled request and a new one do not wait long either), by the speed measured so far. Below
 * ROWS_MIN a row costs more than its share of reading the weights; above ROWS_MAX nothing is
 * gained. Prompts divide these rows evenly: a short one is soon through beside a long one. Tokens
 * do not depend on any of it.
 *
 * A place goes to whose owner has the fewest, then by arrival. A request whose memory cannot grow
 * takes it from the youngest: that one waits again and later reads its tokens once more, with the
 * same result; engine_stats counts it. The oldest is never stopped, so all end.
 */
#include "infer/engine_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "num/ops.h"

#include <math.h>
#include <string.h>

#define ROWS_MIN 32
#define ROWS_FIRST 64 /* while the speed is not known */
#define ROWS_MAX 512
#define SHARE_MIN 16 /* rows of one prompt in a pass */
#define PASS_SECONDS 0.1
#define IDLE_SECONDS 0.5

struct plan {
    struct engine_stream *s;
    int64_t n, want;
};

struct task {
    struct engine_stream *s;
    float *logits;
    int64_t row; /* position of the token the logits come after */
    bool picks;  /* else: the prompt's next token is known */
    struct engine_token token;
    struct token_logprob top[ENGINE_TOP_MAX];
    struct err err; /* code 0: none */
};

int step_open(struct engine *e, struct err *err) {
    size_t n = (size_t)e->o.batch_max;
    int rc = mem_try(n + SCORE_ROWS, sizeof *e->tasks, "batch", (void **)&e->tasks, err);
    if (!rc) rc = mem_try(n, sizeof *e->plan, "batch", (void **)&e->plan, err);
    if (!rc) rc = mem_try(n, sizeof *e->items, "batch", (void **)&e->items, err);
    if (!rc) rc = mem_try(n, sizeof *e->now, "batch", (void **)&e->now, err);
    return rc;
}

void step_close(struct engine *e) {
    mem_free(e->tasks);
    mem_free(e->plan);
    mem_free(e->items);
    mem_free(e->now);
}

static int64_t length(const struct engine_stream *s) { return session_length(s->session); }
static int64_t pending(const struct engine_stream *s) { return s->count - length(s); }

/* --- the end of a stream --- */

static void remove_running(struct engine *e, struct engine_stream *s) {
    int i = 0;
    while (e->running[i] != s) i++;
    memmove(e->running + i, e->running + i + 1,
            (size_t)(e->running_count - i - 1) * sizeof(struct engine_stream *));
    e->running_count--;
}

void step_end(struct engine *e, struct engine_stream *s, enum finish_reason finish,
              const struct err *error) {
    bool ran = s->session != NULL;
    if (ran) {
        remove_running(e, s);
        cache_put(e, s, !error);
    }
    if (error)
        e->stats.failed++;
    else if (finish == FINISH_CANCELLED)
        e->stats.cancelled++;
    else
        e->stats.finished++;
    double seconds = (double)(clock_ns() - s->arrived) * 1e-9;
    histogram_add(&e->stats.finish_seconds, engine_second_bounds, seconds);
    if (ran) {
        pthread_mutex_lock(&e->lock);
        double mine = (double)(clock_ns() - s->started) * 1e-9;
        e->mean_seconds += (mine - e->mean_seconds) / 8;
        pthread_mutex_unlock(&e->lock);
    }
    stats_show(e);
    stream_finish(e, s, finish, error);
}

/* --- places --- */

static int places_of(const struct engine *e, uint64_t owner) {
    int n = 0;
    for (int i = 0; i < e->running_count; i++) n += e->running[i]->owner == owner;
    return n;
}

/* Whose turn it is; -1: nobody's now. Those that had a place before come first. */
static int64_t choose(const struct engine *e) {
    int64_t best = -1;
    int fewest = 0;
    for (size_t i = 0; i < e->waiting_count; i++) {
        const struct engine_stream *s = e->waiting[i];
        int places = s->admitted ? -1 : places_of(e, s->owner);
        bool earlier = best >= 0 && places == fewest && s->order < e->waiting[best]->order;
        if (best >= 0 && places >= fewest && !earlier) continue;
        if (cache_worth_waiting(e, s)) continue;
        best = (int64_t)i;
        fewest = places;
    }
    return best;
}

void step_forget_waiting(struct engine *e, size_t i) {
    uint64_t owner = e->waiting[i]->owner;
    memmove(e->waiting + i, e->waiting + i + 1,
            (e->waiting_count - i - 1) * sizeof(struct engine_stream *));
    e->waiting_count--;
    pthread_mutex_lock(&e->lock);
    queue_take(e, owner);
    pthread_mutex_unlock(&e->lock);
}

/* activations and logits of a model's passes; false: no memory now */
static bool open_scratch(struct engine *e, struct held_model *m, int *rc, struct err *err) {
    int64_t outputs = e->o.batch_max + SCORE_ROWS, vocab = model_config(m->m)->vocab;
    struct workspace *w = NULL;
    *rc = 0;
    if (m->work) return true;
    size_t logits = (size_t)(outputs * vocab) * sizeof(float);
    *rc = workspace_open(m->m, e->o.batch_max + ROWS_MAX, outputs, &w, err);
    if (*rc) return true;
    if (!cache_make_room(e, workspace_bytes(w) + logits, NULL)) {
        workspace_close(w);
        return false;
    }
    *rc = mem_try((size_t)(outputs * vocab), sizeof(float), "logits", (void **)&m->logits, err);
    if (*rc) {
        workspace_close(w);
        return true;
    }
    m->work = w;
    m->scratch_bytes = workspace_bytes(w) + logits;
    e->scratch_bytes += m->scratch_bytes;
    return true;
}

static int no_memory(const struct engine *e, const struct engine_stream *s, struct err *err) {
    return err_set(
        err, ERR_LIMIT,
        "%lld tokens need %.1f MiB for keys and values, and nothing of the memory budget "
        "of %.1f MiB can be freed for them; raise it, or ask for fewer",
        (long long)s->count, (double)s->count * (double)model_kv_bytes(s->model->m) / 1048576.0,
        (double)e->o.memory_bytes / 1048576.0);
}

static void started(struct engine *e, struct engine_stream *s) {
    e->running[e->running_count++] = s;
    s->started = clock_ns();
    if (!s->admitted) {
        histogram_add(&e->stats.queue_seconds, engine_second_bounds,
                      (double)(s->started - s->arrived) * 1e-9);
        struct engine_token first = {.id = s->ids[0], .logprob = NAN};
        e->stats.prompt_tokens += (uint64_t)s->prompt_count;
        if (s->prompt_logprobs) stream_add(s, &first, true);
    }
    s->admitted = true;
}

void step_admit(struct engine *e) {
    while (e->running_count < e->o.batch_max) {
        int64_t i = choose(e);
        if (i < 0) return;
        struct engine_stream *s = e->waiting[i];
        struct err err;
        int rc = 0;
        bool fits = open_scratch(e, s->model, &rc, &err);
        if (fits && !rc) fits = cache_start(e, s, &rc, &err);
        if (!fits && e->running_count > 0) return; /* when one of them ends */
        if (!fits) rc = no_memory(e, s, &err);
        step_forget_waiting(e, (size_t)i);
        if (rc)
            step_end(e, s, FINISH_CANCELLED, &err);
        else
            started(e, s);
    }
}

/* --- the rows of a pass --- */

static int64_t prompt_rows(const struct engine *e, const struct held_model *m) {
    double seconds = IDLE_SECONDS;
    for (int i = 0; i < e->running_count; i++)
        if (pending(e->running[i]) == 1) seconds = PASS_SECONDS;
    if (m->row_seconds <= 0) return ROWS_FIRST;
    double rows = seconds / m->row_seconds;
    return rows < ROWS_MIN ? ROWS_MIN : rows > ROWS_MAX ? ROWS_MAX : (int64_t)rows;
}

static bool is_scoring(const struct engine_stream *s) {
    return s->prompt_logprobs && s->scored < s->prompt_count - 1;
}

/* rows of logits that n more rows of this stream give */
static int64_t wanted(const struct engine_stream *s, int64_t n) {
    int64_t end = length(s) + n, from = length(s) > s->scored ? length(s) : s->scored;
    if (is_scoring(s)) return end > from ? end - from : 0;
    return end == s->count && s->count < s->limit;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Each stream of the model with its rows of this pass. */
static int make_plan(struct engine *e, const struct held_model *m) {
    int64_t rows = prompt_rows(e, m), scores = SCORE_ROWS;
    int prompts = 0, count = 0, all = e->running_count;
    for (int i = 0; i < all; i++)
        prompts += e->running[i]->model == m && pending(e->running[i]) > 1;
    for (int i = 0; i < all; i++) {
        struct engine_stream *s = e->running[(i + (int)(e->turn % (uint64_t)all)) % all];
        int64_t n = pending(s);
        if (s->model != m) continue;
        if (n > 1) {
            int64_t share = rows / prompts--;
            if (share < SHARE_MIN) share = SHARE_MIN;
            n = least(n, least(share, rows));
            if (is_scoring(s)) n = least(n, scores);
            rows -= n;
        }
        if (is_scoring(s)) scores -= n;
        if (n > 0) e->plan[count++] = (struct plan){s, n, wanted(s, n)};
    }
    return count;
}

/* The youngest of all waits again. false: there is only this one. */
static bool make_way(struct engine *e) {
    struct engine_stream *youngest = e->running[0];
    if (e->running_count == 1) return false;
    for (int i = 1; i < e->running_count; i++)
        if (e->running[i]->order > youngest->order) youngest = e->running[i];
    remove_running(e, youngest);
    cache_put(e, youngest, false);
    mem_grow((void **)&e->waiting, &e->waiting_cap, e->waiting_count + 1,
             sizeof(struct engine_stream *));
    e->waiting[e->waiting_count++] = youngest;
    pthread_mutex_lock(&e->lock);
    queue_add(e, youngest->owner);
    pthread_mutex_unlock(&e->lock);
    e->stats.preemptions++;
    return true;
}

/* Memory for the rows of the plan; false: somebody had to go, plan anew. */
static bool reserve(struct engine *e, int count) {
    for (int i = 0; i < count; i++) {
        struct engine_stream *s = e->plan[i].s;
        struct err err;
        int rc = 0;
        if (cache_grow(e, s, length(s) + e->plan[i].n, &rc, &err)) {
            if (!rc) continue;
        } else {
            if (make_way(e)) return false;
            no_memory(e, s, &err);
        }
        step_end(e, s, FINISH_CANCELLED, &err);
        return false;
    }
    return true;
}

/* rows of one adapter together */
static void sort_plan(struct plan *p, int count) {
    for (int i = 1; i < count; i++) {
        struct plan moved = p[i];
        int at = i;
        for (; at > 0 && (uintptr_t)p[at - 1].s->adapter > (uintptr_t)moved.s->adapter; at--)
            p[at] = p[at - 1];
        p[at] = moved;
    }
}

/* --- logits --- */

static void tell(struct task *t, const float *logits, int64_t vocab, float norm, int32_t id) {
    t->token = (struct engine_token){.id = id, .logprob = logits[id] - norm, .top = t->top};
    t->token.top_count = logprobs_top(logits, vocab, norm, t->s->top, t->top);
}

/* Log-probabilities are those of the model's own distribution, whatever the sampler then does. */
static int pick(const struct engine *e, struct task *t, int64_t vocab, struct err *err) {
    struct engine_stream *s = t->s;
    const float *raw = t->logits;
    float norm = 0;
    if (s->filter.mask) {
        memset(s->allowed, 0, (size_t)(vocab + 63) / 64 * 8);
        int rc = s->filter.mask(s->filter.ctx, s->allowed, vocab, err);
        if (rc) return rc;
    }
    if (s->logprobs) norm = logprobs_norm(e->num, raw, vocab);
    if (s->raw) raw = memcpy(s->raw, raw, (size_t)vocab * sizeof *raw);
    int32_t id = sampler_pick(&s->sampler, t->logits, s->filter.mask ? s->allowed : NULL);
    if (id < 0)
        return err_set(err, ERR_INVALID,
                       "no token may come next: logit_bias and what the answer must look like "
                       "exclude all");
    t->token = (struct engine_token){.id = id, .logprob = NAN};
    if (s->logprobs) tell(t, raw, vocab, norm, id);
    return 0;
}

static void task_run(void *ctx, int64_t i) {
    const struct engine *e = ctx;
    struct task *t = &e->tasks[i];
    int64_t vocab = model_config(t->s->model->m)->vocab;
    t->err.code = 0;
    if (!num_row_finite(t->logits, vocab))
        session_not_finite(t->s->session, &t->err);
    else if (t->picks)
        pick(e, t, vocab, &t->err);
    else
        tell(t, t->logits, vocab, logprobs_norm(e->num, t->logits, vocab), t->s->ids[t->row + 1]);
}

static void note_time(struct engine *e, struct engine_stream *s) {
    int64_t now = clock_ns();
    if (s->first_token)
        histogram_add(&e->stats.token_seconds, engine_second_bounds,
                      (double)(now - s->last_token) * 1e-9);
    else
        histogram_add(&e->stats.first_seconds, engine_second_bounds,
                      (double)(now - s->arrived) * 1e-9);
    if (!s->first_token) s->first_token = now;
    s->last_token = now;
}

/* a token of the answer; false: it was the last */
static bool take_token(struct engine *e, struct engine_stream *s, const struct engine_token *t) {
    struct err err = {0};
    if (!s->ignore_stops && model_is_stop(s->model->m, t->id)) {
        step_end(e, s, FINISH_STOP, NULL);
        return false;
    }
    s->ids[s->count++] = t->id;
    note_time(e, s);
    e->stats.completion_tokens++;
    stream_add(s, t, false);
    int rc = s->filter.accept ? s->filter.accept(s->filter.ctx, t->id, &err) : 0;
    if (rc == 0 && s->count < s->limit) return true;
    step_end(e, s, rc == 1 ? FINISH_STOP : FINISH_LENGTH, rc < 0 ? &err : NULL);
    return false;
}

/* false: the stream has ended, and may be gone */
static bool take(struct engine *e, struct task *t) {
    struct engine_stream *s = t->s;
    if (t->err.code) {
        step_end(e, s, FINISH_CANCELLED, &t->err);
        return false;
    }
    if (t->picks) return take_token(e, s, &t->token);
    s->scored = t->row + 1;
    stream_add(s, &t->token, true);
    return true;
}

static int64_t make_tasks(struct engine *e, const struct held_model *m, int count) {
    int64_t tasks = 0, vocab = model_config(m->m)->vocab, output = 0;
    for (int i = 0; i < count; i++) {
        const struct plan *p = &e->plan[i];
        int64_t end = length(p->s); /* the pass is done */
        for (int64_t row = end - p->want; row < end; row++, output++) {
            bool last = row + 1 == p->s->count;
            if (last && p->s->count == p->s->limit) continue; /* nothing is to come */
            struct task *t = &e->tasks[tasks++];
            t->s = p->s;
            t->logits = m->logits + output * vocab;
            t->row = row;
            t->picks = last;
        }
    }
    return tasks;
}

static void take_all(struct engine *e, const struct held_model *m, int64_t tasks) {
    const struct engine_stream *ended = NULL;
    for (int64_t i = 0; i < tasks; i++) {
        struct task *t = &e->tasks[i];
        if (t->s != ended && !take(e, t)) ended = t->s; /* its tasks are neighbours */
    }
    for (int i = e->running_count - 1; i >= 0; i--) { /* whose prompt was all they wanted read */
        struct engine_stream *s = e->running[i];
        if (s->model == m && pending(s) == 0) step_end(e, s, FINISH_LENGTH, NULL);
    }
}

/* --- the pass --- */

static int evaluate(struct engine *e, struct held_model *m, int count, struct err *err) {
    int64_t rows = 0, start = clock_ns();
    for (int i = 0; i < count; i++) {
        const struct plan *p = &e->plan[i];
        e->items[i] = (struct eval_item){.session = p->s->session,
                                         .ids = p->s->ids + length(p->s),
                                         .n = p->n,
                                         .want_logits = p->want};
        rows += p->n;
    }
    int rc = session_eval_rows(m->work, e->num, e->items, count, m->logits, err);
    double seconds = (double)(clock_ns() - start) * 1e-9 / (double)rows;
    if (rows >= ROWS_MIN)
        m->row_seconds += (seconds - m->row_seconds) * (m->row_seconds > 0 ? 0.25 : 1);
    e->stats.steps++;
    histogram_add(&e->stats.batch, engine_batch_bounds, (double)rows);
    return rc;
}

static void run_model(struct engine *e, struct held_model *m) {
    struct err err;
    int count;
    do count = make_plan(e, m);
    while (count > 0 && !reserve(e, count));
    if (count == 0) return;
    sort_plan(e->plan, count);
    if (evaluate(e, m, count, &err) != 0) {
        for (int i = 0; i < count; i++) step_end(e, e->plan[i].s, FINISH_CANCELLED, &err);
        return;
    }
    int64_t tasks = make_tasks(e, m, count);
    pool_run(num_pool(e->num), tasks, task_run, e);
    take_all(e, m, tasks);
}

void step_run(struct engine *e) {
    int models = 0;
    for (int i = 0; i < e->running_count; i++) {
        bool known = false;
        for (int j = 0; j < models && !known; j++) known = e->now[j] == e->running[i]->model;
        if (!known) e->now[models++] = e->running[i]->model;
    }
    for (int j = 0; j < models; j++)
        if (e->running_count > 0) run_model(e, e->now[j]);
    e->turn++;
}
