/* Grammars as their users see them: from a schema to an automaton that may be run. */
#include "text/grammar_schema_int.h"

#include <stdio.h>

int grammar_make(struct automaton *a, struct schemas *s, struct grammar **ret, struct err *err) {
    uint16_t *heights = NULL;
    int rc = schemas_finish(s, err);
    if (!rc) rc = build_finish(a, &heights, err);
    if (!rc) rc = schemas_check(s, heights, err);
    if (!rc && heights[a->starts[0]] > GRAMMAR_DEPTH_MAX)
        rc = err_set(err, ERR_LIMIT, "the smallest value of the schema is nested more than %d deep",
                     GRAMMAR_DEPTH_MAX);
    if (rc) {
        mem_free(heights);
        automaton_release(a);
        return rc;
    }
    struct grammar *g = mem_zalloc(1, sizeof *g);
    atomic_init(&g->refs, 1);
    g->automaton = *a;
    g->heights = heights;
    pthread_mutex_init(&g->lock, NULL);
    *a = (struct automaton){0};
    *ret = g;
    return 0;
}

int grammar_compile(const json_t *schema, const struct grammar_options *options,
                    struct grammar **ret, char path[GRAMMAR_PATH_MAX], struct err *err) {
    struct automaton a = {0};
    struct schemas *s = schemas_new(&a);
    const char *where = options && options->where ? options->where : "schema";
    uint32_t rule;
    int rc = schemas_add(s, schema, where, &rule, err);
    if (!rc)
        rc = grammar_make(&a, s, ret, err);
    else
        automaton_release(&a);
    if (path) snprintf(path, GRAMMAR_PATH_MAX, "%s", *schemas_path(s) ? schemas_path(s) : where);
    schemas_free(s);
    return rc;
}

int grammar_json_object(struct grammar **ret, struct err *err) {
    json_t *schema = json_pack("{s:s}", "type", "object");
    int rc = grammar_compile(schema, NULL, ret, NULL, err);
    json_decref(schema);
    return rc;
}

struct grammar *grammar_ref(struct grammar *g) {
    atomic_fetch_add(&g->refs, 1);
    return g;
}

void grammar_free(struct grammar *g) {
    if (!g || atomic_fetch_sub(&g->refs, 1) > 1) return;
    while (g->caches) {
        struct mask_cache *next = mask_cache_next(g->caches);
        mask_cache_free(g->caches);
        g->caches = next;
    }
    pthread_mutex_destroy(&g->lock);
    automaton_release(&g->automaton);
    mem_free(g->heights);
    mem_free(g);
}
