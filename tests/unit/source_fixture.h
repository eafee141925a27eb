/* Reading a whole source in tests: its examples as lines of JSON, its findings as lines of words.
 */
#ifndef TESTS_SOURCE_FIXTURE_H
#define TESTS_SOURCE_FIXTURE_H

#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "data/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct all {
    int64_t records, examples, suspects;
    enum source_format format;
    struct buf reason, json, findings; /* "3 invalid_format 1: detail\n" */
    struct err err;
    int rc;
};

/* what the validator would say something about */
static inline bool is_suspect(const struct example *e) {
    size_t answers = 0, inputs = e->message_count - (e->kind == ROW_PAIR ? 2 : 0);
    for (size_t i = 0; i < e->message_count; i++) {
        const struct message *m = &e->messages[i];
        bool output = i >= inputs;
        answers += m->role == ROLE_ASSISTANT;
        if (m->role == ROLE_OTHER || isnan(m->weight) || m->weight < 0 || m->weight > 1e6)
            return true;
        if (output && (m->role != ROLE_ASSISTANT || m->call_count || !m->text.n)) return true;
        if (output && (m->weight < 1 || m->weight > 1)) return true;
        if (!m->text.n && !m->call_count) return true;
        for (size_t k = 0; k < m->call_count; k++)
            if (!m->calls[k].name.n || !m->calls[k].arguments.n ||
                m->calls[k].arguments.p[0] != '{')
                return true;
    }
    if (e->kind == ROW_PAIR && inputs && e->messages[inputs - 1].role == ROLE_ASSISTANT)
        return true;
    if (e->tools.n && (e->tools.p[0] != '[' || e->tools.p[1] != '{')) return true;
    return answers == 0;
}

static inline void add_findings(struct all *a, const struct findings *f) {
    for (size_t i = 0; i < findings_count(f); i++) {
        const struct finding *x = findings_at(f, i);
        buf_printf(&a->findings, "%lld %s %d: %s\n", (long long)x->row, finding_label(x->kind),
                   x->message, x->detail);
    }
}

static inline struct all all_of(const char *path, const struct source_options *o, int threads) {
    struct all a = {0};
    struct source *s = NULL;
    struct pool *pool = pool_new(threads);
    struct findings *f = findings_new();
    const struct example *list;
    size_t n = 1;
    buf_init(&a.reason, 1 << 16);
    buf_init(&a.json, (size_t)256 << 20);
    buf_init(&a.findings, (size_t)64 << 20);
    buf_z(&a.json, "");
    buf_z(&a.findings, "");
    a.rc = source_open(path, o, &s, &a.err);
    while (!a.rc && n) {
        a.rc = source_next(s, pool, &list, &n, f, &a.err);
        for (size_t i = 0; !a.rc && i < n; i++) {
            a.examples++;
            a.suspects += is_suspect(&list[i]);
            assert_null(memchr(list[i].json.p, '\n', list[i].json.n));
            buf_str(&a.json, list[i].json);
            buf_byte(&a.json, '\n');
        }
    }
    if (s) {
        a.records = source_records(s);
        a.format = source_format_of(s);
        buf_z(&a.reason, source_reason(s));
    }
    add_findings(&a, f);
    findings_free(f);
    pool_free(pool);
    source_close(s);
    return a;
}

static inline void all_release(struct all *a) {
    buf_release(&a->reason);
    buf_release(&a->json);
    buf_release(&a->findings);
}

/* a file of this name in the test's directory; valid until the next call */
static inline const char *file_of(const char *name, struct str text) {
    static char path[512];
    struct err err;
    snprintf(path, sizeof path, "%s/%s", unit_dir(), name);
    if (file_write_atomic(path, text, &err)) fail_msg("%s", err.msg);
    return path;
}

#endif
