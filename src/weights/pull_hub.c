/* A model directory from the hub: list the files, take those a model needs. */
#include "weights/pull_int.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "weights/fetch.h"
#include "weights/models.h"

#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX ((size_t)16 << 20)
#define FILES_MAX 2000
#define URL_BYTES 1024

static bool is_shard(struct str name) {
    return str_starts(name, STR_LIT("model-")) && str_ends(name, STR_LIT(".safetensors"));
}

static bool is_wanted(struct str name) {
    if (!pull_word_ok(name.p, name.n))
        return false; /* a name from the server becomes a path here */
    for (const char *const *asset = model_asset_names; *asset; asset++)
        if (str_is(name, *asset)) return true;
    return is_shard(name) || str_is(name, "config.json") || str_is(name, "model.safetensors") ||
           str_is(name, "model.safetensors.index.json");
}

static const char *endpoint(void) {
    const char *set = getenv("HF_ENDPOINT");
    return set && *set ? set : "https://huggingface.co";
}

static int list_files(struct pull *p, const char *repository, json_t **ret, struct err *err) {
    char url[URL_BYTES];
    struct buf b;
    buf_init(&b, LIST_MAX);
    snprintf(url, sizeof url, "%s/api/models/%s", endpoint(), repository);
    p->file = "the list of files";
    struct fetch f = {.url = url,
                      .token = getenv("HF_TOKEN"),
                      .progress = pull_progress,
                      .ctx = p,
                      .backoff_ms = p->o->backoff_ms};
    int rc = fetch_text(&f, &b, err);
    if (!rc) rc = json_read(buf_view(&b), url, ret, err);
    buf_release(&b);
    return rc;
}

static int fetch_one(struct pull *p, const char *repository, const char *revision, const char *name,
                     const char *dir, struct err *err) {
    char url[URL_BYTES];
    char *path = path_join(dir, name);
    snprintf(url, sizeof url, "%s/%s/resolve/%s/%s", endpoint(), repository, revision, name);
    p->file = name;
    struct fetch f = {.url = url,
                      .path = path,
                      .token = getenv("HF_TOKEN"),
                      .progress = pull_progress,
                      .ctx = p,
                      .backoff_ms = p->o->backoff_ms};
    int rc = file_exists(path) ? 0 : fetch_file(&f, err); /* there from an earlier try */
    mem_free(path);
    return rc;
}

/* A revision in use from an earlier try: the files of two revisions must not mix. */
static int settle_revision(const char *dir, const char *revision, struct err *err) {
    char *path = path_join(dir, ".revision");
    struct buf b;
    struct err ignored;
    buf_init(&b, 64);
    int rc = 0;
    bool same = file_read(path, &b, &ignored) == 0 && str_is(buf_view(&b), revision);
    if (!same) rc = dir_remove_all(dir, err);
    if (!rc) rc = dir_make(dir, err);
    if (!rc && !same) rc = file_write_atomic(path, str_of(revision), err);
    buf_release(&b);
    mem_free(path);
    return rc;
}

/* the commit, so that a push during the download cannot mix two states; "main" without one */
static const char *revision_of(const json_t *list) {
    const char *sha = json_string_value(json_object_get(list, "sha"));
    return sha && strlen(sha) == 40 && strspn(sha, "0123456789abcdef") == 40 ? sha : "main";
}

static int check_complete(const char *repository, const json_t *files, bool has_config,
                          bool has_weights, struct err *err) {
    if (has_config && has_weights) return 0;
    for (size_t i = 0; i < json_array_size(files); i++) {
        struct str name = json_str(json_object_get(json_array_get(files, i), "rfilename"));
        if (!name.p || !str_ends(name, STR_LIT(".gguf"))) continue;
        return err_set(
            err, ERR_UNSUPPORTED,
            "\"%s\" holds GGUF files; pull one of them: attune pull %s/%s/resolve/main/%.100s",
            repository, endpoint(), repository, name.p);
    }
    return err_set(err, ERR_UNSUPPORTED, "\"%s\" has no %s", repository,
                   has_config ? "safetensors weights" : "config.json");
}

int pull_hub(struct pull *p, const char *repository, const char *dir, struct err *err) {
    json_t *list = NULL;
    int rc = list_files(p, repository, &list, err);
    if (rc) return rc;
    const json_t *files = json_object_get(list, "siblings");
    size_t count = json_array_size(files);
    const char *revision = revision_of(list);
    bool has_config = false, has_weights = false;
    for (size_t i = 0; i < count; i++) {
        struct str name = json_str(json_object_get(json_array_get(files, i), "rfilename"));
        has_config = has_config || (name.p && str_is(name, "config.json"));
        has_weights =
            has_weights || (name.p && (is_shard(name) || str_is(name, "model.safetensors")));
    }
    if (count > FILES_MAX)
        rc = err_set(err, ERR_LIMIT, "\"%s\" has %zu files; at most %d are read", repository, count,
                     FILES_MAX);
    if (!rc) rc = check_complete(repository, files, has_config, has_weights, err);
    if (!rc) rc = settle_revision(dir, revision, err);
    for (size_t i = 0; !rc && i < count; i++) {
        struct str name = json_str(json_object_get(json_array_get(files, i), "rfilename"));
        if (name.p && is_wanted(name)) rc = fetch_one(p, repository, revision, name.p, dir, err);
    }
    json_decref(list);
    return rc;
}
