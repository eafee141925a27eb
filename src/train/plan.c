/* The plan: what will be resident at most and how long it will take, and the micro-batch that fits.
 *
 * Memory is counted, not guessed: weights (all pages get touched), activations and trained values
 * (one block each, sizes known), rows, scratch of the kernels (measured in the trial), and what the
 * process held before. Choosing depends on sizes and the memory limit alone, never on threads or
 * time, because the bits of the result depend on the micro-batch. Recomputation does not change
 * bits.
 */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "weights/gguf.h"

#include <string.h>

#define MICRO_TOKENS 1024
#define MICRO_TOKENS_LEAST 64
#define TRIAL_TOKENS 256
#define LOSS_ROWS 256
#define LOSS_BYTES ((size_t)64 << 20)
#define OTHER_SCRATCH ((size_t)12 << 20)
#define MIB 1048576.0

/* --- the largest micro-batch --- */

static struct micro next(const struct trainer *t, const struct sample *const *rows, int64_t count) {
    struct objective o = trainer_objective(t);
    return objective_micro(&o, rows, count);
}

/* Widens t->size; true where a micro-batch has more tokens than any before: *ret_at is its first
 * row. */
static bool see_rows(struct trainer *t, const struct sample *const *rows, int64_t count,
                     int64_t *ret_at) {
    struct net_size *size = &t->size;
    bool larger = false;
    for (int64_t at = 0; at < count;) {
        struct micro m = next(t, rows + at, count - at);
        if (m.tokens > size->tokens) {
            size->tokens = m.tokens;
            *ret_at = at;
            larger = true;
        }
        if (m.trained > size->trained) size->trained = m.trained;
        if (m.count > size->rows) size->rows = m.count;
        if (m.keys > size->keys) size->keys = m.keys;
        at += m.count;
    }
    return larger;
}

void plan_sizes(struct trainer *t) {
    const struct job *j = &t->job;
    struct net_size *s = &t->size;
    int64_t longest =
        t->data.longest > t->valid_data.longest ? t->data.longest : t->valid_data.longest;
    *s = (struct net_size){
        .recompute = j->recompute, .dropout = j->o.dropout > 0, .row_tokens = longest};
    for (int64_t step = 1; step <= j->steps; step++) {
        int64_t n = trainer_step_rows(t, step);
        if (see_rows(t, t->step_rows, n, &t->largest.at)) t->largest.step = step;
    }
    int64_t unused;
    see_rows(t, t->valid, t->valid_count, &unused);
}

/* --- memory --- */

/* bytes of the weights that are file pages; expanded ones are in the heap and counted there */
static size_t mapped_weights(const struct trainer *t) {
    bool in_heap = !t->model->tensors || gguf_is(t->job.o.base);
    return in_heap ? 0 : model_weight_bytes(t->model);
}

/* of the kernels, before the trial shows it: logits of a block of rows, gradients of every head's
 * keys and values, packed inputs, the rest */
static size_t scratch_guess(const struct trainer *t) {
    const struct model_config *c = &t->config;
    const struct net_size *s = &t->size;
    size_t logits = (size_t)c->vocab * LOSS_ROWS * sizeof(float);
    int64_t keys = s->keys > s->tokens ? s->keys : s->tokens;
    int64_t input = (c->ff > c->dim ? c->ff : c->dim) + 3 * t->params.rank;
    size_t activations = (size_t)(keys * c->heads * c->head_dim + s->tokens * input) * 2;
    return (logits < LOSS_BYTES ? logits : LOSS_BYTES) + activations * sizeof(float) +
           OTHER_SCRATCH;
}

static size_t predicted_peak(const struct trainer *t) {
    size_t bytes = mem_rss_anon() + t->shared_bytes + mapped_weights(t) + scratch_guess(t);
    bytes += params_bytes(&t->params, job_keeps_best(&t->job));
    return bytes + net_bytes(&t->config, &t->params, &t->size);
}

static bool try_fit(struct trainer *t, int64_t micro, bool recompute, size_t limit) {
    t->job.micro_tokens = micro;
    t->job.recompute = recompute;
    plan_sizes(t);
    t->plan.peak_bytes = predicted_peak(t);
    return t->plan.peak_bytes <= limit;
}

int plan_choose(struct trainer *t, struct err *err) {
    size_t given = t->job.o.memory_bytes;
    size_t limit = given ? given : mem_rss() + (size_t)((double)mem_available() * 0.9);
    trainer_lay_out(t);
    bool fits = false;
    for (int recompute = 0; !fits && recompute < 2; recompute++)
        for (int64_t micro = MICRO_TOKENS; !fits && micro >= MICRO_TOKENS_LEAST; micro /= 2)
            fits = try_fit(t, micro, recompute != 0, limit);
    if (fits) return 0;
    return err_set(err, ERR_LIMIT,
                   "training needs %.0f MiB at least, %s %.0f MiB; a smaller --max-length than "
                   "%lld (the longest "
                   "row is the most) or a smaller --rank lowers it%s",
                   (double)t->plan.peak_bytes / MIB, given ? "--memory allows" : "available are",
                   (double)limit / MIB, (long long)t->job.o.max_length,
                   given ? ", or raise --memory" : "");
}

/* --- time --- */

static double micro_flops(const struct trainer *t, const struct sample *const *rows,
                          const struct micro *m, bool backward) {
    bool pairs = t->job.o.objective == OBJECTIVE_DPO;
    struct net_way way = {.backward = backward, .recompute = t->job.recompute, .halves = pairs};
    double flops = 0;
    for (int64_t i = 0; i < m->count; i++) {
        int64_t shared = i ? m->shared : 0;
        if (pairs && !t->size.dropout && i % 2) shared = rows[i]->shared;
        flops += net_flops(&t->config, &t->params, rows[i], shared, &way);
    }
    return flops;
}

static double rows_flops(const struct trainer *t, const struct sample *const *rows, int64_t count,
                         bool backward) {
    double flops = 0;
    for (int64_t at = 0; at < count;) {
        struct micro m = next(t, rows + at, count - at);
        flops += micro_flops(t, rows + at, &m, backward);
        at += m.count;
    }
    return flops;
}

static double job_flops(struct trainer *t) {
    const struct job *j = &t->job;
    double flops = 0;
    for (int64_t step = 1; step <= j->steps; step++)
        flops += rows_flops(t, t->step_rows, trainer_step_rows(t, step), true);
    int64_t judged = 0;
    for (int64_t step = 1; step <= j->steps; step++) judged += job_judges_at(j, step);
    if (j->o.objective == OBJECTIVE_DPO) { /* the reference */
        for (int64_t step = 1; step <= j->steps && step <= j->epoch_steps; step++)
            flops += rows_flops(t, t->step_rows, trainer_step_rows(t, step), false);
        judged += t->valid_count > 0;
    }
    return flops + (double)judged * rows_flops(t, t->valid, t->valid_count, false);
}

static void trial(struct trainer *t, const struct sample *const *rows, const struct micro *m) {
    struct objective o = trainer_objective(t);
    struct objective_pass pass = {.dropout = (float)t->job.o.dropout, .backward = true};
    objective_run(&o, t->net, rows, m->count, &pass);
}

/* a short one where the net has room for how it is cut */
static struct micro timed_micro(const struct trainer *t, const struct sample *const *rows,
                                int64_t count) {
    const struct net_size *room = &t->size;
    struct objective o = trainer_objective(t);
    if (o.micro_tokens > TRIAL_TOKENS) o.micro_tokens = TRIAL_TOKENS;
    struct micro few = objective_micro(&o, rows, count);
    bool fits = few.tokens <= room->tokens && few.trained <= room->trained &&
                few.count <= room->rows && few.keys <= room->keys;
    return fits ? few : next(t, rows, count);
}

/* Cutting otherwise would make the bits depend on what was measured. */
static int check_measured(const struct trainer *t, struct err *err) {
    size_t allowed = t->job.o.memory_bytes, measured = t->plan.peak_bytes;
    if (!allowed || measured <= allowed) return 0;
    return err_set(err, ERR_LIMIT,
                   "a trial of the largest micro-batch had %.0f MiB in use, --memory allows %.0f "
                   "MiB; raise it, or give a smaller --max-length or --rank, or fewer rows",
                   (double)measured / MIB, (double)allowed / MIB);
}

int plan_calibrate(struct trainer *t, struct err *err) {
    int64_t count = trainer_step_rows(t, t->largest.step) - t->largest.at;
    const struct sample *const *rows = t->step_rows + t->largest.at;
    struct micro m = next(t, rows, count);
    trial(t, rows, &m); /* all memory is touched, all scratch there */
    m = timed_micro(t, rows, count);
    double rate = micro_flops(t, rows, &m, true), from = clock_seconds();
    trial(t, rows, &m);
    rate /= clock_seconds() - from;
    params_touch(&t->params); /* gradients of the trial go; the moments' pages come */
    size_t resident = mem_rss_anon() + t->shared_bytes + mapped_weights(t), peak = mem_rss_peak();
    t->plan.peak_bytes = resident > peak ? resident : peak;
    t->plan.seconds = job_flops(t) / rate;
    return check_measured(t, err);
}

/* --- plan.json --- */

#define NUMBERS_AT_ONCE 4096

static int write_buf(struct file_writer *w, struct buf *b, struct err *err) {
    int rc = file_writer_add(w, b->p, b->n, err);
    buf_clear(b);
    return rc;
}

static int write_found(struct file_writer *w, const char *file, const struct row_numbers *found,
                       const char **separator, struct err *err) {
    struct buf b;
    int rc = 0;
    buf_init(&b, (size_t)1 << 20);
    for (enum train_finding f = 0; f < FOUND_COUNT; f++) {
        if (found[f].count == 0) continue;
        buf_printf(&b, "%s\n  {\"file\":", *separator);
        json_write_str(&b, str_of(file));
        buf_printf(&b, ",\"reason\":\"%s\",\"rows\":[", train_finding_text(f));
        *separator = ",";
        for (int64_t i = 0; !rc && i < found[f].count; i++) {
            buf_printf(&b, "%s%lld", i ? "," : "", (long long)found[f].list[i]);
            if (i % NUMBERS_AT_ONCE == 0) rc = write_buf(w, &b, err);
        }
        buf_z(&b, "]}");
        if (!rc) rc = write_buf(w, &b, err);
    }
    buf_release(&b);
    return rc;
}

/* numbers of the rows of the data that are held out; of a --valid file all are */
static void add_held_out(const struct trainer *t, struct buf *b) {
    if (t->job.o.valid) return;
    buf_z(b, ",\"held_out_rows\":[");
    for (int64_t i = 0; i < t->split.valid_count; i++)
        buf_printf(b, "%s%lld", i ? "," : "",
                   (long long)dataset_row(&t->data, t->split.valid[i])->number);
    buf_byte(b, ']');
}

static int write_plan(const struct trainer *t, struct file_writer *w, struct err *err) {
    const struct train_plan *p = &t->plan;
    const char *separator = "";
    struct buf b;
    buf_init(&b, (size_t)1 << 16);
    buf_printf(&b,
               "{\"rows\":%lld,\"held_out\":%lld,\"tokens\":%lld,\"trained_tokens\":%lld,"
               "\"steps\":%lld,\"peak_bytes\":%zu,\"seconds\":%.9g",
               (long long)p->rows, (long long)p->held_out, (long long)p->tokens,
               (long long)p->trained_tokens, (long long)p->steps, p->peak_bytes, p->seconds);
    add_held_out(t, &b);
    buf_z(&b, ",\n\"found\":[");
    int rc = write_buf(w, &b, err);
    if (!rc) rc = write_found(w, t->job.o.data, p->found, &separator, err);
    if (!rc && t->job.o.valid) rc = write_found(w, t->job.o.valid, p->valid_found, &separator, err);
    buf_z(&b, "]}\n");
    if (!rc) rc = write_buf(w, &b, err);
    buf_release(&b);
    return rc;
}

int plan_save(const struct trainer *t, struct err *err) {
    char *path = trainer_path(t, "plan.json");
    struct file_writer w = {.fd = -1};
    int rc = file_writer_open(path, &w, err);
    if (!rc) rc = write_plan(t, &w, err);
    if (!rc) rc = file_writer_commit(&w, err);
    file_writer_abort(&w);
    mem_free(path);
    return rc;
}
