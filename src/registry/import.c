/* Taking in a PEFT adapter: its files are copied beside, opened over the base, then named. */
#include "registry/names.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/model.h"
#include "store/tuned.h"
#include "weights/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX ((size_t)1 << 20)

/* --- which base --- */

static bool same_place(const char *a, const char *b) {
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

/* A known model that `said` (a path, a hub's ORG/NAME or a name) means; NULL: none. */
static const char *known_base(const struct model_entry *list, size_t count, struct str said) {
    char *text = mem_strndup(said.p, said.n);
    const char *found = NULL;
    for (size_t i = 0; i < count && !found; i++) {
        struct str source = str_of(list[i].source ? list[i].source : "");
        if (strcmp(list[i].name, text) == 0 || same_place(list[i].path, text) ||
            (said.n && str_starts(source, STR_LIT("hf:")) && str_eq(str_from(source, 3), said)))
            found = list[i].name;
    }
    mem_free(text);
    return found;
}

static int said_base(const char *dir, struct arena *mem, const char **ret, struct err *err) {
    char *path = path_join(dir, "adapter_config.json");
    json_t *config = NULL;
    struct str said = {"", 0};
    struct model_entry *list = NULL;
    size_t count = 0;
    int rc = json_read_file(path, CONFIG_MAX, &config, err);
    if (!rc) rc = json_get_str(config, "base_model_name_or_path", path, &said, err);
    if (!rc) rc = models_list(&list, &count, err);
    const char *found = rc ? NULL : known_base(list, count, said);
    if (!rc && !found)
        rc = err_set(err, ERR_NOT_FOUND,
                     "the adapter belongs to \"%.*s\", which is no model known here; pull it, or "
                     "name its base with --base",
                     (int)(said.n < 120 ? said.n : 120), said.p);
    if (!rc) *ret = arena_strndup(mem, found, strlen(found));
    models_list_free(list, count);
    json_decref(config);
    mem_free(path);
    return rc;
}

/* --- the files --- */

static int copy_file(const char *from, const char *to, struct err *err) {
    struct file_map m;
    int rc = file_map_open(from, &m, err);
    if (rc) return rc;
    rc = file_write_atomic(to, (struct str){m.p ? (const char *)m.p : "", m.n}, err);
    file_map_close(&m);
    return rc;
}

static int copy_adapter(const char *from, const char *to, struct err *err) {
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors",
                                        "attune.json"};
    int rc = dir_make(to, err);
    for (size_t i = 0; !rc && i < sizeof names / sizeof *names; i++) {
        char *a = path_join(from, names[i]), *b = path_join(to, names[i]);
        if (i < 2 || file_exists(a)) rc = copy_file(a, b, err);
        mem_free(a);
        mem_free(b);
    }
    return rc;
}

static int opens_over(const char *base, const char *dir, char warning[240], struct err *err) {
    struct model *m = NULL;
    struct adapter *a = NULL;
    /* tokenizer and template are compared as well, where the base has some */
    int rc = model_open(base, &(struct model_options){0}, &m, err);
    if (rc) rc = model_open(base, &(struct model_options){.weights_only = true}, &m, err);
    if (!rc) rc = adapter_open(m, dir, &a, warning, err);
    adapter_close(a);
    model_close(m);
    return rc;
}

static int take_in(struct catalog *c, const struct name_import *i, const char *base,
                   const char *base_path, char warning[240], struct err *err) {
    char below[NAME_SIZE], temp[ID_SIZE], unique[9];
    id_random(unique, 8); /* a place that a killed import has left is in nobody's way */
    id_new("adapters/.tmp-", temp);
    snprintf(below, sizeof below, "adapters/%s.%s", i->name, unique);
    char *to = catalog_path(c, temp), *place = catalog_path(c, below);
    int rc = copy_adapter(i->dir, to, err);
    if (!rc) rc = opens_over(base_path, to, warning, err);
    if (!rc) rc = file_rename(to, place, err);
    struct tuned_model m = {.name = i->name, .kind = "imported", .base = base, .adapter = below};
    if (!rc) rc = tuned_add(c, &m, err);
    struct err ignored;
    if (rc) dir_remove_all(to, &ignored);
    if (rc) dir_remove_all(place, &ignored);
    mem_free(to);
    mem_free(place);
    return rc;
}

int names_import(struct catalog *c, const struct name_import *i, char warning[240],
                 struct err *err) {
    warning[0] = '\0';
    struct named_model m;
    struct arena mem;
    const char *base = i->base;
    arena_init(&mem, 1 << 20);
    int rc = model_name_check(i->name, err);
    if (!rc && names_resolve(c, i->name, &mem, &m, err) == 0)
        rc = err_set(err, ERR_CONFLICT, "there is a model or alias named \"%s\" already", i->name);
    if (!rc && !base) rc = said_base(i->dir, &mem, &base, err);
    if (!rc) rc = names_resolve(c, base, &mem, &m, err);
    if (!rc && m.kind != NAME_BASE) rc = err_set(err, ERR_INVALID, "\"%s\" is no base model", base);
    if (!rc) rc = take_in(c, i, m.id, m.path, warning, err);
    arena_release(&mem);
    return rc;
}
