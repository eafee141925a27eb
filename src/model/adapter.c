/* Low-rank adapters in PEFT's layout: names, and loading a directory. */
#include "model/model_int.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>

#define NAME_SIZE 160

/* PEFT saves names without the adapter's own name; a state dict taken from a live model keeps it.
 */
static const char *const name_ends[] = {"weight", "default.weight"};
#define FORM_COUNT (sizeof name_ends / sizeof *name_ends)

static void name_in_form(char *out, size_t size, size_t form, int64_t layer, enum linear_kind kind,
                         char factor) {
    snprintf(out, size, "base_model.model.model.layers.%lld.%s.lora_%c.%s", (long long)layer,
             linear_module(kind), factor, name_ends[form]);
}

void lora_tensor_name(char *out, size_t size, int64_t layer, enum linear_kind kind, char factor) {
    name_in_form(out, size, 0, layer, kind, factor);
}

struct loader {
    const struct model *m;
    const struct tensors *tensors;
    const char *path;
    struct adapter *a;
    float *next; /* free floats of a->data; NULL while counting */
    size_t floats;
    int64_t found;
};

static const struct tensor *find_factor(const struct loader *l, int64_t layer,
                                        enum linear_kind kind, char factor) {
    char name[NAME_SIZE];
    for (size_t form = 0; form < FORM_COUNT; form++) {
        name_in_form(name, sizeof name, form, layer, kind, factor);
        const struct tensor *t = tensors_find(l->tensors, name);
        if (t) return t;
    }
    return NULL;
}

static int load_factor(struct loader *l, const struct tensor *t, int64_t rows, int64_t columns,
                       const float **ret, struct err *err) {
    struct tensor checked;
    int rc = tensors_get(l->tensors, t->name, 2, (int64_t[]){rows, columns}, &checked, err);
    if (rc) return rc;
    size_t n = (size_t)rows * (size_t)columns;
    l->floats += n;
    l->found++;
    if (!l->next) return 0;
    num_widen(l->next, t->data, (enum num_type)t->type, (int64_t)n);
    *ret = l->next;
    l->next += n;
    return 0;
}

static int load_linear(struct loader *l, int64_t layer, enum linear_kind kind, struct err *err) {
    const struct tensor *a = find_factor(l, layer, kind, 'A'),
                        *b = find_factor(l, layer, kind, 'B');
    const struct linear *lin = &l->m->layers[layer].lin[kind];
    struct lora *lora = &l->a->lora[layer][kind];
    if (!a && !b) return 0;
    if (!a || !b)
        return err_set(err, ERR_INVALID, "\"%s\": %s comes without its other factor", l->path,
                       a ? a->name : b->name);
    int rc = load_factor(l, a, l->a->rank, lin->in, &lora->a, err);
    return rc ? rc : load_factor(l, b, lin->out, l->a->rank, &lora->b, err);
}

static int load_all(struct loader *l, struct err *err) {
    int rc = 0;
    l->found = 0;
    for (int64_t i = 0; !rc && i < l->m->config.layers; i++)
        for (int k = 0; !rc && k < LIN_COUNT; k++) rc = load_linear(l, i, (enum linear_kind)k, err);
    return rc;
}

static bool is_factor(const struct loader *l, const char *name) {
    for (int64_t i = 0; i < l->m->config.layers; i++)
        for (int k = 0; k < LIN_COUNT; k++)
            for (int f = 0; f < 2; f++) {
                const struct tensor *t = find_factor(l, i, (enum linear_kind)k, f ? 'B' : 'A');
                if (t && strcmp(t->name, name) == 0) return true;
            }
    return false;
}

/* A tensor that means nothing here would be a part of the adapter left out in silence. */
static int refuse_strangers(const struct loader *l, struct err *err) {
    int64_t count = tensors_count(l->tensors);
    if (count == 0 || l->found == 0)
        return err_set(err, ERR_INVALID, "\"%s\" adapts no linear layer of \"%s\"", l->path,
                       l->m->path);
    if (l->found == count) return 0;
    for (int64_t i = 0; i < count; i++) {
        const char *name = tensors_at(l->tensors, i)->name;
        if (!is_factor(l, name))
            return err_set(
                err, ERR_UNSUPPORTED,
                "\"%s\": tensor %s is no low-rank factor of a linear layer of \"%s\" (%lld layers)",
                l->path, name, l->m->path, (long long)l->m->config.layers);
    }
    return 0;
}

static int load_tensors(struct loader *l, struct err *err) {
    struct adapter *a = l->a;
    int rc = load_all(l, err); /* counts and checks */
    if (!rc) rc = refuse_strangers(l, err);
    if (!rc) rc = mem_try(l->floats, sizeof *a->data, "adapter", (void **)&a->data, err);
    if (rc) return rc;
    a->floats = l->floats;
    l->next = a->data;
    return load_all(l, err);
}

static int open_file(const char *dir, struct tensors **ret, struct err *err) {
    char *path = path_join(dir, "adapter_model.safetensors"),
         *pickle = path_join(dir, "adapter_model.bin");
    int rc;
    if (!file_exists(path) && file_exists(pickle))
        rc = err_set(
            err, ERR_UNSUPPORTED,
            "\"%s\" is a pickle, which can run any program; save it with safe_serialization=True",
            pickle);
    else
        rc = tensors_open(path, ret, err);
    mem_free(pickle);
    mem_free(path);
    return rc;
}

/* what was not recorded, or not opened (weights_only), is not compared */
static bool differs(const char *recorded, const char *present) {
    return recorded[0] && present[0] && strcmp(recorded, present) != 0;
}

static int compare_hashes(const struct model *m, const struct model_hashes *recorded,
                          const char *dir, char warning[240], struct err *err) {
    struct model_hashes now;
    warning[0] = '\0';
    if (!recorded->weights[0] && !recorded->tokenizer[0] && !recorded->chat_template[0]) return 0;
    int rc = model_hashes(m, &now, err);
    if (rc) return rc;
    const char *what = differs(recorded->weights, now.weights)               ? "weights"
                       : differs(recorded->tokenizer, now.tokenizer)         ? "tokenizer"
                       : differs(recorded->chat_template, now.chat_template) ? "chat template"
                                                                             : NULL;
    if (what)
        snprintf(warning, 240,
                 "adapter \"%.80s\" was trained on another model: the %s of \"%.80s\" differ", dir,
                 what, m->path);
    return 0;
}

int adapter_open(const struct model *m, const char *dir, struct adapter **ret, char warning[240],
                 struct err *err) {
    struct adapter_meta meta;
    struct tensors *tensors = NULL;
    if (!m->layers) return err_set(err, ERR_USAGE, "\"%s\" was opened without weights", m->path);
    struct adapter *a = mem_zalloc(1, sizeof *a);
    a->path = mem_strdup(dir);
    a->layer_count = m->config.layers;
    a->lora = mem_zalloc((size_t)a->layer_count, sizeof *a->lora);
    int rc = adapter_config_load(dir, &meta, &a->config, err);
    if (rc) goto out;
    a->rank = meta.rank;
    a->scale = adapter_scale(&meta);
    rc = open_file(dir, &tensors, err);
    if (rc) goto out;
    struct loader l = {.m = m, .tensors = tensors, .path = dir, .a = a};
    rc = load_tensors(&l, err);
    if (!rc) rc = compare_hashes(m, &meta.hashes, dir, warning, err);
out:
    tensors_close(tensors);
    if (rc)
        adapter_close(a);
    else
        *ret = a;
    return rc;
}

size_t adapter_bytes(const struct adapter *a) { return a->floats * sizeof *a->data; }

void adapter_close(struct adapter *a) {
    if (!a) return;
    json_decref(a->config);
    mem_free(a->path);
    mem_free(a->data);
    mem_free(a->lora);
    mem_free(a);
}
