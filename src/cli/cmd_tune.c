/* attune tune and attune resume. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/data_versions.h"
#include "cli/tune_compare.h"
#include "cli/tune_view.h"

#include "base/mem.h"
#include "data/manifest.h"
#include "model/model_names.h"
#include "train/train.h"

#include <float.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct tune_words {
    int64_t compare;
    /* rows; -1: not given */ /* options that are words, before they are understood */
    const char *method, *objective, *schedule, *targets, *dtype, *base, *keep;
    bool shuffle;
};

static int words_parse(const struct tune_words *w, struct train_options *o, struct err *err) {
    if (strcmp(w->method, "full") == 0)
        o->method = TRAIN_FULL;
    else if (strcmp(w->method, "lora") != 0)
        return err_set(err, ERR_USAGE, "--method is lora or full, not \"%s\"", w->method);
    if (w->objective && strcmp(w->objective, "dpo") == 0)
        o->objective = OBJECTIVE_DPO;
    else if (w->objective && strcmp(w->objective, "sft") == 0)
        o->objective = OBJECTIVE_SFT;
    else if (w->objective)
        return err_set(err, ERR_USAGE, "--objective is sft or dpo, not \"%s\"", w->objective);
    if (strcmp(w->schedule, "linear") == 0)
        o->schedule = SCHEDULE_LINEAR;
    else if (strcmp(w->schedule, "constant") == 0)
        o->schedule = SCHEDULE_CONSTANT;
    else if (strcmp(w->schedule, "cosine") != 0)
        return err_set(err, ERR_USAGE, "--schedule is cosine, linear or constant, not \"%s\"",
                       w->schedule);
    if (strcmp(w->keep, "last") == 0)
        o->keep_last = true;
    else if (strcmp(w->keep, "best") != 0)
        return err_set(err, ERR_USAGE, "--keep is best or last, not \"%s\"", w->keep);
    o->no_shuffle = !w->shuffle;
    o->dtype_auto = w->dtype == NULL;
    if (w->dtype && strcmp(w->dtype, "bf16") == 0)
        o->dtype = NUM_BF16;
    else if (w->dtype && strcmp(w->dtype, "f32") != 0)
        return err_set(err, ERR_USAGE, "--dtype is f32 or bf16, not \"%s\"", w->dtype);
    return w->targets ? linear_names_parse(w->targets, &o->targets, err) : 0;
}

static int finish(struct tune_view *view, const char *command, int rc,
                  const struct train_result *result, const struct err *err) {
    if (rc) {
        if (view->line_open) fputc('\n', stderr);
        return cli_fail(command, err);
    }
    tune_view_end(view, result);
    return result->interrupted ? 130 : 0;
}

/* --data that is no file but a dataset's name: its version's files, written once below the home. */
struct version_files {
    char *train, *valid;
    struct arena mem;
};

static int version_written(struct catalog *c, const char *id, const char *dir, struct err *err) {
    int64_t counts[SPLITS];
    char *last = path_join(dir, "manifest.jsonl"); /* appears when the others are there */
    int rc = file_exists(last) ? 0 : dir_remove_all(dir, err);
    if (!rc && !file_exists(last)) rc = version_export(c, id, dir, counts, err);
    mem_free(last);
    return rc;
}

static int version_take(struct version_files *f, struct train_options *o, struct err *err) {
    struct catalog *c = NULL;
    struct dataset_version v;
    char below[200], *dir = NULL;
    arena_init(&f->mem, (size_t)256 << 20);
    if (file_exists(o->data) || strchr(o->data, '/')) return 0;
    int rc = catalog_open(NULL, &c, err);
    if (!rc) rc = data_version_named(c, o->data, &f->mem, &v, err);
    if (!rc) {
        snprintf(below, sizeof below, "datasets/%s", v.id);
        dir = catalog_path(c, below);
        rc = version_written(c, v.id, dir, err);
    } else if (rc == ERR_NOT_FOUND) {
        err_set(err, rc, "\"%.200s\" is neither a file nor a dataset; see \"attune data show\"",
                o->data);
    }
    if (!rc) {
        o->data = f->train = path_join(dir, "train.jsonl");
        f->valid = path_join(dir, "valid.jsonl");
        if (!o->valid && o->holdout < 0 && file_exists(f->valid)) o->valid = f->valid;
        o->dataset = v.id;
    }
    mem_free(dir);
    catalog_close(c);
    return rc;
}

static void version_release(struct version_files *f) {
    mem_free(f->train);
    mem_free(f->valid);
    arena_release(&f->mem);
}

/* A person sees at once whether it was worth it; a script asks for it with --compare. */
static int compare_after(const struct tune_words *w, const struct train_options *o) {
    struct err err;
    int64_t rows = w->compare >= 0                  ? w->compare
                   : cli_is_terminal(STDOUT_FILENO) ? TUNE_COMPARE_ROWS
                                                    : 0;
    if (!rows || o->method != TRAIN_LORA) return 0;
    int rc = tune_compare(w->base, o->out, rows, o->threads, &err);
    return rc ? cli_fail("tune", &err) : 0;
}

static int tune(struct train_options *o, const struct tune_words *w) {
    struct err err;
    struct tune_view view;
    struct train_result result = {0};
    struct version_files files = {.train = NULL};
    char *path = NULL;
    int rc = version_take(&files, o, &err);
    tune_view_init(&view, o->dataset ? o->dataset : o->data, o->out);
    struct train_events events = tune_view_events(&view);
    if (!rc) rc = words_parse(w, o, &err);
    if (!rc) rc = cli_model_path(w->base, &path, &err);
    o->base = path;
    cli_catch_interrupt();
    if (!rc) rc = train_run(o, &events, &cli_interrupted, &result, &err);
    int code = finish(&view, "tune", rc, &result, &err);
    if (!code) code = compare_after(w, o);
    version_release(&files);
    mem_free(path);
    return code;
}

int cmd_tune(int argc, char **argv) {
    struct train_options o = {.dropout = -1,
                              .warmup_steps = -1,
                              .weight_decay = -1,
                              .clip = -1,
                              .holdout = -1,
                              .seed = 42};
    struct tune_words w = {
        .method = "lora", .schedule = "cosine", .keep = "best", .shuffle = true, .compare = -1};
    struct opt list[] = {
        {"base", "MODEL", OPT_STR, &w.base, "directory, GGUF file or known name", 0, NULL},
        {"data", "FILE", OPT_STR, &o.data,
         "rows as JSONL, of any of the four kinds, or a dataset: NAME[@VERSION]", 0, NULL},
        {"valid", "FILE", OPT_STR, &o.valid, "rows to judge by; none are held out", 0, NULL},
        {"out", "DIR", OPT_STR, &o.out, "where the adapter goes", 0, NULL},
        {"metrics", "FILE", OPT_STR, &o.metrics,
         "a JSON line for each step (default: DIR/metrics.jsonl)", 0, NULL},
        {"method", "lora|full", OPT_STR, &w.method, "an adapter (default) or all weights", 0, NULL},
        {"objective", "sft|dpo", OPT_STR, &w.objective,
         "default: dpo for preference pairs, else sft", 0, NULL},
        {"beta", "X", OPT_DOUBLE, &o.beta, "of dpo (default: 0.1)", DBL_MIN, NULL},
        {"from-scratch", NULL, OPT_FLAG, &o.from_scratch,
         "with --method full: random weights first", 0, NULL},
        {"rank", "R", OPT_I64, &o.rank, "of the adapter (default: from the rows)", 1, NULL},
        {"alpha", "A", OPT_DOUBLE, &o.alpha, "default: twice a given rank", DBL_MIN, NULL},
        {"rslora", NULL, OPT_FLAG, &o.rslora, "scale by alpha/sqrt(rank)", 0, NULL},
        {"dropout", "P", OPT_DOUBLE, &o.dropout, "default: 0", 0, NULL},
        {"targets", "LIST", OPT_STR, &w.targets, "q_proj,v_proj,... or all (default)", 0, NULL},
        {"init", "DIR", OPT_STR, &o.init, "PEFT adapter to start from", 0, NULL},
        {"lr", "X", OPT_DOUBLE, &o.lr, "peak learning rate (default: from the model's size)",
         DBL_MIN, NULL},
        {"schedule", "NAME", OPT_STR, &w.schedule, "cosine (default), linear or constant", 0, NULL},
        {"warmup-steps", "N", OPT_I64, &o.warmup_steps, "default: 5 %", 0, NULL},
        {"weight-decay", "X", OPT_DOUBLE, &o.weight_decay, "default: 0.01", 0, NULL},
        {"clip", "X", OPT_DOUBLE, &o.clip, "largest gradient norm (default: 1.0; 0: off)", 0, NULL},
        {"epochs", "N", OPT_I64, &o.epochs, "times through the rows, at most", 1, NULL},
        {"steps", "N", OPT_I64, &o.steps, "exactly N steps on all rows", 1, NULL},
        {"holdout", "FRACTION", OPT_DOUBLE, &o.holdout,
         "of the rows to judge by (default: from their number; 0: none)", 0, NULL},
        {"keep", "best|last", OPT_STR, &w.keep,
         "of the weights (default: best); last: no early stop", 0, NULL},
        {"keep-epochs", "N", OPT_I64, &o.keep_epochs,
         "adapters of the last N epoch ends stay in DIR/epochs", 1, NULL},
        {"batch-size", "B", OPT_I64, &o.batch_size, "rows in a step", 1, NULL},
        {"shuffle", "0|1", OPT_BOOL, &w.shuffle, "0: rows in file order", 0, NULL},
        {"max-length", "L", OPT_I64, &o.max_length,
         "tokens of a row; longer ones are cut and named", 2, NULL},
        {"seed", "S", OPT_U64, &o.seed, "default: 42", 0, NULL},
        {"dtype", "f32|bf16", OPT_STR, &w.dtype, "arithmetic (default: the machine's best)", 0,
         NULL},
        {"compare", "N", OPT_I64, &w.compare,
         "at the end, on N held-out rows (default: 30 on a terminal, else 0)", 0, NULL},
        {"threads", "N", OPT_INT, &o.threads, "default: all cores; does not change the result", 1,
         NULL},
        {"checkpoint-seconds", "X", OPT_DOUBLE, &o.checkpoint_seconds,
         "between checkpoints (default: 30)", DBL_MIN, NULL},
        {"memory", "SIZE", OPT_SIZE, &o.memory_bytes, "budget, e.g. 3G (default: what is free)", 1,
         NULL},
        {0}};
    struct usage u = {
        .command = "tune",
        .args = "--base MODEL --data FILE --out DIR",
        .opts = list,
        .summary = "Fine-tune a model on your examples. Shows a plan first; the best weights on "
                   "held-out rows are kept.",
        .example = "attune tune --base starter --data examples/bookings.train.jsonl --out mine",
        .required = "base data out"};
    int code = opts_parse(&u, argc, argv);
    return code >= 0 ? code : tune(&o, &w);
}

int cmd_resume(int argc, char **argv) {
    int threads = 0;
    struct opt list[] = {{"threads", "N", OPT_INT, &threads, "default: all cores", 1, NULL}, {0}};
    struct usage u = {.command = "resume",
                      .args = "DIR",
                      .opts = list,
                      .args_min = 1,
                      .args_max = 1,
                      .summary =
                          "Go on with a tuning job from its last checkpoint, to the same result.",
                      .example = "attune resume mine"};
    int code = opts_parse(&u, argc, argv);
    if (code >= 0) return code;

    struct err err;
    struct tune_view view;
    struct train_result result = {0};
    const char *out = u.positional[0];
    tune_view_init(&view, "as before", out);
    struct train_events events = tune_view_events(&view);
    cli_catch_interrupt();
    int rc = train_resume(out, threads, &events, &cli_interrupted, &result, &err);
    return finish(&view, "resume", rc, &result, &err);
}
