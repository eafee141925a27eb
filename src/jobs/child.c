#include "jobs/child.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 200
#define GRACE_SECONDS 60

extern char **environ;

static char **environ_with(char *home) {
    size_t n = 0, kept = 0;
    while (environ[n]) n++;
    char **env = mem_zalloc(n + 2, sizeof *env);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "ATTUNE_HOME=", 12) != 0) env[kept++] = environ[i];
    env[kept] = home;
    return env;
}

static int spawn(const struct child *c, const char *const *argv, int out, pid_t *ret) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    char home[4096];
    snprintf(home, sizeof home, "ATTUNE_HOME=%s", c->home);
    char **env = environ_with(home);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawn_file_actions_addopen(&files, 2, c->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int rc = posix_spawn(ret, c->program ? c->program : "/proc/self/exe", &files, &attr,
                         (char *const *)argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    mem_free(env);
    return rc;
}

/* What it writes, until it ends or is to be stopped. */
static bool listen_to(const struct child *c, pid_t pid, int fd, struct buf *out) {
    double kill_at = 0;
    bool stopped = false;
    for (;;) {
        char bytes[1 << 14];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, LOOK_MS);
        ssize_t n = ready > 0 ? read(fd, bytes, sizeof bytes) : -1;
        if (ready > 0 && n == 0) return stopped;
        if (n > 0 && out) buf_add(out, bytes, (size_t)n);
        if (c->stop && atomic_load(c->stop) && !stopped) {
            kill(-pid, SIGTERM);
            kill_at = clock_seconds() + GRACE_SECONDS;
            stopped = true;
        }
        if (stopped && clock_seconds() > kill_at) kill(-pid, SIGKILL);
    }
}

int child_run(const struct child *c, const char *const *argv, struct buf *out, int *ret_code,
              struct err *err) {
    int ends[2], status = 0;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0) return err_sys(err, errno, "no pipe for a child process");
    int rc = spawn(c, argv, ends[1], &pid);
    close(ends[1]);
    if (rc) {
        close(ends[0]);
        return err_sys(err, rc, "could not start \"attune %s\"", argv[1]);
    }
    if (c->nice) setpriority(PRIO_PROCESS, (id_t)pid, c->nice);
    bool stopped = listen_to(c, pid, ends[0], out);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return stopped ? err_set(err, ERR_CANCELLED, "stopped") : 0;
}
