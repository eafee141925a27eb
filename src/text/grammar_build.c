/* The automaton of a grammar: putting it together, and finding what cannot be ended. Building
 * functions never fail: past a limit they set `over` and give state 0. */
#include "text/grammar_int.h"

#include "text/tokenizer.h"

static bool full(struct automaton *a) {
    if (a->state_count >= GRAMMAR_STATES_MAX || a->edge_count >= GRAMMAR_EDGES_MAX) a->over = true;
    return a->over;
}

uint32_t build_state(struct automaton *a) {
    if (full(a)) return 0;
    mem_grow((void **)&a->states, &a->state_cap, a->state_count + 1, sizeof *a->states);
    mem_grow((void **)&a->first_edge, &a->first_cap, a->state_count + 1, sizeof *a->first_edge);
    a->states[a->state_count] = (struct state){.counter = NO_STATE};
    a->first_edge[a->state_count] = NO_STATE;
    return a->state_count++;
}

void build_accept(struct automaton *a, uint32_t s) { a->states[s].accept = true; }

static void put_edge(struct automaton *a, uint32_t s, struct edge e) {
    if (full(a)) return;
    mem_grow((void **)&a->edges, &a->edge_cap, a->edge_count + 1, sizeof *a->edges);
    mem_grow((void **)&a->next_edge, &a->next_cap, a->edge_count + 1, sizeof *a->next_edge);
    a->edges[a->edge_count] = e;
    a->next_edge[a->edge_count] = a->first_edge[s];
    a->first_edge[s] = a->edge_count++;
}

void build_count(struct automaton *a, uint32_t s, unsigned lo, unsigned hi, uint32_t to,
                 enum edge_op op, uint32_t counter) {
    put_edge(a, s,
             (struct edge){.target = to,
                           .arg = counter,
                           .kind = EDGE_BYTE,
                           .lo = (uint8_t)lo,
                           .hi = (uint8_t)hi,
                           .op = (uint8_t)op});
}

void build_byte(struct automaton *a, uint32_t s, unsigned lo, unsigned hi, uint32_t to) {
    build_count(a, s, lo, hi, to, OP_NONE, 0);
}

void build_empty(struct automaton *a, uint32_t s, uint32_t to) {
    if (s != to) put_edge(a, s, (struct edge){.target = to, .kind = EDGE_EMPTY});
}

void build_call(struct automaton *a, uint32_t s, uint32_t rule, uint32_t to) {
    put_edge(a, s, (struct edge){.target = to, .arg = rule, .kind = EDGE_CALL});
}

void build_mark(struct automaton *a, uint32_t s, uint32_t mark, uint32_t to) {
    put_edge(a, s, (struct edge){.target = to, .arg = mark, .kind = EDGE_MARK});
}

uint32_t build_rule(struct automaton *a) {
    mem_grow((void **)&a->starts, &a->rule_cap, a->rule_count + 1, sizeof *a->starts);
    a->starts[a->rule_count] = build_state(a);
    return a->rule_count++;
}

uint32_t build_counter(struct automaton *a, uint32_t min, uint32_t max) {
    mem_grow((void **)&a->counters, &a->counter_cap, a->counter_count + 1, sizeof *a->counters);
    a->counters[a->counter_count] = (struct counter){min, max};
    return a->counter_count++;
}

uint32_t build_mark_text(struct automaton *a, struct str text) {
    for (uint32_t i = 0; i < a->mark_count; i++)
        if (str_is(text, a->marks[i].text)) return i;
    mem_grow((void **)&a->marks, &a->mark_cap, a->mark_count + 1, sizeof *a->marks);
    a->marks[a->mark_count].text = mem_strndup(text.p, text.n);
    return a->mark_count++;
}

uint32_t build_text(struct automaton *a, uint32_t s, struct str text) {
    for (size_t i = 0; i < text.n && !a->over; i++) {
        uint32_t to = build_state(a);
        build_byte(a, s, (unsigned char)text.p[i], (unsigned char)text.p[i], to);
        s = to;
    }
    return s;
}

uint32_t build_find_edge(const struct automaton *a, uint32_t s, unsigned byte) {
    for (uint32_t e = a->first_edge[s]; e != NO_STATE; e = a->next_edge[e]) {
        const struct edge *x = &a->edges[e];
        if (x->kind == EDGE_BYTE && x->lo == byte && x->hi == byte && !x->op) return x->target;
    }
    return NO_STATE;
}

uint32_t build_branch(struct automaton *a, uint32_t s, unsigned byte) {
    uint32_t to = a->over ? 0 : build_find_edge(a, s, byte);
    if (to != NO_STATE) return to;
    to = build_state(a);
    build_byte(a, s, byte, byte, to);
    return to;
}

uint32_t build_space(struct automaton *a, uint32_t s) {
    uint32_t to = build_branch(a, s, ' ');
    build_empty(a, s, to);
    return to;
}

void automaton_release(struct automaton *a) {
    for (uint32_t i = 0; i < a->mark_count; i++) mem_free(a->marks[i].text);
    mem_free(a->states);
    mem_free(a->edges);
    mem_free(a->first_edge);
    mem_free(a->next_edge);
    mem_free(a->starts);
    mem_free(a->ranks);
    mem_free(a->counters);
    mem_free(a->marks);
    *a = (struct automaton){0};
}

/* --- edges by state ------------------------------------------------------------------------------
 */

static bool dead(const struct automaton *a, const struct edge *e, const uint16_t *heights) {
    return heights[e->target] == NO_HEIGHT ||
           (e->kind == EDGE_CALL && heights[a->starts[e->arg]] == NO_HEIGHT);
}

/* heights NULL: all of them */
static void pack(struct automaton *a, const uint16_t *heights) {
    struct edge *packed = mem_zalloc(a->edge_count + 1, sizeof *packed);
    uint32_t *from = mem_zalloc(a->edge_count + 1, sizeof *from), n = 0;
    for (uint32_t s = 0; s < a->state_count; s++) {
        struct state *st = &a->states[s];
        uint32_t start = n, count = 0;
        for (uint32_t e = a->first_edge[s]; e != NO_STATE; e = a->next_edge[e]) from[count++] = e;
        while (count) { /* the list has the last edge first */
            const struct edge *e = &a->edges[from[--count]];
            if (!heights || !dead(a, e, heights)) packed[n++] = *e;
        }
        st->edges = start;
        st->edge_count = n - start;
        st->leaf = st->accept && st->edge_count == 0;
    }
    mem_free(from);
    mem_free(a->edges);
    mem_free(a->first_edge);
    mem_free(a->next_edge);
    a->edges = packed;
    a->first_edge = a->next_edge = NULL;
    a->edge_count = n;
}

static void prune(struct automaton *a, const uint16_t *heights) {
    uint32_t n = 0;
    for (uint32_t s = 0; s < a->state_count; s++) {
        struct state *st = &a->states[s];
        uint32_t start = n;
        for (uint32_t e = st->edges; e < st->edges + st->edge_count; e++)
            if (!dead(a, &a->edges[e], heights)) a->edges[n++] = a->edges[e];
        st->edges = start;
        st->edge_count = n - start;
        st->leaf = st->accept && st->edge_count == 0;
    }
    a->edge_count = n;
}

/* --- ranks: what a rule may call before it consumes ----------------------------------------------
 */

struct closure {
    uint32_t *at, count;
    uint32_t *seen; /* by state: round */
    uint32_t round;
};

static void reach(const struct automaton *a, struct closure *c, uint32_t s) {
    c->round++;
    c->count = 0;
    c->at[c->count++] = s;
    c->seen[s] = c->round;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct state *st = &a->states[c->at[i]];
        for (uint32_t e = st->edges; e < st->edges + st->edge_count; e++) {
            if (a->edges[e].kind != EDGE_EMPTY || c->seen[a->edges[e].target] == c->round) continue;
            c->seen[a->edges[e].target] = c->round;
            c->at[c->count++] = a->edges[e].target;
        }
    }
}

/* The rules that `rule` calls before it consumes go to out, one for each edge; their number. */
static uint32_t left_calls(const struct automaton *a, struct closure *c, uint32_t rule,
                           uint32_t *out) {
    uint32_t n = 0;
    reach(a, c, a->starts[rule]);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct state *st = &a->states[c->at[i]];
        for (uint32_t e = st->edges; e < st->edges + st->edge_count; e++)
            if (a->edges[e].kind == EDGE_CALL) out[n++] = a->edges[e].arg;
    }
    return n;
}

static int rank(struct automaton *a, struct err *err) {
    struct closure c = {.at = mem_zalloc(a->state_count, sizeof *c.at),
                        .seen = mem_zalloc(a->state_count, sizeof *c.seen)};
    uint32_t *in = mem_zalloc(a->rule_count, sizeof *in), done = 0, n = 0;
    uint32_t *order = mem_zalloc(a->rule_count, sizeof *order);
    uint32_t *calls = mem_zalloc(a->edge_count + 1, sizeof *calls);
    a->ranks = mem_zalloc(a->rule_count, sizeof *a->ranks);
    for (uint32_t r = 0; r < a->rule_count; r++) {
        uint32_t count = left_calls(a, &c, r, calls);
        for (uint32_t i = 0; i < count; i++) in[calls[i]]++;
    }
    for (uint32_t r = 0; r < a->rule_count; r++)
        if (!in[r]) order[n++] = r;
    for (; done < n; done++) {
        a->ranks[order[done]] = done;
        uint32_t count = left_calls(a, &c, order[done], calls);
        for (uint32_t i = 0; i < count; i++)
            if (--in[calls[i]] == 0) order[n++] = calls[i];
    }
    mem_free(c.at);
    mem_free(c.seen);
    mem_free(in);
    mem_free(order);
    mem_free(calls);
    if (n < a->rule_count)
        return err_set(err, ERR_INTERNAL, "a rule of the grammar begins with itself");
    return 0;
}

/* --- heights -------------------------------------------------------------------------------------
 */

struct heights {
    const struct automaton *a;
    const struct grammar_vocab *v;
    uint16_t *h;
    uint32_t *users, *user_at; /* states with an edge to a state, or that call its rule */
    uint32_t *queue, head, tail;
    bool *queued;
};

static bool writable(const struct heights *x, const struct edge *e) {
    if (!x->v || x->v->complete) return true;
    for (unsigned b = e->lo; b <= e->hi; b++)
        if (x->v->writes[b]) return true;
    return false;
}

static unsigned edge_height(const struct heights *x, const struct edge *e) {
    unsigned to = x->h[e->target], called;
    switch ((enum edge_kind)e->kind) {
    case EDGE_BYTE: return writable(x, e) ? to : NO_HEIGHT;
    case EDGE_CALL:
        called = x->h[x->a->starts[e->arg]];
        if (to == NO_HEIGHT || called == NO_HEIGHT) return NO_HEIGHT;
        if (!x->a->states[e->target].leaf) called++;
        return called > to ? called : to;
    case EDGE_MARK:
        if (x->v && tokenizer_find(x->v->tokenizer, str_of(x->a->marks[e->arg].text)) < 0)
            return NO_HEIGHT;
        return to;
    case EDGE_EMPTY: return to;
    }
    return NO_HEIGHT;
}

static unsigned state_height(const struct heights *x, uint32_t s) {
    const struct state *st = &x->a->states[s];
    unsigned best = st->accept ? 0 : NO_HEIGHT;
    for (uint32_t e = st->edges; e < st->edges + st->edge_count; e++) {
        unsigned h = edge_height(x, &x->a->edges[e]);
        if (h < best) best = h;
    }
    return best;
}

static void enqueue(struct heights *x, uint32_t s) {
    if (x->queued[s]) return;
    x->queued[s] = true;
    x->queue[x->tail] = s;
    x->tail = x->tail + 1 == x->a->state_count ? 0 : x->tail + 1;
}

static void index_users(struct heights *x) {
    const struct automaton *a = x->a;
    x->user_at = mem_zalloc(a->state_count + 2, sizeof *x->user_at);
    x->users = mem_zalloc(2 * (size_t)a->edge_count + 1, sizeof *x->users);
    uint32_t *at = x->user_at + 1;
    for (uint32_t e = 0; e < a->edge_count; e++) {
        at[a->edges[e].target]++;
        if (a->edges[e].kind == EDGE_CALL) at[a->starts[a->edges[e].arg]]++;
    }
    uint32_t sum = 0;
    for (uint32_t s = 0; s < a->state_count; s++) {
        uint32_t n = at[s];
        at[s] = sum;
        sum += n;
    }
    for (uint32_t s = 0; s < a->state_count; s++) {
        const struct state *st = &a->states[s];
        for (uint32_t e = st->edges; e < st->edges + st->edge_count; e++) {
            x->users[at[a->edges[e].target]++] = s;
            if (a->edges[e].kind == EDGE_CALL) x->users[at[a->starts[a->edges[e].arg]]++] = s;
        }
    }
    /* at[s] is now where the users of s end: user_at[s] .. user_at[s + 1] */
}

static void settle(struct heights *x) {
    while (x->head != x->tail || x->queued[x->queue[x->head]]) {
        uint32_t s = x->queue[x->head];
        x->head = x->head + 1 == x->a->state_count ? 0 : x->head + 1;
        x->queued[s] = false;
        unsigned h = state_height(x, s);
        if (h >= x->h[s]) continue;
        x->h[s] = (uint16_t)h;
        for (uint32_t i = x->user_at[s]; i < x->user_at[s + 1]; i++) enqueue(x, x->users[i]);
    }
}

/* the lowest height behind a text of bytes that one token writes */
static unsigned after_text(const struct heights *x, uint32_t s, struct str text) {
    if (!text.n) return x->h[s];
    const struct state *st = &x->a->states[s];
    unsigned best = NO_HEIGHT, byte = (unsigned char)text.p[0];
    for (uint32_t i = st->edges; i < st->edges + st->edge_count; i++) {
        const struct edge *e = &x->a->edges[i];
        if (e->kind != EDGE_BYTE || byte < e->lo || byte > e->hi) continue;
        unsigned h = after_text(x, e->target, str_from(text, 1));
        if (h < best) best = h;
    }
    return best;
}

static bool has_multibyte(const struct automaton *a, const struct state *st) {
    for (uint32_t i = st->edges; i < st->edges + st->edge_count; i++)
        if (a->edges[i].kind == EDGE_BYTE && a->edges[i].hi >= 0xC2) return true;
    return false;
}

/* characters that the vocabulary has as one token although it lacks their bytes */
static bool whole_characters(struct heights *x) {
    bool found = false;
    for (uint32_t s = 0; s < x->a->state_count; s++) {
        if (x->h[s] != NO_HEIGHT || !has_multibyte(x->a, &x->a->states[s])) continue;
        for (uint32_t i = 0; i < x->v->char_count && x->h[s] == NO_HEIGHT; i++) {
            struct str text = tokenizer_bytes(x->v->tokenizer, x->v->char_ids[i]);
            unsigned h = after_text(x, s, text);
            if (h == NO_HEIGHT) continue;
            x->h[s] = (uint16_t)h;
            for (uint32_t u = x->user_at[s]; u < x->user_at[s + 1]; u++) enqueue(x, x->users[u]);
            found = true;
        }
    }
    return found;
}

uint16_t *automaton_heights(const struct automaton *a, const struct grammar_vocab *v) {
    struct heights x = {.a = a, .v = v};
    x.h = mem_zalloc(a->state_count, sizeof *x.h);
    x.queue = mem_zalloc(a->state_count, sizeof *x.queue);
    x.queued = mem_zalloc(a->state_count, sizeof *x.queued);
    index_users(&x);
    for (uint32_t s = 0; s < a->state_count; s++) x.h[s] = NO_HEIGHT;
    for (uint32_t s = a->state_count; s-- > 0;)
        if (a->states[s].accept) enqueue(&x, s);
    do settle(&x);
    while (v && !v->complete && whole_characters(&x));
    mem_free(x.queue);
    mem_free(x.queued);
    mem_free(x.users);
    mem_free(x.user_at);
    return x.h;
}

int build_finish(struct automaton *a, uint16_t **ret_heights, struct err *err) {
    if (a->over)
        return err_set(err, ERR_LIMIT, "the grammar needs more than %u states or %u edges",
                       GRAMMAR_STATES_MAX, GRAMMAR_EDGES_MAX);
    pack(a, NULL);
    uint16_t *heights = automaton_heights(a, NULL);
    prune(a, heights);
    int rc = rank(a, err);
    if (rc)
        mem_free(heights);
    else
        *ret_heights = heights;
    return rc;
}
