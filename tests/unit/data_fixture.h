/* Examples for tests of the data checks: made by hand, and real ones out of ../shared/data. */
#ifndef TESTS_DATA_FIXTURE_H
#define TESTS_DATA_FIXTURE_H

#include "unit.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/example.h"

#include <stdio.h>

struct made {
    struct arena arena;
    struct example *list;
    size_t n, cap;
};

__attribute__((unused)) static void made_init(struct made *m) {
    *m = (struct made){0};
    arena_init(&m->arena, (size_t)1 << 30);
}
__attribute__((unused)) static void made_release(struct made *m) {
    mem_free(m->list);
    arena_release(&m->arena);
}

/* system may be NULL; without an answer it is a text */
__attribute__((unused)) static struct example *made_row(struct made *m, const char *system,
                                                        struct str user, struct str answer) {
    mem_grow((void **)&m->list, &m->cap, m->n + 1, sizeof *m->list);
    struct message *list = arena_array(&m->arena, 3, sizeof *list);
    size_t n = 0;
    if (system)
        list[n++] =
            (struct message){.role = ROLE_SYSTEM, .text = arena_str(&m->arena, str_of(system))};
    list[n++] = (struct message){.role = answer.n ? ROLE_USER : ROLE_ASSISTANT,
                                 .text = arena_str(&m->arena, user)};
    if (answer.n)
        list[n++] = (struct message){.role = ROLE_ASSISTANT, .text = arena_str(&m->arena, answer)};
    struct example *e = &m->list[m->n];
    *e = (struct example){.number = (int64_t)++m->n,
                          .kind = answer.n ? ROW_CHAT : ROW_TEXT,
                          .messages = list,
                          .message_count = n};
    return e;
}

__attribute__((unused)) static bool read_shared(const char *name, struct buf *b) {
    char path[300];
    struct err err;
    snprintf(path, sizeof path, "../shared/data/finetune/%s", name);
    buf_init(b, (size_t)64 << 20);
    if (file_read(path, b, &err) == 0) return true;
    printf("skipped: no ../shared/data/finetune/%s\n", name);
    buf_release(b);
    return false;
}

/* "text","category" with a head; quotes doubled inside quotes */
__attribute__((unused)) static struct str csv_field(struct arena *a, struct str s, size_t *at) {
    char *out = arena_alloc(a, s.n - *at + 1);
    size_t n = 0;
    bool quoted = *at < s.n && s.p[*at] == '"';
    if (quoted) ++*at;
    for (; *at < s.n; ++*at) {
        char c = s.p[*at];
        if (quoted && c == '"') {
            if (*at + 1 >= s.n || s.p[*at + 1] != '"') {
                ++*at;
                break;
            }
            ++*at;
        } else if (!quoted && (c == ',' || c == '\n')) {
            break;
        }
        out[n++] = c;
    }
    while (n && (out[n - 1] == '\n' || out[n - 1] == '\r')) n--;
    return (struct str){out, n};
}

/* Questions and their classes as chat rows; labels false: as texts. At most max. */
__attribute__((unused)) static bool add_banking(struct made *m, const char *name, bool labels,
                                                size_t max) {
    struct buf b;
    if (!read_shared(name, &b)) return false;
    struct str all = buf_view(&b);
    size_t at = 0, line = 0;
    struct arena a;
    arena_init(&a, (size_t)1 << 30);
    for (; at < all.n && m->n < max; line++) {
        size_t end = at;
        bool quoted = false;
        for (; end < all.n && (quoted || all.p[end] != '\n'); end++) quoted ^= all.p[end] == '"';
        struct str row = {all.p + at, end - at};
        size_t in = 0;
        struct str text = csv_field(&a, row, &in);
        in++;
        struct str label = csv_field(&a, row, &in);
        if (line) made_row(m, NULL, text, labels ? label : (struct str){0});
        arena_reset(&a);
        at = end + 1;
    }
    arena_release(&a);
    buf_release(&b);
    return true;
}

/* JSONL with question and answer; answer_key NULL: text */
__attribute__((unused)) static bool add_jsonl(struct made *m, const char *name,
                                              const char *question_key, const char *answer_key) {
    struct buf b;
    if (!read_shared(name, &b)) return false;
    for (struct str rest = buf_view(&b); rest.n;) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        json_t *row = json_loadb(rest.p, n, 0, NULL);
        if (row)
            made_row(m, NULL, str_of(json_string_value(json_object_get(row, question_key))),
                     answer_key ? str_of(json_string_value(json_object_get(row, answer_key)))
                                : (struct str){0});
        json_decref(row);
        rest = str_from(rest, n + 1);
    }
    buf_release(&b);
    return true;
}

/* The text with one word (of letters) replaced by another; empty where it has no such word. */
__attribute__((unused)) static struct str change_word(struct arena *a, struct str text,
                                                      struct rng *r, struct str word) {
    size_t starts[4096], count = 0;
    for (size_t i = 0; i < text.n && count < 4096; i++) {
        bool letter = (text.p[i] | 32) >= 'a' && (text.p[i] | 32) <= 'z';
        bool before = i && text.p[i - 1] != ' ' && text.p[i - 1] != '\n';
        if (letter && !before) starts[count++] = i;
    }
    if (!count) return (struct str){0};
    size_t from = starts[rng_below(r, count)], to = from;
    while (to < text.n && (text.p[to] | 32) >= 'a' && (text.p[to] | 32) <= 'z') to++;
    char *out = arena_alloc(a, text.n + word.n);
    memcpy(out, text.p, from);
    memcpy(out + from, word.p, word.n);
    memcpy(out + from + word.n, text.p + to, text.n - to);
    return (struct str){out, text.n - (to - from) + word.n};
}

#endif
