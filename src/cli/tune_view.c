#include "cli/tune_view.h"

#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define ROWS_SHOWN 12

void format_seconds(double s, char *text, size_t size) {
    if (!(s >= 0) || s > 1e9)
        snprintf(text, size, "?");
    else if (s < 60)
        snprintf(text, size, "%.0f s", s);
    else if (s < 3600)
        snprintf(text, size, "%d m %02d s", (int)s / 60, (int)s % 60);
    else
        snprintf(text, size, "%d h %02d m", (int)(s / 3600), (int)s % 3600 / 60);
}

void format_bytes(double bytes, char *text, size_t size) {
    if (bytes >= 1073741824.0)
        snprintf(text, size, "%.1f GiB", bytes / 1073741824.0);
    else
        snprintf(text, size, "%.0f MiB", bytes / 1048576.0);
}

void tune_view_init(struct tune_view *v, const char *data, const char *out) {
    *v = (struct tune_view){
        .live = cli_is_terminal(STDERR_FILENO), .last_valid = NAN, .data = data, .out = out};
}

static void close_line(struct tune_view *v) {
    if (v->line_open) fputc('\n', stderr);
    v->line_open = false;
}

static void list_rows(const struct tune_view *v, const char *of, enum train_finding f,
                      const struct row_numbers *rows) {
    if (!rows->count) return;
    fprintf(stderr, "  %-9s %lld row%s%s %s:", "note", (long long)rows->count,
            rows->count == 1 ? "" : "s", of, train_finding_text(f));
    for (int64_t i = 0; i < rows->count && i < ROWS_SHOWN; i++)
        fprintf(stderr, " %lld", (long long)rows->list[i]);
    if (rows->count > ROWS_SHOWN) fprintf(stderr, " ... (all are in %s/plan.json)", v->out);
    fputc('\n', stderr);
}

static void on_plan(void *ctx, const struct train_plan *p) {
    struct tune_view *v = ctx;
    char time[32], memory[32];
    if (p->resumed) return;
    format_seconds(p->seconds, time, sizeof time);
    format_bytes((double)p->peak_bytes, memory, sizeof memory);
    fprintf(stderr, "plan\n");
    fprintf(stderr, "  %-9s %s: %lld rows to train on, %lld held out to judge by\n", "data",
            v->data, (long long)p->rows, (long long)p->held_out);
    fprintf(stderr, "  %-9s %lld, of which %lld are trained\n", "tokens", (long long)p->tokens,
            (long long)p->trained_tokens);
    if (p->rank)
        fprintf(stderr, "  %-9s LoRA rank %lld, alpha %g, dropout %g\n", "method",
                (long long)p->rank, p->alpha, p->dropout);
    else
        fprintf(stderr, "  %-9s all weights\n", "method");
    if (p->objective == OBJECTIVE_DPO)
        fprintf(stderr, "  %-9s the better one of two answers (DPO), beta %g\n", "objective",
                p->beta);
    fprintf(stderr,
            "  %-9s %lld in %lld epoch%s of %lld rows a step, learning rate %.3g, warm-up %lld\n",
            "steps", (long long)p->steps, (long long)p->epochs, p->epochs == 1 ? "" : "s",
            (long long)p->batch_size, p->lr, (long long)p->warmup_steps);
    fprintf(stderr, "  %-9s about %s, peak memory %s, %lld tokens at a time%s, %s\n", "cost", time,
            memory, (long long)p->micro_tokens, p->recompute ? " with recomputation" : "", p->path);
    for (enum train_finding f = 0; f < FOUND_COUNT; f++) list_rows(v, "", f, &p->found[f]);
    for (enum train_finding f = 0; f < FOUND_COUNT; f++)
        list_rows(v, " of --valid", f, &p->valid_found[f]);
}

/* of preference pairs */
static void show_rewards(double accuracy, const struct train_rewards *r) {
    if (isnan(r->margin)) return;
    fprintf(stderr, "  %.0f %% of the pairs right, margin %.3f", 100 * accuracy, r->margin);
}

static void draw_live(struct tune_view *v, const struct train_step *s) {
    char left[32], bar[BAR_WIDTH + 1];
    format_seconds(s->seconds_left, left, sizeof left);
    int filled = (int)((double)BAR_WIDTH * (double)s->step / (double)(s->steps ? s->steps : 1));
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %lld/%lld  loss %.4f", bar, (long long)s->step, (long long)s->steps,
            s->loss);
    show_rewards(s->accuracy, &s->rewards);
    if (!isnan(v->last_valid)) fprintf(stderr, "  held-out %.4f", v->last_valid);
    fprintf(stderr, "  %.0f tokens/s  %s left \x1b[K", s->tokens_per_second, left);
    v->line_open = true;
}

static void on_step(void *ctx, const struct train_step *s) {
    struct tune_view *v = ctx;
    if (v->live) {
        draw_live(v, s);
        return;
    }
    int64_t every = s->steps > 20 ? s->steps / 20 : 1;
    if (s->step != s->steps && s->step != 1 && s->step - v->last_plain < every) return;
    v->last_plain = s->step;
    fprintf(stderr, "step %lld/%lld  loss %.4f", (long long)s->step, (long long)s->steps, s->loss);
    show_rewards(s->accuracy, &s->rewards);
    fprintf(stderr, "  lr %.3g  %.0f tokens/s\n", s->lr, s->tokens_per_second);
}

static void on_valid(void *ctx, const struct train_valid *valid) {
    struct tune_view *v = ctx;
    v->last_valid = valid->loss;
    if (v->live) return;
    fprintf(stderr, "step %lld  held-out loss %.4f", (long long)valid->step, valid->loss);
    show_rewards(valid->accuracy, &valid->rewards);
    fprintf(stderr, "%s\n", valid->best ? "  (best so far)" : "");
}

static void on_note(void *ctx, const char *text) {
    close_line(ctx);
    fprintf(stderr, "%s\n", text);
}

struct train_events tune_view_events(struct tune_view *v) {
    return (struct train_events){
        .ctx = v, .plan = on_plan, .step = on_step, .valid = on_valid, .note = on_note};
}

void tune_view_end(struct tune_view *v, const struct train_result *r) {
    char time[32], memory[32];
    close_line(v);
    if (r->interrupted) {
        fprintf(stderr, "stopped after step %lld; all is saved. Go on with:\n  attune resume %s\n",
                (long long)r->steps, v->out);
        return;
    }
    format_seconds(r->seconds, time, sizeof time);
    format_bytes((double)r->peak_bytes, memory, sizeof memory);
    fprintf(stderr, "done in %s, peak memory %s%s: loss %.4f -> %.4f", time, memory,
            r->stopped_early ? ", stopped early" : "", r->first_loss, r->last_loss);
    if (!isnan(r->best_valid))
        fprintf(stderr,
                r->kept_best ? ", held-out %.4f at step %lld (kept)"
                             : ", held-out at best %.4f at step %lld, the last kept",
                r->best_valid, (long long)r->best_step);
    fprintf(stderr, "\nwrote %s\n", v->out);
}
