/* The driver of matrix products: cuts C into tiles for the threads and k into blocks for the
 * caches, prepares operands and calls the kernels (matmul_kernel.h). Tile sizes may follow the
 * shape and the number of threads, because no bit of the result depends on them; block lengths may
 * not.
 */
#include "num/matmul.h"

#include "num/matmul_kernel.h"
#include "num/num_int.h"

#include <assert.h>
#include <string.h>

#define DOT_TILE_COLS 512
#define DOT_AT_ONCE 8      /* register blocks of columns in a call, at most */
#define DOT_AT_ONCE_FEW 64 /* the same of few rows, which read the weights in place */
#define BC_TILE_ROWS 288
#define BC_TILE_COLS 1024
#define SPREAD_ROWS 32  /* up to so many rows reading B is worth its own order */
#define SPREAD_K 256    /* elements of a row of B from which on it is */
#define JOIN_K 128      /* a second segment up to here shares the last block of the first */
#define IN_PLACE_ROWS 3 /* up to so many register blocks of rows B is not worth packing */
#define ITEMS_PER_THREAD 4
#define ITEM_MIN 32768 /* multiplications worth an item: some microseconds */
#define PANEL_PAD 16
#define PACKED_MAX (2 << 20) /* elements of A */

struct job {
    struct num *num;
    const struct mm_kernels *kernels;
    const struct matmul *mm;
    struct mat a[2]; /* nt: A as the dot kernel reads it */
    bool round;      /* operands go through BF16 although the kernel takes F32 */
    bool transposed; /* A lies (k, m): tn */
    float alpha;
    int64_t tile_rows, tile_cols, row_tiles;
    char *packed;   /* nn, tn: all of A, or NULL: each tile packs its own */
    int64_t first;  /* nt: number of its first item in the loop of a list */
    size_t a_bytes; /* nt: of A converted; 0: shared with an earlier product of the list */
};

struct tile {
    int64_t i0, rows, j0, cols;
    int64_t end; /* columns that this thread goes on to end here; at least j0 + cols */
};

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t to) { return ceil_div(a, to) * to; }

static const void *at(const struct mat *x, int64_t i, int64_t j) {
    return (const char *)x->p + (size_t)(i * x->ld + j) * num_type_size(x->type);
}

static const struct mm_kernels *kernels_of(const struct num *num) {
#if defined(__x86_64__)
    enum num_isa isa = num_isa(num);
    bool bf16 = num_compute(num) == NUM_BF16;
    if (isa == NUM_AMX && bf16) return &mm_amx;
    if (isa >= NUM_AVX512BF16 && bf16) return &mm_avx512bf16;
    if (isa >= NUM_AVX512) return &mm_avx512;
    if (isa == NUM_AVX2) return &mm_avx2;
#endif
    (void)num;
    return &mm_scalar;
}

/* --- tiles --- */

static void tiles_choose(struct job *job, int64_t rows_max, int64_t row_unit, int64_t cols_max,
                         int64_t col_unit, int64_t items_per_thread) {
    const struct matmul *mm = job->mm;
    job->row_tiles = ceil_div(mm->m, rows_max);
    job->tile_rows = round_up(ceil_div(mm->m, job->row_tiles), row_unit);
    job->row_tiles = ceil_div(mm->m, job->tile_rows);
    int64_t items = (int64_t)pool_threads(num_pool(job->num)) * items_per_thread;
    int64_t cols = ceil_div(mm->n * job->row_tiles, items);
    job->tile_cols = round_up(min_of(cols, cols_max), col_unit);
}

static void tiles_run(struct job *job, void (*fn)(void *, int64_t)) {
    pool_run(num_pool(job->num), job->row_tiles * ceil_div(job->mm->n, job->tile_cols), fn, job);
}

static struct tile tile_at(const struct job *job, int64_t item) {
    int64_t i0 = item % job->row_tiles * job->tile_rows;
    int64_t j0 = item / job->row_tiles * job->tile_cols;
    int64_t cols = min_of(job->tile_cols, job->mm->n - j0);
    return (struct tile){i0, min_of(job->tile_rows, job->mm->m - i0), j0, cols, j0 + cols};
}

/* What stands in C before the first block adds to it; false: nothing, the first block writes. */
static bool tile_begin(const struct matmul *mm, const struct tile *t) {
    bool empty = mm->seg[0].k + mm->seg[1].k == 0;
    if (!mm->bias && !(empty && !mm->accumulate)) return mm->accumulate;
    for (int64_t i = t->i0; i < t->i0 + t->rows; i++) {
        float *c = mm->c + i * mm->ldc;
        for (int64_t j = t->j0; j < t->j0 + t->cols; j++) {
            float start = mm->accumulate ? c[j] : 0;
            c[j] = mm->bias ? start + mm->bias[j] : start;
        }
    }
    return true;
}

/* of rows of A or B in thread scratch, as long as a block of k can be */
static size_t panel_bytes(const struct mm_kernels *kr, int64_t rows) {
    return (size_t)(rows * (kr->dot_k + JOIN_K + PANEL_PAD)) * 4;
}

/* --- nt --- */

/* Cuts of k for the dot kernel: blocks of dot_k through each segment; a short second segment goes
 * with the last block of the first, so that it costs no horizontal sums of its own. */
struct cut {
    int64_t k0[2], k[2]; /* of each segment; k 0: no part in this block */
};

static bool cut_next(const struct job *job, struct cut *cut) {
    int64_t k_max = job->kernels->dot_k, total0 = job->mm->seg[0].k, total1 = job->mm->seg[1].k;
    cut->k0[0] += cut->k[0];
    cut->k0[1] += cut->k[1];
    cut->k[0] = min_of(k_max, total0 - cut->k0[0]);
    cut->k[1] = 0;
    bool joins = total1 <= JOIN_K && cut->k[0] > 0 && cut->k0[0] + cut->k[0] == total0;
    if (joins || cut->k[0] == 0) cut->k[1] = min_of(k_max, total1 - cut->k0[1]);
    return cut->k[0] + cut->k[1] > 0;
}

/* Weights to the kernel's type, in a small buffer of this thread, where they are not already: by
 * the kernel while it multiplies its first rows, or here. */
static void panel_prepare(const struct job *job, struct dot_piece *p, char *panel, int64_t rows,
                          int64_t cols) {
    const struct mm_kernels *kr = job->kernels;
    bool rounds = job->round && p->b_type != NUM_BF16;
    bool widens = kr->unit == 1 && p->b_type != NUM_F32 && rows > kr->dot_rows;
    bool narrows = kr->unit == 2 && p->b_type != NUM_BF16;
    bool edge = kr->dot_whole && cols < kr->dot_cols;
    int64_t ld = kr->dot_k + JOIN_K + PANEL_PAD;
    if (widens && !rounds) { /* while it multiplies */
        p->panel = (float *)(void *)panel;
        p->panel_ld = ld;
        return;
    }
    if (!rounds && !narrows && !edge) return;
    struct mat b = {p->b, p->b_type, p->ldb};
    size_t size = 4 / (size_t)kr->unit;
    for (int64_t j = 0; j < cols; j++) {
        char *row = panel + (size_t)(j * ld) * size;
        kr->convert(row, at(&b, j, 0), p->b_type, p->k);
        if (rounds && kr->unit == 1) kr->round((float *)row, p->k);
    }
    p->b = panel;
    p->ldb = ld;
    p->b_type = kr->unit == 1 ? NUM_F32 : NUM_BF16;
}

/* the operands of one block for all columns of a tile */
static void block_begin(const struct job *job, const struct tile *t, const struct cut *cut,
                        struct dot_block *x) {
    const struct mm_kernels *kr = job->kernels;
    char *packed =
        (char *)num_thread_scratch(job->num) + panel_bytes(kr, DOT_AT_ONCE * kr->dot_cols);
    bool many = t->rows > 2 * kr->dot_rows && t->cols > 4 * kr->dot_cols;
    bool packs = kr->dot_whole || (many && kr->dot_pack_a);
    x->pieces = 0;
    for (int s = 0; s < 2; s++) {
        if (cut->k[s] == 0) continue;
        struct dot_piece *p = &x->piece[x->pieces++];
        *p = (struct dot_piece){.a = at(&job->a[s], t->i0, cut->k0[s]),
                                .lda = job->a[s].ld,
                                .k = cut->k[s],
                                .a_packed = packs};
        if (!packs) continue;
        p->lda = kr->dot_pack_a(packed, p->a, p->lda, t->rows, p->k);
        p->a = packed;
        packed += (size_t)(round_up(t->rows, kr->dot_rows) * p->lda) * 4 / (size_t)kr->unit;
    }
}

/* j, end: columns of C from here, and where those that follow end */
static void dot_columns(const struct job *job, const struct cut *cut, struct dot_block *x,
                        int64_t j, int64_t end) {
    char *panel = num_thread_scratch(job->num);
    int64_t next = x->c_step == 1 ? j + x->cols : j + 1;
    struct dot_piece *p = x->piece;
    for (int s = 0; s < 2; s++) {
        if (cut->k[s] == 0) continue;
        const struct mat *b = &job->mm->seg[s].b;
        p->b = at(b, j, cut->k0[s]);
        p->ldb = b->ld * x->c_step;
        p->b_type = b->type;
        p->next = next < end ? at(b, next, cut->k0[s]) : NULL;
        p->panel = NULL;
        p->next_size = (int64_t)num_type_size(b->type);
        p->next_ld = p->ldb * p->next_size;
        panel_prepare(job, p++, panel, x->rows, x->cols);
        panel += (size_t)round_up(cut->k[s], PANEL_PAD) * 4 / (size_t)job->kernels->unit;
    }
    job->kernels->dot(x);
}

/* all of k in one block */
static bool one_block(const struct job *job) {
    int64_t first = job->mm->seg[0].k, second = job->mm->seg[1].k;
    return first <= job->kernels->dot_k && (second == 0 || (first > 0 && second <= JOIN_K));
}

/* Columns of a call of the kernel: as many register blocks as stay in L1. Without a panel there may
 * be more of them than fit there. */
static int64_t columns_at_once(const struct job *job, const struct tile *t, const struct cut *cut) {
    const struct mm_kernels *kr = job->kernels;
    int64_t bytes = (cut->k[0] + cut->k[1]) * 4 / kr->unit * kr->dot_cols;
    bool few = t->rows <= 2 * kr->dot_rows;
    bool in_place = kr->unit == 1 && !job->round && t->rows <= kr->dot_rows;
    int64_t most = in_place ? DOT_AT_ONCE_FEW : DOT_AT_ONCE;
    int64_t fit = few && !one_block(job) ? 1 : min_of(kr->dot_l1 / (bytes + 1), most);
    return kr->dot_cols * (fit > 1 ? fit : 1);
}

static void dot_tile(const struct job *job, const struct tile *t) {
    const struct matmul *mm = job->mm;
    struct dot_block x = {.rows = t->rows, .ldc = mm->ldc, .c_step = 1, .alpha = job->alpha};
    x.add = tile_begin(mm, t);
    int64_t end = t->j0 + t->cols;
    for (struct cut cut = {0}; cut_next(job, &cut); x.add = true) {
        block_begin(job, t, &cut, &x);
        int64_t step = columns_at_once(job, t, &cut);
        for (int64_t j = t->j0; j < end; j += step) {
            x.cols = min_of(step, end - j);
            x.c = mm->c + t->i0 * mm->ldc + j;
            dot_columns(job, &cut, &x, j, t->end);
        }
    }
}

/* Rows of A that stay in L2: more of them when they are shorter than a block of k may be. */
static int64_t dot_tile_rows(const struct job *job) {
    const struct mm_kernels *kr = job->kernels;
    int64_t k = min_of(job->mm->seg[0].k + job->mm->seg[1].k, kr->dot_k), rows = kr->dot_tile_rows;
    int64_t fit = k > 0 ? rows * kr->dot_k / k : rows;
    return round_up(min_of(fit, 2 * rows), kr->dot_rows);
}

/* Few rows, whose time is the reading of B: the columns that a call takes together lie a part of
 * the tile apart and the next call takes their neighbours, so that each is the head of one long
 * stream, which the hardware fetches ahead; rows side by side would be streams that end after a
 * row. */
static void dot_spread(const struct job *job, const struct tile *t) {
    const struct matmul *mm = job->mm;
    int64_t count = job->kernels->dot_cols, apart = t->cols / count;
    struct dot_block x = {
        .rows = t->rows, .cols = count, .ldc = mm->ldc, .c_step = apart, .alpha = job->alpha};
    struct tile part = {t->i0, t->rows, t->j0, one_block(job) ? t->cols : count, t->j0 + apart};
    bool add = tile_begin(mm, t);
    for (int64_t j = t->j0; j < part.end; j++) {
        x.add = add;
        x.c = mm->c + t->i0 * mm->ldc + j;
        for (struct cut cut = {0}; cut_next(job, &cut); x.add = true) {
            if (j == t->j0 || !one_block(job)) block_begin(job, &part, &cut, &x);
            dot_columns(job, &cut, &x, j, part.end);
        }
    }
}

static void nt_item(void *ctx, int64_t item) {
    const struct job *job = ctx;
    const struct mm_kernels *kr = job->kernels;
    struct tile t = tile_at(job, item), rest = t;
    int64_t k = job->mm->seg[0].k + job->mm->seg[1].k;
    int64_t apart = t.cols / kr->dot_cols;
    if (t.rows <= SPREAD_ROWS && apart > 1 && k >= SPREAD_K && !kr->dot_whole) {
        t.cols = apart * kr->dot_cols;
        rest.j0 += t.cols;
        rest.cols -= t.cols;
        dot_spread(job, &t);
    }
    if (rest.cols > 0) dot_tile(job, &rest);
}

static void a_row_convert(void *ctx, int64_t i) {
    const struct job *job = ctx;
    const struct mm_kernels *kr = job->kernels;
    for (int s = 0; s < 2; s++) {
        int64_t k = job->mm->seg[s].k;
        if (k == 0) continue;
        void *out = (void *)(uintptr_t)at(&job->a[s], i, 0);
        kr->convert(out, at(&job->mm->seg[s].a, i, 0), NUM_F32, k);
        if (kr->unit == 1) kr->round(out, k);
    }
}

static struct job job_of(struct num *num, const struct matmul *mm) {
    struct job job = {.num = num, .kernels = kernels_of(num), .mm = mm};
    job.alpha = mm->alpha == 0 ? 1 : mm->alpha;
    job.round = num_compute(num) == NUM_BF16 && job.kernels->unit == 1;
    for (int s = 0; s < 2; s++) {
        job.a[s] = mm->seg[s].a;
        assert(mm->seg[s].k == 0 || mm->seg[s].a.type == NUM_F32);
    }
    return job;
}

static void nt_tiles(struct job *job) {
    const struct mm_kernels *kr = job->kernels;
    const struct matmul *mm = job->mm;
    tiles_choose(job, dot_tile_rows(job), kr->dot_rows, DOT_TILE_COLS, kr->dot_cols,
                 ITEMS_PER_THREAD);
    int64_t each = job->tile_rows * (mm->seg[0].k + mm->seg[1].k) + 1;
    int64_t least = min_of(ceil_div(ITEM_MIN, each), DOT_TILE_COLS);
    if (job->tile_cols < least) job->tile_cols = round_up(least, kr->dot_cols);
}

/* Where row 0 of x lies in y, when all of x is part of y; -1: it is not. */
static int64_t rows_inside(const struct matmul *x, const struct matmul *y) {
    const struct mat *a = &x->seg[0].a, *b = &y->seg[0].a;
    if (x->seg[1].k || y->seg[1].k || a->ld != b->ld || x->seg[0].k != y->seg[0].k) return -1;
    uintptr_t from = (uintptr_t)a->p, begin = (uintptr_t)b->p, row = (uintptr_t)a->ld * 4;
    if (from < begin || row == 0 || (from - begin) % row != 0) return -1;
    int64_t at = (int64_t)((from - begin) / row);
    return at + x->m <= y->m ? at : -1;
}

/* Activations to BF16 once for all tiles and all products that share them. */
static void a_convert_all(struct num *num, struct job *jobs, int64_t count) {
    enum num_type type = jobs[0].kernels->unit == 1 ? NUM_F32 : NUM_BF16;
    size_t size = num_type_size(type), bytes = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct matmul *mm = jobs[i].mm;
        int64_t ld0 = round_up(mm->seg[0].k, 32), ld1 = round_up(mm->seg[1].k, 32);
        jobs[i].a[0].ld = ld0;
        jobs[i].a[1].ld = ld1;
        jobs[i].a_bytes = (size_t)(mm->m * (ld0 + ld1)) * size;
        for (int64_t j = 0; j < i && jobs[i].a_bytes; j++)
            if (jobs[j].a_bytes && rows_inside(mm, jobs[j].mm) >= 0) jobs[i].a_bytes = 0;
        bytes += jobs[i].a_bytes;
    }
    char *p = num_scratch(num, NUM_SLOT_PACK, bytes);
    for (int64_t i = 0; i < count; i++) {
        struct job *job = &jobs[i];
        int64_t inside = -1, m = job->mm->m;
        for (int64_t j = 0; job->a_bytes == 0 && inside < 0 && j < i; j++)
            if (jobs[j].a_bytes && (inside = rows_inside(job->mm, jobs[j].mm)) >= 0)
                job->a[0].p = at(&jobs[j].a[0], inside, 0);
        job->a[0].type = job->a[1].type = type;
        if (inside >= 0) continue;
        job->a[0].p = p;
        job->a[1].p = p + (size_t)(m * job->a[0].ld) * size;
        p += job->a_bytes;
        if (m * (job->a[0].ld + job->a[1].ld) < 16384) /* less than it costs to call the threads */
            for (int64_t r = 0; r < m; r++) a_row_convert(job, r);
        else
            pool_run(num_pool(num), m, a_row_convert, job);
    }
}

struct list {
    struct job *jobs;
    int64_t count;
};

static void list_item(void *ctx, int64_t item) {
    const struct list *l = ctx;
    int64_t lo = 0, hi = l->count;
    while (hi - lo > 1) {
        int64_t middle = lo + (hi - lo) / 2;
        if (l->jobs[middle].first <= item)
            lo = middle;
        else
            hi = middle;
    }
    nt_item(&l->jobs[lo], item - l->jobs[lo].first);
}

void matmul_nt_list(struct num *num, const struct matmul *mm, int64_t count) {
    struct list l = {.jobs = num_scratch(num, NUM_SLOT_LIST, (size_t)count * sizeof *l.jobs)};
    for (int64_t i = 0; i < count; i++)
        if (mm[i].m > 0 && mm[i].n > 0) l.jobs[l.count++] = job_of(num, &mm[i]);
    if (l.count == 0) return;
    if (num_compute(num) == NUM_BF16) a_convert_all(num, l.jobs, l.count);
    size_t scratch = 0;
    int64_t items = 0;
    for (int64_t i = 0; i < l.count; i++) {
        struct job *job = &l.jobs[i];
        const struct mm_kernels *kr = job->kernels;
        int64_t rows = dot_tile_rows(job), cols = DOT_AT_ONCE * kr->dot_cols;
        size_t bytes = panel_bytes(kr, cols) + panel_bytes(kr, rows);
        if (bytes > scratch) scratch = bytes;
        nt_tiles(job);
        job->first = items;
        items += job->row_tiles * ceil_div(job->mm->n, job->tile_cols);
    }
    num_thread_scratch_reserve(num, scratch);
    pool_run(num_pool(num), items, list_item, &l);
}

void matmul_nt(struct num *num, const struct matmul *mm) { matmul_nt_list(num, mm, 1); }

/* --- nn, tn --- */

/* a piece of k inside one segment */
struct block {
    int s;
    int64_t k0, k;
};

static int64_t block_length(const struct job *job) {
    return job->kernels->bc_k * job->kernels->unit;
}

static int64_t block_count(const struct job *job) {
    int64_t k = block_length(job);
    return ceil_div(job->mm->seg[0].k, k) + ceil_div(job->mm->seg[1].k, k);
}

static struct block block_at(const struct job *job, int64_t index) {
    int64_t k = block_length(job), first = ceil_div(job->mm->seg[0].k, k);
    int s = index >= first;
    int64_t k0 = (s ? index - first : index) * k;
    return (struct block){s, k0, min_of(k, job->mm->seg[s].k - k0)};
}

static size_t a_block_bytes(const struct mm_kernels *kr, int64_t rows) {
    return (size_t)round_up(rows, kr->bc_rows) * (size_t)(kr->bc_k + BC_PAD) * 4;
}

static void a_pack(const struct job *job, const struct tile *t, const struct block *bl, void *out) {
    const struct mm_kernels *kr = job->kernels;
    const struct mat *a = &job->mm->seg[bl->s].a;
    if (job->transposed)
        kr->pack_at(out, at(a, bl->k0, t->i0), a->ld, t->rows, bl->k);
    else
        kr->pack_a(out, at(a, t->i0, bl->k0), a->ld, t->rows, bl->k);
    if (job->round) kr->round(out, (int64_t)(a_block_bytes(kr, t->rows) / sizeof(float)));
}

static char *a_piece(const struct job *job, int64_t row_tile, int64_t block) {
    size_t bytes = a_block_bytes(job->kernels, job->tile_rows);
    return job->packed + (size_t)(block * job->row_tiles + row_tile) * bytes;
}

static void a_piece_pack(void *ctx, int64_t item) {
    const struct job *job = ctx;
    int64_t row_tile = item % job->row_tiles, block = item / job->row_tiles;
    struct tile t = tile_at(job, row_tile);
    struct block bl = block_at(job, block);
    a_pack(job, &t, &bl, a_piece(job, row_tile, block));
}

static void a_pack_all(struct job *job) {
    int64_t pieces = job->row_tiles * block_count(job);
    size_t bytes = (size_t)pieces * a_block_bytes(job->kernels, job->tile_rows);
    job->packed = num_scratch(job->num, NUM_SLOT_PACK_A, bytes);
    pool_run(num_pool(job->num), pieces, a_piece_pack, job);
}

static void bc_columns(const struct job *job, const struct tile *t, const struct block *bl,
                       struct bc_block *x, int64_t j) {
    const struct mm_kernels *kr = job->kernels;
    const struct matmul *mm = job->mm;
    const struct mat *b = &mm->seg[bl->s].b;
    char *panel = (char *)num_thread_scratch(job->num) + a_block_bytes(kr, BC_TILE_ROWS);
    x->cols = min_of(kr->bc_cols, t->j0 + t->cols - j);
    x->c = mm->c + t->i0 * mm->ldc + j;
    bool in_place = kr->unit == 1 && b->type == NUM_F32 && !job->round && x->cols == kr->bc_cols &&
                    t->rows <= IN_PLACE_ROWS * kr->bc_rows;
    if (in_place) {
        x->b = at(b, bl->k0, j);
        x->ldb = b->ld;
    } else {
        kr->pack_b(panel, at(b, bl->k0, j), b->type, b->ld, bl->k, x->cols);
        if (job->round && b->type != NUM_BF16) kr->round((float *)panel, bl->k * kr->bc_cols);
        x->b = panel;
        x->ldb = kr->bc_cols;
    }
    kr->bc(x);
}

static void bc_item(void *ctx, int64_t item) {
    const struct job *job = ctx;
    const struct mm_kernels *kr = job->kernels;
    struct tile t = tile_at(job, item);
    bool add = tile_begin(job->mm, &t);
    int64_t blocks = block_count(job);
    for (int64_t b = 0; b < blocks; b++, add = true) {
        struct block bl = block_at(job, b);
        char *a = num_thread_scratch(job->num);
        if (job->packed)
            a = a_piece(job, item % job->row_tiles, b);
        else
            a_pack(job, &t, &bl, a);
        struct bc_block x = {.a = a,
                             .transposed = job->transposed,
                             .k = ceil_div(bl.k, kr->unit),
                             .rows = t.rows,
                             .ldc = job->mm->ldc,
                             .alpha = job->alpha,
                             .add = add};
        for (int64_t j = t.j0; j < t.j0 + t.cols; j += kr->bc_cols) bc_columns(job, &t, &bl, &x, j);
    }
}

static void bc_run(struct num *num, const struct matmul *mm, bool transposed) {
    if (mm->m == 0 || mm->n == 0) return;
    struct job job = job_of(num, mm);
    job.transposed = transposed;
    const struct mm_kernels *kr = job.kernels;
    size_t panel = (size_t)kr->bc_k * (size_t)kr->bc_cols * 4;
    num_thread_scratch_reserve(num, a_block_bytes(kr, BC_TILE_ROWS) + panel);
    /* A small A is packed once for all; then narrow tiles cost nothing and keep threads together */
    bool packs = mm->m * (mm->seg[0].k + mm->seg[1].k) <= PACKED_MAX && mm->n > kr->bc_cols;
    tiles_choose(&job, BC_TILE_ROWS, kr->bc_rows, BC_TILE_COLS, kr->bc_cols,
                 packs ? 2 * ITEMS_PER_THREAD : ITEMS_PER_THREAD);
    if (packs) a_pack_all(&job);
    tiles_run(&job, bc_item);
}

void matmul_nn(struct num *num, const struct matmul *mm) { bc_run(num, mm, false); }

/* A narrow C (the gradient of a low-rank factor): packing A for so few columns would cost as much
 * as the product. Its transpose is short and wide and reads both operands in place, and multiplies
 * and adds the same numbers in the same order. */
struct flip {
    const struct matmul *mm;
    float *ct; /* (n, m) */
    bool back;
};

#define FLIP_ROWS 64

static void flip_item(void *ctx, int64_t item) {
    const struct flip *f = ctx;
    const struct matmul *mm = f->mm;
    int64_t end = min_of(mm->m, (item + 1) * FLIP_ROWS);
    for (int64_t i = item * FLIP_ROWS; i < end; i++)
        for (int64_t j = 0; j < mm->n; j++) {
            float *c = mm->c + i * mm->ldc + j, *t = f->ct + j * mm->m + i;
            if (f->back)
                *c = *t;
            else
                *t = *c;
        }
}

static void tn_flipped(struct num *num, const struct matmul *mm) {
    struct flip f = {.mm = mm};
    f.ct = num_scratch(num, NUM_SLOT_PACK, (size_t)(mm->m * mm->n) * sizeof *f.ct);
    struct matmul t = *mm;
    t.m = mm->n;
    t.n = mm->m;
    t.c = f.ct;
    t.ldc = mm->m;
    for (int s = 0; s < 2; s++) {
        t.seg[s].a = mm->seg[s].b;
        t.seg[s].b = mm->seg[s].a;
    }
    int64_t items = ceil_div(mm->m, FLIP_ROWS);
    if (mm->accumulate) pool_run(num_pool(num), items, flip_item, &f);
    bc_run(num, &t, true);
    f.back = true;
    pool_run(num_pool(num), items, flip_item, &f);
}

void matmul_tn(struct num *num, const struct matmul *mm) {
    int64_t few = IN_PLACE_ROWS * kernels_of(num)->bc_rows;
    if (mm->n > 0 && mm->n <= few && mm->m >= 4 * mm->n && !mm->bias)
        tn_flipped(num, mm);
    else
        bc_run(num, mm, true);
}
