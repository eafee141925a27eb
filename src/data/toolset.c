#include "data/toolset.h"

#include "base/hash.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>

#define SLOTS 256

struct toolset_cache {
    pthread_mutex_t lock; /* slots, and refs of all lists */
    struct toolset *slots[SLOTS];
};

static bool is_name(struct str s) {
    if (s.n == 0 || s.n > 64) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], low = (char)(c | 32);
        if (!((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static void problem(struct toolset *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void problem(struct toolset *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (!t->problem[0]) vsnprintf(t->problem, sizeof t->problem, fmt, ap);
    va_end(ap);
}

static void add_tool(struct toolset *t, const json_t *tool, size_t i) {
    const json_t *type = json_object_get(tool, "type"), *f = json_object_get(tool, "function");
    const json_t *parameters = json_object_get(f, "parameters");
    struct str name = json_str(json_object_get(f, "name"));
    if (!json_is_object(tool) || !json_is_string(type) || !str_is(json_str(type), "function") ||
        !json_is_object(f)) {
        problem(t, "tools[%zu] must be {\"type\": \"function\", \"function\": {...}}", i);
        return;
    }
    if (!is_name(name)) {
        problem(t,
                "tools[%zu].function.name must be 1 to 64 letters, digits, _ or -; rename the "
                "function",
                i);
        return;
    }
    if (toolset_find(t, name)) problem(t, "two tools are named \"%.*s\"", STR_ARG(name));
    if (parameters && !json_is_object(parameters) && !json_is_null(parameters)) {
        problem(t, "tools[%zu].function.parameters must be a JSON Schema, an object", i);
        return;
    }
    t->list[t->count++] = (struct tool){
        .name = name, .schema = json_is_object(parameters) ? schema_new(parameters) : NULL};
}

static struct toolset *toolset_new(struct str text) {
    struct toolset *t = mem_zalloc(1, sizeof *t);
    struct err err;
    size_t i;
    const json_t *tool;
    t->text = mem_strndup(text.p, text.n);
    t->text_n = text.n;
    t->refs = 1;
    if (json_read(text, "tools", &t->json, &err))
        problem(t, "%.180s", err.msg);
    else if (!json_is_array(t->json))
        problem(t, "\"tools\" must be a list");
    t->list = mem_zalloc(json_array_size(t->json) + 1, sizeof *t->list);
    json_array_foreach(t->json, i, tool) add_tool(t, tool, i);
    return t;
}

static void toolset_free(struct toolset *t) {
    for (size_t i = 0; i < t->count; i++) schema_free(t->list[i].schema);
    mem_free(t->list);
    mem_free(t->text);
    json_decref(t->json);
    mem_free(t);
}

static void unref_locked(struct toolset *t) {
    if (t && --t->refs == 0) toolset_free(t);
}

struct toolset_cache *toolset_cache_new(void) {
    struct toolset_cache *c = mem_zalloc(1, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void toolset_cache_free(struct toolset_cache *c) {
    if (!c) return;
    for (size_t i = 0; i < SLOTS; i++) unref_locked(c->slots[i]);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

const struct toolset *toolset_get(struct toolset_cache *c, struct str text) {
    size_t slot = hash_bytes(text.p, text.n) % SLOTS;
    pthread_mutex_lock(&c->lock);
    struct toolset *t = c->slots[slot];
    bool hit = t && str_eq((struct str){t->text, t->text_n}, text);
    if (hit) t->refs++;
    pthread_mutex_unlock(&c->lock);
    if (hit) return t;
    t = toolset_new(text); /* outside the lock: two threads may both do it */
    pthread_mutex_lock(&c->lock);
    unref_locked(c->slots[slot]);
    c->slots[slot] = t;
    t->refs++;
    pthread_mutex_unlock(&c->lock);
    return t;
}

void toolset_put(struct toolset_cache *c, const struct toolset *t) {
    pthread_mutex_lock(&c->lock);
    unref_locked((struct toolset *)t);
    pthread_mutex_unlock(&c->lock);
}

const struct tool *toolset_find(const struct toolset *t, struct str name) {
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(t->list[i].name, name)) return &t->list[i];
    return NULL;
}
