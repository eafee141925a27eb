#include "registry/names.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/routes.h"
#include "store/splits.h"
#include "store/tuned.h"
#include "weights/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ALIAS_STEPS_MAX 8
#define PART_MAX 64

/* --- one name --- */

/* when the model came here: its config.json's time */
static int64_t made_at(const char *dir) {
    struct stat st;
    char *config = path_join(dir, "config.json");
    int64_t at = stat(config, &st) == 0 ? (int64_t)st.st_mtime : 0;
    mem_free(config);
    return at;
}

static const char *keep(struct arena *mem, char *owned) {
    const char *kept = owned ? arena_strndup(mem, owned, strlen(owned)) : NULL;
    mem_free(owned);
    return kept;
}

static int arena_ok(const struct arena *mem, struct err *err) {
    return mem->over ? err_set(err, ERR_LIMIT, "the model's names take too much memory") : 0;
}

static int resolve_base(const char *name, struct arena *mem, struct named_model *ret,
                        struct err *err) {
    char *path = NULL;
    int rc = model_find(name, &path, err);
    if (rc) return rc;
    const char *id = arena_strndup(mem, name, strlen(name));
    *ret = (struct named_model){
        .id = id, .kind = NAME_BASE, .base = id, .owned_by = "system", .created = made_at(path)};
    ret->path = keep(mem, path);
    return arena_ok(mem, err);
}

static enum name_kind kind_of(const struct tuned_model *m) {
    if (strcmp(m->kind, "checkpoint") == 0) return NAME_CHECKPOINT;
    return strcmp(m->kind, "imported") == 0 ? NAME_IMPORTED : NAME_TUNED;
}

static struct named_model named(struct catalog *c, const struct tuned_model *m, struct arena *mem) {
    return (struct named_model){.id = m->name,
                                .kind = kind_of(m),
                                .base = m->base,
                                .adapter = keep(mem, catalog_path(c, m->adapter)),
                                .job = m->job,
                                .owned_by = NAMES_ORG,
                                .created = m->created_at,
                                .step = m->step};
}

static int resolve_tuned(struct catalog *c, const struct tuned_model *m, struct arena *mem,
                         struct named_model *ret, struct err *err) {
    char *path = NULL;
    int rc = model_find(m->base, &path, err);
    if (rc) return err_wrap(err, "the base of \"%s\" is gone", m->name);
    *ret = named(c, m, mem);
    ret->path = keep(mem, path);
    return arena_ok(mem, err);
}

/* a model of this very name; no alias */
static int resolve_model(struct catalog *c, const char *name, struct arena *mem,
                         struct named_model *ret, struct err *err) {
    struct tuned_model m;
    int rc = tuned_get(c, name, mem, &m, err);
    if (!rc) return resolve_tuned(c, &m, mem, ret, err);
    return rc == ERR_NOT_FOUND ? resolve_base(name, mem, ret, err) : rc;
}

int names_resolve(struct catalog *c, const char *name, struct arena *mem, struct named_model *ret,
                  struct err *err) {
    const char *at = name;
    for (int steps = 0; steps <= ALIAS_STEPS_MAX; steps++) {
        struct route r;
        struct err none;
        int rc = resolve_model(c, at, mem, ret, err);
        if (rc != ERR_NOT_FOUND) return rc;
        rc = routes_get(c, at, mem, &r, &none);
        if (rc == ERR_NOT_FOUND)
            return steps ? err_wrap(err, "the alias \"%.100s\" leads to \"%.100s\"", name, at)
                         : err->code;
        if (rc) return err_set(err, rc, "%s", none.msg);
        at = r.target;
    }
    return err_set(err, ERR_NOT_FOUND, "the alias \"%.100s\" leads through more than %d others",
                   name, ALIAS_STEPS_MAX);
}

/* --- all names --- */

static int put_bases(struct arena *mem, struct named_model *to, size_t *count,
                     const struct model_entry *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *id = arena_strndup(mem, list[i].name, strlen(list[i].name));
        to[(*count)++] =
            (struct named_model){.id = id,
                                 .kind = NAME_BASE,
                                 .base = id,
                                 .path = arena_strndup(mem, list[i].path, strlen(list[i].path)),
                                 .owned_by = "system",
                                 .created = made_at(list[i].path)};
    }
    return 0;
}

int names_list(struct catalog *c, struct arena *mem, struct named_list *ret, struct err *err) {
    struct tuned_list tuned = {0};
    struct route_list routes = {0};
    struct model_entry *bases = NULL;
    size_t base_count = 0, count = 0;
    int rc = models_usable(&bases, &base_count, err);
    if (!rc) rc = tuned_list(c, mem, &tuned, err);
    if (!rc) rc = routes_list(c, mem, &routes, err);
    struct named_model *list = NULL;
    if (!rc) {
        list = arena_array(mem, base_count + tuned.count + routes.count + 1, sizeof *list);
        rc = arena_ok(mem, err);
    }
    if (!rc) {
        put_bases(mem, list, &count, bases, base_count);
        for (size_t i = 0; i < tuned.count; i++) list[count++] = named(c, &tuned.list[i], mem);
        for (size_t i = 0; i < routes.count; i++)
            list[count++] = (struct named_model){.id = routes.list[i].name,
                                                 .kind = NAME_ALIAS,
                                                 .target = routes.list[i].target,
                                                 .owned_by = NAMES_ORG,
                                                 .created = routes.list[i].created_at};
        rc = arena_ok(mem, err);
    }
    models_list_free(bases, base_count);
    if (!rc) *ret = (struct named_list){list, count};
    return rc;
}

/* --- aliases --- */

static int alias_name_check(const char *name, struct err *err) {
    size_t n = strlen(name);
    bool ok = n > 0 && n < NAME_SIZE;
    for (size_t i = 0; ok && i < n; i++) ok = (unsigned char)name[i] > ' ' && name[i] != 0x7f;
    return ok ? 0
              : err_set(err, ERR_INVALID,
                        "\"%.100s\" is no name for an alias; use up to %d characters without "
                        "spaces",
                        name, NAME_SIZE - 1);
}

static int refuse_circle(struct catalog *c, const char *name, const char *target, struct arena *mem,
                         struct err *err) {
    const char *at = target;
    for (int steps = 0; steps <= ALIAS_STEPS_MAX; steps++) {
        struct route r;
        struct err none;
        if (strcmp(at, name) == 0)
            return err_set(err, ERR_CONFLICT, "\"%.100s\" would lead back to itself", name);
        int rc = routes_get(c, at, mem, &r, &none);
        if (rc == ERR_NOT_FOUND) return 0;
        if (rc) return err_set(err, rc, "%s", none.msg);
        at = r.target;
    }
    return 0; /* too long a way, which resolving says */
}

int names_check_alias(struct catalog *c, const char *name, const char *target, struct err *err) {
    struct named_model m;
    struct arena mem;
    arena_init(&mem, 1 << 20);
    int rc = alias_name_check(name, err);
    if (!rc) rc = resolve_model(c, name, &mem, &m, err);
    if (!rc)
        rc = err_set(err, ERR_CONFLICT, "\"%.100s\" is a model; choose another name", name);
    else if (rc == ERR_NOT_FOUND)
        rc = refuse_circle(c, name, target, &mem, err);
    if (!rc) rc = names_resolve(c, target, &mem, &m, err);
    arena_release(&mem);
    return rc;
}

int names_set_alias(struct catalog *c, const char *name, const char *target,
                    const struct audit_cause *cause, struct err *err) {
    int rc = names_check_alias(c, name, target, err);
    return rc ? rc : routes_set(c, name, target, cause, err);
}

/* --- deleting --- */

static int refuse_in_use(struct catalog *c, const char *name, struct arena *mem, struct err *err) {
    struct route_list l;
    int rc = routes_list(c, mem, &l, err);
    for (size_t i = 0; !rc && i < l.count; i++)
        if (strcmp(l.list[i].target, name) == 0)
            rc = err_set(err, ERR_CONFLICT,
                         "the alias \"%.100s\" leads to \"%.100s\"; move or remove it first",
                         l.list[i].name, name);
    if (!rc) rc = splits_refuse_candidate(c, name, err);
    return rc;
}

/* The directories of rows that are gone, where no other row has the same. */
static int remove_files(struct catalog *c, const struct tuned_list *gone, struct arena *mem,
                        struct err *err) {
    struct tuned_list left;
    int rc = tuned_list(c, mem, &left, err);
    for (size_t i = 0; !rc && i < gone->count; i++) {
        bool used = false;
        for (size_t k = 0; k < left.count; k++)
            used |= strcmp(left.list[k].adapter, gone->list[i].adapter) == 0;
        if (used) continue;
        char *dir = catalog_path(c, gone->list[i].adapter);
        rc = dir_remove_all(dir, err);
        mem_free(dir);
    }
    return rc;
}

static int delete_in(struct catalog *c, const char *name, struct arena *mem, struct err *err) {
    struct tuned_list gone;
    struct tuned_model m;
    struct route r;
    struct named_model base;
    struct err none;
    int rc = tuned_get(c, name, mem, &m, err);
    if (rc == ERR_NOT_FOUND && routes_get(c, name, mem, &r, &none) == 0)
        return err_set(err, ERR_INVALID, "\"%.100s\" is an alias of \"%.100s\", not a model", name,
                       r.target);
    if (rc == ERR_NOT_FOUND && resolve_base(name, mem, &base, &none) == 0)
        return err_set(err, ERR_INVALID,
                       "\"%.100s\" is a base model; only tuned models and imported adapters can "
                       "be deleted",
                       name);
    if (!rc) rc = refuse_in_use(c, name, mem, err);
    if (!rc) rc = tuned_delete(c, name, mem, &gone, err);
    return rc ? rc : remove_files(c, &gone, mem, err);
}

int names_delete(struct catalog *c, const char *name, struct err *err) {
    struct arena mem;
    arena_init(&mem, 64 << 20);
    int rc = delete_in(c, name, &mem, err);
    arena_release(&mem);
    return rc;
}

/* --- composing --- */

static void add_part(struct buf *b, const char *part) {
    for (size_t i = 0, n = 0; part && part[i] && n < PART_MAX; i++) {
        char ch = part[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || ch == '.' || ch == '_' || ch == '-';
        if (!plain && b->n && b->p[b->n - 1] == '-') continue; /* one for a run */
        buf_byte(b, plain ? ch : '-');
        n++;
    }
}

void names_compose(const struct tuned_name *n, char ret[NAME_SIZE]) {
    struct buf b;
    buf_init(&b, NAME_SIZE);
    buf_z(&b, "ft:");
    add_part(&b, n->base);
    buf_byte(&b, ':');
    add_part(&b, n->org);
    buf_byte(&b, ':');
    add_part(&b, n->suffix);
    buf_printf(&b, ":%.8s", n->unique);
    snprintf(ret, NAME_SIZE, "%s", b.p);
    buf_release(&b);
}

void names_checkpoint(const char *model, int64_t step, char ret[NAME_SIZE]) {
    snprintf(ret, NAME_SIZE, "%.220s:ckpt-step-%lld", model, (long long)step);
}
