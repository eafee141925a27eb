#include "data/findings.h"

#include "base/arena.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define FINDINGS_MAX ((size_t)256 << 20)

static const struct {
    const char *label, *text;
    enum check_group group;
} KINDS[FINDING_KINDS] = {
#define X(name, label, group, text) {label, text, CHECK_##group},
    FINDING_MAP(X)
#undef X
};

struct findings {
    struct finding *list;
    size_t count, cap;
    struct arena details;
};

const char *finding_label(enum finding_kind kind) { return KINDS[kind].label; }
const char *finding_text(enum finding_kind kind) { return KINDS[kind].text; }
enum check_group finding_group(enum finding_kind kind) { return KINDS[kind].group; }

struct findings *findings_new(void) {
    struct findings *f = mem_zalloc(1, sizeof *f);
    arena_init(&f->details, FINDINGS_MAX);
    return f;
}

void findings_free(struct findings *f) {
    if (!f) return;
    arena_release(&f->details);
    mem_free(f->list);
    mem_free(f);
}

int findings_add(struct findings *f, const struct finding *one, struct err *err) {
    struct finding copy = *one;
    if (one->detail) copy.detail = arena_strndup(&f->details, one->detail, strlen(one->detail));
    if (f->details.over || (f->count + 1) * sizeof copy + f->details.used > FINDINGS_MAX)
        return err_set(err, ERR_LIMIT,
                       "more than %zu findings, the last in row %lld; mend the first ones",
                       f->count, (long long)one->row);
    mem_grow((void **)&f->list, &f->cap, f->count + 1, sizeof *f->list);
    f->list[f->count++] = copy;
    return 0;
}

static int order_of(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int by_row(const void *va, const void *vb) {
    const struct finding *a = (const struct finding *)va, *b = (const struct finding *)vb;
    int c = order_of(a->row, b->row);
    if (!c) c = order_of(a->kind, b->kind);
    if (!c) c = order_of(a->message, b->message);
    if (!c) c = order_of(a->start, b->start);
    if (!c) c = order_of(a->twin, b->twin);
    if (!c && a->against && b->against) c = strcmp(a->against, b->against);
    if (!c && a->detail && b->detail) c = strcmp(a->detail, b->detail);
    return c;
}

void findings_sort(struct findings *f) {
    if (f->count) qsort(f->list, f->count, sizeof *f->list, by_row);
}

size_t findings_count(const struct findings *f) { return f->count; }
const struct finding *findings_at(const struct findings *f, size_t i) { return &f->list[i]; }
