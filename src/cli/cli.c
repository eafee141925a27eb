#include "cli/cli.h"

#include "base/file.h"
#include "base/mem.h"
#include "weights/models.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STDIN_MAX ((size_t)1 << 30)

volatile sig_atomic_t cli_interrupted;

int cli_fail(const char *command, const struct err *err) {
    fflush(stdout);
    fprintf(stderr, "attune %s: %s\n", command, err->msg);
    return err_exit_code(err->code);
}

void cli_time(int64_t unix_seconds, char ret[40]) {
    struct tm tm;
    time_t when = (time_t)unix_seconds;
    if (!unix_seconds || !gmtime_r(&when, &tm) || !strftime(ret, 40, "%Y-%m-%d %H:%M", &tm))
        snprintf(ret, 40, "-");
}

bool cli_time_parse(const char *text, int64_t *ret_ms) {
    struct tm tm = {.tm_mday = 1};
    int n = 0, fields = sscanf(text, "%4d-%2d-%2d%n%*[ T]%2d:%2d%n:%2d%n", &tm.tm_year, &tm.tm_mon,
                               &tm.tm_mday, &n, &tm.tm_hour, &tm.tm_min, &n, &tm.tm_sec, &n);
    if (fields >= 3 && (text[n] == '\0' || strcmp(text + n, "Z") == 0)) {
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        *ret_ms = (int64_t)timegm(&tm) * 1000;
        return fields != 4;
    }
    long long seconds;
    char rest;
    if (sscanf(text, "%lld%c", &seconds, &rest) != 1 || seconds < 0) return false;
    *ret_ms = seconds * 1000;
    return true;
}

int cli_stdin(struct buf *b, struct err *err) {
    buf_init(b, STDIN_MAX);
    char chunk[1 << 16];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_sys(err, errno, "could not read standard input");
        if (n == 0) return 0;
        buf_add(b, chunk, (size_t)n);
        if (!buf_ok(b))
            return err_set(err, ERR_LIMIT, "standard input is larger than %zu bytes", STDIN_MAX);
    }
}

int cli_model_path(const char *model, char **ret, struct err *err) {
    return model_resolve(model, ret, err);
}

bool cli_is_adapter(const char *path) {
    char *config = path_join(path, "adapter_config.json");
    bool yes = file_exists(config);
    mem_free(config);
    return yes;
}

int cli_adapter_base(const char *adapter, char **ret, struct err *err) {
    char *path = path_join(adapter, "adapter_config.json");
    json_t *config = NULL;
    struct str base = {0};
    int rc = json_read_file(path, (size_t)1 << 20, &config, err);
    if (!rc) rc = json_get_str(config, "base_model_name_or_path", path, &base, err);
    if (!rc && !base.n)
        rc = err_set(err, ERR_INVALID, "\"%s\" names no base model; give it with --base", path);
    if (!rc) {
        char *name = mem_strndup(base.p, base.n);
        rc = cli_model_path(name, ret, err);
        mem_free(name);
    }
    json_decref(config);
    mem_free(path);
    return rc;
}

int cli_num(const char *dtype, int threads, struct num **ret, struct err *err) {
    enum num_isa isa;
    int rc = num_isa_choose(&isa, err);
    if (rc) return rc;
    enum num_type compute = num_compute_default(isa);
    if (dtype && strcmp(dtype, "f32") == 0)
        compute = NUM_F32;
    else if (dtype && strcmp(dtype, "bf16") == 0)
        compute = NUM_BF16;
    else if (dtype)
        return err_set(err, ERR_USAGE, "--dtype is f32 or bf16, not \"%s\"", dtype);
    *ret = num_new(&(struct num_options){.threads = threads, .compute = compute, .isa = isa});
    return 0;
}

static int open_adapter(struct cli_engine *e, const char *dir, struct err *err) {
    char warning[240];
    int rc = adapter_open(e->model, dir, &e->adapter, warning, err);
    if (!rc && warning[0]) fprintf(stderr, "attune: warning: %s\n", warning);
    return rc;
}

int cli_engine_open(const struct cli_engine_options *o, struct cli_engine *e, struct err *err) {
    *e = (struct cli_engine){0};
    char *path = NULL;
    int rc = cli_num(o->dtype, o->threads, &e->num, err);
    if (!rc) rc = cli_model_path(o->model, &path, err);
    bool f32 = !rc && num_compute(e->num) == NUM_F32;
    if (!rc) rc = model_open(path, &(struct model_options){.expand_f32 = f32}, &e->model, err);
    if (!rc && o->adapter) rc = open_adapter(e, o->adapter, err);
    mem_free(path);
    return rc;
}

void cli_engine_close(struct cli_engine *e) {
    adapter_close(e->adapter);
    model_close(e->model);
    num_free(e->num);
    *e = (struct cli_engine){0};
}

static void on_interrupt(int sig) {
    if (cli_interrupted) _exit(128 + sig);
    cli_interrupted = 1;
}

void cli_catch_interrupt(void) {
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

const char *cli_actor(char ret[ACTOR_SIZE]) {
    const struct passwd *user = getpwuid(getuid());
    if (user)
        snprintf(ret, ACTOR_SIZE, "cli:%.64s", user->pw_name);
    else
        snprintf(ret, ACTOR_SIZE, "cli:%d", (int)getuid());
    return ret;
}

bool cli_is_terminal(int fd) { return isatty(fd) == 1; }

void cli_print_json(const json_t *v) {
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    json_write(v, &b);
    buf_byte(&b, '\n');
    fwrite(b.p, 1, b.n, stdout);
    fflush(stdout);
    buf_release(&b);
}
