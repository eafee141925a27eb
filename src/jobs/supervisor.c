#include "jobs/supervisor.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/worker.h"
#include "store/ftjobs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 1000   /* at the catalog, with nothing to do */
#define WATCH_MS 100   /* at workers */
#define BUSY_SECONDS 1 /* until a job that someone else holds is tried again */
#define RETRY_SECONDS 2
#define CANCEL_SECONDS 10
#define STOP_SECONDS 120
#define NICE 10
#define LOG_TAIL 200

extern char **environ;

enum { VALIDATOR, TRAINER, WORKERS };

struct worker {
    pid_t pid; /* 0: none */
    char job[ID_SIZE];
    bool told_to_stop;
    double kill_at;    /* clock_seconds; 0: not */
    double not_before; /* the next start */
};

struct supervisor {
    struct catalog *c;
    struct supervisor_options o;
    char *program, *home_env; /* "ATTUNE_HOME=..." */
    pthread_t thread;
    pthread_mutex_t lock; /* guards stopping, woken */
    pthread_cond_t changed;
    bool stopping, woken;
    struct worker workers[WORKERS]; /* the thread's own */
};

static void say(const struct supervisor *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(const struct supervisor *s, const char *fmt, ...) {
    char text[600];
    va_list ap;
    if (!s->o.log) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->o.log(s->o.ctx, text);
}

/* --- starting --- */

static char **child_environ(const struct supervisor *s) {
    size_t n = 0, kept = 0;
    while (environ[n]) n++;
    char **env = mem_zalloc(n + 2, sizeof *env);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "ATTUNE_HOME=", 12) != 0) env[kept++] = environ[i];
    env[kept] = s->home_env;
    return env;
}

static char *log_path(const struct supervisor *s, const char *job) {
    char below[ID_SIZE + 16];
    snprintf(below, sizeof below, "jobs/%s/log", job);
    return catalog_path(s->c, below);
}

static int job_dir(const struct supervisor *s, const char *job, struct err *err) {
    char below[ID_SIZE + 16];
    snprintf(below, sizeof below, "jobs/%s", job);
    char *dir = catalog_path(s->c, below);
    int rc = dir_make(dir, err);
    mem_free(dir);
    return rc;
}

/* Its own group, so that a Ctrl-C in the terminal is the server's to pass on; no signal blocked or
 * ignored; what it says goes to its log. */
static int spawn(const struct supervisor *s, const char *job, char **argv, pid_t *ret) {
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    sigset_t none, all;
    char *log = log_path(s, job), **env = child_environ(s);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    int rc = posix_spawn(ret, s->program, &files, &attr, argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    mem_free(env);
    mem_free(log);
    return rc;
}

static void start(struct supervisor *s, int which, const char *job) {
    struct worker *w = &s->workers[which];
    struct err err;
    char parent[24], threads[24], nice_by[24];
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    snprintf(threads, sizeof threads, "%d", s->o.threads);
    snprintf(nice_by, sizeof nice_by, "%d", s->o.nice);
    char *argv[12] = {"attune", "work", (char *)job, "--parent", parent, "--nice", nice_by};
    int n = 7;
    if (s->o.threads > 0) {
        argv[n++] = "--threads";
        argv[n++] = threads;
    }
    if (which == VALIDATOR) argv[n++] = "--validate";
    *w = (struct worker){.not_before = 0};
    snprintf(w->job, sizeof w->job, "%s", job);
    int rc = job_dir(s, job, &err);
    if (!rc) {
        rc = spawn(s, job, argv, &w->pid);
        if (rc) err_sys(&err, rc, "could not start \"%s\"", s->program);
    }
    if (!rc) return;
    say(s, "%s: %s", job, err.msg);
    *w = (struct worker){.not_before = clock_seconds() + s->o.retry_seconds};
}

/* --- ending --- */

/* The last line of the worker's log: as a rule the reason. */
static void last_words(const struct supervisor *s, const char *job, char *text, size_t size) {
    char *path = log_path(s, job);
    struct file_map m;
    struct err err;
    text[0] = '\0';
    if (file_map_open(path, &m, &err) == 0) {
        size_t end = m.n;
        while (end > 0 && (m.p[end - 1] == '\n' || m.p[end - 1] == ' ')) end--;
        size_t begin = end;
        while (begin > 0 && m.p[begin - 1] != '\n' && end - begin < LOG_TAIL) begin--;
        snprintf(text, size, "%.*s", (int)(end - begin), (const char *)m.p + begin);
        file_map_close(&m);
    }
    mem_free(path);
}

static bool is_active(const char *status) {
    return strcmp(status, "validating_files") == 0 || strcmp(status, "queued") == 0 ||
           strcmp(status, "running") == 0;
}

/* "" where the catalog cannot say */
static void job_status(struct supervisor *s, const char *job, char status[ID_SIZE]) {
    struct ftjob j;
    struct arena mem;
    struct err err;
    arena_init(&mem, 8 << 20);
    status[0] = '\0';
    if (ftjobs_get(s->c, job, &mem, &j, &err) == 0) snprintf(status, ID_SIZE, "%s", j.status);
    arena_release(&mem);
}

static void died(struct supervisor *s, struct worker *w, int status) {
    struct err err;
    int64_t deaths = 0;
    char how[80], words[LOG_TAIL + 8], message[480];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "ended with code %d", WEXITSTATUS(status));
    last_words(s, w->job, words, sizeof words);
    if (ftjobs_crashed(s->c, w->job, &deaths, &err)) {
        say(s, "%s: %s", w->job, err.msg);
        return;
    }
    say(s, "%s: its process %s%s%s", w->job, how, words[0] ? ": " : "", words);
    w->not_before = clock_seconds() + s->o.retry_seconds * (double)deaths;
    if (deaths <= SUPERVISOR_RETRIES) return;
    snprintf(message, sizeof message,
             "The job's process %s, %lld times without a new step in between%s%s", how,
             (long long)deaths, words[0] ? "; it said last: " : "", words);
    struct ft_failure why = {"worker_died", message, NULL};
    if (ftjobs_fail(s->c, w->job, 0, &why, &err)) say(s, "%s: %s", w->job, err.msg);
}

/* Of a job that is over nobody goes on from the checkpoint. */
static void drop_checkpoint(struct supervisor *s, const char *job) {
    char below[ID_SIZE + 32];
    struct err err;
    snprintf(below, sizeof below, "jobs/%.*s/out/checkpoint", ID_SIZE, job);
    char *dir = catalog_path(s->c, below);
    if (dir_remove_all(dir, &err)) say(s, "%s", err.msg);
    mem_free(dir);
}

/* what ended while no supervisor was there to see it */
static void drop_checkpoints(struct supervisor *s) {
    struct arena mem;
    struct err err;
    struct ftjob_list l;
    struct page page = {.limit = INT32_MAX};
    arena_init(&mem, 256 << 20);
    if (ftjobs_list(s->c, &(struct ftjob_filter){0}, &page, &mem, &l, &err))
        say(s, "%s", err.msg);
    else
        for (size_t i = 0; i < l.count; i++)
            if (l.list[i].finished_at) drop_checkpoint(s, l.list[i].id);
    arena_release(&mem);
}

static void ended(struct supervisor *s, struct worker *w, int status) {
    char state[ID_SIZE];
    bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool busy = WIFEXITED(status) && WEXITSTATUS(status) == WORKER_BUSY_EXIT;
    w->pid = 0;
    w->not_before = 0;
    job_status(s, w->job, state);
    if (busy)
        w->not_before = clock_seconds() + BUSY_SECONDS;
    else if (!fine && !w->told_to_stop && is_active(state))
        died(s, w, status);
    if (strcmp(state, "cancelled") == 0 || strcmp(state, "failed") == 0) drop_checkpoint(s, w->job);
}

static void signal_worker(struct worker *w, int sig, double grace) {
    kill(w->pid, sig);
    w->told_to_stop = true;
    w->kill_at = clock_seconds() + grace;
}

/* Whether it has ended, and whether it should. */
static void watch(struct supervisor *s, struct worker *w, bool stopping) {
    int status = 0;
    char state[ID_SIZE];
    pid_t got = waitpid(w->pid, &status, WNOHANG);
    if (got == w->pid || (got < 0 && errno == ECHILD)) {
        ended(s, w, status);
        return;
    }
    job_status(s, w->job, state);
    bool unwanted = state[0] && !is_active(state);
    if (!w->told_to_stop && stopping)
        signal_worker(w, SIGTERM, s->o.stop_seconds);
    else if (!w->told_to_stop && unwanted)
        signal_worker(w, SIGTERM,
                      strcmp(state, "paused") == 0 ? s->o.stop_seconds : CANCEL_SECONDS);
    else if (w->told_to_stop && clock_seconds() > w->kill_at)
        kill(w->pid, SIGKILL);
}

/* --- the thread --- */

static void start_next(struct supervisor *s, int which, const char *status, bool *ret_started) {
    struct ftjob j;
    struct arena mem;
    struct err err;
    bool found = false;
    *ret_started = false;
    if (s->workers[which].pid || clock_seconds() < s->workers[which].not_before) return;
    arena_init(&mem, 8 << 20);
    if (ftjobs_oldest(s->c, status, &mem, &j, &found, &err))
        say(s, "%s", err.msg);
    else if (found)
        start(s, which, j.id);
    *ret_started = found;
    arena_release(&mem);
}

static void look(struct supervisor *s) {
    bool started;
    start_next(s, VALIDATOR, "validating_files", &started);
    start_next(s, TRAINER, "running", &started);
    if (!started) start_next(s, TRAINER, "queued", &started);
}

static bool any_worker(const struct supervisor *s) {
    return s->workers[VALIDATOR].pid || s->workers[TRAINER].pid;
}

/* Until woken, or for the time there is nothing to look at; whether the server stops. */
static bool rest(struct supervisor *s) {
    struct timespec until;
    int64_t ms = any_worker(s) ? WATCH_MS : LOOK_MS;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping && !s->woken)
        if (pthread_cond_timedwait(&s->changed, &s->lock, &until) == ETIMEDOUT) break;
    s->woken = false;
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stopping;
}

static void *supervise(void *arg) {
    struct supervisor *s = arg;
    bool stopping = false;
    drop_checkpoints(s);
    while (!stopping) {
        for (int i = 0; i < WORKERS; i++)
            if (s->workers[i].pid) watch(s, &s->workers[i], false);
        look(s);
        stopping = rest(s);
    }
    while (any_worker(s)) {
        for (int i = 0; i < WORKERS; i++)
            if (s->workers[i].pid) watch(s, &s->workers[i], true);
        if (any_worker(s)) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return NULL;
}

static char *this_program(void) {
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    return n > 0 ? mem_strndup(path, (size_t)n) : mem_strdup("attune");
}

static void set_up(struct supervisor *s) {
    pthread_condattr_t monotonic;
    const char *home = catalog_home(s->c);
    char *absolute = realpath(home, NULL);
    struct buf env;
    buf_init(&env, PATH_MAX + 32);
    buf_printf(&env, "ATTUNE_HOME=%s", absolute ? absolute : home);
    s->home_env = buf_take(&env);
    free(absolute);
    s->program = s->o.program ? mem_strdup(s->o.program) : this_program();
    if (!s->o.nice) s->o.nice = NICE;
    if (s->o.stop_seconds <= 0) s->o.stop_seconds = STOP_SECONDS;
    if (s->o.retry_seconds <= 0) s->o.retry_seconds = RETRY_SECONDS;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void release(struct supervisor *s) {
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->program);
    mem_free(s->home_env);
    mem_free(s);
}

int supervisor_start(struct catalog *c, const struct supervisor_options *o, struct supervisor **ret,
                     struct err *err) {
    struct supervisor *s = mem_zalloc(1, sizeof *s);
    s->c = c;
    s->o = *o;
    set_up(s);
    int rc = pthread_create(&s->thread, NULL, supervise, s);
    if (rc) {
        release(s);
        return err_sys(err, rc, "could not start the supervisor's thread");
    }
    *ret = s;
    return 0;
}

void supervisor_wake(struct supervisor *s) {
    pthread_mutex_lock(&s->lock);
    s->woken = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void supervisor_stop(struct supervisor *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    release(s);
}
