/* Masks: which tokens of a vocabulary an automaton lets pass.
 *
 * What a token does depends on the stack only where it goes beyond the end of the running rule. So
 * a result is computed for the threads of one rule without what lies below: tokens that stay
 * inside, and the nodes of the vocabulary's tree where the rule ends and tokens go on ("exits").
 * The caller's states then continue from those nodes, and so on upwards. Results and the
 * automaton's configurations are kept by grammar and vocabulary, and dropped when they take too
 * much memory. */
#include "text/grammar_int.h"

#include "text/tokenizer.h"

#define CACHE_BYTES ((size_t)48 << 20)
#define ROOM_FREE (UINT32_MAX / 2)

struct config {
    uint32_t first, count; /* threads */
    uint32_t room, next;
    uint32_t *to; /* by byte; NO_STATE: not yet known. NULL until the first step */
    bool ended, rests;
};
struct result {
    uint32_t config, set, exits, next;
    uint32_t count; /* of ids; UINT32_MAX: bits */
    union {
        int32_t *ids;
        uint64_t *bits;
    } u;
};
struct node_set {
    uint32_t first, count, next;
};
struct table { /* chained hash: heads by hash */
    uint32_t *heads, size;
};

struct mask_cache {
    struct mask_cache *next;
    const struct grammar *grammar;
    struct grammar_vocab *vocab;
    uint16_t *own_heights; /* NULL: the grammar's */
    const uint16_t *heights;
    int32_t *mark_ids; /* by mark; -1: no such token */
    uint32_t room_enough;

    struct stacks stacks;
    struct runner runner;
    struct thread *threads;
    struct config *configs; /* 0: dead */
    struct result *results;
    struct node_set *sets; /* 0: the root alone */
    uint32_t quotes;       /* the set where any string ends */
    uint32_t *set_nodes;
    uint32_t thread_count, config_count, result_count, set_count, set_node_count;
    size_t thread_cap, config_cap, result_cap, set_cap, set_node_cap;
    struct table by_threads, by_result, by_nodes;
    size_t bytes;

    struct threads next_threads;
    uint32_t *path; /* configurations by depth */
    int32_t *found; /* ids; there is room for all */
    uint32_t *exits, found_count, exit_count;
    size_t exit_cap;
};

#define SET_ROOT 0

/* --- tables --------------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 31;
}

static uint64_t hash_words(const uint32_t *w, size_t n, uint64_t h) {
    for (size_t i = 0; i < n; i++) h = mix(h, w[i]);
    return mix(h, n);
}

static void table_init(struct table *t) {
    t->size = 1u << 14;
    t->heads = mem_zalloc(t->size, sizeof *t->heads);
}

static void table_clear(struct table *t) { memset(t->heads, 0xFF, t->size * sizeof *t->heads); }

static void note(struct mask_cache *c, size_t bytes) { c->bytes += bytes; }

/* --- configurations ------------------------------------------------------------------------------
 */

static uint64_t config_hash(const struct threads *t, uint32_t room) {
    uint64_t h = hash_words((const uint32_t *)t->at, 3 * (size_t)t->count, room);
    return mix(h, t->ended);
}

static bool rests(struct mask_cache *c, const struct threads *t, uint32_t room) {
    c->runner.room = room;
    for (uint32_t i = 0; i < t->count; i++)
        if (runner_rests(&c->runner, t->at[i])) return true;
    return t->ended;
}

static uint32_t config_put(struct mask_cache *c, const struct threads *t, uint32_t room) {
    if (!t->count && !t->ended) return 0;
    uint32_t *head = &c->by_threads.heads[config_hash(t, room) & (c->by_threads.size - 1)];
    for (uint32_t i = *head; i != NO_STATE; i = c->configs[i].next) {
        const struct config *x = &c->configs[i];
        if (x->count == t->count && x->room == room && x->ended == t->ended &&
            !memcmp(c->threads + x->first, t->at, t->count * sizeof *t->at))
            return i;
    }
    struct config x = {.first = c->thread_count,
                       .count = t->count,
                       .room = room,
                       .next = *head,
                       .ended = t->ended,
                       .rests = rests(c, t, room)};
    mem_grow((void **)&c->threads, &c->thread_cap, c->thread_count + t->count, sizeof *c->threads);
    if (t->count) memcpy(c->threads + c->thread_count, t->at, t->count * sizeof *t->at);
    c->thread_count += t->count;
    mem_grow((void **)&c->configs, &c->config_cap, c->config_count + 1, sizeof *c->configs);
    c->configs[c->config_count] = x;
    *head = c->config_count;
    note(c, sizeof x + t->count * sizeof *t->at);
    return c->config_count++;
}

static uint32_t config_make_step(struct mask_cache *c, uint32_t from, unsigned byte) {
    struct config *x = &c->configs[from];
    c->runner.room = x->room;
    runner_step(&c->runner, c->threads + x->first, x->count, byte, &c->next_threads);
    uint32_t to = config_put(c, &c->next_threads, x->room);
    x = &c->configs[from];
    if (!x->to) {
        x->to = mem_alloc(256 * sizeof *x->to);
        memset(x->to, 0xFF, 256 * sizeof *x->to);
        note(c, 256 * sizeof *x->to);
    }
    return x->to[byte] = to;
}

static inline uint32_t config_step(struct mask_cache *c, uint32_t from, unsigned byte) {
    const struct config *x = &c->configs[from];
    if (x->to && x->to[byte] != NO_STATE) return x->to[byte];
    return config_make_step(c, from, byte);
}

/* --- sets of nodes -------------------------------------------------------------------------------
 */

static uint32_t set_put(struct mask_cache *c, const uint32_t *nodes, uint32_t count) {
    uint64_t h = hash_words(nodes, count, 1);
    uint32_t *head = &c->by_nodes.heads[h & (c->by_nodes.size - 1)];
    for (uint32_t i = *head; i != NO_STATE; i = c->sets[i].next) {
        const struct node_set *s = &c->sets[i];
        if (s->count == count &&
            (!count || !memcmp(c->set_nodes + s->first, nodes, count * sizeof *nodes)))
            return i;
    }
    mem_grow((void **)&c->set_nodes, &c->set_node_cap, c->set_node_count + count + 1,
             sizeof *c->set_nodes);
    if (count) memcpy(c->set_nodes + c->set_node_count, nodes, count * sizeof *nodes);
    mem_grow((void **)&c->sets, &c->set_cap, c->set_count + 1, sizeof *c->sets);
    c->sets[c->set_count] = (struct node_set){c->set_node_count, count, *head};
    c->set_node_count += count;
    *head = c->set_count;
    note(c, sizeof *c->sets + count * sizeof *nodes);
    return c->set_count++;
}

/* --- the whole cache -----------------------------------------------------------------------------
 */

static void drop_all(struct mask_cache *c) {
    for (uint32_t i = 0; i < c->config_count; i++) mem_free(c->configs[i].to);
    for (uint32_t i = 0; i < c->result_count; i++) mem_free(c->results[i].u.ids);
    c->thread_count = c->config_count = c->result_count = c->set_count = c->set_node_count = 0;
    c->bytes = 0;
    stacks_release(&c->stacks);
}

static void start_over(struct mask_cache *c) {
    drop_all(c);
    stacks_init(&c->stacks);
    table_clear(&c->by_threads);
    table_clear(&c->by_result);
    table_clear(&c->by_nodes);
    mem_grow((void **)&c->configs, &c->config_cap, 1, sizeof *c->configs);
    c->configs[0] = (struct config){.next = NO_STATE};
    c->config_count = 1;
    uint32_t root = 0;
    set_put(c, &root, 1);
    c->quotes = set_put(c, c->vocab->quote_nodes, c->vocab->quote_count);
}

struct mask_cache *mask_cache_new(const struct grammar *g, struct grammar_vocab *v) {
    struct mask_cache *c = mem_zalloc(1, sizeof *c);
    const struct automaton *a = &g->automaton;
    c->grammar = g;
    c->vocab = grammar_vocab_ref(v);
    if (!v->complete) c->own_heights = automaton_heights(a, v);
    c->heights = c->own_heights ? c->own_heights : g->heights;
    c->mark_ids = mem_zalloc(a->mark_count + 1, sizeof *c->mark_ids);
    for (uint32_t i = 0; i < a->mark_count; i++)
        c->mark_ids[i] = tokenizer_find(v->tokenizer, str_of(a->marks[i].text));
    unsigned most = 0;
    for (uint32_t s = 0; s < a->state_count; s++)
        if (c->heights[s] != NO_HEIGHT && c->heights[s] > most) most = c->heights[s];
    c->room_enough = most + v->longest + 2u;
    table_init(&c->by_threads);
    table_init(&c->by_result);
    table_init(&c->by_nodes);
    c->path = mem_zalloc(v->longest + 2u, sizeof *c->path);
    c->found = mem_zalloc(v->token_count, sizeof *c->found);
    runner_init(&c->runner, a, c->heights, &c->stacks);
    start_over(c);
    return c;
}

struct mask_cache *mask_cache_next(const struct mask_cache *c) {
    return c->next;
}

void mask_cache_free(struct mask_cache *c) {
    if (!c) return;
    drop_all(c);
    runner_release(&c->runner);
    mem_free(c->by_threads.heads);
    mem_free(c->by_result.heads);
    mem_free(c->by_nodes.heads);
    mem_free(c->threads);
    mem_free(c->configs);
    mem_free(c->results);
    mem_free(c->sets);
    mem_free(c->set_nodes);
    threads_release(&c->next_threads);
    mem_free(c->path);
    mem_free(c->found);
    mem_free(c->exits);
    mem_free(c->mark_ids);
    mem_free(c->own_heights);
    grammar_vocab_free(c->vocab);
    mem_free(c);
}

/* --- results -------------------------------------------------------------------------------------
 */

static void take_exit(struct mask_cache *c, uint32_t node) {
    mem_grow((void **)&c->exits, &c->exit_cap, c->exit_count + 1, sizeof *c->exits);
    c->exits[c->exit_count++] = node;
}

/* The tokens below a node of the tree, from configuration `start` on. */
static void walk(struct mask_cache *c, uint32_t start, uint32_t top) {
    const struct grammar_vocab *v = c->vocab;
    uint32_t base = v->depth[top], end = v->skip[top], count = c->found_count;
    uint32_t *path = c->path;
    int32_t *found = c->found;
    path[0] = start;
    for (uint32_t i = top + 1; i < end;) {
        uint32_t d = v->depth[i] - base, at = config_step(c, path[d - 1], v->byte[i]);
        if (!at) {
            i = v->skip[i];
            continue;
        }
        const struct config *x = &c->configs[at];
        path[d] = at;
        if (x->rests)
            for (uint32_t k = v->first[i]; k < v->first[i + 1]; k++) found[count++] = v->ids[k];
        if (x->ended && v->skip[i] > i + 1) take_exit(c, i);
        i = x->count ? i + 1 : v->skip[i];
    }
    c->found_count = count;
}

static uint32_t result_put(struct mask_cache *c, uint32_t config, uint32_t set, uint32_t *head) {
    struct result r = {.config = config, .set = set, .next = *head, .count = c->found_count};
    size_t words = ((size_t)c->vocab->size + 63) / 64, bytes = c->found_count * sizeof *c->found;
    r.exits = set_put(c, c->exits, c->exit_count);
    if (bytes <= words * 8) {
        r.u.ids = mem_alloc(bytes ? bytes : 1);
        if (bytes) memcpy(r.u.ids, c->found, bytes);
    } else {
        bytes = words * 8;
        r.count = UINT32_MAX;
        r.u.bits = mem_zalloc(words, 8);
        for (uint32_t i = 0; i < c->found_count; i++)
            r.u.bits[c->found[i] >> 6] |= (uint64_t)1 << (c->found[i] & 63);
    }
    mem_grow((void **)&c->results, &c->result_cap, c->result_count + 1, sizeof *c->results);
    c->results[c->result_count] = r;
    *head = c->result_count;
    note(c, sizeof r + bytes);
    return c->result_count++;
}

static uint32_t result_of(struct mask_cache *c, uint32_t config, uint32_t set) {
    uint32_t key[2] = {config, set};
    uint32_t *head = &c->by_result.heads[hash_words(key, 2, 2) & (c->by_result.size - 1)];
    for (uint32_t i = *head; i != NO_STATE; i = c->results[i].next)
        if (c->results[i].config == config && c->results[i].set == set) return i;
    c->found_count = c->exit_count = 0;
    for (uint32_t i = 0; i < c->sets[set].count; i++)
        walk(c, config, c->set_nodes[c->sets[set].first + i]);
    return result_put(c, config, set, head);
}

/* --- one mask ------------------------------------------------------------------------------------
 */

struct masking {
    struct mask_cache *c;
    const struct stacks *stacks; /* of the state */
    uint64_t *bits;
    int64_t ids;
};

static void set_bit(struct masking *m, int32_t id) {
    if (id < m->ids) m->bits[id >> 6] |= (uint64_t)1 << (id & 63);
}

static void or_bits(struct masking *m, const uint64_t *from) {
    int64_t n = m->c->vocab->size < m->ids ? m->c->vocab->size : m->ids;
    for (int64_t i = 0; i < (n + 63) / 64; i++) m->bits[i] |= from[i];
}

static uint32_t room_of(const struct masking *m, uint32_t node) {
    uint32_t depth = m->stacks->nodes[node].depth;
    uint32_t room = depth < GRAMMAR_DEPTH_MAX ? GRAMMAR_DEPTH_MAX - depth : 0;
    return room >= m->c->room_enough ? ROOM_FREE : room;
}

static void pop(struct masking *m, uint32_t set, uint32_t node);

/* tokens below the nodes of `set`, for a configuration that stands on `node` */
static void emit(struct masking *m, uint32_t config, uint32_t set, uint32_t node) {
    struct mask_cache *c = m->c;
    if (!config) return;
    if (c->configs[config].count) {
        uint32_t index = result_of(c, config, set);
        const struct result *r = &c->results[index];
        uint32_t exits = r->exits;
        if (r->count == UINT32_MAX)
            or_bits(m, r->u.bits);
        else
            for (uint32_t i = 0; i < r->count; i++) set_bit(m, r->u.ids[i]);
        if (c->sets[exits].count) pop(m, exits, node);
    }
    if (c->configs[config].ended) pop(m, set, node);
}

/* the rule on `node` has ended at the nodes of `set`: its callers go on */
static void pop(struct masking *m, uint32_t set, uint32_t node) {
    const struct stack_node n = m->stacks->nodes[node];
    const struct frame *f = m->stacks->frames + n.first;
    for (uint32_t i = 0, end; i < n.count; i = end) {
        struct threads from = {0}, closed = {0};
        for (end = i; end < n.count && f[end].parent == f[i].parent; end++) {
            if (f[end].ret == NO_STATE) continue;
            mem_grow((void **)&from.at, &from.cap, from.count + 1, sizeof *from.at);
            from.at[from.count++] = (struct thread){f[end].ret, 0, 0};
        }
        if (from.count) {
            uint32_t room = room_of(m, f[i].parent);
            m->c->runner.room = room;
            runner_close(&m->c->runner, from.at, from.count, &closed);
            emit(m, config_put(m->c, &closed, room), set, f[i].parent);
        }
        threads_release(&from);
        threads_release(&closed);
    }
}

/* a thread in the middle of a plain string, between two characters */
static void emit_string(struct masking *m, struct thread t) {
    struct mask_cache *c = m->c;
    const struct grammar_vocab *v = c->vocab;
    const struct counter *k =
        &c->grammar->automaton.counters[c->grammar->automaton.states[t.state].counter];
    uint32_t need = k->min > t.count ? k->min - t.count : 0;
    uint32_t left = k->max == COUNT_MAX ? COUNT_MAX : k->max - t.count;
    int64_t n = v->size < m->ids ? v->size : m->ids;
    if (left >= v->most_chars) {
        or_bits(m, v->inside_bits);
    } else {
        for (int64_t i = 0; i < n; i++)
            m->bits[i >> 6] |= (uint64_t)(v->inside[i] <= left) << (i & 63);
    }
    if (!need && left >= v->most_chars) {
        or_bits(m, v->quote_bits);
        if (v->quote_count) pop(m, c->quotes, t.node);
        return;
    }
    for (uint32_t i = 0; i < v->quote_id_count; i++)
        if (v->quote_id_chars[i] >= need && v->quote_id_chars[i] <= left)
            set_bit(m, v->quote_ids[i]);
    c->exit_count = 0;
    for (uint32_t i = 0; i < v->quote_count; i++)
        if (v->quote_chars[i] >= need && v->quote_chars[i] <= left) take_exit(c, v->quote_nodes[i]);
    uint32_t set = set_put(c, c->exits, c->exit_count);
    if (c->sets[set].count) pop(m, set, t.node);
}

static void emit_marks(struct masking *m, const struct grammar_state *s) {
    const struct automaton *a = &s->grammar->automaton;
    for (uint32_t i = 0; i < a->mark_count; i++) {
        int32_t id = m->c->mark_ids[i];
        if (id >= 0 && id < m->ids) m->bits[id >> 6] &= ~((uint64_t)1 << (id & 63));
    }
    for (uint32_t i = 0; a->mark_count && i < s->now.count; i++) {
        const struct state *st = &a->states[s->now.at[i].state];
        for (uint32_t k = st->edges; k < st->edges + st->edge_count; k++) {
            const struct edge *e = &a->edges[k];
            struct thread t = {e->target, 0, s->now.at[i].node};
            if (e->kind == EDGE_MARK && m->c->mark_ids[e->arg] >= 0 && runner_rests(&s->runner, t))
                set_bit(m, m->c->mark_ids[e->arg]);
        }
    }
}

/* the threads of one node */
static void emit_group(struct masking *m, const struct thread *t, uint32_t count) {
    struct threads rest = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (m->c->grammar->automaton.states[t[i].state].counter != NO_STATE) {
            emit_string(m, t[i]);
            continue;
        }
        mem_grow((void **)&rest.at, &rest.cap, rest.count + 1, sizeof *rest.at);
        rest.at[rest.count++] = (struct thread){t[i].state, t[i].count, 0};
    }
    if (rest.count) emit(m, config_put(m->c, &rest, room_of(m, t->node)), SET_ROOT, t->node);
    threads_release(&rest);
}

void grammar_mask(struct grammar_state *s, uint64_t *bits, int64_t ids) {
    struct mask_cache *c = s->cache;
    struct masking m = {.c = c, .stacks = &s->stacks, .bits = bits, .ids = ids};
    memset(bits, 0, (size_t)((ids + 63) / 64) * 8);
    pthread_mutex_lock(&s->grammar->lock);
    if (c->bytes > CACHE_BYTES) start_over(c);
    for (uint32_t i = 0, end; i < s->now.count; i = end) {
        for (end = i; end < s->now.count && s->now.at[end].node == s->now.at[i].node;) end++;
        emit_group(&m, s->now.at + i, end - i);
    }
    emit_marks(&m, s);
    pthread_mutex_unlock(&s->grammar->lock);
    for (int64_t i = 0; s->now.ended && i < c->vocab->stop_count; i++)
        set_bit(&m, c->vocab->stops[i]);
}

/* --- states --------------------------------------------------------------------------------------
 */

static struct mask_cache *cache_for(struct grammar *g, struct grammar_vocab *v) {
    pthread_mutex_lock(&g->lock);
    struct mask_cache *c = g->caches;
    while (c && c->vocab != v) c = c->next;
    if (!c) {
        c = mask_cache_new(g, v);
        c->next = g->caches;
        g->caches = c;
    }
    pthread_mutex_unlock(&g->lock);
    return c;
}

int grammar_state_new(struct grammar *g, struct grammar_vocab *v, struct grammar_state **ret,
                      struct err *err) {
    struct mask_cache *c = cache_for(g, v);
    uint32_t start = g->automaton.starts[0];
    if (c->heights[start] > GRAMMAR_DEPTH_MAX)
        return err_set(err, ERR_UNSUPPORTED,
                       "this model's vocabulary cannot write what the schema asks for: it has no "
                       "token for some character");
    struct grammar_state *s = mem_zalloc(1, sizeof *s);
    s->grammar = grammar_ref(g);
    s->cache = c;
    stacks_init(&s->stacks);
    runner_init(&s->runner, &g->automaton, c->heights, &s->stacks);
    runner_close(&s->runner, &(struct thread){start, 0, 0}, 1, &s->now);
    runner_rest(&s->runner, &s->now);
    *ret = s;
    return 0;
}

struct grammar_state *grammar_state_copy(const struct grammar_state *s) {
    struct grammar_state *n = mem_zalloc(1, sizeof *n);
    n->grammar = grammar_ref(s->grammar);
    n->cache = s->cache;
    stacks_copy(&s->stacks, &n->stacks);
    runner_init(&n->runner, &s->grammar->automaton, s->cache->heights, &n->stacks);
    n->now = (struct threads){.count = s->now.count, .cap = s->now.count, .ended = s->now.ended};
    n->now.at = mem_zalloc(s->now.count + 1, sizeof *n->now.at);
    if (s->now.count) memcpy(n->now.at, s->now.at, s->now.count * sizeof *n->now.at);
    return n;
}

void grammar_state_free(struct grammar_state *s) {
    if (!s) return;
    stacks_release(&s->stacks);
    runner_release(&s->runner);
    threads_release(&s->now);
    grammar_free(s->grammar);
    mem_free(s);
}

static bool commit(struct grammar_state *s, struct threads *next) {
    runner_rest(&s->runner, next);
    if (!next->count && !next->ended) {
        threads_release(next);
        return false;
    }
    threads_release(&s->now);
    s->now = *next;
    return true;
}

static bool accept_bytes(struct grammar_state *s, struct str bytes) {
    struct threads at = {0}, next = {0};
    const struct threads *from = &s->now;
    for (size_t i = 0; i < bytes.n; i++) {
        runner_step(&s->runner, from->at, from->count, (unsigned char)bytes.p[i], &next);
        struct threads t = at;
        at = next;
        next = t;
        from = &at;
    }
    threads_release(&next);
    return commit(s, &at);
}

bool grammar_accept(struct grammar_state *s, int32_t id) {
    const struct grammar_vocab *v = s->cache->vocab;
    const struct automaton *a = &s->grammar->automaton;
    for (int64_t i = 0; i < v->stop_count; i++)
        if (v->stops[i] == id && s->now.ended) return true;
    for (uint32_t i = 0; i < a->mark_count; i++) {
        struct threads next = {0};
        if (s->cache->mark_ids[i] != id) continue;
        runner_mark(&s->runner, s->now.at, s->now.count, i, &next);
        return commit(s, &next);
    }
    if (id < 0 || id >= v->size || !(v->usable[id >> 6] >> (id & 63) & 1)) return false;
    return accept_bytes(s, tokenizer_bytes(v->tokenizer, id));
}

bool grammar_finished(const struct grammar_state *s) { return s->now.ended; }

bool grammar_must_stop(const struct grammar_state *s) { return s->now.ended && !s->now.count; }
