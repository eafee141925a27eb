/* Any bytes as text: normalised, cut into words, and put through duplicates and leaks. */
#include "base/utf8.h"
#include "data/leakage.h"
#include "data/twins.h"
#include "data/words.h"

#include "base/mem.h"

#include <assert.h>

static struct pool *pool;

static void compare(const struct example *list, size_t n) {
    struct err err;
    const struct twin *twins;
    struct leaks leaks = {0};
    size_t count;
    struct twins *t = twins_new(NULL);
    assert(twins_add(t, list, n, NULL, pool, &err) == 0);
    assert(twins_find(t, pool, &twins, &count, &err) == 0);
    for (size_t i = 0; i < count; i++) assert(twins[i].row != twins[i].of);
    twins_free(t);
    struct leakage *l = leakage_new();
    assert(leakage_add(l, 0, list, n / 2, &err) == 0);
    leakage_ready(l);
    assert(leakage_find(l, list + n / 2, n - n / 2, pool, &leaks, &err) == 0);
    assert(leaks.count <= n - n / 2);
    mem_free(leaks.list);
    leakage_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = {(const char *)data, size};
    struct buf normal;
    struct words w = {0};
    if (!pool) pool = pool_new(1);
    buf_init(&normal, (size_t)1 << 24);
    text_normalise(text, &normal);
    struct str s = buf_view(&normal);
    assert(utf8_valid_prefix(s) == s.n);
    assert(!s.n || (s.p[0] != ' ' && s.p[s.n - 1] != ' '));
    words_add(&w, s);
    assert(w.wide <= w.n);
    for (size_t i = 0; i < w.n; i++) {
        assert(w.at[i].bytes && (size_t)w.at[i].start + w.at[i].bytes <= s.n);
        assert(!i || w.at[i].start >= w.at[i - 1].start + w.at[i - 1].bytes);
    }
    /* a line is a message, pairs of lines are rows */
    struct message messages[64];
    struct example list[32];
    size_t n = 0;
    for (struct str rest = text; rest.n && n < 64;) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t length = end ? (size_t)(end - rest.p) : rest.n;
        messages[n] =
            (struct message){.role = n % 2 ? ROLE_ASSISTANT : ROLE_USER, .text = {rest.p, length}};
        n++;
        rest = str_from(rest, length + 1);
    }
    for (size_t i = 0; i < n / 2; i++)
        list[i] = (struct example){
            .number = (int64_t)i + 1, .messages = &messages[2 * i], .message_count = 2};
    compare(list, n / 2);
    words_release(&w);
    buf_release(&normal);
    return 0;
}
