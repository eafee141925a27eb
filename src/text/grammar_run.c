/* Running an automaton: sets of threads, each a state with a stack. Stacks are shared sets: what
 * different threads push when they call the same rule at the same place is one node with several
 * frames, so that ambiguous schemas do not multiply them. */
#include "text/grammar_int.h"

#include <stdlib.h>

/* --- stacks --------------------------------------------------------------------------------------
 */

static const struct frame bottom_frame = {NO_STATE, 0};

static uint32_t frames_hash(const struct frame *f, uint32_t count) {
    uint64_t h = count;
    for (uint32_t i = 0; i < count; i++) {
        h = (h ^ f[i].ret) * 0x9E3779B97F4A7C15u;
        h = (h ^ f[i].parent ^ h >> 29) * 0xBF58476D1CE4E5B9u;
    }
    return (uint32_t)(h ^ h >> 32);
}

void stacks_init(struct stacks *s) {
    *s = (struct stacks){0};
    stacks_put(s, &bottom_frame, 1);
}

void stacks_release(struct stacks *s) {
    mem_free(s->nodes);
    mem_free(s->frames);
    mem_free(s->heads);
    *s = (struct stacks){0};
}

static void *copy_of(const void *p, size_t n, size_t size) {
    void *c = mem_zalloc(n ? n : 1, size);
    if (n) memcpy(c, p, n * size);
    return c;
}

void stacks_copy(const struct stacks *from, struct stacks *to) {
    *to = *from;
    to->nodes = copy_of(from->nodes, from->node_count, sizeof *to->nodes);
    to->frames = copy_of(from->frames, from->frame_count, sizeof *to->frames);
    to->heads = copy_of(from->heads, from->head_count, sizeof *to->heads);
    to->node_cap = from->node_count;
    to->frame_cap = from->frame_count;
}

static void rehash(struct stacks *s) {
    s->head_count = s->head_count ? 2 * s->head_count : 16;
    mem_free(s->heads);
    s->heads = mem_zalloc(s->head_count, sizeof *s->heads);
    memset(s->heads, 0xFF, s->head_count * sizeof *s->heads);
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct stack_node *n = &s->nodes[i];
        uint32_t *head = &s->heads[frames_hash(s->frames + n->first, n->count) % s->head_count];
        n->next = *head;
        *head = i;
    }
}

/* frames: sorted, without doubles */
uint32_t stacks_put(struct stacks *s, const struct frame *frames, uint32_t count) {
    if (s->node_count >= s->head_count) rehash(s);
    uint32_t *head = &s->heads[frames_hash(frames, count) % s->head_count];
    for (uint32_t i = *head; i != NO_STATE; i = s->nodes[i].next) {
        const struct stack_node *n = &s->nodes[i];
        if (n->count == count && !memcmp(s->frames + n->first, frames, count * sizeof *frames))
            return i;
    }
    struct stack_node n = {.first = s->frame_count, .count = count, .next = *head};
    for (uint32_t i = 0; i < count; i++) {
        if (frames[i].ret == NO_STATE) continue;
        uint32_t depth = s->nodes[frames[i].parent].depth + 1;
        if (depth > n.depth) n.depth = depth;
    }
    mem_grow((void **)&s->frames, &s->frame_cap, s->frame_count + count, sizeof *s->frames);
    memcpy(s->frames + s->frame_count, frames, count * sizeof *frames);
    s->frame_count += count;
    mem_grow((void **)&s->nodes, &s->node_cap, s->node_count + 1, sizeof *s->nodes);
    s->nodes[s->node_count] = n;
    *head = s->node_count;
    return s->node_count++;
}

/* --- closing -------------------------------------------------------------------------------------
 */

struct pending_call {
    uint32_t rule;
    struct frame frame;
};

void threads_release(struct threads *t) {
    mem_free(t->at);
    *t = (struct threads){0};
}

void runner_init(struct runner *r, const struct automaton *a, const uint16_t *heights,
                 struct stacks *stacks) {
    *r = (struct runner){
        .a = a, .heights = heights, .stacks = stacks, .room = GRAMMAR_DEPTH_MAX, .round = 1};
}

void runner_release(struct runner *r) {
    threads_release(&r->work);
    threads_release(&r->next);
    mem_free(r->seen);
    mem_free(r->calls);
    mem_free(r->frames);
    *r = (struct runner){0};
}

static uint32_t thread_hash(struct thread t) {
    uint64_t h = ((uint64_t)t.state << 32 | t.node) ^ (uint64_t)t.count * 0xBF58476D1CE4E5B9u;
    h *= 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32);
}

static bool same(struct thread a, struct thread b) {
    return a.state == b.state && a.count == b.count && a.node == b.node;
}

static void push(struct threads *l, struct thread t) {
    mem_grow((void **)&l->at, &l->cap, l->count + 1, sizeof *l->at);
    l->at[l->count++] = t;
}

/* the table is at most half full */
static void grow_seen(struct runner *r) {
    mem_free(r->seen);
    r->seen_size = r->seen_size ? 2 * r->seen_size : 64;
    r->seen = mem_zalloc(r->seen_size, sizeof *r->seen);
    r->round = 1;
    for (uint32_t i = 0; i < r->work.count; i++) {
        uint32_t at = thread_hash(r->work.at[i]) & (r->seen_size - 1);
        while (r->seen[at]) at = (at + 1) & (r->seen_size - 1);
        r->seen[at] = (uint64_t)r->round << 32 | (i + 1);
    }
}

static void add(struct runner *r, struct thread t) {
    if (2 * (r->work.count + 1) > r->seen_size) grow_seen(r);
    uint32_t at = thread_hash(t) & (r->seen_size - 1);
    for (; r->seen[at] >> 32 == r->round; at = (at + 1) & (r->seen_size - 1))
        if (same(r->work.at[(uint32_t)r->seen[at] - 1], t)) return;
    push(&r->work, t);
    r->seen[at] = (uint64_t)r->round << 32 | r->work.count;
}

static void call(struct runner *r, uint32_t rule, struct frame f) {
    mem_grow((void **)&r->calls, &r->call_cap, r->call_count + 1, sizeof *r->calls);
    r->calls[r->call_count++] = (struct pending_call){rule, f};
}

static void follow_call(struct runner *r, struct thread t, const struct edge *e) {
    const struct stack_node *n = &r->stacks->nodes[t.node];
    if (r->a->states[e->target].leaf) { /* its end is our end */
        for (uint32_t i = 0; i < n->count; i++) call(r, e->arg, r->stacks->frames[n->first + i]);
        return;
    }
    unsigned h = r->heights[e->target];
    if (h != NO_HEIGHT && n->depth + h <= r->room)
        call(r, e->arg, (struct frame){e->target, t.node});
}

/* true when the thread can consume something */
static bool follow(struct runner *r, struct thread t) {
    const struct state *st = &r->a->states[t.state];
    bool consumes = false;
    if (st->accept) {
        for (uint32_t i = 0; i < r->stacks->nodes[t.node].count; i++) {
            struct frame f = r->stacks->frames[r->stacks->nodes[t.node].first + i];
            if (f.ret == NO_STATE)
                r->work.ended = true;
            else
                add(r, (struct thread){f.ret, 0, f.parent});
        }
    }
    for (uint32_t i = st->edges; i < st->edges + st->edge_count; i++) {
        const struct edge *e = &r->a->edges[i];
        if (e->kind == EDGE_EMPTY)
            add(r, (struct thread){e->target, t.count, t.node});
        else if (e->kind == EDGE_CALL)
            follow_call(r, t, e);
        else
            consumes = true;
    }
    return consumes;
}

static int compare_frames(const void *x, const void *y) {
    const struct frame *a = x, *b = y;
    if (a->parent != b->parent) return a->parent < b->parent ? -1 : 1;
    return a->ret < b->ret ? -1 : a->ret > b->ret;
}

/* Enters the pending rule of lowest rank: nobody can call it any more at this place. */
static void enter(struct runner *r) {
    uint32_t rule = r->calls[0].rule, n = 0, left = 0, unique = 0;
    for (uint32_t i = 1; i < r->call_count; i++)
        if (r->a->ranks[r->calls[i].rule] < r->a->ranks[rule]) rule = r->calls[i].rule;
    mem_grow((void **)&r->frames, &r->frame_cap, r->call_count, sizeof *r->frames);
    for (uint32_t i = 0; i < r->call_count; i++) {
        if (r->calls[i].rule == rule)
            r->frames[n++] = r->calls[i].frame;
        else
            r->calls[left++] = r->calls[i];
    }
    r->call_count = left;
    if (n > 1) qsort(r->frames, n, sizeof *r->frames, compare_frames);
    for (uint32_t i = 0; i < n; i++)
        if (!i || compare_frames(&r->frames[i], &r->frames[unique - 1]))
            r->frames[unique++] = r->frames[i];
    uint32_t node = stacks_put(r->stacks, r->frames, unique);
    add(r, (struct thread){r->a->starts[rule], 0, node});
}

static int compare_threads(const void *x, const void *y) {
    const struct thread *a = x, *b = y;
    if (a->node != b->node) return a->node < b->node ? -1 : 1;
    if (a->state != b->state) return a->state < b->state ? -1 : 1;
    return a->count < b->count ? -1 : a->count > b->count;
}

void runner_close(struct runner *r, const struct thread *from, uint32_t count,
                  struct threads *out) {
    r->work.count = r->call_count = 0;
    r->work.ended = false;
    if (++r->round == 0) {
        if (r->seen) memset(r->seen, 0, r->seen_size * sizeof *r->seen);
        r->round = 1;
    }
    out->count = 0;
    for (uint32_t i = 0; i < count; i++) add(r, from[i]);
    for (uint32_t i = 0;;) {
        for (; i < r->work.count; i++)
            if (follow(r, r->work.at[i])) push(out, r->work.at[i]);
        if (!r->call_count) break;
        enter(r);
    }
    out->ended = r->work.ended;
    if (out->count > 1) qsort(out->at, out->count, sizeof *out->at, compare_threads);
}

/* --- steps ---------------------------------------------------------------------------------------
 */

static bool passes(const struct automaton *a, const struct edge *e, uint32_t *count) {
    const struct counter *c = e->op ? &a->counters[e->arg] : NULL;
    if (e->op == OP_CLOSE) {
        if (*count < c->min) return false;
        *count = 0;
    }
    if (e->op == OP_COUNT) {
        if (*count >= c->max) return false;
        if (c->max != COUNT_MAX || *count < c->min) ++*count;
    }
    return true;
}

void runner_step(struct runner *r, const struct thread *from, uint32_t count, unsigned byte,
                 struct threads *out) {
    r->next.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct state *st = &r->a->states[from[i].state];
        for (uint32_t k = st->edges; k < st->edges + st->edge_count; k++) {
            const struct edge *e = &r->a->edges[k];
            struct thread t = {e->target, from[i].count, from[i].node};
            if (e->kind != EDGE_BYTE || byte < e->lo || byte > e->hi) continue;
            if (passes(r->a, e, &t.count)) push(&r->next, t);
        }
    }
    runner_close(r, r->next.at, r->next.count, out);
}

void runner_mark(struct runner *r, const struct thread *from, uint32_t count, uint32_t mark,
                 struct threads *out) {
    r->next.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct state *st = &r->a->states[from[i].state];
        for (uint32_t k = st->edges; k < st->edges + st->edge_count; k++) {
            const struct edge *e = &r->a->edges[k];
            if (e->kind == EDGE_MARK && e->arg == mark)
                push(&r->next, (struct thread){e->target, 0, from[i].node});
        }
    }
    runner_close(r, r->next.at, r->next.count, out);
}

bool runner_rests(const struct runner *r, struct thread t) {
    unsigned h = r->heights[t.state];
    return h != NO_HEIGHT && r->stacks->nodes[t.node].depth + h <= r->room;
}

void runner_rest(const struct runner *r, struct threads *t) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (runner_rests(r, t->at[i])) t->at[n++] = t->at[i];
    t->count = n;
}

bool grammar_accepts_text(const struct grammar *g, struct str text, bool whole) {
    struct stacks stacks;
    struct runner r;
    struct threads now = {0}, next = {0};
    stacks_init(&stacks);
    runner_init(&r, &g->automaton, g->heights, &stacks);
    struct thread start = {g->automaton.starts[0], 0, 0};
    runner_close(&r, &start, 1, &now);
    for (size_t i = 0; i < text.n; i++) {
        runner_step(&r, now.at, now.count, (unsigned char)text.p[i], &next);
        struct threads t = now;
        now = next;
        next = t;
    }
    if (!whole) runner_rest(&r, &now);
    bool ok = now.ended || (!whole && now.count);
    threads_release(&now);
    threads_release(&next);
    runner_release(&r);
    stacks_release(&stacks);
    return ok;
}
