/* How attention is cut into items. Forward: some positions of one span for all query heads of one
 * kv head, so that a key is packed once for the whole group; when there are few such tiles
 * (decoding a long context) their parts of 1024 keys run as items of their own and are merged
 * afterwards, in the order in which one item would have merged them. Backward: one query head of
 * one span; the gradients of keys and values that query heads share are summed in a second loop, in
 * head order. */
#include "num/attention.h"

#include "num/attention_kernel.h"
#include "num/num_int.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct tile {
    const struct attn_span *span;
    int64_t first, count; /* rows of the span */
    int64_t part_from,
        parts;     /* keys [part_from, part_from + parts) · ATTN_PART hold what it sees */
    int64_t state; /* partial states of earlier tiles, per kv head */
};

struct job {
    struct num *num;
    const struct attn *a;
    const struct attn_kernels *k;
    int64_t group, padded, tile_rows, state_floats;
    struct tile *tiles;
    int64_t tile_count;
    float *states; /* NULL: a tile runs its parts by itself */
    int64_t *tile_of;
    const float *q;
    float *out, *lse;
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static const struct attn_kernels *kernels_of(const struct num *num) {
#if defined __x86_64__
    if (num_isa(num) >= NUM_AVX512) return &attn_avx512;
    if (num_isa(num) == NUM_AVX2) return &attn_avx2;
#else
    (void)num;
#endif
    return &attn_scalar;
}

static int64_t tiles_count(const struct attn *a, int64_t per_tile) {
    int64_t count = 0;
    for (int64_t s = 0; s < a->span_count; s++)
        count += (a->spans[s].rows + per_tile - 1) / per_tile;
    return count;
}

/* Fills `tiles`; returns the number of parts in all of them. */
static int64_t tiles_fill(const struct attn *a, int64_t per_tile, struct tile *tiles) {
    int64_t parts = 0;
    for (int64_t s = 0; s < a->span_count; s++) {
        const struct attn_span *span = &a->spans[s];
        for (int64_t first = 0; first < span->rows; first += per_tile) {
            int64_t count = min64(per_tile, span->rows - first), at = span->pos0 + first;
            int64_t lo = a->window > 0 && at + 1 > a->window ? at + 1 - a->window : 0;
            int64_t from = lo / ATTN_PART, to = (at + count - 1) / ATTN_PART + 1;
            *tiles++ = (struct tile){span, first, count, from, to - from, parts};
            parts += to - from;
        }
    }
    return parts;
}

/* --- forward --- */

static struct attn_state state_at(const struct job *j, float *p) {
    int64_t even = (j->tile_rows + ATTN_LANES - 1) / ATTN_LANES * ATTN_LANES;
    return (struct attn_state){p, p + even, p + 2 * even};
}

static struct attn_rows rows_of(const struct job *j, const struct tile *t, int64_t kv_head) {
    const struct attn *a = j->a;
    return (struct attn_rows){
        .q = j->q + (t->span->row + t->first) * a->q_stride + kv_head * j->group * a->head_dim,
        .q_stride = a->q_stride,
        .first = t->span->pos0 + t->first,
        .count = t->count,
        .group = j->group,
        .k = t->span->k + kv_head * a->head_dim,
        .v = t->span->v + kv_head * a->head_dim,
        .kv_stride = a->kv_stride,
        .head_dim = a->head_dim,
        .window = a->window,
        .scale = a->scale,
    };
}

static void part_run(const struct job *j, const struct tile *t, int64_t kv_head, int64_t part,
                     struct attn_state state, float *work) {
    struct attn_rows rows = rows_of(j, t, kv_head);
    int64_t from = (t->part_from + part) * ATTN_PART;
    int64_t to = min64(from + ATTN_PART, rows.first + rows.count);
    j->k->forward(&rows, from, to, state, work);
}

static void write_rows(const struct job *j, const struct tile *t, int64_t kv_head,
                       struct attn_state s) {
    const struct attn *a = j->a;
    for (int64_t r = 0; r < t->count * j->group; r++) {
        int64_t row = t->span->row + t->first + r / j->group,
                head = kv_head * j->group + r % j->group;
        float *out = j->out + row * a->out_stride + head * a->head_dim;
        const float *acc = s.acc + r * j->padded;
        float inverse = 1.0f / s.sum[r];
        for (int64_t d = 0; d < a->head_dim; d++) out[d] = acc[d] * inverse;
        if (j->lse) j->lse[row * a->heads + head] = s.max[r] + logf(s.sum[r]);
    }
}

static void tile_item(void *ctx, int64_t i) {
    const struct job *j = ctx;
    i = j->tile_count * j->a->kv_heads - 1 - i; /* the last tiles see most keys: first */
    const struct tile *t = &j->tiles[i / j->a->kv_heads];
    int64_t kv_head = i % j->a->kv_heads;
    float *mine = num_thread_scratch(j->num);
    struct attn_state state = state_at(j, mine), next = state_at(j, mine + j->state_floats);
    float *work = mine + 2 * j->state_floats;
    part_run(j, t, kv_head, 0, state, work);
    for (int64_t part = 1; part < t->parts; part++) {
        part_run(j, t, kv_head, part, next, work);
        j->k->merge(state, next, t->count * j->group, j->padded);
    }
    write_rows(j, t, kv_head, state);
}

static struct attn_state partial(const struct job *j, const struct tile *t, int64_t kv_head,
                                 int64_t part) {
    int64_t at = (t->state + part) * j->a->kv_heads + kv_head;
    return state_at(j, j->states + at * j->state_floats);
}

static void part_item(void *ctx, int64_t i) {
    const struct job *j = ctx;
    int64_t kv_head = i % j->a->kv_heads, p = i / j->a->kv_heads;
    const struct tile *t = &j->tiles[j->tile_of[p]];
    part_run(j, t, kv_head, p - t->state, partial(j, t, kv_head, p - t->state),
             num_thread_scratch(j->num));
}

static void merge_item(void *ctx, int64_t i) {
    const struct job *j = ctx;
    int64_t kv_head = i % j->a->kv_heads;
    const struct tile *t = &j->tiles[i / j->a->kv_heads];
    struct attn_state state = partial(j, t, kv_head, 0);
    for (int64_t part = 1; part < t->parts; part++)
        j->k->merge(state, partial(j, t, kv_head, part), t->count * j->group, j->padded);
    write_rows(j, t, kv_head, state);
}

static void run_parts(struct job *j, int64_t parts) {
    for (int64_t t = 0; t < j->tile_count; t++)
        for (int64_t p = 0; p < j->tiles[t].parts; p++) j->tile_of[j->tiles[t].state + p] = t;
    pool_run(num_pool(j->num), parts * j->a->kv_heads, part_item, j);
    pool_run(num_pool(j->num), j->tile_count * j->a->kv_heads, merge_item, j);
}

static struct job job_begin(struct num *num, const struct attn *a) {
    assert(a->kv_heads > 0 && a->heads % a->kv_heads == 0 && a->head_dim > 0);
    int64_t group = a->heads / a->kv_heads;
    return (struct job){.num = num,
                        .a = a,
                        .k = kernels_of(num),
                        .group = group,
                        .padded = attn_padded(a->head_dim)};
}

void attention_forward(struct num *num, const struct attn *a, float *out, float *lse,
                       const float *q) {
    struct job j = job_begin(num, a);
    int64_t per_tile = j.group < ATTN_ROWS ? ATTN_ROWS / j.group : 1, longest = 1;
    for (int64_t s = 0; s < a->span_count; s++)
        if (a->spans[s].rows > longest) longest = a->spans[s].rows;
    j.q = q, j.out = out, j.lse = lse;
    j.tile_rows = min64(per_tile, longest) * j.group;
    j.state_floats = attn_state_floats(j.tile_rows, j.padded);
    j.tile_count = tiles_count(a, per_tile);
    size_t tile_bytes = (size_t)j.tile_count * sizeof *j.tiles;
    j.tiles = num_scratch(num, NUM_SLOT_ATTENTION, tile_bytes);
    int64_t parts = tiles_fill(a, per_tile, j.tiles);
    int64_t floats = 2 * j.state_floats + attn_forward_floats(j.tile_rows, j.padded);
    num_thread_scratch_reserve(num, (size_t)floats * sizeof(float));
    int64_t items = j.tile_count * a->kv_heads;
    if (items >= 4 * pool_threads(num_pool(num)) || parts == j.tile_count) {
        pool_run(num_pool(num), items, tile_item, &j);
        return;
    }
    size_t state_bytes = (size_t)(parts * a->kv_heads * j.state_floats) * sizeof(float);
    char *p = num_scratch(num, NUM_SLOT_ATTENTION, state_bytes + tile_bytes + (size_t)parts * 8);
    j.states = (float *)(void *)p;
    j.tiles = (struct tile *)(void *)(p + state_bytes);
    j.tile_of = (int64_t *)(void *)(p + state_bytes + tile_bytes);
    tiles_fill(a, per_tile, j.tiles);
    run_parts(&j, parts);
}

/* --- backward --- */

struct backward_job {
    struct job base;
    float *dq, *dk, *dv; /* as the caller's, or partial: (rows, heads·head_dim) */
    float *sum_dk, *sum_dv;
    const float *dout, *out, *lse;
    int64_t stride; /* of dk, dv */
};

static int64_t first_key_row(const struct attn_span *span) { return span->row + span->key_offset; }

static void head_item(void *ctx, int64_t i) {
    const struct backward_job *b = ctx;
    const struct attn *a = b->base.a;
    const struct attn_span *span = &a->spans[i / a->heads];
    int64_t head = i % a->heads, at = head * a->head_dim, kv = head / b->base.group * a->head_dim;
    int64_t dkv = first_key_row(span) * b->stride + (b->base.group > 1 ? at : kv);
    struct attn_head h = {
        .rows = span->rows,
        .before = span->pos0,
        .head_dim = a->head_dim,
        .window = a->window,
        .scale = a->scale,
        .q = b->base.q + span->row * a->q_stride + at,
        .dout = b->dout + span->row * a->out_stride + at,
        .out = b->out + span->row * a->out_stride + at,
        .lse = b->lse + span->row * a->heads + head,
        .dq = b->dq + span->row * a->q_stride + at,
        .q_stride = a->q_stride,
        .out_stride = a->out_stride,
        .lse_stride = a->heads,
        .k = span->k + kv,
        .v = span->v + kv,
        .kv_stride = a->kv_stride,
        .dk = b->dk + dkv,
        .dv = b->dv + dkv,
        .dkv_stride = b->stride,
    };
    b->base.k->backward(&h, num_thread_scratch(b->base.num));
}

static void sum_heads(float *to, const float *from, int64_t group, int64_t dim) {
    for (int64_t d = 0; d < dim; d++) {
        float sum = from[d];
        for (int64_t g = 1; g < group; g++) sum += from[g * dim + d];
        to[d] = sum;
    }
}

static void sum_item(void *ctx, int64_t i) {
    const struct backward_job *b = ctx;
    const struct attn *a = b->base.a;
    const struct attn_span *span = &a->spans[i / a->kv_heads];
    int64_t head = i % a->kv_heads, first = first_key_row(span);
    for (int64_t row = first; row < first + span->pos0 + span->rows; row++) {
        int64_t to = row * a->kv_stride + head * a->head_dim;
        int64_t from = row * b->stride + head * b->base.group * a->head_dim;
        sum_heads(b->sum_dk + to, b->dk + from, b->base.group, a->head_dim);
        sum_heads(b->sum_dv + to, b->dv + from, b->base.group, a->head_dim);
    }
}

static void backward_scratch(struct backward_job *b) {
    const struct attn *a = b->base.a;
    int64_t end = 0, longest = 0;
    for (int64_t s = 0; s < a->span_count; s++) {
        const struct attn_span *span = &a->spans[s];
        int64_t keys_end = first_key_row(span) + span->pos0 + span->rows;
        if (span->rows > longest) longest = span->rows;
        if (keys_end > end) end = keys_end;
    }
    num_thread_scratch_reserve(b->base.num, (size_t)attn_backward_floats(longest, b->base.padded) *
                                                sizeof(float));
    if (b->base.group == 1) return;
    b->stride = a->heads * a->head_dim;
    size_t one = (size_t)(end * b->stride) * sizeof(float);
    char *p = num_scratch(b->base.num, NUM_SLOT_ATTENTION, 2 * one);
    b->dk = (float *)(void *)p;
    b->dv = (float *)(void *)(p + one);
}

void attention_backward(struct num *num, const struct attn *a, float *dq, float *dk, float *dv,
                        const float *dout, const float *out, const float *lse, const float *q) {
    assert(dq != dout);
    struct backward_job b = {.base = job_begin(num, a),
                             .dq = dq,
                             .dk = dk,
                             .dv = dv,
                             .sum_dk = dk,
                             .sum_dv = dv,
                             .dout = dout,
                             .out = out,
                             .lse = lse,
                             .stride = a->kv_stride};
    b.base.q = q;
    backward_scratch(&b);
    pool_run(num_pool(num), a->span_count * a->heads, head_item, &b);
    if (b.base.group > 1) pool_run(num_pool(num), a->span_count * a->kv_heads, sum_item, &b);
}
