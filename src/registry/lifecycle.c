#include "registry/lifecycle.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "registry/names.h"
#include "store/tuned.h"

#include <string.h>

#define RECORD_FILE_MAX ((size_t)1 << 20)
#define EVENTS_AT_ONCE 1000
#define MEM_MAX ((size_t)64 << 20)

static const char *const adapter_files[] = {"adapter_config.json", "adapter_model.safetensors"};
#define ADAPTER_FILES (sizeof adapter_files / sizeof *adapter_files)

/* --- records --- */

static int hash_files(const char *dir, json_t *to, struct err *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < ADAPTER_FILES; i++) {
        char hex[SHA256_HEX + 1], *path = path_join(dir, adapter_files[i]);
        rc = sha256_file(path, hex, err);
        if (!rc) json_object_set_new(to, adapter_files[i], json_string(hex));
        mem_free(path);
    }
    return rc;
}

/* What training left beside the adapter; an imported one may have neither. */
static void take_file(const char *dir, const char *name, const char *key, json_t *record) {
    struct err none;
    json_t *value = NULL;
    char *path = path_join(dir, name);
    if (file_exists(path) && json_read_file(path, RECORD_FILE_MAX, &value, &none) == 0)
        json_object_set_new(record, key, value);
    mem_free(path);
}

static int make_record(struct catalog *c, const struct tuned_model *m, struct buf *out,
                       struct err *err) {
    char *dir = catalog_path(c, m->adapter);
    json_t *record = json_object(), *files = json_object();
    json_object_set_new(record, "base", json_string(m->base));
    json_object_set_new(record, "kind", json_string(m->kind));
    json_object_set_new(record, "files", files);
    if (m->job) json_object_set_new(record, "job", json_string(m->job));
    if (m->parent) json_object_set_new(record, "parent", json_string(m->parent));
    if (m->step) json_object_set_new(record, "step", json_integer(m->step));
    int rc = hash_files(dir, files, err);
    take_file(dir, "attune.json", "made_over", record);
    take_file(dir, "job.json", "recipe", record);
    json_write(record, out);
    json_decref(record);
    mem_free(dir);
    if (!rc && !buf_ok(out))
        rc = err_set(err, ERR_LIMIT, "the record of \"%.200s\" is too long", m->name);
    return rc;
}

int lifecycle_version(struct catalog *c, const char *model, const struct audit_cause *cause,
                      struct arena *mem, struct version *ret, struct err *err) {
    struct tuned_model m;
    struct named_model base;
    struct buf record;
    *ret = (struct version){0};
    int rc = versions_get(c, model, mem, ret, err);
    if (rc != ERR_NOT_FOUND) return rc;
    rc = tuned_get(c, model, mem, &m, err);
    if (rc == ERR_NOT_FOUND) return names_resolve(c, model, mem, &base, err);
    if (rc) return rc;
    buf_init(&record, 2 * RECORD_FILE_MAX);
    rc = make_record(c, &m, &record, err);
    if (!rc)
        rc = versions_add(
            c, &(struct version){.name = model, .state = "evaluating", .record = record.p}, cause,
            err);
    buf_release(&record);
    return rc ? rc : versions_get(c, model, mem, ret, err);
}

static int compare_files(const char *model, const json_t *then, const json_t *now,
                         struct err *err) {
    for (size_t i = 0; i < ADAPTER_FILES; i++) {
        const json_t *a = json_object_get(then, adapter_files[i]);
        if (a && !json_equal((json_t *)a, json_object_get(now, adapter_files[i])))
            return err_set(err, ERR_CORRUPT,
                           "%s of \"%.200s\" is not the file that its record names; it was changed "
                           "after it was made",
                           adapter_files[i], model);
    }
    return 0;
}

static int verify(struct catalog *c, const char *model, struct arena *mem, struct err *err) {
    struct version v;
    struct tuned_model m;
    json_t *record = NULL, *now = json_object();
    int rc = tuned_get(c, model, mem, &m, err);
    if (rc == ERR_NOT_FOUND) {
        json_decref(now);
        return 0; /* a base model: no files of ours */
    }
    if (!rc) rc = versions_get(c, model, mem, &v, err);
    if (!rc) rc = json_read(str_of(v.record), "the version's record", &record, err);
    if (!rc) {
        char *dir = catalog_path(c, m.adapter);
        rc = hash_files(dir, now, err);
        mem_free(dir);
    }
    if (!rc) rc = compare_files(model, json_object_get(record, "files"), now, err);
    json_decref(record);
    json_decref(now);
    return rc;
}

int lifecycle_verify(struct catalog *c, const char *model, struct err *err) {
    struct arena mem;
    arena_init(&mem, MEM_MAX);
    int rc = verify(c, model, &mem, err);
    arena_release(&mem);
    return rc;
}

/* --- moving --- */

static int promote(struct catalog *c, const char *alias, const char *model, bool back,
                   const struct audit_cause *cause, struct arena *mem, struct err *err) {
    struct version v;
    struct named_model m;
    int rc = names_resolve(c, model, mem, &m, err);
    if (!rc) rc = names_check_alias(c, alias, m.id, err);
    if (!rc) rc = lifecycle_version(c, m.id, cause, mem, &v, err);
    if (!rc) rc = verify(c, m.id, mem, err);
    return rc ? rc : versions_promote(c, alias, m.id, back, cause, err);
}

int lifecycle_promote(struct catalog *c, const char *alias, const char *model,
                      const struct audit_cause *cause, struct err *err) {
    struct arena mem;
    arena_init(&mem, MEM_MAX);
    int rc = promote(c, alias, model, false, cause, &mem, err);
    arena_release(&mem);
    return rc;
}

int lifecycle_rollback(struct catalog *c, const char *alias, const struct audit_cause *cause,
                       struct arena *mem, const char **ret_model, struct err *err) {
    const char *model = NULL;
    int rc = lifecycle_previous(c, alias, mem, &model, err);
    if (!rc && !model)
        rc = err_set(err, ERR_NOT_FOUND, "\"%.100s\" led to nothing before; there is no way back",
                     alias);
    if (!rc) rc = promote(c, alias, model, true, cause, mem, err);
    if (!rc) *ret_model = model;
    return rc;
}

/* --- history --- */

/* Calls fn for every event of the alias in order until it returns false. */
static int replay(struct catalog *c, const char *alias,
                  bool (*fn)(void *, const struct audit_event *), void *ctx, struct err *err) {
    int64_t after = 0;
    for (bool more = true; more;) {
        struct arena mem;
        struct audit_list l = {0};
        arena_init(&mem, MEM_MAX);
        int rc = audit_events(c, alias, after, EVENTS_AT_ONCE, &mem, &l, err);
        more = !rc && l.count == EVENTS_AT_ONCE;
        for (size_t i = 0; !rc && i < l.count; i++) {
            after = l.list[i].seq;
            if (strncmp(l.list[i].kind, "route.", 6) != 0) continue;
            if (fn(ctx, &l.list[i])) continue;
            more = false;
            break;
        }
        arena_release(&mem);
        if (rc) return rc;
    }
    return 0;
}

static char *target_of(const struct audit_event *e) {
    struct err none;
    json_t *data = NULL;
    if (json_read(str_of(e->data), "event", &data, &none) != 0) return NULL;
    const char *to = json_string_value(json_object_get(data, "to"));
    char *ret = to ? mem_strdup(to) : NULL;
    json_decref(data);
    return ret;
}

/* what the alias led to, the last on top; NULL: it was removed */
struct stack {
    char **list;
    size_t count, cap;
};

static bool same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static void pop(struct stack *s) { mem_free(s->list[--s->count]); }

/* Promoting again what is there already is no step that could be taken back. */
static bool step(void *ctx, const struct audit_event *e) {
    struct stack *s = ctx;
    char *to = target_of(e);
    if (strcmp(e->kind, "route.back") == 0)
        while (s->count && !same(s->list[s->count - 1], to)) pop(s);
    if (s->count && same(s->list[s->count - 1], to)) {
        mem_free(to);
        return true;
    }
    mem_grow((void **)&s->list, &s->cap, s->count + 1, sizeof *s->list);
    s->list[s->count++] = to;
    return true;
}

static const char *below_top(const struct stack *s) {
    for (size_t i = s->count; i-- > 0;)
        if (s->list[i] && i + 1 < s->count) return s->list[i];
    return NULL;
}

int lifecycle_previous(struct catalog *c, const char *alias, struct arena *mem, const char **ret,
                       struct err *err) {
    struct stack s = {0};
    int rc = replay(c, alias, step, &s, err);
    const char *found = rc ? NULL : below_top(&s);
    *ret = found ? arena_strndup(mem, found, strlen(found)) : NULL;
    while (s.count) pop(&s);
    mem_free(s.list);
    return rc;
}

struct moment {
    int64_t at_ms;
    char *target;
};

static bool until(void *ctx, const struct audit_event *e) {
    struct moment *m = ctx;
    if (e->at_ms > m->at_ms) return false;
    mem_free(m->target);
    m->target = target_of(e);
    return true;
}

int lifecycle_at(struct catalog *c, const char *alias, int64_t at_ms, struct arena *mem,
                 const char **ret, struct err *err) {
    struct moment m = {.at_ms = at_ms};
    int rc = replay(c, alias, until, &m, err);
    *ret = !rc && m.target ? arena_strndup(mem, m.target, strlen(m.target)) : NULL;
    mem_free(m.target);
    return rc;
}
