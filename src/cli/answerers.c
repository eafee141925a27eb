#include "cli/answerers.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "registry/names.h"
#include "weights/hash_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEM_MAX ((size_t)16 << 20)
#define BATCH_DEFAULT 16

void answerers_init(struct answerers *a) { arena_init(&a->mem, MEM_MAX); }

void answerers_close(struct answerers *a) {
    engine_close(a->engine);
    catalog_close(a->catalog);
    arena_release(&a->mem);
}

static bool is_url(const char *ref) {
    return strncmp(ref, "http://", 7) == 0 || strncmp(ref, "https://", 8) == 0;
}

static int open_engine(struct answerers *a, struct err *err) {
    struct engine_options o = {.threads = a->threads,
                               .batch_max = a->batch > 0 ? a->batch : BATCH_DEFAULT};
    if (a->engine) return 0;
    int rc = num_isa_choose(&o.isa, err);
    if (rc) return rc;
    o.compute = num_compute_default(o.isa);
    if (a->dtype && strcmp(a->dtype, "f32") == 0)
        o.compute = NUM_F32;
    else if (a->dtype && strcmp(a->dtype, "bf16") == 0)
        o.compute = NUM_BF16;
    else if (a->dtype)
        return err_set(err, ERR_USAGE, "--dtype is f32 or bf16, not \"%.40s\"", a->dtype);
    return engine_open(&o, &a->engine, err);
}

/* --- whose it is --- */

static int upstream_of(struct answerers *a, const char *ref, struct asker_options *o,
                       struct err *err) {
    const char *mark = strrchr(ref, '#');
    size_t n = mark ? (size_t)(mark - ref) : 0;
    if (!mark || !mark[1])
        return err_set(err, ERR_USAGE,
                       "\"%.200s\" does not name a model; write http://HOST:PORT/v1#NAME", ref);
    while (n && ref[n - 1] == '/') n--;
    o->url = arena_strndup(&a->mem, ref, n);
    o->model = arena_strndup(&a->mem, mark + 1, strlen(mark + 1));
    o->key = getenv("ATTUNE_UPSTREAM_KEY");
    if (!o->key) o->key = getenv("OPENAI_API_KEY");
    return 0;
}

static const char *keep(struct answerers *a, char *owned) {
    const char *kept = arena_strndup(&a->mem, owned, strlen(owned));
    mem_free(owned);
    return kept;
}

static int path_of(struct answerers *a, const char *ref, struct asker_options *o, struct err *err) {
    char *base = NULL;
    bool adapter = cli_is_adapter(ref);
    int rc = adapter ? cli_adapter_base(ref, &base, err) : cli_model_path(ref, &base, err);
    if (rc) return rc;
    o->path = keep(a, base);
    if (adapter) o->adapter = arena_strndup(&a->mem, ref, strlen(ref));
    return 0;
}

static int name_of(struct answerers *a, const char *ref, struct asker_options *o,
                   const char **ret_id, struct err *err) {
    struct named_model m;
    int rc = a->catalog ? 0 : catalog_open(NULL, &a->catalog, err);
    if (!rc) rc = names_resolve(a->catalog, ref, &a->mem, &m, err);
    if (rc) return rc;
    o->path = m.path;
    o->adapter = m.adapter;
    *ret_id = m.id;
    return 0;
}

/* Weights are told apart by path, size and time, which the cache of hashes knows; an adapter by its
 * bytes. */
static int version_of(struct answerers *a, const struct asker_options *o, struct answering *ret,
                      struct err *err) {
    struct hash_cache_key key;
    char hex[SHA256_HEX + 1] = "";
    hash_cache_begin(&key, "eval");
    hash_cache_add(&key, o->path);
    static const char *const files[] = {"config.json", "model.safetensors",
                                        "model.safetensors.index.json", "tokenizer.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = path_join(o->path, files[i]);
        if (file_exists(path)) hash_cache_add(&key, path);
        mem_free(path);
    }
    hash_cache_find(&key, hex);
    int rc = 0;
    char of_adapter[SHA256_HEX + 1] = "", *text = NULL;
    if (o->adapter) {
        char *path = path_join(o->adapter, "adapter_model.safetensors");
        rc = sha256_file(path, of_adapter, err);
        mem_free(path);
    }
    struct buf b;
    buf_init(&b, 256);
    buf_printf(&b, "%.32s%s%.32s", key.hex, o->adapter ? "+" : "", of_adapter);
    text = buf_take(&b);
    ret->version = keep(a, text);
    return rc;
}

int answerers_open(struct answerers *a, const char *ref, struct answering *ret, struct err *err) {
    struct asker_options o = {0};
    *ret = (struct answering){.id = ref, .version = ""};
    int rc = is_url(ref)                           ? upstream_of(a, ref, &o, err)
             : file_exists(ref) || dir_exists(ref) ? path_of(a, ref, &o, err)
                                                   : name_of(a, ref, &o, &ret->id, err);
    if (!rc && !o.url) rc = open_engine(a, err);
    if (!rc && !o.url) rc = version_of(a, &o, ret, err);
    o.engine = a->engine;
    return rc ? rc : asker_open(&o, &ret->asker, err);
}
