#include "weights/models.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "weights/config.h"
#include "weights/tensors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_BYTES 96
#define CONFIG_BYTES_MAX ((size_t)16 << 20)

const char *const model_asset_names[] = {"generation_config.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "tokenizer.model",
                                         "vocab.json",
                                         "merges.txt",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "chat_template.jinja",
                                         "chat_template.json",
                                         "LICENSE",
                                         "README.md",
                                         NULL};

static char *join3(const char *a, const char *b, const char *c) {
    char *ab = path_join(a, b), *abc = path_join(ab, c);
    mem_free(ab);
    return abc;
}

static char *models_dir(void) {
    char *home = path_home(), *dir = path_join(home, "models");
    mem_free(home);
    return dir;
}

char *model_home_path(const char *name) {
    char *dir = models_dir(), *path = path_join(dir, name);
    mem_free(dir);
    return path;
}

/* --- the starter model ---------------------------------------------------------------------------
 */

static char *program_dir(void) {
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return NULL;
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    return slash ? mem_strndup(exe, (size_t)(slash - exe)) : NULL;
}

/* NULL when dir is none; takes dir */
static char *dir_or_null(char *dir) {
    if (dir_exists(dir)) return dir;
    mem_free(dir);
    return NULL;
}

/* Installed (PREFIX/bin beside PREFIX/share), or run from build/MODE in the source tree. */
static char *starter_path(void) {
    const char *share = getenv("ATTUNE_SHARE");
    char *found = share && *share ? dir_or_null(path_join(share, "starter")) : NULL;
    char *dir = program_dir();
    if (!found && dir) found = dir_or_null(path_join(dir, "../share/attune/starter"));
    if (!found && dir) found = dir_or_null(path_join(dir, "../../models/starter"));
    mem_free(dir);
    if (!found) return NULL;
    char *plain = realpath(found, NULL);
    char *ret = plain ? mem_strdup(plain) : mem_strdup(found);
    free(plain);
    mem_free(found);
    return ret;
}

/* --- names ---------------------------------------------------------------------------------------
 */

static bool name_ok(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MAX_BYTES || name[0] == '.' || name[0] == '-') return false;
    for (const char *p = name; *p; p++) {
        bool letter =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (!letter && !strchr("._-", *p)) return false;
    }
    return true;
}

int model_name_check(const char *name, struct err *err) {
    if (!name_ok(name))
        return err_set(
            err, ERR_INVALID,
            "\"%.100s\" is no model name; use up to %d letters, digits, '.', '_' and '-'", name,
            NAME_MAX_BYTES);
    if (strcmp(name, "starter") == 0)
        return err_set(err, ERR_CONFLICT,
                       "the name \"starter\" belongs to the model shipped with attune");
    return 0;
}

/* Names of complete models: what is being written has a ".tmp-" in it or begins with a dot. */
static int home_names(char ***ret_names, size_t *ret_count, struct err *err) {
    char *dir = models_dir();
    char **names = NULL;
    size_t count = 0, kept = 0;
    int rc = dir_exists(dir) ? dir_list(dir, &names, &count, err) : 0;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(dir, names[i]);
        bool keep = name_ok(names[i]) && !strstr(names[i], ".tmp-") && dir_exists(path);
        mem_free(path);
        if (keep)
            names[kept++] = names[i];
        else
            mem_free(names[i]);
    }
    mem_free(dir);
    if (rc) return rc;
    *ret_names = names;
    *ret_count = kept;
    return 0;
}

static int unknown_name(const char *name, bool has_starter, struct err *err) {
    char **names = NULL;
    size_t count = 0;
    struct err ignored;
    struct buf b;
    buf_init(&b, 240);
    if (has_starter) buf_z(&b, "starter");
    if (home_names(&names, &count, &ignored) == 0)
        for (size_t i = 0; i < count; i++) buf_printf(&b, "%s%s", b.n ? ", " : "", names[i]);
    dir_list_free(names, count);
    err_set(
        err, ERR_NOT_FOUND,
        "there is no model or path \"%.120s\"; known models: %.*s%s; \"attune pull\" fetches one, "
        "\"attune import PATH\" takes one in",
        name, STR_ARG(buf_view(&b)),
        !b.n         ? "none"
        : buf_ok(&b) ? ""
                     : ", ...");
    buf_release(&b);
    return err->code;
}

int model_resolve(const char *name, char **ret, struct err *err) {
    if (file_exists(name) || dir_exists(name)) {
        *ret = mem_strdup(name);
        return 0;
    }
    return model_find(name, ret, err);
}

int model_find(const char *name, char **ret, struct err *err) {
    char *path = name_ok(name) ? dir_or_null(model_home_path(name)) : NULL;
    char *starter = path ? NULL : starter_path();
    bool has_starter = starter != NULL;
    if (!path && starter && strcmp(name, "starter") == 0) {
        path = starter;
        starter = NULL;
    }
    mem_free(starter);
    if (!path) return unknown_name(name, has_starter, err);
    *ret = path;
    return 0;
}

/* --- the list ------------------------------------------------------------------------------------
 */

/* What config.json files said. A server is asked for its models again and again, and reads such a
 * file when it is another than before: by file number, size and times. */
struct known_config {
    struct stat at;                                        /* st_ino 0: nothing here */
    char family[sizeof((struct model_config *)0)->family]; /* "": it cannot be used */
};
static struct {
    pthread_mutex_t lock; /* guards the slots */
    struct known_config slot[256];
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct known_config *slot_of(const struct stat *st) {
    return &known.slot[st->st_ino % (sizeof known.slot / sizeof *known.slot)];
}

static bool same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_known(const struct stat *st, struct known_config *ret) {
    pthread_mutex_lock(&known.lock);
    *ret = *slot_of(st);
    pthread_mutex_unlock(&known.lock);
    const struct stat *at = &ret->at;
    return at->st_ino == st->st_ino && at->st_dev == st->st_dev && at->st_size == st->st_size &&
           same_time(at->st_mtim, st->st_mtim) && same_time(at->st_ctim, st->st_ctim);
}

static void read_family(const char *path, char *family, size_t n) {
    struct err ignored;
    struct model_config c;
    json_t *json = NULL;
    if (json_read_file(path, CONFIG_BYTES_MAX, &json, &ignored) == 0 &&
        model_config_read(json, NULL, path, &c, &ignored) == 0)
        snprintf(family, n, "%s", c.family);
    json_decref(json);
}

static char *config_family(const char *dir) {
    char *path = path_join(dir, "config.json");
    struct known_config k = {0};
    struct stat st;
    if (stat(path, &st) == 0 && !is_known(&st, &k)) {
        k = (struct known_config){.at = st};
        read_family(path, k.family, sizeof k.family);
        pthread_mutex_lock(&known.lock);
        *slot_of(&st) = k;
        pthread_mutex_unlock(&known.lock);
    }
    mem_free(path);
    return k.family[0] ? mem_strdup(k.family) : NULL;
}

static void count_weights(const char *dir, int64_t *ret_params, int64_t *ret_bytes) {
    struct err ignored;
    struct tensors *t = NULL;
    if (tensors_open(dir, &t, &ignored) != 0) return;
    for (int64_t i = 0; i < tensors_count(t); i++) {
        const struct tensor *x = tensors_at(t, i);
        *ret_bytes += (int64_t)x->bytes;
        *ret_params += (int64_t)x->bytes / (x->type == TENSOR_F32 ? 4 : 2);
    }
    tensors_close(t);
}

static char *read_source(const char *dir) {
    struct err ignored;
    struct str source = {NULL, 0};
    json_t *json = NULL;
    char *path = path_join(dir, "attune.json"), *ret = NULL;
    if (json_read_file(path, CONFIG_BYTES_MAX, &json, &ignored) == 0 &&
        json_get_str(json, "source", path, &source, &ignored) == 0 && source.p)
        ret = mem_strndup(source.p, source.n);
    json_decref(json);
    mem_free(path);
    return ret;
}

/* Name, path (which it takes) and family. */
static struct model_entry entry_of(const char *name, char *path) {
    return (struct model_entry){
        .name = mem_strdup(name), .path = path, .family = config_family(path)};
}

static int list_entries(struct model_entry **ret, size_t *ret_count, struct err *err) {
    char **names = NULL;
    size_t found = 0, count = 0;
    int rc = home_names(&names, &found, err);
    if (rc) return rc;
    struct model_entry *list = mem_zalloc(found + 1, sizeof *list);
    char *starter = starter_path();
    if (starter) list[count++] = entry_of("starter", starter);
    for (size_t i = 0; i < found; i++)
        list[count++] = entry_of(names[i], model_home_path(names[i]));
    dir_list_free(names, found);
    *ret = list;
    *ret_count = count;
    return 0;
}

int models_list(struct model_entry **ret, size_t *ret_count, struct err *err) {
    int rc = list_entries(ret, ret_count, err);
    for (size_t i = 0; !rc && i < *ret_count; i++) {
        struct model_entry *e = &(*ret)[i];
        e->source = read_source(e->path);
        count_weights(e->path, &e->params, &e->bytes);
    }
    return rc;
}

static void entry_release(struct model_entry *e) {
    mem_free(e->name);
    mem_free(e->path);
    mem_free(e->family);
    mem_free(e->source);
}

int models_usable(struct model_entry **ret, size_t *ret_count, struct err *err) {
    size_t count = 0, kept = 0;
    int rc = list_entries(ret, &count, err);
    if (rc) return rc;
    for (size_t i = 0; i < count; i++) {
        if ((*ret)[i].family)
            (*ret)[kept++] = (*ret)[i];
        else
            entry_release(&(*ret)[i]);
    }
    *ret_count = kept;
    return 0;
}

void models_list_free(struct model_entry *list, size_t count) {
    for (size_t i = 0; i < count; i++) entry_release(&list[i]);
    mem_free(list);
}

int model_source_write(const char *dir, const char *source, struct err *err) {
    char *path = path_join(dir, "attune.json");
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_z(&b, "{\"source\":");
    json_write_str(&b, str_of(source));
    buf_z(&b, "}\n");
    int rc = buf_ok(&b) ? file_write_atomic(path, buf_view(&b), err)
                        : err_set(err, ERR_LIMIT, "the source of \"%s\" is too long", dir);
    buf_release(&b);
    mem_free(path);
    return rc;
}

/* --- locks ---------------------------------------------------------------------------------------
 */

int home_lock(const char *subject, int *ret_fd, struct err *err) {
    char *home = path_home(), *dir = path_join(home, "locks"),
         *path = join3(home, "locks", subject);
    int fd = -1, rc = dir_make(dir, err);
    if (!rc && (fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0)
        rc = err_sys(err, errno, "could not open \"%s\"", path);
    if (!rc && flock(fd, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK
                 ? err_set(err, ERR_CONFLICT, "another attune is busy with this (\"%s\" is locked)",
                           path)
                 : err_sys(err, errno, "could not lock \"%s\"", path);
    if (rc)
        file_close(fd);
    else
        *ret_fd = fd;
    mem_free(path);
    mem_free(dir);
    mem_free(home);
    return rc;
}

void home_unlock(int fd) { file_close(fd); }
