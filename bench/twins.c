/* Duplicates and leaks among generated rows.
 *
 *     make bench-twins [ARGS="ROWS BYTES THREADS random|template [HELDOUT]"]
 *
 * Rows of about BYTES bytes, a tenth of them copies of an earlier one with one word changed, a
 * fiftieth equal. template: all begin with the same 60 words and differ in few. The texts are made
 * batch by batch and thrown away, as a reader would; making them is not counted.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/leakage.h"
#include "data/twins.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH 4096
#define WORDS 40000

struct maker {
    struct arena arena;
    char (*words)[16];
    size_t bytes;
    bool template;
};

static void make_words(struct maker *m) {
    static const char *const syllables[] = {"ka",  "to",  "mi", "re",  "lu", "son", "da", "vel",
                                            "qui", "ner", "po", "sta", "fe", "gor", "hi", "zu"};
    m->words = mem_zalloc(WORDS, sizeof *m->words);
    for (size_t i = 0; i < WORDS; i++) {
        size_t n = 0;
        for (size_t v = i + 1; v; v /= 16)
            n += (size_t)snprintf(m->words[i] + n, 16 - n, "%s", syllables[v % 16]);
    }
}

/* The text of a row by its seed: the same seed, the same words; `change` replaces one. */
static struct str make_text(struct maker *m, uint64_t seed, size_t bytes, bool change) {
    struct rng r;
    struct buf b;
    buf_init(&b, (size_t)1 << 24);
    rng_init(&r, m->template ? 1 : seed);
    size_t at = change ? 3 + seed % 40 : SIZE_MAX, fixed = m->template ? 60 : 0;
    for (size_t w = 0; b.n < bytes; w++) {
        if (w == fixed && m->template) rng_init(&r, seed);
        double x = rng_double(&r);
        size_t word = (size_t)(WORDS * x * x * x * x);
        if (w) buf_byte(&b, ' ');
        buf_z(&b, w == at ? "changed" : m->words[word]);
    }
    struct str s = arena_str(&m->arena, buf_view(&b));
    buf_release(&b);
    return s;
}

static void make_row(struct maker *m, int64_t i, struct example *ret) {
    struct message *list = arena_array(&m->arena, 2, sizeof *list);
    uint64_t kind = rng_hash(7, (uint64_t)i) % 100;
    bool copy = i > 100 && kind < 12;
    uint64_t seed = copy ? rng_hash(8, (uint64_t)i) % (uint64_t)i : (uint64_t)i;
    size_t bytes = m->bytes / 2 + rng_hash(9, seed) % (m->bytes + 1);
    list[0] = (struct message){.role = ROLE_USER,
                               .text = make_text(m, seed, bytes / 2, copy && kind >= 2)};
    list[1] = (struct message){.role = ROLE_ASSISTANT,
                               .text = make_text(m, ~seed, bytes - bytes / 2, false)};
    *ret =
        (struct example){.number = i + 1, .kind = ROW_CHAT, .messages = list, .message_count = 2};
}

static void must(int rc, const struct err *err) {
    if (!rc) return;
    fprintf(stderr, "bench: %s\n", err->msg);
    exit(1);
}

int main(int argc, char **argv) {
    int64_t rows = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000000;
    struct maker m = {.bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000};
    struct pool *pool = pool_new(argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0);
    int64_t held_out = argc > 5 ? strtoll(argv[5], NULL, 10) : 1000;
    struct example *batch = mem_zalloc(BATCH, sizeof *batch);
    struct twins *t = twins_new(NULL);
    struct leakage *l = leakage_new();
    struct leaks leaks = {0};
    struct err err = {0};
    double adding = 0, looking = 0, bytes = 0;
    m.template = argc > 4 && argv[4][0] == 't';
    arena_init(&m.arena, (size_t)1 << 30);
    make_words(&m);
    for (int64_t i = 0; i < held_out; i++) {
        make_row(&m, rows + 13 * i, batch);
        must(leakage_add(l, 0, batch, 1, &err), &err);
    }
    leakage_ready(l);
    for (int64_t from = 0; from < rows; from += BATCH) {
        size_t n = rows - from < BATCH ? (size_t)(rows - from) : BATCH;
        arena_reset(&m.arena);
        for (size_t i = 0; i < n; i++) {
            make_row(&m, from + (int64_t)i, &batch[i]);
            bytes += (double)(batch[i].messages[0].text.n + batch[i].messages[1].text.n);
        }
        double start = clock_seconds();
        must(twins_add(t, batch, n, NULL, pool, &err), &err);
        adding += clock_seconds() - start;
        start = clock_seconds();
        must(leakage_find(l, batch, n, pool, &leaks, &err), &err);
        looking += clock_seconds() - start;
    }
    const struct twin *list;
    size_t count, kinds[5] = {0};
    double start = clock_seconds();
    must(twins_find(t, pool, &list, &count, &err), &err);
    double finding = clock_seconds() - start;
    for (size_t i = 0; i < count; i++) kinds[list[i].kind]++;
    printf("%lld rows, %.0f MB, %d threads: adding %.1f s, finding %.1f s; against %lld held-out "
           "%.1f s; peak %.0f MiB\n",
           (long long)rows, bytes / 1e6, pool_threads(pool), adding, finding, (long long)held_out,
           looking, (double)mem_rss_peak() / 1048576);
    printf("%zu exact, %zu near, %zu alike, %zu review, %zu conflicts, %lld cut; %zu leaks\n",
           kinds[0], kinds[1], kinds[2], kinds[3], kinds[4], (long long)twins_cut(t), leaks.count);
    twins_free(t);
    leakage_free(l);
    mem_free(leaks.list);
    mem_free(batch);
    mem_free(m.words);
    arena_release(&m.arena);
    pool_free(pool);
    return 0;
}
