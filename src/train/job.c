/* Defaults: docs/training.md says where they come from. */
#include "train/job.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define JOB_FORMAT 3
#define JOB_FORMAT_OLDEST 2 /* without the keys that came later: they are 0 */
#define JOB_JSON_MAX ((size_t)1 << 20)
#define ALL_TARGETS ((1u << LIN_COUNT) - 1)
#define VALIDATIONS 10 /* in a run, about */
#define PAIR_EPOCHS 3  /* at most, of preference pairs: more only moves both outputs away */

/* --- options --- */

static char *absolute(const char *path) {
    if (!path) return NULL;
    char *real = realpath(path, NULL);
    if (real) {
        char *copy = mem_strdup(real);
        free(real);
        return copy;
    }
    char cwd[4096];
    return getcwd(cwd, sizeof cwd) ? path_join(cwd, path) : mem_strdup(path);
}

void job_init(struct job *j, const struct train_options *o) {
    *j = (struct job){.o = *o};
    j->o.base = absolute(o->base);
    j->o.data = absolute(o->data);
    j->o.valid = absolute(o->valid);
    j->o.out = absolute(o->out);
    j->o.metrics = absolute(o->metrics);
    j->o.init = absolute(o->init);
    j->o.dataset = o->dataset ? mem_strdup(o->dataset) : NULL;
}

void job_release(struct job *j) {
    const char *owned[] = {j->o.base,    j->o.data, j->o.valid,  j->o.out,
                           j->o.metrics, j->o.init, j->o.dataset};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) mem_free((void *)owned[i]);
    *j = (struct job){0};
}

static int refuse(struct err *err, const char *option, double value, const char *range) {
    return err_set(err, ERR_USAGE, "--%s %g is out of range; it takes %s", option, value, range);
}

int job_check(const struct train_options *o, struct err *err) {
    if (!o->base || !o->data || !o->out)
        return err_set(err, ERR_USAGE, "tuning needs --base, --data and --out");
    if (o->rank > 1024) return refuse(err, "rank", (double)o->rank, "1 to 1024");
    if (o->dropout >= 1) return refuse(err, "dropout", o->dropout, "0 to below 1");
    if (o->holdout >= 1) return refuse(err, "holdout", o->holdout, "a fraction from 0 to below 1");
    if (o->lr > 1) return refuse(err, "lr", o->lr, "more than 0, at most 1");
    if (o->beta > 10) return refuse(err, "beta", o->beta, "more than 0, at most 10");
    if (o->epochs > 0 && o->steps > 0)
        return err_set(err, ERR_USAGE, "--epochs and --steps exclude each other");
    if (o->holdout > 0 && (o->steps > 0 || o->valid))
        return err_set(err, ERR_USAGE, "--holdout %g does not go with %s", o->holdout,
                       o->valid ? "--valid, which has the rows to judge by"
                                : "--steps, which trains on all rows");
    if (o->batch_size > 65536)
        return refuse(err, "batch-size", (double)o->batch_size, "1 to 65536");
    if (o->max_length == 1) return refuse(err, "max-length", 1, "2 or more");
    if (o->method == TRAIN_FULL && o->init)
        return err_set(err, ERR_USAGE,
                       "--init is an adapter to start from; it does not go with --method full");
    if (o->method == TRAIN_LORA && o->from_scratch)
        return err_set(err, ERR_USAGE, "training from scratch needs --method full");
    if (o->method == TRAIN_FULL && o->keep_epochs > 0)
        return err_set(err, ERR_USAGE,
                       "--keep-epochs keeps adapters; it does not go with "
                       "--method full");
    return 0;
}

/* --- defaults --- */

static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

/* 5e-4 · (2000/width)^p ("LoRA Without Regret"), at most 5e-4 from 512 wide on, 1e-3 below */
static double lora_rate(const struct model_config *c) {
    double width = (double)c->dim, power = strncmp(c->family, "qwen", 4) == 0 ? 0.0775 : 0.781;
    double most = clamp(5e-4 * 512 / width, 5e-4, 1e-3);
    return clamp(5e-4 * pow(2000 / width, power), 1e-4, most);
}

static double default_rate(const struct job *j, const struct model_config *c) {
    if (j->o.from_scratch) return clamp(0.5 / (double)c->dim, 1e-4, 2e-3);
    double rate = j->o.method == TRAIN_LORA ? lora_rate(c) : lora_rate(c) / 10;
    return j->o.objective == OBJECTIVE_DPO ? rate / 10 : rate;
}

static int64_t default_hold_out(const struct job *j, int64_t rows) {
    double share = j->o.holdout;
    if (j->o.valid || j->o.steps > 0 || share == 0) return 0;
    if (share > 0) {
        int64_t held = (int64_t)llround(share * (double)rows);
        return held < 1 ? 1 : held;
    }
    if (rows < 10) return 0;
    int64_t held = rows / (rows < 100 ? 5 : rows < 1000 ? 10 : 20);
    return held < 5 ? 5 : held > 500 ? 500 : held;
}

/* the row counts at which the defaults change */
struct size_class {
    int64_t rows, rank, alpha, epochs, batch;
};
static const struct size_class classes[] = {
    {100, 8, 16, 8, 4},
    {1000, 16, 32, 3, 8},
    {20000, 32, 32, 2, 16},
    {INT64_MAX, 64, 64, 1, 16},
};

static int resolve_lora(struct job *j, const struct size_class *class,
                        const struct adapter_meta *init, struct err *err) {
    struct train_options *o = &j->o;
    if (init) {
        if (o->rank > 0 && o->rank != init->rank)
            return err_set(err, ERR_USAGE, "--rank %lld, but the adapter in --init has rank %lld",
                           (long long)o->rank, (long long)init->rank);
        if (o->alpha > 0 && o->alpha != init->alpha)
            return err_set(err, ERR_USAGE, "--alpha %g, but the adapter in --init has alpha %g",
                           o->alpha, init->alpha);
        if (o->targets && o->targets != init->targets)
            return err_set(err, ERR_USAGE,
                           "--targets differ from those of the adapter in --init; leave them out");
        if (o->rslora && !init->rslora)
            return err_set(err, ERR_USAGE, "--rslora, but the adapter in --init is without it");
        o->rank = init->rank;
        o->alpha = init->alpha;
        o->targets = init->targets;
        o->rslora = init->rslora;
    }
    if (o->alpha <= 0) o->alpha = (double)(o->rank > 0 ? 2 * o->rank : class->alpha);
    if (o->rank <= 0) o->rank = class->rank;
    if (!o->targets) o->targets = ALL_TARGETS;
    if (o->dropout < 0) o->dropout = 0;
    return 0;
}

int job_resolve(struct job *j, const struct model_config *c, int64_t rows,
                const struct adapter_meta *init, struct err *err) {
    struct train_options *o = &j->o;
    const struct size_class *class = classes;
    while (rows >= class->rows) class ++;
    if (o->method == TRAIN_LORA) {
        int rc = resolve_lora(j, class, init, err);
        if (rc) return rc;
    } else {
        o->rank = 0;
        o->alpha = o->dropout = 0;
    }
    if (o->lr <= 0) o->lr = default_rate(j, c) * (o->lr_factor > 0 ? o->lr_factor : 1);
    if (o->weight_decay < 0) o->weight_decay = 0.01;
    if (o->clip < 0) o->clip = 1.0;
    if (o->batch_size <= 0) o->batch_size = class->batch;
    if (o->epochs <= 0 && o->steps <= 0) {
        bool pairs = o->objective == OBJECTIVE_DPO;
        o->epochs = pairs && class->epochs > PAIR_EPOCHS ? PAIR_EPOCHS : class->epochs;
    }
    j->hold_out = default_hold_out(j, rows);
    if (j->hold_out >= rows)
        return err_set(err, ERR_INVALID,
                       "holding out %lld of %lld rows leaves none to train on; add rows or "
                       "give --holdout 0",
                       (long long)j->hold_out, (long long)rows);
    return 0;
}

void job_resolve_steps(struct job *j, int64_t train_rows) {
    struct train_options *o = &j->o;
    j->epoch_steps = (train_rows + o->batch_size - 1) / o->batch_size;
    j->steps = o->steps > 0 ? o->steps : o->epochs * j->epoch_steps;
    if (o->steps > 0) o->epochs = (o->steps + j->epoch_steps - 1) / j->epoch_steps;
    if (o->warmup_steps < 0) {
        double share = 0.05 * (double)j->steps, least = fmin(5, 0.1 * (double)j->steps);
        o->warmup_steps = (int64_t)ceil(fmax(share, least));
    }
    bool judged = j->hold_out > 0 || o->valid;
    int64_t every = (j->steps + VALIDATIONS - 1) / VALIDATIONS;
    j->valid_every = !judged ? 0 : every < j->epoch_steps ? every : j->epoch_steps;
}

bool job_judges_regularly_at(const struct job *j, int64_t step) {
    return j->valid_every > 0 && (step == j->steps || step % j->valid_every == 0);
}

bool job_judges_at(const struct job *j, int64_t step) {
    bool kept = j->o.keep_epochs > 0 && step % j->epoch_steps == 0;
    return job_judges_regularly_at(j, step) || (j->valid_every > 0 && kept);
}

bool job_keeps_best(const struct job *j) { return j->valid_every > 0 && !j->o.keep_last; }

/* --- the directory --- */

static bool has(const char *out, const char *name) {
    char *path = path_join(out, name);
    bool yes = file_exists(path);
    mem_free(path);
    return yes;
}

static bool is_leftover(const char *name) {
    const char *at = strstr(name, ".tmp-");
    return at && at[5] && strspn(at + 5, "0123456789") == strlen(at + 5);
}

/* what a killed process was writing; of directories where only ours are */
static int remove_leftovers(const char *dir, bool dirs, struct err *err) {
    char **names = NULL;
    size_t count = 0;
    if (!dir_exists(dir)) return 0;
    int rc = dir_list(dir, &names, &count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        if (!is_leftover(names[i])) continue;
        char *path = path_join(dir, names[i]);
        if (file_exists(path)) rc = file_remove(path, err);
        if (dirs && dir_exists(path)) rc = dir_remove_all(path, err);
        mem_free(path);
    }
    dir_list_free(names, count);
    return rc;
}

static int clean(const char *out, struct err *err) {
    char *checkpoint = path_join(out, "checkpoint"), *epochs = path_join(out, "epochs");
    int rc = remove_leftovers(out, false, err);
    if (!rc) rc = remove_leftovers(checkpoint, false, err);
    if (!rc) rc = remove_leftovers(epochs, true, err);
    mem_free(epochs);
    mem_free(checkpoint);
    return rc;
}

int job_lock(const char *out, int *ret_fd, struct err *err) {
    char *path = path_join(out, "lock");
    bool ours = file_exists(path);
    int rc = 0, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        rc = err_sys(err, errno, "could not open \"%s\"", path);
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK
                 ? err_set(err, ERR_CONFLICT,
                           "another process is working on \"%s\"; wait for it, or stop it", out)
                 : err_sys(err, errno, "could not lock \"%s\"", path);
    if (!rc && ours) rc = clean(out, err);
    mem_free(path);
    if (rc)
        file_close(fd);
    else
        *ret_fd = fd;
    return rc;
}

int job_refuse_used(const char *out, struct err *err) {
    if (has(out, "result.json"))
        return err_set(err, ERR_CONFLICT,
                       "\"%s\" holds a finished job; choose another --out or remove it", out);
    if (has(out, "job.json"))
        return err_set(
            err, ERR_CONFLICT,
            "\"%s\" holds an unfinished job; \"attune resume %s\" goes on with it, or remove it",
            out, out);
    static const char *const model_files[] = {
        "adapter_model.safetensors",    "adapter_config.json", "model.safetensors", "config.json",
        "checkpoint/state.safetensors", "tokenizer.json"};
    for (size_t i = 0; i < sizeof model_files / sizeof *model_files; i++)
        if (has(out, model_files[i]))
            return err_set(err, ERR_CONFLICT,
                           "\"%s\" holds a model already (%s); choose another --out", out,
                           model_files[i]);
    return 0;
}

/* --- job.json --- */

enum field_type { F_STR, F_I64, F_INT, F_U64, F_SIZE, F_DOUBLE, F_BOOL, F_TEXT /* char[] */ };
struct field {
    const char *key;
    enum field_type type;
    size_t at, size;
};
#define FIELD(key, type, member)                                                                   \
    { key, type, offsetof(struct job, member), sizeof(((struct job *)0)->member) }
static const struct field fields[] = {
    FIELD("base", F_STR, o.base),
    FIELD("data", F_STR, o.data),
    FIELD("valid", F_STR, o.valid),
    FIELD("metrics", F_STR, o.metrics),
    FIELD("init", F_STR, o.init),
    FIELD("dataset", F_STR, o.dataset),
    FIELD("method", F_INT, o.method),
    FIELD("objective", F_INT, o.objective),
    FIELD("beta", F_DOUBLE, o.beta),
    FIELD("rank", F_I64, o.rank),
    FIELD("alpha", F_DOUBLE, o.alpha),
    FIELD("rslora", F_BOOL, o.rslora),
    FIELD("dropout", F_DOUBLE, o.dropout),
    FIELD("targets", F_INT, o.targets),
    FIELD("lr", F_DOUBLE, o.lr),
    FIELD("schedule", F_INT, o.schedule),
    FIELD("warmup_steps", F_I64, o.warmup_steps),
    FIELD("weight_decay", F_DOUBLE, o.weight_decay),
    FIELD("clip", F_DOUBLE, o.clip),
    FIELD("epochs", F_I64, o.epochs),
    FIELD("steps_given", F_I64, o.steps),
    FIELD("holdout", F_DOUBLE, o.holdout),
    FIELD("keep_last", F_BOOL, o.keep_last),
    FIELD("keep_epochs", F_I64, o.keep_epochs),
    FIELD("batch_size", F_I64, o.batch_size),
    FIELD("no_shuffle", F_BOOL, o.no_shuffle),
    FIELD("max_length", F_I64, o.max_length),
    FIELD("seed", F_U64, o.seed),
    FIELD("memory_bytes", F_SIZE, o.memory_bytes),
    FIELD("from_scratch", F_BOOL, o.from_scratch),
    FIELD("dtype", F_INT, o.dtype),
    FIELD("checkpoint_seconds", F_DOUBLE, o.checkpoint_seconds),
    FIELD("hold_out_rows", F_I64, hold_out),
    FIELD("steps", F_I64, steps),
    FIELD("epoch_steps", F_I64, epoch_steps),
    FIELD("valid_every", F_I64, valid_every),
    FIELD("micro_tokens", F_I64, micro_tokens),
    FIELD("recompute", F_BOOL, recompute),
    FIELD("data_sha256", F_TEXT, data_sha256),
    FIELD("valid_sha256", F_TEXT, valid_sha256),
    FIELD("config_sha256", F_TEXT, config_sha256),
    FIELD("init_sha256", F_TEXT, init_sha256),
    FIELD("kernel_path", F_TEXT, path),
    FIELD("weights_sha256", F_TEXT, hashes.weights),
    FIELD("tokenizer_sha256", F_TEXT, hashes.tokenizer),
    FIELD("template_sha256", F_TEXT, hashes.chat_template),
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

static json_t *field_get(const struct job *j, const struct field *f) {
    const char *at = (const char *)j + f->at;
    switch (f->type) {
    case F_STR: {
        const char *z = *(const char *const *)(const void *)at;
        return z ? json_string(z) : json_null();
    }
    case F_TEXT: return json_string(at);
    case F_I64: return json_integer(*(const int64_t *)(const void *)at);
    case F_INT: return json_integer(*(const int *)(const void *)at);
    case F_U64: return json_integer((int64_t) * (const uint64_t *)(const void *)at);
    case F_SIZE: return json_integer((int64_t) * (const size_t *)(const void *)at);
    case F_DOUBLE: return json_real(*(const double *)(const void *)at);
    case F_BOOL: return json_boolean(*(const bool *)(const void *)at);
    }
    return NULL;
}

static int field_set(struct job *j, const struct field *f, const json_t *from, const char *where,
                     struct err *err) {
    char *at = (char *)j + f->at;
    struct str s = {0};
    int64_t i = 0;
    double d = 0;
    int rc;
    switch (f->type) {
    case F_STR:
        rc = json_get_str(from, f->key, where, &s, err);
        if (!rc && s.p) *(char **)(void *)at = mem_strndup(s.p, s.n);
        return rc;
    case F_TEXT:
        rc = json_get_str(from, f->key, where, &s, err);
        if (!rc && s.n >= f->size)
            return err_set(err, ERR_CORRUPT, "%s: \"%s\" is too long", where, f->key);
        if (!rc && s.n) memcpy(at, s.p, s.n);
        return rc;
    case F_DOUBLE:
        rc = json_get_double(from, f->key, where, &d, err);
        *(double *)(void *)at = d;
        return rc;
    case F_BOOL: return json_get_bool(from, f->key, where, (bool *)(void *)at, err);
    case F_INT:
        rc = json_get_i64(from, f->key, where, 0, INT32_MAX, &i, err);
        *(int *)(void *)at = (int)i;
        return rc;
    case F_I64:
    case F_U64:
    case F_SIZE:
        rc = json_get_i64(from, f->key, where, INT64_MIN, INT64_MAX, &i, err);
        memcpy(at, &i, sizeof i);
        return rc;
    }
    return 0;
}

int job_save(const struct job *j, struct err *err) {
    json_t *root = json_object();
    json_object_set_new(root, "format", json_integer(JOB_FORMAT));
    for (size_t i = 0; i < FIELD_COUNT; i++)
        json_object_set_new(root, fields[i].key, field_get(j, &fields[i]));
    struct buf b;
    buf_init(&b, JOB_JSON_MAX);
    json_write(root, &b);
    json_decref(root);
    buf_byte(&b, '\n');
    char *path = path_join(j->o.out, "job.json");
    int rc = buf_ok(&b) ? file_write_atomic(path, buf_view(&b), err)
                        : err_set(err, ERR_LIMIT, "the job's description is too long");
    mem_free(path);
    buf_release(&b);
    return rc;
}

/* a file of ours may still have been edited or damaged */
static int job_sane(const struct job *j, const char *where, struct err *err) {
    const struct train_options *o = &j->o;
    bool ok = o->base && o->data && j->steps > 0 && j->epoch_steps > 0 && o->batch_size > 0 &&
              j->micro_tokens > 0 && j->valid_every >= 0 && o->max_length >= 2 &&
              o->warmup_steps >= 0 && o->keep_epochs >= 0 && o->method <= TRAIN_FULL &&
              o->schedule <= SCHEDULE_CONSTANT && o->dtype <= NUM_BF16 &&
              o->objective <= OBJECTIVE_DPO &&
              (o->method == TRAIN_FULL || (o->rank > 0 && o->rank <= 1024));
    return ok ? 0
              : err_set(err, ERR_CORRUPT, "\"%s\" is damaged; start the job again with attune tune",
                        where);
}

int job_load(const char *out, struct job *ret, struct err *err) {
    char *path = path_join(out, "job.json");
    json_t *root = NULL;
    struct job j = {0};
    int64_t format = 0;
    int rc = 0;
    if (!file_exists(path))
        rc = err_set(err, ERR_NOT_FOUND,
                     "\"%s\" holds no tuning job (no job.json); attune tune starts one", out);
    if (!rc) rc = json_read_file(path, JOB_JSON_MAX, &root, err);
    if (!rc) rc = json_get_i64(root, "format", path, 0, INT32_MAX, &format, err);
    if (!rc && (format < JOB_FORMAT_OLDEST || format > JOB_FORMAT))
        rc = err_set(err, ERR_UNSUPPORTED, "\"%s\" has format %lld; this program reads %d to %d",
                     path, (long long)format, JOB_FORMAT_OLDEST, JOB_FORMAT);
    for (size_t i = 0; !rc && i < FIELD_COUNT; i++) rc = field_set(&j, &fields[i], root, path, err);
    if (!rc) rc = job_sane(&j, path, err);
    json_decref(root);
    mem_free(path);
    if (rc) {
        job_release(&j);
        return rc;
    }
    j.o.out = absolute(out);
    *ret = j;
    return 0;
}
