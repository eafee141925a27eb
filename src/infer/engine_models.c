/* Models and adapters: loaded by the thread that asks, used by all, closed by the worker.
 *
 * 1. An entry is in its list from the moment its loading begins; whoever asks for it meanwhile
 *    waits. Loading itself runs without a lock, so neither the worker nor other loads wait for it.
 * 2. Only the worker closes: it first drops the sessions that were cached for the entry.
 * 3. A stale entry is found by nobody any more and closes with its last user.
 */
#include "infer/engine_int.h"

#include "base/mem.h"

#include <string.h>

#define MIB 1048576.0

static size_t bytes_of_adapter(const struct held_adapter *a) {
    return a->a ? adapter_bytes(a->a) : 0;
}

/* what is loaded and in use and will not make room for others */
static size_t bytes_in_use(const struct engine *e) {
    size_t sum = 0;
    for (const struct held_model *m = e->models; m; m = m->next) {
        if (m->m && m->refs > 0) sum += model_weight_bytes(m->m);
        for (const struct held_adapter *a = m->adapters; a; a = a->next)
            if (a->refs > 0) sum += bytes_of_adapter(a);
    }
    return sum;
}

/* e->lock held: does `bytes` more fit beside what is in use, and a token or two? */
static int check_room(const struct engine *e, const char *what, const char *path, size_t bytes,
                      struct err *err) {
    size_t used = bytes_in_use(e), all = e->o.memory_bytes;
    if (used < all && bytes < all - used) return 0;
    return err_set(err, ERR_LIMIT,
                   "%s \"%s\" needs %.1f MiB; %.1f of %.1f MiB are in use by models with requests",
                   what, path, (double)bytes / MIB, (double)used / MIB, (double)all / MIB);
}

static struct held_model *find_model(struct engine *e, const char *path) {
    for (struct held_model *m = e->models; m; m = m->next)
        if (!m->stale && strcmp(m->path, path) == 0) return m;
    return NULL;
}

static struct held_adapter *find_adapter(struct held_model *m, const char *dir) {
    for (struct held_adapter *a = m->adapters; a; a = a->next)
        if (!a->stale && strcmp(a->dir, dir) == 0) return a;
    return NULL;
}

static void unlink_model(struct engine *e, struct held_model *m) {
    struct held_model **at = &e->models;
    while (*at != m) at = &(*at)->next;
    *at = m->next;
}

static void unlink_adapter(struct held_adapter *a) {
    struct held_adapter **at = &a->model->adapters;
    while (*at != a) at = &(*at)->next;
    *at = a->next;
}

static void close_adapter(struct held_adapter *a) {
    adapter_close(a->a);
    mem_free(a->dir);
    mem_free(a);
}

static void close_model(struct held_model *m) {
    workspace_close(m->work);
    mem_free(m->logits);
    model_close(m->m);
    mem_free(m->path);
    mem_free(m);
}

/* --- loading --- */

/* Positions a session may have: what the model was made for, the option, and what the memory could
 * hold were it all free. */
static int64_t context_of(const struct engine *e, const struct model *m) {
    int64_t context = model_config(m)->max_position;
    size_t left =
        e->o.memory_bytes > model_weight_bytes(m) ? e->o.memory_bytes - model_weight_bytes(m) : 0;
    int64_t fits = (int64_t)(left / model_kv_bytes(m));
    if (e->o.context_max > 0 && e->o.context_max < context) context = e->o.context_max;
    return fits < context ? fits : context;
}

/* e->lock held; the worker then closes what has to go for it */
static void loaded(struct engine *e, size_t bytes) {
    e->held_bytes += bytes;
    e->sweep = true;
    pthread_cond_signal(&e->wake);
}

#define POSITIONS_MAX 32768 /* of rotary tables made once; 8 MiB at 64 numbers a position */

static int load_model(struct engine *e, struct held_model *held, struct err *err) {
    struct model_options o = {.weights_only = e->o.weights_only, .positions = POSITIONS_MAX};
    if (e->o.context_max > 0 && e->o.context_max < o.positions) o.positions = e->o.context_max;
    struct model *m = NULL;
    int rc = model_open(held->path, &o, &m, err);
    if (!rc) model_touch(m); /* the disk is waited for here, not in the worker's pass */
    pthread_mutex_lock(&e->lock);
    if (!rc) rc = check_room(e, "model", held->path, model_weight_bytes(m), err);
    if (!rc) {
        held->m = m;
        held->context = context_of(e, m);
        loaded(e, model_weight_bytes(m));
    }
    held->loading = false;
    if (rc) {
        unlink_model(e, held);
        close_model(held);
    }
    pthread_cond_broadcast(&e->loaded);
    pthread_mutex_unlock(&e->lock);
    if (rc) model_close(m);
    return rc;
}

/* e->lock held; a load under way is waited for. When it fails, the next to ask tries again and gets
 * an error of its own. */
static struct held_model *wait_model(struct engine *e, const char *path) {
    struct held_model *m;
    while ((m = find_model(e, path)) && m->loading) pthread_cond_wait(&e->loaded, &e->lock);
    return m;
}

int models_acquire(struct engine *e, const char *path, struct held_model **ret, struct err *err) {
    pthread_mutex_lock(&e->lock);
    struct held_model *m = wait_model(e, path);
    bool absent = !m;
    if (absent) {
        m = mem_zalloc(1, sizeof *m);
        m->path = mem_strdup(path);
        m->loading = true;
        m->next = e->models;
        e->models = m;
    }
    m->refs++;
    m->used = ++e->clock;
    pthread_mutex_unlock(&e->lock);
    int rc = absent ? load_model(e, m, err) : 0;
    if (!rc) *ret = m;
    return rc;
}

static int load_adapter(struct engine *e, struct held_adapter *held, struct err *err) {
    struct adapter *a = NULL;
    char warning[240];
    int rc = adapter_open(held->model->m, held->dir, &a, warning, err);
    pthread_mutex_lock(&e->lock);
    if (!rc) rc = check_room(e, "adapter", held->dir, adapter_bytes(a), err);
    if (!rc) {
        held->a = a;
        loaded(e, adapter_bytes(a));
    }
    held->loading = false;
    if (rc) {
        unlink_adapter(held);
        close_adapter(held);
    }
    pthread_cond_broadcast(&e->loaded);
    pthread_mutex_unlock(&e->lock);
    if (rc) adapter_close(a);
    if (!rc && warning[0] && e->o.warn) e->o.warn(e->o.warn_ctx, warning);
    return rc;
}

int adapters_acquire(struct engine *e, struct held_model *m, const char *dir,
                     struct held_adapter **ret, struct err *err) {
    pthread_mutex_lock(&e->lock);
    struct held_adapter *a;
    while ((a = find_adapter(m, dir)) && a->loading) pthread_cond_wait(&e->loaded, &e->lock);
    bool absent = !a;
    if (absent) {
        a = mem_zalloc(1, sizeof *a);
        a->model = m;
        a->dir = mem_strdup(dir);
        a->loading = true;
        a->next = m->adapters;
        m->adapters = a;
    }
    a->refs++;
    a->used = ++e->clock;
    pthread_mutex_unlock(&e->lock);
    int rc = absent ? load_adapter(e, a, err) : 0;
    if (!rc) *ret = a;
    return rc;
}

int engine_model_acquire(struct engine *e, const char *path, const struct model **ret,
                         struct err *err) {
    struct held_model *m = NULL;
    int rc = models_acquire(e, path, &m, err);
    if (!rc) *ret = m->m;
    return rc;
}

void models_release(struct engine *e, struct held_model *m, struct held_adapter *a) {
    pthread_mutex_lock(&e->lock);
    m->refs--;
    if (a) a->refs--;
    if (m->stale || (a && a->stale)) {
        e->sweep = true;
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
}

void engine_model_release(struct engine *e, const struct model *m) {
    struct held_model *held = NULL;
    if (!m) return;
    pthread_mutex_lock(&e->lock);
    for (held = e->models; held && held->m != m;) held = held->next;
    pthread_mutex_unlock(&e->lock);
    if (held) models_release(e, held, NULL);
}

/* --- closing --- */

void engine_forget(struct engine *e, const char *path) {
    pthread_mutex_lock(&e->lock);
    for (struct held_model *m = e->models; m; m = m->next) {
        bool all = strcmp(m->path, path) == 0;
        for (struct held_adapter *a = m->adapters; a; a = a->next)
            if (all || strcmp(a->dir, path) == 0) a->stale = true;
        if (all) m->stale = true;
    }
    e->sweep = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

/* e->lock held: an unused entry that is stale, or (evict) the one unused the longest */
static bool choose(struct engine *e, bool evict, struct held_model **model,
                   struct held_adapter **adapter) {
    uint64_t oldest = UINT64_MAX;
    *model = NULL;
    *adapter = NULL;
    for (struct held_model *m = e->models; m; m = m->next) {
        for (struct held_adapter *a = m->adapters; a; a = a->next) {
            if (a->refs > 0 || a->loading || !(a->stale || (evict && a->used < oldest))) continue;
            *adapter = a;
            if (a->stale) return true;
            oldest = a->used;
        }
        /* adapters go first: a model with some is not free yet */
        if (m->refs > 0 || m->loading || m->adapters) continue;
        if (!m->stale && !(evict && m->used < oldest)) continue;
        *model = m;
        *adapter = NULL;
        if (m->stale) return true;
        oldest = m->used;
    }
    if (*adapter) *model = NULL;
    return *model || *adapter;
}

static void let_go(struct engine *e, struct held_model *m, struct held_adapter *a) {
    cache_drop(e, m ? m : a->model, a);
    if (a) {
        close_adapter(a);
        return;
    }
    e->scratch_bytes -= m->scratch_bytes;
    close_model(m);
}

bool models_sweep(struct engine *e, bool evict) {
    bool any = false;
    for (;;) {
        struct held_model *m;
        struct held_adapter *a;
        pthread_mutex_lock(&e->lock);
        bool found = choose(e, evict, &m, &a), stale = false;
        if (found && a) {
            stale = a->stale;
            e->held_bytes -= bytes_of_adapter(a);
            unlink_adapter(a);
        } else if (found) {
            stale = m->stale;
            e->held_bytes -= model_weight_bytes(m->m);
            unlink_model(e, m);
        }
        if (!found) e->sweep = false;
        pthread_mutex_unlock(&e->lock);
        if (!found) return any;
        let_go(e, m, a);
        any = true;
        if (stale) continue;
        e->stats.model_evictions++;
        return true;
    }
}

void models_close_all(struct engine *e) {
    while (e->models) {
        struct held_model *m = e->models;
        e->models = m->next;
        while (m->adapters) {
            struct held_adapter *a = m->adapters;
            m->adapters = a->next;
            close_adapter(a);
        }
        close_model(m);
    }
}
