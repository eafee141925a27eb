/* The held-out cases, indexed. */
#include "data/leakage_int.h"

#include "base/mem.h"

#include <stdlib.h>

/* What so many different cases share, and that part of all, is their template. */
#define TEMPLATE_CASES 3
#define TEMPLATE_SHARE 0.01

struct leakage *leakage_new(void) {
    struct leakage *l = mem_zalloc(1, sizeof *l);
    l->text_count = 1;
    mem_grow((void **)&l->texts, &l->text_cap, 1, sizeof *l->texts);
    l->texts[0] = (struct ltext){0};
    return l;
}

static void table_release(struct ltable *t) {
    mem_free(t->list);
    mem_free(t->places);
}

void leakage_free(struct leakage *l) {
    if (!l) return;
    mem_free(l->words);
    mem_free(l->template);
    mem_free(l->joined);
    mem_free(l->texts);
    mem_free(l->cases);
    table_release(&l->grams);
    table_release(&l->whole);
    table_release(&l->rare);
    mem_free(l);
}

/* --- tables --- */

static struct lentry *slot(const struct ltable *t, uint64_t key) {
    size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> 32) & t->mask;
    while (t->list[i].first && t->list[i].key != key) i = (i + 1) & t->mask;
    return &t->list[i];
}

const struct lentry *ltable_get(const struct ltable *t, uint64_t key) {
    if (!t->count) return NULL;
    const struct lentry *e = slot(t, key);
    return e->first ? e : NULL;
}

static void table_grow(struct ltable *t) {
    struct ltable old = *t;
    size_t cap = old.list ? 2 * (old.mask + 1) : 1024;
    t->list = mem_zalloc(cap, sizeof *t->list);
    t->mask = cap - 1;
    for (size_t i = 0; old.list && i <= old.mask; i++)
        if (old.list[i].first) *slot(t, old.list[i].key) = old.list[i];
    mem_free(old.list);
}

static void table_put(struct ltable *t, uint64_t key, uint32_t text, uint32_t pos) {
    if (!t->list || 2 * (t->count + 1) > t->mask) table_grow(t);
    struct lentry *e = slot(t, key);
    if (!e->first) {
        e->key = key;
        t->count++;
    }
    if (e->last_text != text) e->texts++;
    e->last_text = text;
    if (!t->place_count) t->place_count = 1;
    mem_grow((void **)&t->places, &t->place_cap, t->place_count + 1, sizeof *t->places);
    t->places[t->place_count] = (struct lplace){text, pos, e->first};
    e->first = (uint32_t)t->place_count++;
}

uint64_t words_key(const uint32_t *list, size_t n) {
    return content_hash(n, list, n * sizeof *list);
}

/* --- cases --- */

size_t prompt_messages(const struct example *e) {
    size_t n = e->message_count;
    if (e->kind == ROW_TEXT) return n;
    if (e->kind == ROW_PAIR) return n < 2 ? 0 : n - 2;
    return n && e->messages[n - 1].role == ROLE_ASSISTANT ? n - 1 : n;
}

static uint32_t add_text(struct leakage *l, const struct words *w, bool answer) {
    if (!w->n) return 0;
    mem_grow((void **)&l->words, &l->word_cap, l->word_count + w->n, sizeof *l->words);
    memcpy(l->words + l->word_count, w->list, w->n * sizeof *w->list);
    mem_grow((void **)&l->joined, &l->joined_cap, l->word_count + w->n, 1);
    for (size_t i = 0; i < w->n; i++) l->joined[l->word_count + i] = w->at[i].joined;
    mem_grow((void **)&l->texts, &l->text_cap, l->text_count + 1, sizeof *l->texts);
    l->texts[l->text_count] = (struct ltext){.at = (uint32_t)l->word_count,
                                             .n = (uint32_t)w->n,
                                             .own = (uint32_t)w->n,
                                             .the_case = (uint32_t)l->case_count,
                                             .answer = answer,
                                             .scale = 2 * w->wide > w->n ? 2 : 1};
    l->word_count += w->n;
    return (uint32_t)l->text_count++;
}

static void add_words(struct words *w, struct buf *normal, struct str text) {
    buf_clear(normal);
    text_normalise(text, normal);
    words_add(w, buf_view(normal));
}

int leakage_add(struct leakage *l, int32_t file, const struct example *list, size_t n,
                struct err *err) {
    struct words w = {0};
    struct buf normal;
    buf_init(&normal, (size_t)1 << 30);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        const struct example *e = &list[i];
        struct lcase c = {.number = e->number, .file = file};
        size_t prompts = prompt_messages(e);
        words_clear(&w);
        for (size_t m = 0; m < prompts; m++)
            if (e->messages[m].role == ROLE_USER || e->kind == ROW_TEXT)
                add_words(&w, &normal, e->messages[m].text);
        c.prompt = add_text(l, &w, false);
        words_clear(&w);
        if (prompts < e->message_count) add_words(&w, &normal, e->messages[prompts].text);
        c.answer = add_text(l, &w, true);
        c.answer_hash = w.n ? words_key(w.list, w.n) : 0;
        mem_grow((void **)&l->cases, &l->case_cap, l->case_count + 1, sizeof *l->cases);
        l->cases[l->case_count++] = c;
        if (l->word_count > INT32_MAX)
            rc = err_set(err, ERR_LIMIT, "held-out files have more than %d words", INT32_MAX);
    }
    words_release(&w);
    buf_release(&normal);
    return rc;
}

/* --- the index --- */

/* Prompts by all their words; the first of equal ones stands for all, so that what they say does
 * not look like a template. Returns whether this one is new. */
static bool put_whole(struct leakage *l, uint32_t text) {
    const struct ltext *t = &l->texts[text];
    uint64_t key = words_key(l->words + t->at, t->n);
    bool is_new = !ltable_get(&l->whole, key);
    if (is_new) table_put(&l->whole, key, text, 0);
    if (t->n >= SHORT_MIN && t->n < GRAM) l->short_lengths |= 1u << t->n;
    return is_new;
}

static void put_grams(struct leakage *l, uint32_t text) {
    const struct ltext *t = &l->texts[text];
    for (uint32_t i = 0; i + GRAM <= t->n; i++)
        table_put(&l->grams, words_key(l->words + t->at + i, GRAM), text, i);
}

static void mark_template(struct leakage *l, struct ltext *t) {
    for (uint32_t i = 0; i + GRAM <= t->n; i++) {
        const struct lentry *e = ltable_get(&l->grams, words_key(l->words + t->at + i, GRAM));
        if (e && is_template(l, e)) memset(l->template + t->at + i, 1, GRAM);
    }
    t->own = 0; /* sums and dates agree by chance: they count where all of a case is compared */
    for (uint32_t i = 0; i < t->n; i++)
        l->template[t->at + i] |= word_is_number(l->words[t->at + i]);
    for (uint32_t i = 0; i < t->n; i++) t->own += !l->template[t->at + i];
}

struct rare_word {
    uint32_t word, texts;
};

static int by_texts(const void *a, const void *b) {
    const struct rare_word *x = a, *y = b;
    if (x->texts != y->texts) return x->texts < y->texts ? -1 : 1;
    return x->word < y->word ? -1 : x->word > y->word;
}

/* Words of the longest that is written as one. */
static uint32_t longest_written(const struct leakage *l, const struct ltext *t) {
    uint32_t most = 1, n = 1;
    for (uint32_t i = 1; i < t->n; i++) {
        n = l->joined[t->at + i] ? n + 1 : 1;
        most = n > most ? n : most;
    }
    return most < WRITTEN_MAX ? most : WRITTEN_MAX;
}

/* A near duplicate lacks what is written as one word, or of a longer text a tenth: of the rarest
 * sixth and one more than that it has the rest. */
static void put_rare(struct leakage *l, uint32_t text, const struct ltable *seen) {
    struct ltext *t = &l->texts[text];
    struct rare_word *list = mem_alloc(t->n * sizeof *list);
    const uint32_t *words = l->words + t->at;
    uint32_t n = 0, put = 0, lacks = longest_written(l, t), some = t->n / 6 + 1 + lacks;
    if (lacks < t->n / 10) lacks = t->n / 10;
    for (uint32_t i = 0; i < t->n; i++)
        list[n++] = (struct rare_word){words[i], ltable_get(seen, words[i])->texts};
    qsort(list, n, sizeof *list, by_texts);
    for (uint32_t i = 0; i < n && put < some; i++)
        if (!i || list[i].word != list[i - 1].word) {
            table_put(&l->rare, list[i].word, text, 0);
            put++;
        }
    t->rare = put > lacks ? put - lacks : 1;
    mem_free(list);
}

/* The words of prompts that are no template, one text after the other. */
static void gather_own(struct leakage *l) {
    size_t total = 0, n = l->word_count;
    for (size_t t = 1; t < l->text_count; t++) total += l->texts[t].answer ? 0 : l->texts[t].own;
    mem_grow((void **)&l->words, &l->word_cap, n + total, sizeof *l->words);
    for (size_t t = 1; t < l->text_count; t++) {
        struct ltext *x = &l->texts[t];
        if (x->answer) continue;
        x->at_own = (uint32_t)n;
        for (uint32_t i = 0; i < x->n; i++)
            if (!l->template[x->at + i]) l->words[n++] = l->words[x->at + i];
    }
}

/* Prompts by their rare words; equal ones once for each answer. */
static void index_rare(struct leakage *l) {
    struct ltable seen = {0};
    for (uint32_t t = 1; t < l->text_count; t++)
        for (uint32_t i = 0; !l->texts[t].answer && i < l->texts[t].n; i++)
            table_put(&seen, l->words[l->texts[t].at + i], t, 0);
    struct ltable pairs = {0};
    for (uint32_t t = 1; t < l->text_count; t++) {
        const struct ltext *x = &l->texts[t];
        if (x->answer) continue;
        uint64_t key[2] = {words_key(l->words + x->at, x->n), l->cases[x->the_case].answer_hash};
        uint64_t pair = content_hash(5, key, sizeof key);
        if (ltable_get(&pairs, pair)) continue;
        table_put(&pairs, pair, t, 0);
        put_rare(l, t, &seen);
    }
    table_release(&pairs);
    table_release(&seen);
}

void leakage_ready(struct leakage *l) {
    bool *is_new = mem_zalloc(l->text_count, sizeof *is_new);
    size_t distinct = 0;
    for (uint32_t t = 1; t < l->text_count; t++) {
        is_new[t] = l->texts[t].answer || put_whole(l, t);
        distinct += is_new[t] && !l->texts[t].answer;
        if (is_new[t]) put_grams(l, t);
    }
    l->template_min = (uint32_t)(TEMPLATE_SHARE * (double)distinct);
    if (l->template_min < TEMPLATE_CASES) l->template_min = TEMPLATE_CASES;
    l->template = mem_zalloc(l->word_count, 1);
    for (size_t t = 1; t < l->text_count; t++) mark_template(l, &l->texts[t]);
    gather_own(l);
    index_rare(l);
    mem_free(is_new);
}
