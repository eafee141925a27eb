#include "model/save.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/model_int.h"
#include "weights/models.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#define ASSET_MAX ((size_t)256 << 20)
#define SHARD_BYTES ((int64_t)4 << 30)

static int write_json(const char *dir, const char *name, const json_t *v, struct err *err) {
    char *path = path_join(dir, name), *text = json_dumps(v, JSON_INDENT(2));
    int rc = file_write_atomic(path, str_of(text), err);
    free(text);
    mem_free(path);
    return rc;
}

static int copy_asset(const char *from_dir, const char *to_dir, const char *name, struct err *err) {
    char *from = path_join(from_dir, name), *to = path_join(to_dir, name);
    struct buf b;
    buf_init(&b, ASSET_MAX);
    int rc = 0;
    if (file_exists(from)) {
        rc = file_read(from, &b, err);
        if (!rc) rc = file_write_atomic(to, buf_view(&b), err);
    }
    buf_release(&b);
    mem_free(from);
    mem_free(to);
    return rc;
}

static int copy_assets(const struct model *m, const char *dir, struct err *err) {
    int rc = 0;
    for (const char *const *name = model_asset_names; !rc && *name; name++)
        rc = copy_asset(m->path, dir, *name, err);
    return rc;
}

static int make_tokenizer_files(const struct model *m, const char *dir, struct err *err) {
    struct buf b;
    buf_init(&b, ASSET_MAX);
    char *path = path_join(dir, "tokenizer.json");
    int rc = tokenizer_write_json(m->tokenizer, &b, err);
    if (!rc) rc = file_write_atomic(path, buf_view(&b), err);
    mem_free(path);
    buf_release(&b);
    if (rc) return rc;
    json_t *config = json_deep_copy(tokenizer_special_map(m->tokenizer));
    json_object_set_new(config, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    json_object_set_new(config, "model_max_length", json_integer(m->config.max_position));
    if (m->chat) {
        struct str s = template_source(m->chat);
        json_object_set_new(config, "chat_template", json_stringn(s.p, s.n));
    }
    rc = write_json(dir, "tokenizer_config.json", config, err);
    json_decref(config);
    return rc;
}

static int make_generation_config(const struct model *m, const char *dir, struct err *err) {
    json_t *stops = json_array();
    for (int i = 0; i < m->config.stop_count; i++)
        json_array_append_new(stops, json_integer(m->config.stops[i]));
    json_t *o = json_pack("{s:o}", "eos_token_id", stops);
    if (m->config.bos >= 0) json_object_set_new(o, "bos_token_id", json_integer(m->config.bos));
    int rc = write_json(dir, "generation_config.json", o, err);
    json_decref(o);
    return rc;
}

int model_save_assets(const struct model *m, enum tensor_type type, const char *dir,
                      struct err *err) {
    json_t *config = model_config_write(&m->config, type == TENSOR_F32 ? "float32" : "bfloat16");
    int rc = write_json(dir, "config.json", config, err);
    json_decref(config);
    if (rc) return rc;
    if (dir_exists(m->path)) return copy_assets(m, dir, err);
    rc = make_tokenizer_files(m, dir, err);
    return rc ? rc : make_generation_config(m, dir, err);
}

_Static_assert((int)TENSOR_F32 == (int)NUM_F32 && (int)TENSOR_BF16 == (int)NUM_BF16 &&
                   (int)TENSOR_F16 == (int)NUM_F16,
               "one list of element types");

static size_t element_count(const struct tensor *t) {
    return t->bytes / num_type_size((enum num_type)t->type);
}

static void convert_tensor(const struct tensor *t, enum num_type type, char *to) {
    float wide[4096];
    const char *from = t->data;
    size_t from_size = num_type_size((enum num_type)t->type), left = element_count(t);
    for (size_t n; left; left -= n) {
        n = left < 4096 ? left : 4096;
        num_widen(wide, from, (enum num_type)t->type, (int64_t)n);
        num_narrow(to, type, wide, (int64_t)n);
        from += n * from_size;
        to += n * num_type_size(type);
    }
}

/* all tensors as `type`: pointers into the model where it has that type already, else into
 * *ret_block */
static int convert(const struct model *m, enum tensor_type type, struct tensor_out **ret_list,
                   void **ret_block, size_t *ret_bytes, struct err *err) {
    int64_t count = tensors_count(m->tensors);
    size_t width = num_type_size((enum num_type)type), bytes = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct tensor *t = tensors_at(m->tensors, i);
        if (t->type != type) bytes += element_count(t) * width;
    }
    int rc = mem_block_open(bytes, "converting the weights", ret_block, err);
    if (rc) return rc;
    struct tensor_out *list = mem_zalloc((size_t)count, sizeof *list);
    char *at = *ret_block;
    for (int64_t i = 0; i < count; i++) {
        const struct tensor *t = tensors_at(m->tensors, i);
        list[i] =
            (struct tensor_out){.name = t->name, .type = type, .dims = t->dims, .data = t->data};
        memcpy(list[i].shape, t->shape, sizeof t->shape);
        if (t->type == type) continue;
        convert_tensor(t, (enum num_type)type, at);
        list[i].data = at;
        at += element_count(t) * width;
    }
    *ret_list = list;
    *ret_bytes = bytes;
    return 0;
}

static int save_into(const struct model *m, enum tensor_type type, const struct tensor_out *list,
                     int64_t count, const char *dir, struct err *err) {
    int rc = dir_make(dir, err);
    if (!rc) rc = model_save_assets(m, type, dir, err);
    if (rc) return rc;
    if (list) return safetensors_write_dir(dir, list, count, SHARD_BYTES, err);
    struct tensor_out *own = NULL;
    void *block = NULL;
    size_t bytes = 0;
    rc = convert(m, type, &own, &block, &bytes, err);
    if (!rc) rc = safetensors_write_dir(dir, own, tensors_count(m->tensors), SHARD_BYTES, err);
    mem_block_close(block, bytes);
    mem_free(own);
    return rc;
}

int model_save(const struct model *m, enum tensor_type type, const struct tensor_out *list,
               int64_t count, const char *dir, struct err *err) {
    if (dir_exists(dir) || file_exists(dir))
        return err_set(err, ERR_CONFLICT, "\"%s\" exists already; remove it or choose another name",
                       dir);
    size_t n = strlen(dir) + 32;
    char *staging = mem_alloc(n);
    snprintf(staging, n, "%s.tmp-%ld", dir, (long)getpid());
    int rc = save_into(m, type, list, count, staging, err);
    if (!rc) rc = file_rename(staging, dir, err);
    struct err ignored;
    if (rc) dir_remove_all(staging, &ignored);
    mem_free(staging);
    return rc;
}

/* lower case letters, digits, dots and dashes; what a person can type */
static char *name_of_path(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    char *trimmed = mem_strndup(path, n);
    struct str base = path_base(trimmed);
    if (str_ends(base, STR_LIT(".gguf"))) base.n -= 5;
    char *name = mem_strndup(base.p, base.n);
    for (char *c = name; *c; c++)
        *c = isalnum((unsigned char)*c) || *c == '.' ? (char)tolower((unsigned char)*c) : '-';
    mem_free(trimmed);
    return name;
}

/* Names are taken one at a time: the lock keeps two imports from writing the same directory. */
static int import_locked(const char *path, enum tensor_type type, const char *dir,
                         struct err *err) {
    char *models = mem_strndup(dir, (size_t)(path_base(dir).p - dir));
    struct model *m = NULL;
    int rc = dir_make(models, err);
    if (!rc)
        rc = model_open(path, &(struct model_options){.expand_f32 = type == TENSOR_F32}, &m, err);
    if (!rc) rc = model_save(m, type, NULL, 0, dir, err);
    if (!rc) rc = model_source_write(dir, path, err);
    model_close(m);
    mem_free(models);
    return rc;
}

int model_import(const char *path, const char *name, enum tensor_type type, char **ret_dir,
                 struct err *err) {
    char *own_name = name ? mem_strdup(name) : name_of_path(path), *dir = NULL;
    int lock = -1, rc = model_name_check(own_name, err);
    if (!rc) {
        dir = model_home_path(own_name);
        rc = home_lock(own_name, &lock, err);
    }
    if (!rc) rc = import_locked(path, type, dir, err);
    home_unlock(lock);
    mem_free(own_name);
    if (rc)
        mem_free(dir);
    else
        *ret_dir = dir;
    return rc;
}
